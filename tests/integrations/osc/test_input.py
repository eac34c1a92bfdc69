import contextlib
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
from hypothesis import given, settings
from hypothesis import strategies as st
from pythonosc.dispatcher import Dispatcher
from pythonosc.osc_bundle_builder import IMMEDIATELY, OscBundleBuilder
from pythonosc.osc_message_builder import OscMessageBuilder
from pythonosc.osc_server import BlockingOSCUDPServer
from pythonosc.udp_client import SimpleUDPClient
from worldjockey.integrations import ControlEvent
from worldjockey.integrations.osc.input import OSCInput
from worldjockey.integrations.osc.packets import (
    AHEAD_MAX_S,
    PATTERN_CHARS_MAX,
    Malformed,
    build,
    match,
    parse,
    split,
    thin,
)
from worldjockey.integrations.osc.peers import LEASE_S, SUBSCRIBERS_MAX, Allowed, Subscribers
from worldjockey.integrations.osc.scheduled import SCHEDULED_BYTES_MAX, SCHEDULED_MAX

CLIENT = Path(__file__).parents[2] / "peers" / "osc_client.py"


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
        self.controls: list[ControlEvent] = []
        self.input = OSCInput(
            port=0, latest_wins=lambda t: t.startswith(("pad/", "cam/")) and t != "cam/home", **options
        )
        self.input.start(self.controls.append)
        self.out = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.out.connect(("127.0.0.1", self.input.port))

    def send(self, *datagrams: bytes) -> None:
        for datagram in datagrams:
            self.out.send(datagram)

    def keeps_up(self, sent: int, waiting: int = 1000) -> None:
        """Waits while more of what was sent lies in the system's buffer: beyond it, that would be what is tested."""
        deadline = time.monotonic() + 60
        while self.input.status()["received"] <= sent - waiting:
            assert time.monotonic() < deadline
            time.sleep(0.001)

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
    assert before <= control.arrived_at <= time.monotonic()
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
    soon = time.time() + 2  # after all the others, however late they are read
    inner = bundle(time.time() - 60, message("/wj/b", 2))
    listener.send(
        bundle(soon, message("/wj/soon", 1)),
        bundle(IMMEDIATELY, message("/wj/a", 1), inner),
        bundle(time.time() + AHEAD_MAX_S + 3600, message("/wj/wrong-clock", 1)),
    )
    wait_for(lambda: len(listener.controls) == 4)
    assert listener.said == [("a", 1), ("b", 2), ("wrong-clock", 1), ("soon", 1)]
    by_wall = time.time() - (time.monotonic() - listener.controls[-1].arrived_at)
    assert by_wall >= soon - 0.01
    wait_for(lambda: listener.input.status()["scheduled"] == 0)


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
            time.sleep(0.0005)  # 10 kHz or so
            listener.keeps_up(i)
    listener.send(message("/wj/pad/1", 0.123))
    wait_for(lambda: listener.controls and listener.said[-1] == ("pad/1", pytest.approx(0.123)))
    assert sum(said[0] == "act/jump" for said in listener.said) == total / 400
    values = [said[1] for said in listener.said[:-1] if said[0] == "pad/1"]
    assert values == sorted(values)  # never an older one after a newer one

    def counted() -> bool:
        status = listener.input.status()
        return bool(status["delivered"] + status["superseded"] == status["received"] == total + total / 400 + 1)

    wait_for(counted, what="each message to be counted once")
    assert listener.input.status()["superseded"] > total / 2


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

    def played() -> bool:
        listener.send(message("/wj/pad/1", 0.5))  # again and again: the noise may have filled the system's buffer
        return ("pad/1", 0.5) in listener.said

    wait_for(played)
    status = listener.input.status()
    assert status["malformed"] > 2000
    assert status["listening"]
    assert len(capfd.readouterr().err.splitlines()) < 20


