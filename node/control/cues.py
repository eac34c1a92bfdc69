"""Cues: which cue a control means, what a cue changes, and the ramps to it. Pure: time is an argument."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..parameters import PADS, SWITCH_WORDS, bare, find, is_number, number_text, to_number
from ..show.pads import Cue
from ..show.schema import Show
from ..timing.easing import Curve, curved
from .arguments import has_no_value


@dataclass(frozen=True)
class Change:
    """One parameter that moves to `value` within `seconds`. For a prompt these are its transition; a crossfade of
    prompts is always smooth."""

    target: str
    value: Any
    seconds: float = 0.0
    curve: Curve = "smooth"


def choose(cues: Sequence[Cue], args: Sequence[Any], current: int | None) -> int | None:
    """Index of the cue that `cue/go` with these arguments means; None for a button that comes up.

    No argument, True or "bang" means the next cue, and after the last the first; a text is a name in any case, also
    with underscores for its spaces. A number is the cue of that name, else it counts from 1. Raises ValueError, with
    the cues that exist, for one that does not, and for a fraction that is no cue's name.
    """
    if not cues:
        raise ValueError("this show has no cues; add `cues:` to its file")
    key = args[0] if args else True
    if isinstance(key, bool) or key is None:
        return (0 if current is None else (current + 1) % len(cues)) if key is not False else None
    names = [cue.name.lower() for cue in cues]
    if isinstance(key, int | float):
        if not key > 0:  # 0 is a released button; NaN is nothing
            return None
        if (name := number_text(key)) in names:
            return names.index(name)
        if key < 1:
            return None
        if key > len(cues) or not float(key).is_integer():
            raise ValueError(f"there is no cue {key:g}: this show has {len(cues)}")
        return int(key) - 1
    wanted = bare(str(key)).lower()
    for spelt in (wanted, wanted.replace("_", " ")):
        if spelt in names:
            return names.index(spelt)
    if has_no_value((wanted,)) or wanted in SWITCH_WORDS:
        return choose(cues, (SWITCH_WORDS.get(wanted, 1.0) > 0,), current)
    if is_number(wanted) and to_number(wanted) >= 0:
        return choose(cues, (to_number(wanted),), current)
    near = difflib.get_close_matches(wanted, names, 1)
    hint = f", did you mean {near[0]!r}?" if near else f": there is {', '.join(names)}"
    raise ValueError(f"there is no cue {str(key)[:80]!r}{hint}")


def before(cues: Sequence[Cue], current: int | None) -> int:
    """Index of the cue before the current one; before the first comes the last. ValueError where there is none."""
    if not cues:
        raise ValueError("this show has no cues; add `cues:` to its file")
    if current is None:
        raise ValueError("no cue was fired yet")
    return (current - 1) % len(cues)


def changes(show: Show, cue: Cue, seconds: float | None = None) -> list[Change]:
    """Everything that a cue changes, in the order in which it can be carried out. seconds: of its transition."""
    seconds = cue.seconds if seconds is None else seconds
    found = [] if cue.prompt is None else [Change("prompt", cue.prompt, seconds, cue.curve)]
    if cue.pads is not None:
        weights = {show.pad_number(key, cue.bank): weight for key, weight in cue.pads.items()}
        found += [Change(f"pad/{n}", weights.get(n, 0.0), seconds, cue.curve) for n in range(1, PADS + 1)]
    found += [Change(name, value, seconds, cue.curve) for name, value in cue.values.items()]
    return found


@dataclass(frozen=True)
class Ramp:
    start: float
    end: float
    begin: float  # seconds, on the same clock as `now`
    seconds: float
    curve: Curve = "smooth"

    def at(self, now: float) -> float:
        return self.start + (self.end - self.start) * curved(self.curve, (now - self.begin) / self.seconds)


class Ramps:
    """Faders that a cue moves. A performer who moves one takes it over (`touch`)."""

    def __init__(self) -> None:
        self._ramps: dict[str, Ramp] = {}

    def __len__(self) -> int:
        return len(self._ramps)

    def __contains__(self, target: object) -> bool:
        return target in self._ramps

    def start(self, wanted: Iterable[Change], values: Mapping[str, Any], now: float) -> list[Change]:
        """Start ramps. Returns the changes to carry out at once: those of no fader, in no time, or of no distance."""
        at_once = []
        for change in wanted:
            p = find(change.target)
            start = values.get(change.target, p.default if p else None)
            self._ramps.pop(change.target, None)
            if p is not None and p.kind == "float" and change.seconds > 0 and start != change.value:
                self._ramps[change.target] = Ramp(float(start), float(change.value), now, change.seconds, change.curve)
            else:
                at_once.append(change)
        return at_once

    @property
    def targets(self) -> list[str]:
        return list(self._ramps)

    @property
    def ends(self) -> dict[str, float]:
        """Where each moving fader is going."""
        return {target: ramp.end for target, ramp in self._ramps.items()}

    def touch(self, target: str) -> None:
        """End the ramp of a fader that something else has set."""
        self._ramps.pop(target, None)

    def clear(self) -> None:
        self._ramps.clear()

    def left(self, now: float) -> dict[str, float] | None:
        """Of the ramp that ends last: the seconds that are "left", and its length ("of"); None where nothing moves."""
        last = max(list(self._ramps.values()), key=lambda ramp: ramp.begin + ramp.seconds, default=None)
        if last is None:
            return None
        return {"left": round(max(last.begin + last.seconds - now, 0.0), 2), "of": round(last.seconds, 2)}

    def began(self, target: str) -> float:
        """When the ramp began. It is the arrival time of all values on it, since they are no new controls. 0 without a
        ramp."""
        ramp = self._ramps.get(target)
        return ramp.begin if ramp else 0.0

    def advance(self, now: float) -> dict[str, float]:
        """The value of every moving fader now; each ends exactly on its target."""
        return {target: self.pass_on(target, now) for target in self.targets}

    def pass_on(self, target: str, now: float) -> float:
        """The value of that fader now; the ramp ends when it has arrived."""
        ramp = self._ramps[target]
        if now < ramp.begin + ramp.seconds:
            return ramp.at(now)
        del self._ramps[target]
        return ramp.end
