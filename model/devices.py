"""Which device a world and its text encoder run on."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import TypeVar

import torch
from torch import Tensor

logger = logging.getLogger(__name__)
T = TypeVar("T")


def available() -> list[str]:
    """The kinds of device that this machine has, the fastest first."""
    mps = getattr(torch.backends, "mps", None)
    there = {"cuda": torch.cuda.is_available(), "mps": bool(mps and mps.is_available()), "cpu": True}
    return [kind for kind, here in there.items() if here]


def open_on_first(wanted: str, open_world: Callable[[str], T], works: Callable[[T], object]) -> T:
    """A world on the device `wanted`; with "auto", on the fastest device on which it works.

    A GPU can be there and still lack an operation: MPS has none for some, and a CUDA card may be older than the kernels
    of this torch. open_world: opens the world on a device. works: raises RuntimeError where a first step fails.
    """
    if wanted != "auto":
        return open_world(wanted)
    *gpus, last = available()
    for kind in gpus:
        try:
            world = open_world(kind)
            works(world)
        except RuntimeError as error:  # NotImplementedError is one, too
            logger.warning("%s cannot run this world, the next device is tried: %s", kind, error, exc_info=error)
        else:
            return world
    return open_world(last)


def computes(kind: str) -> bool:
    """Whether a device can do a sum. CUDA can be there and yet have no kernels in this torch for an older card."""
    try:
        return int((torch.zeros(1, device=kind) + 1).item()) == 1
    except RuntimeError as error:
        logger.warning("%s cannot compute with this torch, the next device is taken: %s", kind, error)
        return False


def choose_device(wanted: str) -> torch.device:
    """The device named `wanted`; "auto" takes the first that computes of CUDA, MPS and the CPU. Raises ValueError where
    the machine has no such device."""
    if wanted == "auto":
        return torch.device(next(kind for kind in available() if kind == "cpu" or computes(kind)))
    try:
        device = torch.device(wanted)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"no device {wanted!r} on this machine ({error}); try --device auto") from None
    return device


def upload(tensors: Sequence[Tensor], device: torch.device) -> list[Tensor]:
    """Copy tensors of the host to a device in one transfer, for which the program does not wait on CUDA. Those that are
    not on the CPU stay where they are.

    tensors: those on the CPU are of one type.
    """
    on_host = [tensor for tensor in tensors if tensor.device.type == "cpu"]
    if device.type == "cpu" or not on_host:
        return list(tensors)
    packed, cuda = torch.cat([tensor.flatten() for tensor in on_host]), device.type == "cuda"
    if cuda:
        packed = packed.pin_memory()  # CUDA's allocator keeps it until the copy is done
    parts = iter(packed.to(device, non_blocking=cuda).split([tensor.numel() for tensor in on_host]))
    return [next(parts).view(tensor.shape) if tensor.device.type == "cpu" else tensor for tensor in tensors]


def gpu_memory(device: torch.device) -> int:
    """Bytes of memory of a CUDA device; 0 for any other device."""
    return torch.cuda.get_device_properties(device).total_memory if device.type == "cuda" else 0


def encoder_device(world: torch.device, memory: float, needed: float) -> torch.device:
    """The device for a text encoder of several gigabytes: the world's own, except on a GPU whose `memory` (bytes) is
    less than `needed`. There it is the CPU, where a prompt takes seconds, off the frame path."""
    return torch.device("cpu") if world.type == "cuda" and memory < needed else world
