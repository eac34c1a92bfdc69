"""Quality goes before motion does, comes back with the time for it, and does not flap."""

import itertools
import math
import random
import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from worldjockey.model.spec import Tokens, WorldSpec
from worldjockey.node.ipc.cell import Cell
from worldjockey.node.ipc.frame_ring import FrameRing
from worldjockey.node.ipc.mailbox import Mailbox
from worldjockey.node.ipc.process import read_status
from worldjockey.node.world import process as world_process
from worldjockey.node.world.adaptive_quality import (
    SPARE_S,
    STEPS_MAX,
    Governor,
    Quality,
    passed,
    reduced,
    rungs,
    steps_first,
    used,
)
from worldjockey.node.world.process import WorldOptions, WorldStepper

pytestmark = pytest.mark.slow

WANTED = 1 / 12


def cost(steps, level, load, drawing=0.4):
    """Seconds of a frame: drawing costs the same whatever the steps; each level halves all of it."""
    return load * (drawing + (1 - drawing) * steps) * 0.5**level


def interleaved(levels):
    """The ladder of a world whose levels are worth more than its steps."""
    return [*((4, level) for level in range(levels)), *((steps, levels - 1) for steps in (3, 2, 1))]


LADDERS = st.sampled_from([steps_first, interleaved])


def play(seconds, load, asked=4, levels=1, noise=0.0, seed=0, quality=None, drawing=0.4, ladder=steps_first):
    """(quality at the end, what each frame had). load: seconds of a frame in one step, now, as a function of time."""
    q, now, seen, dice = quality or Quality(), 0.0, [], random.Random(seed)
    while now < seconds:
        steps = used(q, asked)
        took = cost(steps, q.level, load(now), drawing) * math.exp(dice.gauss(0, noise))
        now += took
        seen.append((now, steps, q.level))
        q = passed(q, took, WANTED, asked, ladder(levels))
    return q, seen


def changes(seen):
    return sum(a[1:] != b[1:] for a, b in itertools.pairwise(seen))


loads = st.floats(0.01, 0.5)


@settings(max_examples=40)
@given(loads, st.integers(1, 4), st.integers(1, 4), st.floats(0, 0.5), st.integers(0, 9), LADDERS)
def test_never_more_is_done_than_asked_for_and_never_less_than_there_is(load, asked, levels, noise, seed, ladder):
    _, seen = play(20, lambda _: load, asked, levels, noise, seed, ladder=ladder)
    assert {rung[1:] for rung in seen} <= set(rungs(ladder(levels), asked))
    if ladder is steps_first:
        assert all(steps == 1 for _, steps, level in seen if level)
    else:
        assert all(steps == asked for _, steps, level in seen if level < levels - 1), "the levels go first"


@settings(max_examples=40)
@given(loads, st.integers(1, 4), st.integers(1, 3), st.floats(0, 1), LADDERS)
def test_a_world_that_is_slow_enough_is_brought_to_its_rate_and_one_that_is_not_is_left_alone(
    load, asked, levels, drawing, ladder
):
    q, _ = play(60, lambda _: load, asked, levels, drawing=drawing, ladder=ladder)
    if cost(asked, 0, load, drawing) < WANTED * 0.99:
        assert (used(q, asked), q.level) == (asked, 0)
    elif cost(1, levels - 1, load, drawing) > WANTED * 1.01:
        assert (used(q, asked), q.level) == (1, levels - 1)
    else:
        assert reduced(q, asked) or cost(asked, 0, load, drawing) <= WANTED * 1.01


@settings(max_examples=25)
@given(loads, loads, st.integers(2, 4), st.integers(1, 3))
def test_a_slower_machine_never_settles_on_better_quality(a, b, asked, levels):
    (fast, slow) = (play(40, lambda _, load=load: load, asked, levels)[0] for load in sorted((a, b)))
    assert used(slow, asked) <= used(fast, asked) or slow.level > fast.level
    assert slow.level >= fast.level


