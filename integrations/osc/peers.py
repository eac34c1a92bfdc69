"""Hosts that get answers, and subscribers to values. Pure: time is an argument.

The sender of a datagram can be forged, so an answer can be directed at a victim. Therefore only this machine and the
hosts that the show names get answers, subscriptions are few and expire, and answers have a rate limit.
"""

from __future__ import annotations

import ipaddress
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from .packets import match

LEASE_S = 60.0  # of a subscription, after the last message of its host
SUBSCRIBERS_MAX = 16
FEEDBACK_RATE_HZ = 50.0
PENDING_MAX = 4096  # values for one subscriber
Endpoint = tuple[Any, ...]  # a socket address: host, port, ...


class Allowed:
    """The hosts that get answers: this machine, and those that the show allows.

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
            known = self._is_allowed(host)
            if len(self._known) < 1024:
                self._known[host] = known
        return known

    def _is_allowed(self, host: str) -> bool:
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
    """One receiver of changes. pattern: of addresses, None for all. interval_s: between two rounds."""

    endpoint: Endpoint
    pattern: str | None
    interval_s: float
    until: float
    due: float = 0.0
    pending: dict[str, Any] = field(default_factory=dict)

    def note(self, target: str, value: Any, address: str) -> None:
        if self.pattern is None or match(self.pattern, address):
            if len(self.pending) >= PENDING_MAX and target not in self.pending:
                del self.pending[next(iter(self.pending))]
            self.pending[target] = value


class Subscribers:
    """Receivers that subscribed to changes. Methods may be called from any thread."""

    def __init__(self, address_of: Callable[[str], str]) -> None:
        self._address_of = address_of
        self._all: dict[Endpoint, Subscriber] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._all)

    def add(
        self,
        endpoint: Endpoint,
        now: float,
        values: Mapping[str, Any],
        pattern: str | None = None,
        rate: float = FEEDBACK_RATE_HZ,
    ) -> bool:
        """Subscribe, or renew; all current values are sent first. False if there are too many subscribers."""
        interval_s = 1 / min(max(rate, 1.0), FEEDBACK_RATE_HZ)
        with self._lock:
            self._expire(now)
            if endpoint not in self._all and len(self._all) >= SUBSCRIBERS_MAX:
                return False
            found = self._all[endpoint] = Subscriber(endpoint, pattern, interval_s, now + LEASE_S)
            for target, value in values.items():
                found.note(target, value, self._address_of(target))
        return True

    def remove(self, endpoint: Endpoint) -> bool:
        with self._lock:
            return self._all.pop(endpoint, None) is not None

    def renew(self, host: str, now: float) -> None:
        """A message arrived from that host: extend its subscriptions."""
        if not self._all:
            return
        with self._lock:
            for subscriber in self._all.values():
                if subscriber.endpoint[0] == host:
                    subscriber.until = now + LEASE_S

    def note(self, target: str, value: Any) -> None:
        if not self._all:
            return
        address = self._address_of(target)
        with self._lock:
            for subscriber in self._all.values():
                subscriber.note(target, value, address)

    def due(self, now: float) -> list[tuple[Endpoint, dict[str, Any]]]:
        """Receivers, and the values to send to them now."""
        found = []
        with self._lock:
            self._expire(now)
            for subscriber in self._all.values():
                if subscriber.pending and now >= subscriber.due:
                    found.append((subscriber.endpoint, subscriber.pending))
                    subscriber.pending, subscriber.due = {}, now + subscriber.interval_s
        return found

    @property
    def waiting(self) -> bool:
        return any(subscriber.pending for subscriber in list(self._all.values()))

    def _expire(self, now: float) -> None:
        for endpoint in [endpoint for endpoint, subscriber in self._all.items() if now > subscriber.until]:
            del self._all[endpoint]
