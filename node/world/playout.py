"""Playout: frames that a world makes several at a time are shown one by one at an even pace.

A large world denoises a chunk in one long step, and then decodes it in short ones. Shown as soon as they are made, its
frames would alternate between rushing and stopping; so they are spread over the time that a whole chunk takes. The
timing is in pure functions; `Playout` is the thread around them.
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from ..ipc.frame_ring import FrameInfo, FrameRing
from .frame_publisher import FramePublisher

MARGIN = 1.15  # the next step starts while the waiting frames still last this many times as long as the longest step


def spacing(steps: Sequence[tuple[float, int]], rate: float, top: float) -> float:
    """Seconds from frame to frame: as fast as the world makes them, but never faster than true speed or the show.

    steps: (seconds, frames) of one or more whole rounds of steps; empty while none are known. rate: frames a second at
    which motion has its true speed. top: the show's rate. Infinite where rate is 0.
    """
    if rate <= 0:
        return math.inf
    made = sum(n for _, n in steps)
    return max(sum(s for s, _ in steps) / made if made else 0.0, 1 / rate, 1 / top)


def may_wait(waiting: int, gap: float, steps: Sequence[tuple[float, int]]) -> float:
    """Seconds for which the world need not start its next step, because the waiting frames outlast the longest step.

    Starting a step as late as possible keeps control latency low, and the number of waiting frames bounded.
    """
    longest = max((s for s, _ in steps), default=0.0)
    return max(waiting * gap - longest * MARGIN, 0.0) if waiting else 0.0


class Playout(threading.Thread):
    """Publishes frames at an even pace.

    round_: number of steps after which the world's pattern of long and short steps repeats. rate: returns the frames a
    second at true speed. top: the show's rate. held: returns whether the world is frozen.
    """

    def __init__(
        self,
        ring: FrameRing | FramePublisher,
        round_: int,
        rate: Callable[[], float],
        top: float,
        held: Callable[[], bool],
    ) -> None:
        super().__init__(daemon=True, name="playout")
        self._ring, self._rate, self._top, self._held = ring, rate, top, held
        self._frames: deque[tuple[Any, FrameInfo]] = deque()
        self._steps: deque[tuple[float, int]] = deque(maxlen=max(8 // round_, 1) * round_)
        self._changed = threading.Condition()
        self._ended = False

    @property
    def gap(self) -> float:
        """Current seconds from frame to frame."""
        known = tuple(self._steps) if len(self._steps) == self._steps.maxlen else ()
        return spacing(known, self._rate(), self._top)

    @property
    def full(self) -> bool:
        """Whether so many frames wait that the world need not start its next step yet."""
        return may_wait(len(self._frames), self.gap, tuple(self._steps)) > 0

    def put(self, frames: Sequence[Any], info: FrameInfo, took: float) -> None:
        """Queue frames in order, in the form that the ring takes. took: seconds that they took to make."""
        with self._changed:
            self._steps.append((took, len(frames)))
            self._frames.extend((frame, info) for frame in frames)
            self._changed.notify()

    def keep(self, newest: int) -> int:
        """Drop the oldest waiting frames until `newest` are left; how many were dropped. For a world that cannot be
        told to wait."""
        with self._changed:
            dropped = max(len(self._frames) - newest, 0)
            for _ in range(dropped):
                self._frames.popleft()
        return dropped

    def end(self) -> None:
        """Stop at once, without showing the waiting frames."""
        with self._changed:
            self._ended = True
            self._changed.notify()
        self.join(1.0)

    def run(self) -> None:
        last = -math.inf
        with self._changed:
            while not self._ended:
                now, gap = time.monotonic(), self.gap
                if not self._frames:
                    self._changed.wait()
                elif self._held() or math.isinf(gap):
                    self._changed.wait(0.01)
                elif last + gap > now:
                    self._changed.wait(min(last + gap - now, 0.1))  # the pace may change meanwhile
                else:
                    last = last + gap if now - last < 2 * gap else now  # on the grid, unless that was missed
                    frame, info = self._frames.popleft()
                    self._ring.write(frame, replace(info, span=gap))
