"""Files as people have them: damaged, joined, cut, and without usable time stamps."""

from __future__ import annotations

import io
import random
import re
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from quarters import near, quarters
from worldjockey.integrations.media import clip
from worldjockey.integrations.media.clip import BAD_PACKETS_MAX, Undecodable, audio_frames, video_frames
from worldjockey.integrations.media.display import Display
from worldjockey.integrations.media_files import read_audio, read_image, read_video


def write(form: str, frames: int = 20, codec: str = "h264", start: int = 0, **options: str) -> bytes:
    file = io.BytesIO()
    with av.open(file, "w", format=form, options=options) as container:
        stream = container.add_stream(codec, rate=10)
        stream.height, stream.width = 64, 96
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        stream.gop_size = 1
        for n in range(frames):
            noise = np.random.default_rng(n).integers(0, 255, (64, 96, 3), np.uint8)
            frame = av.VideoFrame.from_ndarray(noise, format="rgb24")
            frame.pts, frame.time_base = start + n, Fraction(1, 10)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return file.getvalue()


def tone(form: str, codec: str, seconds: float = 2.0) -> bytes:
    file = io.BytesIO()
    with av.open(file, "w", format=form) as container:
        stream = container.add_stream(codec, rate=48000, layout="mono")
        samples = np.sin(np.arange(int(48000 * seconds)) * 0.05).astype(np.float32)
        samples *= np.linspace(0.2, 0.8, len(samples), dtype=np.float32)  # no two packets alike
        for at in range(0, len(samples) - 1023, 1024):
            frame = av.AudioFrame.from_ndarray(samples[None, at : at + 1024], format="fltp", layout="mono")
            frame.sample_rate, frame.pts = 48000, at
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return file.getvalue()


def overwritten(data: bytes, where: float, count: int = 64) -> bytes:
    at = int(len(data) * where)
    return data[:at] + random.Random(1).randbytes(count) + data[at + count :]


def times(data: bytes, form: str | None = None) -> list[float]:
    with av.open(io.BytesIO(data), format=form) as container:
        return [seconds for seconds, _ in video_frames(container)]


@pytest.mark.parametrize(("form", "codec"), [("mp4", "aac"), ("mp3", "libmp3lame"), ("flac", "flac")])
@pytest.mark.parametrize("where", [0.3, 0.5, 0.7])
def test_a_bad_packet_of_audio_is_skipped(form: str, codec: str, where: float) -> None:
    whole = tone(form, codec)
    counts = []
    for data in (whole, overwritten(whole, where)):
        with av.open(io.BytesIO(data)) as container:
            counts.append(sum(frame.samples for frame in audio_frames(container)))
    assert counts[1] > 0.75 * counts[0]


@pytest.mark.parametrize("codec", ["h264", "mjpeg", "mpeg4"])
def test_a_bad_packet_of_video_is_skipped(codec: str) -> None:
    whole = write("matroska", codec=codec)
    assert len(times(overwritten(whole, 0.5))) > 0.75 * len(times(whole)) > 10


def test_a_file_of_nothing_but_bad_packets_is_given_up() -> None:
    class Decoder:
        def decode(self, packet: Any) -> list[Any]:
            raise av.error.InvalidDataError(1, "no")

    with av.open(io.BytesIO(write("matroska", BAD_PACKETS_MAX + 2))) as container, pytest.raises(Undecodable):
        list(clip.decoded(container, container.streams.video[0], Decoder()))


def test_a_file_that_changes_to_what_ffmpeg_cannot_read_says_what_helps() -> None:
    """As a recording of a web radio does, whose programmes follow each other as streams of their own."""

    class Chained:
        def demux(self, stream: Any) -> Iterator[Any]:
            raise av.error.PatchWelcomeError(1, "Not yet implemented in FFmpeg, patches welcome")
            yield

    with pytest.raises(Undecodable, match="convert it to one format"):
        list(clip.decoded(Chained(), None, None))


def test_a_stream_without_time_stamps_runs_at_its_rate() -> None:
    raw = write("h264")
    seconds = times(raw, "h264")
    assert len(seconds) == 20
    assert np.diff(seconds) == pytest.approx(np.full(19, np.diff(seconds)[0]))
    assert 0.01 < np.diff(seconds)[0] <= 0.1


def test_time_never_runs_backwards_where_files_were_joined() -> None:
    joined = write("mpegts") + write("mpegts", start=500) + write("mpegts")
    seconds = times(joined, "mpegts")
    assert len(seconds) > 50
    assert np.diff(seconds).min() > 0
    assert seconds[-1] == pytest.approx(len(seconds) / 10, rel=0.2)


