"""flashdreams on any device.

NVIDIA's `flashdreams` (Apache-2.0) holds the Wan network, its caches and its decoders. Two functions of it exist on
CUDA alone: the rotary embedding (a triton kernel) and attention (cuDNN's). Elsewhere torch's own operations replace
them, and nothing else changes, so that tests on a CPU run the same code as a GPU.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from importlib.util import find_spec
from types import ModuleType
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional as F

INDUCTOR_MODE = "max-autotune-no-cudagraphs"  # the worlds capture CUDA graphs themselves
ROTARY = "flashdreams.core.attention.rope_kernel"


def rotate(x: Tensor, freqs: Tensor, interleaved: bool = False, inplace: bool = True, **tuning: Any) -> Tensor:
    """Rotary position embedding (Su et al., 2021), as flashdreams' kernel of the same signature computes it.

    x: (b, s, h, d), turned in place unless `inplace` is False. freqs: (s, 1, 1, d) angles in radians, each written
    twice: beside itself where `interleaved` (pairs 2k, 2k + 1), else half the width apart (pairs k, k + d/2).
    """
    half = x.shape[-1] // 2
    angle = freqs[:, 0].float()
    angle = angle[..., ::2] if interleaved else angle[..., :half]
    cos, sin = angle.cos().to(x.dtype), angle.sin().to(x.dtype)
    a, b = (x[..., ::2], x[..., 1::2]) if interleaved else (x[..., :half], x[..., half:])
    turned = a * cos - b * sin, b * cos + a * sin
    out = x if inplace else torch.empty_like(x)
    first, second = (out[..., ::2], out[..., 1::2]) if interleaved else (out[..., :half], out[..., half:])
    first.copy_(turned[0])
    second.copy_(turned[1])
    return out


def attend(query: Tensor, key: Tensor, value: Tensor, return_lse: bool = False) -> tuple[Tensor, Tensor | None]:
    """Attention, (b, h, s, d) each, and on request the logarithm of the sum of exponentials (b, h, s, 1), with which
    processes that each hold a part of the keys combine their results (on a CPU only)."""
    if not return_lse:
        return F.scaled_dot_product_attention(query, key, value), None
    out, lse = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(query, key, value)
    return out, lse.unsqueeze(-1)


def kernels(device: str, fused: tuple[Callable[..., Any], Callable[..., Any]]) -> tuple[Callable[..., Any], ...]:
    """(rotary, attention) for a kind of device: the `fused` ones on "cuda", torch's on any other."""
    return fused if device == "cuda" else (rotate, attend)


_fused: list[tuple[Callable[..., Any], Callable[..., Any]]] = []


def find_flashdreams() -> None:
    """Make flashdreams importable on this machine. Raises ModuleNotFoundError, with the fix, where it is missing."""
    if find_spec("flashdreams") is None:
        raise ModuleNotFoundError("the Wan worlds run on flashdreams: pip install 'worldjockey[wan]'")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")  # it warns of image processors that nobody uses here
    if find_spec("triton") is None and ROTARY not in sys.modules:
        stand_in = ModuleType(ROTARY)
        stand_in.__dict__["apply_rotary_pos_emb"] = rotate
        sys.modules[ROTARY] = stand_in


def fit_flashdreams(device: str) -> None:
    """Choose flashdreams' kernels for the kind of device of a world's network ("cuda", "cpu", "mps"), for the whole
    process.

    Raises ModuleNotFoundError, with the fix, where flashdreams is missing, or triton on CUDA.
    """
    find_flashdreams()
    if device == "cuda" and find_spec("triton") is None:
        raise ModuleNotFoundError("on CUDA flashdreams needs triton: pip install triton (Windows: triton-windows)")
    from flashdreams.core.attention import cp, rope

    if not _fused:
        _fused.append((rope.apply_rotary_pos_emb, cp.torch_sdpa_cudnn))
    rotary, attention = kernels(device, _fused[0])
    rope.__dict__["apply_rotary_pos_emb"] = rotary
    cp.__dict__["torch_sdpa_cudnn"] = attention


def arithmetic(device: torch.device) -> torch.dtype:
    """What the network and its decoder compute in."""
    return torch.bfloat16 if device.type == "cuda" else torch.float32


Compiler: TypeAlias = "str | Callable[..., Any] | None"  # torch.compile's backend; None compiles nothing


def compile_in_place(module: nn.Module, compiler: Compiler) -> None:
    """Let torch compile a module at its first call."""
    if compiler is not None:
        module.compile(backend=compiler, **({"mode": INDUCTOR_MODE} if compiler == "inductor" else {}))


def uncompile(module: nn.Module) -> None:
    """Run a module and all its parts as they are from now on."""
    for part in module.modules():
        part._compiled_call_impl = None
