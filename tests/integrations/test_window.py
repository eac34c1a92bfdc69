"""Window out on a real X screen, looked at from outside."""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from worldjockey.integrations import Frame, Patch, VideoFormat
from worldjockey.integrations.gl.canvas import Canvas, HiddenContext, Target
from worldjockey.integrations.gl.projection import Scale, check_keystone, fit, nudged, to_frame
from worldjockey.integrations.window import WindowOutput, list_monitors
from worldjockey.node.session.processes import output_specs
from worldjockey.node.show.schema import Show
from worldjockey.node.show.yaml_file import ShowError

pytestmark = pytest.mark.slow

FORMAT = VideoFormat(1920, 1080, 30, name="wj window test")
Shot = Callable[[], np.ndarray]
RED, GREEN, BLUE, GREY, BLACK = (255, 0, 0), (10, 200, 30), (0, 0, 255), (100, 100, 100), (0, 0, 0)


@pytest.fixture
def window(display: str) -> Iterator[Callable[..., WindowOutput]]:
    opened: list[WindowOutput] = []

    def make(*args: Any, fmt: VideoFormat = FORMAT, **kwargs: Any) -> WindowOutput:
        output = WindowOutput(*args, **kwargs)
        opened.append(output)
        output.open(fmt)
        return output

    yield make
    for output in opened:
        output.close()


def quarters() -> np.ndarray:
    """Red and green above, blue and a grey below, where a gamma error or a flip shows at once."""
    image = np.zeros((288, 512, 3), np.uint8)
    image[:144, :256] = RED
    image[:144, 256:] = GREEN
    image[144:, :256] = BLUE
    image[144:, 256:] = GREY
    return image


def show(output: WindowOutput, image: np.ndarray, times: int = 3) -> None:
    for tick in range(times):
        output.send(Frame(image, tick, 0.0))


def seen(shot: np.ndarray, *places: tuple[float, float]) -> list[tuple[int, ...]]:
    """The colours at these x, y."""
    return [tuple(int(v) for v in shot[round(y), round(x)]) for x, y in places]


@pytest.mark.parametrize("turn", [0, 180])
def test_what_lies_over_the_picture_is_drawn_at_its_place_and_goes_away(
    window: Any, screenshot: Shot, wait_for: Any, turn: int
) -> None:
    output = window(fullscreen=True, rotate=turn, scale="fill")
    rgba = np.zeros((216, 384, 4), np.uint8)
    rgba[:, :192], rgba[:, 192:] = (*GREEN, 255), (*GREY, 0)
    patches = (Patch(rgba, 1536, 864),)  # the bottom right fifth of the show's frame
    white = np.full((288, 512, 3), 255, np.uint8)

    def at(*places: tuple[float, float]) -> list[tuple[int, ...]]:
        """At these shares of the frame."""
        show(output, white, 1)
        shot = screenshot()
        return seen(shot, *((1280 * x, 720 * y) if turn == 0 else (1279 - 1280 * x, 719 - 720 * y) for x, y in places))

    opaque, clear, outside = (0.85, 0.9), (0.95, 0.9), (0.78, 0.9)
    output.set_overlay(patches, 1.0)
    wait_for(lambda: at(opaque, clear, outside) == [GREEN, (255,) * 3, (255,) * 3], what="the patch")
    output.set_overlay(patches, 0.5)
    wait_for(lambda: abs(at(opaque)[0][0] - 132) <= 2, what="half of it")
    output.set_overlay((), 1.0)
    wait_for(lambda: at(opaque) == [(255,) * 3], what="the frame alone")


def test_what_lies_over_the_picture_follows_the_keystone(window: Any, screenshot: Shot, wait_for: Any) -> None:
    output = window(fullscreen=True, keystone=[[0, 0], [0.5, 0], [0.5, 0.5], [0, 0.5]])
    patch = np.zeros((540, 960, 4), np.uint8)
    patch[:] = (*RED, 255)
    output.set_overlay((Patch(patch, 960, 540),), 1.0)  # the bottom right quarter

    def right() -> bool:
        show(output, quarters(), 1)
        shot = screenshot()
        places = (160, 90), (480, 90), (160, 270), (330, 190), (630, 350), (650, 350), (630, 370)
        return seen(shot, *places) == [RED, GREEN, BLUE, RED, RED, BLACK, BLACK]

    wait_for(right)


