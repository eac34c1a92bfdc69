"""The process that keeps time for the audience: a fixed clock that sends a picture at every tick, whatever happens."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from worldjockey.integrations import Layout, VideoFormat

from ..ipc.cell import Cell
from ..ipc.frame_ring import FrameInfo, FrameRing
from ..ipc.leadership import Leadership
from ..ipc.mailbox import Mailbox
from ..ipc.process import init_child, parent_died, publish_status, raise_priority, read_status
from ..ipc.tick import CardLine, TickPlan
from ..timing.pacing import Pace, passed
from .layouts import shape_of
from .program import Program, Shown, filling, glide, standby

if TYPE_CHECKING:
    from .scaling import Scaler


class TickPublisher:
    """What a tick shows, told to the outputs: pixels into their rings, or only numbers where cards compose."""

    def __init__(self, fmt: VideoFormat, rings: Mapping[Layout, FrameRing], card: CardLine | None) -> None:
        from .scaling import Scaler  # brings PyAV, which control does without

        self._rings, self._card = rings, card
        self._scalers = {layout: Scaler(layout, fmt.width, fmt.height) for layout in rings}
        self._current = False  # the native ring has what is shown
        self._flow: tuple[int, int] = (0, 0)  # of which frame, and its number in the ring

    def send(self, program: Program, new: bool, tick: int, due: float) -> TickPlan:
        s = program.shown
        plan = TickPlan(tick, due, s.newest_control_at)
        if self._card is not None and s.info.memory:
            height, width = s.newest.shape[:2]
            plan = replace(
                plan, memory=s.info.memory, slot=s.info.slot, number=s.number, width=width, height=height,
                flow=self._told(s, self._card), share=s.part, blackout=program.blackout,
            )  # fmt: skip
        for layout, ring in self._rings.items():
            if layout != "native":
                if new:
                    _write(program, layout, ring, self._scalers[layout])
                continue
            if self._card is not None and plan.memory and not self._card.pixels_wanted:
                self._current &= not new
            elif new or not self._current:
                _write(program, layout, ring, self._scalers[layout])
                self._current = True
        return replace(plan, pixels=self._current)

    def _told(self, s: Shown, card: CardLine) -> int:
        """The number of the flow that this picture moves along; 0 for none."""
        if not s.moves or s.flow is None:
            return 0
        if self._flow[0] != s.number:
            half = np.ascontiguousarray(s.flow, np.float16).view(np.uint8)
            if half.size > card.flows.size:
                return 0
            self._flow = s.number, card.flows.write(half, FrameInfo())
        return self._flow[1]


def _write(program: Program, layout: Layout, ring: FrameRing, scaler: Scaler) -> None:
    picture, info = program.picture(), FrameInfo(time.monotonic(), program.shown.newest_control_at)
    if layout == "native":
        ring.write(picture[..., :3], info)
    else:
        shape = shape_of(layout, scaler.width, scaler.height)
        scaler.into(picture, ring.blank(shape))
        ring.publish(shape, info)


def pick_up(fmt: VideoFormat, last: int, due: float, now: float, said: Mapping[str, Any]) -> Pace:
    """The pace of a clock that comes after one that died on tick `last`; the ticks that went by since are missed.

    said: that one's last status, so that the counts go on and are always the whole show's. Which of its very last ticks
    were late or missed it took with it: those count as sent.
    """
    pace = Pace(due - last * fmt.fps_den / fmt.fps_num, fmt.fps_num, fmt.fps_den)
    tick = max(last + 1, math.ceil((now - pace.start) / pace.period))
    missed = said.get("missed", 0) + tick - last - 1
    late, worst = said.get("late", 0), said.get("worst_ms", 0.0) / 1e3
    return replace(pace, tick=tick, sent=tick - missed, late=late, missed=missed, worst=worst)


def run(fmt: VideoFormat, mailbox: Mailbox, source: FrameRing, rings: dict[Layout, FrameRing], wakes: list[Any],
        clock: Cell, status: Cell, stop: Any, card: CardLine | None = None,
        lead: Leadership | None = None) -> None:  # fmt: skip
    """The process's main.

    rings: where the outputs find their pictures. wakes: a semaphore for
    each output, released at every tick. clock: a `TickPlan`, which tick that was and what it shows. card: shared by the
    world and the outputs that may draw from its graphics card. lead: of several such processes one keeps time, and the
    others are open and wait for it to die. Does nothing but keep time, in one thread: whatever may wait belongs to the
    control process.
    """
    init_child()
    _keep_memory()
    publisher = TickPublisher(fmt, rings, card)
    period = fmt.fps_den / fmt.fps_num
    program = Program(source, standby(512, 512 * fmt.height // fmt.width // 2 * 2), period)
    raise_priority(real_time=True)
    if lead is not None:
        lead.wait(status, stop)
        if stop.is_set():
            return
    ahead, blackout, said_at = period / 4, mailbox.value("blackout"), 0.0
    said = lead.last_status if lead is not None else read_status(status)  # of the clock before this one
    program.counts = {name: said.get(name, 0) for name in program.counts}
    if sent := clock.read()[1]:
        last = TickPlan.unpacked(sent)
        pace = pick_up(fmt, last.tick, last.due, time.monotonic(), said)
    else:
        pace = Pace(time.monotonic() + 0.05, fmt.fps_num, fmt.fps_den)
    cpu = time.process_time() - said.get("cpu_s", 0.0)  # of the frames alone, not of starting up

    def tell(state: str) -> None:
        words = _status(state, pace, program.counts, time.process_time() - cpu, program.error)
        publish_status(status, words)
        if lead is not None:
            lead.publish(words)

    while not stop.is_set():
        _sleep_until(pace.due - ahead)
        begin = time.monotonic()
        blackout = glide(blackout, mailbox.value("blackout"))
        new = program.advance(pace.due, filling(mailbox), blackout)
        plan = publisher.send(program, new, pace.tick, pace.due)
        if new:
            # Composing starts as early as it takes, so that the picture leaves on the beat; a frame's first tick, in
            # which its motion is found, takes longest.
            took = min(time.monotonic() - begin + 0.001, period / 2)
            ahead = max(took, ahead + 0.05 * (took - ahead))
        _sleep_until(pace.due)
        clock.write(plan.packed())
        for wake in wakes:
            wake.release()
        pace = passed(pace, time.monotonic())
        if begin - said_at > 0.25:
            said_at = begin
            tell("running")
            if parent_died():
                break
    tell("closed")


def _keep_memory() -> None:
    """glibc gives large blocks back to the system when they are freed, and a picture would fault in anew at every tick
    (measured: 5 of 7 ms); once it saw a larger block come and go, it keeps them (mallopt(3), M_MMAP_THRESHOLD)."""
    np.empty(31 << 20, np.uint8)


def _sleep_until(due: float) -> None:
    if (wait := due - time.monotonic()) > 0:
        time.sleep(wait)


def _status(state: str, pace: Pace, counts: Mapping[str, int], cpu: float, error: str) -> dict[str, Any]:
    return {
        "state": state, "ticks": pace.sent, "late": pace.late, "missed": pace.missed,
        "worst_ms": round(pace.worst * 1e3, 2), **counts, "cpu_s": round(cpu, 3), "message": error,
    }  # fmt: skip
