import contextlib
import itertools
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st
from worldjockey.integrations import ControlEvent
from worldjockey.integrations.midi import input as midi_input
from worldjockey.integrations.midi import lights
from worldjockey.integrations.midi.input import MIDIInput, backend_name, list_ports
from worldjockey.integrations.midi.lights import plain
from worldjockey.integrations.midi.parse import Decoder, Event, Messages
from worldjockey.integrations.midi.player import Translator, thin
from worldjockey.integrations.midi.rules import Controller, Rule, bent, straight, table

RULES: list[dict[str, Any]] = [
    *({"kind": "note", "number": 36 + n, "target": f"pad/{n + 1}"} for n in range(16)),
    {"kind": "cc", "number": 1, "target": "energy"},
    {"kind": "cc", "number": 20, "target": "cam/strafe", "low": -1.0},
    {"kind": "cc", "number": 25, "target": "cam/home", "press": (1,)},
    {"kind": "cc", "number": 26, "target": "freeze", "switch": True},
    {"kind": "note", "number": 60, "target": "act/jump", "press": (1,)},
    {"kind": "note", "number": 61, "target": "pad/1", "channel": 10},
    {"kind": "note", "number": 62, "target": "pad/2", "device": "APC"},
    {"kind": "bend", "number": None, "target": "morph"},
    {"kind": "pressure", "number": None, "target": "speed", "high": 2.0},
    {"kind": "program", "number": None, "target": "cue/go"},
    {"kind": "program", "number": 9, "target": "panic", "press": (1,)},
]


class Table:
    """The parameters' values, as a desk keeps them, and every trigger that fired."""

    def __init__(self, **values: Any) -> None:
        self.values: dict[str, Any] = {name.replace("__", "/"): value for name, value in values.items()}
        self.said: list[tuple[str, tuple[Any, ...]]] = []

    def obey(self, said: Iterable[tuple[str, tuple[Any, ...]]]) -> None:
        for target, args in said:
            self.said.append((target, args))
            if args and target in self.values:
                self.values[target] = args[0]


def played(*events: Event, port: str = "keys") -> list[tuple[str, tuple[object, ...]]]:
    player = Translator(Rule(**rule) for rule in RULES)
    return [control for event in events for control in player.play(event, port)]


def note(number: int, velocity: int = 127, channel: int = 1) -> Event:
    return Event("note" if velocity else "off", channel, number, velocity)


def cc(number: int, value: int, channel: int = 1) -> Event:
    return Event("cc", channel, number, value)


def bend(value: int) -> Event:
    return Event("bend", 1, 0, value)


def program(number: int) -> Event:
    return Event("program", 1, number, number)


def test_a_note_plays_its_pad_with_velocity_as_weight():
    controls = played(note(36), note(37, 64), note(36, 0))
    assert controls == [("pad/1", (1.0,)), ("pad/2", (64 / 127,)), ("pad/1", (0.0,))]


def test_aftertouch_rides_only_what_is_held():
    controls = played(
        Event("poly", 1, 36, 10), note(36, 100), Event("poly", 1, 36, 127), note(38, 1, 2), Event("pressure", 1, 0, 0)
    )
    assert controls == [
        ("pad/1", (100 / 127,)), ("pad/1", (1.0,)), ("pad/3", (1 / 127,)), ("pad/1", (0.0,)), ("speed", (0.0,)),
    ]  # fmt: skip


def test_faders_reach_their_ends_and_rest_in_the_middle():
    assert [played(cc(20, v))[0][1][0] for v in (0, 64, 127)] == [-1.0, 0.0, 1.0]
    assert [played(bend(p)) for p in (0, 8192, 16383)] == [[("morph", (x,))] for x in (0.0, 0.5, 1.0)]


def test_buttons_fire_once_a_press_and_switches_follow():
    assert played(*(cc(25, v) for v in (0, 70, 127, 90, 10, 127))) == [("cam/home", (1,))] * 2
    assert played(cc(26, 10), cc(26, 100)) == [("freeze", (0.0,)), ("freeze", (1.0,))]
    assert played(note(60, 1), note(60, 0)) == [("act/jump", (1,))]


def test_a_program_is_a_cue_counted_from_one():
    assert played(program(0)) == [("cue/go", (1,))]
    assert played(program(9)) == [("panic", (1,)), ("cue/go", (10,))]


