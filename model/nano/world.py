"""The embedded world: a trained network of a few million parameters that plays on two CPU cores."""

from __future__ import annotations

import hashlib
import json
import logging
import time
from dataclasses import asdict, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from ..devices import choose_device, upload
from ..errors import WeightsMissing
from ..spec import ACTS, Array, Controls, Geometry, Prompt, Situation, Tokens, WorldSpec, WorldState
from ..stage.figure import skeleton
from ..stage.motion import Motion
from ..stage.sample import DT_MAX, DT_MIN
from ..stage.scene import NUMBERS, SEED_DIM, Scene
from ..stage.scene import SOUND as SOUND_NAMES
from ..stage.vocabulary import ATTRIBUTES, FIGURES, OPENING, WIDTH
from . import state as packed_state
from . import weight_file
from .autoencoder import Autoencoder, AutoencoderConfig
from .earlier_weights import world_config, world_state
from .guided_decoder import SCALE, GuidedDecoder
from .image_reader import ImageReader
from .matte import matte
from .media_prompts import LOOK, SOUND, TOKENS, encode_image, encode_sound, pulse
from .neural_textures import TAPS
from .picture_geometry import PictureGeometry
from .relight import relit
from .runtime import Eager, Runtime, pytorch
from .runtime_choice import RuntimeChoice
from .runtime_names import LARGE, SMALL
from .sampler import sample
from .situation import situation
from .text_encoder import TextConfig, TextEncoder
from .transformer import GUIDANCE_MAX, Conditioning, KVCache, Vectors, WorldConfig, WorldModel

logger = logging.getLogger(__name__)

WEIGHTS = Path(__file__).parents[1] / "weights" / "nano.safetensors"
LARGE_SUFFIX = "-large"  # of the file, beside a nano's weights, that decodes to frames of twice the size
ENERGY = np.array([1.0, 1.0, 0.6, 0.0])  # what the energy fader gives to level, bass, treble and onset
SETTLE_S = 0.2  # in which the prompt's values become those that the world remembers


def shape_for(config: WorldConfig, aspect: float | None) -> tuple[int, int]:
    """Rows and columns of latents nearest to an aspect (width over height): landscape, square or portrait."""
    r, c = config.rows, config.columns
    if aspect is None:
        return r, c
    return min(((r, c), (r, r), (c, r)), key=lambda shape: abs(np.log(shape[1] / shape[0]) - np.log(aspect)))


def convolving_fast(module: Any) -> Any:
    """The same module; its convolutions' weights lie in memory as CPUs and GPUs read them fastest."""
    for each in module.modules():
        if isinstance(each, nn.Conv2d):
            each.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return module


def opening_figure() -> Array:
    return np.eye(len(FIGURES), dtype=np.float32)[FIGURES.index(OPENING["figure"])]


def opening_look() -> list[Array]:
    """The value of each attribute with which a world opens, (WIDTH,) each."""
    return [np.eye(WIDTH, dtype=np.float32)[values.index(OPENING[k])] for k, values in ATTRIBUTES.items()]


