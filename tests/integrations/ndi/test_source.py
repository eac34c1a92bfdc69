"""NDI in against cyndilib, an independent sender in a process of its own."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from worldjockey.integrations import Frame, VideoFormat
from worldjockey.integrations.ndi import output as ndi
from worldjockey.integrations.ndi import source as ndi_in
from worldjockey.integrations.ndi.output import list_sources
from worldjockey.integrations.ndi.source import NDISource, matching, matrix, named

pytestmark = pytest.mark.slow

SENDER = Path(__file__).parents[2] / "peers" / "ndi_sender.py"
pytest.importorskip("cyndilib", reason="the independent NDI sender is not installed: pip install cyndilib")


@contextlib.contextmanager
def on_air(name: str, *colours: str) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([sys.executable, str(SENDER), name, *colours], stdin=subprocess.PIPE)
    try:
        yield process
    finally:
        process.communicate()


@contextlib.contextmanager
def receiving(name: str) -> Iterator[NDISource]:
    """Opened as soon as it is on air, as whoever runs a source tries again."""
    source = NDISource(name)
    deadline = time.monotonic() + 60
    while True:
        try:
            source.open()
            break
        except OSError:
            source.close()
            if time.monotonic() > deadline:
                raise
    try:
        yield source
    finally:
        source.close()


def test_colours_arrive_as_they_were_sent_and_fill_the_size_that_is_wanted(discovery: None) -> None:
    name = f"wj in {os.getpid()}"
    with on_air(name, "c86432", "143c28", "ebebeb"), receiving(name) as source:
        image = None
        while image is None:
            image = source.read((512, 288))
        assert image.shape == (288, 512, 3)
        for x, colour in ((80, (200, 100, 50)), (256, (20, 60, 40)), (430, (235, 235, 235))):
            assert np.abs(image[140, x].astype(int) - colour).max() <= 6, (x, image[140, x])
        square = None
        while square is None:
            square = source.read((100, 100))
        assert square.shape == (100, 100, 3)
        assert np.abs(square[50, 50].astype(int) - (20, 60, 40)).max() <= 6, "the middle of the frame"
        assert source.status()["size"] == [640, 360]
        assert name in source.status()["source"]


def read_for(source: NDISource, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        source.read((64, 36))


def test_a_source_that_goes_or_never_existed_is_named(discovery: None, monkeypatch: pytest.MonkeyPatch) -> None:
    name = f"wj gone {os.getpid()}"
    with contextlib.ExitStack() as stack:
        with on_air(name, "ff0000"):
            source = stack.enter_context(receiving(name))
            while source.read((64, 36)) is None:
                pass
        with pytest.raises(OSError, match=f"{name}.* is gone"):
            read_for(source, 60)
    monkeypatch.setattr(ndi_in, "FIND_TIMEOUT_S", 1.0)
    nobody = NDISource(f"wj nobody {os.getpid()}")
    with pytest.raises(OSError, match=r"wj nobody \d+' is not on the network; there are: "):
        nobody.open()
    nobody.close()


@pytest.mark.parametrize(("name", "uyvy"), [("bt_601", (104, 91, 198)), ("bt_709", (112, 80, 198)),
                                              ("bt_2020", (108, 86, 198))])  # fmt: skip
def test_a_frame_is_decoded_by_the_matrix_that_it_names(
    name: str, uyvy: tuple[int, ...], discovery: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A red of (200, 40, 40), coded by each."""
    monkeypatch.setattr(ndi, "COLOUR", f'<ndi_color_info primaries="{name}" transfer="bt_709" matrix="{name}"/>')
    image = np.empty((480, 640, 2), np.uint8)
    image[..., 1], image[:, ::2, 0], image[:, 1::2, 0] = uyvy[1], uyvy[0], uyvy[2]
    source_name = f"wj {name} {os.getpid()}"
    output = ndi.NDIOutput(source_name)
    output.open(VideoFormat(640, 480, 25))
    try:
        with receiving(source_name) as source:
            seen = None
            while seen is None:
                output.send(Frame(image, 0, time.monotonic()))
                seen = source.read((64, 48))
    finally:
        output.close()
    assert np.abs(seen[24, 32].astype(int) - (200, 40, 40)).max() <= 3, seen[24, 32]


def test_what_metadata_says_of_colours() -> None:
    assert matrix("") == matrix("<ndi_color_info matrix='bt_strange'/>") == matrix("<other matrix='bt_601'/>") == 1
    assert matrix("<a/><ndi_color_info\n transfer='bt_2100_hlg' matrix = \"bt_2020\" />") == 9


def listed(name: str) -> bool:
    return any(source.endswith(f"({name})") for source in list_sources())


