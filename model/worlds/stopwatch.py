"""How long the parts of a step take on the device that computes them, without waiting for it."""

from __future__ import annotations

import itertools
import time
from typing import Any

import torch


class Stopwatch:
    """Marks moments of a step: on CUDA by events in its stream, elsewhere by the clock."""

    def __init__(self, device: torch.device) -> None:
        self._cuda = device.type == "cuda"
        self._marks: list[tuple[str, Any]] = []

    def start(self) -> None:
        self._marks = [("", self._now())]

    def lap(self, name: str = "") -> None:
        """The time since the last mark is that of `name`; "" for none."""
        self._marks.append((name, self._now()))

    def laps_ms(self) -> dict[str, float]:
        """Milliseconds of each lap, and of all of them as "step_ms". Waits until the last one is over, which it is when
        the frames of the step were fetched."""
        if len(self._marks) < 2:
            return {}
        if self._cuda and not self._marks[-1][1].query():
            self._marks[-1][1].synchronize()
        laps = {name: self._ms(a, b) for (_, a), (name, b) in itertools.pairwise(self._marks) if name}
        return laps | {"step_ms": self._ms(self._marks[0][1], self._marks[-1][1])}

    def _now(self) -> Any:
        if not self._cuda:
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    def _ms(self, begin: Any, end: Any) -> float:
        return float(begin.elapsed_time(end)) if self._cuda else (end - begin) * 1e3
