"""Cues that timecode fires: on time, each once, and the right state after a jump."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from timecode import Timecode
from worldjockey.integrations import ControlEvent, TimecodeFrame
from worldjockey.node.control.control_log import ControlLog, parts, read
from worldjockey.node.control.desk import Desk
from worldjockey.node.control.show_editor import ShowEditor
from worldjockey.node.ipc.mailbox import Mailbox
from worldjockey.node.show.schema import Show
from worldjockey.node.timing.show_clock import ShowClock

LATENCY_S = 0.05
SHOW = """
timecode: {source: mtc, rate: 25}
prompt: before
cues:
- {name: one, at: 01:00:10:00, prompt: first, values: {energy: 0.1}}
- {name: two, at: 01:00:11:00, values: {energy: 0.2, speed: 0.5}, seconds: 0.5}
- {name: three, at: 01:00:11:05, values: {energy: 0.3}}
- {name: hand, values: {energy: 0.9}}
- {name: "2", at: 01:00:20:00, values: {energy: 0.4}}
"""


class Rig:
    def __init__(self, text: str = SHOW, log: Path | None = None, replaying: bool = False) -> None:
        self.show, self.mailbox, self.now = Show.parse(text), Mailbox(), 100.0
        self.desk = Desk(self.show, self.mailbox, ShowClock(now=self.now), replaying=replaying)
        self.desk.latency = LATENCY_S
        self.fired: list[tuple[float, str, Any]] = []
        assert self.desk.timecode is not None
        self.timecode = self.desk.timecode
        self.log = ControlLog(log, self.desk.state) if log else None
        if self.log is not None:
            self.log.start(self.now)
            self.desk.log = self.log
        inner = self.timecode._fired
        self.timecode._fired = lambda control: (
            self.fired.append((self.now, control.target, control.args[0])),
            inner(control),
        )[1]

    def frame(self, seconds: float, rate: str = "25", located: bool = False) -> None:
        """seconds: since midnight, on a clock of another library."""
        label = Timecode(rate, frames=round(seconds * float(rate) if rate != "29.97" else seconds * 30000 / 1001) + 1)
        self.timecode.receive(
            TimecodeFrame(label.hrs, label.mins, label.secs, label.frs, 0.0, rate, self.now, located, "tape")
        )

    def play(self, begin: float, seconds: float, speed: float = 1.0, rate: str = "25") -> None:
        """Frames of a tape, and the desk's loop a hundred times a second."""
        fps = 30000 / 1001 if rate == "29.97" else float(rate)
        start, sent = self.now, -1
        while self.now < start + seconds:
            frame = int((self.now - start) * abs(speed) * fps + 1e-6)
            while sent < frame:
                sent += 1
                self.frame(begin + sent / fps * (1 if speed > 0 else -1), rate)
            self.desk.advance(self.now)
            self.now += 0.01

    def wait(self, seconds: float) -> None:
        for _ in range(round(seconds * 100)):
            self.desk.advance(self.now)
            self.now += 0.01

    def send(self, target: str, *args: Any) -> None:
        self.desk.deliver(ControlEvent(target, args, self.now, "test"))

    def close(self) -> None:
        if self.log is not None:
            self.log.stop()
        self.mailbox.unlink()


@pytest.fixture
def rig() -> Iterator[Rig]:
    found = Rig()
    yield found
    found.close()


def test_cues_are_fired_at_their_frames_early_by_the_latency_and_once(rig: Rig) -> None:
    rig.play(3600 + 9, 4)
    assert [what for _, _, what in rig.fired] == ["one", "two", "three"]
    for (at, _, _), cue in zip(rig.fired, (10, 11, 11.2), strict=True):
        assert at - 100 == pytest.approx(cue - 9 - LATENCY_S, abs=0.021)
    assert rig.desk.values["energy"] == 0.3
    assert rig.desk.values["prompt"] == "first"


@pytest.mark.parametrize("speed", [0.5, 2.0, 10.0])
def test_none_is_lost_or_doubled_at_another_speed(rig: Rig, speed: float) -> None:
    rig.play(3600 + 5, 17 / speed, speed)
    assert [what for _, _, what in rig.fired] == ["one", "two", "three", "2"]
    assert rig.desk.values["energy"] == 0.4


