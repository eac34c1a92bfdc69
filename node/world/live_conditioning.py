"""What the world sees of a live picture: the picture itself for video to video, and its look as tokens that glide."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from typing import TYPE_CHECKING

import numpy as np
from worldjockey.model.spec import Array, Prompt, slerp

from ..ipc.frame_ring import Pixels
from ..timing.easing import approach
from .live_source import LiveFeed

if TYPE_CHECKING:
    from worldjockey.model import World

EVERY = 0.5  # seconds between two readings of the picture's look
STALE = 1.5  # seconds without a picture after which the world goes on alone
FADE = 0.3  # seconds in which it does, and in which a picture that is back comes in
GLIDE = 0.6  # seconds in which what the picture says of its place becomes what the world is


class LiveConditioning:
    """`look` and `picture` are called at each step and take no time; reading a picture's look happens in a thread."""

    def __init__(self, world: World, feed: LiveFeed) -> None:
        self._world, self._feed = world, feed
        self._number, self._picture = 0, np.zeros((0, 0, 3), np.uint8)
        self._made = self._presence = 0.0
        self._wanted = threading.Event()
        self._read: Array | None = None  # what the thread last read
        self._seen: Array | None = None  # on its way there
        self._mix: tuple[Array, float, Array] | None = None
        self.error = ""
        self.encode_ms = 0.0
        self._reads = "image" in world.spec.modalities
        feed.size.write(f"{world.spec.width} {world.spec.height}".encode())
        if self._reads:
            threading.Thread(target=self._look_again, daemon=True, name="look").start()

    def picture(self, strength: float, dt: float) -> tuple[Pixels | None, float]:
        """The newest picture and how much of it shows: `strength`, less what is gone of its source."""
        if self._feed.ring.newest != self._number and (got := self._feed.ring.read()):
            self._number, self._picture, info = got
            self._made = info.made
        here = bool(self._number) and time.monotonic() - self._made < STALE
        self._presence = approach(self._presence, float(here), dt, FADE)
        shown = strength * self._presence
        return (self._picture, shown) if shown > 0 else (None, 0.0)

    def look(self, tokens: Array, share: float, dt: float) -> Array:
        """The deck's tokens, `share` of them replaced by the picture's. Rows of which a picture says nothing stay."""
        share *= self._presence
        self._wanted.set() if share > 0 else self._wanted.clear()
        if share <= 0 or self._read is None:
            return tokens
        target = self._read
        if self._seen is None:
            self._seen = np.where(_spoken(target), 0.0, target) + np.where(_spoken(target), tokens, 0.0)
        self._seen = (self._seen + (target - self._seen) * -np.expm1(-dt / GLIDE)).astype(np.float32)
        mixed = slerp((tokens, self._seen), (1 - share, share))
        return np.where(_spoken(target), mixed, tokens).astype(np.float32)

    def _look_again(self) -> None:
        _step_back()
        number = 0
        while True:
            self._wanted.wait()
            begin = time.monotonic()
            if self._number != number:
                number = self._number
                try:
                    self._read = self._world.encode(Prompt(image=self._picture)).values
                    self.encode_ms, self.error = (time.monotonic() - begin) * 1e3, ""
                except Exception as error:  # the world plays on without it
                    self.error = f"the live picture was not understood: {error}"
            time.sleep(max(EVERY - (time.monotonic() - begin), EVERY / 4))


def _spoken(values: Array) -> Array:
    """(n, d) -> (n, 1): which rows say anything."""
    return np.abs(values).sum(-1, keepdims=True) > 0


def _step_back() -> None:
    """This thread alone works when nobody else does, where the system has such a thing (Linux)."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 10)
