"""Ctrl-C, SIGTERM and a terminal that closes as a request to stop."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing import resource_tracker
from typing import Any

HANG_UP: int | None = getattr(signal, "SIGHUP", None)  # the terminal closed; Windows has none


@dataclass
class StopRequest:
    """Whether the performer asked to stop. A plain flag: an Event's lock could be held when the signal arrives."""

    requested: bool = False


@contextlib.contextmanager
def stop_signals() -> Iterator[StopRequest]:
    """The first of them requests a clean shutdown, the second Ctrl-C or SIGTERM interrupts at once."""
    request = StopRequest()
    _start_tracker()

    def on_signal(number: int, _frame: Any) -> None:
        if request.requested and number != HANG_UP:  # a terminal that closes sends several
            raise KeyboardInterrupt
        request.requested = True

    numbers = [signal.SIGINT, signal.SIGTERM, *([HANG_UP] if HANG_UP is not None else [])]
    before = {number: signal.signal(number, on_signal) for number in numbers}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _start_tracker() -> None:
    """Start the process that multiprocessing keeps to tidy up shared memory, so that it outlives a terminal that
    closes, as it does Ctrl-C: it would print an error for every piece of memory otherwise."""
    if HANG_UP is None:
        return
    before = signal.signal(HANG_UP, signal.SIG_IGN)  # which a new process inherits
    try:
        resource_tracker.ensure_running()
    finally:
        signal.signal(HANG_UP, before)
