"""OSC over UDP: the performer's faders, buttons and texts in; the node's values back out.

    /wj/pad/3 0.5             a value; ints for floats, 0 and 1 for switches
    /wj/pad/* 0               address patterns (OSC 1.0) mean every parameter that they fit
    /wj/pad/3/+ 0.1           a step from the present value
    /wj/pad/3 ?               answered with /wj/pad/3 0.6 to where the question came from; "? 9011": to that port
    /wj/pad/3/value           the same as /wj/pad/3, for programs that cannot give a group a value
    /wj/subscribe [port] [rate] [pattern]     feedback to that port of the sender, or back to where this came from
    /wj/unsubscribe [port]

Bundles with a time tag are scheduled, late ones obeyed at once. How datagrams are read is in packets.py, who is
answered in peers.py.
"""

from __future__ import annotations

import contextlib
import errno
import heapq
import itertools
import logging
import selectors
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from pythonosc import osc_message_builder

from .. import ControlEvent, Deliver
from .packets import AHEAD, ASK, LARGEST, Malformed, asks, build, head, is_pattern, match, parse, split, thin
from .peers import FASTEST, LEASE, Allowed, Budget, Place, Subscribers

__all__ = ["AHEAD", "Dialect", "Malformed", "OSCInput", "asks", "build", "head", "parse", "split", "thin"]

PREFIX = "/wj/"
STEP, VALUE = "/+", "/value"
BUFFER = 4 << 20  # bytes asked of the kernel for what is not read yet; it may give less
GATHER = 0.002  # seconds between two looks at the socket while a flood lasts; a lone message never waits
BATCH = 4096  # datagrams read in one look
SCHEDULED = 4096  # bundled messages that may wait for their time,
SCHEDULED_BYTES = 4 << 20  # and what they may weigh
KNOWN, SHORT = 4096, 256  # addresses whose meaning is remembered, and their characters
PATTERNS = 200  # address patterns never seen before that are looked up in a second
ANSWERS = 2000  # answers in a second
FEEDBACK_GAP = 1 / FASTEST  # seconds between two rounds of feedback
LOG_GAP = 10.0  # seconds between two lines in the log about malformed datagrams
log = logging.getLogger(__name__)


class Dialect(Protocol):
    """Addresses of other programs, for rigs that were built for those."""

    def translate(self, address: str, args: tuple[Any, ...]) -> Iterable[tuple[str, tuple[Any, ...]]] | None:
        """The targets and arguments that a foreign message means ("pad/1/+" is a step), none if it means nothing here.

        None: not an address of that program. Raises ValueError for arguments without a meaning.
        """
        ...

    def latest_wins(self, address: str) -> bool: ...

    def echo(self, target: str, value: Any) -> Iterable[tuple[str, Any]]:
        """What is told, in its own words, when a target has a new value: (address, value)."""
        ...


@dataclass(frozen=True)
class Meaning:
    """What an address of ours is about. step: the argument is a step. latest: only the newest value matters."""

    targets: tuple[str, ...]
    step: bool = False
    latest: bool = False


def _never(_target: str) -> bool:
    return False


def _nothing(_target: str) -> Any:
    return None


