"""Window out: the picture on a screen or a projector, full screen if asked, scaled on the GPU. Nothing else is shown.

Keys: F switches full screen on the monitor that the window lies on, Esc leaves it. Closing the window ends this output
only; the show goes on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import glfw

from . import Frame, Layout, Output, VideoFormat
from .gl.canvas import Canvas, create_window, on_wayland, start
from .gl.projection import Corner, Scale, check_keystone, check_turn, fit, nudged


def list_monitors() -> list[str]:
    """The monitors in the order that `WindowOutput(monitor=...)` counts them. RuntimeError without a display."""
    start()
    rows = []
    for monitor in glfw.get_monitors():
        mode = glfw.get_video_mode(monitor)
        rows.append(f"{_name(monitor)} {mode.size.width}x{mode.size.height} at {mode.refresh_rate} Hz")
    return rows


def _name(monitor: Any) -> str:
    name = glfw.get_monitor_name(monitor)
    return name.decode(errors="replace") if isinstance(name, bytes) else str(name)


class WindowOutput(Output):
    """A window. All calls come from one thread, the main one of its process.

    monitor: index as `list_monitors` counts; None is the primary one.
    fullscreen: start on the whole of that monitor. One that is unplugged gets the picture back when it is plugged in
    again; until then the window is an ordinary one.
    scale: "fit" shows all of the picture, "fill" all of the screen, "stretch" both.
    rotate: degrees clockwise, for a screen that stands on its side: 0, 90, 180 or 270.
    keystone: where a projector's corners shall land, top left first and then clockwise, each [x, y] from 0 to 1.
    ValueError for a turn or a keystone that there is not.
    """

    layout: Layout = "native"
    holds = 0
    accepts_gpu_frames = True

    def __init__(self, monitor: int | None = None, fullscreen: bool = False, scale: Scale = "fit", rotate: int = 0,
                 keystone: Sequence[Corner] | None = None) -> None:  # fmt: skip
        if scale not in ("fit", "fill", "stretch"):
            raise ValueError(f"a picture is scaled to fit, fill or stretch, not {scale!r}")
        self._monitor = monitor
        self._monitor_name = ""  # of the one that was filled last: the others' order changes when one is unplugged
        self._fullscreen = fullscreen  # as the performer wants it, whatever is plugged in
        self._scale: Scale = scale
        self._turn = check_turn(rotate)
        self._keystone = None if keystone is None else check_keystone(keystone)
        self._aimed = self._keystone  # as the performer moved it since
        self._window: Any = None
        self._canvas: Canvas | None = None
        self._closed = False
        self._monitors_changed = False
        self._frames = 0

    def open(self, fmt: VideoFormat) -> None:
        start()
        monitors = glfw.get_monitors()
        if self._monitor is not None and not 0 <= self._monitor < len(monitors):
            have = ", ".join(f"{n}: {row}" for n, row in enumerate(list_monitors())) or "none"
            raise RuntimeError(f"there is no monitor {self._monitor}; this machine has {have}")
        self._fmt = fmt
        x, y, width, height = self._windowed_place()
        self._window = create_window(width, height, fmt.name)
        self._closed = False
        if not on_wayland():  # there a window cannot choose its place
            glfw.set_window_pos(self._window, x, y)
        glfw.set_key_callback(self._window, self._on_key)
        glfw.set_monitor_callback(self._on_monitor)
        # A Wayland compositor never tears, and waiting for it would hang while the window is hidden.
        glfw.swap_interval(0 if on_wayland() else 1)
        self._canvas = Canvas()
        glfw.show_window(self._window)
        if self._fullscreen:
            self._enter_fullscreen()

    def send(self, frame: Frame) -> None:
        """Shows the frame and handles what the user did. Does nothing once the window is closed."""
        if self._window is None:
            return
        glfw.poll_events()
        if glfw.window_should_close(self._window):
            self.close()
            return
        if self._monitors_changed:
            self._monitors_changed = False
            self._find_place()
        assert self._canvas is not None
        self._canvas.take(frame)
        width, height = glfw.get_framebuffer_size(self._window)
        self._canvas.draw(width, height, self._scale, self._turn, self._aimed)
        glfw.swap_buffers(self._window)
        self._frames += 1

    def set_keystone(self, corners: Sequence[Corner]) -> None:
        """Move the keystone's corners from where they were set. What no screen can show leaves them as they are."""
        with suppress(ValueError):
            self._aimed = nudged(self._keystone, corners)

    def status(self) -> Mapping[str, Any]:
        """closed: by the user or by `close`; size: of the framebuffer in pixels; fullscreen; frames shown; keystone:
        the corners as they are now, for the show file."""
        size = list(glfw.get_framebuffer_size(self._window)) if self._window else [0, 0]
        said = {"closed": self._closed, "fullscreen": self.fullscreen, "size": size, "frames": self._frames}
        return said if self._aimed is None else {**said, "keystone": self._aimed.round(4).tolist()}

    def close(self) -> None:
        if self._window is not None:
            if self._canvas is not None:
                self._canvas.close()
                self._canvas = None
            glfw.destroy_window(self._window)
            self._window = None
            glfw.terminate()
        self._closed = True

    @property
    def fullscreen(self) -> bool:
        return bool(self._window and glfw.get_window_monitor(self._window))

    def _chosen_monitor(self) -> Any:
        """The monitor to be on, or a null pointer where that one is away.

        The one that was filled is known by its name; of several with one name, that at its old index is preferred.
        """
        monitors = glfw.get_monitors()
        if self._monitor is None and not self._monitor_name:
            return glfw.get_primary_monitor()
        named = [monitor for monitor in monitors if _name(monitor) == self._monitor_name]
        if self._monitor is not None and self._monitor < len(monitors):
            there = monitors[self._monitor]
            if not self._monitor_name or _name(there) == self._monitor_name:
                return there
        return named[0] if named else None

    def _windowed_place(self) -> tuple[int, int, int, int]:
        """The show's shape on two thirds of the chosen monitor, or of the primary one, in its middle."""
        monitor = self._chosen_monitor() or glfw.get_primary_monitor()
        shape = self._fmt.width, self._fmt.height
        if self._turn in (90, 270):
            shape = shape[1], shape[0]
        if not monitor:  # none is plugged in
            return 0, 0, *shape
        left, top, width, height = glfw.get_monitor_workarea(monitor)
        x, y, w, h = fit(*shape, width * 2 // 3, height * 2 // 3)
        return left + width // 6 + x, top + height // 6 + y, w, h

    def _enter_fullscreen(self) -> None:
        monitor = self._chosen_monitor()
        if not monitor:
            return
        self._monitor_name = _name(monitor)
        mode = glfw.get_video_mode(monitor)  # the monitor's own mode: no switch, no black second
        glfw.set_window_monitor(self._window, monitor, 0, 0, mode.size.width, mode.size.height, mode.refresh_rate)
        glfw.set_input_mode(self._window, glfw.CURSOR, glfw.CURSOR_HIDDEN)

    def _leave_fullscreen(self) -> None:
        glfw.set_window_monitor(self._window, None, *self._windowed_place(), 0)  # type: ignore[arg-type]
        glfw.set_input_mode(self._window, glfw.CURSOR, glfw.CURSOR_NORMAL)

    def _find_place(self) -> None:
        """After monitors came or went: back to the chosen one, or where the window can be seen.

        glfw has by then made the window an ordinary one if its monitor went; where it lies may be nowhere.
        """
        if self._fullscreen and self._chosen_monitor():
            self._enter_fullscreen()
        elif self._fullscreen or self._monitor_below() is None:
            self._leave_fullscreen()

    def _monitor_below(self) -> int | None:
        """Index of the monitor that the window's middle lies on; None where no monitor is."""
        if on_wayland():  # which does not tell
            return self._monitor
        (x, y), (w, h) = glfw.get_window_pos(self._window), glfw.get_window_size(self._window)
        for index, monitor in enumerate(glfw.get_monitors()):
            left, top = glfw.get_monitor_pos(monitor)
            mode = glfw.get_video_mode(monitor)
            if 0 <= x + w / 2 - left < mode.size.width and 0 <= y + h / 2 - top < mode.size.height:
                return index
        return None

    def _on_key(self, _window: Any, key: int, _scancode: int, action: int, _mods: int) -> None:
        if action != glfw.PRESS:
            return
        if key == glfw.KEY_F and not self.fullscreen:  # on the monitor that the performer moved it to
            below = self._monitor_below()
            if below is not None:
                self._monitor, self._monitor_name = below, ""
            self._fullscreen = True
            self._enter_fullscreen()
        elif key in (glfw.KEY_ESCAPE, glfw.KEY_F):
            self._fullscreen = False
            if self.fullscreen:
                self._leave_fullscreen()

    def _on_monitor(self, _monitor: Any, _event: int) -> None:
        self._monitors_changed = True
