import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from worldjockey.integrations import ControlEvent
from worldjockey.node.control.cues import Change, Ramps, before, changes, choose
from worldjockey.node.control.desk import Desk
from worldjockey.node.control.history import UNDO_MAX
from worldjockey.node.ipc.mailbox import Mailbox
from worldjockey.node.parameters import PARAMETERS
from worldjockey.node.show.schema import Show
from worldjockey.node.timing.easing import curved
from worldjockey.node.timing.show_clock import ShowClock

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


NUMBERED = Show.parse("cues: [{name: '1'}, {name: '1.5'}, {name: '10'}, {name: '4.1'}, {name: '2'}]").cues


@pytest.mark.parametrize(
    ("key", "name"),
    [(1.5, "1.5"), ("1.5", "1.5"), ("1,5", "1.5"), (2, "2"), (2.0, "2"), ("2.0", "2"), (3, "10"), (10, "10"), (5, "2"),
     (struct.unpack("f", struct.pack("f", 4.1))[0], "4.1")],
)  # fmt: skip
def test_a_number_is_the_cue_of_that_name_before_it_is_a_position(key, name):
    index = choose(NUMBERED, (key,), None)
    assert index is not None
    assert NUMBERED[index].name == name


@pytest.mark.parametrize("key", [2.5, "2.5", 1.25, 6, "6.0"])
def test_a_fraction_that_names_no_cue_is_refused_and_not_rounded(key):
    with pytest.raises(ValueError, match="there is no cue"):
        choose(NUMBERED, (key,), None)


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


@given(st.sampled_from(["linear", "smooth", "exp"]), st.floats(-1, 2), st.floats(-1, 2))
def test_every_curve_goes_all_the_way_and_never_back(curve, a, b):
    early, late = sorted((a, b))
    assert 0 <= curved(curve, early) <= curved(curve, late) <= 1
    assert (curved(curve, 0), curved(curve, 1)) == (0, 1)


def test_back_is_the_cue_before_and_needs_one_to_have_been_fired():
    assert before(SHOW.cues, 1) == 0
    assert before(SHOW.cues, 0) == 2
    with pytest.raises(ValueError, match="no cue was fired"):
        before(SHOW.cues, None)


# -- on the desk -------------------------------------------------------------------------------------------------------

BEATS = """
quantise: bar
pads: [sea, city]
cues:
  - {name: a, values: {energy: 1}, transition: 2 beats, curve: linear}
  - {name: b, prompt: night, values: {energy: 0.5}, quantise: none, follow: 1 bar}
  - {name: c, values: {energy: 0.2, morph: 1}, seconds: 1, quantise: beat}
"""


class Stage:
    """A desk whose clock says 120 bpm, beat 0 at 1000 s; time passes as the test says."""

    def __init__(self, text, latency=0.1):
        self.box = Mailbox()
        self.desk = Desk(Show.parse(text), self.box, ShowClock(120, now=1000))
        self.desk.latency, self.now = latency, 1000.0

    def send(self, target, *args, source="the test", **meta):
        self.desk.deliver(ControlEvent(target, args, self.now, source, meta))

    def until(self, moment, step=0.01):
        while self.now < moment - 1e-9:
            self.now = min(self.now + step, moment)
            self.desk.advance(self.now)

    def value(self, name):
        return self.box.read().values[name]


@pytest.fixture
def stage():
    made = []

    def make(text=BEATS, latency=0.1):
        made.append(Stage(text, latency))
        return made[-1]

    yield make
    for one in made:
        one.box.unlink()


def test_a_cue_waits_for_the_bar_and_goes_early_by_the_latency(stage):
    s = stage()
    s.until(1000.3)
    s.send("cue/go", "a")
    s.until(1001.89)
    assert s.value("energy") == 0
    s.until(1002.4)  # fired at 1001.9 for the bar at 1002; two beats are a second
    assert s.value("energy") == pytest.approx(0.5, abs=0.02)
    s.until(1003)
    assert s.value("energy") == 1


def test_a_cue_has_a_quantising_of_its_own_and_none_is_at_once(stage):
    s = stage()
    s.until(1000.3)
    s.send("cue/go", "b")
    assert s.value("energy") == 0.5
    assert s.box.text("prompt").text == "night"


def test_a_cue_that_was_just_missed_is_not_put_off_for_a_bar(stage):
    s = stage()
    s.until(1001.915)
    s.send("cue/go", "a")
    s.until(1002.0)
    assert s.value("energy") > 0


def test_the_next_cue_follows_in_beats_and_a_hand_on_go_ends_that(stage):
    s = stage()
    s.until(1000.5)
    s.send("cue/go", "b")  # seen at 1000.6; c a bar later, at 1002.6
    s.until(1002.49)
    assert s.value("morph") == 0
    s.until(1003.6)
    assert s.value("morph") == 1
    s.send("cue/go", "b")
    s.send("cue/go", "a")
    s.until(1010)
    assert s.value("energy") == 1, "c did not come"