HOSTILE = [
    b"", b"\0", b"/", b"/wj/a", b"#bundle", b"#bundle\0",
    b"#bundle\0" + bytes(8) + struct.pack(">i", -4),  # walks in a circle, for a reader that trusts it
    b"#bundle\0" + bytes(8) + struct.pack(">i", 0) * 1000 + struct.pack(">i", 2),
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
            assert 0 <= wait <= AHEAD_MAX_S
            address, args = parse(one)
            assert address.startswith("/")
            assert not any(isinstance(arg, list) for arg in args)
    except Malformed:
        pass


def test_a_listener_that_fails_does_not_make_it_deaf(wait_for):
    renew = []

    def deliver(control: ControlEvent) -> None:
        renew.append(control.target)
        raise RuntimeError("no")

    osc = OSCInput(port=0, feedback_port=None)
    osc.start(deliver)
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
            for name in ("/wj/a", "/wj/b"):
                out.sendto(message(name), ("127.0.0.1", osc.port))
        wait_for(lambda: renew == ["a", "b"])
        wait_for(lambda: osc.status()["failed"] == 2)
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
        self.renew: list[tuple[str, tuple[object, ...]]] = []
        dispatcher = Dispatcher()
        dispatcher.set_default_handler(lambda address, *args: self.renew.append((address, args)))
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
        wait_for(lambda: len(controller.renew) >= 5)
        assert dict(controller.renew) == {
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
        wait_for(lambda: controller.renew and controller.renew[-1] == ("/wj/cam/yaw", (1.0,)))
        assert len(controller.renew) < 500
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
                listener.keeps_up(i)
        listener.send(message("/wj/end"))
        wait_for(lambda: listener.said and ("end",) in listener.said)
        assert listener.input.status()["scheduled"] <= SCHEDULED_MAX
    finally:
        listener.input.stop()


def test_what_waits_for_its_time_weighs_little(listener, wait_for):
    text = "x" * 60_000
    for i in range(120):  # 7 MB, were it all kept
        listener.send(bundle(time.time() + 9, message("/wj/prompt", text)))
        listener.keeps_up(i, 20)
    listener.send(message("/wj/end"))
    wait_for(lambda: ("end",) in listener.said)
    assert 0 < listener.input.status()["scheduled"] <= SCHEDULED_BYTES_MAX / 60_000 + 1
    assert sum(said[0] == "prompt" for said in listener.said) > 40  # the rest was obeyed at once


# -- patterns, questions, steps -------------------------------------------------------------------------------------

TARGETS = ("pad/1", "pad/2", "pad/12", "pad/1/text", "cam/yaw", "cam/home", "energy", "prompt", "prompt/b")
VALUES: dict[str, Any] = {
    "pad/1": 0.25,
    "pad/2": 0.5,
    "pad/12": 0.0,
    "pad/1/text": "sea",
    "energy": 0.75,
    "prompt": "é",
}


@pytest.fixture
def talker() -> Iterator[Listener]:
    """An input that knows targets and values, and answers."""
    found = Listener(feedback_port=None, targets=TARGETS, read=VALUES.get)
    yield found
    found.input.stop()
    found.out.close()


def hear(out: socket.socket, count: int = 1) -> list[tuple[str, tuple[Any, ...]]]:
    """The next `count` messages that come back to where we sent from."""
    out.settimeout(60)
    return [parse(out.recv(65_536)) for _ in range(count)]


@pytest.mark.parametrize(
    ("pattern", "fits"),
    [
        ("pad/?", {"pad/1", "pad/2"}),
        ("pad/*", {"pad/1", "pad/2", "pad/12"}),
        ("pad/1*", {"pad/1", "pad/12"}),
        ("pad/*2", {"pad/2", "pad/12"}),
        ("pad/[1-9]", {"pad/1", "pad/2"}),
        ("pad/[!1]", {"pad/2"}),
        ("pad/{1,12}", {"pad/1", "pad/12"}),
        ("*/*/text", {"pad/1/text"}),
        ("{cam,pad}/{yaw,2}", {"pad/2", "cam/yaw"}),
        ("e*n*y", {"energy"}),
        ("*", {"energy", "prompt"}),
        ("prompt/*", {"prompt/b"}),
        ("x*", set()),
    ],
)
def test_patterns_mean_every_address_that_they_fit(talker, wait_for, pattern, fits):
    talker.send(message(f"/wj/{pattern}", 0.5), message("/wj/end"))
    wait_for(lambda: ("end",) in talker.said)
    assert set(talker.said[:-1]) == {(target, 0.5) for target in fits}


@pytest.mark.parametrize("pattern", ["pad/[1", "pad/{1", "*" * (PATTERN_CHARS_MAX + 1)])
def test_a_pattern_that_is_none_is_counted(talker, wait_for, pattern):
    talker.send(message(f"/wj/{pattern}", 0.5), message("/wj/end"))
    wait_for(lambda: ("end",) in talker.said)
    assert talker.said == [("end",)]
    assert talker.input.status()["malformed"] == 1


@given(st.text("ab*?[]{}!-,/", max_size=40), st.text("ab/", max_size=30))
def test_any_pattern_fits_or_not_or_is_none(pattern, address):
    with contextlib.suppress(Malformed):
        assert match(pattern, address) in (True, False)
    if set(pattern) <= set("ab/"):
        assert match(pattern, address) == (pattern == address)


def test_no_pattern_takes_long():
    begin = time.thread_time()
    for pattern in ("*a" * 32, "{a,aa,aaa}" * 6, "*" * 64, "[!b]" * 16):
        match(pattern[:PATTERN_CHARS_MAX], "a" * 60)
    assert time.thread_time() - begin < 2, "some would take for ever"


def test_faders_under_a_pattern_are_thinned_and_triggers_are_not(wait_for):
    found = Listener(feedback_port=None, targets=TARGETS)
    try:
        for i in range(2000):
            found.send(message("/wj/pad/*", i / 2000))
            if i % 100 == 0:
                found.send(message("/wj/cam/ho*", 1))
            if i % 20 == 0:
                time.sleep(0.001)
                found.keeps_up(i)
        found.send(message("/wj/pad/*", 0.125))
        wait_for(lambda: found.controls and found.said[-1] == ("pad/12", 0.125))
        assert found.said[-3:] == [("pad/1", 0.125), ("pad/2", 0.125), ("pad/12", 0.125)]
        assert found.said.count(("cam/home", 1)) == 20
        assert found.input.status()["superseded"] > 200
    finally:
        found.input.stop()


def test_a_question_is_answered_to_whoever_asked(talker):
    talker.send(message("/wj/energy", "?"))
    assert hear(talker.out) == [("/wj/energy", (0.75,))]
    talker.send(message("/wj/prompt", "?"), message("/wj/pad/*/text", "?"), message("/wj/cam/home", "?"))
    assert hear(talker.out, 2) == [("/wj/prompt", ("é",)), ("/wj/pad/1/text", ("sea",))]
    assert talker.controls == []  # a question changes nothing
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", 0))
        talker.send(message("/wj/pad/2", "?", other.getsockname()[1]))
        assert hear(other) == [("/wj/pad/2", (0.5,))]


def test_a_question_is_not_thinned_away():
    batch = [(message("/wj/pad/1", value), None) for value in (0.1, "?", 0.2, "?", 0.3)]
    assert thin(batch, lambda _: True) == batch


def test_nobody_is_answered_on_our_own_port(talker, wait_for):
    talker.send(message("/wj/energy", "?", talker.input.port), message("/wj/subscribe", talker.input.port))
    talker.send(message("/wj/end"))
    wait_for(lambda: ("end",) in talker.said)
    assert talker.said == [("end",)]
    assert talker.input.status()["answered"] == talker.input.status()["subscribers"] == 0


def test_steps_say_that_they_are_steps_and_are_never_thinned(talker, wait_for):
    talker.send(*[message("/wj/pad/1/+", 0.125)] * 50, message("/wj/pad/*/+", -1), message("/wj/pad/2/value", 0.5))
    wait_for(lambda: len(talker.controls) == 54)
    assert [c.meta.get("relative", False) for c in talker.controls] == [True] * 53 + [False]
    assert [c.target for c in talker.controls] == ["pad/1"] * 50 + ["pad/1", "pad/2", "pad/12", "pad/2"]


# -- who is answered --------------------------------------------------------------------------------------------------


def test_only_this_machine_is_answered_unless_the_show_allows_more():
    alone = Allowed()
    assert alone("127.0.0.1")
    assert alone("::1")
    assert alone("::ffff:127.0.0.1")
    for host in ("192.168.1.20", "8.8.8.8", "fe80::1%eth0", "nonsense", "", "224.0.0.1", "255.255.255.255"):
        assert not alone(host)
    named = Allowed(["192.168.1.20", "10.0.0.0/8"])
    assert named("192.168.1.20")
    assert named("10.1.2.3")
    assert not named("192.168.1.21")
    lan = Allowed(["lan"])
    assert lan("192.168.1.20")
    assert lan("fe80::1%eth0")
    assert not lan("8.8.8.8")
    anyone = Allowed(["any"])
    assert anyone("8.8.8.8")
    assert not anyone("224.0.0.1")


def test_a_stranger_is_obeyed_and_told_nothing(wait_for, caplog):
    """A forged sender must not make us send to whom it names."""
    found = Listener(feedback_port=9, targets=TARGETS, read=VALUES.get)
    try:
        found.input._allowed = lambda host: False  # this machine, as if it were another
        found.send(message("/wj/energy", "?"), message("/wj/subscribe"), message("/wj/energy", 0.5))
        wait_for(lambda: found.said == [("energy", 0.5)])
        status = found.input.status()
        assert status["answered"] == status["subscribers"] == 0
        assert status["unanswered"] == 2
        assert status["feedback_to"] == ""
        assert "osc: allow" in caplog.text
    finally:
        found.input.stop()


def test_several_subscribers_hear_everything_and_go(wait_for):
    found = Listener(feedback_port=None, targets=TARGETS, read=VALUES.get)
    try:
        outs = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(3)]
        for out in outs:
            out.connect(("127.0.0.1", found.input.port))
        outs[0].send(message("/wj/subscribe"))
        outs[1].send(message("/wj/subscribe", 0, 10, "/wj/pad/?"))  # port 0 is none
        outs[2].send(message("/wj/subscribe", outs[2].getsockname()[1], 25.0, "/wj/pad/?"))
        first = dict(hear(outs[0], 1 + len(VALUES)))
        assert first == {"/wj/subscribed": (int(LEASE_S),)} | {f"/wj/{k}": (v,) for k, v in VALUES.items()}
        assert dict(hear(outs[2], 3)) == {"/wj/subscribed": (60,), "/wj/pad/1": (0.25,), "/wj/pad/2": (0.5,)}
        wait_for(lambda: found.input.status()["subscribers"] == 2)
        found.input.feedback("pad/1", 0.5)
        found.input.feedback("energy", 1.0)
        assert dict(hear(outs[0], 2)) == {"/wj/pad/1": (0.5,), "/wj/energy": (1.0,)}
        assert hear(outs[2]) == [("/wj/pad/1", (0.5,))]
        outs[0].send(message("/wj/unsubscribe"))
        wait_for(lambda: found.input.status()["subscribers"] == 1)
        for out in outs:
            out.close()
    finally:
        found.input.stop()


def test_subscribers_are_few_thinned_and_expire():
    room = Subscribers("/wj/".__add__)
    places = [("127.0.0.1", 1000 + i) for i in range(SUBSCRIBERS_MAX + 1)]
    assert [room.add(endpoint, 0.0, {}) for endpoint in places] == [True] * SUBSCRIBERS_MAX + [False]
    assert room.add(places[0], 1.0, {"a": 1}, rate=10)  # again is a renewal
    for i in range(100):
        room.note("b", i)
    assert dict(room.due(1.0))[places[0]] == {"a": 1, "b": 99}
    room.note("b", 100)
    assert places[0] not in dict(room.due(1.05))
    assert dict(room.due(1.11))[places[0]] == {"b": 100}
    for i in range(10_000):  # nobody reads: the oldest are forgotten
        room.note(f"word/{i}", 1.0)
    assert len(dict(room.due(2.0))[places[0]]) <= 4096
    room.renew("127.0.0.1", 30.0)
    assert len(room.due(LEASE_S + 20)) == 0
    assert len(room) == SUBSCRIBERS_MAX
    room.due(LEASE_S + 31)
    assert len(room) == 0


# -- with the desk ----------------------------------------------------------------------------------------------------


class Rig:
    """OSC, desk and mailbox as a show has them; `settle` returns when all that was sent has been obeyed."""

    def __init__(self) -> None:
        from worldjockey.node.compat.osc_aliases import Aliases
        from worldjockey.node.control.desk import Desk
        from worldjockey.node.ipc.mailbox import Mailbox
        from worldjockey.node.parameters import PARAMETERS, latest_wins
        from worldjockey.node.show.schema import Show

        self.mailbox = Mailbox()
        self.desk = Desk(Show(), self.mailbox)
        dialect = Aliases(["scope", "streamdiffusion"], self.desk.read)
        self.input = OSCInput(
            port=0,
            feedback_port=None,
            latest_wins=latest_wins,
            targets=PARAMETERS,
            read=self.desk.read,
            dialect=dialect,
        )
        self.input.start(self.desk.deliver)
        self.out = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.out.connect(("127.0.0.1", self.input.port))
        self.out.settimeout(60)

    def settle(self, *datagrams: bytes) -> None:
        for datagram in datagrams:
            self.out.send(datagram)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as fresh:  # nothing else can have been told to it
            fresh.connect(("127.0.0.1", self.input.port))
            fresh.send(message("/wj/transition", "?"))
            assert hear(fresh)[0][0] == "/wj/transition"


@pytest.fixture(scope="module")
def rig() -> Iterator[Rig]:
    found = Rig()
    yield found
    found.input.stop()
    found.out.close()
    found.mailbox.unlink()


FADERS = ("pad/1", "pad/2", "cam/yaw", "energy")
MOVES = st.one_of(
    st.tuples(st.sampled_from(FADERS), st.floats(-3, 3, width=32)),
    st.tuples(st.sampled_from(["pad/1/+", "cam/yaw/+"]), st.floats(-1, 1, width=32)),
    st.tuples(st.sampled_from(["pad/{1,2}", "cam/y*"]), st.floats(0, 1, width=32)),
    st.tuples(st.just("cam/home"), st.sampled_from([0.0, 1.0])),
)


@settings(max_examples=60)
@given(st.lists(MOVES, max_size=60))
def test_last_value_wins_steps_add_up_and_triggers_are_counted(rig, moves):
    from worldjockey.node.parameters import PARAMETERS

    expected = {name: rig.desk.read(name) for name in FADERS}
    homes = rig.mailbox.read().counts["cam/home"]
    for name, value in moves:
        if name == "cam/home":
            homes += value != 0
        elif name.endswith("/+"):
            p = PARAMETERS[name.removesuffix("/+")]
            expected[p.name] = p.stepped(expected[p.name], value)
        else:
            for fader in FADERS:
                if match(name, fader):
                    expected[fader] = PARAMETERS[fader].coerce(value)
    rig.settle(*(message(f"/wj/{name}", value) for name, value in moves))
    assert {name: rig.desk.read(name) for name in FADERS} == expected
    reading = rig.mailbox.read()
    assert {name: reading.values[name] for name in FADERS} == expected
    assert reading.counts["cam/home"] == homes


# A zero ends an OSC string: python-osc would build a message with one inside, and trip over it itself.
ARGS = st.lists(
    st.one_of(
        st.floats(width=32),
        st.integers(-(2**31), 2**31 - 1),
        st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12),
        st.booleans(),
        st.just("?"),
    ),
    max_size=4,
)
PLAIN = """
    /wj/prompt /wj/act /wj/seed /wj/freeze /wj/steps/+ /wj/* /wj/cue/go /wj/word/a /wj/panic /wj/subscribe
    /wj/unsubscribe /scope/prompt /scope/reset_cache /scope/denoising_step_list /prompt_list /stop /t_list
    /seed_list /delta /seed /fx/a/b
"""
ADDRESSES = st.one_of(
    st.sampled_from(PLAIN.split()),
    st.text("wj/pad1*?[]{}+", max_size=20).map("/".__add__),
)
DATAGRAMS = st.one_of(
    st.binary(max_size=120),
    st.builds(lambda address, args: message(address, *args), ADDRESSES, ARGS),
    st.builds(
        lambda address, args, when: bundle(time.time() + when, message(address, *args)),
        ADDRESSES, ARGS, st.sampled_from([-1e6, -1.0, 0.001, 5.0, 1e6]),
    ),
    st.binary(max_size=60).map(lambda noise: message("/prompt_list", noise.decode("latin-1").replace("\0", ""))),
)  # fmt: skip


