"""What is prepared on the preview, taken to the program, and taken back."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from worldjockey.integrations import ControlEvent
from worldjockey.node.control.control_log import ControlLog, parts, read
from worldjockey.node.control.desk import Desk
from worldjockey.node.control.preview import Preview
from worldjockey.node.ipc.mailbox import Mailbox
from worldjockey.node.parameters import PARAMETERS, find, preview_name
from worldjockey.node.show.schema import Show
from worldjockey.node.show.yaml_file import ShowError
from worldjockey.node.timing.show_clock import ShowClock

SHOW = Show.parse("""
prompt: a calm sea
pads: [forest, desert]
cues: [{name: storm, prompt: a storm, values: {energy: 0.75}, seconds: 2, follow: 1}]
values: {speed: 1.5, transition: 4}
modulators: [{to: cam/yaw, depth: 1, shape: square, offset: 1, beats: 4}]
""")


class Table:
    """A desk with its preview at 120 bpm, whose beat 0 is at 1000 s."""

    def __init__(self, show=SHOW):
        self.boxes = Mailbox(), Mailbox()
        self.desk = Desk(show, self.boxes[0], ShowClock(120, now=1000))
        self.preview = self.desk.preview = Preview(self.desk, self.boxes[1])

    def play(self, target, *args, at=1000.0, source="the page"):
        refused = self.desk.counts["refused"]
        self.desk.deliver(ControlEvent(target, args, at, source))
        return self.desk.error if self.desk.counts["refused"] > refused else ""

    def close(self):
        for box in self.boxes:
            box.unlink()


@pytest.fixture
def table():
    made = Table()
    yield made
    made.close()


def test_what_is_prepared_leaves_the_program_alone(table):
    before = table.desk.state()["values"]
    assert "preview/on" in table.play("preview/pad/1", 1)
    table.play("energy", 0.5)
    table.play("preview/on", 1)
    assert table.desk.read("preview/energy") == 0.5
    assert table.desk.read("preview/speed") == 1.5
    table.desk.changed()
    for target, value in {"pad/1": 0.25, "word/storm": 2.0, "prompt": "a red desert", "act": "dance"}.items():
        assert not table.play(f"preview/{target}", value)
        assert table.desk.read(f"preview/{target}") == value
        assert table.desk.changed() == {f"preview/{target}": value}
    assert not table.play("preview/act/jump")
    assert table.desk.read("preview/act") == "jump"
    assert not table.play("preview/panic")
    assert table.preview.mailbox.read().counts["panic"] == 1
    assert table.desk.mailbox.read().counts["panic"] == 0
    after = table.desk.state()["values"]
    assert {k: v for k, v in after.items() if v != before[k]} == {"energy": 0.5, "preview/on": True}


@pytest.mark.parametrize("name", ["tempo", "mod/1/to", "quantise", "blackout", "keystone/1/x", "preview/on", "learn"])
def test_what_both_buses_share_is_no_control_of_the_preview(table, name):
    table.play("preview/on", 1)
    assert find(f"preview/{name}") is None
    assert "no parameter" in table.play(f"preview/{name}", 1)


def test_the_preview_hears_the_sound_of_the_program_and_has_no_modulators(table):
    table.play("preview/on", 1)
    table.play("sound/bass", 0.5)
    for at in (1000.1, 1000.2):
        table.desk.advance(at)
    assert table.preview.mailbox.value("sound/bass") == 0.5
    assert table.desk.mailbox.value("cam/yaw") > 0
    assert table.preview.mailbox.value("cam/yaw") == 0


def test_a_cue_is_rehearsed_on_the_preview_and_taken_where_it_leads(table):
    table.play("preview/on", 1)
    table.play("preview/cue/go", "storm")
    table.desk.advance(1000.5)
    assert 0 < table.desk.read("preview/energy") < 0.75
    assert table.desk.read("energy") == 0
    table.play("preview/take", 0, at=1001.0)
    assert table.desk.read("energy") == 0.75
    assert table.desk.read("prompt") == "a storm"
    assert table.desk.news()["cue"] == "storm"
    table.play("undo", at=1001.5)
    assert table.desk.news()["cue"] == ""
    assert table.desk.read("prompt") == "a calm sea"


@pytest.mark.parametrize(
    ("args", "source", "seconds"),
    [((), "page", 4), ((2.0,), "page", 2), ((0,), "page", 0), (("cut",), "osc 10.0.0.1:1", 0),
     ((2.0,), "osc 10.0.0.1:1", 2), ((1.0,), "osc 10.0.0.1:1", 4), ((1,), "midi pads", 4), ((1, 0.5), "key 1", 0.5)],
)  # fmt: skip
def test_a_take_fades_for_its_seconds(table, args, source, seconds):
    table.play("preview/on", 1)
    table.play("preview/energy", 1.0)
    assert not table.play("preview/take", *args, source=source)
    table.desk.advance(1000 + seconds / 2)
    assert table.desk.read("energy") == pytest.approx(0.5 if seconds else 1.0)
    table.desk.advance(1000 + seconds)
    assert table.desk.read("energy") == 1.0
    assert table.desk.read("transition") == 4


def test_a_button_that_comes_up_takes_nothing(table):
    table.play("preview/on", 1)
    table.play("preview/energy", 1.0)
    for up in (0.0, False, "off"):
        assert not table.play("preview/take", up, source="osc 10.0.0.1:1")
    assert "takes seconds" in table.play("preview/take", "soon")
    assert table.desk.read("energy") == 0


def test_a_take_waits_for_its_bar_and_carries_what_is_there_then(table):
    table.play("preview/on", 1)
    table.play("quantise", "bar")
    table.play("preview/take", "cut", at=1000.3)
    table.play("preview/energy", 1.0, at=1001.0)
    table.desk.advance(1001.5)
    assert table.desk.read("energy") == 0
    table.desk.advance(1002.0)
    assert table.desk.read("energy") == 1.0


def test_back_swaps_program_and_preview_to_what_they_had(table):
    assert "no take" in table.play("preview/back")
    table.play("word/storm", 0.5)
    table.play("preview/on", 1)
    table.play("preview/energy", 1.0)
    table.play("preview/word/storm", 2.0)
    table.play("preview/take", 0)
    table.play("preview/energy", 0.25)
    table.play("preview/back", 0, at=1001.0)
    assert (table.desk.read("energy"), table.desk.read("word/storm")) == (0, 0.5)
    assert (table.desk.read("preview/energy"), table.desk.read("preview/word/storm")) == (1.0, 2.0)
    assert "no take" in table.play("preview/back", 0)


def test_a_closed_preview_has_nothing_to_take_and_begins_anew(table):
    assert "preview/on" in table.play("preview/take")
    assert "preview/on" in table.play("preview/copy")
    table.play("preview/on", 1)
    table.play("preview/energy", 1.0)
    table.play("preview/word/storm", 2.0)
    table.play("preview/copy")
    assert (table.desk.read("preview/energy"), table.desk.read("preview/word/storm")) == (0, 1)
    assert table.preview.copies == 2
    table.play("preview/energy", 1.0)
    table.play("preview/on", 0)
    assert not any(name.startswith("preview/e") for name in table.desk.all_values())
    table.play("preview/on", 1)
    assert table.desk.all_values()["preview/energy"] == 0


def test_a_log_has_what_was_taken_and_plays_it_again_without_a_preview(table, tmp_path):
    table.desk.log = log = ControlLog(tmp_path, table.desk.state)
    log.start(1000.0)
    table.play("preview/on", 1)
    table.play("preview/energy", 1.0)
    table.play("preview/pad/1", 0.5)
    table.play("preview/take", "cut")
    log.stop()
    rows = [row for row in read(parts(tmp_path)) if "to" in row]
    assert [row["to"] for row in rows] == ["preview/take"]
    box = Mailbox()
    try:
        desk = Desk(SHOW, box, ShowClock(120, now=1000), replaying=True)
        desk.deliver(ControlEvent(rows[0]["to"], tuple(rows[0]["args"]), 1000.0))
        assert (desk.read("energy"), desk.read("pad/1")) == (1.0, 0.5)
        desk.deliver(ControlEvent("preview/take", (0, json.dumps({"values": {"energy": "x", "tempo": 20}}))))
        desk.deliver(ControlEvent("preview/take", (0, "{")))
        assert desk.counts["refused"] == 2
        assert desk.read("tempo") == 120
    finally:
        box.unlink()


def test_a_show_file_sets_the_program_alone():
    with pytest.raises(ShowError, match="write pad/1"):
        Show.parse("values: {preview/pad/1: 1}")
    with pytest.raises(ShowError, match="modulator moves faders of the world"):
        Show.parse("modulators: [{to: preview/energy}]")
    assert Show.parse("midi: {map: [{cc: 1, to: preview/pad/1}]}").midi.map[0].to == "preview/pad/1"


FADERS = st.sampled_from([n for n, p in PARAMETERS.items() if p.kind in ("float", "bool", "int") and preview_name(n)])
MOVES = st.lists(st.tuples(FADERS, st.floats(-1, 2)), max_size=12)


@given(MOVES, MOVES)
def test_after_a_cut_the_program_is_the_preview_and_undo_and_back_return(prepared, meanwhile):
    table = Table()
    try:
        table.play("preview/on", 1)
        for n, (target, value) in enumerate(prepared):
            table.play(f"preview/{target}", value, at=1001.0 + n)
        for n, (target, value) in enumerate(meanwhile):
            table.play(target, value, at=1101.0 + n)
        before, wanted = values(table.desk), values(table.preview.desk)
        table.play("preview/take", 0, at=1200.0)
        assert values(table.desk) == wanted
        if wanted != before:  # undo passes over changes that make no difference
            table.play("undo", at=1202.0)
        assert values(table.desk) == before
        table.play("preview/take", 0, at=1204.0)
        table.play("preview/back", 0, at=1206.0)
        assert values(table.desk) == before
        assert values(table.preview.desk) == wanted
    finally:
        table.close()


def values(desk):
    return {n: v for n, v in desk.values.items() if preview_name(n) and n not in ("transition", "bank")}