def test_channel_and_device_narrow_a_mapping():
    assert played(note(61)) == []
    assert played(note(61, channel=10)) == [("pad/1", (1.0,))]
    assert played(note(62)) == []
    assert played(note(62), port="Akai apc mini") == [("pad/2", (1.0,))]


@pytest.mark.parametrize(("written", "now", "other"), [
    ("APC Key 25:APC Key 25 MIDI 1 20:0", "APC Key 25:APC Key 25 MIDI 1 24:0", "nanoKONTROL2:nanoKONTROL2 MIDI 1 20:0"),
    ("a2j:ReMOTE25 [20] (capture): ReMOTE25 MIDI 1", "a2j:ReMOTE25 [24] (capture): ReMOTE25 MIDI 1", "a2j:box [20]"),
    ("3- Launchpad S 1", "4- Launchpad S 1", "3- UM-ONE 0"),
])  # fmt: skip
def test_a_controller_whose_number_changed_keeps_its_mappings(written: str, now: str, other: str) -> None:
    player = Translator([Rule("note", 1, "pad/1", device=written)])

    def plays(port: str, *ports: str) -> bool:
        player.connect(ports)
        return list(player.play(note(1), port)) != []

    assert plays(written, written, other)
    assert plays(now, now, other)
    assert not plays(other, now, other)
    assert not plays(now, now, written), "of two alike, the one that is written"
    player = Translator([Rule("note", 1, "pad/1", device=plain(written))])
    assert plays(now, now), "as it was learned"
    assert not plays(other, now, other)


def test_a_sequencer_that_stops_lets_go_of_its_notes():
    assert played(note(36), note(37, channel=2), cc(123, 0))[2:] == [("pad/1", (0.0,))]


def test_a_fader_on_a_number_that_sequencers_use_is_played_where_the_show_maps_it():
    player = Translator([Rule("cc", 123, "energy"), Rule("note", 36, "pad/1")])
    controls = [control for event in (note(36), cc(123, 127), cc(120, 0)) for control in player.play(event, "knobs")]
    assert controls == [("pad/1", (1.0,)), ("energy", (1.0,)), ("pad/1", (0.0,))]


def test_a_port_that_goes_away_lets_go_of_its_notes_and_gates():
    gate = {"kind": "cc", "number": 30, "target": "cam/yaw", "mode": "gate"}
    player = Translator(Rule(**rule) for rule in [*RULES, gate])
    for event, port in ((note(36), "a"), (note(37), "b"), (cc(30, 127), "a")):
        list(player.play(event, port))
    assert list(player.release("a")) == [("cam/yaw", (0.0,)), ("pad/1", (0.0,))]
    assert player.held == 1
    assert list(player.release()) == [("pad/2", (0.0,))]


def test_a_pad_that_two_controllers_hold_keeps_the_weight_of_the_one_that_still_holds_it():
    gate = {"kind": "cc", "number": 30, "target": "pad/1", "mode": "gate", "high": 0.3}
    player = Translator(Rule(**rule) for rule in [*RULES, gate])

    def play(event: Event, port: str) -> list[tuple[str, tuple[Any, ...]]]:
        return list(player.play(event, port))

    assert play(note(36, 127), "a") == [("pad/1", (1.0,))]
    assert play(note(36, 64), "b") == [("pad/1", (64 / 127,))]
    assert play(note(61, 32, channel=10), "b") == [("pad/1", (32 / 127,))]
    assert play(note(36, 0), "a") == [("pad/1", (32 / 127,))], "the latest that is still down"
    assert play(Event("poly", 10, 61, 100), "b") == [("pad/1", (100 / 127,))]
    assert play(note(36, 0), "b") == [("pad/1", (100 / 127,))], "with what its aftertouch made of it"
    assert play(cc(30, 127), "c") == [("pad/1", (0.3,))]
    assert play(note(61, 0, channel=10), "b") == [("pad/1", (0.3,))], "a button's gate holds it, too"
    assert list(player.release("c")) == [("pad/1", (0.0,))]
    assert player.held == 0


def moved(rule: dict[str, Any], events: Iterable[Event], **values: Any) -> Table:
    table = Table(**values)
    player = Translator([Rule(**rule)], read=table.values.get)
    for event in events:
        table.obey(player.play(event, "keys"))
    return table


