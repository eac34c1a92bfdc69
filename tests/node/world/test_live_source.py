"""Live pictures on their way to the world: the process that reads them and comes back, and what the world sees."""

from __future__ import annotations

import contextlib
import itertools
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from worldjockey.model import Prompt, load
from worldjockey.model.stage.vocabulary import ATTRIBUTES
from worldjockey.model.worlds.testcard import TestCard
from worldjockey.node.ipc.cell import Cell
from worldjockey.node.ipc.frame_ring import FrameInfo, FrameRing
from worldjockey.node.ipc.supervisor import Supervisor
from worldjockey.node.show.schema import Show
from worldjockey.node.show.yaml_file import ShowError
from worldjockey.node.world import live_source
from worldjockey.node.world.live_conditioning import FADE_S, SOURCE_TIMEOUT_S, LiveConditioning
from worldjockey.node.world.live_source import LiveFeed, LiveSpec

pytestmark = pytest.mark.slow

PEERS = Path(__file__).parents[2] / "peers"
RED, BLUE = (200, 30, 30), (30, 40, 190)


@pytest.fixture
def feed() -> Iterator[LiveFeed]:
    made = LiveFeed(FrameRing(512 * 288 * 3, 4), Cell(64))
    yield made
    made.ring.unlink()
    made.size.unlink()


@contextlib.contextmanager
def watching(spec: LiveSpec, feed: LiveFeed, **patience: float) -> Iterator[Callable[[Callable[[], object]], None]]:
    """The reader in a process that is kept; yields a way to wait for something while it is watched."""
    supervisor = Supervisor("live picture", live_source.run, (spec, feed), {**live_source.PATIENCE_S, **patience})

    def wait(condition: Callable[[], object]) -> None:
        deadline = time.monotonic() + 90
        while not condition():
            supervisor.watch(time.monotonic())
            assert time.monotonic() < deadline, supervisor.status()
            time.sleep(0.02)

    wait.status = supervisor.status  # type: ignore[attr-defined]
    try:
        yield wait
    finally:
        supervisor.finish(time.monotonic() + 5)


def shows(feed: LiveFeed, colour: tuple[int, int, int]) -> bool:
    got = feed.ring.read()
    return got is not None and bool(np.abs(got[1].mean((0, 1)) - colour).max() < 8)


def clip(path: Path, colour: tuple[int, int, int], frames: int = 10) -> Path:
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=25, options={"crf": "4"})
        stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
        for _ in range(frames):
            for packet in stream.encode(av.VideoFrame.from_ndarray(np.full((240, 320, 3), colour, np.uint8), "rgb24")):
                out.mux(packet)
        for packet in stream.encode(None):
            out.mux(packet)
    return path


def test_a_clip_comes_at_the_size_the_world_wants_for_ever_and_appears_as_soon_as_it_is_there(
    feed: LiveFeed, tmp_path: Path
) -> None:
    path = tmp_path / "clip.mp4"
    with watching(LiveSpec(live_source.SOURCE_CLASSES["file"], {"file": str(path)}), feed) as wait:
        wait(lambda: wait.status().get("state") == "waiting")
        assert "check the path" in wait.status()["message"]
        clip(tmp_path / "making.mp4", RED).rename(path)
        wait(lambda: feed.ring.newest > 25 and shows(feed, RED))  # it has ten pictures
        assert feed.ring.read()[1].shape == (288, 512, 3)
        feed.size.write(b"288 512")
        wait(lambda: feed.ring.read()[1].shape == (512, 288, 3))
        assert wait.status()["restarts"] == 0
        assert not wait.status()["message"]


def test_a_camera_that_hangs_is_ended_and_opened_again(
    feed: LiveFeed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(PEERS))
    spec = LiveSpec("fickle_camera:FickleCamera", {"path": str(tmp_path / "hung")})
    with watching(spec, feed, opening=5.0) as wait:
        wait(lambda: shows(feed, (77, 77, 77)))
        assert wait.status()["restarts"] >= 1


def test_an_ndi_sender_that_is_killed_and_comes_back_is_seen_again(feed: LiveFeed, discovery: None) -> None:
    pytest.importorskip("cyndilib", reason="the independent NDI sender is not installed: pip install cyndilib")
    name = f"wj live {os.getpid()}"

    def sender(colour: tuple[int, ...], name: str = name) -> subprocess.Popen[bytes]:
        command = [sys.executable, str(PEERS / "ndi_sender.py"), name, bytes(colour).hex()]
        return subprocess.Popen(command, stdin=subprocess.PIPE)

    with watching(LiveSpec(live_source.SOURCE_CLASSES["ndi"], {"name": name}), feed) as wait:
        first = sender(RED)
        try:
            wait(lambda: shows(feed, RED))
        finally:
            first.kill()
            first.wait()
        wait(lambda: wait.status().get("state") == "waiting")
        namesake = sender(BLUE, f"{name} 2")
        try:
            wait(lambda: f"({name} 2)" in wait.status().get("message", ""))
            assert shows(feed, RED), "what was seen last is still there, and nobody stands in for it"
        finally:
            namesake.communicate()
        second = sender(BLUE)
        try:
            wait(lambda: shows(feed, BLUE))
        finally:
            second.communicate()
        assert wait.status()["restarts"] == 0, "its own process found it again"


