"""OSC over UDP: the performer's faders, buttons and texts in; the node's values back out.

    /wj/pad/3 0.5             a value; ints for floats, 0 and 1 for switches
    /wj/pad/* 0               an address pattern (OSC 1.0) sets every parameter that it matches
    /wj/pad/3/+ 0.1           adds to the current value
    /wj/pad/3 ?               is answered with /wj/pad/3 0.6 to the sender; "? 9011": to that port of the sender
    /wj/pad/3/value           the same as /wj/pad/3, for programs that cannot give a group a value
    /wj/subscribe [port] [rate] [pattern]     requests feedback to that port of the sender, or to the sending port
    /wj/unsubscribe [port]

Bundles with a time tag are scheduled; late ones are obeyed at once. packets.py parses datagrams, peers.py decides who
gets answers, and repeats.py which values are no moves.
"""

from __future__ import annotations

import contextlib
import errno
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

from .. import ControlEvent, Deliver, Input
from ..token_bucket import TokenBucket
from .maps import AddressMap
from .packets import (
    AHEAD_MAX_S,
    ASK,
    BUNDLE,
    DATAGRAM_BYTES_MAX,
    PATTERN_CHARS_MAX,
    Malformed,
    asks,
    build,
    due_in,
    head,
    is_pattern,
    match,
    parse,
    split,
    thin,
)
from .peers import FEEDBACK_RATE_HZ, LEASE_S, Allowed, Endpoint, Subscribers
from .repeats import Echoes, Streams
from .scheduled import Scheduled

__all__ = ["AHEAD_MAX_S", "Dialect", "Malformed", "OSCInput", "asks", "build", "head", "parse", "split", "thin"]

PREFIX = "/wj/"
LEARN = "learn"  # parameter whose value is the name of the parameter that the next address is to play
STEP, VALUE, TOUCH, STATUS = "/+", "/value", "/z", "status/"
LOOPBACK = ("127.0.0.1", "::1", "localhost")
RECEIVE_BUFFER_BYTES = 4 << 20  # requested of the kernel, which may give less
GATHER_S = 0.002  # between two reads during a flood; a single message never waits
BATCH_DATAGRAMS = 4096  # at most, in one read
KNOWN_ADDRESSES, KNOWN_ADDRESS_CHARS = 4096, 256  # of the cache of addresses
# Of patterns that fit triggers: none of those supersedes another, so that a flood of them would pile up.
PATTERN_CONTROLS_PER_S = 3000
NEW_PATTERNS_PER_S = 200  # that are not in the cache yet
ANSWERS_PER_S = 2000
FEEDBACK_INTERVAL_S = 1 / FEEDBACK_RATE_HZ
CLOCK_AHEAD_S = 1.0  # by which a bundle's time is ahead where it is the sender's clock that is wrong
LOOKUP_INTERVAL_S = 5.0  # between two look-ups of a name that is not known
LOG_INTERVAL_S = 10.0  # between two lines about malformed datagrams
log = logging.getLogger(__name__)


class Dialect(Protocol):
    """Addresses of other programs, for setups that were made for them."""

    def translate(self, address: str, args: tuple[Any, ...]) -> Iterable[tuple[str, tuple[Any, ...]]] | None:
        """Targets and arguments for a message of another program ("pad/1/+" is relative); none if it is ignored here.

        None for an unknown address. Raises ValueError for invalid arguments.
        """
        ...

    def latest_wins(self, address: str) -> bool: ...

    def echo(self, target: str, value: Any) -> Iterable[tuple[str, Any]]:
        """Feedback for the other program when a target has a new value: (address, value)."""
        ...


@dataclass(frozen=True)
class Meaning:
    """The meaning of one of our addresses. step: the argument is relative. latest: only the newest value counts. void:
    it changes nothing here, as a finger on a fader, or our own status that comes back."""

    targets: tuple[str, ...]
    step: bool = False
    latest: bool = False
    void: bool = False


def _never(_target: str) -> bool:
    return False


def _nothing(_target: str) -> Any:
    return None


