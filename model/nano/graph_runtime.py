"""A runtime of nano that is made of compiled graphs (`frame_graphs`), whatever compiles them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..stage.scene import Scene
from .frame_graphs import assembled, extend, padded
from .texture_selection import Selector
from .transformer import KVCache, Readings, Vectors

if TYPE_CHECKING:
    from .world import Nano

Compiled = Callable[[Sequence[Tensor]], list[Tensor]]  # what it returns is valid until its next call
SLOTS = (1, 2)  # places, spirals and drops shown at once, for which there is a graph; more are read by PyTorch


class GraphRuntime:
    """A `runtime.Runtime`. A subclass compiles `_readers`, by slots, `_denoise` and `_decode`; and in `prepare_large`
    `_guides`, by slots, and `_decode_large`, for frames of twice the size.

    Raises RuntimeError for a world that has no static graph.
    """

    _readers: Mapping[int, Compiled]
    _guides: Mapping[int, Compiled] = {}
    _decode_large: Compiled
    _denoise: Compiled
    _decode: Compiled

    def __init__(self, nano: Nano, name: str) -> None:
        if nano.world.config.recall:
            raise RuntimeError("a world with sparse recall has no static graph")
        self.name, self._world, self._pytorch = name, nano.world, nano.pytorch
        self._places = nano.rows * nano.columns // nano.world.config.patch**2

    def read(self, scene: Scene) -> Readings:
        slots = Selector.slots(scene)
        if slots not in self._readers:
            return self._pytorch.read(scene)
        return Readings(*self._readers[slots](self._selected(scene, slots)))

    def guide(self, scene: Scene, readings: Readings, vectors: Vectors) -> Tensor:
        slots = Selector.slots(scene)
        if slots not in self._guides:
            return self._pytorch.guide(scene, readings, vectors)
        return self._guides[slots](self._guide_inputs(scene, readings, slots, vectors))[0]

    def _selected(self, scene: Scene, slots: int) -> Sequence[Tensor]:
        """The inputs of a `ReadGraph`, on the device."""
        raise NotImplementedError

    def _guide_inputs(self, scene: Scene, readings: Readings, slots: int, vectors: Vectors) -> Sequence[Tensor]:
        """The inputs of a `GuideGraph`, on the device."""
        raise NotImplementedError

    def denoise(self, noisy: Tensor, level: float, vectors: Vectors, readings: Readings, cache: KVCache) -> Tensor:
        latents, *kept = self._denoise(self._inputs(noisy, level, vectors, readings, cache))
        extend(cache, self._world, kept)
        return latents.clone()

    def decode(self, latents: Tensor) -> Tensor:
        return assembled(self._decode([latents])[0])

    def decode_large(self, latents: Tensor, guide: Tensor) -> Tensor:
        return assembled(self._decode_large([latents, guide])[0])

    def _inputs(
        self, noisy: Tensor, level: float, vectors: Vectors, readings: Readings, cache: KVCache
    ) -> list[Tensor]:
        """The inputs of a `DenoiseGraph`."""
        missing, kept = padded(cache, self._world, self._places, noisy.device)
        at = torch.full((1,), level, device=noisy.device)
        return [noisy, at, readings.detail, readings.bearings, vectors.prompt, vectors.guidance, missing,
                *vectors.others, *kept]  # fmt: skip
