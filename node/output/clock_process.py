"""The clock process: sends one frame to the audience at every tick of a fixed clock, whatever happens elsewhere."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from worldjockey.integrations import Layout, VideoFormat

from ..ipc.cell import Cell
from ..ipc.frame_ring import FrameInfo, FrameRing
from ..ipc.leadership import Leadership
from ..ipc.mailbox import Mailbox
from ..ipc.overlay import OverlayLine, OverlayReader
from ..ipc.process import init_child, lower_priority, parent_died, publish_status, raise_priority, read_status
from ..ipc.tick import CardLine, TickPlan
from ..timing.pacing import Pace, passed
from ..timing.percentiles import percentiles
from .layouts import shape_of
from .program import Program, Shown, glide, inbetween_mode, standby

STATUS_INTERVAL_S = 0.25
TICKS_KEPT = 512  # for percentiles


class TickPublisher:
    """Publishes each tick's frame to the outputs: pixels in their rings, or only numbers where the GPU composes it."""

    def __init__(self, fmt: VideoFormat, rings: Mapping[Layout, FrameRing], card: CardLine | None,
                 overlay: OverlayLine | None = None) -> None:  # fmt: skip
        from .overlay import Blender
        from .scaling import Scaler  # brings PyAV, which control does without

        self._rings, self._card = rings, card
        self._scalers = {layout: Scaler(layout, fmt.width, fmt.height) for layout in rings}
        self._overlay = OverlayReader(overlay)
        self._blenders = {layout: Blender(layout, fmt.width, fmt.height) for layout in rings if layout != "native"}
        self._overlaid = False  # what lies over the picture changed since the last tick
        self._native_is_current = False  # the native ring holds the frame that is shown
        self._flow: tuple[int, int] = (0, 0)  # the frame that the last flow leads to, and that flow's ring number

    def send(self, program: Program, new: bool, tick: int, due: float) -> TickPlan:
        """Write the frame to the rings that need it, and return the tick's description for the outputs.

        new: the frame differs from the last tick's. due: time.monotonic() at which it is to be sent.
        """
        s = program.shown
        plan = TickPlan(tick, due, newest_control_at=s.newest_control_at, blackout=program.blackout)
        if self._card is not None and s.info.memory:
            height, width = s.newest.shape[:2]
            plan = replace(
                plan, memory=s.info.memory, slot=s.info.slot, number=s.number, width=width, height=height,
                flow=self._flow_number(s, self._card), share=s.share,
            )  # fmt: skip
        for layout, ring in self._rings.items():
            if layout != "native":
                if new or self._overlaid:
                    self._write_scaled(program, layout, ring)
                continue
            if self._card is not None and plan.memory and not self._card.pixels_wanted:
                self._native_is_current &= not new
            elif new or not self._native_is_current:
                ring.write(program.frame()[..., :3], _info(program))
                self._native_is_current = True
        self._overlaid = False
        return replace(plan, pixels=self._native_is_current)

    def take_overlay(self) -> None:
        """Convert what is new over the picture, in the time between two ticks."""
        if self._overlay.refresh():
            self._overlaid = True
            for blender in self._blenders.values():
                blender.take(self._overlay.patches)

    def _write_scaled(self, program: Program, layout: Layout, ring: FrameRing) -> None:
        frame, info, scaler = program.frame(), _info(program), self._scalers[layout]
        shape = shape_of(layout, scaler.width, scaler.height)
        pixels = ring.blank(shape)
        scaler.into(frame, pixels)
        self._blenders[layout].into(pixels, 1 - program.blackout)
        ring.publish(shape, info)

    def _flow_number(self, s: Shown, card: CardLine) -> int:
        """The ring number of the flow that this frame moves along, written on first use; 0 for none."""
        if not s.moves or s.flow is None:
            return 0
        if self._flow[0] != s.number:
            half = np.ascontiguousarray(s.flow, np.float16).view(np.uint8)
            if half.size > card.flows.size:
                return 0
            self._flow = s.number, card.flows.write(half, FrameInfo())
        return self._flow[1]


def _info(program: Program) -> FrameInfo:
    return FrameInfo(time.monotonic(), program.shown.newest_control_at)


def pick_up(fmt: VideoFormat, last: int, due: float, now: float, last_status: Mapping[str, Any]) -> Pace:
    """The pace of a clock that succeeds one that died on tick `last`. Ticks that passed in between count as missed.

    due: time.monotonic() of tick `last`. last_status: the dead clock's, so that the counts stay those of the whole
    show. Late or missed ticks after that status are unknown, and count as sent on time.
    """
    pace = Pace(due - last * fmt.fps_den / fmt.fps_num, fmt.fps_num, fmt.fps_den)
    tick = max(last + 1, math.ceil((now - pace.start) / pace.period))
    missed = last_status.get("missed", 0) + tick - last - 1
    late, worst = last_status.get("late", 0), last_status.get("worst_ms", 0.0) / 1e3
    return replace(pace, tick=tick, sent=tick - missed, late=late, missed=missed, worst=worst)


