"""File out, decoded back: colours, count and rate; what a crash or a full disk leaves behind."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
import threading
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from killed import killed_at
from play_command import headless
from worldjockey.integrations import Frame, VideoFormat
from worldjockey.integrations.media import h264
from worldjockey.integrations.recording import FileOutput

pytestmark = pytest.mark.slow


def plain(width: int, height: int, y: int, cb: int, cr: int) -> np.ndarray:
    image = np.empty((height * 3 // 2, width), np.uint8)
    image[:height] = y
    image[height : height * 5 // 4] = cb
    image[height * 5 // 4 :] = cr
    return image


def decode(path: Path) -> tuple[Any, list[Any]]:
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        return stream, list(container.decode(stream))


def played(path: Path) -> list[float]:
    """The times of the frames that a recording shows whose last piece may be cut."""
    times = []
    with av.open(str(path)) as container, contextlib.suppress(av.error.FFmpegError):
        for frame in container.decode(video=0):
            times.append(frame.time)
    return times


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".mov", ".ts"])
def test_decodes_back_to_what_was_sent(tmp_path: Path, suffix: str) -> None:
    output = FileOutput(tmp_path / f"clip{suffix}")
    output.open(VideoFormat(320, 180, 30000, 1001))
    colors = [(60 + tick, 90, 240) if tick < 45 else (173, 42, 26) for tick in range(90)]
    for tick, color in enumerate(colors):
        output.send(Frame(plain(320, 180, *color), 1000 + tick, 0.0))
    output.close()
    with av.open(str(tmp_path / f"clip{suffix}")) as container:
        stream = container.streams.video[0]
        assert stream.average_rate is not None
        assert abs(stream.average_rate - Fraction(30000, 1001)) < Fraction(1, 1000)
        assert stream.codec_context.name == "h264"
        assert (stream.width, stream.height) == (320, 180)
        frames = list(container.decode(stream))
    assert len(frames) == 90
    tags = {(int(f.colorspace), int(f.color_primaries), int(f.color_trc), int(f.color_range)) for f in frames}
    assert tags == {(1, 1, 1, 1)}  # BT.709, limited range
    for tick, (frame, color) in enumerate(zip(frames, colors, strict=True)):
        assert frame.time - frames[0].time == pytest.approx(tick * 1001 / 30000, abs=0.001)
        seen = frame.to_ndarray()
        parts = seen[:180], seen[180:225], seen[225:]
        for part, value in zip(parts, color, strict=True):
            assert abs(part.astype(float) - value).max() <= 3
    assert output.status()["frames"] == 90
    assert output.status()["bytes"] == (tmp_path / f"clip{suffix}").stat().st_size


def test_the_first_encoder_that_codes_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for number, hardware in enumerate([{"h264_nvenc": "nv12", "mpeg4": "yuv420p"}, {"no such": "nv12"}, {}]):
        monkeypatch.setattr(h264, "HARDWARE", hardware)
        monkeypatch.setattr(h264.av.codec, "codecs_available", {"mpeg4", "libx264"})
        h264.choose.cache_clear()
        output = FileOutput(tmp_path / f"{number}.mp4")
        output.open(VideoFormat(64, 64, 30))
        for tick in range(3):
            output.send(Frame(plain(64, 64, 100, 128, 128), tick, 0.0))
        output.close()
        found.append(output.status()["encoder"])
        assert abs(decode(tmp_path / f"{number}.mp4")[1][-1].to_ndarray()[10, 10].astype(int) - 100) < 4
    h264.choose.cache_clear()
    assert found == ["mpeg4", "libx264", "libx264"]


@pytest.mark.parametrize(
    ("options", "taken"),
    [
        ({"bf": "2"}, {"bf": "2"}),
        ({"bf": "as many as you like"}, {}),
        ({"no such option": "1"}, {"no such option": "1"}),  # which FFmpeg passes over
    ],
)
def test_an_encoder_that_refuses_to_hurry_still_codes(
    options: dict[str, str], taken: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(h264, "HARDWARE", {"mpeg4": "yuv420p"})
    monkeypatch.setattr(h264, "LOW_LATENCY", {"mpeg4": options})
    h264.choose.cache_clear()
    assert h264.choose(64, 64) == ("mpeg4", h264.IDR | taken)
    h264.choose.cache_clear()


@pytest.mark.parametrize("name", h264.HARDWARE)
def test_the_hardwares_encoders_know_the_options_they_get(name: str) -> None:
    """An encoder reads its options before it looks for its hardware, so that this needs none."""
    if name not in av.codec.codecs_available:
        pytest.skip(f"{name} is another system's")

    def reads(options: dict[str, str]) -> bool:
        coder: Any = av.CodecContext.create(name, "w")
        coder.width, coder.height, coder.pix_fmt = 256, 256, h264.HARDWARE[name]
        coder.time_base, coder.options = Fraction(1, 30), options
        try:
            coder.open()
        except ValueError:  # "Invalid argument"
            return False
        except (av.FFmpegError, OSError):  # no such hardware here
            pass
        return True

    for option, value in h264.LOW_LATENCY[name].items():
        assert reads({option: value}), (option, value)
        assert not reads({option: "nonsense"}), f"{option} is not known, or takes anything"


def test_a_missed_tick_lengthens_the_one_before(tmp_path: Path) -> None:
    output = FileOutput(tmp_path / "gap.mp4")
    output.open(VideoFormat(64, 64, 30))
    for tick in (0, 1, 1, 5, 6):
        output.send(Frame(plain(64, 64, 16 + 10 * tick, 128, 128), tick, 0.0))
    output.close()
    _, frames = decode(tmp_path / "gap.mp4")
    assert [round(frame.time * 30) for frame in frames] == [0, 1, 5, 6]


WRITER = """
import sys
import numpy as np
from worldjockey.integrations import Frame, VideoFormat
from worldjockey.integrations.recording import FileOutput

