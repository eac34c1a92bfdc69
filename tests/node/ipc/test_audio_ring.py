"""Sound between processes, and the even clock that it is put on."""

from __future__ import annotations

import contextlib
import pickle
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from worldjockey.integrations import AudioChunk
from worldjockey.node.ipc.audio_ring import CHUNK_SAMPLES, AudioReader, AudioRing, to_read
from worldjockey.node.ipc.frame_ring import FrameRing
from worldjockey.node.ipc.process import SPAWN
from worldjockey.node.timing.audio_clock import JUMP_S, RESTART_AFTER_S, AudioClock, advance

RATE = 48000


@contextlib.contextmanager
def ring(slots: int = 16) -> Iterator[AudioRing]:
    made = AudioRing(FrameRing(CHUNK_SAMPLES * 8, slots))
    try:
        yield made
    finally:
        made.unlink()


def counted(first: int, samples: int, at: float | None = None) -> AudioChunk:
    """Samples that are their own numbers, and minus that on the right."""
    number = np.arange(first, first + samples, dtype=np.float32)
    return AudioChunk(np.stack([number, -number], 1), RATE, first / RATE if at is None else at)


@given(st.integers(0, 2000), st.integers(0, 2000), st.integers(3, 300))
def test_a_reader_gets_what_is_newer_and_not_about_to_be_written_over(last: int, newest: int, slots: int) -> None:
    numbers = to_read(last, newest, slots)
    assert all(last < n <= newest and newest - n < slots - 2 for n in numbers)
    assert list(numbers) == [n for n in range(1, newest + 1) if last < n and newest - n < slots - 2]


@given(st.lists(st.one_of(st.just("read"), st.integers(1, 3 * CHUNK_SAMPLES)), max_size=40))
def test_a_reader_gets_everything_once_in_order_and_skips_what_it_was_too_late_for(deeds: list[Any]) -> None:
    with ring() as sound:
        reader, written, got = AudioReader(sound), 0, []
        for deed in [*deeds, "read"]:
            if deed == "read":
                got += reader.read_new()
            else:
                sound.write(counted(written, deed))
                written += deed
        numbers = np.concatenate([piece.samples[:, 0] for piece in got]) if got else np.zeros(0, np.float32)
        assert np.all(np.diff(numbers) > 0)
        assert np.array_equal(numbers, -np.concatenate([p.samples[:, 1] for p in got] or [numbers]))
        assert not written or numbers[-1] == written - 1
        for piece in got:
            assert np.all(np.diff(piece.samples[:, 0]) == 1)  # whole in itself
            assert piece.time == pytest.approx(piece.samples[0, 0] / RATE, abs=1e-6)


def test_pieces_that_continue_each_other_come_as_one_and_others_do_not() -> None:
    with ring() as sound:
        reader = AudioReader(sound)
        assert reader.read_new() == []
        sound.write(counted(0, 2 * CHUNK_SAMPLES))
        sound.write(counted(2 * CHUNK_SAMPLES, CHUNK_SAMPLES))
        sound.write(counted(3 * CHUNK_SAMPLES, CHUNK_SAMPLES, 5.0))
        first, second = reader.read_new()
        assert (len(first.samples), first.time, first.rate) == (3 * CHUNK_SAMPLES, pytest.approx(0.0), RATE)
        assert first.end == pytest.approx(0.03)
        assert (len(second.samples), second.time) == (CHUNK_SAMPLES, 5.0)


def test_a_reader_begins_at_the_present() -> None:
    with ring() as sound:
        sound.write(counted(0, CHUNK_SAMPLES))
        reader = AudioReader(pickle.loads(pickle.dumps(sound)))
        assert reader.read_new() == []
        sound.write(counted(CHUNK_SAMPLES, CHUNK_SAMPLES))
        assert reader.read_new()[0].samples[0, 0] == CHUNK_SAMPLES


def listen(sound: AudioRing, ready: Any, done: Any, told: Any) -> None:
    reader = AudioReader(sound)
    ready.set()
    got: list[np.ndarray] = []
    over = False
    while not over:
        over = done.is_set()
        got += [piece.samples for piece in reader.read_new()]
    told.put(np.concatenate(got))


def test_a_reader_in_another_process_never_gets_a_torn_piece() -> None:
    with ring(64) as sound:
        ready, done, told = SPAWN.Event(), SPAWN.Event(), SPAWN.Queue()
        reader = SPAWN.Process(target=listen, args=(sound, ready, done, told))
        reader.start()
        assert ready.wait(60)
        for number in range(5000):
            sound.write(counted(number * CHUNK_SAMPLES, CHUNK_SAMPLES))
        done.set()
        got = told.get(timeout=60)
        reader.join(60)
    assert len(got) > 20 * CHUNK_SAMPLES
    assert np.array_equal(got[:, 0], -got[:, 1])
    steps = np.diff(got[:, 0])
    assert np.all(steps > 0)
    assert np.all((got[1:, 0][steps > 1] % CHUNK_SAMPLES) == 0)  # what is left out is left out whole


@given(st.lists(st.floats(0, 0.15), min_size=1, max_size=300), st.integers(-300, 300))
def test_late_arrivals_do_not_disturb_the_clock(lateness: list[float], drift: int) -> None:
    """A card that is off by `drift` millionths, whose pieces arrive late by up to 150 ms, but one in 20 does not."""
    clock, end = AudioClock(), None
    lateness = [late if n % 20 else 0.0 for n, late in enumerate(lateness)]
    for number, late in enumerate(lateness):
        true = 100 + number * 0.01 * (1 + drift * 1e-6)
        clock, time = advance(clock, true + late, 480, RATE)
        assert time == pytest.approx(true, abs=JUMP_S)
        assert end is None or time == pytest.approx(end, abs=0.001)
        end = time + 0.01


@given(st.floats(RESTART_AFTER_S + 0.01, 1000))
def test_a_source_that_was_away_begins_anew(away: float) -> None:
    clock = AudioClock()
    for number in range(50):
        clock, time = advance(clock, number * 0.01, 480, RATE)
    clock, time = advance(clock, 0.5 + away, 480, RATE)
    assert time == 0.5 + away


def test_what_was_lost_is_noticed() -> None:
    clock, time = AudioClock(), 0.0
    for number in range(100):
        clock, time = advance(clock, number * 0.01 + (0.1 if number > 50 else 0), 480, RATE)
    assert time == pytest.approx(99 * 0.01 + 0.1, abs=0.001)
