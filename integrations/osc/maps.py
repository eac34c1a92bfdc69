"""Addresses of other programs that play parameters, and how a new one is learned. Pure: time is an argument."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

BUSY_S = 1.0  # an address that sent something so shortly before is not what the performer moves now
ADDRESSES_MAX = 512  # of other programs, that are remembered


@dataclass(frozen=True)
class AddressRule:
    """One address. press: the arguments that a press sends; None for a fader, whose value is `value` of 0..1."""

    address: str
    target: str
    value: Callable[[float], float]
    press: tuple[Any, ...] | None = None


class AddressMap:
    """What addresses of other programs play, and whether the next one that moves is learned.

    `learn`, `set` and `latest_wins` may be called from any thread.
    """

    def __init__(self, rules: Iterable[Mapping[str, Any]] = ()) -> None:
        self._rules: dict[str, list[AddressRule]] = {}
        self._sent_at: dict[str, float] = {}
        self.armed, self._armed_at = "", 0.0
        self.set(rules)

    def set(self, rules: Iterable[Mapping[str, Any]]) -> None:
        found: dict[str, list[AddressRule]] = {}
        for fields in rules:
            rule = AddressRule(**fields)
            found.setdefault(rule.address, []).append(rule)
        self._rules = found

    def latest_wins(self, address: str) -> bool:
        """Whether only the newest message of that address counts: no press may be lost."""
        rules = self._rules.get(address)
        return rules is not None and all(rule.press is None for rule in rules)

    def controls(self, address: str, args: tuple[Any, ...]) -> list[tuple[str, tuple[Any, ...]]] | None:
        """(target, arguments) of each parameter that a message plays; None for an address that plays none."""
        rules = self._rules.get(address)
        if rules is None:
            return None
        x = position(args)
        found: list[tuple[str, tuple[Any, ...]]] = []
        for rule in rules:
            if rule.press is None:
                found += [(rule.target, (rule.value(x),))] if x is not None and args else []
            elif x is None or x > 0:
                found.append((rule.target, rule.press))
        return found

    def learn(self, target: str, now: float) -> None:
        """Learn the next address that moves for that target; an empty one cancels."""
        if target != self.armed:
            self.armed, self._armed_at = target, now

    def learns(self, address: str, now: float) -> bool:
        """Whether this message is the one to learn from. An address that was busy before is not: level meters
        and clocks send all the time."""
        last = self._sent_at.pop(address, None)
        self._sent_at[address] = now
        while len(self._sent_at) > ADDRESSES_MAX:
            self._sent_at.pop(next(iter(self._sent_at)))
        if not self.armed:
            return False
        return last is None or last < self._armed_at - BUSY_S


def position(args: tuple[Any, ...]) -> float | None:
    """The first argument as a position 0..1, None where there is no number: a message without one is a press."""
    if not args or isinstance(args[0], str | bytes) or args[0] is None:
        return None
    try:
        x = float(args[0])
    except (TypeError, ValueError):
        return None
    return min(max(x, 0.0), 1.0) if x == x else None
