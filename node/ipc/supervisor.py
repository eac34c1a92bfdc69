"""Supervision: a process that is restarted when it dies or stops responding, while the rest of the show continues."""

from __future__ import annotations

import contextlib
import logging
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from . import log_file
from .cell import Cell
from .process import CLOSED, SPAWN, STATUS_BYTES, UNSUITABLE, join_or_kill, read_status
from .status import plain_text

logger = logging.getLogger(__name__)

STOP_TIMEOUT_S = 5.0  # for all processes together: recordings are completed meanwhile
RESTART_DELAYS_S = (0.0, 0.5, 1.0, 2.0, 4.0, 8.0)  # after the first, second, ... failure in a row
HEALTHY_AFTER_S = 20.0  # a process that ran this long starts again with the first delay
EVENTS_KEPT = 50
MESSAGE_CHARS = 500
OPENING_FIX = " while it started: close other programs, or choose a smaller size or fewer outputs"
UNSUITABLE_EXITS_MAX = 2  # in a row; then the process is left out


class Supervisor:
    """Runs `target(*args, status, stop)` in a process of its own, again and again.

    The process publishes its `state` in the status cell, at least every second once it runs. patience: for each state,
    the seconds without a new status after which the process is killed; in other states it is never killed. That of
    "first opening" is for "opening" as long as it never ran.
    All methods must be called from one thread.
    """

    def __init__(self, name: str, target: Callable[..., None], args: tuple[Any, ...], patience: Mapping[str, float],
                 status_bytes: int = STATUS_BYTES) -> None:  # fmt: skip
        self.name, self._target, self._args, self._patience = name, target, args, patience
        self.status_cell = Cell(status_bytes)
        self.restarts, self.events = 0, list[str]()
        self.ran = self.closed = self.unsuitable = False
        self.error = ""  # why it does not run now
        self._failures, self._unsuitable_exits, self._retry_at = 0, 0, 0.0
        self._process: Any = None
        try:
            self._start()
        except BaseException:
            self.status_cell.unlink()
            raise

    def _start(self) -> None:
        self._stop = SPAWN.Event()
        self._began = self._last_status_at = time.monotonic()
        self._version = self.status_cell.version
        args = (self._target, *self._args, self.status_cell, self._stop)
        self._process = SPAWN.Process(target=_run_logged, args=args, name=f"wj {self.name}", daemon=True)
        with interrupt_blocked():
            self._process.start()
        logger.info("%s runs as process %s", self.name, self._process.pid)

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    def watch(self, now: float) -> None:
        """Kill the process if it stopped responding, and restart it if it ended. Never waits; call it often."""
        if self.closed or self.unsuitable:
            return
        if self._process is None:
            if now >= self._retry_at:
                self.restarts += 1
                try:
                    self._start()
                except OSError as error:  # memory or process limit reached for now
                    self._record_failure(now, f"cannot start: {error.strerror or error}")
            return
        status = read_status(self.status_cell)
        if self.status_cell.version != self._version:
            self._version, self._last_status_at = self.status_cell.version, now
            if not self.ran and status.get("state") == "running":
                self.ran = True
                logger.info("%s is running", self.name)
            if now - self._began > HEALTHY_AFTER_S:
                self._failures = self._unsuitable_exits = 0
        if self._process.is_alive():
            state = status.get("state", "opening") if self._last_status_at > self._began else "opening"
            patience = self._patience.get(state, float("inf"))
            if state == "opening" and not self.ran:
                patience = self._patience.get("first opening", patience)
            if now - self._last_status_at < patience:
                return
            self._process.kill()
            fix = OPENING_FIX if state == "opening" else ""
            self._record_failure(now, f"did not respond for {patience:g} s{fix}")
        elif self._process.exitcode == CLOSED:
            self._process, self.closed = None, True
        else:
            code = self._process.exitcode
            ended = f"was killed (signal {-code})" if code < 0 else f"ended (exit code {code})"
            message = plain_text(status.get("message", ""), MESSAGE_CHARS) if code in (1, UNSUITABLE) else ""
            if code < 0:
                logger.error("%s, process %s, was killed by %s", self.name, self._process.pid, _signal_name(-code))
            self._unsuitable_exits = self._unsuitable_exits + 1 if code == UNSUITABLE else 0
            self.unsuitable = self._unsuitable_exits >= UNSUITABLE_EXITS_MAX
            verb = "cannot work here" if self.unsuitable else "failed"
            self._record_failure(now, f"{verb}: {message}" if message else ended, message)

    def _record_failure(self, now: float, event: str, message: str = "") -> None:
        logger.warning("%s %s", self.name, event)
        self._process, self.error = None, message or f"{self.name} {event}"
        self.events = [*self.events[1 - EVENTS_KEPT :], f"{self.name} {event}"]
        self._retry_at = now + RESTART_DELAYS_S[min(self._failures, len(RESTART_DELAYS_S) - 1)]
        self._failures += 1

    def ask_to_stop(self) -> None:
        if self._process is not None:
            self._stop.set()

    def finish(self, deadline: float) -> dict[str, Any]:
        """Wait until the process ended, kill it at the deadline (time.monotonic()), and return its last status."""
        self.ask_to_stop()
        if self._process is not None:
            join_or_kill(self._process, max(deadline - time.monotonic(), 0.1))
        status = self.status()
        self.status_cell.unlink()
        return status

    def status(self) -> dict[str, Any]:
        """The last status of the process, with `restarts` and `pid`.

        Where it does not run, state is "restarting", "closed" (by the user) or "unsuitable" (for this machine), and
        message is the reason.
        """
        status = {**read_status(self.status_cell), "restarts": self.restarts, "pid": self.pid}
        if self._process is None:
            status["state"] = "closed" if self.closed else "unsuitable" if self.unsuitable else "restarting"
            status["message"] = self.error
        return status


def _run_logged(target: Callable[..., None], *args: Any) -> None:
    """Main function of every child: unhandled exceptions go to the run's log with their traceback, not to the
    terminal."""
    log_file.join_run()
    try:
        target(*args)
    except Exception:
        if log_file.current_path() is None:
            raise
        logger.exception("unhandled exception")
        raise SystemExit(1) from None


# As in integrations/child.exit_reason, which node may not import (tests/test_layers.py).
def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


@contextlib.contextmanager
def interrupt_blocked() -> Iterator[None]:
    """Block Ctrl-C, which a child inherits: it is not interrupted before it has installed its own handler."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
