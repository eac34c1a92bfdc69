"""What computes the frames of nano: `Eager` is the reference, `Static` is its like for GPUs; `openvino_runtime` and
`cuda_graphs` are faster."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor

from ..devices import upload
from ..stage.scene import Scene
from .frame_graphs import DecodeGraph, GuideGraph, ReadGraph, assembled, guide_inputs, guiding
from .texture_selection import Selector
from .transformer import KVCache, Readings, Vectors

if TYPE_CHECKING:
    from .world import Nano


class Runtime(Protocol):
    """name: as `--runtime` takes it, perhaps with the precision behind it ("openvino bf16")."""

    name: str

    def read(self, scene: Scene) -> Readings:
        """Read the textures that one scene shows, which is on the CPU. The readings are valid until the next call."""
        ...

    def prepare_large(self) -> None:
        """Make ready what frames of twice the size need; called once before the first of them."""
        ...

    def guide(self, scene: Scene, readings: Readings, vectors: Vectors) -> Tensor:
        """What the decoder of a frame of twice the size sees beside the latents. scene and vectors: on the CPU. Valid
        until the next call."""
        ...

    def denoise(self, noisy: Tensor, level: float, vectors: Vectors, readings: Readings, cache: KVCache) -> Tensor:
        """(1, c, rows, columns) noisy latents -> clean ones. Keys and values of this frame wait in `cache`."""
        ...

    def decode(self, latents: Tensor) -> Tensor:
        """(1, c, rows, columns) normalised latents -> (1, height, width, 3) uint8 RGB."""
        ...

    def decode_large(self, latents: Tensor, guide: Tensor) -> Tensor:
        """The same to twice the size."""
        ...


class Eager:
    """PyTorch, operation by operation, on a CPU."""

    def __init__(self, nano: Nano) -> None:
        self.name = "torch"
        self._world, self._rows, self._columns = nano.world, nano.rows, nano.columns
        self._device = nano.device
        self._nano, self._decode = nano, DecodeGraph(nano)

    def read(self, scene: Scene) -> Readings:
        return self._world.read(scene, self._rows, self._columns)

    @cached_property
    def _decode_large(self) -> DecodeGraph:
        return DecodeGraph(self._nano, self._nano.guided)

    def prepare_large(self) -> None:
        _ = self._decode_large

    def guide(self, scene: Scene, readings: Readings, vectors: Vectors) -> Tensor:
        guided = self._nano.guided
        return guided.guide(scene, readings.detail, guiding(vectors, guided), self._rows, self._columns)

    def denoise(self, noisy: Tensor, level: float, vectors: Vectors, readings: Readings, cache: KVCache) -> Tensor:
        at = torch.full((1,), level, device=noisy.device)
        return self._world.latents(*self._world.denoise(noisy, at, vectors, readings, 1, cache))

    def decode(self, latents: Tensor) -> Tensor:
        return assembled(self._decode(latents))

    def decode_large(self, latents: Tensor, guide: Tensor) -> Tensor:
        return assembled(self._decode_large(latents, guide))


class Static(Eager):
    """PyTorch, operation by operation, on a GPU. It reads textures that were selected on the host (`Selector`), so that
    no operation waits for the GPU, and sends all numbers of a scene at once."""

    def __init__(self, nano: Nano) -> None:
        super().__init__(nano)
        self._selector = Selector(nano.world.textures)
        self._graphs: dict[int, ReadGraph] = {}  # by slots
        self._guide_graphs: dict[int, GuideGraph] = {}

    def slots(self, scene: Scene) -> int:
        return self._selector.slots(scene)

    def selected(self, scene: Scene, slots: int) -> dict[str, Tensor]:
        """A scene, flat, and what it shows (`Selector.select`), on the GPU: the inputs of a `ReadGraph`."""
        found = {"scene": scene.flat(), **self._selector.select(scene, slots)}
        return dict(zip(found, upload(list(found.values()), self._device), strict=True))

    def graph(self, selected: Mapping[str, Tensor], slots: int) -> ReadGraph:
        if slots not in self._graphs:
            names = [name for name in selected if name != "scene"]
            self._graphs[slots] = ReadGraph(self._world, self._selector.wrap_rows, names, self._rows, self._columns)
        return self._graphs[slots]

    def read(self, scene: Scene) -> Readings:
        slots = self.slots(scene)
        selected = self.selected(scene, slots)
        return Readings(*self.graph(selected, slots)(*selected.values()))

    @cached_property
    def _fine_selector(self) -> Selector:
        return Selector(self._nano.guided.textures)

    def guide_inputs(self, scene: Scene, readings: Readings, slots: int, vectors: Vectors) -> list[Tensor]:
        """The inputs of a `GuideGraph`, on the GPU."""
        found = guide_inputs(scene, readings, slots, self._fine_selector, vectors, self._nano.guided)
        return upload(found, self._device)

    def guide_graph(self, slots: int, scene: Scene) -> GuideGraph:
        if slots not in self._guide_graphs:
            self._guide_graphs[slots] = GuideGraph.of(
                self._nano.guided, self._fine_selector, scene, slots, self._rows, self._columns
            )
        return self._guide_graphs[slots]

    def guide(self, scene: Scene, readings: Readings, vectors: Vectors) -> Tensor:
        slots = self.slots(scene)
        guide: Tensor = self.guide_graph(slots, scene)(*self.guide_inputs(scene, readings, slots, vectors))
        return guide


def pytorch(nano: Nano) -> Eager:
    """The runtime that needs nothing but PyTorch."""
    return Eager(nano) if nano.device.type == "cpu" else Static(nano)
