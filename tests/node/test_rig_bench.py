"""`wj bench --rig`: everything at once, and what goes wrong in the middle costs the rest nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from worldjockey.node import rig_bench
from worldjockey.node.rig import Disk
from worldjockey.node.rig_bench import growth, others, verdict

MINUTES = 0.2


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="its screen and its disk are Linux's")
def test_everything_plays_at_once_while_things_go_wrong(
    tmp_path: Path, discovery: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)  # a screen of its own: nobody's desk is filled
    path = tmp_path / "rig.json"
    result = rig_bench.run(path, minutes=MINUTES, model="testcard", size="320x180")
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
    assert result["missed"] <= result["ticks"] // 20  # the machine may be busy; an output that waited would cost most
    for name in ("ndi", "web"):
        said = result["outputs"][name]
        assert said["restarts"] == 0
        assert said["sent"] > result["ticks"] // 3
    assert result["outputs"]["file"]["restarts"] >= 1
    assert any("file failed: the recording" in event for event in result["events"])
    assert [clip["name"] for clip in result["recordings"]] == ["clip.mp4", "clip-2.mp4"]
    assert all(clip["frames"] > 0 for clip in result["recordings"])
    assert result["down_at_the_end"] == []
    assert result["live"]["pictures"] > 10
    assert result["inputs"]["osc"]["received"] > 100
    assert {"control", "clock", "world", "ndi", "web", "live picture"} <= set(result["memory"])
    assert all(row["mb"] > 1 for row in result["memory"].values())
    console = Console(width=160, record=True, file=(tmp_path / "table.txt").open("w"))
    console.print(*rig_bench.tables(result), sep="\n")
    assert result["verdict"] in console.export_text().replace("\n", " ")


def row(name: str, missed: int, seconds: float = 10.0) -> dict[str, Any]:
    return {"mishap": name, "missed": missed, "seconds": seconds}


def test_the_verdict_tells_an_output_from_a_busy_machine() -> None:
    whole = {"ticks": 18_000, "missed": 0, "seconds": 600.0}
    assert verdict(whole, [row("a", 0)]) == (False, "no tick of 18000 was missed")
    blamed, words = verdict(whole | {"missed": 7}, [row("a", 0), row("disk full", 7)])
    assert blamed
    assert "7 (disk full)" in words
    blamed, words = verdict(whole | {"missed": 600}, [row("a", 10), row("b", 9)])
    assert not blamed
    assert "too busy" in words


def test_others_are_compared_with_themselves_while_all_was_well() -> None:
    well = {"ticks": 300, "sent": {"ndi": 300, "window": 150, "file": 300}}
    assert others(well, {"ticks": 100, "sent": {"ndi": 100, "window": 50, "file": 0}}, "file") == 100
    assert others(well, {"ticks": 100, "sent": {"ndi": 100, "window": 25, "file": 100}}, "file") == 50


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
def test_a_disk_is_full_for_whoever_may_mount_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(tmp_path / "clip")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    monkeypatch.setenv("PATH", "/nowhere")
    disk = Disk(tmp_path)
    assert disk.lacks == ""

    def write() -> str:
        assert writer.stdin
        assert writer.stdout
        writer.stdin.write("\n")
        writer.stdin.flush()
        return writer.stdout.readline().strip()

    assert write() == "written"
    disk.fill()
    disk.tend(writer.pid)
    assert write() == "File too large"
    disk.free()
    disk.tend(writer.pid)
    assert write() == "written"
    disk.close()
    writer.communicate()
