"""What the arguments of a control mean for its parameter, and what the desk refuses."""

import sys
import time

import pytest
from worldjockey.integrations import ControlEvent
from worldjockey.node.control.desk import Desk
from worldjockey.node.ipc.mailbox import Mailbox
from worldjockey.node.parameters import PARAMETERS
from worldjockey.node.show.schema import Show
from worldjockey.node.timing.show_clock import ShowClock

SHOW = Show.parse("cues: [{name: a, values: {energy: 1}}]\nvalues: {energy: 0.5, freeze: true}")


@pytest.fixture
def play():
    """`play()` gives a desk at 120 bpm whose beat 0 is at 1000 s."""
    boxes = []

    def make(**options):
        boxes.append(Mailbox())
        return Desk(SHOW, boxes[-1], ShowClock(120, now=1000), **options)

    yield make
    for box in boxes:
        box.unlink()


def send(desk, target, *args, at=1000.0, **meta):
    desk.deliver(ControlEvent(target, args, at, "a hand", meta))


def seen(desk):
    """Everything that the world gets."""
    return desk.mailbox.read(), desk.mailbox.words(), desk.mailbox.text("prompt")


@pytest.mark.parametrize(
    ("target", "args", "reason"),
    [
        ("energy", (), "energy takes a value"), ("quantise", (), "quantise takes a value"), ("bank", (), "takes a num"),
        ("energy", ("loud",), "takes a number"), ("energy", (float("nan"),), "not NaN"), ("act", ("fly",), "is one of"),
        ("act/dance", ("now",), "takes a number"), ("prompt", (1.0,), "takes a text"),
        ("prompt", (None,), "takes a text"), ("prompt", (True,), "takes a text"),
        ("pad/3", ("FaderMaster", 1, 0.66), "takes one number and nothing before it, as in /wj/pad/3 0.5"),
        ("energy", (None,), "takes a number"), ("energy", ("0,3,1",), "takes a number"),
        ("energy", ("bang",), "takes a number"), ("act", ("",), "is one of"), ("act", ("9,5,1",), "is one of"),
        ("mod/1/to", ("prompt",), "a modulator moves faders"), ("volume", (1,), "there is no parameter 'volume'"),
        ("word/a/b", (1,), "there is no parameter"),
    ],
)  # fmt: skip
def test_arguments_that_make_no_value_are_refused_with_the_reason(play, target, args, reason):
    desk = play()
    before = seen(desk)
    send(desk, target, *args)
    assert reason in desk.error
    assert desk.counts == {"obeyed": 0, "refused": 1}
    assert (seen(desk), desk.changed()) == (before, {})


@pytest.mark.parametrize("target", ["prompt", "act/dance", "learn"])
def test_steps_mean_nothing_to_texts_and_triggers(play, target):
    desk = play()
    send(desk, target, 1, relative=True)
    assert "has no steps" in desk.error


@pytest.mark.parametrize(
    ("target", "args"),
    [("prompt", ()), ("act/dance", (0,)), ("panic", (False,)), ("cue/go", (0,)), ("cue/stop", (0.0,)), ("undo", (0,)),
     ("snapshot/save", (False,)), ("snapshot/recall", (0,)), ("bank/next", (0,))],
)  # fmt: skip
def test_a_button_that_comes_up_or_a_missing_text_changes_nothing(play, target, args):
    desk = play()
    send(desk, "morph", 0.25)
    before = seen(desk), desk.state()["values"], desk.state()["snapshots"]
    send(desk, target, *args)
    assert desk.counts == {"obeyed": 2, "refused": 0}
    assert (seen(desk), desk.state()["values"], desk.state()["snapshots"]) == before


def test_a_switch_without_a_value_changes_over_and_a_step_counts_from_the_present_value(play):
    desk = play()
    send(desk, "freeze")
    assert desk.read("freeze") is False
    send(desk, "freeze")
    assert desk.read("freeze") is True
    send(desk, "energy", 0.25, relative=True)
    send(desk, "word/Storm", -0.5, relative=True)
    assert (desk.read("energy"), desk.read("word/storm")) == (0.75, 0.5)
    assert (desk.read("cue/go"), desk.read("nothing"), desk.read("word/")) == (None, None, None)


def test_a_control_without_an_arrival_time_gets_the_present_one(play):
    desk, before = play(), time.monotonic()
    send(desk, "energy", 1, at=0.0)
    assert before <= desk.mailbox.read().newest_control_at <= time.monotonic()
    assert len(desk.delays) == 1


