"""Outputs as control sees them: those of other packages by name, and none of the libraries that they send through."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from package import describe
from wav import wav
from worldjockey.node.measure.show_process import free_port
from worldjockey.node.show.schema import Show
from worldjockey.node.show.yaml_file import ShowError

EXAMPLE = Path(__file__).parents[3] / "examples/output_plugin"
HEAVY = {
    "av", "cv2", "glfw", "OpenGL", "aiohttp", "aiortc", "NDIlib", "torch", "sounddevice", "rtmidi", "websockets",
    "zeroconf", "pyvirtualcam", "PIL",
}  # fmt: skip
# The command itself; when it ends, its process writes down what it has imported.
WJ = """
import atexit, json, pathlib, sys
def write():
    pathlib.Path("modules.json").write_text(json.dumps(sorted(sys.modules)))
if __name__ == "__main__":
    atexit.register(write)
    from worldjockey.node.cli.app import main
    sys.exit(main())
"""


Play = Callable[..., dict[str, Any]]


@pytest.fixture
def play(tmp_path: Path, wait_for: Callable[..., None]) -> Play:
    """Runs `wj play` with the test card in red, until a condition holds and Ctrl-C comes; gives its report."""

    def run(*arguments: str, until: Callable[[], object]) -> dict[str, Any]:
        command = [
            sys.executable,
            "-c",
            WJ,
            "play",
            "--no-surface",
            "--model",
            "testcard",
            "--prompt",
            "#c02020",
            "--size",
            "320x180",
        ]
        command += ["--osc-port", str(free_port()), "--no-midi", "--report", "report.json", *arguments]
        errors = tmp_path / "stderr.txt"
        with errors.open("w") as file, subprocess.Popen(command, cwd=tmp_path, stderr=file) as process:
            try:
                wait_for(lambda: until() or process.poll() is not None)
            finally:
                process.send_signal(signal.SIGINT)
        assert process.returncode == 0, errors.read_text()
        report: dict[str, Any] = json.loads((tmp_path / "report.json").read_text())
        return report

    return run


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the example and a broken package are installed."""
    folder = tmp_path / "packages"
    describe(folder, "wj-snapshots", "worldjockey.outputs", snapshots="wj_snapshots:SnapshotOutput")
    describe(folder, "wj-broken", "worldjockey.outputs", broken="wj_broken:Output", ndi="wj_broken:Output")
    (folder / "wj_broken.py").write_text("import no_such_library")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(folder), str(EXAMPLE)]))
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.syspath_prepend(str(EXAMPLE))
    return folder


@pytest.mark.slow
def test_an_output_of_another_package_is_played_to_by_its_name(plugin: Path, play: Play, tmp_path: Path) -> None:
    image = tmp_path / "live.png"

    def red() -> bool:
        blue, green, red = cv2.imread(str(image))[90, 160].tolist() if image.exists() else (0, 0, 0)
        return red > 150 and max(blue, green) < 80

    report = play("--headless", "--out", "snapshots:live.png", until=red)
    assert report["outputs"]["snapshots"]["facts"]["written"] >= 1
    assert red()


def test_a_shows_lines_for_such_an_output_are_checked(plugin: Path) -> None:
    show = Show.parse("outputs: [{kind: snapshots, path: live.png, every: 5}, {snapshots: {path: b.jpg}}]")
    assert [entry.dump() for entry in show.outputs][1] == "snapshots:b.jpg"
    assert Show.parse(show.dump()) == show
    for line, words in {
        "snapshots": "a snapshots output needs a path, as in snapshots:live.png",
        "snapshots:live.gif": "has to end in .png or .jpg",
        "{kind: snapshots, path: live.png, every: often}": "every: this is a number, not 'often'",
        "{kind: snapshots, path: live.png, size: 3}": "snapshots has no option size: it has every, path",
        "snapshot": "'snapshot': use one of window, .*, virtualcam, .*broken, snapshots",
        "broken": "the output broken cannot be imported .* No module named 'no_such_library'",
    }.items():
        with pytest.raises(ShowError, match=words):
            Show.parse(f"outputs: [{line}]" if line.startswith("{") else f"outputs: ['{line}']")


def test_a_package_cannot_replace_a_built_in_output(plugin: Path) -> None:
    assert Show.parse("outputs: ['ndi:stage']").outputs[0].make().layout == "uyvy"


@pytest.mark.slow
def test_control_imports_no_library_of_an_output(play: Play, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)  # the window's process then says so, and control plays on
    wav(tmp_path / "tone.wav", 48000, np.sin(np.arange(96000) / 20) / 4)
    cv2.imwrite(str(tmp_path / "look.png"), np.full((64, 64, 3), 90, np.uint8))
    (tmp_path / "show.yaml").write_text("pads: [{image: look.png}]\nsound: {enabled: true, input: tone.wav}")
    ways = f"window,ndi,file:a.mp4,web:{free_port()},stream:tcp://127.0.0.1:{free_port()},virtualcam,spout,syphon"

    def until() -> bool:
        return (tmp_path / "a.mp4").exists() and "DISPLAY" in (tmp_path / "stderr.txt").read_text()

    report = play("show.yaml", "--out", ways, until=until)
    assert "DISPLAY" in report["outputs"]["window"]["message"]
    imported = {name.partition(".")[0] for name in json.loads((tmp_path / "modules.json").read_text())}
    assert imported & HEAVY == set()
