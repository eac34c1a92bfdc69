"""Frames on the GPU: one texture, and the shader that scales, rotates and corrects it (OpenGL 3.3 core).

The window, Syphon and Spout share this path: the world's own small frame is uploaded once and scaled on the GPU.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Sequence
from typing import Any

import glfw
import numpy as np

from .. import Frame, Patch
from .composer import Composer
from .overlay import Overlay
from .projection import Corner, Scale, mipmap, to_frame

TRIANGLE = """#version 330 core
out vec2 screen;  // 0, 0 is the top left
void main() {
    vec2 corner = vec2((gl_VertexID << 1) & 2, gl_VertexID & 2);  // one triangle that covers the viewport
    screen = vec2(corner.x, 1.0 - corner.y);
    gl_Position = vec4(corner * 2.0 - 1.0, 0.0, 1.0);
}
"""

# Catmull & Rom, "A class of local interpolating splines" (1974): sharper than bilinear, and exact at the texels. Its 16
# texels are fetched one by one: the 9 bilinear samples of Jimenez, "Filmic SMAA" (SIGGRAPH 2016), are less exact, and
# on a software renderer they take 2.7 times as long (measured).
CATMULL_ROM = """#version 330 core
in vec2 screen;
out vec4 color;
uniform sampler2D frame;
uniform mat3 to_frame;
uniform int level;
uniform float light;  // 0 is black
vec4 weights(float t) {
    return 0.5 * vec4(((-t + 2.0) * t - 1.0) * t, (3.0 * t - 5.0) * t * t + 2.0,
                      ((-3.0 * t + 4.0) * t + 1.0) * t, (t - 1.0) * t * t);
}
void main() {
    vec3 q = to_frame * vec3(screen, 1.0);
    vec2 at = q.xy / q.z;
    // How much of this pixel the frame covers, by the distance to its nearest edge, which antialiases slanted edges.
    vec2 right = dFdx(at), down = dFdy(at);
    vec2 pixel = max(sqrt(right * right + down * down), 1e-9);
    vec2 inside = clamp(min(at, 1.0 - at) / pixel + 0.5, 0.0, 1.0);
    float cover = q.z > 0.0 ? inside.x * inside.y : 0.0;
    color = vec4(0.0, 0.0, 0.0, 1.0);
    if (cover <= 0.0) return;
    ivec2 size = textureSize(frame, level);
    vec2 p = at * vec2(size) - 0.5;
    ivec2 base = ivec2(floor(p));
    vec2 f = p - vec2(base);
    vec4 wx = weights(f.x), wy = weights(f.y);
    vec4 sum = vec4(0.0);
    for (int y = 0; y < 4; y++)
        for (int x = 0; x < 4; x++)
            sum += wx[x] * wy[y] * texelFetch(frame, clamp(base + ivec2(x - 1, y - 1), ivec2(0), size - 1), level);
    color = mix(color, clamp(vec4(sum.rgb * light, sum.a), 0.0, 1.0), cover);
}
"""


def start() -> None:
    """Initialize glfw. RuntimeError, with the fix, where there is no display."""
    glfw.ERROR_REPORTING = "ignore"  # errors are read below, and raised once with the fix
    glfw.init_hint(glfw.COCOA_CHDIR_RESOURCES, False)
    if not glfw.init():
        raise RuntimeError(f"cannot open a window: {reason()}. {display_fix()}")


def reason() -> str:
    """The message of glfw's last error."""
    text = glfw.get_error()[1]
    return (text.decode() if isinstance(text, bytes) else text or "no reason given").rstrip(".")


def display_fix() -> str:
    """The fix for a missing display on this platform."""
    if sys.platform.startswith("linux"):
        display = os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY") or "not set"
        return f"DISPLAY is {display}: export DISPLAY=:0 where a desktop runs, or play without a window: --headless"
    return "Log in at the machine's own screen, or play without a window: --headless"


def on_wayland() -> bool:
    """Whether glfw uses Wayland. glfw must be initialized."""
    return bool(glfw.get_platform() == glfw.PLATFORM_WAYLAND)


def create_window(width: int, height: int, title: str) -> Any:
    """A hidden window, whose OpenGL 3.3 core context is current. glfw must be initialized.

    RuntimeError, with the fix, where the driver has no such context.
    """
    if sys.platform.startswith("linux"):
        # PyOpenGL would guess by the type of the session, but it must match what glfw uses.
        os.environ.setdefault("PYOPENGL_PLATFORM", "egl" if on_wayland() else "glx")
    glfw.default_window_hints()
    glfw.window_hint(glfw.CONTEXT_VERSION_MAJOR, 3)
    glfw.window_hint(glfw.CONTEXT_VERSION_MINOR, 3)
    glfw.window_hint(glfw.OPENGL_PROFILE, glfw.OPENGL_CORE_PROFILE)
    glfw.window_hint(glfw.OPENGL_FORWARD_COMPAT, True)
    glfw.window_hint(glfw.AUTO_ICONIFY, False)  # the performer works elsewhere while the projector stays on
    glfw.window_hint(glfw.SRGB_CAPABLE, False)
    glfw.window_hint(glfw.VISIBLE, False)
    window = glfw.create_window(width, height, title, None, None)
    if not window:
        raise RuntimeError(f"cannot open a window: {reason()}. OpenGL 3.3 is needed. {display_fix()}")
    glfw.make_context_current(window)
    return window


