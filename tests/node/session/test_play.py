"""A whole show, with the testcard in the world's place: what the audience sees while things go wrong."""

from __future__ import annotations

import itertools
import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
from package import describe
from PIL import Image
from play_command import headless
from worldjockey.integrations import ControlEvent, Deliver
from worldjockey.model.spec import ACTS
from worldjockey.node.ipc import log_file
from worldjockey.node.measure.show_process import free_port
from worldjockey.node.output.worker import OutputSpec
from worldjockey.node.session import play as playing
from worldjockey.node.session import preview_bus, status_line, stills
from worldjockey.node.session.inputs import stills_folder
from worldjockey.node.session.options import PlayOptions
from worldjockey.node.session.report import Report
from worldjockey.node.session.requests import Requests
from worldjockey.node.show.schema import Show

pytestmark = pytest.mark.slow

PEERS = Path(__file__).parents[2] / "peers"
RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)
GREY = (128, 128, 128)
GAP = 20  # ticks in a row, which a busy machine may cost; who waits for a stuck neighbour waits for more
Frames = list[tuple[int, tuple[int, ...]]]


class Hand:
    """An input that the test plays."""

    def __init__(self) -> None:
        self.feedback_values: dict[str, list[Any]] = {}
        self.stopped = False
        self.error = ""

    def start(self, deliver: Deliver) -> None:
        self._deliver = deliver

    def play(self, target: str, *args: Any) -> None:
        self._deliver(ControlEvent(target, args, time.monotonic(), "the test"))

    def feedback(self, target: str, value: Any) -> None:
        self.feedback_values.setdefault(target, []).append(value)

    def status(self) -> Mapping[str, Any]:
        return {"error": self.error}

    def stop(self) -> None:
        self.stopped = True