def test_a_jump_puts_the_show_into_the_state_of_the_cues_before_it_without_firing_them(rig: Rig) -> None:
    rig.play(3600 + 5, 1)
    rig.play(3600 + 15, 1)
    assert [(target, what) for _, target, what in rig.fired] == [("timecode/goto", 3615.0)]
    values = rig.desk.values
    assert (values["prompt"], values["energy"], values["speed"]) == ("first", 0.3, 0.5)
    assert len(rig.desk.player.ramps) == 0
    assert rig.desk.news()["cue"] == "three"
    rig.send("undo")
    assert rig.desk.values["prompt"] == "before"


def test_reverse_play_steps_back(rig: Rig) -> None:
    rig.play(3600 + 10.5, 2)
    assert rig.desk.values["energy"] == 0.3
    rig.play(3600 + 12.5, 1.9, -1)
    assert rig.desk.values["energy"] == 0.1
    assert rig.desk.news()["cue"] == "one"
    rig.play(3600 + 10.6, 2)
    assert rig.desk.values["energy"] == 0.3


def test_a_cue_of_the_performer_stays_until_the_next_one(rig: Rig) -> None:
    rig.play(3600 + 10.5, 1.5)
    rig.send("cue/go", "hand")
    rig.play(3600 + 12, 3)
    assert rig.desk.values["energy"] == 0.9
    rig.wait(5)  # the tape stops, and goes on from there
    rig.play(3600 + 15, 2)
    assert rig.desk.values["energy"] == 0.9
    rig.play(3600 + 17, 4)
    assert rig.desk.values["energy"] == 0.4


def test_stop_holds_and_the_freewheel_still_fires(rig: Rig) -> None:
    rig.play(3600 + 9, 1.5)
    rig.wait(30)
    assert [what for _, _, what in rig.fired] == ["one", "two", "three"]  # within the second of freewheel
    assert rig.timecode.status(rig.now)["state"] == "stopped"


def test_a_full_frame_scrubs_frame_by_frame(rig: Rig) -> None:
    for n in range(40):
        rig.frame(3600 + 9.2 + n / 25, located=True)
        rig.wait(0.02)
    assert [target for _, target, _ in rig.fired] == ["timecode/goto"]
    assert rig.desk.values["energy"] == 0.1
    rig.send("cue/go", "hand")
    rig.frame(3600 + 9.2 + 40 / 25, located=True)
    rig.wait(0.1)
    assert rig.desk.values["energy"] == 0.9


def test_chase_off_lets_the_performer_play_and_on_follows_again(rig: Rig) -> None:
    rig.play(3600 + 5, 1)
    rig.send("timecode/chase", False)
    rig.play(3600 + 6, 6)
    assert rig.fired == []
    rig.send("timecode/chase", True)
    rig.play(3600 + 12, 1)
    assert [target for _, target, _ in rig.fired] == ["timecode/goto"]
    assert rig.desk.values["energy"] == 0.3


def test_the_desk_scrubs_and_says_what_is_wrong(rig: Rig) -> None:
    rig.send("timecode/goto", "01:00:15:00")
    assert (rig.desk.values["prompt"], rig.desk.values["energy"]) == ("first", 0.3)
    assert rig.timecode.status(rig.now)["now"] == "01:00:15:00"
    rig.send("timecode/goto", 3610.5)
    assert rig.desk.values["energy"] == 0.1
    rig.send("timecode/goto", "01:00:15:77")
    assert "there is no frame 77 at 25 frames a second" in rig.desk.error
    rig.send("timecode/goto")
    assert "takes a timecode" in rig.desk.error


def test_a_scrub_while_timecode_runs_fires_nothing_in_between(rig: Rig) -> None:
    rig.play(3600 + 15, 1)
    rig.fired.clear()
    rig.send("timecode/goto", "01:00:05:00")
    rig.play(3600 + 16, 1)
    assert rig.fired == []


