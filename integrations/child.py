"""A child program of an integration: it is started, read, written to, restarted after it ended, and stopped in time.

A library that may hang or crash runs in a process of its own. The child reads JSON lines from its standard input, ends
when that is closed, and writes JSON lines or binary data to its standard output.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from . import LOG_FILE_VARIABLE

RESTART_DELAY_S = 1.0
QUEUED_LINES_MAX = 256  # for a child that does not read
# A file runs without the package around it, whose imports would cost the child a second at its start.
RUN_FILE = "import runpy, sys; del sys.argv[0]; runpy.run_path(sys.argv[0], run_name='__main__')"
# Of a child that serves: it must not import files from the current folder, and needs only one thread.
SERVER_ENVIRONMENT = {"PYTHONSAFEPATH": "1", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
_logger = logging.getLogger(__name__)


class Child:
    """One child program at a time. A thread of the owner loops: while start(): read until the end; finish().

    name: for the log. program: the path of a Python file, or a module's name. environment: added to this process's.
    line_bytes_max: a child that writes a longer line is killed.
    end_timeout_s: time from the closing of the child's standard input until the child is killed.
    `send`, `close_input`, `kill` and `end` may be called from any thread.
    """

    def __init__(
        self,
        name: str,
        program: Path | str,
        environment: Mapping[str, str] | None = None,
        end_timeout_s: float = 2.0,
        restart_delay_s: float = RESTART_DELAY_S,
        line_bytes_max: int | None = None,
    ) -> None:
        self._name = name
        self._command = ["-m", program] if isinstance(program, str) else ["-c", RUN_FILE, str(program)]
        self._environment, self._end_timeout_s = dict(environment or {}), end_timeout_s
        self._restart_delay_s, self._line_bytes_max = restart_delay_s, line_bytes_max
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None
        self._lines: queue.Queue[bytes | None] = queue.Queue()
        self._writer: threading.Thread | None = None
        self._closing = True  # the last child was asked to end
        self.starts = 0
        self.error = ""  # why the last attempt to start it failed

    @property
    def pid(self) -> int | None:
        return None if self._process is None else self._process.pid

    def start(self, arguments: Sequence[str] = (), first: Any = None) -> bool:
        """Start the child, at least restart_delay_s after one that ended by itself; False once `end` was called.

        first: a message that it is sent before any other. A child that cannot be started is tried again.
        """
        while not self._ended.wait(0 if self._closing else self._restart_delay_s):
            with self._lock:
                if self._ended.is_set():
                    break
                try:
                    self._process = process = self._spawn(arguments)
                except OSError as error:
                    self.error, self._closing = f"{self._name} could not be started: {error}", False
                    _logger.warning("%s", self.error)
                    continue
                self.error, self._closing = "", False
                self.starts += 1
                lines: queue.Queue[bytes | None] = queue.Queue()
                self._lines = lines
                if first is not None:
                    lines.put(_encoded(first))
                self._writer = threading.Thread(
                    target=_write, args=(process, lines), name=f"{self._name} writer", daemon=True
                )
                self._writer.start()
            return True
        return False

    def _spawn(self, arguments: Sequence[str]) -> subprocess.Popen[bytes]:
        with contextlib.ExitStack() as stack:
            errors: Any = subprocess.DEVNULL
            if path := os.environ.get(LOG_FILE_VARIABLE):
                with contextlib.suppress(OSError):
                    errors = stack.enter_context(Path(path).open("ab"))
            return subprocess.Popen(
                [sys.executable, *self._command, *arguments],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors,
                env={**os.environ, **self._environment},
            )  # fmt: skip

    @property
    def _output(self) -> Any:
        assert self._process is not None
        return self._process.stdout

    def batches(self) -> Iterator[list[Any]]:
        """The messages that arrived together, until the child ends. A line that is no JSON is left out."""
        rest = b""
        while chunk := self._output.read1(1 << 16):
            *lines, rest = (rest + chunk).split(b"\n")
            if self._line_bytes_max is not None and len(rest) > self._line_bytes_max:
                _logger.warning("%s wrote a line of more than %d bytes", self._name, self._line_bytes_max)
                self.kill()
                return
            messages = []
            for line in lines:
                with contextlib.suppress(ValueError, RecursionError):
                    messages.append(json.loads(line))
            yield messages

    def messages(self) -> Iterator[Any]:
        for batch in self.batches():
            yield from batch

    def read_line(self) -> bytes:
        return bytes(self._output.readline())

    def read(self, count: int) -> bytes:
        """`count` bytes, fewer at the end."""
        return bytes(self._output.read(count))

    def send(self, *messages: Any) -> bool:
        """Send messages; False where there is no child, or where it has not read the last QUEUED_LINES_MAX sends.

        Returns at once: a thread of this class waits for the pipe.
        """
        with self._lock:
            if self._process is None or self._closing or self._lines.qsize() >= QUEUED_LINES_MAX:
                return False
            self._lines.put(b"".join(_encoded(message) for message in messages))
            return True

    def close_input(self) -> None:
        """Ask the child to end, after it read what was sent."""
        with self._lock:
            self._closing = True
            self._lines.put(None)

    def kill(self) -> None:
        if (process := self._process) is not None:
            process.kill()

    def finish(self) -> int | None:
        """Wait until the child has ended, and log an unexpected end. Returns its exit code."""
        process, writer, expected = self._process, self._writer, self._closing
        if process is None:
            return None
        self._lines.put(None)
        code = self._wait(process)
        if writer is not None:
            writer.join(self._end_timeout_s)
        with contextlib.suppress(OSError):
            assert process.stdout is not None
            process.stdout.close()
        self._process = None
        if not expected:
            _logger.warning("%s ended unexpectedly (%s)", self._name, exit_reason(code))
        return code

    def end(self) -> None:
        """Close the child's standard input, kill the child after end_timeout_s, and start none again."""
        self._ended.set()
        self.close_input()
        if (process := self._process) is not None:
            self._wait(process)

    def _wait(self, process: subprocess.Popen[bytes]) -> int:
        try:
            return process.wait(self._end_timeout_s)
        except subprocess.TimeoutExpired:
            process.kill()
            return process.wait()


def exit_reason(code: int) -> str:
    """ "exit code 1", or the signal's name, as "SIGSEGV"."""
    if code < 0:
        with contextlib.suppress(ValueError):
            return signal.Signals(-code).name
    return f"exit code {code}"


def _encoded(message: Any) -> bytes:
    return json.dumps(message).encode() + b"\n"


def _write(process: subprocess.Popen[bytes], lines: queue.Queue[bytes | None]) -> None:
    assert process.stdin is not None
    with contextlib.suppress(OSError, ValueError):  # the child has ended
        while (line := lines.get()) is not None:
            process.stdin.write(line)
            process.stdin.flush()
    with contextlib.suppress(OSError):
        process.stdin.close()