class HiddenContext:
    """An OpenGL context without a visible window, for texture sharing. RuntimeError as `create_window`."""

    def __init__(self, name: str) -> None:
        glfw.init_hint(glfw.COCOA_MENUBAR, False)  # and no icon in the Dock
        start()
        self._window = create_window(64, 64, name)

    def poll(self) -> None:
        """Handle system events; the system takes a program that never does for stuck."""
        glfw.poll_events()

    def close(self) -> None:
        if self._window is not None:
            glfw.destroy_window(self._window)
            self._window = None
            glfw.terminate()


def link(fragment: str) -> Any:
    """A shader program that draws the whole viewport, on the current context. RuntimeError if the driver refuses it."""
    from OpenGL import GL

    program = GL.glCreateProgram()
    for kind, source in ((GL.GL_VERTEX_SHADER, TRIANGLE), (GL.GL_FRAGMENT_SHADER, fragment)):
        shader = GL.glCreateShader(kind)
        GL.glShaderSource(shader, source)
        GL.glCompileShader(shader)
        if not GL.glGetShaderiv(shader, GL.GL_COMPILE_STATUS):
            raise RuntimeError(f"the graphics driver refuses a shader; update it: {GL.glGetShaderInfoLog(shader)!r}")
        GL.glAttachShader(program, shader)
    GL.glLinkProgram(program)
    return program


