"""The causal Wan 2.1 family as worlds: Self-Forcing, Causal-Forcing, LongLive, 1.3 billion parameters each.

A chunk of three latent frames is denoised in 1 to 4 steps and decoded one latent frame a step, which makes four frames
of video (the very first makes one). Frames are returned before the chunk is in the cache. Prompts, their mix and their
word weights take effect with the next chunk, after 0.75 s of the world's time at most. At a new prompt the cache is
either computed again under it ("recache", as LongLive was trained) or left as it is ("swap"). Where the world is too
slow, its attention window is made shorter.

The checkpoints have no camera, acts, audio, energy or guidance, and their frames are always 1/16 s apart.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

from ...devices import choose_device, encoder_device, gpu_memory
from ...errors import WeightsMissing
from ...spec import Array, Controls, Prompt, Tokens, WorldSpec, WorldState
from ...weights_store import Source
from .. import sources
from ..umt5 import SHARED_GPU_BYTES, UMT5
from .decode import FullDecoder, StreamDecoder, TinyDecoder
from .kernels import Compiler, uncompile
from .rollout import Rollout, WanConfig, ladder, merge_lora, network_weights, windows

logger = logging.getLogger(__name__)

Switch = Literal["recache", "swap"]
FPS = 16.0
SHAPES = ((60, 104), (78, 78), (104, 60))  # rows and columns of latents; the checkpoints were distilled at the first
RECACHE_ABOVE = 0.02  # share by which the mix must move before the cache is computed again


def _file(source: Source, index: int = 0) -> tuple[str, str]:
    """(repository, path) of one of its files."""
    return source.repository, source.files[index]


@dataclass(frozen=True)
class Checkpoint:
    """The files of a member of the family, as (repository, path) on the Hugging Face hub, and how it was trained.

    text: a repository in diffusers' layout, of which `text_encoder` and `tokenizer` are read. tiny, full: decoders.
    """

    network: tuple[str, str]
    lora: tuple[str, str] | None = None
    config: WanConfig = field(default_factory=WanConfig)
    switch: Switch = "swap"
    text: str = sources.WAN_TEXT.repository
    tiny: tuple[str, str] = _file(sources.WAN_DECODER)
    full: tuple[str, str] = _file(sources.WAN_FULL_DECODER)


# Self-Forcing and Causal-Forcing were trained on 21 latent frames. Rolled further they keep the first chunk, as
# LongLive does: without it they see a past that they never saw in training, flicker and drift (Self-Forcing issue 39).
TRAINED_FOR_5S = WanConfig(window=18, sink=3)
CHECKPOINTS = {
    "wan-1.3b-self-forcing": Checkpoint(_file(sources.SELF_FORCING), config=TRAINED_FOR_5S),
    "wan-1.3b-causal-forcing": Checkpoint(_file(sources.CAUSAL_FORCING), config=TRAINED_FOR_5S),
    "wan-1.3b-longlive": Checkpoint(
        _file(sources.LONGLIVE), _file(sources.LONGLIVE, 1), WanConfig(window=9, sink=3), "recache"
    ),
}


def read_checkpoint(path: Path) -> Mapping[str, Any]:
    """Tensors of a .safetensors, .pt or .pth file; only tensors are ever unpacked of the latter two.

    Raises WeightsMissing for a missing file, ValueError for any other kind of file.
    """
    if not path.exists():
        raise WeightsMissing(f"{path} is missing")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        found: Mapping[str, Any] = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except Exception as error:
        raise ValueError(
            f"{path} is not a file of tensors ({error}): delete it and run wj weights get again"
        ) from error
    return found


def shape_for(aspect: float | None) -> tuple[int, int]:
    """Rows and columns of latents nearest to an aspect (width over height)."""
    if aspect is None:
        return SHAPES[0]
    return min(SHAPES, key=lambda shape: abs(math.log(shape[1] / shape[0]) - math.log(aspect)))


def moved(a: Array, b: Array) -> float:
    """How far two mixes are apart, as a share of the larger one's length."""
    length = max(float(np.linalg.norm(a)), float(np.linalg.norm(b)), 1e-6)
    return float(np.linalg.norm(a - b)) / length


