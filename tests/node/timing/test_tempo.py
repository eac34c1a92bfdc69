"""Musical time: what must hold for every tempo, every moment, and every way a clock can fail."""

import itertools
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from worldjockey.node.timing.schedule import Schedule
from worldjockey.node.timing.show_clock import ShowClock
from worldjockey.node.timing.tempo import (
    BPM_MAX,
    BPM_MIN,
    SLACK_S,
    Line,
    Meter,
    MidiClock,
    Span,
    boundary,
    landing,
    tapped,
)

bpms = st.floats(BPM_MIN, BPM_MAX)
moments = st.floats(0, 1e5)
lines = st.builds(Line, moments, st.floats(-1e4, 1e4), bpms)
units = st.sampled_from([1.0, 4.0, 3.0, 16.0, 64.0])
latencies = st.floats(0, 0.5)


@pytest.mark.parametrize(
    ("written", "span"),
    [
        (2, Span(2)), ("1.5", Span(1.5)), ("1.5 s", Span(1.5)), ("3s", Span(3)), ("250 ms", Span(0.25)),
        ("4 seconds", Span(4)), ("1 min", Span(60)), ("2 beats", Span(2, "beat")), ("1/2 beat", Span(0.5, "beat")),
        ("1 bar", Span(1, "bar")), (" 2 Phrases ", Span(2, "phrase")),
    ],
)  # fmt: skip
def test_a_length_of_time_is_read_as_it_is_said(written, span):
    assert Span.parse(written) == span


@given(st.none() | st.booleans() | st.floats() | st.text(max_size=12) | st.just("1/0 beat"))
def test_whatever_is_written_is_a_length_or_a_clear_error(written):
    try:
        amount = Span.parse(written).amount
    except ValueError as error:
        amount = 0.0 if "2 beats" in str(error) or "hour" in str(error) else -1.0
    assert 0 <= amount <= 3600


def test_beats_are_as_long_as_the_tempo_says():
    meter = Meter(bar=3, phrase=8)
    assert Span(2, "beat").seconds(120, meter) == 1
    assert Span(1, "bar").seconds(60, meter) == 3
    assert Span(1, "phrase").beats(meter) == 24
    assert Span(1.5).seconds(60, meter) == 1.5
    assert Span(1.5).beats(meter) is None


@given(lines, moments)
def test_a_moment_has_a_beat_and_the_beat_has_that_moment(line, now):
    assert line.time_of(line.beat_at(now)) == pytest.approx(now, abs=1e-5)


@given(lines, bpms, moments)
def test_another_tempo_goes_on_from_the_beat_where_it_is(line, bpm, now):
    assert line.at_tempo(bpm, now).beat_at(now) == pytest.approx(line.beat_at(now))


@given(st.floats(-1e5, 1e5), units)
def test_a_boundary_is_the_next_one(beat, every):
    found = boundary(beat, every)
    assert beat - 1e-6 <= found < beat + every + 1e-6
    assert abs(found / every - round(found / every)) < 1e-9


@given(lines, moments, units, latencies)
def test_what_lands_can_be_met_and_is_no_later_than_it_must(line, now, every, latency):
    left = line.time_of(landing(line, now, every, latency)) - latency - now
    assert -SLACK_S - 1e-4 <= left <= every * 60 / line.bpm + 1e-4


@given(lines, moments, units, latencies, st.integers(1, 60))
def test_a_cue_is_fired_once_and_seen_on_its_beat(line, now, every, latency, looks):
    """Looked at every 10 ms it is fired within 10 ms of the moment from which `latency` leads to the beat."""
    schedule = Schedule()
    schedule.ask("cue", line, now, every, latency, 0.0)
    wanted = schedule.asked.lands(line)
    fired = []
    step = max((wanted - latency - now) / looks, 0.01)
    for n in range(looks + 2):
        fired += [(now + n * step, what, lands) for what, lands in schedule.due(line, now + n * step, latency, 0.0)]
    assert [what for _, what, _ in fired] == ["cue"]
    at, _, lands = fired[0]
    assert lands == pytest.approx(wanted)
    assert -1e-4 <= at + latency - lands <= step + SLACK_S + 1e-4


def test_a_clock_that_jumps_takes_what_waits_with_it():
    schedule, line = Schedule(), Line(0, 0, 120)
    schedule.ask("cue", line, 1.0, 16.0, 0.0, 0.0)
    assert not schedule.due(line, 1.1, 0.0, 0.0)
    started = Line(1.1, 0.0, 120)  # the song begins anew: 16 beats from here
    assert not schedule.due(started, 9.0, 0.0, -2.2)
    assert schedule.due(started, 9.1, 0.0, -2.2) == [("cue", pytest.approx(9.1))]


def test_what_waits_for_a_boundary_takes_the_next_one_after_a_jump():
    schedule, line = Schedule(), Line(0, 0, 120)
    schedule.ask("cue", line, 1.0, 16.0, 0.0, 0.0)  # beat 16, at 8 s
    located = Line(2.0, 101.0, 120)  # the song goes on elsewhere: 11 beats to its next phrase
    assert not schedule.due(located, 2.0, 0.0, 97.0), "beat 16 is past, and nobody asked for this moment"
    assert not schedule.due(located, 7.4, 0.0, 97.0)
    assert schedule.due(located, 7.5, 0.0, 97.0) == [("cue", pytest.approx(7.5))]