class Nano:
    """A `World`. Make one with `Nano.load`."""

    def __init__(self, text: TextEncoder, reader: ImageReader, autoencoder: Autoencoder, world: WorldModel,
                 mean: Tensor, std: Tensor, device: torch.device, aspect: float | None = None,
                 large_weights: Path | None = None) -> None:  # fmt: skip
        """large_weights: the file of `guided`; without one there are no frames of twice the size."""
        self.device = device
        self.text, self.reader = text.eval(), reader.eval()
        self.autoencoder = convolving_fast(autoencoder.eval().to(device))
        self.world = convolving_fast(world.eval().to(device))
        self.large_weights = large_weights
        self.mean, self.std = mean.view(1, -1, 1, 1).to(device), std.view(1, -1, 1, 1).to(device)
        self.rows, self.columns = shape_for(world.config, aspect)
        f = autoencoder.config.factor
        self._spec = WorldSpec("nano", self.columns * f, self.rows * f, 20.0, 1, ACTS,
                               ("text", "image", "sound", "action", "live"), str(device), matte=True,
                               attributes=ATTRIBUTES)  # fmt: skip
        self._large, self._level = False, 0
        self.message = ""  # an error that did not stop the world; empty without one
        self.timings: dict[str, float] = {}
        self._geometry = PictureGeometry(self.rows * TAPS, self.columns * TAPS)
        self.reset(0)
        self.pytorch = pytorch(self)  # the runtime that always serves
        self.runtime: Runtime = self.pytorch
        self.choice: RuntimeChoice | None = None
        self.weights = WEIGHTS  # the file that it was loaded from

    @property
    def latent_shape(self) -> tuple[int, int, int, int]:
        return 1, self.world.config.channels, self.rows, self.columns

    @cached_property
    def weights_digest(self) -> bytes:
        """SHA-256 of all that draws small frames; these weights stay as they are once a runtime is chosen."""
        digest = hashlib.sha256()
        for module in (self.world, self.autoencoder):
            for tensor in module.state_dict().values():
                digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
        return digest.digest()

    @cached_property
    def guided(self) -> GuidedDecoder:
        """The decoder to frames of twice the size, loaded when it is first used: most of a second. Raises
        ValueError for a file that is missing or does not fit."""
        if self.large_weights is None:
            raise ValueError("this nano has no large size")
        guided = GuidedDecoder.load(self.large_weights, self.autoencoder.config)
        return convolving_fast(guided.eval().to(self.device))

    @cached_property
    def large_digest(self) -> str:
        """The same of `guided`, in short."""
        assert self.large_weights is not None
        return hashlib.sha256(self.large_weights.read_bytes()).hexdigest()[:8]

    @property
    def spec(self) -> WorldSpec:
        """The size is that of the next frame."""
        width, height = self._spec.width, self._spec.height
        large = SCALE * width, SCALE * height
        sizes = ("x".join(map(str, large)), f"{width}x{height}") if self._large else ()
        width, height = large if self.is_large else (width, height)
        return replace(self._spec, width=width, height=height, qualities=sizes, runtime=self.runtime.name)

    @property
    def is_large(self) -> bool:
        """Whether frames have twice the size."""
        return self._large and self._level == 0

    def allow_large(self, allowed: bool) -> None:
        """Whether the best quality has twice the size, for which the runtime must be prepared."""
        self._large = allowed

    def set_quality(self, level: int) -> None:
        self._level = level

    @classmethod
    def load(cls, path: Path = WEIGHTS, device: str = "auto", aspect: float | None = None,
             runtime: str = "torch", size: str = SMALL) -> Nano:  # fmt: skip
        """aspect: width over height of the show; the nearest native shape is taken. runtime: as `RuntimeChoice` takes
        it. size: one of SIZES; "auto" is the large one where this machine is fast enough for it.

        Raises WeightsMissing for a missing file, ValueError for a file that is not a nano's and for a runtime that does
        not serve.
        """
        if not path.exists():
            raise WeightsMissing(f"{path} is missing: reinstall worldjockey, or train one with `wj train`")
        chosen = choose_device(device)
        about, tensors = weight_file.read(path, "a nano's weights")
        text = TextEncoder(TextConfig(**about["text"]))
        autoencoder = Autoencoder(AutoencoderConfig(**weight_file.fields(about["autoencoder"])))
        world = WorldModel(world_config(about["world"]))
        reader = ImageReader(autoencoder.config.channels)
        parts = (("text", text), ("reader", reader), ("autoencoder", autoencoder), ("world", world))
        for name, module in parts:
            part = {k.removeprefix(name + "."): v for k, v in tensors.items() if k.startswith(name + ".")}
            try:
                module.load_state_dict(world_state(part) if module is world else part, assign=True)
            except (LookupError, RuntimeError) as error:
                raise ValueError(f"{path} does not fit this version of worldjockey: reinstall worldjockey") from error
        large = path.with_stem(path.stem + LARGE_SUFFIX)
        if size == LARGE and not large.exists():
            raise ValueError(f"{large} is missing: reinstall worldjockey, or use size=small")
        found = large if size != SMALL and large.exists() else None
        nano = cls(text, reader, autoencoder, world, tensors["mean"], tensors["std"], chosen, aspect, found)
        nano.weights = path
        if size == LARGE:
            _ = nano.guided  # an error is raised here, and not while the world plays
        nano.choice = RuntimeChoice(nano, runtime, size)
        return nano

    def settle(self) -> None:
        """Wait until this world is as fast as it becomes on this machine. Its size stays as it is then."""
        if self.choice is not None:
            self.choice.settle()

    def save(self, path: Path) -> None:
        """fp16 safetensors, the configurations in its header."""
        tensors = {"mean": self.mean.flatten(), "std": self.std.flatten()}
        parts: dict[str, Any] = {"text": self.text, "autoencoder": self.autoencoder, "world": self.world}
        for name, module in {**parts, "reader": self.reader}.items():
            tensors |= {f"{name}.{k}": v for k, v in module.state_dict().items()}
        about = {name: asdict(module.config) for name, module in parts.items()}
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file({k: v.detach().cpu().half().contiguous() for k, v in tensors.items()}, path,
                  metadata={"worldjockey": json.dumps(about)})  # fmt: skip

    def encode(self, prompt: Prompt) -> Tokens:
        """values (8, 16): a row for each of place, light, weather, figure, tint and mood, with a weight for each
        value; a row for an image's look, and a row for a sound's loop (`media_prompts`). Several prompts add up."""
        text = self.text.encode(prompt.text)
        values = np.zeros((TOKENS, WIDTH), np.float32)
        values[: len(text.values)] = text.values
        parts = None
        if text.parts is not None:
            parts = np.zeros((len(text.words), TOKENS, WIDTH), np.float32)
            parts[:, : len(text.values)] = text.parts
        if prompt.image is not None:
            seen = encode_image(prompt.image, self.autoencoder, self.reader, self.mean, self.std)
            unmentioned = np.clip(1 - values[:LOOK].sum(-1, keepdims=True), 0, 1)
            values[:LOOK] += seen[:LOOK] * unmentioned  # words beside an image overrule it
            values[LOOK] = seen[LOOK]
        if prompt.sound is not None:
            values[SOUND] = encode_sound(prompt.sound, prompt.rate)
        known = prompt.image is not None or prompt.sound is not None or not text.words
        clearest = float(values[:LOOK].sum(-1).max())
        return Tokens(values, text.words, parts, understood=1.0 if known else min(clearest, 1.0))

    def reset(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        shape = rng.uniform(-1, 1, SEED_DIM).astype(np.float32) if seed else np.zeros(SEED_DIM, np.float32)
        self.motion = Motion(seed=shape, figure=opening_figure())
        self.look = opening_look()
        self.seconds, self._shown, self._frozen = 0.0, self.look, False
        self.noise = torch.Generator().manual_seed(seed)
        self.cache = KVCache()
        self._geometry.forget()

    def geometry(self) -> Geometry | None:
        """How the picture of the last step moved, from the scene itself."""
        return self._geometry.latest()

    def situation(self) -> Situation:
        """Where the camera is and what stands around it, at the last step."""
        return situation(self.motion, self._shown, self._frozen, self.seconds)

    def check(self) -> None:
        """Take a step, and forget it. Raises RuntimeError where the device lacks an operation."""
        self.step(Controls(self.encode(Prompt()).values)).cpu()
        self.reset(0)

    def _remember(self, tokens: Array, dt: float) -> list[Array]:
        """The values of each attribute now: those of the prompt, and for the rest those that the world had."""
        now = []
        for i, row in enumerate(np.maximum(tokens[:LOOK], 0)):
            share = min(float(row.sum()), 1.0)
            asked = row / max(float(row.sum()), 1e-6)
            now.append((share * asked + (1 - share) * self.look[i]).astype(np.float32))
            self.look[i] = self.look[i] + (asked - self.look[i]) * min(1.0, dt / SETTLE_S) * share**2
        return now

    @torch.inference_mode()
    def step(self, controls: Controls) -> Tensor:
        begin = time.perf_counter()
        dt = min(max(controls.dt, DT_MIN), DT_MAX)  # as the network knows it; the world itself moves by controls.dt
        looped = pulse(controls.tokens[SOUND], self.motion.time)
        sound = np.clip(np.maximum(np.maximum(controls.sound, looped), controls.energy * ENERGY), 0, 1)
        look = self._shown = self._remember(controls.tokens, controls.dt)
        self.seconds += controls.dt
        self._frozen = controls.acts.get("freeze", 0.0) >= 0.5
        prompted = look[list(ATTRIBUTES).index("figure")][: len(FIGURES)]
        self.motion.advance(controls.dt, controls.camera, controls.acts, prompted, float(sound[0]))
        conditioning = self._conditioning(
            self.motion, look, controls.tokens[LOOK], sound.astype(np.float32), dt, controls.guidance
        )
        noise = torch.randn(self.latent_shape, generator=self.noise)
        scene = conditioning.scene
        self._geometry.note(scene)
        vectors = conditioning.vectors()
        bones = [skeleton(scene.figure, scene.phase)[0]] if controls.matte else []
        readings = self._compute("read", scene)
        guide = self._compute("guide", scene, readings, vectors) if self.is_large else None
        noise, prompt, guidance, *rest = upload(
            [noise, vectors.prompt, vectors.guidance, *vectors.others, *bones], self.device
        )
        vectors = Vectors(prompt, tuple(rest[: len(vectors.others)]), guidance)

        def predict(noisy: Tensor, level: float) -> Tensor:
            return self._compute("denoise", noisy, level, vectors, readings, self.cache)

        frame = sample(predict, noise, controls.steps)
        self.cache.commit()
        if controls.live is not None and controls.strength > 0:
            strength = min(controls.strength, 1.0)
            frame = relit(frame, self._latent(controls.live), strength)
            guide = None if guide is None else guide * (1 - strength)  # it knows nothing of the live picture
        made = time.perf_counter()
        decoded = self._compute("decode", frame) if guide is None else self._compute("decode_large", frame, guide)
        pixels: Tensor = decoded
        if controls.matte:
            there = 1 - float(scene.figure[0, FIGURES.index("none")])
            pixels = torch.cat([pixels, matte(rest[-1], there, *pixels.shape[1:3])[..., None]], -1)
        ended = time.perf_counter()
        self.timings = {"step_ms": (made - begin) * 1e3, "decode_ms": (ended - made) * 1e3}
        if self.choice is not None:
            self.choice.note_step(ended - begin)
        return pixels

    def _compute(self, method: str, *inputs: Any) -> Any:
        """A method of the runtime. Once it fails, PyTorch computes that and all further frames."""
        try:
            return getattr(self.runtime, method)(*inputs)
        except Exception as error:
            if isinstance(self.runtime, Eager):
                raise
            self.report(self.runtime.name, method, error)
            self.runtime = self.pytorch
            return getattr(self.runtime, method)(*inputs)

    def report(self, runtime: str, where: str, error: Exception) -> None:
        """Say that a runtime failed, to the performer and in the log."""
        self.message = f"{runtime} failed, PyTorch computes the frames from now on, slower: --runtime torch"
        logger.error("%s failed in %s", runtime, where, exc_info=error)

    def opening(self) -> Conditioning:
        """The conditioning of the first frame after `reset(0)`, whatever is played now."""
        motion = Motion(seed=np.zeros(SEED_DIM, np.float32), figure=opening_figure())
        nothing = np.zeros(WIDTH, np.float32)
        return self._conditioning(motion, opening_look(), nothing, np.zeros(len(SOUND_NAMES), np.float32), DT_MIN, 1.0)

    def _latent(self, image: NDArray[np.uint8]) -> Tensor:
        """(h, w, 3) RGB of any size -> (1, c, rows, columns), normalised."""
        x = upload([torch.from_numpy(np.array(image))], self.device)[0].permute(2, 0, 1)[None].float() / 255
        size = (self._spec.height, self._spec.width)
        if x.shape[-2:] != size:
            x = F.interpolate(x, size, mode="bilinear", antialias=True)
        latent = self.autoencoder.encode(x.contiguous(memory_format=torch.channels_last))
        return (latent - self.mean) / self.std

    def _conditioning(
        self, m: Motion, look: list[Array], seen: Array, sound: Array, dt: float, guidance: float
    ) -> Conditioning:
        rows = {k: torch.from_numpy(look[i][: len(v)])[None] for i, (k, v) in enumerate(ATTRIBUTES.items())}
        rows["figure"] = torch.from_numpy(m.figure)[None]
        numbers = {k: torch.tensor([getattr(m, k)], dtype=torch.float32) for k in NUMBERS}
        share = min(max(float(seen[SEED_DIM]), 0.0), 1.0)  # of an image's look, against the seed's own
        seed = (1 - share) * m.seed + seen[:SEED_DIM]
        scene = Scene(**rows, **numbers, sound=torch.from_numpy(sound)[None],
                      seed=torch.from_numpy(seed.astype(np.float32))[None])  # fmt: skip
        conditioning = Conditioning.of(Scene.of(scene.flat()), torch.tensor([dt]))
        conditioning.guidance = conditioning.guidance * min(max(guidance, 1.0), GUIDANCE_MAX)
        return conditioning

    def snapshot(self) -> WorldState:
        return WorldState({
            "motion": replace(self.motion, figure=self.motion.figure.copy()), "look": list(self.look),
            "noise": self.noise.get_state(), "cache": self.cache.copy(),
        })  # fmt: skip

    def restore(self, state: WorldState) -> None:
        d = state.data
        self.motion = replace(d["motion"])
        self.look, self.cache = list(d["look"]), d["cache"].copy()
        self.noise.set_state(d["noise"])
        self._geometry.forget()

    def pack(self, state: WorldState) -> bytes:
        return packed_state.pack(self, state)

    def unpack(self, data: bytes) -> WorldState:
        return packed_state.unpack(self, data)