class Wan:
    """A `World`. Make one with `Wan.load`.

    switch: what happens to the cache at a new prompt; may be changed while the world runs.
    """

    def __init__(self, name: str, rollout: Rollout, decoder: StreamDecoder, text: UMT5,
                 switch: Switch = "recache") -> None:  # fmt: skip
        self.rollout, self.decoder, self.text = rollout, decoder, text
        self.switch: Switch = switch
        self._windows, self._level = windows(rollout.config), 0
        self._spec = WorldSpec(name, rollout.columns * 8, rollout.rows * 8, FPS, 4, (), ("text",), str(rollout.device),
                               steps_per_chunk=rollout.config.frames,
                               qualities=tuple(f"{4 * n / FPS:.2g} s of memory" for n in self._windows),
                               ladder=ladder(len(self._windows)))  # fmt: skip
        self.timings: dict[str, float] = {}
        self.reset(0)

    @classmethod
    def load(cls, name: str, root: Path, device: str = "auto", aspect: float | None = None, *,
             switch: Switch | None = None, decoder: Literal["tiny", "full"] = "tiny", config: WanConfig | None = None,
             checkpoint: Checkpoint | None = None, compiler: Compiler = "inductor") -> Wan:  # fmt: skip
        """name: of CHECKPOINTS. root: a folder that holds each file at <root>/<repository>/<path>. switch: None takes
        the checkpoint's own. decoder: the tiny one for speed, the full one for detail. config: for example another
        window. compiler: on CUDA the world is compiled and captured before this returns, which takes minutes; None:
        neither. Raises WeightsMissing, ValueError for files that do not fit, ModuleNotFoundError if packages are
        missing.
        """
        row = checkpoint or CHECKPOINTS[name]
        chosen = choose_device(device)
        compiler = compiler if chosen.type == "cuda" or callable(compiler) else None
        rows, columns = shape_for(aspect)

        def find(repository: str, path: str) -> Path:
            file = root / repository / path
            if not file.exists():
                raise WeightsMissing(f"{file} is missing: wj weights get {name}")
            return file

        tokenizer = find(row.text, "tokenizer/tokenizer.json")
        find(row.text, "text_encoder/config.json")
        drawer = read_checkpoint(find(*(row.tiny if decoder == "tiny" else row.full)))
        weights = network_weights(read_checkpoint(find(*row.network)))
        if row.lora is not None:
            weights = merge_lora(weights, read_checkpoint(find(*row.lora)))
        try:
            rollout = Rollout(config or row.config, rows, columns, chosen, weights=weights, compiler=compiler)
        except RuntimeError as error:
            raise ValueError(f"the tensors of {row.network[1]} are not {name}'s ({error})") from error
        world = cls(
            name, rollout,
            TinyDecoder(drawer, rows, columns, chosen, compiler=compiler) if decoder == "tiny"
            else FullDecoder(drawer, chosen, compiler=compiler),
            UMT5(tokenizer.parents[1], encoder_device(chosen, gpu_memory(chosen), SHARED_GPU_BYTES)),
            switch or row.switch,
        )  # fmt: skip
        if compiler:
            world.warm()
        return world

    @property
    def spec(self) -> WorldSpec:
        return self._spec

    def encode(self, prompt: Prompt) -> Tokens:
        """(256, 4096). Raises ValueError for a prompt of images, clips or sound alone."""
        if not prompt.text and (prompt.image is not None or prompt.sound is not None or prompt.video is not None):
            raise ValueError(f"{self._spec.name} takes text prompts only: no images, clips or audio")
        return self.text.encode(prompt.text)

    def warm(self) -> None:
        """Run each quality until its window is full, downwards and upwards, and compute its past anew, so that every
        shape is compiled and no step of a show is slower than the others; then reset. If compiling fails, the world
        runs uncompiled."""
        try:
            self._run_all()
        except Exception as error:
            logger.warning("%s runs without torch.compile, and slower: %s", self._spec.name, error, exc_info=True)
            for module in (self.rollout.transformer.network, self.decoder.net):
                uncompile(module)
            self.reset(0)
            self._run_all()
        self.reset(0)

    def _run_all(self) -> None:
        silence = Controls(np.zeros((1, self.rollout.config.text_dim), np.float32), steps=1)
        down = range(len(self._windows))
        for level in (*down, *reversed(down[:-1])):
            self.set_quality(level)
            for chunks in (self.rollout.config.chunks + 3, 2):
                for _ in range(chunks * self.rollout.config.frames):
                    self.step(silence)
                self.rollout.recache()  # as a new prompt would

    def set_quality(self, level: int) -> None:
        """Takes effect with the next chunk. 0 is the window of training, each later level a shorter one."""
        self._level = min(max(level, 0), len(self._windows) - 1)

    def reset(self, seed: int) -> None:
        self.rollout.reset(seed)
        self.decoder.reset()
        self._drawn: list[Tensor] = []  # latent frames of the chunk that wait to be decoded
        self._tokens: Array | None = None
        self._cached: Array | None = None  # the mix under which the cache was last computed

    def step(self, controls: Controls) -> Tensor:
        """Decode one latent frame: 4 frames of video, or 1. The first of a chunk takes as long as drawing all of it."""
        self.timings = {}
        begin = self._now()
        if self._drawn:
            self.rollout.settle()
        else:
            self.rollout.widen(self._windows[self._level])
            self._take_prompt(controls.tokens)
            prompted = self._now()
            self._drawn = list(self.rollout.chunk(controls.steps))
            self.timings |= {"prompt_ms": (prompted - begin) * 1e3, "chunk_ms": (self._now() - prompted) * 1e3}
        decode = self._now()
        frames = self.decoder(self._drawn.pop(0))
        end = self._now()
        self.timings |= {"decode_ms": (end - decode) * 1e3, "step_ms": (end - begin) * 1e3}
        return frames

    def _now(self) -> float:
        if self.rollout.device.type == "cuda":
            torch.cuda.synchronize(self.rollout.device)
        return time.perf_counter()

    def _take_prompt(self, tokens: Array) -> None:
        if self._tokens is not None and (tokens is self._tokens or np.array_equal(tokens, self._tokens)):
            return
        self.rollout.set_text(tokens)
        self._tokens = tokens
        if self._cached is None:
            self._cached = tokens
        elif self.switch == "recache" and moved(tokens, self._cached) > RECACHE_ABOVE:
            self.rollout.recache()
            self._cached = tokens

    def snapshot(self) -> WorldState:
        """A copy of everything on the world's device: 3.5 GB for LongLive, 6 GB for a window of 21."""
        return WorldState({
            "world": self._spec, "rollout": self.rollout.snapshot(), "decoder": self.decoder.snapshot(),
            "drawn": list(self._drawn), "tokens": self._tokens, "cached": self._cached,
        })  # fmt: skip

    def restore(self, state: WorldState) -> None:
        """Raises ValueError for another world's snapshot."""
        data = state.data
        if replace(data.get("world", self._spec), device="") != replace(self._spec, device="") or "rollout" not in data:
            raise ValueError(f"this snapshot is not of {self._spec.name} at {self._spec.width}x{self._spec.height}")
        self.rollout.restore(data["rollout"])
        self.decoder.restore(data["decoder"])
        self._drawn, self._tokens, self._cached = list(data["drawn"]), data["tokens"], data["cached"]
