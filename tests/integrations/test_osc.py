import random
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pythonosc.dispatcher import Dispatcher
from pythonosc.osc_bundle_builder import IMMEDIATELY, OscBundleBuilder
from pythonosc.osc_message_builder import OscMessageBuilder
from pythonosc.osc_server import BlockingOSCUDPServer
from pythonosc.udp_client import SimpleUDPClient
from worldjockey.integrations import Control
from worldjockey.integrations.osc import AHEAD, Malformed, OSCInput, build, parse, split, thin

CLIENT = Path(__file__).parents[1] / "peers" / "osc_client.py"


def message(address: str, *args: object) -> bytes:
    builder = OscMessageBuilder(address)
    for arg in args:
        builder.add_arg(arg)  # type: ignore[arg-type]
    return builder.build().dgram


def bundle(when: float, *contents: bytes) -> bytes:
    tag = 1 if when == IMMEDIATELY else int((when + 2_208_988_800) * 2**32)
    return b"#bundle\0" + struct.pack(">Q", tag) + b"".join(struct.pack(">i", len(c)) + c for c in contents)


class Listener:
    """An OSCInput on a free port, what it delivered, and a socket to send with."""

    def __init__(self, **options: object) -> None:
        self.controls: list[Control] = []
        self.input = OSCInput(port=0, latest_wins=lambda t: t.startswith(("pad/", "cam/")), **options)
        self.input.start(self.controls.append)
        self.out = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.out.connect(("127.0.0.1", self.input.port))

    def send(self, *datagrams: bytes) -> None:
        for datagram in datagrams:
            self.out.send(datagram)

    @property
    def said(self) -> list[tuple[object, ...]]:
        return [(c.target, *c.args) for c in self.controls]


@pytest.fixture
def listener() -> Iterator[Listener]:
    found = Listener(feedback_port=None)
    yield found
    found.input.stop()
    found.out.close()


def test_messages_become_controls_with_arrival_and_source(listener, wait_for):
    before = time.monotonic()
    client = SimpleUDPClient("127.0.0.1", listener.input.port)
    client.send_message("/wj/prompt", ["a sea at night", 2.5])
    client.send_message("/wj/act/dance", [])
    client.send_message("/wj/freeze", True)
    client.send_message("/wj/seed", 7)
    wait_for(lambda: len(listener.controls) == 4)
    assert listener.said == [("prompt", "a sea at night", 2.5), ("act/dance",), ("freeze", True), ("seed", 7)]
    control = listener.controls[0]
    assert before <= control.time <= time.monotonic()
    assert control.source.startswith("osc 127.0.0.1:")


def test_the_largest_datagram_is_heard(listener, wait_for):
    text = "x" * (65_507 - len(message("/wj/prompt", "")) - 3)
    text += "x" * (65_507 - len(message("/wj/prompt", text)))
    listener.send(message("/wj/prompt", text))
    wait_for(lambda: listener.controls)
    assert listener.said == [("prompt", text)]


def test_unicode_and_every_type_of_argument(listener, wait_for):
    builder = OscMessageBuilder("/wj/x")
    args: list[tuple[str, Any]] = [
        ("s", "Ünï☀"),
        ("h", 2**40),
        ("d", 0.1),
        ("b", b"\1\2"),
        ("T", True),
        ("F", False),
        ("N", None),
    ]
    for kind, value in args:
        builder.add_arg(value, kind)
    builder.add_arg([1, [2.0]])
    listener.send(builder.build().dgram, b"/wj/y\0\0\0,I\0\0")
    wait_for(lambda: len(listener.controls) == 2)
    assert listener.said == [("x", "Ünï☀", 2**40, 0.1, b"\1\2", True, False, None, 1, 2.0), ("y", True)]


def test_bundles_now_late_nested_and_soon(listener, wait_for):
    soon = time.time() + 0.3
    inner = bundle(time.time() - 60, message("/wj/b", 2))
    listener.send(
        bundle(soon, message("/wj/soon", 1)),
        bundle(IMMEDIATELY, message("/wj/a", 1), inner),
        bundle(time.time() + AHEAD + 3600, message("/wj/wrong-clock", 1)),
    )
    wait_for(lambda: len(listener.controls) == 4)
    assert listener.said == [("a", 1), ("b", 2), ("wrong-clock", 1), ("soon", 1)]
    by_wall = time.time() - (time.monotonic() - listener.controls[-1].time)
    assert by_wall >= soon - 0.01
    assert listener.input.status()["scheduled"] == 0


