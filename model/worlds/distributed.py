"""One world on several devices under `torchrun`: the first process plays, the others make the same calls.

A model that shares its work out over `torch.distributed` (`wan_rollout`) needs every process to call it alike. The
leader sends each call as JSON and numbers before it makes it; nothing is pickled. The processes meet again after one of
them died: torchrun's own store, which outlives them, counts the meetings.
"""

from __future__ import annotations

import json
import os
import time
from dataclasses import fields
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.distributed as dist

from ..spec import Controls, Prompt, Tokens, World, WorldSpec, WorldState

if TYPE_CHECKING:
    from torch import Tensor

FOR_EVER = timedelta(days=365)  # a picture may be frozen for as long as the performer likes
_ARRAYS = ("tokens", "live")


def size() -> int:
    """Processes of the team; 1 where there is none."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def rank() -> int:
    return int(os.environ.get("RANK", "0"))


def device(asked: str) -> str:
    """Each process of a machine has a graphics card of its own."""
    return f"cuda:{os.environ.get('LOCAL_RANK', '0')}" if asked == "auto" and torch.cuda.is_available() else asked


class Wire:
    """Calls from the leader to all others, by gloo on the CPU."""

    def __init__(self) -> None:
        """Meet. The leader opens a new meeting, the others wait for one that they were not at."""
        env, me = os.environ, rank()
        store = dist.TCPStore(env["MASTER_ADDR"], int(env["MASTER_PORT"]), is_master=False, timeout=FOR_EVER)
        last = f"worldjockey/last/{me}"
        if me == 0:
            meeting = store.add("worldjockey/meeting", 1)
        else:
            been = store.add(last, 0)
            while (meeting := store.add("worldjockey/meeting", 0)) <= been:
                time.sleep(0.1)
            store.add(last, meeting - been)
        cuda = torch.cuda.is_available()
        if cuda:
            torch.cuda.set_device(int(env.get("LOCAL_RANK", "0")))
        dist.init_process_group(
            "nccl" if cuda else "gloo", store=dist.PrefixStore(f"worldjockey/{meeting}", store), rank=me,
            world_size=size(), timeout=timedelta(minutes=10) if cuda else FOR_EVER,
        )  # fmt: skip
        self._group = dist.new_group(backend="gloo", timeout=FOR_EVER)

    def send(self, name: str, said: dict[str, Any], arrays: dict[str, np.ndarray[Any, Any]] | None = None) -> None:
        arrays = {key: np.ascontiguousarray(a) for key, a in (arrays or {}).items()}
        shapes = {key: (str(a.dtype), a.shape) for key, a in arrays.items()}
        parts = [json.dumps([name, said, shapes]).encode(), *(a.tobytes() for a in arrays.values())]
        self._share(torch.tensor([len(parts[0]), sum(map(len, parts[1:]))]))
        self._share(torch.frombuffer(bytearray(b"".join(parts)), dtype=torch.uint8))

    def receive(self) -> tuple[str, dict[str, Any], dict[str, np.ndarray[Any, Any]]]:
        head, rest = (int(n) for n in self._share(torch.zeros(2, dtype=torch.int64)))
        data = self._share(torch.zeros(head + rest, dtype=torch.uint8)).numpy().tobytes()
        name, said, shapes = json.loads(data[:head])
        arrays, at = {}, head
        for key, (kind, shape) in shapes.items():
            count = int(np.prod(shape))
            arrays[key] = np.frombuffer(data, kind, count, at).reshape(shape)
            at += arrays[key].nbytes
        return name, said, arrays

    def _share(self, tensor: Tensor) -> Tensor:
        dist.broadcast(tensor, 0, group=self._group)
        return tensor


class Leader:
    """The `World` of the first process: every call that moves it is made by all."""

    def __init__(self, world: World, wire: Wire) -> None:
        self.world, self._wire = world, wire

    @property
    def spec(self) -> WorldSpec:
        return self.world.spec

    @property
    def timings(self) -> dict[str, float]:
        return getattr(self.world, "timings", {})

    def encode(self, prompt: Prompt) -> Tokens:
        return self.world.encode(prompt)

    def reset(self, seed: int) -> None:
        self._wire.send("reset", {"seed": seed})
        self.world.reset(seed)

    def step(self, controls: Controls) -> Tensor:
        said = {f.name: getattr(controls, f.name) for f in fields(controls) if f.name not in _ARRAYS}
        arrays = {name: array for name in _ARRAYS if (array := getattr(controls, name)) is not None}
        self._wire.send("step", said, arrays)
        return self.world.step(controls)

    def set_quality(self, level: int) -> None:
        self._wire.send("set_quality", {"level": level})
        self.world.set_quality(level)  # type: ignore[attr-defined,unused-ignore]

    def snapshot(self) -> WorldState:
        raise NotImplementedError("a world that is shared out keeps no looks")

    def restore(self, state: WorldState) -> None:
        raise NotImplementedError("a world that is shared out keeps no looks")


def follow(world: World, wire: Wire) -> bool:
    """Make the leader's calls until it closes; whether the show is over. Raises RuntimeError when it is gone."""
    while True:
        name, said, arrays = wire.receive()
        match name:
            case "close":
                return bool(said["over"])
            case "step":
                said |= {**arrays, "sound": tuple(said["sound"])}
                world.step(Controls(**said))
            case "reset" | "set_quality":
                getattr(world, name)(**said)
