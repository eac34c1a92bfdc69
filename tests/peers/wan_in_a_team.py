"""A tiny Wan rollout, its tokens shared out over the processes of `torchrun`; writes what the first of them drew."""

import sys

import torch
import torch.distributed as dist
import wan_files
from worldjockey.model.worlds.wan.config import WanConfig
from worldjockey.model.worlds.wan.rollout import Rollout
from worldjockey.node.ipc.process import exit_now

TINY = WanConfig(dim=48, ffn=64, heads=2, layers=2, freq_dim=16, text_dim=12, text=7, channels=4, window=9, sink=3)


def drawn() -> torch.Tensor:
    """Nine chunks, beyond the window's edge, across a switch of the prompt, through a narrower window and back."""
    rollout = Rollout(TINY, [(4, 8)], torch.device("cpu"), weights=wan_files.network(TINY))
    texts = [torch.randn(n, 12, generator=torch.Generator().manual_seed(n)) for n in (5, 7)]
    chunks = []
    for i in range(9):
        if i in (0, 5):
            rollout.set_text(texts[i // 5])
        if i == 5:
            rollout.recache()
        if i in (6, 8):
            rollout.widen(6 if i == 6 else 9)
        chunks.append(rollout.chunk(2))
    return torch.stack(chunks)


if __name__ == "__main__":
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    chunks = drawn()
    if dist.get_rank() == 0:
        torch.save(chunks, sys.argv[1])
    dist.barrier()
    exit_now()