def test_python_oscs_own_bundles_are_understood(listener, wait_for):
    builder = OscBundleBuilder(IMMEDIATELY)
    for i in range(3):
        one = OscMessageBuilder("/wj/pad/1")
        one.add_arg(i / 2)
        builder.add_content(one.build())
    listener.send(builder.build().dgram)
    wait_for(lambda: len(listener.controls) == 3)
    assert listener.said == [("pad/1", 0.0), ("pad/1", 0.5), ("pad/1", 1.0)]


def test_a_flood_ends_on_its_last_value_and_loses_no_trigger(listener, wait_for):
    total = 8000
    for i in range(total):
        listener.send(message("/wj/pad/1", i / total))
        if i % 400 == 0:
            listener.send(message("/wj/act/jump", 1.0))
        if i % 20 == 0:
            time.sleep(0.0005)  # 10 kHz or so: beyond it the kernel's buffer would be what is tested
    listener.send(message("/wj/pad/1", 0.123))
    wait_for(lambda: listener.controls and listener.said[-1] == ("pad/1", pytest.approx(0.123)))
    assert sum(said[0] == "act/jump" for said in listener.said) == total / 400
    values = [said[1] for said in listener.said[:-1] if said[0] == "pad/1"]
    assert values == sorted(values)  # never an older one after a newer one
    status = listener.input.status()
    assert status["received"] == total + total / 400 + 1
    assert status["superseded"] > total / 2
    assert status["delivered"] + status["superseded"] == status["received"]


def test_a_flood_from_another_process(listener, wait_for):
    command = [
        sys.executable,
        str(CLIENT),
        str(listener.input.port),
        "flood",
        "/wj/cam/yaw",
        "0.25",
        "--seconds",
        "0.5",
    ]
    subprocess.run(command, check=True, capture_output=True)
    wait_for(lambda: listener.controls and listener.said[-1] == ("cam/yaw", 0.25))


def test_faders_are_thinned_only_up_to_the_next_trigger():
    def faders(address: bytes) -> bool:
        return address.startswith(b"/wj/pad/")

    a1, a2, a3 = (message("/wj/pad/1", v) for v in (0.1, 0.2, 0.3))
    b1, b2 = (message("/wj/pad/2", v) for v in (0.1, 0.2))
    go, texts = message("/wj/cue/go"), message("/wj/pad/1", "0.4")
    timed, noise = bundle(IMMEDIATELY, a1), b"noise"
    batch = [a1, b1, a2, go, a3, b2, a1, timed, a2, noise, a3, texts, a1]
    kept = [datagram for datagram, _ in thin([(d, None) for d in batch], faders)]
    assert kept == [b1, a2, go, b2, a1, timed, a2, noise, texts, a1]


def test_ten_thousand_datagrams_of_noise_change_nothing(listener, wait_for, capfd):
    command = [sys.executable, str(CLIENT), str(listener.input.port), "noise", "--count", "10000"]
    subprocess.run(command, check=True, capture_output=True)
    listener.send(message("/wj/pad/1", 0.5))
    wait_for(lambda: ("pad/1", 0.5) in listener.said)
    status = listener.input.status()
    assert status["malformed"] > 2000
    assert status["listening"]
    assert len(capfd.readouterr().err.splitlines()) < 20


HOSTILE = [
    b"", b"\0", b"/", b"/wj/a", b"#bundle", b"#bundle\0",
    b"#bundle\0" + bytes(8) + struct.pack(">i", -4),  # walks in a circle, for a reader that trusts it
    b"#bundle\0" + bytes(8) + struct.pack(">i", 0) * 1000,
    b"#bundle\0" + bytes(8) + struct.pack(">i", 2**31 - 1) + b"/wj/a\0\0\0",
    b"/wj/a\0\0\0,s\0\0\xff\xfe\xfd\0",
    b"/wj/a\0\0\0,b\0\0\x7f\xff\xff\xff",
    b"/wj/a\0\0\0," + b"[" * 60_000 + b"\0\0\0\0",
    b"/wj/a\0\0\0," + b"f" * 16_000 + bytes(40_000),
    b"/wj/a\0\0\0,zz\0",
    b"/wj/\xff\xff\0\0,f\0\0" + bytes(4),
]  # fmt: skip


def test_hostile_datagrams_are_counted_and_forgotten(listener, wait_for, capfd):
    nested = message("/wj/deep", 1)
    for _ in range(200):
        nested = bundle(IMMEDIATELY, nested)
    listener.send(*HOSTILE, nested, message("/wj/end", 1))
    wait_for(lambda: ("end", 1) in listener.said)
    assert listener.said == [("end", 1)]
    status = listener.input.status()
    assert status["malformed"] + status["foreign"] == len(HOSTILE) + 1
    assert len(capfd.readouterr().err.splitlines()) < 20


