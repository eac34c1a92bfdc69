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
from collections.abc import Mapping
from dataclasses import dataclass, replace
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
from ..stopwatch import Stopwatch
from ..umt5 import ENCODER_BYTES, UMT5
from .config import CONFIGS, LARGE, SMALL, Size, WanConfig, ladder, network_bytes, windows
from .decode import FullDecoder, StreamDecoder, TinyDecoder
from .kernels import Compiler, uncompile
from .rollout import Rollout, merge_lora, network_weights, scaled

logger = logging.getLogger(__name__)

Switch = Literal["recache", "swap"]
Choice = Literal["auto", "large", "small"]
FPS = 16.0
SAME_SHAPE = 0.3  # difference of two aspects' logarithms; wide, square and upright are twice as far apart
RECACHE_ABOVE = 0.02  # share by which the mix must move before the cache is computed again
STILL, JUMP = 0.002, 0.5  # shares by which it moves in a chunk, at most or at least, where no transition runs


def _file(source: Source, index: int = 0) -> tuple[str, str]:
    """(repository, path) of one of its files."""
    return source.repository, source.files[index]


@dataclass(frozen=True)
class Checkpoint:
    """The files of a member of the family, as (repository, path) on the Hugging Face hub.

    text, tokenizer: of the text encoder. tiny, full: decoders.
    """

    network: tuple[str, str]
    lora: tuple[str, str] | None = None
    switch: Switch = "swap"
    text: tuple[str, str] = _file(sources.WAN_TEXT)
    tokenizer: tuple[str, str] = _file(sources.WAN_TEXT, 1)
    tiny: tuple[str, str] = _file(sources.WAN_DECODER)
    full: tuple[str, str] = _file(sources.WAN_FULL_DECODER)


