"""Nano on a CUDA GPU by CUDA graphs: the graphs of `frame_graphs`, captured at the start and replayed at each frame.

PyTorch starts some thousand kernels a frame one by one, which takes longer than the GPU needs to compute them. A graph
starts all of its kernels at once; in return its inputs and outputs lie at fixed places of the GPU's memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from ..stage.scene import Scene
from .frame_graphs import DecodeGraph, DenoiseGraph, MemoryGraph, extend, padded
from .runtime import Static
from .transformer import KVCache, Readings, Vectors

if TYPE_CHECKING:
    from .world import Nano

SLOTS = (1, 2)  # places, spirals and drops shown at once, for which there is a graph; more are read by PyTorch
WARM_UP_CALLS = 3  # before a capture: libraries choose their kernels and allocate memory in the first calls
# The precisions to try, the first in front. bf16 has too few digits for this network: 6 dB to fp32 in a tunnel, 23 dB
# at sea, where fp16, which is as fast, has 60 dB.
DTYPES = {"fp16": torch.float16, "fp32": torch.float32}


class CudaGraphs:
    """A `runtime.Runtime`. precision: one of `DTYPES`, for the network and the decoder; textures are read in fp32.

    Raises RuntimeError for a world that has no static graph, and where the GPU cannot capture it.
    """

    def __init__(self, nano: Nano, precision: str) -> None:
        if nano.world.config.recall:
            raise RuntimeError("a world with sparse recall has no static graph")
        self.name = f"cuda-graphs {precision}"
        self._world, self._places = nano.world, nano.rows * nano.columns // nano.world.config.patch**2
        assert isinstance(nano.pytorch, Static)
        self._static = nano.pytorch
        self._readers: dict[int, Captured] = {}
        with torch.inference_mode(), torch.cuda.device(nano.device):
            self._capture(nano, DTYPES[precision])

    def _capture(self, nano: Nano, dtype: torch.dtype) -> None:
        opening = nano.opening()
        for slots in SLOTS:
            selected = self._static.selected(opening.scene, slots)
            self._readers[slots] = Captured(self._static.graph(selected, slots), [*selected.values()], torch.float32)
        latents = torch.zeros(nano.latent_shape, device=nano.device)
        readings, vectors = self._static.read(opening.scene), opening.vectors().to(nano.device)
        example = self._inputs(latents, 1.0, vectors, readings, KVCache())
        self._denoise = Captured(DenoiseGraph(nano.world), example, dtype)
        self._summarise = Captured(MemoryGraph(nano.world), [latents], dtype)
        self._decode = Captured(DecodeGraph(nano), [latents], dtype)

    def read(self, scene: Scene) -> Readings:
        slots = self._static.slots(scene)
        if slots not in self._readers:
            return self._static.read(scene)
        return Readings(*self._readers[slots]([*self._static.selected(scene, slots).values()]))

    def denoise(self, noisy: Tensor, level: float, vectors: Vectors, readings: Readings, cache: KVCache) -> Tensor:
        latents, *kept = self._denoise(self._inputs(noisy, level, vectors, readings, cache))
        extend(cache, self._world, kept)
        return latents.clone()

    def summarise(self, latents: Tensor) -> Tensor:
        return self._summarise([latents])[0].clone()

    def decode(self, latents: Tensor) -> Tensor:
        return self._decode([latents])[0].clone()

    def _inputs(
        self, noisy: Tensor, level: float, vectors: Vectors, readings: Readings, cache: KVCache
    ) -> list[Tensor]:
        missing, kept = padded(cache, self._world, self._places, noisy.device)
        at = torch.full((1,), level, device=noisy.device)
        return [noisy, at, readings.detail, readings.bearings, vectors.prompt, vectors.guidance, missing,
                *vectors.others, *kept]  # fmt: skip


class Captured:
    """A module as a CUDA graph, called with tensors of the shapes of `example`. What it returns, floats in fp32, is
    valid until the next call. dtype: of the module's convolutions and matrix products."""

    def __init__(self, module: nn.Module, example: Sequence[Tensor], dtype: torch.dtype) -> None:
        self._module, self._dtype = module.eval(), dtype
        self._inputs = [tensor.clone() for tensor in example]
        stream = torch.cuda.Stream()  # CUDA captures no work of the default stream
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(WARM_UP_CALLS):
                self._run()
        torch.cuda.current_stream().wait_stream(stream)
        self._graph = torch.cuda.CUDAGraph()
        # Other threads, that of the prompt encoder for one, may use the GPU meanwhile.
        with torch.cuda.graph(self._graph, capture_error_mode="thread_local"):
            self._outputs = self._run()

    def __call__(self, inputs: Sequence[Tensor]) -> list[Tensor]:
        torch._foreach_copy_(self._inputs, list(inputs))
        self._graph.replay()
        return self._outputs

    def _run(self) -> list[Tensor]:
        # Without a cache: what it holds would lie in the memory of one graph and be read by the next.
        with torch.autocast("cuda", self._dtype, enabled=self._dtype != torch.float32, cache_enabled=False):
            found = self._module(*self._inputs)
        tensors = [found] if isinstance(found, Tensor) else found
        return [tensor.float() if tensor.is_floating_point() else tensor for tensor in tensors]
