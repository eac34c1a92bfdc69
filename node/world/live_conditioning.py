"""Conditioning by live video: its frames for video-to-video, and their look as tokens that change smoothly."""

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

READ_INTERVAL_S = 0.5  # between two encodings of a live frame
SOURCE_TIMEOUT_S = 1.5  # without a frame, after which live video is faded out
FADE_S = 0.3  # time constant of fading live video out and in
GLIDE_S = 0.6  # time constant with which the look follows the live video


class LiveConditioning:
    """`look` and `frame` are called at each step and return at once; frames are encoded in a thread."""

    def __init__(self, world: World, feed: LiveFeed) -> None:
        self._world, self._feed = world, feed
        self._number, self._frame = 0, np.zeros((0, 0, 3), np.uint8)
        self._made = self._presence = 0.0
        self._needed = threading.Event()
        self._last_look: Array | None = None  # the latest, from the thread
        self._shown_look: Array | None = None  # smoothed
        self._mix: tuple[Array, float, Array] | None = None
        self.error = ""
        self.encode_ms = 0.0
        self._takes_images = "image" in world.spec.modalities
        feed.size.write(f"{world.spec.width} {world.spec.height}".encode())
        if self._takes_images:
            threading.Thread(target=self._read_looks, daemon=True, name="look encoder").start()

    def frame(self, strength: float, dt: float) -> tuple[Pixels | None, float]:
        """The newest live frame and its strength, which fades while the source is gone."""
        if self._feed.ring.newest != self._number and (got := self._feed.ring.read()):
            self._number, self._frame, info = got
            self._made = info.made
        here = bool(self._number) and time.monotonic() - self._made < SOURCE_TIMEOUT_S
        self._presence = approach(self._presence, float(here), dt, FADE_S)
        shown = strength * self._presence
        return (self._frame, shown) if shown > 0 else (None, 0.0)

    def look(self, tokens: Array, share: float, dt: float) -> Array:
        """The deck's tokens mixed with `share` of the look's. Rows that are zero in the look stay as they are."""
        share *= self._presence
        self._needed.set() if share > 0 else self._needed.clear()
        if share <= 0 or self._last_look is None:
            return tokens
        target = self._last_look
        if self._shown_look is None:
            self._shown_look = np.where(_nonzero_rows(target), 0.0, target) + np.where(
                _nonzero_rows(target), tokens, 0.0
            )
        self._shown_look = (self._shown_look + (target - self._shown_look) * -np.expm1(-dt / GLIDE_S)).astype(
            np.float32
        )
        mixed = slerp((tokens, self._shown_look), (1 - share, share))
        return np.where(_nonzero_rows(target), mixed, tokens).astype(np.float32)

    def _read_looks(self) -> None:
        _lower_priority()
        number = 0
        while True:
            self._needed.wait()
            begin = time.monotonic()
            if self._number != number:
                number = self._number
                try:
                    self._last_look = self._world.encode(Prompt(image=self._frame)).values
                    self.encode_ms, self.error = (time.monotonic() - begin) * 1e3, ""
                except Exception as error:  # the world continues without it
                    self.error = f"the live video cannot be encoded: {error}"
            time.sleep(max(READ_INTERVAL_S - (time.monotonic() - begin), READ_INTERVAL_S / 4))


def _nonzero_rows(values: Array) -> Array:
    """(n, d) -> (n, 1)."""
    return np.abs(values).sum(-1, keepdims=True) > 0


def _lower_priority() -> None:
    """Lower the priority of this thread, where the system can do so (Linux)."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 10)
