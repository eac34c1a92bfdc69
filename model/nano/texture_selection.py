"""The textures that one scene shows, selected and mixed on the host, so that reading them is a static graph.

All values of a texture are read at the same coordinates, and bilinear reading is linear: what several values show is
read from their weighted sum at once. Only near planes, whose opacity is no linear function, are read one by one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

import torch
from torch import Tensor, nn

from ..stage.figure import skeleton
from ..stage.geometry import DEPTH_PLANES, MOTES, SPIRALS, Rays, first_content
from ..stage.scene import Scene
from ..stage.vocabulary import FIGURES, PLACES, SCENES
from .neural_textures import GROUNDED, WEIGHT_MIN, NeuralTextures, Texture, falling, pooled, sample, wrapped

MIXED = ("panorama", "ground", "far_ground", "path", "clouds", "sun", "skin")  # textures whose values are mixed
LAYERS = 2  # of spirals, and of drops
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
    """`neural_textures.SelectedTextures` of the tensors that `Selector.select` returned."""

    def __init__(self, tensors: dict[str, Tensor], wrap_rows: dict[str, bool]) -> None:
        self._tensors = tensors
        for name in MIXED:
            setattr(self, name, Selected(tensors[name], wrap_rows[name]))
        weights = tensors["plane_weights"]
        self.planes = SelectedPlanes([Selected(tensors[f"plane_{i}"], False, weights) for i in range(DEPTH_PLANES)])
        self.first, self.ends = tensors["first"], tensors["ends"]

    def layers(self, r: Rays) -> list[Tensor]:
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


class Selector:
    """Selects what a scene shows. slots: how many places, and kinds of spirals and drops, may be shown at once."""

    def __init__(self, textures: NeuralTextures, slots: int) -> None:
        self.slots = slots
        self.wrap_rows = {name: self._of(textures, name).wrap_rows for name in MIXED}
        with torch.no_grad():
            self._tables = {
                name: wrapped(t.table.detach(), t.wrap_rows) for name in MIXED if (t := self._of(textures, name))
            }
            planes = textures.planes.table.detach()
            self._planes = [wrapped(pooled(planes, level), False) for level in range(DEPTH_PLANES)]
            self._layered: dict[tuple[str, int], Tensor] = {}
            for kind, layers in chain(textures.spirals.items(), textures.motes.items()):
                assert isinstance(layers, nn.ModuleList)
                for layer, texture in enumerate(layers):
                    assert isinstance(texture, Texture)
                    self._layered[kind, layer] = wrapped(texture.table.detach(), True)
        self._mixed: dict[str, tuple[Tensor, Tensor]] = {}

    @staticmethod
    def _of(textures: NeuralTextures, name: str) -> Texture:
        texture = getattr(textures, name)
        assert isinstance(texture, Texture)
        return texture

    def select(self, s: Scene) -> dict[str, Tensor] | None:
        """s: one scene, on the CPU. The tensors by name, whose shapes are always the same; None for a scene that shows
        more than the slots hold."""
        grounded = s.place[0, [PLACES.index(p) for p in GROUNDED]]
        weights = {
            **dict.fromkeys(("panorama", "ground", "far_ground", "path"), grounded), "clouds": grounded.sum()[None],
            "sun": s.light[0], "skin": 1 - s.figure[0, FIGURES.index("none")][None],
        }  # fmt: skip
        out = {name: self._mix(name, self._tables[name], weights[name]) for name in MIXED}
        out["first"], out["ends"] = first_content(s), skeleton(s.figure, s.phase)[0]
        scenes = s.place[0, : len(SCENES)]
        shown = _shown(scenes)
        if len(shown) > self.slots:
            return None
        rows = torch.tensor((shown + [0] * self.slots)[: self.slots])
        out["plane_weights"] = torch.where(torch.arange(self.slots) < len(shown), scenes[rows], 0.0)
        for level, table in enumerate(self._planes):
            content = (level + int(out["first"])) % DEPTH_PLANES
            out[f"plane_{level}"] = table[rows * DEPTH_PLANES + content]
        spirals = {k: s.place[0, PLACES.index(k)] for k in SPIRALS}
        drops = {k: v[0] for k, v in falling(s).items()}
        for kind, ways, shares in (("spiral", SPIRALS, spirals), ("mote", MOTES, drops)):
            for layer in range(LAYERS):
                there = [k for k in ways if len(ways[k]) > layer]
                shown_kinds = [k for k in there if float(shares[k]) > WEIGHT_MIN]
                if len(shown_kinds) > self.slots:
                    return None
                for slot in range(self.slots):
                    name = f"{kind}_{layer}_{slot}"
                    if slot < len(shown_kinds):
                        k = shown_kinds[slot]
                        out[name] = self._mix(name + k, self._layered[k, layer], shares[k][None])
                        out[name + WAY] = torch.tensor(ways[k][layer], dtype=torch.float32)
                    else:
                        out[name] = self._mix(name, self._layered[there[0], layer], torch.zeros(1))
                        out[name + WAY] = torch.zeros(2)
        return out

    def _mix(self, name: str, table: Tensor, weights: Tensor) -> Tensor:
        """(1, channels, rows, columns): a texture's values summed by weight, kept as long as these stay the same."""
        kept = self._mixed.get(name)
        if kept is not None and torch.equal(kept[0], weights):
            return kept[1]
        shown = _shown(weights)
        if len(shown) == 1 and float(weights[shown[0]]) == 1.0:
            mixed = table[shown[0] : shown[0] + 1]
        else:
            mixed = torch.einsum("k,kchw->chw", weights[shown], table[shown])[None].contiguous()
        self._mixed[name] = (weights.clone(), mixed)
        return mixed


def _shown(weights: Tensor) -> list[int]:
    return [i for i, w in enumerate(weights.tolist()) if w > WEIGHT_MIN]
