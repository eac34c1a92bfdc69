"""The control log: nothing that is played waits for it, and the same log is the same frames again."""

import errno
import hashlib
import json
import subprocess
import sys
import threading
import time
from pathlib import Path

import av
import numpy as np
import pytest
from typer.testing import CliRunner
from worldjockey.integrations import ControlEvent
from worldjockey.model import load
from worldjockey.node.cli.app import app
from worldjockey.node.control import control_log as logs
from worldjockey.node.control.control_log import ControlLog, parts, read
from worldjockey.node.control.desk import Desk
from worldjockey.node.ipc.mailbox import Mailbox
from worldjockey.node.session.render import duration, frames, render
from worldjockey.node.show.schema import Show
from worldjockey.node.timing.show_clock import ShowClock

pytestmark = pytest.mark.slow

SHOW = Show.parse("""
model: testcard
size: 128x72
fps: 30
prompt: "#ff0000"
pads: ["#0000ff"]
quantise: bar
values: {transition: 0}
modulators: [{shape: square, beats: 1, depth: 0.4, to: blackout}]
cues: [{name: green, prompt: "#00ff00", transition: 1 beat}, {name: blue, pads: {1: 1}, transition: 2 beats}]
""")


@pytest.fixture
def desk():
    box = Mailbox()
    yield Desk(SHOW, box, ShowClock(120, now=1000.0))
    box.unlink()


def play(desk, folder, **options):
    """A minute's playing in a moment: six seconds of virtual time."""
    log = ControlLog(folder, desk.state, **options)
    log.start(1000.0)
    desk.log = log

    def send(at, target, *args, **meta):
        desk.deliver(ControlEvent(target, args, at, "the test", meta))

    for n in range(600):
        now = 1000 + n / 100
        if n == 50:
            send(now, "cue/go")
        if n == 260:
            send(now, "cue/go", "blue")
        if 100 <= n < 140:
            send(now, "speed", n / 70)
        if n == 300:
            send(now, "speed", 0.25, relative=True)
        if n == 400:
            send(now, "tempo", 140)
        if n == 500:
            send(now, "undo")
        desk.advance(now)
    log.stop()
    return log


def digest(show, log, seconds=6.0):
    hashed = hashlib.sha256()
    for picture in frames(show, log, load("testcard"), seconds):
        hashed.update(picture.tobytes())
    return hashed.hexdigest()


def test_every_obeyed_control_is_there_with_its_time_and_no_other(desk, tmp_path):
    log = play(desk, tmp_path)
    rows = [row for row in read(parts(tmp_path)) if "to" in row]
    assert len(rows) == 2 + 2 + 40 + 1 + 1 + 1, "cues that waited are there twice: when asked for, and when fired"
    asked, fired = (row for row in rows if row["to"] == "cue/go" and row["t"] < 1002.5)
    assert (asked["t"], asked["waits"]) == (1000.5, True)
    assert fired["t"] == pytest.approx(1001.92)
    assert (fired["now"], fired["args"]) == (True, [1])
    desk.deliver(ControlEvent("pad/99", (1,), 1007.0, "the test"))
    assert log.status()["lost"] == 0
    assert log.status()["rows"] == sum(1 for _ in read(parts(tmp_path)))


def test_the_same_log_is_the_same_frames_and_those_that_were_played(desk, tmp_path):
    play(desk, tmp_path)
    first = digest(SHOW, tmp_path)
    assert first == digest(SHOW, tmp_path)
    seen = list(frames(SHOW, tmp_path, load("testcard"), 6.0))
    brightest = [tuple(int(v) for v in picture[8, 200]) for picture in seen]
    assert len(seen) == 180
    assert brightest[10][0] > 100, "red, before the cue"
    assert brightest[10][1] == 0
    assert max(colour[1] for colour in brightest[50:57]) == 0, "it waits for the bar at 2 s"
    assert brightest[76][1] > 100, "green after a beat's transition"
    assert brightest[76][0] == 0
    levels = {max(colour) for colour in brightest[:30]}
    assert len(levels) > 1, "the modulator blinks"