def test_what_follows_keeps_its_distance_over_a_jump():
    schedule, line = Schedule(), Line(0, 0, 120)
    schedule.follow("next", Span(8, "beat"), line, 1.0, Meter(), 0.0)  # at 5 s
    located = Line(2.0, 101.0, 120)
    assert not schedule.due(located, 4.9, 0.0, 97.0)
    assert schedule.due(located, 5.0, 0.0, 97.0) == [("next", pytest.approx(5.0))]


def test_what_follows_keeps_its_distance_in_beats_or_seconds():
    line, meter = Line(0, 0, 120), Meter()
    schedule = Schedule()
    schedule.follow("next", Span(8, "beat"), line, 1.0, meter, 0.0)
    assert not schedule.due(line, 4.89, 0.1, 0.0)
    assert schedule.due(line, 4.9, 0.1, 0.0) == [("next", pytest.approx(5.0))]
    schedule.follow("next", Span(3), line, 5.0, meter, 0.0)
    assert schedule.due(line, 7.9, 0.1, 0.0) == [("next", pytest.approx(8.0))]


@given(bpms, moments, st.lists(st.floats(-0.02, 0.02), min_size=4, max_size=8), st.integers(0, 2))
def test_taps_are_a_tempo_also_with_one_left_out(bpm, begin, jitter, left_out):
    period = 60 / bpm
    times = [begin + n * period + j * period for n, j in enumerate(jitter)]
    if len(times) > 5 and left_out:
        del times[left_out]
    line = tapped(Line(begin, 7.3, 100), times)
    assert line.bpm == pytest.approx(bpm, rel=0.03)
    assert abs(line.beat_at(times[-1]) - round(line.beat_at(times[-1]))) < 0.05
    assert abs(line.beat_at(times[-1]) - Line(begin, 7.3, 100).beat_at(times[-1])) <= 0.6, "the bar stays"


@given(lines, st.lists(moments, max_size=8))
def test_any_taps_leave_a_tempo_within_range(line, times):
    assert BPM_MIN - 1e-6 <= tapped(line, sorted(times)).bpm <= BPM_MAX + 1e-6


# -- MIDI clock --------------------------------------------------------------------------------------------------------


def clock_after(arrivals, clock=None):
    clock = clock or MidiClock()
    for time in arrivals:
        clock = clock.event("tick", time)
    return clock


def ticks(bpm, count, begin=1000.0, jitter=0.0, seed=0):
    chance = random.Random(seed)
    return [begin + n * 60 / (bpm * 24) + abs(chance.gauss(0, jitter)) for n in range(count)]


@given(st.floats(40, 200), st.floats(0, 0.002), st.integers(0, 99))
@settings(deadline=None)
def test_a_clock_with_jitter_is_a_steady_tempo_on_the_beat(bpm, jitter, seed):
    line = clock_after(ticks(bpm, 24 * 16, jitter=jitter, seed=seed)).line
    assert line.bpm == pytest.approx(bpm, rel=0.005)
    due = 1000 + 24 * 16 * 60 / (bpm * 24)
    assert (line.beat_at(due) - 16) * 60 / bpm == pytest.approx(0, abs=0.004)


@given(st.floats(60, 180), st.lists(st.tuples(st.floats(0, 4), st.floats(0, 1.2)), max_size=6))
@settings(deadline=None)
def test_clocks_that_come_in_a_bunch_cost_no_beat(bpm, stalls):
    late, last = [], 0.0
    for time in ticks(bpm, round(bpm / 60 * 24 * 14), jitter=0.001):
        for begin, length in stalls:
            if begin <= time - 1000 < begin + length:
                time = 1000 + begin + length
        last = max(time, last + 1e-5)
        late.append(last)
    line = clock_after(late).line
    assert (line.beat_at(1014) - 14 * bpm / 60) * 60 / bpm == pytest.approx(0, abs=0.01)


@given(st.floats(60, 180), st.integers(1, 400), st.integers(24 * 6, 24 * 12))
@settings(deadline=None)
def test_clocks_that_were_lost_are_counted_by_the_time_that_went_by(bpm, lost, at):
    sent = ticks(bpm, 24 * 16 + lost, jitter=0.0005)
    line = clock_after(sent[:at] + sent[at + lost :]).line
    assert (line.beat_at(sent[-1]) - (len(sent) - 1) / 24) * 60 / bpm == pytest.approx(0, abs=0.01)


@given(st.floats(60, 180), st.floats(60, 180))
@settings(deadline=None)
def test_another_tempo_is_taken_up_within_a_few_beats_and_no_beat_is_lost(before, after):
    sent = ticks(before, 24 * 8)
    sent += ticks(after, 24 * 6, begin=sent[-1] + 60 / (after * 24))
    line = clock_after(sent).line
    assert line.bpm == pytest.approx(after, rel=0.02)
    assert (line.beat_at(sent[-1]) - (len(sent) - 1) / 24) * 60 / after == pytest.approx(0, abs=0.015)


