"""`wj bench --rig`: everything at once, and what goes wrong in the middle costs the rest nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner
from worldjockey.node.cli import app
from worldjockey.node.measure import rehearsal
from worldjockey.node.measure.rehearsal import Watch, between, growth, lost, others, verdict
from worldjockey.node.measure.rig import BALLAST_BYTES_MAX, Disk, Rig, mishaps

pytestmark = pytest.mark.slow

MINUTES = 0.4  # the disk is full for a tenth of them, and a recording writes only once a second


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="its screen and its disk are Linux's")
def test_everything_plays_at_once_while_things_go_wrong(
    tmp_path: Path, discovery: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)  # a screen of its own: nobody's desk is filled
    path = tmp_path / "rig.json"
    result = rehearsal.run(path, minutes=MINUTES, model="testcard", size="320x180")
    assert json.loads(path.read_text())["mishaps"] == result["mishaps"]
    assert [row["mishap"] for row in result["mishaps"]] == [
        "NDI receiver killed", "browser killed", "stream viewer frozen, then killed", "disk full under the recording",
        "live source killed", "MJPEG player frozen",
    ]  # fmt: skip
    everybody = {"NDI", "window", "WebRTC", "MJPEG", "TCP stream", "SRT stream"}
    assert everybody <= set(result["received"]) | set(result["lacks"])
    assert all(count > 0 for count in result["received"].values()), result["received"]
    assert {"ndi", "web", "stream", "file"} <= set(result["outputs"])
    assert result["ticks"] >= MINUTES * 60 * 30 * 0.8
    assert result["missed"] <= result["ticks"] // 4  # the machine may be busy; an output that waited would cost most
    for name in ("ndi", "web"):
        said = result["outputs"][name]
        assert said["restarts"] == 0
        assert said["sent"] > result["ticks"] // 3
    assert result["outputs"]["file"]["restarts"] >= 1, result["events"]
    assert any("file failed: the recording" in event for event in result["events"])
    assert [clip["name"] for clip in result["recordings"]] == ["clip.mp4", "clip-2.mp4"], result["events"]
    assert all(clip["frames"] > 0 for clip in result["recordings"]), (result["recordings"], result["events"])
    assert result["down_at_the_end"] == []
    assert result["live"]["pictures"] > 10
    assert result["inputs"]["osc"]["received"] > 100
    assert {"control", "clock", "world", "ndi", "web", "live picture"} <= set(result["memory"])
    assert all(row["mb"] > 1 for row in result["memory"].values())
    console = Console(width=160, record=True, file=(tmp_path / "table.txt").open("w"))
    console.print(*rehearsal.tables(result), sep="\n")
    assert result["verdict"] in console.export_text().replace("\n", " ")
    frozen = result["mishaps"][2]["pictures"]
    assert frozen["MJPEG"] > 0, "a receiver that nothing befell"


def row(name: str, missed: int, seconds: float = 10.0, others: int = 100, hardest: str = "ndi") -> dict[str, Any]:
    return {
        "mishap": name, "missed": missed, "seconds": seconds, "others_percent": others, "hardest_hit": hardest,
    }  # fmt: skip


def test_the_verdict_tells_an_output_from_a_busy_machine() -> None:
    whole = {"ticks": 18_000, "missed": 0, "seconds": 600.0}
    fine = verdict(whole, [row("a", 0)])
    assert (fine.passed, fine.blamed, fine.message) == (True, False, "no tick of 18000 was missed")
    one = verdict(whole | {"missed": 7}, [row("a", 0), row("disk full", 7)])
    assert (one.passed, one.blamed) == (False, True)
    assert "7 (disk full)" in one.message
    busy = verdict(whole | {"missed": 600}, [row("a", 10), row("b", 9)])
    assert (busy.passed, busy.blamed) == (False, False)
    assert "600 ticks of 18600 were missed (3.23%)" in busy.message
    assert "too busy" in busy.message
    assert verdict(whole | {"missed": 150}, [row("a", 2)]).passed, "less than 1%"


def test_the_verdict_tells_of_outputs_that_are_gone_and_of_those_that_another_one_harmed() -> None:
    whole = {"ticks": 18_000, "missed": 0, "seconds": 600.0}
    gone = verdict(whole, [row("a", 0)], ["stream"])
    assert not gone.passed
    assert "stream did not come back" in gone.message
    harmed = verdict(whole, [row("disk full", 0, others=40, hardest="NDI"), row("b", 0, others=85)])
    assert not harmed.passed
    assert verdict(whole, [row("disk full", 0, seconds=1.5, others=40)]).passed, "too short to tell"
    assert harmed.message.endswith("; NDI kept 40% of its frames (disk full)")


@pytest.mark.parametrize("passed", [True, False])
def test_the_exit_code_is_the_verdict(passed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rehearsal, "run", lambda *args: {"passed": passed, "missed_because_of_an_output": False})
    assert CliRunner().invoke(app.app, ["bench", "--rig"]).exit_code == (not passed)


def test_others_are_compared_with_themselves_while_all_was_well() -> None:
    well = {"seconds": 10.0, "pictures": {"NDI": 300, "MJPEG": 150, "file": 300}}
    assert others(well, {"seconds": 5.0, "pictures": {"NDI": 150, "MJPEG": 75, "file": 0}}, "file")[0] == 100
    amiss = {"seconds": 5.0, "pictures": {"NDI": 150, "MJPEG": 37, "file": 150}}
    assert others(well, amiss, "file") == (49, "MJPEG")
    assert others(well, {"seconds": 5.0, "pictures": {"NDI": 150, "file": 150}}, "file")[0] == 100, "who is not back"


class Played:
    """A rehearsal that says what the test wants."""

    pid = os.getpid()

    def __init__(self) -> None:
        self.samples: list[dict[str, Any]] = []

    @property
    def now(self) -> dict[str, Any]:
        return self.samples[-1]

    def say(self, ticks: int, frames: dict[str, int], gone: str = "") -> None:
        outputs = {
            name: {"state": "restarting" if name == gone else "running", "sent": ticks,
                   "facts": {"frames": count, "dropped": ticks - count}}
            for name, count in frames.items()
        }  # fmt: skip
        clock = {"ticks": ticks, "late": 0, "missed": 0}
        self.samples.append({"clock": clock, "world": {}, "live": {}, "outputs": outputs})

    def check(self) -> None:
        pass


class Seer:
    """A receiver that saw what the test wants."""

    def __init__(self) -> None:
        self.seen: list[tuple[float, float]] = []


def test_nothing_befalls_a_receiver_that_is_not_there(tmp_path: Path) -> None:
    watched = dict.fromkeys(("NDI", "WebRTC", "TCP stream", "MJPEG"), ("", ""))
    disk = Disk(tmp_path)
    plan = mishaps(Rig({}, {}, watched, {}, dict.fromkeys(watched, "no frame arrived")), disk, None)
    disk.close()
    assert [mishap.name for mishap in plan if not mishap.missing] == ["disk full under the recording"]
    assert [mishap.of for mishap in plan] == ["NDI", "WebRTC", "TCP stream", "file", "", "MJPEG"]


def test_what_is_dropped_on_the_way_is_not_counted_as_seen() -> None:
    played, watched = Played(), {"A": ("mpegts", ""), "B": ("mpegts", ""), "window": ("glance", "")}
    rig = Rig({}, {}, watched, {"A": "stream", "B": "stream 2", "window": "window"}, {})
    seers: dict[str, Any] = {name: Seer() for name in watched}
    rig.receivers = seers
    played.say(0, {"stream": 0, "stream 2": 0, "window": 0, "file": 0})
    watch = Watch(played, rig)  # type: ignore[arg-type]
    marks = []
    for ticks, seen, drawn in ((1, 1, 1), (301, 301, 301), (601, 401, 351)):
        for name in ("A", "window"):
            seers[name].seen = [(0.0, 0.0)] * seen
        played.say(ticks, {"stream": ticks, "stream 2": drawn, "window": ticks, "file": 1}, gone="file")
        watch.look()
        marks.append({**watch.mark(), "time": ticks / 30})
    well, amiss = between(marks[0], marks[1]), between(marks[1], marks[2])
    # B sees nothing yet, a screen tells changes alone, and the file is not back from what befell it before.
    assert amiss["pictures"] == {"A": 100, "stream 2": 50, "window": 300}
    assert others(well, amiss, "") == (17, "stream 2")
    assert others(well, amiss, "stream 2") == (33, "A")


def test_what_does_not_come_back_is_named_and_so_is_who_sees_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rehearsal, "RETURN_TIMEOUT_S", 0.3)
    played, watched = Played(), {"A": ("mpegts", ""), "B": ("mpegts", ""), "NDI": ("ndi", "")}
    rig = Rig({}, {}, watched, {"A": "stream", "B": "stream 2", "NDI": "ndi"}, {"NDI": "no frame arrived"})

    class Blind:
        seen = ((0.0, 0.0),)

    class Seeing:
        looks = 0

        @property
        def seen(self) -> range:
            self.looks += 1
            return range(self.looks)

    receivers: dict[str, Any] = {"A": Seeing(), "B": Blind()}
    rig.receivers = receivers
    played.say(9, {"stream": 9, "stream 2": 9, "file": 9, "ndi": 0}, gone="file")
    assert lost(played, rig) == ["file", "B"]  # type: ignore[arg-type]


def test_growth_is_told_of_the_process_that_ran_last() -> None:
    steady = [(float(t), 1, 50.0) for t in range(100)]
    assert growth(steady) == {"mb": 50.0, "mb_a_minute": 0.0}
    leak = [(float(t), 2, 50 + t / 60) for t in range(100, 300)]
    assert growth(steady + leak)["mb_a_minute"] == pytest.approx(1.0, abs=0.01)
    assert growth([(0.0, 1, 50.0)])["mb_a_minute"] == 0.0


WRITER = """
import sys
file = open(sys.argv[1], "wb", buffering=0)
for line in sys.stdin:
    try:
        file.write(bytes(8192))
        print("written", flush=True)
    except OSError as fault:
        print(fault.strerror, flush=True)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits of another process are Linux's")
@pytest.mark.parametrize("small", [True, False], ids=["a disk that can be made small", "one that cannot"])
@pytest.mark.parametrize("mounts", [True, False], ids=["whoever may mount one", "whoever may not"])
def test_a_disk_is_full(mounts: bool, small: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as nowhere:
        if not mounts:
            nowhere.setenv("PATH", "/nowhere")
        disk = Disk(tmp_path)
    if mounts and not tmp_path.is_mount():
        pytest.skip("only root may mount a disk")
    if not small:
        monkeypatch.setenv("PATH", "/nowhere")
    command = [sys.executable, "-c", WRITER, str(tmp_path / "clip")]
    writer = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert disk.missing == ""

    def write() -> str:
        assert writer.stdin
        assert writer.stdout
        writer.stdin.write("\n")
        writer.stdin.flush()
        return writer.stdout.readline().strip()

    try:
        assert write() == "written"
        disk.fill()
        disk.tend(writer.pid)
        assert write() == ("No space left on device" if mounts and small else "File too large")
        assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= BALLAST_BYTES_MAX + 8192
        disk.free()
        disk.tend(writer.pid)
        assert write() == "written"
    finally:
        writer.communicate()
        monkeypatch.undo()
        disk.close()
