"""A frame of nano as static graphs of tensors: runtimes that compile graphs are made of these.

Every shape is fixed and nothing depends on a value, so that no operation waits for the device: what a scene shows is
selected on the host (`texture_selection`), and a KV cache that is still short is padded and masked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..stage.scene import Scene
from .autoencoder import CELL
from .guided_decoder import GuidedDecoder
from .neural_textures import bearings
from .texture_selection import Selection, Selector
from .transformer import KVCache, Readings, Vectors, WorldModel

if TYPE_CHECKING:
    from .world import Nano

MASKED = -30.0  # added to attention's scores, within 5 of 0, for frames that are padding; infinity can't be quantised


class ReadGraph(nn.Module):
    """(1, SCENE_DIM) scene and the tensors of `Selector.select` -> the two tensors of `Readings`."""

    def __init__(self, world: WorldModel, wrap_rows: Mapping[str, bool], names: Sequence[str], rows: int,
                 columns: int) -> None:  # fmt: skip
        super().__init__()
        self.world, self.names, self.wrap_rows = world, tuple(names), wrap_rows
        self.rows, self.columns = rows, columns

    def forward(self, flat: Tensor, *selected: Tensor) -> tuple[Tensor, Tensor]:
        scene = Scene.of(flat)
        selection = Selection(dict(zip(self.names, selected, strict=True)), self.wrap_rows)
        detail = self.world.textures(scene, self.rows, self.columns, selection)
        return detail, bearings(scene, self.rows, self.columns)


class GuideGraph(nn.Module):
    """(1, SCENE_DIM) scene, `Readings.detail`, the tensors of `Selector.select` for the decoder's textures and
    `guiding` -> the guide of the decoder to frames of twice the size."""

    def __init__(self, decoder: GuidedDecoder, wrap_rows: Mapping[str, bool], names: Sequence[str], rows: int,
                 columns: int) -> None:  # fmt: skip
        super().__init__()
        self.decoder, self.names, self.wrap_rows = decoder, tuple(names), wrap_rows
        self.rows, self.columns = rows, columns

    @classmethod
    def of(cls, decoder: GuidedDecoder, selector: Selector, scene: Scene, slots: int, rows: int,
           columns: int) -> GuideGraph:  # fmt: skip
        """scene: any; the shapes depend on `slots` alone."""
        return cls(decoder, selector.wrap_rows, list(selector.select(scene, slots)), rows, columns)

    def forward(self, flat: Tensor, readings: Tensor, *tensors: Tensor) -> Tensor:
        end = len(self.names)
        selection = Selection(dict(zip(self.names, tensors[:end], strict=True)), self.wrap_rows)
        return self.decoder.guide(Scene.of(flat), readings, tensors[end:], self.rows, self.columns, selection)


def guide_inputs(scene: Scene, readings: Readings, slots: int, selector: Selector, vectors: Vectors,
                 decoder: GuidedDecoder) -> list[Tensor]:  # fmt: skip
    """The inputs of a `GuideGraph`."""
    return [scene.flat(), readings.detail, *selector.select(scene, slots).values(), *guiding(vectors, decoder)]


def guiding(vectors: Vectors, decoder: GuidedDecoder) -> list[Tensor]:
    """What the decoder takes of the conditioning: the prompt, and of each other vector the first numbers, without the
    step's length, on which no picture depends."""
    others = zip(vectors.others, decoder.config.others, strict=True)
    return [vectors.prompt, *(vector[:, :count] for vector, count in others)]


class DenoiseGraph(nn.Module):
    """(1, c, rows, columns) noisy latents, their level (1,), `Readings`, `Vectors` and what `padded` returns -> clean
    latents, and the keys and values with this frame's."""

    def __init__(self, world: WorldModel) -> None:
        super().__init__()
        self.world = world

    def forward(self, noisy: Tensor, level: Tensor, detail: Tensor, turns: Tensor, prompt: Tensor, guidance: Tensor,
                missing: Tensor, *rest: Tensor) -> tuple[Tensor, ...]:  # fmt: skip
        count = len(self.world.others)
        others, kept = rest[:count], rest[count:]
        layers = cached_layers(self.world)
        cache = KVCache()
        cache.missing = missing
        cache.committed = {layer: (kept[2 * i], kept[2 * i + 1]) for i, layer in enumerate(layers)}
        vectors = Vectors(prompt, others, guidance)
        latents = self.world.latents(*self.world.denoise(noisy, level, vectors, Readings(detail, turns), 1, cache))
        cache.commit()
        return latents, *(tensor for layer in layers for tensor in cache.committed[layer])


