"""MIDI on its way to parameters: the embedded maps, the show's lines, what is learned."""

import time
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from worldjockey.integrations import ControlEvent
from worldjockey.integrations.midi.parse import Decoder, Event, Messages
from worldjockey.integrations.midi.player import Translator
from worldjockey.integrations.midi.rules import Controller, Rule, table
from worldjockey.model.spec import ACTS
from worldjockey.node.control import midi_learn
from worldjockey.node.control.desk import Desk
from worldjockey.node.ipc.mailbox import Mailbox
from worldjockey.node.parameters import PADS, PARAMETERS
from worldjockey.node.show import midi_controllers
from worldjockey.node.show.midi_mapping import MidiMapping, compose
from worldjockey.node.show.schema import Show
from worldjockey.node.show.yaml_file import ShowError

PRODUCTS = {  # a port's name, as a system lists it, and the map that it gets
    "APC mini mk2:APC mini mk2 Control 24:0": "Akai APC mini mk2",
    "Launchpad X:Launchpad X MIDI 2 28:1": "Novation Launchpad X",
    "Launchpad X LPX MIDI Out": "Novation Launchpad X",
    "nanoKONTROL2 SLIDER/KNOB": "Korg nanoKONTROL2",
    "Midi Fighter Twister": "DJ TechTools Midi Fighter Twister",
    "MPK mini 3:MPK mini 3 MIDI 1 32:0": "Akai MPK mini",
}


@pytest.fixture
def desk() -> Iterator[Desk]:
    mailbox = Mailbox()
    yield Desk(Show.load(), mailbox)
    mailbox.unlink()


class Rig:
    """A desk and what plays it, without ports: bytes in, parameters out."""

    def __init__(self, desk: Desk, show: str = "") -> None:
        midi = Show.parse(show).midi
        products = [Controller.of(fields) for fields in midi.controllers()]
        self.desk, self.player = desk, Translator((Rule(**r) for r in midi.rules()), products, desk.read)
        self.decoders: dict[str, tuple[Messages, Decoder]] = {}

    def play(self, *data: int, port: str = "keys") -> None:
        found = self.player.table(port)
        messages, decoder = self.decoders.setdefault(port, (Messages(), Decoder(found.fine, found.nrpn)))
        for message in messages.feed(data):
            for event in decoder.decode(message):
                self.obey(self.player.play(event, port))

    def obey(self, controls: Any) -> None:
        for target, args in controls:
            self.desk.deliver(ControlEvent(target, args, 1.0, "midi"))


@pytest.mark.parametrize(("port", "name"), PRODUCTS.items())
def test_a_products_ports_get_its_map(port, name):
    known = [Controller.of(fields) for fields in midi_controllers.known()]
    found = table(port, [Rule(**r) for r in Show().midi.rules()], known)
    assert found.controller is not None
    assert found.controller.name == name
    played = {rule.target for rules in found.rules.values() for rule in rules}
    assert {f"pad/{n}" for n in range(1, PADS + 1)} <= played
    assert not any(rule.default for rules in found.rules.values() for rule in rules)


@pytest.mark.parametrize(
    "port", ["APC mini mk2 Notes", "Launchpad X LPX DAW Out", "Launchpad X:Launchpad X MIDI 1 28:0"]
)
def test_a_products_other_ports_are_left_alone(port):
    known = [Controller.of(fields) for fields in midi_controllers.known()]
    found = table(port, [Rule(**r) for r in Show().midi.rules()], known)
    assert not found.rules
    assert found.controller is None


def test_what_is_not_known_gets_the_generic_map():
    found = table("Some keyboard 1", [Rule(**r) for r in Show().midi.rules()],
                  [Controller.of(fields) for fields in midi_controllers.known()])  # fmt: skip
    played = {rule.target for rules in found.rules.values() for rule in rules}
    assert {f"act/{act}" for act in ACTS} | {f"pad/{n}" for n in range(1, PADS + 1)} <= played
    assert {rule.takeover for rule in found.find("cc", 20, 1)} == {"pickup"}
    assert {rule.takeover for rule in found.find("note", 36, 1)} == {"jump"}
    assert found.controller is None


@pytest.mark.parametrize("name", [*midi_controllers.names(), midi_controllers.GENERIC])
def test_no_control_of_a_map_does_two_things(name):
    places = [(m.source, m.channel) for m in midi_controllers.load(name).map]
    assert len(places) == len(set(places))
    assert all(m.to in PARAMETERS for m in midi_controllers.load(name).map)


