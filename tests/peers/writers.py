"""Writers of shared memory, for tests that read it from another process meanwhile."""

from __future__ import annotations

from typing import Any

import numpy as np
from worldjockey.node.ipc.cell import Cell
from worldjockey.node.ipc.frame_ring import FrameInfo, FrameRing


def count(cell: Cell, done: Any) -> None:
    for i in range(1, 20_001):
        cell.write(b"%d " % i * (i % 50 + 1))
    done.set()


def hurry(cell: Cell, ring: FrameRing, done: Any) -> None:
    """Nothing but short messages, as fast as it goes."""
    picture = np.zeros((1, 1, 3), np.uint8)
    for i in range(60_000):
        cell.write(b"%d" % i)
        if i % 8 == 0:
            ring.write(picture, FrameInfo())
    done.set()


def fill(ring: FrameRing, done: Any) -> None:
    for i in range(1, 2001):
        ring.write(np.full((8, 8, 3), i % 251, np.uint8), FrameInfo(made=float(i)))
    done.set()
