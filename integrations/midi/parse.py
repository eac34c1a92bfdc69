"""MIDI bytes to events: whole messages, 14-bit controllers, NRPN, relative encoders. Pure; no ports, no time.

After the MIDI 1.0 Detailed Specification 4.2 (messages, controller pairs n and n+32, NRPN by 99/98 and data entry).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Literal, NamedTuple

Encoding = Literal["twos", "signed", "offset"]
ALL_SOUND_OFF, ALL_NOTES_OFF = 120, 123
DATA, DATA_FINE, INCREMENT, DECREMENT = 6, 38, 96, 97
NRPN_FINE, NRPN, RPN_FINE, RPN = 98, 99, 100, 101
FINE_OFFSET = 32  # the fine half of controller n is controller n + 32
NO_NRPN = 0x3FFF  # the number that selects no NRPN
CLOCK = {0xF8: "tick", 0xFA: "start", 0xFB: "continue", 0xFC: "stop", 0xF2: "position"}
LENGTHS = {0xF1: 2, 0xF2: 3, 0xF3: 2, 0xF6: 1}  # system common; channel messages by their high nibble:
CHANNEL = {0x8: 3, 0x9: 3, 0xA: 3, 0xB: 3, 0xC: 2, 0xD: 2, 0xE: 3}


class Event(NamedTuple):
    """One event of a controller.

    kind: note (value 1..127), off, poly, pressure, cc (0..127); cc14, nrpn, bend (0..16383, bend's rest is 8192);
    step (an NRPN's data increment, value +1 or -1), program; tick, start, continue, stop, position (in sixteenths).
    channel: 1..16, 0 for the clock's. number: note, controller, NRPN 0..16382, program; else 0.
    """

    kind: str
    channel: int
    number: int
    value: int


def fraction(value: float, low: float, centre: float, high: float) -> float:
    """low..high -> 0..1 with the centre at 0.5 exactly, so that the middle of a fader or wheel is 0.5."""
    if value <= centre:
        return 0.5 * (value - low) / (centre - low)
    return 0.5 + 0.5 * (value - centre) / (high - centre)


def seven(x: float) -> int:
    """0..1 -> 0..127, the inverse of `fraction(value, 0, 64, 127)`; clipped."""
    x = min(max(x, 0.0), 1.0)
    return round(128 * x) if x <= 0.5 else round(64 + 126 * (x - 0.5))


def fourteen(x: float) -> int:
    """0..1 -> 0..16383 with 0.5 at 8192."""
    x = min(max(x, 0.0), 1.0)
    return round(16384 * x) if x <= 0.5 else round(8192 + 16382 * (x - 0.5))


def widened(coarse: int) -> int:
    """0..127 -> 0..16383 with both ends and the middle kept (MIDI 2.0 bit scaling, M2-115-U, min-centre-max)."""
    low = coarse & 0x3F
    return (coarse << 7) | ((low << 1 | low >> 5) if coarse > 64 else 0)


def ticks(value: int, encoding: Encoding) -> int:
    """How far a relative encoder was turned: -64..63, right is positive. value: 0..127.

    twos: two's complement, 1 and 127. signed: bit 6 is the sign, 1 and 65. offset: from 64, 65 and 63.
    """
    if encoding == "twos":
        return value if value < 64 else value - 128
    if encoding == "signed":
        return -(value & 0x3F) if value & 0x40 else value
    return value - 64


class Pair:
    """Combines a coarse and a fine half, sent one after the other, to one value 0..16383.

    The specification wants the coarse half first. A new coarse half alone gives the nearest possible value, so that the
    value does not overshoot until the fine half arrives, and a controller that never sends fine halves still reaches
    both ends. Some controllers send the fine half first: the first half that arrives tells which they are.
    """

    def __init__(self) -> None:
        self._value: int | None = None
        self._fine = False
        self._fine_first: int | None = None  # the latest fine half of a controller that sends it first

    def coarse(self, value: int) -> int:
        if self._fine_first is not None:
            self._value = value << 7 | self._fine_first
        elif not self._fine:
            self._value = widened(value)
        elif self._value is None or value > self._value >> 7:
            self._value = value << 7
        elif value < self._value >> 7:
            self._value = value << 7 | 0x7F
        return self._value or 0

    def fine(self, value: int) -> int | None:
        """None where the coarse half is still to come."""
        if self._value is None or self._fine_first is not None:
            self._fine_first = value
            return None
        self._fine = True
        self._value = self._value & 0x3F80 | value
        return self._value


class Messages:
    """Splits the bytes of one port into messages. A packet that is exactly one message is passed on as it is.

    Bytes may come in any pieces: with the clock's messages between any two of them, and without the status byte where
    it is that of the message before (running status). System exclusive messages are left out.
    """

    def __init__(self) -> None:
        self._status, self._data = 0, list[int]()  # of the message that is not complete, or of the last one

    def feed(self, data: Sequence[int]) -> list[Sequence[int]]:
        if whole(data):
            if data[0] < 0xF8:  # a status byte ends an unfinished message, except for those of the clock
                self._status, self._data = data[0] if data[0] < 0xF0 else 0, []
            return [data]
        found: list[Sequence[int]] = []
        for byte in data:
            if byte >= 0xF8:
                found.append([byte])
                continue
            if byte >= 0x80:
                self._status, self._data = byte, []
            else:
                self._data.append(byte)
            if len(self._data) + 1 == length(self._status):
                found.append([self._status, *self._data])
                self._data = []
                if self._status >= 0xF0:
                    self._status = 0
            elif not length(self._status):
                self._data = []
        return found


def length(status: int) -> int:
    """Bytes of a message; 0 for system exclusive and for what is no status byte of a message."""
    return CHANNEL.get(status >> 4, 0) if status < 0xF0 else 1 if status >= 0xF8 else LENGTHS.get(status, 0)


def whole(data: Sequence[int]) -> bool:
    """Whether these bytes are exactly one message, and not system exclusive."""
    return bool(data) and length(data[0]) == len(data) and all(0 <= byte < 0x80 for byte in data[1:])


class Decoder:
    """Decodes the messages of one port to events. fine: controllers that are also read as 14 bits. nrpn: decode NRPN;
    otherwise its controllers are ordinary ones, as on desks whose sixth fader is controller 6."""

    def __init__(self, fine: Collection[int] = (), nrpn: bool = False) -> None:
        self.wanted, self.nrpn = fine, nrpn
        self._pairs: dict[tuple[int, int], Pair] = {}  # by channel and controller, NRPNs from 128 up
        self._selected: dict[int, int] = {}  # by channel: the selected NRPN

    def decode(self, message: Sequence[int]) -> list[Event]:
        status = message[0]
        if status >= 0xF0:
            kind_of_clock = CLOCK.get(status)
            return (
                [Event(kind_of_clock, 0, 0, message[1] | message[2] << 7 if status == 0xF2 else 0)]
                if kind_of_clock
                else []
            )
        kind, channel = status >> 4, (status & 0xF) + 1
        if kind == 0xB:
            return self._control(channel, message[1], message[2])
        if kind == 0x9 and message[2]:
            return [Event("note", channel, message[1], message[2])]
        if kind in (0x8, 0x9):
            return [Event("off", channel, message[1], message[2])]
        if kind == 0xA:
            return [Event("poly", channel, message[1], message[2])]
        if kind == 0xC:
            return [Event("program", channel, message[1], message[1])]
        if kind == 0xD:
            return [Event("pressure", channel, 0, message[1])]
        return [Event("bend", channel, 0, message[1] | message[2] << 7)]

    def _control(self, channel: int, number: int, value: int) -> list[Event]:
        if self.nrpn:
            found = self._data(channel, number, value)
            if found is not None:
                return found
        events = [Event("cc", channel, number, value)]
        base = number if number in self.wanted else number - FINE_OFFSET
        if base in self.wanted and 0 <= base < FINE_OFFSET:
            pair = self._pairs.setdefault((channel, base), Pair())
            wide = pair.coarse(value) if base == number else pair.fine(value)
            if wide is not None:
                events.append(Event("cc14", channel, base, wide))
        return events

    def _data(self, channel: int, number: int, value: int) -> list[Event] | None:
        """Events of an NRPN message; None where the controller does not belong to one."""
        selected = self._selected.get(channel, NO_NRPN)
        if number in (NRPN, NRPN_FINE):
            keep = selected & (0x7F if number == NRPN else 0x3F80)
            self._selected[channel] = keep | (value << 7 if number == NRPN else value)
            return []
        if number in (RPN, RPN_FINE):
            self._selected[channel] = NO_NRPN
            return []
        if number not in (DATA, DATA_FINE, INCREMENT, DECREMENT) or selected == NO_NRPN:
            return None
        if number in (INCREMENT, DECREMENT):
            return [Event("step", channel, selected, 1 if number == INCREMENT else -1)]
        pair = self._pairs.setdefault((channel, 128 + selected), Pair())
        if len(self._pairs) > 4096:  # noise that selects all NRPNs
            self._pairs.clear()
        wide = pair.coarse(value) if number == DATA else pair.fine(value)
        return [] if wide is None else [Event("nrpn", channel, selected, wide)]
