"""Training on several devices: `torchrun --nproc-per-node N -m worldjockey.node train --config base`.

Parameters, gradients and optimiser states are sharded by FSDP2 (`fully_shard`), block by block. Every process draws
the same batch from the same seed and works on its own clips of it, so that any number of processes makes the very same
steps as one. On CUDA the network computes in bf16 (geometry, clocks and what else autocast leaves in fp32)
and blocks are compiled; on a CPU everything is fp32.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, Replicate

CPU = torch.device("cpu")
LEADER_TIMEOUT = timedelta(hours=24)  # the leader draws the stage and trains the first stages while the others wait


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
        """Indices of this process's clips in a batch. Raises ValueError where they cannot be divided evenly."""
        if clips % self.size:
            raise ValueError(
                f"{clips} clips a step cannot be divided among {self.size} processes: change the recipe's batch"
            )
        return torch.arange(self.rank, clips, self.size)

    def mean(self, value: Tensor) -> Tensor:
        """Over all processes."""
        if self.size > 1:
            torch.distributed.all_reduce(value)
        return value / self.size

    def agrees(self, wish: bool) -> bool:
        """The leader's `wish`, in every process: clocks differ between processes."""
        decision = torch.tensor(int(wish), device=self.device)
        if self.size > 1:
            torch.distributed.broadcast(decision, 0)
        return bool(decision)

    def wait(self) -> None:
        if self.size > 1:
            torch.distributed.barrier()


def join() -> Team:
    """The processes that `torchrun` started, or one process alone. On CUDA they use nccl, else gloo."""
    size, rank = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("RANK", "0"))
    device = torch.device("cpu")
    if torch.cuda.is_available():
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        torch.cuda.set_device(device)
    if size > 1 and not torch.distributed.is_initialized():
        torch.distributed.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=LEADER_TIMEOUT)
    return Team(rank, size, device)


def leave() -> None:
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def shard(model: nn.Module, team: Team, half: bool | None = None) -> nn.Module:
    """The model with its parameters sharded over the team, block by block.

    half: compute in bf16 and send the blocks' weights as bf16; None does so on CUDA. Parameters, gradients and the
    model's output are fp32 all the same.
    """
    half = team.device.type == "cuda" if half is None else half
    if team.device.type == "cuda":
        for block in model.blocks:  # type: ignore[union-attr]
            block.compile()
    if half:
        # FSDP's own casting sees neither the fields of `Conditioning` nor the textures, and would round clocks to bf16.
        model.forward = torch.autocast(team.device.type, torch.bfloat16)(model.forward)
        model.register_forward_hook(lambda module, args, out: out.float())
    if team.size == 1:
        return model
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

    for p in model.parameters():  # FSDP cuts rows of plain memory
        p.data = p.data.contiguous()
    mesh = init_device_mesh(team.device.type, (team.size,))
    sent = torch.bfloat16 if half else None
    policy = MixedPrecisionPolicy(param_dtype=sent, reduce_dtype=torch.float32, cast_forward_inputs=False)
    for block in model.blocks:  # type: ignore[union-attr]
        fully_shard(block, mesh=mesh, mp_policy=policy)
    # The root would stay whole after a forward pass that no backward pass follows (rollouts, the averaged model), and
    # reading its parameters then would give plain tensors.
    fully_shard(model, mesh=mesh, reshard_after_forward=True)
    return model


def full_state(value: Any, keep: bool = True) -> Any:
    """A state (of a model or an optimiser) with every shard gathered; all of the team must call it.

    keep: False drops each sharded tensor once it is sent, None in its place: one copy of a large state is enough.
    """
    if isinstance(value, DTensor):
        full = value.full_tensor()
        return full.cpu() if keep else None
    if isinstance(value, dict):
        return {k: full_state(v, keep) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(full_state(v, keep) for v in value)
    return value


def sharded_like(value: Tensor, shape: Tensor) -> Tensor:
    """A full tensor that every process has, sharded as `shape` (a parameter) is. Nothing is sent."""
    if isinstance(shape, DTensor) and not isinstance(value, DTensor):
        same = [Replicate()] * shape.device_mesh.ndim
        full = DTensor.from_local(value.to(shape.device), shape.device_mesh, same, run_check=False)
        return full.redistribute(placements=shape.placements)
    return value


def map_full(matrices: Sequence[Tensor], work: Callable[[Tensor], Tensor]) -> Iterator[Tensor]:
    """`work` of each full matrix, in order, sharded as the matrix is.

    For work that needs more than a shard (Newton-Schulz). Each process works on one in `size` of the matrices, so that
    the work shrinks as the team grows. Each matrix is sent twice: gathered, and broadcast by the process that worked on
    it (Muon is Scalable for LLM Training, Liu et al. 2025, section 2.3).
    """
    if not matrices or not isinstance(matrices[0], DTensor):
        yield from map(work, matrices)
        return
    group = matrices[0].device_mesh.get_group()
    rank, size = torch.distributed.get_rank(group), torch.distributed.get_world_size(group)
    for first in range(0, len(matrices), size):
        part = matrices[first : first + size]
        full = [m.full_tensor() for m in part]  # type: ignore[attr-defined]
        if rank < len(part):
            full[rank] = work(full[rank]).contiguous()
        for owner, (m, done) in enumerate(zip(part, full, strict=True)):
            torch.distributed.broadcast(done, torch.distributed.get_global_rank(group, owner), group)
            yield sharded_like(done, m)


def load_model(model: nn.Module, state: dict[str, Tensor]) -> None:
    """Load a full state into a model, sharded or not."""
    own = model.state_dict()
    model.load_state_dict({k: sharded_like(v, own[k]) for k, v in state.items()})


def load_optimiser(optimiser: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Load a full state into an optimiser, its parameters sharded or not.

    Which kernel runs stays this process's own affair, and states take their parameters' layout: the fused kernel walks
    plain memory, and would add a row of channels to a column of another order.
    """
    kernels: list[dict[str, Any]] = [{k: g[k] for k in ("fused", "foreach") if k in g} for g in optimiser.param_groups]
    optimiser.load_state_dict(state)
    for group, kernel in zip(optimiser.param_groups, kernels, strict=True):
        group.update(kernel)
        for p in group["params"]:
            for k, v in optimiser.state[p].items():
                if isinstance(v, Tensor) and v.shape == p.shape:
                    optimiser.state[p][k] = torch.empty_like(p).copy_(sharded_like(v, p))
