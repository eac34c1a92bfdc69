"""Cameras, clips and streams: real files made by PyAV, and ffmpeg's own virtual device for a camera."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image
from quarters import near, quarters, turn, write
from worldjockey.integrations.camera import VideoSource, camera_url, list_cameras

pytestmark = pytest.mark.slow

FRAMES, RATE = 10, 20


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Half a second, each picture lighter than the one before; the upper half is red."""
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=RATE, options={"crf": "1"})
        stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv444p"
        for n in range(FRAMES):
            pixels = np.full((240, 320, 3), 20 + 20 * n, np.uint8)
            pixels[:120, :, 1:] = 0
            for packet in stream.encode(av.VideoFrame.from_ndarray(pixels, "rgb24")):
                out.mux(packet)
        for packet in stream.encode(None):
            out.mux(packet)
    return path


def test_a_clip_plays_in_its_own_time_and_starts_again(clip: Path) -> None:
    source = VideoSource(file=str(clip))
    source.open()
    begin = time.monotonic()
    light = []
    while len(light) < 2.5 * FRAMES:
        picture = source.read((160, 90))
        assert picture is not None
        light.append(int(picture[80, 80, 1]))
    seconds = time.monotonic() - begin
    source.close()
    assert seconds > 0.85 * (2.5 * FRAMES - 1) / RATE, "not faster than it is"
    np.testing.assert_allclose(light[:FRAMES], 20 + 20 * np.arange(FRAMES), atol=4)
    np.testing.assert_allclose(light[FRAMES : 2 * FRAMES], light[:FRAMES], atol=4)


def test_the_middle_of_a_picture_fills_what_is_wanted(clip: Path) -> None:
    source = VideoSource(file=str(clip))
    source.open()
    for size in ((160, 90), (90, 160), (64, 64)):
        picture = source.read(size)
        assert picture is not None
        assert picture.shape == (size[1], size[0], 3)
        top, bottom = picture[size[1] // 4, size[0] // 2], picture[-size[1] // 4, size[0] // 2]
        assert top[1] < 20 < top[0] + 16
        assert np.ptp(bottom.astype(int)) < 6
    source.close()


def test_a_still_is_held(tmp_path: Path) -> None:
    path = tmp_path / "still.png"
    with av.open(str(path), "w") as out:
        stream = out.add_stream("png", rate=1)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "rgb24"
        for packet in stream.encode(av.VideoFrame.from_ndarray(np.full((48, 64, 3), 99, np.uint8), "rgb24")):
            out.mux(packet)
    source = VideoSource(file=str(path))
    source.open()
    pictures = [source.read((64, 48)) for _ in range(3)]
    source.close()
    assert pictures[0] is not None
    assert abs(int(pictures[0].mean()) - 99) <= 2
    assert pictures[1:] == [None, None], "still there, and nothing new"


def test_a_device_of_ffmpegs_is_read_as_it_comes() -> None:
    source = VideoSource(file="testsrc2=size=320x180:rate=25", format="lavfi")
    source.open()
    one, other = (source.read((320, 180)) for _ in range(2))
    source.close()
    assert one is not None
    assert other is not None
    assert one.std() > 40
    assert not np.array_equal(one, other)


@pytest.mark.skipif(sys.platform != "linux", reason="names of cameras differ by system")
def test_a_camera_that_is_not_there_is_named_with_the_fix() -> None:
    assert camera_url("/dev/video3") == "/dev/video3"
    with pytest.raises(OSError, match=r"there is no camera 'no such camera'.*wj ports"):
        VideoSource(camera="no such camera").open()
    missing = 64 + len(list_cameras())
    with pytest.raises(OSError, match=f"camera {missing} does not exist: connect it"):
        VideoSource(camera=missing).open()


def test_cameras_of_a_mac_are_opened_without_sound() -> None:
    assert camera_url(0, "darwin") == "0:none"
    assert camera_url("FaceTime", "darwin") == "FaceTime:none"


def test_what_cannot_be_played_is_named(tmp_path: Path) -> None:
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"no video" * 40)
    with pytest.raises(OSError, match=r"broken\.mp4 cannot be opened"):
        VideoSource(file=str(broken)).open()
    with pytest.raises(OSError, match=r"none\.mp4 does not exist: check the path"):
        VideoSource(file=str(tmp_path / "none.mp4")).open()
    with pytest.raises(ValueError, match="a camera or a file"):
        VideoSource()


def shown(path: Path, size: tuple[int, int]) -> np.ndarray:
    source = VideoSource(file=str(path))
    source.open()
    try:
        frame = source.read(size)
    finally:
        source.close()
    assert frame is not None
    return frame


def test_a_phones_clip_and_photograph_are_upright(tmp_path: Path) -> None:
    clip = write(tmp_path / "phone.mp4", [np.rot90(quarters(96, 64)).copy()])
    turn(clip, (0, 1, -1, 0))
    assert near(shown(clip, (96, 64)), quarters(96, 64))
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(np.rot90(quarters(96, 64)).copy()).save(tmp_path / "phone.jpg", exif=exif, quality=95)
    assert near(shown(tmp_path / "phone.jpg", (96, 64)), quarters(96, 64))


def test_a_clip_without_time_stamps_plays_at_an_even_pace_in_a_loop(tmp_path: Path) -> None:
    """A raw stream, as cameras and encoders write them: it cannot be sought in either."""
    images = [np.full((64, 96, 3), 20 * n, np.uint8) for n in range(8)]
    mp4 = write(tmp_path / "a.mp4", images)
    with av.open(str(mp4)) as source, av.open(str(tmp_path / "raw.h264"), "w", format="h264") as raw:
        stream = raw.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                raw.mux(packet)
    source = VideoSource(file=str(tmp_path / "raw.h264"))
    source.open()
    begin, light = time.monotonic(), []
    while len(light) < 20:
        frame = source.read((96, 64))
        assert frame is not None
        light.append(int(frame.mean()))
    seconds = time.monotonic() - begin
    source.close()
    assert seconds > 0.5, "20 frames at 25 a second, or slower"
    assert light[8:16] == pytest.approx(light[:8], abs=4)