class OSCInput(Input):
    """An `Input` on one UDP port.

    host, port: address to listen on; 127.0.0.1 receives from this machine only.
    feedback_host: receiver of feedback; None is the last sender. feedback_port: None for no feedback.
    latest_wins: whether only the newest value of a target ("pad/3") counts; by default every message counts.
    targets: all targets, for patterns. read: returns a target's current value, for questions.
    allow: hosts that get answers besides this machine and feedback_host (see peers.Allowed). dialect: addresses of
    other programs. maps: fields of `AddressRule`, which come before a dialect.
    compose: called with the target and {"address": ...} of a new map, after which `set_maps` is called; it raises
    ValueError, with the reason, for an impossible one. The parameter `learn` arms it.
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
        maps: Iterable[Mapping[str, Any]] = (),
    ) -> None:
        self.host, self.port = host, port
        self._feedback_host, self._feedback_port = feedback_host, feedback_port
        self._latest_wins, self._read, self._dialect = latest_wins, read, dialect
        self._targets = tuple(targets)
        self._maps = AddressMap(maps)
        self.compose: Callable[[str, Mapping[str, Any]], Any] | None = None
        self._allowed = Allowed(allow)
        self._subscribers = Subscribers(PREFIX.__add__)
        self._meanings: dict[str, Meaning] = {}
        self._supersede: dict[bytes, bool] = {}
        self._patterns, self._answers = (
            TokenBucket(NEW_PATTERNS_PER_S, NEW_PATTERNS_PER_S),
            TokenBucket(ANSWERS_PER_S, ANSWERS_PER_S / 4),
        )
        self._counts: Counter[str] = Counter()
        self._sender = self._answering = ""  # the last sender, and the last one that may get answers
        self._threads: list[threading.Thread] = []
        self._sockets: list[socket.socket] = []
        self._stop = threading.Event()
        self._changed = threading.Event()
        self._pending_feedback: dict[str, Any] = {}
        self._values_lock = threading.Lock()
        self._scheduled: Scheduled[Endpoint] = Scheduled()
        self._streams, self._echoes = Streams(), Echoes()
        self._pattern_controls = TokenBucket(PATTERN_CONTROLS_PER_S, PATTERN_CONTROLS_PER_S)
        self._error = ""
        self._lookup_again_at = 0.0
        self._logged = -LOG_INTERVAL_S

    def start(self, deliver: Deliver) -> None:
        """Listen. Raises OSError, with the fix, if the port is taken or the host is not an address of this machine."""
        self._deliver = deliver
        self._sockets = self._bound()
        self.port = self._sockets[0].getsockname()[1]
        self._waker, self._wake = socket.socketpair()
        self._stop.clear()
        self._threads = [
            threading.Thread(target=self._receive, name="osc in", daemon=True),
            threading.Thread(target=self._send, name="osc feedback", daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    def _bound(self) -> list[socket.socket]:
        """The sockets to listen on: to "localhost" some programs send by IPv4, and others by IPv6."""
        if self.host not in LOOPBACK:
            return [self._bind(self.host, self.port)]
        first = self._bind("::1" if self.host == "::1" else "127.0.0.1", self.port)
        try:
            other = "127.0.0.1" if self.host == "::1" else "::1"
            return [first, self._bind(other, first.getsockname()[1])]
        except OSError:  # a machine without IPv6, or another program that has the port there
            return [first]

    def _bind(self, host: str, port: int) -> socket.socket:
        try:
            family, kind, proto, _, endpoint = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
        except OSError as error:
            message = f"OSC cannot listen on {host!r} ({error.strerror}): try --osc-host 127.0.0.1"
            raise OSError(error.errno, message) from None
        bound = socket.socket(family, kind, proto)
        try:
            with contextlib.suppress(OSError):
                bound.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
            bound.setblocking(False)
            bound.bind(endpoint)
        except OSError as error:
            bound.close()
            if error.errno == errno.EADDRINUSE:
                free = port + 10
                message = f"OSC port {port} is taken: stop the other show or program, or use --osc-port {free}"
            elif error.errno == errno.EACCES:
                message = f"OSC port {port} needs the rights of an administrator: use --osc-port 9010"
            else:
                message = f"OSC cannot listen on {host}:{port} ({error.strerror}): try --osc-host 127.0.0.1"
            raise OSError(error.errno, message) from None
        return bound

    def feedback(self, target: str, value: Any) -> None:
        """Send the newest value of each target to controllers, at most 50 times a second. Never blocks."""
        if target == LEARN:
            self._maps.learn(str(value), time.monotonic())
        if self._feedback_port is not None:
            with self._values_lock:
                self._pending_feedback[target] = value
        self._subscribers.note(target, value)
        self._changed.set()

    def set_maps(self, maps: Iterable[Mapping[str, Any]]) -> None:
        """Play other addresses of other programs from now on. From any thread."""
        self._maps.set(maps)
        self._supersede.clear()

    def status(self) -> Mapping[str, Any]:
        host = self._feedback_target()
        counts = ("received", "delivered", "superseded", "answered", "malformed", "foreign", "unanswered", "failed")
        return {
            "address": f"{self.host}:{self.port}",
            "listening": any(t.is_alive() for t in self._threads),
            "last_sender": self._sender,
            "feedback_to": f"{host}:{self._feedback_port}" if host and self._feedback_port else "",
            "subscribers": len(self._subscribers),
            "scheduled": len(self._scheduled),
            "error": self._error,
            **{name: self._counts[name] for name in counts},
            "superseded": self._counts["superseded"] + self._scheduled.superseded,
        }

    def stop(self) -> None:
        """Close the port. Scheduled messages that are not due yet are dropped."""
        if not self._threads:
            return
        self._stop.set()
        self._changed.set()
        self._wake.send(b"\0")
        for thread in self._threads:
            thread.join(5)
        self._threads = []
        for end in (*self._sockets, self._waker, self._wake):
            end.close()

    # -- receiving ---------------------------------------------------------------------------------------------------

    def _receive(self) -> None:
        with selectors.DefaultSelector() as selector:
            for source in self._sockets:
                selector.register(source, selectors.EVENT_READ)
            selector.register(self._waker, selectors.EVENT_READ)
            received_at = 0.0
            while not self._stop.is_set():
                due = self._scheduled.next_due
                ready = selector.select(None if due is None else max(due - time.monotonic(), 0))
                if any(key.fileobj is not self._waker for key, _ in ready):
                    self._stop.wait(max(received_at + GATHER_S - time.monotonic(), 0))
                    self._receive_pending()
                    received_at = time.monotonic()
                self._deliver_due()

    def _receive_pending(self) -> None:
        """Read the pending datagrams, and deliver those that are not superseded."""
        pending = self._pending()
        kept = thin(pending, self._supersedes)
        self._counts["superseded"] += len(pending) - len(kept)
        for datagram, (endpoint, arrived_at) in kept:
            try:
                wall = time.time()
                for wait, message in split(datagram, wall):
                    self._schedule(message, arrived_at, wait, endpoint)
                if datagram.startswith(BUNDLE) and (ahead := due_in(datagram, wall)) > AHEAD_MAX_S:
                    self._error = (
                        f"a bundle from {endpoint[0]} is for {ahead:.1f} s from now and was played at once: "
                        f"send it {AHEAD_MAX_S:g} s ahead at most, or without a time tag"
                    )
            except Malformed as error:
                self._refuse(error, endpoint)

    def _schedule(self, message: bytes, arrived_at: float, wait: float, endpoint: Endpoint) -> None:
        """Obey a message now, or in `wait` seconds."""
        if wait and self._scheduled.add(message, endpoint, arrived_at, arrived_at + wait):
            if wait > CLOCK_AHEAD_S:
                self._error = (
                    f"bundles from {endpoint[0]} are {CLOCK_AHEAD_S:g} s or more ahead: set its clock by NTP, "
                    "or send without time tags"
                )
            return
        if not wait and self._scheduled:
            with contextlib.suppress(Malformed):
                if self._supersedes(message.partition(b"\0")[0]):
                    self._scheduled.moved(message, arrived_at)
        self._obey(message, arrived_at, endpoint)

    def _pending(self) -> list[tuple[bytes, tuple[Endpoint, float]]]:
        found = []
        for source in self._sockets:
            for _ in range(BATCH_DATAGRAMS):
                try:
                    datagram, endpoint = source.recvfrom(DATAGRAM_BYTES_MAX + 1)
                except (BlockingIOError, InterruptedError):
                    break
                except OSError:  # Windows reports here that feedback had no receiver
                    continue
                found.append((datagram, (endpoint, time.monotonic())))
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
                known = self._maps.latest_wins(text) or (self._dialect is not None and self._dialect.latest_wins(text))
            if len(self._supersede) < KNOWN_ADDRESSES and len(address) < KNOWN_ADDRESS_CHARS:
                self._supersede[address] = known
        return known

    def _meaning(self, address: str) -> Meaning:
        """The meaning of an address with our prefix. Raises Malformed for an invalid pattern."""
        known = self._meanings.get(address)
        if known is None:
            known = self._find(address.removeprefix(PREFIX))
            if len(self._meanings) < KNOWN_ADDRESSES and len(address) < KNOWN_ADDRESS_CHARS:
                self._meanings[address] = known
        return known

    def _find(self, name: str) -> Meaning:
        name = "/".join(filter(None, map(str.strip, name.split("/"))))  # without a / or white space at its end
        if name.startswith(STATUS) or (name.endswith(TOUCH) and name.removesuffix(TOUCH) in self._targets):
            return Meaning((), void=True)
        step = name.endswith(STEP)
        name = name.removesuffix(STEP)
        if name.endswith(VALUE) and name not in self._targets:
            name = name.removesuffix(VALUE)
        if not is_pattern(name):
            return Meaning((name,), step, not step and bool(self._latest_wins(name)))
        if not self._patterns.spend(time.monotonic()):
            raise Malformed(f"more than {NEW_PATTERNS_PER_S} new patterns a second")
        targets = tuple(target for target in self._targets if match(name, target))
        return Meaning(targets, step, not step and all(self._latest_wins(target) for target in targets))

    def _deliver_due(self) -> None:
        now = time.monotonic()
        for message, endpoint in self._scheduled.due(now):
            self._obey(message, now, endpoint)

    def _obey(self, message: bytes, arrived_at: float, endpoint: Endpoint) -> None:
        """Obey, answer or count a message. Never raises."""
        sender = f"{endpoint[0]}:{endpoint[1]}"
        self._sender = sender
        try:
            address, args = parse(message)
            if address.startswith(PREFIX) and len(address) > len(PREFIX):
                self._renew(endpoint, arrived_at)
                if not self._moves_nothing(message, args, arrived_at, endpoint):
                    self._obey_ours(address, args, arrived_at, endpoint, f"osc {sender}")
                return
            if self._maps.learns(address, arrived_at):
                self._learn(address, arrived_at, f"osc {sender}")
            translated: Iterable[tuple[str, tuple[Any, ...]]] | None = self._maps.controls(address, args)
            if translated is None:
                translated = self._translated(address, args)
            if translated is None:
                self._counts["foreign"] += 1
                self._hint(address)
                return
            self._renew(endpoint, arrived_at)
            if self._supersedes(address.encode()) and self._streams.stands_still(
                message, endpoint, address, arrived_at
            ):
                self._counts["superseded"] += 1
                return
            for target, values in translated:
                step = target.endswith(STEP)
                self._deliver_control(
                    ControlEvent(target.removesuffix(STEP), values, arrived_at, f"osc {sender}", _meta(step))
                )
        except ValueError as error:
            self._refuse(error, endpoint)
        except Exception:  # an error of a dialect must not stop OSC either
            self._counts["failed"] += 1
            self._log_rarely("an OSC message from %s could not be obeyed", sender, exc_info=True)

    def _learn(self, address: str, arrived_at: float, source: str) -> None:
        if self.compose is None:
            return
        target = self._maps.armed
        try:
            self.compose(target, {"address": address})
        except ValueError as error:
            self._error = f"{target} cannot be mapped: {error}"
        self._maps.learn("", arrived_at)
        self._deliver_control(ControlEvent(LEARN, ("",), arrived_at, source))

    def _translated(self, address: str, args: tuple[Any, ...]) -> Iterable[tuple[str, tuple[Any, ...]]] | None:
        try:
            return None if self._dialect is None else self._dialect.translate(address, args)
        except ValueError as error:
            raise Malformed(f"{address[:PATTERN_CHARS_MAX]}: {error}") from None

    def _moves_nothing(self, message: bytes, args: tuple[Any, ...], arrived_at: float, endpoint: Endpoint) -> bool:
        """Whether a value is only repeated, or is our own feedback that comes back."""
        meaning = self._meaning(message.partition(b"\0")[0].decode())
        if not args or args[0] == ASK:
            return False
        if len(meaning.targets) != 1 or not meaning.latest:
            for target in meaning.targets:
                self._streams.moved(endpoint, target)
            return False
        target = meaning.targets[0]
        echo = self._echoes.is_echo(_host(endpoint), target, args[0], arrived_at)
        stands = self._streams.stands_still(message, endpoint, target, arrived_at)
        self._counts["superseded"] += echo or stands
        return echo or stands

    def _obey_ours(
        self, address: str, args: tuple[Any, ...], arrived_at: float, endpoint: Endpoint, source: str
    ) -> None:
        if address == f"{PREFIX}subscribe":
            self._subscribe(args, arrived_at, endpoint)
            return
        if address == f"{PREFIX}unsubscribe":
            self._subscribers.remove(_at(endpoint, args))
            return
        meaning = self._meaning(address)
        if args and args[0] == ASK:
            self._answer(meaning.targets, _at(endpoint, args[1:]), arrived_at)
            return
        many = len(meaning.targets) if not meaning.latest else 0
        if many > 1 and not self._pattern_controls.spend(arrived_at, many):
            raise Malformed(f"patterns that fit triggers, for more than {PATTERN_CONTROLS_PER_S} controls a second")
        meta = _meta(meaning.step)
        for target in meaning.targets:
            self._deliver_control(ControlEvent(target, args, arrived_at, source, meta))
        if meaning.void:
            self._counts["foreign"] += 1
        elif not meaning.targets:
            self._counts["foreign"] += 1
            self._error = f"{address[:PATTERN_CHARS_MAX]} fits no address; `wj reference` lists them all"

    def _hint(self, address: str) -> None:
        """An address that lacks our prefix, or has it in other letters. Those of other programs are none of ours."""
        name = address.strip("/").lower().removeprefix(PREFIX.strip("/") + "/")
        if name in self._targets:
            self._error = f"there is no address {address[:PATTERN_CHARS_MAX]}: use {PREFIX}{name}"

    def _deliver_control(self, control: ControlEvent) -> None:
        try:
            self._deliver(control)
            self._counts["delivered"] += 1
        except Exception:  # an error of the receiver must not stop OSC
            self._counts["failed"] += 1
            self._log_rarely("OSC %s could not be obeyed", control.target, exc_info=True)

    def _renew(self, endpoint: Endpoint, now: float) -> None:
        host = endpoint[0]
        if self._allowed(host) or host == self._feedback_host:
            # A program that sends to "localhost" by IPv6 may still listen to IPv4 only.
            self._answering = host if self.host == "::1" else _host(endpoint)
            self._subscribers.renew(host, now)

    def _refuse(self, error: Exception, endpoint: Endpoint) -> None:
        self._counts["malformed"] += 1
        reason = "a text that is not UTF-8" if isinstance(error, UnicodeDecodeError) else error
        self._error = f"ignored a datagram from {endpoint[0]}: {reason}"
        sender, count = f"{endpoint[0]}:{endpoint[1]}", self._counts["malformed"]
        self._log_rarely("ignored a datagram from %s that is not OSC (%s); %d so far", sender, error, count)

    def _log_rarely(self, text: str, *args: Any, exc_info: bool = False) -> None:
        now = time.monotonic()
        if now - self._logged >= LOG_INTERVAL_S:
            self._logged = now
            log.warning(text, *args, exc_info=exc_info)

    # -- answers -----------------------------------------------------------------------------------------------------

    def _may_answer(self, endpoint: Endpoint) -> bool:
        """Whether that endpoint may get answers. Our own port never does."""
        host, port = endpoint[0], endpoint[1]
        if not (self._allowed(host) or host == self._feedback_host):
            self._counts["unanswered"] += 1
            self._log_rarely(
                "OSC from %s is obeyed but gets no answers: to change that, add the host to `osc: allow` in the show",
                host,
            )
            return False
        return bool(0 < port < 65536 and port != self.port)

    def _answer(self, targets: Iterable[str], endpoint: Endpoint, now: float) -> None:
        if not self._may_answer(endpoint):
            return
        for target in targets:
            value = self._read(target)
            if value is not None and self._answers.spend(now):
                self._reply(endpoint, PREFIX + target, value)

    def _subscribe(self, args: tuple[Any, ...], now: float, endpoint: Endpoint) -> None:
        endpoint = _at(endpoint, args)
        if not self._may_answer(endpoint):
            return
        pattern = next((arg for arg in args if isinstance(arg, str) and arg.startswith("/")), None)
        if wrong := [
            arg for arg in args if arg is not pattern and not (isinstance(arg, int | float) and 0 < arg < 65536)
        ]:
            raise Malformed(f"{PREFIX}subscribe takes a port and a rate, as in 9123 10, not {str(wrong[0])[:40]}")
        numbers = [arg for arg in args if isinstance(arg, int | float) and arg == arg]
        if pattern is not None:
            match(pattern, PREFIX)  # an invalid pattern is refused now
        values = {target: value for target in self._targets if (value := self._read(target)) is not None}
        rate = float(numbers[1]) if len(numbers) > 1 else FEEDBACK_RATE_HZ
        if self._subscribers.add(endpoint, now, values, pattern, rate):
            self._reply(endpoint, f"{PREFIX}subscribed", int(LEASE_S))
            self._changed.set()
        else:
            self._reply(endpoint, f"{PREFIX}refused", f"there are {len(self._subscribers)} subscribers already")

    def _reply(self, endpoint: Endpoint, address: str, value: Any) -> None:
        # No receiver, a full buffer, or a value that OSC cannot represent: the client can ask again.
        with contextlib.suppress(OSError, ValueError, OverflowError, osc_message_builder.BuildError):
            self._socket_to(endpoint).sendto(build(address, value), endpoint)
            self._counts["answered"] += 1

    def _socket_to(self, endpoint: Endpoint) -> socket.socket:
        """Our socket of that endpoint's family: an IPv6 endpoint has two fields more."""
        family = socket.AF_INET6 if len(endpoint) > 2 else socket.AF_INET
        return next((s for s in self._sockets if s.family == family), self._sockets[0])

    # -- feedback ----------------------------------------------------------------------------------------------------

    def _feedback_target(self) -> str:
        """Host that gets feedback without a subscription. Setups of other programs wait for our first message."""
        return self._feedback_host or self._answering or ("127.0.0.1" if self._dialect else "")

    def _send(self) -> None:
        with contextlib.ExitStack() as stack:
            out: dict[int, socket.socket] = {}
            while not self._stop.is_set():
                self._changed.wait()
                self._changed.clear()
                with self._values_lock:
                    values, self._pending_feedback = self._pending_feedback, {}
                if values and self._feedback_port and (host := self._feedback_target()):
                    self._send_all(values, host, self._feedback_port, out, stack)
                for endpoint, news in self._subscribers.due(time.monotonic()):
                    # From our own port, as strict receivers require.
                    self._put(self._socket_to(endpoint), endpoint, news)
                if self._subscribers.waiting:
                    self._changed.set()
                self._stop.wait(FEEDBACK_INTERVAL_S)

    def _send_all(
        self,
        values: Mapping[str, Any],
        host: str,
        port: int,
        out: dict[int, socket.socket],
        stack: contextlib.ExitStack,
    ) -> None:
        if time.monotonic() < self._lookup_again_at:
            return
        try:
            # A name may stand for both kinds of address, and most programs listen to IPv4 only.
            found = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)
            family, _, _, _, endpoint = min(found, key=lambda info: info[0] != socket.AF_INET)
            if family not in out:
                out[family] = stack.enter_context(socket.socket(family, socket.SOCK_DGRAM))
        except OSError as error:
            self._lookup_again_at = time.monotonic() + LOOKUP_INTERVAL_S
            self._error = (
                f"feedback cannot reach {host!r} ({error.strerror}): correct `feedback` in the show, or use an address"
            )
            return
        if port == self.port and _host(endpoint) == "127.0.0.1":
            self._error = (
                f"feedback to port {port} of this machine would come back: use another, as in `feedback: {port + 1}`"
            )
            return
        self._put(out[family], endpoint, values)

    def _put(self, out: socket.socket, endpoint: Endpoint, values: Mapping[str, Any]) -> None:
        for target, value in values.items():
            self._echoes.note(_host(endpoint), target, value, time.monotonic())
            echoes = self._dialect.echo(target, value) if self._dialect else ()
            for address, content in ((PREFIX + target, value), *echoes):
                # No receiver, a full buffer, or a value that OSC cannot represent: the next value follows soon.
                with contextlib.suppress(OSError, ValueError, OverflowError, osc_message_builder.BuildError):
                    out.sendto(build(address, content), endpoint)


def _host(endpoint: Endpoint) -> str:
    """An endpoint's host, with one name for this machine."""
    return "127.0.0.1" if endpoint[0] == "::1" else str(endpoint[0])


def _meta(step: bool) -> dict[str, Any]:
    return {"relative": True} if step else {}


def _at(endpoint: Endpoint, args: tuple[Any, ...]) -> Endpoint:
    """The sender's host, with the port that the first number names."""
    port = next(
        (arg for arg in args if isinstance(arg, int | float) and arg == arg and abs(arg) < 1 << 16), endpoint[1]
    )
    return (endpoint[0], int(port), *endpoint[2:])
