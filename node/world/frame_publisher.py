"""Publishes frames from the world's device: in host memory for all outputs, and on the graphics card for windows."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from worldjockey.integrations import AudioChunk, CardError, Samples

from ..ipc.audio_ring import AudioRing
from ..ipc.card_memory import packed_card_memory
from ..ipc.cell import Cell
from ..ipc.frame_ring import FrameInfo, FrameRing, Pixels
from .upscaling import Upscaler

if TYPE_CHECKING:
    from torch import Tensor
    from worldjockey.model.spec import Frames

CARD_SLOTS = 8  # frames on the card; a window reads each within a few ticks


@dataclass(frozen=True)
class HostFrame:
    """One frame: (h, w, 3), or 4 with a matte, in host memory, and (h, w, 4) RGBA on the card where outputs need it."""

    pixels: Pixels
    on_card: Tensor | None = None
    sound: AudioChunk | None = None  # begins when the frame is shown


class FramePublisher:
    """Writes frames to the ring, and to memory on the card if outputs can draw from there.

    announce: cell in which that memory is published; None if no output uses it. upscaler: makes frames on an
    NVIDIA card larger; None leaves them as they are. error: why frames do not stay on the card; they are then published
    in host memory only.
    """

    def __init__(
        self,
        ring: FrameRing,
        announce: Cell | None = None,
        audio: AudioRing | None = None,
        upscaler: Upscaler | None = None,
    ) -> None:
        self._ring, self._announce, self._audio, self._upscaler = ring, announce, audio, upscaler
        self._blocks: list[Any] = []  # the last is in use; outputs may still read the others
        self.error = ""

    def take(self, frames: Frames, sound: Samples | None = None, rate: int = 0) -> Sequence[HostFrame]:
        """A step's frames (n, h, w, 3 or 4), uint8 on any device, ready to be written; with their sound
        (samples, 2) at `rate`, of which each gets an equal part."""
        taken = self._taken(frames)
        if sound is None or self._audio is None or not len(taken):
            return taken
        parts = np.array_split(np.asarray(sound, np.float32), len(taken))
        return [replace(f, sound=AudioChunk(part, rate, 0.0)) for f, part in zip(taken, parts, strict=True)]

    def _taken(self, frames: Frames) -> Sequence[HostFrame]:
        if isinstance(frames, np.ndarray):
            return [HostFrame(pixels) for pixels in frames]
        if self._upscaler is not None and card_of(frames) is not None:
            frames = self._upscaler(frames)
        device = None if self._announce is None or self.error else card_of(frames)
        cards: list[Any] = [None] * len(frames)
        if device is not None:
            try:
                cards = self._on_card(frames, device)
            except Exception as error:
                self._record_error(error)
        if frames.is_cuda:
            import torch

            pixels = frames.to("cpu", non_blocking=True).numpy()  # into pinned memory
            torch.cuda.current_stream(frames.device).synchronize()  # then the copies on the card are complete, too
        else:
            pixels = frames.cpu().numpy()
        return [HostFrame(*both) for both in zip(pixels, cards, strict=True)]

    def _on_card(self, frames: Tensor, device: int) -> list[Any]:
        from torch.nn.functional import pad
        from worldjockey.integrations.gl.cuda import Block

        rgba = pad(frames[..., :3], (0, 1), value=255).contiguous()  # CUDA shares no textures of three channels
        if not self._blocks or rgba[0].numel() > self._blocks[-1].memory.size:
            self._blocks.append(Block(device, rgba[0].numel(), CARD_SLOTS))
            assert self._announce is not None
            self._announce.write(packed_card_memory(self._blocks[-1].memory))
        return list(rgba)

    def write(self, frame: HostFrame, info: FrameInfo) -> None:
        """Publish the newest frame."""
        if frame.on_card is not None and self._announce is not None and not self.error:
            try:
                slot = self._blocks[-1].put(frame.on_card.data_ptr(), frame.on_card.numel())
                info = replace(info, memory=self._announce.version, slot=slot)
            except Exception as error:
                self._record_error(error)
        if frame.sound is not None and self._audio is not None and len(frame.sound.samples):
            self._audio.write(replace(frame.sound, time=time.monotonic()))
        self._ring.write(frame.pixels, info)

    def _record_error(self, error: Exception) -> None:
        self.error = str(error) if isinstance(error, CardError) else f"{type(error).__name__}: {error}"


def card_of(frames: Tensor) -> int | None:
    """Index of the CUDA device that holds the frames; None for any other device (ROCm calls its devices cuda, too)."""
    if frames.device.type != "cuda":
        return None
    import torch

    return (frames.device.index or 0) if torch.version.cuda else None
