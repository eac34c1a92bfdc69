"""Snapshots are there again the next time, and never more of them than a file may hold."""

import errno
import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from worldjockey.integrations import ControlEvent
from worldjockey.node.control import snapshot_file as snapshot_files
from worldjockey.node.control.desk import Desk
from worldjockey.node.control.history import SNAPSHOTS_MAX
from worldjockey.node.control.snapshot_file import SnapshotFile, dump, parse
from worldjockey.node.ipc.mailbox import Mailbox
from worldjockey.node.parameters import PARAMETERS, TEXT_BYTES
from worldjockey.node.show.schema import Show
from worldjockey.node.show.yaml_file import ShowError
from worldjockey.node.timing.show_clock import ShowClock


@pytest.fixture
def desks():
    boxes = []

    def make():
        boxes.append(Mailbox())
        return Desk(Show.parse("values: {transition: 0}"), boxes[-1], ShowClock(120, now=1000))

    yield make
    for box in boxes:
        box.unlink()


def send(desk, target, *args):
    desk.deliver(ControlEvent(target, args, 1000.0, "a hand"))
    assert not desk.error


def test_what_was_saved_is_recalled_by_the_next_show(desks, tmp_path):
    path = tmp_path / "looks.yaml"
    first, snapshot_file = desks(), SnapshotFile(path)
    first.remember(snapshot_file.start())
    first.on_saved = snapshot_file.keep
    for target, value in (("prompt", "sea: at night"), ("energy", 0.3), ("word/storm", 1.5), ("act/dance", True)):
        send(first, target, value)
    send(first, "sound/level", 0.9)
    send(first, "snapshot/save", "Dusk")
    send(first, "snapshot/save", "2")
    snapshot_file.stop()
    assert yaml.safe_load(path.read_text())["dusk"] == {
        "prompt": "sea: at night", "transition": 0.0, "act": "dance", "energy": 0.3, "word/storm": 1.5,
    }  # fmt: skip
    again = desks()
    again.remember(SnapshotFile(path).start())
    send(again, "energy", 0.9)
    send(again, "morph", 0.5)
    send(again, "snapshot/recall", "dusk")
    assert [again.read(name) for name in ("prompt", "energy", "word/storm", "act", "morph")] == [
        "sea: at night", 0.3, 1.5, "dance", 0,
    ]  # fmt: skip
    assert list(tmp_path.iterdir()) == [path]


words = st.text(st.characters(exclude_categories=("C", "Z"), include_characters=" "), min_size=1, max_size=20)
values = st.fixed_dictionaries(
    {}, optional={"energy": st.floats(0, 1), "prompt": words, "word/é": st.floats(-1, 2),
                  "freeze": st.booleans(), "act": st.sampled_from(PARAMETERS["act"].choices)}
)  # fmt: skip


@given(st.dictionaries(words, values, max_size=4))
def test_what_is_written_is_read_back(kept):
    found = parse(dump(kept), "looks.yaml")
    assert list(found) == list(kept)
    for name, said in kept.items():
        wanted = {n: PARAMETERS[n].coerce(v) if n == "prompt" else v for n, v in said.items()}
        assert found[name] == {**snapshot_files.defaults(), **wanted}


junk = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
)


@given(
    junk | st.dictionaries(st.text(max_size=5), st.dictionaries(st.sampled_from(list(PARAMETERS)), junk), max_size=3)
)
def test_any_file_is_snapshots_in_range_or_a_clear_error(data):
    try:
        found = parse(yaml.safe_dump(data), "looks.yaml")
    except ShowError:
        return
    for kept in found.values():
        for name, value in kept.items():
            assert PARAMETERS[name].coerce(value) == value


