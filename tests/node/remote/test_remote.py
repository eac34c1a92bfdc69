"""A world on another machine: two real sides, a link that is cut, and peers that have no business there."""

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import av
import numpy as np
import pytest
import zmq
from hypothesis import given
from hypothesis import strategies as st
from worldjockey.node.ipc.frame_ring import FrameRing
from worldjockey.node.ipc.mailbox import NUMBERS, TEXTS, Mailbox
from worldjockey.node.ipc.supervisor import Supervisor
from worldjockey.node.measure.show_process import free_port
from worldjockey.node.remote import client, protocol
from worldjockey.node.remote import key as remote_key
from worldjockey.node.remote.protocol import Hello, Malformed, Packer, Unpacker
from worldjockey.node.show.media import Media
from worldjockey.node.show.schema import Show
from worldjockey.node.show.yaml_file import ShowError
from worldjockey.node.world.process import WorldOptions

pytestmark = pytest.mark.slow

PATIENCE = 60  # seconds: the machine may be busy
PICTURE = Path(__file__).parents[3] / "docs" / "world.jpg"
SIZES = [(512, 288), (1280, 720)]


def wait_for(condition, seconds=PATIENCE, what=""):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.02)


def psnr(a, b):
    return 10 * np.log10(255**2 / max(((a.astype(float) - b) ** 2).mean(), 1e-9))


@pytest.fixture(scope="module")
def key(tmp_path_factory):
    path = tmp_path_factory.mktemp("key") / "world.key"
    remote_key.make(path)
    return path


@contextlib.contextmanager
def hosting(key, address, *prefix):
    """`wj world` in a process of its own; `prefix` runs it elsewhere."""
    command = [*prefix, sys.executable, "-m", "worldjockey.node", "world", "--listen", address, "--key", str(key)]
    log = key.parent / "world.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stderr=out, env={**os.environ, "OMP_NUM_THREADS": "1"}
        )
    try:
        wait_for(lambda: process.poll() is not None or "waiting for a client" in log.read_text(), what="wj world")
        assert process.poll() is None, log.read_text()
        yield process
    finally:
        process.terminate()
        process.wait(60)


class Cable(threading.Thread):
    """Forwards TCP from a port of its own, and can be cut."""

    def __init__(self, to):
        super().__init__(daemon=True)
        self.to, self.plugged, self._ends = to, True, []
        self.flows = threading.Event()
        self.flows.set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"tcp://127.0.0.1:{self._listener.getsockname()[1]}"
        self.start()

    def run(self):
        with contextlib.suppress(OSError):
            while True:
                near = self._listener.accept()[0]
                try:
                    if not self.plugged:
                        raise ConnectionError
                    far = socket.create_connection(("127.0.0.1", self.to))
                except OSError:
                    near.close()
                    continue
                self._ends += [near, far]
                for pair in ((near, far), (far, near)):
                    threading.Thread(target=self._carry, args=pair, daemon=True).start()

    def _carry(self, a, b):
        with contextlib.suppress(OSError):
            while data := a.recv(65536):
                self.flows.wait()
                b.sendall(data)
        for end in (a, b):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def cut(self):
        self.plugged = False
        while self._ends:
            with contextlib.suppress(OSError):
                self._ends.pop().shutdown(socket.SHUT_RDWR)

    def close(self):
        self.cut()
        self._listener.close()


@dataclass
class Rig:
    """What the control process has: a mailbox, a ring, and the process that stands in for the world."""

    address: str
    key: Path
    media: dict = field(default_factory=dict)

    def __enter__(self):
        self.mailbox, self.ring = Mailbox(), FrameRing(1920 * 1088 * 3, 4)
        world = WorldOptions("testcard", media=self.media)
        options = client.RemoteOptions(self.address, remote_key.read(self.key), os.urandom(8).hex(), world)
        self.supervisor = Supervisor("world", client.run, (options, self.mailbox, self.ring), {"running": 15.0})
        return self

    def __exit__(self, *_):
        self.last = self.supervisor.finish(time.monotonic() + 10)
        self.mailbox.unlink()
        self.ring.unlink()

    def post(self, name, value):
        arrived_at = time.monotonic()
        self.mailbox.post(name, value, arrived_at)
        return arrived_at

    def status(self):
        self.supervisor.watch(time.monotonic())
        return self.supervisor.status()

    def picture(self):
        found = self.ring.read()
        return (found[1], found[2]) if found else (None, None)

    def shows(self, colour):
        picture, _ = self.picture()
        return picture is not None and np.abs(picture[:200].mean((0, 1)) - colour).max() < 3

    def bar(self):
        """Where the bar's left edge is."""
        return int(np.argmax(self.picture()[0][-12].min(1) > 200))

    def obeyed(self):
        return json.loads(self.mailbox.consumed.read()[1] or b"{}")


