"""Frames that come in bursts are shown evenly: nothing rushes, nothing stands still, nothing is left out."""

from __future__ import annotations

import math
import threading
import time

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from worldjockey.model import Controls, Prompt, Tokens, WorldSpec
from worldjockey.node.control.control_log import ControlLog
from worldjockey.node.control.desk import Desk
from worldjockey.node.ipc.cell import Cell
from worldjockey.node.ipc.frame_ring import FrameInfo, FrameRing
from worldjockey.node.ipc.mailbox import Mailbox
from worldjockey.node.session.render import frames
from worldjockey.node.show.schema import Show
from worldjockey.node.timing.show_clock import ShowClock
from worldjockey.node.world import process as world_process
from worldjockey.node.world.playout import Playout, may_wait, spacing
from worldjockey.node.world.process import WorldOptions, WorldStepper

CHUNK = [(1.2, 1)] + [(0.06, 4)] * 8  # seconds and frames of a round: think, then draw


def shown(rounds: list[list[tuple[float, int]]], rate: float, top: float = 60.0) -> tuple[list[float], int]:
    """When each frame leaves, by the same two functions on a clock of our own, and the most that ever waited."""
    made: list[float] = []  # when each frame was there
    left: list[float] = []
    now, most, known = 0.0, 0, list(rounds[0])
    for step in (step for chunk in rounds for step in chunk):
        gap = spacing(known, rate, top)

        def waiting(at: float) -> int:
            while len(left) < len(made) and max(made[len(left)], left[-1] + gap if left else 0.0) <= at:  # noqa: B023
                left.append(max(made[len(left)], left[-1] + gap if left else 0.0))  # noqa: B023
            return len(made) - len(left)  # noqa: B023

        while may_wait(waiting(now), gap, known) > 0:
            now += 0.005
        now += step[0]
        made += [now] * step[1]
        most = max(most, waiting(now))
    return left, most


@pytest.mark.parametrize(("speed", "rate"), [(1.0, 24.0), (0.4, 24.0), (0.1, 24.0), (1.0, 8.0)])
def test_a_chunked_world_moves_evenly_and_its_queue_stays_short(speed: float, rate: float) -> None:
    chunk = [(seconds * speed, n) for seconds, n in CHUNK]
    left, most = shown([chunk] * 12, rate)
    gaps = np.diff(left)[33:]  # from the second round on
    expected = max(sum(s for s, _ in chunk) / 33, 1 / rate)
    assert gaps == pytest.approx(expected, abs=0.012), "even, though 33 frames came in a burst"
    assert most <= 33 + 5


@given(
    st.lists(st.tuples(st.floats(0.001, 5), st.integers(1, 32)), max_size=20),
    st.just(0.0) | st.floats(0.1, 120),
    st.floats(1, 120),
    st.integers(0, 100),
)
def test_never_faster_than_meant_made_or_shown(
    steps: list[tuple[float, int]], rate: float, top: float, waiting: int
) -> None:
    gap = spacing(steps, rate, top)
    assert gap >= 1 / top
    assert rate == 0 or gap >= 1 / rate
    assert math.isinf(gap) == (rate == 0)
    wait = may_wait(waiting, gap, steps)
    assert wait >= 0
    if wait and rate:
        assert waiting * gap - wait >= max((s for s, _ in steps), default=0.0) - 1e-9, "no step is waited into a gap"


class Chunky:
    """A world of 1 + 4 + 4 frames a chunk whose pixels count; `think` seconds go before each."""

    spec = WorldSpec("chunky", 8, 8, 50.0, 4, (), ("text",), "cpu", steps_per_chunk=3)
    think = 0.08

    def __init__(self) -> None:
        self.steps, self.frames = 0, 0
        self.heard: list[Controls] = []

    def encode(self, prompt: Prompt) -> Tokens:
        return Tokens(np.full((1, 1), float(prompt.text), np.float32))

    def reset(self, seed: int) -> None:
        pass

    def step(self, controls: Controls):
        self.heard.append(controls)
        n = 4 if self.steps % 3 else 1
        if n == 1:
            threading.Event().wait(self.think)
        self.steps += 1
        values = torch.arange(self.frames, self.frames + n) % 256
        self.frames += n
        return values.to(torch.uint8).view(n, 1, 1, 1).expand(n, 8, 8, 3).contiguous()


