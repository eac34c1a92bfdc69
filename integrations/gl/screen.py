"""A GLFW window on a chosen monitor, full screen or not, that returns to it when monitors are plugged in again."""

from __future__ import annotations

from typing import Any

import glfw

from .canvas import create_window, on_wayland, start
from .keys import Keys
from .projection import fit


def list_monitors() -> list[str]:
    """The monitors in the order of `Screen`'s index from 0. RuntimeError without a display."""
    start()
    rows = []
    for monitor in glfw.get_monitors():
        mode = glfw.get_video_mode(monitor)
        rows.append(f"{_name(monitor)} {mode.size.width}x{mode.size.height} at {mode.refresh_rate} Hz")
    return rows


def _name(monitor: Any) -> str:
    name = glfw.get_monitor_name(monitor)
    return name.decode(errors="replace") if isinstance(name, bytes) else str(name)


class Screen:
    """A window with a current OpenGL context. All calls come from one thread, the main one of its process.

    size: the program's width and height in pixels, after rotation. monitor: index in `list_monitors`; None is the
    primary one. fullscreen: fill that monitor from the start. RuntimeError where there is no such monitor, or no
    display.
    """

    def __init__(self, title: str, size: tuple[int, int], monitor: int | None, fullscreen: bool) -> None:
        self._size = size
        self._monitor = monitor
        self._monitor_name = ""  # of the last one that was filled, since indices change when a monitor is unplugged
        self._fullscreen = fullscreen  # the performer's choice, even while the monitor is unplugged
        self._monitors_changed = False
        self.keys = Keys()
        start()
        monitors = glfw.get_monitors()
        if monitor is not None and not 0 <= monitor < len(monitors):
            have = ", ".join(f"{n}: {row}" for n, row in enumerate(list_monitors())) or "none"
            raise RuntimeError(f"there is no monitor {monitor}; this machine has {have}")
        x, y, width, height = self._windowed_place()
        self.window = create_window(width, height, title)
        if not on_wayland():  # where a window cannot choose its position
            glfw.set_window_pos(self.window, x, y)
        glfw.set_key_callback(self.window, self._on_key)
        glfw.set_monitor_callback(self._on_monitor)
        # A Wayland compositor never tears, and waiting for it would hang while the window is hidden.
        glfw.swap_interval(0 if on_wayland() else 1)

    def show(self) -> None:
        """Make the window visible."""
        glfw.show_window(self.window)
        if self._fullscreen:
            self._enter_fullscreen()

    def poll(self) -> bool:
        """Handle keys and changes of the monitors. False after the user closed the window."""
        glfw.poll_events()
        if glfw.window_should_close(self.window):
            return False
        if self._monitors_changed:
            self._monitors_changed = False
            self._find_place()
        return True

    def swap(self) -> None:
        """Show the drawn frame."""
        glfw.swap_buffers(self.window)

    @property
    def framebuffer(self) -> tuple[int, int]:
        """Width and height in pixels."""
        width, height = glfw.get_framebuffer_size(self.window)
        return width, height

    def close(self) -> None:
        glfw.destroy_window(self.window)
        glfw.terminate()

    @property
    def full(self) -> bool:
        """Whether the window fills a monitor."""
        return bool(glfw.get_window_monitor(self.window))

    def _chosen_monitor(self) -> Any:
        """The monitor for the window, or a null pointer while it is unplugged.

        A monitor that was filled is found by its name; of several with that name, the old index is preferred.
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
        """x, y, width, height of a window with the program's aspect ratio, centred on two thirds of the monitor."""
        monitor = self._chosen_monitor() or glfw.get_primary_monitor()
        shape = self._size
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
        glfw.set_window_monitor(self.window, monitor, 0, 0, mode.size.width, mode.size.height, mode.refresh_rate)
        glfw.set_input_mode(self.window, glfw.CURSOR, glfw.CURSOR_HIDDEN)

    def _leave_fullscreen(self) -> None:
        glfw.set_window_monitor(self.window, None, *self._windowed_place(), 0)  # type: ignore[arg-type]
        glfw.set_input_mode(self.window, glfw.CURSOR, glfw.CURSOR_NORMAL)

    def _find_place(self) -> None:
        """After monitors changed, fill the chosen one again, or move the window to where it is visible.

        If the window's monitor has gone, glfw has made the window an ordinary one, perhaps outside of all monitors.
        """
        if self._fullscreen and self._chosen_monitor():
            self._enter_fullscreen()
        elif self._fullscreen or self._monitor_below() is None:
            self._leave_fullscreen()

    def _monitor_below(self) -> int | None:
        """Index of the monitor under the window's centre; None if there is none."""
        if on_wayland():  # which hides the position
            return self._monitor
        (x, y), (w, h) = glfw.get_window_pos(self.window), glfw.get_window_size(self.window)
        for index, monitor in enumerate(glfw.get_monitors()):
            left, top = glfw.get_monitor_pos(monitor)
            mode = glfw.get_video_mode(monitor)
            if 0 <= x + w / 2 - left < mode.size.width and 0 <= y + h / 2 - top < mode.size.height:
                return index
        return None

    def _on_key(self, _window: Any, key: int, scancode: int, action: int, mods: int) -> None:
        if key != glfw.KEY_F:
            self.keys.add(key, scancode, action, mods)
        if action != glfw.PRESS:
            return
        if key == glfw.KEY_F and not self.full:  # on the monitor to which the performer moved the window
            below = self._monitor_below()
            if below is not None:
                self._monitor, self._monitor_name = below, ""
            self._fullscreen = True
            self._enter_fullscreen()
        elif key in (glfw.KEY_ESCAPE, glfw.KEY_F):
            self._fullscreen = False
            if self.full:
                self._leave_fullscreen()

    def _on_monitor(self, _monitor: Any, _event: int) -> None:
        self._monitors_changed = True
