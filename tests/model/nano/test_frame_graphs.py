"""The graphs of a frame: each is a single one, whatever is played."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from worldjockey.model import Controls, Prompt
from worldjockey.model.nano import cuda_graphs
from worldjockey.model.nano.runtime import Static
from worldjockey.model.nano.world import Nano

GRAPHS = 4  # textures for one and two places, network, decoder
CAMERA = np.random.default_rng(0).integers(0, 255, (90, 160, 3), dtype=np.uint8)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Dynamo detected a call to a `functools.lru_cache`")
def test_nothing_compiles_once_each_graph_was_called(monkeypatch: pytest.MonkeyPatch) -> None:
    """By torch.compile, which counts what it is asked to compile instead; parts without a graph are refused."""
    compiled = []

    def counting(graph: torch.fx.GraphModule, example: Sequence[Tensor]) -> Callable[..., Any]:
        compiled.append(graph)
        return graph.forward

    def opened(module: nn.Module, example: Sequence[Tensor], dtype: torch.dtype) -> Callable[..., list[Tensor]]:
        function = torch.compile(module.eval(), backend=counting, fullgraph=True, dynamic=False)
        buffers = [tensor.clone() for tensor in example]

        def called(inputs: Sequence[Tensor]) -> list[Tensor]:
            torch._foreach_copy_(buffers, list(inputs))
            found = function(*buffers)
            return [found] if isinstance(found, Tensor) else list(found)

        called(example)
        return called

    reference, world = Nano.load(device="cpu"), Nano.load(device="cpu")
    world.pytorch = Static(world)
    monkeypatch.setattr(cuda_graphs, "Captured", opened)
    monkeypatch.setattr(torch.cuda, "device", lambda device: nullcontext())
    world.runtime = cuda_graphs.CudaGraphs(world, "fp32")
    assert len(compiled) == GRAPHS
    for text, more in (
        ("a dancer in a neon city at night in the rain", {"acts": {"dance": 1.0}}),
        ("nobody at sea, petals", {"camera": {"yaw": 0.6, "forward": 0.3}, "matte": True}),
        ("an endless tunnel", {"steps": 4, "guidance": 1.6}),
        ("a temple under the aurora", {"live": CAMERA, "strength": 0.6}),
    ):
        for _ in range(2):
            controls = Controls(reference.encode(Prompt(text)).values, dt=0.05, **more)  # type: ignore[arg-type]
            one, other = (w.step(controls).numpy().astype(int) for w in (reference, world))
            assert np.abs(one - other).max() <= 1
    assert world.runtime.name == "cuda-graphs fp32"
    assert len(compiled) == GRAPHS