def run(fmt: VideoFormat, mailbox: Mailbox, source: FrameRing, rings: dict[Layout, FrameRing], wakes: list[Any],
        clock: Cell, status: Cell, stop: Any, card: CardLine | None = None,
        lead: Leadership | None = None, background: bool = False,
        overlay: OverlayLine | None = None) -> None:  # fmt: skip
    """The process's main.

    rings: from which the outputs read their frames, by layout. wakes: one semaphore for each output, released at every
    tick. clock: receives each tick's `TickPlan`. card: shared by the world and the outputs that may draw from its
    graphics card. lead: decides which of several clock processes keeps time; the others are ready, and wait for it to
    die. background: with the least priority, for a bus that is not the program. overlay: what lies over the picture.
    This process only keeps time, in one thread: work that may block belongs to the control process.
    """
    init_child()
    _keep_freed_memory()
    publisher = TickPublisher(fmt, rings, card, overlay)
    period = fmt.fps_den / fmt.fps_num
    program = Program(source, standby(512, 512 * fmt.height // fmt.width // 2 * 2), period)
    lower_priority() if background else raise_priority(real_time=True)
    if lead is not None:
        lead.wait(status, stop)
        if stop.is_set():
            return
    ahead, blackout, published_at = period / 4, mailbox.value("blackout"), 0.0
    last_status = lead.last_status if lead is not None else read_status(status)  # of the clock before this one
    program.counts = {name: last_status.get(name, 0) for name in program.counts}
    if data := clock.read()[1]:
        last = TickPlan.unpacked(data)
        pace = pick_up(fmt, last.tick, last.due, time.monotonic(), last_status)
    else:
        pace = Pace(time.monotonic() + 0.05, fmt.fps_num, fmt.fps_den)
    parts = {name: deque[float](maxlen=TICKS_KEPT) for name in ("ring_ms", "compose_ms")}
    cpu = time.process_time() - last_status.get("cpu_s", 0.0)  # CPU time of the frames, without starting up

    def publish(state: str) -> None:
        current = _status(state, pace, program.counts, time.process_time() - cpu, program.error)
        current |= {name: percentiles(values) for name, values in parts.items()}
        publish_status(status, current)
        if lead is not None:
            lead.publish(current)

    while not stop.is_set():
        _sleep_until(pace.due - ahead)
        begin = time.monotonic()
        blackout = glide(blackout, mailbox.value("blackout"))
        before = program.shown.number
        new = program.advance(pace.due, inbetween_mode(mailbox), blackout)
        if program.shown.number != before:
            parts["ring_ms"].append((begin - program.shown.info.made) * 1e3)
            parts["compose_ms"].append((pace.due - begin) * 1e3)
        plan = publisher.send(program, new, pace.tick, pace.due)
        if new:
            # Composing starts as early as it needs to, so that the frame leaves on time. A world frame's first tick
            # takes longest, because its motion is estimated then.
            took = min(time.monotonic() - begin + 0.001, period / 2)
            ahead = max(took, ahead + 0.05 * (took - ahead))
        _sleep_until(pace.due)
        clock.write(replace(plan, ahead=ahead).packed())
        for wake in wakes:
            wake.release()
        pace = passed(pace, time.monotonic())
        publisher.take_overlay()
        if begin - published_at > STATUS_INTERVAL_S:
            published_at = begin
            publish("running")
            if parent_died():
                break
    publish("closed")


def _keep_freed_memory() -> None:
    """Make glibc keep large freed blocks rather than return them to the system.

    Otherwise each tick's frame faults in anew (measured: 5 of 7 ms). glibc raises its threshold once it has seen a
    larger block come and go: mallopt(3), M_MMAP_THRESHOLD.
    """
    np.empty(31 << 20, np.uint8)


def _sleep_until(due: float) -> None:
    if (wait := due - time.monotonic()) > 0:
        time.sleep(wait)


def _status(state: str, pace: Pace, counts: Mapping[str, int], cpu: float, error: str) -> dict[str, Any]:
    return {
        "state": state, "ticks": pace.sent, "late": pace.late, "missed": pace.missed,
        "worst_ms": round(pace.worst * 1e3, 2), **counts, "cpu_s": round(cpu, 3), "message": error,
    }  # fmt: skip