def expected(colour, x):
    frame = np.empty((288, 512, 3), np.uint8)
    frame[:] = colour
    frame[264:, x : x + 16] = 255
    return frame


@contextlib.contextmanager
def intruder(key, address, server_key=None):
    """A ZeroMQ socket with that key's rig side."""
    with zmq.Context() as context, context.socket(zmq.DEALER) as peer:
        peer.linger = 0
        peer.curve_secretkey, peer.curve_publickey = key.rig, key.rig_public
        peer.curve_serverkey = server_key or key.world_public
        peer.connect(address)
        yield peer


def test_a_world_elsewhere_is_played_cut_off_and_killed(key):
    port = free_port()
    cable = Cable(port)
    with contextlib.ExitStack() as stack:
        stack.callback(cable.close)
        host = stack.enter_context(hosting(key, f"127.0.0.1:{port}"))
        rig = stack.enter_context(Rig(cable.address, key))
        rig.post("prompt", "#204060")
        rig.post("transition", 0.0)
        rig.post("speed", 0.5)
        wait_for(lambda: rig.shows((0x20, 0x40, 0x60)), what="the first prompt")
        wait_for(lambda: rig.status()["link"]["up"], what="the link to be told")

        arrived_at = rig.post("prompt", "#c81e5a")
        wait_for(lambda: rig.shows((200, 30, 90)), what="a prompt that changes")
        picture, info = rig.picture()
        assert info.newest_control_at == arrived_at, "this machine's own clock comes back"
        x = int(np.argmax(picture[-12].min(1) > 200))
        close = [psnr(picture, expected((200, 30, 90), at)) for at in (x - 1, x, x + 1) if at >= 0]
        assert max(close) > 35

        # What stands still for a while makes no queue of old pictures.
        skipped, still = rig.status()["link"]["skipped"], time.monotonic()
        cable.flows.clear()
        wait_for(lambda: time.monotonic() - still > 1.5)
        newest = rig.ring.newest
        cable.flows.set()
        wait_for(lambda: rig.status()["link"]["skipped"] >= skipped + 5, what="frames to be left out")
        wait_for(lambda: rig.ring.newest > newest, what="the newest frame")
        assert rig.status()["link"]["lost"] == 0

        # Who has the key but talks nonsense, or comes second, changes nothing.
        with intruder(remote_key.read(key), f"tcp://127.0.0.1:{port}") as peer:
            for noise in ([b"state"], [b"hello", b"{"], [b"frame", b"\xff" * 99], [b""], [b"file", b"../x", b"x"]):
                peer.send_multipart(noise)
            peer.send_multipart([protocol.HELLO, Hello("other", "testcard", 30.0, None).pack()])
            assert peer.poll(PATIENCE * 1000)
            kind, why = peer.recv_multipart()
            assert kind == protocol.REFUSED
            assert "another client" in why.decode()
        wait_for(lambda: rig.status().get("refused") == 5, what="five messages counted")

        # A trigger while the link is cut is obeyed when it is back, once.
        wait_for(lambda: rig.bar() > 40, what="the bar to move")
        cable.cut()
        wait_for(lambda: rig.status().get("state") == "link lost", what="the loss is told")
        held, before = rig.ring.newest, rig.bar()
        rig.post("cam/home", True)
        rig.post("prompt", "#10b020")
        assert rig.ring.newest == held, "the picture holds"
        cable.plugged = True
        wait_for(lambda: rig.shows((0x10, 0xB0, 0x20)) and rig.bar() < before, what="the world is back and at home")
        wait_for(lambda: rig.obeyed().get("cam/home") == 1, what="the trigger to be counted")
        cable.cut()
        wait_for(lambda: not rig.status()["link"]["up"])
        cable.plugged = True
        places = []

        def moved():
            places.append(rig.bar())
            return places[-1] > 40

        wait_for(moved, what="the bar to move on")
        assert places == sorted(places), "it never went home again"
        wait_for(lambda: rig.status()["link"]["lost"] == 2, what="both losses to be counted")
        assert rig.status()["restarts"] == 0

        # The other machine dies, and a new one has the same world.
        host.send_signal(signal.SIGKILL)
        host.wait()
        wait_for(lambda: rig.status().get("state") == "link lost", what="the loss is told")
        held = rig.ring.newest
        assert rig.shows((0x10, 0xB0, 0x20))
        stack.enter_context(hosting(key, f"127.0.0.1:{port}"))
        wait_for(lambda: rig.ring.newest > held, what="frames of the new world")
        assert rig.shows((0x10, 0xB0, 0x20)), "nothing had to be said again"
        assert rig.obeyed()["cam/home"] == 1
        assert rig.status()["link"]["malformed"] == 0


