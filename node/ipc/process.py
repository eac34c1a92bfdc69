"""What every child process does first and last."""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import signal
import sys
from typing import Any, NoReturn

from .cell import Cell
from .status import packed_status

SPAWN = multiprocessing.get_context("spawn")  # the same on every system, and safe beside threads
STATUS_BYTES = 16 * 1024
UNSUITABLE = 4  # exit code of a process that can never do its work here: it is tried once more at most
CLOSED = 3  # exit code of a process that the user ended: it is not started again


def init_child() -> None:
    """Ctrl-C belongs to the control process, which stops its children in order."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with contextlib.suppress(AttributeError, OSError, ValueError):
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def stay_offline() -> None:
    """Nothing is fetched while a show plays, whatever a world's libraries want. Before any of them is imported."""
    os.environ["HF_HUB_OFFLINE"] = os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"


def exit_now(code: int = 0) -> NoReturn:
    """End this process here. One that ends in the ordinary way is aborted now and then, by libraries whose threads are
    still at work when Python takes itself apart, and would pass for one that crashed."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            stream.flush()
    os._exit(code)


def raise_priority(real_time: bool = False) -> None:
    """Ask for this thread, and those it will start, to be served before other programs', where the system lets.

    On Linux that is root, or the limits `rtprio` and `nice` that audio users commonly have. The world and the outputs
    ask alike: where a machine has too little for all, a world that came last would show a picture in two seconds, and
    each control as late. Real time is for the clock alone, which needs little: it is then on time whatever else the
    machine does.
    """
    with contextlib.suppress(AttributeError, OSError):
        os.setpriority(os.PRIO_PROCESS, 0, -10)
    if real_time:
        with contextlib.suppress(AttributeError, OSError):
            os.sched_setscheduler(0, os.SCHED_RR | os.SCHED_RESET_ON_FORK, os.sched_param(1))


def parent_died() -> bool:
    """The parent died, however it died: a child must not play on alone."""
    parent = multiprocessing.parent_process()
    return parent is not None and not parent.is_alive()


def publish_status(cell: Cell, status: dict[str, Any]) -> None:
    """Publish this process's status, cut with a note where it is larger than the cell."""
    cell.write(packed_status(status, cell.size))


def read_status(cell: Cell) -> dict[str, Any]:
    """What that process last said of itself; empty before it said anything."""
    return json.loads(cell.read()[1] or b"{}")


def join_or_kill(process: Any, seconds: float) -> None:
    """Wait for a process that was asked to stop; kill it if it does not."""
    process.join(seconds)
    if process.is_alive():
        process.kill()
        process.join(5)


def limit_threads(wanted: int | None) -> int:
    """Threads for torch: one core is left to clock and control unless the performer says otherwise.

    Must be called before torch is imported: an idle thread pool that spins was measured to slow a step 20 times
    beside one busy core, so the pools are told to sleep instead.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("GOMP_SPINCOUNT", "0")
    os.environ.setdefault("KMP_BLOCKTIME", "0")
    try:
        cores = len(os.sched_getaffinity(0))
    except AttributeError:  # not on this system
        cores = os.cpu_count() or 2
    return wanted or max(1, cores - 1)
