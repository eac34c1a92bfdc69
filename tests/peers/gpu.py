"""A CUDA GPU for machines that have none. Whoever asks torch is told that it is there, by torch's own signatures; what
is put on it lies on the CPU, so the very branches that a GPU takes can be walked and their results looked at."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch.overrides import TorchFunctionMode

CPU = torch.device("cpu")


def _here(value: Any) -> Any:
    if isinstance(value, torch.device) and value.type == "cuda":
        return CPU
    return CPU if isinstance(value, str) and value.partition(":")[0] == "cuda" else value


class OnTheCPU(TorchFunctionMode):
    """Every torch function that names a CUDA device gets the CPU instead."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.device:  # a name stays what it is
            return func(*args, **(kwargs or {}))
        if func is torch.Tensor.pin_memory:
            return args[0]
        return func(*map(_here, args), **{k: _here(v) for k, v in (kwargs or {}).items()})


@contextlib.contextmanager
def gpu(memory: float = 80e9, name: str = "a GPU of the tests") -> Iterator[SimpleNamespace]:
    """asked: what was asked of torch.cuda, by name; compiled: (module, options) of each `Module.compile`."""
    seen = SimpleNamespace(asked=[], compiled=[])

    def compiled(module: torch.nn.Module, *args: Any, **options: Any) -> None:
        seen.compiled.append((module, options))

    with pytest.MonkeyPatch.context() as patch, OnTheCPU():
        answer_as_cuda(patch, seen.asked, memory, name)
        patch.setattr(torch.nn.Module, "compile", compiled)
        yield seen


class Event:
    """As `torch.cuda.Event`. What is recorded is over at once."""

    def __init__(self, enable_timing: bool = False, blocking: bool = False, interprocess: bool = False) -> None:
        self._at = 0.0

    def record(self, stream: Any = None) -> None:
        self._at = time.perf_counter()

    def query(self) -> bool:
        return True

    def synchronize(self) -> None:
        pass

    def elapsed_time(self, end_event: Event) -> float:
        return (end_event._at - self._at) * 1e3


def answer_as_cuda(patch: pytest.MonkeyPatch, asked: list[tuple[str, Any]], memory: float, name: str) -> None:
    """Let torch.cuda answer as on a machine with one GPU. asked: is given what was asked, and for which device."""

    def answer(what: str, value: Any = None) -> Any:
        def answered(device: Any = None) -> Any:
            asked.append((what, device))
            return value

        return answered

    properties = SimpleNamespace(name=name, total_memory=int(memory), major=9, minor=0, multi_processor_count=132)
    patch.setattr(torch.cuda, "is_available", lambda: True)
    patch.setattr(torch.cuda, "device_count", lambda: 1)
    patch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: True)
    patch.setattr(torch.cuda, "get_device_properties", answer("properties", properties))
    patch.setattr(torch.cuda, "get_device_name", answer("name", name))
    patch.setattr(torch.cuda, "synchronize", answer("synchronize"))
    patch.setattr(torch.cuda, "Event", Event)
    patch.setattr(torch.cuda, "set_device", answer("set"))
