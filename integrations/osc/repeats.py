"""Messages that move nothing, though they look like moves. Pure: time is an argument, in seconds of one clock.

TouchDesigner's OSC Out CHOP sends all of its channels in every frame unless it is set not to, and a two-way binding
sends each value of our feedback back. Either would take a fader away from the cue that moves it.
"""

from __future__ import annotations

import struct
import threading
from collections import OrderedDict, deque
from typing import Any

STREAM_GAP_S = 0.25  # between two messages of one stream, at most
STREAM_MESSAGES = 10  # equal ones in a row, before they are a stream and no hand
ECHO_S = 0.25  # in which a value comes back
ECHO_VALUES = 32  # of one target, the latest
KNOWN_MAX = 4096  # addresses of senders, or targets of receivers


class Streams:
    """Senders that repeat a value which does not change."""

    def __init__(self) -> None:
        self._last: OrderedDict[tuple[Any, str], tuple[int, float, int]] = OrderedDict()  # hash, time, number in a row

    def stands_still(self, message: bytes, sender: Any, target: str, now: float) -> bool:
        """Whether this message only repeats what the sender has been sending to its target for a while."""
        same = hash(message)
        before, at, count = self._last.get((sender, target), (0, now, 0))
        count = count + 1 if before == same and now - at < STREAM_GAP_S else 0
        self._last[sender, target] = (same, now, count)
        if len(self._last) > KNOWN_MAX:
            self._last.popitem(last=False)
        return count >= STREAM_MESSAGES

    def moved(self, sender: Any, target: str) -> None:
        """The sender has moved its target otherwise, by a step or a pattern: the same value is a move again."""
        self._last.pop((sender, target), None)


class Echoes:
    """Values of feedback that come back. Methods may be called from any thread."""

    def __init__(self) -> None:
        self._sent: OrderedDict[tuple[str, str], deque[tuple[Any, float]]] = OrderedDict()  # by host and target
        self._lock = threading.Lock()

    def note(self, host: str, target: str, value: Any, now: float) -> None:
        """This value is sent to that host."""
        with self._lock:
            self._sent.setdefault((host, target), deque(maxlen=ECHO_VALUES)).append((_as_sent(value), now))
            if len(self._sent) > KNOWN_MAX:
                self._sent.popitem(last=False)

    def is_echo(self, host: str, target: str, value: Any, now: float) -> bool:
        """Whether a value that arrives is one that was just sent there. It is forgotten with all before it, and any
        other value, which is a move, makes all forgotten: a button may go to and fro as fast as it likes."""
        with self._lock:
            sent = self._sent.get((host, target))
            while sent:
                other, at = sent.popleft()
                if other == _as_sent(value) and now - at < ECHO_S:
                    return True
        return False


def _as_sent(value: Any) -> Any:
    """A value as it is after its way through OSC: numbers are 32-bit floats."""
    try:
        return struct.pack(">f", value)
    except (struct.error, OverflowError):
        return value
