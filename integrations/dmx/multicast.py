"""Sockets that receive the multicast groups of sACN's universes, on each network that is meant."""

from __future__ import annotations

import socket
import sys
from collections.abc import Sequence

import psutil
from sacn.messages.data_packet import calculate_multicast_addr

_IP_MULTICAST_ALL = 49  # linux/in.h; Python has no name for it


def own_groups_only(line: socket.socket) -> None:
    """Linux hands a socket the groups that any program has joined, unless it is told not to."""
    if sys.platform == "linux":
        line.setsockopt(socket.IPPROTO_IP, _IP_MULTICAST_ALL, 0)


def networks(host: str) -> set[str]:
    """This machine's IPv4 addresses that `host` means: itself, or for 0.0.0.0 one for each network that is up."""
    if host != "0.0.0.0":
        return {host}
    up = {name for name, facts in psutil.net_if_stats().items() if facts.isup}
    return {
        address.address
        for name, addresses in psutil.net_if_addrs().items() if name in up
        for address in addresses if address.family == socket.AF_INET
    }  # fmt: skip


class Groups:
    """host: as for `networks`. A socket that is bound to one address gets no multicast, but on Windows; so each group
    has a socket of its own, bound to the group."""

    def __init__(self, host: str, universes: Sequence[int], port: int, unicast: socket.socket) -> None:
        """unicast: the socket that is bound to `host`, which does it all on Windows."""
        self._host, self._joined = host, set[tuple[str, str]]()
        self._lines: dict[str, socket.socket] = {}
        self.errors: dict[tuple[str, str], str] = {}  # by group and network
        for universe in universes:
            group = calculate_multicast_addr(universe)
            self._lines[group] = unicast if sys.platform == "win32" else self._bound(group, port)

    @property
    def sockets(self) -> list[socket.socket]:
        return list(self._lines.values()) if sys.platform != "win32" else []

    @staticmethod
    def _bound(group: str, port: int) -> socket.socket:
        line = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        line.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if sys.platform == "darwin":
            line.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        own_groups_only(line)
        line.setblocking(False)
        line.bind((group, port))
        return line

    def join(self) -> None:
        """Join every group on every network, also on one that has come up since the last call."""
        meant = networks(self._host)
        self._joined = {(group, network) for group, network in self._joined if network in meant}
        self.errors = {}
        for group, line in self._lines.items():
            for network in meant:
                if (group, network) in self._joined:
                    continue
                try:
                    line.setsockopt(
                        socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP,
                        socket.inet_aton(group) + socket.inet_aton(network),
                    )  # fmt: skip
                except OSError as error:
                    self.errors[group, network] = error.strerror or str(error)
                else:
                    self._joined.add((group, network))