def test_runs_stand_for_as_many_lines():
    assert midi_controllers.expanded({"note": "3..1", "to": "pad/1..3", "light": [0, 1]}) == [
        {"note": 3, "to": "pad/1", "light": [0, 1]},
        {"note": 2, "to": "pad/2", "light": [0, 1]},
        {"note": 1, "to": "pad/3", "light": [0, 1]},
    ]
    with pytest.raises(ValueError, match="differ"):
        midi_controllers.expanded({"note": "1..2", "to": "pad/1..3"})


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"cc14": 32, "to": "morph"}, "less than or equal to 31"),
        ({"note": 1, "cc": 2, "to": "morph"}, "exactly one of"),
        ({"note": 1, "to": "morph", "relative": "twos"}, "needs cc"),
        ({"note": 1, "to": "morph", "mode": "trigger"}, "value"),
        ({"note": 1, "to": "panic", "mode": "toggle"}, "fired"),
        ({"note": 1, "to": "morph", "light": [0, [1, 17]]}, "channel"),
        ({"note": 1, "to": "morph", "light": []}, "at least one"),
        ({"note": 1, "to": "morph", "curve": "wavy"}, "'linear', 'log', 'exp' or 's'"),
    ],
)
def test_a_line_that_means_nothing_says_why(fields, words):
    with pytest.raises(ValidationError, match=words):
        MidiMapping(**fields)


def test_a_show_with_every_kind_of_line_is_written_as_it_was_read():
    show = Show.parse("""
        midi:
          takeover: scale
          feedback: [X-Touch]
          map:
          - {cc14: 7, to: morph, curve: exp, light: value}
          - {nrpn: 300, to: energy, takeover: jump}
          - {cc: 9, to: speed, relative: offset, speed: 0.5}
          - {note: 5, to: act, mode: next, light: [0, [21, 7]]}
          - {polytouch: 6, to: cam/zoom}
    """)
    assert Show.parse(show.dump()) == show
    assert [rule["takeover"] for rule in show.midi.rules()[:5]] == ["scale", "jump", "jump", "jump", "jump"]


def test_the_desk_is_played_by_every_kind_of_message(desk):
    rig = Rig(desk, """
        midi:
          map:
          - {cc14: 3, to: energy, takeover: jump}
          - {nrpn: 130, to: cam/yaw, takeover: jump}
          - {cc: 9, to: steps, relative: twos}
          - {cc: 10, to: freeze, mode: toggle}
          - {cc: 11, to: inbetween, mode: enum, takeover: jump}
          - {aftertouch: true, to: speed}
          - {polytouch: 40, to: cam/zoom}
    """)  # fmt: skip
    for data in (
        (0x90, 36, 127), (0xB0, 3, 127), (0xB0, 35, 127), (0xB0, 99, 1), (0xB0, 98, 2), (0xB0, 6, 0), (0xB0, 9, 2),
        (0xB0, 10, 127), (0xB0, 10, 0), (0xB0, 11, 127), (0xD0, 127), (0xA0, 40, 127), (0xE0, 127, 127), (0x90, 64, 5),
    ):  # fmt: skip
        rig.play(*data)
    values = {k: desk.values[k] for k in ("energy", "cam/yaw", "steps", "freeze", "inbetween", "cam/zoom", "morph")}
    assert values == {
        "energy": 1.0, "cam/yaw": -1.0, "steps": 3, "freeze": True, "inbetween": "motion", "cam/zoom": 1.0,
        "morph": 1.0,
    }  # fmt: skip
    assert (desk.values["pad/1"], desk.values["act"], desk.values["speed"]) == (1.0, ACTS[4], 2.0)
    assert desk.counts["refused"] == 0


def test_a_cue_takes_a_fader_and_the_hand_takes_it_back_without_a_jump(desk):
    rig = Rig(desk, "midi: {map: [{cc: 1, to: energy}]}")
    for value in range(0, 100):
        rig.play(0xB0, 1, value)
    held = desk.values["energy"]
    assert held == pytest.approx(99 / 127, abs=0.01)
    desk.deliver(ControlEvent("energy", (0.2,)))
    for value in (98, 90, 60):
        rig.play(0xB0, 1, value)
        assert desk.values["energy"] == 0.2
    rig.play(0xB0, 1, 20)
    assert desk.values["energy"] == pytest.approx(20 / 128)
    rig.play(0xB0, 1, 80)
    assert desk.values["energy"] > 0.6


@given(data=st.lists(st.one_of(
    st.binary(max_size=5),
    st.tuples(st.integers(0x80, 0xEF), st.integers(0, 127), st.integers(0, 127)).map(bytes),
), max_size=40), port=st.sampled_from([*PRODUCTS, "keys"]))  # fmt: skip
def test_any_bytes_leave_the_deck_valid(shared_rig, data, port):
    for packet in data:
        shared_rig.play(*packet, port=port)
    shared_rig.obey(shared_rig.player.release())
    desk = shared_rig.desk
    for name, value in desk.values.items():
        assert PARAMETERS[name].coerce(value) == value
    assert shared_rig.player.held == 0
    assert "cue" in desk.error or desk.counts["refused"] == 0  # a show may have fewer cues than programs


@pytest.fixture(scope="module")
def shared_rig() -> Iterator[Rig]:
    mailbox = Mailbox()
    desk = Desk(Show.load(), mailbox)
    yield Rig(desk, "midi: {map: [{cc14: 1, to: energy, takeover: scale}, {nrpn: 1, to: seed}]}")
    mailbox.unlink()


