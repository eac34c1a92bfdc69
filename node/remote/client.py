"""The process that stands in for a world on another machine: it sends controls there, and receives frames.

It replaces the world process: it reads the same mailbox, fills the same frame ring and publishes the same status. The
link is CurveZMQ: each side authenticates the other by its key, and everything is encrypted. Arrival times are sent
there and returned unchanged, so latency is measured by this machine's clock alone. When the link is lost, the ring
keeps its last frame.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
import time
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import zmq
from zmq.utils.monitor import parse_monitor_message

from ..ipc.cell import Cell
from ..ipc.frame_ring import FrameInfo, FrameRing
from ..ipc.mailbox import Mailbox
from ..ipc.process import init_child, parent_died, publish_status
from ..ipc.status import error_text, plain_text
from ..ipc.supervisor import RESTART_DELAYS_S
from ..world.process import WorldOptions
from . import protocol as messages
from .key import Key
from .protocol import Hello, Malformed

logger = logging.getLogger(__name__)
LINK_TIMEOUT_S = 3.0  # without a message, after which the link is lost
STATUS_INTERVAL_S = 0.25  # also between two messages that show that this side works
POLL_INTERVAL_MS = 3
CHANGES_IN_FLIGHT_MAX = 8  # unconfirmed; what changes meanwhile is sent with the next
SPAN_MAX_S = 10.0
OTHER_KEY = "that machine has another key: copy its key file to this machine"


@dataclass(frozen=True)
class RemoteOptions:
    """address: as in tcp://host:port. session: identifies this run of the show. world: options of the world, but for
    device and threads, which the other machine sets."""

    address: str
    key: Key
    session: str
    world: WorldOptions


class LinkLost(Exception):
    """The link is lost, and will be tried again."""


class Refusal(Exception):
    """The other side refused for good: trying again would not help."""


def named(path: Path) -> str:
    """Name of a file by its content: SHA-256 and suffix. Raises ValueError for a file that is too large to be sent."""
    size = path.stat().st_size
    if size > messages.FILE_BYTES:
        most = messages.FILE_BYTES >> 20
        raise ValueError(f"{path} has {size >> 20} MB; a world on another machine takes files of up to {most} MB")
    suffix = "".join(c for c in path.suffix.lower() if c.isascii() and c.isalnum())[:8]
    return f"{hashlib.sha256(path.read_bytes()).hexdigest()}.{suffix or 'bin'}"


@dataclass
class Facts:
    """State of the link and of the world, for the status."""

    rtt: float = math.inf
    up: bool = False
    ever: bool = False  # a frame has arrived
    why: str = ""
    lost: int = 0
    skipped: int = 0
    malformed: int = 0
    there: dict[str, Any] = field(default_factory=dict)  # the world's own status
    arrived: deque[tuple[float, int]] = field(default_factory=lambda: deque(maxlen=256))  # time, bytes

    def status(self, address: str) -> dict[str, Any]:
        state = self.there.get("state", "loading") if self.up else "link lost" if self.ever else "connecting"
        message = self.there.get("message", "") if self.up else f"{address}: {self.why}" if self.why else ""
        recent = [(t, n) for t, n in self.arrived if t > time.monotonic() - 4]
        since = recent[-1][0] - recent[0][0] if len(recent) > 1 else 0.0
        link = {
            "address": address, "up": self.up, "lost": self.lost, "skipped": self.skipped,
            "malformed": self.malformed, "rtt_ms": round(self.rtt * 1e3, 2) if math.isfinite(self.rtt) else None,
            "mbit": round(sum(n for _, n in recent[1:]) * 8e-6 / since, 2) if since else 0.0,
            "world_fps": self.there.get("fps", 0.0), "world_restarts": self.there.get("restarts", 0),
        }  # fmt: skip
        fps = round((len(recent) - 1) / since, 2) if since and self.up else 0.0
        return {**self.there, "state": state, "message": message, "fps": fps, "link": link}


def run(options: RemoteOptions, mailbox: Mailbox, ring: FrameRing, status: Cell, stop: Any) -> None:
    """Main function of the process. Ends when `stop` is set or the parent died. An error that a retry cannot fix is
    published, and ends the process with exit code 1 as long as no frame has arrived."""
    init_child()
    facts, failures = Facts(), 0
    publish_status(status, facts.status(options.address))
    try:
        with zmq.Context() as context:
            names = {path: named(Path(path)) for m in options.world.media.values() for path in m.paths}
            while not stop.is_set() and not parent_died():
                with Link(context, options, mailbox, ring, status, names, facts) as link:
                    try:
                        link.serve(stop)
                    except LinkLost as error:
                        facts.why = str(error)
                    except Refusal as error:
                        if not facts.ever:
                            raise
                        facts.why = str(error)
                if stop.is_set():
                    break
                failures = 0 if facts.up else failures + 1
                facts.lost += facts.up
                facts.up = False
                publish_status(status, facts.status(options.address))
                stop.wait(RESTART_DELAYS_S[min(failures, len(RESTART_DELAYS_S) - 2)])
    except (Refusal, OSError, ValueError, zmq.ZMQError) as error:
        logger.exception("the link to %s failed", options.address)
        message = error_text(error)
        publish_status(
            status, {**facts.status(options.address), "state": "error", "message": f"{options.address}: {message}"}
        )
        raise SystemExit(1) from None


class Link:
    """One connection, from the handshake until it is lost."""

    def __init__(
        self, context: zmq.Context[Any], options: RemoteOptions, mailbox: Mailbox, ring: FrameRing, status: Cell,
        names: dict[str, str], facts: Facts,
    ) -> None:  # fmt: skip
        self.options, self.mailbox, self.ring, self.status = options, mailbox, ring, status
        self.facts = facts
        self._names, self._files = names, {name: Path(path) for path, name in names.items()}
        self._unpacker = messages.Unpacker()
        self._sent: dict[str, int] = {}  # version of each cell as sent
        self._waiting: dict[int, float] = {}  # time of each change that is not confirmed yet
        self._changes, self._frame = 0, 0
        self._connected = self._shaken = self._welcomed = False
        self._last_message_at = time.monotonic()
        self._socket = context.socket(zmq.DEALER)
        for option, value in {
            zmq.LINGER: 200, zmq.RECONNECT_IVL: -1, zmq.CONNECT_TIMEOUT: 4000, zmq.HANDSHAKE_IVL: 4000, zmq.IPV6: 1,
            zmq.MAXMSGSIZE: messages.FRAME_BYTES,
        }.items():  # fmt: skip
            self._socket.setsockopt(option, value)
        key = options.key
        self._socket.curve_secretkey, self._socket.curve_publickey = key.rig, key.rig_public
        self._socket.curve_serverkey = key.world_public
        self._monitor = self._socket.get_monitor_socket()

    def __enter__(self) -> Link:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.disable_monitor()
        self._socket.close(linger=200 if self._shaken else 0)

    def serve(self, stop: Any) -> None:
        """Run the link until `stop`. Raises LinkLost, or Refusal where trying again would not help."""
        self._socket.connect(self.options.address)
        poller = zmq.Poller()
        poller.register(self._socket, zmq.POLLIN)
        poller.register(self._monitor, zmq.POLLIN)
        published_at = 0.0
        while not stop.is_set():
            ready = dict(poller.poll(POLL_INTERVAL_MS))
            while self._monitor in ready and self._monitor.poll(0):
                self._on_socket_event(parse_monitor_message(self._monitor.recv_multipart())["event"])
            if self._socket in ready:
                self._receive()
            now = time.monotonic()
            if now - self._last_message_at > LINK_TIMEOUT_S:
                raise LinkLost(
                    f"the world did not respond for {LINK_TIMEOUT_S:g} s" if self._shaken else "no world answers"
                )
            if self._welcomed:
                self._send_changes(now, sign=now - published_at > STATUS_INTERVAL_S)
            if now - published_at > STATUS_INTERVAL_S:
                published_at = now
                publish_status(self.status, self.facts.status(self.options.address))
                if parent_died():
                    return
        self._send(messages.BYE)

    def _send(self, *parts: bytes) -> None:
        try:
            self._socket.send_multipart(parts, zmq.NOBLOCK)
        except zmq.Again:
            raise LinkLost("messages cannot be sent") from None

    def _on_socket_event(self, event: int) -> None:
        if event == zmq.EVENT_CONNECTED:
            self._connected = True
        elif event == zmq.EVENT_HANDSHAKE_SUCCEEDED:
            self._shaken = True
            obeyed = json.loads(self.mailbox.consumed.read()[1] or b"{}")
            world = self.options.world
            media = {
                slot: {kind: self._names[path] for kind, path in vars(m).items() if path}
                for slot, m in world.media.items()
            }
            hello = Hello(
                self.options.session, world.model, world.top_fps, world.aspect, world.ahead, media, obeyed
            )  # fmt: skip
            self._send(messages.HELLO, hello.pack())
        elif event in (zmq.EVENT_HANDSHAKE_FAILED_AUTH, zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL):
            raise Refusal(OTHER_KEY)
        elif event == zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL:
            raise Refusal(f"another program answers, or {OTHER_KEY}")
        elif event in (zmq.EVENT_DISCONNECTED, zmq.EVENT_CLOSED, zmq.EVENT_CONNECT_RETRIED):
            shaken = "the connection was closed" if self._shaken else "the connection was closed during the handshake"
            raise LinkLost(shaken if self._connected else "no world answers: start one with `wj world --listen`")

    def _receive(self) -> None:
        """Handle all messages that arrived; of several frames only the last is decoded."""
        frame: list[bytes] | None = None
        while self._socket.poll(0):
            kind, *parts = self._socket.recv_multipart()
            self._last_message_at = time.monotonic()
            try:
                if kind == messages.FRAME and len(parts) == 2:
                    self.facts.arrived.append((self._last_message_at, len(parts[1])))
                    self._send(messages.SEEN, parts[0][: messages.NUMBER.size])
                    self.facts.skipped += frame is not None
                    frame = parts
                else:
                    self._obey(kind, parts)
            except (Malformed, ValueError):
                self.facts.malformed += 1
        if frame is not None:
            try:
                self._publish(*frame)
            except (Malformed, ValueError):  # or a frame that does not fit in the ring
                self.facts.malformed += 1

    def _publish(self, head: bytes, jpeg: bytes) -> None:
        if len(head) != messages.FRAME_HEAD.size:
            raise Malformed("not a frame")
        number, newest_control_at, span = messages.FRAME_HEAD.unpack(head)
        if not math.isfinite(newest_control_at) or not 0 <= span <= SPAN_MAX_S:
            raise Malformed("not a frame")
        pixels = self._unpacker.unpack(jpeg)
        self.ring.write(pixels, FrameInfo(time.monotonic(), newest_control_at, span))
        self.facts.ever = True
        if self._frame:
            self.facts.skipped += max(number - self._frame - 1, 0)
        self._frame = number

    def _obey(self, kind: bytes, parts: list[bytes]) -> None:
        part = parts[0] if parts else b""
        if kind == messages.WELCOME:
            needs = messages.unpacked(part).get("needs", [])
            if not isinstance(needs, list):
                raise Malformed("not a welcome")
            for name in needs:
                if name in self._files:
                    self._send(messages.FILE, name.encode(), self._files[name].read_bytes())
            self._welcomed = self.facts.up = True
            self.facts.there, self._sent = {"state": "loading"}, {}
        elif kind == messages.REFUSED:
            fields = messages.unpacked(part)
            raise (Refusal if fields.get("for_good") else LinkLost)(plain_text(fields.get("why", "refused")))
        elif kind == messages.GOT:
            if len(part) != messages.NUMBER.size:
                raise Malformed("not a number")
            went = self._waiting.pop(messages.NUMBER.unpack(part)[0], None)
            if went is not None:
                self.facts.rtt = min(self.facts.rtt, self._last_message_at - went)
        elif kind == messages.OBEYED:
            obeyed = messages.counts(messages.unpacked(part))
            self.mailbox.consumed.write(messages.packed(obeyed))
        elif kind == messages.STATUS:
            fields = messages.unpacked(part)
            if fields.get("cannot") and not self.facts.ever:
                self._send(messages.BYE)
                raise Refusal(f"the world failed: {plain_text(fields['cannot'])}")
            self.facts.there = {
                plain_text(k, 64): plain_text(v) if isinstance(v, str) else v for k, v in fields.items()
            }
        else:
            raise Malformed("no such message")

    def _send_changes(self, now: float, sign: bool) -> None:
        """Send the cells that changed since the last call. sign: send a message even if none changed."""
        if len(self._waiting) >= CHANGES_IN_FLIGHT_MAX:
            return
        changed = {name: c for name, c in self.mailbox.cells.items() if c.version != self._sent.get(name, 0)}
        if not changed and not sign:
            return
        read = {name: c.read() for name, c in changed.items()}
        self._sent |= {name: version for name, (version, _) in read.items()}
        self._changes += 1
        self._waiting[self._changes] = now
        rtt = self.facts.rtt if math.isfinite(self.facts.rtt) else 0.0
        head = messages.packed({"n": self._changes, "rtt": rtt, "cells": list(read)})
        self._send(messages.STATE, head, *(data for _, data in read.values()))
