"""Files that cannot be prompts say what they are instead, in words and not in FFmpeg's."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from wav import wav
from worldjockey.integrations.audio.file_process import blocks
from worldjockey.integrations.camera import VideoSource
from worldjockey.integrations.media_files import read_audio, read_image, read_video


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("empty.png", b"", "the file is empty"), ("empty.mp4", b"", "the file is empty"),
        ("notes.jpg", b"no image", "neither an image nor a video"),
        ("torn.mp4", b"\0\0\0\x18ftypisom" + bytes(900), "neither an image nor a video"),
        ("unfinished.mp4", b"\0\0\0\x18ftypisom" + bytes(12) + b"\0\0\0\0mdat" + bytes(900), "stop the recording"),
        ("half.mov", b"\0\0\0\x14ftypqt  " + bytes(8) + b"\0\1\0\0moov" + bytes(900), "download it again"),
        ("404.mp4", b"\n<!DOCTYPE html><html><title>Not found", "a web page: download the file itself"),
        ("._clip.mov", b"\0\5\x16\7\0\2\0\0Mac OS X" + bytes(900), "lacks the ._ in front"),
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


def test_a_folder_and_an_address_of_another_kind_are_named_so(tmp_path: Path) -> None:
    for read in (read_image, lambda path: read_video(path, 24, 1.0), lambda path: read_audio(path, 1.0)):
        with pytest.raises(ValueError, match=r"folder|directory"):
            read(tmp_path)
    with pytest.raises(OSError, match=r"does not know such addresses: use rtsp://"):
        VideoSource(file="strange://127.0.0.1:9710").open()
    with pytest.raises(OSError, match=r"cannot be reached, or sends no video: check its address"):
        VideoSource(file="http://camera.invalid/video").open()


def first_frame(source: VideoSource) -> object:
    source.open()
    return source.read((64, 48))


def test_a_sound_is_no_image_and_the_other_way_round(tmp_path: Path) -> None:
    tone = wav(tmp_path / "tone.wav", 48000, np.zeros(4800))
    with pytest.raises(ValueError, match="neither an image nor a video: it has no video"):
        read_image(tone)
    with pytest.raises(ValueError, match="this is not audio"):
        read_audio(Path(__file__), 1.0)
    with pytest.raises(ValueError, match="no such video file"):
        read_video(tmp_path / "gone.mp4", 24, 1.0)


@pytest.mark.skipif(sys.platform == "win32", reason="no colons in names")
@pytest.mark.parametrize("name", ["12:30.wav", "rtsp:take.wav", "50%03d?.wav", "étoile ☆.wav", "#1 'x'.wav"])
def test_a_name_is_never_an_address_or_a_pattern(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)  # as a show's folder is where wj is started
    wav(Path("x.wav"), 48000, np.zeros(4800)).rename(name)
    assert len(read_audio(Path(name), 1.0)[0]) == 4800
    assert sum(len(data) for _, data in blocks(Path(name), 48000, 480)) == 4 * 4800


@pytest.mark.parametrize("title", ["Bj\u00f6rk".encode("latin1"), "\u97f3\u697d".encode("shift_jis"), b"\xff\xfe"])
def test_tags_in_the_encoding_of_an_old_program_do_no_harm(tmp_path: Path, title: bytes) -> None:
    """As a tag editor wrote them before UTF-8: in the INFO chunk of a WAV file."""
    path = wav(tmp_path / "song.wav", 48000, np.zeros(4800))
    text = title + bytes(len(title) % 2)
    tags = b"INFOINAM" + len(text).to_bytes(4, "little") + text
    path.write_bytes(path.read_bytes() + b"LIST" + len(tags).to_bytes(4, "little") + tags)
    assert len(read_audio(path, 1.0)[0]) == 4800
    assert sum(len(data) for _, data in blocks(path, 48000, 480)) == 4 * 4800


@pytest.mark.parametrize("suffix", [".avif", ".png", ".webp", ".gif", ".jpg", ".tiff"])
def test_a_damaged_image_is_read_or_named_with_the_fix(tmp_path: Path, suffix: str) -> None:
    whole, path, random = tmp_path / f"whole{suffix}", tmp_path / f"damaged{suffix}", np.random.default_rng(1)
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (32, 32, 3), np.uint8)).save(whole)
    errors = []
    for _ in range(60):
        data = bytearray(whole.read_bytes())
        data[random.integers(len(data))] = random.integers(256)
        path.write_bytes(data[: random.integers(len(data) // 2, len(data) + 1)])
        try:
            read_image(path)
        except ValueError as error:
            errors.append(str(error))
    assert [error for error in errors if not error.startswith(str(path)) or "Errno" in error] == []
