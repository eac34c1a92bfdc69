"""The process that stands in for a world on another machine: it sends controls there, and receives frames.

It replaces the world process: it reads the same mailbox, fills the same frame ring and publishes the same status. The
link is CurveZMQ: each side authenticates the other by its key, and everything is encrypted. Arrival times are sent
there and returned unchanged, so latency is measured by this machine's clock alone. When the link is lost, the ring
keeps its last frame.

With two machines, one plays and the other is kept ready: its world gets the same controls and runs beside, and the
state of the world that plays is passed on to it every few seconds. When the first machine is lost, the other takes over
from that state. The first is then the one that is kept ready, as soon as it is back.
"""

from __future__ import annotations

import contextlib
import errno
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
STATE_INTERVAL_S = 2.0  # between two states that are passed on to the machine that is kept ready
STATE_TIMEOUT_S = 6.0  # for an answer, after which a state is asked for again
READY_FRAME_S = 1.0  # between two frames that show that the other machine is ready
READY_TIMEOUT_S = 4.0  # without such a frame, after which it is not
SILENCE_S = 1.0  # of the machine that plays, after which another takes over that was heard meanwhile
ANEW = ("seed", "panic", "cam/home")  # triggers that begin the world anew: an earlier state is of no use after them
NO_FRAME_S = 4.0  # the same for its frames, as when its world hangs or is started again
EVENTS_KEPT = 8
OTHER_KEY = "that machine has another key: copy its key file to this machine"
NO_ANSWER = "no world answers: start one with `wj world --listen`"
NO_FRAMES = "its world sends no frames"


@dataclass(frozen=True)
class RemoteOptions:
    """address: as in tcp://host:port, or two of them with a comma between: the second is kept ready. session:
    identifies this run of the show. world: options of the world, but for device and threads, which the other machine
    sets."""

    address: str
    key: Key
    session: str
    world: WorldOptions


class LinkLost(Exception):
    """The link is lost, and will be tried again."""


class Declined(LinkLost):
    """The other side answers, and will not play this show for now."""


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
    """State of the link to one machine and of its world, for the status. shown: whether its frames are."""

    rtt: float = math.inf
    up: bool = False
    ever: bool = False  # a frame has arrived
    answered: bool = False  # a handshake succeeded, so that the keys of both sides fit
    why: str = ""
    lost: int = 0
    skipped: int = 0
    malformed: int = 0
    there: dict[str, Any] = field(default_factory=dict)  # the world's own status
    arrived: deque[tuple[float, int]] = field(default_factory=lambda: deque(maxlen=256))  # time, bytes
    message_at: float = 0.0  # time.monotonic() of the newest message, and of the newest frame
    frame_at: float = 0.0

    def state(self, waiting: str = "connecting") -> str:
        return self.there.get("state", "loading") if self.up else "link lost" if self.ever else waiting

    def ready(self, now: float) -> bool:
        """Whether its world runs and its frames arrive."""
        running = self.up and self.there.get("state") == "running"
        return running and now - self.frame_at < READY_TIMEOUT_S and now - self.message_at < SILENCE_S

    def status(self, address: str) -> dict[str, Any]:
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
        return {**self.there, "state": self.state(), "message": message, "fps": fps, "link": link}


class Machine:
    """One machine, and the link to it, which is made again whenever it is lost."""

    def __init__(self, context: zmq.Context[Any], address: str, options: RemoteOptions, mailbox: Mailbox,
                 ring: FrameRing, names: dict[str, str]) -> None:  # fmt: skip
        self.address, self.facts = address, Facts()
        self.refused = ""
        self.trouble = ""  # what the machine itself said, or its key, when the link was last tried in vain
        self._make = lambda: Link(context, address, options, mailbox, ring, names, self.facts)
        self._failures, self._retry_at = 0, 0.0
        self.link: Link | None = None
        self.plays = False

    def turn(self, now: float) -> None:
        """Handle what arrived, and send what changed. A lost link is made again when it is time."""
        if self.link is None and now >= self._retry_at:
            self.link = self._make()
            self.link.open(self.plays)
        if self.link is None:
            return
        try:
            self.link.turn(now)
            self.refused = ""
            if self.facts.up:
                self.trouble = ""
        except (LinkLost, Refusal) as error:
            self.facts.why = str(error)
            self.refused = str(error) if isinstance(error, Refusal) else ""
            self.trouble = str(error) if isinstance(error, Refusal | Declined) else ""
            self.close()
            self._failures = 0 if self.facts.up else self._failures + 1
            self.facts.lost += self.facts.up
            self.facts.up = False
            self._retry_at = now + RESTART_DELAYS_S[min(self._failures, len(RESTART_DELAYS_S) - 2)]

    def show(self, plays: bool) -> None:
        """Whether its frames are shown from now on."""
        self.plays = plays
        if self.link is not None:
            self.link.show(plays)

    def close(self, bye: bool = False) -> None:
        if self.link is not None:
            self.link.close(bye)
            self.link = None


