"""`wj world`: the host, which runs the world of a show that is played on another machine, the client.

The usual world process runs here, with a mailbox that is a copy of the client's. Controls arrive as state, so they may
safely arrive twice: the latest value wins, and a trigger is a count. When the client is lost, the world continues.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import zmq
from zmq.auth.thread import ThreadAuthenticator
from zmq.utils.monitor import parse_monitor_message

from ..ipc.frame_ring import FrameRing
from ..ipc.mailbox import Mailbox
from ..ipc.signals import stop_signals
from ..ipc.supervisor import STOP_TIMEOUT_S, Supervisor
from ..show.media import Media
from ..world import process as world_process
from ..world.handover import Arrival, Handover
from ..world.process import NATIVE_BYTES, WORLD_PATIENCE_S, WorldOptions
from . import protocol as messages
from .key import Key
from .protocol import Hello, Malformed

CLIENT_TIMEOUT_S = 5.0  # without a message, after which another client may have the world
POLL_INTERVAL_MS = 2
STATUS_INTERVAL_S = 0.25
TAKE_TIMEOUT_S = 2.0  # after which frames are sent although the world did not go on from the state that it was brought
_REFUSED = (
    zmq.EVENT_HANDSHAKE_FAILED_AUTH, zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL, zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
)  # fmt: skip


@dataclass(frozen=True)
class HostOptions:
    """address: as in tcp://127.0.0.1:9014. model: the world to run; None runs the one that the client's show names."""

    address: str
    key: Key
    model: str | None = None
    device: str = "auto"
    threads: int | None = None
    seconds: float | None = None


class _OnlyTheClient:
    """A credentials provider of pyzmq's authenticator that accepts one public key."""

    def __init__(self, public: bytes) -> None:
        self._public = public

    def callback(self, domain: str, key: bytes) -> bool:
        return key == self._public


class Session:
    """The world of one run of a show, from its first hello: process, mailbox, frames and files."""

    def __init__(self, hello: Hello, options: HostOptions) -> None:
        self.hello, self._options = hello, options
        self.mailbox, self.ring = Mailbox(), FrameRing(NATIVE_BYTES, 4)
        self.mailbox.consumed.write(messages.packed(dict(hello.obeyed)))
        self._received = set[str]()  # names of cells
        self._folder = tempfile.TemporaryDirectory(prefix="wj-world-")
        self.handover = Handover.create(Path(self._folder.name))
        self.arrival = Arrival.create(Path(self._folder.name))
        self.supervisor: Supervisor | None = None

    @property
    def needs(self) -> list[str]:
        """Files that have not arrived yet."""
        names = {name for media in self.hello.media.values() for name in media.values()}
        return sorted(name for name in names if not self._path(name).exists())

    def _path(self, name: str) -> Path:
        return Path(self._folder.name) / name

    def keep(self, name: str, data: bytes) -> None:
        if name not in self.needs or hashlib.sha256(data).hexdigest() != name.partition(".")[0]:
            raise Malformed("not a requested file")
        self._path(name).write_bytes(data)

    def put(self, name: str, data: bytes) -> None:
        """Update one of the mailbox's cells. Data that is there already changes nothing."""
        checked, cell = messages.cell(name, data), self.mailbox.cells[name]
        if cell.read()[1] != checked:
            cell.write(checked)
        self._received.add(name)

    def advance(self, now: float) -> None:
        """Start the world as soon as its controls and files have arrived; then keep it alive."""
        if self.supervisor:
            self.supervisor.watch(now)
        elif "numbers" in self._received and not self.needs:
            h, o = self.hello, self._options
            media = {
                slot: Media(**{kind: str(self._path(name)) for kind, name in names.items()})
                for slot, names in h.media.items()
            }
            world = WorldOptions(
                o.model or h.model, o.device, o.threads, h.top_fps, h.aspect, media, h.ahead, returns=True,
                handover=self.handover, arrival=self.arrival,
            )  # fmt: skip
            self.supervisor = Supervisor("world", world_process.run, (world, self.mailbox, self.ring), WORLD_PATIENCE_S)

    def status(self) -> dict[str, Any]:
        """The world's status; `cannot` is the reason why it never opened."""
        if self.supervisor is None:
            return {"state": "loading"}
        status = self.supervisor.status()
        status.pop("pid")
        return status | ({"cannot": self.supervisor.error} if self.supervisor.error and not self.supervisor.ran else {})

    def given(self, number: int) -> bytes | None:
        """The world's state that was asked for as that number; empty where it has none, None while it is not there."""
        answer = json.loads(self.handover.given.read()[1] or b"{}")
        if answer.get("number") != number:
            return None
        if not answer.get("file"):
            return b""
        path = self._path(Path(answer["file"]).name)
        try:
            return path.read_bytes() if path.stat().st_size <= messages.STATE_BYTES else b""
        except OSError:
            return b""
        finally:
            path.unlink(missing_ok=True)

    def end(self) -> None:
        if self.supervisor:
            self.supervisor.finish(time.monotonic() + STOP_TIMEOUT_S)
        self.mailbox.unlink()
        self.ring.unlink()
        for cell in (*self.handover.cells, *self.arrival.cells):
            cell.unlink()
        self._folder.cleanup()


