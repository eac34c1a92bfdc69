"""What a performer sees of controls that were refused."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from worldjockey.node.control.refusals import AGAIN_S, KNOWN_MAX, SHOW_INTERVAL_S, WAITING_MAX, Refusals


def shown(refusals: Refusals, now: float, seconds: float = 30.0) -> list[str]:
    """Everything that is shown while nothing more is refused."""
    steps = int(seconds / SHOW_INTERVAL_S)
    return [line for n in range(steps) if (line := refusals.to_show(now + n * SHOW_INTERVAL_S))]


def test_each_new_refusal_is_shown_once_with_its_source() -> None:
    refusals = Refusals()
    for n in range(50):
        refusals.note("osc 10.0.0.2:5000", "there is no parameter 'pad/99'", n * 0.01)
        refusals.note("osc 10.0.0.2:5001", "there is no parameter 'pad/99'", n * 0.01)  # the same program, started anew
        refusals.note("midi APC mini", "energy takes a value", n * 0.01)
    assert shown(refusals, 1.0) == [
        "osc 10.0.0.2: there is no parameter 'pad/99'", "midi APC mini: energy takes a value"
    ]  # fmt: skip


def test_a_refusal_that_goes_on_is_shown_again_after_a_while() -> None:
    refusals = Refusals()
    for second in range(int(AGAIN_S) + 2):
        refusals.note("osc a:1", "no", float(second))
        assert bool(refusals.to_show(float(second))) == (second in (0, AGAIN_S))


@given(st.lists(st.tuples(st.text(max_size=3), st.text(max_size=400)), max_size=300))
def test_a_flood_is_cut_to_a_few_lines_and_a_count(flood: list[tuple[str, str]]) -> None:
    refusals = Refusals()
    for source, reason in flood:
        refusals.note(source, reason, 0.0)
    lines = shown(refusals, 0.0)
    assert len(lines) <= WAITING_MAX + 1
    assert all(len(line) <= 300 for line in lines)
    assert bool(lines) == bool(flood)
    assert len(refusals._known) <= KNOWN_MAX


def test_lines_come_one_at_a_time_and_those_without_a_place_are_counted() -> None:
    refusals = Refusals()
    for n in range(WAITING_MAX + 7):
        refusals.note("osc a:1", f"no {n}", 0.0)
    assert refusals.to_show(0.0) == "osc a: no 0"
    assert refusals.to_show(SHOW_INTERVAL_S / 2) == ""
    assert shown(refusals, 1.0)[-1].startswith("7 more refused controls")


def test_a_fader_on_a_wrong_address_is_one_refusal_whatever_its_value() -> None:
    refusals = Refusals()
    for n in range(100):
        refusals.note("osc a:1", f"prompt takes a text, not {n / 7:.4g}e-05", n * 0.01)
        refusals.note("osc a:1", f"prompt takes a text, not {n / 7:.4f}", n * 0.01)
    assert len(shown(refusals, 1.0)) == 1
    refusals.note("osc a:1", "there is no parameter 'pad/98'", 9.0)
    refusals.note("osc a:1", "there is no parameter 'pad/99'", 9.0)
    assert len(shown(refusals, 40.0)) == 2, "another address is another refusal"