def test_a_second_machine_takes_over_from_where_the_first_was(key):
    ports = [free_port(), free_port()]
    cables = [Cable(port) for port in ports]
    first, second = (cable.address for cable in cables)
    with contextlib.ExitStack() as stack:
        for cable in cables:
            stack.callback(cable.close)
        stack.enter_context(hosting(key, f"127.0.0.1:{ports[0]}"))
        rig = stack.enter_context(Rig(f"{first},{second}", key))
        rig.post("prompt", "#204060")
        rig.post("transition", 0.0)
        rig.post("speed", 2.0)
        wait_for(lambda: rig.shows((0x20, 0x40, 0x60)), what="the first prompt")
        wait_for(lambda: rig.status()["link"]["address"] == first, what="it to be told which machine plays")
        assert rig.status()["link"]["other_state"] == "connecting"
        wait_for(lambda: rig.bar() > 200, what="the bar to move")
        rig.post("speed", 0.0)

        def stands():
            bar, newest = rig.bar(), rig.ring.newest
            wait_for(lambda: rig.ring.newest > newest + 5, what="more frames")
            return rig.bar() == bar

        wait_for(stands, what="the bar to stand still")
        bar = rig.bar()

        # The second machine comes later: its own world is at the beginning.
        stack.enter_context(hosting(key, f"127.0.0.1:{ports[1]}"))
        wait_for(lambda: rig.status()["link"]["other_state"] == "ready", what="the second machine to be ready")
        rig.post("prompt", "#c81e5a")
        wait_for(lambda: rig.shows((200, 30, 90)), what="a prompt that changes")
        kept = time.monotonic() + 2.5 * client.STATE_INTERVAL_S
        wait_for(lambda: time.monotonic() > kept, what="the state to be passed on")
        assert rig.status()["link"]["takeovers"] == 0
        shown, places = rig.ring.newest, []
        cables[0].cut()

        def taken_over():
            places.append(rig.bar())
            assert rig.shows((200, 30, 90)), "no other picture"
            return rig.status()["link"]["address"] == second and rig.ring.newest > shown + 10

        wait_for(taken_over, what="the second machine to play")
        assert min(places) >= bar - 2, "from where the first one was"
        assert max(places) <= bar + 64

        def told():
            status = rig.status()
            link = status["link"]
            return (
                (status["state"], link["takeovers"], link["other"]) == ("running", 1, first)
                and link["other_state"] == "link lost"
                and status["message"] == f"{first} is lost"
            )

        wait_for(told, what="the takeover to be told")
        arrived_at = rig.post("prompt", "#10b020")
        wait_for(lambda: rig.shows((0x10, 0xB0, 0x20)), what="a prompt that changes")
        assert rig.picture()[1].newest_control_at == arrived_at
        rig.post("cam/home", True)
        wait_for(lambda: rig.bar() < 40, what="a trigger")

        # The first one is back, is told what it missed, and takes over from a machine that falls silent.
        cables[0].plugged = True
        wait_for(lambda: rig.status()["link"]["other_state"] == "ready", what="the first machine to be ready again")
        cables[1].flows.clear()
        wait_for(lambda: rig.status()["link"]["address"] == first, what="the first machine to play")
        newest = rig.ring.newest
        wait_for(lambda: rig.ring.newest > newest + 5, what="frames")
        assert rig.shows((0x10, 0xB0, 0x20))
        assert rig.bar() < 40, "the trigger was obeyed here, too, once"
        cables[1].flows.set()
        wait_for(lambda: rig.obeyed().get("cam/home") == 1, what="the trigger to be counted once")
        assert rig.status()["restarts"] == 0
        assert rig.status()["link"]["malformed"] == 0


