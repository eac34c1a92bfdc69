"""MIDI timecode (MTC): messages to frames and back. Pure; no ports, no time.

After the MIDI 1.0 Detailed Specification 4.2, MIDI Time Code. A frame has four quarter frames; eight of them, pieces 0
to 7, carry one label, and so last two frames. Piece n is sent n quarters after the frame of the label, also in reverse,
where the pieces come from 7 to 0.
"""

from __future__ import annotations

from collections.abc import Sequence

from .. import TimecodeFrame

QUARTER_FRAME, SYSTEM_EXCLUSIVE = 0xF1, 0xF0
RATES = ("24", "25", "29.97", "30")  # by their two bits
PIECES = 8
FRAMES_A_LABEL = 2


def is_timecode(data: Sequence[int]) -> bool:
    """Whether a message is a quarter frame or a full frame."""
    return bool(data) and (
        (data[0] == QUARTER_FRAME and len(data) == 2)
        or (data[0] == SYSTEM_EXCLUSIVE and len(data) == 10 and data[1] == 0x7F and list(data[3:5]) == [1, 1])
    )


class MtcDecoder:
    """Of one port. source: its name."""

    def __init__(self, source: str = "") -> None:
        self._source = source
        self._pieces = [0] * PIECES
        self._last: int | None = None
        self._step = 0  # 1 forwards, -1 in reverse
        self._run = 0  # pieces in a row in that direction
        self._label: tuple[int, int, int, int, str] | None = None  # of the eight pieces before the present ones

    def feed(self, data: Sequence[int], time: float) -> TimecodeFrame | None:
        """The frame that a message of `is_timecode` says; None for the first quarter frames of a run, which carry no
        whole label yet, and for a label that is no time of a day."""
        if data[0] == SYSTEM_EXCLUSIVE:
            self._last, self._run, self._label = None, 0, None
            hours, minutes, seconds, frames = data[5:9]
            return self._frame(
                hours & 31, minutes & 63, seconds & 63, frames & 31, RATES[hours >> 5 & 3], 0.0, time, True
            )
        piece, value = data[1] >> 4 & 7, data[1] & 15
        step = 0 if self._last is None else (piece - self._last + 4) % PIECES - 4
        if abs(step) != 1 or step != self._step:
            self._run, self._label = (1 if abs(step) == 1 else 0), None
        self._step, self._last = (step if abs(step) == 1 else 0), piece
        self._pieces[piece] = value
        self._run += 1
        if piece == (7 if self._step > 0 else 0) and self._run >= PIECES:
            p = self._pieces
            hours = p[6] | (p[7] & 1) << 4
            self._label = hours, p[4] | p[5] << 4, p[2] | p[3] << 4, p[0] | (p[1] & 1) << 4, RATES[p[7] >> 1 & 3]
            return self._frame(*self._label, piece / 4, time)
        if self._label is None:
            return None
        return self._frame(*self._label, piece / 4 + FRAMES_A_LABEL * self._step, time)

    def _frame(self, hours: int, minutes: int, seconds: int, frames: int, rate: str, part: float, time: float,
               located: bool = False) -> TimecodeFrame | None:  # fmt: skip
        if hours > 23 or minutes > 59 or seconds > 59 or frames > 29:
            return None
        return TimecodeFrame(hours, minutes, seconds, frames, part, rate, time, located, self._source)


def piece(number: int, label: Sequence[int], rate: str) -> int:
    """The four bits of a quarter frame, 0 to 7. label: hours, minutes, seconds, frames."""
    hours, minutes, seconds, frames = label
    coded = hours | RATES.index(rate) << 5
    value = (frames, seconds, minutes, coded)[number // 2]
    return value >> 4 & 15 if number % 2 else value & 15


def full_frame(label: Sequence[int], rate: str) -> list[int]:
    """The data of the system exclusive message, to all devices."""
    hours, minutes, seconds, frames = label
    return [0x7F, 0x7F, 1, 1, hours | RATES.index(rate) << 5, minutes, seconds, frames]
