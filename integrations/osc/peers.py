"""Who is answered: the hosts that may hear from us, and the subscribers to the values. Pure: time is an argument.

A datagram's sender can be forged, so an answer can be aimed at a stranger. Therefore only this machine and the hosts
that the show names are answered, subscribers are few and expire, and every answer has a budget.
"""

from __future__ import annotations

import ipaddress
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from .packets import match

LEASE = 60.0  # seconds a subscription lasts after its host was last heard
SUBSCRIBERS = 16
FASTEST = 50.0  # rounds of feedback a second
PENDING = 4096  # values that may wait for one subscriber
Place = tuple[Any, ...]  # as the socket module has it: host, port, ...


class Budget:
    """`rate` a second on average, `burst` at once."""

    def __init__(self, rate: float, burst: float) -> None:
        self._rate, self._burst = rate, burst
        self._left, self._at = burst, 0.0

    def spend(self, now: float) -> bool:
        self._left = min(self._burst, self._left + max(now - self._at, 0.0) * self._rate)
        self._at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True


class Allowed:
    """The hosts that are answered: this machine, and what the show allows.

    allow: addresses ("192.168.1.20"), networks ("192.168.1.0/24"), "lan" (private and link-local addresses) or "any".
    Raises ValueError for anything else.
    """

    def __init__(self, allow: Iterable[str] = ()) -> None:
        self._words = {entry for entry in allow if entry in ("lan", "any")}
        self._networks = [ipaddress.ip_network(entry, strict=False) for entry in allow if entry not in self._words]
        self._known: dict[str, bool] = {}

    def __call__(self, host: str) -> bool:
        known = self._known.get(host)
        if known is None:
            known = self._look(host)
            if len(self._known) < 1024:
                self._known[host] = known
        return known

    def _look(self, host: str) -> bool:
        try:
            address = ipaddress.ip_address(host.partition("%")[0])
        except ValueError:
            return False
        address = getattr(address, "ipv4_mapped", None) or address
        if address.is_loopback:
            return True
        if address.is_multicast or address.is_unspecified or str(address) == "255.255.255.255":
            return False
        near = address.is_private or address.is_link_local
        return "any" in self._words or ("lan" in self._words and near) or any(address in net for net in self._networks)


@dataclass
class Subscriber:
    """One place that hears of changes. pattern: of addresses, None for all; gap: seconds between two rounds."""

    place: Place
    pattern: str | None
    gap: float
    until: float
    due: float = 0.0
    pending: dict[str, Any] = field(default_factory=dict)

    def note(self, target: str, value: Any, address: str) -> None:
        if self.pattern is None or match(self.pattern, address):
            if len(self.pending) >= PENDING and target not in self.pending:
                del self.pending[next(iter(self.pending))]
            self.pending[target] = value


class Subscribers:
    """Who asked to hear of changes. From any thread."""

    def __init__(self, address_of: Callable[[str], str]) -> None:
        self._address_of = address_of
        self._all: dict[Place, Subscriber] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._all)

    def add(
        self, place: Place, now: float, values: Mapping[str, Any], pattern: str | None = None, rate: float = FASTEST
    ) -> bool:
        """Begin, or renew; everything that is true now is told first. False if there is no room."""
        gap = 1 / min(max(rate, 1.0), FASTEST)
        with self._lock:
            self._expire(now)
            if place not in self._all and len(self._all) >= SUBSCRIBERS:
                return False
            found = self._all[place] = Subscriber(place, pattern, gap, now + LEASE)
            for target, value in values.items():
                found.note(target, value, self._address_of(target))
        return True

    def remove(self, place: Place) -> bool:
        with self._lock:
            return self._all.pop(place, None) is not None

    def heard(self, host: str, now: float) -> None:
        """Something came from that host: its subscriptions go on."""
        if not self._all:
            return
        with self._lock:
            for subscriber in self._all.values():
                if subscriber.place[0] == host:
                    subscriber.until = now + LEASE

    def note(self, target: str, value: Any) -> None:
        if not self._all:
            return
        address = self._address_of(target)
        with self._lock:
            for subscriber in self._all.values():
                subscriber.note(target, value, address)

    def due(self, now: float) -> list[tuple[Place, dict[str, Any]]]:
        """What is to be sent now, to whom."""
        found = []
        with self._lock:
            self._expire(now)
            for subscriber in self._all.values():
                if subscriber.pending and now >= subscriber.due:
                    found.append((subscriber.place, subscriber.pending))
                    subscriber.pending, subscriber.due = {}, now + subscriber.gap
        return found

    @property
    def waiting(self) -> bool:
        return any(subscriber.pending for subscriber in list(self._all.values()))

    def _expire(self, now: float) -> None:
        for place in [place for place, subscriber in self._all.items() if now > subscriber.until]:
            del self._all[place]
