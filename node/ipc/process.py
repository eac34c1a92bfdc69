"""The start and the end of every child process, and its status."""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import signal
import sys
from typing import Any, NoReturn

import psutil
from platformdirs import user_cache_path

from .cell import Cell
from .status import packed_status

SPAWN = multiprocessing.get_context("spawn")  # the same on every system, and safe beside threads
STATUS_BYTES = 16 * 1024
UNSUITABLE = 4  # exit code of a process that can never work on this machine: it is restarted once at most
CLOSED = 3  # exit code of a process that the user closed: it is not restarted


def init_child() -> None:
    """Ignore Ctrl-C, and a terminal that closes: the control process is told, too, and stops its children in order."""
    for name in ("SIGINT", "SIGHUP"):
        if hasattr(signal, name):  # Windows has no SIGHUP
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    with contextlib.suppress(AttributeError, OSError, ValueError):
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def stay_offline() -> None:
    """Forbid downloads by a world's libraries while a show plays. Call it before any of them is imported."""
    os.environ["HF_HUB_OFFLINE"] = os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"


def keep_compiled() -> None:
    """Let torch keep what it compiles for a GPU in the user's cache folder, where it outlives a restart of the machine:
    it takes minutes, and torch's own place is the system's temporary folder. Call it before torch compiles anything."""
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(user_cache_path("worldjockey", False) / "torch-compile"))


def exit_now(code: int = 0) -> NoReturn:
    """End this process at once. In a normal exit, libraries whose threads still run sometimes abort the process, which
    then looks like a crash."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            stream.flush()
    os._exit(code)


def raise_priority(real_time: bool = False) -> None:
    """Raise the priority of this thread, and of those that it starts, above other programs, if the system allows it.

    On Linux it is allowed to root, and to users with the limits `rtprio` and `nice`, as audio users commonly have. The
    world and the outputs get the same priority: with a lower one on a busy machine, the world would make a frame in two
    seconds, and answer each control as late. Only the clock is real-time: it needs little CPU, and is then on time
    whatever else the machine does.
    """
    with contextlib.suppress(AttributeError, OSError):
        os.setpriority(os.PRIO_PROCESS, 0, -10)
    if real_time:
        with contextlib.suppress(AttributeError, OSError):
            os.sched_setscheduler(0, os.SCHED_RR | os.SCHED_RESET_ON_FORK, os.sched_param(1))


def lower_priority(opening: bool = False) -> None:
    """Lower the priority of this process below all others: it works with what they leave. opening: only below most,
    since a process that gets nothing at all never opens on a machine that is always busy."""
    with contextlib.suppress(psutil.Error, OSError):
        if sys.platform == "win32":
            psutil.Process().nice(psutil.BELOW_NORMAL_PRIORITY_CLASS if opening else psutil.IDLE_PRIORITY_CLASS)
        else:
            psutil.Process().nice(10 if opening else 19)


def parent_died() -> bool:
    """Whether the parent process died: its children must then end, too."""
    parent = multiprocessing.parent_process()
    return parent is not None and not parent.is_alive()


def publish_status(cell: Cell, status: dict[str, Any]) -> None:
    """Publish this process's status; one that is larger than the cell is shortened, and marked as truncated."""
    cell.write(packed_status(status, cell.size))


def read_status(cell: Cell) -> dict[str, Any]:
    """The last status that was published in this cell; empty before the first."""
    return json.loads(cell.read()[1] or b"{}")


def join_or_kill(process: Any, seconds: float) -> None:
    """Wait for a process that was asked to stop; kill it if it does not."""
    process.join(seconds)
    if process.is_alive():
        process.kill()
        process.join(5)


def limit_threads(wanted: int | None) -> int:
    """The number of threads for torch: all cores but one, which clock and control need, unless `wanted` is given.

    Must be called before torch is imported, because it makes idle thread pools sleep: with pools that spin, a step was
    measured to take 20 times as long beside one busy core.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("GOMP_SPINCOUNT", "0")
    os.environ.setdefault("KMP_BLOCKTIME", "0")
    try:
        cores = len(os.sched_getaffinity(0))
    except AttributeError:  # this system has no such function
        cores = os.cpu_count() or 2
    return wanted or max(1, cores - 1)
