"""How much memory a program and all it started have, and whether it grows while it runs."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import median

import psutil

EVERY = 0.25  # seconds between two looks
EDGE = 5  # the first and the last of so many parts are compared, by their medians


@dataclass(frozen=True)
class Sample:
    """own: MB of the program itself. all: with its children; what they share counts for each. count: of processes."""

    time: float
    own: float
    all: float
    count: int


def look(pid: int) -> Sample | None:
    """None where there is no such process any more."""
    try:
        process = psutil.Process(pid)
        family = [process, *process.children(recursive=True)]
        sizes = []
        for one in family:
            with contextlib.suppress(psutil.Error):
                sizes.append(one.memory_info().rss / 1e6)
        return Sample(time.monotonic(), process.memory_info().rss / 1e6, sum(sizes), len(sizes))
    except psutil.Error:
        return None


def growth(samples: Sequence[Sample], seconds: float) -> dict[str, float]:
    """MB at the beginning and the end of the last `seconds` in which every process ran, and how many more they were.

    What comes before is warm-up, and once processes end it is over. 0 where nothing was seen.
    """
    most = max((sample.count for sample in samples), default=0)
    whole = [sample for sample in samples if sample.count == most]
    whole = [sample for sample in whole if sample.time >= whole[-1].time - seconds]
    edge = max(len(whole) // EDGE, 1)
    said = {"seconds": round(whole[-1].time - whole[0].time, 1) if whole else 0.0}
    for name in ("own", "all"):
        sizes = [getattr(sample, name) for sample in whole] or [0.0]
        begin, end = median(sizes[:edge]), median(sizes[-edge:])
        said |= {f"{name}_mb": round(end, 1), f"{name}_growth_mb": round(end - begin, 1)}
    return said


@contextlib.contextmanager
def watched(pid: int) -> Iterator[list[Sample]]:
    """Samples of that process, which come for as long as the block lasts."""
    samples: list[Sample] = []
    over = threading.Event()

    def run() -> None:
        while not over.wait(EVERY) and (sample := look(pid)) is not None:
            samples.append(sample)

    thread = threading.Thread(target=run, name="resident memory", daemon=True)
    thread.start()
    try:
        yield samples
    finally:
        over.set()
        thread.join()