def test_another_log_is_other_frames(desk, tmp_path):
    play(desk, tmp_path / "a")
    rows = list(read(parts(tmp_path / "a")))
    for row in rows:
        if row.get("now"):
            row["t"] += 0.2
    other = tmp_path / "b.jsonl"
    other.write_text("\n".join(map(json.dumps, sorted(rows, key=lambda row: row["t"]))))
    assert digest(SHOW, other) != digest(SHOW, tmp_path / "a")


def test_a_part_can_be_played_alone_and_parts_are_bounded(desk, tmp_path):
    log = ControlLog(tmp_path, desk.state, part_bytes=20_000, folder_bytes=70_000)
    log.start()
    desk.log = log
    chunk = threading.Event()
    for n in range(60):
        for k in range(20):
            desk.deliver(ControlEvent("energy", ((n + k) % 10 / 10,), 1000 + n + k / 20, "the test"))
        chunk.wait(0.03)
    log.stop()
    left = parts(tmp_path)
    assert sum(path.stat().st_size for path in left) <= 110_000
    assert len(left) > 1
    assert not left[0].name.endswith("-001.jsonl"), "the oldest went"
    for path in left:
        head = next(read([path]))
        assert head["values"].keys() >= {"energy", "prompt"}
        assert json.loads(path.read_text().splitlines()[0])["log"] == 1


def test_a_full_disk_costs_the_log_and_not_the_show(desk, tmp_path, monkeypatch, wait_for):
    monkeypatch.setattr(logs, "RETRY_DELAY_S", 0.05)
    monkeypatch.setattr(logs, "WRITE_INTERVAL_S", 0.01)
    log = ControlLog(tmp_path, desk.state)
    log.start()
    desk.log = log
    works = ControlLog._open
    full = [True]

    def _open(self):
        if full[0]:
            raise OSError(errno.ENOSPC, "No space left on device")
        return works(self)

    monkeypatch.setattr(ControlLog, "_open", _open)
    log._turn = True
    began = time.monotonic()
    for n in range(5000):
        desk.deliver(ControlEvent("energy", (n % 100 / 100,), 1000 + n / 1000, "the test"))
    assert time.monotonic() - began < 60, "5000 that wait for a disk would take longer"
    assert desk.counts == {"obeyed": 5000, "refused": 0}
    wait_for(lambda: "No space left" in log.status().get("error", ""))
    full[0] = False
    wait_for(lambda: desk.deliver(ControlEvent("energy", (0.25,), 1009.0, "the test")) or not log.status().get("error"))
    desk.deliver(ControlEvent("energy", (0.75,), 1010.0, "the test"))
    log.stop()
    assert log.status()["lost"] > 0
    rows = list(read(parts(tmp_path)))
    assert rows[-1]["args"] == [0.75]


def test_a_slow_disk_is_waited_for_by_nobody_and_the_queue_is_bounded(desk, tmp_path, monkeypatch):
    monkeypatch.setattr(logs, "WAITING_ROWS_MAX", 100)
    stuck = threading.Event()
    log = ControlLog(tmp_path, desk.state)
    monkeypatch.setattr(ControlLog, "_open", lambda self: stuck.wait(120))
    log.start()
    desk.log = log
    for n in range(1000):
        desk.deliver(ControlEvent("energy", (0.5,), 1000 + n, "the test"))
    assert len(log._rows) <= 102
    assert log.status()["lost"] >= 890
    stuck.set()


def test_a_folder_that_cannot_be_written_to_is_said_before_the_show(desk, tmp_path):
    (tmp_path / "taken").write_text("")
    with pytest.raises(OSError, match=r"--log .*taken.*name a folder"):
        ControlLog(tmp_path / "taken", desk.state).start()


