"""Supervision: a process that is started again when it dies or falls silent, while the rest plays on."""

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

CLOSING = 5.0  # seconds all together may take to end: a file is completed then
BACK_OFF = (0.0, 0.5, 1.0, 2.0, 4.0, 8.0)  # seconds before each new try in a row
HEALTHY = 20.0  # seconds of life after which earlier failures are forgotten
LOST = 50  # events remembered
MESSAGE_CHARS = 500  # of why a process ended
HOPELESS = 2  # tries in a row of a process that says itself that it can never work


class Supervisor:
    """Runs `target(*args, status, stop)` in a process of its own, again and again.

    The process tells its `state` in the status cell, at least every second once it runs. patience: by state, how many
    seconds it may be silent before it is killed; a state that is not listed may be silent for ever.
    All methods belong to one thread.
    """

    def __init__(self, name: str, target: Callable[..., None], args: tuple[Any, ...], patience: Mapping[str, float],
                 status_bytes: int = STATUS_BYTES) -> None:  # fmt: skip
        self.name, self._target, self._args, self._patience = name, target, args, patience
        self.status_cell = Cell(status_bytes)
        self.restarts, self.events = 0, list[str]()
        self.ran = self.closed = self.unsuitable = False
        self.error = ""  # why it is not running now
        self._failures, self._hopeless, self._retry_at = 0, 0, 0.0
        self._process: Any = None
        self._start()

    def _start(self) -> None:
        self._stop = SPAWN.Event()
        self._began = self._heard = time.monotonic()
        self._version = self.status_cell.version
        args = (self._target, *self._args, self.status_cell, self._stop)
        self._process = SPAWN.Process(target=_run_logged, args=args, name=f"wj {self.name}", daemon=True)
        with _deaf():
            self._process.start()
        logger.info("%s runs as process %s", self.name, self._process.pid)

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    def watch(self, now: float) -> None:
        """Called now and then: kills what is silent, starts again what ended. Never waits."""
        if self.closed or self.unsuitable:
            return
        if self._process is None:
            if now >= self._retry_at:
                self.restarts += 1
                try:
                    self._start()
                except OSError as error:  # no memory or no more processes at this moment
                    self._lose(now, f"cannot start: {error.strerror or error}")
            return
        said = read_status(self.status_cell)
        if self.status_cell.version != self._version:
            self._version, self._heard = self.status_cell.version, now
            if not self.ran and said.get("state") == "running":
                self.ran = True
                logger.info("%s is running", self.name)
            if now - self._began > HEALTHY:
                self._failures = self._hopeless = 0
        if self._process.is_alive():
            state = said.get("state", "opening") if self._heard > self._began else "opening"
            patience = self._patience.get(state, float("inf"))
            if now - self._heard < patience:
                return
            self._process.kill()
            self._lose(now, f"gave no sign for {patience:g} s")
        elif self._process.exitcode == CLOSED:
            self._process, self.closed = None, True
        else:
            code = self._process.exitcode
            ended = f"was killed (signal {-code})" if code < 0 else f"ended (exit code {code})"
            message = plain_text(said.get("message", ""), MESSAGE_CHARS) if code in (1, UNSUITABLE) else ""
            if code < 0:
                logger.error("%s, process %s, was killed by %s", self.name, self._process.pid, _signal_name(-code))
            self._hopeless = self._hopeless + 1 if code == UNSUITABLE else 0
            self.unsuitable = self._hopeless >= HOPELESS
            verb = "cannot work here" if self.unsuitable else "failed"
            self._lose(now, f"{verb}: {message}" if message else ended, message)

    def _lose(self, now: float, what: str, message: str = "") -> None:
        logger.warning("%s %s", self.name, what)
        self._process, self.error = None, message or f"{self.name} {what}"
        self.events = [*self.events[1 - LOST :], f"{self.name} {what}"]
        self._retry_at = now + BACK_OFF[min(self._failures, len(BACK_OFF) - 1)]
        self._failures += 1

    def ask_to_stop(self) -> None:
        if self._process is not None:
            self._stop.set()

    def finish(self, deadline: float) -> dict[str, Any]:
        """Wait until it ended, kill it at the deadline (time.monotonic()), and return its last words."""
        self.ask_to_stop()
        if self._process is not None:
            join_or_kill(self._process, max(deadline - time.monotonic(), 0.1))
        said = self.status()
        self.status_cell.unlink()
        return said

    def status(self) -> dict[str, Any]:
        """What the process last told, and what became of it.

        state: its own, or "restarting", "closed" by the user, "unsuitable" for this machine; message: then why.
        """
        said = {**read_status(self.status_cell), "restarts": self.restarts, "pid": self.pid}
        if self._process is None:
            said["state"] = "closed" if self.closed else "unsuitable" if self.unsuitable else "restarting"
            said["message"] = self.error
        return said


def _run_logged(target: Callable[..., None], *args: Any) -> None:
    """The main of every child: what nobody caught is in the run's log with its traceback, and not on the terminal."""
    log_file.join_run()
    try:
        target(*args)
    except Exception:
        if log_file.current_path() is None:
            raise
        logger.exception("unhandled exception")
        raise SystemExit(1) from None


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


@contextlib.contextmanager
def _deaf() -> Iterator[None]:
    """A child inherits that Ctrl-C is blocked, so none reaches it before it can see to that itself."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
