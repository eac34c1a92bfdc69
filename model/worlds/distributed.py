"""One world on several devices under `torchrun`: the first process plays, the others repeat its calls.

A model that splits its work over `torch.distributed` (`wan.rollout`) needs every process to make the same calls. The
leader broadcasts each call as JSON and arrays before it makes the call itself; nothing is pickled. After a process has
died, all of them join a new process group: torchrun's store, which outlives them, counts the groups.
"""

from __future__ import annotations

import json
import logging
import os
import time
from dataclasses import fields
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.distributed as dist

from ..spec import Controls, Frames, Prompt, Tokens, World, WorldSpec, WorldState

if TYPE_CHECKING:
    from torch import Tensor

logger = logging.getLogger(__name__)

NO_TIMEOUT = timedelta(days=365)  # a frame may be frozen for as long as the performer likes
POLL_INTERVAL_S = 0.1  # between two looks for a new process group
_ARRAYS = ("tokens", "live")  # fields of `Controls` that are sent as arrays


def size() -> int:
    """The number of processes; 1 without `torchrun`."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def rank() -> int:
    return int(os.environ.get("RANK", "0"))


def device(asked: str) -> str:
    """The device of this process: for "auto" on CUDA, each process of a machine has its own GPU."""
    return f"cuda:{os.environ.get('LOCAL_RANK', '0')}" if asked == "auto" and torch.cuda.is_available() else asked


class Broadcast:
    """Calls from the leader to all other processes, over gloo on the CPU."""

    def __init__(self) -> None:
        """Join a process group. The leader opens a new one; the others wait for one that they have not joined yet."""
        env, me = os.environ, rank()
        store = dist.TCPStore(env["MASTER_ADDR"], int(env["MASTER_PORT"]), is_master=False, timeout=NO_TIMEOUT)
        joined = f"worldjockey/last/{me}"
        if me == 0:
            group = store.add("worldjockey/meeting", 1)
        else:
            last = store.add(joined, 0)
            while (group := store.add("worldjockey/meeting", 0)) <= last:
                time.sleep(POLL_INTERVAL_S)
            store.add(joined, group - last)
        cuda = torch.cuda.is_available()
        if cuda:
            torch.cuda.set_device(int(env.get("LOCAL_RANK", "0")))
        dist.init_process_group(
            "nccl" if cuda else "gloo", store=dist.PrefixStore(f"worldjockey/{group}", store), rank=me,
            world_size=size(), timeout=timedelta(minutes=10) if cuda else NO_TIMEOUT,
        )  # fmt: skip
        logger.info("joined process group %d as process %d of %d", group, me, size())
        self._group = dist.new_group(backend="gloo", timeout=NO_TIMEOUT)

    def send(self, name: str, arguments: dict[str, Any], arrays: dict[str, np.ndarray[Any, Any]] | None = None) -> None:
        """Send a call: its name, arguments that JSON can hold, and arrays of numbers."""
        arrays = {key: np.ascontiguousarray(a) for key, a in (arrays or {}).items()}
        shapes = {key: (str(a.dtype), a.shape) for key, a in arrays.items()}
        parts = [json.dumps([name, arguments, shapes]).encode(), *(a.tobytes() for a in arrays.values())]
        self._broadcast_tensor(torch.tensor([len(parts[0]), sum(map(len, parts[1:]))]))
        self._broadcast_tensor(torch.frombuffer(bytearray(b"".join(parts)), dtype=torch.uint8))

    def receive(self) -> tuple[str, dict[str, Any], dict[str, np.ndarray[Any, Any]]]:
        """Wait for the next call: its name, arguments and arrays. Raises RuntimeError when the leader is gone."""
        head, rest = (int(n) for n in self._broadcast_tensor(torch.zeros(2, dtype=torch.int64)))
        data = self._broadcast_tensor(torch.zeros(head + rest, dtype=torch.uint8)).numpy().tobytes()
        name, arguments, shapes = json.loads(data[:head])
        arrays, at = {}, head
        for key, (kind, shape) in shapes.items():
            count = int(np.prod(shape))
            arrays[key] = np.frombuffer(data, kind, count, at).reshape(shape)
            at += arrays[key].nbytes
        return name, arguments, arrays

    def _broadcast_tensor(self, tensor: Tensor) -> Tensor:
        dist.broadcast(tensor, 0, group=self._group)
        return tensor


class Leader:
    """The `World` of the first process. Every call that changes the world is broadcast to all processes."""

    def __init__(self, world: World, broadcast: Broadcast) -> None:
        self.world, self._broadcast = world, broadcast

    @property
    def spec(self) -> WorldSpec:
        return self.world.spec

    @property
    def timings(self) -> dict[str, float]:
        return getattr(self.world, "timings", {})

    def encode(self, prompt: Prompt) -> Tokens:
        return self.world.encode(prompt)

    def reset(self, seed: int) -> None:
        self._broadcast.send("reset", {"seed": seed})
        self.world.reset(seed)

    def step(self, controls: Controls) -> Frames:
        arguments = {f.name: getattr(controls, f.name) for f in fields(controls) if f.name not in _ARRAYS}
        arrays = {name: array for name in _ARRAYS if (array := getattr(controls, name)) is not None}
        self._broadcast.send("step", arguments, arrays)
        return self.world.step(controls)

    def set_quality(self, level: int) -> None:
        self._broadcast.send("set_quality", {"level": level})
        self.world.set_quality(level)  # type: ignore[attr-defined,unused-ignore]

    def snapshot(self) -> WorldState:
        raise NotImplementedError("a world on several devices cannot save snapshots")

    def restore(self, state: WorldState) -> None:
        raise NotImplementedError("a world on several devices cannot save snapshots")


def follow(world: World, broadcast: Broadcast) -> bool:
    """Repeat the leader's calls until it closes; True when the show is over. Raises RuntimeError when the leader is
    gone."""
    while True:
        name, arguments, arrays = broadcast.receive()
        match name:
            case "close":
                return bool(arguments["over"])
            case "step":
                arguments |= {**arrays, "sound": tuple(arguments["sound"])}
                world.step(Controls(**arguments))
            case "reset" | "set_quality":
                getattr(world, name)(**arguments)