@settings(max_examples=25)
@given(loads, st.integers(2, 4), st.integers(1, 3), st.floats(0, 0.4), st.integers(0, 99), st.floats(0, 1), LADDERS)
@example(0.5, 4, 3, 0.0, 0, 0.0, steps_first)
def test_noisy_step_times_do_not_make_it_flap(load, asked, levels, noise, seed, drawing, ladder):
    _, seen = play(200, lambda _: load, asked, levels, noise, seed, drawing=drawing, ladder=ladder)
    later = [one for one in seen if one[0] > 100]
    assert changes(later) <= 2 * (100 / 25)
    calm = [one for one in seen if one[0] > 30]  # a frame of the slowest world here takes 2 s, and five go to each rung
    if noise < 0.1 and abs(math.log(WANTED / cost(1, 0, load, drawing))) > 1.5:
        assert changes(calm) == 0, "far from any edge nothing moves at all"


@settings(max_examples=20)
@given(st.floats(0.008, 0.02), st.floats(2, 20), st.integers(2, 4), st.integers(1, 3), st.integers(0, 9), LADDERS)
def test_when_the_neighbour_is_gone_all_of_it_comes_back(load, times, asked, levels, seed, ladder):
    busy = load * max(times, 1.3 * WANTED / cost(asked, 0, load))
    q, seen = play(90, lambda now: busy if now < 15 else load, asked, levels, 0.05, seed, ladder=ladder)
    assert min(steps - 10 * level for at, steps, level in seen if at < 15) < asked
    assert not reduced(q, asked)


def test_it_goes_before_two_seconds_are_lost_and_comes_back_after_a_calm_while():
    _, seen = play(3, lambda now: 0.02 if now < 1 else 0.1, 2)
    first = next(at for at, steps, _ in seen if steps == 1)
    assert 1 < first < 2.6
    q, _ = play(1.9, lambda _: 0.06, 2)
    assert used(q, 2) == 1
    _, seen = play(30, lambda _: 0.02, 2, quality=q)
    back = next(at for at, steps, _ in seen if steps == 2)
    assert SPARE_S <= back < SPARE_S + 3


def test_one_hitch_is_no_load():
    q = Quality()
    for n in range(200):
        q = passed(q, 3.0 if n == 100 else 0.03, WANTED, 4)
        assert q.limit == STEPS_MAX


def test_a_hand_that_asks_for_less_is_obeyed_at_once_and_nothing_is_reduced_then():
    q, _ = play(10, lambda _: 0.08, 4)
    assert used(q, 4) == 1
    assert reduced(q, 4)
    assert not reduced(q, 1)


def test_a_hand_that_asks_for_more_on_a_reduced_level_is_brought_back_onto_the_ladder():
    """Steps first: at one step asked for only the level goes; then four are asked for, which no rung has there."""
    q, _ = play(20, lambda _: 0.15, asked=1, levels=3)
    assert q.level
    later, seen = play(30, lambda _: 0.15, asked=4, levels=3, quality=q)
    assert seen[0][1] == 4, "what is asked for is tried"
    assert cost(used(later, 4), later.level, 0.15) < WANTED


def test_a_world_whose_levels_are_its_memory_forgets_before_it_is_drawn_in_fewer_steps():
    ladder = ((4, 0), (4, 1), (3, 1), (3, 2), (2, 2), (1, 2))
    governor = Governor(16.0, 30.0, True, 1, ("5 s", "4 s", "2 s"), ladder)
    seen = governed(governor, 40, lambda steps, level: 0.3 * (0.4 + 0.6 * steps / 4) * (1.0, 0.8, 0.5)[level], 4)
    assert list(dict.fromkeys(seen)) == [(4, 0), (4, 1)], "0.24 s for four frames: fast enough for 15 a second"
    governor = Governor(16.0, 30.0, True, 1, ("5 s", "4 s", "2 s"), ladder)
    assert list(dict.fromkeys(governed(governor, 60, lambda *_: 0.5, 4))) == list(ladder)
    assert governor.message() == "1 of 4 steps, 2 s: the world is too slow for 15 frames a second"


