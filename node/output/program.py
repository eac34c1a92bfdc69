"""The program: the frame that the audience sees at each tick, composed at the world's own size."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from ..ipc.frame_ring import FrameInfo, FrameRing, Pixels
from ..ipc.mailbox import Mailbox
from ..parameters import PARAMETERS
from ..timing.pacing import share

if TYPE_CHECKING:
    from .interpolation import Flow


@dataclass
class Shown:
    """The world's newest frame and the frame that it replaces step by step.

    newest, origin: (h, w, 3) RGB or (h, w, 4) RGBA; `origin` was on the program when `newest` came. number: the newest
    frame's in the world's ring; 0 before the first. received_at: time.monotonic() of the tick that first saw it.
    share: how much of the newest frame the last tick shows, 0..1. moves: that tick moves along the flow rather than
    blends. flow: (h // 2, w // 2, 2) from origin to newest, after it was estimated; None where nothing moves.
    """

    newest: Pixels
    origin: Pixels
    number: int = 0
    received_at: float = 0.0
    info: FrameInfo = field(default_factory=FrameInfo)
    share: float = 1.0
    moves: bool = False
    flow: Flow | None = None
    full_flow: Flow | None = None  # the same at full size
    at_once: bool = False  # a cut or a flash, which is shown whole at its first tick
    flow_estimated: bool = False
    composed: tuple[float, bool, Pixels] | None = None  # (share, moves, the frame that they gave)

    @property
    def newest_control_at(self) -> float:
        return self.info.newest_control_at


class Program:
    """Composes one frame a tick at the world's own size, and knows whether it differs from the last one."""

    def __init__(self, source: FrameRing, first: Pixels, period: float) -> None:
        """source: the world's frames. first: (h, w, 3) RGB, shown until the first of them. period: of a tick, in
        seconds."""
        self.source, self.period = source, period
        self.shown = Shown(first, first)
        self.blackout = 0.0
        self._key: tuple[Any, ...] = ()
        self._frame: Pixels | None = first  # None until somebody asks for it
        self.error = ""  # why in-betweens do not move
        self._interpolation: Any = None
        try:
            from . import interpolation  # brings OpenCV, which no other process needs

            interpolation.ready()
            self._interpolation = interpolation
            self._max_pixels = interpolation.MAX_PIXELS * min(30 * period, 1)  # a faster clock has less time a frame
        except Exception as error:
            self._disable_motion(error)
        self.counts = {"fresh": 0, "between": 0, "repeated": 0}

    def tick(self, now: float, inbetween: str, blackout: float) -> tuple[Pixels, float, bool]:
        """(frame, arrival time of the newest control it obeys, whether it differs from the last tick's).

        now: when the tick is due. inbetween: a choice of the parameter `inbetween`. blackout: 0..1.
        """
        new = self.advance(now, inbetween, blackout)
        return self.frame(), self.shown.newest_control_at, new

    def advance(self, now: float, inbetween: str, blackout: float) -> bool:
        """As `tick`, but the frame is composed only when `frame` is called. Returns whether it is a new one."""
        s = self.shown
        fresh = self.source.newest != s.number
        if fresh and (got := self.source.read()):
            number, pixels, info = got
            origin = self._composed(s) if s.number else pixels
            self.shown = s = Shown(pixels, origin, number, now, info)
        s.share = share(now, s.received_at, s.info.span, self.period) if inbetween != "hold" and s.number else 1.0
        s.moves = inbetween == "motion" and s.share < 1 and self._find_motion(s)
        if s.at_once:
            s.share = 1.0
        key = (s.number, s.share, round(blackout, 3))
        if key == self._key:
            self.counts["repeated"] += 1
            return False
        self.counts["fresh" if fresh else "between"] += 1
        self._key, self._frame, self.blackout = key, None, blackout
        return True

    def frame(self) -> Pixels:
        """The last tick's frame, (h, w, 3) RGB, or (h, w, 4) RGBA where the world makes a matte."""
        if self._frame is None:
            self._frame = dim(self._composed(self.shown), self.blackout)
        return self._frame

    def _composed(self, s: Shown) -> Pixels:
        """The frame before blackout."""
        if s.composed is None or s.composed[:2] != (s.share, s.moves):
            s.composed = s.share, s.moves, self._inbetween(s)
        return s.composed[2]

    def _find_motion(self, s: Shown) -> bool:
        """Estimate the motion once for each of the world's frames; whether there is any."""
        if self._interpolation and not s.flow_estimated:
            try:
                found = self._interpolation.change(s.origin, s.newest, self._max_pixels)
                s.flow, s.at_once, s.flow_estimated = found.flow, found.at_once, True
            except Exception as error:
                self._disable_motion(error)
        return bool(self._interpolation) and s.flow is not None

    def _inbetween(self, s: Shown) -> Pixels:
        if s.moves and self._interpolation and s.flow is not None:
            try:
                if s.full_flow is None:
                    s.full_flow = self._interpolation.upsampled(s.flow, s.newest)
                return np.asarray(self._interpolation.between(s.origin, s.newest, s.full_flow, s.share), np.uint8)
            except Exception as error:
                self._disable_motion(error)
        return blend(s.origin, s.newest, s.share)

    def _disable_motion(self, error: Exception) -> None:
        """The show plays on without OpenCV."""
        self._interpolation = None
        self.error = f"frames blend and do not move ({error}): pip install --force-reinstall opencv-python-headless"


def blend(old: Pixels, new: Pixels, share: float) -> Pixels:
    """`share` (0..1) of the new frame and the rest of the old one; the new one alone where their sizes differ."""
    if share >= 1 or old.shape != new.shape:
        return new
    k = np.int16(round(share * 128))
    return (old + ((new.astype(np.int16) - old) * k >> 7)).astype(np.uint8)


def dim(frame: Pixels, blackout: float) -> Pixels:
    """The frame at blackout 0, black at 1."""
    if blackout <= 0:
        return frame
    table = (np.arange(256) * (1 - min(blackout, 1.0)) + 0.5).astype(np.uint8)
    return table[frame]


def standby(width: int, height: int) -> Pixels:
    """The frame until the world's first one: a quiet dark gradient, (height, width, 3) RGB."""
    y = np.linspace(0, 1, height, dtype=np.float32)[:, None, None]
    x = np.linspace(-1, 1, width, dtype=np.float32)[None, :, None]
    colour = np.array([26, 20, 44], np.float32) * (0.35 + 0.65 * y) * (1 - 0.35 * x * x)
    return colour.astype(np.uint8)


def glide(value: float, target: float) -> float:
    """The blackout fader's next value: a jump takes three ticks, so that it does not flash."""
    step = 1 / 3
    return target if abs(target - value) <= step else value + (step if target > value else -step)


def inbetween_mode(mailbox: Mailbox) -> str:
    """The present choice of the parameter `inbetween`."""
    return PARAMETERS["inbetween"].choices[int(mailbox.value("inbetween"))]