def test_a_toggle_changes_sides_whoever_moved_it():
    rule = {"kind": "note", "number": 1, "target": "x", "mode": "toggle"}
    table = Table(x=0.0)
    player = Translator([Rule(**rule)], read=table.values.get)
    for expected in (1.0, 0.0):
        table.obey(player.play(note(1), "a"))
        table.obey(player.play(note(1, 0), "a"))
        assert table.values["x"] == expected
    table.values["x"] = 1.0  # a cue did
    table.obey(player.play(note(1), "a"))
    assert table.values["x"] == 0.0


def test_a_gate_is_high_while_it_is_pressed():
    rule = {"kind": "note", "number": 1, "target": "x", "mode": "gate", "high": 0.7}
    assert moved(rule, [note(1, 3), note(1, 0)], x=0.0).said == [("x", (0.7,)), ("x", (0.0,))]
    rule = {"kind": "cc", "number": 1, "target": "x", "mode": "gate", "low": -1.0}
    assert moved(rule, [cc(1, v) for v in (3, 127, 90, 0)], x=0.0).said == [("x", (1.0,)), ("x", (-1.0,))]


def test_an_enum_is_divided_evenly_and_stepped_through():
    choices = {"target": "x", "high": 2.0, "choices": ("a", "b", "c"), "mode": "enum"}
    found = moved({"kind": "cc", "number": 1, **choices}, [cc(1, v) for v in range(128)]).said
    assert [sum(args == (float(n),) for _, args in found) for n in range(3)] == [43, 42, 43]
    table = Table(x="b")
    player = Translator([Rule(kind="note", number=1, **choices)], read=table.values.get)
    assert list(player.play(note(1), "a")) == [("x", (2.0,))]
    table.values["x"] = "c"
    assert list(player.play(note(1), "a")) == [("x", (0.0,))]


@pytest.mark.parametrize(("encoding", "right", "left"), [("twos", 1, 127), ("signed", 1, 65), ("offset", 65, 63)])
def test_an_encoder_counts_from_where_the_value_is(encoding, right, left):
    rule = {"kind": "cc", "number": 1, "target": "x", "relative": encoding}
    table = moved(rule, [cc(1, right)] * 3 + [cc(1, left)], x=0.5)
    assert table.values["x"] == pytest.approx(0.5 + 2 / 127)
    assert moved(rule, [cc(1, right)] * 200, x=0.5).values["x"] == 1.0
    assert moved(rule, [cc(1, left)] * 200, x=0.5).values["x"] == 0.0
    whole = {**rule, "low": 1.0, "high": 4.0, "whole": True}
    assert moved(whole, [cc(1, right)] * 2, x=1).values["x"] == 3
    assert moved({**rule, "press": (1,), "target": "cam/home"}, [cc(1, right)] * 5).said == [("cam/home", (1,))] * 5


@given(st.floats(0, 1), st.sampled_from(["linear", "log", "exp", "s"]))
def test_curves_go_from_end_to_end_and_back(x, curve):
    rule = Rule("cc", 1, "x", low=-1.0, high=3.0, curve=curve)
    assert -1 <= rule.at(x) <= 3
    assert bent(0.0, curve) == pytest.approx(0)
    assert bent(1.0, curve) == pytest.approx(1)
    assert straight(bent(x, curve), curve) == pytest.approx(x, abs=1e-6)
    assert rule.position_of(rule.at(x)) == pytest.approx(x, abs=1e-6)


def test_a_show_line_takes_a_controllers_and_its_light():
    product = Controller(
        "box", ("box",), ("box 2",), rules=(
            Rule("note", 1, "pad/1", light=(0, 5)), Rule("note", 2, "pad/2"), Rule("cc14", 7, "morph"),
            Rule("cc", 39, "energy"),
        ),
    )  # fmt: skip
    rules = [
        Rule("note", 1, "panic", press=(1,)), Rule("note", 2, None, device="box 1"),
        Rule("cc", 9, "speed", default=True),
    ]  # fmt: skip
    one, two, other = (table(port, rules, [product]) for port in ("A box 1", "A box 2", "keys"))
    assert {k: [r.target for r in v] for k, v in one.rules.items()} == {("note", 1): ["panic"], ("cc14", 7): ["morph"]}
    assert [rule.light for rule in one.rules["note", 1]] == [(0, 5)]
    assert set(two.rules) == {("note", 1)}
    assert set(other.rules) == {("note", 1), ("cc", 9)}
    assert one.fine == {7}


