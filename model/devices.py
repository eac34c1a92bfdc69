"""Where a big world's text encoder runs."""

from __future__ import annotations

import torch


def encoder_device(world: torch.device, memory: float, room: float) -> torch.device:
    """Beside the world on a GPU with so many bytes of memory where they are at least `room`, else on the CPU (seconds a
    prompt there, off the frame path)."""
    return torch.device("cpu") if world.type == "cuda" and memory < room else world
