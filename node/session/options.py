"""The options of one run that its show file does not hold."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class PlayOptions:
    """The options of `wj play` besides those that change the show (size, rate, outputs, OSC and seed)."""

    seconds: float | None = None  # None plays until Ctrl-C or SIGTERM
    report: Path | None = None  # file for the run's figures, written as JSON at the end
    device: str = "auto"
    threads: int | None = None  # of torch in the world process; None leaves one core free
    folder: Path = Path()  # from which the show's relative paths of media start
    keep: Path | None = None  # file that keeps the snapshots from one run to the next
    log: Path | None = None  # folder for the log of every control
    headless: bool = False  # no window and no live status line: for machines without a screen, and for tests
    surface: bool = False  # serve the surface, where the show enables it
    browser: bool = False  # open the surface in the browser of this machine, where there is a display
    file: Path | None = None  # the show's file; None for the embedded show
