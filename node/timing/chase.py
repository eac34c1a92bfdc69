"""A clock that chases timecode: from single frames, each with its arrival, to a time that runs smoothly. Pure: time is
an argument.

    stopped ── LOCK_FRAMES that fit each other ──► locked ── none for GAP_S ──► freewheel ── `freewheel` s ──► stopped
                                                     │  ▲
                                                     └──┘ a frame elsewhere is a jump only when others follow from there
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

State = Literal["stopped", "locked", "freewheel"]
LOCK_FRAMES = 4  # that fit each other, until a source counts as running
SPAN_S = 0.09  # that these frames last at least: MIDI comes in bursts, of which no speed can be measured
JUMP_FRAMES = 3  # of the same run, until it counts as a jump and not as one frame that was read wrongly
TOLERANCE_S = 0.06  # by which a frame may be early or late: two buffers of an audio interface
JUMP_S = 0.5  # further than this from where the clock is, a run of frames is a jump
SPEED_MAX = 20.0  # of a source that is wound; faster is no run
GAP_S = 0.2  # without a frame, from which on the clock freewheels; a frame at half speed lasts 0.08 s
WINDOW_S = 0.35  # of frames, over which speed and position are fitted
RESUME_S = (
    0.5  # a source that goes on so near to where it stopped, or to where the clock did, goes on; further is a jump
)


@dataclass(frozen=True)
class Line:
    """Where the timecode is: `position` s at the moment `time`, and `speed` s a second, below 0 in reverse."""

    time: float
    position: float
    speed: float

    def at(self, now: float) -> float:
        return self.position + (now - self.time) * self.speed

    def time_of(self, position: float) -> float:
        return self.time + (position - self.position) / self.speed


@dataclass(frozen=True)
class Jump:
    """The clock was set to another place. position: at which the run from there began. far: it is no small step, as of
    a wheel that is turned frame by frame."""

    position: float
    far: bool = True


def fitted(frames: deque[tuple[float, float]]) -> Line:
    """The line with the least squares through (time, position), at the time of the last one."""
    n = len(frames)
    last = frames[-1][0]
    mean_t = sum(t - last for t, _ in frames) / n
    mean_p = sum(p for _, p in frames) / n
    spread = sum((t - last - mean_t) ** 2 for t, _ in frames)
    speed = sum((t - last - mean_t) * (p - mean_p) for t, p in frames) / spread if spread > 0 else 0.0
    return Line(last, mean_p - speed * mean_t, speed)


class ChaseClock:
    """freewheel: seconds for which the clock runs on without frames."""

    def __init__(self, freewheel: float = 1.0) -> None:
        self.freewheel = freewheel
        self.state: State = "stopped"
        self.line = Line(0.0, 0.0, 0.0)
        self.jumps: list[Jump] = []  # since they were taken
        self.frames = 0  # that were heard
        self._run: deque[tuple[float, float]] = deque()  # the newest frames that fit each other, (time, position)
        self._first: tuple[float, float] | None = None  # of the run
        self._length, self._believed = 0, False
        self._heard = False  # ever
        self._left = 0.0  # where the source stopped; the clock has freewheeled on from there

    def at(self, now: float) -> float:
        """Seconds of the timecode."""
        return self.line.at(now)

    def locate(self, position: float, now: float) -> None:
        """The source stands at `position`, as it says itself in a full frame of MTC."""
        far = not self._heard or abs(position - self.line.at(now)) > JUMP_S
        self._forget()
        self.state, self._heard = "stopped", True
        self.line, self._left = Line(now, position, 0.0), position
        self.jumps.append(Jump(position, far))

    def frame(self, position: float, time: float) -> None:
        """A frame of the source: it was at `position` at the moment `time`."""
        self.frames += 1
        if self._run and time <= self._run[-1][0]:
            time = self._run[-1][0] + 1e-6
        if not self._follows(position, time):
            self._forget()
        if not self._run:
            self._first = (time, position)
        self._run.append((time, position))
        self._length += 1
        while len(self._run) > LOCK_FRAMES and time - self._run[0][0] > WINDOW_S:
            self._run.popleft()
        self._take(time)

    def advance(self, now: float) -> None:
        """Look at the time: without frames the clock freewheels, and then stops."""
        if self.state == "stopped" or not self._heard:
            return
        silent = now - self.line.time
        if silent > GAP_S + self.freewheel:
            held = self.line.at(self.line.time + GAP_S + self.freewheel) if self.freewheel else self.line.position
            self._forget()
            self.state, self._left, self.line = "stopped", self.line.position, Line(now, held, 0.0)
        elif silent > GAP_S:
            self.state = "freewheel"

    def take_jumps(self) -> list[Jump]:
        found, self.jumps = self.jumps, []
        return found

    def _forget(self) -> None:
        self._run.clear()
        self._first, self._length, self._believed = None, 0, False

    def _follows(self, position: float, time: float) -> bool:
        """Whether a frame can be of the same run: where the fit expects it, or at least no further than a source that
        is wound can be."""
        if not self._run:
            return False
        last_time, last = self._run[-1]
        passed, moved = time - last_time, position - last
        if passed > GAP_S:
            return False
        if len(self._run) >= JUMP_FRAMES:
            line = fitted(self._run)
            # Speed may change by as much again in the time since the last frame: a tape that is braked or wound.
            return abs(position - line.at(time)) <= TOLERANCE_S * max(abs(line.speed), 1) + passed * max(
                abs(line.speed), 1.0
            )
        return abs(moved) <= SPEED_MAX * passed + TOLERANCE_S

    def _take(self, time: float) -> None:
        needed = JUMP_FRAMES if self.state != "stopped" else LOCK_FRAMES
        assert self._first is not None
        line = fitted(self._run)
        if not self._believed:
            if self._length < needed or time - self._first[0] < SPAN_S or not self._steady(line):
                return
            self._believed = True
        began = self._first[1]
        if not self._heard:
            self.jumps.append(Jump(began))
        elif self.state == "stopped":
            low, high = sorted((self._left, self.line.position))
            if not low - RESUME_S <= began <= high + RESUME_S:
                self.jumps.append(Jump(began))
        elif abs(line.position - self.line.at(time)) > JUMP_S * max(1.0, abs(self.line.speed)):
            self.jumps.append(Jump(began))
        self._heard, self.state, self.line = True, "locked", line

    def _steady(self, line: Line) -> bool:
        """Whether the frames of a short run go one way and lie on their line: frames that were read wrongly do not."""
        steps = [b[1] - a[1] for a, b in pairwise(self._run)]
        one_way = all(step >= 0 for step in steps) or all(step <= 0 for step in steps)
        limit = TOLERANCE_S * max(abs(line.speed), 1.0)
        return one_way and all(abs(line.at(time) - position) <= limit for time, position in self._run)