class Machines:
    """The machines of a show, of which one plays. All methods belong to one thread."""

    def __init__(self, machines: list[Machine], mailbox: Mailbox) -> None:
        self._all, self._mailbox = machines, mailbox
        self._first, self._begun_at = 0, time.monotonic()
        self._state_asked_at, self._state_at = -math.inf, -math.inf
        self._state: bytes | None = None  # of the world that plays, to be passed on
        self._state_for: Link | None = None  # that has it already
        self._anew: tuple[int, ...] = ()  # how often the triggers of ANEW fired
        self._anew_at_ask: tuple[int, ...] | None = None  # the same when a state was asked for
        self._numbers_seen = 0
        self.takeovers = 0
        self._events: deque[str] = deque(maxlen=EVENTS_KEPT)
        self._event_count = 0
        self._told = ""  # of the machine that is kept ready
        self.playing.show(True)

    @property
    def playing(self) -> Machine:
        return self._all[self._first]

    @property
    def other(self) -> Machine | None:
        return self._all[1 - self._first] if len(self._all) > 1 else None

    def turn(self, now: float) -> None:
        """One round of all. Raises Refusal where every machine refused for good, before a frame ever arrived."""
        for machine in self._all:
            machine.turn(now)
        if all(machine.refused for machine in self._all) and not any(machine.facts.ever for machine in self._all):
            raise Refusal(self.playing.refused)
        other = self.other
        if other is None:
            return
        self._pass_on(now, other)
        if other.facts.ready(now) and (why := self._lost(now)):
            self._take_over(other, why)
        elif (text := self._standby(now, other)) and text != self._told:
            self._told = text
            lost = not other.facts.up and not other.trouble
            self._note(f"{text}; {self.playing.address} plays on" if lost and self.playing.facts.up else text)

    def _note(self, event: str, why: str = "") -> None:
        """Log an event that the terminal prints, too."""
        self._events.append(event)
        self._event_count += 1
        logger.warning("%s%s", event, f" ({why})" if why else "")

    def _standby(self, now: float, other: Machine) -> str:
        """What there is to tell of the machine that is kept ready; empty while its world loads, or was never there."""
        facts = other.facts
        if facts.ready(now):
            return f"{other.address} is ready to take over"
        if other.trouble:
            return f"{other.address} is not ready to take over: {other.trouble}"
        if not facts.up:
            return f"{other.address} is lost" if facts.ever else ""
        was_ready = self._told == f"{other.address} is ready to take over"
        if was_ready and now - facts.frame_at > 2 * READY_TIMEOUT_S and not self._mailbox.value("freeze"):
            return f"{other.address} is not ready to take over: {NO_FRAMES}"
        return ""

    def _lost(self, now: float) -> str:
        """Why the other machine has to play; empty where it need not."""
        facts = self.playing.facts
        if not facts.up:
            return facts.why or NO_ANSWER
        if now - facts.message_at > SILENCE_S:
            return "it does not respond"
        if now - max(facts.frame_at, self._begun_at) > NO_FRAME_S and not self._mailbox.value("freeze"):
            return NO_FRAMES
        return ""

    def _take_over(self, other: Machine, why: str) -> None:
        left = self.playing
        what = "sends no frames" if why == NO_FRAMES else "is lost" if left.facts.ever else "does not answer"
        self._note(f"{left.address} {what}; {other.address} plays", why)
        self._told = f"{left.address} is lost"
        left.facts.why = why
        self.playing.show(False)
        self._first, self._begun_at = 1 - self._first, time.monotonic()
        self.takeovers += 1
        self._state, self._state_asked_at = None, -math.inf
        self.playing.show(True)

    def _pass_on(self, now: float, other: Machine) -> None:
        """Ask for the state of the world that plays, and pass it on."""
        link = self.playing.link
        if self._began_anew():
            self._state, self._state_asked_at = None, -math.inf
            if other.link is not None and other.facts.up:
                other.link.keep(b"")
        if link is not None and link.state is not None:
            if self._anew_at_ask == self._anew:
                self._state, self._state_for = link.state, None
            self._state_at, link.state = now, None
        if other.link is not None and self._state and self._state_for is not other.link and other.facts.up:
            other.link.keep(self._state)
            self._state_for = other.link
        asked_lately = now - self._state_asked_at < STATE_INTERVAL_S
        waits = self._state_asked_at > self._state_at and now - self._state_asked_at < STATE_TIMEOUT_S
        if link is None or not self.playing.facts.up or asked_lately or waits:
            return
        obeyed = json.loads(self._mailbox.consumed.read()[1] or b"{}")
        if tuple(obeyed.get(name, 0) for name in ANEW) == self._anew:
            self._state_asked_at, self._anew_at_ask = now, self._anew
            link.ask_for_state()

    def _began_anew(self) -> bool:
        """Whether a trigger of ANEW fired since the last call."""
        version = self._mailbox.cells["numbers"].version
        if version == self._numbers_seen:
            return False
        self._numbers_seen, counts = version, self._mailbox.read().counts
        before, self._anew = self._anew, tuple(counts[name] for name in ANEW)
        return before != self._anew

    def status(self) -> dict[str, Any]:
        status = self.playing.facts.status(self.playing.address)
        if (other := self.other) is not None:
            ready = other.facts.ready(time.monotonic())
            state = "ready" if ready else other.facts.state()
            status["link"] |= {
                "other": other.address, "other_state": "loading" if state == "running" else state,
                "other_why": "" if ready else other.facts.why, "takeovers": self.takeovers,
                "events": [*self._events], "event_count": self._event_count,
                "lost": sum(machine.facts.lost for machine in self._all),
            }  # fmt: skip
            lost = not other.facts.up and not other.trouble
            if not status["message"] and not ready and (other.facts.ever or other.trouble):
                why = f": {other.trouble}" if other.trouble else ""
                state = "is lost" if lost else f"is not ready to take over{why}"
                status["message"] = status["link"]["other_message"] = f"{other.address} {state}"
        return status

    @property
    def sockets(self) -> set[Any]:
        """What to wait for."""
        return {socket for machine in self._all if machine.link is not None for socket in machine.link.sockets}

    def close(self, bye: bool) -> None:
        for machine in self._all:
            machine.close(bye)


