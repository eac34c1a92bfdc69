"""The process that keeps time for the audience: a fixed clock that sends a picture at every tick, whatever happens."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from worldjockey.integrations import Layout, VideoFormat

from .cell import Cell
from .mailbox import Mailbox
from .outlet import OutletSpec
from .pacing import Pace, passed, share
from .parameters import PARAMETERS
from .picture import Scaler, blend, dim, shape_of, standby
from .process import enter, hurry, orphaned, tell
from .ring import FrameInfo, FrameRing, Pixels

if TYPE_CHECKING:
    from .between import Flow


@dataclass
class Shown:
    """What the programme shows: the world's newest frame, on its way in from what was shown before."""

    picture: Pixels  # as last composed, before blackout
    newest: Pixels
    origin: Pixels  # what was shown when the newest frame came
    number: int = 0
    seen: float = 0.0
    span: float = 0.0
    stamp: float = 0.0
    flow: Flow | None = None  # from origin to newest, once it was looked for
    followed: bool = False


class Programme:
    """Composes one picture a tick at the world's own size, and says whether it is new."""

    def __init__(self, source: FrameRing, first: Pixels, period: float) -> None:
        self.source, self.period = source, period
        self.shown = Shown(first, first, first)
        self._key: tuple[Any, ...] = ()
        self._out = first
        self.fault = ""  # why nothing moves between frames
        self._between: Any = None
        try:
            from . import between  # brings OpenCV, which no other process needs

            between.ready()
            self._between = between
            self._largest = between.LARGEST * min(30 * period, 1)  # a faster clock has less time for a picture
        except Exception as fault:
            self._lose(fault)
        self.counts = {"fresh": 0, "between": 0, "repeated": 0}

    def tick(self, now: float, fill: str, blackout: float) -> tuple[Pixels, float, bool]:
        """(picture, stamp of the newest control it obeys, whether it differs from the last tick's).

        now: when the tick is due. fill: a choice of the parameter `inbetween`.
        """
        s = self.shown
        fresh = self.source.newest != s.number
        if fresh and (got := self.source.read()):
            number, pixels, info = got
            origin = s.picture if s.number else pixels
            self.shown = s = Shown(origin, pixels, origin, number, now, info.span, info.stamp)
        part = share(now, s.seen, s.span, self.period) if fill != "hold" and s.number else 1.0
        key = (s.number, part, round(blackout, 3))
        if key == self._key:
            self.counts["repeated"] += 1
            return self._out, s.stamp, False
        self.counts["fresh" if fresh else "between"] += 1
        s.picture = self._filled(s, part) if fill == "motion" and part < 1 else blend(s.origin, s.newest, part)
        self._out, self._key = dim(s.picture, blackout), key
        return self._out, s.stamp, True

    def _filled(self, s: Shown, part: float) -> Pixels:
        if self._between:
            try:
                if not s.followed:
                    s.flow, s.followed = self._between.flow(s.origin, s.newest, self._largest), True
                return np.asarray(self._between.between(s.origin, s.newest, s.flow, part), np.uint8)
            except Exception as fault:
                self._lose(fault)
        return blend(s.origin, s.newest, part)

    def _lose(self, fault: Exception) -> None:
        """A show plays on without OpenCV."""
        self._between = None
        self.fault = f"frames blend and do not move ({fault}): pip install --force-reinstall opencv-python-headless"


def filling(mailbox: Mailbox) -> str:
    """What `inbetween` says."""
    return PARAMETERS["inbetween"].choices[int(mailbox.value("inbetween"))]


def rings_for(specs: Sequence[OutletSpec], fmt: VideoFormat, native_bytes: int) -> dict[Layout, FrameRing]:
    """One ring for each layout in use, shared by all outputs of that layout."""
    rings: dict[Layout, FrameRing] = {}
    for layout in {s.layout for s in specs}:
        slots = 5 + max(s.holds for s in specs if s.layout == layout)
        size = native_bytes if layout == "native" else int(np.prod(shape_of(layout, fmt.width, fmt.height)))
        rings[layout] = FrameRing(size, slots)
    return rings


