"""Muon (Jordan et al. 2024) in fp32: torch.optim.Muon orthogonalises in bf16, which CPUs without bf16 emulate."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor

from .fsdp import map_full

TEXTURE_RATE = 4.0  # learning rate of neural textures, as a multiple of that of other vectors


def orthogonalise(g: Tensor, steps: int = 5) -> Tensor:
    """The nearest semi-orthogonal matrix to g (rows, cols), by a quintic Newton-Schulz iteration."""
    x = g / (g.norm() + 1e-7)
    tall = x.shape[0] > x.shape[1]
    if tall:
        x = x.T
    for _ in range(steps):
        a = x @ x.T
        x = 3.4445 * x + (-4.7750 * a + 2.0315 * a @ a) @ x
    return x.T if tall else x


class Muon(torch.optim.Optimizer):
    """Momentum, orthogonalised, for matrices and convolution kernels (flattened to one row an output)."""

    def __init__(self, params: Iterable[Tensor], lr: float = 0.02, momentum: float = 0.95, decay: float = 0.01) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "decay": decay})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            moved, pushes = [p for p in group["params"] if p.grad is not None], []
            for p in moved:
                state = self.state[p]
                if not state:
                    state["momentum"] = torch.zeros_like(p)
                m = state["momentum"].lerp_(p.grad, 1 - group["momentum"])
                pushes.append(p.grad.lerp(m, group["momentum"]))
            for p, update in zip(moved, map_full(pushes, _turned), strict=True):
                p.mul_(1 - group["lr"] * group["decay"])
                p.add_(update, alpha=-group["lr"])


def _turned(g: Tensor) -> Tensor:
    """Of a kernel's shape, orthogonalised as a matrix of one row an output."""
    matrix = g.flatten(1)
    return (orthogonalise(matrix) * max(1.0, matrix.shape[0] / matrix.shape[1]) ** 0.5).view(g.shape)


def optimisers(module: torch.nn.Module, lr: float, matrix_lr: float) -> list[torch.optim.Optimizer]:
    """Muon for the matrices inside, AdamW for vectors, embeddings, modulation and all thin matrices.

    Modulation (adaLN) is left to AdamW because its matrices are the largest and the cheapest to learn: to
    orthogonalise them too took a sixth of a training step. Neural textures, of which a batch reads a few
    texels only, take larger steps.
    """
    matrices: list[Tensor] = []
    rest: list[Tensor] = []
    textures: list[Tensor] = []
    for name, p in module.named_parameters():
        if "textures." in name:
            textures.append(p)
        elif p.dim() >= 2 and min(p.shape[0], p.numel() // p.shape[0]) >= 24 and "modulate" not in name:
            matrices.append(p)
        else:
            rest.append(p)
    groups = [{"params": rest, "lr": lr}, {"params": textures, "lr": TEXTURE_RATE * lr}]
    adam = torch.optim.AdamW([g for g in groups if g["params"]], betas=(0.9, 0.98), weight_decay=0.0,
                             fused=not any(isinstance(p, DTensor) for p in rest))  # fmt: skip
    return [Muon(matrices, lr=matrix_lr), adam]


class Rates:
    """The learning rates that optimisers were made with, of which a schedule takes a share at each step.

    To be made before their state is loaded: a checkpoint's rates are shares already.
    """

    def __init__(self, optimisers: Sequence[torch.optim.Optimizer]) -> None:
        self._optimisers = optimisers
        self._whole = [[group["lr"] for group in o.param_groups] for o in optimisers]

    def take(self, share: float) -> None:
        for o, rates in zip(self._optimisers, self._whole, strict=True):
            for group, rate in zip(o.param_groups, rates, strict=True):
                group["lr"] = share * rate
