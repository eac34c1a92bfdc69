"""Spout out (Windows): a texture that other programs on this machine read without a copy by the CPU.

Written against SpoutGL 0.1.1, which binds Spout 2's SpoutSender; its arguments are positional and have no defaults.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from . import Frame, Layout, Output, Patch, Unsuitable, VideoFormat

if TYPE_CHECKING:
    from .gl.canvas import Canvas, HiddenContext


def runtime() -> Any:
    """The Spout library. Unsuitable, with the fix, where it is missing."""
    try:
        import SpoutGL
    except ImportError as error:
        if sys.platform != "win32":
            raise Unsuitable(
                "Spout shares textures on Windows only: use syphon on macOS, ndi or window elsewhere"
            ) from None
        raise Unsuitable(f"Spout is missing ({error}): pip install SpoutGL (Python 3.10 to 3.13)") from None
    return SpoutGL


class SpoutOutput(Output):
    """One Spout sender at the show's size.

    name: as receivers list it; None takes the show's.
    layout: "native" is uploaded at the world's own size and scaled on the GPU; "rgba" is uploaded at the show's size.
    Both are opaque.
    """

    holds = 0

    def __init__(self, name: str | None = None, layout: Literal["native", "rgba"] = "native") -> None:
        if layout not in ("native", "rgba"):
            raise ValueError(f"Spout takes native or rgba, not {layout!r}")
        self.layout: Layout = layout
        self.accepts_gpu_frames = layout == "native"
        self._name = name
        self._context: HiddenContext | None = None
        self._canvas: Canvas | None = None
        self._sender: Any = None
        self._frames = 0

    def open(self, fmt: VideoFormat) -> None:
        from .gl.canvas import Canvas, HiddenContext, Target

        spout = runtime()
        name = self._name or fmt.name
        self._context = HiddenContext(name)
        self._canvas, self._target = Canvas(), Target(fmt.width, fmt.height)
        self._sender = spout.SpoutSender()
        self._sender.setSenderName(name)

    def send(self, frame: Frame) -> None:
        """RuntimeError if Spout refuses the texture, which only a new context mends."""
        from OpenGL import GL

        assert self._context is not None
        assert self._canvas is not None
        self._context.poll()
        target = self._target
        self._canvas.take(frame)
        target.bind()
        self._canvas.draw(target.width, target.height)
        GL.glBindFramebuffer(GL.GL_FRAMEBUFFER, 0)
        # DirectX counts rows from the top and OpenGL from the bottom, so Spout flips the frame (bInvert).
        if not self._sender.sendTexture(
            int(target.texture), int(GL.GL_TEXTURE_2D), target.width, target.height, True, 0
        ):
            raise RuntimeError(
                "Spout refused the frame: update the graphics driver, and let Windows run python.exe and the "
                "receiver on the same graphics card (Settings > System > Display > Graphics)"
            )
        self._frames += 1

    def set_overlay(self, patches: Sequence[Patch], light: float) -> None:
        assert self._canvas is not None
        self._canvas.take_overlay(patches, light, (self._target.width, self._target.height))

    def status(self) -> Mapping[str, Any]:
        """frames: sent so far; path: "gpu", or "cpu" where the GPUs of sender and receiver cannot share textures."""
        if self._sender is None:
            return {"frames": self._frames}
        return {"frames": self._frames, "path": "cpu" if self._sender.getCPU() else "gpu"}

    def close(self) -> None:
        if self._sender is not None:
            self._sender.releaseSender()
            self._sender = None
        if self._context is not None:
            if self._canvas is not None:
                self._canvas.close()
                self._canvas = None
            self._context.close()
            self._context = None
