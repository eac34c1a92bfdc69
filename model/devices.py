"""Which device a world and its text encoder run on."""

from __future__ import annotations

import torch


def choose_device(wanted: str) -> torch.device:
    """The device named `wanted`; "auto" takes CUDA, then MPS, then the CPU. Raises ValueError where the machine has no
    such device."""
    if wanted == "auto":
        mps = getattr(torch.backends, "mps", None)
        return torch.device("cuda" if torch.cuda.is_available() else "mps" if mps and mps.is_available() else "cpu")
    try:
        device = torch.device(wanted)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"no device {wanted!r} on this machine ({error}); try --device auto") from None
    return device


def gpu_memory(device: torch.device) -> int:
    """Bytes of memory of a CUDA device; 0 for any other device."""
    return torch.cuda.get_device_properties(device).total_memory if device.type == "cuda" else 0


def encoder_device(world: torch.device, memory: float, needed: float) -> torch.device:
    """The device for a text encoder of several gigabytes: the world's own, except on a GPU whose `memory` (bytes) is
    less than `needed`. There it is the CPU, where a prompt takes seconds, off the frame path."""
    return torch.device("cpu") if world.type == "cuda" and memory < needed else world