output = FileOutput(sys.argv[1])
output.open(VideoFormat(64, 64, 30))
noise = np.random.default_rng(0).integers(0, 256, (96, 64), np.uint8)
for tick in range(0, int(sys.argv[2]), int(sys.argv[3])):
    output.send(Frame(np.roll(noise, tick, 1), tick, 0.0))
    print(tick, flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".mov", ".ts"])
@pytest.mark.parametrize("step", [1, 5])
def test_a_killed_recording_plays_to_within_two_seconds(tmp_path: Path, suffix: str, step: int) -> None:
    path = tmp_path / f"killed{suffix}"
    killed_at("200", WRITER, str(path), "201", str(step))
    times = played(path)
    assert np.subtract(times, times[0]) == pytest.approx([n * step / 30 for n in range(len(times))], abs=0.002)
    assert times[-1] - times[0] >= (200 - 60) / 30


def test_a_full_disk_is_named_and_what_was_written_plays(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    limited = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))\n" + WRITER
    path = tmp_path / "full.mp4"
    result = subprocess.run(
        [sys.executable, "-c", limited, str(path), "3000", "1"], input="", capture_output=True, text=True, timeout=120
    )
    assert resource
    assert result.returncode == 1
    assert f"OSError: the recording {path} stopped: File too large; free some space" in result.stderr
    with av.open(str(path)) as container:
        assert next(container.decode(video=0)).width == 64


def record(path: Path, ticks: int) -> FileOutput:
    output = FileOutput(path)
    try:
        output.open(VideoFormat(320, 180, 30))
        noise = np.random.default_rng(0).integers(0, 256, (270, 320), np.uint8)
        for tick in range(ticks):
            output.send(Frame(np.roll(noise, tick, 1), tick, 0.0))
    finally:
        output.close()
    return output


def test_recording_goes_on_in_a_new_file_once_there_is_space(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "none", str(disk)], capture_output=True)
    if mount.returncode:
        pytest.skip("only root can mount a small disk")
    try:
        with pytest.raises(OSError, match=r"clip\.mp4 stopped: No space left on device; free some space"):
            record(disk / "clip.mp4", 3000)
        assert len(played(disk / "clip.mp4")) >= 30
        for room in (0, 0, 4096):  # as it is tried again and again
            with (disk / "clip.mp4").open("rb+") as file:
                file.truncate((disk / "clip.mp4").stat().st_size - room)
            with pytest.raises(OSError, match="No space left on device; free some space"):
                record(disk / "clip.mp4", 3000)
            assert [path.name for path in disk.iterdir()] == ["clip.mp4"]
        (disk / "clip.mp4").write_bytes(b"moved away")
        assert record(disk / "clip.mp4", 10).path == disk / "clip-2.mp4"
        assert len(decode(disk / "clip-2.mp4")[1]) == 10
    finally:
        subprocess.run(["umount", "--lazy", str(disk)], check=True)  # a fault still holds its file


