"""Constant numbers as tensors, sent to a device once."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import torch
from torch import Tensor


def constant(values: Sequence[float] | Sequence[Sequence[float]], like: Tensor) -> Tensor:
    """values, in tuples, with the type and on the device of `like`. It is shared: never write to it."""
    return _sent(values, like.dtype, like.device)


def indices(values: Sequence[int], device: torch.device) -> Tensor:
    """As `constant`, to index with."""
    return _sent(values, torch.long, device)


@cache
def _sent(values: Sequence[float] | Sequence[Sequence[float]], dtype: torch.dtype, device: torch.device) -> Tensor:
    with torch.inference_mode(False):  # gradients may be wanted of what is computed with it
        return torch.tensor(values, dtype=dtype, device=device)
