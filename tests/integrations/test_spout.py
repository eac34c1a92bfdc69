"""Spout out: our texture as DirectX programs see it, through a sender with the signatures of the vendor's wheel."""

from __future__ import annotations

import contextlib
import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from worldjockey.integrations import Frame, VideoFormat
from worldjockey.integrations.spout import SpoutOutput

pytestmark = pytest.mark.slow

FORMAT = VideoFormat(640, 360, 30, name="wj spout test")


@pytest.fixture
def vendors(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "peers"))
    return importlib.import_module("vendors")


class Sender:
    """What Spout does with a texture, by OpenGL and numpy: into DirectX's B8G8R8A8, rows from the top."""

    def __init__(self) -> None:
        self.name = ""
        self.shared: list[np.ndarray] = []  # (H, W, 4) BGRA as the receivers' DirectX texture holds it
        self.released = False
        self.works = True

    def setSenderName(self, name: str) -> None:  # noqa: N802
        self.name = name

    def sendTexture(self, texture: int, target: int, width: int, height: int, invert: bool, host: int) -> bool:  # noqa: N802
        from OpenGL import GL

        assert target == GL.GL_TEXTURE_2D
        GL.glBindTexture(target, texture)
        size = [GL.glGetTexLevelParameteriv(target, 0, n) for n in (GL.GL_TEXTURE_WIDTH, GL.GL_TEXTURE_HEIGHT)]
        assert size == [width, height]
        data = GL.glGetTexImage(target, 0, GL.GL_BGRA, GL.GL_UNSIGNED_BYTE)
        rows = np.frombuffer(data, np.uint8).reshape(height, width, 4)
        self.shared.append((rows[::-1] if invert else rows).copy())
        GL.glBindTexture(target, 0)  # Spout leaves nothing bound
        GL.glBindFramebuffer(GL.GL_FRAMEBUFFER, host)
        GL.glUseProgram(0)
        return self.works

    def releaseSender(self) -> None:  # noqa: N802
        self.released = True

    def getCPU(self) -> bool:  # noqa: N802
        return False


@pytest.fixture
def opened(display: str, vendors: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Any]]:
    with contextlib.ExitStack() as stack:

        def make(**options: Any) -> tuple[SpoutOutput, Sender]:
            sender = Sender()
            monkeypatch.setitem(sys.modules, "SpoutGL", vendors.fake_spout(sender))
            output = SpoutOutput(**options)
            output.open(FORMAT)
            stack.callback(output.close)
            return output, sender

        yield make


def quarters(channels: int = 3) -> np.ndarray:
    """Red and green above, blue and grey below; each quarter's alpha is another."""
    image = np.zeros((180, 320, 4), np.uint8)
    image[:90, :160], image[:90, 160:] = (255, 0, 0, 255), (10, 200, 30, 128)
    image[90:, :160], image[90:, 160:] = (0, 0, 255, 64), (100, 100, 100, 0)
    return image[..., :channels]


def corners(bgra: np.ndarray) -> list[tuple[int, ...]]:
    """Top left, top right, bottom left, bottom right, as red, green, blue, alpha."""
    return [tuple(int(v) for v in bgra[y, x][[2, 1, 0, 3]]) for y in (5, -6) for x in (5, -6)]


def test_receivers_get_the_frame_upright_in_its_own_colours(opened: Any) -> None:
    output, sender = opened(name="stage left")
    for tick in range(3):  # what Spout leaves unbound after the first must not matter to the next
        output.send(Frame(quarters(), tick, 0.0))
        (bgra,) = sender.shared[tick:]
        assert bgra.shape == (360, 640, 4)
        assert corners(bgra) == [(255, 0, 0, 255), (10, 200, 30, 255), (0, 0, 255, 255), (100, 100, 100, 255)]
    assert sender.name == "stage left"
    assert output.status() == {"frames": 3, "path": "gpu"}
    output.close()
    assert sender.released


def test_alpha_arrives_to_the_bit(opened: Any) -> None:
    output, sender = opened(layout="rgba")
    assert output.layout == "rgba"
    image = quarters(4).repeat(2, 0).repeat(2, 1)
    image[100:103] = np.random.default_rng(1).integers(0, 256, (3, 640, 4))
    output.send(Frame(image, 0, 0.0))
    assert (sender.shared[0][..., [2, 1, 0, 3]] == image).all()


def test_a_refusal_says_what_to_do(opened: Any) -> None:
    output, sender = opened()
    sender.works = False
    with pytest.raises(RuntimeError, match=r"update the graphics driver.*same graphics card"):
        output.send(Frame(quarters(), 0, 0.0))


def test_elsewhere_the_fix_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "SpoutGL", None)
    with pytest.raises(RuntimeError, match="on Windows only: use syphon on macOS"):
        SpoutOutput().open(FORMAT)
    monkeypatch.setattr(sys, "platform", "win32")
    with pytest.raises(RuntimeError, match="pip install SpoutGL"):
        SpoutOutput().open(FORMAT)
    with pytest.raises(ValueError, match="native or rgba, not 'uyvy'"):
        SpoutOutput(layout=cast(Any, "uyvy"))


def test_the_wheel_offers_what_we_were_written_against(vendors: Any, request: pytest.FixtureRequest) -> None:
    try:
        wheel = vendors.download("spout", Path(request.config.cache.mkdir("wheels")))
    except OSError as error:
        pytest.skip(str(error))
    found = vendors.read_spout(wheel)
    assert found == vendors.checked("spout")
    used = {"setSenderName": "(str) -> None", "sendTexture": "(int, int, int, int, bool, int) -> bool",
            "releaseSender": "() -> None", "getCPU": "() -> bool"}  # fmt: skip
    assert used.items() <= found["SpoutSender"].items()
