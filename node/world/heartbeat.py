"""Signs of life of a world whose step takes long, because it compiles kernels or loads what it needs.

The supervisor kills a world that publishes no status for a while. The first step of its kind can take minutes, so a
thread repeats the last status for as long as the process computes. A process that hangs computes nothing, and dies.
"""

from __future__ import annotations

import threading
import time
from typing import Any

import psutil

from ..ipc.cell import Cell
from ..ipc.process import publish_status

INTERVAL_S = 0.5
BUSY_SHARE = 0.2  # of one core: a process that uses less has stopped working
STEP_MAX_S = 900.0  # after which a step is taken for a hang, whatever it computes


class Heartbeat:
    """Publishes the status of the world's process, and repeats it while a step takes long. Starts with the first
    status; ends with `stop`."""

    def __init__(self, status: Cell) -> None:
        self._cell, self._lock, self._ended = status, threading.Lock(), threading.Event()
        self._status: dict[str, Any] = {}
        self._published_at = 0.0
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    def publish(self, status: dict[str, Any]) -> None:
        with self._lock:
            self._status, self._published_at = status, time.monotonic()
            publish_status(self._cell, status)
        if self._thread.ident is None:
            self._thread.start()

    def stop(self) -> None:
        self._ended.set()
        if self._thread.ident is not None:
            self._thread.join(2.0)

    def _run(self) -> None:
        before, looked_at = computed_s(), time.monotonic()
        while not self._ended.wait(INTERVAL_S):
            now, computed = time.monotonic(), computed_s()
            busy = computed - before > BUSY_SHARE * (now - looked_at)
            before, looked_at = computed, now
            with self._lock:
                silent_s = now - self._published_at
                if busy and 2 * INTERVAL_S < silent_s < STEP_MAX_S and not self._ended.is_set():
                    note = f"one step takes long: {silent_s:.0f} s so far; a world that compiles does so once"
                    publish_status(self._cell, {**self._status, "message": note})


def computed_s() -> float:
    """CPU seconds of this process and its children, which compile."""
    total = time.process_time()
    try:
        children = psutil.Process().children(recursive=True)
    except psutil.Error:
        return total
    for child in children:
        try:
            times = child.cpu_times()
        except psutil.Error:  # it has just ended
            continue
        total += times.user + times.system
    return total