@settings(max_examples=150)
@given(st.lists(DATAGRAMS, max_size=12))
def test_any_datagrams_leave_the_desk_valid_and_in_range(rig, datagrams):
    from worldjockey.node.parameters import PARAMETERS

    rig.settle(*datagrams)
    assert rig.input.status()["listening"]
    assert rig.input.status()["failed"] == 0
    reading = rig.mailbox.read()
    for name, p in PARAMETERS.items():
        value = rig.desk.read(name)
        if p.kind in ("float", "int"):
            assert p.low <= value <= p.high
            assert p.local or reading.values[name] == pytest.approx(value)
        elif p.kind == "enum":
            assert value in p.choices
        elif p.kind == "bool":
            assert value in (True, False)
        elif p.kind == "text":
            assert isinstance(value, str)
    assert rig.input.status()["subscribers"] <= SUBSCRIBERS_MAX


def test_five_thousand_messages_a_second_lose_no_trigger(rig):
    """Half a second of it here; `wj bench` floods for longer."""
    moves = [message(f"/wj/pad/{1 + i % 16}", i / 2500) for i in range(2500)]
    home = message("/wj/cam/home", 1)
    before = rig.mailbox.read().counts["cam/home"]
    begin = time.monotonic()
    for i, move in enumerate(moves):
        if i % 5 == 0:
            time.sleep(max(begin + i / 5000 - time.monotonic(), 0))
        rig.out.send(home if i % 50 == 0 else move)
    rig.settle()
    assert rig.mailbox.read().counts["cam/home"] == before + 50
    assert rig.desk.read("pad/4") == pytest.approx(2499 / 2500)