def test_full_screen_shows_the_frame_upright_in_its_own_colours(window: Any, screenshot: Shot, wait_for: Any) -> None:
    output = window(fullscreen=True)

    def right() -> bool:
        show(output, quarters(), 1)
        shot = screenshot()
        return seen(shot, (320, 180), (960, 180), (320, 540), (960, 540)) == [RED, GREEN, BLUE, GREY]

    wait_for(right)
    status = output.status()
    assert status["fullscreen"] is True
    assert status["size"] == [1280, 720]
    assert status["closed"] is False


def test_scaling_is_sharper_than_bilinear_and_keeps_every_value(window: Any, screenshot: Shot, wait_for: Any) -> None:
    output = window(fullscreen=True)
    random = np.random.default_rng(1).integers(0, 256, (8, 512, 3), np.uint8)
    image = np.repeat(random, 36, 0)  # 288 rows, 2.5 times as many on the screen

    def bilinear(row: np.ndarray) -> np.ndarray:
        x = (np.arange(1280) + 0.5) / 2.5 - 0.5
        return np.stack([np.interp(x, np.arange(512), row[:, c]) for c in range(3)], -1)

    def catmull_rom(row: np.ndarray) -> np.ndarray:
        x = (np.arange(1280) + 0.5) / 2.5 - 0.5
        base = np.floor(x).astype(int)
        out = np.zeros((1280, 3))
        for tap in range(-1, 3):
            d = np.abs(x - base - tap)[:, None]
            near = 1.5 * d**3 - 2.5 * d**2 + 1
            far = -0.5 * d**3 + 2.5 * d**2 - 4 * d + 2
            out += np.where(d <= 1, near, far) * row[np.clip(base + tap, 0, 511)]
        return out.clip(0, 255)

    middle = 3  # screen row 315 lies in the middle of the fourth band, where only x is interpolated
    expected = catmull_rom(random[middle].astype(float))

    def settled() -> bool:
        show(output, image, 1)
        return np.abs(screenshot()[315] - expected).max() <= 2

    wait_for(settled)
    assert np.abs(expected - bilinear(random[middle].astype(float))).max() > 10  # the two can be told apart


