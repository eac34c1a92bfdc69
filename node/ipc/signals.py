"""Ctrl-C and SIGTERM as a request to stop."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any


@dataclass
class StopRequest:
    """Whether the performer asked to stop. A plain flag: an Event's lock could be held when the signal arrives."""

    requested: bool = False


@contextlib.contextmanager
def stop_signals() -> Iterator[StopRequest]:
    """The first Ctrl-C or SIGTERM requests a clean shutdown, the second interrupts at once."""
    request = StopRequest()

    def on_signal(*_: Any) -> None:
        if request.requested:
            raise KeyboardInterrupt
        request.requested = True

    before = {number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
