"""Window out on a real X screen, looked at from outside."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from worldjockey.integrations import Frame, VideoFormat
from worldjockey.integrations.window import WindowOutput, fit, list_monitors

FORMAT = VideoFormat(1920, 1080, 30, name="wj window test")
Shot = Callable[[], np.ndarray]


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
    picture = np.zeros((288, 512, 3), np.uint8)
    picture[:144, :256] = (255, 0, 0)
    picture[:144, 256:] = (10, 200, 30)
    picture[144:, :256] = (0, 0, 255)
    picture[144:, 256:] = (100, 100, 100)
    return picture


def show(output: WindowOutput, picture: np.ndarray, times: int = 3) -> None:
    for tick in range(times):
        output.send(Frame(picture, tick, 0.0))


def test_full_screen_shows_the_picture_upright_in_its_own_colours(window: Any, screenshot: Shot, wait_for: Any) -> None:
    output = window(fullscreen=True)

    def right() -> bool:
        show(output, quarters(), 1)
        shot = screenshot()
        seen = [tuple(shot[y, x]) for y, x in ((180, 320), (180, 960), (540, 320), (540, 960))]
        return seen == [(255, 0, 0), (10, 200, 30), (0, 0, 255), (100, 100, 100)]

    wait_for(right)
    status = output.status()
    assert status["fullscreen"] is True
    assert status["size"] == [1280, 720]
    assert status["closed"] is False


def test_scaling_is_sharper_than_bilinear_and_keeps_every_value(window: Any, screenshot: Shot, wait_for: Any) -> None:
    output = window(fullscreen=True)
    random = np.random.default_rng(1).integers(0, 256, (8, 512, 3), np.uint8)
    picture = np.repeat(random, 36, 0)  # 288 rows, 2.5 times as many on the screen

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
        show(output, picture, 1)
        return np.abs(screenshot()[315] - expected).max() <= 2

    wait_for(settled)
    assert np.abs(expected - bilinear(random[middle].astype(float))).max() > 10  # the two can be told apart


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
            output._on_key(None, key, 0, action, 0)
        show(output, quarters())
        return bool(output.status()["fullscreen"])

    assert press(glfw.KEY_F) is True
    assert press(glfw.KEY_F) is False
    assert press(glfw.KEY_ESCAPE) is False
    assert press(glfw.KEY_F) is True
    assert press(glfw.KEY_ESCAPE) is False
    assert output.status()["size"] == [853, 480]
    assert output.status()["closed"] is False


def test_an_unplugged_monitor_brings_the_window_back(window: Any) -> None:
    import glfw

    output = window(monitor=0, fullscreen=True)
    output._on_monitor(None, glfw.DISCONNECTED)
    show(output, quarters())
    assert output.status()["fullscreen"] is False
    assert output.status()["closed"] is False


def test_closing_the_window_is_reported_and_harms_nobody(window: Any) -> None:
    import glfw

    output = window()
    show(output, quarters())
    frames = output.status()["frames"]
    glfw.set_window_should_close(output._window, True)
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
    ("picture", "screen", "place"),
    [
        ((512, 288), (1920, 1080), (0, 0, 1920, 1080)),
        ((512, 288), (1024, 768), (0, 96, 1024, 576)),
        ((100, 100), (300, 100), (100, 0, 100, 100)),
    ],
)
def test_fit(picture: tuple[int, int], screen: tuple[int, int], place: tuple[int, int, int, int]) -> None:
    assert fit(*picture, *screen) == place
