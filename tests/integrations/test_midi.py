import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator

import mido
import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st
from worldjockey.integrations import Control
from worldjockey.integrations.midi import MIDIInput, Player, Rule, backend_name, fraction, list_ports, thin

RULES = [
    *({"kind": "note", "number": 36 + n, "target": f"pad/{n + 1}"} for n in range(16)),
    {"kind": "cc", "number": 1, "target": "energy"},
    {"kind": "cc", "number": 20, "target": "cam/strafe", "low": -1.0},
    {"kind": "cc", "number": 25, "target": "cam/home", "press": (1,)},
    {"kind": "cc", "number": 26, "target": "freeze", "switch": True},
    {"kind": "note", "number": 60, "target": "act/jump", "press": (1,)},
    {"kind": "note", "number": 61, "target": "pad/1", "channel": 10},
    {"kind": "note", "number": 62, "target": "pad/2", "device": "APC"},
    {"kind": "pitchbend", "number": None, "target": "morph"},
    {"kind": "aftertouch", "number": None, "target": "speed", "high": 2.0},
    {"kind": "program", "number": None, "target": "cue/go"},
    {"kind": "program", "number": 9, "target": "panic", "press": (1,)},
]


def played(*messages: mido.Message, port: str = "keys") -> list[tuple[str, tuple[object, ...]]]:
    player = Player(Rule(**rule) for rule in RULES)  # type: ignore[arg-type]
    return [control for message in messages for control in player.play(message, port)]


def m(kind: str, **values: int) -> mido.Message:
    return mido.Message(kind, **values)


def test_a_note_plays_its_pad_with_velocity_as_weight():
    controls = played(m("note_on", note=36, velocity=127), m("note_on", note=37, velocity=64), m("note_off", note=36))
    assert controls == [("pad/1", (1.0,)), ("pad/2", (64 / 127,)), ("pad/1", (0.0,))]


def test_a_note_on_without_velocity_is_a_note_off():
    assert played(m("note_on", note=36, velocity=90), m("note_on", note=36, velocity=0))[-1] == ("pad/1", (0.0,))


def test_aftertouch_rides_only_what_is_held():
    controls = played(
        m("polytouch", note=36, value=10),
        m("note_on", note=36, velocity=100),
        m("polytouch", note=36, value=127),
        m("note_on", note=38, velocity=1, channel=1),
        m("aftertouch", value=0),
    )
    assert controls == [
        ("pad/1", (100 / 127,)), ("pad/1", (1.0,)), ("pad/3", (1 / 127,)), ("pad/1", (0.0,)), ("speed", (0.0,)),
    ]  # fmt: skip


def test_faders_reach_their_ends_and_rest_in_the_middle():
    values = [played(m("control_change", control=20, value=v))[0][1][0] for v in (0, 64, 127)]
    assert values == [-1.0, 0.0, 1.0]
    assert [played(m("pitchwheel", pitch=p)) for p in (-8192, 0, 8191)] == [[("morph", (x,))] for x in (0.0, 0.5, 1.0)]


def test_buttons_fire_once_a_press_and_switches_follow():
    sweep = [m("control_change", control=25, value=v) for v in (0, 70, 127, 90, 10, 127)]
    assert played(*sweep) == [("cam/home", (1,))] * 2
    assert played(*(m("control_change", control=26, value=v) for v in (10, 100))) == [
        ("freeze", (0.0,)),
        ("freeze", (1.0,)),
    ]
    assert played(m("note_on", note=60, velocity=1), m("note_off", note=60)) == [("act/jump", (1,))]


def test_a_program_is_a_cue_counted_from_one():
    assert played(m("program_change", program=0)) == [("cue/go", (1,))]
    assert played(m("program_change", program=9)) == [("panic", (1,)), ("cue/go", (10,))]


def test_channel_and_device_narrow_a_mapping():
    assert played(m("note_on", note=61, velocity=127)) == []
    assert played(m("note_on", note=61, velocity=127, channel=9)) == [("pad/1", (1.0,))]
    assert played(m("note_on", note=62, velocity=127)) == []
    assert played(m("note_on", note=62, velocity=127), port="Akai apc mini") == [("pad/2", (1.0,))]


def test_a_sequencer_that_stops_lets_go_of_its_notes():
    held = [m("note_on", note=36, velocity=127), m("note_on", note=37, velocity=127, channel=1)]
    assert played(*held, m("control_change", control=123))[2:] == [("pad/1", (0.0,))]


