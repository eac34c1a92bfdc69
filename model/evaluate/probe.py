"""The judge: a small classifier of images, trained on true stage images only.

It has two paths: one over a small version of the image, for place, light, tint, mood and figure, and one with a small
receptive field over the full image, for what is fine and everywhere: rain, flakes, embers, haze.
"""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

from ..stage.vocabulary import ATTRIBUTES

WEIGHTS = Path(__file__).parents[1] / "weights" / "probe.safetensors"
FULL, SIZE = (288, 512), (144, 256)  # what is looked at closely, and as a whole
GRID_CELLS = (3, 4)  # cells in which the whole is remembered


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
        self.width = 128 * GRID_CELLS[0] * GRID_CELLS[1] + near[-1]
        self.heads = nn.ModuleDict({k: nn.Linear(self.width, len(v)) for k, v in ATTRIBUTES.items()})

    def look(self, small: Tensor, close: Tensor) -> Tensor:
        """small (n, 3, *SIZE), close (n * k, 3, h, w) parts of the full image -> (n, 1584)."""
        grid = F.adaptive_avg_pool2d(self.whole(small - 0.5), GRID_CELLS).flatten(1)
        fine = self.near(close - 0.5).mean((2, 3)).unflatten(0, (len(small), -1)).mean(1)
        return torch.cat([grid, fine], 1)

    def features(self, image: Tensor) -> Tensor:
        """(n, 1584): the input of the heads. It keeps positions, so that views can be compared."""
        full = image if image.shape[-2:] == FULL else F.interpolate(image, FULL, mode="area")
        return self.look(F.interpolate(full, SIZE, mode="area"), full)

    def summary(self, features: Tensor) -> Tensor:
        """(n, 176): features without positions, in which Fréchet distances are measured."""
        cells = 128 * GRID_CELLS[0] * GRID_CELLS[1]
        return torch.cat([features[:, :cells].unflatten(1, (128, -1)).mean(-1), features[:, cells:]], 1)

    def scores(self, features: Tensor) -> dict[str, Tensor]:
        return {k: head(features) for k, head in self.heads.items()}

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        return self.scores(self.features(image))

    @torch.inference_mode()
    def read(self, frame: NDArray[np.uint8]) -> dict[str, str]:
        """(h, w, 3) uint8 RGB -> its labels: {"place": "sea", "light": "night", ...}."""
        image = torch.from_numpy(np.ascontiguousarray(frame)).permute(2, 0, 1)[None].float() / 255
        return {k: ATTRIBUTES[k][int(v[0].argmax())] for k, v in self(image).items()}


def load_probe(path: Path = WEIGHTS) -> Probe:
    """Raises FileNotFoundError for a missing file, ValueError for weights of another version."""
    probe = Probe()
    try:
        probe.load_state_dict({k: v.float() if v.is_floating_point() else v for k, v in load_file(path).items()})
    except (RuntimeError, SafetensorError) as error:
        raise ValueError(f"{path} is not a judge of this version: train one with `wj train --stage probe`") from error
    return probe.eval()