@pytest.fixture
def played(monkeypatch: pytest.MonkeyPatch):
    """The world process's own loop over that world, in a thread; every frame that is published, as it is."""
    box, status, ring, stop = Mailbox(), Cell(16384), FrameRing(8 * 8 * 3, 8), threading.Event()
    log: list[tuple[float, int, FrameInfo]] = []
    publish = ring.write

    def write(pixels, info):
        log.append((time.monotonic(), int(pixels[0, 0, 0]), info))
        return publish(pixels, info)

    monkeypatch.setattr(ring, "write", write)
    box.post("prompt", "1", 1.0)
    player = WorldStepper(Chunky(), box, WorldOptions("chunky", top_fps=60.0))
    player.encoder.once()
    thread = threading.Thread(target=world_process._play, args=(player, ring, status, {}, stop), daemon=True)
    thread.start()
    yield box, log
    stop.set()
    thread.join(60)
    assert not thread.is_alive()
    for cell in (box, status, ring):
        cell.unlink()


def test_the_world_process_shows_every_frame_once_in_order_at_an_even_pace(played, wait_for) -> None:
    _, log = played
    wait_for(lambda: len(log) >= 80)
    values = [value for _, value, _ in log[:80]]
    assert values == list(range(80)), "none left out, none twice"
    gaps = np.diff([at for at, _, _ in log[36:80]])
    assert np.median(gaps) > 0.4 * np.mean(np.sort(gaps)[:-4]), "and not four at once"  # the machine may pause
    assert log[60][2].span >= 1 / 50 - 1e-9
    assert log[60][2].newest_control_at == 1.0, "frames carry the control they obey"


def test_freeze_holds_at_once_and_speed_0_too(played, wait_for) -> None:
    box, log = played
    for name, on, off in (("freeze", 1.0, 0.0), ("speed", 0.0, 1.0)):
        wait_for(lambda: len(log) >= 40)
        box.post(name, on, 2.0)
        since = time.monotonic()
        wait_for(lambda since=since: time.monotonic() > since + 0.4)
        assert len([at for at, _, _ in log if at > since + 0.2]) <= 1, name  # one may have been on its way
        held = len(log)
        box.post(name, off, 3.0)
        wait_for(lambda held=held: len(log) >= held + 20)
        assert [value for _, value, _ in log[: held + 20]] == list(range(held + 20)), "it goes on where it was"


def test_a_chunk_obeys_what_was_said_before_it_and_tells_so() -> None:
    box = Mailbox()
    try:
        box.post("prompt", "1", 5.0)
        world = Chunky()
        world.think = 0.0
        player = WorldStepper(world, box, WorldOptions("chunky"))
        player.encoder.once()
        stamps = []
        for n in range(9):
            if n == 1:
                box.post("prompt", "3", 6.0, seconds=2.0)
                player.encoder.once()
            if n == 4:
                box.post("energy", 1.0, 7.0)
            made = player.step(0.5)
            assert made is not None
            stamps.append(made[1].newest_control_at)
    finally:
        box.unlink()
    assert stamps == [5.0] * 3 + [6.0] * 3 + [7.0] * 3
    said = [float(c.tokens[0, 0]) for c in world.heard]
    assert said[:3] == [1.0] * 3
    assert said[3] == said[5]
    assert 1.0 < said[3] < 3.0, "1.5 s into a transition of 2 s"
    assert said[6] == 3.0, "and 3 s into it: no second of the chunk is lost"
    assert [c.energy > 0.5 for c in world.heard] == [False] * 6 + [True] * 3


def test_playout_ends_with_frames_waiting() -> None:
    ring = FrameRing(3, 4)
    try:
        playout = Playout(ring, 1, lambda: 0.1, 60.0, lambda: False)
        playout.start()
        playout.put(np.zeros((5, 1, 1, 3), np.uint8), FrameInfo(), 0.1)
        playout.end()
        assert not playout.is_alive()
        assert ring.newest <= 1
    finally:
        ring.unlink()


@pytest.mark.parametrize("fps", [50, 25, 10])
def test_a_rendered_log_shows_each_frame_at_its_own_moment(tmp_path, fps) -> None:
    show = Show.parse(f"model: chunky\nsize: 64x64\nfps: {fps}\nprompt: '1'\nvalues: {{inbetween: hold}}")
    box = Mailbox()
    try:
        log = ControlLog(tmp_path, Desk(show, box, ShowClock(120, now=1000.0)).state)
        log.start(1000.0)
        log.stop()
        world = Chunky()
        world.think = 0.0
        seen = [int(picture[4, 4, 0]) for picture in frames(show, tmp_path, world, 1.2)]
    finally:
        box.unlink()
    assert seen == [tick * 50 // fps for tick in range(len(seen))]
    assert len(seen) == round(1.2 * fps)
