"""The world model. Usable alone: `from worldjockey.model import load; world = load("nano")`.

Importing this package does not import torch; `load` does.
"""

from __future__ import annotations

from .spec import ACTS, CAMERA_AXES, Controls, Prompt, Tokens, World, WorldSpec, WorldState, slerp

__all__ = [
    "ACTS",
    "CAMERA_AXES",
    "Controls",
    "Prompt",
    "Tokens",
    "World",
    "WorldSpec",
    "WorldState",
    "load",
    "slerp",
]


class WeightsMissing(FileNotFoundError):
    """A world's weights are not on this machine; the message says how to get them."""


def load(name: str = "nano", *, device: str = "auto", aspect: float | None = None) -> World:
    """Open a world by name ("nano" is embedded; "testcard" needs no weights).

    device: "auto" takes CUDA, then MPS, then CPU. aspect: width over height of what it is played for; a world that
    knows several shapes takes the nearest. Raises ValueError for an unknown name and WeightsMissing when its weights
    are not there.
    """
    if name == "testcard":
        from .testcard import TestCard

        return TestCard()
    if name == "nano":
        from .nano import Nano

        return Nano.load(device=device, aspect=aspect)
    raise ValueError(f"unknown world {name!r}: this build has 'nano' and 'testcard'")