class Stage:
    """Plays a show in this process while `scenario` runs beside it; the scenario's end is a Ctrl-C."""

    def __init__(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.hand, self.folder, self._patch = Hand(), tmp_path, monkeypatch
        monkeypatch.syspath_prepend(str(PEERS))  # spawned processes get it too
        monkeypatch.setattr(playing, "inputs_of", lambda show, desk, on_audio, folder: {"test": self.hand})
        self.specs: list[OutputSpec] = []
        self.keep: Path | None = None

    def output(self, name: str, kind: str = "Recorder") -> None:
        path = str(self.folder / name)
        self.specs.append(OutputSpec(name, f"recorder:{kind}", "rgba", 0, {"path": path}))

    def frames(self, name: str) -> Frames:
        path = self.folder / name
        lines = path.read_text().split("\n")[:-1] if path.exists() else []
        return [(tick, tuple(colour[:3])) for tick, colour in map(json.loads, lines)]

    def shows(self, colour: tuple[int, ...], name: str = "audience") -> bool:
        frames = self.frames(name)
        return bool(frames) and max(abs(a - b) for a, b in zip(frames[-1][1], colour, strict=True)) <= 4

    def play(self, show: Show, scenario: Callable[[], None], interrupt: bool = True) -> Report:
        self._patch.setattr(playing, "output_specs", lambda entries: self.specs)
        errors: list[BaseException] = []

        def run() -> None:
            try:
                scenario()
            except BaseException as error:
                errors.append(error)
            if interrupt:
                os.kill(os.getpid(), signal.SIGINT)

        beside = threading.Thread(target=run)
        beside.start()
        report = playing.play(show, PlayOptions(headless=True, report=self.folder / "report.json", keep=self.keep))
        beside.join()
        if errors:
            raise errors[0]
        assert not multiprocessing.active_children()
        assert self.hand.stopped
        return report


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stage:
    return Stage(tmp_path, monkeypatch)


def show(**lines: Any) -> Show:
    osc, midi = {"enabled": False}, {"enabled": False}
    base = {"model": "testcard", "size": "640x360", "fps": 20, "prompt": "#ff0000", "osc": osc, "midi": midi}
    return Show.model_validate({**base, "outputs": [], **lines})


def longest_gap(frames: Frames) -> int:
    """In ticks. The clock sends every one; an output's own process may be late to wake on a busy machine."""
    ticks = [tick for tick, _ in frames]
    assert ticks == sorted(set(ticks)), "each once, in order"
    return max(later - tick for tick, later in itertools.pairwise(ticks))


def pid_of(name: str) -> int:
    (pid,) = [child.pid for child in multiprocessing.active_children() if child.name == f"wj {name}"] or [0]
    return pid or 0


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def test_a_killed_world_comes_back_and_the_audience_does_not_notice(
    stage: Stage, wait_for: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    stage.output("audience")
    killed_at = back_at = 0

    def scenario() -> None:
        nonlocal killed_at, back_at
        wait_for(lambda: stage.shows(RED), what="the show's own prompt")
        stage.hand.play("prompt", "#00ff00", 0.0)
        wait_for(lambda: stage.shows(GREEN), what="the prompt played")
        first = pid_of("world")
        os.kill(first, signal.SIGKILL)
        killed_at = stage.frames("audience")[-1][0]
        wait_for(lambda: pid_of("world") not in (0, first), what="another world")
        stage.hand.play("pad/1/text", "#0000ff")
        stage.hand.play("pad/1", 1.0)
        wait_for(lambda: stage.shows(BLUE), what="the new world's first change")
        back_at = stage.frames("audience")[-1][0]

    report = stage.play(show(), scenario)
    frames = stage.frames("audience")
    assert report.missed <= report.frames_sent // 4, "a busy machine costs some, and a clock that waits most"
    assert longest_gap(frames) < GAP
    between = [colour for tick, colour in frames if killed_at < tick <= back_at]
    assert all(colour[0] <= 4 for colour in between), "neither the first prompt, nor standby, nor white"
    assert all(colour[1] + colour[2] >= 240 for colour in between), "never black"
    assert report.restarts == 1
    assert "killed (signal 9)" in report.events[0]
    assert "killed (signal 9)" in capsys.readouterr().err
    assert json.loads((stage.folder / "report.json").read_text())["restarts"] == 1


def test_what_is_played_reaches_the_frame_and_the_report(stage: Stage, wait_for: Callable[..., None]) -> None:
    stage.output("audience")

    def scenario() -> None:
        wait_for(lambda: stage.shows(RED), what="the show's own prompt")
        for i in range(10_000):
            stage.hand.play("pad/1", (i % 100) / 200)
        stage.hand.play("pad/1", 1.0)
        wait_for(lambda: stage.shows(WHITE), what="the flood's last value")
        stage.hand.play("cue/go", "sea")
        wait_for(lambda: stage.shows(BLUE), what="the cue")
        stage.hand.play("blackout", 1)
        wait_for(lambda: stage.shows((0, 0, 0)), what="blackout")
        stage.hand.play("panic")
        wait_for(lambda: stage.shows(BLUE), what="panic")
        stage.hand.play("freeze", 1)
        frozen = len(stage.frames("audience"))
        wait_for(lambda: len(stage.frames("audience")) > frozen + 2, what="the clock to obey")
        stage.hand.play("prompt", "#ff0000", 0)
        frozen = len(stage.frames("audience"))
        wait_for(lambda: len(stage.frames("audience")) > frozen + 10)
        assert stage.shows(BLUE), "frozen"
        stage.hand.play("freeze", 0)
        wait_for(lambda: stage.shows(RED), what="the prompt said while frozen")
        stage.hand.play("pad/99", 1)
        stage.hand.play("cam/yaw", "left")

    cue = {"name": "sea", "prompt": "#0000ff", "pads": {}, "values": {"energy": 0.5}, "seconds": 0.2}
    report = stage.play(show(pads=["#ffffff"], cues=[cue], values={"transition": 0.1}), scenario)
    values = stage.hand.feedback_values
    assert values["pad/1"][-1] == 0
    assert max(values["energy"]) > 0, "the cue raises it"
    assert values["energy"][-1] == 0, "panic puts it back"
    assert len(values["pad/1"]) < 5000, "feedback is thinned out"
    assert report.controls["refused"] == 2
    assert "cam/yaw" in report.controls["last error"]
    assert report.frames_sent >= len(stage.frames("audience")) > 20
    assert report.fresh + report.between + report.repeated == report.frames_sent
    assert report.world["fps"] > 0
    assert report.latency_ms["count"] > 3
    assert 0 < report.latency_ms["p50"] <= report.latency_ms["p95"]
    assert report.node_cpu_ms > 0
    assert report.outputs["audience"]["sent"] > 20


def test_a_live_picture_is_shown_by_its_strength_in_a_new_world_too(
    stage: Stage, wait_for: Callable[..., None]
) -> None:
    stage.output("audience")
    path = stage.folder / "clip.mp4"
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=25, options={"crf": "1"})
        stream.width, stream.height, stream.pix_fmt = 320, 180, "yuv420p"
        for packet in [
            p
            for _ in range(8)
            for p in stream.encode(av.VideoFrame.from_ndarray(np.full((180, 320, 3), 128, np.uint8)))
        ]:
            out.mux(packet)
        for packet in stream.encode(None):
            out.mux(packet)

    def scenario() -> None:
        wait_for(lambda: stage.shows((191, 64, 64)), what="half of each, as a show with a live picture opens")
        stage.hand.play("live/strength", 1.0)
        wait_for(lambda: stage.shows(GREY), what="the live picture")
        stage.hand.play("live/strength", 0.0)
        wait_for(lambda: stage.shows(RED), what="the world alone")
        stage.hand.play("live/look", 1.0)
        wait_for(lambda: stage.shows(GREY), what="the world that the picture asks for")
        first = pid_of("world")
        os.kill(first, signal.SIGKILL)
        wait_for(lambda: pid_of("world") not in (0, first), what="another world")
        stage.hand.play("live/look", 0.0)
        wait_for(lambda: stage.shows(RED), what="the new world alone")
        stage.hand.play("live/strength", 1.0)
        wait_for(lambda: stage.shows(GREY), what="the live picture in the new world")

    report = stage.play(show(live={"file": str(path)}), scenario)
    assert report.live["pictures"] > 8
    assert report.live["restarts"] == 0


def test_a_killed_clock_goes_on_where_it_was(stage: Stage, wait_for: Callable[..., None]) -> None:
    stage.output("audience")

    def scenario() -> None:
        wait_for(lambda: stage.shows(RED), what="the show's own prompt")
        wait_for(lambda: stage.hand.feedback_values.get("status/frames", [0])[-1] > 40)
        os.kill(pid_of("clock"), signal.SIGKILL)
        sent = len(stage.frames("audience"))
        wait_for(lambda: len(stage.frames("audience")) > sent + 10, what="the clock after the clock")

    report = stage.play(show(), scenario)
    frames = stage.frames("audience")
    longest_gap(frames)  # ticks went on counting
    assert report.frames_sent + report.missed > frames[-1][0], "and so did the counts"
    assert report.fresh + report.between + report.repeated > 40
    assert stage.hand.feedback_values["status/frames"] == sorted(stage.hand.feedback_values["status/frames"])
    started = next(i for i, (_, colour) in enumerate(frames) if colour[0] > 250)
    assert all(colour[0] > 250 for _, colour in frames[started:]), "no standby in between"
    assert report.outputs["audience"]["restarts"] == 0
    assert any(event.startswith("clock was killed") for event in report.events)


def test_the_audiences_code_lies_on_the_picture_while_it_is_wanted_also_after_its_drawing_process_died(
    stage: Stage, wait_for: Callable[..., None]
) -> None:
    stage.output("scaled", "Newest")
    options = [{"label": name, "do": f"act/{name}"} for name in ("dance", "jump")]
    way = {"name": "way", "question": "Where?", "options": options, "lasts": "600 s"}
    crowd = {"port": free_port(), "polls": [way]}

    def picture() -> np.ndarray:
        path = stage.folder / "scaled"
        return np.load(path) if path.exists() and path.stat().st_size else np.zeros((360, 640, 4), np.uint8)

    def code() -> str:
        return str(cv2.QRCodeDetector().detectAndDecode(np.ascontiguousarray(picture()[..., :3]))[0])

    def plain_red() -> bool:
        return bool((np.abs(picture()[..., :3].astype(int) - RED).max(-1) <= 8).mean() > 0.9)

    def scenario() -> None:
        wait_for(plain_red, what="the world alone")
        stage.hand.play("crowd/code", "corner")
        wait_for(lambda: code().startswith("http://127.0.0.1:"), what="the code")
        stage.hand.play("crowd/code", "off")
        wait_for(plain_red, what="the world alone again")
        stage.hand.play("crowd/open", 1)
        stage.hand.play("crowd/poll", "way")
        stage.hand.play("crowd/bars", 1)
        wait_for(lambda: picture()[340, 40:200, :3].max() < 60, what="the poll's dark card")
        killed = pid_of("overlay")
        os.kill(killed, signal.SIGKILL)
        wait_for(lambda: pid_of("overlay") not in (0, killed), what="another drawing process")
        stage.hand.play("crowd/code", "large")
        wait_for(code, what="the code, drawn by the new process")
        stage.hand.play("blackout", 1.0)
        wait_for(lambda: picture()[..., :3].max() == 0, what="nothing over a blackout")

    report = stage.play(show(crowd=crowd), scenario)
    assert report.missed <= report.frames_sent // 4
    assert any("overlay was killed" in event for event in report.events)


def test_closing_the_last_window_ends_the_show(stage: Stage) -> None:
    stage.output("window", "Closed")
    report = stage.play(show(), lambda: None, interrupt=False)
    assert report.outputs["window"]["state"] == "closed"
    assert report.outputs["window"]["restarts"] == 0


def test_an_output_that_is_never_to_be_does_not_keep_a_closed_show_open(stage: Stage) -> None:
    stage.output("window", "Closed")
    stage.output("foreign", "Foreign")
    report = stage.play(show(), lambda: None, interrupt=False)
    assert {name: output["state"] for name, output in report.outputs.items()} == {
        "window": "closed", "foreign": "unsuitable",
    }  # fmt: skip


def test_a_world_that_cannot_be_opened_is_one_clear_error(stage: Stage) -> None:
    with pytest.raises(RuntimeError, match="unknown world 'nanno'"):
        stage.play(show(model="nanno"), lambda: None, interrupt=False)
    assert not multiprocessing.active_children()


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads /proc")
def test_no_process_outlives_a_killed_control(tmp_path: Path, wait_for: Callable[..., None]) -> None:
    out = ["--size", "640x360", "--out", f"file:{tmp_path / 'clip.mkv'}"]
    control = subprocess.Popen(headless(*out), stderr=subprocess.PIPE)
    children = Path(f"/proc/{control.pid}/task/{control.pid}/children")
    wait_for(lambda: (tmp_path / "clip.mkv").exists(), what="the show to play")
    wait_for(lambda: len(children.read_text().split()) >= 4, what="world, clock, output and the resource tracker")
    pids = [int(pid) for pid in children.read_text().split()]
    control.kill()
    control.communicate()
    wait_for(lambda: all(map(gone, pids)), what="every child to end")
    assert (tmp_path / "clip.mkv").stat().st_size > 0


def test_the_error_of_a_stream_without_a_receiver_is_in_the_status_line() -> None:
    facts = {"url": "rtmp://x/live", "error": "rtmp://x/live: does not answer", "watched": False}
    outputs = {"stream": {"state": "running", "facts": facts}, "ndi": {"state": "running", "facts": {"connections": 1}}}
    assert status_line.delivery_errors(outputs) == ["stream: rtmp://x/live: does not answer"]
    assert "stream running rtmp://x/live (rtmp://x/live: does not answer)" in status_line.line({}, {}, outputs)
    assert status_line.delivery_errors({"stream": {"state": "restarting", "facts": facts}}) == []


def test_an_input_whose_feedback_fails_is_reported_once(
    stage: Stage, wait_for: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    stage.output("audience")

    def fail(target: str, value: Any) -> None:
        raise RuntimeError("the motor is stuck")

    def scenario() -> None:
        stage.hand.feedback = fail  # type: ignore[method-assign]
        wait_for(lambda: stage.shows(RED), what="the show's own prompt")
        stage.hand.play("prompt", "#00ff00", 0.0)
        wait_for(lambda: stage.shows(GREEN), what="the prompt played")

    report = stage.play(show(), scenario)
    assert report.controls["errors"] == ["feedback to test: the motor is stuck"]
    assert report.controls["survived"] > 1
    assert capsys.readouterr().err.count("the motor is stuck; the rest goes on") == 1


def test_a_stuck_or_missing_output_disturbs_no_other(
    stage: Stage, wait_for: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    stage.output("audience")
    stage.output("stuck", "Stuck")
    stage.output("missing", "Unopened")
    stage.output("foreign", "Foreign")
    other = "spout:SpoutOutput" if sys.platform == "darwin" else "syphon:SyphonOutput"
    stage.specs.append(OutputSpec("rig", f"worldjockey.integrations.{other}", "native", 0))

    shown: list[str] = []

    def told() -> bool:
        shown.append(capsys.readouterr().err)
        text = " ".join("".join(shown).split())
        return all(words in text for words in ("missing failed", "foreign cannot work here", "rig cannot work here"))

    def scenario() -> None:
        wait_for(lambda: len(stage.frames("stuck")) > 12, what="the stuck output to be opened again")
        wait_for(told, what="a word of each of the others")

    report = stage.play(show(), scenario)
    assert report.missed <= report.frames_sent // 4, "a busy machine costs some, and a clock that waits most"
    assert longest_gap(stage.frames("audience")) < GAP
    assert report.outputs["stuck"]["restarts"] >= 1
    assert "stuck did not respond for 4 s" in report.events
    assert report.outputs["missing"]["restarts"] >= 1
    assert "missing failed: there is no such device: plug it in" in report.events
    assert report.outputs["missing"]["state"] != "unsuitable", "it may still be plugged in"
    assert (report.outputs["foreign"]["restarts"], report.outputs["rig"]["restarts"]) == (1, 1), "tried once more"
    assert report.outputs["foreign"]["state"] == report.outputs["rig"]["state"] == "unsuitable"
    assert report.outputs["foreign"]["message"] == "this is another system's: use that system"
    assert "only: use" in report.outputs["rig"]["message"]
    printed = " ".join(("".join(shown) + capsys.readouterr().err).split())
    assert printed.count("foreign cannot work here: this is another system's: use that system; playing on without") == 1


def test_the_traceback_of_an_output_that_fails_is_in_the_log(
    stage: Stage, wait_for: Callable[..., None], capfd: pytest.CaptureFixture[str]
) -> None:
    stage.output("audience")
    stage.output("mistaken", "Mistaken")
    path, written = stage.folder / "run.log", list[str]()

    def told() -> bool:
        written.append(capfd.readouterr().err)
        return "mistaken failed" in "".join(written)

    def scenario() -> None:
        wait_for(told, what="a word of it")
        wait_for(lambda: path.read_text().count("KeyError: 'place'") >= 1, what="the output's error")
        wait_for(lambda: stage.shows(RED), what="the show's own prompt")
        os.kill(pid_of("world"), signal.SIGKILL)
        wait_for(lambda: "was killed by SIGKILL" in path.read_text(), what="the word of the killed world")

    with log_file.run_log(path):
        stage.play(show(), scenario)
    text = path.read_text()
    assert "wj mistaken worldjockey.node.output.worker ERROR output mistaken failed\nTraceback" in text
    assert 'raise KeyError("place")' in text
    shown = "".join(written) + capfd.readouterr().err
    assert "Traceback" not in shown
    (line,) = [line for line in shown.splitlines() if "mistaken failed" in line][:1]
    assert line == f"wj: mistaken failed: KeyError: 'place'; starting it again (details: {path})"


def test_refused_controls_and_errors_of_inputs_are_shown_while_the_show_plays(
    stage: Stage, wait_for: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    stage.output("audience")
    lines = (
        "not obeyed: the test: there is no parameter 'pad/99'",
        "not obeyed: the test: energy takes a number, not 'loud'",
        "test: the device is unplugged: plug it in",
    )
    written: list[str] = []

    def told() -> bool:
        written.append(capsys.readouterr().err)
        return all(line in "".join(written) for line in lines)

    def scenario() -> None:
        wait_for(lambda: stage.shows(RED), what="the show's own prompt")
        for _ in range(200):
            stage.hand.play("pad/99", 1.0)
        stage.hand.play("energy", "loud")
        stage.hand.error = "the device is unplugged: plug it in"
        wait_for(
            lambda: stage.hand.feedback_values.get("status/refused", [0])[-1] == 201, what="a count for controllers"
        )
        wait_for(told, what="a line of each")
        time.sleep(1)  # each line comes half a second after the one before: none comes twice

    report = stage.play(show(), scenario)
    shown = "".join(written) + capsys.readouterr().err
    assert [shown.count(line) for line in lines] == [1, 1, 1]
    assert report.controls["refused"] == 201


def test_a_terminal_that_closes_ends_the_show_as_ctrl_c_does(stage: Stage, wait_for: Callable[..., None]) -> None:
    stage.output("audience")

    def scenario() -> None:
        wait_for(lambda: stage.shows(RED), what="the show's own prompt")
        os.kill(os.getpid(), signal.SIGHUP)
        os.kill(os.getpid(), signal.SIGHUP)  # shells send more than one

    report = stage.play(show(), scenario, interrupt=False)
    assert report.outputs["audience"]["state"] == "closed"
    assert report.frames_sent > 0


def test_snapshots_that_cannot_be_written_are_shown(
    stage: Stage, wait_for: Callable[..., None], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    stage.output("audience")
    folder = stage.folder / "looks"
    folder.mkdir()
    monkeypatch.setattr(stage, "keep", folder / "looks.yaml")

    def scenario() -> None:
        wait_for(lambda: stage.shows(RED), what="the show's own prompt")
        shutil.rmtree(folder)  # the stick was pulled out
        stage.hand.play("snapshot/save", "one")
        wait_for(lambda: "snapshots: " in capsys.readouterr().err, what="a word of it")

    report = stage.play(show(), scenario)
    assert "error" in report.controls["snapshots"]


def test_what_was_prepared_is_fed_back_by_its_own_name_and_taken_to_the_frame(
    stage: Stage, wait_for: Callable[..., None]
) -> None:
    stage.output("audience")

    def scenario() -> None:
        wait_for(lambda: stage.shows(RED), what="the show's own prompt")
        stage.hand.play("preview/on", 1)
        stage.hand.play("preview/prompt", "#00ff00")
        wait_for(lambda: stage.hand.feedback_values.get("preview/prompt", [""])[-1] == "#00ff00")
        assert stage.shows(RED)
        stage.hand.play("preview/take", "cut")
        wait_for(lambda: stage.shows(GREEN), what="what was prepared")
        stage.hand.play("preview/back", "cut")
        wait_for(lambda: stage.shows(RED), what="what was there before")

    stage.play(show(), scenario)


def test_a_preview_shows_what_is_prepared_and_its_death_costs_the_program_nothing(
    stage: Stage, wait_for: Callable[..., None]
) -> None:
    stage.output("audience")
    stage.output("desk")
    stage.specs[-1] = replace(stage.specs[-1], bus="preview")

    def scenario() -> None:
        wait_for(lambda: stage.shows(RED), what="the show's own prompt")
        stage.hand.play("pad/1/text", "#00ff00")
        assert pid_of("preview world") == 0, "closed, it costs nothing"
        stage.hand.play("preview/on", 1)
        wait_for(lambda: stage.shows(RED, "desk"), what="the program's picture on the preview")
        stage.hand.play("preview/pad/1", 1.0)
        wait_for(lambda: stage.shows(GREEN, "desk"), what="what is prepared")
        assert stage.shows(RED)
        first = pid_of("preview world")
        os.kill(first, signal.SIGKILL)
        wait_for(lambda: pid_of("preview world") not in (0, first), what="another preview world")
        stage.hand.play("preview/prompt", "#0000ff", 0.0)
        stage.hand.play("preview/pad/1", 0.0)
        wait_for(lambda: stage.shows(BLUE, "desk"), what="the new world has what was prepared")
        stage.hand.play("preview/take", "cut")
        wait_for(lambda: stage.shows(BLUE), what="the take")
        stage.hand.play("preview/on", 0)
        wait_for(lambda: not any(map(pid_of, ("preview world", "preview clock", "desk"))), what="the end of it")

    report = stage.play(show(), scenario)
    assert report.missed <= report.frames_sent // 4, "a busy machine costs some, and a clock that waits most"
    assert longest_gap(stage.frames("audience")) < GAP
    assert report.restarts == 0
    assert not any(colour == GREEN for _, colour in stage.frames("audience"))


def test_stills_are_drawn_and_prompts_read_beside_a_show_whose_preview_is_closed(
    stage: Stage, wait_for: Callable[..., None], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    requests = Requests()
    monkeypatch.setattr(playing, "Requests", lambda: requests)
    monkeypatch.setattr(preview_bus, "IDLE_S", 1.0)
    monkeypatch.setattr(stills, "IDLE_S", 1.0)
    made: list[stills.Stills] = []
    monkeypatch.setattr(playing, "Stills", lambda *args: made.append(stills.Stills(*args)) or made[0])
    stage.output("audience")

    def color(url: str) -> tuple[int, ...]:
        with Image.open(stills_folder() / url.removeprefix("/stills/")) as image:
            return image.convert("RGB").getpixel((10, 10))  # type: ignore[return-value]

    def scenario() -> None:
        wait_for(lambda: stage.shows(RED), what="the show's own prompt")
        read = requests.answer({"do": "prompt/read", "text": "blue"})
        assert (read["understood"], read["words"][0]["word"]) == (1.0, "blue")
        assert requests.answer({"do": "stills/pads", "bank": 1, "draw": False}) == {"stills": {}}
        assert made[0].status()["waiting"] == 0, "nothing is drawn for who only looks"
        assert requests.answer({"do": "stills/pads", "bank": 1}) == {"stills": {}}
        wait_for(lambda: len(made[0].status()["pads"]) == 2, 120, "the stills of both pads")
        found = requests.answer({"do": "stills/pads", "bank": 1})["stills"]
        assert found == made[0].status()["pads"]
        assert [color(found[pad])[1] > 250 for pad in ("1", "3")] == [True, False]
        asked = requests.answer({"do": "stills/try", "attribute": "act"})["id"]

        def row() -> dict[str, Any]:
            return made[0].status()["try"] or {}

        wait_for(lambda: row().get("id") == asked and row()["done"], 120, "the row of acts")
        assert [item["controls"] for item in row()["items"]] == [{"act": act} for act in ACTS]
        assert all(color(item["url"])[0] > 240 for item in row()["items"]), "from what the program shows"
        with pytest.raises(ValueError, match="there is act"):
            requests.answer({"do": "stills/try", "attribute": "light"})
        wait_for(lambda: pid_of("preview world") == 0, what="the end of a world that nobody needs")

    report = stage.play(show(pads=["#00ff00", "", "#0000ff"]), scenario)
    assert report.missed <= report.frames_sent // 4, "a busy machine costs some, and a clock that waits most"


def test_nanos_preview_goes_on_from_what_the_program_remembers_and_its_take_is_seen(
    stage: Stage, wait_for: Callable[..., None]
) -> None:
    stage.output("audience")
    stage.output("desk")
    stage.specs[-1] = replace(stage.specs[-1], bus="preview")

    def mean(name: str) -> np.ndarray:
        return np.mean([colour for _, colour in stage.frames(name)[-10:]] or [[0, 0, 0]], axis=0)

    def alike(limit: float) -> bool:
        return len(stage.frames("desk")) > 20 and float(np.abs(mean("audience") - mean("desk")).max()) < limit

    def scenario() -> None:
        wait_for(lambda: mean("audience").min() > 60, 90, "a bright desert")
        bright = mean("audience")
        stage.hand.play("prompt", "a dark volcano at night, menacing", 0.0)
        wait_for(lambda: mean("audience").mean() < bright.mean() / 2, 90, "a dark volcano")
        stage.hand.play("prompt", "", 0.0)  # no prompt names the volcano any more: the world remembers it
        stage.hand.play("preview/on", 1)
        wait_for(lambda: alike(20), 90, "the same volcano on the preview")
        dark = mean("audience")
        stage.hand.play("preview/prompt", "a desert at noon", 0.0)
        wait_for(lambda: mean("desk").mean() > 2 * dark.mean(), 90, "the desert on the preview")
        assert mean("audience").mean() < bright.mean() / 2
        stage.hand.play("preview/take", "cut")
        wait_for(lambda: alike(20) and mean("audience").mean() > 2 * dark.mean(), 90, "the desert on the program")

    bright = {"model": "nano:runtime=torch,size=small", "prompt": "a desert at noon"}
    assert stage.play(show(**bright), scenario).restarts == 0


def test_a_preview_rests_while_the_programs_world_needs_the_machine(
    stage: Stage, wait_for: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    buses: list[preview_bus.PreviewBus] = []
    monkeypatch.setattr(playing, "Stills", lambda *args: buses.append(args[1]) or stills.Stills(*args))
    stage.output("audience")

    def state(wanted: str) -> bool:
        return bool(buses[0].status()["state"] == wanted)

    def scenario() -> None:
        wait_for(lambda: stage.shows(RED), what="the show's own prompt")
        assert state("off")
        stage.hand.play("preview/on", 1)
        wait_for(lambda: state("running"), what="the preview")
        world = pid_of("world")
        os.kill(world, signal.SIGSTOP)
        try:
            wait_for(lambda: state("resting"), what="a preview that gives way")
            assert buses[0].status()["message"] == "resting: the program needs the machine"
        finally:
            os.kill(world, signal.SIGCONT)
        wait_for(lambda: state("running") and buses[0].status()["fps"] > 0, what="the preview again")

    assert stage.play(show(), scenario).restarts == 0


def test_a_world_too_large_for_two_plays_without_a_preview(
    stage: Stage, wait_for: Callable[..., None], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    plugin = tmp_path / "plugin"
    describe(plugin, "wj-huge", huge="wj_huge:HUGE")
    (plugin / "wj_huge.py").write_text(
        "from worldjockey.model.registry import WorldEntry\nfrom worldjockey.model.worlds.testcard import TestCard\n"
        "HUGE = WorldEntry('huge', lambda opening: TestCard(), memory=1e6)\n"
    )
    monkeypatch.syspath_prepend(str(plugin))
    monkeypatch.setenv("PYTHONPATH", str(plugin), prepend=os.pathsep)
    buses: list[preview_bus.PreviewBus] = []
    monkeypatch.setattr(playing, "Stills", lambda *args: buses.append(args[1]) or stills.Stills(*args))
    stage.output("audience")

    def scenario() -> None:
        wait_for(lambda: stage.shows(RED), what="the show's own prompt")
        stage.hand.play("preview/on", 1)
        wait_for(lambda: buses[0].status()["state"] == "too large", 120, "that it is too large")
        assert "two worlds of this size have no room here" in buses[0].status()["message"]
        stage.hand.play("preview/prompt", "#00ff00")
        stage.hand.play("preview/take", "cut")  # blind
        wait_for(lambda: stage.shows(GREEN), what="what was prepared blind")

    assert stage.play(show(model="huge"), scenario).restarts == 0
