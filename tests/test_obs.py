"""OBS Studio itself on a screen of our own: our stream as its media source, our window as its window capture."""

from __future__ import annotations

import io
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from http.client import HTTPException
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from obs import OBS, SCENE, obs, window_manager
from osc_client import message
from PIL import Image
from pythonosc.osc_message import OscMessage
from worldjockey.node.measure.show_process import free_port

pytestmark = pytest.mark.slow

WJ = [sys.executable, "-m", "worldjockey.node"]
RATE = 25
RED, GREEN, BLUE = (180, 40, 40), (30, 160, 70), (40, 60, 190)
SOURCES = "stream", "screen", "window"  # as `watch` and `capture` name them in OBS
NEAR = 12  # levels: JPEG and two turns between RGB and Y'CbCr


def hexadecimal(color: tuple[int, ...]) -> str:
    return "#" + bytes(color).hex()


class Playing:
    """`wj play` as a user starts it, for browsers and on the screen."""

    def __init__(self, folder: Path, model: str, prompt: str, port: int | None = None) -> None:
        self.port, self._osc, self.title = port or free_port(), free_port(), f"wj {os.getpid()} {time.monotonic_ns()}"
        self._report, self._errors = folder / f"{self.title}.json", folder / f"{self.title}.txt"
        self._feedback = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._feedback.bind(("127.0.0.1", 0))
        self._ticks = 0
        show = folder / f"{self.title}.yaml"
        show.write_text(
            f"name: {self.title}\nmodel: {model}\nprompt: '{prompt}'\nsize: 640x360\nfps: {RATE}\n"
            f"outputs: [{{kind: web, port: {self.port}}}, {{kind: window, monitor: 0}}]\n"
            f"osc: {{port: {self._osc}, feedback: {self._feedback.getsockname()[1]}, query: null}}\n"
            "midi: {enabled: false}\n"
        )
        with self._errors.open("wb") as errors:
            command = [*WJ, "play", str(show), "--report", str(self._report)]
            self.process = subprocess.Popen(command, stdout=errors, stderr=errors)

    @property
    def stream(self) -> str:
        return f"http://127.0.0.1:{self.port}/video.mjpeg"

    def _get(self, path: str) -> bytes:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/{path}", timeout=60) as answer:
            return bytes(answer.read())

    def on_air(self) -> bool:
        """Whether the world is there: brighter than the standby picture."""
        if self.process.poll() is not None:
            raise RuntimeError(self._errors.read_text())
        try:
            return bool(self.picture().mean((0, 1)).max() > 60)
        except (OSError, HTTPException):
            return False

    def watching(self) -> int:
        """How many players take the stream."""
        return int(json.loads(self._get("status.json"))["mjpeg"])

    def ticks(self) -> int:
        """How many pictures went out, as the show last told by OSC."""
        while select.select([self._feedback], [], [], 0)[0]:
            said = OscMessage(self._feedback.recv(65536))
            if said.address == "/wj/status/frames":
                self._ticks = int(said.params[0])
        return self._ticks

    def picture(self) -> np.ndarray:
        """What the program shows, (H, W, 3) RGB."""
        return np.asarray(Image.open(io.BytesIO(self._get("frame.jpg"))).convert("RGB"))

    def osc(self, address: str, *values: object) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
            out.sendto(message(address, *values), ("127.0.0.1", self._osc))

    def stop(self) -> dict[str, Any]:
        """Ctrl-C; the run's report."""
        self.process.send_signal(signal.SIGINT)
        assert self.process.wait(120) == 0, self._errors.read_text()
        return dict(json.loads(self._report.read_text()))

    def kill(self) -> None:
        self._feedback.close()
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


@pytest.fixture
def play(display: str, tmp_path: Path) -> Iterator[Callable[..., Playing]]:
    with ExitStack() as stack:

        def start(*args: Any, **options: Any) -> Playing:
            playing = Playing(tmp_path, *args, **options)
            stack.callback(playing.kill)
            return playing

        yield start


@pytest.fixture
def studio(display: str, tmp_path: Path) -> Iterator[Callable[[], OBS]]:
    """Starts OBS beside a window manager, which its window capture needs."""
    with ExitStack() as stack:
        stack.enter_context(window_manager(tmp_path))
        yield lambda: stack.enter_context(obs(tmp_path / f"obs-{time.monotonic_ns()}"))


