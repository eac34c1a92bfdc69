from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from worldjockey.integrations.midi.parse import Event
from worldjockey.integrations.midi.player import Translator, position
from worldjockey.integrations.midi.rules import SCALE_MAX, TAKEOVER_DISTANCE, Rule

SLACK = 1e-6
# A hand moves the fader, or something else moves the parameter.
MOVES = st.lists(st.one_of(st.integers(0, 127), st.floats(0, 1)), max_size=80)


class Fader:
    """One fader on one parameter, as the player sees them."""

    def __init__(self, value: float, **rule: Any) -> None:
        self.values: dict[str, Any] = {"x": value}
        self.rule = Rule("cc", 1, "x", **rule)
        self.player = Translator([self.rule], read=self.values.get)

    def move(self, value: int) -> float:
        """Returns the value that it has then."""
        for target, args in self.player.play(Event("cc", 1, 1, value), "port"):
            self.values[target] = args[0]
        return self.values["x"]


def at(value: int) -> float:
    return position(Event("cc", 1, 1, value))


@given(st.floats(0, 1), MOVES)
def test_pickup_never_moves_the_value_further_than_the_hand_nor_against_it(value, moves):
    fader, before = Fader(value, takeover="pickup"), None
    for move in moves:
        if isinstance(move, float):  # a cue
            fader.values["x"] = move
            continue
        was, now = fader.values["x"], at(move)
        became = fader.move(move)
        if became != was:
            assert became == now
            hand = 0.0 if before is None else now - before
            assert abs(became - was) <= max(abs(hand), TAKEOVER_DISTANCE) + SLACK
            assert (became - was) * hand >= 0 or abs(became - was) <= TAKEOVER_DISTANCE + SLACK
        before = now


@given(st.floats(0, 1), MOVES)
def test_scale_moves_with_the_hand_at_most_so_much_faster(value, moves):
    fader, before = Fader(value, takeover="scale"), None
    for move in moves:
        if isinstance(move, float):
            fader.values["x"] = move
            continue
        was, now = fader.values["x"], at(move)
        became = fader.move(move)
        hand = 0.0 if before is None else now - before
        assert abs(became - was) <= max(SCALE_MAX * abs(hand), TAKEOVER_DISTANCE) + SLACK
        assert (became - was) * hand >= -SLACK or abs(became - was) <= TAKEOVER_DISTANCE + SLACK
        assert 0 <= became <= 1
        before = now


@pytest.mark.parametrize("takeover", ["pickup", "scale"])
def test_a_sweep_takes_the_fader_over_for_good(takeover):
    fader = Fader(0.3, takeover=takeover)
    for move in [*range(90, 128), *reversed(range(128))]:
        fader.move(move)
    assert fader.values["x"] == 0.0
    for move in (1, 50, 127, 64):  # it holds it: even a hand that is quicker than its messages is followed
        assert fader.move(move) == at(move)
    fader.values["x"] = 0.1  # something else took it
    assert fader.move(80) == pytest.approx(0.1, abs=0.6 if takeover == "scale" else 0)


def test_a_fader_that_only_stands_there_takes_nothing():
    fader = Fader(0.5, takeover="pickup")
    assert fader.move(10) == 0.5
    assert fader.move(20) == 0.5
    assert fader.move(70) == at(70)  # it came past


def test_a_fader_that_waits_is_listed_with_the_value_where_it_stands():
    fader = Fader(0.5, takeover="pickup", high=2.0)
    assert fader.player.pickups() == []  # nobody knows where it stands
    fader.move(127)
    waiting = {"kind": "cc", "number": 1, "channel": None, "device": None, "target": "x", "at": 2.0}
    assert fader.player.pickups() == [waiting]
    fader.move(0)
    assert fader.player.pickups() == []  # it came past
    fader.values["x"] = 1.5  # something else took it
    assert fader.player.pickups() == [{**waiting, "at": 0.0}]
    fader.player.replace([])
    assert fader.player.pickups() == []
    jumping = Fader(0.5, takeover="jump")
    jumping.move(10)
    assert jumping.player.pickups() == []


def test_whole_numbers_and_choices_are_picked_up_where_they_are():
    fader = Fader(2, takeover="pickup", low=1.0, high=4.0, whole=True)
    assert fader.move(127) == 2
    fader = Fader(2, takeover="pickup", low=1.0, high=4.0, whole=True)
    assert round(fader.move(50)) == 2
    choices = ("a", "b", "c", "d")
    fader = Fader(0, takeover="pickup", low=0.0, high=3.0, choices=choices, mode="enum")
    fader.values["x"] = "b"
    assert fader.move(127) == "b"
    assert fader.move(70) == "b"
    assert fader.move(50) == 1


@given(st.floats(0, 1), st.sampled_from(["exp", "log", "s"]))
def test_curved_and_turned_round_faders_pick_up_too(value, curve):
    fader = Fader(value, takeover="pickup", curve=curve, low=1.0, high=0.0)
    for move in range(128):
        was = fader.values["x"]
        assert abs(fader.move(move) - was) <= 0.09  # one step where the curve is steepest
    assert fader.values["x"] == 0.0


def test_other_programs_are_obeyed_at_once():
    values = {"x": 0.9}
    player = Translator([Rule("cc", 1, "x", takeover="pickup")], read=values.get, own="worldjockey")
    assert list(player.play(Event("cc", 1, 1, 0), "worldjockey")) == [("x", (0.0,))]
    assert list(player.play(Event("cc", 1, 1, 0), "desk")) == []