@given(
    st.lists(
        st.tuples(st.sampled_from(["tick", "start", "stop", "continue", "position", "?"]), st.floats(0, 2)), max_size=80
    )
)
def test_any_events_leave_a_tempo_within_range(events):
    clock = MidiClock()
    for time, (kind, _gap) in zip(itertools.accumulate(gap for _, gap in events), events, strict=True):
        clock = clock.event(kind, time, 3)
    assert clock.line is None or BPM_MIN - 1e-6 <= clock.line.bpm <= BPM_MAX + 1e-6


def test_start_position_and_continue_say_where_the_song_is():
    clock = clock_after(ticks(120, 50)).event("start", 1001.1)
    clock = clock_after(ticks(120, 25, begin=1001.2), clock)
    assert clock.playing
    assert clock.index == 24, "the first clock after start is beat 0"
    clock = clock.event("stop", 1002).event("position", 1003, 32).event("continue", 1010)
    assert clock_after([1010.1], clock).line.beat_at(1010.1) == pytest.approx(8)


# -- the show clock ----------------------------------------------------------------------------------------------------


def test_a_midi_clock_leads_while_it_ticks_and_its_tempo_stays_when_it_ends():
    clock = ShowClock(100, now=1000)
    for time in ticks(140, 24 * 4):
        clock.on_clock("tick", time, 0)
    end = ticks(140, 24 * 4)[-1]
    assert clock.following(end) == "midi"
    assert clock.line(end).bpm == pytest.approx(140)
    assert clock.following(end + 5) == "tap"
    assert clock.line(end + 5).beat_at(end + 5) == pytest.approx((24 * 4 - 1) / 24 + 5 * 140 / 60, abs=0.01)
    clock.obey("tempo", 90, end + 5)
    assert clock.bpm == 90


def test_link_is_followed_by_name_alone_and_led_only_by_hand():
    clock = ShowClock(100, now=1000)
    asked: list[float] = []
    clock.lead = asked.append
    clock.on_link(1001, 64.0, 133, 1)
    assert clock.bpm == 100
    clock.obey("tempo/source", "link", 1001)
    assert clock.line(1002).beat_at(1002) == pytest.approx(64 + 133 / 60)
    assert not asked, "joining asks for nothing"
    clock.obey("tempo", 125, 1002)
    assert asked == [125]
    assert clock.bpm == 133, "the session says what it is"


@given(bpms, moments, st.floats(0, 100))
def test_downbeat_puts_one_on_the_beat_nearest_to_now(bpm, now, later):
    clock = ShowClock(bpm, now=now)
    before = clock.line(now).beat_at(now + later)
    clock.obey("tempo/downbeat", True, now + later)
    after = clock.line(now).beat_at(now + later)
    assert abs(after / 16 - round(after / 16)) * 16 <= 0.5 + 1e-6
    assert (after - before) % 1 == pytest.approx(0, abs=1e-6) or (after - before) % 1 == pytest.approx(1, abs=1e-6)


def test_nudge_brings_the_beat_earlier():
    clock = ShowClock(120, now=0)
    assert clock.line(0).time_of(4) == 2
    clock.obey("tempo/nudge", 50, 0)
    assert clock.line(0).time_of(4) == pytest.approx(1.95)


def test_tapping_four_times_is_a_tempo_and_a_pause_begins_anew():
    clock = ShowClock(100, now=0)
    for n in range(4):
        clock.obey("tempo/tap", True, 10 + n * 0.5)
    assert clock.bpm == pytest.approx(120)
    assert clock.line(11.5).beat_at(11.5) % 1 == pytest.approx(0, abs=1e-6)
    for n in range(4):
        clock.obey("tempo/tap", True, 20 + n * 0.4)
    assert clock.bpm == pytest.approx(150)


def test_a_button_that_bounces_taps_once():
    clock = ShowClock(100, now=0)
    for n in range(5):
        clock.obey("tempo/tap", True, 10 + n * 0.5)
        clock.obey("tempo/tap", True, 10 + n * 0.5 + 0.06)
    assert clock.bpm == pytest.approx(120)
    assert clock.line(12).beat_at(12) % 1 == pytest.approx(0, abs=1e-6), "the first contact is the beat"


def test_a_link_session_that_falls_silent_gives_the_tempo_back_to_the_hand():
    clock = ShowClock(100, now=1000)
    asked: list[float] = []
    clock.lead = asked.append
    clock.obey("tempo/source", "link", 1000)
    clock.on_link(1001, 64.0, 133, 1)
    assert clock.status(1003)["source"] == "link", "a moment's silence is no end"
    assert clock.status(1006)["source"] == "tap"
    assert clock.line(1006).bpm == 133, "it runs on at the last tempo"
    clock.obey("tempo", 90, 1006)
    assert (clock.bpm, asked) == (90, [])
    clock.on_link(1007, 80.0, 133, 1)
    assert (clock.status(1007)["source"], clock.bpm) == ("link", 133)
