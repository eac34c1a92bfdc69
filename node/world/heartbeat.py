"""Signs of life of a world whose step takes long, because it compiles kernels or loads what it needs.

The supervisor kills a world that publishes no status for a while. The first step of its kind can take minutes, so a
thread repeats the last status for as long as the process computes. A process that hangs computes nothing, and dies.
"""

from __future__ import annotations

import contextlib
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

    def __init__(self, status: Cell, notes: bool = True) -> None:
        """notes: say in the status that a step takes long."""
        self._notes = notes
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
        long_step = busy = False
        while True:
            looked_at, own = time.monotonic(), time.process_time()
            # The children are of interest only where the process itself waits: to list them takes milliseconds, and
            # seconds beside a thread that computes.
            children = children_s() if long_step and not busy else None
            if self._ended.wait(INTERVAL_S):
                return
            now, published_at = time.monotonic(), self._published_at
            enough = BUSY_SHARE * (now - looked_at)
            busy = time.process_time() - own > enough
            if not busy and children is not None:
                busy = children_s() - children > enough
            long_step = INTERVAL_S < now - published_at < STEP_MAX_S
            if long_step and busy:
                self._repeat(published_at, now - published_at)

    def _repeat(self, published_at: float, silent_s: float) -> None:
        note = f"one step takes long: {silent_s:.0f} s so far; a world that compiles does so once"
        with self._lock:
            if self._published_at == published_at and not self._ended.is_set():
                publish_status(self._cell, {**self._status, **({"message": note} if self._notes else {})})


def children_s() -> float:
    """CPU seconds of this process's children, which compile."""
    total = 0.0
    with contextlib.suppress(psutil.Error):
        for child in psutil.Process().children(recursive=True):
            with contextlib.suppress(psutil.Error):  # it has just ended
                times = child.cpu_times()
                total += times.user + times.system
    return total