def chart() -> np.ndarray:
    """Rings that get finer outwards, spokes and bars, (720, 1280, 3): what a frame of 512x288 can hold and more."""
    y, x = np.mgrid[0:720, 0:1280].astype(float)
    rings = 0.5 + 0.5 * np.cos(((x - 640) ** 2 + (y - 360) ** 2) / 2650)
    spokes = 0.5 + 0.5 * np.sin(24 * np.arctan2(y - 180, x - 240)) * (np.hypot(y - 180, x - 240) < 150)
    bars = (x // 20 % 2) * (y > 480)
    return np.stack([rings, spokes, 0.7 * rings + 0.3 * bars], -1) * 255


def averaged(rows: np.ndarray, of: int, to: int) -> np.ndarray:
    """Each `of` rows become `to`, by their means."""
    return np.repeat(rows, to, 0).reshape(-1, of, *rows.shape[1:]).mean(1)


def psnr(image: np.ndarray, truth: np.ndarray) -> float:
    """In dB, for values 0..255."""
    return float(10 * np.log10(255**2 / np.mean((image.astype(float) - truth) ** 2)))


def test_a_frame_comes_back_sharper_than_by_bilinear(window: Any, screenshot: Shot, wait_for: Any) -> None:
    truth = chart()
    small = averaged(averaged(truth, 5, 2).transpose(1, 0, 2), 5, 2).transpose(1, 0, 2).round().astype(np.uint8)
    assert small.shape == (288, 512, 3)

    def bilinear(rows: np.ndarray, n: int) -> np.ndarray:
        at = np.clip((np.arange(n) + 0.5) * len(rows) / n - 0.5, 0, len(rows) - 1)
        base = np.minimum(at.astype(int), len(rows) - 2)
        part = (at - base)[:, None, None]
        return rows[base] * (1 - part) + rows[base + 1] * part

    softer = bilinear(bilinear(small.astype(float), 720).transpose(1, 0, 2), 1280).transpose(1, 0, 2)
    output = window(fullscreen=True)

    def sharper() -> bool:
        show(output, small, 1)
        return psnr(screenshot(), truth) > psnr(softer, truth) + 4

    wait_for(sharper, what="4 dB above bilinear")  # 35.3 and 30.8 dB; Lanczos with 36 instead of 16 texels has 36.2


def test_a_larger_frame_is_averaged_and_not_picked_from(display: str) -> None:
    truth = np.repeat(np.repeat(np.arange(1, 5) * 50, 180)[:720, None, None], 1280, 1).repeat(3, 2).astype(np.uint8)
    truth[::2] //= 2  # lines that a screen of a quarter's size cannot show: only their mean
    with contextlib.closing(HiddenContext("scaled down")) as context:
        context.poll()
        canvas, target = Canvas(), Target(320, 180)
        for _ in range(2):  # the second frame makes its own mipmaps
            canvas.upload(truth)
            target.bind()
            canvas.draw(320, 180)
        from OpenGL import GL

        pixels = GL.glReadPixels(0, 0, 320, 180, GL.GL_RGB, GL.GL_UNSIGNED_BYTE)
    shown = np.frombuffer(pixels, np.uint8).reshape(180, 320, 3)[::-1].astype(int)
    expected = np.repeat(np.arange(1, 5) * 37.5, 45)[:, None, None]
    flat = np.arange(180) % 45
    assert np.abs(shown - expected)[(flat > 3) & (flat < 41)].max() <= 1.5


def test_another_shape_is_letterboxed(window: Any, screenshot: Shot, wait_for: Any) -> None:
    output = window(fullscreen=True)
    white = np.full((64, 64, 3), 255, np.uint8)

    def right() -> bool:
        show(output, white, 1)
        shot = screenshot()
        return bool((shot[:, 281:999] == 255).all() and (shot[:, :279] == 0).all() and (shot[:, 1001:] == 0).all())

    wait_for(right)


def test_keys_switch_full_screen(window: Any) -> None:
    import glfw

    output = window()
    show(output, quarters())
    assert output.status()["size"] == [853, 480]  # two thirds of the screen, in the show's shape

    def press(key: int) -> bool:
        for action in (glfw.PRESS, glfw.RELEASE):
            output._screen._on_key(None, key, 0, action, 0)
        show(output, quarters())
        return bool(output.status()["fullscreen"])

    assert press(glfw.KEY_F) is True
    assert press(glfw.KEY_F) is False
    assert press(glfw.KEY_ESCAPE) is False
    assert press(glfw.KEY_F) is True
    assert press(glfw.KEY_ESCAPE) is False
    assert output.status()["size"] == [853, 480]
    assert output.status()["closed"] is False


@pytest.mark.parametrize(
    ("turn", "corners"),
    [(0, [RED, GREEN, GREY, BLUE]), (90, [BLUE, RED, GREEN, GREY]), (180, [GREY, BLUE, RED, GREEN]),
     (270, [GREEN, GREY, BLUE, RED])],
)  # fmt: skip
def test_a_turned_frame_keeps_its_shape(
    window: Any, screenshot: Shot, wait_for: Any, turn: int, corners: list[tuple[int, ...]]
) -> None:
    output = window(fullscreen=True, rotate=turn)
    wide, tall = (1280, 720) if turn in (0, 180) else (405, 720)  # 16:9 on its side
    left = (1280 - wide) // 2

    def right() -> bool:
        show(output, quarters(), 1)
        shot = screenshot()
        places = [(left + a * (wide - 1), b * (tall - 1)) for a, b in ((0, 0), (1, 0), (1, 1), (0, 1))]
        beside = bool((shot[:, : max(left - 1, 0)] == 0).all() and (shot[:, left + wide + 1 :] == 0).all())
        return seen(shot, *places) == corners and beside

    wait_for(right)


@pytest.mark.parametrize(("scale", "wide", "tall"), [("fit", 360, 720), ("fill", 1280, 2560), ("stretch", 1280, 720)])
def test_a_tall_frame_fits_fills_or_stretches(
    window: Any, screenshot: Shot, wait_for: Any, scale: Scale, wide: int, tall: int
) -> None:
    output = window(fullscreen=True, scale=scale)
    bands = np.repeat(np.arange(16, dtype=np.uint8) * 16 + 8, 32)  # grey by height: what is cut off can be read
    image = np.broadcast_to(bands[:, None, None], (512, 256, 3)).copy()

    def right() -> bool:
        show(output, image, 1)
        column = screenshot()[:, 640, 0].astype(int)
        rows = (np.arange(720) + 0.5 - (720 - tall) / 2) / tall * 16
        middle = np.abs(rows % 1 - 0.5) < 0.3
        row = screenshot()[360, :, 0] > 0
        return bool((column[middle] == (rows[middle].astype(int) * 16 + 8)).all()) and row.sum() == wide

    wait_for(right)


KEYSTONE = [[0.1, 0.05], [0.95, 0.2], [0.85, 0.9], [0.2, 1.0]]


def test_keystone_corners_land_where_asked(window: Any, screenshot: Shot, wait_for: Any) -> None:
    output = window(fullscreen=True, keystone=KEYSTONE)
    white = np.full((144, 256, 3), 255, np.uint8)
    corners = np.array(KEYSTONE) * (1280, 720)

    def edges(shot: np.ndarray) -> np.ndarray:
        """Where the sides of what is lit meet, by a straight line through each side's half-lit pixels."""
        light = shot[..., 0] / 255.0
        lines = []
        for a, b in zip(corners, np.roll(corners, -1, 0), strict=True):
            along = b - a
            points = []
            for part in np.linspace(0.15, 0.85, 40):
                x, y = a + part * along
                if abs(along[0]) > abs(along[1]):  # look across the side: down a column, or along a row
                    at, strip = int(y) - 8, light[max(int(y) - 8, 0) : int(y) + 9, int(x)]
                    covered = strip.sum()
                    edge = at + (17 - covered if strip[-1] > strip[0] else covered)
                    points.append((int(x) + 0.5, edge))
                else:
                    at, strip = int(x) - 8, light[int(y), int(x) - 8 : int(x) + 9]
                    covered = strip.sum()
                    edge = at + (17 - covered if strip[-1] > strip[0] else covered)
                    points.append((edge, int(y) + 0.5))
            middle = np.mean(points, 0)
            lines.append((middle, np.linalg.svd(np.array(points) - middle)[2][1]))  # a point on it and its normal
        pairs = [(lines[n - 1], lines[n]) for n in range(4)]
        return np.array([np.linalg.solve([n1, n2], [n1 @ p1, n2 @ p2]) for (p1, n1), (p2, n2) in pairs])

    def right() -> bool:
        show(output, white, 1)
        return np.abs(edges(screenshot()) - corners).max() < 0.3

    wait_for(right, what="corners within 0.3 pixels")


def test_corners_move_while_the_frame_plays(window: Any, screenshot: Shot, wait_for: Any) -> None:
    output = window(fullscreen=True, keystone=[[0.1, 0.1], [0.9, 0.1], [0.9, 0.9], [0.1, 0.9]])
    white = np.full((72, 128, 3), 255, np.uint8)

    def lit(left: int, right: int) -> Callable[[], bool]:
        def look() -> bool:
            show(output, white, 1)
            row = screenshot()[360, :, 0] > 127
            return bool(row[left + 1 : right - 1].all() and not row[: left - 1].any() and not row[right + 1 :].any())

        return look

    wait_for(lit(128, 1152))
    output.set_keystone([[0.05, 0], [0, 0], [0, 0], [0.05, 0]])
    wait_for(lit(192, 1152), what="the left side moved in by 64 pixels")
    assert output.status()["keystone"] == [[0.15, 0.1], [0.9, 0.1], [0.9, 0.9], [0.15, 0.9]]
    output.set_keystone([[0.85, 0], [0, 0], [0, 0], [0, 0]])  # two sides would cross
    wait_for(lit(192, 1152), what="where it was")
    output.set_keystone([[0.05, 0], [0.25, 0], [0.25, 0], [0.05, 0]])  # no further than the screen
    wait_for(lit(192, 1279), what="up to the edge")
    output.set_keystone([[0, 0]] * 4)
    wait_for(lit(128, 1152), what="as the show says")


def test_keystone_moves_what_lies_between_as_a_projector_does(window: Any, screenshot: Shot, wait_for: Any) -> None:
    output = window(fullscreen=True, keystone=KEYSTONE)
    # The diagonals of a quadrilateral cross where a square's middle lands, which is not the middle of its corners.
    (x0, y0), (x1, y1), (x2, y2), (x3, y3) = np.array(KEYSTONE) * (1280, 720)
    s = np.linalg.solve([[x2 - x0, x1 - x3], [y2 - y0, y1 - y3]], [x1 - x0, y1 - y0])[0]
    x, y = x0 + s * (x2 - x0), y0 + s * (y2 - y0)
    around = [(x - 9, y - 9), (x + 9, y - 9), (x - 9, y + 9), (x + 9, y + 9)]

    def right() -> bool:
        show(output, quarters(), 1)
        shot = screenshot()
        return seen(shot, *around) == [RED, GREEN, BLUE, GREY] and seen(shot, (1, 1), (1278, 718)) == [BLACK, BLACK]

    wait_for(right)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rotate": 45}, "0, 90, 180 or 270 degrees, not 45"),
        ({"scale": "zoom"}, "fit, fill or stretch, not 'zoom'"),
        ({"keystone": [[0, 0], [1, 0], [1, 1]]}, "four corners"),
        ({"keystone": [[0, 0], [1, 1], [1, 0], [0, 1]]}, "cross or lie on one line"),
        ({"keystone": [[0, 0], [0.5, 0], [1, 0], [0, 1]]}, "cross or lie on one line"),
        ({"keystone": [[0, 0], [1.2, 0], [1, 1], [0, 1]]}, "outside the screen"),
    ],
)
def test_what_no_projector_can_show_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        WindowOutput(**options)