def test_what_is_good_in_a_bundle_is_obeyed(listener, wait_for):
    """Some programs pad bundles with zeros, or leave elements empty."""
    good = bundle(IMMEDIATELY, message("/wj/pad/1", 0.5))
    listener.send(good + bytes(10))
    listener.send(bundle(IMMEDIATELY, b"", message("/wj/pad/2", 0.5), b"", message("/wj/pad/3", 0.5)))
    listener.send(good.replace(b"pad/1", b"pad/4") + struct.pack(">i", 400) + b"cut")
    wait_for(lambda: {c.target for c in listener.controls} == {"pad/1", "pad/2", "pad/3", "pad/4"})
    wait_for(lambda: listener.input.status()["malformed"] == 1)
    assert "ignored a datagram from 127.0.0.1: a bundle with a wrong length" in listener.input.status()["error"]


def test_a_hand_on_a_fader_drops_what_was_scheduled_for_it(listener, wait_for):
    """A sender whose clock is ahead schedules its values; a hand that moves later must win."""
    listener.send(bundle(time.time() + 4, message("/wj/pad/1", 0.9), message("/wj/pad/2", 0.9)))
    wait_for(lambda: listener.input.status()["scheduled"] == 2)
    listener.send(message("/wj/pad/1", 0.1))
    wait_for(lambda: listener.input.status()["scheduled"] == 0 and len(listener.controls) == 2)
    assert [(c.target, round(c.args[0], 3)) for c in listener.controls] == [("pad/1", 0.1), ("pad/2", 0.9)]
    assert "set its clock by NTP" in listener.input.status()["error"]