def test_the_terminal_tells_which_machine_plays_and_sends_nobody_to_copy_keys(key, tmp_path):
    ports = [free_port(), free_port()]
    first, second = (f"tcp://127.0.0.1:{port}" for port in ports)
    printed = tmp_path / "terminal"
    command = [sys.executable, "-m", "worldjockey.node", "play", "--headless", "--no-surface", "--model", "testcard"]
    command += ["--world", f"{first},{second}", "--key", str(key), "--no-osc", "--no-midi", "--out", "none"]

    def lines():
        return printed.read_text().splitlines()

    with contextlib.ExitStack() as stack:
        killed = stack.enter_context(hosting(key, f"127.0.0.1:{ports[0]}"))
        assert f"waiting for a client at {first}\n" in (key.parent / "world.log").read_text()
        stack.enter_context(hosting(key, f"127.0.0.1:{ports[1]}"))
        out = stack.enter_context(printed.open("wb"))
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        playing = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=out, env=environment, cwd=tmp_path)
        stack.callback(playing.wait, PATIENCE)
        stack.callback(playing.terminate)
        wait_for(lambda: f"wj: {second} is ready to take over" in lines(), what="the second machine to be ready")
        killed.kill()
        killed.wait()
        wait_for(lambda: f"wj: {first} is lost; {second} plays" in lines(), what="the takeover")
        # As of a host that is killed while a client connects, or is not there yet: it takes a connection and drops it.
        with socket.create_server(("127.0.0.1", ports[0])) as dropping:
            for _ in range(3):
                dropping.accept()[0].close()
        stack.enter_context(hosting(key, f"127.0.0.1:{ports[0]}"))
        wait_for(lambda: f"wj: {first} is ready to take over" in lines(), what="the first machine to be ready again")
        assert lines().count(f"wj: {first} is lost; {second} plays") == 1
        assert "key" not in printed.read_text()


def test_another_key_is_refused_and_a_picture_on_a_pad_is_sent(key, tmp_path):
    other = tmp_path / "other.key"
    half = remote_key.make(other)
    mine = remote_key.read(key)
    port = free_port()
    address = f"tcp://127.0.0.1:{port}"
    red = np.zeros((64, 64, 3), np.uint8)
    red[:] = (220, 40, 20)
    (tmp_path / "red.jpg").write_bytes(Packer().pack(red))
    with hosting(key, f"127.0.0.1:{port}"):
        with Rig(address, other) as stranger:
            wait_for(lambda: "another key" in stranger.status().get("message", ""), what="the refusal")
            assert stranger.ring.newest == 0
        # Knowing whom to ask is not enough: without the rig's own secret nothing is answered.
        with intruder(half, address, mine.world_public) as peer:
            peer.send_multipart([protocol.HELLO, Hello("x", "testcard", 30.0, None).pack()])
            wait_for(lambda: (key.parent / "world.log").read_text().count("refused") >= 2, what="it is told there")
            assert not peer.poll(0)
        with Rig(address, key, {"[red.jpg]": Media(str(tmp_path / "red.jpg"))}) as rig:
            for name, value in {"prompt": "#000000", "pad/1/text": "[red.jpg]", "pad/1": 1.0, "morph": 0.0}.items():
                rig.post(name, value)
            wait_for(lambda: rig.shows((220, 40, 20)), what="the picture's colour")


@pytest.mark.skipif(not shutil.which("ip") or os.name != "posix" or os.geteuid() != 0, reason="wants root and iproute2")
def test_two_machines_whose_cable_is_pulled(key):
    """Two network namespaces: nothing says goodbye when a link goes down."""
    there, near, far = (f"wj{os.getpid() % 10000}{end}" for end in "tnf")

    def ip(*words):
        subprocess.run(["ip", *words], check=True, capture_output=True)

    try:
        ip("netns", "add", there)
        ip("link", "add", near, "type", "veth", "peer", "name", far, "netns", there)
    except subprocess.CalledProcessError as error:
        subprocess.run(["ip", "netns", "del", there], capture_output=True)
        pytest.skip(f"no network namespaces here: {error.stderr.decode().strip()}")
    try:
        ip("addr", "add", "10.213.77.1/30", "dev", near)
        ip("link", "set", near, "up")
        ip("-n", there, "addr", "add", "10.213.77.2/30", "dev", far)
        ip("-n", there, "link", "set", far, "up")
        prefix = ["ip", "netns", "exec", there]
        with hosting(key, "10.213.77.2:9014", *prefix), Rig("tcp://10.213.77.2:9014", key) as rig:
            rig.post("prompt", "#204060")
            wait_for(lambda: rig.shows((0x20, 0x40, 0x60)), what="the first prompt")
            ip("-n", there, "link", "set", far, "down")
            rig.post("prompt", "#a0a000")
            wait_for(lambda: rig.status().get("state") == "link lost", what="the loss is told")
            assert re.search("did not respond|no world answers", rig.status()["message"])
            assert rig.shows((0x20, 0x40, 0x60)), "the picture holds"
            ip("-n", there, "link", "set", far, "up")
            wait_for(lambda: rig.shows((0xA0, 0xA0, 0)), what="the world is back")
            assert rig.status()["restarts"] == 0
    finally:
        subprocess.run(["ip", "netns", "del", there], capture_output=True)
        subprocess.run(["ip", "link", "del", near], capture_output=True)