def test_a_show_says_how_the_frame_lies() -> None:
    lines = (
        "outputs:\n- {kind: window, monitor: 1, scale: fill, rotate: 90, keystone: [[0, 0], [1, 0.1], [1, 1], [0, 1]]}"
    )
    show_file = Show.parse(lines)
    assert Show.parse(show_file.dump()) == show_file
    (spec,) = output_specs(show_file.outputs)
    assert spec.options == {
        "monitor": 1, "scale": "fill", "rotate": 90, "keystone": [[0, 0], [1, 0.1], [1, 1], [0, 1]],
    }  # fmt: skip
    with pytest.raises(ShowError, match=r"show:3: .*keystone's corners cross"):
        Show.parse("outputs:\n- ndi\n- {kind: window, keystone: [[0, 0], [1, 1], [1, 0], [0, 1]]}")


@given(
    st.tuples(*[st.floats(0, 0.45)] * 8),
    st.sampled_from(["fit", "fill", "stretch"]),
    st.sampled_from([0, 90, 180, 270]),
    st.tuples(*[st.integers(1, 4096)] * 4),
)
def test_every_keystone_maps_the_frame_into_its_corners(
    inward: tuple[float, ...], scale: Scale, turn: int, sizes: tuple[int, ...]
) -> None:
    """Each corner is pulled in by less than half, so that the quadrilateral is a convex one or nearly so."""
    pull = np.array(inward).reshape(4, 2) * 0.5
    quad = np.array([[0, 0], [1, 0], [1, 1], [0, 1]]) + pull * [[1, 1], [-1, 1], [-1, -1], [1, -1]]
    size, screen = sizes[:2], sizes[2:]
    plain, corrected = to_frame(size, screen, scale, turn), to_frame(size, screen, scale, turn, quad)
    for corner, landed in zip([(0, 0), (1, 0), (1, 1), (0, 1)], quad, strict=True):
        u, v, one = plain @ [*corner, 1.0]
        p = corrected @ [*landed, 1.0]
        assert one == 1.0
        assert p[2] > 0
        assert np.allclose(p[:2] / p[2], (u, v), rtol=1e-6, atol=1e-6)


