"""`wj world`: the machine that runs a world for a rig elsewhere.

The ordinary world process runs here, with a mailbox that is kept as the rig's is. What is played comes as state, so it
can come again without harm: the latest value wins, and a trigger is a count. When the rig is lost the world goes on.
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
from ..world.process import NATIVE_BYTES, WORLD_PATIENCE_S, WorldOptions
from . import protocol as messages
from .key import Key
from .protocol import Hello, Malformed

AWAY = 5.0  # seconds without a sign after which another rig may have the world
LOOK = 2  # milliseconds between two looks for a new frame
OFTEN = 0.25  # seconds between two words on how the world is
_REFUSED = (
    zmq.EVENT_HANDSHAKE_FAILED_AUTH, zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL, zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
)  # fmt: skip


@dataclass(frozen=True)
class HostOptions:
    """address: as in tcp://127.0.0.1:9014. model: what is run whatever the rig's show says; None runs what it says."""

    address: str
    key: Key
    model: str | None = None
    device: str = "auto"
    threads: int | None = None
    seconds: float | None = None


class _OnlyTheRig:
    """Tells pyzmq's authenticator whom to let in."""

    def __init__(self, public: bytes) -> None:
        self._public = public

    def callback(self, domain: str, key: bytes) -> bool:
        return key == self._public


class Session:
    """One show's world, from its first hello on: process, mailbox, frames and files."""

    def __init__(self, hello: Hello, options: HostOptions) -> None:
        self.hello, self._options = hello, options
        self.mailbox, self.ring = Mailbox(), FrameRing(NATIVE_BYTES, 4)
        self.mailbox.consumed.write(messages.packed(dict(hello.obeyed)))
        self._told = set[str]()  # cells that came
        self._folder = tempfile.TemporaryDirectory(prefix="wj-world-")
        self.supervisor: Supervisor | None = None

    @property
    def needs(self) -> list[str]:
        """Files that have not come yet."""
        names = {name for media in self.hello.media.values() for name in media.values()}
        return sorted(name for name in names if not self._path(name).exists())

    def _path(self, name: str) -> Path:
        return Path(self._folder.name) / name

    def keep(self, name: str, data: bytes) -> None:
        if name not in self.needs or hashlib.sha256(data).hexdigest() != name.partition(".")[0]:
            raise Malformed("not a file that was asked for")
        self._path(name).write_bytes(data)

    def put(self, name: str, data: bytes) -> None:
        """One of the rig's cells, as it is now. What was there already changes nothing."""
        checked, cell = messages.cell(name, data), self.mailbox.cells[name]
        if cell.read()[1] != checked:
            cell.write(checked)
        self._told.add(name)

    def advance(self, now: float) -> None:
        """Start the world as soon as all it opens with is here; then keep it alive."""
        if self.supervisor:
            self.supervisor.watch(now)
        elif "numbers" in self._told and not self.needs:
            h, o = self.hello, self._options
            media = {
                slot: Media(**{kind: str(self._path(name)) for kind, name in names.items()})
                for slot, names in h.media.items()
            }
            world = WorldOptions(
                o.model or h.model, o.device, o.threads, h.top_fps, h.aspect, media, h.ahead, returns=True
            )
            self.supervisor = Supervisor("world", world_process.run, (world, self.mailbox, self.ring), WORLD_PATIENCE_S)

    def status(self) -> dict[str, Any]:
        """The world's status. cannot: why it never opened."""
        if self.supervisor is None:
            return {"state": "loading"}
        said = self.supervisor.status()
        said.pop("pid")
        return said | ({"cannot": self.supervisor.error} if self.supervisor.error and not self.supervisor.ran else {})

    def end(self) -> None:
        if self.supervisor:
            self.supervisor.finish(time.monotonic() + STOP_TIMEOUT_S)
        self.mailbox.unlink()
        self.ring.unlink()
        self._folder.cleanup()


