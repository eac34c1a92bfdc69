"""The modulators that a show plays.

A modulator adds to its target's value: an oscillator of depth 1 swings by half the target's range to either side, so
over all of it where the fader is in the middle; an envelope reaches over the whole range. The fader itself stays.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ..parameters import MODULATORS, Parameter
from ..show.modulators import targets_of
from ..timing.oscillators import Modulator, wave
from ..timing.tempo import Line, Meter

PRESSED = 0.5  # a fader above this plays an envelope
CYCLE_MIN_BEATS = 1 / 64  # shorter cycles cannot be seen, and would overflow
STEP_MAX_S = 0.25  # by which an oscillator moves on at once, after a pause of the control loop


class Modulators:
    """All modulators of a show. The parameters mod/<n>/... set what they do, and can be played like all others."""

    def __init__(self, declared: Iterable[Modulator] = ()) -> None:
        self._all = {n: Modulator(n) for n in range(1, MODULATORS + 1)}
        self._all.update({m.number: m for m in declared})
        self._targets: dict[int, tuple[str, tuple[Parameter, ...]]] = {}
        self._last: float | None = None
        self._broken: list[tuple[int, Exception]] = []
        self.players = {f"mod/{n}/fire" for n in self._all}.union(*(m.on for m in self._all.values()))

    def play_envelopes(self, name: str, value: Any, now: float, line: Line, meter: Meter) -> None:
        """Play the envelopes that this control fires. value: None for a trigger."""
        for n, m in self._all.items():
            if name not in m.on and name != f"mod/{n}/fire":
                continue
            envelope = m.envelope(line.bpm, meter)
            if value is None:
                m.press.press(envelope, now, hold=False)
            elif isinstance(value, bool | int | float):
                down = value > PRESSED
                if down and name not in m.pressed:
                    m.pressed.add(name)
                    m.press.press(envelope, now, hold=True)
                elif not down and name in m.pressed:
                    m.pressed.discard(name)
                    if not m.pressed and m.press.up is None:
                        m.press.up = now

    def offsets(self, values: Mapping[str, Any], now: float, line: Line, meter: Meter) -> dict[str, float]:
        """By how much each target is moved at `now`; targets that several move get the sum.

        A modulator that fails moves nothing, and `broken` returns it.
        """
        dt = 0.0 if self._last is None else min(max(now - self._last, 0.0), STEP_MAX_S)
        self._last = now
        moved: dict[str, float] = {}
        for n, m in self._all.items():
            m.phase += values[f"mod/{n}/rate"] * dt
            depth, to = values[f"mod/{n}/depth"], values[f"mod/{n}/to"]
            if not depth or not to:
                continue
            try:
                level = self._level(m, values, now, line, meter) + values[f"mod/{n}/offset"]
                named = self._named(n, to)
            except Exception as error:
                self._broken.append((n, error))
                continue
            for p in named:
                moved[p.name] = moved.get(p.name, 0.0) + depth * level * (p.high - p.low) / 2
        return moved

    def broken(self) -> list[tuple[int, Exception]]:
        """The numbers of those that failed since the last call, and why."""
        found, self._broken = self._broken, []
        return found

    def _level(self, m: Modulator, values: Mapping[str, Any], now: float, line: Line, meter: Meter) -> float:
        shape, beats = values[f"mod/{m.number}/shape"], values[f"mod/{m.number}/beats"]
        if shape == "envelope":
            return 2 * m.press.level(m.envelope(line.bpm, meter), now)
        phase = line.beat_at(now) / max(beats, CYCLE_MIN_BEATS) if beats > 0 else m.phase
        return wave(shape, phase + m.shift, m.number)

    def _named(self, n: int, to: str) -> Sequence[Parameter]:
        """The parameters of mod/<n>/to. A text that names none, which the desk refuses, moves nothing."""
        text, found = self._targets.get(n, ("", ()))
        if text != to:
            try:
                found = targets_of(to)
            except ValueError:
                found = ()
            self._targets[n] = (to, found)
        return found
