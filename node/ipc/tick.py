"""The plan of each tick, sent by the clock to the outputs, for those that compose frames on a graphics card."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field

from .card_memory import MEMORY_BYTES
from .cell import Cell
from .frame_ring import FrameRing

FLOW_BYTES = 1024 * 576  # two float16 for each 2x2 pixels of the largest frame with motion in-betweens
_PLAN = struct.Struct("<qddd?xHHIHHIff")


@dataclass(frozen=True)
class TickPlan:
    """tick, due: on the output clock. ahead: the clock takes the world's newest frame so many seconds before the next
    tick is due. newest_control_at: arrival time of the newest control that the frame obeys. pixels: whether the ring of
    frames at the world's own size holds this one. blackout: 0..1, 1 is black.

    For a world's frame on a card: memory and slot that hold it; memory is 0 where the frame is not on a card. number,
    width, height, share: see `integrations.OnCard`. flow: number in the ring of flows, 0 for none.
    """

    tick: int
    due: float
    ahead: float = 0.0
    newest_control_at: float = 0.0
    pixels: bool = True
    memory: int = 0
    slot: int = 0
    number: int = 0
    width: int = 0
    height: int = 0
    flow: int = 0
    share: float = 1.0
    blackout: float = 0.0

    def packed(self) -> bytes:
        return _PLAN.pack(
            self.tick, self.due, self.ahead, self.newest_control_at, self.pixels, self.memory, self.slot,
            self.number & 0xFFFFFFFF, self.width, self.height, self.flow & 0xFFFFFFFF, self.share, self.blackout,
        )  # fmt: skip

    @classmethod
    def unpacked(cls, data: bytes) -> TickPlan:
        return cls(*_PLAN.unpack(data))


@dataclass(frozen=True)
class CardLine:
    """What processes share besides the rings, so that frames can stay on a graphics card.

    memory: written by the world. flows: written by the clock. paths: each written by an output that can take frames on
    the card, b"card" or b"pixels".
    """

    memory: Cell = field(default_factory=lambda: Cell(MEMORY_BYTES))
    flows: FrameRing = field(default_factory=lambda: FrameRing(FLOW_BYTES, 4))
    paths: Mapping[str, Cell] = field(default_factory=dict)

    @property
    def pixels_wanted(self) -> bool:
        """Whether an output takes its frames from host memory."""
        return any(path.read()[1] != b"card" for path in self.paths.values())

    @property
    def cells(self) -> list[Cell | FrameRing]:
        return [self.memory, self.flows, *self.paths.values()]