@pytest.mark.parametrize("suffix", [".mp4", ".mov"])
def test_a_disk_that_fills_up_within_a_piece_leaves_the_whole_pieces_before_it(tmp_path: Path, suffix: str) -> None:
    resource = pytest.importorskip("resource")
    noise = np.random.default_rng(0).integers(0, 256, (96, 64), np.uint8)

    def record_into(path: Path) -> None:
        output = FileOutput(path)
        output.open(VideoFormat(64, 64, 30))
        try:
            for tick in range(75):
                output.send(Frame(np.roll(noise, tick, 1), tick, 0.0))
        finally:
            output.close()

    path = tmp_path / f"whole{suffix}"
    record_into(path)
    data = path.read_bytes()
    assert len(decode(path)[1]) == 75
    second = data.index(b"moof", data.index(b"moof") + 4) - 4
    second_data, last = data.index(b"mdat", second) - 4, data.rindex(b"moof") - 4  # which is written at the end
    whole = {second + n: 30 for n in (0, 1, 8, 41, 97, 104, 111)} | {second_data + n: 30 for n in (-1, 20)}
    whole |= {last + n: 60 for n in (1, 97, 111, 1000)} | {len(data) - 1: 75}
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    for room, frames in whole.items():
        path = tmp_path / f"{room}{suffix}"
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, before[1]))
        try:
            with pytest.raises(OSError, match=f"{path} stopped: .*; free some space"):
                record_into(path)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        assert len(decode(path)[1]) == frames, (room, second, second_data, last)


@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="no stopping of processes here")
def test_a_stalled_disk_costs_the_recording_and_not_the_show(tmp_path: Path) -> None:
    psutil = pytest.importorskip("psutil")
    clip, report = tmp_path / "clip.mp4", tmp_path / "report.json"
    out = ["--out", f"file:{clip}", "--report", str(report)]
    show = psutil.Popen(headless("--size", "320x180", "--seconds", "12", *out))
    waited, recorder = threading.Event(), None
    while recorder is None and show.poll() is None:  # until the first piece is on disk
        waited.wait(0.1)
        if clip.exists() and clip.stat().st_size > 2000:
            recorder = next((c for c in show.children(True) if str(clip) in [f.path for f in c.open_files()]), None)
    assert recorder is not None
    recorder.suspend()
    waited.wait(1.5)  # an output that is silent for longer than 4 s is started anew
    recorder.resume()
    assert show.wait(120) == 0
    figures = json.loads(report.read_text())
    times = played(clip)
    assert max(np.diff(times)) > 1.4
    assert figures["outputs"]["file"]["restarts"] == 0
    assert len(times) < figures["frames_sent"] - 40
    assert times[-1] - times[int(np.argmax(np.diff(times))) + 1] > 1.0, "and then it went on"


def test_a_recording_is_never_written_over(tmp_path: Path) -> None:
    (tmp_path / "clip.mp4").write_text("precious")
    output = FileOutput(tmp_path / "clip.mp4")
    output.open(VideoFormat(64, 64, 30))
    output.send(Frame(plain(64, 64, 100, 128, 128), 0, 0.0))
    output.close()
    assert (tmp_path / "clip.mp4").read_text() == "precious"
    assert output.status()["path"] == str(tmp_path / "clip-2.mp4")
    assert len(decode(tmp_path / "clip-2.mp4")[1]) == 1


def test_bad_places_are_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"\.mp4, \.mov, \.mkv, \.ts"):
        FileOutput(tmp_path / "clip.avi")
    with pytest.raises(OSError, match=f"mkdir -p {tmp_path}/no/such"):
        FileOutput(tmp_path / "no/such/clip.mp4").open(VideoFormat(64, 64, 30))
    with pytest.raises(RuntimeError, match="even"):
        FileOutput(tmp_path / "odd.mp4").open(VideoFormat(63, 64, 30))


def test_a_recording_without_frames_closes_quietly(tmp_path: Path) -> None:
    output = FileOutput(tmp_path / "empty.mp4")
    output.open(VideoFormat(64, 64, 30))
    output.close()
    output.close()
    assert output.status()["frames"] == 0
