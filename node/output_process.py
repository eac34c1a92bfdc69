"""The process that keeps time for the audience: a fixed clock that sends a picture at every tick, whatever happens."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from worldjockey.integrations import Layout, VideoFormat

from . import outlet
from .cell import Cell
from .mailbox import Mailbox
from .outlet import OutletSpec
from .pacing import Pace, passed, share
from .picture import Scaler, blend, dim, shape_of, standby
from .process import SPAWN, STATUS_BYTES, end, enter, hurry, orphaned, tell, told
from .ring import FrameInfo, FrameRing, Pixels

STUCK = 4.0  # seconds without taking a tick after which an output is ended and opened again
OPENING = 20.0  # seconds an output may take to open
CLOSING = 4.0  # seconds all outputs together may take to close
BACK_OFF = (0.5, 1.0, 2.0, 4.0, 8.0)  # seconds before each new try


class Outlet:
    """An output's process, seen from the clock: started, woken, watched, started again."""

    def __init__(self, spec: OutletSpec, fmt: VideoFormat, ring: FrameRing, clock: Cell) -> None:
        self.spec, self.fmt, self.ring, self.clock = spec, fmt, ring, clock
        self.status = Cell(STATUS_BYTES)
        self.restarts, self.failures = 0, 0
        self.lost: list[str] = []
        self.closed = False
        self._process: Any = None
        self._retry_at = 0.0
        self.start()

    def start(self) -> None:
        self.wake, self.stop = SPAWN.Semaphore(0), SPAWN.Event()
        self._began = self._moved = time.monotonic()
        self._sent = 0
        tell(self.status, {"state": "opening", "sent": 0})
        args = (self.spec, self.fmt, self.ring, self.clock, self.wake, self.status, self.stop)
        self._process = SPAWN.Process(target=outlet.run, args=args, name=f"wj {self.spec.name}")
        self._process.start()

    def tick(self) -> None:
        if self._process is not None:
            self.wake.release()

    def watch(self, now: float) -> None:
        """Called now and then: starts again what ended or hangs."""
        if self.closed:
            return
        if self._process is None:
            if now >= self._retry_at:
                self.restarts += 1
                self.start()
            return
        said = told(self.status)
        if said.get("sent", 0) != self._sent:
            self._sent, self._moved = said["sent"], now
            if now - self._began > 10:
                self.failures = 0
        if self._process.is_alive():
            patience = STUCK if said.get("state") == "running" else OPENING
            if now - self._moved < patience:
                return
            self._process.kill()
            self._process.join(1)
            self._give_up(now, f"did not take a frame for {patience:g} s")
        elif self._process.exitcode == outlet.CLOSED:
            self.closed, self._process = True, None
        else:
            self._give_up(now, said.get("message") or f"ended (exit code {self._process.exitcode})")

    def _give_up(self, now: float, why: str) -> None:
        self._process = None
        self._retry_at = now + BACK_OFF[min(self.failures, len(BACK_OFF) - 1)]
        self.failures += 1
        self.lost = [*self.lost[-9:], why]

    def ask_to_close(self) -> None:
        if self._process is not None:
            self.stop.set()
            self.wake.release()

    def finish(self, deadline: float) -> dict[str, Any]:
        """Wait until it closed (a file is completed then), kill it at the deadline, and return its last words."""
        if self._process is not None:
            end(self._process, max(deadline - time.monotonic(), 0.1))
        said = self.said()
        self.status.unlink()
        return said

    def said(self) -> dict[str, Any]:
        said = told(self.status)
        if self._process is None and not self.closed:
            said["state"] = "waiting to be opened again"
        if self.closed:
            said["state"] = "closed"
        return {**said, "restarts": self.restarts, "lost": self.lost}


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


class Programme:
    """Composes one picture a tick at the world's own size, and says whether it is new."""

    def __init__(self, source: FrameRing, first: Pixels, period: float) -> None:
        self.source, self.period = source, period
        self.shown = Shown(first, first, first)
        self._key: tuple[Any, ...] = ()
        self._out = first
        self.counts = {"fresh": 0, "between": 0, "repeated": 0}

    def tick(self, now: float, between: bool, blackout: float) -> tuple[Pixels, float, bool]:
        """(picture, stamp of the newest control it obeys, whether it differs from the last tick's).

        now: when the tick is due.
        """
        s = self.shown
        fresh = self.source.newest != s.number
        if fresh and (got := self.source.read()):
            number, pixels, info = got
            self.shown = s = Shown(s.picture, pixels, s.picture, number, now, info.span, info.stamp)
        part = share(now, s.seen, s.span, self.period) if between and s.number else 1.0
        key = (s.number, part, round(blackout, 3))
        if key == self._key:
            self.counts["repeated"] += 1
            return self._out, s.stamp, False
        self.counts["fresh" if fresh else "between"] += 1
        s.picture = blend(s.origin, s.newest, part)
        self._out, self._key = dim(s.picture, blackout), key
        return self._out, s.stamp, True