@pytest.fixture
def two_monitors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wait_for: Any) -> Iterator[Callable[..., None]]:
    """An X server with two monitors of 1280x720 side by side; call it as xrandr to plug and unplug them."""
    import glfw

    driver = Path("/usr/lib/xorg/modules/drivers/dummy_drv.so")
    if not (driver.exists() and shutil.which("Xorg") and shutil.which("xrandr")):
        pytest.skip("apt-get install xserver-xorg-core xserver-xorg-video-dummy x11-xserver-utils")
    config = tmp_path / "xorg.conf"
    config.write_text(
        """
        Section "Device"
          Identifier "card"
          Driver "dummy"
          VideoRam 64000
        EndSection
        Section "Monitor"
          Identifier "monitor"
          HorizSync 5-1000
          VertRefresh 5-200
        EndSection
        Section "Screen"
          Identifier "screen"
          Device "card"
          Monitor "monitor"
          DefaultDepth 24
          SubSection "Display"
            Virtual 2560 720
          EndSubSection
        EndSection
        """
    )
    reader, writer = os.pipe()
    command = ["Xorg", "-displayfd", str(writer), "-config", str(config), "-logfile", str(tmp_path / "xorg.log"),
               "-noreset", "-novtswitch", "-nolisten", "tcp"]  # fmt: skip
    with (tmp_path / "xorg.out").open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, pass_fds=[writer])
    os.close(writer)
    with os.fdopen(reader) as pipe:
        number = pipe.readline().strip()
    if not number:
        process.wait()
        pytest.skip(f"Xorg does not run here: {(tmp_path / 'xorg.out').read_text()[-300:]}")
    monkeypatch.setenv("DISPLAY", f":{number}")
    monkeypatch.setenv("XDG_SESSION_TYPE", "x11")
    monkeypatch.setenv("LIBGL_ALWAYS_SOFTWARE", "1")
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)

    glfw.terminate()  # an earlier test may have left it on another display

    def xrandr(*options: str) -> None:
        # It complains when nothing is left to show, after having switched it off.
        subprocess.run(["xrandr", *options], capture_output=True, timeout=60)
        subprocess.run(["xrandr"], capture_output=True, timeout=60)  # the server looks at its outputs when asked

    xrandr("--addmode", "DUMMY1", "1280x720")
    xrandr("--output", "DUMMY0", "--mode", "1280x720", "--output", "DUMMY1", "--mode", "1280x720", "--pos", "1280x0")
    yield xrandr
    glfw.terminate()
    process.terminate()
    process.wait()