def likeness(a: np.ndarray, b: np.ndarray) -> float:
    """Correlation of two pictures of one shape."""
    return float(np.corrcoef(a.ravel().astype(float), b.ravel().astype(float))[0, 1])


def watch(studio: OBS, playing: Playing) -> None:
    """As a user would: a media source with our address, reconnecting at once."""
    studio.add(
        "stream", "ffmpeg_source", is_local_file=False, input=playing.stream, input_format="mjpeg",
        reconnect_delay_sec=1, hw_decode=False,
    )  # fmt: skip


def capture(studio: OBS, playing: Playing, wait_for: Any) -> None:
    """As a user would: a capture of the screen that our window fills, and one of our window, chosen from the list."""
    studio.add("screen", "xshm_input", show_cursor=False)
    studio.add("window", "xcomposite_input", show_cursor=False)
    wait_for(lambda: playing.title in studio.windows("window"), what="our window in OBS's list")
    chosen = {"capture_window": studio.windows("window")[playing.title]}
    studio.call("SetInputSettings", inputName="window", inputSettings=chosen)


def shows(studio: OBS, source: str, color: tuple[int, ...]) -> Callable[[], bool]:
    """Whether OBS shows that colour above the test card's moving block."""
    return lambda: bool((abs(studio.picture(source)[:200].mean((0, 1)) - color) <= NEAR).all())


def test_obs_shows_what_was_prompted(play: Any, studio: Any, wait_for: Any) -> None:
    from worldjockey.model.evaluate.probe import load_probe

    probe, director, playing = load_probe(), studio(), play("nano", "a calm sea at noon")
    wait_for(playing.on_air, 90, "the show")
    watch(director, playing)
    capture(director, playing, wait_for)

    def sees(source: str, place: str, light: str) -> Callable[[], bool]:
        def look() -> bool:
            seen = probe.read(director.picture(source))
            return (seen["place"], seen["light"]) == (place, light)

        return look

    for source in SOURCES:
        wait_for(sees(source, "sea", "noon"), what=f"the show's prompt in OBS's {source}")
    before = playing.picture()

    playing.osc("/wj/prompt", "endless tunnel, neon", 0.0)
    for source in (*SOURCES, SCENE):
        wait_for(sees(source, "tunnel", "neon"), what=f"the new prompt in OBS's {source}")

    playing.osc("/wj/freeze", 1)  # the same picture everywhere, to be compared
    size = before.shape[1], before.shape[0]
    for source in (*SOURCES, SCENE):
        wait_for(
            lambda source=source: likeness(director.picture(source, size), playing.picture()) > 0.98,
            what=f"the program's picture in OBS's {source}",
        )  # fmt: skip
    assert likeness(before, playing.picture()) < 0.9  # another picture would not have passed
    assert playing.stop()["restarts"] == 0


def test_the_show_goes_on_without_obs_and_obs_without_the_show(play: Any, studio: Any, wait_for: Any) -> None:
    director, playing = studio(), play("testcard", hexadecimal(RED))
    wait_for(playing.on_air, 90, "the show")
    watch(director, playing)
    capture(director, playing, wait_for)
    for source in SOURCES:
        wait_for(shows(director, source, RED), what=f"red in OBS's {source}")
    wait_for(lambda: playing.watching() == 1, what="one player")
    playing.osc("/wj/energy", 0.5)  # whoever sends is told how the show goes
    wait_for(lambda: playing.ticks() > 0, what="the show's ticks")

    director.kill()
    ticks = playing.ticks()
    wait_for(lambda: playing.ticks() >= ticks + 2 * RATE, what="two more seconds of ticks")
    wait_for(lambda: playing.watching() == 0, what="the show to let OBS go")
    playing.osc("/wj/prompt", hexadecimal(GREEN), 0.0)
    wait_for(lambda: (abs(playing.picture()[:200].mean((0, 1)) - GREEN) <= NEAR).all(), what="the new prompt")

    director = studio()
    watch(director, playing)
    wait_for(shows(director, "stream", GREEN), what="green in the next OBS")
    report = playing.stop()
    assert report["restarts"] == 0
    assert [output["restarts"] for output in report["outputs"].values()] == [0, 0]
    # A busy machine may cost a tick while everything starts; a show that waited for OBS would lose most of them.
    assert report["missed"] <= report["frames_sent"] // 4

    play("testcard", hexadecimal(BLUE), port=playing.port)
    wait_for(shows(director, "stream", BLUE), what="the next show in the same OBS")
