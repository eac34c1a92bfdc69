"""The judge: a small network that reads from a picture what it shows. Trained on true stage pictures only.

It looks twice: at the whole picture made small, for place, light, tint, mood and figure; and at the full picture with
a net of small reach, for what is fine and everywhere: rain, flakes, embers, haze.
"""

from __future__ import annotations

import itertools
from math import cos, pi
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import track
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F

from ..stage.sample import moments
from ..stage.vocabulary import ATTRIBUTES
from ..train.autoencoder import CHUNK, PICTURES_SEED, pictures

WEIGHTS = Path(__file__).parents[1] / "weights" / "probe.safetensors"
FULL, SIZE = (288, 512), (144, 256)  # what is looked at closely, and as a whole
GRID = (3, 4)  # cells in which the whole is remembered
CROP, CROPS = (96, 160), 2  # of the full picture, in training
BATCH = 32
SURE = 0.8  # a value rules a picture from this weight on
HELD = 300  # pictures kept from training


def _layer(inputs: int, outputs: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)
    )


class _Residual(nn.Module):
    """He et al. 2016."""

    def __init__(self, width: int) -> None:
        super().__init__()
        last = nn.BatchNorm2d(width)
        nn.init.zeros_(last.weight)
        self.body = nn.Sequential(_layer(width, width, 1), nn.Conv2d(width, width, 3, 1, 1, bias=False), last)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.body(x))


class Probe(nn.Module):
    """(n, 3, h, w) 0..1 of any size -> attribute -> (n, values) scores."""

    def __init__(self) -> None:
        super().__init__()
        whole, near = (3, 24, 48, 64), (3, 16, 32, 48)
        self.whole = nn.Sequential(
            *(_layer(a, b, 2) for a, b in itertools.pairwise(whole)), _Residual(64), _layer(64, 128, 2), _Residual(128)
        )
        self.near = nn.Sequential(*(_layer(a, b, 2) for a, b in itertools.pairwise(near)))
        self.width = 128 * GRID[0] * GRID[1] + near[-1]
        self.heads = nn.ModuleDict({k: nn.Linear(self.width, len(v)) for k, v in ATTRIBUTES.items()})

    def look(self, small: Tensor, close: Tensor) -> Tensor:
        """small (n, 3, *SIZE), close (n * k, 3, h, w) parts of the full picture -> (n, 1584)."""
        grid = F.adaptive_avg_pool2d(self.whole(small - 0.5), GRID).flatten(1)
        fine = self.near(close - 0.5).mean((2, 3)).unflatten(0, (len(small), -1)).mean(1)
        return torch.cat([grid, fine], 1)

    def features(self, image: Tensor) -> Tensor:
        """(n, 1584): what the heads see. It keeps where things are, so that views can be compared."""
        full = image if image.shape[-2:] == FULL else F.interpolate(image, FULL, mode="area")
        return self.look(F.interpolate(full, SIZE, mode="area"), full)

    def summary(self, features: Tensor) -> Tensor:
        """(n, 176): features without the places of things; what Fréchet distances are measured in."""
        cells = 128 * GRID[0] * GRID[1]
        return torch.cat([features[:, :cells].unflatten(1, (128, -1)).mean(-1), features[:, cells:]], 1)

    def scores(self, features: Tensor) -> dict[str, Tensor]:
        return {k: head(features) for k, head in self.heads.items()}

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        return self.scores(self.features(image))

    @torch.inference_mode()
    def read(self, frame: NDArray[np.uint8]) -> dict[str, str]:
        """(h, w, 3) uint8 RGB -> what it shows: {"place": "sea", "light": "night", ...}."""
        image = torch.from_numpy(np.ascontiguousarray(frame)).permute(2, 0, 1)[None].float() / 255
        return {k: ATTRIBUTES[k][int(v[0].argmax())] for k, v in self(image).items()}


def load_probe(path: Path = WEIGHTS) -> Probe:
    """Raises FileNotFoundError where the file is not there, ValueError where it is no judge of this version."""
    probe = Probe()
    try:
        probe.load_state_dict({k: v.float() if v.is_floating_point() else v for k, v in load_file(path).items()})
    except (RuntimeError, SafetensorError) as fault:
        raise ValueError(f"{path} is no judge of this version: train one with `wj train --stage probe`") from fault
    return probe.eval()


def labels(count: int) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Of the cached pictures: attribute -> (count,) value, and where one value clearly rules."""
    parts = []
    for chunk in range(-(-count // CHUNK)):
        parts.append(moments(PICTURES_SEED + chunk, min(CHUNK, count - chunk * CHUNK)))
    weights = {k: torch.cat([getattr(s, k) for s in parts]) for k in ATTRIBUTES}
    return {k: w.argmax(-1) for k, w in weights.items()}, {k: w.amax(-1) > SURE for k, w in weights.items()}


def _vary(images: list[Tensor], g: torch.Generator) -> list[Tensor]:
    """The same pictures mirrored, a little soft, noisy or toned: changes that leave every label true.

    images: parts of the same n pictures, (n, 3, h, w) or (n * k, 3, h, w) with a picture's k parts in a row.
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
    """Trains on all but the last cached pictures; returns accuracy on those."""
    torch.manual_seed(0)
    g = torch.Generator().manual_seed(0)
    data = pictures(folder, count, shape, workers)
    small = torch.cat([
        (F.interpolate(torch.from_numpy(np.array(data[i : i + 50])).float(), SIZE, mode="area") + 0.5).byte()
        for i in track(range(0, count, 50), "pictures for the judge", transient=True)
    ])  # fmt: skip
    want, sure = labels(count)
    held = min(HELD, count // 4)
    # A value that is rare on the stage weighs more, half way to as much as a common one.
    balance = {}
    for k, v in ATTRIBUTES.items():
        seen = torch.bincount(want[k][: count - held], minlength=len(v)).float().clamp(min=1)
        balance[k] = seen.rsqrt() / seen.rsqrt().mean()
    probe = Probe().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    opt = torch.optim.AdamW(probe.parameters(), lr=2e-3, weight_decay=0.05)
    ch, cw = min(CROP[0], shape[0]), min(CROP[1], shape[1])
    zoom = FULL[0] / shape[0]  # pictures smaller than FULL are looked at as large as the judge would see them
    for step in track(range(steps), "judge", transient=True):
        pick = torch.randint(0, count - held, (BATCH,), generator=g)
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