MESSAGES = st.lists(
    st.one_of(
        st.binary(max_size=6),
        st.tuples(st.integers(0x80, 0xEF), st.integers(0, 127), st.integers(0, 127)).map(bytes),
        st.tuples(st.integers(0xB0, 0xB1), st.sampled_from([1, 6, 7, 38, 39, 98, 99]), st.integers(0, 127)).map(bytes),
    ),
    max_size=60,
)
EVERYTHING: list[dict[str, Any]] = [
    *RULES,
    {"kind": "cc14", "number": 7, "target": "morph", "takeover": "pickup"},
    {"kind": "nrpn", "number": 0, "target": "energy", "takeover": "scale", "curve": "exp"},
    {"kind": "cc", "number": 2, "target": "cam/strafe", "relative": "twos", "low": -1.0},
    {"kind": "cc", "number": 3, "target": "freeze", "mode": "toggle"},
    {"kind": "poly", "number": 5, "target": "speed", "high": 2.0, "takeover": "pickup"},
]


@given(MESSAGES)
def test_any_bytes_are_played_within_range(packets):
    values = Table(morph=0.3, energy=0.9, cam__strafe=0.0, freeze=0.0, speed=1.0)
    player = Translator((Rule(**rule) for rule in EVERYTHING), read=values.values.get)
    found = player.table("keys")
    messages, decoder = Messages(), Decoder(found.fine, found.nrpn)
    for packet in packets:
        for message in messages.feed(list(packet)):
            for event in decoder.decode(message):
                values.obey(player.play(event, "keys"))
    for target, args in values.said:
        low = -1.0 if target.startswith("cam/s") else 0.0
        high = {"cue/go": 128, "speed": 2.0}.get(target, 1.0)
        assert low <= args[0] <= high
    list(player.release())
    assert player.held == 0


@given(st.lists(st.tuples(st.integers(36, 51), st.integers(0, 127))))
def test_the_last_value_wins(strokes):
    values = Table(**{f"pad__{n}": 0.0 for n in range(1, 17)})
    player = Translator((Rule(**rule) for rule in RULES), read=values.values.get)
    expected = {}
    for number, velocity in strokes:
        values.obey(player.play(note(number, velocity), "keys"))
        expected[f"pad/{number - 35}"] = velocity / 127
    assert {name: value for name, value in values.values.items() if name in expected} == expected


@given(st.lists(st.sampled_from([0, 20, 70, 127])), st.integers(1, 9))
def test_presses_are_counted_exactly_however_they_arrive(values, batch):
    events = [("a", float(i), cc(25, value)) for i, value in enumerate(values)]
    player = Translator(Rule(**rule) for rule in RULES)
    fired = 0
    for start in range(0, len(events), batch):
        for _, _, event in thin(events[start : start + batch]):
            fired += len(list(player.play(event, "a")))
    pressed = [value >= 64 for value in values]
    assert fired == sum(now and not was for was, now in zip([False, *pressed], pressed, strict=False))


def test_a_flood_is_thinned_without_losing_a_note_a_press_or_a_tick():
    def at(event: Event, port: str = "a") -> tuple[str, float, Event]:
        return port, 0.0, event

    ports = ["ports", "JACK", ["a"], "", []]
    tick = at(Event("tick", 0, 0, 0))
    events = [
        at(cc(1, 1)), at(cc(1, 2)), tick, at(cc(2, 9)), at(bend(1)), at(bend(99)), at(cc(1, 3)), at(cc(1, 4), "b"),
        at(note(36)), at(cc(1, 5)), at(cc(1, 100)), at(cc(1, 6)), ports, at(cc(1, 7)), at(cc(3, 1)), at(cc(3, 1)),
    ]  # fmt: skip
    kept = [
        tick, at(cc(2, 9)), at(bend(99)), at(cc(1, 3)), at(cc(1, 4), "b"), at(note(36)), at(cc(1, 5)), at(cc(1, 100)),
        at(cc(1, 6)), ports, at(cc(1, 7)), at(cc(3, 1)), at(cc(3, 1)),
    ]  # fmt: skip
    assert thin(events, {"a": frozenset({("cc", 3)})}) == kept


