"""FLUX.2 klein 4B as a `World`: image to image in 1 to 4 steps, with images as references (Black Forest Labs, 2026).

How it continues from its last frame and follows a live image is in `image_to_image.py`. An image in a prompt is a
reference: what is drawn takes its look and its things from it. The checkpoint has no acts, audio or guidance: those
controls change nothing.

The networks are called directly, with what diffusers' Flux2KleinPipeline computes and nothing else. A frame is kept as
the autoencoder's latents, so that it moves by eighths of an image's pixels; the network sees patches of 2 x 2 of them,
brought to a mean of 0 and a deviation of 1.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..devices import choose_device, encoder_device, gpu_memory
from ..painting.crop import cover
from ..spec import Array, Controls, Prompt, Tokens, WorldSpec
from .image_to_image import ImageToImage, nearest_shape
from .token_words import pieces_of

SHAPES = ((512, 512), (640, 384), (384, 640))  # width and height
FPS = 20.0
TEXT_ROWS = 512  # of a prompt's pieces; the checkpoint was trained with as many, padded
TEXT_LAYERS = (9, 18, 27)  # of the text encoder, whose outputs are a prompt's tokens
PATCH = 2  # latents across a patch
REFERENCE = 256  # pixels across a reference
REFERENCE_TIME = 10  # its place on the network's axis of time
REFERENCE_MIN = 0.05  # share of a reference in the tokens from which on the network is shown it
SHARED_GPU_BYTES = 20e9  # bytes that a GPU needs for the network, its work and the 8 GB of the text encoder


def arithmetic(device: torch.device) -> torch.dtype:
    return torch.float32 if device.type == "cpu" else torch.bfloat16


def patched(latents: Tensor) -> Tensor:
    """(1, c, h, w) -> (1, 4 c, h / 2, w / 2)."""
    n, c, h, w = latents.shape
    parts = latents.reshape(n, c, h // PATCH, PATCH, w // PATCH, PATCH).permute(0, 1, 3, 5, 2, 4)
    return parts.reshape(n, c * PATCH**2, h // PATCH, w // PATCH)


def unpatched(patches: Tensor) -> Tensor:
    """The reverse of `patched`."""
    n, c, h, w = patches.shape
    parts = patches.reshape(n, c // PATCH**2, PATCH, PATCH, h, w).permute(0, 1, 4, 2, 5, 3)
    return parts.reshape(n, c // PATCH**2, h * PATCH, w * PATCH)


def places(rows: int, columns: int, time: int = 0) -> Tensor:
    """(rows * columns, 4): time, row, column and 0 of each patch."""
    axes = (torch.tensor([time]), torch.arange(rows), torch.arange(columns), torch.tensor([0]))
    return torch.cartesian_prod(*axes)


class KnownPlaces(nn.Module):
    """The network's rotary embedding of places, computed once for those of `known`."""

    def __init__(self, embed: Any, known: Sequence[Tensor]) -> None:
        super().__init__()
        self.embed: Any = embed.embed if isinstance(embed, KnownPlaces) else embed
        self._known = {id(places): (places, self.embed(places)) for places in known}

    def forward(self, places: Tensor) -> Any:
        found = self._known.get(id(places))
        return self.embed(places) if found is None else found[1]


