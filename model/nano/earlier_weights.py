"""Weight files of earlier versions, the shipped one among them, as the network of now has their fields and tensors.

Their network also had two memory tokens, which told it next to nothing, and was told by a number whether a scene's
seed is given, which it always is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ..stage.scene import SEED_DIM, SOUND
from .transformer import CLOCK_DIM, PHASE_DIM, POSE_DIM, PROMPT_DIM, PROMPT_TOKENS, WorldConfig
from .weight_file import fields

OLD_FIELDS = {"sheets": "texture_depth", "grain": "detail"}
OLD_MODULES = {"sheets": "textures", "grain": "detail"}
MEMORY_SIZE, MEMORY_TOKENS = "look", 2  # field that holds the numbers of a memory token, and how many there were
OF_SEED, OF_MEMORY = "others.3", ("others.5", "others.6")  # layers that embedded them as context tokens
READ_MEMORY = ("memory.body.0", "memory.body.2", "memory.read")  # layers that read a frame into one
SEED_GIVEN = PROMPT_TOKENS * PROMPT_DIM + PHASE_DIM + POSE_DIM + CLOCK_DIM + SEED_DIM  # its place in the conditioning
MEMORY = SEED_GIVEN + 1 + len(SOUND)  # the place of the first memory token there


def world_config(saved: Mapping[str, Any]) -> WorldConfig:
    """From a weight file's header, in which fields may have their old names."""
    found = {OLD_FIELDS.get(name, name): value for name, value in fields(saved).items()}
    found.pop(MEMORY_SIZE, None)
    return WorldConfig(**found)


def world_state(saved: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A `WorldModel`'s state dict. Raises LookupError for an earlier one that is not complete."""
    parts = ((name.partition("."), value) for name, value in saved.items())
    state = {f"{OLD_MODULES.get(first, first)}{dot}{rest}": value for (first, dot, rest), value in parts}
    if f"{READ_MEMORY[0]}.weight" not in state:
        return state
    numbers = MEMORY_TOKENS * state[f"{OF_MEMORY[0]}.weight"].shape[1]
    for layer in (*READ_MEMORY, *OF_MEMORY):
        del state[f"{layer}.weight"], state[f"{layer}.bias"]
    state["modality"] = state["modality"][:-MEMORY_TOKENS]
    weight = state["cond.0.weight"]
    state["cond.0.weight"] = torch.cat([weight[:, :MEMORY], weight[:, MEMORY + numbers :]], 1)
    fold_one(state, "cond.0", SEED_GIVEN)
    fold_one(state, OF_SEED, SEED_DIM)
    return state


def fold_one(state: dict[str, Tensor], layer: str, column: int) -> None:
    """Take an input that is always 1 out of a linear layer, into its bias."""
    weight = state[f"{layer}.weight"]
    state[f"{layer}.bias"] = state[f"{layer}.bias"] + weight[:, column]
    state[f"{layer}.weight"] = torch.cat([weight[:, :column], weight[:, column + 1 :]], 1)