@pytest.mark.parametrize(("replaying", "bpm"), [(False, 150), (True, 120)])
def test_a_tapped_tempo_is_shown_to_controllers_and_a_log_that_is_replayed_has_its_own(play, replaying, bpm):
    desk = play(replaying=replaying)
    desk.clock.set(ShowClock(120, now=1000).line(1000))
    for n in range(4):
        send(desk, "tempo/tap", at=1000 + n * 0.4)
    send(desk, "tempo/bar", 3)
    desk.changed()
    desk.advance(1002)
    assert desk.read("tempo") == pytest.approx(bpm)
    assert desk.changed().get("tempo", 120) == pytest.approx(bpm)
    assert desk.clock.meter.bar == 3


def test_a_word_is_one_parameter_in_any_case_for_cues_and_hands(play, monkeypatch):
    show = Show.parse("cues: [{name: a, values: {word/Storm: 2}, seconds: 4}]\nvalues: {word/Fog: 1.5}")
    assert show == Show.parse(show.dump())
    monkeypatch.setattr(sys.modules[__name__], "SHOW", show)
    desk = play()
    send(desk, "cue/go", at=1000.0)
    desk.advance(1001.0)
    send(desk, "word/STORM", -0.5, at=1001.5)  # a hand takes it over from the cue
    desk.advance(1005.0)
    assert desk.mailbox.words()[0] == {"fog": 1.5, "storm": -0.5}


def test_a_snapshot_keeps_a_word_as_it_is_now(play, monkeypatch):
    monkeypatch.setattr(sys.modules[__name__], "SHOW", Show.parse("values: {word/fog: 1.5}"))
    desk = play()
    send(desk, "word/fog", 1.0)
    send(desk, "snapshot/save", "now")
    send(desk, "word/fog", 0.2)
    send(desk, "snapshot/recall", "now", 0)
    desk.advance(1001.0)
    assert desk.mailbox.words()[0].get("fog", 1.0) == 1.0


@pytest.mark.parametrize(
    ("args", "text"),
    [
        (("neon", "city", "in", "the", "rain"), "neon city in the rain"),
        (("neon", "city", 4.0), "neon city"), (("route", 66, "at", "night", 2), "route 66 at night"),
        (("world", 2.5, "b"), "world 2.5 b"), ((3.0, "seas"), "3 seas"),
        ((b"volcano at night",), "volcano at night"), (("sea", None), "sea"),
        ((0,), ""), ((0.0,), ""), ((False,), ""), ((), ""),
    ],
)  # fmt: skip
@pytest.mark.parametrize("target", ["prompt", "prompt/b", "pad/2/text"])
def test_a_text_is_read_from_the_arguments_that_programs_send(play, target, args, text):
    """Pd and Max send a word an argument, others a blob; a button that comes up means nothing."""
    desk = play()
    send(desk, target, *args)
    assert (desk.error, desk.read(target)) == ("", text)


@pytest.mark.parametrize("value", ["0.31", "0,31", 0.31, b"0,31", " 0,31 "])
def test_a_number_may_be_written_with_a_comma(play, value):
    desk = play()
    send(desk, "energy", value)
    assert desk.read("energy") == pytest.approx(0.31)


def test_names_of_cues_and_snapshots_may_come_in_separate_words(play, monkeypatch):
    monkeypatch.setattr(sys.modules[__name__], "SHOW", Show.parse("cues: [{name: a}, {name: storm over the sea}]"))
    desk = play()
    send(desk, "cue/go", "storm", "over", "the", "sea")
    assert desk.news()["cue"] == "storm over the sea"
    send(desk, "energy", 0.7)
    send(desk, "snapshot/save", "my", "look")
    send(desk, "energy", 0.1)
    send(desk, "snapshot/recall", "my", "look", 0.0)
    desk.advance(1001.0)
    assert (desk.error, desk.read("energy")) == ("", pytest.approx(0.7))


NOW = [(), (None,), ("bang",), ("Bang",), ("",), (1,), ("1",), ("on",), ("true",), (True,)]
UP = [(0,), (0.0,), (False,), ("0",), ("off",), ("false",), ("0.0",)]


