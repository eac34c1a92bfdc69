"""Who may connect to a public server: limits overall and for each address, and no patience with half requests."""

from __future__ import annotations

import asyncio
import ipaddress
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from ..token_bucket import TokenBucket

SWEEP_INTERVAL_S = 1.0
REQUESTS_MAX_S = 20.0  # a connection that is no websocket by then is closed, whatever it does
BACKLOG = 1024


class Gate:
    """Makes the protocol of each connection. Closes those that are too many, come too fast, or do not get to a point.

    connections_max: in all. per_address: from one. per_s, burst: new ones from all. A connection that is refused costs
    nothing but its accepting: no answer is made for it.
    """

    def __init__(
        self, make: Callable[[], Any], connections_max: int, per_address: int, per_s: float = 600.0,
        burst: float = 4000.0,
    ) -> None:  # fmt: skip
        self._make = make
        self._max, self._per_address = connections_max, per_address
        self._bucket = TokenBucket(per_s, burst)
        self._open: dict[Any, tuple[str, float]] = {}  # address and begin
        self._addresses: Counter[str] = Counter()
        self._kept: set[Any] = set()  # websockets
        self.refused = 0

    def __call__(self) -> Any:
        if len(self._open) >= self._max or not self._bucket.spend(time.monotonic()):
            self.refused += 1
            return _Refusal()
        protocol = self._make()
        self._open[protocol] = "", time.monotonic()
        asyncio.get_running_loop().call_soon(self._count, protocol)  # it has a transport by then
        return protocol

    @property
    def connections(self) -> int:
        return len(self._open)

    def keep(self, protocol: Any) -> None:
        """This connection became a websocket, which has its own limits."""
        if protocol in self._open:
            self._kept.add(protocol)

    def sweep(self) -> None:
        """Once every SWEEP_INTERVAL_S: forget closed connections, and close those that take too long."""
        now = time.monotonic()
        for protocol in [protocol for protocol in self._open if protocol.transport is None]:
            self._forget(protocol)
        for protocol, (_, begin) in self._open.items():
            if protocol not in self._kept and now - begin > REQUESTS_MAX_S:
                self.refused += 1
                protocol.transport.abort()

    def close(self) -> None:
        """Close every connection at once: pages try to come back."""
        for protocol in self._open:
            if protocol.transport is not None:
                protocol.transport.abort()

    def _count(self, protocol: Any) -> None:
        if (transport := protocol.transport) is None:
            self._forget(protocol)
            return
        address = network_of(transport.get_extra_info("peername"))
        self._open[protocol] = address, self._open[protocol][1]
        self._addresses[address] += 1
        if self._addresses[address] > self._per_address:
            self.refused += 1
            transport.abort()

    def _forget(self, protocol: Any) -> None:
        address, _ = self._open.pop(protocol)
        self._kept.discard(protocol)
        if address:
            self._addresses[address] -= 1
            if self._addresses[address] <= 0:
                del self._addresses[address]


class _Refusal(asyncio.Protocol):
    def connection_made(self, transport: Any) -> None:
        transport.abort()


def network_of(peer: Any) -> str:
    """Who counts as one address: an IPv4 address, or a /64 of IPv6, of which one phone has as many as it likes."""
    try:
        address = ipaddress.ip_address(str(peer[0]).partition("%")[0])
    except (ValueError, TypeError, IndexError):
        return "unknown"
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return str(ipaddress.ip_network((address, 64), strict=False))
    return str(address)


async def listen(gate: Gate, host: str, port: int, tried: int = 20) -> asyncio.Server:
    """Listen on the port, or on one of the next that is free. OSError for a host that is not this machine's."""
    numbers = [*range(port, min(port + tried, 65536)), 0] if port else [0]
    for number in numbers:
        try:
            return await asyncio.get_running_loop().create_server(gate, host or None, number, backlog=BACKLOG)
        except OSError:
            if number == numbers[-1]:
                raise
    raise AssertionError("the last attempt returns or raises")
