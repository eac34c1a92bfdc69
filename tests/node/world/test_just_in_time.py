"""The world's steps and the output clock: each tick has a frame of its own, made as late as possible."""

from __future__ import annotations

import time
from collections import deque

import pytest
from worldjockey.node.ipc.cell import Cell
from worldjockey.node.ipc.tick import TickPlan
from worldjockey.node.timing.pacing import LOCK_MARGIN_S, LOCK_SHARE
from worldjockey.node.world.process import CLOCK_SILENT_S, DURATIONS_KEPT, just_in_time

PERIOD_S = 1 / 30
AHEAD_S = 0.006


@pytest.fixture
def clock():
    cell = Cell(64)
    yield cell
    cell.unlink()


def steps(took: float) -> deque[float]:
    return deque([took] * DURATIONS_KEPT, maxlen=DURATIONS_KEPT)


def test_a_fast_world_is_ready_just_before_the_clock_takes_its_frame(clock):
    due = time.monotonic()
    clock.write(TickPlan(7, due, AHEAD_S).packed())
    start = just_in_time(due, steps(0.020), clock, PERIOD_S)
    taken_at = [due + k * PERIOD_S - AHEAD_S for k in range(1, 9)]
    assert any(start + 0.020 == pytest.approx(at - LOCK_MARGIN_S, abs=1e-6) for at in taken_at)


def test_one_hiccup_does_not_make_every_step_early(clock):
    durations = steps(0.010)
    durations.append(0.031)
    clock.write(TickPlan(7, time.monotonic(), AHEAD_S).packed())
    taken = just_in_time(0.0, durations, clock, PERIOD_S) + 0.010 + LOCK_MARGIN_S + AHEAD_S
    ticks = (taken - TickPlan.unpacked(clock.read()[1]).due) / PERIOD_S
    assert ticks == pytest.approx(round(ticks), abs=1e-3)


@pytest.mark.parametrize(
    ("took", "count", "silent"),
    [
        (LOCK_SHARE * PERIOD_S + 0.001, DURATIONS_KEPT, 0.0),
        (0.020, DURATIONS_KEPT - 1, 0.0),
        (0.020, DURATIONS_KEPT, CLOCK_SILENT_S + 0.1),
    ],
    ids=["slow world", "just begun", "silent clock"],
)
def test_other_worlds_step_at_their_own_pace(clock, took, count, silent):
    clock.write(TickPlan(7, time.monotonic() - silent, AHEAD_S).packed())
    assert just_in_time(123.0, deque([took] * count), clock, PERIOD_S) == 123.0
    assert just_in_time(123.0, steps(0.020), None, PERIOD_S) == 123.0
