"""Average pooling to a fixed number of windows, made of slices that every device can do."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class WindowPool(nn.Module):
    """(n, c, rows, columns) -> (n, c, *windows): the mean of each window.

    The windows are those of `torch.nn.AdaptiveAvgPool2d`: they overlap where the sizes do not divide, which is what
    Apple's MPS refuses (torch 2.13).
    """

    def __init__(self, windows: tuple[int, int]) -> None:
        super().__init__()
        self.windows = windows

    def forward(self, x: Tensor) -> Tensor:
        for dim, count in zip((-2, -1), self.windows, strict=True):
            x = torch.stack([x.narrow(dim, *span).mean(dim) for span in spans(x.shape[dim], count)], dim)
        return x


def spans(size: int, count: int) -> list[tuple[int, int]]:
    """First index and length of each of `count` windows that cover `size`."""
    edges = [(i * size // count, -(-(i + 1) * size // count)) for i in range(count)]
    return [(first, end - first) for first, end in edges]