def test_the_oldest_are_left_out_of_a_file_that_would_be_too_large():
    kept = {str(n): {f"pad/{k}/text": f"{n} " * (TEXT_BYTES // 4) for k in range(1, 17)} for n in range(SNAPSHOTS_MAX)}
    text = dump(kept)
    assert len(text.encode()) <= snapshot_files.MAX_FILE_BYTES
    found = list(parse(text, "looks.yaml"))
    assert 1 <= len(found) < SNAPSHOTS_MAX
    assert found == [str(n) for n in range(SNAPSHOTS_MAX)][-len(found) :]
    with pytest.raises(ShowError, match="larger than 1000 kB"):
        parse("#" * (snapshot_files.MAX_FILE_BYTES + 1), "looks.yaml")
    many = {str(n): {"energy": 1} for n in range(SNAPSHOTS_MAX + 5)}
    assert next(iter(parse(dump(many), "looks.yaml"))) == "5"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_file_that_was_written_by_hand_stays_as_it_is_until_a_snapshot_is_saved(tmp_path, encoding):
    path = tmp_path / "looks.yaml"
    text = "# my looks\n12:30:\n  energy: 0,3  # low\n  freeze: on\n  cam/yawn: 0.5\n  morph: much\n"
    path.write_bytes(text.encode(encoding))
    snapshot_file = SnapshotFile(path)
    found = snapshot_file.start()
    assert path.read_text() == text
    assert {name: found["12:30"][name] for name in ("energy", "freeze", "morph")} == {
        "energy": 0.3, "freeze": True, "morph": 0,
    }  # fmt: skip
    assert "12:30: no snapshot has a 'cam/yawn', did you mean 'cam/yaw'?, and 1 more" in snapshot_file.status()["error"]
    snapshot_file.keep({"now": {"energy": 1.0}})
    snapshot_file.stop()
    assert yaml.safe_load(path.read_text()) == {"now": {"energy": 1.0}}
    assert "error" not in snapshot_file.status()


def test_a_flood_of_saves_is_few_writes_and_the_last_is_kept(desks, tmp_path, monkeypatch):
    wrote = []
    monkeypatch.setattr(snapshot_files, "write", lambda path, text: wrote.append(text))
    desk, snapshot_file = desks(), SnapshotFile(tmp_path / "looks.yaml")
    snapshot_file.start()
    desk.on_saved = snapshot_file.keep
    for n in range(300):
        send(desk, "energy", n / 300)
        send(desk, "snapshot/save", "one")
    snapshot_file.stop()
    assert len(wrote) < 50
    assert yaml.safe_load(wrote[-1])["one"]["energy"] == pytest.approx(299 / 300)


def test_a_full_disk_costs_the_file_and_not_the_show(desks, tmp_path, monkeypatch, wait_for):
    monkeypatch.setattr(snapshot_files, "WRITE_INTERVAL_S", 0.01)
    path = tmp_path / "looks.yaml"
    desk, snapshot_file = desks(), SnapshotFile(path)
    snapshot_file.start()
    desk.on_saved = snapshot_file.keep
    works, full = snapshot_files.write, [True]

    def write(path, text):
        if full[0]:
            raise OSError(errno.ENOSPC, "No space left on device")
        works(path, text)

    monkeypatch.setattr(snapshot_files, "write", write)
    send(desk, "snapshot/save", "here")
    wait_for(lambda: "No space left" in snapshot_file.status().get("error", ""))
    full[0] = False
    wait_for(lambda: "here" in path.read_text())
    wait_for(lambda: "error" not in snapshot_file.status())
    snapshot_file.stop()


def test_a_file_that_cannot_be_is_said_before_the_show(tmp_path):
    with pytest.raises(OSError, match=r"--keep .*name a file that can be written"):
        SnapshotFile(tmp_path / "no such folder" / "looks.yaml").start()
    show = tmp_path / "show.yaml"
    show.write_text("cues: []\npads: [sea]\n")
    with pytest.raises(ShowError, match="no file of snapshots"):
        SnapshotFile(show).start()
    assert show.read_text() == "cues: []\npads: [sea]\n", "and not written over"


def test_nobody_can_have_a_file_written_who_only_sends_controls(desks, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    desk = desks()
    for name in ("../looks", "/tmp/looks", "looks.yaml"):
        send(desk, "snapshot/save", name)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_the_show_file_names_the_file_and_the_run_says_so(tmp_path):
    show = tmp_path / "show.yaml"
    show.write_text("model: testcard\nsize: 128x72\noutputs: []\nosc: {enabled: false}\nsnapshots: looks.yaml\n")
    (tmp_path / "looks.yaml").write_text("here: {energy: 0.5}\n")
    command = [sys.executable, "-m", "worldjockey.node", "play", str(show), "--headless", "--no-midi", "--no-surface"]
    report = tmp_path / "report.json"
    subprocess.run([*command, "--seconds", "0.2", "--report", str(report)], check=True, timeout=120)
    assert json.loads(report.read_text())["controls"]["snapshots"] == {"path": str(tmp_path / "looks.yaml")}
    assert parse((tmp_path / "looks.yaml").read_text(), "")["here"]["energy"] == 0.5
    (Path(tmp_path) / "looks.yaml").write_text("- 1")
    told = subprocess.run(command, timeout=120, capture_output=True, text=True, check=False)
    assert told.returncode == 2
    assert "this is no file of snapshots" in told.stderr
