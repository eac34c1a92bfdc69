"""Ctrl-C and SIGTERM as a request to stop."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any


@dataclass
class StopRequest:
    """Whether the performer asked for the end. A plain flag: an Event's lock could be held when the signal comes."""

    said: bool = False


@contextlib.contextmanager
def stop_signals() -> Iterator[StopRequest]:
    """Ctrl-C and SIGTERM end a show in order; the second time they end it at once."""
    leaving = StopRequest()

    def leave(*_: Any) -> None:
        if leaving.said:
            raise KeyboardInterrupt
        leaving.said = True

    before = {number: signal.signal(number, leave) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield leaving
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
