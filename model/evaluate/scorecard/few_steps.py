"""Fréchet distance (Heusel et al. 2017) to true stage frames in the judge's features, 1 step against several."""

from __future__ import annotations

import torch
from torch import Tensor

from .row import Row

PRINCIPAL_AXES = 32  # principal axes of all frames that are compared: a few hundred frames cannot fill more


def frechet(a: Tensor, b: Tensor) -> float:
    """a (n, d), b (m, d): distance of two Gaussians that have their means and covariances."""
    a, b = a.double(), b.double()
    first, second = torch.cov(a.T), torch.cov(b.T)
    values, vectors = torch.linalg.eigh(first)
    root = vectors @ torch.diag(values.clamp(min=0).sqrt()) @ vectors.T
    both = torch.linalg.eigvalsh(root @ second @ root).clamp(min=0).sqrt().sum()
    return float((a.mean(0) - b.mean(0)).square().sum() + first.trace() + second.trace() - 2 * both)


def distances(true: Tensor, *made: Tensor) -> list[float]:
    """Of each `made` (n, d) to `true` (n, d), along the principal axes of all of them together."""
    every = torch.cat([true, *made]).double()
    every = (every - every.mean(0)) / every.std(0).clamp(min=1e-6)
    axes = torch.linalg.svd(every, full_matrices=False).Vh[:PRINCIPAL_AXES]
    parts = (every @ axes.T).split([len(true), *map(len, made)])
    return [frechet(p, parts[0]) for p in parts[1:]]


def rows(true: Tensor, one: Tensor, several: Tensor, steps: int) -> list[Row]:
    few, many = distances(true, one, several)
    detail = {"1 step": few, f"{steps} steps": many, "frames": len(one)}
    return [Row(f"few steps: Fréchet, 1 against {steps}", few / max(many, 1e-9), 1.3, at_most=True,
                unit="x", detail=detail)]  # fmt: skip
