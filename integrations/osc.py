"""OSC over UDP: the performer's faders, buttons and texts in; the node's values back out.

Follows OSC 1.0 (Wright 2002) and the types of OSC 1.1. Messages are parsed by python-osc; what surrounds them is done
here, because a datagram from a stranger must never stop a show: bundles are walked with every length checked, and a
flood on one fader is thinned out before it is parsed.
"""

from __future__ import annotations

import contextlib
import errno
import heapq
import itertools
import logging
import selectors
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from pythonosc import osc_message, osc_message_builder

from . import Control, Deliver

PREFIX = "/wj/"
LARGEST = 65_507  # bytes of a UDP datagram over IPv4
BUFFER = 4 << 20  # bytes asked of the kernel for what is not read yet; it may give less
GATHER = 0.002  # seconds between two looks at the socket while a flood lasts; a lone message never waits
BATCH = 4096  # datagrams read in one look
AHEAD = 10.0  # seconds; a time tag further in the future is another clock's, and obeyed at once
SCHEDULED = 4096  # bundled messages that may wait for their time
DEPTH = 8  # of bundles in bundles
ARGUMENTS = 64  # of one message; no address takes more
FEEDBACK_GAP = 1 / 50  # seconds between two rounds of feedback
LOG_GAP = 10.0  # seconds between two lines in the log about malformed datagrams
NTP_EPOCH = 2_208_988_800  # seconds from 1900 to 1970
TYPES = frozenset(b"ifsbhtdrmTFNI[]")
BUNDLE = b"#bundle\0"
log = logging.getLogger(__name__)


class Malformed(ValueError):
    """A datagram that is not OSC."""


def split(datagram: bytes, wall: float, depth: int = 0) -> Iterator[tuple[float, bytes]]:
    """(seconds until it is due, message) for each message of a datagram, bundles opened; 0 is now.

    wall: time.time(). Raises Malformed before the first message if any length does not fit.
    """
    if not datagram.startswith(BUNDLE):
        yield 0.0, datagram
        return
    if depth == DEPTH or len(datagram) < 16:
        raise Malformed("a bundle that is cut off, or too deep")
    tag = struct.unpack_from(">Q", datagram, 8)[0]
    due = tag / 2**32 - NTP_EPOCH - wall if tag != 1 else 0.0
    found: list[tuple[float, bytes]] = []
    at = 16
    while at < len(datagram):
        if at + 4 > len(datagram):
            raise Malformed("a bundle that is cut off")
        size = struct.unpack_from(">i", datagram, at)[0]
        at += 4
        if size <= 0 or size % 4 or at + size > len(datagram):
            raise Malformed("a bundle with a wrong length")
        for later, message in split(datagram[at : at + size], wall, depth + 1):
            found.append((max(due, later), message))
        at += size
    for wait, message in found:
        yield wait if 0 < wait <= AHEAD else 0.0, message


def head(message: bytes) -> tuple[bytes, bytes]:
    """A message's address, and its address with its type tags; Malformed if it has no address."""
    end = message.find(b"\0")
    if not message.startswith(b"/") or end < 0:
        raise Malformed("a message without an address")
    tags = (end + 4) & ~3
    if message[tags : tags + 1] != b",":
        return message[:end], message[:tags]
    stop = message.find(b"\0", tags)
    if stop < 0:
        raise Malformed("type tags that are cut off")
    return message[:end], message[:stop]


def parse(message: bytes) -> tuple[str, tuple[Any, ...]]:
    """Address and arguments, arrays laid flat. Raises Malformed."""
    address, key = head(message)
    tags = key[(len(address) + 4) & ~3 :]
    if not TYPES.issuperset(tags[1:]) or len(tags) > ARGUMENTS + 1:
        raise Malformed("type tags that are not in OSC 1.1, or too many")
    if b"I" in tags:  # the impulse, which python-osc does not know: true, as it is meant for triggers
        message = key[: len(key) - len(tags)] + tags.replace(b"I", b"T") + message[len(key) :]
    try:
        parsed = osc_message.OscMessage(message)
    except (osc_message.ParseError, ValueError, OverflowError, IndexError, struct.error) as fault:
        raise Malformed(str(fault)) from None
    return parsed.address, tuple(_flat(parsed.params))


