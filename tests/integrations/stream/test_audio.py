"""Sound in a stream, taken by the ffmpeg program and decoded: flashes and clicks that were one are one there."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from clicking import FMT, RATE, clicks, decoded, onsets, plain
from on_air import on_air as played
from worldjockey.integrations.stream.output import StreamOutput
from worldjockey.node.measure.show_process import free_port

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not shutil.which("ffmpeg"), reason="no ffmpeg program here: apt install ffmpeg"),
]
FLASHES = range(20, 10_000, 25)
LATE = 0.04  # seconds after which sound arrives


def on_air(url: str, sound: bool = True, clicking: bool = True) -> AbstractContextManager[StreamOutput]:
    def paint(tick: int) -> np.ndarray:
        return plain(235 if tick in FLASHES else 16)

    return played(
        StreamOutput(url, sound=sound), FMT, paint, partial(clicks, flashes=FLASHES) if clicking else None, LATE
    )


def take(url: str, path: Path, seconds: float = 6, options: Sequence[str] = ()) -> Path:
    """What comes by the stream, as it is coded; a receiver that found nobody tries again, as OBS does."""
    command = ["ffmpeg", "-v", "error", "-nostdin", "-y", "-probesize", "500k", "-analyzeduration", "1000k", *options]
    for _ in range(5):
        took = subprocess.run([*command, "-i", url, "-t", str(seconds), "-c", "copy", str(path)], capture_output=True)
        if took.returncode == 0 and path.stat().st_size > 2000:
            return path
    raise AssertionError(took.stderr.decode())


SCHEMES = "tcp", "udp", "srt", "rtmp"


@pytest.fixture(scope="module")
def taken(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Future[Path]]:
    """What came by a stream of each kind. They are on air at the same time."""

    def play(scheme: str, path: Path) -> Path:
        url = f"{scheme}://127.0.0.1:{free_port()}{'/live/show' if scheme == 'rtmp' else ''}"
        with on_air(url):
            return take(url, path, options=["-listen", "1"] if scheme == "rtmp" else [])

    folder = tmp_path_factory.mktemp("taken")
    with ThreadPoolExecutor(len(SCHEMES)) as pool:
        return {scheme: pool.submit(play, scheme, folder / f"{scheme}.mkv") for scheme in SCHEMES}


@pytest.mark.parametrize("scheme", SCHEMES)
def test_frames_and_audio_of_one_time_arrive_together(scheme: str, taken: dict[str, Future[Path]]) -> None:
    path = taken[scheme].result()
    images, times, sound = decoded(path)
    flashes = np.array([when for when, luma in images if luma > 200])
    found = onsets(times, sound)
    both = [when for when in flashes if times[0] + 0.1 < when < times[-1] - 0.1]
    assert len(both) >= 3
    assert [np.abs(found - when).min() for when in both] == pytest.approx([0.0] * len(both), abs=0.015)
    apart = np.diff(found) * FMT.fps / (FLASHES[1] - FLASHES[0])
    assert np.abs(apart - apart.round()).max() < 0.02, "no click lies between two flashes"
    level = sound[:, np.abs(sound[0]) > 0.2].std(1)
    assert 20 * np.log10(level[0] / level[1]) == pytest.approx(6, abs=1)


def test_frames_are_sent_without_any_audio(tmp_path: Path) -> None:
    url = f"tcp://127.0.0.1:{free_port()}"
    with on_air(url, clicking=False):
        images, times, sound = decoded(take(url, tmp_path / "taken.mkv", 2))
    assert len(images) > 20  # of 60: a busy machine may leave some out
    assert len(times) > RATE
    assert not sound.any()


def test_a_stream_has_no_sound_unless_it_is_asked_for(tmp_path: Path) -> None:
    url = f"tcp://127.0.0.1:{free_port()}"
    with on_air(url, sound=False):
        path = take(url, tmp_path / "taken.mkv", 1)
    with pytest.raises(IndexError):
        decoded(path)
