"""The program that receives Art-Net and sACN for the lights input, merges the senders of each universe, and writes the
patched channels that changed, as JSON lines.

Reads {"host", "name", "universes", "artnet": bool, "sacn": bool, "patch": [[universe, channel, bits, presses], ...]}
once, and ends when its standard input is closed. presses: each value of the channel counts, not only the newest. Writes
{"values": [[index of the patch, value], ...], "first": bool}, where "first" are the values that a universe has when its
first sender appears, and {"facts": {...}} twice a second.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import socket
import sys
import threading
import time
import uuid
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from sacn.messages.data_packet import DataPacket

from . import artnet
from .merge import DEFAULT_PRIORITY, SOURCES_MAX, Source, Universe, framed
from .multicast import Groups, own_groups_only

SACN_PORT = 5568
WRITE_INTERVAL_S = 1 / 60
JOIN_INTERVAL_S = 5.0  # after which networks that came up are found
LINES_MAX = 40  # in one interval; a desk sends 44 frames a second, so more are a flood
FACTS_INTERVAL_S = 0.5
DATAGRAMS_A_TURN = 256  # after which values are written even in a flood
NAME_CHARS_MAX = 64


class Patch:
    """The patched channels, their last values, and what is to be written.

    Of a fader, the newest value is written. Of a channel that presses or chooses, each value is, so that no press and
    no cue is lost."""

    def __init__(self, rows: Iterable[tuple[int, int, int, bool]]) -> None:
        self.rows = [tuple(row) for row in rows]
        self._by_universe: dict[int, list[int]] = {}
        for index, (universe, *_) in enumerate(self.rows):
            self._by_universe.setdefault(universe, []).append(index)
        self.values: dict[int, int] = {}
        self._waiting: dict[int, int] = {}
        self._sender = ""  # of what waits
        self.lines: list[dict[str, Any]] = []

    def take(self, universe: int, frame: np.ndarray, first: bool, sender: str = "") -> None:
        """sender: whose frame it was that changed this."""
        changed = {}
        for index in self._by_universe.get(universe, ()):
            _, channel, bits, _ = self.rows[index]
            value = int(frame[channel - 1])
            if bits == 16:
                value = value << 8 | int(frame[channel] if channel < len(frame) else 0)
            if self.values.get(index) != value:
                changed[index] = value
        if first:
            self.flush()
            self.values |= changed
            if changed:
                self.lines.append({"values": list(changed.items()), "first": True})
            return
        again = any(index in self._waiting and self.rows[index][3] for index in changed)
        if (again or (changed and sender != self._sender)) and len(self.lines) < LINES_MAX:
            self.flush()
        if changed:
            self._sender = sender
        self.values |= changed
        self._waiting |= changed

    def flush(self) -> None:
        if self._waiting:
            self.lines.append({"values": list(self._waiting.items()), "first": False, "from": self._sender})
            self._waiting = {}


class Receiver:
    """Both protocols' sockets. OSError, with the fix, where a port cannot be opened."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        self.patch = Patch(config["patch"])
        self.universes = {int(number): Universe() for number in config["universes"]}
        self.host, self.name = str(config["host"]), str(config["name"])
        self.selector = selectors.DefaultSelector()
        self._counting: dict[int, frozenset[Any]] = {}  # by universe: the senders that counted last
        self.ignored = 0
        self._refused: set[int] = set()  # universes with more senders than are merged
        self.artnet = self._bound("Art-Net", artnet.PORT) if config["artnet"] else None
        self.sacn = self._bound("sACN", SACN_PORT) if config["sacn"] else None
        self.groups = None
        if self.sacn is not None:
            own_groups_only(self.sacn)
            self.groups = Groups(self.host, [number for number in self.universes if number], SACN_PORT, self.sacn)
            for line in self.groups.sockets:
                self.selector.register(line, selectors.EVENT_READ)
            self.groups.join()

    def _bound(self, protocol: str, port: int) -> socket.socket:
        found = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if (
            sys.platform == "darwin"
        ):  # lighting programs on one machine share these ports; Linux would divide the frames
            found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        found.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        found.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 19)
        found.setblocking(False)
        try:
            found.bind((self.host, port))
        except OSError as error:
            raise OSError(
                f"{protocol} needs UDP port {port} of {self.host}, but {error.strerror or error}: close the other "
                f"lighting program, or turn {protocol} off in the show (lights: {{{protocol.lower().replace('-', '')}: "
                "off})"
            ) from None
        self.selector.register(found, selectors.EVENT_READ)
        return found

    def read(self, line: socket.socket) -> None:
        for _ in range(DATAGRAMS_A_TURN):
            try:
                datagram, (address, port) = line.recvfrom(2048)
            except (BlockingIOError, ConnectionError):
                return
            take = self._take_artnet if line is self.artnet else self._take_sacn
            if not take(datagram, address, port):
                self.ignored += 1

    def _take_artnet(self, datagram: bytes, address: str, port: int) -> bool:
        said = artnet.parse(datagram)
        if isinstance(said, artnet.ArtPoll):
            self._answer(address, port)
            return True
        if said is None or said.universe not in self.universes:
            return False
        now = time.monotonic()
        source = Source("Art-Net", address, "Art-Net", DEFAULT_PRIORITY, framed(said.data), said.sequence, now, now)
        return self._receive(said.universe, address, source)

    def _answer(self, address: str, port: int) -> None:
        assert self.artnet is not None
        own = self.host
        if own == "0.0.0.0":
            with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
                probe.connect((address, artnet.PORT))  # sends nothing; tells which of our addresses reaches it
                own = probe.getsockname()[0]
        for reply in artnet.poll_replies(own, self.name, sorted(self.universes)):
            with contextlib.suppress(OSError):
                self.artnet.sendto(reply, (address, port))

    def _take_sacn(self, datagram: bytes, address: str, port: int) -> bool:
        try:
            packet = DataPacket.make_data_packet(datagram)
        except Exception:  # the library raises what it stumbles over
            return False
        universe = self.universes.get(packet.universe)
        if universe is None or packet.dmxStartCode != 0 or packet.option_PreviewData:
            return False
        key = uuid.UUID(bytes=bytes(packet.cid))
        if packet.option_StreamTerminated:
            if universe.remove(key) is not None:
                self._merged(packet.universe)
            return True
        now = time.monotonic()
        name = packet.sourceName.rstrip("\0")[:NAME_CHARS_MAX]
        source = Source(name, address, "sACN", packet.priority, framed(packet.dmxData), packet.sequence, now, now)
        return self._receive(packet.universe, key, source)

    def _receive(self, number: int, key: Any, source: Source) -> bool:
        universe = self.universes[number]
        if key not in universe.sources and len(universe.sources) >= SOURCES_MAX:
            self._refused.add(number)
            return False
        taken = universe.receive(key, source)
        if taken:
            self._merged(number, source.address if source.protocol == "Art-Net" else source.name)
        return taken

    def _merged(self, number: int, sender: str = "") -> None:
        """A desk that comes, goes or ends moves nothing: what the channels are then is only where they begin."""
        universe = self.universes[number]
        frame, counting = universe.merge(), universe.counting
        if frame is not None:
            self.patch.take(number, frame, counting != self._counting.get(number), sender)
        self._counting[number] = counting

    def drop_lost(self, now: float) -> None:
        for number, universe in self.universes.items():
            if universe.lost(now):
                self._merged(number)
            if len(universe.sources) < SOURCES_MAX:
                self._refused.discard(number)

    def facts(self, now: float) -> dict[str, Any]:
        sources = [
            {"universe": number, "name": s.name, "address": s.address, "protocol": s.protocol, "priority": s.priority,
             "rate": round(s.rate(now), 1)}
            for number, universe in self.universes.items() for s in universe.sources.values()
        ]  # fmt: skip
        held = [number for number, u in self.universes.items() if not u.sources and u.merged is not None]
        unheard = {network: why for (_, network), why in self.groups.errors.items()} if self.groups else {}
        return {
            "sources": sources, "held": held, "ignored": self.ignored, "refused": sorted(self._refused),
            "unheard": unheard,
        }  # fmt: skip


def write(line: Mapping[str, Any]) -> None:
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


def end_with_input() -> None:
    """End this program once its standard input is closed. A thread waits for that: Windows selects sockets only."""
    while sys.stdin.readline():
        pass
    os._exit(0)


def main() -> None:
    config = json.loads(sys.stdin.readline())
    try:
        receiver = Receiver(config)
    except OSError as error:
        write({"error": str(error)})
        return
    threading.Thread(target=end_with_input, daemon=True).start()
    written_at = facts_at = 0.0
    joined_at = time.monotonic()
    while True:
        for key, _ in receiver.selector.select(WRITE_INTERVAL_S):
            receiver.read(key.fileobj)  # type: ignore[arg-type]
        now = time.monotonic()
        if now - written_at >= WRITE_INTERVAL_S:
            written_at = now
            receiver.patch.flush()
            lines, receiver.patch.lines = receiver.patch.lines, []
            for line in lines:
                write(line)
        if now - facts_at >= FACTS_INTERVAL_S:
            facts_at = now
            receiver.drop_lost(now)
            if receiver.groups and now - joined_at >= JOIN_INTERVAL_S:
                joined_at = now
                receiver.groups.join()
            write({"facts": receiver.facts(now)})


if __name__ == "__main__":
    main()