def governed(governor, seconds, each, frames=1, asked=4, auto=True):
    """Levels and steps that a world was given."""
    seen, now = [], 0.0
    while now < seconds:
        level = governor.allow(auto)
        steps = governor.afford(asked)
        seen.append((steps, level))
        took = each(steps, level)
        governor.done(took, frames)
        now += took
    return seen


@pytest.mark.parametrize("bursts", [False, True])
def test_a_world_that_became_fast_gets_its_quality_back_in_seconds_that_the_audience_sees(bursts):
    """However little of them it needs: a chunk is shown evenly, and most of its time the world rests."""
    governor = Governor(16.0, 30.0, bursts, 1, ("full", "half size"))
    governed(governor, 20, lambda steps, level: 0.3, frames=1)
    assert governor.message()
    shown = 0
    while governor.message():
        governed(governor, 0.001, lambda steps, level: 0.001)
        shown += 1
    assert 4 * SPARE_S < shown / (16 if bursts else 30) < 6 * SPARE_S, "one rung after the other"


def test_it_says_what_is_reduced_and_why_and_fixed_is_fixed():
    governor = Governor(20.0, 30.0, False, 1, ("full", "half size"))
    assert governor.message() == ""
    governed(governor, 20, lambda steps, level: 0.1 * steps / (1 + level))
    assert governor.message() == "1 of 4 steps, half size: the world is too slow for 12 frames a second"
    assert set(governed(governor, 20, lambda *_: 0.5, auto=False)) == {(4, 0)}
    assert governor.message() == ""


def test_a_world_that_thinks_in_chunks_is_judged_by_whole_rounds():
    governor = Governor(16.0, 30.0, True, 4, ())
    steps = iter(range(10**6))
    think = lambda *_: 0.15 if next(steps) % 4 == 0 else 0.02  # noqa: E731  # 12 frames in 0.21 s: fast enough
    assert set(governed(governor, 30, think, frames=3)) == {(4, 0)}
    assert governed(governor, 30, lambda *_: 0.3, frames=3)[-1] == (1, 0), "three frames in 0.3 s are too slow for 15"


class Heavy:
    """A world whose steps take as long as they are many, and that can be made smaller."""

    spec = WorldSpec("heavy", 16, 16, 50.0, 1, ("none",), ("text",), "cpu", qualities=("full", "half size"))

    def __init__(self):
        self.size, self.asked, self.weight = 16, [], 0.2

    def encode(self, prompt):
        return Tokens(np.zeros((1, 1), np.float32))

    def reset(self, seed):
        pass

    def set_quality(self, level):
        self.size = 16 >> level

    def step(self, controls):
        self.asked.append(controls.steps)
        time.sleep(self.weight * controls.steps * self.size / 16)
        return torch.zeros(1, self.size, self.size, 3, dtype=torch.uint8)


@pytest.fixture
def heavy():
    box, status, ring, stop = Mailbox(), Cell(16384), FrameRing(16 * 16 * 3, 8), threading.Event()
    box.post("prompt", "x", 1.0)
    player = WorldStepper(Heavy(), box, WorldOptions("heavy", top_fps=60.0))
    player.encoder.once()
    thread = threading.Thread(target=world_process._play, args=(player, ring, status, {}, stop), daemon=True)
    thread.start()
    yield SimpleNamespace(world=player.world, box=box, ring=ring, status=lambda: read_status(status))
    stop.set()
    thread.join(60)
    for cell in (box, status, ring):
        cell.unlink()


@pytest.mark.slow
def test_the_world_process_reduces_tells_and_obeys_the_switch(heavy, wait_for):
    heavy.box.post("steps", 2, 2.0)
    wait_for(lambda: "half size" in heavy.status().get("quality", ""))
    assert heavy.status()["quality"] == "1 of 2 steps, half size: the world is too slow for 30 frames a second"
    wait_for(lambda: heavy.ring.read()[1].shape == (8, 8, 3))
    assert max(heavy.world.asked) == 2
    assert heavy.world.asked[-1] == 1
    heavy.box.post("quality", "fixed", 3.0)
    wait_for(lambda: heavy.world.asked[-1] == 2 and heavy.status()["quality"] == "")
    wait_for(lambda: heavy.ring.read()[1].shape == (16, 16, 3))
