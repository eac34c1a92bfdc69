from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from worldjockey.integrations.midi.lights import ECHO_S, FADER_REST_S, MESSAGES_PER_ROUND, Lights, partner, plain
from worldjockey.integrations.midi.parse import Event
from worldjockey.integrations.midi.rules import Controller, Rule, table

PADS = [[45, 1], [21, 3], [21, 5], [21, 7]]
RULES = [
    Rule("note", 1, "pad/1", light=PADS),
    Rule("note", 2, "act/jump", press=(1,), watch="act", shows="jump", light=[0, 127]),
    Rule("cc", 7, "morph", light="value"),
    Rule("cc14", 8, "energy", light="value"),
    Rule("bend", None, "speed", high=2.0, light="value"),
    Rule("cc", 9, "blackout"),
]
BOX = Controller("box", ("box",), hello=((0xF0, 1, 0xF7),), bye=((0xF0, 0, 0xF7),), rules=tuple(RULES))
VALUES: dict[str, Any] = {"pad/1": 0.0, "act": "none", "morph": 0.5, "energy": 0.0, "speed": 1.0, "blackout": 0.0}


def lit(**values: Any) -> Lights:
    lights = Lights(VALUES.get)
    lights.plug("box", "box out", table("box", [], [BOX]))
    lights.due(0.0)
    return lights


def shown(lights: Lights, now: float) -> list[tuple[int, ...]]:
    return [message for _, message in lights.due(now)]


def test_who_comes_is_greeted_and_shown_everything():
    lights = Lights(VALUES.get)
    lights.plug("box", "box out", table("box", [], [BOX]))
    assert lights.due(0.0) == [
        ("box out", message)
        for message in [
            (0xF0, 1, 0xF7), (0x90, 1, 45), (0x90, 2, 0), (0xB0, 7, 64), (0xB0, 8, 0), (0xB0, 40, 0), (0xE0, 0, 64),
        ]
    ]  # fmt: skip
    assert lights.settled
    assert lights.all_off() == [("box out", m) for m in [(0x90, 1, 0), (0x90, 2, 0), (0xF0, 0, 0xF7)]]


def test_what_changed_is_shown_once_and_in_levels():
    lights = lit()
    seen = []
    for now, weight in enumerate([0.0, 0.001, 0.1, 0.2, 0.5, 0.9, 1.0, 0.0]):
        lights.note("pad/1", weight)
        seen += shown(lights, float(now))
    assert seen == [(0x92, 1, 21), (0x94, 1, 21), (0x96, 1, 21), (0x90, 1, 45)]
    lights.note("act", "jump")
    assert shown(lights, 9.0) == [(0x90, 2, 127)]
    lights.note("act", "jump")
    lights.note("prompt", "the sea")
    assert shown(lights, 10.0) == []


def test_a_fader_under_a_hand_is_left_alone_until_it_rests():
    lights = lit()
    assert not lights.is_echo(Event("cc", 1, 7, 90), "box", 5.0)
    lights.note("morph", 0.7)
    assert shown(lights, 5.1) == []
    lights.note("morph", 1.0)
    assert shown(lights, 5.1 + FADER_REST_S) == [(0xB0, 7, 127)]


def test_what_a_motor_says_of_our_move_is_no_hand():
    lights = lit()
    lights.note("morph", 1.0)
    assert shown(lights, 5.0) == [(0xB0, 7, 127)]
    assert lights.is_echo(Event("cc", 1, 7, 127), "box", 5.1)
    assert not lights.is_echo(Event("cc", 1, 7, 126), "box", 5.2)
    assert not lights.is_echo(Event("cc", 1, 7, 127), "box", 5.3)  # now a hand is on it
    assert not lights.is_echo(Event("cc", 1, 7, 127), "box", 6.0 + ECHO_S)


def test_a_round_is_bounded_and_nothing_is_lost():
    many = Controller("many", ("box",), rules=tuple(Rule("note", n, f"p/{n}", light=[0, 9]) for n in range(100)))
    lights = Lights()
    lights.plug("box", "out", table("box", [], [many]))
    for n in range(100):
        lights.note(f"p/{n}", 1.0)
    rounds = []
    while not lights.settled:
        rounds.append(shown(lights, 0.0))
    assert max(map(len, rounds)) == MESSAGES_PER_ROUND
    assert sorted(message[1] for one in rounds for message in one) == list(range(100))


def test_who_leaves_is_forgotten():
    lights = lit()
    lights.note("morph", 0.9)
    lights.unplug("box")
    lights.note("morph", 0.1)
    assert lights.settled
    assert lights.due(1.0) == []
    assert lights.all_off() == []


@given(st.lists(st.tuples(st.sampled_from(sorted(VALUES)), st.floats(-1, 3) | st.sampled_from(["none", "jump"]))))
def test_what_is_sent_is_always_midi(changes):
    lights = lit()
    for now, (name, value) in enumerate(changes):
        lights.note(name, value)
        for message in shown(lights, float(now)):
            assert message[0] & 0xF0 in (0x90, 0xB0, 0xE0)
            assert all(0 <= byte <= 127 for byte in message[1:])


def test_a_controllers_output_is_found_by_name():
    outputs = ["Midi Through:0", "nanoKONTROL2 CTRL", "APC mini mk2 Notes 24:1", "APC mini mk2 Control 24:0"]
    assert partner("nanoKONTROL2 SLIDER/KNOB", outputs, ["nanoKONTROL2"]) == "nanoKONTROL2 CTRL"
    apc = partner("APC mini mk2 Control 24:0", outputs, ["APC mini mk2"], ["APC mini mk2 Notes"])
    assert apc == "APC mini mk2 Control 24:0"
    assert partner("keys", outputs, []) is None
    assert plain("APC mini mk2:APC mini mk2 Control 24:0") == "APC mini mk2:APC mini mk2 Control"
    assert plain("MPK mini 3 1") == "MPK mini 3"
    assert plain("2- Launchpad S 1") == "Launchpad S"
    assert plain("a2j:ReMOTE25 [20] (capture): ReMOTE25 MIDI 1") == "a2j:ReMOTE25 (capture): ReMOTE25 MIDI"