def test_an_address_that_lacks_our_prefix_is_hinted_at_and_others_are_not(wait_for):
    listener = Listener(feedback_port=None, targets=["prompt", "pad/1"])
    try:
        listener.send(message("/composition/layers/1/video/opacity", 0.5))
        wait_for(lambda: listener.input.status()["foreign"] == 1)
        assert listener.input.status()["error"] == ""
        for address, hint in {"/prompt": "/wj/prompt", "/WJ/pad/1": "/wj/pad/1"}.items():
            listener.send(message(address, "x"))
            wait_for(lambda: hint in listener.input.status()["error"])  # noqa: B023
        listener.send(message("/wj/{a,b}", 1))
        wait_for(lambda: "fits no address" in listener.input.status()["error"])
    finally:
        listener.input.stop()
        listener.out.close()


def test_a_flood_of_patterns_that_fit_triggers_leaves_room_for_a_hand(wait_for):
    listener = Listener(feedback_port=None, targets=[f"act/{n}" for n in range(300)])
    try:
        for _ in range(400):
            listener.send(message("/wj/act/*", 1))
        listener.send(message("/wj/act/7", 1))
        wait_for(lambda: listener.input.status()["malformed"] > 300)
        wait_for(lambda: len(listener.controls) % 300 == 1)
        assert len(listener.controls) < 20 * 300
        assert "for more than 3000 controls a second" in listener.input.status()["error"]
    finally:
        listener.input.stop()
        listener.out.close()


