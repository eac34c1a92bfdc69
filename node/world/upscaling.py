"""Frames of a world on an NVIDIA card, made larger there by NVIDIA's Video Super Resolution before they leave it.

The library is the wheel `nvidia-vfx` (module `nvvfx`), which is proprietary and installed by choice only. Of it is
used, as docs.nvidia.com/maxine/vfx-python/latest/api.html describes it: `VideoSuperRes(quality, device)`, its
`output_width` and `output_height`, `load()`, and `run(input_array, *, non_blocking, stream_ptr)`, whose result has
`image`. It takes and gives (3, h, w) float32 RGB from 0 to 1 by DLPack, so no frame goes through the processor.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from typing import TYPE_CHECKING, Any

from ..ipc.status import error_text

if TYPE_CHECKING:
    from torch import Tensor

logger = logging.getLogger(__name__)

LEAST_SIDE, MOST_SIDE = 256, 1080  # pixels of a frame's shorter side, before and after
LEAST_SCALE, MOST_SCALE = 1.2, 4.0  # less is not worth the time, more the effect does not do
MULTIPLE = 8  # of pixels, of the sizes that the effect makes
TIMES_KEPT = 100


def size_for(width: int, height: int, show: tuple[int, int]) -> tuple[int, int] | None:
    """The size that a frame is made larger to: that of the show if the shapes are alike, of at most 1080 rows (or
    columns, upright). None where the frame is large enough, or too small."""
    scale = min(show[0] / width, show[1] / height, MOST_SIDE / min(width, height), MOST_SCALE)
    if min(width, height) < LEAST_SIDE or scale < LEAST_SCALE:
        return None
    return round(width * scale / MULTIPLE) * MULTIPLE, round(height * scale / MULTIPLE) * MULTIPLE


class Upscaler:
    """error: why frames stay as the world makes them; empty while all is well, and where the library is missing."""

    def __init__(self, show: tuple[int, int]) -> None:
        """show: the show's width and height."""
        self._show, self._effect = show, None
        self._size: tuple[int, int] | None = None
        self._ms: deque[float] = deque(maxlen=TIMES_KEPT)
        self._off = False
        self.error = ""

    @property
    def message(self) -> str:
        """For the status; empty where frames stay as they are."""
        if self.error:
            return f"not upscaled: {self.error}"
        if self._size is None or not self._ms:
            return ""
        took = sorted(self._ms)[len(self._ms) // 2]
        return f"upscaled to {self._size[0]}x{self._size[1]} by nvidia-vfx in {took:.1f} ms"

    def __call__(self, frames: Tensor) -> Tensor:
        """(n, h, w, 3 or 4) uint8 on a card -> the same, larger; or as they are, where they cannot be."""
        if self._off:
            return frames
        size = size_for(frames.shape[2], frames.shape[1], self._show)
        if size is None:
            self._size = None
            return frames
        try:
            begin = time.perf_counter()
            made = self._upscaled(frames, size)
            self._ms.append((time.perf_counter() - begin) * 1e3 / len(frames))
        except ImportError:
            self._off = True
            logger.info("frames are not upscaled: nvidia-vfx is not installed")
            return frames
        except Exception as error:  # of a driver, of a card without tensor cores, of memory
            self._off, self.error = True, f"nvidia-vfx failed ({error_text(error)})"
            logger.exception("frames are not upscaled")
            return frames
        return made

    def _upscaled(self, frames: Tensor, size: tuple[int, int]) -> Tensor:
        import torch

        effect = self._opened(frames.device.index or 0, size)
        stream = torch.cuda.current_stream(frames.device).cuda_stream
        made = []
        for frame in frames:
            planes = frame[..., :3].permute(2, 0, 1).to(torch.float32).div(255).contiguous()
            larger = torch.from_dlpack(effect.run(planes, stream_ptr=stream).image)  # until the next run
            pixels = larger.clamp(0, 1).mul(255).round().to(torch.uint8)
            if frame.shape[-1] == 4:
                alpha = frame[None, None, ..., 3].to(torch.float32)
                alpha = torch.nn.functional.interpolate(alpha, size[::-1], mode="bilinear")
                pixels = torch.cat([pixels, alpha[0].round().to(torch.uint8)])
            made.append(pixels.permute(1, 2, 0))
        return torch.stack(made).contiguous()

    def _opened(self, device: int, size: tuple[int, int]) -> Any:
        if self._effect is None or size != self._size:
            import nvvfx  # takes seconds, once

            effect = self._effect
            if effect is None:
                effect = nvvfx.VideoSuperRes(quality=nvvfx.VideoSuperRes.QualityLevel.HIGH, device=device)
            effect.output_width, effect.output_height = size
            effect.load()
            self._effect, self._size = effect, size
            self._ms.clear()
        return self._effect
