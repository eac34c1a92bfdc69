"""Trains the probe on true frames of the stage."""

from __future__ import annotations

from math import cos, pi
from pathlib import Path

import numpy as np
import torch
from rich.progress import track
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional as F

from ..evaluate.probe import FULL, SIZE, Probe
from ..stage.sample import moments
from ..stage.vocabulary import ATTRIBUTES
from .autoencoder import CHUNK_FRAMES, IMAGES_SEED, stage_images

CROP, CROPS = (96, 160), 2  # of the full image, in training
BATCH_IMAGES = 32
LABEL_WEIGHT_MIN = 0.8  # a value counts as an image's label from this weight on
HELD_OUT_IMAGES = 300  # images kept from training


def labels(count: int) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Of the cached images: attribute -> (count,) value, and where one value clearly rules."""
    parts = []
    for chunk in range(-(-count // CHUNK_FRAMES)):
        parts.append(moments(IMAGES_SEED + chunk, min(CHUNK_FRAMES, count - chunk * CHUNK_FRAMES)))
    weights = {k: torch.cat([getattr(s, k) for s in parts]) for k in ATTRIBUTES}
    return {k: w.argmax(-1) for k, w in weights.items()}, {k: w.amax(-1) > LABEL_WEIGHT_MIN for k, w in weights.items()}


def _vary(images: list[Tensor], g: torch.Generator) -> list[Tensor]:
    """The same images mirrored, a little blurred, noisy or toned: changes that leave every label true.

    images: parts of the same n images, (n, 3, h, w) or (n * k, 3, h, w) with an image's k parts in a row.
    """
    n = len(images[0])
    mirror = torch.rand(n, generator=g) < 0.5
    soft = torch.rand(n, 1, 1, 1, generator=g) * (torch.rand(n, 1, 1, 1, generator=g) < 0.5)  # as a decoder leaves it
    tone = 1 + 0.03 * torch.randn(n, 3, 1, 1, generator=g)
    lift = 0.01 * torch.randn(n, 3, 1, 1, generator=g)
    out = []
    for x in images:
        k = len(x) // n
        each = [v.repeat_interleave(k, 0) for v in (mirror, soft, tone, lift)]
        x = torch.where(each[0][:, None, None, None], x.flip(-1), x)
        x = torch.lerp(x, F.avg_pool2d(F.pad(x, (1, 1, 1, 1), mode="replicate"), 3, 1), each[1])
        out.append(x * each[2] + each[3] + 0.01 * torch.randn(x.shape, generator=g))
    return out


def train(
    folder: Path, out: Path, *, steps: int, count: int, shape: tuple[int, int], workers: int = 2
) -> dict[str, float]:
    """Trains on all but the last cached images; returns accuracy on those."""
    torch.manual_seed(0)
    g = torch.Generator().manual_seed(0)
    data = stage_images(folder, count, shape, workers)
    small = torch.cat([
        (F.interpolate(torch.from_numpy(np.array(data[i : i + 50])).float(), SIZE, mode="area") + 0.5).byte()
        for i in track(range(0, count, 50), "images for the judge", transient=True)
    ])  # fmt: skip
    want, sure = labels(count)
    held = min(HELD_OUT_IMAGES, count // 4)
    # A value that is rare on the stage weighs more, half way to as much as a common one.
    balance = {}
    for k, v in ATTRIBUTES.items():
        seen = torch.bincount(want[k][: count - held], minlength=len(v)).float().clamp(min=1)
        balance[k] = seen.rsqrt() / seen.rsqrt().mean()
    probe = Probe().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    opt = torch.optim.AdamW(probe.parameters(), lr=2e-3, weight_decay=0.05)
    ch, cw = min(CROP[0], shape[0]), min(CROP[1], shape[1])
    zoom = FULL[0] / shape[0]  # images smaller than FULL are looked at as large as the judge would see them
    for step in track(range(steps), "judge", transient=True):
        pick = torch.randint(0, count - held, (BATCH_IMAGES,), generator=g)
        near = []
        for i in pick.tolist():
            for _ in range(CROPS):
                y = int(torch.randint(0, shape[0] - ch + 1, (1,), generator=g))
                x = int(torch.randint(0, shape[1] - cw + 1, (1,), generator=g))
                near.append(np.array(data[i, :, y : y + ch, x : x + cw]))
        close = torch.from_numpy(np.stack(near)).float() / 255
        if zoom != 1:
            close = F.interpolate(close, scale_factor=zoom, mode="area")
        views = _vary([small[pick].float() / 255, close], g)
        views = [v.contiguous(memory_format=torch.channels_last) for v in views]
        scores = probe.scores(F.dropout(probe.look(*views), 0.1))
        loss = torch.stack([
            (F.cross_entropy(scores[k], want[k][pick], balance[k], reduction="none", label_smoothing=0.03)
             * sure[k][pick]).mean() for k in ATTRIBUTES
        ]).sum()  # fmt: skip
        warm = min(1.0, (step + 1) / 50)
        opt.param_groups[0]["lr"] = 2e-3 * warm * max(0.01, 0.5 * (1 + cos(pi * step / steps)))
        opt.zero_grad()
        loss.backward()
        opt.step()
        if step % 200 == 199:
            print(f"judge {step + 1}/{steps} loss {float(loss.detach()):.3f}", flush=True)
    probe.eval()
    right = dict.fromkeys(ATTRIBUTES, 0.0)
    with torch.inference_mode():
        for i in range(count - held, count, 25):
            scores = probe(torch.from_numpy(np.array(data[i : min(i + 25, count)])).float() / 255)
            for k in ATTRIBUTES:
                at = slice(i, min(i + 25, count))
                right[k] += float(((scores[k].argmax(-1) == want[k][at]) & sure[k][at]).sum())
    out.parent.mkdir(parents=True, exist_ok=True)
    save_file({k: v.half().contiguous() if v.is_floating_point() else v for k, v in probe.state_dict().items()}, out)
    return {k: right[k] / max(int(sure[k][count - held :].sum()), 1) for k in ATTRIBUTES}