def _flat(values: list[Any]) -> Iterator[Any]:
    for value in values:
        if isinstance(value, list):  # no deeper than ARGUMENTS
            yield from _flat(value)
        else:
            yield value


def thin(batch: Iterable[tuple[bytes, Any]], latest_wins: Callable[[bytes], bool]) -> list[tuple[bytes, Any]]:
    """Of datagrams in the order of arrival, those that matter: of one fader's moves in a row, the last.

    Plain messages with equal address and type tags supersede each other if `latest_wins(address)`. Everything else
    (triggers, texts, bundles, noise) stays, and what came before it is not thinned against what comes after it.
    """
    kept: list[tuple[bytes, Any] | None] = []
    places: dict[bytes, int] = {}
    for entry in batch:
        try:
            address, key = head(entry[0])
            fader = latest_wins(address)
        except Malformed:
            fader = False
        if not fader:
            places.clear()
        else:
            if key in places:
                kept[places[key]] = None
            places[key] = len(kept)
        kept.append(entry)
    return [entry for entry in kept if entry is not None]


def build(address: str, value: Any) -> bytes:
    """One message of feedback. Truths go as 1 and 0, which every controller reads."""
    builder = osc_message_builder.OscMessageBuilder(address)
    for v in value if isinstance(value, list | tuple) else () if value is None else (value,):
        if isinstance(v, bool | int):
            builder.add_arg(max(min(int(v), 2**31 - 1), -(2**31)), "i")
        elif isinstance(v, float):
            builder.add_arg(v, "f")
        else:
            raw = str(v).replace("\0", "").encode("utf-8", "replace")[: LARGEST // 2]
            builder.add_arg(raw.decode("utf-8", "ignore"), "s")
    return builder.build().dgram


def _never(_target: str) -> bool:
    return False


class OSCInput:
    """An `Input` on one UDP port.

    host, port: where it listens. 127.0.0.1 hears this machine only.
    feedback_host: who hears of changes; None is whoever sent last. feedback_port: None for no feedback.
    latest_wins: for a target ("pad/3"), whether only its newest value matters; without it nothing is ever left out.
    """

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 9010,
        feedback_host: str | None = None,
        feedback_port: int | None = 9011,
        latest_wins: Callable[[str], bool] = _never,
    ) -> None:
        self.host, self.port = host, port
        self._feedback_host, self._feedback_port = feedback_host, feedback_port
        self._latest_wins = latest_wins
        self._known: dict[bytes, bool] = {}
        self._counts: Counter[str] = Counter()
        self._sender = ""
        self._threads: list[threading.Thread] = []
        self._stop = threading.Event()
        self._changed = threading.Event()
        self._values: dict[str, Any] = {}  # feedback that is not sent yet
        self._values_lock = threading.Lock()
        self._due: list[tuple[float, int, bytes, str]] = []  # a heap of scheduled messages
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
        except OSError as fault:
            message = f"OSC cannot listen on {self.host!r} ({fault.strerror}): try --osc-host 127.0.0.1"
            raise OSError(fault.errno, message) from None
        bound = socket.socket(family, kind, proto)
        try:
            with contextlib.suppress(OSError):
                bound.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
            bound.setblocking(False)
            bound.bind(place)
        except OSError as fault:
            bound.close()
            if fault.errno == errno.EADDRINUSE:
                free = self.port + 10
                message = f"OSC port {self.port} is taken: is another show playing? End it, or use --osc-port {free}"
            elif fault.errno == errno.EACCES:
                message = f"OSC port {self.port} is not allowed to this user: use --osc-port 9010"
            else:
                message = f"OSC cannot listen on {self.host}:{self.port} ({fault.strerror}): try --osc-host 127.0.0.1"
            raise OSError(fault.errno, message) from None
        return bound

    def feedback(self, target: str, value: Any) -> None:
        """Tell controllers; the newest value of each target goes out at most 50 times a second. Never blocks."""
        if self._feedback_port is None:
            return
        with self._values_lock:
            self._values[target] = value
        self._changed.set()

    def status(self) -> Mapping[str, Any]:
        host = self._feedback_host or self._sender.rpartition(":")[0]
        return {
            "address": f"{self.host}:{self.port}",
            "listening": any(t.is_alive() for t in self._threads),
            "last_sender": self._sender,
            "feedback_to": f"{host}:{self._feedback_port}" if host and self._feedback_port else "",
            "scheduled": len(self._due),
            **{k: self._counts[k] for k in ("received", "delivered", "superseded", "malformed", "foreign", "failed")},
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
        for datagram, (sender, arrival) in kept:
            try:
                parts = list(split(datagram, time.time()))
            except Malformed as fault:
                self._refuse(fault, sender)
                continue
            for wait, message in parts:
                if wait and len(self._due) < SCHEDULED:
                    heapq.heappush(self._due, (arrival + wait, next(self._order), message, sender))
                else:
                    self._obey(message, arrival, sender)

    def _pending(self) -> list[tuple[bytes, tuple[str, float]]]:
        found = []
        for _ in range(BATCH):
            try:
                datagram, place = self._socket.recvfrom(LARGEST + 1)
            except (BlockingIOError, InterruptedError):
                break
            except OSError:  # Windows reports here that feedback found nobody
                continue
            found.append((datagram, (f"{place[0]}:{place[1]}", time.monotonic())))
        self._counts["received"] += len(found)
        return found

    def _supersedes(self, address: bytes) -> bool:
        known = self._known.get(address)
        if known is None:
            text = address.decode("utf-8", "replace")
            known = text.startswith(PREFIX) and bool(self._latest_wins(text.removeprefix(PREFIX)))
            if len(self._known) < 4096:
                self._known[address] = known
        return known

    def _deliver_due(self) -> None:
        while self._due and self._due[0][0] <= (now := time.monotonic()):
            _, _, message, sender = heapq.heappop(self._due)
            self._obey(message, now, sender)

    def _obey(self, message: bytes, arrival: float, sender: str) -> None:
        try:
            address, args = parse(message)
        except Malformed as fault:
            self._refuse(fault, sender)
            return
        self._sender = sender
        if not address.startswith(PREFIX) or len(address) == len(PREFIX):
            self._counts["foreign"] += 1
            return
        try:
            self._deliver(Control(address.removeprefix(PREFIX), args, arrival, f"osc {sender}"))
            self._counts["delivered"] += 1
        except Exception:  # whoever listens must not be able to make OSC deaf
            self._counts["failed"] += 1
            self._say("OSC %s could not be obeyed", address, exc_info=True)

    def _refuse(self, fault: Exception, sender: str) -> None:
        self._counts["malformed"] += 1
        self._say(
            "ignored a datagram from %s that is not OSC (%s); %d so far", sender, fault, self._counts["malformed"]
        )

    def _say(self, text: str, *args: Any, exc_info: bool = False) -> None:
        now = time.monotonic()
        if now - self._logged >= LOG_GAP:
            self._logged = now
            log.warning(text, *args, exc_info=exc_info)

    # -- feedback ----------------------------------------------------------------------------------------------------

    def _send(self) -> None:
        with contextlib.ExitStack() as stack:
            out: dict[int, socket.socket] = {}
            while not self._stop.is_set():
                self._changed.wait()
                self._changed.clear()
                host = self._feedback_host or self._sender.rpartition(":")[0]
                with self._values_lock:
                    values, self._values = self._values, {}
                if host and values:
                    self._send_all(values, host, out, stack)
                self._stop.wait(FEEDBACK_GAP)

    def _send_all(
        self, values: Mapping[str, Any], host: str, out: dict[int, socket.socket], stack: contextlib.ExitStack
    ) -> None:
        try:
            family, _, _, _, place = socket.getaddrinfo(host, self._feedback_port, type=socket.SOCK_DGRAM)[0]
            if family not in out:
                out[family] = stack.enter_context(socket.socket(family, socket.SOCK_DGRAM))
        except OSError as fault:
            self._say("OSC feedback cannot reach %s (%s)", host, fault)
            return
        for target, value in values.items():
            # Nobody there, no room, or a value OSC cannot say: the next one is on its way.
            with contextlib.suppress(OSError, ValueError, OverflowError, osc_message_builder.BuildError):
                out[family].sendto(build(PREFIX + target, value), place)
