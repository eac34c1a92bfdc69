"""Writers of shared memory, for tests that read it from another process meanwhile."""

from __future__ import annotations

from typing import Any

import numpy as np
from worldjockey.node.cell import Cell
from worldjockey.node.ring import FrameInfo, FrameRing


def count(cell: Cell, done: Any) -> None:
    for i in range(1, 20_001):
        cell.write(b"%d " % i * (i % 50 + 1))
    done.set()


def fill(ring: FrameRing, done: Any) -> None:
    for i in range(1, 2001):
        ring.write(np.full((8, 8, 3), i % 251, np.uint8), FrameInfo(made=float(i)))
    done.set()
