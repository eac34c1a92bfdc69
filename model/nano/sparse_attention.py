"""Adaptive sparse attention for long memories: of many blocks of keys, each block of queries sees a few.

Always the first ones (attention sinks, Xiao et al. 2024), always the latest, and of the rest those that score best:
the mean query against the mean key of the block (block selection of Native Sparse Attention, Yuan et al. 2025), chosen
for each head alone. With every block kept it is dense attention. On CUDA the same choice drives FlexAttention
(Dong et al. 2024).

    python -m worldjockey.model.nano.sparse_attention      what it costs here, dense against sparse
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True)
class Sparsity:
    """block: tokens a block; sinks, local, far: how many blocks of each kind are seen (ValueError where none is)."""

    block: int
    sinks: int = 1
    local: int = 2
    far: int = 4

    def __post_init__(self) -> None:
        if self.block < 1 or min(self.sinks, self.local, self.far) < 0 or not self.kept:
            raise ValueError(f"{self} sees nothing: a block has tokens, and one kind of block at least is seen")

    @property
    def kept(self) -> int:
        return self.sinks + self.local + self.far


def choose(q: Tensor, k: Tensor, s: Sparsity) -> Tensor:
    """Which blocks of keys each block of queries sees: (b, heads, query blocks, blocks), True where it does.

    q, k: (b, heads, n, dim), both cut into blocks from the end of time: the last block of q lies beside the last of k,
    and no block sees a later one. Lengths must be whole numbers of blocks, k no shorter than q (ValueError).
    """
    if q.shape[-2] % s.block or k.shape[-2] % s.block:
        raise ValueError(f"{q.shape[-2]} queries and {k.shape[-2]} keys are not whole blocks of {s.block}")
    if k.shape[-2] < q.shape[-2]:
        raise ValueError(f"{q.shape[-2]} queries but only {k.shape[-2]} keys: the keys end where the queries end")
    asks = q.unflatten(-2, (-1, s.block)).mean(-2)
    has = k.unflatten(-2, (-1, s.block)).mean(-2)
    rows, columns = asks.shape[-2], has.shape[-2]
    now = torch.arange(columns - rows, columns, device=q.device)[:, None]
    at = torch.arange(columns, device=q.device)[None]
    past = at <= now
    always = past & ((at < s.sinks) | (at > now - s.local))
    scores = (asks @ has.transpose(-1, -2)).masked_fill(~past | always, float("-inf"))
    best = scores.topk(min(s.far, columns), -1)
    far = torch.zeros_like(scores, dtype=torch.bool).scatter_(-1, best.indices, best.values > float("-inf"))
    return far | always


def on_gpu(x: Tensor) -> bool:
    """Whether FlexAttention serves, compiled: on a CPU it is slower than picking the blocks by hand."""
    return x.is_cuda


def attend(q: Tensor, k: Tensor, v: Tensor, s: Sparsity, scale: float | None = None) -> Tensor:
    """Attention of q (b, heads, n, dim) over the chosen blocks of k and v (b, heads, m, dim), causal by blocks."""
    seen = choose(q, k, s)
    if on_gpu(q):
        return _flex(q, k, v, seen, s, scale)
    b, heads, rows, columns = seen.shape
    count = int(seen.sum(-1).amax())
    # The chosen blocks first, in order of time; shorter rows are padded with blocks that the mask hides.
    order = seen.int().argsort(dim=-1, descending=True, stable=True)[..., :count]
    there = seen.gather(-1, order)
    of = torch.arange(b * heads, device=q.device).view(b, heads, 1, 1) * columns
    near_k, near_v = (
        t.reshape(b * heads * columns, -1).index_select(0, (of + order).flatten())
        .view(b, heads * rows, count * s.block, -1) for t in (k, v)
    )  # fmt: skip
    mask = None if bool(there.all()) else there.repeat_interleave(s.block, -1).flatten(1, 2)[..., None, :]
    # Rows beside the heads, because the fused kernels of CPUs take four dimensions: with five it ran 3 times slower.
    asks = q.reshape(b, heads * rows, s.block, -1)
    return F.scaled_dot_product_attention(asks, near_k, near_v, attn_mask=mask, scale=scale).view(
        b, heads, -1, v.shape[-1]
    )


TILE_TOKENS = 128  # tokens a side of what FlexAttention computes or leaves out


@cache
def _flexed() -> Any:
    from torch.nn.attention.flex_attention import flex_attention

    # A memory that fills grows a block a step: a kernel for each length would be compiled again and again.
    return torch.compile(flex_attention, dynamic=True)


def _flex(q: Tensor, k: Tensor, v: Tensor, seen: Tensor, s: Sparsity, scale: float | None) -> Tensor:
    from torch.nn.attention.flex_attention import BlockMask, flex_attention

    tiled = tiles(seen, s, TILE_TOKENS)
    mask = BlockMask.from_kv_blocks(
        tiled.sum(-1, dtype=torch.int32), tiled.int().argsort(dim=-1, descending=True, stable=True).int(),
        BLOCK_SIZE=TILE_TOKENS, mask_mod=mask_of(seen, s), seq_lengths=(q.shape[-2], k.shape[-2]),
    )  # fmt: skip
    return (_flexed() if on_gpu(q) else flex_attention)(q, k, v, block_mask=mask, scale=scale)


def tiles(seen: Tensor, s: Sparsity, tile: int) -> Tensor:
    """The choice in tiles of so many tokens: (b, heads, query tiles, key tiles), True where any pair in it is seen.

    Worked out from blocks, never from single tokens: `create_block_mask` would lay out every query against every key.
    """

    def overlap(count: int) -> Tensor:  # (tiles, blocks): 1.0 where they share a token
        begin = torch.arange(0, count * s.block, tile, device=seen.device)[:, None]
        block = torch.arange(count, device=seen.device)[None] * s.block
        return ((begin < block + s.block) & (block < begin + tile)).float()

    rows, columns = seen.shape[-2:]
    return overlap(rows) @ seen.float() @ overlap(columns).T > 0


def mask_of(seen: Tensor, s: Sparsity):  # type: ignore[no-untyped-def]
    """FlexAttention's `mask_mod` for a choice of blocks."""

    def mask_mod(b: Tensor, h: Tensor, query: Tensor, key: Tensor) -> Tensor:
        return seen[b, h, query // s.block, key // s.block]

    return mask_mod


def main() -> None:
    """Prints the cost of one frame's queries over longer and longer memories, dense and sparse: medians of pairs."""
    import statistics
    import time

    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    s = Sparsity(block=144, sinks=1, local=3, far=4)
    print("keys      dense ms   sparse ms   ratio")
    for frames in (8, 16, 32, 64, 128):
        q, k, v = torch.randn(1, 7, 144, 32), *(torch.randn(1, 7, 144 * frames, 32) for _ in range(2))
        dense, sparse = [], []
        for _ in range(9):
            begin = time.perf_counter()
            F.scaled_dot_product_attention(q, k, v)
            middle = time.perf_counter()
            attend(q, k, v, s)
            dense.append((middle - begin) * 1e3)
            sparse.append((time.perf_counter() - middle) * 1e3)
        a, b = statistics.median(dense), statistics.median(sparse)
        print(f"{144 * frames:<9} {a:>8.2f} {b:>11.2f} {a / b:>7.2f}")


if __name__ == "__main__":
    main()
