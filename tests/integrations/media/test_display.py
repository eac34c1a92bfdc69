"""Frames as players show them, whatever their container and stream say about it."""

from __future__ import annotations

import io
import itertools
import struct
import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.codec.context import Flags
from quarters import QUARTERS, near, quarters, turn, write
from worldjockey.integrations.media.clip import video_frames
from worldjockey.integrations.media.display import TURNS, Display, escaped
from worldjockey.integrations.media.hdr import PEAK_NITS, WHITE_NITS, hlg_to_nits, pq_to_nits


def frames(path: Path) -> Iterator[np.ndarray]:
    display = Display()
    with av.open(str(path)) as container:
        aspect = container.streams.video[0].sample_aspect_ratio
        for _, frame in video_frames(container):
            yield display.rgb(frame, pixel_aspect=aspect)


@pytest.mark.parametrize("matrix", list(TURNS))
def test_frames_are_turned_and_mirrored_as_the_container_says(
    tmp_path: Path, matrix: tuple[int, int, int, int]
) -> None:
    stored = quarters(96, 64)
    path = write(tmp_path / "phone.mp4", [stored])
    turn(path, matrix)
    a, b, c, d = matrix
    y, x = np.mgrid[:64, :96]
    to_x, to_y = a * x + c * y, b * x + d * y  # what the matrix does to a point, in the standard's words
    expected = np.zeros((np.ptp(to_y) + 1, np.ptp(to_x) + 1, 3), np.uint8)
    expected[to_y - to_y.min(), to_x - to_x.min()] = stored
    (shown,) = frames(path)
    assert near(shown, expected)


def test_pixels_that_are_not_square_are_made_square(tmp_path: Path) -> None:
    path = write(tmp_path / "dv.mp4", [quarters(96, 64)], Fraction(3, 2))
    (shown,) = frames(path)
    assert near(shown, quarters(144, 64))


def test_a_size_is_filled_with_the_middle_and_a_tall_frame_is_made_smaller() -> None:
    frame = av.VideoFrame.from_ndarray(quarters(200, 100), format="rgb24")
    middle = Display().rgb(frame, (100, 100))
    assert near(middle, quarters(100, 100))
    assert near(Display().rgb(frame, max_height=50), quarters(100, 50))
    assert near(Display().rgb(frame, max_height=500), quarters(200, 100))


def grey(form: str, luma: int, height: int = 64, chroma: tuple[int, int] = (128, 128)) -> av.VideoFrame:
    frame = av.VideoFrame(64, height, form)
    for plane, level in zip(frame.planes, (luma, *chroma, 128), strict=False):
        plane.update(bytes([level]) * plane.buffer_size)
    return frame


def test_range_and_matrix_are_obeyed() -> None:
    limited, full = grey("yuv420p", 235), grey("yuv420p", 235)
    limited.color_range, full.color_range = 1, 2
    assert Display().rgb(limited).mean() == pytest.approx(255, abs=2)
    assert Display().rgb(full).mean() == pytest.approx(235, abs=2)
    assert Display().rgb(grey("yuvj420p", 235)).mean() == pytest.approx(235, abs=2)
    named = {}
    for number in (1, 6):  # BT.709 and BT.601
        frame = grey("yuv420p", 120, chroma=(60, 60))
        frame.colorspace, frame.color_range = number, 1
        named[number] = Display().rgb(frame)[0, 0].astype(int)
    assert np.abs(named[1] - named[6]).max() > 10
    small, large = grey("yuv420p", 120, 480, (60, 60)), grey("yuv420p", 120, 720, (60, 60))
    assert np.abs(Display().rgb(small)[0, 0] - named[6]).max() <= 2, "nobody says: as DVDs have it"
    assert np.abs(Display().rgb(large)[0, 0] - named[1]).max() <= 2, "nobody says: as HD has it"


@pytest.mark.parametrize("form", ["rgba", "yuva420p"])
def test_transparent_parts_are_black(form: str) -> None:
    image = np.dstack([quarters(64, 64), np.full((64, 64), 255, np.uint8)])
    image[:32, :, 3] = 0
    image[32:, 32:, 3] = 128
    frame = av.VideoFrame.from_ndarray(image, format="rgba").reformat(format=form)
    shown = Display().rgb(frame).astype(int)
    assert shown[4:28].max() <= 4
    assert np.abs(shown[36:, 4:28] - QUARTERS[2]).max() <= 12
    assert np.abs(shown[36:60, 36:60] - 110).max() <= 12


