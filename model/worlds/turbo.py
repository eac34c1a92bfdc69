"""SD-Turbo as a `World`: image to image, every frame in 1 to 4 steps (Sauer et al., 2023).

The source image is the world's own last frame, moved by the camera, so that the world continues for ever. As
`Controls.strength` rises to a half, a live image (`Controls.live`) replaces it, and from there on the live image is
changed less and less. The noise drifts slowly instead of being sampled for each frame, so that a still scene does not
flicker; `energy` makes it drift faster. The checkpoint has no acts, audio or guidance: those controls change nothing.

Where the world is too slow, it draws smaller images of the same shape and continues from its last one. Its only memory
is that image, so the size can change without a cut.

The network's parts are called directly, with what diffusers' StableDiffusionImg2ImgPipeline computes and nothing else.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ..devices import choose_device
from ..spec import Controls, Prompt, Tokens, WorldSpec, WorldState
from .crop import cover
from .sources import TAESD, TURBO
from .token_words import WORD

logger = logging.getLogger(__name__)

SHAPES = ((512, 512), (640, 384), (704, 384), (384, 640))  # width and height; it was trained at the first
SIZE_EIGHTHS = (8, 7, 6)  # eighths of them that it can draw, best first: each is a whole number of latents
FPS = 30.0
WEIGHTED_WORDS_MAX = 24  # of a prompt that can be weighted live
FLOW, LIVE = 0.4, 0.5  # noise, as a share of all levels, over the last frame and over a live image at half strength
DRIFT, STIRRED = 0.15, 3.0  # e-folds by which the noise forgets itself a second: at rest, and with all energy
ZOOM, TURN, STRAFE = 0.7, 0.5, 0.25  # e-folds, and shares of the image, a second


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


def moved(image: Tensor, camera: Mapping[str, float], dt: float) -> Tensor:
    """The image (1, 3, h, w) after `dt` seconds of camera motion: forward and zoom magnify it, yaw and strafe to the
    right shift the scene to the left, pitch upwards shifts it down. Beyond its edges it is mirrored."""
    axis = {name: float(camera.get(name, 0.0)) * dt for name in ("strafe", "forward", "yaw", "pitch", "zoom")}
    if not any(axis.values()):
        return image
    scale = math.exp(-ZOOM * (axis["forward"] + axis["zoom"]))
    right, up = TURN * axis["yaw"] + STRAFE * axis["strafe"], TURN * axis["pitch"]
    theta = torch.tensor([[[scale, 0.0, 2 * right], [0.0, scale, -2 * up]]], device=image.device)
    grid = F.affine_grid(theta, list(image.shape), align_corners=False)
    return F.grid_sample(image, grid, mode="bilinear", padding_mode="reflection", align_corners=False)


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
        except Exception as error:
            raise ValueError(f"{folder} is not SD-Turbo ({error}): wj weights get turbo") from error
        world = cls(unet.to(chosen, memory_format=form), vae.to(chosen, memory_format=form), text.to(chosen),
                    tokenizer, scheduler, *shape_for(aspect))  # fmt: skip
        if chosen.type == "cuda":
            world.warm("inductor")
        return world

    def warm(self, compiler: str | Callable[..., Any]) -> None:
        """Compile the networks (`torch.compile`'s backend) and draw a few frames in each size, so that the first frames
        of a show are as fast as all others. If compiling fails, the world runs uncompiled."""
        parts = (self.unet, self.vae.encoder, self.vae.decoder)
        silence = Controls(np.zeros((1, self.unet.config.cross_attention_dim), np.float32))
        try:
            for part in parts:
                part.compile(backend=compiler, dynamic=False)  # each size has its own kernels: none is compiled later
            for level in range(len(self._sizes)):
                self.set_quality(level)
                self.step(silence)
                self.step(silence)
        except Exception as error:
            logger.warning("turbo runs without torch.compile, and slower: %s", error, exc_info=True)
            for part in parts:
                part._compiled_call_impl = None
            self.step(silence)
        self.set_quality(0)
        self.reset(0)

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
        self._noise: Tensor | None = None
        self._image: Tensor | None = None

    def set_quality(self, level: int) -> None:
        """Takes effect with the next step. 0 is the spec's size, each later level is smaller."""
        self._level = min(max(level, 0), len(self._sizes) - 1)

    @torch.inference_mode()
    def step(self, controls: Controls) -> Tensor:
        """One frame. Without a live image, a world's first frame is drawn from pure noise."""
        begin = time.perf_counter()
        rows, columns = size = self._sizes[self._level]
        noise = self._drift(controls)
        shown, over = share(controls.strength) if controls.live is not None else (0.0, FLOW)
        source = None if self._image is None else moved(self._image.float(), controls.camera, controls.dt)
        if source is not None and source.shape[2:] != size:
            source = F.interpolate(source, size, mode="bilinear", antialias=True)
        if controls.live is not None and shown > 0:
            live = cover(controls.live[None], columns, rows, self.device)
            source = live if source is None or shown == 1 else torch.lerp(source, live, shown)
        if source is None:
            over = 1.0
        else:
            source = source.to(self.kind)
        levels = timesteps(over, controls.steps)
        drawn = source
        if levels:
            latents = torch.zeros_like(noise) if source is None else self._encoded(source)
            latents = self._denoised(latents, noise, controls.tokens, levels)
            decode = time.perf_counter()
            drawn = self.vae.decode(latents / self.vae.config.scaling_factor, return_dict=False)[0].clamp(-1, 1)
            self.timings["decode_ms"] = (time.perf_counter() - decode) * 1e3
        assert drawn is not None
        self._image = drawn
        images = (drawn.float() / 2 + 0.5).mul(255).round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1)
        self.timings["step_ms"] = (time.perf_counter() - begin) * 1e3
        return images

    def _drift(self, controls: Controls) -> Tensor:
        """The noise, moved a little towards a new sample: its variance stays the same, and the distance depends on the
        time passed, not on the number of steps. A smaller image takes the same noise without some rows and columns."""
        fresh = torch.randn(self._noisy, generator=self._random)
        if self._noise is None:
            self._noise = fresh
        else:
            rate = DRIFT + (STIRRED - DRIFT) * min(max(controls.energy, 0.0), 1.0)
            kept = math.exp(-rate * controls.dt)
            self._noise = kept * self._noise + math.sqrt(1 - kept**2) * fresh
        latents = [n * SIZE_EIGHTHS[self._level] // SIZE_EIGHTHS[0] for n in self._noisy[2:]]
        return F.interpolate(self._noise, latents, mode="nearest-exact").to(self.device, self.kind)

    def _encoded(self, image: Tensor) -> Tensor:
        found = self.vae.encode(image)
        latents: Tensor = found.latents if hasattr(found, "latents") else found.latent_dist.mode()
        return latents * self.vae.config.scaling_factor

    def _denoised(self, latents: Tensor, noise: Tensor, tokens: np.ndarray, levels: list[int]) -> Tensor:
        scheduler = self.scheduler
        text = torch.from_numpy(np.ascontiguousarray(tokens))[None].to(self.device, self.kind)
        scheduler.set_timesteps(timesteps=levels, device=self.device)
        scheduler.set_begin_index(0)
        latents = scheduler.add_noise(latents, noise, scheduler.timesteps[:1])
        for t in scheduler.timesteps:
            noise_pred = self.unet(
                scheduler.scale_model_input(latents, t), t, encoder_hidden_states=text, return_dict=False
            )
            latents = scheduler.step(noise_pred[0], t, latents, return_dict=False)[0]
        return latents

    def snapshot(self) -> WorldState:
        return WorldState({"turbo": self._noisy, "image": self._image, "noise": self._noise,
                           "random": self._random.get_state()})  # fmt: skip

    def restore(self, state: WorldState) -> None:
        """Raises ValueError for another world's snapshot. An image of another size is resized."""
        if state.data.get("turbo") != self._noisy:
            raise ValueError(f"this snapshot is not of a turbo of {self._spec.width}x{self._spec.height}")
        image, noise = state.data["image"], state.data["noise"]
        self._image = None if image is None else image.to(self.device, self.kind)
        self._noise = noise
        self._random.set_state(state.data["random"])
