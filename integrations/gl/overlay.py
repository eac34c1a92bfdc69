"""What lies over the picture, drawn on the GPU at the screen's own resolution."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import Patch
from .projection import Corner, Matrix, to_frame

DRAW = """#version 330 core
in vec2 screen;
out vec4 color;
uniform sampler2D patch_texture;
uniform mat3 to_patch;
uniform float light;
void main() {
    vec3 q = to_patch * vec3(screen, 1.0);
    vec2 at = q.xy / q.z;
    if (q.z <= 0.0 || min(at.x, at.y) < 0.0 || max(at.x, at.y) > 1.0) discard;
    vec4 texel = texture(patch_texture, at);
    color = vec4(texel.rgb, texel.a * light);
}
"""


class Overlay:
    """Patches on the current OpenGL context.

    link: makes a program from a fragment shader. vertices: an empty vertex array to draw with. size: of the show,
    which the patches' positions count in.
    """

    def __init__(self, link: Callable[[str], Any], vertices: Any, size: tuple[int, int]) -> None:
        from OpenGL import GL

        self._gl, self._vertices, self._size = GL, vertices, size
        self._program = link(DRAW)
        self._to_patch = GL.glGetUniformLocation(self._program, "to_patch")
        self._light = GL.glGetUniformLocation(self._program, "light")
        self._patches: Sequence[Patch] = ()
        self._textures: list[int] = []

    def take(self, patches: Sequence[Patch]) -> None:
        """Draw these from now on."""
        if patches is self._patches:
            return
        gl = self._gl
        if self._textures:
            gl.glDeleteTextures(self._textures)
        self._patches, self._textures = patches, [self._upload(patch) for patch in patches]

    def _upload(self, patch: Patch) -> int:
        gl = self._gl
        height, width = patch.rgba.shape[:2]
        texture = int(gl.glGenTextures(1))
        gl.glBindTexture(gl.GL_TEXTURE_2D, texture)
        for name, value in (
            (gl.GL_TEXTURE_MIN_FILTER, gl.GL_LINEAR_MIPMAP_LINEAR), (gl.GL_TEXTURE_MAG_FILTER, gl.GL_LINEAR),
            (gl.GL_TEXTURE_WRAP_S, gl.GL_CLAMP_TO_EDGE), (gl.GL_TEXTURE_WRAP_T, gl.GL_CLAMP_TO_EDGE),
        ):  # fmt: skip
            gl.glTexParameteri(gl.GL_TEXTURE_2D, name, value)
        gl.glPixelStorei(gl.GL_UNPACK_ALIGNMENT, 4)
        rgba = np.ascontiguousarray(patch.rgba)
        gl.glTexImage2D(gl.GL_TEXTURE_2D, 0, gl.GL_RGBA8, width, height, 0, gl.GL_RGBA, gl.GL_UNSIGNED_BYTE, rgba)
        gl.glGenerateMipmap(gl.GL_TEXTURE_2D)
        return texture

    def draw(self, width: int, height: int, light: float, turn: int = 0,
             keystone: Sequence[Corner] | np.ndarray | None = None) -> None:  # fmt: skip
        """Draw over the bound framebuffer, of this size in pixels. All of it stays visible where the picture is cut off
        to fill the screen. turn, keystone: as for `projection.to_frame`."""
        if not self._patches or light <= 0:
            return
        gl = self._gl
        shown = to_frame(self._size, (width, height), "fit", turn, keystone)
        gl.glUseProgram(self._program)
        gl.glUniform1f(self._light, light)
        gl.glBindVertexArray(self._vertices)
        gl.glActiveTexture(gl.GL_TEXTURE0)
        gl.glEnable(gl.GL_BLEND)
        gl.glBlendFuncSeparate(gl.GL_SRC_ALPHA, gl.GL_ONE_MINUS_SRC_ALPHA, gl.GL_ONE, gl.GL_ONE_MINUS_SRC_ALPHA)
        gl.glEnable(gl.GL_SCISSOR_TEST)  # or a software renderer runs the shader for the whole screen
        for patch, texture in zip(self._patches, self._textures, strict=True):
            to_patch = _to_patch(patch, self._size) @ shown
            gl.glScissor(*_bounds(to_patch, width, height))
            gl.glUniformMatrix3fv(self._to_patch, 1, gl.GL_TRUE, to_patch.astype(np.float32))
            gl.glBindTexture(gl.GL_TEXTURE_2D, texture)
            gl.glDrawArrays(gl.GL_TRIANGLES, 0, 3)
        gl.glDisable(gl.GL_SCISSOR_TEST)
        gl.glDisable(gl.GL_BLEND)


def _to_patch(patch: Patch, size: tuple[int, int]) -> Matrix:
    """From a point of the show's frame to one of the patch, each (u, v) from 0 to 1."""
    (high, wide), (width, height) = patch.rgba.shape[:2], size
    return np.array([[width / wide, 0, -patch.x / wide], [0, height / high, -patch.y / high], [0, 0, 1]])


def _bounds(to_patch: Matrix, width: int, height: int) -> tuple[int, int, int, int]:
    """x, y, width and height of the pixels that a patch may cover, counted from the bottom left as OpenGL does."""
    corners = np.linalg.inv(to_patch) @ np.array([[0, 1, 1, 0], [0, 0, 1, 1], [1, 1, 1, 1]])
    if (corners[2] <= 0).any():
        return 0, 0, width, height
    x, y = corners[0] / corners[2] * width, (1 - corners[1] / corners[2]) * height
    left, right = np.clip([np.floor(x.min()), np.ceil(x.max())], 0, width)
    bottom, top = np.clip([np.floor(y.min()), np.ceil(y.max())], 0, height)
    return int(left), int(bottom), int(right - left), int(top - bottom)
