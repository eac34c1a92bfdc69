"""LTX-2 as a `World`: a video model of 22 billion parameters that draws picture and sound together (HaCohen et al.,
2026).

A chunk of 33 frames is drawn in one step. It begins with the last 9 frames of the chunk before, so that motion goes on,
and shows the 24 after them: a second. So prompts, their mix and their word weights take effect after the time that it
takes to draw a chunk, and a second at most at full rate. The sound of a chunk is drawn with its picture, but not from
the sound before: one passes into the next in 40 ms.

The checkpoint has no camera, acts, audio reaction, energy or guidance, and its frames are always 1/24 s apart: those
controls change nothing, and the node plays `speed` by the pace at which frames are shown.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...devices import choose_device, encoder_device, gpu_memory, upload
from ...errors import WeightsMissing
from ...spec import Array, Controls, Prompt, Tokens, WorldSpec, WorldState
from ..stopwatch import Stopwatch
from .chunk import CHUNK_FRAMES, FPS, PAST_FRAMES, Memory, draw_chunk
from .prompt import ROWS, SHARED_GPU_BYTES, ConnectedText, encode_text
from .sizes import SIZES

logger = logging.getLogger(__name__)

READERS = ("text_encoder", "tokenizer", "connectors", "processor", "prompt_enhancer", "duration_head")


def kinds(device: torch.device) -> dict[str, torch.dtype]:
    """The dtype of each part: bfloat16 on a GPU, float32 on a CPU; the sound always needs float32."""
    kind = torch.float32 if device.type == "cpu" else torch.bfloat16
    large = dict.fromkeys(("transformer", "text_encoder", "connectors", "vae"), kind)
    return {**large, "audio_vae": torch.float32, "vocoder": torch.float32}


class LTX2:
    """A `World`. Make one with `LTX2.load`. pipe: an LTX2ConditionPipeline, its parts on their devices."""

    def __init__(self, pipe: Any, width: int, height: int, rows: int = ROWS) -> None:
        self.pipe, self.rows, self.size = pipe, rows, (width, height)
        self.device = pipe.transformer.device
        self._video_width = pipe.connectors.video_connector.inner_dim
        self._width = self._video_width + pipe.connectors.audio_connector.inner_dim
        # A pipeline without what reads text, which may be on another device.
        self.player = type(pipe)(**{
            **pipe.components, **dict.fromkeys(READERS), "connectors": ConnectedText(self._video_width),
        })  # fmt: skip
        self.player.set_progress_bar_config(disable=True)
        self._spec = WorldSpec(
            "ltx-2", width, height, FPS, CHUNK_FRAMES, (), ("text",), str(self.device),
            audio_rate=pipe.vocoder.config.output_sampling_rate,
        )  # fmt: skip
        self._generator = torch.Generator()
        self._watch = Stopwatch(self.device)
        self.reset(0)

    @classmethod
    def load(cls, folder: Path, device: str = "auto", size: str = "480p") -> LTX2:
        """folder: a distilled LTX-2 in diffusers' layout. size: a name of `SIZES`. Raises WeightsMissing for a missing
        folder, ValueError for another model, ImportError if the packages are missing."""
        from diffusers import LTX2VideoTransformer3DModel
        from diffusers.pipelines.ltx2 import LTX2ConditionPipeline
        from transformers import Gemma3ForConditionalGeneration

        if not (folder / "model_index.json").exists():
            raise WeightsMissing(f"no LTX-2 in {folder}: wj weights get ltx-2")
        chosen = choose_device(device)
        dtypes, beside = kinds(chosen), encoder_device(chosen, gpu_memory(chosen), SHARED_GPU_BYTES)
        parts: tuple[tuple[str, Any, torch.device], ...] = (
            ("transformer", LTX2VideoTransformer3DModel, chosen),
            ("text_encoder", Gemma3ForConditionalGeneration, beside),
        )
        try:
            # One after the other, so that only the largest has to fit into RAM.
            large = {
                name: kind.from_pretrained(folder / name, dtype=dtypes[name], local_files_only=True).to(where)
                for name, kind, where in parts
            }
            pipe = LTX2ConditionPipeline.from_pretrained(
                folder, dtype=dtypes, local_files_only=True, processor=None, **large
            )
        except Exception as error:
            raise ValueError(f"{folder} is not LTX-2 in diffusers' layout ({error}): wj weights get ltx-2") from error
        if pipe.scheduler.config.use_dynamic_shifting or pipe.scheduler.config.shift_terminal:
            raise ValueError(f"{folder} is not distilled and too slow to be played live: wj weights get ltx-2")
        if not pipe.connectors.config.video_connector_num_learnable_registers:
            raise ValueError(f"{folder} has text connectors without registers, which are not supported")
        for name in ("vae", "audio_vae", "vocoder", "connectors"):
            getattr(pipe, name).to(chosen)
        for part in (pipe.transformer, pipe.text_encoder, pipe.vae, pipe.audio_vae, pipe.vocoder, pipe.connectors):
            part.eval().requires_grad_(False)
        world = cls(pipe, *SIZES[size])
        if chosen.type == "cuda":
            torch.backends.cudnn.benchmark = True  # shapes are always the same
            world.warm("inductor")
        return world

    def warm(self, compiler: str | Callable[..., Any]) -> None:
        """Compile the network's blocks (`torch.compile`'s backend) and draw two chunks that are not shown, so that the
        first prompt need not wait for that. If compiling fails, the world runs uncompiled."""
        network = self.pipe.transformer
        try:
            network.compile_repeated_blocks(fullgraph=True, backend=compiler, dynamic=False)
            self._run_chunks()
        except Exception as error:
            logger.warning("ltx-2 runs without torch.compile, and slower: %s", error, exc_info=True)
            for part in network.modules():
                part._compiled_call_impl = None
            self._run_chunks()
        self.reset(0)

    def _run_chunks(self) -> None:
        """The first chunk, and one that has a past."""
        self.reset(0)
        for _ in range(2):
            self.step(Controls(np.zeros((self.rows, self._width), np.float32), steps=1))

    @property
    def spec(self) -> WorldSpec:
        return self._spec

    def encode(self, prompt: Prompt) -> Tokens:
        """(rows, video + audio width), see `encode_text`. Raises ValueError for an image, a sound or a video."""
        given = [name for name in ("image", "sound", "video") if getattr(prompt, name) is not None]
        if given:
            raise ValueError(f"ltx-2 reads text only, and this prompt has {' and '.join(given)}")
        return encode_text(self.pipe, prompt.text, self.rows, self.device)

    def reset(self, seed: int) -> None:
        self._generator.manual_seed(seed)
        self._memory: Memory | None = None
        self._sound: Tensor | None = None

    def step(self, controls: Controls) -> Tensor:
        """The next chunk: 33 frames at the beginning, then 24. steps: 4 is the checkpoint's own schedule of eight
        network evaluations; each fewer saves two."""
        self._watch.start()
        (text,) = upload([torch.from_numpy(np.ascontiguousarray(controls.tokens))], self.device)
        chunk = draw_chunk(
            self.player, self._memory, text.to(self.pipe.transformer.dtype), self.size, controls.steps, self._generator
        )
        self._memory, self._sound = chunk.memory, chunk.sound
        self._watch.lap()
        return chunk.frames

    def audio(self) -> Array:
        """The sound of the last step's frames, (samples, 2): as long as they are at the world's rate."""
        if self._sound is None:
            return np.zeros((0, 2), np.float32)
        sound: Array = self._sound.T.clamp(-1, 1).cpu().numpy()
        return np.ascontiguousarray(sound)

    @property
    def timings(self) -> dict[str, float]:
        """Milliseconds of the latest step."""
        return self._watch.laps_ms()

    def snapshot(self) -> WorldState:
        memory = self._memory
        return WorldState({
            "size": self.size, "random": self._generator.get_state(),
            "frames": None if memory is None else memory.frames, "sound": None if memory is None else memory.sound,
        })  # fmt: skip

    def restore(self, state: WorldState) -> None:
        """The frames and their sound continue bit for bit. Raises ValueError for another world's snapshot."""
        data, (width, height) = state.data, self.size
        frames: Tensor | None = data.get("frames")
        if data.get("size") != self.size or (frames is not None and frames.shape != (PAST_FRAMES, 3, height, width)):
            raise ValueError(f"this snapshot is not of an ltx-2 of {width}x{height}")
        self._memory = None if frames is None else Memory(frames.to(self.device), data["sound"].to(self.device))
        self._generator.set_state(data["random"])
        self._sound = None
