"""Helios as a `World`: a video model of 14 billion parameters without an end (Yuan et al., 2026).

A chunk of nine latent frames is denoised when the one before it has been decoded; then one latent frame is decoded a
step, which makes one frame of video for the first and four for each further one. So prompts, their mix and their word
weights take effect with the next chunk: after 33 frames at most, 1.4 s at full rate.

A prompt with an image or a clip restarts the world from it, as soon as its share of the mix is half or more. The
checkpoint has no camera, acts, audio, energy or guidance, and its frames are always 1/24 s apart: those controls change
nothing, and the node plays `speed` by the pace at which frames are shown.
"""

from __future__ import annotations

import hashlib
import logging
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ...devices import choose_device, encoder_device, gpu_memory, upload
from ...errors import WeightsMissing
from ...spec import Controls, Prompt, Tokens, WorldSpec, WorldState
from ..stopwatch import Stopwatch
from ..umt5 import check_embeddings
from .decode import ChunkDecoder
from .memory import CHUNK_LATENTS, Memory, StartLatents, denoise_chunk
from .prompt import SHARED_GPU_BYTES, encode_images, encode_text

logger = logging.getLogger(__name__)

# Attention by diffusers' names, the fastest first. Those from the hub are programs, which this package never downloads.
ATTENTION = ("_flash_3", "_flash_3_hub", "flash", "flash_hub")
INDUCTOR_MODE = "max-autotune-no-cudagraphs"  # as its authors measured it
TEXT_ROWS = 512  # rows of text that the network attends to, zeros included, as it was trained
PROMPT_ROWS = 256  # of them that a prompt may fill
MAX_STARTS = 64  # images and clips whose latents are kept
WIDTH, HEIGHT, FPS = 640, 384, 24.0  # that it was trained for


def kinds(device: torch.device) -> dict[str, torch.dtype]:
    """The dtype of each part: bfloat16 on a GPU, float32 on a CPU; the decoder always needs float32."""
    kind = torch.float32 if device.type == "cpu" else torch.bfloat16
    return {"transformer": kind, "text_encoder": kind, "vae": torch.float32}


