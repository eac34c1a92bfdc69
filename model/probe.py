"""The judge: a small network that reads from a picture what it shows. Trained on true stage pictures only."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F

from .stage.sample import moments
from .stage.vocabulary import ATTRIBUTES
from .train_autoencoder import CHUNK, PICTURES_SEED, pictures

WEIGHTS = Path(__file__).parent / "weights" / "probe.safetensors"
SIZE = (144, 256)
BATCH = 48


class Probe(nn.Module):
    """(n, 3, h, w) 0..1 of any size -> attribute -> (n, values) scores."""

    def __init__(self) -> None:
        super().__init__()
        widths = (3, 16, 32, 64, 96, 128)
        layers: list[nn.Module] = []
        for a, b in itertools.pairwise(widths):
            layers += [nn.Conv2d(a, b, 3, stride=2, padding=1), nn.BatchNorm2d(b), nn.ReLU()]
        self.trunk = nn.Sequential(*layers, nn.Conv2d(widths[-1], widths[-1], 3, padding=1), nn.ReLU())
        self.heads = nn.ModuleDict({k: nn.Linear(widths[-1] * 12, len(v)) for k, v in ATTRIBUTES.items()})

    def features(self, image: Tensor) -> Tensor:
        """(n, 1536): what the heads see, and what Fréchet distances are measured in."""
        small = F.interpolate(image, SIZE, mode="area")
        return F.adaptive_avg_pool2d(self.trunk(small - 0.5), (3, 4)).flatten(1)

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        f = self.features(image)
        return {k: head(f) for k, head in self.heads.items()}

    @torch.inference_mode()
    def read(self, frame: NDArray[np.uint8]) -> dict[str, str]:
        """(h, w, 3) uint8 RGB -> what it shows: {"place": "sea", "light": "night", ...}."""
        image = torch.from_numpy(np.ascontiguousarray(frame)).permute(2, 0, 1)[None].float() / 255
        return {k: ATTRIBUTES[k][int(v[0].argmax())] for k, v in self(image).items()}


def load_probe(path: Path = WEIGHTS) -> Probe:
    probe = Probe()
    probe.load_state_dict({k: v.float() if v.is_floating_point() else v for k, v in load_file(path).items()})
    return probe.eval()


def labels(count: int) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Of the cached pictures: attribute -> (count,) value, and where one value clearly rules."""
    parts = []
    for chunk in range(-(-count // CHUNK)):
        parts.append(moments(PICTURES_SEED + chunk, min(CHUNK, count - chunk * CHUNK)))
    weights = {k: torch.cat([getattr(s, k) for s in parts]) for k in ATTRIBUTES}
    return {k: w.argmax(-1) for k, w in weights.items()}, {k: w.amax(-1) > 0.8 for k, w in weights.items()}


def train(
    folder: Path, out: Path, *, steps: int, count: int, shape: tuple[int, int], workers: int = 2
) -> dict[str, float]:
    """Trains on all but the last 300 cached pictures; returns accuracy on those."""
    torch.manual_seed(0)
    data = pictures(folder, count, shape, workers)
    small = torch.cat([
        (F.interpolate(torch.from_numpy(np.array(data[i : i + 50])).float(), SIZE, mode="area") + 0.5).byte()
        for i in range(0, count, 50)
    ])  # fmt: skip
    want, sure = labels(count)
    held = min(300, count // 4)
    probe = Probe()
    opt = torch.optim.AdamW(probe.parameters(), lr=2e-3, weight_decay=0.02)
    for step in range(steps):
        pick = torch.randint(0, count - held, (BATCH,))
        tone = 0.05 * torch.randn(BATCH, 3, 1, 1) * torch.rand(BATCH, 1, 1, 1)
        x = small[pick].float() / 255 + 0.01 * torch.randn(BATCH, 3, *SIZE) + tone
        scores = probe(x)
        loss = torch.stack([
            (F.cross_entropy(scores[k], want[k][pick], reduction="none") * sure[k][pick]).mean() for k in ATTRIBUTES
        ]).sum()  # fmt: skip
        opt.param_groups[0]["lr"] = 2e-3 * (1 - step / steps) + 1e-5
        opt.zero_grad()
        loss.backward()
        opt.step()
    probe.eval()
    with torch.no_grad():
        scores = probe(small[count - held :].float() / 255)
    result = {}
    for k in ATTRIBUTES:
        ok = sure[k][count - held :]
        result[k] = float((scores[k].argmax(-1) == want[k][count - held :])[ok].float().mean())
    out.parent.mkdir(parents=True, exist_ok=True)
    save_file({k: v.half() if v.is_floating_point() else v for k, v in probe.state_dict().items()}, out)
    return result
