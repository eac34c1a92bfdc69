"""One log file for each run. Every process of the run appends to it, each record with one write."""

from __future__ import annotations

import contextlib
import faulthandler
import importlib.metadata
import logging
import multiprocessing
import os
import platform
import queue
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

from platformdirs import user_log_path
from worldjockey.integrations import LOG_FILE_VARIABLE

LEVEL_VARIABLE = "WJ_LOG_LEVEL"
RUNS_KEPT = 10
QUEUE_RECORDS_MAX = 1000  # kept by the control process while the disk is slow; more are dropped and counted
STOP_TIMEOUT_S = 0.5
LOGGED_PACKAGES = ("worldjockey", "torch", "numpy", "av", "cyndilib", "pyzmq", "glfw", "aiortc")

logger = logging.getLogger("worldjockey.run")


def folder() -> Path:
    """The folder of the logs."""
    return user_log_path("worldjockey", appauthor=False)


def runs(logs: Path) -> list[Path]:
    """The logs in a folder, oldest first."""
    return sorted(logs.glob("wj-*.log"))


def current_path() -> Path | None:
    """The log of this run; None without one."""
    return Path(os.environ[LOG_FILE_VARIABLE]) if os.environ.get(LOG_FILE_VARIABLE) else None


class AppendHandler(logging.Handler):
    """Appends each record with one write, so that records of several processes do not mix."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        self.setFormatter(logging.Formatter("%(asctime)s %(processName)s %(name)s %(levelname)s %(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        with contextlib.suppress(OSError):  # the disk is full: the show continues
            os.write(self.fd, (self.format(record) + "\n").encode("utf-8", "replace"))

    def close(self) -> None:
        with contextlib.suppress(OSError):
            os.close(self.fd)
        super().close()


class QueuedHandler(logging.Handler):
    """Passes records to a thread that writes them: code that logs never waits for the disk."""

    def __init__(self, target: logging.Handler, size: int = QUEUE_RECORDS_MAX) -> None:
        super().__init__()
        self.dropped = 0
        self._target = target
        self._queue: queue.Queue[logging.LogRecord | None] = queue.Queue(size)
        self._thread = threading.Thread(target=self._write, name="log writer", daemon=True)
        self._thread.start()

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._queue.put_nowait(record)
        except queue.Full:
            self.dropped += 1

    def _write(self) -> None:
        while (record := self._queue.get()) is not None:
            self._target.handle(record)
            if self.dropped:
                dropped, self.dropped = self.dropped, 0
                text = f"{dropped} records were dropped: the disk was too slow"
                self._target.handle(logging.makeLogRecord({
                    "name": logger.name, "levelno": logging.WARNING, "levelname": "WARNING", "msg": text,
                    "processName": record.processName,
                }))  # fmt: skip

    def close(self) -> None:
        """Write the queued records, for at most half a second."""
        with contextlib.suppress(queue.Full):
            self._queue.put_nowait(None)
        self._thread.join(STOP_TIMEOUT_S)
        if not self._thread.is_alive():
            self._target.close()
        super().close()


@contextlib.contextmanager
def run_log(path: Path | None = None, verbose: bool = False) -> Iterator[Path | None]:
    """Log this run to `path`, or to a new file in the log folder. Yields the path.

    Yields None, and logs nothing, where the log folder cannot be written. Raises OSError where `path` cannot be
    written.
    """
    try:
        chosen = path.expanduser().absolute() if path else _new_path()
        target = AppendHandler(chosen)
    except OSError:
        if path is not None:
            raise
        yield None
        return
    handler = QueuedHandler(target)
    before = {name: os.environ.get(name) for name in (LOG_FILE_VARIABLE, LEVEL_VARIABLE)}
    os.environ[LOG_FILE_VARIABLE], os.environ[LEVEL_VARIABLE] = str(chosen), "DEBUG" if verbose else "INFO"
    process = multiprocessing.current_process()
    name, process.name = process.name, "wj control"
    hooks = sys.excepthook, threading.excepthook
    _install(handler)
    logger.info("%s", _versions())
    try:
        yield chosen
    except Exception:
        logger.exception("the run failed")
        raise
    finally:
        logger.info("the run ended")
        logging.getLogger().removeHandler(handler)
        handler.close()
        process.name = name
        sys.excepthook, threading.excepthook = hooks
        for variable, value in before.items():
            if value is None:
                os.environ.pop(variable, None)
            else:
                os.environ[variable] = value


def join_run() -> None:
    """In a child process: send log records, standard output and standard error to the run's log.

    A terminal that stopped reading then blocks no child, and the output of libraries is kept.
    """
    path = current_path()
    if path is None:
        return
    try:
        handler = AppendHandler(path)
    except OSError:
        return
    with contextlib.suppress(OSError):
        os.dup2(handler.fd, 1)
        os.dup2(handler.fd, 2)
        faulthandler.enable(handler.fd)
    _install(handler)


def _install(handler: logging.Handler) -> None:
    """Log our own records from the chosen level, and warnings of all libraries."""
    logging.getLogger().addHandler(handler)
    logging.getLogger("worldjockey").setLevel(os.environ.get(LEVEL_VARIABLE, "INFO"))

    def of_process(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if issubclass(kind, Exception):
            logger.critical("unhandled exception", exc_info=(kind, error, trace))
        else:
            sys.__excepthook__(kind, error, trace)

    def of_thread(args: threading.ExceptHookArgs) -> None:
        if args.exc_value is not None and issubclass(args.exc_type, Exception):
            name = args.thread.name if args.thread else "?"
            logger.critical(
                "unhandled exception in thread %s", name, exc_info=(args.exc_type, args.exc_value, args.exc_traceback)
            )

    sys.excepthook, threading.excepthook = of_process, of_thread


def _new_path() -> Path:
    logs = folder()
    logs.mkdir(parents=True, exist_ok=True)
    for old in runs(logs)[: -(RUNS_KEPT - 1)]:
        with contextlib.suppress(OSError):
            old.unlink()
    return logs / f"wj-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.log"


def _versions() -> str:
    found = [f"python {platform.python_version()}"]
    for name in LOGGED_PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found.append(f"{name} {importlib.metadata.version(name)}")
    return f"{', '.join(found)} on {platform.platform()}"