class Host:
    """Accepts a client, and sends it the world's frames. All methods belong to one thread.

    report: called with one line for each event.
    """

    def __init__(self, socket: zmq.Socket[bytes], options: HostOptions, report: Callable[[str], None]) -> None:
        self._socket, self._options, self._report = socket, options, report
        self.session: Session | None = None
        self._client: bytes | None = None  # receives the frames
        self._last_message_at = 0.0
        self._rtt = 0.0
        self._in_flight = set[int]()
        self._frame = self._obeyed = 0
        self._status_sent_at = 0.0
        self._state_asked: int | None = None  # number of the state that the client waits for
        self._state_kept = b""  # of another machine's world
        self._taking: tuple[int, float] | None = None  # number of the state that the world is to go on from, and since
        self._packer = messages.Packer()
        self.malformed = 0

    def receive(self) -> None:
        """Handle all messages that arrived. Malformed ones are counted and dropped."""
        while self._socket.poll(0):
            sender, *parts = self._socket.recv_multipart()
            try:
                self._obey(sender, parts[0] if parts else b"", parts[1:])
            except (Malformed, ValueError, IndexError, OSError):
                self.malformed += 1

    def _obey(self, sender: bytes, kind: bytes, parts: list[bytes]) -> None:
        now = time.monotonic()
        if kind == messages.HELLO:
            self._welcome(sender, Hello.unpack(parts[0]), now)
            return
        if sender != self._client or self.session is None:
            raise Malformed("no hello before this message")
        self._last_message_at = now
        if kind == messages.STATE:
            head = messages.unpacked(parts[0])
            n, rtt, names = head.get("n"), head.get("rtt"), head.get("cells")
            if not isinstance(n, int) or not isinstance(names, list) or len(names) != len(parts) - 1:
                raise Malformed("not a change")
            if isinstance(rtt, int | float) and math.isfinite(rtt):
                self._rtt = max(float(rtt), 0.0)
            try:
                for name, data in zip(names, parts[1:], strict=True):
                    self.session.put(str(name), data)
            finally:
                self._send(messages.GOT, messages.NUMBER.pack(n % 2**64))
        elif kind == messages.SEEN and len(parts[0]) == messages.NUMBER.size:
            self._in_flight.discard(messages.NUMBER.unpack(parts[0])[0])
        elif kind == messages.FILE:
            self.session.keep(parts[0].decode("ascii", "replace"), parts[1])
        elif kind == messages.GIVE:
            self.session.handover.asked.write(b"")
            self._state_asked = self.session.handover.asked.version
        elif kind == messages.KEEP:
            if len(parts[0]) > messages.STATE_BYTES:
                raise Malformed("a state that is too large")
            self._state_kept = parts[0]
        elif kind == messages.TAKE:
            self._report("this machine plays from now on")
            if self._state_kept:
                self._taking = self.session.arrival.bring(self._state_kept), now
                self._state_kept = b""
        elif kind == messages.BYE:
            self._report("the client ended the show; waiting for the next one")
            self.finish()
        else:
            raise Malformed("no such message")

    def _welcome(self, sender: bytes, hello: Hello, now: float) -> None:
        reason, for_good = "", False
        same = self.session is not None and self.session.hello.session == hello.session
        if hello.layout != messages.layout():
            reason, for_good = "the versions differ: install the same worldjockey on both machines", True
        elif self.session and not same and now - self._last_message_at < CLIENT_TIMEOUT_S:
            reason = "another client plays this world now"
        if reason:
            with contextlib.suppress(zmq.ZMQError):
                refusal = messages.packed({"why": reason, "for_good": for_good})
                self._socket.send_multipart([sender, messages.REFUSED, refusal], zmq.NOBLOCK)
            return
        if self.session is None or not same:
            self.finish()
            self.session = Session(hello, self._options)
        self._client, self._last_message_at, self._rtt = sender, now, 0.0
        self._in_flight, self._obeyed, self._status_sent_at = set(), 0, 0.0
        self._state_asked, self._state_kept, self._taking = None, b"", None
        self._report(f"a client plays {self._options.model or hello.model}" + (" again" if same else ""))
        self._send(messages.WELCOME, messages.packed({"needs": self.session.needs}))

    def _send(self, *parts: bytes) -> bool:
        if self._client is None:
            return False
        try:
            self._socket.send_multipart([self._client, *parts], zmq.NOBLOCK)
        except zmq.Again:
            return False
        except zmq.ZMQError:  # the client is gone; the world continues
            self._client = None
            self._report("the client is lost; the world continues with its last controls")
            return False
        return True

    def advance(self, now: float) -> None:
        """Keep the world alive, and send its new status and frames."""
        if self.session is None:
            return
        self.session.advance(now)
        if self._client is None:
            return
        obeyed, counts = self.session.mailbox.consumed.read()
        if obeyed != self._obeyed and self._send(messages.OBEYED, counts):
            self._obeyed = obeyed
        if now - self._status_sent_at > STATUS_INTERVAL_S:
            self._status_sent_at = now
            self._send(
                messages.STATUS, json.dumps({**self.session.status(), "refused": self.malformed}, default=str).encode()
            )
        if self._state_asked is not None and (state := self.session.given(self._state_asked)) is not None:
            self._state_asked = None
            self._send(messages.GIVEN, state)
        newest = self.session.ring.newest
        if self._taking is not None:
            number, since = self._taking
            if self.session.arrival.number_taken < number and now - since < TAKE_TIMEOUT_S:
                return
            self._taking, self._frame = None, newest  # what the world drew before is not shown
        allowed = messages.window(self._rtt, self.session.hello.top_fps)
        if newest == self._frame or len(self._in_flight) >= allowed:
            return
        found = self.session.ring.read()
        if found is None:
            return
        number, pixels, info = found
        head = messages.FRAME_HEAD.pack(number, info.newest_control_at, min(info.span, 10.0))
        if self._send(messages.FRAME, head, self._packer.pack(pixels)):
            self._frame = number
            self._in_flight.add(number)

    def finish(self) -> None:
        if self.session:
            self.session.end()
        self.session = self._client = None
        self._frame = 0


