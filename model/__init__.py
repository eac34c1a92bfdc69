"""The world model. Usable alone: `from worldjockey.model import load; world = load("nano")`.

Importing this package does not import torch; `load` does.
"""

from __future__ import annotations

# `registry` imports the package `.worlds`, and then its function of the same name takes the attribute for good: public
# users call `worlds()`, and modules of the package are imported by their full names.
from .errors import ExtraMissing, WeightsMissing
from .registry import load, worlds
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