def test_a_torn_line_is_passed_over_and_what_is_no_log_is_refused(desk, tmp_path):
    play(desk, tmp_path)
    (path,) = parts(tmp_path)
    whole = len(list(read([path])))
    path.write_bytes(path.read_bytes()[:-20])
    assert len(list(read([path]))) == whole - 1
    for text in ("", "hello", '{"t": 1}', "[1]"):
        path.write_text(text)
        with pytest.raises(ValueError, match="log"):
            list(read([path]))
    with pytest.raises(FileNotFoundError, match="wj play --log"):
        parts(tmp_path / "nowhere")


def test_a_clip_has_every_frame_and_the_hash_says_which(desk, tmp_path):
    play(desk, tmp_path / "log")
    told = []
    made = render(SHOW, tmp_path / "log", tmp_path / "clip.mkv", seconds=2.0, progress=lambda *n: told.append(n))
    again = render(SHOW, tmp_path / "log", tmp_path / "clip.mkv", seconds=2.0)
    assert (made.frames, made.seconds, made.sha256) == (60, 2.0, again.sha256)
    assert made.sha256 == digest(SHOW, tmp_path / "log", 2.0)
    assert Path(again.path).name == "clip-2.mkv", "no clip is written over"
    assert told[-1] == (60, 60)
    with av.open(made.path) as clip:
        pictures = [frame.to_ndarray(format="rgb24") for frame in clip.decode(video=0)]
    assert len(pictures) == 60
    assert pictures[0].shape == (72, 128, 3)
    assert np.abs(pictures[5][4, 100].astype(int) - [255, 0, 0]).max() < 80
    assert duration(tmp_path / "log", 0) == pytest.approx(5.0, abs=0.01)


def test_more_ticks_than_steps_are_filled_as_in_the_show(desk, tmp_path):
    play(desk, tmp_path)
    fast = Show.model_validate({**SHOW.model_dump(exclude={"modulators", "cues", "pads", "outputs"}), "fps": 60})
    pictures = list(frames(fast, tmp_path, load("testcard"), 1.0))
    assert len(pictures) == 60


@pytest.mark.slow
def test_the_command_plays_logs_and_renders(tmp_path):
    show, wj = tmp_path / "show.yaml", [sys.executable, "-m", "worldjockey.node"]
    show.write_text("model: testcard\nsize: 128x72\nprompt: '#00ff00'\noutputs: []\nosc: {enabled: false}\n")
    run = [
        *wj,
        "play",
        str(show),
        "--headless",
        "--no-midi",
        "--no-surface",
        "--seconds",
        "1",
        "--log",
        str(tmp_path / "logs"),
    ]
    subprocess.run(run, check=True, timeout=120, capture_output=True)
    command = [*wj, "render", str(show), "--log", str(tmp_path / "logs"), "--out", str(tmp_path / "clip.mp4"), "--json"]
    made = json.loads(subprocess.run(command, check=True, timeout=120, capture_output=True, text=True).stdout)
    assert made["frames"] == 30
    assert made["differs"] == []
    show.write_text(show.read_text() + "cues: [{name: a, prompt: night}]\npads: [{image: look.png}]\n")
    told = CliRunner().invoke(app, [*command[3:-1], "--seconds", "0.1"]).output
    assert "has changed since" in told
    assert "(pads and cues). The video will differ from what was played." in " ".join(told.split())
    assert (tmp_path / "clip.mp4").stat().st_size > 500


def test_a_recording_has_its_log_beside_it(tmp_path: Path) -> None:
    from worldjockey.node.session.play import default_log_folder

    outputs = Show.parse(f"outputs: [window, 'file:{tmp_path}/clip.mp4']").outputs
    assert default_log_folder(outputs) == tmp_path / "clip-log"
    assert default_log_folder(Show.parse(f"outputs: ['file:{tmp_path}/no/clip.mp4']").outputs) is None
    assert default_log_folder(Show.parse("outputs: [window]").outputs) is None