def placed(output: WindowOutput) -> tuple[int, int, int, int]:
    """x, y, width, height of the window once it has shown one more frame."""
    import glfw

    show(output, quarters(), 1)
    return (*glfw.get_window_pos(output._screen.window), *glfw.get_window_size(output._screen.window))


def test_a_monitor_may_go_and_come_back(two_monitors: Callable[..., None], wait_for: Any) -> None:
    assert len(list_monitors()) == 2
    output = WindowOutput(monitor=1, fullscreen=True)
    with contextlib.closing(output):
        output.open(FORMAT)

        def settles(*expected: int) -> None:
            wait_for(lambda: placed(output) == expected, what=f"a window at {expected}")

        projector = ("--output", "DUMMY1", "--mode", "1280x720", "--pos", "1280x0")
        settles(1280, 0, 1280, 720)
        two_monitors("--output", "DUMMY1", "--off")
        settles(213, 120, 853, 480)  # where the performer sees it
        assert output.status()["fullscreen"] is False
        two_monitors(*projector)
        settles(1280, 0, 1280, 720)
        assert output.status()["fullscreen"] is True
        two_monitors("--output", "DUMMY0", "--off")  # now the projector is the first one, at the origin
        settles(0, 0, 1280, 720)
        assert output.status()["fullscreen"] is True
        two_monitors("--output", "DUMMY1", "--off")
        settles(0, 0, 1920, 1080)  # none is left
        two_monitors(*projector)
        settles(0, 0, 1280, 720)
        assert output.status()["fullscreen"] is True
        assert output.status()["closed"] is False


def test_f_fills_the_monitor_that_the_window_was_moved_to(two_monitors: Callable[..., None], wait_for: Any) -> None:
    import glfw

    output = WindowOutput()
    with contextlib.closing(output):
        output.open(FORMAT)
        glfw.set_window_pos(output._screen.window, 1500, 100)
        wait_for(lambda: placed(output)[:2] == (1500, 100))
        output._screen._on_key(None, glfw.KEY_F, 0, glfw.PRESS, 0)
        wait_for(lambda: placed(output) == (1280, 0, 1280, 720))
        assert glfw.get_input_mode(output._screen.window, glfw.CURSOR) == glfw.CURSOR_HIDDEN
        output._screen._on_key(None, glfw.KEY_ESCAPE, 0, glfw.PRESS, 0)
        wait_for(lambda: placed(output) == (1280 + 213, 120, 853, 480))
        assert glfw.get_input_mode(output._screen.window, glfw.CURSOR) == glfw.CURSOR_NORMAL


def test_closing_the_window_is_reported_and_ends_only_the_window(window: Any) -> None:
    import glfw

    output = window()
    show(output, quarters())
    frames = output.status()["frames"]
    glfw.set_window_should_close(output._screen.window, True)
    show(output, quarters())
    assert output.status()["closed"] is True
    assert output.status()["frames"] == frames


def test_monitors_are_listed_and_a_wrong_one_refused(display: str) -> None:
    (only,) = list_monitors()
    assert "1280x720" in only
    with pytest.raises(RuntimeError, match=r"no monitor 3; this machine has 0: .*1280x720"):
        WindowOutput(monitor=3).open(FORMAT)


