"""How fast worlds were on this machine, remembered from one start to the next: a trial of a large one takes minutes."""

from __future__ import annotations

import contextlib
import json
import logging
from dataclasses import asdict, dataclass
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from platformdirs import user_cache_path

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Trial:
    """How fast a world ran. fps: frames a second with the number of steps it was trained for. wanted: the fewest
    needed. measured: the day, of one that is remembered.

    error: why it could not be run, with the fix.
    """

    fps: float = 0.0
    wanted: float = 0.0
    error: str = ""
    measured: str = ""

    @property
    def is_fast_enough(self) -> bool:
        return not self.error and self.fps >= self.wanted


def path_here() -> Path:
    """The file in the user's cache folder. Who deletes it has every world measured again."""
    return user_cache_path("worldjockey", False) / "trials.json"


def versions() -> list[str]:
    """Of what decides how fast a world is."""
    found = []
    for package in ("worldjockey", "torch"):
        with contextlib.suppress(PackageNotFoundError):
            found.append(f"{package} {version(package)}")
    return found


class TrialMemory:
    """path: its file; None remembers nothing. Errors are not remembered: they may be mended."""

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self._known: dict[str, Any] = {}
        if path is not None:
            with contextlib.suppress(OSError, ValueError):
                self._known = dict(json.loads(path.read_text("utf-8")))

    def recall(self, key: str) -> Trial | None:
        try:
            return Trial(**self._known[key])
        except (KeyError, TypeError):  # unknown, or edited by hand
            return None

    def remember(self, key: str, trial: Trial) -> None:
        if self.path is None or trial.error:
            return
        self._known[key] = asdict(Trial(trial.fps, trial.wanted, measured=date.today().isoformat()))
        fresh = self.path.with_suffix(".new")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            fresh.write_text(json.dumps(self._known, indent=1) + "\n", "utf-8")
            fresh.replace(self.path)
        except OSError as error:
            logger.warning("the trial of a world is not remembered: %s", error)