def test_a_port_that_goes_away_lets_go_of_its_notes():
    player = Player(Rule(**rule) for rule in RULES)  # type: ignore[arg-type]
    player.play(m("note_on", note=36, velocity=127), "a")
    player.play(m("note_on", note=37, velocity=127), "b")
    assert player.release("a") == [("pad/1", (0.0,))]
    assert player.held == 1
    assert player.release() == [("pad/2", (0.0,))]


@given(st.binary(max_size=200))
def test_any_bytes_are_played_within_range(data):
    player = Player(Rule(**rule) for rule in RULES)  # type: ignore[arg-type]
    parser = mido.Parser()
    parser.feed(data)
    for message in parser:
        for target, args in player.play(message, "keys"):
            low = -1.0 if target.startswith("cam/s") else 0.0
            high = {"cue/go": 128, "speed": 2.0}.get(target, 1.0)
            assert low <= args[0] <= high
    for _, args in player.release():
        assert args == (0.0,)
    assert player.held == 0


@given(st.integers(0, 127))
def test_a_faders_way_is_steady(value):
    assert 0 <= fraction(value, 0, 64, 127) <= 1
    assert value == 0 or fraction(value, 0, 64, 127) > fraction(value - 1, 0, 64, 127)


def test_a_flood_is_thinned_without_losing_a_note_or_a_press():
    def cc(value: int, number: int = 1, port: str = "a") -> list[object]:
        return ["midi", port, 0.0, [0xB0, number, value]]

    def bend(value: int) -> list[object]:
        return ["midi", "a", 0.0, [0xE0, 0, value]]

    note = ["midi", "a", 0.0, [0x90, 36, 100]]
    ports = ["ports", "JACK", ["a"], ""]
    events = [
        cc(1),
        cc(2),
        cc(9, 2),
        bend(1),
        bend(99),
        cc(3),
        cc(4, port="b"),
        note,
        cc(5),
        cc(100),
        cc(6),
        ports,
        cc(7),
    ]
    kept = [cc(9, 2), bend(99), cc(3), cc(4, port="b"), note, cc(5), cc(100), cc(6), ports, cc(7)]
    assert thin(events) == kept


# -- real ports over JACK ---------------------------------------------------------------------------------------------

INSTRUMENT = """
import contextlib, sys, rtmidi
out = rtmidi.MidiOut(rtmidi.API_UNIX_JACK, name=sys.argv[1])
if len(sys.argv) > 2:
    [index] = [i for i, name in enumerate(out.get_ports()) if sys.argv[2] in name]
    out.open_port(index, name="out")
else:
    out.open_virtual_port("out")
print("up", flush=True)
for line in sys.stdin:
    with contextlib.suppress(ValueError):  # rtmidi refuses some noise itself
        out.send_message(bytes.fromhex(line))
"""


class Instrument:
    """A MIDI port of another process. to: whose input it plugs itself into."""

    def __init__(self, name: str, to: str = "") -> None:
        command = [sys.executable, "-c", INSTRUMENT, name, *([to] if to else [])]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, bufsize=1
        )
        assert self.process.stdout
        assert self.process.stdout.readline() == "up\n"

    def send(self, *data: int) -> None:
        assert self.process.stdin
        self.process.stdin.write(bytes(data).hex() + "\n")

    def unplug(self) -> None:
        self.process.kill()
        self.process.communicate()


class Rig:
    def __init__(self, wait_for: Callable[..., None]) -> None:
        self.wait_for = wait_for
        self.controls: list[Control] = []
        self.instruments: list[Instrument] = []
        self.name = f"wj-{os.getpid()}-{time.monotonic_ns() % 10**6}"
        self.midi = MIDIInput(RULES, "jack", self.name)
        self.midi.start(self.controls.append)

    def plug(self, name: str, to: str = "") -> Instrument:
        instrument = Instrument(name, to)
        self.instruments.append(instrument)
        return instrument

    def ports(self) -> str:
        return " ".join(self.midi.status()["ports"])

    def said(self) -> list[tuple[object, ...]]:
        return [(c.target, *c.args) for c in self.controls]

    def close(self) -> None:
        self.midi.stop()
        for instrument in self.instruments:
            instrument.unplug()


@pytest.fixture
def rig(jack: str, wait_for: Callable[..., None]) -> Iterator[Rig]:
    found = Rig(wait_for)
    wait_for(lambda: found.midi.status()["backend"])
    yield found
    found.close()