def test_another_rate_is_said_and_read_by_its_own_frames(rig: Rig) -> None:
    rig.play(3600 + 9, 1.5, rate="29.97")
    assert "sends 29.97 frames a second, and this show counts 25" in rig.timecode.status(rig.now)["message"]
    assert [what for _, _, what in rig.fired] == ["one"]
    assert rig.fired[0][0] - 100 == pytest.approx(1 - LATENCY_S, abs=0.03)


def test_the_own_timecode_runs_stops_and_is_sent() -> None:
    rig = Rig(SHOW.replace("source: mtc", 'source: internal, start: "01:00:09:00"'))
    sent: list[tuple[float, float, float]] = []
    rig.timecode.send = lambda *line: sent.append(line)
    try:
        rig.wait(1.5)
        assert [what for _, _, what in rig.fired] == ["one"]
        rig.send("timecode/run", False)
        rig.wait(3)
        assert [what for _, _, what in rig.fired] == ["one"]
        assert sent[0] == (100.0, 3609.0, 1.0)
        assert sent[-1][2] == 0
        assert len(sent) < 10  # what has not changed is not sent again
        rig.send("timecode/goto", "01:00:10:20")
        rig.send("timecode/run", True)
        rig.wait(1)
        assert [what for _, _, what in rig.fired] == ["one", "two", "three"]
    finally:
        rig.close()


def test_offset_moves_what_comes_in() -> None:
    rig = Rig(SHOW.replace("rate: 25", 'rate: 25, offset: "01:00:00:00"'))
    try:
        rig.play(9, 2.5)
        assert [what for _, _, what in rig.fired] == ["one", "two", "three"]
    finally:
        rig.close()


def test_a_log_plays_the_same_again(tmp_path: Path) -> None:
    rig, values = Rig(log=tmp_path), []
    rig.play(3600 + 9, 2.5)
    rig.play(3600 + 30, 1)
    rig.play(3600 + 10.5, 1)
    rig.close()
    values = {name: rig.desk.values[name] for name in ("prompt", "energy", "speed")}
    again = Rig(replaying=True)
    try:
        rows = list(read(parts(tmp_path)))
        fired = [(row["to"], row["args"]) for row in rows if row.get("from") == "timecode"]
        assert [to for to, _ in fired].count("timecode/goto") == 2
        again.desk.restore(rows[0], rows[0]["t"])
        for row in rows[1:]:
            if "to" in row:
                again.desk.advance(row["t"])
                again.desk.deliver(ControlEvent(row["to"], tuple(row["args"]), row["t"], row["from"]))
        again.desk.advance(rows[-1]["t"] + 2)
        assert {name: again.desk.values[name] for name in values} == values
        assert again.desk.news()["cue"] == rig.desk.news()["cue"]
    finally:
        again.close()


def test_stamp_writes_the_present_time_into_the_cue_and_the_file(tmp_path: Path) -> None:
    rig, file = Rig(), tmp_path / "show.yaml"
    file.write_text(SHOW)
    try:
        rig.send("timecode/goto", "01:00:15:07")
        editor = ShowEditor(rig.desk, file, tmp_path)
        editor.start()
        try:
            assert editor.stamp_cue(3, "hand") == {"at": "01:00:15:07"}
            assert rig.show.cues[3].at == "01:00:15:07"
            with pytest.raises(ValueError, match="there is no frame 30"):
                editor.edit_cue(3, {"at": "01:00:15:30"})
        finally:
            editor.stop()
        assert Show.load(file).cues[3].at == "01:00:15:07"
        rig.play(3600 + 14.5, 1.5)
        assert rig.desk.values["energy"] == 0.9
    finally:
        rig.close()


def test_a_show_without_timecode_says_so() -> None:
    show, mailbox = Show.parse("cues: [{name: a, at: 5}]"), Mailbox()
    try:
        desk = Desk(show, mailbox)
        desk.deliver(ControlEvent("timecode/goto", (5,), 1.0, "test"))
        assert "this show follows no timecode" in desk.error
    finally:
        mailbox.unlink()
