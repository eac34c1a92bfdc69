"""Audio by NDI, received in processes of their own."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from play_command import headless
from worldjockey.integrations import AudioChunk, Frame, VideoFormat
from worldjockey.integrations.ndi.output import NDIOutput

pytestmark = pytest.mark.slow

PEERS = Path(__file__).parents[2] / "peers"
RATE = 48000
LEFT, RIGHT = (440.0, 0.5), (1000.0, 0.25)  # Hz and amplitude


def tone(first: int, samples: int) -> np.ndarray:
    """(samples, 2): a sine of its own on each side, from the `first` sample on."""
    at = (np.arange(samples) + first) / RATE
    return np.stack([level * np.sin(2 * np.pi * hz * at) for hz, level in (LEFT, RIGHT)], 1).astype(np.float32)


def decibels(ratio: float) -> float:
    return float(20 * np.log10(ratio))


def seconds(rows: list[dict[str, Any]]) -> float:
    return sum(row["samples"] / row["rate"] for row in rows)


class Listener:
    """peers/ndi_listener.py in a process of its own."""

    def __init__(self, source: str, folder: Path) -> None:
        self.rows: list[dict[str, Any]] = []
        self._folder = folder
        command = [sys.executable, str(PEERS / "ndi_listener.py"), source, str(folder)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self._process.stdout
        for line in self._process.stdout:
            self.rows.append(json.loads(line))

    def unbroken(self) -> list[dict[str, Any]]:
        """The longest run of pieces without a gap: a receiver that a busy machine holds up loses some."""
        runs: list[list[dict[str, Any]]] = [[]]
        for row in list(self.rows):
            before = runs[-1][-1] if runs[-1] else row
            due = before["timecode"] + before["samples"] / before["rate"]
            if runs[-1] and abs(row["timecode"] - due) > 0.02:
                runs.append([])
            runs[-1].append(row)
        return max(runs, key=seconds)

    def sound(self, rows: list[dict[str, Any]]) -> np.ndarray:
        """(channels, samples) of these pieces."""
        return np.concatenate([np.load(self._folder / f"{row['number']}.npy") for row in rows], 1)

    def stop(self) -> None:
        self._process.communicate()


@pytest.fixture
def listener(discovery: None, tmp_path: Path) -> Iterator[Callable[[str], Listener]]:
    with contextlib.ExitStack() as stack:

        def start(source: str) -> Listener:
            made = Listener(source, tmp_path)
            stack.callback(made.stop)
            return made

        yield start


@contextlib.contextmanager
def on_air(name: str) -> Iterator[tuple[NDIOutput, float]]:
    """Sends a grey frame and the tone at 30 frames a second; the output, and the time of the first sample."""
    output, fmt = NDIOutput(name, sound=True), VideoFormat(320, 180, 30)
    output.open(fmt)
    start, stop = time.monotonic(), threading.Event()

    def run() -> None:
        image, tick, first = np.full((180, 320, 2), 128, np.uint8), 0, 0
        while not stop.is_set():
            output.send(Frame(image, tick, start + tick / fmt.fps))
            samples = 1440 if tick % 3 else 1920  # whole pieces of 10 ms, as they come
            output.send_audio(AudioChunk(tone(first, samples), RATE, start + first / RATE))
            tick, first = tick + 1, first + samples
            stop.wait(max(start + tick / fmt.fps - time.monotonic(), 0))

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield output, start
    finally:
        stop.set()
        thread.join()
        output.close()


def test_audio_arrives_whole_and_in_time(listener: Callable[[str], Listener], wait_for: Any) -> None:
    name = f"wj sound {os.getpid()}"
    with on_air(name) as (output, start):
        receiver = listener(name)
        wait_for(lambda: seconds(receiver.unbroken()) > 2)
        wait_for(lambda: output.status()["sound_s"] > 2)
    rows = receiver.unbroken()
    first, sound = rows[0], receiver.sound(rows)
    utc = time.time() - time.monotonic()
    begins = round((first["timecode"] - utc - start) * RATE)  # which sample the first is, by its timecode
    assert (sound.shape[0], first["rate"]) == (2, RATE)
    places = np.cumsum([0, *(row["samples"] for row in rows[:-1])]) / RATE
    codes = [row["timecode"] - first["timecode"] for row in rows]
    assert np.abs(codes - places).max() < 1e-5  # no gap
    sent = tone(begins, sound.shape[1])
    assert begins >= 0
    assert np.abs(sound.T - sent).max() < 0.05  # another sample would be off by more, sooner or later
    for (hz, level), side in zip((LEFT, RIGHT), sound[:, -RATE:], strict=True):
        assert np.abs(np.fft.rfft(side)).argmax() == pytest.approx(hz, abs=1)
        assert abs(decibels(np.sqrt(2) * side.std() / level)) < 0.1


def test_an_independent_receiver_hears_both_sides(ndi_receiver: Any) -> None:
    """Through its frame synchroniser, as a mixer does."""
    name = f"wj sides {os.getpid()}"
    with on_air(name):
        receiver = ndi_receiver(name, "--uyvy", "--sound")

        def right(row: dict[str, Any]) -> bool:
            return all(
                abs(side["hz"] - hz) < 3 and abs(decibels(np.sqrt(2) * max(side["rms"], 1e-6) / level)) < 1
                for side, (hz, level) in zip(row["sound"], (LEFT, RIGHT), strict=True)
            )

        receiver.wait(right)


def wav(path: Path, seconds: float) -> Path:
    """The tone, whose waves end where they begin, so that it can go round."""
    with av.open(str(path), "w") as out:
        stream = out.add_stream("pcm_f32le", rate=RATE, layout="stereo")
        frame = av.AudioFrame.from_ndarray(tone(0, round(seconds * RATE)).reshape(1, -1), "flt", "stereo")
        frame.sample_rate = RATE
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            out.mux(packet)
    return path


@contextlib.contextmanager
def playing(folder: Path, *options: str) -> Iterator[Callable[[], dict[str, Any]]]:
    """`wj play` beside the test; ask for its report to end it."""
    report = folder / "report.json"
    show = subprocess.Popen(headless("--size", "320x180", "--report", str(report), *options))

    def end() -> dict[str, Any]:
        show.terminate()
        assert show.wait(120) == 0
        figures: dict[str, Any] = json.loads(report.read_text())
        return figures

    try:
        yield end
    finally:
        show.kill()
        show.wait()


def test_a_show_sends_the_sound_that_it_listens_to(
    tmp_path: Path, listener: Callable[[str], Listener], wait_for: Any
) -> None:
    show, name = tmp_path / "show.yaml", f"wj show {os.getpid()}"
    show.write_text(f"outputs: [{{kind: ndi, name: {name}}}, {{kind: ndi, name: mute {os.getpid()}, sound: false}}]")
    with playing(tmp_path, str(show), "--sound", str(wav(tmp_path / "tone.wav", 1))) as end:
        receiver = listener(name)
        wait_for(lambda: seconds(receiver.unbroken()) > 2)
        report = end()
    assert report["inputs"]["sound"]["state"] == "listening"
    assert report["outputs"]["ndi"]["facts"]["sound_s"] > 2
    assert "sound_s" not in report["outputs"]["ndi 2"]["facts"]
    rows = receiver.unbroken()
    sound = receiver.sound(rows)
    bends = [(2 * np.pi * hz / RATE) ** 2 * level for hz, level in (LEFT, RIGHT)]
    assert np.all(np.abs(np.diff(sound, 2)).max(1) < np.multiply(bends, 1.1))  # no seam: smooth throughout
    for (hz, level), side in zip((LEFT, RIGHT), sound[:, -RATE:], strict=True):
        assert np.abs(np.fft.rfft(side)).argmax() == pytest.approx(hz, abs=1)
        assert abs(decibels(np.sqrt(2) * side.std() / level)) < 1
    codes = [row["timecode"] for row in rows]
    places = np.cumsum([0, *(row["samples"] for row in rows[:-1])]) / RATE
    assert np.abs(np.subtract(codes, codes[0]) - places).max() < 0.02
    assert abs(codes[-1] - time.time()) < 60  # UTC


def test_a_show_without_audio_sends_none(discovery: None) -> None:
    output = NDIOutput(f"wj mute {os.getpid()}")
    output.open(VideoFormat(64, 36, 30))
    try:
        assert not output.wants_audio
        assert "sound_s" not in output.status()
    finally:
        output.close()