def test_a_controller_plugged_in_during_the_show_plays_and_unplugged_lets_go(rig):
    pads = rig.plug("pads")
    rig.wait_for(lambda: "pads" in rig.ports())
    before = time.monotonic()
    pads.send(0x90, 36, 127)
    pads.send(0xB0, 20, 64)
    pads.send(0xE0, 0x7F, 0x7F)
    pads.send(0xC0, 2)
    rig.wait_for(lambda: len(rig.controls) == 4)
    assert rig.said() == [("pad/1", 1.0), ("cam/strafe", 0.0), ("morph", 1.0), ("cue/go", 3)]
    assert before <= rig.controls[0].time <= time.monotonic()
    assert rig.controls[0].source == "midi pads:out"
    pads.unplug()
    rig.wait_for(lambda: len(rig.controls) == 5)
    assert rig.said()[-1] == ("pad/1", 0.0)
    assert "pads" not in rig.ports()
    rig.plug("pads").send(0x90, 37, 127)  # a port that is not listened to yet: nobody hears it
    rig.wait_for(lambda: "pads" in rig.ports())
    rig.instruments[-1].send(0x90, 38, 127)
    rig.wait_for(lambda: ("pad/3", 1.0) in rig.said())


def test_other_programs_can_send_to_our_own_port(rig):
    daw = rig.plug("daw", to=f"{rig.name}:{rig.name}")
    daw.send(0x90, 40, 127)
    rig.wait_for(lambda: ("pad/5", 1.0) in rig.said())


def test_noise_from_a_port_leaves_it_playing(rig):
    noise = rig.plug("noise")
    rig.wait_for(lambda: "noise" in rig.ports())
    for i in range(300):
        data = [(i * 7 + k * 31) % 256 for k in range(1 + i % 4)]
        noise.send(*(byte for byte in data if byte != 0xF0))  # a sysex that never ends would rightly swallow the rest
    noise.send(0x80, 43, 0)
    noise.send(0x90, 43, 127)
    rig.wait_for(lambda: ("pad/8", 1.0) in rig.said())
    assert all(-1 <= c.args[0] <= 128 for c in rig.controls)


def test_the_ports_process_may_die_and_held_notes_are_let_go(rig):
    pads = rig.plug("pads")
    rig.wait_for(lambda: "pads" in rig.ports())
    pads.send(0x90, 36, 127)
    rig.wait_for(lambda: rig.said() == [("pad/1", 1.0)])
    [child] = [c for c in psutil.Process().children() if rig.name in c.cmdline()]
    child.send_signal(signal.SIGSEGV)
    rig.wait_for(lambda: rig.said()[-1] == ("pad/1", 0.0))
    rig.wait_for(lambda: rig.midi.status()["restarts"] == 1 and "pads" in rig.ports())
    pads.send(0x90, 37, 127)
    rig.wait_for(lambda: ("pad/2", 1.0) in rig.said())


def test_stop_leaves_no_process_and_no_thread(jack, wait_for):
    rig = Rig(wait_for)
    wait_for(lambda: rig.midi.status()["ports"])
    rig.close()
    assert not any(rig.name in child.cmdline() for child in psutil.Process().children())
    assert not any(thread.name == "midi in" for thread in threading.enumerate())


def test_ports_are_listed(jack, wait_for):
    keys = Instrument("listed")
    try:
        wait_for(lambda: "listed:out" in list_ports("jack"))
        assert backend_name("jack").lower() == "jack"
    finally:
        keys.unplug()


def test_a_jack_server_may_come_late_end_and_come_again(monkeypatch, tmp_path, wait_for):
    name = "wj-test-late"  # JACK has room for eight names, and keeps those of servers that crashed
    monkeypatch.setenv("JACK_DEFAULT_SERVER", name)
    command = ["jackd", "--no-realtime", "--no-mlock", "--silent", "--name", name, "-d", "dummy", "-p", "512"]
    midi = MIDIInput(RULES, "jack")
    midi.start(lambda _: None)
    try:
        wait_for(lambda: "JACK server" in midi.status()["fault"])
        with pytest.raises(OSError, match="JACK server"):
            list_ports("jack")
        for _ in range(2):
            try:
                server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            except FileNotFoundError:
                pytest.skip("jackd is not installed: apt-get install jackd2")
            try:
                wait_for(lambda: midi.status()["ports"] == ["worldjockey"])
            finally:
                server.terminate()
                server.wait()
            wait_for(lambda: midi.status()["ports"] == [])
    finally:
        midi.stop()
