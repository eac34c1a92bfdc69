"""Syphon out (macOS): a surface in GPU memory that other programs on this machine read without a copy by the CPU.

Written against syphon-python 0.2.0. Its Metal server would need the frame scaled by the CPU and copied twice. Its
OpenGL server lends the shared surface itself to draw into, so frames take the window's path, and nothing is flipped.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from . import Frame, Layout, Output, Patch, Unsuitable, VideoFormat

if TYPE_CHECKING:
    from .gl.canvas import HiddenContext


def runtime() -> Any:
    """The Syphon library. Unsuitable, with the fix, where it is missing."""
    try:
        import syphon
    except ImportError as error:
        if sys.platform != "darwin":
            raise Unsuitable(
                "Syphon shares textures on macOS only: use spout on Windows, ndi or window elsewhere"
            ) from None
        raise Unsuitable(f"Syphon is missing ({error}): pip install syphon-python (macOS 12 or newer)") from None
    return syphon


class SyphonOutput(Output):
    """One Syphon server at the show's size.

    name: as clients list it; None takes the show's.
    layout: "native" is uploaded at the world's own size and scaled on the GPU; "rgba" is uploaded at the show's size.
    Both are opaque.
    """

    holds = 0

    def __init__(self, name: str | None = None, layout: Literal["native", "rgba"] = "native") -> None:
        if layout not in ("native", "rgba"):
            raise ValueError(f"Syphon takes native or rgba, not {layout!r}")
        self.layout: Layout = layout
        self._name = name
        self._context: HiddenContext | None = None
        self._server: Any = None
        self._frames = 0

    def open(self, fmt: VideoFormat) -> None:
        from .gl.canvas import Canvas, HiddenContext

        syphon = runtime()
        name = self._name or fmt.name
        self._fmt = fmt
        self._context = HiddenContext(name)
        self._canvas = Canvas()
        self._server = syphon.SyphonOpenGLServer(name)  # on the current context
        self._directory = syphon.SyphonServerDirectory()
        self._directory.run_loop_interval = 0.0

    def send(self, frame: Frame) -> None:
        """RuntimeError if Syphon has no surface to draw into, which only a new context mends."""
        assert self._context is not None
        self._context.poll()
        self._directory.update_run_loop()  # answers programs that ask for the list of servers
        width, height = self._fmt.width, self._fmt.height
        self._canvas.upload(frame.pixels)
        if not self._server.bind_to_draw_frame((width, height)):
            raise RuntimeError(f"Syphon has no surface of {width}x{height}: use a smaller size for the show")
        try:
            self._canvas.draw(width, height)
        finally:
            self._server.unbind_and_publish()
        self._frames += 1

    def set_overlay(self, patches: Sequence[Patch], light: float) -> None:
        self._canvas.take_overlay(patches, light, (self._fmt.width, self._fmt.height))

    def status(self) -> Mapping[str, Any]:
        """frames: published so far; clients: whether any program receives them."""
        if self._server is None:
            return {"frames": self._frames, "clients": False}
        return {"frames": self._frames, "clients": bool(self._server.has_clients)}

    def close(self) -> None:
        if self._server is not None:
            self._server.stop()
            self._directory.close()
            self._server = None
        if self._context is not None:
            self._context.close()
            self._context = None
