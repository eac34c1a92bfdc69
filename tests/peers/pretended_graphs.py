"""CUDA graphs on a `pretended_card`: a capture keeps a list of the operations, and a replay runs them on the very
tensors again. What CUDA forbids within a capture, waits and uploads, fails here, too."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pretended_card
import pytest
import torch
from pretended_card import counted, lowered
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map


class PretendedGraph:
    """As `torch.cuda.CUDAGraph`. replays: how often it was replayed."""

    def __init__(self, keep_graph: bool = False) -> None:
        self.operations: list[tuple[Any, Any, Any, Any]] | None = None
        self.replays = 0

    def replay(self) -> None:
        assert self.operations is not None, "replayed before it was captured"
        self.replays += 1
        for func, args, kwargs, out in self.operations:
            for new, old in zip(tree_leaves(func(*args, **kwargs)), tree_leaves(out), strict=True):
                if isinstance(new, Tensor) and new.data_ptr() != old.data_ptr():
                    old.copy_(new)


class PretendedCapture:
    """As `torch.cuda.graph`."""

    def __init__(self, cuda_graph: PretendedGraph, pool: Any = None, stream: Any = None,
                 capture_error_mode: str = "global", **more: Any) -> None:  # fmt: skip
        self._graph, self._patch = cuda_graph, pytest.MonkeyPatch()

    def __enter__(self) -> None:
        self._graph.operations = operations = []
        self._before = (len(counted.waits), len(counted.uploads))
        run = pretended_card.run

        def recorded(func: Any, args: Any, kwargs: Any) -> Any:
            out = run(func, args, kwargs)
            operations.append((func, *(tree_map(lowered, each) for each in (args, kwargs, out))))
            return out

        self._patch.setattr(pretended_card, "run", recorded)

    def __exit__(self, *_: object) -> None:
        self._patch.undo()
        waits, uploads = counted.waits[self._before[0] :], counted.uploads[self._before[1] :]
        if waits or uploads:
            raise RuntimeError(f"operation not permitted when stream is capturing: {waits + uploads}")
        for _, args, kwargs, out in self._graph.operations or ():
            given = {t.untyped_storage().data_ptr() for t in tree_leaves((args, kwargs)) if isinstance(t, Tensor)}
            for made in tree_leaves(out):  # a capture computes nothing: only a replay fills what it returns
                if isinstance(made, Tensor) and made.untyped_storage().data_ptr() not in given:
                    made.zero_()


@contextlib.contextmanager
def pretended_graphs() -> Iterator[SimpleNamespace]:
    """graphs: all that were made, in order."""
    seen = SimpleNamespace(graphs=[])

    def graph(keep_graph: bool = False) -> PretendedGraph:
        seen.graphs.append(PretendedGraph(keep_graph))
        return seen.graphs[-1]

    stream = SimpleNamespace(wait_stream=lambda other: None, synchronize=torch.cuda.synchronize)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.cuda, "CUDAGraph", graph)
        patch.setattr(torch.cuda, "graph", PretendedCapture)
        patch.setattr(torch.cuda, "Stream", lambda device=None, priority=0: stream)
        patch.setattr(torch.cuda, "device", lambda device: contextlib.nullcontext())
        patch.setattr(torch.cuda, "stream", lambda stream: contextlib.nullcontext())
        patch.setattr(torch.cuda, "current_stream", lambda device=None: stream)
        yield seen