# -- real ports over JACK ---------------------------------------------------------------------------------------------

INSTRUMENT = """
import contextlib, sys, threading, time, rtmidi
name, to, listens = sys.argv[1:]
if listens:
    heard = rtmidi.MidiIn(rtmidi.API_UNIX_JACK, name=name)
    heard.ignore_types(sysex=False)
    heard.open_virtual_port("in")
    def listen():
        while True:
            while event := heard.get_message():
                if listens == "echoes":
                    out.send_message(event[0])
                print(bytes(event[0]).hex(), flush=True)
            time.sleep(0.002)
out = rtmidi.MidiOut(rtmidi.API_UNIX_JACK, name=name)
if to:
    [index] = [i for i, port in enumerate(out.get_ports()) if to in port]
    out.open_port(index, name="out")
else:
    out.open_virtual_port("out")
print("up", flush=True)
if listens:
    threading.Thread(target=listen, daemon=True).start()
for line in sys.stdin:
    rate, *messages = line.split()
    begin = time.monotonic()
    for n, message in enumerate(messages):
        if float(rate):
            time.sleep(max(begin + n / float(rate) - time.monotonic(), 0))
        with contextlib.suppress(ValueError):  # rtmidi refuses some noise itself
            out.send_message(bytes.fromhex(message))
out.delete()
if listens:
    heard.delete()
"""


class Instrument:
    """A MIDI port of another process. to: whose input it plugs itself into. listens: it has an input, too, and what
    that hears is in `heard`; "echoes": it also sends it back.
    """

    def __init__(self, name: str, to: str = "", listens: str = "") -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", INSTRUMENT, name, to, listens],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            bufsize=1,
        )
        assert self.process.stdout
        assert self.process.stdout.readline() == "up\n"
        self.heard: list[tuple[int, ...]] = []
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def _listen(self) -> None:
        assert self.process.stdout
        self.heard.extend(tuple(bytes.fromhex(line)) for line in self.process.stdout)

    def send(self, *data: int) -> None:
        self.play([data])

    def play(self, messages: Iterable[Iterable[int]], rate: float = 0.0) -> None:
        """rate: messages a second; 0 is as fast as it goes."""
        assert self.process.stdin
        self.process.stdin.write(" ".join([str(rate), *(bytes(m).hex() for m in messages)]) + "\n")

    def unplug(self, torn: bool = False) -> None:
        """torn: without a word, as a cable that is pulled; JACK then stands still for a moment."""
        assert self.process.stdin
        with contextlib.suppress(OSError):
            self.process.stdin.close()
        if torn:
            self.process.kill()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
        self._thread.join()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe
            with contextlib.suppress(OSError):
                pipe.close()


BOX = {
    "name": "box", "ports": ("lit box",), "hello": ((0xF0, 1, 0xF7),), "bye": ((0xF0, 0, 0xF7),),
    "rules": [
        {"kind": "note", "number": 1, "target": "pad/1", "mode": "toggle", "light": [[45, 1], [21, 7]]},
        {"kind": "cc", "number": 7, "target": "morph", "light": "value", "takeover": "pickup"},
        {"kind": "cc14", "number": 8, "target": "energy"},
    ],
}  # fmt: skip


def compose(target: str, source: Mapping[str, Any]) -> dict[str, Any]:
    [(kind, number)] = [(k, v) for k, v in source.items() if k in ("note", "cc", "cc14")]
    if target == "nowhere":
        raise ValueError("there is no parameter 'nowhere'")
    return {"kind": kind, "number": number, "target": target, "channel": source["channel"], "device": source["device"]}


