"""Window out: the picture on a screen or a projector, full screen if asked, scaled on the GPU.

Keys: F switches full screen, Esc leaves it. Closing the window ends this output only; the show goes on.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Mapping
from typing import Any

import glfw
import numpy as np

from . import Frame, Layout, VideoFormat

TRIANGLE = """#version 330 core
out vec2 at;  // 0, 0 is the picture's top left
void main() {
    vec2 corner = vec2((gl_VertexID << 1) & 2, gl_VertexID & 2);  // one triangle that covers the viewport
    at = vec2(corner.x, 1.0 - corner.y);
    gl_Position = vec4(corner * 2.0 - 1.0, 0.0, 1.0);
}
"""

# Catmull & Rom, "A class of local interpolating splines" (1974): sharper than bilinear, and exact at the texels.
CATMULL_ROM = """#version 330 core
in vec2 at;
out vec4 color;
uniform sampler2D picture;
vec4 weights(float t) {
    return 0.5 * vec4(((-t + 2.0) * t - 1.0) * t, (3.0 * t - 5.0) * t * t + 2.0,
                      ((-3.0 * t + 4.0) * t + 1.0) * t, (t - 1.0) * t * t);
}
void main() {
    ivec2 size = textureSize(picture, 0);
    vec2 p = at * vec2(size) - 0.5;
    ivec2 base = ivec2(floor(p));
    vec2 f = p - vec2(base);
    vec4 wx = weights(f.x), wy = weights(f.y);
    vec3 sum = vec3(0.0);
    for (int y = 0; y < 4; y++)
        for (int x = 0; x < 4; x++)
            sum += wx[x] * wy[y] * texelFetch(picture, clamp(base + ivec2(x - 1, y - 1), ivec2(0), size - 1), 0).rgb;
    color = vec4(sum, 1.0);
}
"""


def fit(width: int, height: int, into_width: int, into_height: int) -> tuple[int, int, int, int]:
    """x, y, width, height of the largest rectangle of the picture's shape in the middle of the other."""
    scale = min(into_width / width, into_height / height)
    w, h = max(round(width * scale), 1), max(round(height * scale), 1)
    return (into_width - w) // 2, (into_height - h) // 2, w, h


def _start_glfw() -> None:
    glfw.ERROR_REPORTING = "ignore"  # failures are asked for below and raised once, with the fix
    if sys.platform == "darwin":
        glfw.init_hint(glfw.COCOA_CHDIR_RESOURCES, False)
    if not glfw.init():
        raise RuntimeError(f"cannot open a window: {_reason()}. {_display_fix()}")


def _reason() -> str:
    text = glfw.get_error()[1]
    return (text.decode() if isinstance(text, bytes) else text or "no reason given").rstrip(".")


def _display_fix() -> str:
    if sys.platform.startswith("linux"):
        shown = os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY") or "not set"
        return f"DISPLAY is {shown}: export DISPLAY=:0 where a desktop runs, or play without a window: --headless"
    return "Log in at the machine's own screen, or play without a window: --headless"


def list_monitors() -> list[str]:
    """The monitors in the order that `WindowOutput(monitor=...)` counts them. RuntimeError without a display."""
    _start_glfw()
    rows = []
    for monitor in glfw.get_monitors():
        mode = glfw.get_video_mode(monitor)
        name = glfw.get_monitor_name(monitor)
        label = name.decode() if isinstance(name, bytes) else name
        rows.append(f"{label} {mode.size.width}x{mode.size.height} at {mode.refresh_rate} Hz")
    return rows


