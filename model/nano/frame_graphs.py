"""A frame of nano as static graphs of tensors: runtimes that compile graphs are made of these.

Every shape is fixed and nothing depends on a value, so that no operation waits for the device: what a scene shows is
selected on the host (`texture_selection`), and a memory that is still short is padded and masked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..stage.scene import Scene
from .guided_decoder import SCALE, GuidedDecoder
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


class FineReadGraph(nn.Module):
    """(1, SCENE_DIM) scene, the tensors of `Selector.select` for the network's textures and then for the decoder's, and
    `guiding` -> the two tensors of `Readings`, and the guide of the decoder."""

    def __init__(self, world: WorldModel, decoder: GuidedDecoder, wrap_rows: Sequence[Mapping[str, bool]],
                 names: Sequence[Sequence[str]], rows: int, columns: int) -> None:  # fmt: skip
        super().__init__()
        self.world, self.decoder, self.wrap_rows = world, decoder, tuple(wrap_rows)
        self.names, self.rows, self.columns = tuple(map(tuple, names)), rows, columns

    @classmethod
    def of(cls, world: WorldModel, decoder: GuidedDecoder, selectors: tuple[Selector, Selector], scene: Scene,
           slots: int, rows: int, columns: int) -> FineReadGraph:  # fmt: skip
        """scene: any; the shapes depend on `slots` alone."""
        names = [list(selector.select(scene, slots)) for selector in selectors]
        return cls(world, decoder, [selector.wrap_rows for selector in selectors], names, rows, columns)

    def forward(self, flat: Tensor, *tensors: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        scene, (own, fine) = Scene.of(flat), self.names
        ends = len(own), len(own) + len(fine)
        first = Selection(dict(zip(own, tensors[: ends[0]], strict=True)), self.wrap_rows[0])
        second = Selection(dict(zip(fine, tensors[ends[0] : ends[1]], strict=True)), self.wrap_rows[1])
        return fine_readings(
            self.world, self.decoder, scene, tensors[ends[1] :], self.rows, self.columns, (first, second)
        )


def fine_readings(
    world: WorldModel, decoder: GuidedDecoder, scene: Scene, guiding: Sequence[Tensor], rows: int, columns: int,
    selected: tuple[Selection | None, Selection | None] = (None, None),
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """`Readings` from textures that are read as finely as the decoder needs, and the decoder's guide."""
    fine = world.textures(scene, rows * SCALE, columns * SCALE, selected[0])
    edges = decoder.textures(scene, rows, columns, selected[1])
    guide = decoder.shade(torch.cat([fine, edges], 1), guiding)
    return F.avg_pool2d(fine, SCALE), bearings(scene, rows, columns), guide


def fine_inputs(scene: Scene, slots: int, selectors: tuple[Selector, Selector], vectors: Vectors,
                decoder: GuidedDecoder) -> list[Tensor]:  # fmt: skip
    """The inputs of a `FineReadGraph`."""
    found = [scene.flat()]
    for selector in selectors:
        found += selector.select(scene, slots).values()
    return found + guiding(vectors, decoder)


def guiding(vectors: Vectors, decoder: GuidedDecoder) -> list[Tensor]:
    """What the decoder takes of the conditioning: the prompt, and of each other vector the first numbers, without the
    memory and the step's length, on which no picture depends."""
    others = zip(vectors.others, decoder.config.others, strict=False)
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


class MemoryGraph(nn.Module):
    """(1, c, rows, columns) latents -> (1, look)."""

    def __init__(self, world: WorldModel) -> None:
        super().__init__()
        self.memory = world.memory

    def forward(self, latents: Tensor) -> Tensor:
        code: Tensor = self.memory(latents)
        return code


class DecodeGraph(nn.Module):
    """(1, c, rows, columns) normalised latents -> (1, height, width, 3) uint8 RGB. With the guide of `FineReadGraph`
    behind them, to twice the size."""

    def __init__(self, nano: Nano, guided: GuidedDecoder | None = None) -> None:
        super().__init__()
        self.autoencoder, self.guided = nano.autoencoder, guided
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", nano.mean, persistent=False)
        self.register_buffer("std", nano.std, persistent=False)

    def forward(self, latents: Tensor, *guide: Tensor) -> Tensor:
        latents = (latents * self.std + self.mean).contiguous(memory_format=torch.channels_last)
        image = self.guided(latents, *guide) if self.guided is not None else self.autoencoder.decode(latents)
        return (image.clamp(0, 1) * 255 + 0.5).to(torch.uint8).permute(0, 2, 3, 1).contiguous()


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