class OSCInput:
    """An `Input` on one UDP port.

    host, port: where it listens. 127.0.0.1 hears this machine only.
    feedback_host: who hears of changes; None is whoever sent last. feedback_port: None for no feedback.
    latest_wins: for a target ("pad/3"), whether only its newest value matters; without it nothing is ever left out.
    targets: every target there is, for patterns; read: a target's present value, for questions.
    allow: who is answered besides this machine and feedback_host (osc_peers.Allowed). dialect: other programs' words.
    """

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 9010,
        feedback_host: str | None = None,
        feedback_port: int | None = 9011,
        latest_wins: Callable[[str], bool] = _never,
        targets: Collection[str] = (),
        read: Callable[[str], Any] = _nothing,
        allow: Iterable[str] = (),
        dialect: Dialect | None = None,
    ) -> None:
        self.host, self.port = host, port
        self._feedback_host, self._feedback_port = feedback_host, feedback_port
        self._latest_wins, self._read, self._dialect = latest_wins, read, dialect
        self._targets = tuple(targets)
        self._allowed = Allowed(allow)
        self._subscribers = Subscribers(PREFIX.__add__)
        self._meanings: dict[str, Meaning] = {}
        self._supersede: dict[bytes, bool] = {}
        self._patterns, self._answers = Budget(PATTERNS, PATTERNS), Budget(ANSWERS, ANSWERS / 4)
        self._counts: Counter[str] = Counter()
        self._sender = self._answering = ""  # who sent last, and the last that may be answered
        self._threads: list[threading.Thread] = []
        self._stop = threading.Event()
        self._changed = threading.Event()
        self._values: dict[str, Any] = {}  # feedback that is not sent yet
        self._values_lock = threading.Lock()
        self._due: list[tuple[float, int, bytes, Place]] = []  # a heap of scheduled messages
        self._due_bytes = 0
        self._order = itertools.count()
        self._logged = -LOG_GAP

    def start(self, deliver: Deliver) -> None:
        """Listen. Raises OSError, naming the way out, if the port is taken or the host is not this machine's."""
        self._deliver = deliver
        self._socket = self._bound()
        self.port = self._socket.getsockname()[1]
        self._waker, self._wake = socket.socketpair()
        self._stop.clear()
        self._threads = [
            threading.Thread(target=self._receive, name="osc in", daemon=True),
            threading.Thread(target=self._send, name="osc feedback", daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    def _bound(self) -> socket.socket:
        try:
            family, kind, proto, _, place = socket.getaddrinfo(self.host, self.port, type=socket.SOCK_DGRAM)[0]
        except OSError as error:
            message = f"OSC cannot listen on {self.host!r} ({error.strerror}): try --osc-host 127.0.0.1"
            raise OSError(error.errno, message) from None
        bound = socket.socket(family, kind, proto)
        try:
            with contextlib.suppress(OSError):
                bound.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
            bound.setblocking(False)
            bound.bind(place)
        except OSError as error:
            bound.close()
            if error.errno == errno.EADDRINUSE:
                free = self.port + 10
                message = f"OSC port {self.port} is taken: is another show playing? End it, or use --osc-port {free}"
            elif error.errno == errno.EACCES:
                message = f"OSC port {self.port} is not allowed to this user: use --osc-port 9010"
            else:
                message = f"OSC cannot listen on {self.host}:{self.port} ({error.strerror}): try --osc-host 127.0.0.1"
            raise OSError(error.errno, message) from None
        return bound

    def feedback(self, target: str, value: Any) -> None:
        """Tell controllers; the newest value of each target goes out at most 50 times a second. Never blocks."""
        if self._feedback_port is not None:
            with self._values_lock:
                self._values[target] = value
        self._subscribers.note(target, value)
        self._changed.set()

    def status(self) -> Mapping[str, Any]:
        host = self._told()
        counts = ("received", "delivered", "superseded", "answered", "malformed", "foreign", "unanswered", "failed")
        return {
            "address": f"{self.host}:{self.port}",
            "listening": any(t.is_alive() for t in self._threads),
            "last_sender": self._sender,
            "feedback_to": f"{host}:{self._feedback_port}" if host and self._feedback_port else "",
            "subscribers": len(self._subscribers),
            "scheduled": len(self._due),
            **{name: self._counts[name] for name in counts},
        }

    def stop(self) -> None:
        """Close the port. What was scheduled and is not due yet is dropped."""
        if not self._threads:
            return
        self._stop.set()
        self._changed.set()
        self._wake.send(b"\0")
        for thread in self._threads:
            thread.join(5)
        self._threads = []
        for end in (self._socket, self._waker, self._wake):
            end.close()

    # -- receiving ---------------------------------------------------------------------------------------------------

    def _receive(self) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self._socket, selectors.EVENT_READ)
            selector.register(self._waker, selectors.EVENT_READ)
            looked = 0.0
            while not self._stop.is_set():
                ready = selector.select(max(self._due[0][0] - time.monotonic(), 0) if self._due else None)
                if any(key.fileobj is self._socket for key, _ in ready):
                    self._stop.wait(max(looked + GATHER - time.monotonic(), 0))
                    self._look()
                    looked = time.monotonic()
                self._deliver_due()

    def _look(self) -> None:
        """Read what is pending, and deliver what matters of it."""
        pending = self._pending()
        kept = thin(pending, self._supersedes)
        self._counts["superseded"] += len(pending) - len(kept)
        for datagram, (place, arrived_at) in kept:
            try:
                parts = list(split(datagram, time.time()))
            except Malformed as error:
                self._refuse(error, place)
                continue
            for wait, message in parts:
                if wait and len(self._due) < SCHEDULED and self._due_bytes < SCHEDULED_BYTES:
                    heapq.heappush(self._due, (arrived_at + wait, next(self._order), message, place))
                    self._due_bytes += len(message)
                else:
                    self._obey(message, arrived_at, place)

    def _pending(self) -> list[tuple[bytes, tuple[Place, float]]]:
        found = []
        for _ in range(BATCH):
            try:
                datagram, place = self._socket.recvfrom(LARGEST + 1)
            except (BlockingIOError, InterruptedError):
                break
            except OSError:  # Windows reports here that feedback found nobody
                continue
            found.append((datagram, (place, time.monotonic())))
        self._counts["received"] += len(found)
        return found

    def _supersedes(self, address: bytes) -> bool:
        known = self._supersede.get(address)
        if known is None:
            text = address.decode("utf-8", "replace")
            if text.startswith(PREFIX):
                meaning = self._meaning(text)
                known = meaning.latest
            else:
                known = self._dialect is not None and self._dialect.latest_wins(text)
            if len(self._supersede) < KNOWN and len(address) < SHORT:
                self._supersede[address] = known
        return known

    def _meaning(self, address: str) -> Meaning:
        """What an address with our prefix is about. Raises Malformed for a pattern that is none."""
        known = self._meanings.get(address)
        if known is None:
            known = self._find(address.removeprefix(PREFIX))
            if len(self._meanings) < KNOWN and len(address) < SHORT:
                self._meanings[address] = known
        return known

    def _find(self, name: str) -> Meaning:
        step = name.endswith(STEP)
        name = name.removesuffix(STEP)
        if name.endswith(VALUE) and name not in self._targets:
            name = name.removesuffix(VALUE)
        if not is_pattern(name):
            return Meaning((name,), step, not step and bool(self._latest_wins(name)))
        if not self._patterns.spend(time.monotonic()):
            raise Malformed(f"more than {PATTERNS} new patterns a second")
        targets = tuple(target for target in self._targets if match(name, target))
        return Meaning(targets, step, not step and all(self._latest_wins(target) for target in targets))

    def _deliver_due(self) -> None:
        while self._due and self._due[0][0] <= (now := time.monotonic()):
            _, _, message, place = heapq.heappop(self._due)
            self._due_bytes -= len(message)
            self._obey(message, now, place)

    def _obey(self, message: bytes, arrived_at: float, place: Place) -> None:
        """Whatever a message is, it is obeyed, answered or counted; nothing is raised."""
        sender = f"{place[0]}:{place[1]}"
        self._sender = sender
        try:
            address, args = parse(message)
            if address.startswith(PREFIX) and len(address) > len(PREFIX):
                self._heard(place, arrived_at)
                self._obey_ours(address, args, arrived_at, place, f"osc {sender}")
                return
            meant = None if self._dialect is None else self._dialect.translate(address, args)
            if meant is None:
                self._counts["foreign"] += 1
                return
            self._heard(place, arrived_at)
            for target, values in meant:
                step = target.endswith(STEP)
                self._give(ControlEvent(target.removesuffix(STEP), values, arrived_at, f"osc {sender}", _meta(step)))
        except ValueError as error:
            self._refuse(error, place)
        except Exception:  # a dialect's error must not be able to make OSC deaf either
            self._counts["failed"] += 1
            self._say("an OSC message from %s could not be obeyed", sender, exc_info=True)

    def _obey_ours(self, address: str, args: tuple[Any, ...], arrived_at: float, place: Place, source: str) -> None:
        if address == f"{PREFIX}subscribe":
            self._subscribe(args, arrived_at, place)
            return
        if address == f"{PREFIX}unsubscribe":
            self._subscribers.remove(_at(place, args))
            return
        meaning = self._meaning(address)
        if args and args[0] == ASK:
            self._answer(meaning.targets, _at(place, args[1:]), arrived_at)
            return
        meta = _meta(meaning.step)
        for target in meaning.targets:
            self._give(ControlEvent(target, args, arrived_at, source, meta))
        if not meaning.targets:
            self._counts["foreign"] += 1

    def _give(self, control: ControlEvent) -> None:
        try:
            self._deliver(control)
            self._counts["delivered"] += 1
        except Exception:  # whoever listens must not be able to make OSC deaf
            self._counts["failed"] += 1
            self._say("OSC %s could not be obeyed", control.target, exc_info=True)

    def _heard(self, place: Place, now: float) -> None:
        host = place[0]
        if self._allowed(host) or host == self._feedback_host:
            self._answering = host
            self._subscribers.heard(host, now)

    def _refuse(self, error: Exception, place: Place) -> None:
        self._counts["malformed"] += 1
        sender, count = f"{place[0]}:{place[1]}", self._counts["malformed"]
        self._say("ignored a datagram from %s that is not OSC (%s); %d so far", sender, error, count)

    def _say(self, text: str, *args: Any, exc_info: bool = False) -> None:
        now = time.monotonic()
        if now - self._logged >= LOG_GAP:
            self._logged = now
            log.warning(text, *args, exc_info=exc_info)

    # -- answers -----------------------------------------------------------------------------------------------------

    def _may_answer(self, place: Place) -> bool:
        """Whether that place may hear from us. Nobody is told anything on our own port: that would be ourselves."""
        host, port = place[0], place[1]
        if not (self._allowed(host) or host == self._feedback_host):
            self._counts["unanswered"] += 1
            self._say(
                "OSC from %s is obeyed but not answered: to change that, add it to `osc: allow` in the show", host
            )
            return False
        return bool(0 < port < 65536 and port != self.port)

    def _answer(self, targets: Iterable[str], place: Place, now: float) -> None:
        if not self._may_answer(place):
            return
        for target in targets:
            value = self._read(target)
            if value is not None and self._answers.spend(now):
                self._reply(place, PREFIX + target, value)

    def _subscribe(self, args: tuple[Any, ...], now: float, place: Place) -> None:
        place = _at(place, args)
        if not self._may_answer(place):
            return
        pattern = next((arg for arg in args if isinstance(arg, str) and arg.startswith("/")), None)
        numbers = [arg for arg in args if isinstance(arg, int | float) and arg == arg]
        if pattern is not None:
            match(pattern, PREFIX)  # refused now if it is none
        values = {target: value for target in self._targets if (value := self._read(target)) is not None}
        rate = float(numbers[1]) if len(numbers) > 1 else FASTEST
        if self._subscribers.add(place, now, values, pattern, rate):
            self._reply(place, f"{PREFIX}subscribed", int(LEASE))
            self._changed.set()
        else:
            self._reply(place, f"{PREFIX}refused", f"there are {len(self._subscribers)} subscribers already")

    def _reply(self, place: Place, address: str, value: Any) -> None:
        # Nobody there, no room, or a value OSC cannot say: who asked will ask again.
        with contextlib.suppress(OSError, ValueError, OverflowError, osc_message_builder.BuildError):
            self._socket.sendto(build(address, value), place)
            self._counts["answered"] += 1

    # -- feedback ----------------------------------------------------------------------------------------------------

    def _told(self) -> str:
        """Where feedback goes without a subscription. Another program's rig waits to be told that we are there."""
        return self._feedback_host or self._answering or ("127.0.0.1" if self._dialect else "")

    def _send(self) -> None:
        with contextlib.ExitStack() as stack:
            out: dict[int, socket.socket] = {}
            while not self._stop.is_set():
                self._changed.wait()
                self._changed.clear()
                with self._values_lock:
                    values, self._values = self._values, {}
                if values and self._feedback_port and (host := self._told()):
                    self._send_all(values, host, self._feedback_port, out, stack)
                for place, news in self._subscribers.due(time.monotonic()):
                    self._put(self._socket, place, news)  # from our port: who is strict hears nothing else
                if self._subscribers.waiting:
                    self._changed.set()
                self._stop.wait(FEEDBACK_GAP)

    def _send_all(
        self,
        values: Mapping[str, Any],
        host: str,
        port: int,
        out: dict[int, socket.socket],
        stack: contextlib.ExitStack,
    ) -> None:
        try:
            family, _, _, _, place = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
            if family not in out:
                out[family] = stack.enter_context(socket.socket(family, socket.SOCK_DGRAM))
        except OSError as error:
            self._say("OSC feedback cannot reach %s (%s)", host, error)
            return
        self._put(out[family], place, values)

    def _put(self, out: socket.socket, place: Place, values: Mapping[str, Any]) -> None:
        for target, value in values.items():
            echoes = self._dialect.echo(target, value) if self._dialect else ()
            for address, said in ((PREFIX + target, value), *echoes):
                # Nobody there, no room, or a value OSC cannot say: the next one is on its way.
                with contextlib.suppress(OSError, ValueError, OverflowError, osc_message_builder.BuildError):
                    out.sendto(build(address, said), place)


def _meta(step: bool) -> dict[str, Any]:
    return {"relative": True} if step else {}


def _at(place: Place, args: tuple[Any, ...]) -> Place:
    """The place that a message came from, on the port that its first number names."""
    port = next((arg for arg in args if isinstance(arg, int | float) and arg == arg and abs(arg) < 1 << 16), place[1])
    return (place[0], int(port), *place[2:])