@pytest.mark.parametrize(("transfer", "white"), [(16, 594), (18, 768)])  # codes of 10 bits: 203 cd/m2
def test_hdr_becomes_a_picture_of_standard_range(transfer: int, white: int) -> None:
    def shown(luma: int, chroma: tuple[int, int] = (512, 512)) -> np.ndarray:
        frame = av.VideoFrame(64, 64, "yuv420p10le")
        for plane, level in zip(frame.planes, (luma, *chroma), strict=True):
            plane.update(struct.pack("<H", level) * (plane.buffer_size // 2))
        frame.colorspace, frame.color_primaries, frame.color_trc, frame.color_range = 9, 9, transfer, 1
        return Display().rgb(frame)[32, 32].astype(int)

    greys = [shown(64 + round(876 * part)) for part in (0.0, 0.2, 0.4, 0.6, 0.75, 1.0)]
    assert greys[0].max() <= 2
    assert all(a.mean() < b.mean() for a, b in itertools.pairwise(greys) if a.mean() < 250)
    assert all(np.ptp(grey) <= 3 for grey in greys), "greys stay grey"
    assert 190 < shown(64 + round(876 * white / 1023)).mean() < 245, "paper white is light, and leaves room above"
    red = shown(400, (450, 800))
    assert red[0] > 2 * red[1]


def test_the_transfer_functions_have_the_standards_values() -> None:
    assert pq_to_nits(np.array([0.0, 0.5806888, 1.0])) == pytest.approx([0, WHITE_NITS, 10_000], rel=1e-3)
    assert hlg_to_nits(np.full(3, 0.75)) == pytest.approx(np.full(3, WHITE_NITS), rel=0.01)
    assert hlg_to_nits(np.ones(3)) == pytest.approx(np.full(3, PEAK_NITS), rel=1e-3)


def test_frames_may_change_their_size_and_form_on_the_way() -> None:
    display = Display()
    for width, form in ((64, "yuv420p"), (96, "yuv420p"), (96, "rgba"), (64, "yuv422p10le"), (64, "gray")):
        frame = av.VideoFrame.from_ndarray(quarters(width, 64), format="rgb24").reformat(format=form)
        assert display.rgb(frame, (128, 64)).shape == (64, 128, 3)


def test_paths_are_written_for_filters() -> None:
    assert escaped(Path("C:/Users/O'Neil/x.cube")) == r"C\:/Users/O\'Neil/x.cube"


def interlaced(width: int = 64, height: int = 64) -> av.VideoFrame:
    """White at one moment, in the even rows, and black at the next."""
    image = np.zeros((height, width, 3), np.uint8)
    image[::2] = 255
    frame = av.VideoFrame.from_ndarray(image, format="rgb24").reformat(format="yuv422p")
    container = io.BytesIO()
    with av.open(container, "w", format="mov") as out:
        stream = out.add_stream("prores_ks", rate=25)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv422p10le"
        stream.codec_context.flags |= Flags.interlaced_dct
        out.mux([*stream.encode(frame), *stream.encode(None)])
    container.seek(0)
    with av.open(container) as back:
        return next(back.decode(video=0))


def test_of_an_interlaced_frame_one_moment_is_shown() -> None:
    frame = interlaced()
    assert frame.interlaced_frame
    shown = Display().rgb(frame)
    assert shown.shape == (64, 64, 3)
    assert shown[8:-8].min() > 200, "no comb of two moments"
    assert Display().rgb(interlaced(), (32, 32)).min() > 200


@pytest.mark.parametrize("form", ["rgb24", "yuv420p"])
@pytest.mark.parametrize(("width", "height"), [(3840, 16), (16, 3840), (3000, 2), (3000, 1), (1, 1)])
def test_the_middle_of_a_banner_or_an_led_strip_fills_a_size(width: int, height: int, form: str) -> None:
    image = np.zeros((height, width, 3), np.uint8)
    top, left = max(height // 2 - 50, 0), max(width // 2 - 50, 0)
    image[top : top + 100, left : left + 100] = 200
    frame = av.VideoFrame.from_ndarray(image, format="rgb24").reformat(format=form)
    display = Display()
    shown = display.rgb(frame, (1024, 576))
    assert shown.shape == (576, 1024, 3)
    assert abs(int(shown[288, 512].mean()) - 200) < 6
    usual = av.VideoFrame.from_ndarray(np.zeros((1080, 1920, 3), np.uint8), format="rgb24").reformat(format=form)

    def cost(frame: av.VideoFrame, display: Display) -> float:
        """In seconds of the processor, for four of them."""
        display.rgb(frame, (1024, 576))
        begin = time.process_time()
        for _ in range(4):
            display.rgb(frame, (1024, 576))
        return time.process_time() - begin

    assert cost(frame, display) < 25 * cost(usual, Display()), "what is not seen is not scaled: all of it is 135 times"


def test_linear_light_is_coded_for_a_screen() -> None:
    """As OpenEXR files have it, also with alpha, which is multiplied already."""
    for form in ("gbrpf32le", "gbrapf32le"):
        frame = av.VideoFrame(32, 32, form)
        for plane, light in zip(frame.planes, (0.2140, 0.0, 4.0, 0.5), strict=False):  # G, B, R, A
            plane.update(struct.pack("<f", light) * (plane.buffer_size // 4))
        frame.color_trc = 8
        assert Display().rgb(frame)[16, 16].tolist() == pytest.approx([255, 127.5, 0], abs=2)


@pytest.mark.parametrize(
    "form", ["yuv420p", "yuva420p", "yuva444p10le", "yuva444p12le", "uyvy422", "gbrap12le", "nv12"]
)
def test_a_clip_that_tells_no_range_has_the_same_white_with_alpha_and_without(form: str) -> None:
    frame = av.VideoFrame.from_ndarray(np.full((64, 64, 3), 220, np.uint8), format="rgb24").reformat(format=form)
    frame.color_range = 0
    assert Display().rgb(frame)[32, 32].tolist() == pytest.approx([220] * 3, abs=2)
