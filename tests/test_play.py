"""The whole chain, as users run it: the real command, OSC and MIDI from other programs, an NDI receiver elsewhere."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from package import describe
from pythonosc.osc_message import OscMessage
from worldjockey.node.measure.show_process import free_port

pytestmark = pytest.mark.slow

OSC_CLIENT = Path(__file__).parent / "peers" / "osc_client.py"
EXAMPLES = Path(__file__).parents[1] / "examples"
WJ = [sys.executable, "-m", "worldjockey.node"]
RED, GREEN, BLUE = (180, 40, 40), (30, 160, 70), (40, 60, 190)
SIZE, RATE = (1280, 720), 30
NEAR = 16  # levels: NDI rounds RGB down on its way to Y'CbCr and back, most of all in saturated blue


def hexadecimal(color: tuple[int, ...]) -> str:
    return "#" + bytes(color).hex()


TESTCARD = f"model: testcard\nprompt: '{hexadecimal(RED)}'\npads: ['{hexadecimal(GREEN)}']\n"
NANO = "model: nano\nprompt: a calm sea at noon\npads: ['sunset over the desert']\n"


def shows(color: tuple[int, ...]) -> Callable[[dict[str, Any]], bool]:
    return lambda row: all(abs(a - b) <= NEAR for a, b in zip(row["mean"], color, strict=False))


def osc(port: int, *words: object) -> None:
    """Another program sends OSC."""
    subprocess.run([sys.executable, str(OSC_CLIENT), str(port), *map(str, words)], check=True, capture_output=True)


class Feedback:
    """A controller that listens to what the node tells it: the latest values of each address."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                message = OscMessage(self._socket.recv(65536))
                self.values[message.address] = message.params[0] if message.params else None

    def close(self) -> None:
        self._socket.close()


