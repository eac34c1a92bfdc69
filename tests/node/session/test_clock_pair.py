"""The clock and its warm spare: whatever ends the one, the other goes on in a few ticks, and no tick comes twice."""

from __future__ import annotations

import itertools
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
from worldjockey.integrations import VideoFormat
from worldjockey.node.ipc.cell import Cell
from worldjockey.node.ipc.frame_ring import FrameRing
from worldjockey.node.ipc.mailbox import Mailbox
from worldjockey.node.ipc.process import SPAWN
from worldjockey.node.ipc.tick import TickPlan
from worldjockey.node.output import clock_process
from worldjockey.node.session.clock_pair import ClockPair

FORMAT = VideoFormat(320, 180, 30)
MOST_MISSED = 30  # a second, on a busy machine; a clock that has to be started anew misses more there

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform == "win32", reason="signals")]


@pytest.fixture
def show() -> Iterator[SimpleNamespace]:
    box, source, tick, wake = Mailbox(), FrameRing(320 * 180 * 3, 4), Cell(64), SPAWN.Semaphore(0)
    pair = ClockPair(
        clock_process.run, (FORMAT, box, source, {}, [wake], tick), {"opening": 20.0, "running": 3.0}
    )  # fmt: skip
    ticks: list[int] = []

    def look() -> dict[str, Any]:
        """Supervises the pair and takes the ticks, as control process and outputs do."""
        pair.watch(time.monotonic())
        while wake.acquire(False):
            ticks.append(TickPlan.unpacked(tick.read()[1]).tick)
        return pair.status()

    found = SimpleNamespace(pair=pair, ticks=ticks, look=look, cell=tick)
    yield found
    if not hasattr(found, "last"):
        found.last = pair.finish(time.monotonic() + 5)
    for shared in (box, source, tick):
        shared.unlink()


def _kill_and_see(show: SimpleNamespace, wait_for: Callable[..., None], kills: int) -> dict[str, Any]:
    status = show.look()
    killed, spare, sent = status["pid"], status["spare"], status["ticks"]
    os.kill(killed, signal.SIGKILL)
    wait_for(lambda: show.look()["pid"] == spare and show.look()["ticks"] > sent + 10, what="the spare leads")
    wait_for(lambda: show.look()["spare"] not in (None, spare), what="another spare")
    now: dict[str, Any] = show.look()
    show.look()  # the ticks up to that status
    assert now["missed"] <= MOST_MISSED * kills, now
    assert now["state"] == "running"
    assert now["restarts"] == kills
    assert now["ticks"] + now["missed"] <= show.ticks[-1] + 1, "each tick is counted once"
    return now


def test_a_spare_takes_over_from_a_killed_clock_again_and_again(
    show: SimpleNamespace, wait_for: Callable[..., None]
) -> None:
    wait_for(lambda: show.look()["spare"], what="a clock and its spare")
    for kills in (1, 2, 3):
        status = _kill_and_see(show, wait_for, kills)
    assert show.ticks == sorted(show.ticks)
    assert max(later - tick for tick, later in itertools.pairwise(show.ticks)) < 2 * MOST_MISSED
    assert [event for event in show.pair.events if event.startswith("clock was killed")] == show.pair.events
    show.last = show.pair.finish(time.monotonic() + 5)
    assert show.last["state"] == "closed"
    assert show.last["ticks"] >= status["ticks"]


def test_a_clock_that_is_stopped_keeps_the_lead_until_it_is_killed(
    show: SimpleNamespace, wait_for: Callable[..., None]
) -> None:
    wait_for(lambda: show.look()["spare"], what="a clock and its spare")
    status = show.look()
    os.kill(status["pid"], signal.SIGSTOP)
    wait_for(lambda: psutil.Process(status["pid"]).status() == psutil.STATUS_STOPPED)
    version = show.cell.version
    time.sleep(0.3)  # in which nobody supervises
    assert show.cell.version == version, "there are never two"
    wait_for(lambda: show.look()["pid"] == status["spare"], what="the spare leads")
    wait_for(lambda: show.look()["ticks"] > status["ticks"] + 10, what="it ticks")
    assert any("clock did not respond" in event for event in show.pair.events)


def test_a_spare_costs_next_to_nothing_and_its_death_costs_no_tick(
    show: SimpleNamespace, wait_for: Callable[..., None]
) -> None:
    wait_for(lambda: show.look()["spare"], what="a clock and its spare")
    status = show.look()
    spare = psutil.Process(status["spare"])

    def rests() -> bool:
        """Over the next two seconds. One that polled would never; one that has just begun may still import."""
        ticks, begin, before = show.look()["ticks"], time.monotonic(), sum(spare.cpu_times()[:2])
        wait_for(lambda: show.look()["ticks"] > ticks + 60, what="two seconds")
        return bool(sum(spare.cpu_times()[:2]) - before < 0.2 * (time.monotonic() - begin))

    wait_for(rests, what="a spare that waits")
    spare.kill()
    wait_for(lambda: show.look()["spare"] not in (None, spare.pid), what="another spare")
    assert show.look()["pid"] == status["pid"]
    assert show.pair.events == ["spare clock was killed (signal 9)"]
