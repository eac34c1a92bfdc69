"""Which of several like processes is the one that works: the system itself passes the lead on when a process dies."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from .cell import Cell
from .process import STATUS_BYTES, exit_now, parent_died, publish_status, read_status

SIGN_OF_LIFE_S = 0.5  # between two statuses of a process that waits
LOOK_S = 0.005  # between two tries where the system cannot wake who waits for a file


class Leadership:
    """A lock on a file, which the operating system takes from a process that ends, however it ends, and from no other.

    So there are never two leaders: one that is stopped or late keeps the lead until it is killed. Hand it to a spawned
    process as an argument; the process that made it calls `unlink` at the end.
    """

    def __init__(self, _path: str = "", _status: Cell | None = None) -> None:
        if not _path:
            handle, _path = tempfile.mkstemp(prefix="wj-lead-")
            os.close(handle)
        self._path, self._status = _path, _status or Cell(STATUS_BYTES)
        self._handle: int | None = None

    def __reduce__(self) -> tuple[type[Leadership], tuple[str, Cell]]:
        return Leadership, (self._path, self._status)

    @property
    def last_status(self) -> dict[str, Any]:
        """What the newest leader said last, and its `pid`; empty before any said anything."""
        return read_status(self._status)

    def publish(self, status: dict[str, Any]) -> None:
        """For the leader alone."""
        publish_status(self._status, {**status, "pid": os.getpid()})

    def wait(self, status: Cell, stop: Any) -> None:
        """Return once this process leads. One that is asked to stop before, or whose parent died, ends here.

        status: says "standby" every half second meanwhile.
        """
        self._handle = os.open(self._path, os.O_RDWR)
        leads = threading.Event()

        def beside() -> None:
            while not leads.wait(SIGN_OF_LIFE_S):
                if stop.is_set() or parent_died():
                    exit_now()
                publish_status(status, {"state": "standby"})

        publish_status(status, {"state": "standby"})
        watcher = threading.Thread(target=beside, daemon=True)
        watcher.start()
        _lock(self._handle)  # in the main thread, which has the priority of a clock
        leads.set()
        watcher.join()

    def unlink(self) -> None:
        self._status.unlink()
        with contextlib.suppress(OSError):
            Path(self._path).unlink()


def _lock(handle: int) -> None:
    """Wait for the file as long as it takes."""
    if sys.platform == "win32":
        import msvcrt

        while True:
            with contextlib.suppress(OSError):
                msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
                return
            time.sleep(LOOK_S)
    else:
        import fcntl

        fcntl.flock(handle, fcntl.LOCK_EX)