class Canvas:
    """One texture on the current OpenGL 3.3 core context. Values go through unchanged: no sRGB conversion anywhere."""

    def __init__(self) -> None:
        from OpenGL import GL

        self._gl = GL
        self._program = GL.glCreateProgram()
        for kind, source in ((GL.GL_VERTEX_SHADER, TRIANGLE), (GL.GL_FRAGMENT_SHADER, CATMULL_ROM)):
            shader = GL.glCreateShader(kind)
            GL.glShaderSource(shader, source)
            GL.glCompileShader(shader)
            if not GL.glGetShaderiv(shader, GL.GL_COMPILE_STATUS):
                raise RuntimeError(f"this graphics driver refuses our shader: {GL.glGetShaderInfoLog(shader)!r}")
            GL.glAttachShader(self._program, shader)
        GL.glLinkProgram(self._program)
        GL.glUseProgram(self._program)
        GL.glBindVertexArray(GL.glGenVertexArrays(1))
        GL.glBindTexture(GL.GL_TEXTURE_2D, GL.glGenTextures(1))
        for name in (GL.GL_TEXTURE_MIN_FILTER, GL.GL_TEXTURE_MAG_FILTER):
            GL.glTexParameteri(GL.GL_TEXTURE_2D, name, GL.GL_NEAREST)
        GL.glPixelStorei(GL.GL_UNPACK_ALIGNMENT, 1)
        GL.glDisable(GL.GL_FRAMEBUFFER_SRGB)
        GL.glDisable(GL.GL_DITHER)
        GL.glClearColor(0.0, 0.0, 0.0, 1.0)
        self._buffers = GL.glGenBuffers(2)
        self._turn = 0
        self.size = (0, 0)

    def upload(self, pixels: np.ndarray) -> None:
        """pixels: (h, w, 3) uint8 RGB. Two pixel buffers take turns, so that filling one never waits for the other."""
        gl = self._gl
        height, width, _ = pixels.shape
        if self.size != (width, height):
            gl.glBindBuffer(gl.GL_PIXEL_UNPACK_BUFFER, 0)
            gl.glTexImage2D(gl.GL_TEXTURE_2D, 0, gl.GL_RGB8, width, height, 0, gl.GL_RGB, gl.GL_UNSIGNED_BYTE, None)
            self.size = (width, height)
        self._turn = 1 - self._turn
        gl.glBindBuffer(gl.GL_PIXEL_UNPACK_BUFFER, self._buffers[self._turn])
        gl.glBufferData(gl.GL_PIXEL_UNPACK_BUFFER, pixels.nbytes, np.ascontiguousarray(pixels), gl.GL_STREAM_DRAW)
        start = ctypes.c_void_p(0)
        gl.glTexSubImage2D(gl.GL_TEXTURE_2D, 0, 0, 0, width, height, gl.GL_RGB, gl.GL_UNSIGNED_BYTE, start)

    def draw(self, width: int, height: int) -> None:
        """Into a framebuffer of that size, black around the picture."""
        gl = self._gl
        gl.glViewport(0, 0, width, height)
        gl.glClear(gl.GL_COLOR_BUFFER_BIT)
        if min(width, height, *self.size) > 0:
            gl.glViewport(*fit(*self.size, width, height))
            gl.glDrawArrays(gl.GL_TRIANGLES, 0, 3)


