"""Audio in a recording, decoded back: its times, silence in its gaps, and what a crash leaves."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from clicking import FLASHES, FMT, RATE, clicks, decoded, onsets, plain
from killed import killed_at
from play_command import headless
from wav import wav
from worldjockey.integrations import AudioChunk, Frame
from worldjockey.integrations.recording import FileOutput

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".mov", ".ts"])
@pytest.mark.parametrize("drift", [0.0, 500e-6, -500e-6])
def test_audio_lies_at_the_tick_of_its_arrival(tmp_path: Path, suffix: str, drift: float) -> None:
    """A sound card off by half a thousandth, that is away from the fourth second to the fifth, and begins early."""
    output, start, early = FileOutput(tmp_path / f"clip{suffix}", sound=True), 5000.0, 0.3
    output.open(FMT)
    piece = 0
    for tick in range(300):
        due = tick / FMT.fps
        output.send(Frame(plain(235 if tick in FLASHES else 16), 70 + tick, start + due))
        while (begin := piece * 0.01 * (1 + drift) - early) + 0.01 <= due:
            if not 4 <= begin < 5.2:
                output.send_audio(AudioChunk(clicks(begin), RATE, start + begin))
            piece += 1
    output.close()
    assert output.status()["frames"] == 300
    images, times, sound = decoded(output.path)
    assert np.subtract([t for t, _ in images], images[0][0]) == pytest.approx(np.arange(300) / FMT.fps, abs=0.001)
    flashes = [t for t, luma in images if luma > 200]
    found = onsets(times, sound)
    there = [t for t in flashes if not 4 <= t - images[0][0] < 5.2]
    assert found == pytest.approx(there, abs=0.01)
    assert len(there) == len(flashes) - 1
    away = (times > 4.1) & (times < 5.1)
    assert np.abs(sound[:, away]).max() < 1e-3
    assert times[-1] - images[0][0] == pytest.approx(300 / FMT.fps, abs=0.04)
    level = sound[:, np.abs(sound[0]) > 0.2].std(1)
    assert 20 * np.log10(level[0] / level[1]) == pytest.approx(6, abs=1)


def test_a_clip_without_audio_input_is_silent_and_whole(tmp_path: Path) -> None:
    output = FileOutput(tmp_path / "clip.mp4", sound=True)
    output.open(FMT)
    for tick in range(90):
        output.send(Frame(plain(100), tick, tick / FMT.fps))
    output.close()
    images, times, sound = decoded(output.path)
    assert len(images) == 90
    assert not sound.any()
    assert times[-1] == pytest.approx(90 / FMT.fps, abs=0.04)


def test_a_recording_has_no_sound_unless_it_is_asked_for(tmp_path: Path) -> None:
    output = FileOutput(tmp_path / "clip.mp4")
    output.open(FMT)
    output.send(Frame(plain(100), 0, 0.0))
    output.send_audio(AudioChunk(clicks(0.0), RATE, 0.0))
    output.close()
    assert not output.wants_audio
    with av.open(str(output.path)) as container:
        assert not container.streams.audio


WRITER = """
import sys
import numpy as np
from worldjockey.integrations import Frame, AudioChunk, VideoFormat
from worldjockey.integrations.recording import FileOutput

output = FileOutput(sys.argv[1], sound=True)
output.open(VideoFormat(64, 64, 30))
noise = np.random.default_rng(0).integers(0, 256, (96, 64), np.uint8)
for tick in range(201):
    output.send(Frame(np.roll(noise, tick, 1), tick, tick / 30))
    if sys.argv[2] == "audio":
        output.send_audio(AudioChunk(0.1 * np.ones((1600, 2), np.float32), 48000, tick / 30))
    print(tick, flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".mov", ".ts"])
@pytest.mark.parametrize("sound", ["audio", "no audio"])
def test_a_killed_recording_plays_to_within_two_seconds(tmp_path: Path, suffix: str, sound: str) -> None:
    path = tmp_path / f"killed{suffix}"
    killed_at("200", WRITER, str(path), sound)
    images, times, _ = decoded(path)
    assert images[-1][0] >= (200 - 60) / 30
    assert times[-1] >= (200 - 60) / 30


def play(folder: Path, *options: str) -> tuple[dict[str, Any], Path]:
    """`wj play` for 6 s into a clip; its report and the clip."""
    report, clip = folder / "report.json", folder / "clip.mp4"
    out = ["--out", f"file:{clip}", "--report", str(report), *options]
    subprocess.run(headless("--size", "320x180", "--seconds", "6", *out), check=True, timeout=180)
    figures: dict[str, Any] = json.loads(report.read_text())
    return figures, clip


def test_a_show_records_the_sound_that_it_listens_to(tmp_path: Path) -> None:
    tones = [0.5 * np.sin(2 * np.pi * hz * np.arange(RATE) / RATE) for hz in (500, 1200)]
    report, clip = play(tmp_path, "--sound", str(wav(tmp_path / "tone.wav", RATE, *tones)))
    images, times, sound = decoded(clip)
    assert report["outputs"]["file"]["restarts"] == 0
    assert times[-1] == pytest.approx(images[-1][0], abs=0.08)

    def right(second: np.ndarray) -> bool:
        """Both tones, as loud as they were."""
        tones, levels = np.abs(np.fft.rfft(second)).argmax(1), second.std(1) * 2**0.5 / 0.5
        return bool(tones == pytest.approx([500, 1200], abs=2) and np.abs(20 * np.log10(levels + 1e-6)).max() < 1)

    seconds = [sound[:, at : at + RATE] for at in range(RATE // 2, sound.shape[1] - RATE, RATE // 4)]
    assert any(map(right, seconds)), "a busy machine may tear some, and not all"


def test_a_source_that_is_not_there_costs_no_frame(tmp_path: Path) -> None:
    report, clip = play(tmp_path, "--sound", f"no such microphone {os.getpid()}")
    images, _, sound = decoded(clip)
    assert report["inputs"]["sound"]["state"] == "no sound"
    assert report["outputs"]["file"]["restarts"] == 0
    # What is sent before a file is open is not in it.
    assert 30 < len(images) == report["outputs"]["file"]["facts"]["frames"]
    assert np.median(np.diff([when for when, _ in images])) == pytest.approx(1 / 30, abs=0.002)
    assert not sound.any()