class Rig:
    def __init__(self, wait_for: Callable[..., None]) -> None:
        self.wait_for = wait_for
        self.controls: list[ControlEvent] = []
        self.instruments: list[Instrument] = []
        self.name = f"wj-{os.getpid()}-{time.monotonic_ns() % 10**6}"
        self.values: dict[str, Any] = {}
        self.clock: list[tuple[str, float, int]] = []
        self.midi = MIDIInput(
            RULES,
            "jack",
            self.name,
            [BOX],
            ["X-Touch"],
            self.values.get,
            compose,
            lambda *said: self.clock.append(said),
        )
        self.midi.start(self.deliver)

    def deliver(self, control: ControlEvent) -> None:
        """As a desk does: it keeps the value, and tells everyone."""
        self.controls.append(control)
        if control.args:
            self.values[control.target] = control.args[0]
            self.midi.feedback(control.target, control.args[0])

    def plug(self, name: str, to: str = "", listens: str = "") -> Instrument:
        instrument = Instrument(name, to, listens)
        self.instruments.append(instrument)
        return instrument

    def ports(self) -> str:
        return " ".join(self.midi.status()["ports"])

    def said(self) -> list[tuple[object, ...]]:
        return [(c.target, *c.args) for c in self.controls]

    def sent_until_played(self, instrument: Instrument, message: Iterable[int], control: tuple[object, ...]) -> None:
        """JACK loses what a client did not read within its period, as on a busy machine."""

        def played() -> bool:
            instrument.send(*message)
            return control in self.said()

        self.wait_for(played)

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
    expected: list[tuple[object, ...]] = [("pad/1", 1.0), ("cam/strafe", 0.0), ("morph", 1.0), ("cue/go", 3)]
    for message, control in zip(
        [(0x90, 36, 127), (0xB0, 20, 64), (0xE0, 0x7F, 0x7F), (0xC0, 2)], expected, strict=True
    ):
        rig.sent_until_played(pads, message, control)
    assert [control for control, _ in itertools.groupby(rig.said())] == expected
    assert before <= rig.controls[0].arrived_at <= time.monotonic()
    assert rig.controls[0].source == "midi pads:out"
    pads.unplug(torn=True)
    rig.wait_for(lambda: rig.said()[-1] == ("pad/1", 0.0) and "pads" not in rig.ports())
    rig.plug("pads").send(0x90, 37, 127)  # a port that is not listened to yet: nobody hears it
    rig.wait_for(lambda: "pads" in rig.ports())
    rig.sent_until_played(rig.instruments[-1], (0x90, 38, 127), ("pad/3", 1.0))


def test_a_controller_shows_what_it_plays_and_what_others_play(rig, monkeypatch):
    monkeypatch.setattr(lights, "ECHO_S", 60.0)  # however long this machine pauses
    rig.values |= {"pad/1": 0.0, "morph": 0.25}
    box = rig.plug("lit box", listens="listens")
    rig.wait_for(lambda: {(0xF0, 1, 0xF7), (0x90, 1, 45), (0xB0, 7, 32)} == set(box.heard))
    box.send(0x90, 1, 127)
    rig.wait_for(lambda: (0x96, 1, 21) in box.heard)
    rig.deliver(ControlEvent("morph", (1.0,)))  # a cue
    rig.wait_for(lambda: (0xB0, 7, 127) in box.heard)
    box.send(0xB0, 7, 127)  # the motor has arrived, and says so
    rig.wait_for(lambda: rig.midi.status()["echoes"])
    box.send(0xB0, 7, 126)  # a hand pulls it down
    rig.wait_for(lambda: rig.said()[-1][0] == "morph" and rig.said()[-1][1] < 1)
    box.unplug()
    rig.wait_for(lambda: "lit box" not in rig.ports() and not rig.midi.status()["lit"])
    again = rig.plug("lit box", listens="listens")
    rig.wait_for(lambda: (0xB0, 7, 126) in again.heard and (0x96, 1, 21) in again.heard)
    rig.midi.stop()
    rig.wait_for(lambda: {(0x96, 1, 0), (0xF0, 0, 0xF7)} <= set(again.heard))


def test_an_unknown_controller_is_shown_values_only_if_the_show_says_so(rig):
    rig.values |= {"energy": 0.5, "pad/1": 1.0}
    plain, touch = rig.plug("keys", listens="listens"), rig.plug("X-Touch mini", listens="listens")
    rig.wait_for(lambda: (0x90, 36, 127) in touch.heard and (0xB0, 1, 64) in touch.heard)
    rig.deliver(ControlEvent("energy", (1.0,)))
    rig.wait_for(lambda: (0xB0, 1, 127) in touch.heard)
    assert plain.heard == []