class WindowOutput:
    """A window. All calls come from one thread, the main one of its process.

    monitor: index as `list_monitors` counts; None is the primary one.
    fullscreen: start on the whole of that monitor.
    """

    layout: Layout = "native"
    holds = 0

    def __init__(self, monitor: int | None = None, fullscreen: bool = False) -> None:
        self._monitor = monitor
        self._fullscreen = fullscreen
        self._window: Any = None
        self._closed = False
        self._lost_monitor = False
        self._frames = 0

    def open(self, fmt: VideoFormat) -> None:
        _start_glfw()
        monitors = glfw.get_monitors()
        if self._monitor is not None and not 0 <= self._monitor < len(monitors):
            have = ", ".join(f"{n}: {row}" for n, row in enumerate(list_monitors())) or "none"
            raise RuntimeError(f"there is no monitor {self._monitor}; this machine has {have}")
        wayland = glfw.get_platform() == glfw.PLATFORM_WAYLAND
        if sys.platform.startswith("linux"):
            # PyOpenGL guesses by the session's type; what glfw really uses is what counts.
            os.environ.setdefault("PYOPENGL_PLATFORM", "egl" if wayland else "glx")
        glfw.default_window_hints()
        glfw.window_hint(glfw.CONTEXT_VERSION_MAJOR, 3)
        glfw.window_hint(glfw.CONTEXT_VERSION_MINOR, 3)
        glfw.window_hint(glfw.OPENGL_PROFILE, glfw.OPENGL_CORE_PROFILE)
        glfw.window_hint(glfw.OPENGL_FORWARD_COMPAT, True)
        glfw.window_hint(glfw.AUTO_ICONIFY, False)  # the performer works elsewhere while the projector stays on
        glfw.window_hint(glfw.SRGB_CAPABLE, False)
        glfw.window_hint(glfw.VISIBLE, False)
        x, y, width, height = self._windowed_place(fmt)
        self._window = glfw.create_window(width, height, fmt.name, None, None)
        if not self._window:
            raise RuntimeError(f"cannot open a window: {_reason()}. OpenGL 3.3 is needed. {_display_fix()}")
        self._fmt = fmt
        self._closed = False
        if not wayland:  # there a window cannot choose its place
            glfw.set_window_pos(self._window, x, y)
        glfw.set_key_callback(self._window, self._on_key)
        glfw.set_monitor_callback(self._on_monitor)
        glfw.make_context_current(self._window)
        # A Wayland compositor never tears, and waiting for it would hang while the window is hidden.
        glfw.swap_interval(0 if wayland else 1)
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
        if self._lost_monitor:
            self._lost_monitor = False
            self._monitor = None
            self._leave_fullscreen()
        self._canvas.upload(frame.pixels)
        self._canvas.draw(*glfw.get_framebuffer_size(self._window))
        glfw.swap_buffers(self._window)
        self._frames += 1

    def status(self) -> Mapping[str, Any]:
        """closed: by the user or by `close`; size: of the framebuffer in pixels; fullscreen; frames shown."""
        size = list(glfw.get_framebuffer_size(self._window)) if self._window else [0, 0]
        return {"closed": self._closed, "fullscreen": self.fullscreen, "size": size, "frames": self._frames}

    def close(self) -> None:
        if self._window is not None:
            glfw.destroy_window(self._window)
            self._window = None
            glfw.terminate()
        self._closed = True

    @property
    def fullscreen(self) -> bool:
        return bool(self._window and glfw.get_window_monitor(self._window))

    def _chosen_monitor(self) -> Any:
        monitors = glfw.get_monitors()
        if self._monitor is not None and self._monitor < len(monitors):
            return monitors[self._monitor]
        return glfw.get_primary_monitor()

    def _windowed_place(self, fmt: VideoFormat) -> tuple[int, int, int, int]:
        """The show's shape on two thirds of the chosen monitor, in its middle."""
        monitor = self._chosen_monitor()
        if not monitor:
            return 0, 0, fmt.width, fmt.height
        left, top, width, height = glfw.get_monitor_workarea(monitor)
        x, y, w, h = fit(fmt.width, fmt.height, width * 2 // 3, height * 2 // 3)
        return left + width // 6 + x, top + height // 6 + y, w, h

    def _enter_fullscreen(self) -> None:
        monitor = self._chosen_monitor()
        if not monitor:
            return
        mode = glfw.get_video_mode(monitor)  # the monitor's own mode: no switch, no black second
        glfw.set_window_monitor(self._window, monitor, 0, 0, mode.size.width, mode.size.height, mode.refresh_rate)
        glfw.set_input_mode(self._window, glfw.CURSOR, glfw.CURSOR_HIDDEN)

    def _leave_fullscreen(self) -> None:
        place = self._windowed_place(self._fmt)
        glfw.set_window_monitor(self._window, None, *place, 0)  # type: ignore[arg-type]
        glfw.set_input_mode(self._window, glfw.CURSOR, glfw.CURSOR_NORMAL)

    def _on_key(self, _window: Any, key: int, _scancode: int, action: int, _mods: int) -> None:
        if action != glfw.PRESS:
            return
        if self.fullscreen and key in (glfw.KEY_ESCAPE, glfw.KEY_F):
            self._leave_fullscreen()
        elif key == glfw.KEY_F:
            self._enter_fullscreen()

    def _on_monitor(self, _monitor: Any, event: int) -> None:
        # glfw has already made the window an ordinary one if this was its monitor; where it lies may be nowhere.
        if event == glfw.DISCONNECTED:
            self._lost_monitor = True