@pytest.mark.parametrize("form", ["mp4", "matroska"])
def test_a_pause_of_a_screen_recording_keeps_its_length(form: str) -> None:
    file = io.BytesIO()
    with av.open(file, "w", format=form) as container:
        stream = container.add_stream("h264", rate=10)
        stream.height, stream.width, stream.pix_fmt = 64, 96, "yuv420p"
        for stamp in (0, 1, 2, 152, 153, 154):
            frame = av.VideoFrame(96, 64, "yuv420p")
            frame.pts, frame.time_base = stamp, Fraction(1, 10)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    assert times(file.getvalue()) == pytest.approx([0, 0.1, 0.2, 15.2, 15.3, 15.4], abs=0.02)


@pytest.mark.parametrize("start", [-15, 0, 40])
def test_the_first_frame_comes_at_once_whatever_its_time_stamp(start: int) -> None:
    seconds = times(write("matroska", start=start, avoid_negative_ts="disabled"))
    assert seconds == pytest.approx([n / 10 for n in range(20)], abs=0.02)


def test_a_clip_with_alpha_is_shown_over_black(tmp_path: Path) -> None:
    """FFmpeg's own VP9 decoder leaves the alpha out."""
    image = np.dstack([quarters(96, 64), np.full((64, 96), 255, np.uint8)])
    image[:, :48, 3] = 0
    with av.open(str(tmp_path / "logo.webm"), "w") as container:
        stream = container.add_stream("libvpx-vp9", rate=10, options={"auto-alt-ref": "0"})
        stream.height, stream.width, stream.pix_fmt = 64, 96, "yuva420p"
        stream.metadata["alpha_mode"] = "1"
        for n in range(3):
            frame = av.VideoFrame.from_ndarray(image, format="rgba")
            frame.pts = n
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    with av.open(str(tmp_path / "logo.webm")) as container:
        shown = [Display().rgb(frame) for _, frame in video_frames(container)]
    assert len(shown) == 3
    assert shown[1][:, 4:40].max() <= 6
    assert shown[1][:, 60:].max() > 150


def two_streams(path: Path) -> Path:
    """A clip whose first stream is its cover, as tag editors write it, and the second one the video."""
    with av.open(str(path), "w") as container:
        cover, video = container.add_stream("mjpeg", rate=10), container.add_stream("h264", rate=10)
        cover.width, cover.height, cover.pix_fmt = 128, 128, "yuvj420p"
        video.width, video.height, video.pix_fmt = 96, 64, "yuv420p"
        container.mux(cover.encode(av.VideoFrame.from_ndarray(np.full((128, 128, 3), 9, np.uint8), format="rgb24")))
        for _ in range(10):
            container.mux(video.encode(av.VideoFrame.from_ndarray(quarters(96, 64), format="rgb24")))
        for stream in (cover, video):
            container.mux(stream.encode())
    return path


def test_a_cover_is_not_taken_for_the_video(tmp_path: Path) -> None:
    path = two_streams(tmp_path / "cover.mkv")
    with av.open(str(path)) as container:
        assert [(frame.width, frame.height) for _, frame in video_frames(container)] == [(96, 64)] * 10
    assert near(read_image(path), quarters(96, 64))
    assert read_video(path, 10, 1.0).shape == (10, 64, 96, 3)


@pytest.mark.parametrize("unknown", [(0,), (0, 1)])
def test_audio_that_ffmpeg_does_not_know_is_passed_over(tmp_path: Path, unknown: tuple[int, ...]) -> None:
    """A phone records its spatial audio (apac) beside ordinary audio."""
    path = tmp_path / "phone.mp4"
    with av.open(str(path), "w") as container:
        streams = [container.add_stream("aac", rate=48000, layout="mono") for _ in range(2)]
        for stream in streams:
            frame = av.AudioFrame.from_ndarray(np.full((1, 48000), 0.1, np.float32), format="fltp", layout="mono")
            frame.sample_rate = 48000
            container.mux(stream.encode(frame))
            container.mux(stream.encode())
    data = bytearray(path.read_bytes())
    for number in unknown:
        at = [found.start() for found in re.finditer(b"mp4a|apac", data)][number]
        data[at : at + 4] = b"apac"
        box = data.index(b"esds", at)
        data[box : box + 4] = b"free"
    path.write_bytes(data)
    if len(unknown) == 1:
        samples, _ = read_audio(path, 1.0)
        assert len(samples) > 40000
    else:
        with pytest.raises(ValueError, match="FFmpeg cannot decode its audio: convert it to WAV or MP3"):
            read_audio(path, 1.0)