@pytest.mark.parametrize(("args", "fires"), [(args, True) for args in NOW] + [(args, False) for args in UP])
@pytest.mark.parametrize("target", ["cam/home", "cue/go", "bank/next", "snapshot/save", "panic"])
def test_a_trigger_fires_on_all_that_programs_send_for_now(play, monkeypatch, target, args, fires):
    """Max and Pd send the text "bang", MadMapper nil, Companion a text, and a button 1 and 0."""
    monkeypatch.setattr(sys.modules[__name__], "SHOW", Show.parse("{cues: [{name: a}], banks: {x: [a], y: [b]}}"))
    if target == "snapshot/save" and args and isinstance(args[0], str):
        fires = True  # any text is a name
    desk = play()
    send(desk, target, *args)
    counts = desk.mailbox.read().counts
    fired = counts | {
        "cue/go": desk.news()["cue"] == "a", "bank/next": desk.bank == "y", "snapshot/save": desk.state()["snapshots"],
    }  # fmt: skip
    assert (desk.error, bool(fired[target])) == ("", fires)


@pytest.mark.parametrize(
    ("values", "freeze"),
    [(("on",), True), (("True",), True), (('"yes"',), True), (("off",), False), (("FALSE",), False), (("bang",), True),
     (("on", None), False), ((b"on",), True)],
)  # fmt: skip
def test_a_switch_may_be_written_out(play, monkeypatch, values, freeze):
    monkeypatch.setattr(sys.modules[__name__], "SHOW", Show())
    desk = play()
    for value in values:
        send(desk, "freeze", value)
    assert (desk.error, desk.read("freeze")) == ("", freeze)


@pytest.mark.parametrize(
    ("target", "args", "value"),
    [
        ("act", ("Dance",), "dance"), ("act", (" dance\n",), "dance"), ("act", ("“dance”",), "dance"),
        ("act", (b"dance",), "dance"), ("act", ('"2"',), PARAMETERS["act"].choices[2]),
        ("mod/1/shape", ("sample", "and", "hold"), "sample-and-hold"), ("mod/1/shape", ("Saw",), "saw"),
        ("energy", ('"0,5"',), 0.5), ("energy", ("‘0.5’",), 0.5),
        ("prompt", ('"a calm sea"',), "a calm sea"), ("prompt", ("“a", "calm", "sea”", 2.0), "a calm sea"),
        ("prompt", ('"on" and "off"',), '"on" and "off"'),
    ],
)  # fmt: skip
def test_names_in_any_case_and_texts_in_quotes_are_understood(play, target, args, value):
    """Companion puts quotes around texts, and telephones make them curly."""
    desk = play()
    send(desk, target, *args)
    assert (desk.error, desk.read(target)) == ("", value)


@pytest.mark.parametrize(
    "name",
    [
        "Storm over the sea",
        '"storm over the sea"',
        "“storm over the sea”",
        "storm_over_the_sea",
        " storm over the sea\r\n",
    ],
)
def test_cues_and_banks_are_found_by_their_names_however_programs_spell_them(play, monkeypatch, name):
    show = Show.parse("cues: [{name: a}, {name: storm over the sea}]\nbanks: {first: [a], storm over the sea: [b]}")
    monkeypatch.setattr(sys.modules[__name__], "SHOW", show)
    desk = play()
    send(desk, "cue/go", name)
    send(desk, "bank", *name.split(" "))
    assert (desk.error, desk.news()["cue"], desk.bank) == ("", "storm over the sea", "storm over the sea")


def test_names_that_are_numbers_are_found(play, monkeypatch):
    show = Show.parse("cues: [{name: a}, {name: 20261130}, {name: 20261131}]\nbanks: {first: [a], 2.5: [b], x: [c]}")
    monkeypatch.setattr(sys.modules[__name__], "SHOW", show)
    desk = play()
    for key in (20261131, "20261131"):
        send(desk, "cue/go", 1)
        send(desk, "cue/go", key)
        assert desk.news()["cue"] == "20261131"
    send(desk, "bank", 2.5)
    assert (desk.error, desk.bank) == ("", "2.5")


@pytest.mark.parametrize(
    ("target", "hint"),
    [
        ("pad/1 0.5", "send what follows /wj/pad/1 as its argument"), ("pad/1=0.5", "/wj/pad/1 as its argument"),
        ("pad/1,f,0.5", "/wj/pad/1 as its argument"), ("cue/go storm over the sea", "/wj/cue/go as its argument"),
        ("pad", "each value has an address of its own, as in /wj/pad/1"), ("cam", "as in /wj/cam/strafe"),
        ("pad/0", "pads are numbered from 1 to 16"), ("pad/17", "from 1 to 16"),
        ("cam/zom", "did you mean 'cam/zoom'?"), ("Pad/1", "did you mean 'pad/1'?"), ("volume", "'volume'"),
    ],
)  # fmt: skip
def test_what_is_shown_of_an_unknown_parameter_names_the_right_one(play, target, hint):
    desk = play()
    send(desk, target, 1)
    assert hint in desk.refusal_to_show(1000.0)