def _listening(asked: str, socket: zmq.Socket[bytes]) -> str:
    """The address as it was asked for, with the port that the system chose for port 0."""
    host, _, port = asked.rpartition(":")
    bound = socket.getsockopt(zmq.LAST_ENDPOINT)
    chosen = bound.decode() if isinstance(bound, bytes) else str(bound)
    return f"{host}:{chosen.rpartition(':')[2]}" if port == "0" else asked


def serve(options: HostOptions, report: Callable[[str], None]) -> None:
    """Run worlds for a client until Ctrl-C. Raises OSError, with the fix, where the address cannot be used."""
    with contextlib.ExitStack() as stack, stop_signals() as request:
        context = stack.enter_context(zmq.Context())
        guard = ThreadAuthenticator(context)
        guard.start()
        stack.callback(guard.stop)
        guard.configure_curve_callback(credentials_provider=_OnlyTheClient(options.key.rig_public))
        socket = stack.enter_context(context.socket(zmq.ROUTER))
        for option, value in {
            zmq.LINGER: 0, zmq.ROUTER_MANDATORY: 1, zmq.IPV6: 1, zmq.MAXMSGSIZE: messages.FILE_BYTES + 1024,
            zmq.HANDSHAKE_IVL: 4000, zmq.HEARTBEAT_IVL: 2000, zmq.HEARTBEAT_TIMEOUT: 10000,
        }.items():  # fmt: skip
            socket.setsockopt(option, value)
        socket.curve_server, socket.curve_secretkey = True, options.key.world
        socket.curve_publickey = options.key.world_public
        monitor = socket.get_monitor_socket()
        stack.callback(socket.disable_monitor)
        try:
            socket.bind(options.address)
        except zmq.ZMQError as error:
            raise OSError(
                f"cannot listen on {options.address} ({zmq.strerror(error.errno or 0)}): choose another --listen"
            ) from None
        host = Host(socket, options, report)
        stack.callback(host.finish)
        report(f"waiting for a client at {_listening(options.address, socket)}")
        begin = time.monotonic()
        poller = zmq.Poller()
        poller.register(socket, zmq.POLLIN)
        poller.register(monitor, zmq.POLLIN)
        while not request.requested:
            ready = dict(poller.poll(POLL_INTERVAL_MS if host.session else 100))
            while monitor in ready and monitor.poll(0):
                if parse_monitor_message(monitor.recv_multipart())["event"] in _REFUSED:
                    report("a connection was refused: it has no key, or another key")
            if socket in ready:
                host.receive()
            now = time.monotonic()
            host.advance(now)
            if options.seconds is not None and now - begin > options.seconds:
                return