def _write(picture: Pixels, info: FrameInfo, layout: Layout, ring: FrameRing, scaler: Scaler) -> None:
    if layout == "native":
        ring.write(picture, info)
    else:
        shape = shape_of(layout, scaler.width, scaler.height)
        scaler.into(picture, ring.blank(shape))
        ring.publish(shape, info)


def pick_up(fmt: VideoFormat, last: int, due: float, now: float) -> Pace:
    """The pace of a clock that comes after one that died on tick `last`; the ticks that went by since are missed."""
    pace = Pace(due - last * fmt.fps_den / fmt.fps_num, fmt.fps_num, fmt.fps_den)
    tick = max(last + 1, math.ceil((now - pace.start) / pace.period))
    return replace(pace, tick=tick, missed=tick - last - 1)


def run(fmt: VideoFormat, mailbox: Mailbox, source: FrameRing, rings: dict[Layout, FrameRing], wakes: list[Any],
        clock: Cell, status: Cell, stop: Any) -> None:  # fmt: skip
    """The process's main.

    rings: where the outputs find their pictures. wakes: a semaphore for
    each output, released at every tick. clock: which tick that was and when it was due. Does nothing but keep time, in
    one thread: whatever may wait belongs to the control process.
    """
    enter()
    _keep_memory()
    scalers = {layout: Scaler(layout, fmt.width, fmt.height) for layout in rings}
    period = fmt.fps_den / fmt.fps_num
    programme = Programme(source, standby(512, 512 * fmt.height // fmt.width // 2 * 2), period)
    lead, blackout, said_at = period / 4, mailbox.value("blackout"), 0.0
    if sent := clock.read()[1]:
        last, due = sent.split()
        pace = pick_up(fmt, int(last), float(due), time.monotonic())
    else:
        pace = Pace(time.monotonic() + 0.05, fmt.fps_num, fmt.fps_den)
    hurry(real_time=True)
    cpu = time.process_time()  # of the frames alone, not of starting up
    while not stop.is_set():
        _sleep_until(pace.due - lead)
        begin = time.monotonic()
        blackout = _glide(blackout, mailbox.value("blackout"))
        picture, stamp, new = programme.tick(pace.due, filling(mailbox), blackout)
        if new:
            for layout, ring in rings.items():
                _write(picture, FrameInfo(time.monotonic(), stamp), layout, ring, scalers[layout])
            # Composing starts as early as it takes, so that the picture leaves on the beat; a frame's first tick, in
            # which its motion is found, takes longest.
            took = min(time.monotonic() - begin + 0.001, period / 2)
            lead = max(took, lead + 0.05 * (took - lead))
        _sleep_until(pace.due)
        clock.write(f"{pace.tick} {pace.due!r}".encode())
        for wake in wakes:
            wake.release()
        pace = passed(pace, time.monotonic())
        if begin - said_at > 0.25:
            said_at = begin
            tell(status, _status("running", pace, programme.counts, time.process_time() - cpu, programme.fault))
            if orphaned():
                break
    tell(status, _status("closed", pace, programme.counts, time.process_time() - cpu, programme.fault))


def _keep_memory() -> None:
    """glibc gives large blocks back to the system when they are freed, and a picture would fault in anew at every tick
    (measured: 5 of 7 ms); once it saw a larger block come and go, it keeps them (mallopt(3), M_MMAP_THRESHOLD)."""
    np.empty(31 << 20, np.uint8)


def _sleep_until(due: float) -> None:
    if (wait := due - time.monotonic()) > 0:
        time.sleep(wait)


def _glide(value: float, target: float) -> float:
    """A blackout fader's jump takes three ticks, so that it is no click."""
    step = 1 / 3
    return target if abs(target - value) <= step else value + (step if target > value else -step)


def _status(state: str, pace: Pace, counts: Mapping[str, int], cpu: float, fault: str) -> dict[str, Any]:
    return {
        "state": state, "ticks": pace.sent, "late": pace.late, "missed": pace.missed,
        "worst_ms": round(pace.worst * 1e3, 2), **counts, "cpu_s": round(cpu, 3), "message": fault,
    }  # fmt: skip
