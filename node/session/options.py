"""How one run differs from its show file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class PlayOptions:
    """What `wj play` was asked for besides the show. Size, rate, outputs, OSC and seed are already in the show."""

    seconds: float | None = None  # None plays until Ctrl-C or SIGTERM
    report: Path | None = None  # where the run's figures go as JSON when it ends
    device: str = "auto"
    threads: int | None = None  # of torch in the world process; None leaves one core free
    folder: Path = Path()  # where the show's paths of pictures and sounds start
    keep: Path | None = None  # the file of snapshots, from one run to the next
    log: Path | None = None  # the folder where every control is written down
    headless: bool = False  # no window, no live status line: for machines without a screen, and for tests
