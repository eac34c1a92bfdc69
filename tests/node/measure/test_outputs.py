"""`wj bench --outputs`: every way out is measured by somebody who watches it, or named with what is lacking."""

from __future__ import annotations

import json
import socket
import tracemalloc
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from rich.console import Console
from worldjockey.integrations import Frame, VideoFormat
from worldjockey.integrations.ndi.output import NDIOutput
from worldjockey.integrations.recording import FileOutput
from worldjockey.integrations.stream.output import StreamOutput
from worldjockey.node.measure import outputs
from worldjockey.node.measure.outputs import MeasuredOutput, copies, crossings, measured_outputs
from worldjockey.node.measure.show_process import free_port
from worldjockey.node.show.outputs import BUILTIN_OUTPUTS

pytestmark = pytest.mark.slow

NOWHERE: tuple[dict[str, str], str, str] = ({}, "", "no screen")


def test_ways_are_measured_from_the_control_to_the_pixel(tmp_path: Path, discovery: None) -> None:
    path = tmp_path / "outputs.json"

    def some(case: MeasuredOutput) -> bool:
        return case.name in ("NDI", "MPEG-TS, TCP", "Syphon", "Spout")

    result = outputs.run(path, seconds=4.0, size="320x180", only=some)
    assert json.loads(path.read_text()) == result
    ndi, tcp, *elsewhere = result["ways"]
    assert (ndi["way"], tcp["way"]) == ("NDI", "MPEG-TS, TCP")
    for row in (ndi, tcp):
        assert row["received_ms"]["count"] + row["lost"] >= 3
        assert row["received_ms"]["count"] >= 1
        assert 0 < row["received_ms"]["p50"] <= row["received_ms"]["p95"]
        assert row["received_ms"]["p95"] > row["sent_ms"]["p50"] > 0  # nobody sees what was not sent
        assert 0 < row["received"] <= 1.5 * row["sent"] + 15  # of which a process says how many it has 4 times a second
        assert 0 < row["made"] <= row["sent"] + 15
        assert row["cpu_ms"] > 0
        assert row["node_cpu_ms"] > 0
        assert row["copies"] == len(row["copied"])
        assert len(row["copied_before"]) == 2
    assert (ndi["copies"], tcp["copies"]) == (0, 1)
    assert any(row.get("lacks", "").endswith("only") for row in elsewhere)  # macOS only, or Windows only
    console = Console(width=160, record=True, file=(tmp_path / "table.txt").open("w"))
    console.print(*outputs.tables(result), sep="\n")
    text = console.export_text()
    assert f"{tcp['received']} of {tcp['sent']}" in text
    row = next(line for line in text.splitlines() if "MPEG-TS, TCP" in line)
    assert [cell.strip() for cell in row.split("│")][2:4] == [f"{tcp['cpu_ms']:.1f}", f"{tcp['node_cpu_ms']:.1f}"]
    assert elsewhere[0]["lacks"] in text


def test_lights_are_measured_at_a_receiver_of_sacn() -> None:
    result = outputs.run(seconds=2.0, size="320x180", only=lambda case: case.entry["kind"] == "dmx")
    (row,) = result["ways"]
    assert row["way"] == "lights (sACN)"
    assert row["received_ms"]["count"] >= 1
    assert row["received_ms"]["p95"] > row["sent_ms"]["p50"] > 0


def test_the_clip_that_shines_through_is_a_moving_picture(tmp_path: Path) -> None:
    outputs.scene(tmp_path / "scene.mp4")
    with av.open(str(tmp_path / "scene.mp4")) as container:
        first_sample, *_, last = [frame.to_ndarray(format="gray").astype(int) for frame in container.decode(video=0)]
    assert first_sample.mean() == pytest.approx(126, abs=30)
    assert first_sample.std() > 20
    assert np.abs(first_sample - last).mean() > 2


def test_no_way_out_is_forgotten_and_what_is_lacking_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setitem(__import__("sys").modules, "NDIlib", None)
    found = {case.name: case for case in measured_outputs(tmp_path, NOWHERE)}
    assert {case.entry["kind"] for case in found.values()} == set(BUILTIN_OUTPUTS)
    assert "apt install ffmpeg" in found["MPEG-TS, SRT"].missing
    assert "pip install ndi-python" in found["NDI"].missing
    assert found["window"].missing == "no screen"
    assert found["recording"].missing == found["MJPEG"].missing == found["RTMP"].missing == ""


def test_a_control_is_met_by_the_first_picture_that_shows_it() -> None:
    seen = [(0.0, 0.1), (1.02, 0.1), (1.05, 0.4), (1.08, 0.9), (2.04, 0.9), (2.2, 0.2), (3.5, 0.1)]
    controls = [(1.0, True), (2.0, False), (3.0, True), (4.0, True)]
    found, lost = crossings(controls, seen)
    assert found == pytest.approx([80, 200])
    assert lost == 1
    assert crossings([(1.0, True), (2.0, True)], [(0.5, 1.0)]) == ([], 1)  # a picture from before is no answer


class Counted:
    """PyAV's frames, with a count of those that were copied out of arrays."""

    def __init__(self) -> None:
        self.frame, self.count = av.VideoFrame, 0

    def __call__(self, *args: Any) -> av.VideoFrame:
        return self.frame(*args)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.frame, name)

    def from_ndarray(self, *args: Any, **options: Any) -> av.VideoFrame:
        self.count += 1
        return self.frame.from_ndarray(*args, **options)


@pytest.mark.parametrize("kind", ["ndi", "file", "stream"])
def test_an_output_copies_as_often_as_it_says(
    kind: str, tmp_path: Path, discovery: None, monkeypatch: pytest.MonkeyPatch, wait_for: Any
) -> None:
    port = free_port()
    entry: dict[str, Any] = {
        "ndi": {"kind": "ndi", "name": f"wj copies {port}"},
        "file": {"kind": "file", "path": str(tmp_path / "clip.ts")},
        "stream": {"kind": "stream", "url": f"tcp://127.0.0.1:{port}"},
    }[kind]
    frames_made = {"ndi": NDIOutput, "file": FileOutput, "stream": StreamOutput}[kind]
    output = frames_made(*[value for key, value in entry.items() if key != "kind"])
    frame = np.full((720, 640, 2) if kind == "ndi" else (1080, 640), 100, np.uint8)
    frames = Counted()
    monkeypatch.setattr(av, "VideoFrame", frames)
    output.open(VideoFormat(640, 720, 30))
    try:
        if kind == "stream":
            viewer = socket.create_connection(("127.0.0.1", port))
            wait_for(lambda: output.status()["watched"])
        output.send(Frame(frame, 0, 0.0))
        wait_for(lambda: kind != "stream" or output.status()["frames"] == 1)
        frames.count = 0
        tracemalloc.start()
        output.send(Frame(frame, 1, 0.0))
        wait_for(lambda: kind != "stream" or output.status()["frames"] == 2)
        arrays = tracemalloc.get_traced_memory()[1] / frame.nbytes
        tracemalloc.stop()
    finally:
        output.close()
        if kind == "stream":
            viewer.close()
    assert not frames.count
    assert round(arrays) == len(copies(entry)[1])
