"""Training on several devices: `torchrun --nproc-per-node N -m worldjockey.node train --config base`.

Parameters, gradients and optimiser states are sharded by FSDP2 (`fully_shard`), block by block. Every process draws
the same batch from the same dice and works on its own clips of it, so that any number of processes makes the very same
steps as one. On CUDA weights are bf16 while they compute and blocks are compiled; on a CPU everything is fp32.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, distribute_tensor

CPU = torch.device("cpu")


@dataclass(frozen=True)
class Team:
    """This process among all that train together."""

    rank: int = 0
    size: int = 1
    device: torch.device = CPU

    @property
    def leads(self) -> bool:
        return self.rank == 0

    def share(self, clips: int) -> Tensor:
        """Which clips of a batch are this process's. ValueError where they cannot be dealt evenly."""
        if clips % self.size:
            raise ValueError(f"{clips} clips a step cannot be dealt to {self.size} processes: set the recipe's batch")
        return torch.arange(self.rank, clips, self.size)

    def mean(self, value: Tensor) -> Tensor:
        """Over all processes."""
        if self.size > 1:
            torch.distributed.all_reduce(value)
        return value / self.size

    def agrees(self, wish: bool) -> bool:
        """What the leader wishes, for all: clocks differ between processes."""
        said = [wish]
        if self.size > 1:
            torch.distributed.broadcast_object_list(said, 0)
        return said[0]

    def wait(self) -> None:
        if self.size > 1:
            torch.distributed.barrier()


def join() -> Team:
    """The team that `torchrun` started, or one process alone. Takes CUDA (nccl) where there is some, else gloo."""
    size, rank = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("RANK", "0"))
    device = torch.device("cpu")
    if torch.cuda.is_available():
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        torch.cuda.set_device(device)
    if size > 1 and not torch.distributed.is_initialized():
        torch.distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    return Team(rank, size, device)


def leave() -> None:
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def shard(model: nn.Module, team: Team) -> nn.Module:
    """The model with its parameters spread over the team, block by block."""
    if team.device.type == "cuda":
        for block in model.blocks:  # type: ignore[union-attr]
            block.compile()
    if team.size == 1:
        return model
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

    for p in model.parameters():  # FSDP cuts rows of plain memory
        p.data = p.data.contiguous()
    options: dict[str, Any] = {"mesh": init_device_mesh(team.device.type, (team.size,))}
    if team.device.type == "cuda":
        options["mp_policy"] = MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32)
    for block in model.blocks:  # type: ignore[union-attr]
        fully_shard(block, **options)
    fully_shard(model, **options)
    return model


def whole(value: Any) -> Any:
    """A state (of a model or an optimiser) with every shard put together; all of the team must call it."""
    if isinstance(value, DTensor):
        return value.full_tensor().cpu()
    if isinstance(value, dict):
        return {k: whole(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(whole(v) for v in value)
    return value


def like(value: Tensor, shape: Tensor) -> Tensor:
    """A whole tensor, spread as `shape` (a parameter) is."""
    if isinstance(shape, DTensor) and not isinstance(value, DTensor):
        return distribute_tensor(value.to(shape.device), shape.device_mesh, shape.placements)
    return value


def load_model(model: nn.Module, state: dict[str, Tensor]) -> None:
    """A whole state into a model, sharded or not."""
    own = model.state_dict()
    model.load_state_dict({k: like(v, own[k]) for k, v in state.items()})


def load_optimiser(optimiser: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """A whole state into an optimiser, its parameters sharded or not."""
    optimiser.load_state_dict(state)
    for group in optimiser.param_groups:
        for p in group["params"]:
            for k, v in optimiser.state[p].items():
                if isinstance(v, Tensor) and v.shape == p.shape:
                    optimiser.state[p][k] = like(v, p)
