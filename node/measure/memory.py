"""Memory of a program and its child processes, and its growth over time."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import median

import psutil

SAMPLE_INTERVAL_S = 0.25
EDGE_PARTS = 5  # the medians of the first and the last of so many parts are compared


@dataclass(frozen=True)
class Sample:
    """own: MB of the program itself. all: with child processes, shared memory counted for each. count: of processes."""

    time: float
    own: float
    all: float
    count: int


def sample_of(pid: int) -> Sample | None:
    """Measure a process; None where it does not exist any more."""
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
    """MB at the end of the last `seconds` in which all processes ran, and the growth during that time.

    The time before is warm-up, and the time after the first process ended is not counted. 0 without samples.
    """
    most = max((sample.count for sample in samples), default=0)
    full = [sample for sample in samples if sample.count == most]
    full = [sample for sample in full if sample.time >= full[-1].time - seconds]
    edge = max(len(full) // EDGE_PARTS, 1)
    result = {"seconds": round(full[-1].time - full[0].time, 1) if full else 0.0}
    for name in ("own", "all"):
        sizes = [getattr(sample, name) for sample in full] or [0.0]
        begin, end = median(sizes[:edge]), median(sizes[-edge:])
        result |= {f"{name}_mb": round(end, 1), f"{name}_growth_mb": round(end - begin, 1)}
    return result


@contextlib.contextmanager
def watched(pid: int) -> Iterator[list[Sample]]:
    """Yields a list that grows by a sample of the process every SAMPLE_INTERVAL_S during the block."""
    samples: list[Sample] = []
    over = threading.Event()

    def run() -> None:
        while not over.wait(SAMPLE_INTERVAL_S) and (sample := sample_of(pid)) is not None:
            samples.append(sample)

    thread = threading.Thread(target=run, name="resident memory", daemon=True)
    thread.start()
    try:
        yield samples
    finally:
        over.set()
        thread.join()
