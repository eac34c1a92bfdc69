from functools import partial
from pathlib import Path

import av
import numpy as np
import pytest
from wav import wav
from worldjockey.integrations.media_files import read_audio, read_image, read_video
from worldjockey.node.show.media import CLIP_S, MAX_ROWS, SOUND_S, Media, check
from worldjockey.node.show.schema import Show


@pytest.fixture
def image(tmp_path):
    pixels = np.zeros((40, 60, 3), np.uint8)
    pixels[:, 30:] = (250, 120, 10)
    path = tmp_path / "look.png"
    with av.open(str(path), "w") as out:
        stream = out.add_stream("png", rate=1)
        stream.width, stream.height, stream.pix_fmt = 60, 40, "rgb24"
        for packet in stream.encode(av.VideoFrame.from_ndarray(pixels, "rgb24")):
            out.mux(packet)
        for packet in stream.encode(None):
            out.mux(packet)
    return path, pixels


@pytest.fixture
def sound(tmp_path):
    rate = 44100
    t = np.arange(rate * 2) / rate
    wave = np.sin(2 * np.pi * 220 * t) * ((t * 4) % 1 < 0.25) * 0.8
    return wav(tmp_path / "beat.wav", rate, wave)


def test_an_image_and_a_sound_come_back_as_they_were(image, sound):
    path, pixels = image
    np.testing.assert_allclose(read_image(path).astype(int), pixels, atol=2)
    wave, rate = read_audio(sound, SOUND_S)
    assert len(wave) == rate == 48000
    levels = np.array([np.abs(c).mean() for c in np.array_split(wave, 16)])
    assert (levels[::4] > 0.3).all()
    assert (np.delete(levels, slice(0, 16, 4)) < 0.05).all()


@pytest.fixture
def clip(tmp_path):
    """Three seconds at 10 frames a second, each a little lighter."""
    path = tmp_path / "clip.mp4"
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=10, options={"crf": "1"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for n in range(30):
            for packet in stream.encode(
                av.VideoFrame.from_ndarray(np.full((48, 64, 3), 20 + 7 * n, np.uint8), "rgb24")
            ):
                out.mux(packet)
        for packet in stream.encode(None):
            out.mux(packet)
    return path


@pytest.mark.parametrize("fps", [24.0, 10.0, 5.0])
def test_a_clip_comes_at_the_worlds_own_rate(clip, fps):
    images = read_video(clip, fps, CLIP_S, MAX_ROWS)
    assert images.shape[1:] == (48, 64, 3)
    assert abs(len(images) - 3 * fps) <= fps / 10 + 1
    light = images.mean((1, 2, 3))
    expected = 20 + 7 * np.floor(np.arange(len(images)) * 10 / fps + 1e-3)
    np.testing.assert_allclose(light, expected, atol=8 if fps == 24 else 3)
    fields = Media(video=str(clip)).prompt(fps)
    assert np.array_equal(fields["video"], images)
    assert np.array_equal(fields["image"], images[0]), "for worlds that know images only"


@pytest.mark.parametrize(
    "reader", [read_image, partial(read_audio, seconds=1.0), partial(read_video, fps=24, seconds=1)]
)
def test_a_file_that_cannot_be_read_is_named(reader, tmp_path):
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"no media" * 40)
    for path in (broken, tmp_path / "none.png"):
        with pytest.raises(ValueError, match=path.name):
            reader(path)


def test_a_show_finds_its_media_beside_itself(image):
    show = Show.parse(
        b"pads:\n- the sea\n- {image: look.png, text: at night}\n- {sound: beat.wav}\n- {video: clip.mp4}\n",
        "show.yaml",
    )
    media = show.media(image[0].parent)
    assert sorted(media) == ["[beat.wav]", "[clip.mp4]", "at night [look.png]"]
    assert media["[clip.mp4]"].paths == (str(image[0].parent / "clip.mp4"),)
    assert set(media["at night [look.png]"].prompt()) == {"image"}
    assert media["[beat.wav]"] == Media(sound=str(image[0].parent / "beat.wav"))


def test_media_are_checked_before_the_show_without_a_codec_in_this_process(image, tmp_path):
    check([Media(image=str(image[0]))])
    check([])
    (tmp_path / "torn.png").write_bytes(image[0].read_bytes()[:-40])
    with pytest.raises(ValueError, match=r"torn\.png: this image is not complete"):
        check([Media(image=str(image[0])), Media(image=str(tmp_path / "torn.png"))])


def test_paths_of_a_show_start_at_its_folder_or_at_home(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    show = Show.parse(
        "pads: [{image: ~/look.png}, {image: look.png}]\noutputs: ['file:a.mp4', 'file:~/b.mp4', 'file:/c.mp4']"
    )
    media = [one.image for one in show.media(tmp_path / "show").values()]
    assert media == [str(tmp_path / "home/look.png"), str(tmp_path / "show/look.png")]
    recordings = [entry.from_folder(tmp_path / "show").options["path"] for entry in show.outputs]
    assert recordings == [tmp_path / "show/a.mp4", tmp_path / "home/b.mp4", Path("/c.mp4")]
