"""The textures that one scene shows, selected and mixed on the host, so that reading them is a static graph.

All values of a texture are read at the same coordinates, and bilinear reading is linear: what several values show is
read from their weighted sum at once. Only near planes, whose opacity is no linear function, are read one by one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TypeAlias

import torch
from torch import Tensor, nn

from ..stage.figure import skeleton
from ..stage.geometry import DEPTH_PLANES, MOTES, SPIRALS, Rays, first_content
from ..stage.scene import Scene
from ..stage.vocabulary import FIGURES, PLACES, SCENES
from .guided_decoder import FineTextures
from .neural_textures import (
    GROUNDED_PLACES,
    WEIGHT_MIN,
    NeuralTextures,
    Reader,
    Texture,
    falling,
    pooled,
    sample,
    wrapped,
)

MIXED = ("panorama", "ground", "far_ground", "path", "clouds", "sun", "skin")  # textures whose values are mixed
LAYERS = 2  # of spirals, and of drops
Ways: TypeAlias = Mapping[str, Sequence[tuple[float, float]]]
WAY = "_way"  # behind a layer's name: the two numbers by which it moves (`SPIRALS`, `MOTES`)


@dataclass(frozen=True)
class Selected:
    """Values of one texture, called as the `Texture` is. table: (k, channels, rows, columns), `wrapped`. weights: (k,)
    of each value; None for a single table that was mixed by its weights."""

    table: Tensor
    wrap_rows: bool
    weights: Tensor | None = None

    def __call__(self, weights: Tensor, u: Tensor, v: Tensor, level: int = 0) -> Tensor:
        k = len(self.table)
        covers = self.weights is not None
        read = sample(self.table, u.expand(k, -1, -1), v.expand(k, -1, -1), self.wrap_rows, covers)
        return read if self.weights is None else (read * self.weights[:, None, None, None]).sum(0, keepdim=True)


@dataclass(frozen=True)
class SelectedPlanes:
    """The near planes, called as their `Texture` is: for each level the values that are shown there."""

    levels: Sequence[Selected]

    def __call__(self, weights: Tensor, u: Tensor, v: Tensor, level: int = 0) -> Tensor:
        return self.levels[level](weights, u, v)


class Selection:
    """The textures that a single scene shows, of the tensors that `Selector.select` returned: those of a
    `NeuralTextures`, or of a `FineTextures`, which has fewer.

    first: (1, 1) content of the nearest plane. ends: (1, bones, 4) of the figure's skeleton.
    """

    panorama: Reader
    ground: Reader
    far_ground: Reader
    path: Reader
    clouds: Reader
    sun: Reader
    skin: Reader
    planes: Reader

    def __init__(self, tensors: dict[str, Tensor], wrap_rows: Mapping[str, bool]) -> None:
        self._tensors = tensors
        for name, wraps in wrap_rows.items():
            setattr(self, name, Selected(tensors[name], wraps))
        weights = tensors["plane_weights"]
        self.planes = SelectedPlanes([Selected(tensors[f"plane_{i}"], False, weights) for i in range(DEPTH_PLANES)])
        self.first, self.ends = tensors["first"], tensors["ends"]

    def layers(self, r: Rays) -> list[Tensor]:
        """Readings of the first and second spiral, and of the first and second layer of drops."""
        out: list[Tensor] = []
        for kind in ("spiral", "mote"):
            for layer in range(LAYERS):
                slots = [name for name in self._tensors if name.startswith(f"{kind}_{layer}_") and WAY not in name]
                read = None
                for name in slots:
                    way = self._tensors[name + WAY]
                    u, v = r.spiral(way[0], way[1])[:2] if kind == "spiral" else r.falling(way[0], way[1])
                    here = sample(self._tensors[name], u, v, wrap_rows=True, covers=False)
                    read = here if read is None else read + here
                assert read is not None
                out.append(read)
        return out


def shared(texture: Texture) -> Tensor:
    """The texture's table, `wrapped`. The texture's own becomes the middle of it, so that memory holds it once."""
    whole = wrapped(texture.table.detach(), texture.wrap_rows)
    rows = slice(1, -1) if texture.wrap_rows else slice(None)
    texture.table.data = whole[..., rows, 1:-1]
    return whole


class Selector:
    """Selects what a scene shows: on the host, of textures that lie on the textures' device."""

    def __init__(self, textures: NeuralTextures | FineTextures) -> None:
        mixed: dict[str, Texture] = {name: getattr(textures, name) for name in MIXED if hasattr(textures, name)}
        self.wrap_rows = {name: texture.wrap_rows for name, texture in mixed.items()}
        with torch.no_grad():
            self._tables = {name: shared(texture) for name, texture in mixed.items()}
            planes = textures.planes.table.detach()
            self._planes = [wrapped(pooled(planes, level), False) for level in range(DEPTH_PLANES)]
            self._layered: dict[tuple[str, int], Tensor] = {}
            for kind, layers in chain(textures.spirals.items(), textures.motes.items()):
                assert isinstance(layers, nn.ModuleList)
                for layer, texture in enumerate(layers):
                    assert isinstance(texture, Texture)
                    self._layered[kind, layer] = shared(texture)
        self._mixed: dict[str, tuple[Sequence[float], Tensor]] = {}

    @staticmethod
    def slots(s: Scene) -> int:
        """How many slots one scene needs, on the CPU: the most places, or kinds of spirals or drops in one layer, that
        are shown at once; at least 1."""
        scenes = _shown(s.place[0, : len(SCENES)].tolist())
        kinds = [len(_shown_kinds(ways, shares, layer)) for _, ways, shares in _layers(s) for layer in range(LAYERS)]
        return max(len(scenes), *kinds, 1)

    def select(self, s: Scene, slots: int) -> dict[str, Tensor]:
        """s: one scene, on the CPU. slots: at least as many as `slots(s)`. The tensors by name, whose shapes depend on
        `slots` alone: textures on their device, small numbers on the CPU."""
        place = s.place[0].tolist()
        grounded = [place[i] for i in GROUNDED_PLACES]
        weights = {
            **dict.fromkeys(("panorama", "ground", "far_ground", "path"), grounded), "clouds": [sum(grounded)],
            "sun": s.light[0].tolist(), "skin": [1 - float(s.figure[0, FIGURES.index("none")])],
        }  # fmt: skip
        out = {name: self._mix(name, table, weights[name]) for name, table in self._tables.items()}
        out["first"], out["ends"] = first_content(s), skeleton(s.figure, s.phase)[0]
        shown = _shown(place[: len(SCENES)])
        rows = (shown + [0] * slots)[:slots]
        out["plane_weights"] = torch.tensor([place[i] for i in shown] + [0.0] * (slots - len(shown)))
        for level, table in enumerate(self._planes):
            content = (level + int(out["first"])) % DEPTH_PLANES
            each = [table[i : i + 1] for i in (row * DEPTH_PLANES + content for row in rows)]
            out[f"plane_{level}"] = torch.cat(each) if slots > 1 else each[0]
        for name, ways, shares in _layers(s):
            for layer in range(LAYERS):
                kinds = _shown_kinds(ways, shares, layer)
                some = next(k for k in ways if len(ways[k]) > layer)
                for slot in range(slots):
                    k, share = (kinds[slot], shares[kinds[slot]]) if slot < len(kinds) else (some, 0.0)
                    key = f"{name}_{layer}_{slot}"
                    out[key] = self._mix(f"{key}_{k}", self._layered[k, layer], [share])
                    out[key + WAY] = torch.tensor(ways[k][layer], dtype=torch.float32)
        return out

    def _mix(self, name: str, table: Tensor, weights: Sequence[float]) -> Tensor:
        """(1, channels, rows, columns): a texture's values summed by weight, kept as long as these stay the same."""
        kept = self._mixed.get(name)
        if kept is not None and kept[0] == weights:
            return kept[1]
        # By numbers rather than a tensor of weights, which would have to be sent to the device.
        first, *others = _shown(weights) or [0]
        mixed = table[first : first + 1]
        if weights[first] != 1.0 or others:
            mixed = mixed * weights[first]
        for i in others:
            mixed = torch.add(mixed, table[i : i + 1], alpha=weights[i])
        self._mixed[name] = (weights, mixed)
        return mixed


def _shown(weights: Sequence[float]) -> list[int]:
    return [i for i, w in enumerate(weights) if w > WEIGHT_MIN]


def _layers(s: Scene) -> list[tuple[str, Ways, dict[str, float]]]:
    """Spirals and drops: how the layers of each kind move, and how much of each kind one scene shows."""
    spirals = {k: float(s.place[0, PLACES.index(k)]) for k in SPIRALS}
    drops = {k: float(v[0]) for k, v in falling(s).items()}
    return [("spiral", SPIRALS, spirals), ("mote", MOTES, drops)]


def _shown_kinds(ways: Ways, shares: Mapping[str, float], layer: int) -> list[str]:
    return [k for k in ways if len(ways[k]) > layer and shares[k] > WEIGHT_MIN]