class Helios:
    """A `World`. Make one with `Helios.load`. pipe: a distilled HeliosPyramidPipeline, its parts on their devices."""

    def __init__(self, pipe: Any, width: int = WIDTH, height: int = HEIGHT, rows: int = PROMPT_ROWS) -> None:
        self.pipe, self.rows = pipe, rows
        self.device = pipe.transformer.device
        self.decoder = ChunkDecoder(pipe.vae)
        self._spec = WorldSpec("helios", width, height, FPS, pipe.vae_scale_factor_temporal, (),
                               ("text", "image", "video"), str(self.device), steps_per_chunk=CHUNK_LATENTS)  # fmt: skip
        factor = pipe.vae_scale_factor_spatial
        channels = pipe.transformer.config.in_channels
        self._empty = Memory.empty(channels, height // factor, width // factor, self.device)
        # By digest, each with its column in the tokens.
        self._starts: OrderedDict[str, tuple[int, StartLatents]] = OrderedDict()
        self._generator = torch.Generator()
        self._watch = Stopwatch(self.device)
        self.reset(0)

    @classmethod
    def load(cls, folder: Path, device: str = "auto") -> Helios:
        """folder: Helios-Distilled in diffusers' layout. Raises WeightsMissing for a missing folder, ValueError for
        another model, ImportError if the packages are missing."""
        from diffusers import HeliosPyramidPipeline, HeliosTransformer3DModel
        from transformers import UMT5EncoderModel

        if not (folder / "model_index.json").exists():
            raise WeightsMissing(f"no Helios in {folder}: wj weights get helios")
        chosen = choose_device(device)
        dtypes, beside = kinds(chosen), encoder_device(chosen, gpu_memory(chosen), SHARED_GPU_BYTES)
        parts: tuple[tuple[str, Any, torch.device], ...] = (
            ("transformer", HeliosTransformer3DModel, chosen),
            ("text_encoder", UMT5EncoderModel, beside),
        )
        try:
            # One after the other, so that only the largest has to fit into RAM: 29 GB, and all together are 41 GB.
            large = {
                name: kind.from_pretrained(folder / name, dtype=dtypes[name], local_files_only=True).to(where)
                for name, kind, where in parts
            }
            pipe = HeliosPyramidPipeline.from_pretrained(folder, dtype=dtypes, local_files_only=True, **large)
        except Exception as error:
            raise ValueError(f"{folder} is not Helios in diffusers' layout ({error}): wj weights get helios") from error
        if not pipe.config.is_distilled:
            raise ValueError(f"{folder} is not distilled and too slow to be played live: use Helios-Distilled")
        check_embeddings(pipe.text_encoder)
        pipe.vae.to(chosen)
        for part in (pipe.transformer, pipe.vae, pipe.text_encoder):
            part.eval().requires_grad_(False)
        world = cls(pipe)
        if chosen.type == "cuda":
            torch.backends.cudnn.benchmark = True  # shapes are always the same
            world.choose_attention()
            world.warm("inductor")
        return world

    def choose_attention(self) -> None:
        """Use flash attention, where its package or kernel is on this machine and works; or else PyTorch's own."""
        from huggingface_hub.constants import HF_HUB_OFFLINE

        network = self.pipe.transformer
        for name in ATTENTION:
            if name.endswith("_hub") and not HF_HUB_OFFLINE:  # it would be downloaded
                continue
            try:
                network.set_attention_backend(name)
                self.step(self._silence())
                self.reset(0)
            except Exception as error:
                logger.info("helios does not use attention %s: %s", name, error)
                network.reset_attention_backend()
                self.reset(0)
            else:
                logger.info("helios uses attention %s", name)
                return

    def warm(self, compiler: str | Callable[..., Any]) -> None:
        """Compile the network's blocks and the decoder (`torch.compile`'s backend) and compute two chunks that are not
        shown, so that the first prompt need not wait for that. If compiling fails, the world runs uncompiled. The text
        encoder is not compiled: each length of a prompt would be compiled again."""
        network, decoder = self.pipe.transformer, self.pipe.vae.decoder
        how: dict[str, Any] = {"backend": compiler, "dynamic": False}
        if compiler == "inductor":
            how["mode"] = INDUCTOR_MODE
        try:
            network.compile_repeated_blocks(fullgraph=True, **how)
            decoder.compile(**how)
            self._run_chunks()
        except Exception as error:
            logger.warning("helios runs without torch.compile, and slower: %s", error, exc_info=True)
            for part in (*network.modules(), decoder):
                part._compiled_call_impl = None
            self.reset(0)
            self._run_chunks()
        self.reset(0)

    def _run_chunks(self) -> None:
        """The first chunk, and one that has a past."""
        for _ in range(CHUNK_LATENTS + 1):
            self.step(self._silence())

    def _silence(self) -> Controls:
        return Controls(np.zeros((self.rows + 1, self.pipe.transformer.config.text_dim), np.float32))

    @property
    def spec(self) -> WorldSpec:
        return self._spec

    def encode(self, prompt: Prompt) -> Tokens:
        """(rows + 1, d): the text's embeddings, zeros after its end; the last row holds a 1 in the column of
        the image or clip, if any, with which the world begins."""
        values, words, whose = encode_text(self.pipe, prompt.text, self.rows)
        values, whose = np.pad(values, ((0, 1), (0, 0))), np.pad(whose, ((0, 0), (0, 1)))
        images = prompt.video if prompt.video is not None else None if prompt.image is None else prompt.image[None]
        if images is not None:
            values[-1, self._start_column(images)] = 1.0
        return Tokens(values, words, rows=whose)

    def _start_column(self, images: np.ndarray) -> int:
        key = hashlib.sha256(f"{images.shape}".encode() + np.ascontiguousarray(images).tobytes()).hexdigest()
        if key not in self._starts:
            start = encode_images(self.pipe, images, self._spec.width, self._spec.height, self.device)
            columns = min(MAX_STARTS, self.pipe.transformer.config.text_dim)
            column = len(self._starts) if len(self._starts) < columns else self._starts.popitem(last=False)[1][0]
            self._starts[key] = (column, start)
        self._starts.move_to_end(key)
        return self._starts[key][0]

    def reset(self, seed: int) -> None:
        self._generator.manual_seed(seed)
        self._memory, self._began = self._empty, -1
        self._chunk: Tensor | None = None
        self._drawn = 0

    def step(self, controls: Controls) -> Tensor:
        """Decode one latent frame: 1 frame of video, or 4. The first of a chunk takes as long as computing all of it.

        steps: of each of three resolutions; the checkpoint was distilled at 2. The first chunk takes twice as many.
        """
        self._watch.start()
        if self._chunk is None:
            self._chunk, self._drawn = self._next_chunk(controls), 0
            self.decoder.begin()
            self._watch.lap("denoise_ms")
        frames = self.decoder.draw(self._chunk[:, :, self._drawn : self._drawn + 1])
        self._watch.lap()
        self._drawn += 1
        if self._drawn == CHUNK_LATENTS:
            self._chunk = None
        return frames

    @property
    def timings(self) -> dict[str, float]:
        """Milliseconds of the latest step, and of denoising its chunk."""
        return self._watch.laps_ms()

    def _next_chunk(self, controls: Controls) -> Tensor:
        text, marks = controls.tokens[:-1], controls.tokens[-1]
        column = int(marks.argmax())
        begins = column if marks[column] >= 0.5 else -1
        if begins != self._began:
            self._began = begins
            for kept, start in list(self._starts.values()):
                if kept == begins:
                    self._memory = start.memory(self._empty, self._generator)
        (rows,) = upload([torch.from_numpy(np.ascontiguousarray(text))], self.device)
        prompt = F.pad(rows.to(self.pipe.transformer.dtype), (0, 0, 0, TEXT_ROWS - len(rows)))[None]
        steps = min(max(controls.steps, 1), 4)
        chunk = denoise_chunk(self.pipe, self._memory, prompt, steps, self._generator)
        self._memory = self._memory.after(chunk)
        return chunk

    def snapshot(self) -> WorldState:
        m, copied = self._memory, lambda t: None if t is None else t.clone()
        return WorldState({
            "past": m.past.clone(), "anchor": copied(m.anchor), "fresh": m.fresh, "began": self._began,
            "chunk": copied(self._chunk), "drawn": self._drawn, "random": self._generator.get_state(),
        })  # fmt: skip

    def restore(self, state: WorldState) -> None:
        """The frames continue bit for bit. Within a chunk its decoded frames are decoded again, which restores the
        decoder's memory. Raises ValueError for another world's snapshot."""
        data = state.data
        past = data.get("past")
        if not isinstance(past, Tensor) or past.shape != self._empty.past.shape:
            raise ValueError(f"this snapshot is not of a helios of {self._spec.width}x{self._spec.height}")
        anchor, chunk = data["anchor"], data["chunk"]
        self._memory = Memory(
            past.to(self.device), None if anchor is None else anchor.to(self.device), bool(data["fresh"])
        )
        self._began, self._drawn = int(data["began"]), int(data["drawn"])
        self._chunk = None if chunk is None else chunk.to(self.device)
        self._generator.set_state(data["random"])
        self.decoder.begin()
        if self._chunk is not None:
            for i in range(self._drawn):
                self.decoder.draw(self._chunk[:, :, i : i + 1])