def test_feedback_makes_no_loop(rig, monkeypatch):
    monkeypatch.setattr(lights, "ECHO_S", 60.0)  # however long this machine pauses
    rig.values["energy"] = 0.0
    loop = rig.plug("X-Touch loop", listens="echoes")
    rig.wait_for(lambda: loop.heard)
    for step in range(1, 8):
        rig.deliver(ControlEvent("energy", (step / 7,)))
    rig.wait_for(lambda: loop.heard[-1] == (0xB0, 1, 127) and rig.midi.status()["echoes"] > 1)
    assert rig.said() == [("energy", step / 7) for step in range(1, 8)]


def test_a_control_is_learned_while_the_show_plays(rig):
    pads = rig.plug("pads")
    rig.wait_for(lambda: "pads" in rig.ports())
    rig.midi.feedback("learn", "pad/7")
    turns = itertools.count(10)

    def turned() -> bool:
        pads.send(0xB0, 20, next(turns) % 64)
        return ("learn", "") in rig.said()

    rig.wait_for(turned)
    rig.wait_for(lambda: rig.midi.status()["learned"])
    assert rig.midi.status()["learned"] == [{"cc": 20, "channel": 1, "device": "pads:out", "to": "pad/7"}]
    pads.send(0xB0, 20, 127)
    pads.send(0xB1, 20, 127)
    rig.wait_for(lambda: ("pad/7", 1.0) in rig.said())
    rig.midi.feedback("learn", "nowhere")
    pads.send(0x90, 36, 127)
    rig.wait_for(lambda: rig.said()[-1] == ("learn", ""))
    assert "no parameter 'nowhere'" in rig.midi.status()["error"]
    pads.send(0x90, 36, 127)
    rig.wait_for(lambda: rig.said()[-1] == ("pad/1", 1.0))
    assert "cam/strafe" not in {target for target, *_ in rig.said()}  # what the control played before it was learned


def test_fourteen_bits_arrive(rig):
    box = rig.plug("lit box")
    rig.wait_for(lambda: "lit box" in rig.ports())
    box.play([(0xB0, 8, 64), (0xB0, 40, 1), (0xB0, 8, 127), (0xB0, 40, 127)])
    rig.wait_for(lambda: rig.said() and rig.said()[-1] == ("energy", 1.0))
    box.play([(0xB0, 8, 64), (0xB0, 40, 64)])
    rig.wait_for(lambda: rig.said()[-1][1] == pytest.approx(0.5 + 32 / 8191, abs=1e-4))


def test_the_clock_comes_from_one_port_with_its_arrival(rig, monkeypatch):
    monkeypatch.setattr(midi_input, "CLOCK_TIMEOUT_S", 60.0)  # however long this machine pauses
    one, two = rig.plug("clock one"), rig.plug("clock two")
    rig.wait_for(lambda: "clock one" in rig.ports() and "clock two" in rig.ports())
    before = time.monotonic()
    one.play([(0xF2, 16, 1), (0xFA,), (0xF8,), (0xF8,), (0xFC,), (0xFB,)], 500)
    rig.wait_for(lambda: len(rig.clock) == 6)
    assert [(kind, value) for kind, _, value in rig.clock] == [
        ("position", 144), ("start", 0), ("tick", 0), ("tick", 0), ("stop", 0), ("continue", 0),
    ]  # fmt: skip
    times = [arrival for _, arrival, _ in rig.clock]
    assert before <= times[0]
    assert times == sorted(times)
    two.play([(0xF8,)] * 5 + [(0x90, 36, 127)])
    rig.wait_for(lambda: rig.said() == [("pad/1", 1.0)])
    assert len(rig.clock) == 6


