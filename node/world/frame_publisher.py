"""From the world's device to whoever shows its frames: host memory for everybody, the card's own for windows there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from worldjockey.integrations import CardError

from ..ipc.card_memory import packed_card_memory
from ..ipc.cell import Cell
from ..ipc.frame_ring import FrameInfo, FrameRing, Pixels

if TYPE_CHECKING:
    from torch import Tensor

SLOTS = 8  # pictures on the card: a window reads one within a few ticks of the world's writing it


@dataclass(frozen=True)
class HostFrame:
    """One frame: (h, w, 3), or 4 with a matte, in host memory, and (h, w, 4) RGBA on the card where one is needed
    there."""

    pixels: Pixels
    on_card: Tensor | None = None


class FramePublisher:
    """Writes frames to the ring, and to the card's memory if somebody may draw from there.

    announce: where that memory is told; None if nobody draws. error: why frames stay off the card, once they do; they
    go on through host memory.
    """

    def __init__(self, ring: FrameRing, announce: Cell | None = None) -> None:
        self._ring, self._announce = ring, announce
        self._blocks: list[Any] = []  # the last is in use; earlier ones may still be drawn from
        self.error = ""

    def take(self, frames: Tensor) -> Sequence[HostFrame]:
        """A step's frames (n, h, w, 3 or 4), uint8 on whichever device, as they are to be written."""
        device = None if self._announce is None or self.error else card_of(frames)
        cards: list[Any] = [None] * len(frames)
        if device is not None:
            try:
                cards = self._on_card(frames, device)
            except Exception as error:
                self._lose(error)
        if frames.is_cuda:
            import torch

            pixels = frames.to("cpu", non_blocking=True).numpy()  # into pinned memory
            torch.cuda.current_stream(frames.device).synchronize()  # then what is on the card is complete, too
        else:
            pixels = frames.cpu().numpy()
        return [HostFrame(*both) for both in zip(pixels, cards, strict=True)]

    def _on_card(self, frames: Tensor, device: int) -> list[Any]:
        from torch.nn.functional import pad
        from worldjockey.integrations.gl.cuda import Block

        rgba = pad(frames[..., :3], (0, 1), value=255).contiguous()  # CUDA shares no textures of three channels
        if not self._blocks or rgba[0].numel() > self._blocks[-1].memory.size:
            self._blocks.append(Block(device, rgba[0].numel(), SLOTS))
            assert self._announce is not None
            self._announce.write(packed_card_memory(self._blocks[-1].memory))
        return list(rgba)

    def write(self, frame: HostFrame, info: FrameInfo) -> None:
        """It is the newest frame now."""
        if frame.on_card is not None and self._announce is not None and not self.error:
            try:
                slot = self._blocks[-1].put(frame.on_card.data_ptr(), frame.on_card.numel())
                info = replace(info, memory=self._announce.version, slot=slot)
            except Exception as error:
                self._lose(error)
        self._ring.write(frame.pixels, info)

    def _lose(self, error: Exception) -> None:
        self.error = str(error) if isinstance(error, CardError) else f"{type(error).__name__}: {error}"


def card_of(frames: Tensor) -> int | None:
    """The CUDA device that frames lie on, as CUDA counts; None for any other (ROCm calls its devices cuda, too)."""
    if frames.device.type != "cuda":
        return None
    import torch

    return (frames.device.index or 0) if torch.version.cuda else None
