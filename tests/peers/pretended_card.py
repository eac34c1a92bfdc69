"""A CUDA GPU for machines that have none, whose tensors say that they are on cuda:0.

It finds what `gpu.py`, whose tensors say that they are on the CPU, cannot show: operations that mix tensors of two
devices, which fail as they do on CUDA, and the places where the program waits for the device or sends something to it,
which are counted with the line of our code.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from traceback import walk_stack
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from gpu import answer_as_cuda
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves, tree_map

CPU, CUDA = torch.device("cpu"), torch.device("cuda", 0)
ROOT = Path(__file__).parents[2]
OURS = tuple(f"{ROOT / folder}/" for folder in ("model", "node", "integrations"))
# Functions of Python that wait, and operators that do.
ASKING = {Tensor.__bool__, Tensor.__float__, Tensor.__int__, Tensor.item, Tensor.tolist, Tensor.nonzero, torch.nonzero}
WAITING = {"_local_scalar_dense", "equal", "nonzero", "masked_select", "repeat_interleave", "_unique", "_unique2"}
WAITING |= {"unique_dim", "unique_consecutive", "unique_dim_consecutive"}
SENDING = {torch.tensor, torch.as_tensor, torch.asarray}  # other factories make their values on the device
WHOLE = {"new_zeros", "new_ones", "new_full", "new_empty", "zeros_like", "ones_like", "full_like", "one_hot"}


@dataclass
class Card:
    """waits, uploads: where the program did so, "operation at file:line". kernels: operations that ran on the card."""

    waits: list[str] = field(default_factory=list)
    uploads: list[str] = field(default_factory=list)
    kernels: int = 0

    def clear(self) -> None:
        self.waits, self.uploads, self.kernels = [], [], 0

    def copied(self, source: Tensor, target: torch.device, waits: bool) -> None:
        if target.type == "cuda" and source.device.type == "cpu":
            self.uploads.append(at(f"upload of {tuple(source.shape)}"))
        if waits:
            self.waits.append(at(f"blocking copy to {target.type}"))


counted = Card()


def at(operation: object) -> str:
    """The operation, and the innermost line of our own code, or else of a test, that asked for it."""
    stack = [(frame.f_code.co_filename, line) for frame, line in walk_stack(None)]
    for folders in (OURS, f"{ROOT}/tests/"):
        for name, line in stack:
            if name.startswith(folders) and name != __file__:
                return f"{operation} at {Path(name).relative_to(ROOT)}:{line}"
    return f"{operation}"


class CardTensor(Tensor):
    """A tensor that says it is on cuda:0. inner: the same on the CPU."""

    inner: Tensor
    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]

    @staticmethod
    def __new__(cls, inner: Tensor) -> CardTensor:
        card: CardTensor = Tensor._make_wrapper_subclass(
            cls, inner.shape, strides=inner.stride(), storage_offset=inner.storage_offset(), dtype=inner.dtype,
            layout=inner.layout, device=CUDA, requires_grad=inner.requires_grad,
        )  # fmt: skip
        card.inner = inner.detach()
        return card

    def __repr__(self, **_: Any) -> str:  # type: ignore[override]
        return f"CardTensor({tuple(self.shape)}, {self.dtype})"

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = func.overloadpacket.__name__
        if name == "_fused_sdp_choice":
            return 0  # attention by plain operations: the fused ones of CUDA bear other names than the CPU's
        if name not in WAITING | WHOLE and not func.py_kernels and func._can_decompose():  # into what CUDA would run
            return func.decompose(*args, **kwargs)
        if name in ("copy_", "_to_copy"):
            source, target = (args[1], args[0].device) if name == "copy_" else (args[0], kwargs.get("device") or CUDA)
            if target.type != source.device.type:
                counted.copied(source, target, not (args[2:] and args[2]) and not kwargs.get("non_blocking"))
                out = func(*tree_map(lowered, args), **tree_map(lowered, kwargs))
                return args[0] if name == "copy_" else out if target == CPU else CardTensor(out)
        else:
            refuse_mixed(name, args, kwargs)
        if name in WAITING:
            counted.waits.append(at(name))
        return run(func, args, kwargs)


def refuse_mixed(name: str, args: Any, kwargs: Any) -> None:
    for t in tree_leaves((args, kwargs)):
        if isinstance(t, Tensor) and not isinstance(t, CardTensor) and t.dim():
            raise RuntimeError(at(f"all tensors should be on cuda:0, {tuple(t.shape)} is on the CPU: {name}"))


def run(func: Any, args: Any, kwargs: Any) -> Any:
    """func on the tensors beneath; what it writes in place stays the tensor that it was."""
    counted.kernels += 1
    given = {id(t.inner): t for t in tree_leaves((args, kwargs)) if isinstance(t, CardTensor)}
    out = func(*tree_map(lowered, args), **tree_map(lowered, kwargs))
    return tree_map(lambda t: given[id(t)] if id(t) in given else lifted(t), out)


def lowered(value: Any) -> Any:
    if isinstance(value, CardTensor):
        return value.inner
    return CPU if is_cuda(value) else value


def lifted(value: Any) -> Any:
    return CardTensor(value) if isinstance(value, Tensor) and not isinstance(value, CardTensor) else value


def is_cuda(value: Any) -> bool:
    return str(value).startswith("cuda") if isinstance(value, str | torch.device) else False


class OnTheCard(TorchFunctionMode):
    """Functions that would look for CUDA before any of them is dispatched."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        first = args[0] if args else None
        if func is torch.device:
            return func(*args, **kwargs)
        if func is Tensor.pin_memory:
            return first
        if func in (Tensor.to, Tensor.cpu, Tensor.cuda):
            return moved(func, first, args[1:], kwargs)
        if isinstance(first, CardTensor):
            if func in (Tensor.__getitem__, Tensor.__setitem__):
                return indexed(func, args)
            if func in ASKING:
                counted.waits.append(at(func.__name__))
            # Between two numbers torch makes tensors on the card.
            numbers = func is torch.where and not any(isinstance(arg, Tensor) for arg in args[1:])
            if func in ASKING or func is Tensor.contiguous or numbers:
                return run(func, args, kwargs)
            func = torch.ops.aten.copy_ if func is Tensor.copy_ else func  # the method looks for CUDA
            return func(*args, **{k: v for k, v in kwargs.items() if k != "device" or not is_cuda(v)})
        if not is_cuda(kwargs.get("device")):
            return func(*args, **kwargs)
        made = func(*args, **{**kwargs, "device": CPU})
        if func in SENDING:
            counted.copied(made, CUDA, waits=True)
        return lifted(made)


