"""Art-Net 4 (Artistic Licence, "Specification for the Art-Net 4 Ethernet Communication Protocol"): ArtDmx, ArtPoll and
its reply. The libraries for it do not tell senders apart, which merging needs, and answer no ArtPoll.
"""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass

PORT = 6454
CHANNELS = 512
UNIVERSES = 1 << 15  # port-addresses: net, sub-net and universe in 15 bits
_ID = b"Art-Net\0"
_POLL, _POLL_REPLY, _DMX = 0x2000, 0x2100, 0x5000
_PROTOCOL = 14
_PORTS_A_REPLY = 4


@dataclass(frozen=True)
class ArtDmx:
    """universe: the port-address, 0 to 32767. sequence: 1 to 255; 0 is none. data: up to 512 channels."""

    universe: int
    sequence: int
    data: bytes


@dataclass(frozen=True)
class ArtPoll:
    """A desk looks for nodes."""


def parse(datagram: bytes) -> ArtDmx | ArtPoll | None:
    """What a datagram says; None for anything that is no ArtDmx and no ArtPoll."""
    if len(datagram) < 12 or not datagram.startswith(_ID):
        return None
    code = int.from_bytes(datagram[8:10], "little")
    if code == _POLL:
        return ArtPoll()
    if code != _DMX or len(datagram) < 20:
        return None
    universe, length = struct.unpack_from("<H", datagram, 14)[0], struct.unpack_from(">H", datagram, 16)[0]
    data = datagram[18 : 18 + min(length, CHANNELS)]
    return ArtDmx(universe % UNIVERSES, datagram[12], data) if data else None


def packed(frame: ArtDmx) -> bytes:
    """The datagram of a frame. Its data is filled to an even length, as the specification asks."""
    data = frame.data[:CHANNELS]
    data += bytes(len(data) % 2)
    head = _ID + struct.pack("<H", _DMX) + struct.pack(">HBB", _PROTOCOL, frame.sequence, 0)
    return head + struct.pack("<H", frame.universe) + struct.pack(">H", len(data)) + data


def poll_replies(address: str, name: str, universes: list[int]) -> list[bytes]:
    """The answers to an ArtPoll: this node listens to these universes. address: of this machine, IPv4.

    A reply has four ports, which share net and sub-net; so there may be several, each with its own bind index.
    """
    groups: list[list[int]] = []
    for universe in sorted(number for number in universes if number < UNIVERSES):  # more are sACN's alone
        if groups and len(groups[-1]) < _PORTS_A_REPLY and groups[-1][0] >> 4 == universe >> 4:
            groups[-1].append(universe)
        else:
            groups.append([universe])
    return [_reply(address, name, group, index) for index, group in enumerate(groups, 1)]


def _reply(address: str, name: str, universes: list[int], index: int) -> bytes:
    count = len(universes)

    def each(value: int) -> bytes:
        return bytes([value] * count + [0] * (_PORTS_A_REPLY - count))

    text = name.encode("ascii", "replace")
    ip = socket.inet_aton(address)
    return b"".join([
        _ID, struct.pack("<H", _POLL_REPLY), ip, struct.pack("<H", PORT),
        bytes([0, 1]),  # version of the firmware
        bytes([universes[0] >> 8 & 0x7F, universes[0] >> 4 & 0x0F]),  # net and sub-net
        bytes([0xFF, 0xFF, 0, 0b1101_0000]),  # OEM unknown; indicators normal, all set by the program
        bytes(2),  # no ESTA manufacturer
        text[:17].ljust(18, b"\0"), text[:63].ljust(64, b"\0"), b"#0001 [0000] it works".ljust(64, b"\0"),
        struct.pack(">H", count), each(0x80), bytes(4), each(0x80),  # ports that take data from Art-Net, and get it
        bytes(4), bytes(universe & 0x0F for universe in universes).ljust(4, b"\0"),
        bytes([100, 0, 0]), bytes(3), bytes([0]), bytes(6),  # priority of sACN; style: a node; MAC address not given
        ip, bytes([index, 0b0000_1000]), bytes(26),  # 15-bit port-addresses are understood
    ])  # fmt: skip
