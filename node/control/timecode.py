"""Timecode: the show follows it, and cues are fired by their times.

The timecode that comes in is chased by a clock (timing/chase.py). Forwards, a cue is fired as its time is passed, early
by the measured latency; however fast the timecode runs, none is left out and none is fired twice. After a jump, and in
reverse, the show is put into the state that the cues up to there give it, at once.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from worldjockey.integrations import ControlEvent, TimecodeFrame

from ..show.schema import Show
from ..timing import timecode
from ..timing.chase import ChaseClock, Line
from ..timing.timecode import RATES
from . import cues
from .arguments import named
from .cue_player import LATE_MAX_S, CuePlayer

SOURCE = "timecode"  # of the controls that it makes, in the log
WAITING_FRAMES_MAX = 1024
STILL = 0.02  # a slower speed is a tape that stands
SEND_INTERVAL_S = 0.05  # between two lines that are sent, where nothing changes suddenly
WRONG_RATE_S = 3.0  # for which a message about another rate stays


class TimecodeFollower:
    """values: every parameter's present value. fired: is called with each control that it makes, for the log. `advance`
    and `goto` need the desk's lock."""

    def __init__(self, show: Show, player: CuePlayer, values: Mapping[str, Any],
                 fired: Callable[[ControlEvent], None]) -> None:  # fmt: skip
        assert show.chased is not None
        self._show, self._config, self._player, self._values = show, show.chased, player, values
        self._fired = fired
        self.rate = self._config.counts
        self.internal = self._config.source == "internal"
        self.clock = ChaseClock(self._config.freewheel)
        self.send: Callable[[float, float, float], None] | None = None  # time, seconds, speed: timecode out
        self._frames: deque[TimecodeFrame] = deque(maxlen=WAITING_FRAMES_MAX)
        self._mark = 0.0  # cues up to here were fired
        self._own: Line | None = None  # of the node's own timecode
        self._chased: bool | None = None  # None until the first look
        self._cues: object = None  # the list of cues of which `_known_times` are
        self._known_times: list[tuple[float, int]] = []
        self._message, self._said_at = "", -math.inf
        self._source = ""
        self._sent: tuple[float, Line] | None = None

    def receive(self, frame: TimecodeFrame) -> None:
        """From any thread; never blocks."""
        self._frames.append(frame)

    # -- by the desk's clock -----------------------------------------------------------------------------------------

    def advance(self, now: float) -> None:
        """Follow the timecode, and fire what is due."""
        if self.internal:
            self._run_own(now)
        else:
            self._take_frames(now)
        self._send(now)
        self._chase(now)

    def line(self) -> Line:
        return self._own or Line(0.0, self._config.start_s, 0.0) if self.internal else self.clock.line

    def at(self, now: float) -> float:
        """Seconds of the timecode, the offset included."""
        return self.line().at(now)

    def _run_own(self, now: float) -> None:
        running = bool(self._values["timecode/run"])
        if self._own is None:
            self._own = Line(now, self._config.start_s, float(running))
            self._mark = -math.inf if not self._config.start_s else math.nextafter(self._config.start_s, -math.inf)
        elif running != bool(self._own.speed):
            self._own = Line(now, self._own.at(now), float(running))

    def _take_frames(self, now: float) -> None:
        while self._frames:
            frame = self._frames.popleft()
            rate = RATES[frame.rate or self.rate.name]
            try:
                whole = timecode.count(frame.hours, frame.minutes, frame.seconds, frame.frames, rate)
            except ValueError as error:
                self._say(f"{frame.source} sends what is no timecode: {error}", now)
                continue
            if rate is not self.rate:
                self._say(f"{frame.source} sends {rate} frames a second, and this show counts {self.rate}", now)
            position = float((whole + frame.part) / rate.real) + self._config.offset_s
            self._source = frame.source
            if frame.located:
                self.clock.locate(position, frame.time)
            else:
                self.clock.advance(frame.time)
                self.clock.frame(position, frame.time)
        self.clock.advance(now)

    def _say(self, message: str, now: float) -> None:
        self._message, self._said_at = message, now

    def _chase(self, now: float) -> None:
        jumps = self.clock.take_jumps()
        if not self._values["timecode/chase"]:
            self._chased = False
            return
        line, times = self.line(), self._times()
        if self._chased is False and not jumps and self._known():  # the performer lets it lead again
            self._locate(line.at(now), True, now)
        self._chased = True
        for jump in jumps:
            self._locate(jump.position, jump.far, now)
        if not self._known() or abs(line.speed) < STILL or (not self.internal and self.clock.state == "stopped"):
            return
        target = line.at(now + self._player.latency)
        if line.speed < 0:
            if target < self._mark:
                if _up_to(times, target) != _up_to(times, self._mark):
                    self._locate(target, True, now)
                self._mark = target
            return
        due = sorted((at, index) for at, index in times if self._mark < at <= target)
        self._mark = max(self._mark, target)
        for at, index in due:
            self._fire(index, line.time_of(at), now)

    def _known(self) -> bool:
        return self.internal or self.clock.frames > 0 or self.clock.line.time > 0

    def _times(self) -> list[tuple[float, int]]:
        """The time and the index of each cue that has one."""
        if self._cues is not self._show.cues:  # an edit replaces the list
            self._cues = self._show.cues
            found = ((self._show.time_of(cue), index) for index, cue in enumerate(self._show.cues))
            self._known_times = [(at, index) for at, index in found if at is not None]
        return self._known_times

    def _fire(self, index: int, lands_at: float, now: float) -> None:
        due_at = max(min(lands_at - self._player.latency, now), now - LATE_MAX_S)
        self._player.schedule.clear()
        control = ControlEvent("cue/go", (index + 1,), due_at, SOURCE, {"now": True})
        self._player.perform(control, lands_at)
        self._fired(ControlEvent("cue/go", (self._name(index),), due_at, SOURCE, {"now": True}))

    def _name(self, index: int) -> str | int:
        """What a replay of the log finds this cue by, whatever the others are named."""
        name = self._show.cues[index].name
        return name if cues.choose(self._show.cues, (name,), None) == index else index + 1

    # -- to another place --------------------------------------------------------------------------------------------

    def goto(self, control: ControlEvent) -> None:
        """The show as it is at a timecode. Where the timecode is the node's own, it goes on from there."""
        given = named(control.args)
        if not given or given[0] is False or given[0] is None or given[0] == "":
            raise ValueError("timecode/goto takes a timecode as in 01:00:12:05, or seconds")
        to = timecode.parse(given[0], self.rate)
        if self.internal:
            speed = float(bool(self._values["timecode/run"]))
            self._own, self._mark = Line(control.arrived_at, to, speed), to
        elif self.clock.state == "stopped":
            self.clock.locate(to, control.arrived_at)
            self.clock.take_jumps()
            self._mark = to
        self._put(to, control.arrived_at)

    def _put(self, to: float, arrived_at: float) -> None:
        """Be in the state of the cues up to a time, at once."""
        passed = [index for _, index in sorted(one for one in self._times() if one[0] <= to)]
        if passed:
            self._player.put(passed, arrived_at)

    def _locate(self, to: float, far: bool, now: float) -> None:
        times, before = self._times(), self._mark
        self._mark = to
        if _up_to(times, to) is None or (not far and _up_to(times, to) == _up_to(times, before)):
            return
        self._put(to, now)
        self._fired(ControlEvent("timecode/goto", (to,), now, SOURCE))

    # -- out ---------------------------------------------------------------------------------------------------------

    def _send(self, now: float) -> None:
        if self.send is None or not self._known():
            return
        line = self.line()
        speed = 0.0 if not self.internal and self.clock.state == "stopped" else line.speed
        here = Line(now, line.at(now), speed)
        if self._sent is not None:
            sent_at, sent = self._sent
            same = bool(sent.speed) == bool(speed) and abs(sent.at(now) - here.position) < 1 / 100
            if same and (now - sent_at < SEND_INTERVAL_S or not speed or abs(sent.at(now) - here.position) < 1e-4):
                return
        self._sent = now, here
        self.send(here.time, max(here.position, 0.0), here.speed)

    # -- what others see ---------------------------------------------------------------------------------------------

    def status(self, now: float | None = None) -> dict[str, Any]:
        """now: as a label. seconds, speed: by which the label can be kept. state: waiting, locked, freewheel, stopped
        or running. next: the cue whose time comes next, with the seconds until then. cues: each time as a label and in
        seconds, by the cue's index."""
        now = time.monotonic() if now is None else now
        line, times = self.line(), self._times()
        state = self.clock.state if not self.internal else "running" if line.speed else "stopped"
        speed = 0.0 if state == "stopped" else line.speed
        here = line.at(now)
        following = min(((at, index) for at, index in times if at > here), default=None)
        ahead = None
        if following is not None:
            at, index = following
            ahead = {"index": index, "at": timecode.label(at, self.rate), "seconds": round(at - here, 2)}
        message = self._message if now - self._said_at < WRONG_RATE_S else ""
        return {
            "source": self._config.source, "from": self._source or self._config.input or "",
            "rate": self.rate.name, "frames": self.rate.frames, "real": float(self.rate.real), "drop": self.rate.drop,
            "now": timecode.label(here, self.rate) if self._known() else "", "seconds": round(here, 4),
            "speed": round(speed, 3), "state": state if self._known() else "waiting",
            "chase": bool(self._values["timecode/chase"]), "next": ahead, "message": message,
            "cues": {str(index): {"label": timecode.label(at, self.rate), "seconds": at} for at, index in times},
        }  # fmt: skip

    def stamp(self, now: float) -> str:
        """The present timecode, as a cue's `at`."""
        if not self._known():
            raise ValueError("no timecode has come in yet")
        return timecode.label(self.at(now), self.rate)


def _up_to(times: list[tuple[float, int]], to: float) -> int | None:
    """The last cue at or before that time."""
    return max(((at, index) for at, index in times if at <= to), default=(0.0, None))[1]