class DecodeGraph(nn.Module):
    """(1, c, rows, columns) normalised latents -> (1, height / CELL, width / CELL, CELL * CELL * 3) uint8 RGB, a cell
    of pixels for each feature: see `assembled`. With the guide of `GuideGraph` behind the latents, to twice the size.
    """

    def __init__(self, nano: Nano, guided: GuidedDecoder | None = None) -> None:
        super().__init__()
        self.autoencoder, self.guided = nano.autoencoder, guided
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", nano.mean, persistent=False)
        self.register_buffer("std", nano.std, persistent=False)

    def forward(self, latents: Tensor, *guide: Tensor) -> Tensor:
        latents = (latents * self.std + self.mean).contiguous(memory_format=torch.channels_last)
        decoder = self.autoencoder if self.guided is None else self.guided
        end = decoder.end
        assert end.bias is not None
        # Its channels are colour by colour, each row by row: let each pixel be together.
        weight, bias = (t.unflatten(0, (3, CELL**2)).transpose(0, 1).flatten(0, 1) for t in (end.weight, end.bias))
        cells = F.conv2d(decoder.features(latents, *guide), weight, bias, padding=end.padding) * 0.5 + 0.5
        return (cells.clamp(0, 1) * 255 + 0.5).to(torch.uint8).permute(0, 2, 3, 1).contiguous()


def assembled(cells: Tensor) -> Tensor:
    """(n, h, w, CELL * CELL * 3) uint8 -> (n, CELL * h, CELL * w, 3), as a tensor of its own. As `pixel_shuffle`, which
    moves each byte alone."""
    n, h, w, _ = cells.shape
    rows = cells.view(n, h, w, CELL, CELL * 3).view(torch.int32)
    return rows.transpose(2, 3).contiguous().view(torch.uint8).view(n, CELL * h, CELL * w, 3)


def cached_layers(world: WorldModel) -> list[tuple[int, str]]:
    """The layers that look back in time, as a `KVCache` names them."""
    return [block.layer for block in world.blocks if block.time is not None]  # type: ignore[misc]


def padded(cache: KVCache, world: WorldModel, places: int, device: torch.device) -> tuple[Tensor, list[Tensor]]:
    """A mask (1, window), which is 0 for the frames in a cache and the present one and MASKED for those that it lacks,
    and its keys and values with zeros for the latter: (1, places, heads, window - 1, size) each."""
    c = world.config
    kept, size = c.window - 1, c.width // c.heads
    mask, tensors = torch.zeros(1, c.window, device=device), []
    for layer in cached_layers(world):
        pair = cache.committed.get(layer) or (torch.zeros(1, places, c.heads, 0, size, device=device),) * 2
        lacks = kept - pair[0].shape[-2]
        mask[:, :lacks] = MASKED
        tensors += [F.pad(tensor, (0, 0, lacks, 0)) if lacks else tensor for tensor in pair]
    return mask, tensors


def extend(cache: KVCache, world: WorldModel, tensors: Sequence[Tensor]) -> None:
    """Put the keys and values that `DenoiseGraph` returned into a cache, to be committed as after any other step."""
    kept = world.config.window - 1
    for i, layer in enumerate(cached_layers(world)):
        before = cache.committed[layer][0].shape[-2] if layer in cache.committed else 0
        frames = min(before + 1, kept)
        k, v = (tensor[..., -frames:, :].clone() for tensor in tensors[2 * i : 2 * i + 2])
        cache.pending[layer] = (k, v, kept)