def test_no_other_source_replaces_one_of_a_similar_name(
    discovery: None, monkeypatch: pytest.MonkeyPatch, wait_for: Callable[..., None]
) -> None:
    name = f"wj left {os.getpid()}"
    with contextlib.ExitStack() as stack:
        stack.enter_context(on_air(f"{name} 2", "00ff00"))
        wait_for(lambda: listed(f"{name} 2"))
        source = NDISource(name)
        stack.callback(source.close)
        monkeypatch.setattr(ndi_in, "FIND_TIMEOUT_S", 60.0)
        with on_air(name, "ff0000"):  # while it is looked for
            source.open()
            assert source.status()["source"].endswith(f"({name})")
            while source.read((64, 36)) is None:
                pass
        with pytest.raises(OSError, match="is gone"):
            read_for(source, 60)
        source.close()
        wait_for(lambda: not listed(name))
        monkeypatch.setattr(ndi_in, "FIND_TIMEOUT_S", 1.0)
        with pytest.raises(OSError, match=rf"not on the network; there are: .*\({name} 2\)"):
            source.open()


def test_a_part_of_a_name_is_enough_where_no_source_has_exactly_that_name(
    discovery: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ndi_in, "FIND_TIMEOUT_S", 1.0)
    with on_air(f"wj part of {os.getpid()}", "00ff00"), receiving(f"PART OF {os.getpid()}") as source:
        assert source.status()["source"].endswith(f"(wj part of {os.getpid()})")


def test_a_source_is_found_by_any_part_of_its_name_and_best_by_its_own() -> None:
    there = ["DESK (stage left 2)", "DESK (stage left)", "LAPTOP (OBS)"]
    assert matching("stage left", there) == "DESK (stage left)"
    assert matching("laptop (obs)", there) == "LAPTOP (OBS)"
    assert matching("obs", there) == "LAPTOP (OBS)"
    assert matching("left 2", there) == "DESK (stage left 2)"
    assert matching("vmix", there) is None
    assert named("STAGE LEFT", there) == "DESK (stage left)"
    assert named("left", there) is named("desk", there) is None


@pytest.mark.parametrize("name", ["wj backup 1/2", "wj spare (B)", "wj <a>|b?"])
def test_a_source_is_found_by_the_name_that_was_typed(discovery: None, name: str) -> None:
    """NDI announces some characters as spaces."""
    with on_air(name, "00ff00"), receiving(name) as source:
        assert source.status()["source"].endswith(")")


def seen_of(image: np.ndarray, size: tuple[int, int], picture_aspect: float = 0.0) -> np.ndarray:
    """What arrives of an image, uyvy (h, w, 2) or rgba (h, w, 4), that another program sends."""
    lib, name = ndi.runtime(), f"wj shape {os.getpid()} {image.shape}"
    sender = lib.send_create(lib.SendCreate(name, None, False, False))
    video = lib.VideoFrameV2(frame_rate_N=25, frame_rate_D=1)
    video.data = image
    video.FourCC = getattr(lib.FourCCVideoType, f"FOURCC_VIDEO_TYPE_{'UYVY' if image.shape[2] == 2 else 'RGBA'}")
    video.picture_aspect_ratio = picture_aspect
    try:
        with receiving(name) as source:
            seen = None
            while seen is None:
                lib.send_send_video_v2(sender, video)
                seen = source.read(size)
            return seen.astype(int)
    finally:
        lib.send_destroy(sender)


@pytest.mark.parametrize(("width", "depth"), [(8, 2), (10, 4), (300, 4)])
def test_narrow_frames_whose_rows_are_padded_arrive_whole(discovery: None, width: int, depth: int) -> None:
    image = np.empty((64, width, depth), np.uint8)
    image[...] = (128, 180) if depth == 2 else (200, 100, 50, 255)
    image[32:, :] = (128, 60) if depth == 2 else (20, 60, 40, 255)
    seen = seen_of(image, (64, 64))
    top, bottom = ((191,) * 3, (51,) * 3) if depth == 2 else ((200, 100, 50), (20, 60, 40))
    assert np.abs(seen[2] - top).max() <= 12
    assert np.abs(seen[-3] - bottom).max() <= 12


def test_frames_of_pixels_that_are_not_square_are_made_square(discovery: None) -> None:
    """A camera in PAL sends 720x576 for a frame of 16:9."""
    image = np.empty((576, 720, 2), np.uint8)
    image[...] = 128, 60
    image[:60] = 128, 200
    seen = seen_of(image, (256, 144), 16 / 9)
    assert seen[5].min() > 190, "the top, which would be cut off if its pixels were square"
    assert seen[40].max() < 70
