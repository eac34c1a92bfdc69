"""Window out: the program alone on a screen or projector, scaled on the GPU, full screen on request.

Keys: F switches full screen on the monitor that the window lies on, Esc leaves it. All other keys, and Esc, play the
show. Closing the window ends this output only; the show goes on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from . import Frame, KeyEvent, Layout, Output, Patch, VideoFormat
from .gl.projection import Corner, Scale, Turn, check_keystone, check_turn, nudged

if TYPE_CHECKING:
    from .gl.canvas import Canvas
    from .gl.screen import Screen


def list_monitors() -> list[str]:
    """The monitors in the order that `WindowOutput(monitor=...)` counts them. RuntimeError without a display."""
    from .gl.screen import list_monitors

    return list_monitors()


class WindowOutput(Output):
    """A window. All calls come from one thread, the main one of its process.

    monitor: the monitor that the window lies on, counted from 0 as `wj ports` lists them; None is the primary one.
    fullscreen: fill that monitor. Without it, a window with a monitor fills it, and one without does not. If a filled
    monitor is unplugged, the window becomes an ordinary one, and fills the monitor again when it is back.
    scale: fit shows the whole frame, fill covers the whole screen, stretch does both.
    rotate: degrees clockwise, for a screen that stands on its side: 0, 90, 180 or 270.
    keystone: where the corners of the screen are to lie, to correct a projector at an angle: top left first and
    clockwise, each [x, y] from 0 to 1. ValueError for an impossible keystone or rotation.
    """

    layout: Layout = "native"
    holds = 0
    accepts_gpu_frames = True
    sends_keys = True
    short = "monitor"
    example = "window:0"

    def __init__(self, monitor: int | None = None, fullscreen: bool | None = None,
                 scale: Scale = "fit", rotate: Turn = 0,
                 keystone: Sequence[Corner] | None = None) -> None:  # fmt: skip
        if monitor is not None and monitor < 0:
            raise ValueError(f"monitors are counted from 0, so there is no monitor {monitor}")
        if scale not in ("fit", "fill", "stretch"):
            raise ValueError(f"a frame is scaled to fit, fill or stretch, not {scale!r}")
        self._monitor = monitor
        self._fullscreen = monitor is not None if fullscreen is None else fullscreen
        self._scale: Scale = scale
        self._turn = check_turn(rotate)
        self._keystone = None if keystone is None else check_keystone(keystone)
        self._moved_keystone = self._keystone  # as the performer moved it since
        self._screen: Screen | None = None
        self._canvas: Canvas | None = None
        self._closed = False
        self._frames = 0

    def open(self, fmt: VideoFormat) -> None:
        from .gl.canvas import Canvas
        from .gl.screen import Screen

        size = (fmt.height, fmt.width) if self._turn in (90, 270) else (fmt.width, fmt.height)
        self._size = fmt.width, fmt.height
        self._screen = Screen(fmt.name, size, self._monitor, self._fullscreen)
        self._canvas = Canvas()
        self._closed = False
        self._screen.show()

    def send(self, frame: Frame) -> None:
        """Show the frame, and handle keys and monitors. Does nothing once the window is closed."""
        if self._screen is None:
            return
        if not self._screen.poll():
            self.close()
            return
        assert self._canvas is not None
        self._canvas.take(frame)
        self._canvas.draw(*self._screen.framebuffer, self._scale, self._turn, self._moved_keystone)
        self._screen.swap()
        self._frames += 1

    def set_overlay(self, patches: Sequence[Patch], light: float) -> None:
        if self._canvas is not None:
            self._canvas.take_overlay(patches, light, self._size)

    def set_keystone(self, corners: Sequence[Corner]) -> None:
        """Move the keystone's corners by these offsets. An impossible keystone leaves them as they are."""
        with suppress(ValueError):
            self._moved_keystone = nudged(self._keystone, corners)

    def take_keys(self) -> Sequence[KeyEvent]:
        return self._screen.keys.take() if self._screen else ()

    def status(self) -> Mapping[str, Any]:
        """closed: by the user or by `close`; size: of the framebuffer in pixels; fullscreen; frames: shown so far;
        keystone: the present corners, for the show file."""
        size, full = (list(self._screen.framebuffer), self._screen.full) if self._screen else ([0, 0], False)
        status = {"closed": self._closed, "fullscreen": full, "size": size, "frames": self._frames}
        return (
            status if self._moved_keystone is None else {**status, "keystone": self._moved_keystone.round(4).tolist()}
        )

    def close(self) -> None:
        if self._screen is not None:
            if self._canvas is not None:
                self._canvas.close()
                self._canvas = None
            self._screen.close()
            self._screen = None
        self._closed = True
