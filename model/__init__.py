"""The world model. Usable alone: `from worldjockey.model import load; world = load("nano")`.

Importing this package does not import torch; `load` does.
"""

from __future__ import annotations

from .registry import ExtraMissing, WeightsMissing, load, worlds
from .spec import ACTS, CAMERA_AXES, Controls, Prompt, Tokens, World, WorldSpec, WorldState, slerp

__all__ = [
    "ACTS",
    "CAMERA_AXES",
    "Controls",
    "ExtraMissing",
    "Prompt",
    "Tokens",
    "WeightsMissing",
    "World",
    "WorldSpec",
    "WorldState",
    "load",
    "slerp",
    "worlds",
]
