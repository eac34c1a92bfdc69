"""The events of a show while it plays: what they set, how long it stands, and what it goes back to. Pure: time is an
argument."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from ..show.events import Event

Read = Callable[[str], Any]
Apply = Callable[[str, Any, float], None]


@dataclass
class Layers:
    """What events hold one parameter at. base: its value before the first of them. held: by event, the newest last."""

    base: Any
    held: dict[str, Any] = field(default_factory=dict)

    @property
    def top(self) -> Any:
        return list(self.held.values())[-1] if self.held else self.base


class Events:
    """read: a parameter's present value. fire: a trigger with its arguments, or a value that stays. hold: a value that
    will go back. The last two take the time as well.

    Where several events hold one parameter, the newest wins, and the end of one lets the next one show. Once anybody
    else has moved the parameter, it stays as it is.
    """

    def __init__(self, events: Iterable[Event], read: Read, fire: Callable[[str, tuple[Any, ...], float], None],
                 hold: Apply) -> None:  # fmt: skip
        self._events = {event.name: event for event in events}
        self._read, self._fire, self._hold = read, fire, hold
        self._layers: dict[str, Layers] = {}
        self._ends: dict[str, float] = {}  # by name, of events that stand
        self._fired_at: dict[str, float] = {}
        self.counts: dict[str, int] = dict.fromkeys(self._events, 0)

    def obey(self, name: str, down: bool, at: float) -> None:
        """Its button goes down or comes up. A press within the cooldown is passed over. ValueError for none such."""
        event = self._events.get(name)
        if event is None:
            known = ", ".join(self._events) or "none"
            raise ValueError(f"the show has no event {name!r}; its events are: {known}")
        if not down:
            if event.hold:
                self._end(name, at)
            return
        if at - self._fired_at.get(name, float("-inf")) < event.cooldown:
            return
        self._fired_at[name] = at
        self.counts[name] += 1
        stands = event.hold or event.lifetime is not None
        for target, args in event.fires():
            self._fire(target, args, at)
        for target, value in event.values():
            if stands:
                self._lay(name, target, value, at)
            else:
                self._fire(target, (value,), at)
        if stands:
            self._ends[name] = at + event.lifetime if event.lifetime is not None else float("inf")

    def advance(self, now: float) -> None:
        """End what is over; called often."""
        for name in [name for name, ends in self._ends.items() if now >= ends]:
            self._end(name, now)

    def clear(self) -> None:
        """Forget what stands: all of it stays as it is."""
        self._layers.clear()
        self._ends.clear()

    def status(self, now: float) -> list[dict[str, Any]]:
        """Of each event: its name, whether it stands, seconds left of it (None: until it is released) and how often it
        was fired."""
        rows = []
        for name in self._events:
            ends = self._ends.get(name)
            left = None if ends is None or ends == float("inf") else round(max(ends - now, 0.0), 1)
            rows.append({"name": name, "on": ends is not None, "left": left, "count": self.counts[name]})
        return rows

    def _lay(self, name: str, target: str, value: Any, at: float) -> None:
        now = self._read(target)
        layers = self._layers.get(target)
        if layers is None or now != layers.top:  # the first, or somebody moved it
            layers = self._layers[target] = Layers(now)
        layers.held.pop(name, None)
        layers.held[name] = value
        self._hold(target, value, at)

    def _end(self, name: str, at: float) -> None:
        if self._ends.pop(name, None) is None:
            return
        for target in [target for target, layers in self._layers.items() if name in layers.held]:
            layers = self._layers[target]
            before = layers.top
            del layers.held[name]
            if self._read(target) != before:
                del self._layers[target]
                continue
            if layers.top != before:
                self._hold(target, layers.top, at)
            if not layers.held:
                del self._layers[target]