class Host:
    """Listens for a rig, and sends it what the world makes. One thread."""

    def __init__(self, socket: zmq.Socket[bytes], options: HostOptions, say: Callable[[str], None]) -> None:
        self._socket, self._options, self._say = socket, options, say
        self.session: Session | None = None
        self._rig: bytes | None = None  # who is to be sent frames
        self._heard = 0.0
        self._rtt = 0.0
        self._on_their_way = set[int]()
        self._frame = self._obeyed = 0
        self._told = 0.0
        self._packer = messages.Packer()
        self.malformed = 0

    def hear(self) -> None:
        """Everything that came. What means nothing is counted and dropped."""
        while self._socket.poll(0):
            who, *parts = self._socket.recv_multipart()
            try:
                self._obey(who, parts[0] if parts else b"", parts[1:])
            except (Malformed, ValueError, IndexError, OSError):
                self.malformed += 1

    def _obey(self, who: bytes, kind: bytes, parts: list[bytes]) -> None:
        now = time.monotonic()
        if kind == messages.HELLO:
            self._welcome(who, Hello.unpack(parts[0]), now)
            return
        if who != self._rig or self.session is None:
            raise Malformed("no hello came before")
        self._heard = now
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
            self._on_their_way.discard(messages.NUMBER.unpack(parts[0])[0])
        elif kind == messages.FILE:
            self.session.keep(parts[0].decode("ascii", "replace"), parts[1])
        elif kind == messages.BYE:
            self._say("the rig is done; the world rests until the next one comes")
            self.finish()
        else:
            raise Malformed("no such message")

    def _welcome(self, who: bytes, hello: Hello, now: float) -> None:
        why, for_good = "", False
        same = self.session is not None and self.session.hello.session == hello.session
        if hello.layout != messages.layout():
            why, for_good = "other parameters there: install the same worldjockey on both machines", True
        elif self.session and not same and now - self._heard < AWAY:
            why = "another rig plays that world now"
        if why:
            with contextlib.suppress(zmq.ZMQError):
                refusal = messages.packed({"why": why, "for_good": for_good})
                self._socket.send_multipart([who, messages.REFUSED, refusal], zmq.NOBLOCK)
            return
        if self.session is None or not same:
            self.finish()
            self.session = Session(hello, self._options)
        self._rig, self._heard, self._rtt = who, now, 0.0
        self._on_their_way, self._obeyed, self._told = set(), 0, 0.0
        self._say(f"a rig plays {self._options.model or hello.model}" + (" again" if same else ""))
        self._send(messages.WELCOME, messages.packed({"needs": self.session.needs}))

    def _send(self, *parts: bytes) -> bool:
        if self._rig is None:
            return False
        try:
            self._socket.send_multipart([self._rig, *parts], zmq.NOBLOCK)
        except zmq.Again:
            return False
        except zmq.ZMQError:  # it is gone; the world goes on
            self._rig = None
            self._say("the rig is lost; the world goes on with what it has")
            return False
        return True

    def advance(self, now: float) -> None:
        """Keep the world alive, and send what is new of it."""
        if self.session is None:
            return
        self.session.advance(now)
        if self._rig is None:
            return
        obeyed, counts = self.session.mailbox.consumed.read()
        if obeyed != self._obeyed and self._send(messages.OBEYED, counts):
            self._obeyed = obeyed
        if now - self._told > OFTEN:
            self._told = now
            self._send(
                messages.TOLD, json.dumps({**self.session.status(), "refused": self.malformed}, default=str).encode()
            )
        newest = self.session.ring.newest
        allowed = messages.window(self._rtt, self.session.hello.top_fps)
        if newest == self._frame or len(self._on_their_way) >= allowed:
            return
        found = self.session.ring.read()
        if found is None:
            return
        number, pixels, info = found
        head = messages.SHOWN.pack(number, info.newest_control_at, min(info.span, 10.0))
        if self._send(messages.FRAME, head, self._packer.pack(pixels)):
            self._frame = number
            self._on_their_way.add(number)

    def finish(self) -> None:
        if self.session:
            self.session.end()
        self.session = self._rig = None
        self._frame = 0


def serve(options: HostOptions, say: Callable[[str], None]) -> None:
    """Run worlds for a rig until Ctrl-C. Raises OSError that names the fix where it cannot listen."""
    with contextlib.ExitStack() as stack, stop_signals() as leaving:
        context = stack.enter_context(zmq.Context())
        guard = ThreadAuthenticator(context)
        guard.start()
        stack.callback(guard.stop)
        guard.configure_curve_callback(credentials_provider=_OnlyTheRig(options.key.rig_public))
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
                f"{options.address} cannot be listened on ({zmq.strerror(error.errno or 0)}); choose another"
            ) from None
        host = Host(socket, options, say)
        stack.callback(host.finish)
        bound = socket.getsockopt(zmq.LAST_ENDPOINT)
        say(f"waiting for a rig at {bound.decode() if isinstance(bound, bytes) else bound}")
        begin = time.monotonic()
        poller = zmq.Poller()
        poller.register(socket, zmq.POLLIN)
        poller.register(monitor, zmq.POLLIN)
        while not leaving.requested:
            ready = dict(poller.poll(LOOK if host.session else 100))
            while monitor in ready and monitor.poll(0):
                if parse_monitor_message(monitor.recv_multipart())["event"] in _REFUSED:
                    say("someone was refused: no key, or another one")
            if socket in ready:
                host.hear()
            now = time.monotonic()
            host.advance(now)
            if options.seconds is not None and now - begin > options.seconds:
                return
