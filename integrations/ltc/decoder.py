"""LTC from samples of audio, after SMPTE ST 12-1: biphase mark, 80 bits a frame, a sync word at its end.

samples ──► edges (a level that follows the signal, either polarity) ──► bits (a cell that follows the speed)
        ──► 80 bits around a sync word, forwards or in reverse ──► `LtcFrame`

`Decoder` is a pure state over blocks of samples, at any sample rate. A frame with a bit that cannot be one is left out.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.float32]

BITS = 80
SYNC = 0b0011111111111101  # bits 64..79, the first one first
SYNC_REVERSED = int(f"{SYNC:016b}"[::-1], 2)
ALL_BITS = (1 << BITS) - 1
SLOWEST_CELL_S = 1 / (24 * BITS * 0.2)  # of one bit, at a fifth of the speed
FASTEST_CELL_S = 1 / (30 * BITS * 6)
LEVEL_WINDOW_S = 0.004  # over which the signal's highest and lowest values are taken, three times in a row
HYSTERESIS = 0.3  # of half the signal's swing: smaller ripples are noise
SILENCE = 1e-3  # a smaller swing is no signal
GAIN = 0.08  # with which the cell follows the speed, bit by bit
LEARNED_INTERVALS = 40  # between edges, from which the cell is guessed where it is unknown
SMOOTHED = 0.2  # of a cell, over which the signal is averaged against noise


@dataclass(frozen=True)
class LtcFrame:
    """hours..frames: the label. drop: its drop-frame flag. end: the sample, counted from the first one ever and with a
    fraction, at which the last edge of the frame lies. cell: samples a bit. reverse: it was read backwards, and then
    the frame *begins* at `end`; else the next frame does."""

    hours: int
    minutes: int
    seconds: int
    frames: int
    drop: bool
    end: float
    cell: float
    reverse: bool


def _number(word: int, units: int, tens: int, tens_bits: int) -> int | None:
    """A number of two decimal digits in a frame, whose bit 0 is the lowest; None for a digit above 9."""
    low = word >> units & 15
    return None if low > 9 else (word >> tens & ((1 << tens_bits) - 1)) * 10 + low


def read_word(word: int, end: float, cell: float, reverse: bool) -> LtcFrame | None:
    """The frame in 64 bits, bit 0 the lowest; None where they are no time of a day."""
    frames, seconds = _number(word, 0, 8, 2), _number(word, 16, 24, 3)
    minutes, hours = _number(word, 32, 40, 3), _number(word, 48, 56, 2)
    if frames is None or seconds is None or minutes is None or hours is None:
        return None
    if frames > 29 or seconds > 59 or minutes > 59 or hours > 23:
        return None
    return LtcFrame(hours, minutes, seconds, frames, bool(word >> 10 & 1), end, cell, reverse)


class Decoder:
    """rate: samples a second."""

    def __init__(self, rate: float) -> None:
        self.rate = rate
        self.level = 0.0  # half the swing of the signal
        self._window = max(int(rate * LEVEL_WINDOW_S), 8)
        self._levels: list[tuple[float, float]] = []
        self._rest = np.zeros(0, np.float32)  # samples that do not fill a window yet
        self._tail = np.zeros(1, np.float32)  # the last samples, for the average
        self._at = 0  # the number of the first sample in `_rest`
        self._high = False
        self._last_edge = 0.0
        self._last_value = 0.0
        self._half: float | None = None  # the first half of a bit that is 1
        self._cell = 0.0  # samples a bit; 0 until it is known
        self._intervals: list[float] = []
        self._bits = 0
        self._length = 0  # bits since the last error
        self._errors = 0

    def feed(self, samples: Samples) -> list[LtcFrame]:
        """Frames that end within these samples, (n,) in any unit."""
        data = np.concatenate([self._rest, np.nan_to_num(np.asarray(samples, np.float32))])
        found: list[LtcFrame] = []
        whole = len(data) // self._window * self._window
        for begin in range(0, whole, self._window):
            for edge in self._edges(data[begin : begin + self._window]):
                if (frame := self._edge(edge)) is not None:
                    found.append(frame)
            self._at += self._window
        self._rest = data[whole:]
        return found

    def _edges(self, block: Samples) -> list[float]:
        """The samples at which the signal crosses its middle, each with a fraction."""
        taps = max(1, min(int(self._cell * SMOOTHED), 64))
        joined = np.concatenate([self._tail, block])
        self._tail = joined[-64:]
        if taps > 1:
            padded = joined[-(len(block) + taps - 1) :]
            missing = len(block) + taps - 1 - len(padded)
            padded = np.concatenate([np.full(missing, padded[0], np.float32), padded]) if missing else padded
            sums = np.concatenate([[0.0], np.cumsum(padded, dtype=np.float64)])
            block = ((sums[taps:] - sums[:-taps]) / taps).astype(np.float32)
        self._levels = [*self._levels[-2:], (float(block.min()), float(block.max()))]
        low, high = min(one for one, _ in self._levels), max(one for _, one in self._levels)
        middle, self.level = (low + high) / 2, (high - low) / 2
        previous, self._last_value = self._last_value, float(block[-1])
        if self.level < SILENCE:
            return []
        far = HYSTERESIS * self.level
        sides = np.where(block > middle + far, 1, np.where(block < middle - far, -1, 0))
        decided = np.flatnonzero(sides)
        if not len(decided):
            return []
        now = sides[decided] > 0
        changes = np.flatnonzero(now != np.concatenate([[self._high], now[:-1]]))
        self._high = bool(now[-1])
        shifted = np.concatenate([[previous], block])
        edges = []
        for index in decided[changes]:
            # Back to the middle, which the signal crossed on its way to here.
            i, up = int(index), sides[index] > 0
            while i > 0 and (shifted[i] > middle) == up:
                i -= 1
            before, after = float(shifted[i]), float(shifted[i + 1])
            share = (middle - before) / (after - before) if after != before else 0.5
            edges.append(self._at + i - 1 + min(max(share, 0.0), 1.0) - (taps - 1) / 2)
        return edges

    def _edge(self, at: float) -> LtcFrame | None:
        interval, self._last_edge = at - self._last_edge, at
        if not FASTEST_CELL_S * self.rate / 3 < interval < SLOWEST_CELL_S * self.rate * 1.5:
            self._lose()
            if interval >= SLOWEST_CELL_S * self.rate:  # a gap: what comes then may have another speed
                self._cell, self._intervals = 0.0, []
            return None
        self._intervals = [*self._intervals[1 - LEARNED_INTERVALS :], interval]
        if not self._cell:
            self._learn()
            return None
        share = interval / self._cell
        if share > 1.5 or share < 0.25:
            self._fail()
            return None
        if share > 0.75:
            if self._half is not None:  # a half alone is no bit: it was one half of the one before
                self._half = None
                self._fail()
            self._cell += GAIN * (interval - self._cell)
            return self._bit(0)
        if self._half is None:
            self._half = interval
            return None
        whole, self._half = self._half + interval, None
        self._cell += GAIN * (whole - self._cell)
        return self._bit(1)

    def _learn(self) -> None:
        """Guess the cell: intervals are whole cells or halves."""
        if len(self._intervals) < LEARNED_INTERVALS:
            return
        ordered = sorted(self._intervals)
        low, high = ordered[2], ordered[-3]
        if not 1.5 < high / low < 2.7:
            return
        whole = [interval for interval in ordered if interval > (low + high) / 2]
        self._cell = sum(whole) / len(whole)
        self._errors = 0

    def _fail(self) -> None:
        self._lose()
        self._errors += 1
        if self._errors > 12:  # since the last frame: the speed is another one
            self._cell, self._errors = 0.0, 0
            self._intervals = []

    def _lose(self) -> None:
        self._length, self._half = 0, None

    def _bit(self, bit: int) -> LtcFrame | None:
        self._bits = (self._bits << 1 | bit) & ALL_BITS
        self._length += 1
        if self._length < BITS:
            return None
        if self._bits & 0xFFFF == SYNC:
            # The first bit that was read is bit 0 of the frame.
            word, reverse = int(f"{self._bits:080b}"[::-1], 2), False
        elif self._bits >> 64 == SYNC_REVERSED:
            word, reverse = self._bits, True
        else:
            return None
        self._errors = 0
        return read_word(word & ((1 << 64) - 1), self._last_edge, self._cell, reverse)
