"""SD-Turbo as a `World`: image to image, every frame in 1 to 4 steps (Sauer et al., 2023).

How it continues from its last frame and follows a live image is in `image_to_image.py`. The checkpoint has no acts,
audio or guidance: those controls change nothing.

With a ControlNet (Zhang et al., 2023) it also keeps to the depth of a live image, where that is known
(`Controls.depth`): what is near in the image is near in what it draws.

The networks are called directly, with what diffusers' StableDiffusionImg2ImgPipeline and
StableDiffusionControlNetImg2ImgPipeline compute and nothing else.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..devices import choose_device
from ..spec import Array, Controls, Prompt, Tokens, WorldSpec
from .image_to_image import ImageToImage, nearest_shape
from .sources import TAESD, TURBO, TURBO_DEPTH
from .token_words import WORD
from .warp import depth_of

SHAPES = ((512, 512), (640, 384), (704, 384), (384, 640))  # width and height; it was trained at the first
FPS = 30.0
CONTROL = 0.7  # how strongly the ControlNet is heard; it was trained on another schedule than SD-Turbo's
WEIGHTED_WORDS_MAX = 24  # of a prompt that can be weighted live


def arithmetic(device: torch.device) -> torch.dtype:
    """float16 on a GPU, for half the memory and twice the speed; float32 on a CPU."""
    return torch.float32 if device.type == "cpu" else torch.float16


def timesteps(noise: float, steps: int) -> list[int]:
    """The timesteps of a denoising: evenly down from a share of all 1000 levels; an empty list for no noise.

    For noise = steps / N these are the last steps of N with the spacing "trailing" (Lin et al., 2023).
    """
    top = round(min(max(noise, 0.0), 1.0) * 100) * 10
    steps = min(max(steps, 1), 4)
    return [round(top * (steps - k) / steps) - 1 for k in range(steps)] if top else []


def _without(word: str, text: str) -> str:
    return " ".join(WORD.sub(lambda found: "" if found[0].lower() == word else found[0], text).split())


def _read_controlnet(folder: Path) -> Any:
    """Its file is a pickle, of which nothing but tensors is read."""
    from diffusers import ControlNetModel

    made: Any = ControlNetModel.from_config(ControlNetModel.load_config(folder, local_files_only=True))
    made.load_state_dict(torch.load(folder / "diffusion_pytorch_model.bin", map_location="cpu", weights_only=True))
    return made


class Turbo(ImageToImage):
    """A `World`. Make one with `Turbo.load`, or from the networks of diffusers and transformers."""

    # A level at which the checkpoint was distilled, of which there are 1, 3/4, 1/2 and 1/4.
    flow_noise, live_noise = 0.5, 0.5

    def __init__(self, unet: Any, vae: Any, text_encoder: Any, tokenizer: Any, scheduler: Any,
                 width: int = SHAPES[0][0], height: int = SHAPES[0][1], controlnet: Any = None) -> None:  # fmt: skip
        self.unet, self.vae, self.text_encoder = (
            part.eval().requires_grad_(False) for part in (unet, vae, text_encoder)
        )
        self.controlnet = None if controlnet is None else controlnet.eval().requires_grad_(False)
        self._depth: Tensor | None = None  # (1, 3, h, w) 0..1, that this step keeps to
        self.tokenizer, self.scheduler = tokenizer, scheduler
        betas = scheduler.alphas_cumprod.double()
        self._sigmas: list[float] = ((1 - betas) / betas).sqrt().tolist()  # noise over signal, by timestep
        self._times = torch.arange(len(self._sigmas), dtype=torch.float32).to(unet.device)
        factor = 2 ** (len(vae.config.block_out_channels) - 1)
        spec = WorldSpec("turbo", width, height, FPS, 1, (), ("text", "live"), str(unet.device))
        super().__init__(spec, unet.device, unet.dtype, (unet.config.in_channels, height // factor, width // factor))

    @classmethod
    def load(cls, root: Path, device: str = "auto", aspect: float | None = None, control: str = "none") -> Turbo:
        """root: a folder that holds SD-Turbo and its tiny decoder as root/<repository>/<path>. control: "depth" for the
        ControlNet of that.

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
                folder, subfolder="unet", variant="fp16", dtype=kind, **safe
            )
            vae: Any = AutoencoderTiny.from_pretrained(root / TAESD.repository, dtype=kind, **safe)
            text: Any = CLIPTextModel.from_pretrained(folder / "text_encoder", variant="fp16", dtype=kind, **safe)
            tokenizer = CLIPTokenizer.from_pretrained(folder / "tokenizer", local_files_only=True)
            scheduler = EulerDiscreteScheduler.from_pretrained(folder, subfolder="scheduler", local_files_only=True)
            controlnet: Any = None
            if control == "depth":
                controlnet = _read_controlnet(root / TURBO_DEPTH.repository).to(chosen, kind, memory_format=form)
            if scheduler.config.prediction_type != "epsilon":
                raise ValueError(f"its network predicts {scheduler.config.prediction_type}")
        except Exception as error:
            raise ValueError(f"{folder} is not SD-Turbo ({error}): wj weights get turbo") from error
        world = cls(unet.to(chosen, memory_format=form), vae.to(chosen, memory_format=form), text.to(chosen),
                    tokenizer, scheduler, *nearest_shape(SHAPES, aspect), controlnet)  # fmt: skip
        if chosen.type == "cuda":
            world.warm("inductor")
        return world

    def _parts(self) -> list[Any]:
        parts = [self.unet, self.vae.encoder, self.vae.decoder]
        return parts if self.controlnet is None else [*parts, self.controlnet]

    def _warm_frames(self, tokens: Array, depth: Array | None = None) -> None:
        """With and without a depth to keep to."""
        super()._warm_frames(tokens)
        if self.controlnet is not None:
            super()._warm_frames(tokens, np.zeros((self._spec.height, self._spec.width), np.float32))

    def _conditions(self, controls: Controls) -> list[Tensor]:
        if self.controlnet is None or controls.depth is None:
            return []
        return [torch.from_numpy(np.ascontiguousarray(controls.depth, np.float32))]

    def _condition(self, sent: list[Tensor]) -> None:
        rows, columns = self._sizes[self._level]
        self._depth = self._shaped(depth_of(sent[0], columns, rows)) if sent else None

    def _silent_tokens(self) -> Array:
        text = (self.text_encoder.config.max_position_embeddings, self.unet.config.cross_attention_dim)
        return np.zeros(text, np.float32)

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

    def _shaped(self, x: Tensor) -> Tensor:
        """As the networks are compiled to take it."""
        return x.to(self.kind).contiguous(memory_format=torch.channels_last)

    def _encoded(self, image: Tensor) -> Tensor:
        self._begin_graph()
        found = self.vae.encode(self._shaped(image))
        latents: Tensor = found.latents if hasattr(found, "latents") else found.latent_dist.mode()
        return latents.float() * self.vae.config.scaling_factor

    def _decoded(self, latents: Tensor) -> Tensor:
        self._begin_graph()
        image: Tensor = self.vae.decode(self._shaped(latents / self.vae.config.scaling_factor), return_dict=False)[0]
        return image

    def _denoised(self, latents: Tensor, noise: Tensor, text: Tensor, over: float, steps: int) -> Tensor:
        """Euler's method from the first of `timesteps` down to no noise. diffusers' scheduler computes the same and
        sends its table to the device and back for every frame."""
        levels = timesteps(over, steps)
        sigmas = [self._sigmas[t] for t in levels] + [0.0]
        x = latents + sigmas[0] * noise
        for t, sigma, lower in zip(levels, sigmas, sigmas[1:], strict=False):
            scaled, time = self._shaped(x / math.sqrt(sigma**2 + 1)), self._times[t : t + 1].clone()
            self._begin_graph()
            kept: dict[str, Any] = {}
            if self._depth is not None:
                assert self.controlnet is not None
                found = self.controlnet(scaled, time, text[None], self._depth, CONTROL, return_dict=False)
                kept = dict(
                    zip(("down_block_additional_residuals", "mid_block_additional_residual"), found, strict=True)
                )
            eps = self.unet(scaled, time, encoder_hidden_states=text[None], return_dict=False, **kept)[0]
            x = x + (lower - sigma) * eps.float()
        return x