def run(options: RemoteOptions, mailbox: Mailbox, ring: FrameRing, status: Cell, stop: Any) -> None:
    """Main function of the process. Ends when `stop` is set or the parent died. An error that a retry cannot fix is
    published, and ends the process with exit code 1 as long as no frame has arrived."""
    init_child()
    publish_status(status, Facts().status(options.address))
    try:
        with zmq.Context() as context:
            names = {path: named(Path(path)) for m in options.world.media.values() for path in m.paths}
            addresses = options.address.split(",")
            machines = Machines(
                [Machine(context, address, options, mailbox, ring, names) for address in addresses], mailbox
            )
            try:
                _serve(machines, status, stop)
            finally:
                machines.close(bye=stop.is_set())
    except (Refusal, OSError, ValueError, zmq.ZMQError) as error:
        logger.exception("the link to %s failed", options.address)
        message = error_text(error)
        publish_status(
            status, {**Facts().status(options.address), "state": "error", "message": f"{options.address}: {message}"}
        )
        raise SystemExit(1) from None


def _serve(machines: Machines, status: Cell, stop: Any) -> None:
    poller, polled, published_at = zmq.Poller(), set[Any](), 0.0
    while not stop.is_set():
        sockets = machines.sockets
        for socket in polled - sockets:
            poller.unregister(socket)
        for socket in sockets - polled:
            poller.register(socket, zmq.POLLIN)
        polled = sockets
        if polled:
            poller.poll(POLL_INTERVAL_MS)
        else:
            stop.wait(POLL_INTERVAL_MS * 1e-3)
        now = time.monotonic()
        machines.turn(now)
        if now - published_at > STATUS_INTERVAL_S:
            published_at = now
            publish_status(status, machines.status())
            if parent_died():
                return