@pytest.fixture
def patient_jack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wait_for: Callable[..., None]) -> Iterator[None]:
    """A JACK server that waits for late clients. Others lose what a client did not read within its period, which on a
    busy machine says nothing of the client."""
    name = f"wj-patient-{os.getpid()}"
    command = ["jackd", "--no-realtime", "--no-mlock", "--silent", "--sync", "--timeout", "2000", "--name", name]
    monkeypatch.setenv("JACK_DEFAULT_SERVER", name)
    monkeypatch.setenv("JACK_NO_START_SERVER", "1")
    try:
        server = subprocess.Popen(
            [*command, "-d", "dummy", "-p", "512"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
    except FileNotFoundError:
        pytest.skip("jackd is not installed: apt-get install jackd2")
    probe = ["jack_wait", "--server", name, "--check"]
    try:
        wait_for(lambda: subprocess.run(probe, capture_output=True).stdout.strip() == b"running")
        yield
    finally:
        server.terminate()
        server.wait()


@pytest.fixture
def patient_rig(patient_jack: None, wait_for: Callable[..., None]) -> Iterator[Rig]:
    found = Rig(wait_for)
    wait_for(lambda: found.midi.status()["backend"])
    yield found
    found.close()


@pytest.mark.slow
def test_three_thousand_messages_a_second_lose_no_trigger_and_keep_the_last_value(patient_rig):
    rig = patient_rig
    flood = rig.plug("flood")
    rig.wait_for(lambda: "flood" in rig.ports())
    process = psutil.Process()

    def second(n: int) -> list[tuple[int, ...]]:
        faders = [(0xB0, 20, (i * 7 + n) % 128) for i in range(2000)]
        beats = [(0x90, 60, 100) if i % 2 else (0x80, 60, 0) for i in range(1000)]
        return [m for i in range(1000) for m in (*faders[2 * i : 2 * i + 2], beats[i])]

    grown = []
    for n in range(3):
        arrivals = len(rig.controls)
        flood.play([*second(n), (0xB0, 20, n)], 3000)
        rig.wait_for(lambda now=500 * (n + 1): rig.said().count(("act/jump", 1)) == now)
        rig.wait_for(lambda last=n: rig.said()[-1] == ("cam/strafe", pytest.approx(-1 + last / 64)))
        assert len(rig.controls) - arrivals <= 2501
        grown.append(process.memory_info().rss)
    assert rig.midi.status()["messages"] == 3 * 3001
    assert grown[-1] < 1.1 * grown[0]


def test_other_programs_can_send_to_our_own_port(rig):
    daw = rig.plug("daw", to=f"{rig.name}:{rig.name}")
    rig.sent_until_played(daw, (0x90, 40, 127), ("pad/5", 1.0))


def test_noise_from_a_port_leaves_it_playing(rig):
    noise = rig.plug("noise")
    rig.wait_for(lambda: "noise" in rig.ports())
    for i in range(300):
        data = [(i * 7 + k * 31) % 256 for k in range(1 + i % 4)]
        noise.send(*(byte for byte in data if byte != 0xF0))  # a sysex that never ends would rightly swallow the rest
    noise.send(0x80, 43, 0)
    rig.sent_until_played(noise, (0x90, 43, 127), ("pad/8", 1.0))
    assert all(-1 <= c.args[0] <= 128 for c in rig.controls)


@pytest.mark.slow
def test_the_ports_process_may_die_and_held_notes_are_let_go(rig):
    pads = rig.plug("pads")
    rig.wait_for(lambda: "pads" in rig.ports())
    rig.sent_until_played(pads, (0x90, 36, 127), ("pad/1", 1.0))
    [child] = [c for c in psutil.Process().children() if rig.name in c.cmdline()]
    child.send_signal(signal.SIGSEGV)
    rig.wait_for(lambda: rig.said()[-1] == ("pad/1", 0.0))
    rig.wait_for(lambda: rig.midi.status()["restarts"] == 1 and "pads" in rig.ports())
    more = rig.plug("more pads")  # to JACK, one that was connected to a client that crashed may look alive for ever
    rig.wait_for(lambda: "more pads" in rig.ports())

    def pressed() -> bool:
        pads.send(0x90, 37, 127)
        more.send(0x90, 38, 127)
        return ("pad/2", 1.0) in rig.said() or ("pad/3", 1.0) in rig.said()

    rig.wait_for(pressed)


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


@pytest.mark.slow
def test_a_jack_server_may_come_late_end_and_come_again(monkeypatch, tmp_path, wait_for):
    name = "wj-test-late"  # JACK has room for eight names, and keeps those of servers that crashed
    monkeypatch.setenv("JACK_DEFAULT_SERVER", name)
    command = ["jackd", "--no-realtime", "--no-mlock", "--silent", "--name", name, "-d", "dummy", "-p", "512"]
    midi = MIDIInput(RULES, "jack")
    midi.start(lambda _: None)
    try:
        wait_for(lambda: "JACK server" in midi.status()["error"])
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
