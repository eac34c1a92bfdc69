"""In-betweens on the GPU, for frames in a CUDA card's memory: the newest one replaces the shown one step by step.

The result equals the clock's own (node/output/interpolation.py) to about one level.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .. import CardError, OnCard
from .cuda import SharedFrames

# Row 0 of every texture is the top one. The flow has half the size, and is interpolated as OpenCV would.
COMPOSE = """#version 330 core
out vec4 color;
uniform sampler2D origin, newest, flow;
uniform float share;
uniform bool moves;
void main() {
    vec2 size = vec2(textureSize(newest, 0));
    vec2 by = moves ? textureLod(flow, gl_FragCoord.xy / size, 0.0).xy : vec2(0.0);
    vec4 forward = textureLod(origin, (gl_FragCoord.xy - share * by) / size, 0.0);
    vec4 backward = textureLod(newest, (gl_FragCoord.xy + (1.0 - share) * by) / size, 0.0);
    vec3 levels = mix(forward, backward, share).rgb * 255.0;
    color = vec4(floor(moves ? levels + 0.5 : levels + 0.002) / 255.0, 1.0);  // a blend is truncated, as on the CPU
}
"""


class Composer:
    """Composes frames on the current OpenGL context.

    link: makes a program from a fragment shader. vertices: an empty vertex array to draw with.
    """

    def __init__(self, link: Callable[[str], Any], vertices: Any) -> None:
        from OpenGL import GL

        self._gl, self._vertices = GL, vertices
        self._program = link(COMPOSE)
        self._uniforms = {
            name: GL.glGetUniformLocation(self._program, name)
            for name in ("origin", "newest", "flow", "share", "moves")
        }
        self._newest, self._flow, *self._shown = (int(name) for name in GL.glGenTextures(4))
        self._framebuffer = GL.glGenFramebuffers(1)
        self._shared: SharedFrames | None = None
        self._number, self._has_origin = 0, False
        self._uploaded_flow: Any = None
        self.size = (0, 0)  # width and height of the composed frame; 0, 0 before the first

    @property
    def texture(self) -> int:
        """The composed frame."""
        return self._shown[0]

    def compose(self, card: OnCard) -> None:
        """Compose the program's frame. CardError if CUDA or OpenGL fails; everything of CUDA's is then released."""
        try:
            self._compose(card)
        except Exception as error:
            self.close()
            raise error if isinstance(error, CardError) else CardError(f"{type(error).__name__}: {error}") from error

    def _compose(self, card: OnCard) -> None:
        gl, fresh = self._gl, self._fetch(card)
        # The last composed frame is the origin of the next ones; the other texture is drawn until the next new frame.
        if fresh:
            self._shown.reverse()
        share = card.share if self._has_origin else 1.0
        moves = share < 1 and card.flow is not None
        if moves and card.flow is not self._uploaded_flow:
            self._upload(card.flow)
        framebuffer = gl.glGetIntegerv(gl.GL_DRAW_FRAMEBUFFER_BINDING)
        gl.glBindFramebuffer(gl.GL_FRAMEBUFFER, self._framebuffer)
        gl.glFramebufferTexture2D(
            gl.GL_FRAMEBUFFER, gl.GL_COLOR_ATTACHMENT0, gl.GL_TEXTURE_2D, self._shown[0], 0
        )  # fmt: skip
        gl.glViewport(0, 0, *self.size)
        for state in (gl.GL_BLEND, gl.GL_DITHER, gl.GL_FRAMEBUFFER_SRGB, gl.GL_SCISSOR_TEST, gl.GL_DEPTH_TEST):
            gl.glDisable(state)
        gl.glUseProgram(self._program)
        origin = self._shown[1] if share < 1 else self._newest
        for unit, (name, texture) in enumerate((("origin", origin), ("newest", self._newest), ("flow", self._flow))):
            gl.glActiveTexture(gl.GL_TEXTURE0 + unit)
            gl.glBindTexture(gl.GL_TEXTURE_2D, texture)
            gl.glUniform1i(self._uniforms[name], unit)
        gl.glUniform1f(self._uniforms["share"], share if moves else round(share * 128) / 128)
        gl.glUniform1i(self._uniforms["moves"], moves)
        gl.glBindVertexArray(self._vertices)
        gl.glDrawArrays(gl.GL_TRIANGLES, 0, 3)
        gl.glActiveTexture(gl.GL_TEXTURE0)
        gl.glBindFramebuffer(gl.GL_FRAMEBUFFER, framebuffer)

    def _fetch(self, card: OnCard) -> bool:
        """Copy the newest frame into its texture, unless it is there already. Returns whether it is a new one."""
        if self._shared is not None and self._shared.memory == card.memory and self._number == card.number:
            return False
        if self._shared is not None and self._shared.memory != card.memory:
            self._shared.close()
            self._shared = None
        if self._shared is None:
            self._shared = SharedFrames(card.memory)
            self._shared.register(self._allocate(card.width, card.height))
        elif self.size != (card.width, card.height):
            self._shared.release()
            self._shared.register(self._allocate(card.width, card.height))
        else:
            self._has_origin = True
        self._shared.copy(card.slot, card.width, card.height)
        self._number = card.number
        return True

    def _allocate(self, width: int, height: int) -> int:
        """The texture for frames of this size. Earlier frames are kept only if their size was the same."""
        gl = self._gl
        self._has_origin = self.size == (width, height)
        if not self._has_origin:
            for texture in (self._newest, *self._shown):
                self._store(texture, gl.GL_RGBA8, width, height, gl.GL_RGBA, gl.GL_UNSIGNED_BYTE, None)
            self.size = (width, height)
        return self._newest

    def _upload(self, flow: Any) -> None:
        gl = self._gl
        height, width = flow.shape[:2]
        gl.glPixelStorei(gl.GL_UNPACK_ALIGNMENT, 1)
        half = np.ascontiguousarray(flow, np.float16)
        self._store(self._flow, gl.GL_RG16F, width, height, gl.GL_RG, gl.GL_HALF_FLOAT, half)
        self._uploaded_flow = flow

    def _store(self, texture: int, stored: int, width: int, height: int, layout: int, kind: int, data: Any) -> None:
        gl = self._gl
        gl.glBindTexture(gl.GL_TEXTURE_2D, texture)
        for name, value in (
            (gl.GL_TEXTURE_MIN_FILTER, gl.GL_LINEAR_MIPMAP_NEAREST), (gl.GL_TEXTURE_MAG_FILTER, gl.GL_LINEAR),
            (gl.GL_TEXTURE_WRAP_S, gl.GL_CLAMP_TO_EDGE), (gl.GL_TEXTURE_WRAP_T, gl.GL_CLAMP_TO_EDGE),
            (gl.GL_TEXTURE_MAX_LEVEL, 0),
        ):  # fmt: skip
            gl.glTexParameteri(gl.GL_TEXTURE_2D, name, value)
        gl.glTexImage2D(gl.GL_TEXTURE_2D, 0, stored, width, height, 0, layout, kind, data)

    def close(self) -> None:
        """Release what is CUDA's, before the context is destroyed. The next frame opens it again."""
        self.size = (0, 0)
        if self._shared is not None:
            self._shared.close()
            self._shared = None
