"""An output that plays, in a thread, for as long as a block lasts."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from clicking import PIECE, RATE
from worldjockey.integrations import AudioChunk, Frame, VideoFormat

Sound = Callable[[float], np.ndarray]  # (PIECE, 2) heard from so many seconds on


@contextlib.contextmanager
def on_air(
    output: Any, fmt: VideoFormat, paint: Callable[[int], np.ndarray], sound: Sound | None = None, late: float = 0.0
) -> Iterator[Any]:
    """paint: a tick's picture. late: seconds after which what is heard arrives."""
    stop, start = threading.Event(), time.monotonic()
    output.open(fmt)

    def play() -> None:
        tick, piece = 0, 0
        while not stop.wait(max(start + tick / fmt.fps - time.monotonic(), 0)):
            output.send(Frame(paint(tick), tick, start + tick / fmt.fps))
            while sound and (begin := piece * PIECE / RATE) < tick / fmt.fps - late:
                output.send_audio(AudioChunk(sound(begin), RATE, start + begin))
                piece += 1
            tick += 1

    player = threading.Thread(target=play)
    player.start()
    try:
        yield output
    finally:
        stop.set()
        player.join()
        output.close()