class Canvas:
    """One texture on the current context. Values pass unchanged, without any sRGB conversion.

    Other users of the context may change its bindings between two calls.
    """

    def __init__(self) -> None:
        from OpenGL import GL

        self._gl = GL
        self._program = link(CATMULL_ROM)
        self._to_frame = GL.glGetUniformLocation(self._program, "to_frame")
        self._level = GL.glGetUniformLocation(self._program, "level")
        self._light = GL.glGetUniformLocation(self._program, "light")
        self._vertices = GL.glGenVertexArrays(1)
        self._texture = GL.glGenTextures(1)
        GL.glBindTexture(GL.GL_TEXTURE_2D, self._texture)
        GL.glTexParameteri(GL.GL_TEXTURE_2D, GL.GL_TEXTURE_MIN_FILTER, GL.GL_NEAREST_MIPMAP_NEAREST)
        GL.glTexParameteri(GL.GL_TEXTURE_2D, GL.GL_TEXTURE_MAG_FILTER, GL.GL_NEAREST)
        GL.glTexParameteri(GL.GL_TEXTURE_2D, GL.GL_TEXTURE_MAX_LEVEL, 0)
        self._buffers = GL.glGenBuffers(2)
        self._turn = 0
        self._shape: tuple[int, ...] = (0, 0, 0)
        self._composer: Composer | None = None
        self._overlay: Overlay | None = None
        self._overlay_light = 1.0
        self._blackout: float | None = None  # of a frame that the composer holds; None for an uploaded one

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the frame to draw; 0, 0 before the first."""
        if self._composer is not None and self._blackout is not None:
            return self._composer.size
        return self._shape[1], self._shape[0]

    def take(self, frame: Frame) -> None:
        """Draw this frame from now on. CardError if it lies on a card and cannot be read from there."""
        if frame.card is None:
            self._blackout = None
            self.upload(frame.pixels)
            return
        if self._composer is None:
            self._composer = Composer(link, self._vertices)
        self._composer.compose(frame.card)
        self._blackout = frame.card.blackout

    def take_overlay(self, patches: Sequence[Patch], light: float, size: tuple[int, int]) -> None:
        """Draw these patches over the frame from now on. size: of the show, which their positions count in."""
        if self._overlay is None:
            if not patches:
                return
            self._overlay = Overlay(link, self._vertices, size)
        self._overlay.take(patches)
        self._overlay_light = light

    def close(self) -> None:
        """Release CUDA's memory. Call it before the context is destroyed."""
        if self._composer is not None:
            self._composer.close()

    def upload(self, pixels: np.ndarray) -> None:
        """pixels: (h, w, 3) RGB or (h, w, 4) RGBA, uint8.

        Two pixel buffers alternate, so that an upload never waits for the one before.
        """
        gl = self._gl
        height, width, channels = pixels.shape
        layout, stored = (gl.GL_RGBA, gl.GL_RGBA8) if channels == 4 else (gl.GL_RGB, gl.GL_RGB8)
        gl.glBindTexture(gl.GL_TEXTURE_2D, self._texture)
        gl.glPixelStorei(gl.GL_UNPACK_ALIGNMENT, 1)
        if self._shape != pixels.shape:
            gl.glBindBuffer(gl.GL_PIXEL_UNPACK_BUFFER, 0)
            gl.glTexImage2D(gl.GL_TEXTURE_2D, 0, stored, width, height, 0, layout, gl.GL_UNSIGNED_BYTE, None)
            self._shape = pixels.shape
        self._turn = 1 - self._turn
        gl.glBindBuffer(gl.GL_PIXEL_UNPACK_BUFFER, self._buffers[self._turn])
        gl.glBufferData(gl.GL_PIXEL_UNPACK_BUFFER, pixels.nbytes, np.ascontiguousarray(pixels), gl.GL_STREAM_DRAW)
        begin = ctypes.c_void_p(0)
        gl.glTexSubImage2D(gl.GL_TEXTURE_2D, 0, 0, 0, width, height, layout, gl.GL_UNSIGNED_BYTE, begin)
        gl.glBindBuffer(gl.GL_PIXEL_UNPACK_BUFFER, 0)

    def draw(self, width: int, height: int, scale: Scale = "fit", turn: int = 0,
             keystone: Sequence[Corner] | np.ndarray | None = None) -> None:  # fmt: skip
        """Draw into the bound framebuffer, of this size in pixels, with black around the frame.

        scale, turn, keystone: as for `projection.to_frame`.
        """
        gl = self._gl
        gl.glViewport(0, 0, width, height)
        for state in (gl.GL_BLEND, gl.GL_DITHER, gl.GL_FRAMEBUFFER_SRGB, gl.GL_SCISSOR_TEST, gl.GL_DEPTH_TEST):
            gl.glDisable(state)
        gl.glClearColor(0.0, 0.0, 0.0, 1.0)
        gl.glClear(gl.GL_COLOR_BUFFER_BIT)  # Mesa notices a resized window at a clear, but not at a draw
        if min(width, height, *self.size) < 1:
            return
        gl.glActiveTexture(gl.GL_TEXTURE0)
        composed = self._composer is not None and self._blackout is not None
        gl.glBindTexture(gl.GL_TEXTURE_2D, self._composer.texture if self._composer and composed else self._texture)
        # The kernel, four texels wide, would skip texels of a frame that is scaled down, so mipmaps are made first.
        levels = mipmap(self.size, (width, height), scale, turn)
        gl.glTexParameteri(gl.GL_TEXTURE_2D, gl.GL_TEXTURE_MAX_LEVEL, levels)
        if levels:
            gl.glGenerateMipmap(gl.GL_TEXTURE_2D)
        gl.glUseProgram(self._program)
        matrix = to_frame(self.size, (width, height), scale, turn, keystone)
        gl.glUniformMatrix3fv(self._to_frame, 1, gl.GL_TRUE, matrix.astype(np.float32))
        gl.glUniform1i(self._level, levels)
        gl.glUniform1f(self._light, 1 - min(max(self._blackout or 0.0, 0.0), 1.0))
        gl.glBindVertexArray(self._vertices)
        gl.glDrawArrays(gl.GL_TRIANGLES, 0, 3)
        if self._overlay is not None:
            self._overlay.draw(width, height, self._overlay_light, turn, keystone)


class Target:
    """A texture of 8-bit RGBA to draw into, on the current context. Row 0 is the bottom one."""

    def __init__(self, width: int, height: int) -> None:
        from OpenGL import GL

        self._gl, self.width, self.height = GL, width, height
        self.texture = GL.glGenTextures(1)
        GL.glBindTexture(GL.GL_TEXTURE_2D, self.texture)
        GL.glTexImage2D(GL.GL_TEXTURE_2D, 0, GL.GL_RGBA8, width, height, 0, GL.GL_RGBA, GL.GL_UNSIGNED_BYTE, None)
        for name in (GL.GL_TEXTURE_MIN_FILTER, GL.GL_TEXTURE_MAG_FILTER):
            GL.glTexParameteri(GL.GL_TEXTURE_2D, name, GL.GL_LINEAR)
        self._framebuffer = GL.glGenFramebuffers(1)
        self.bind()
        GL.glFramebufferTexture2D(GL.GL_FRAMEBUFFER, GL.GL_COLOR_ATTACHMENT0, GL.GL_TEXTURE_2D, self.texture, 0)

    def bind(self) -> None:
        """Draw into this texture from now on."""
        self._gl.glBindFramebuffer(self._gl.GL_FRAMEBUFFER, self._framebuffer)
