"""SD-Turbo as a `World`: image to image, every frame in 1 to 4 steps (Sauer et al., 2023).

The source is the world's own last frame, moved by the camera, so that the world continues for ever. It is kept as the
latents that the network drew, which no autoencoder has touched: their colours would drift within seconds. They are held
near those of a frame that is drawn from noise alone for the same prompt (`latent_statistics.py`).

As `Controls.strength` rises to a half, a live image (`Controls.live`) replaces the last frame, and from there on the
live image is changed less and less. Where it is known how the live image moved (`Controls.motion`), the last frame
and its noise move with it instead of with the camera. The noise drifts slowly instead of being sampled for each frame,
so that a still scene does not flicker; `energy` makes it drift faster. The checkpoint has no acts, audio or guidance:
those controls change nothing.

Where the world is too slow, it draws smaller images of the same shape and continues from its last one. Its only memory
is that image, so the size can change without a cut.

The network's parts are called directly, with what diffusers' StableDiffusionImg2ImgPipeline computes and nothing else.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ..devices import choose_device, upload
from ..painting.carried_noise import CarriedNoise
from ..spec import Array, Controls, Prompt, Tokens, WorldSpec, WorldState
from .crop import cover
from .latent_statistics import LatentStatistics
from .sources import TAESD, TURBO
from .token_words import WORD
from .warp import carried, motion_of, moved

logger = logging.getLogger(__name__)

SHAPES = ((512, 512), (640, 384), (704, 384), (384, 640))  # width and height; it was trained at the first
SIZE_EIGHTHS = (8, 7, 6)  # eighths of them that it can draw, best first: each is a whole number of latents
FPS = 30.0
WEIGHTED_WORDS_MAX = 24  # of a prompt that can be weighted live
# Noise, as a share of all levels, over the last frame and over a live image at half strength: a level at which the
# checkpoint was distilled, of which there are 1, 3/4, 1/2 and 1/4.
FLOW, LIVE = 0.5, 0.5
SHOWN_HOLDS = 0.5  # share of a live image in the source from which on nothing else has to hold its colours
CHANGED = 0.1  # share of their length by which tokens change before their colours are looked up anew
LOOKED_UP_S = 0.25  # at least, between two times of it
WARM_FRAMES = 4  # of each size: CUDA graphs are replayed from the third call on
DRIFT, STIRRED = 0.15, 3.0  # e-folds by which the noise forgets itself a second: at rest, and with all energy


def arithmetic(device: torch.device) -> torch.dtype:
    """float16 on a GPU, for half the memory and twice the speed; float32 on a CPU."""
    return torch.float32 if device.type == "cpu" else torch.float16


def shape_for(aspect: float | None) -> tuple[int, int]:
    """Width and height nearest to an aspect (width over height)."""
    if aspect is None:
        return SHAPES[0]
    return min(SHAPES, key=lambda shape: abs(math.log(shape[0] / shape[1] / aspect)))


def share(strength: float) -> tuple[float, float]:
    """The share of the live image in the source, and the share of noise on the source; each 0..1."""
    strength = min(max(strength, 0.0), 1.0)
    if strength < 0.5:
        return 2 * strength, FLOW + (LIVE - FLOW) * 2 * strength
    return 1.0, LIVE * 2 * (1 - strength)


def timesteps(noise: float, steps: int) -> list[int]:
    """The timesteps of a denoising: evenly down from a share of all 1000 levels; an empty list for no noise.

    For noise = steps / N these are the last steps of N with the spacing "trailing" (Lin et al., 2023).
    """
    top = round(min(max(noise, 0.0), 1.0) * 100) * 10
    steps = min(max(steps, 1), 4)
    return [round(top * (steps - k) / steps) - 1 for k in range(steps)] if top else []


def _without(word: str, text: str) -> str:
    return " ".join(WORD.sub(lambda found: "" if found[0].lower() == word else found[0], text).split())


class Turbo:
    """A `World`. Make one with `Turbo.load`, or from the networks of diffusers and transformers."""

    def __init__(self, unet: Any, vae: Any, text_encoder: Any, tokenizer: Any, scheduler: Any,
                 width: int = SHAPES[0][0], height: int = SHAPES[0][1]) -> None:  # fmt: skip
        self.unet, self.vae, self.text_encoder = (
            part.eval().requires_grad_(False) for part in (unet, vae, text_encoder)
        )
        self.tokenizer, self.scheduler = tokenizer, scheduler
        self.device, self.kind = unet.device, unet.dtype
        factor = 2 ** (len(vae.config.block_out_channels) - 1)
        self._noisy = (1, unet.config.in_channels, height // factor, width // factor)
        self._sizes = tuple((height * n // 8, width * n // 8) for n in SIZE_EIGHTHS)  # rows and columns of pixels
        self._level = 0
        betas = scheduler.alphas_cumprod.double()
        self._sigmas: list[float] = ((1 - betas) / betas).sqrt().tolist()  # noise over signal, by timestep
        self._times = torch.arange(len(self._sigmas), dtype=torch.float32).to(self.device)
        self._graphs = False  # whether the networks are CUDA graphs, whose outputs are valid until the next call
        self._spec = WorldSpec("turbo", width, height, FPS, 1, (), ("text", "live"), str(self.device),
                               qualities=tuple(f"{columns}x{rows}" for rows, columns in self._sizes))  # fmt: skip
        self._random = torch.Generator()
        self.timings: dict[str, float] = {}
        self.reset(0)

    @classmethod
    def load(cls, root: Path, device: str = "auto", aspect: float | None = None) -> Turbo:
        """root: a folder that holds SD-Turbo and its tiny decoder as root/<repository>/<path>.

        Raises ImportError if diffusers is missing and ValueError for files of another model.
        """
        from diffusers import AutoencoderTiny, EulerDiscreteScheduler, UNet2DConditionModel
        from transformers import CLIPTextModel, CLIPTokenizer
        from transformers.utils.logging import disable_progress_bar

        folder, chosen = root / TURBO.repository, choose_device(device)
        kind, form = arithmetic(chosen), torch.channels_last
        safe: dict[str, Any] = {"local_files_only": True, "use_safetensors": True}
        disable_progress_bar()  # the terminal shows the show
        try:
            unet: Any = UNet2DConditionModel.from_pretrained(
                folder, subfolder="unet", variant="fp16", torch_dtype=kind, **safe
            )
            vae: Any = AutoencoderTiny.from_pretrained(root / TAESD.repository, torch_dtype=kind, **safe)
            text: Any = CLIPTextModel.from_pretrained(folder / "text_encoder", variant="fp16", dtype=kind, **safe)
            tokenizer = CLIPTokenizer.from_pretrained(folder / "tokenizer", local_files_only=True)
            scheduler = EulerDiscreteScheduler.from_pretrained(folder, subfolder="scheduler", local_files_only=True)
            if scheduler.config.prediction_type != "epsilon":
                raise ValueError(f"its network predicts {scheduler.config.prediction_type}")
        except Exception as error:
            raise ValueError(f"{folder} is not SD-Turbo ({error}): wj weights get turbo") from error
        world = cls(unet.to(chosen, memory_format=form), vae.to(chosen, memory_format=form), text.to(chosen),
                    tokenizer, scheduler, *shape_for(aspect))  # fmt: skip
        if chosen.type == "cuda":
            world.warm("inductor")
        return world

    def warm(self, compiler: str | Callable[..., Any]) -> None:
        """Compile the networks (`torch.compile`'s backend) and draw a few frames in each size with as much text as a
        prompt has, so that the first frames of a show are as fast as all others and nothing is compiled later.

        Inductor's kernels are started as CUDA graphs, where that works. If compiling fails, the world runs uncompiled.
        """
        ways: list[dict[str, Any]] = [{"backend": compiler}]
        if compiler == "inductor":
            ways.insert(0, {"backend": compiler, "options": {"triton.cudagraphs": True}})
        for way in ways:
            try:
                self._compile(way)
                break
            except Exception as error:
                what = "CUDA graphs" if "options" in way else "torch.compile"
                logger.warning("turbo runs without %s, and slower: %s", what, error, exc_info=True)
                self._graphs = False
                for part in self._parts():
                    part._compiled_call_impl = None
        else:
            self.step(self._silence())
        self.set_quality(0)
        self.reset(0)

    def _compile(self, way: dict[str, Any]) -> None:
        self._graphs = "options" in way
        for part in self._parts():
            part.compile(dynamic=False, **way)  # each size has its own kernels: none is compiled later
        for level in range(len(self._sizes)):
            self.set_quality(level)
            self.reset(0)
            for n in range(WARM_FRAMES):
                self.step(self._silence(live=n > 0))

    def _parts(self) -> tuple[Any, Any, Any]:
        return self.unet, self.vae.encoder, self.vae.decoder

    def _silence(self, live: bool = False) -> Controls:
        """Controls with an empty text, as long as every prompt's."""
        text = (self.text_encoder.config.max_position_embeddings, self.unet.config.cross_attention_dim)
        black = np.zeros((self._spec.height, self._spec.width, 3), np.uint8) if live else None
        return Controls(np.zeros(text, np.float32), live=black, strength=0.3)

    @property
    def spec(self) -> WorldSpec:
        return self._spec

    @torch.inference_mode()
    def encode(self, prompt: Prompt) -> Tokens:
        """(77, d). The part of a word is the difference between the prompt with and without it: weight 0 is exactly the
        prompt without that word. Raises ValueError for a prompt of images or sound alone."""
        if not prompt.text and (prompt.image is not None or prompt.sound is not None or prompt.video is not None):
            raise ValueError("turbo takes text prompts; give it images as a live input")
        words = tuple(dict.fromkeys(WORD.findall(prompt.text.lower())))[:WEIGHTED_WORDS_MAX]
        without = [_without(word, prompt.text) for word in words]
        pieces = self.tokenizer([prompt.text, *without], padding="max_length", truncation=True, return_tensors="pt",
                              max_length=self.text_encoder.config.max_position_embeddings)  # fmt: skip
        hidden = self.text_encoder(pieces.input_ids.to(self.device))[0].float().cpu().numpy()
        return Tokens(hidden[0], words, hidden[:1] - hidden[1:] if words else None)

    def reset(self, seed: int) -> None:
        self._random.manual_seed(seed)
        self._noise: CarriedNoise | None = None
        self._latents: Tensor | None = None  # of the last frame, clean, float32
        self._reference: LatentStatistics | None = None  # of a frame drawn from noise alone, for these tokens
        self._looked_up: Array | None = None
        self._since = 0.0  # seconds of the world's time since that

    def set_quality(self, level: int) -> None:
        """Takes effect with the next step. 0 is the spec's size, each later level is smaller."""
        self._level = min(max(level, 0), len(self._sizes) - 1)

    @torch.inference_mode()
    def step(self, controls: Controls) -> Tensor:
        """One frame. Without a live image, a world's first frame is drawn from pure noise."""
        begin = time.perf_counter()
        if self._graphs:
            torch.compiler.cudagraph_mark_step_begin()
        rows, columns = self._sizes[self._level]
        shown, over = share(controls.strength) if controls.live is not None else (0.0, FLOW)
        moves = controls.motion is not None and controls.live is not None
        given = [self._drift(controls), torch.from_numpy(np.ascontiguousarray(controls.tokens, np.float32))[None]]
        if moves:
            given.append(torch.from_numpy(np.ascontiguousarray(controls.motion, np.float32)))
        noise, text, *motion = upload(given, self.device)
        text = text.to(self.kind)
        picture = live = None
        if controls.live is not None and (shown > 0 or moves):
            picture = cover(controls.live[None], columns, rows, self.device)
            live = self._encoded(picture)
        source = (
            None if self._latents is None or shown == 1 else self._held(self._latents, noise, text, controls, shown)
        )
        if source is not None:
            source = self._moved(source, controls, noise.shape[2:], live, *motion)
        if live is not None and shown > 0:
            source = live if source is None else torch.lerp(source, live, shown)
        levels = timesteps(1.0 if source is None else over, controls.steps)
        first, drawn = source is None, picture
        if source is None:
            source = torch.zeros_like(noise)
        self._latents = source
        if levels:
            self._latents = self._denoised(source, noise, text, levels)
            decode = time.perf_counter()
            clean = self._shaped(self._latents / self.vae.config.scaling_factor)
            drawn = self.vae.decode(clean, return_dict=False)[0].clamp(-1, 1)
            self.timings["decode_ms"] = (time.perf_counter() - decode) * 1e3
        if first:
            self._refer(self._latents, controls)
        assert drawn is not None
        images = (drawn.float() / 2 + 0.5).mul(255).round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1)
        self.timings["step_ms"] = (time.perf_counter() - begin) * 1e3
        return images

    def _moved(self, own: Tensor, controls: Controls, size: tuple[int, ...], live: Tensor | None,
               motion: Tensor | None = None) -> Tensor:  # fmt: skip
        """The last frame's latents in this size, moved with the live image or else by the camera."""
        if own.shape[2:] != size:
            own = F.interpolate(own, size, mode="bilinear", antialias=True)
        if motion is None or live is None:
            return moved(own, controls.camera, controls.dt)
        rows, columns = self._sizes[self._level]
        return carried(own, *motion_of(motion, size[0], size[1], columns, rows), live)

    def _held(self, latents: Tensor, noise: Tensor, text: Tensor, controls: Controls, shown: float) -> Tensor:
        """The latents with colours near those of a frame that is drawn from noise alone; that frame is drawn again
        where the prompt has changed. shown: the share of a live image beside them, which holds their colours, too."""
        self._since += controls.dt
        weight = 1 - shown / SHOWN_HOLDS if shown < SHOWN_HOLDS else 0.0
        if not weight:
            return latents
        if self._reference is None or (self._since >= LOOKED_UP_S and self._differs(controls.tokens)):
            self._refer(self._denoised(torch.zeros_like(noise), noise, text, timesteps(1.0, 1)), controls)
        assert self._reference is not None
        return self._reference.hold(latents, weight)

    def _refer(self, latents: Tensor, controls: Controls) -> None:
        self._reference, self._since = LatentStatistics.of(latents), 0.0
        self._looked_up = np.array(controls.tokens)

    def _differs(self, tokens: Array) -> bool:
        before = self._looked_up
        return before is None or bool(np.linalg.norm(tokens - before) > CHANGED * np.linalg.norm(before))

    def _drift(self, controls: Controls) -> Tensor:
        """The noise, float32 on the host, moved a little towards a new sample: its variance stays the same, and the
        distance depends on the time passed, not on the number of steps. It moves with the live picture, so that what is
        drawn from it stays on the things. A smaller image takes the same noise without
        some rows and columns."""
        if self._noise is None:
            self._noise = CarriedNoise(*self._noisy[1:], self._random)
        else:
            rate = DRIFT + (STIRRED - DRIFT) * min(max(controls.energy, 0.0), 1.0)
            self._noise.forget(1 - math.exp(-2 * rate * controls.dt))
            if controls.live is not None and controls.motion is not None:
                rows, columns = controls.motion.shape[:2]
                way, known = motion_of(
                    torch.from_numpy(controls.motion), rows, columns, self._spec.width, self._spec.height
                )
                self._noise.move(way.masked_fill(~known, torch.nan)[0].permute(1, 2, 0))
        latents = [n * SIZE_EIGHTHS[self._level] // SIZE_EIGHTHS[0] for n in self._noisy[2:]]
        return F.interpolate(self._noise.latents, latents, mode="nearest-exact")

    def _shaped(self, x: Tensor) -> Tensor:
        """As the networks are compiled to take it."""
        return x.to(self.kind).contiguous(memory_format=torch.channels_last)

    def _encoded(self, image: Tensor) -> Tensor:
        found = self.vae.encode(self._shaped(image))
        latents: Tensor = found.latents if hasattr(found, "latents") else found.latent_dist.mode()
        return latents.float() * self.vae.config.scaling_factor

    def _denoised(self, latents: Tensor, noise: Tensor, text: Tensor, levels: list[int]) -> Tensor:
        """Euler's method from the first of `levels` down to no noise, float32. diffusers' scheduler computes the same
        and sends its table to the device and back for every frame."""
        sigmas = [self._sigmas[t] for t in levels] + [0.0]
        x = latents + sigmas[0] * noise
        for t, sigma, lower in zip(levels, sigmas, sigmas[1:], strict=False):
            scaled = self._shaped(x / math.sqrt(sigma**2 + 1))
            found = self.unet(scaled, self._times[t : t + 1].clone(), encoder_hidden_states=text, return_dict=False)
            x = x + (lower - sigma) * found[0].float()
        return x

    def snapshot(self) -> WorldState:
        return WorldState({"turbo": self._noisy, "latents": self._latents,
                           "noise": None if self._noise is None else self._noise.state(),
                           "reference": (self._reference, self._looked_up, self._since),
                           "random": self._random.get_state()})  # fmt: skip

    def restore(self, state: WorldState) -> None:
        """Raises ValueError for another world's snapshot. An image of another size is resized."""
        if state.data.get("turbo") != self._noisy:
            raise ValueError(f"this snapshot is not of a turbo of {self._spec.width}x{self._spec.height}")
        self._latents, self._noise = state.data["latents"], None
        if state.data["noise"] is not None:
            self._noise = CarriedNoise(*self._noisy[1:], self._random)
            self._noise.restore(state.data["noise"])
        self._reference, self._looked_up, self._since = state.data["reference"]
        self._random.set_state(state.data["random"])
