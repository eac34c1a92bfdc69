from hypothesis import given
from hypothesis import strategies as st
from worldjockey.node.timing.pacing import LOCK_MARGIN_S, LOCK_SHARE, Pace, passed, share, step_start


@given(
    now=st.floats(0, 1e6), share=st.floats(0, LOCK_SHARE), taken_at=st.floats(0, 1e6), period=st.floats(1 / 120, 1 / 12)
)
def test_a_step_is_ready_just_before_a_tick_takes_its_frame(now, share, taken_at, period):
    took = share * period
    start = step_start(now, took, taken_at, period)
    assert now - 1e-6 <= start <= now + period + 1e-6
    early = (taken_at - (start + took)) / period
    assert abs(early - round(early) - LOCK_MARGIN_S / period) < 1e-4


def test_ticks_do_not_drift():
    pace = Pace(start=100.0, num=30_000, den=1001)
    for _ in range(30_000):
        pace = passed(pace, pace.due + 0.001)
    assert abs(pace.due - (100.0 + 1001)) < 1e-6
    assert (pace.sent, pace.late, pace.missed) == (30_000, 0, 0)


def test_a_stall_is_counted_and_the_clock_catches_its_beat_again():
    pace = Pace(start=0.0, num=10)
    pace = passed(pace, 0.35)  # 3 whole periods behind
    assert (pace.tick, pace.late, pace.missed) == (4, 1, 3)
    assert pace.due == 0.4
    assert pace.worst == 0.35


def test_a_tick_is_late_from_five_milliseconds_after_it_was_due():
    pace = Pace(start=0.0, num=10)
    for behind in (0.004, 0.006, 0.02):
        pace = passed(pace, pace.due + behind)
    assert (pace.sent, pace.late, pace.missed) == (3, 2, 0)


@given(st.floats(0.01, 0.1), st.floats(0.01, 0.5), st.floats(0, 1))
def test_in_betweens_start_at_once_and_only_grow(period, span, after):
    first, later = share(0.0, 0.0, span, period), share(after, 0.0, span, period)
    assert 0 < first <= later <= 1
    assert share(span, 0.0, span, period) == 1