def place(tokens: Any) -> str:
    return ATTRIBUTES["place"][int(tokens[list(ATTRIBUTES).index("place")].argmax())]


def test_look_glides_the_tokens_to_the_place_that_is_seen(feed: LiveFeed, wait_for: Any) -> None:
    world = load("nano:runtime=torch", device="cpu")
    desert, city = (world.encode(Prompt(text)).values for text in ("desert at noon", "dancing in the city at night"))
    from worldjockey.model import Controls

    for _ in range(4):
        picture = world.step(Controls(desert, dt=0.1))[0].numpy()
    sight = LiveConditioning(world, feed)
    assert feed.wanted() == (512, 288)

    def look(share: float) -> Any:
        feed.ring.write(picture, FrameInfo(time.monotonic()))
        sight.frame(0.0, 0.05)
        return sight.look(city, share, 0.05)

    assert np.array_equal(look(0.0), city)
    wait_for(lambda: not np.array_equal(look(1.0), city))  # read in its own thread
    way = [look(1.0) for _ in range(120)]
    assert place(way[0]) == "city"
    assert place(way[-1]) == "desert"
    travelled = np.abs(way[-1] - city).max()
    assert max(np.abs(b - a).max() for a, b in itertools.pairwise(way)) < 0.35 * travelled, "no pop"
    figure = list(ATTRIBUTES).index("figure")
    assert np.array_equal(way[-1][figure], city[figure]), "of what a picture says nothing, the prompt does"
    assert np.array_equal(look(0.0), city)


def test_strength_is_of_what_is_there_and_leaves_with_it(feed: LiveFeed, monkeypatch: pytest.MonkeyPatch) -> None:
    sight = LiveConditioning(TestCard(), feed)
    assert sight.frame(1.0, 0.05) == (None, 0.0)
    feed.ring.write(np.full((288, 512, 3), RED, np.uint8), FrameInfo(time.monotonic()))
    came = [sight.frame(0.8, 0.05)[1] for _ in range(200)]
    assert came == sorted(came)
    assert 0 < came[0] < 0.2
    assert came[-1] == 0.8
    picture, _ = sight.frame(0.8, 0.05)
    assert picture is not None
    assert tuple(picture[0, 0]) == RED
    now = time.monotonic
    monkeypatch.setattr(time, "monotonic", lambda: now() + SOURCE_TIMEOUT_S)  # nothing came for so long
    left = [sight.frame(0.8, 0.05)[1] for _ in range(int(20 * FADE_S / 0.05))]
    assert left == sorted(left, reverse=True)
    assert left[0] > 0.6
    assert sight.frame(0.8, 0.05) == (None, 0.0)


@pytest.mark.parametrize(
    ("line", "kind", "options"),
    [
        ("live: {ndi: OBS}", "ndi", {"name": "OBS", "groups": None}),
        ("live: 'ndi:DESK (a: b)'", "ndi", {"name": "DESK (a: b)", "groups": None}),
        ("live: {camera: 1}", "camera", {"camera": 1}),
        ("live: camera", "camera", {"camera": 0}),
        ("live: camera:Logitech", "camera", {"camera": "Logitech"}),
        ("live: {file: 'rtsp://cam/1'}", "file", {"file": "rtsp://cam/1"}),
    ],
)
def test_a_show_says_what_the_world_sees(line: str, kind: str, options: dict[str, Any], tmp_path: Path) -> None:
    show = Show.parse(line)
    assert show.live is not None
    assert (show.live.kind, show.live.options(tmp_path)) == (kind, options)
    assert Show.parse(show.dump()).live == show.live
    assert show.initial()["live/strength"] == 0.5
    assert Show.parse(f"{line}\nvalues: {{live/look: 1}}").initial()["live/strength"] == 0


def test_a_live_line_that_means_nothing_is_refused_with_what_would(tmp_path: Path) -> None:
    for line in ("live: spout:OBS", "live: 'ndi:'", "live: {ndi: a, camera: 0}"):
        with pytest.raises(ShowError, match=r"my.yaml:1: live: .*camera: ?0"):
            Show.parse(line, "my.yaml")
    with pytest.raises(ShowError, match="did you mean 'camera'"):
        Show.parse("live: {kamera: 0}", "my.yaml")
    show = Show.parse("live: {file: none.mp4}")
    assert show.live is not None
    with pytest.raises(ShowError, match=r"none\.mp4: there is no such file"):
        show.live.options(tmp_path)
    assert Show.parse("").initial()["live/strength"] == 0
