"""A snapshot of nano as bytes, for another process with the same weights. Safetensors only, never pickle."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from ..spec import WorldState
from ..stage.motion import Motion
from .frame_graphs import cached_layers
from .transformer import KVCache

if TYPE_CHECKING:
    from .world import Nano

NUMBERS = ("time", "x", "z", "yaw", "pitch", "zoom", "phase")  # of `Motion`


def pack(nano: Nano, state: WorldState) -> bytes:
    """About 1.4 MB, of which the KV cache is nearly all."""
    motion: Motion = state.data["motion"]
    cache: KVCache = state.data["cache"]
    tensors: dict[str, Tensor] = {
        "numbers": torch.tensor([getattr(motion, name) for name in NUMBERS], dtype=torch.float64),
        "figure": torch.from_numpy(np.array(motion.figure)),
        "seed": torch.from_numpy(np.array(motion.seed)),
        "look": torch.from_numpy(np.stack(state.data["look"])),
        "noise": state.data["noise"],
    }
    for i, layer in enumerate(cached_layers(nano.world)):
        if layer in cache.committed:
            tensors[f"{i}.k"], tensors[f"{i}.v"] = cache.committed[layer]
    return save({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()})


def unpack(nano: Nano, data: bytes) -> WorldState:
    """Raises ValueError for bytes that `pack` did not make of a world of this size."""
    try:
        tensors = load(data)
        numbers = dict(zip(NUMBERS, tensors["numbers"].tolist(), strict=True))
        motion = replace(Motion(), **numbers, figure=tensors["figure"].numpy(), seed=tensors["seed"].numpy())
        cache = KVCache()
        for i, layer in enumerate(cached_layers(nano.world)):
            if f"{i}.k" in tensors:
                cache.committed[layer] = tensors[f"{i}.k"].to(nano.device), tensors[f"{i}.v"].to(nano.device)
        look = list(tensors["look"].numpy())
        return WorldState({"motion": motion, "look": look, "noise": tensors["noise"], "cache": cache})
    except (SafetensorError, KeyError, ValueError) as error:
        raise ValueError(f"this is no state of nano: {error}") from error
