"""A tiny Wan as a world that the first process of `torchrun` leads; writes what it drew. Alone it needs no team."""

import sys

import numpy as np
import torch
import wan_files
from wan_in_a_team import TINY
from worldjockey.model import Controls
from worldjockey.model.spec import WorldSpec
from worldjockey.model.worlds import distributed
from worldjockey.model.worlds.wan.config import windows
from worldjockey.model.worlds.wan.rollout import Rollout
from worldjockey.node.ipc.process import exit_now


class Drawing:
    """What it draws is latents, not frames: the decoder is nobody's to share."""

    spec = WorldSpec("tiny", 64, 32, 16.0, 1, (), ("text",), "cpu")

    def __init__(self):
        self.rollout = Rollout(TINY, [(4, 8)], torch.device("cpu"), weights=wan_files.network(TINY))

    def reset(self, seed):
        self.rollout.reset(seed)

    def set_quality(self, level):
        self.rollout.widen(windows(TINY)[level])

    def step(self, controls):
        self.rollout.set_text(controls.tokens)
        return self.rollout.chunk(controls.steps)


def played(world):
    """Prompts that take turns, two seeds, and less of the past in between."""
    texts = [np.random.default_rng(n).standard_normal((n, 12), np.float32) for n in (5, 7)]
    chunks = []
    for seed in (3, 4):
        world.reset(seed)
        for level in (0, 0, 1, 0):
            world.set_quality(level)
            chunks += [world.step(Controls(text, steps=2)) for text in texts]
    return torch.stack(chunks)


if __name__ == "__main__":
    torch.set_num_threads(1)
    broadcast = distributed.Broadcast() if distributed.size() > 1 else None
    if broadcast is None:
        torch.save(played(Drawing()), sys.argv[1])
    elif distributed.rank() == 0:
        torch.save(played(distributed.Leader(Drawing(), broadcast)), sys.argv[1])
        broadcast.send("close", {"over": True})
    else:
        assert distributed.follow(Drawing(), broadcast)
    exit_now()