class Rings:
    """One ring for each layout in use, filled by one scaler, shared by all outputs of that layout."""

    def __init__(self, specs: list[OutletSpec], fmt: VideoFormat, native_bytes: int) -> None:
        self.rings: dict[Layout, FrameRing] = {}
        self._scalers: dict[Layout, Scaler] = {}
        for layout in {s.layout for s in specs}:
            slots = 5 + max(s.holds for s in specs if s.layout == layout)
            size = native_bytes if layout == "native" else int(np.prod(shape_of(layout, fmt.width, fmt.height)))
            self.rings[layout] = FrameRing(size, slots)
            if layout != "native":
                self._scalers[layout] = Scaler(layout, fmt.width, fmt.height)

    def write(self, picture: Pixels, info: FrameInfo) -> None:
        for layout, ring in self.rings.items():
            if layout == "native":
                ring.write(picture, info)
            else:
                scaler = self._scalers[layout]
                shape = shape_of(layout, scaler.width, scaler.height)
                scaler.into(picture, ring.blank(shape))
                ring.publish(shape, info)

    def unlink(self) -> None:
        for ring in self.rings.values():
            ring.unlink()


def run(
    specs: list[OutletSpec], fmt: VideoFormat, mailbox: Mailbox, source: FrameRing, status: Cell, stop: Any
) -> None:
    """The process's main."""
    enter()
    clock = Cell(64)
    rings = Rings(specs, fmt, source.size)
    outlets = [Outlet(spec, fmt, rings.rings[spec.layout], clock) for spec in specs]
    programme = Programme(source, standby(512, 512 * fmt.height // fmt.width // 2 * 2), fmt.fps_den / fmt.fps_num)
    pace = Pace(time.monotonic() + 0.05, fmt.fps_num, fmt.fps_den)
    blackout, lead = 0.0, 0.0
    ending = threading.Event()

    def watch() -> None:  # beside the clock: ending a stuck process and starting another takes longer than a tick
        while not ending.wait(0.25):
            for out in outlets:
                out.watch(time.monotonic())
            tell(status, _status(pace, programme.counts, {o.spec.name: o.said() for o in outlets}))
            if orphaned():
                stop.set()

    watcher = threading.Thread(target=watch, name="watcher")
    watcher.start()
    hurry(real_time=True)  # after the watcher has started: on Linux priority is a thread's, and its children's
    try:
        while not stop.is_set():
            _sleep_until(pace.due - lead)
            begin = time.monotonic()
            blackout = _glide(blackout, mailbox.value("blackout"))
            picture, stamp, new = programme.tick(pace.due, mailbox.value("inbetween") == 0, blackout)
            if new:
                rings.write(picture, FrameInfo(time.monotonic(), stamp))
                # Composing starts as early as it takes, so that the picture leaves on the beat.
                lead += 0.1 * (min(time.monotonic() - begin + 0.001, pace.period / 2) - lead)
            _sleep_until(pace.due)
            clock.write(f"{pace.tick} {pace.due!r}".encode())
            for out in outlets:
                out.tick()
            pace = passed(pace, time.monotonic())
    finally:
        ending.set()
        watcher.join()
        for out in outlets:
            out.ask_to_close()
        deadline = time.monotonic() + CLOSING
        last = {o.spec.name: o.finish(deadline) for o in outlets}
        tell(status, {**_status(pace, programme.counts, last), "state": "closed"})
        rings.unlink()
        clock.unlink()


def _sleep_until(due: float) -> None:
    if (wait := due - time.monotonic()) > 0:
        time.sleep(wait)


def _glide(value: float, target: float) -> float:
    """A blackout fader's jump takes three ticks, so that it is no click."""
    step = 1 / 3
    return target if abs(target - value) <= step else value + (step if target > value else -step)


def _status(pace: Pace, counts: Mapping[str, int], outputs: dict[str, Any]) -> dict[str, Any]:
    return {
        "state": "running", "ticks": pace.sent, "late": pace.late, "missed": pace.missed,
        "worst_ms": round(pace.worst * 1e3, 2), **counts, "cpu_s": round(time.process_time(), 3), "outputs": outputs,
    }  # fmt: skip