@given(
    st.binary(max_size=300)
    | st.binary(max_size=60).map(lambda b: b"/wj/a\0\0\0," + b)
    | st.binary(max_size=80).map(lambda b: b"#bundle\0" + b)
)
def test_any_bytes_are_messages_or_malformed(data):
    try:
        for wait, one in split(data, time.time()):
            assert 0 <= wait <= AHEAD
            address, args = parse(one)
            assert address.startswith("/")
            assert not any(isinstance(arg, list) for arg in args)
    except Malformed:
        pass


def test_a_listener_that_fails_does_not_make_it_deaf(wait_for):
    heard = []

    def deliver(control: Control) -> None:
        heard.append(control.target)
        raise RuntimeError("no")

    osc = OSCInput(port=0, feedback_port=None)
    osc.start(deliver)
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
            for name in ("/wj/a", "/wj/b"):
                out.sendto(message(name), ("127.0.0.1", osc.port))
        wait_for(lambda: heard == ["a", "b"])
        assert osc.status()["failed"] == 2
    finally:
        osc.stop()


def test_addresses_of_others_are_not_ours(listener, wait_for):
    listener.send(message("/resolume/1", 1), message("/wj/", 1), message("/wj/end"))
    wait_for(lambda: listener.controls)
    assert listener.said == [("end",)]
    assert listener.input.status()["foreign"] == 2


def test_a_port_in_use_names_the_way_out(listener):
    with pytest.raises(OSError, match=rf"{listener.input.port} is taken.*--osc-port"):
        OSCInput(port=listener.input.port).start(lambda _: None)


def test_a_host_that_is_not_here_names_the_way_out():
    with pytest.raises(OSError, match="--osc-host"):
        OSCInput(host="192.0.2.1", port=0).start(lambda _: None)


def test_the_port_is_free_again_after_stop():
    first = OSCInput(port=0)
    first.start(lambda _: None)
    first.stop()
    first.stop()
    second = OSCInput(port=first.port)
    second.start(lambda _: None)
    second.stop()


class Controller:
    """A python-osc server, as a controller that shows feedback."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, tuple[object, ...]]] = []
        dispatcher = Dispatcher()
        dispatcher.set_default_handler(lambda address, *args: self.heard.append((address, args)))
        self.server = BlockingOSCUDPServer(("127.0.0.1", 0), dispatcher)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def controller() -> Iterator[Controller]:
    found = Controller()
    yield found
    found.stop()


def test_feedback_goes_to_whoever_sent_last(controller, wait_for):
    listener = Listener(feedback_port=controller.port)
    try:
        listener.input.feedback("pad/1", 0.1)  # nobody is there to hear it
        listener.send(message("/wj/pad/1", 0.5))
        wait_for(lambda: listener.controls)
        for target, value in [
            ("pad/1", 0.5),
            ("freeze", True),
            ("prompt", "sea"),
            ("cue", ("storm", 2)),
            ("bang", None),
        ]:
            listener.input.feedback(target, value)
        wait_for(lambda: len(controller.heard) >= 5)
        assert dict(controller.heard) == {
            "/wj/pad/1": (0.5,), "/wj/freeze": (1,), "/wj/prompt": ("sea",), "/wj/cue": ("storm", 2), "/wj/bang": (),
        }  # fmt: skip
    finally:
        listener.input.stop()


def test_feedback_to_a_named_host_is_thinned_and_ends_on_the_last_value(controller, wait_for):
    osc = OSCInput(port=0, feedback_host="127.0.0.1", feedback_port=controller.port)
    osc.start(lambda _: None)
    try:
        for i in range(5000):
            osc.feedback("cam/yaw", i / 5000)
        osc.feedback("cam/yaw", 1.0)
        wait_for(lambda: controller.heard and controller.heard[-1] == ("/wj/cam/yaw", (1.0,)))
        assert len(controller.heard) < 500
    finally:
        osc.stop()


@given(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(width=32)
    | st.text()
    | st.lists(st.text(max_size=5), max_size=5)
)
def test_whatever_is_fed_back_is_osc(value):
    address, args = parse(build("/wj/x", value))
    assert address == "/wj/x"
    assert len(args) == (0 if value is None else len(value) if isinstance(value, list) else 1)


def test_noise_from_many_senders_keeps_memory_bounded(wait_for):
    """Schedules, known addresses: nothing a stranger sends may grow for ever."""
    listener = Listener(feedback_port=None)
    rng = random.Random(0)
    try:
        for i in range(6000):
            listener.send(bundle(time.time() + 9, message(f"/wj/pad/{rng.random()}", 1.0)))
            if i % 20 == 0:
                time.sleep(0.001)
        listener.send(message("/wj/end"))
        wait_for(lambda: listener.said and ("end",) in listener.said)
        assert listener.input.status()["scheduled"] <= 4096
    finally:
        listener.input.stop()
