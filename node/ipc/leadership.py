"""Leader election among like processes: the operating system passes the lead on when the leader dies."""

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

STANDBY_STATUS_INTERVAL_S = 0.5
LOCK_RETRY_S = 0.005  # on systems that cannot wake a process which waits for a file


class Leadership:
    """A file lock, which the operating system releases when the process that holds it ends, for whatever reason.

    There are never two leaders: one that is stopped or late keeps the lead until it is killed. Pass this to a spawned
    process as an argument; the process that created it calls `unlink` at the end.
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
        """The last status of the newest leader, with its `pid`; empty before the first."""
        return read_status(self._status)

    def publish(self, status: dict[str, Any]) -> None:
        """Publish the leader's status; only the leader may."""
        publish_status(self._status, {**status, "pid": os.getpid()})

    def wait(self, status: Cell, stop: Any) -> None:
        """Return once this process leads. A process that is asked to stop before, or whose parent died, exits here.

        status: cell that gets the state "standby" every half second meanwhile.
        """
        self._handle = os.open(self._path, os.O_RDWR)
        leads = threading.Event()

        def beside() -> None:
            while not leads.wait(STANDBY_STATUS_INTERVAL_S):
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
    """Lock the file, however long that takes."""
    if sys.platform == "win32":
        import msvcrt

        while True:
            with contextlib.suppress(OSError):
                msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
                return
            time.sleep(LOCK_RETRY_S)
    else:
        import fcntl

        fcntl.flock(handle, fcntl.LOCK_EX)
