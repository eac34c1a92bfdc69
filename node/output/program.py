"""The program: what the audience sees at each tick, composed at the world's own size."""

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
    """What the program shows: the world's newest frame, on its way in from what was shown before."""

    newest: Pixels
    origin: Pixels  # what was shown when the newest frame came
    number: int = 0
    seen: float = 0.0
    info: FrameInfo = field(default_factory=FrameInfo)
    part: float = 1.0  # of the newest, at the last tick
    moves: bool = False  # along their motion, at the last tick
    flow: Flow | None = None  # coarse, from origin to newest, once it was looked for
    spread: Flow | None = None
    followed: bool = False
    composed: tuple[float, bool, Pixels] | None = None  # for which part, moving or not

    @property
    def newest_control_at(self) -> float:
        return self.info.newest_control_at


class Program:
    """Composes one picture a tick at the world's own size, and says whether it is new."""

    def __init__(self, source: FrameRing, first: Pixels, period: float) -> None:
        self.source, self.period = source, period
        self.shown = Shown(first, first)
        self.blackout = 0.0
        self._key: tuple[Any, ...] = ()
        self._out: Pixels | None = first  # None until somebody asks for it
        self.error = ""  # why nothing moves between frames
        self._between: Any = None
        try:
            from . import interpolation  # brings OpenCV, which no other process needs

            interpolation.ready()
            self._between = interpolation
            self._largest = interpolation.LARGEST * min(30 * period, 1)  # a faster clock has less time for a picture
        except Exception as error:
            self._lose(error)
        self.counts = {"fresh": 0, "between": 0, "repeated": 0}

    def tick(self, now: float, fill: str, blackout: float) -> tuple[Pixels, float, bool]:
        """(picture, arrival time of the newest control it obeys, whether it differs from the last tick's).

        now: when the tick is due. fill: a choice of the parameter `inbetween`.
        """
        new = self.advance(now, fill, blackout)
        return self.picture(), self.shown.newest_control_at, new

    def advance(self, now: float, fill: str, blackout: float) -> bool:
        """As `tick`, but nothing is composed before `picture` is asked for; whether it is a new one."""
        s = self.shown
        fresh = self.source.newest != s.number
        if fresh and (got := self.source.read()):
            number, pixels, info = got
            origin = self._composed(s) if s.number else pixels
            self.shown = s = Shown(pixels, origin, number, now, info)
        s.part = share(now, s.seen, s.info.span, self.period) if fill != "hold" and s.number else 1.0
        s.moves = fill == "motion" and s.part < 1 and self._follow(s)
        key = (s.number, s.part, round(blackout, 3))
        if key == self._key:
            self.counts["repeated"] += 1
            return False
        self.counts["fresh" if fresh else "between"] += 1
        self._key, self._out, self.blackout = key, None, blackout
        return True

    def picture(self) -> Pixels:
        """What the last tick shows, (h, w, 3) RGB, or RGBA where the world makes a matte."""
        if self._out is None:
            self._out = dim(self._composed(self.shown), self.blackout)
        return self._out

    def _composed(self, s: Shown) -> Pixels:
        """Before blackout."""
        if s.composed is None or s.composed[:2] != (s.part, s.moves):
            s.composed = s.part, s.moves, self._filled(s)
        return s.composed[2]

    def _follow(self, s: Shown) -> bool:
        """Looks for the motion once a frame; whether there is any."""
        if self._between and not s.followed:
            try:
                s.flow, s.followed = self._between.coarse(s.origin, s.newest, self._largest), True
            except Exception as error:
                self._lose(error)
        return bool(self._between) and s.flow is not None

    def _filled(self, s: Shown) -> Pixels:
        if s.moves and self._between and s.flow is not None:
            try:
                if s.spread is None:
                    s.spread = self._between.spread(s.flow, s.newest)
                return np.asarray(self._between.between(s.origin, s.newest, s.spread, s.part), np.uint8)
            except Exception as error:
                self._lose(error)
        return blend(s.origin, s.newest, s.part)

    def _lose(self, error: Exception) -> None:
        """A show plays on without OpenCV."""
        self._between = None
        self.error = f"frames blend and do not move ({error}): pip install --force-reinstall opencv-python-headless"


def blend(old: Pixels, new: Pixels, share: float) -> Pixels:
    """`share` of the new picture, the rest of the old."""
    if share >= 1 or old.shape != new.shape:
        return new
    k = np.int16(round(share * 128))
    return (old + ((new.astype(np.int16) - old) * k >> 7)).astype(np.uint8)


def dim(picture: Pixels, blackout: float) -> Pixels:
    """blackout 0 leaves the picture, 1 is black."""
    if blackout <= 0:
        return picture
    table = (np.arange(256) * (1 - min(blackout, 1.0)) + 0.5).astype(np.uint8)
    return table[picture]


def standby(width: int, height: int) -> Pixels:
    """What is shown until the world's first frame: a quiet dark gradient, (height, width, 3)."""
    y = np.linspace(0, 1, height, dtype=np.float32)[:, None, None]
    x = np.linspace(-1, 1, width, dtype=np.float32)[None, :, None]
    colour = np.array([26, 20, 44], np.float32) * (0.35 + 0.65 * y) * (1 - 0.35 * x * x)
    return colour.astype(np.uint8)


def glide(value: float, target: float) -> float:
    """A blackout fader's jump takes three ticks, so that it is no click."""
    step = 1 / 3
    return target if abs(target - value) <= step else value + (step if target > value else -step)


def filling(mailbox: Mailbox) -> str:
    """What `inbetween` says."""
    return PARAMETERS["inbetween"].choices[int(mailbox.value("inbetween"))]