CHECKPOINTS = {
    "wan-1.3b-self-forcing": Checkpoint(_file(sources.SELF_FORCING)),
    "wan-1.3b-causal-forcing": Checkpoint(_file(sources.CAUSAL_FORCING)),
    "wan-1.3b-longlive": Checkpoint(_file(sources.LONGLIVE), _file(sources.LONGLIVE, 1), switch="recache"),
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


def sizes_for(aspect: float | None, size: Choice = "auto") -> tuple[Size, ...]:
    """The sizes of latents that a world plays in, the largest first, nearest to an aspect (width over height)."""
    shape = 0
    if aspect is not None:
        apart = [abs(math.log(columns / rows) - math.log(aspect)) for rows, columns in LARGE]
        shape = apart.index(min(apart))
    return {"auto": (LARGE[shape], SMALL[shape]), "large": (LARGE[shape],), "small": (SMALL[shape],)}[size]


def moved(a: Array, b: Array) -> float:
    """How far two mixes are apart, as a share of the larger one's length."""
    if a is b or np.array_equal(a, b):
        return 0.0
    length = max(float(np.linalg.norm(a)), float(np.linalg.norm(b)), 1e-6)
    return float(np.linalg.norm(a - b)) / length


class Wan:
    """A `World`. Make one with `Wan.load`.

    switch: what happens to the cache at a new prompt; may be changed while the world runs.
    """

    def __init__(self, name: str, rollout: Rollout, decoders: Mapping[Size, StreamDecoder], text: UMT5,
                 switch: Switch = "recache") -> None:  # fmt: skip
        """decoders: by the sizes of the rollout, the largest first."""
        self.rollout, self.text, self._decoders = rollout, text, decoders
        self.switch: Switch = switch
        largest, *smaller = decoders
        self._qualities = [(largest, window) for window in windows(rollout.config)]
        self._qualities += [(size, rollout.config.window) for size in smaller]
        self._level = 0
        names = [f"{4 * window / FPS:.2g} s of memory" for window in windows(rollout.config)]
        self._spec = WorldSpec(name, largest[1] * 8, largest[0] * 8, FPS, 4, (), ("text",), str(rollout.device),
                               steps_per_chunk=rollout.config.frames,
                               qualities=(*names, *(f"{columns * 8}x{rows * 8}" for rows, columns in smaller)),
                               ladder=ladder(len(names), bool(smaller)))  # fmt: skip
        self._watch = Stopwatch(rollout.device)
        self.reset(0)

    @classmethod
    def load(cls, name: str, root: Path, device: str = "auto", aspect: float | None = None, *,
             switch: Switch | None = None, decoder: Literal["tiny", "full"] = "tiny", size: Choice = "auto",
             config: WanConfig | None = None, checkpoint: Checkpoint | None = None,
             compiler: Compiler = "inductor") -> Wan:  # fmt: skip
        """name: of CHECKPOINTS. root: a folder that holds each file at <root>/<repository>/<path>. switch: None
        takes the checkpoint's own. decoder: the tiny one for speed, the full one for detail. config: for example
        another window. compiler: on CUDA the world is compiled and captured before this returns, which takes
        minutes; None: neither. Raises WeightsMissing, ValueError for files that do not fit, ModuleNotFoundError if
        packages are missing.
        """
        row = checkpoint or CHECKPOINTS[name]
        chosen = choose_device(device)
        compiler = compiler if chosen.type == "cuda" or callable(compiler) else None
        sizes = sizes_for(aspect, size)
        if chosen.type == "cuda":
            torch.backends.cudnn.benchmark = True  # shapes are always the same

        def find(repository: str, path: str) -> Path:
            file = root / repository / path
            if not file.exists():
                raise WeightsMissing(f"{file} is missing: wj weights get {name}")
            return file

        words, tokenizer = find(*row.text), find(*row.tokenizer)
        drawer = read_checkpoint(find(*(row.tiny if decoder == "tiny" else row.full)))
        weights = network_weights(read_checkpoint(find(*row.network)))
        if row.lora is not None:
            weights = merge_lora(weights, read_checkpoint(find(*row.lora)))
        try:
            rollout = Rollout(config or CONFIGS[name], sizes, chosen, weights=weights, compiler=compiler)
        except RuntimeError as error:
            raise ValueError(f"the tensors of {row.network[1]} are not {name}'s ({error})") from error
        decoders: dict[Size, StreamDecoder] = {
            each: TinyDecoder(drawer, *each, chosen, compiler=compiler) if decoder == "tiny"
            else FullDecoder(drawer, chosen, compiler=compiler) for each in sizes
        }  # fmt: skip
        needed = network_bytes(rollout.config, sizes[0]) + ENCODER_BYTES
        text = UMT5(read_checkpoint(words), tokenizer, encoder_device(chosen, gpu_memory(chosen), needed))
        world = cls(name, rollout, decoders, text, switch or row.switch)
        if compiler:
            world.warm()
        return world

    @property
    def spec(self) -> WorldSpec:
        rows, columns = self.rollout.size
        return replace(self._spec, width=columns * 8, height=rows * 8)

    @property
    def decoder(self) -> StreamDecoder:
        """That of the present size."""
        return self._decoders[self.rollout.size]

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
            for module in (self.rollout.transformer.network, *(each.net for each in self._decoders.values())):
                uncompile(module)
            self.reset(0)
            self._run_all()
        self.reset(0)

    def _run_all(self) -> None:
        silence = Controls(np.zeros((1, self.rollout.config.text_dim), np.float32), steps=1)
        down = range(len(self._qualities))
        for level in (*down, *reversed(down[:-1])):
            self.set_quality(level)
            for chunks in (self.rollout.config.chunks + 3, 2):
                for _ in range(chunks * self.rollout.config.frames):
                    self.step(silence)
                self.rollout.recache()  # as a new prompt would

    def set_quality(self, level: int) -> None:
        """Takes effect with the next chunk. 0 is the window of training, each later level a shorter one, and the last
        a smaller frame, where there is one."""
        self._level = min(max(level, 0), len(self._qualities) - 1)

    def _take_quality(self) -> None:
        size, window = self._qualities[self._level]
        before = self.rollout.size
        self.rollout.resize(size, window)
        if size != before:
            self._begin_decoder()

    def _begin_decoder(self) -> None:
        """Let the decoder of this size go on where the past ends."""
        self.decoder.reset()
        past = self.rollout.newest()
        for latent in () if past is None else past:
            self.decoder(latent)

    def reset(self, seed: int) -> None:
        self.rollout.reset(seed)
        self.decoder.reset()
        self._drawn: list[Tensor] = []  # latent frames of the chunk that wait to be decoded
        self._tokens: Array | None = None
        self._cached: Array | None = None  # the mix under which the cache was last computed

    def step(self, controls: Controls) -> Tensor:
        """Decode one latent frame: 4 frames of video, or 1. The first of a chunk takes as long as drawing all of it."""
        self._watch.start()
        if self._drawn:
            self.rollout.settle()
            self._watch.lap()
        else:
            self._take_quality()
            self._take_prompt(controls.tokens)
            self._watch.lap("prompt_ms")
            self._drawn = list(self.rollout.chunk(controls.steps))
            self._watch.lap("chunk_ms")
        frames = self.decoder(self._drawn.pop(0))
        self._watch.lap("decode_ms")
        return frames

    @property
    def timings(self) -> dict[str, float]:
        """Milliseconds of the latest step and its parts."""
        return self._watch.laps_ms()

    def _take_prompt(self, tokens: Array) -> None:
        """Set the text, and compute the past anew where that is wished: at once where the prompt jumps, and at the end
        of a transition. It costs about as much as a chunk, and a text that is still moving is obeyed anyway."""
        step = 0.0 if self._tokens is None else moved(tokens, self._tokens)
        if self._tokens is None or step > 0:
            self.rollout.set_text(tokens)
            self._tokens = tokens
        if self._cached is None:
            self._cached = tokens
        elif (
            self.switch == "recache"
            and not STILL < step < JUMP
            and self._cached is not tokens
            and moved(tokens, self._cached) > RECACHE_ABOVE
        ):
            self.rollout.recache()
            self._cached = tokens

    def snapshot(self) -> WorldState:
        """A copy of everything on the world's device: 3.5 GB for LongLive, 6 GB for a window of 21."""
        return WorldState({
            "world": self._spec, "rollout": self.rollout.snapshot(), "decoder": self.decoder.snapshot(),
            "drawn": list(self._drawn), "size": self.rollout.size, "tokens": self._tokens, "cached": self._cached,
        })  # fmt: skip

    def restore(self, state: WorldState) -> None:
        """A snapshot in another size is scaled. Raises ValueError for one of another world or shape."""
        data = state.data
        size = data.get("size", (1, 1))
        alike = abs(math.log(size[1] / size[0]) - math.log(self._spec.width / self._spec.height)) < SAME_SHAPE
        if "rollout" not in data or data["world"].name != self._spec.name or not alike:
            raise ValueError(f"this snapshot is not of {self._spec.name} at {self._spec.width}x{self._spec.height}")
        self.rollout.restore(data["rollout"])
        self._drawn, self._tokens, self._cached = list(data["drawn"]), data["tokens"], data["cached"]
        if size == self.rollout.size:
            self.decoder.restore(data["decoder"])
        else:
            self._begin_decoder()
            self._drawn = [scaled(latent[None], self.rollout.size)[0] for latent in self._drawn]