class Playing:
    """`wj play` as a user starts it, with a source name and a port of its own."""

    def __init__(self, folder: Path, *options: str, world: str = TESTCARD, ndi: str = "layout: rgba") -> None:
        self.port, self.source = free_port(), f"wj play {os.getpid()} {time.monotonic_ns()}"
        self.feedback = Feedback()
        self._report = folder / "report.json"
        self._errors = folder / "stderr.txt"
        show = folder / "show.yaml"
        show.write_text(
            f"{world}size: {SIZE[0]}x{SIZE[1]}\nfps: {RATE}\n"
            f"outputs: [{{kind: ndi, name: '{self.source}', {ndi}}}]\n"
            f"osc: {{port: {self.port}, feedback: {self.feedback.port}}}\n"
        )
        command = [*WJ, "play", str(show), "--headless", "--no-surface", "--report", str(self._report), *options]
        with self._errors.open("wb") as errors:
            self.process = subprocess.Popen(command, stdout=errors, stderr=errors)

    def stop(self) -> dict[str, Any]:
        """Ctrl-C; the run's report. It must end by itself, cleanly."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        try:
            code = self.process.wait(120)
        finally:
            self.process.kill()
            self.feedback.close()
        assert code == 0, self._errors.read_text()
        return json.loads(self._report.read_text())


@pytest.fixture
def play(discovery: None, tmp_path: Path) -> Iterator[Callable[..., Playing]]:
    running: list[Playing] = []

    def start(*options: str, **more: str) -> Playing:
        running.append(Playing(tmp_path, *options, **more))
        return running[-1]

    yield start
    for playing in running:
        if playing.process.poll() is None:
            playing.process.kill()
            playing.process.wait()


def test_what_a_performer_does_reaches_the_audience(play: Any, jack: str, ndi_receiver: Any, wait_for: Any) -> None:
    import rtmidi

    controller = rtmidi.MidiOut(rtmidi.API_UNIX_JACK, name="pad controller")
    controller.open_virtual_port("out")
    playing = play()
    receiver = ndi_receiver(playing.source)
    first = receiver.wait(shows(RED))
    assert first["size"] == list(SIZE)
    assert first["fps"] == [RATE, 1]
    assert first["alpha"] == [255, 255]

    osc(playing.port, "send", "/wj/prompt", hexadecimal(BLUE), 0.0)
    receiver.wait(shows(BLUE))

    note_on, note_off, first_pad = 0x90, 0x80, 36

    def pressed() -> bool:  # the node finds the controller by itself, within its own time
        controller.send_message([note_on, first_pad, 127])
        return playing.feedback.values.get("/wj/pad/1") == 1.0

    wait_for(pressed)
    receiver.wait(shows(GREEN))
    controller.send_message([note_off, first_pad, 0])
    receiver.wait(shows(BLUE))
    controller.close_port()
    controller.delete()
    for where in ("preview", "program"):
        receiver.tell(f"{where} 1")
        wait_for(lambda where=where: playing.feedback.values.get("/wj/status/tally") == where)

    start = receiver.rows[-1]["number"]
    last = receiver.wait(lambda row: row["number"] >= start + 2 * RATE)
    rows = [row for row in receiver.rows if start <= row["number"] <= last["number"]]
    apart = np.diff([row["timecode"] for row in rows])
    assert np.median(apart) == pytest.approx(1 / RATE, rel=0.1), "a busy receiver may leave some out"
    assert all(row["size"] == list(SIZE) and row["alpha"] == [255, 255] for row in receiver.rows)

    report = playing.stop()
    assert report["size"] == f"{SIZE[0]}x{SIZE[1]}"
    assert report["restarts"] == 0
    assert report["latency_ms"]["count"] >= 3
    assert report["frames_sent"] >= len(receiver.rows)
    assert report["world"]["fps"] > 0


def test_the_figure_alone_reaches_the_audience(play: Any, ndi_receiver: Any, wait_for: Any) -> None:
    playing = play(world=NANO, ndi="key: figure")
    receiver = ndi_receiver(playing.source)

    def top() -> float:
        """Where the figure begins, from the top of the picture; 1 where all or nothing is figure."""
        alpha = receiver.picture()[..., 3]
        assert set(alpha[0].tolist()) <= {0} or (alpha == 255).all()  # the standby picture is opaque
        rows = np.flatnonzero((alpha > 128).any(1))
        return 1.0 if len(rows) in (0, len(alpha)) else float(rows[0] / len(alpha))

    receiver.wait(lambda row: True)
    wait_for(lambda: 0.2 < top() < 0.5, what="a figure")
    osc(playing.port, "send", "/wj/act/jump")
    wait_for(lambda: top() < 0.2, what="a figure in the air")
    osc(playing.port, "send", "/wj/act/none")
    osc(playing.port, "send", "/wj/prompt", "an empty meadow, nobody there", 0.0)
    wait_for(lambda: not (receiver.picture()[..., 3] > 128).any(), what="nobody")
    playing.stop()


def test_a_world_without_a_figure_says_so_and_is_opaque(
    play: Any, ndi_receiver: Any, wait_for: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    describe(tmp_path / "plugin", "wj-plasma", plasma="wj_plasma:Plasma")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path / 'plugin'}{os.pathsep}{EXAMPLES / 'world_plugin'}")
    playing = play(world="model: plasma\nprompt: waves\n", ndi="key: figure")
    receiver = ndi_receiver(playing.source)

    def told() -> str:
        return " ".join((tmp_path / "stderr.txt").read_text().split())

    said = "wj: this world has no matte, so key: figure makes the whole frame opaque"
    wait_for(lambda: said in told(), what="a word of it")
    assert receiver.wait(lambda row: True)["alpha"] == [255, 255]
    playing.stop()
    assert told().count(said) == 1


def test_floods_noise_and_rivals_leave_the_show_alone(play: Any, ndi_receiver: Any, wait_for: Any) -> None:
    playing = play("--no-midi")
    receiver = ndi_receiver(playing.source)
    receiver.wait(shows(RED))
    control = psutil.Process(playing.process.pid)
    osc(playing.port, "flood", "/wj/cam/zoom", 0.75, "--seconds", 0.5)  # buffers reach their size
    before = control.memory_info().rss

    osc(playing.port, "flood", "/wj/cam/zoom", 0.25, "--rate", 10_000, "--seconds", 3)
    wait_for(lambda: playing.feedback.values.get("/wj/cam/zoom") == pytest.approx(0.25))
    assert control.memory_info().rss - before < 8e6

    osc(playing.port, "noise", "--count", 10_000)
    osc(playing.port, "send", "/wj/panic", 1)
    osc(playing.port, "send", "/wj/prompt", hexadecimal(GREEN), 0.0)
    receiver.wait(shows(GREEN))

    rival = [
        *WJ,
        "play",
        "--model",
        "testcard",
        "--headless",
        "--no-surface",
        "--out",
        "none",
        "--osc-port",
        str(playing.port),
    ]
    result = subprocess.run(rival, capture_output=True, text=True, timeout=120)
    assert result.returncode == 2
    assert f"OSC port {playing.port} is taken" in result.stderr
    osc(playing.port, "send", "/wj/prompt", hexadecimal(BLUE), 0.0)
    receiver.wait(shows(BLUE))

    report = playing.stop()
    assert report["restarts"] == 0
    assert report["outputs"]["ndi"]["restarts"] == 0
    assert report["inputs"]["osc"]["malformed"] > 1000
    # A busy machine may cost a tick while everything starts; a flood that reached the clock would cost most of them.
    assert report["missed"] <= report["frames_sent"] // 4


def test_the_embedded_world_shows_what_was_played(play: Any, jack: str, ndi_receiver: Any, wait_for: Any) -> None:
    import rtmidi
    from worldjockey.model.evaluate.probe import load_probe

    probe = load_probe()
    controller = rtmidi.MidiOut(rtmidi.API_UNIX_JACK, name="pad controller")
    controller.open_virtual_port("out")
    playing = play(world=NANO)
    receiver = ndi_receiver(playing.source)
    receiver.wait(lambda row: max(row["mean"][:3]) > 60)  # brighter than the standby picture: the world is there

    def sees(place: str, light: str) -> Callable[[], bool]:
        def look() -> bool:
            seen = probe.read(receiver.picture()[..., :3])
            return (seen["place"], seen["light"]) == (place, light)

        return look

    wait_for(sees("sea", "noon"), what="the show's own prompt")
    osc(playing.port, "send", "/wj/prompt", "endless tunnel, neon", 0.5)
    wait_for(sees("tunnel", "neon"), what="the prompt that OSC sent")

    def pressed() -> bool:
        controller.send_message([0x90, 36, 127])
        return playing.feedback.values.get("/wj/pad/1") == 1.0

    wait_for(pressed)
    wait_for(sees("desert", "sunset"), what="the pad that MIDI played")
    controller.close_port()
    controller.delete()
    report = playing.stop()
    assert report["world"]["model"] == "nano"
    assert report["restarts"] == 0


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["play", "nowhere.yaml"], ["nowhere.yaml", "no such file"]),
        (["play", "broken.yaml"], ["broken.yaml:2", "colour"]),
        (["play", "--out", "hologram"], ["hologram", "window, ndi, file"]),
        (["play", "--headless", "--no-midi", "--no-osc", "--out", "none", "--model", "nope"], ["nope", "nano"]),
        (["play", "--size", "big"], ["--size", "1920x1080"]),
        (["play", "--out", "file:clip.avi"], ["clip.avi", ".mp4"]),
    ],
)
def test_a_mistake_is_one_clear_line_and_code_2(options: list[str], words: list[str], tmp_path: Path) -> None:
    (tmp_path / "broken.yaml").write_text("name: mine\ncolour: red\n")
    result = subprocess.run([*WJ, *options], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert result.returncode == 2, result.stderr
    assert "Traceback" not in result.stderr
    for word in words:
        assert word in result.stderr