def moved(func: Any, tensor: Tensor, args: Any, kwargs: Any) -> Tensor:
    """`to`, `cpu` and `cuda`."""
    copy = kwargs.pop("copy", False)
    device, dtype, non_blocking, form = torch._C._nn._parse_to(*args, **kwargs)  # type: ignore[attr-defined]
    device = {Tensor.cpu: CPU, Tensor.cuda: CUDA}.get(func, device or tensor.device)
    across = device.type != tensor.device.type
    form = {"dtype": dtype, "copy": copy or across, "memory_format": form or torch.preserve_format}
    if device.type == "cuda" and not across:
        return run(Tensor.to, (tensor, CPU), form)
    counted.copied(tensor, device, across and not non_blocking)
    made = lowered(tensor).to(CPU, **form)
    return CardTensor(made) if device.type == "cuda" else made


def indexed(func: Any, args: Any) -> Any:
    """`tensor[index]` and `tensor[index] = value`. A list is sent to the device, a mask waits for what it selects."""
    for index in args[1] if isinstance(args[1], tuple) else (args[1],):
        if isinstance(index, list) or (isinstance(index, Tensor) and not isinstance(index, CardTensor) and index.dim()):
            counted.copied(torch.as_tensor(index), CUDA, waits=True)
        if isinstance(index, Tensor) and index.dtype in (torch.bool, torch.uint8):
            counted.waits.append(at("mask"))
    refuse_mixed("setitem", args[2:], {})
    return run(func, args, {})


@contextlib.contextmanager
def pretended_card(memory: float = 80e9, name: str = "a GPU of the tests") -> Iterator[Card]:
    """What happens within is counted."""
    stream = SimpleNamespace(synchronize=lambda: counted.waits.append(at("synchronize")), cuda_stream=7)
    with pytest.MonkeyPatch.context() as patch, OnTheCard():
        answer_as_cuda(patch, [], memory, name)
        patch.setattr(torch.__future__, "_swap_module_params_on_conversion", True)  # `Module.to` would lose the class
        for name in ("__enter__", "__exit__"):  # a tensor cannot be wrapped within inference mode
            patch.setattr(torch.inference_mode, name, getattr(torch.no_grad, name))
        patch.setattr(torch.cuda, "synchronize", lambda device=None: stream.synchronize())
        patch.setattr(torch.cuda, "current_stream", lambda device=None: stream)
        counted.clear()
        yield counted