class Klein(ImageToImage):
    """A `World`. Make one with `Klein.load`, or from the parts of diffusers' Flux2KleinPipeline."""

    # Levels at which the checkpoint was distilled are 1, 3/4, 1/2 and 1/4, of which its schedule makes much more noise.
    flow_noise, live_noise = 0.25, 0.5
    cuda_graphs = False  # it is compiled block by block, and its kernels are long

    def __init__(self, pipe: Any, width: int = SHAPES[0][0], height: int = SHAPES[0][1]) -> None:
        from diffusers.pipelines.flux2.pipeline_flux2_klein import compute_empirical_mu

        for part in (pipe.transformer, pipe.vae, pipe.text_encoder):
            part.eval().requires_grad_(False)
        self.transformer, self.vae, self.tokenizer = pipe.transformer, pipe.vae, pipe.tokenizer
        self.text_encoder, self._scheduler, self._shift = pipe.text_encoder, pipe.scheduler, compute_empirical_mu
        device, kind = self.transformer.device, self.transformer.dtype
        channels = self.transformer.config.in_channels
        self.text_width: int = self.transformer.config.joint_attention_dim
        self._factor = 2 ** (len(self.vae.config.block_out_channels) - 1)
        across = REFERENCE // self._factor // PATCH
        self._reference_shape = (across**2, channels)
        # A row more than it fills at least, so that there is a place for its share.
        self.reference_rows = across**2 * channels // self.text_width + 1
        # (1, 4 c, 1, 1): what brings patches to a mean of 0 and a deviation of 1.
        norm = self.vae.bn
        self._mean = norm.running_mean.view(1, -1, 1, 1).float()
        self._deviation = (norm.running_var.view(1, -1, 1, 1).float() + self.vae.config.batch_norm_eps).sqrt()
        text = torch.cat([torch.zeros(TEXT_ROWS, 3, dtype=torch.int64), torch.arange(TEXT_ROWS)[:, None]], 1)
        self._text_places = text.to(device)
        reference = places(across, across, REFERENCE_TIME)
        self._places: dict[tuple[int, int, bool], Tensor] = {}  # by rows, columns, and whether there is a reference
        spec = WorldSpec("klein", width, height, FPS, 1, (), ("text", "image", "live"), str(device))
        super().__init__(spec, device, kind, (channels // PATCH**2, height // self._factor, width // self._factor))
        for rows, columns in self._sizes:
            down, across = rows // self._factor // PATCH, columns // self._factor // PATCH
            self._places[down, across, False] = places(down, across).to(device)
            self._places[down, across, True] = torch.cat([places(down, across), reference]).to(device)
        known = (self._text_places, *self._places.values())
        self.transformer.pos_embed = KnownPlaces(self.transformer.pos_embed, known)

    @classmethod
    def load(cls, folder: Path, device: str = "auto", aspect: float | None = None) -> Klein:
        """folder: FLUX.2 klein 4B in diffusers' layout. Raises ImportError if diffusers is missing and ValueError for
        another model."""
        from diffusers import Flux2KleinPipeline
        from diffusers.utils import logging as diffusers_logging
        from transformers.utils.logging import disable_progress_bar

        chosen = choose_device(device)
        disable_progress_bar()  # the terminal shows the show
        diffusers_logging.disable_progress_bar()
        try:
            safe: dict[str, Any] = {"local_files_only": True, "use_safetensors": True}
            pipe = Flux2KleinPipeline.from_pretrained(folder, dtype=arithmetic(chosen), **safe)
            if not pipe.config.is_distilled:
                raise ValueError("it is not distilled and too slow to be played live")
            if not pipe.scheduler.config.use_dynamic_shifting:
                raise ValueError("its schedule is another one")
        except Exception as error:
            raise ValueError(f"{folder} is not FLUX.2 klein 4B ({error}): wj weights get klein") from error
        layers = pipe.text_encoder.model.layers
        del layers[max(TEXT_LAYERS) + 1 :]  # nothing is read from the others; a fourth of its memory
        pipe.transformer.to(chosen)
        pipe.vae.to(chosen)
        pipe.text_encoder.to(encoder_device(chosen, gpu_memory(chosen), SHARED_GPU_BYTES))
        world = cls(pipe, *nearest_shape(SHAPES, aspect))
        if chosen.type == "cuda":
            world.warm("inductor")
        return world

    def _parts(self) -> Sequence[Any]:
        blocks = (*self.transformer.transformer_blocks, *self.transformer.single_transformer_blocks)
        return (*blocks, self.vae.encoder, self.vae.decoder)

    def _warm_frames(self, tokens: Array, depth: Array | None = None) -> None:
        """With and without a reference."""
        super()._warm_frames(tokens)
        super()._warm_frames(self.encode(Prompt("", image=np.zeros((REFERENCE, REFERENCE, 3), np.uint8))).values)

    def _silent_tokens(self) -> Array:
        return np.zeros((TEXT_ROWS + self.reference_rows, self.text_width), np.float32)

    def encode(self, prompt: Prompt) -> Tokens:
        """(512 + r, d): the text's tokens, then the latents of a reference in r rows, whose last number is its share.

        Raises ValueError for a prompt of sound or video alone.
        """
        if not prompt.text and prompt.image is None and (prompt.sound is not None or prompt.video is not None):
            raise ValueError("klein takes text and images as prompts")
        values = self._silent_tokens()
        values[:TEXT_ROWS], words, whose = self._encoded_text(prompt.text)
        if prompt.image is not None:
            latents = self._encoded_reference(prompt.image)
            values[TEXT_ROWS:].reshape(-1)[: latents.size] = latents.reshape(-1)
            values[-1, -1] = 1.0
        return Tokens(values, words, rows=np.pad(whose, ((0, 0), (0, self.reference_rows))))

    @torch.inference_mode()
    def _encoded_text(self, text: str) -> tuple[Array, tuple[str, ...], Array]:
        """(512, d); its words; and (words, 512), 1 where a row is a word's."""
        messages = [{"role": "user", "content": text}]
        chat: str = self.tokenizer.apply_chat_template(
            messages, tokenize=False, add_generation_prompt=True, enable_thinking=False
        )
        pieces = self.tokenizer(chat, padding="max_length", truncation=True, max_length=TEXT_ROWS,
                                return_offsets_mapping=True)  # fmt: skip
        encoder = self.text_encoder
        ids, mask = (torch.tensor([pieces[k]], device=encoder.device) for k in ("input_ids", "attention_mask"))
        hidden = encoder.model(ids, attention_mask=mask, output_hidden_states=True, use_cache=False).hidden_states
        values = torch.cat([hidden[k] for k in TEXT_LAYERS], -1)[0].float().cpu().numpy()
        begin = chat.index(text)
        spans = [(first - begin, last - begin) for first, last in pieces["offset_mapping"]]
        return values, *pieces_of(text, spans, TEXT_ROWS)

    @torch.inference_mode()
    def _encoded_reference(self, image: np.ndarray) -> Array:
        """(patches, channels)."""
        latents = self._encoded(cover(image[None], REFERENCE, REFERENCE, self.device))
        return self._normal(latents).flatten(2)[0].T.contiguous().cpu().numpy()

    def _normal(self, latents: Tensor) -> Tensor:
        """The autoencoder's latents as the network's patches."""
        return (patched(latents) - self._mean) / self._deviation

    def _encoded(self, image: Tensor) -> Tensor:
        shaped = image.to(self.kind).contiguous(memory_format=torch.contiguous_format)
        latents: Tensor = self.vae.encode(shaped, return_dict=False)[0].mode()
        return latents.float()

    def _decoded(self, latents: Tensor) -> Tensor:
        image: Tensor = self.vae.decode(latents.to(self.kind).contiguous(), return_dict=False)[0]
        return image

    def levels(self, over: float, steps: int, patches: int) -> list[float]:
        """Shares of noise, 0..1, from `over` of the schedule down to none, for so many patches."""
        steps = min(max(steps, 1), 4)
        mu = self._shift(image_seq_len=patches, num_steps=steps)
        even = np.array([over * (steps - k) / steps for k in range(steps)], np.float32)
        shifted: list[float] = self._scheduler.time_shift(mu, 1.0, even).tolist()
        return [*shifted, 0.0]

    def _denoised(self, latents: Tensor, noise: Tensor, text: Tensor, over: float, steps: int) -> Tensor:
        """Euler's method along the flow from noise to image (Lipman et al., 2023)."""
        rows, columns = (n // PATCH for n in latents.shape[2:])
        levels = self.levels(over, steps, rows * columns)
        start = levels[0] * patched(noise)
        if levels[0] < 1:
            start = start + (1 - levels[0]) * self._normal(latents)
        x = start.flatten(2).transpose(1, 2)
        reference = self._shown_reference(text)
        where = self._places[rows, columns, reference is not None]
        for level, lower in pairwise(levels):
            shown = x.to(self.kind) if reference is None else torch.cat([x.to(self.kind), reference], 1)
            flow = self.transformer(
                hidden_states=shown, timestep=torch.full((1,), level, device=self.device, dtype=self.kind),
                encoder_hidden_states=text[None, :TEXT_ROWS], txt_ids=self._text_places, img_ids=where,
                return_dict=False,
            )[0]  # fmt: skip
            x = x + (lower - level) * flow[:, : rows * columns].float()
        patches = x.transpose(1, 2).reshape(1, -1, rows, columns)
        return unpatched(patches * self._deviation + self._mean)

    def _shown_reference(self, text: Tensor) -> Tensor | None:
        """(1, patches, channels) of the reference in the tokens, if there is one."""
        if not self._referred:
            return None
        count = math.prod(self._reference_shape)
        return text[TEXT_ROWS:].reshape(-1)[:count].view(1, *self._reference_shape)

    def _conditions(self, controls: Controls) -> list[Tensor]:
        self._referred = controls.tokens[-1, -1] > REFERENCE_MIN
        return []