class Link:
    """One connection, from the handshake until it is lost."""

    def __init__(
        self, context: zmq.Context[Any], address: str, options: RemoteOptions, mailbox: Mailbox, ring: FrameRing,
        names: dict[str, str], facts: Facts,
    ) -> None:  # fmt: skip
        self.address, self.options, self.mailbox, self.ring = address, options, mailbox, ring
        self.facts = facts
        self.state: bytes | None = None  # that was asked for and has arrived
        self._names, self._files = names, {name: Path(path) for path, name in names.items()}
        self._unpacker = messages.Unpacker()
        self._sent: dict[str, int] = {}  # version of each cell as sent
        self._waiting: dict[int, float] = {}  # time of each change that is not confirmed yet
        self._changes, self._frame = 0, 0
        self._plays = False
        self._unseen: list[bytes] = []  # numbers of frames that were not confirmed yet
        self._seen_at = self._changes_at = 0.0
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

    @property
    def sockets(self) -> tuple[Any, Any]:
        return self._socket, self._monitor

    def open(self, plays: bool) -> None:
        self._plays = plays
        self._socket.connect(self.address)

    def close(self, bye: bool = False) -> None:
        """bye: the show has ended."""
        if bye:
            with contextlib.suppress(LinkLost):
                self._send(messages.BYE)
        self._socket.disable_monitor()
        self._socket.close(linger=200 if self._shaken else 0)

    def turn(self, now: float) -> None:
        """Handle what arrived, and send what changed. Raises LinkLost, or Refusal where trying again would not help."""
        while self._monitor.poll(0):
            event = parse_monitor_message(self._monitor.recv_multipart())
            self._on_socket_event(event["event"], event["value"])
        self._receive()
        if now - self._last_message_at > LINK_TIMEOUT_S:
            raise LinkLost(f"the world did not respond for {LINK_TIMEOUT_S:g} s" if self._shaken else NO_ANSWER)
        if not self._welcomed:
            return
        self._send_changes(now, sign=now - self._changes_at > STATUS_INTERVAL_S)
        if not self._plays and now - self._seen_at > READY_FRAME_S:
            self._confirm(now)

    def show(self, plays: bool) -> None:
        """Whether frames are shown from now on, or only now and then asked for, to see that they come."""
        self._plays = plays
        if plays and self._welcomed:
            with contextlib.suppress(LinkLost):  # the next turn finds it, too
                self._send(messages.TAKE)
                self._confirm(time.monotonic())

    def _confirm(self, now: float) -> None:
        """Let the host send the next frames."""
        self._seen_at = now
        for number in self._unseen:
            self._send(messages.SEEN, number)
        self._unseen.clear()

    def ask_for_state(self) -> None:
        with contextlib.suppress(LinkLost):
            self._send(messages.GIVE)

    def keep(self, state: bytes) -> None:
        """Let the other side keep the state of the world that plays."""
        with contextlib.suppress(LinkLost):
            self._send(messages.KEEP, state)

    def _send(self, *parts: bytes) -> None:
        try:
            self._socket.send_multipart(parts, zmq.NOBLOCK)
        except zmq.Again:
            raise LinkLost("messages cannot be sent") from None

    def _on_socket_event(self, event: int, value: int) -> None:
        if event == zmq.EVENT_CONNECTED:
            self._connected = True
        elif event == zmq.EVENT_HANDSHAKE_SUCCEEDED:
            self._shaken = self.facts.answered = True
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
        elif event == zmq.EVENT_HANDSHAKE_FAILED_AUTH or (
            event == zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL and value == zmq.PROTOCOL_ERROR_ZMTP_CRYPTOGRAPHIC
        ):
            raise Refusal(OTHER_KEY)
        elif event in (zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL, zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL):
            # A host that has another key closes the connection, just as one does that is killed at this moment.
            timed_out = event == zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL and value == errno.EAGAIN
            if self.facts.answered or timed_out:
                raise LinkLost(NO_ANSWER)
            raise Refusal(f"another program answers, or {OTHER_KEY}")
        elif event in (zmq.EVENT_DISCONNECTED, zmq.EVENT_CLOSED, zmq.EVENT_CONNECT_RETRIED):
            if self._connected and not self._shaken and not self.facts.answered:
                raise LinkLost("the connection was closed during the handshake")
            raise LinkLost("the connection was closed" if self._shaken else NO_ANSWER)

    def _receive(self) -> None:
        """Handle all messages that arrived; of several frames only the last is decoded."""
        frame: list[bytes] | None = None
        while self._socket.poll(0):
            kind, *parts = self._socket.recv_multipart()
            self._last_message_at = self.facts.message_at = time.monotonic()
            try:
                if kind == messages.FRAME and len(parts) == 2:
                    self.facts.frame_at = self._last_message_at
                    self.facts.arrived.append((self._last_message_at, len(parts[1])))
                    self._unseen.append(parts[0][: messages.NUMBER.size])
                    if not self._plays:
                        self.facts.ever = True
                        continue
                    self._confirm(self._last_message_at)
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
            raise (Refusal if fields.get("for_good") else Declined)(plain_text(fields.get("why", "refused")))
        elif kind == messages.GOT:
            if len(part) != messages.NUMBER.size:
                raise Malformed("not a number")
            went = self._waiting.pop(messages.NUMBER.unpack(part)[0], None)
            if went is not None:
                self.facts.rtt = min(self.facts.rtt, self._last_message_at - went)
        elif kind == messages.OBEYED:
            obeyed = messages.counts(messages.unpacked(part))
            if self._plays:
                self.mailbox.consumed.write(messages.packed(obeyed))
        elif kind == messages.GIVEN:
            self.state = part if len(part) <= messages.STATE_BYTES else b""
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
        self._waiting[self._changes] = self._changes_at = now
        rtt = self.facts.rtt if math.isfinite(self.facts.rtt) else 0.0
        head = messages.packed({"n": self._changes, "rtt": rtt, "cells": list(read)})
        self._send(messages.STATE, head, *(data for _, data in read.values()))