@pytest.mark.parametrize(
    ("datagram", "reason"),
    [
        (b"/wj/a\0\0\0,s\0\0\xff\xfe\xfd\0", "a text that is not UTF-8"),
        (b"/wj/\xff\xff\0\0,f\0\0" + bytes(4), "a text that is not UTF-8"),
        (b"/wj/a\0\0\0,b\0\0\x7f\xff\xff\xff", "arguments that do not fit its type tags"),
        (b"/wj/pad/1 0.5\n", "plain text and not OSC: set the sender to OSC"),
        (b"pad/1 0.5;\n", "plain text and not OSC"), (b'{"address": "/wj/pad/1"}', "plain text and not OSC"),
        (b"\xc0/wj/a\0\0\0,i\0\0\0\0\0\1\xc0", "in a frame as for TCP: set the sender to UDP"),
        (b"\0\0\0\x10/wj/a\0\0\0,i\0\0\0\0\0\1", "in a frame as for TCP"),
        (b"wj/pad/1\0\0\0\0,f\0\0\0\0\0\0", "the address 'wj/pad/1' needs a / in front"),
        (b"/wj/a\0\0\0\x3f\0\0\0", "arguments without type tags"), (b"\0\0\0\x09,f\0\0\0\0\0\0", "without an address"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_datagram_is_said_in_words(listener, wait_for, datagram, reason):
    listener.send(datagram)
    wait_for(lambda: listener.input.status()["malformed"] == 1)
    assert reason in listener.input.status()["error"]


def counted(text: str) -> bytes:
    """A text as libraries write it that count its zeros by its characters."""
    return text.encode() + bytes(4 - len(text) % 4)


@pytest.mark.parametrize(
    ("tags", "arguments", "args"),
    [
        ("s", counted("Nächtliche Straße"), ("Nächtliche Straße",)), ("s", counted("Nächte 海"), ("Nächte 海",)),
        ("sf", counted("Nächtliche Straße") + struct.pack(">f", 2), ("Nächtliche Straße", 2.0)),
        ("si", counted("é") + struct.pack(">i", 4), ("é", 4)), ("sT", counted("é"), ("é", True)),
        ("ss", counted("é") + counted("sea"), ("é", "sea")), ("s", b"a calm sea", ("a calm sea",)),
        ("S", counted("a sea"), ("a sea",)), ("c", struct.pack(">i", ord("B")), ("B",)),
    ],
)  # fmt: skip
def test_texts_are_understood_from_libraries_that_pad_them_wrongly(listener, wait_for, tags, arguments, args):
    """JUCE, F53OSC and JavaOSC did, and others leave the zeros at the end out."""
    sent = b"/wj/prompt\0\0" + counted(f",{tags}") + arguments
    listener.send(sent, bundle(IMMEDIATELY, sent, message("/wj/pad/2", 0.5)))
    wait_for(lambda: len(listener.controls) == 3)
    assert listener.said == [("prompt", *args), ("prompt", *args), ("pad/2", 0.5)]


@given(
    st.lists(
        st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12), min_size=1, max_size=3
    ),
    st.booleans(),
)
def test_whatever_the_padding_the_last_text_and_the_number_behind_it_are_read(texts, number):
    tags = "s" * len(texts) + "f" * number
    datagram = b"/wj/a\0\0\0" + counted(f",{tags}") + b"".join(map(counted, texts)) + struct.pack(">f", 2.0) * number
    if len(texts) == 1 or all(map(str.isascii, texts)):
        assert parse(datagram) == ("/wj/a", (*texts, *[2.0] * number))


def test_a_slash_or_a_space_too_many_and_touches_are_no_other_address(wait_for):
    listener = Listener(feedback_port=None, targets=["pad/1"])
    try:
        for address in ("/wj/pad/1/z", "/wj/status/frames", "/wj/pad/1/", "/wj/pad/1 ", "/wj//pad/1"):
            listener.send(message(address, 0.5))
        wait_for(lambda: listener.input.status()["received"] == 5 and len(listener.controls) == 3)
        assert listener.said == [("pad/1", 0.5)] * 3
        assert listener.input.status()["error"] == ""
    finally:
        listener.input.stop()
        listener.out.close()


def test_a_bundle_that_is_too_far_ahead_is_played_and_told(listener, wait_for):
    listener.send(bundle(time.time() + 60, message("/wj/pad/1", 0.5)))
    wait_for(lambda: listener.said == [("pad/1", 0.5)])
    wait_for(lambda: "s from now and was played at once: send it 10 s ahead" in listener.input.status()["error"])


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1"])
def test_a_program_on_this_machine_may_send_by_either_kind_of_address(host, wait_for):
    if not socket.has_ipv6:
        pytest.skip("no IPv6 here")
    controls: list[ControlEvent] = []
    osc = OSCInput(host=host, port=0, read=lambda target: 0.5)
    osc.start(controls.append)
    try:
        for n, (family, address) in enumerate([(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")]):
            with socket.socket(family, socket.SOCK_DGRAM) as out:
                out.settimeout(60)
                out.connect((address, osc.port))
                out.send(message("/wj/pad/1", n))
                wait_for(lambda: len(controls) == n + 1)  # noqa: B023
                out.send(message("/wj/pad/1", "?"))
                assert out.recv(4096) == message("/wj/pad/1", 0.5)
                if host != "::1":
                    assert osc.status()["feedback_to"] == "127.0.0.1:9011"
    finally:
        osc.stop()


@pytest.mark.parametrize(
    ("host", "reason"), [(None, "would come back: use another"), ("nowhere.invalid", "cannot reach 'nowhere.invalid'")]
)
def test_feedback_that_arrives_nowhere_is_told(wait_for, host, reason):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    listener = Listener(feedback_host=host, feedback_port=port)
    listener.input.stop()
    listener.input.port = port
    listener.input.start(listener.controls.append)
    try:
        listener.out.connect(("127.0.0.1", port))
        listener.send(message("/wj/pad/1", 0.5))
        wait_for(lambda: listener.controls)
        listener.input.feedback("pad/1", 0.5)
        wait_for(lambda: reason in listener.input.status()["error"])
        assert len(listener.controls) == 1
    finally:
        listener.input.stop()
        listener.out.close()
