"""Files that cannot be prompts say what they are instead, in words and not in FFmpeg's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from wav import wav
from worldjockey.integrations.camera import VideoSource
from worldjockey.integrations.media_files import read_audio, read_image, read_video


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("empty.png", b"", "the file is empty"), ("empty.mp4", b"", "the file is empty"),
        ("notes.jpg", b"no image", "neither an image nor a video"),
        ("torn.mp4", b"\0\0\0\x18ftypisom" + bytes(900), "neither an image nor a video"),
        ("drawing.svg", b"<svg xmlns='http://www.w3.org/2000/svg'/>", "convert it to PNG"),
    ],
)  # fmt: skip
def test_what_is_no_image_is_named_without_the_words_of_a_library(
    tmp_path: Path, name: str, content: bytes, words: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    for read in (read_image, lambda path: read_video(path, 24, 1.0)):
        with pytest.raises(ValueError, match=words) as error:
            read(path)
        assert str(path) in str(error.value)
        assert "Errno" not in str(error.value)
        assert "Invalid data" not in str(error.value)
    with pytest.raises(OSError, match=name):
        first_frame(VideoSource(file=str(path)))


def first_frame(source: VideoSource) -> object:
    source.open()
    return source.read((64, 48))


def test_a_sound_is_no_image_and_the_other_way_round(tmp_path: Path) -> None:
    tone = wav(tmp_path / "tone.wav", 48000, np.zeros(4800))
    with pytest.raises(ValueError, match="neither an image nor a video: it has no such stream"):
        read_image(tone)
    with pytest.raises(ValueError, match="this is not audio"):
        read_audio(Path(__file__), 1.0)
    with pytest.raises(ValueError, match="no such video file"):
        read_video(tmp_path / "gone.mp4", 24, 1.0)
