"""A `World` out of an image-to-image model: every frame is drawn over the last one, or over a live image.

The source is the world's own last frame, moved by the camera, so that the world continues for ever. It is kept as the
latents that the network drew, which no autoencoder has touched: their colours would drift within seconds. They are held
near those of a frame that is drawn from noise alone for the same prompt (`latent_statistics.py`).

As `Controls.strength` rises to a half, a live image (`Controls.live`) replaces the last frame, and from there on the
live image is changed less and less. Where it is known how the live image moved (`Controls.motion`), the last frame
and its noise move with it instead of with the camera. The noise drifts slowly instead of being sampled for each frame,
so that a still scene does not flicker; `energy` makes it drift faster.

Where the world is too slow, it draws smaller images of the same shape and continues from its last one. Its only memory
is that image, so the size can change without a cut.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ..devices import upload
from ..painting.carried_noise import CarriedNoise
from ..painting.crop import cover
from ..spec import Array, Controls, Prompt, Tokens, WorldSpec, WorldState
from .latent_statistics import LatentStatistics
from .warp import carried, motion_of, moved

logger = logging.getLogger(__name__)

SIZE_EIGHTHS = (8, 7, 6)  # eighths of its shape that a world can draw, best first
DRIFT, STIRRED = 0.15, 3.0  # e-folds by which the noise forgets itself a second: at rest, and with all energy
SHOWN_HOLDS = 0.5  # share of a live image in the source from which on nothing else has to hold its colours
CHANGED = 0.1  # share of their length by which tokens change before their colours are looked up anew
LOOKED_UP_S = 0.25  # at least, between two times of it
VARIANTS_MAX = 64  # of one function, that are compiled for the networks, sizes and conditions of a world
WARM_FRAMES = 4  # of each size: CUDA graphs are replayed from the third call on


def nearest_shape(shapes: Sequence[tuple[int, int]], aspect: float | None) -> tuple[int, int]:
    """Of several widths and heights the nearest to an aspect (width over height); without one, the first."""
    if aspect is None:
        return shapes[0]
    return min(shapes, key=lambda shape: abs(math.log(shape[0] / shape[1] / aspect)))


def share(strength: float, flow: float, live: float) -> tuple[float, float]:
    """The share of the live image in the source, and the share of noise on the source; each 0..1.

    flow, live: that noise over the last frame, and over a live image at half strength.
    """
    strength = min(max(strength, 0.0), 1.0)
    if strength < 0.5:
        return 2 * strength, flow + (live - flow) * 2 * strength
    return 1.0, live * 2 * (1 - strength)


class Uploaded:
    """The last array that was sent to the device, which must not be modified, and what became of it there."""

    def __init__(self) -> None:
        self._identity: tuple[Any, ...] = ()
        self._owner: Any = None  # keeps those numbers from being another array's
        self.tensor: Tensor | None = None

    def is_of(self, array: Array) -> bool:
        """Views of the same numbers count as the same."""
        return self._identity == self._identity_of(array)

    def keep(self, array: Array, tensor: Tensor) -> None:
        self._identity, self._owner, self.tensor = self._identity_of(array), array, tensor

    @staticmethod
    def _identity_of(array: Array) -> tuple[Any, ...]:
        return (array.__array_interface__["data"], array.shape, array.strides, array.dtype)


class ImageToImage:
    """What such worlds share. A subclass has the networks: `encode`, `_silent_tokens`, `_encoded`, `_decoded`,
    `_denoised` and `_parts`."""

    # Noise, as a share of all levels, over the last frame, and over a live image at half strength.
    flow_noise, live_noise = 0.5, 0.5
    cuda_graphs = True  # whether its networks can be CUDA graphs

    def __init__(self, spec: WorldSpec, device: torch.device, kind: torch.dtype, noise: tuple[int, int, int]) -> None:
        """spec: without its qualities. noise: channels, rows and columns of the latents in the full size."""
        self.device, self.kind = device, kind
        self._noisy = noise
        self._sizes = tuple((spec.height * n // 8, spec.width * n // 8) for n in SIZE_EIGHTHS)  # rows and columns
        qualities = tuple(f"{columns}x{rows}" for rows, columns in self._sizes)
        self._spec = replace(spec, qualities=qualities)
        self._level = 0
        self._graphs = False  # whether the networks are CUDA graphs, whose outputs are valid until the next call
        self._text = Uploaded()
        self._random = torch.Generator()
        self.timings: dict[str, float] = {}
        self.reset(0)

    def encode(self, prompt: Prompt) -> Tokens:
        raise NotImplementedError

    def _silent_tokens(self) -> Array:
        """Those of an empty prompt, as large as any."""
        raise NotImplementedError

    def _parts(self) -> Sequence[Any]:
        """The networks that are compiled."""
        raise NotImplementedError

    def _encoded(self, image: Tensor) -> Tensor:
        """(1, 3, h, w) -1..1 -> latents, float32."""
        raise NotImplementedError

    def _decoded(self, latents: Tensor) -> Tensor:
        """latents -> (1, 3, h, w), -1..1."""
        raise NotImplementedError

    def _denoised(self, latents: Tensor, noise: Tensor, text: Tensor, over: float, steps: int) -> Tensor:
        """The latents with a share `over` (0..1) of all levels of noise, denoised in so many steps; float32.

        text: the tokens on the device, (n, d) in the world's dtype.
        """
        raise NotImplementedError

    def warm(self, compiler: str | Callable[..., Any]) -> None:
        """Compile the networks (`torch.compile`'s backend) and draw a few frames in each size with as much text as a
        prompt has, so that the first frames of a show are as fast as all others and nothing is compiled later.

        Inductor's kernels are started as CUDA graphs, where that works. If compiling fails, the world runs uncompiled.
        """
        ways: list[dict[str, Any]] = [{"backend": compiler}]
        if compiler == "inductor" and self.cuda_graphs:
            ways.insert(0, {"backend": compiler, "options": {"triton.cudagraphs": True}})
        for way in ways:
            try:
                self._compile(way)
                break
            except Exception as error:
                what, name = "CUDA graphs" if "options" in way else "torch.compile", self._spec.name
                logger.warning("%s runs without %s, and slower: %s", name, what, error, exc_info=True)
                self._graphs = False
                for part in self._parts():
                    part._compiled_call_impl = None
        else:
            self.step(Controls(self._silent_tokens()))
        self.set_quality(0)
        self.reset(0)

    def _compile(self, way: dict[str, Any]) -> None:
        self._graphs = "options" in way
        for part in self._parts():
            part.compile(dynamic=False, **way)  # each size has its own kernels: none is compiled later
        # Networks of diffusers share the function that is compiled, of which torch would keep 8 variants.
        with torch._dynamo.config.patch(recompile_limit=VARIANTS_MAX):
            self._warm_frames(self._silent_tokens())

    def _warm_frames(self, tokens: Array, depth: Array | None = None) -> None:
        """A few frames in each size, the first from noise alone and the others over a live image of that depth."""
        black = np.zeros((self._spec.height, self._spec.width, 3), np.uint8)
        for level in range(len(self._sizes)):
            self.set_quality(level)
            self.reset(0)
            for n in range(WARM_FRAMES):
                self.step(Controls(tokens, live=black if n else None, strength=0.3, depth=depth))

    @property
    def spec(self) -> WorldSpec:
        return self._spec

    def reset(self, seed: int) -> None:
        self._random.manual_seed(seed)
        self._noise: CarriedNoise | None = None
        self._latents: Tensor | None = None  # of the last frame, clean, float32
        self._picture: Tensor | None = None  # instead of them, where it was a live image as it is
        self._reference: LatentStatistics | None = None  # of a frame drawn from noise alone, for these tokens
        self._looked_up: Array | None = None
        self._since = 0.0  # seconds of the world's time since that

    def set_quality(self, level: int) -> None:
        """Takes effect with the next step. 0 is the spec's size, each later level is smaller."""
        self._level = min(max(level, 0), len(self._sizes) - 1)

    @torch.inference_mode()
    def step(self, controls: Controls) -> Tensor:
        """One frame. Without a live image, a world's first frame is drawn from pure noise."""
        begin = time.perf_counter()
        rows, columns = self._sizes[self._level]
        shown, over = 0.0, self.flow_noise
        if controls.live is not None:
            shown, over = share(controls.strength, self.flow_noise, self.live_noise)
        moves = controls.motion is not None and controls.live is not None
        noise, text, motion = self._sent(controls, moves)
        picture = live = None
        if controls.live is not None and (shown > 0 or moves):
            picture = cover(controls.live[None], columns, rows, self.device)
            if over == 0:
                self._latents, self._picture = None, picture
                return self._published(picture, begin)
            live = self._encoded(picture)
        if self._picture is not None and shown < 1:
            self._latents = self._encoded(self._picture)
        self._picture = None
        source = None
        if self._latents is not None and shown < 1:
            source = self._held(self._latents, noise, text, controls, shown)
            source = self._moved(source, controls, noise.shape[2:], live, motion)
        if live is not None and shown > 0:
            source = live if source is None else torch.lerp(source, live, shown)
        if source is None:
            self._latents = self._denoised(torch.zeros_like(noise), noise, text, 1.0, controls.steps)
            self._refer(self._latents, controls)
        else:
            self._latents = self._denoised(source, noise, text, over, controls.steps)
        decode = time.perf_counter()
        drawn = self._decoded(self._latents)
        self.timings["decode_ms"] = (time.perf_counter() - decode) * 1e3
        return self._published(drawn, begin)

    def _published(self, drawn: Tensor, begin: float) -> Tensor:
        """(1, 3, h, w) -1..1 -> (1, h, w, 3) uint8."""
        images = (drawn.float() / 2 + 0.5).mul(255).round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1)
        self.timings["step_ms"] = (time.perf_counter() - begin) * 1e3
        return images

    def _begin_graph(self) -> None:
        """Before each call of a network: what the call before returned is no longer needed. Inductor would otherwise
        capture a network again for each place in the order of calls, and so anew for each number of steps."""
        if self._graphs:
            torch.compiler.cudagraph_mark_step_begin()

    def _sent(self, controls: Controls, moves: bool) -> tuple[Tensor, Tensor, Tensor | None]:
        """On the device, in one transfer: the noise, the tokens, and the motion if it `moves`; and what the networks
        are conditioned on besides."""
        given, new = [self._drift(controls)], not self._text.is_of(controls.tokens)
        if new:
            given.append(torch.from_numpy(np.ascontiguousarray(controls.tokens, np.float32)))
        if moves:
            given.append(torch.from_numpy(np.ascontiguousarray(controls.motion, np.float32)))
        count, more = len(given), self._conditions(controls)
        sent = upload([*given, *more], self.device)
        self._condition(sent[count:])
        if new:
            self._text.keep(controls.tokens, sent.pop(1).to(self.kind))
        assert self._text.tensor is not None
        return sent[0], self._text.tensor, sent[1] if moves else None

    def _conditions(self, controls: Controls) -> list[Tensor]:
        """What a subclass wants sent besides, float32 on the host."""
        return []

    def _condition(self, sent: list[Tensor]) -> None:
        """Takes what came of `_conditions`, before each step."""

    def _moved(self, own: Tensor, controls: Controls, size: tuple[int, ...], live: Tensor | None,
               motion: Tensor | None) -> Tensor:  # fmt: skip
        """The last frame's latents in this size, moved with the live image or else by the camera."""
        if own.shape[2:] != size:
            own = F.interpolate(own, size, mode="bilinear", antialias=True)
        if motion is None or live is None:
            return moved(own, controls.camera, controls.dt)
        rows, columns = self._sizes[self._level]
        return carried(own, *motion_of(motion, size[0], size[1], columns, rows), live)

    def _held(self, latents: Tensor, noise: Tensor, text: Tensor, controls: Controls, shown: float) -> Tensor:
        """The latents with colours near those of a frame that is drawn from noise alone; that frame is drawn again
        where the prompt has changed. shown: the share of a live image beside them, which holds their colours, too."""
        self._since += controls.dt
        weight = 1 - shown / SHOWN_HOLDS if shown < SHOWN_HOLDS else 0.0
        if not weight:
            return latents
        if self._reference is None or (self._since >= LOOKED_UP_S and self._differs(controls.tokens)):
            self._refer(self._denoised(torch.zeros_like(noise), noise, text, 1.0, 1), controls)
        assert self._reference is not None
        return self._reference.hold(latents, weight)

    def _refer(self, latents: Tensor, controls: Controls) -> None:
        self._reference, self._since = LatentStatistics.of(latents), 0.0
        self._looked_up = controls.tokens

    def _differs(self, tokens: Array) -> bool:
        before = self._looked_up
        if tokens is before:
            return False
        self._since = 0.0  # comparing takes a while, too
        return before is None or bool(np.linalg.norm(tokens - before) > CHANGED * np.linalg.norm(before))

    def _drift(self, controls: Controls) -> Tensor:
        """The noise, float32 on the host, moved a little towards a new sample: its variance stays the same, and the
        distance depends on the time passed, not on the number of steps. It moves with the live picture, so that what is
        drawn from it stays on the things. A smaller image takes the same noise without some rows and columns."""
        if self._noise is None:
            self._noise = CarriedNoise(*self._noisy, self._random)
        else:
            rate = DRIFT + (STIRRED - DRIFT) * min(max(controls.energy, 0.0), 1.0)
            self._noise.forget(1 - math.exp(-2 * rate * controls.dt))
            if controls.live is not None and controls.motion is not None:
                rows, columns = controls.motion.shape[:2]
                way, known = motion_of(
                    torch.from_numpy(controls.motion), rows, columns, self._spec.width, self._spec.height
                )
                self._noise.move(way.masked_fill(~known, torch.nan)[0].permute(1, 2, 0))
        latents = [n * SIZE_EIGHTHS[self._level] // SIZE_EIGHTHS[0] for n in self._noisy[1:]]
        return F.interpolate(self._noise.latents, latents, mode="nearest-exact")

    def snapshot(self) -> WorldState:
        return WorldState({"world": (self._spec.name, self._noisy), "latents": self._latents,
                           "picture": self._picture,
                           "noise": None if self._noise is None else self._noise.state(),
                           "reference": (self._reference, self._looked_up, self._since),
                           "random": self._random.get_state()})  # fmt: skip

    def restore(self, state: WorldState) -> None:
        """Raises ValueError for another world's snapshot. An image of another size is resized."""
        if state.data.get("world") != (self._spec.name, self._noisy):
            raise ValueError(
                f"this snapshot is not of a {self._spec.name} of {self._spec.width}x{self._spec.height} pixels"
            )
        self._latents, self._picture, self._noise = state.data["latents"], state.data["picture"], None
        if state.data["noise"] is not None:
            self._noise = CarriedNoise(*self._noisy, self._random)
            self._noise.restore(state.data["noise"])
        self._reference, self._looked_up, self._since = state.data["reference"]
        self._random.set_state(state.data["random"])
