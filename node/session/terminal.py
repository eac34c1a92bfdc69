"""The terminal of a running show, written by a thread of its own, so that a stuck terminal stops nothing else."""

from __future__ import annotations

import sys
import threading
import time
from collections import deque

from rich.console import Console
from rich.live import Live
from rich.text import Text

from ..ipc.status import plain_text

RECENT_MAX = 20  # messages that the surface lists
MESSAGES_MAX = 100  # in the queue; when it is full, the oldest are dropped
REFRESH_S = 0.25
CLOSE_TIMEOUT_S = 0.5
STATUS_CHARS = 2000
MESSAGE_CHARS = 1000
_stuck = False


def is_stuck() -> bool:
    """Whether a terminal stopped taking output. This process must then end without flushing its streams."""
    return _stuck


class QuietConsole(Console):
    """Without rich's own handling of a broken pipe, which redirects standard output and ends the caller."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


class Terminal:
    """Messages and a status line. `print_line` and `show_status` never wait for the terminal.

    recent: the latest messages, each with its time in seconds of UTC since 1970.
    """

    def __init__(self, live: bool) -> None:
        """live: show a status line, where standard error is a terminal."""
        self._console = QuietConsole(stderr=True)
        self.live = live and self._console.is_terminal
        self._messages: deque[str] = deque(maxlen=MESSAGES_MAX)
        self.recent: deque[tuple[float, str]] = deque(maxlen=RECENT_MAX)
        self._status = "opening the world…"
        self._wake, self._closing = threading.Event(), False
        self._thread = threading.Thread(target=self._write, name="terminal", daemon=True)
        self._thread.start()

    def print_line(self, text: str, private: bool = False) -> None:
        """Print one line, which stays above the status line. private: it is for this terminal only."""
        line = plain_text(text, MESSAGE_CHARS)
        self._messages.append(line)
        if not private:
            self.recent.append((time.time(), line))
        self._wake.set()

    def show_status(self, text: str) -> None:
        """Replace the status line."""
        self._status = plain_text(text, STATUS_CHARS)

    def close(self) -> bool:
        """Write the queued messages, for at most half a second. Returns whether the terminal took them."""
        global _stuck
        self._closing = True
        self._wake.set()
        self._thread.join(CLOSE_TIMEOUT_S)
        _stuck |= self._thread.is_alive()
        return not self._thread.is_alive()

    def _write(self) -> None:
        try:
            if self.live:
                with Live(Text(self._status), console=self._console, auto_refresh=False, transient=True,
                          redirect_stdout=False, redirect_stderr=False) as line:  # fmt: skip
                    self._until_closed(line)
            else:
                self._until_closed(None)
            self._print_messages()
        except (OSError, ValueError):  # its other end was closed
            return

    def _until_closed(self, line: Live | None) -> None:
        while not self._closing:
            self._wake.wait(REFRESH_S if line else None)
            self._wake.clear()
            self._print_messages()
            if line:
                line.update(Text(self._status), refresh=True)

    def _print_messages(self) -> None:
        while self._messages:
            self._console.print(self._messages.popleft(), highlight=False, markup=False, soft_wrap=not self.live)
        sys.stderr.flush()