def test_a_flood_fires_every_trigger_once_and_keeps_the_last_value(desk):
    rig = Rig(desk)
    for n in range(2000):
        rig.play(0x90, 37, 1 + n % 127)
        rig.play(0xB0, 25, 127 * (n % 2))
    counts = desk.mailbox.read().counts
    assert counts["cam/home"] == 1000
    assert desk.values["pad/2"] == (1 + 1999 % 127) / 127


# -- learning ---------------------------------------------------------------------------------------------------------


def test_what_is_learned_is_a_mapping_or_says_why_not():
    rule = compose("cam/yaw", {"cc14": 7, "channel": 2, "device": "box"})
    assert (rule["kind"], rule["number"], rule["low"], rule["takeover"]) == ("cc14", 7, -1.0, "pickup")
    with pytest.raises(ValueError, match="no parameter 'cam/yow', did you mean"):
        compose("cam/yow", {"note": 1})
    with pytest.raises(ValueError, match="a text"):
        compose("prompt", {"note": 1})


def test_a_learned_press_steps_through_choices(desk):
    player = Translator([Rule(**compose("quantise", {"note": 1}))], read=desk.read)
    found = []
    for _ in range(5):
        for target, args in player.play(Event("note", 1, 1, 9), "port"):  # however softly
            desk.deliver(ControlEvent(target, args, time.monotonic(), "midi port"))
        found.append(desk.read("quantise"))
    assert found == ["beat", "bar", "phrase", "none", "beat"]


def test_a_learned_control_leaves_what_it_played_before(desk):
    rig = Rig(desk)
    rig.player.add(Rule(**compose("pad/9", {"note": 36, "channel": 1, "device": "keys"})))
    rig.play(0x90, 36, 127)
    rig.play(0x90, 36, 127, port="other keys elsewhere".replace("keys", "pads"))
    assert (desk.values["pad/9"], desk.values["pad/1"]) == (1.0, 1.0)
    rig.player.add(Rule(**compose("pad/8", {"note": 36, "channel": 1, "device": "keys"})))
    rig.play(0x80, 36, 0)
    rig.play(0x90, 36, 127)
    assert (desk.values["pad/9"], desk.values["pad/8"]) == (0.0, 1.0)


MINE = {"note": 9, "channel": 1, "to": "pad/3"}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "# my show\nname: mine",
        "midi:\n  defaults: false  # mine alone\nname: mine\n",
        "midi:\n  map:\n  # the pads\n  - {note: 1, to: pad/1}  # first\n  - note: 2\n    to: pad/2\nname: mine\n",
        "midi:\n# map:\n# - {note: 1, to: pad/1}\nname: mine\n",
        "midi:\n  takeover: jump\n  map:\n  # - {note: 1, to: pad/1}\nname: mine\n",
        "name: mine\nmidi:",
        "midi:\n    map:\n        - {note: 9, channel: 1, to: morph}\n        - {note: 1, to: pad/1}\n",
        "midi: {map: [{note: 1, to: pad/1}]}",
        "midi: {}",
        "midi:\n  map: []\n",
        "midi:\n  map:\n  - note: 9\n    channel: 1\n    to: morph\n  # and\n  - {note: 1, to: pad/1}\n",
    ],
)
def test_a_line_is_written_into_a_show_and_the_rest_stays(text, tmp_path):
    path = tmp_path / "my.yaml"
    path.write_text(text)
    before = Show.load(path)
    midi_learn.save(path, MINE)
    after = Show.load(path)
    source = MidiMapping(**MINE).source
    assert [m.to for m in after.midi.map if (m.source, m.channel) == (source, 1)] == ["pad/3"]
    others = [m for m in before.midi.map if (m.source, m.channel) != (source, 1)]
    assert [m for m in after.midi.map if (m.source, m.channel) != (source, 1)] == others
    assert after.model_copy(update={"midi": before.midi}) == before
    assert all(part in path.read_text() for part in text.split("\n") if "#" in part)


@pytest.mark.parametrize("end", ["\r\n", "\r", "\n"])
def test_a_line_is_written_with_the_ends_that_the_lines_of_the_show_have(end, tmp_path):
    path = tmp_path / "my.yaml"
    lines = ["name: Nächte", "midi:", "  map:", "  - {note: 1, to: pad/1}", "  - {note: 2, to: pad/2}", ""]
    path.write_bytes(end.join(lines).encode())
    midi_learn.save(path, MINE)
    raw = path.read_bytes().decode()
    assert [m.to for m in Show.load(path).midi.map] == ["pad/3", "pad/1", "pad/2"]
    assert raw.count(end) == raw.count("\n" if end == "\n" else "\r") == 6


def test_where_there_is_no_place_it_says_what_to_write(tmp_path):
    path = tmp_path / "my.yaml"
    path.write_text(text := "midi: off\n")
    with pytest.raises(ShowError, match=r"midi is off[^\n]*\n  - \{note: 9, channel: 1, to: pad/3\}"):
        midi_learn.save(path, MINE)
    assert path.read_text() == text


def test_learn_is_the_rigs_and_no_world_hears_of_it(desk):
    desk.deliver(ControlEvent("learn", ("pad/3",)))
    assert desk.read("learn") == "pad/3"
    assert desk.changed()["learn"] == "pad/3"