def test_without_a_display_the_fix_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    if not sys.platform.startswith("linux"):
        pytest.skip("only Linux can be without a display")
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    code = (
        "from worldjockey.integrations import VideoFormat\n"
        "from worldjockey.integrations.window import WindowOutput\n"
        "WindowOutput().open(VideoFormat(64, 36, 30))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 1
    assert "RuntimeError: cannot open a window" in result.stderr
    assert "--headless" in result.stderr


@pytest.mark.parametrize(
    ("image", "screen", "place"),
    [
        ((512, 288), (1920, 1080), (0, 0, 1920, 1080)),
        ((512, 288), (1024, 768), (0, 96, 1024, 576)),
        ((100, 100), (300, 100), (100, 0, 100, 100)),
    ],
)
def test_fit(image: tuple[int, int], screen: tuple[int, int], place: tuple[int, int, int, int]) -> None:
    assert fit(*image, *screen) == place


MOVES = st.lists(st.tuples(*[st.floats(-0.25, 0.25, width=32)] * 2), min_size=4, max_size=4)


@given(MOVES)
def test_moved_corners_stay_on_the_screen_or_are_refused(by: list[tuple[float, float]]) -> None:
    for corners in (None, check_keystone(KEYSTONE)):
        try:
            moved = nudged(corners, by)
        except ValueError:
            continue
        if moved is None:
            assert corners is None
            assert not np.any(by)
        else:
            assert np.array_equal(check_keystone(moved), moved)


class FakeKeyboard:
    """Presses keys of an X display, as a hand would, by its XTEST extension."""

    def __init__(self, display: str) -> None:
        try:
            self._x11, self._test = ctypes.CDLL("libX11.so.6"), ctypes.CDLL("libXtst.so.6")
        except OSError:
            pytest.skip("libXtst is not installed: apt-get install libxtst6")
        self._x11.XOpenDisplay.restype = ctypes.c_void_p
        self._x11.XStringToKeysym.restype = ctypes.c_ulong
        self._x11.XKeysymToKeycode.argtypes = [ctypes.c_void_p, ctypes.c_ulong]
        self._x11.XFlush.argtypes = self._x11.XCloseDisplay.argtypes = [ctypes.c_void_p]
        self._test.XTestFakeKeyEvent.argtypes = [ctypes.c_void_p, ctypes.c_uint, ctypes.c_int, ctypes.c_ulong]
        self._display = self._x11.XOpenDisplay(display.encode())

    def key(self, keysym: str, down: bool) -> None:
        code = self._x11.XKeysymToKeycode(self._display, self._x11.XStringToKeysym(keysym.encode()))
        self._test.XTestFakeKeyEvent(self._display, code, int(down), 0)
        self._x11.XFlush(self._display)

    def press(self, keysym: str) -> None:
        self.key(keysym, True)
        self.key(keysym, False)

    def close(self) -> None:
        self._x11.XCloseDisplay(self._display)


@pytest.fixture
def keyboard(display: str) -> Iterator[FakeKeyboard]:
    found = FakeKeyboard(display)
    yield found
    found.close()


def test_keys_of_the_window_play_the_show(window: Any, keyboard: FakeKeyboard, wait_for: Any) -> None:
    output = window()
    got: list[tuple[str, bool]] = []

    def keys() -> list[tuple[str, bool]]:
        show(output, quarters(), 1)
        got.extend((event.key, event.down) for event in output.take_keys())
        return got

    def settled() -> bool:  # the window has the focus
        keyboard.press("z")
        return ("z", False) in keys()

    wait_for(settled)
    keyboard.press("x")
    wait_for(lambda: ("x", False) in keys())
    got.clear()
    for name in ("q", "1", "space", "BackSpace", "Escape", "Left", "Prior"):
        keyboard.press(name)
    keyboard.key("Shift_L", True)
    keyboard.key("w", True)
    keyboard.key("Shift_L", False)
    keyboard.key("w", False)
    keyboard.press("f")  # full screen, which is the window's own
    keyboard.press("j")
    wait_for(lambda: ("j", False) in keys())
    names = ["q", "1", " ", "backspace", "escape", "arrowleft", "pageup", "shift+w", "j"]
    assert got == [(name, down) for name in names for down in (True, False)]