@pytest.mark.parametrize("size", SIZES)
def test_pictures_come_through(size):
    with av.open(str(PICTURE)) as container:
        frame = next(container.decode(video=0)).reformat(width=size[0], height=size[1])
        picture = frame.to_ndarray(format="rgb24")
    data = Packer().pack(picture)
    assert psnr(Unpacker().unpack(data), picture) > 35
    assert len(data) < picture.nbytes / 5
    rough = np.random.default_rng(0).integers(0, 255, (145, 255, 3), np.uint8)
    assert Unpacker().unpack(Packer().pack(rough)).shape == rough.shape, "odd sizes session"


@given(
    st.binary(max_size=3 * 8 * len(NUMBERS) + 9), st.sampled_from(["numbers", "words", "prompt", "pad/3/text", "no"])
)
def test_what_comes_is_checked(data, name):
    with contextlib.suppress(Malformed):
        protocol.cell(name, data)
    with contextlib.suppress(Malformed):
        Hello.unpack(data)
    with contextlib.suppress(Malformed):
        Unpacker().unpack(data)


def test_numbers_are_kept_in_their_range():
    table = np.full((3, len(NUMBERS)), 1e12)
    kept = np.frombuffer(protocol.cell("numbers", table.tobytes())).reshape(3, -1)
    for p, value in zip(NUMBERS, kept[0], strict=True):
        assert value == (len(p.choices) - 1 if p.kind == "enum" else p.high)
    with pytest.raises(Malformed):
        protocol.cell("numbers", np.full_like(table, np.nan).tobytes())
    box = Mailbox()
    assert set(box.cells) == {"numbers", "words", *TEXTS}, "all of it is carried"
    box.unlink()


def test_a_long_link_has_more_frames_on_their_way():
    assert [protocol.window(rtt, 30) for rtt in (0, 0.02, 0.1, 5)] == [2, 2, 4, 12]


def test_keys_and_addresses_say_what_is_wrong(tmp_path):
    path = tmp_path / "k"
    made = remote_key.make(path)
    assert remote_key.read(path) == made
    assert made.rig.decode() not in repr(made)
    with pytest.raises(FileExistsError, match="already"):
        remote_key.make(path)
    if os.name == "posix":
        path.chmod(0o644)
        with pytest.raises(PermissionError, match="chmod 600"):
            remote_key.read(path)
        path.chmod(0o600)
    path.write_text("world x\nrig y\n")
    with pytest.raises(ValueError, match="not a key"):
        remote_key.read(path)
    with pytest.raises(FileNotFoundError, match="--new-key"):
        remote_key.read(tmp_path / "none")
    assert Show.parse("world: tcp://10.0.0.2").world == "tcp://10.0.0.2:9014"
    assert Show.parse("world: tcp://[fe80::1]:99").world == "tcp://[fe80::1]:99"
    assert Show.parse("world: tcp://10.0.0.2,tcp://10.0.0.3:99").world == "tcp://10.0.0.2:9014,tcp://10.0.0.3:99"
    for wrong in ("http://a", "tcp://", "tcp://a:b", "tcp://a/b", "tcp://a,"):
        with pytest.raises(ShowError, match="not the address of a world"):
            Show.parse(f"world: '{wrong}'")


def test_large_files_are_refused_before_the_show(tmp_path):
    path = tmp_path / "long.mp4"
    with path.open("wb") as file:
        file.truncate(protocol.FILE_BYTES + 1)
    with pytest.raises(ValueError, match="takes files of up to 64 MB"):
        client.named(path)
