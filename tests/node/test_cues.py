import pytest
from hypothesis import given
from hypothesis import strategies as st
from worldjockey.node.cues import Change, Ramps, changes, choose
from worldjockey.node.show import Show

SHOW = Show.parse("""
pads: [{text: sea, label: sea}, {text: city, label: city}]
cues:
  - {name: Opening, prompt: a calm sea, pads: {}, seconds: 4}
  - {name: storm, pads: {sea: 0.8}, values: {energy: 0.5, act: dance}, seconds: 2}
  - {name: "7", values: {freeze: true}}
""")


@pytest.mark.parametrize(
    ("args", "current", "index"),
    [
        ((), None, 0), ((), 0, 1), ((), 2, 0), ((True,), 1, 2), ((None,), None, 0),
        ((1,), None, 0), ((2.0,), None, 1), ((0,), 1, None), ((0.0,), 1, None), ((False,), 1, None), ((-3,), 1, None),
        ((float("nan"),), 1, None), (("storm",), None, 1), ((" OPENING ",), None, 0),
        (("2",), None, 1), (("7",), None, 2),
    ],
)  # fmt: skip
def test_a_cue_is_the_next_a_number_or_a_name(args, current, index):
    assert choose(SHOW.cues, args, current) == index


@pytest.mark.parametrize(
    ("key", "words"),
    [("strom", "'storm'"), ("zzz", "opening, storm, 7"), (4, "has 3"), (float("inf"), "has 3"), ("99", "has 3")],
)
def test_a_cue_that_is_not_there_is_named_with_what_is(key, words):
    with pytest.raises(ValueError, match=words):
        choose(SHOW.cues, (key,), None)


def test_a_show_without_cues_says_so():
    with pytest.raises(ValueError, match="no cues"):
        choose([], (), None)


@given(st.lists(st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(), max_size=2))
def test_any_arguments_are_a_cue_none_or_a_clear_error(args):
    try:
        index = choose(SHOW.cues, args, 1)
    except ValueError:
        return
    assert index is None or 0 <= index < 3


def test_a_cue_moves_what_it_names_and_pads_it_leaves_out_go_down():
    found = {c.target: c for c in changes(SHOW, SHOW.cues[1])}
    assert found["pad/1"] == Change("pad/1", 0.8, 2)
    assert found["pad/2"] == Change("pad/2", 0.0, 2)
    assert found["energy"] == Change("energy", 0.5, 2)
    assert "prompt" not in found
    assert changes(SHOW, SHOW.cues[2]) == [Change("freeze", True, 0)]


def test_ramps_go_all_the_way_and_end_exactly():
    ramps = Ramps()
    at_once = ramps.start(changes(SHOW, SHOW.cues[1]), {"energy": 0.1, "pad/1": 0.0}, now=10.0)
    assert [c.target for c in at_once if not c.target.startswith("pad/")] == ["act"]
    assert ramps.advance(10.0) == {"pad/1": 0.0, "energy": pytest.approx(0.1)}
    assert ramps.advance(11.0) == {"pad/1": pytest.approx(0.4), "energy": pytest.approx(0.3)}
    assert ramps.advance(12.5) == {"pad/1": 0.8, "energy": 0.5}
    assert ramps.advance(13.0) == {}


def test_a_hand_on_a_fader_takes_it_from_the_cue():
    ramps = Ramps()
    ramps.start([Change("energy", 1.0, 2.0), Change("morph", 1.0, 2.0)], {}, now=0.0)
    ramps.touch("energy")
    assert list(ramps.advance(1.0)) == ["morph"]


def test_a_cue_during_a_cue_goes_on_from_where_the_fader_is():
    ramps = Ramps()
    ramps.start([Change("energy", 1.0, 2.0)], {"energy": 0.0}, now=0.0)
    here = ramps.advance(1.0)
    ramps.start([Change("energy", 0.0, 2.0)], here, now=1.0)
    assert ramps.advance(1.0) == here
    assert ramps.advance(3.0) == {"energy": 0.0}
