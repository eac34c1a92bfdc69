"""Timecode's arithmetic, compared with the `timecode` package's, and the clock that chases it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from timecode import Timecode
from worldjockey.node.timing import timecode
from worldjockey.node.timing.chase import ChaseClock
from worldjockey.node.timing.timecode import RATES, Rate

rates = st.sampled_from(sorted(RATES.values(), key=str))
theirs = {"24": "24", "25": "25", "29.97": "29.97", "30": "30"}


@given(rates, st.integers(0, 24 * 3600 * 24 - 1))
def test_labels_are_those_of_another_library(rate: Rate, number: int) -> None:
    other = Timecode(theirs[rate.name], frames=number + 1)
    parts = timecode.parts(float(number / rate.real), rate)
    assert parts == (other.hrs, other.mins, other.secs, other.frs)
    assert timecode.count(*parts, rate) == number


@given(rates, st.integers(0, 24 * 3600 * 24 - 1))
def test_a_label_is_read_as_it_was_written(rate: Rate, number: int) -> None:
    at = float(number / rate.real)
    assert timecode.parse(timecode.label(at, rate), rate) == pytest.approx(at, abs=1e-6)


@pytest.mark.parametrize(
    ("text", "rate", "at"),
    [
        ("01:00:12:05", "25", 3612.2), ("1:0:12.5", "25", 3612.5), ("01:00:12.200", "30", 3612.2),
        ("1:12.5", "25", 72.5), ("72.5", "24", 72.5), (72.5, "24", 72.5), ("500 ms", "24", 0.5), ("3s", "24", 3.0),
        ("00:01:00;02", "29.97", 60.06), ("00:10:00;00", "29.97", 599.9994),
    ],
)  # fmt: skip
def test_forms(text: str | float, rate: str, at: float) -> None:
    assert timecode.parse(text, RATES[rate]) == pytest.approx(at, abs=1e-3)


@pytest.mark.parametrize(
    ("text", "rate", "why"),
    [
        ("01:00:12:25", "25", "there is no frame 25 at 25 frames a second: 24 is the last"),
        ("00:01:00;00", "29.97", "drop frame leaves out 00:01:00;00: the minute begins at 00:01:00;02"),
        ("25:00:00:00", "25", "no time of a day"), ("00:61:00:00", "25", "no time of a day"),
        ("junk", "25", "is no timecode: write it as"), ("", "25", "is no timecode"), ("-3", "25", "is no timecode"),
        ("1:75.0", "25", "more than 59"), ("90000", "25", "later than a day"), ("01:00:00:00:00", "25", "no timecode"),
    ],
)  # fmt: skip
def test_errors_say_what_is_wrong(text: str, rate: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        timecode.parse(text, RATES[rate])


@given(st.text(max_size=30), rates)
def test_any_text_is_a_time_or_a_value_error(text: str, rate: Rate) -> None:
    try:
        at = timecode.parse(text, rate)
    except ValueError:
        return
    assert 0 <= at < 86400 * 1.01


def test_the_clock_locks_after_a_few_frames_and_keeps_the_time_between_them() -> None:
    clock = ChaseClock()
    for n in range(3):
        clock.frame(10 + n / 25, n / 25)
    assert clock.state == "stopped"
    clock.frame(10 + 3 / 25, 3 / 25)
    assert clock.state == "locked"
    assert clock.at(0.13) == pytest.approx(10.13)
    assert [jump.position for jump in clock.take_jumps()] == [10]


def play(clock: ChaseClock, begin: float, seconds: float, at: float, speed: float = 1.0, jitter: float = 0.0) -> float:
    """Frames at 25 a second of the source; returns the time of the last one."""
    time = at
    for n in range(round(seconds * 25)):
        time = at + n / 25 / abs(speed)
        clock.advance(time)
        clock.frame(begin + n / 25 * (1 if speed > 0 else -1), time + jitter * ((n * 7) % 5 - 2) / 2)
    return time


@pytest.mark.parametrize("speed", [0.5, 1.0, 1.7, 4.0, -1.0, -2.0])
def test_speed_and_direction_are_followed_and_jitter_is_smoothed(speed: float) -> None:
    clock = ChaseClock()
    last = play(clock, 100, 8, 5, speed, jitter=0.01)
    assert clock.state == "locked"
    assert clock.line.speed == pytest.approx(speed, rel=0.15)
    assert clock.at(last) == pytest.approx(100 + (last - 5) * speed, abs=0.03 * abs(speed))
    assert len(clock.take_jumps()) == 1


def test_the_clock_freewheels_and_then_holds() -> None:
    clock = ChaseClock(freewheel=1.0)
    last = play(clock, 0, 1, 0)
    clock.advance(last + 0.9)
    assert clock.state == "freewheel"
    assert clock.at(last + 0.9) == pytest.approx(0.96 + 0.9, abs=0.01)
    clock.advance(last + 1.3)
    assert clock.state == "stopped"
    held = clock.at(last + 1.3)
    clock.advance(last + 60)
    assert clock.at(last + 60) == held == pytest.approx(2.16, abs=0.05)


def test_a_burst_of_messages_is_no_speed() -> None:
    clock = ChaseClock()
    for n in range(40):  # quarter frames at 100 a second, of which a busy machine delivers eight at once
        clock.frame(10 + n / 100, n // 8 * 0.08)
        assert abs(clock.line.speed) < 2
    assert clock.state == "locked"
    assert clock.at(0.32) == pytest.approx(10.36, abs=0.06)


def test_a_dropout_within_the_freewheel_is_no_jump() -> None:
    clock = ChaseClock()
    play(clock, 0, 1, 0)
    play(clock, 1.8, 1, 1.8)
    assert len(clock.take_jumps()) == 1
    assert clock.state == "locked"


def test_one_wrong_frame_is_no_jump_and_a_locate_is() -> None:
    clock = ChaseClock()
    play(clock, 0, 1, 0)
    clock.take_jumps()
    clock.frame(500, 1.0)
    play(clock, 1.04, 1, 1.04)
    assert clock.take_jumps() == []
    play(clock, 300, 1, 2.04)
    assert [jump.position for jump in clock.take_jumps()] == [300]
    assert clock.at(3.0) == pytest.approx(300.96, abs=0.01)


def test_a_source_that_goes_on_after_a_stop_goes_on() -> None:
    clock = ChaseClock()
    last = play(clock, 0, 1, 0)
    clock.advance(last + 5)
    clock.take_jumps()
    play(clock, 1, 1, 20)
    assert clock.take_jumps() == []
    clock.advance(40)
    play(clock, 400, 1, 60)
    assert [jump.position for jump in clock.take_jumps()] == [400]


def test_a_full_frame_is_a_locate_and_a_small_one_is_not_far() -> None:
    clock = ChaseClock()
    clock.locate(60, 1)
    clock.locate(60.04, 2)
    clock.locate(90, 3)
    assert [(jump.position, jump.far) for jump in clock.take_jumps()] == [(60, True), (60.04, False), (90, True)]
    assert (clock.state, clock.at(100)) == ("stopped", 90)


@given(st.lists(st.tuples(st.floats(-1e5, 1e5), st.floats(0, 2), st.booleans()), max_size=60))
def test_whatever_comes_the_clock_has_a_finite_time(frames: list[tuple[float, float, bool]]) -> None:
    clock, now = ChaseClock(), 0.0
    for position, passed, full in frames:
        now += passed
        clock.locate(position, now) if full else clock.frame(position, now)
        clock.advance(now)
        assert abs(clock.at(now)) < 1e9
