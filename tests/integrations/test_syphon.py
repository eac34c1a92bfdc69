"""Syphon out: our drawing as clients find it in the shared surface, through the vendor's own Python where it is to be
had, and always through classes with its signatures."""

from __future__ import annotations

import contextlib
import importlib
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from worldjockey.integrations import Frame, VideoFormat
from worldjockey.integrations.syphon import SyphonOutput

pytestmark = pytest.mark.slow

FORMAT = VideoFormat(640, 360, 30, name="wj syphon test")


@pytest.fixture
def vendors(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "peers"))
    return importlib.import_module("vendors")


@pytest.fixture
def wheel(vendors: Any, request: pytest.FixtureRequest) -> Path:
    try:
        return Path(vendors.download("syphon", Path(request.config.cache.mkdir("wheels"))))
    except OSError as error:
        pytest.skip(str(error))


class Server:
    """The framework's SyphonOpenGLServer: lends a framebuffer on a surface of BGRA, whose row 0 is the lowest.

    After SyphonServerRendererCoreGL.m of the Syphon framework: a rectangle texture with the surface behind it.
    """

    def __init__(self) -> None:
        self.name_given = ""
        self.published: list[np.ndarray] = []  # the surface's bytes, (H, W, 4) BGRA
        self.has_surface = True
        self.stopped = False
        self.run_loops = 0

    def initWithName_context_options_(self, name: str, context: Any, options: dict[str, Any]) -> Server:  # noqa: N802
        self.name_given = name
        return self

    def bindToDrawFrameOfSize_(self, size: Any) -> bool:  # noqa: N802
        from OpenGL import GL

        if not self.has_surface:
            return False
        self._size = int(size.width), int(size.height)
        self._texture, self._framebuffer = GL.glGenTextures(1), GL.glGenFramebuffers(1)
        kind = GL.GL_TEXTURE_RECTANGLE
        GL.glBindTexture(kind, self._texture)
        GL.glTexImage2D(kind, 0, GL.GL_RGBA8, *self._size, 0, GL.GL_BGRA, GL.GL_UNSIGNED_INT_8_8_8_8_REV, None)
        GL.glBindFramebuffer(GL.GL_FRAMEBUFFER, self._framebuffer)
        GL.glFramebufferTexture2D(GL.GL_FRAMEBUFFER, GL.GL_COLOR_ATTACHMENT0, kind, self._texture, 0)
        return True

    def unbindAndPublish(self) -> None:  # noqa: N802
        from OpenGL import GL

        width, height = self._size
        data = GL.glReadPixels(0, 0, width, height, GL.GL_BGRA, GL.GL_UNSIGNED_BYTE)
        self.published.append(np.frombuffer(data, np.uint8).reshape(height, width, 4).copy())
        GL.glBindFramebuffer(GL.GL_FRAMEBUFFER, 0)
        GL.glDeleteFramebuffers(1, [self._framebuffer])
        GL.glDeleteTextures([self._texture])

    def hasClients(self) -> bool:  # noqa: N802
        return bool(self.published)

    def stop(self) -> None:
        self.stopped = True

    def asked(self) -> None:
        """The run loop was let run, in which other programs ask who is there."""
        self.run_loops += 1


@pytest.fixture(params=["our signatures", "the wheel's own Python"])
def opened(
    request: pytest.FixtureRequest, display: str, vendors: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[Callable[..., Any]]:
    server = Server()
    if request.param == "our signatures":
        monkeypatch.setitem(sys.modules, "syphon", vendors.fake_syphon(server))
    else:
        with zipfile.ZipFile(request.getfixturevalue("wheel")) as archive:
            archive.extractall(tmp_path, [n for n in archive.namelist() if n.endswith(".py")])
        monkeypatch.syspath_prepend(str(tmp_path))
        for name, module in vendors.stand_in_for_macos(server).items():
            monkeypatch.setitem(sys.modules, name, module)
    with contextlib.ExitStack() as stack:

        def make(**options: Any) -> tuple[SyphonOutput, Server]:
            output = SyphonOutput(**options)
            output.open(FORMAT)
            stack.callback(output.close)
            return output, server

        yield make
    for name in [n for n in sys.modules if n.partition(".")[0] == "syphon"]:
        del sys.modules[name]


def quarters(channels: int = 3) -> np.ndarray:
    """Red and green above, blue and grey below; each quarter's alpha is another."""
    image = np.zeros((180, 320, 4), np.uint8)
    image[:90, :160], image[:90, 160:] = (255, 0, 0, 255), (10, 200, 30, 128)
    image[90:, :160], image[90:, 160:] = (0, 0, 255, 64), (100, 100, 100, 0)
    return image[..., :channels]


def as_clients_draw(surface: np.ndarray) -> np.ndarray:
    """(H, W, 4) RGBA from the top: row 0 of a Syphon surface is drawn lowest, and its bytes are BGRA."""
    return surface[::-1, :, [2, 1, 0, 3]]


def test_clients_get_the_frame_upright_in_its_own_colours(opened: Any) -> None:
    output, server = opened(name="stage left")
    assert output.status() == {"frames": 0, "clients": False}
    for tick in range(2):
        output.send(Frame(quarters(), tick, 0.0))
        shown = as_clients_draw(server.published[tick])
        assert shown.shape == (360, 640, 4)
        seen = [tuple(int(v) for v in shown[y, x]) for y in (5, -6) for x in (5, -6)]
        assert seen == [(255, 0, 0, 255), (10, 200, 30, 255), (0, 0, 255, 255), (100, 100, 100, 255)]
    assert server.name_given == "stage left"
    assert server.run_loops == 2
    assert output.status() == {"frames": 2, "clients": True}
    output.close()
    assert server.stopped


def test_alpha_arrives_to_the_bit(opened: Any) -> None:
    output, server = opened(layout="rgba")
    assert output.layout == "rgba"
    image = quarters(4).repeat(2, 0).repeat(2, 1)
    image[100:103] = np.random.default_rng(1).integers(0, 256, (3, 640, 4))
    output.send(Frame(image, 0, 0.0))
    assert (as_clients_draw(server.published[0]) == image).all()


def test_a_missing_surface_is_an_error(opened: Any) -> None:
    output, server = opened()
    server.has_surface = False
    with pytest.raises(RuntimeError, match="no surface of 640x360"):
        output.send(Frame(quarters(), 0, 0.0))


def test_elsewhere_the_fix_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "syphon", None)
    with pytest.raises(RuntimeError, match="on macOS only: use spout on Windows"):
        SyphonOutput().open(FORMAT)
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(RuntimeError, match="pip install syphon-python"):
        SyphonOutput().open(FORMAT)
    with pytest.raises(ValueError, match="native or rgba, not 'uyvy'"):
        SyphonOutput(layout=cast(Any, "uyvy"))


def test_the_wheel_offers_what_we_were_written_against(vendors: Any, wheel: Path) -> None:
    assert vendors.read_syphon(wheel) == vendors.checked("syphon")
