"""A world's process that meets trouble: a step that fails, and a step that takes long."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from play_command import headless
from worldjockey.model.worlds.testcard import TestCard
from worldjockey.node.ipc.cell import Cell
from worldjockey.node.ipc.mailbox import Mailbox
from worldjockey.node.ipc.process import init_child, publish_status
from worldjockey.node.ipc.supervisor import Supervisor
from worldjockey.node.world import heartbeat
from worldjockey.node.world.heartbeat import Heartbeat
from worldjockey.node.world.process import STEP_ATTEMPTS, WorldOptions, WorldStepper


class Stumbling(TestCard):
    """Fails at some of its steps, after it has moved on already."""

    def __init__(self, *fails_at: int) -> None:
        super().__init__()
        self.fails_at, self.calls, self.resets = fails_at, 0, 0

    def reset(self, seed: int) -> None:
        super().reset(seed)
        self.resets = getattr(self, "resets", 0) + 1

    def step(self, controls: Any) -> Any:
        self.calls += 1
        frames = super().step(controls)
        if self.calls in self.fails_at:
            raise RuntimeError("out of memory for a moment")
        return frames


@pytest.fixture
def stepper() -> Iterator[Callable[..., WorldStepper]]:
    """`stepper(world)` steps it with a prompt that is encoded already."""
    boxes = []

    def make(world: TestCard) -> WorldStepper:
        boxes.append(Mailbox())
        boxes[-1].post("prompt", "#c02020", time.monotonic(), 0.0)
        made = WorldStepper(world, boxes[-1], WorldOptions("testcard"))
        made.encoder.once()
        return made

    yield make
    for box in boxes:
        box.unlink()


def test_a_step_that_fails_is_taken_again_from_where_it_was(stepper: Callable[..., WorldStepper]) -> None:
    world, smooth = Stumbling(2, 4), Stumbling()
    played, undisturbed = stepper(world), stepper(smooth)
    for _ in range(6):
        assert played.step(0.1) is not None
        assert undisturbed.step(0.1) is not None
    assert world.calls == 8
    assert world.seconds == pytest.approx(smooth.seconds), "no time was lost, and none was lived twice"
    assert "a step of the world failed and was taken again: out of memory" in played.error
    assert world.resets == smooth.resets


def test_a_step_that_fails_again_restarts_the_world_and_then_the_process(
    stepper: Callable[..., WorldStepper],
) -> None:
    twice = Stumbling(3, 4)
    played = stepper(twice)
    for _ in range(4):
        assert played.step(0.1) is not None
    assert twice.resets == 2, "once as it began, and once after the second failure"
    for_good = stepper(Stumbling(*range(2, 100)))
    assert for_good.step(0.1) is not None
    with pytest.raises(RuntimeError, match="out of memory"):
        for_good.step(0.1)
    assert for_good.world.calls == 1 + STEP_ATTEMPTS  # type: ignore[attr-defined]


def slow(compute: str, status: Cell, stop: Any) -> None:
    """A process whose second step takes much longer than its supervisor waits."""
    init_child()
    beat = Heartbeat(status)
    beat.publish({"state": "running", "frames": 1})
    end = time.monotonic() + 6
    if compute == "in a child":
        code = "import time\nend = time.monotonic() + 6\nwhile time.monotonic() < end: sum(range(10_000))"
        subprocess.run([sys.executable, "-c", code], check=True)
    while time.monotonic() < end and not stop.is_set():
        if compute == "itself":
            sum(range(10_000))
        else:
            time.sleep(0.05)
    while not stop.is_set():
        publish_status(status, {"state": "running", "frames": 2})
        time.sleep(0.1)
    beat.stop()


@pytest.mark.slow
@pytest.mark.parametrize("computes", ["itself", "in a child", ""])
def test_a_world_that_compiles_is_waited_for_and_one_that_hangs_is_not(computes: str) -> None:
    supervisor = Supervisor("world", slow, (computes,), {"running": 3.0})
    notes = set()
    try:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and not supervisor.restarts and supervisor.status().get("frames") != 2:
            supervisor.watch(time.monotonic())
            notes.add(supervisor.status().get("message", ""))
            time.sleep(0.05)
        assert supervisor.restarts == (0 if computes else 1)
        assert any("one step takes long" in note for note in notes) == bool(computes)
    finally:
        supervisor.finish(time.monotonic() + 5)


def test_a_step_is_not_waited_for_without_end(monkeypatch: pytest.MonkeyPatch, wait_for: Callable[..., None]) -> None:
    monkeypatch.setattr(heartbeat, "INTERVAL_S", 0.02)
    monkeypatch.setattr(heartbeat, "STEP_MAX_S", 0.3)
    seconds = iter(range(10**9))
    monkeypatch.setattr(heartbeat, "children_s", lambda: float(next(seconds)))
    cell = Cell(4096)
    beat = Heartbeat(cell)
    try:
        beat.publish({"state": "running"})
        wait_for(lambda: b"takes long" in cell.read()[1])

        def silent() -> bool:
            version = cell.version
            time.sleep(0.4)  # twenty intervals
            return bool(cell.version == version)

        wait_for(silent, what="a step that is waited for no longer")
    finally:
        beat.stop()
        cell.unlink()


def test_a_fast_world_keeps_its_pace(stepper: Callable[..., WorldStepper]) -> None:
    played = stepper(Stumbling())
    for _ in range(60):
        assert played.step(1 / 60) is not None
    assert played.world.seconds == pytest.approx(1.0)  # type: ignore[attr-defined]


@pytest.mark.slow
def test_a_show_of_60_frames_a_second_has_as_many_of_the_world(tmp_path: Path) -> None:
    report = tmp_path / "run.json"
    options = ["--fps", "60", "--size", "320x180", "--seconds", "4", "--report", str(report)]
    rates = []
    while not rates or (max(rates) <= 0.6 * 60 and len(rates) < 4):  # other work on this machine may slow one down
        subprocess.run(headless("--out", "none", *options), check=True, capture_output=True)
        rates.append(json.loads(report.read_text())["world"]["fps"])
    assert max(rates) > 0.6 * 60, f"more than 30: {rates}"