def test_a_newer_cue_takes_the_place_of_one_that_waits_and_stop_ends_all(stage):
    s = stage()
    s.until(1000.2)
    s.send("cue/go", "a")
    s.send("cue/go", "c")
    s.until(1010)
    assert s.value("energy") == pytest.approx(0.2)
    s.send("cue/go", "a")
    s.send("cue/stop")
    s.until(1020)
    assert s.value("energy") == pytest.approx(0.2)


def test_back_and_jump(stage):
    s = stage()
    s.send("cue/jump", "c")
    assert s.value("energy") == pytest.approx(0.2), "no transition, no waiting"
    s.send("cue/back")
    assert s.value("energy") == 0.5
    s.send("cue/back", 0)
    assert s.value("energy") == 0.5, "a button that comes up"


def test_the_stamp_of_a_cue_is_when_it_fired_and_a_moving_fader_is_no_new_control(stage):
    s = stage()
    s.until(1000.3)
    s.send("cue/go", "a")
    s.until(1003)
    assert s.box.read().newest_control_at == pytest.approx(1001.9)


def test_snapshots_bring_everything_back(stage):
    s = stage("values: {transition: 0}")
    s.send("energy", 0.7)
    s.send("word/storm", 0.4)
    s.send("pad/1/text", "a sea")
    s.send("snapshot/save", "here")
    s.send("energy", 0.1)
    s.send("word/storm", 1.8)
    s.send("word/rain", 0)
    s.send("pad/1/text", "a city")
    s.send("act/dance")
    s.send("snapshot/recall", "HERE")
    s.until(1000.1)
    assert s.value("energy") == 0.7
    assert s.value("act") == "none"
    assert s.box.words()[0] == {"storm": 0.4}
    assert s.box.text("pad/1/text").text == "a sea"
    s.send("snapshot/recall", "there")
    assert "there is here" in s.desk.error


def test_undo_takes_changes_back_one_by_one(stage):
    s = stage("values: {transition: 0, energy: 0.3}\ncues: [{name: a, values: {energy: 1, morph: 1}}]")
    s.send("prompt", "night")
    for n in range(100):  # one sweep
        s.now += 0.01
        s.send("speed", 1 + n / 100)
    s.until(1003)
    s.send("cue/go")
    s.send("snapshot/save", 1)
    s.now += 5
    s.send("panic")
    assert s.value("energy") == 0
    seen = []
    for _ in range(5):
        s.send("undo")
        seen.append((s.value("energy"), s.value("morph"), s.value("speed"), s.box.text("prompt").text))
    assert seen == [
        (1, 1, pytest.approx(1.99), "night"), (0.3, 0, pytest.approx(1.99), "night"), (0.3, 0, 1, "night"),
        (0.3, 0, 1, ""), (0.3, 0, 1, ""),
    ]  # fmt: skip


def test_sound_and_tempo_are_not_undone_and_undo_is_bounded(stage):
    s = stage("")
    s.send("energy", 0.5)
    for n in range(1000):
        s.now += 2
        s.send("sound/level", n / 1000)
        s.send("speed", n / 1000, source="sound")
    s.send("tempo", 99)
    s.send("undo")
    assert s.value("energy") == 0
    for n in range(UNDO_MAX + 50):
        s.now += 2
        s.send("energy", (n % 7) / 10)
    assert len(s.desk.store.history) == UNDO_MAX


@pytest.mark.parametrize(("asked", "given"), [(1e9, 60), (float("inf"), 60), (-3, 0), (2.5, 2.5)])
def test_a_prompt_takes_a_minute_at_most_to_come(stage, asked, given):
    s = stage("")
    s.send("prompt", "night", asked)
    assert s.box.text("prompt").seconds == given


def test_panic_puts_the_live_picture_back(stage):
    s = stage("")
    played = {name: p for name, p in PARAMETERS.items() if name.startswith("live/") and p.kind in ("float", "bool")}
    assert "live/strength" in played
    for name, p in played.items():
        s.send(name, not p.default if p.kind == "bool" else p.high if p.default != p.high else p.low)
        assert s.value(name) != p.default
    s.send("panic")
    assert {name: s.value(name) for name in played} == {name: p.default for name, p in played.items()}


targets = st.sampled_from(
    ["cue/go", "cue/back", "cue/jump", "cue/stop", "snapshot/save", "snapshot/recall", "undo", "panic", "energy",
     "quantise", "tempo", "tempo/tap", "tempo/downbeat", "tempo/nudge", "tempo/bar", "mod/1/depth", "mod/1/to"]
)  # fmt: skip


@given(st.lists(st.tuples(targets, st.none() | st.floats() | st.text(max_size=3) | st.just("a"), st.floats(0, 3))))
def test_whatever_is_sent_the_desk_stays_in_range(moves):
    s = Stage(BEATS)
    try:
        for target, arg, gap in moves:
            s.send(target, *([] if arg is None else [arg]))
            s.until(s.now + gap, step=0.5)
        values = s.desk.values
        assert 0 <= values["energy"] <= 1
        assert 0 <= s.value("energy") <= 1
        assert 20 <= s.desk.clock.bpm <= 300
        assert s.desk.counts["obeyed"] + s.desk.counts["refused"] == len(moves)
    finally:
        s.box.unlink()
