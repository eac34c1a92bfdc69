"""One process of a training team, started by torchrun: trains a small world and tells its losses and weights.

torchrun --nproc-per-node N trains_in_a_team.py OUT[:CHECKPOINT]...
"""

import sys
from pathlib import Path

import torch
from worldjockey.model.nano.transformer import WorldConfig, WorldModel
from worldjockey.model.stage.sample import sequence
from worldjockey.model.train import world as train_world
from worldjockey.model.train.clips import Clips
from worldjockey.model.train.fsdp import Team, full_state, join, leave, shard
from worldjockey.model.train.world import Trainer
from worldjockey.node.ipc import process

CONFIG = WorldConfig(
    channels=4,
    rows=4,
    columns=6,
    width=32,
    heads=2,
    blocks=2,
    temporal=(1,),
    window=2,
    trunk=24,
    texture_depth=2,
    detail=8,
)


def clips(count: int = 40) -> Clips:
    dice = torch.Generator().manual_seed(5)
    runs = [sequence(900 + i, 4) for i in range(count)]
    return Clips(
        torch.randn(count, 4, 4, 4, 6, generator=dice).half(),
        torch.stack([r.scene.flat() for r in runs]),
        torch.tensor([r.dt for r in runs]),
    )


def in_half(trainer: Trainer, team: Team) -> list[float]:
    """Three losses of a fresh model that computes in bf16, as on CUDA."""
    torch.manual_seed(7)
    trainer.model, trainer.average = (shard(WorldModel(CONFIG), team, half=True) for _ in range(2))
    trainer.opts = train_world.optimisers(trainer.model, lr=1e-3, matrix_lr=0.01)
    losses = [trainer.step(i) for i in range(3)]
    assert {p.dtype for p in trainer.model.parameters()} == {torch.float32}
    return losses


GUIDED_SHARE = train_world.GUIDED_SHARE


def train(team: Team, out: str, checkpoint: str) -> None:
    """Train from nothing, or go on from the checkpoint, and write what came of it."""
    train_world.GUIDED_SHARE = GUIDED_SHARE
    trainer = Trainer(CONFIG, [clips()], steps=20, batch=2, seed=3, matrix_lr=0.01, team=team)
    first = 0
    if checkpoint:
        trainer.load(torch.load(checkpoint, weights_only=True))
        first = 4
    losses = [trainer.step(i) for i in range(first, first + 4)]
    # The last part of training, where guidance is folded in, goes through the averaged model too; so does judging it.
    train_world.GUIDED_SHARE = 1.0
    held = trainer.held_out()
    losses += [trainer.step(i) for i in (18, 19)] if checkpoint else []
    held = {**held, **{f"{k} again": v for k, v in trainer.held_out().items()}}
    losses += [trainer.step(first + 4)]
    state = trainer.state()
    weights = {name: full_state(getattr(trainer, name).state_dict()) for name in ("model", "average")}
    half = [] if checkpoint else in_half(trainer, team)
    if team.leads:
        torch.save({"losses": losses, "held": held, "weights": weights, "half": half}, out)
        if not checkpoint:
            torch.save(state, Path(out).with_suffix(".checkpoint"))


def main(*runs: str) -> None:
    torch.set_num_threads(1)
    team = join()
    for run in runs:  # one after the other: to start a process takes longer than to train
        out, _, checkpoint = run.partition(":")
        train(team, out, checkpoint)
    leave()


if __name__ == "__main__":
    main(*sys.argv[1:])
    process.exit_now()  # as `wj train` ends
