"""The preview gives way to the program, and to nothing else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from worldjockey.node.world.yielding import SLOWEST_S, Yielding, observed

WINDOW_S = 0.25


def played(y, seconds, cost):
    """cost(y): seconds a frame of a program that works all the time. Returns the states after each window."""
    states = []
    for _ in range(round(seconds / WINDOW_S)):
        frames = max(round(WINDOW_S / cost(y)), 1)
        y = observed(y, WINDOW_S, frames, frames * cost(y))
        states.append(y)
    return states


def share(states):
    """Mean number of the preview's frames a second."""
    return sum(y.works / y.interval for y in states) / len(states)


def beside(alone, most):
    """The cost of a program that a preview at its fastest makes `most` times as slow."""
    return lambda y: alone * (1 + (most - 1) * y.works * y.fastest / y.interval)


def test_a_preview_that_costs_nothing_is_as_fast_as_it_may_be():
    states = played(Yielding.at_most(10), 60, beside(0.05, 1.05))
    assert share(states[4:]) == pytest.approx(10)


def test_a_preview_that_costs_too_much_slows_down_until_it_does_not():
    states = played(Yielding.at_most(10), 60, beside(0.05, 1.2))
    late = [y for y in states[-80:] if y.works]
    assert late
    assert all(y.interval > y.fastest for y in late)
    assert sum(beside(0.05, 1.2)(y) for y in states[-80:]) / 80 < 0.05 * 1.1


def test_a_preview_that_costs_too_much_at_its_slowest_rests_longer_and_longer():
    states = played(Yielding.at_most(10), 300, lambda y: 0.1 if y.works else 0.05)
    assert any(y.phase == "resting" for y in states[:80])
    assert share(states[-800:]) < 0.3


def test_a_program_that_becomes_dearer_by_itself_is_no_reason_to_rest():
    quick = played(Yielding.at_most(10), 10, lambda y: 0.05)[-1]
    states = played(quick, 20, lambda y: 0.15)
    assert not any(y.phase == "resting" for y in states)
    assert states[-1].works
    assert states[-1].interval == pytest.approx(0.1)


def test_a_preview_comes_back_when_the_machine_is_free_again():
    tired = played(Yielding.at_most(10), 60, lambda y: 0.1 if y.works else 0.05)[-1]
    states = played(tired, 150, lambda y: 0.05)
    assert share(states[-40:]) == pytest.approx(10)


@given(st.lists(st.tuples(st.integers(0, 20), st.floats(0, 2)), max_size=60))
def test_whatever_the_program_does_the_interval_stays_in_its_range(windows):
    y = Yielding.at_most(10)
    for frames, busy in windows:
        y = observed(y, WINDOW_S, frames, busy)
        assert 0.1 - 1e-9 <= y.interval <= SLOWEST_S
