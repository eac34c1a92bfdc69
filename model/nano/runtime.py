"""What computes the frames of nano: `Eager` is the reference, `Static` is its like for GPUs; `openvino_runtime` and
`cuda_graphs` are faster."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor

from ..devices import upload
from ..stage.scene import Scene
from .frame_graphs import (
    DecodeGraph,
    FineReadGraph,
    ReadGraph,
    fine_inputs,
    fine_readings,
    guiding,
)
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

    def read_fine(self, scene: Scene, vectors: Vectors) -> tuple[Readings, Tensor]:
        """The same for a frame of twice the size, and the guide of its decoder. vectors: on the CPU."""
        ...

    def denoise(self, noisy: Tensor, level: float, vectors: Vectors, readings: Readings, cache: KVCache) -> Tensor:
        """(1, c, rows, columns) noisy latents -> clean ones. Keys and values of this frame wait in `cache`."""
        ...

    def summarise(self, latents: Tensor) -> Tensor:
        """(1, c, rows, columns) -> (1, look): what the memory tokens keep of a frame."""
        ...

    def decode(self, latents: Tensor) -> Tensor:
        """(1, c, rows, columns) normalised latents -> (1, height, width, 3) uint8 RGB."""
        ...

    def decode_large(self, latents: Tensor, guide: Tensor) -> Tensor:
        """The same to twice the size, with the guide of `read_fine`."""
        ...


class Eager:
    """PyTorch, operation by operation, on a CPU."""

    def __init__(self, nano: Nano) -> None:
        self.name = "torch"
        self._world, self._rows, self._columns = nano.world, nano.rows, nano.columns
        self._device = nano.device
        self._decode = DecodeGraph(nano)
        self._guided = nano.guided
        self._decode_large = None if nano.guided is None else DecodeGraph(nano, nano.guided)

    def read(self, scene: Scene) -> Readings:
        return self._world.read(scene, self._rows, self._columns)

    def prepare_large(self) -> None:
        pass

    def read_fine(self, scene: Scene, vectors: Vectors) -> tuple[Readings, Tensor]:
        assert self._guided is not None
        taken = guiding(vectors, self._guided)
        detail, turns, guide = fine_readings(self._world, self._guided, scene, taken, self._rows, self._columns)
        return Readings(detail, turns), guide

    def denoise(self, noisy: Tensor, level: float, vectors: Vectors, readings: Readings, cache: KVCache) -> Tensor:
        at = torch.full((1,), level, device=noisy.device)
        return self._world.latents(*self._world.denoise(noisy, at, vectors, readings, 1, cache))

    def summarise(self, latents: Tensor) -> Tensor:
        code: Tensor = self._world.memory(latents)
        return code

    def decode(self, latents: Tensor) -> Tensor:
        frame: Tensor = self._decode(latents)
        return frame

    def decode_large(self, latents: Tensor, guide: Tensor) -> Tensor:
        assert self._decode_large is not None
        frame: Tensor = self._decode_large(latents, guide)
        return frame


class Static(Eager):
    """PyTorch, operation by operation, on a GPU. It reads textures that were selected on the host (`Selector`), so that
    no operation waits for the GPU, and sends all numbers of a scene at once."""

    def __init__(self, nano: Nano) -> None:
        super().__init__(nano)
        self._selector = Selector(nano.world.textures)
        self._fine_selector = None if nano.guided is None else Selector(nano.guided.textures)
        self._graphs: dict[int, ReadGraph] = {}  # by slots
        self._fine_graphs: dict[int, FineReadGraph] = {}

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

    def selected_fine(self, scene: Scene, slots: int, vectors: Vectors) -> list[Tensor]:
        """The inputs of a `FineReadGraph`, on the GPU."""
        assert self._fine_selector is not None and self._guided is not None  # noqa: PT018
        found = fine_inputs(scene, slots, (self._selector, self._fine_selector), vectors, self._guided)
        return upload(found, self._device)

    def fine_graph(self, slots: int, scene: Scene) -> FineReadGraph:
        if slots not in self._fine_graphs:
            assert self._fine_selector is not None and self._guided is not None  # noqa: PT018
            self._fine_graphs[slots] = FineReadGraph.of(
                self._world, self._guided, (self._selector, self._fine_selector), scene, slots, self._rows,
                self._columns,
            )  # fmt: skip
        return self._fine_graphs[slots]

    def read_fine(self, scene: Scene, vectors: Vectors) -> tuple[Readings, Tensor]:
        slots = self.slots(scene)
        detail, turns, guide = self.fine_graph(slots, scene)(*self.selected_fine(scene, slots, vectors))
        return Readings(detail, turns), guide


def pytorch(nano: Nano) -> Eager:
    """The runtime that needs nothing but PyTorch."""
    return Eager(nano) if nano.device.type == "cpu" else Static(nano)
