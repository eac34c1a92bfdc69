"""Audio files as people have them: of many channels, joined, and of any rate."""

from __future__ import annotations

import struct
from pathlib import Path

import av
import numpy as np
import pytest
from worldjockey.integrations.audio.file_process import blocks
from worldjockey.integrations.media.samples import samples
from worldjockey.integrations.media_files import read_audio


def tone(path: Path, rate: int, layout: str = "mono", codec: str = "libmp3lame") -> Path:
    """One second of 440 Hz."""
    with av.open(str(path), "w") as out:
        stream = out.add_stream(codec, rate=rate, layout=layout)
        channels = stream.codec_context.channels
        wave = np.tile(0.5 * np.sin(np.arange(rate) * 2 * np.pi * 440 / rate), (channels, 1)).astype(np.float32)
        frame = av.AudioFrame.from_ndarray(wave, "fltp", layout)
        frame.sample_rate = rate
        out.mux([*stream.encode(frame), *stream.encode(None)])
    return path


def many_channels(path: Path, channels: int) -> Path:
    """A second of what an audio interface recorded; channel n has the level n / 100."""
    data = (np.tile(np.arange(channels) * 327, (48000, 1))).astype("<i2").tobytes()
    form = struct.pack("<HHIIHH", 1, channels, 48000, 96000 * channels, 2 * channels, 16)
    head = b"WAVEfmt " + struct.pack("<I", 16) + form + b"data" + struct.pack("<I", len(data))
    path.write_bytes(b"RIFF" + struct.pack("<I", len(data) + 36) + head + data)
    return path


def length(path: Path) -> float:
    """Seconds, by the blocks that the audio input gets."""
    return sum(len(data) // (4 * channels) for channels, data in blocks(path, 48000, 480)) / 48000


@pytest.mark.parametrize("channels", [18, 32])
def test_a_recording_of_all_inputs_of_an_interface_plays_its_first_two(tmp_path: Path, channels: int) -> None:
    path = many_channels(tmp_path / "stems.wav", channels)
    with av.open(str(path)) as container:
        pair = np.concatenate(list(samples(container, 48000, "stereo")))
    assert pair.shape == (48000, 2)
    assert pair.mean(0) == pytest.approx([0, 0.01], abs=1e-3)
    assert length(path) == 1.0
    assert len(read_audio(path, 1.0)[0]) == 48000


def test_files_that_were_joined_play_to_the_end_at_their_own_rates(tmp_path: Path) -> None:
    parts = [(44100, "mono"), (48000, "stereo"), (22050, "mono")]
    joined = tmp_path / "set.mp3"
    joined.write_bytes(b"".join(tone(tmp_path / f"{rate}.mp3", rate, layout).read_bytes() for rate, layout in parts))
    assert length(joined) == pytest.approx(3.0, abs=0.2)
    wave, rate = read_audio(joined, 4.0)
    for second in range(3):
        spectrum = np.abs(np.fft.rfft(wave[rate * second + 9600 : rate * second + 9600 + rate // 2]))
        assert np.argmax(spectrum) * 2 == pytest.approx(440, abs=4)


@pytest.mark.parametrize("rate", [22050, 44100, 48000])
def test_a_loop_keeps_its_length(tmp_path: Path, rate: int) -> None:
    loop = tone(tmp_path / "loop.wav", rate, codec="pcm_s16le")
    assert length(loop) == pytest.approx(1.0, abs=1e-4)


def test_floating_point_samples_are_finite_and_in_range(tmp_path: Path) -> None:
    """A mixdown that clips, with a plug-in's error in it."""
    path = tone(tmp_path / "mix.wav", 48000, codec="pcm_f32le")
    data = bytearray(path.read_bytes())
    begin = data.index(b"data") + 8
    data[begin : begin + 16] = struct.pack("<4f", float("nan"), float("inf"), -1e9, 0.25)
    path.write_bytes(data)
    wave, _ = read_audio(path, 1.0)
    assert wave[:4].tolist() == [0, 1, -1, 0.25]
