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
from .frame_graphs import DecodeGraph, DenoiseGraph
from .graph_runtime import SLOTS, GraphRuntime
from .runtime import Static
from .transformer import KVCache, Readings, Vectors

if TYPE_CHECKING:
    from .world import Nano

WARM_UP_CALLS = 3  # before a capture: libraries choose their kernels and allocate memory in the first calls
# The precisions to try, the first in front. bf16 has too few digits for this network: 6 dB to fp32 in a tunnel, 23 dB
# at sea, where fp16, which is as fast, has 60 dB.
DTYPES = {"fp16": torch.float16, "fp32": torch.float32}


class CudaGraphs(GraphRuntime):
    """precision: one of `DTYPES`, for the network and the decoder; textures are read in fp32.

    Raises RuntimeError also where the GPU cannot capture the graphs.
    """

    def __init__(self, nano: Nano, precision: str) -> None:
        super().__init__(nano, f"cuda-graphs {precision}")
        assert isinstance(nano.pytorch, Static)
        self._static, self._nano, self._dtype = nano.pytorch, nano, DTYPES[precision]
        with torch.inference_mode(), torch.cuda.device(nano.device):
            self._capture(nano, self._dtype)

    def _capture(self, nano: Nano, dtype: torch.dtype) -> None:
        opening = nano.opening()
        readers = {}
        for slots in SLOTS:
            selected = self._static.selected(opening.scene, slots)
            readers[slots] = Captured(self._static.graph(selected, slots), [*selected.values()], torch.float32)
        self._readers = readers
        latents = torch.zeros(nano.latent_shape, device=nano.device)
        readings, vectors = self._static.read(opening.scene), opening.vectors().to(nano.device)
        example = self._inputs(latents, 1.0, vectors, readings, KVCache())
        self._denoise = Captured(DenoiseGraph(nano.world), example, dtype)
        self._decode = Captured(DecodeGraph(nano), [latents], dtype)

    def prepare_large(self) -> None:
        with torch.inference_mode(), torch.cuda.device(self._nano.device):
            self._capture_large(self._nano, self._dtype)

    def _capture_large(self, nano: Nano, dtype: torch.dtype) -> None:
        opening, latents = nano.opening(), torch.zeros(nano.latent_shape, device=nano.device)
        scene, vectors, guides = opening.scene, opening.vectors(), {}
        readings = self._static.read(scene)
        for slots in SLOTS:
            example = self._static.guide_inputs(scene, readings, slots, vectors)
            guides[slots] = Captured(self._static.guide_graph(slots, scene), example, torch.float32)
        self._guides = guides
        guide = self._static.guide(scene, readings, vectors)
        self._decode_large = Captured(DecodeGraph(nano, nano.guided), [latents, guide], dtype)

    def _selected(self, scene: Scene, slots: int) -> list[Tensor]:
        return [*self._static.selected(scene, slots).values()]

    def _guide_inputs(self, scene: Scene, readings: Readings, slots: int, vectors: Vectors) -> list[Tensor]:
        return self._static.guide_inputs(scene, readings, slots, vectors)


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
