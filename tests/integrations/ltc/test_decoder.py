"""LTC, decoded: from libltc, a program that is not ours, and from the specification, with what a cable does to it."""

from __future__ import annotations

import ctypes
import ctypes.util
from collections.abc import Sequence
from fractions import Fraction

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from worldjockey.integrations.ltc.decoder import Decoder, LtcFrame

Label = tuple[int, int, int, int]
SYNC = [0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 1]


class LibLtc:
    """The encoder of libltc 1.3 (Debian: libltc11)."""

    class Time(ctypes.Structure):
        _fields_ = [
            ("timezone", ctypes.c_char * 6),
            *((name, ctypes.c_ubyte) for name in ("years", "months", "days", "hours", "mins", "secs", "frame")),
        ]  # fmt: skip

    def __init__(self, rate: int, fps: float, standard: int, begin: Label) -> None:
        name = ctypes.util.find_library("ltc")
        if name is None:
            pytest.skip("libltc is not installed: apt-get install libltc11")
        self.lib = ctypes.CDLL(name)
        self.lib.ltc_encoder_create.restype = ctypes.c_void_p
        self.lib.ltc_encoder_create.argtypes = [ctypes.c_double, ctypes.c_double, ctypes.c_int, ctypes.c_int]
        for call in ("ltc_encoder_encode_frame", "ltc_encoder_inc_timecode", "ltc_encoder_dec_timecode"):
            getattr(self.lib, call).argtypes = [ctypes.c_void_p]
        self.lib.ltc_encoder_set_timecode.argtypes = [ctypes.c_void_p, ctypes.c_void_p]
        self.lib.ltc_encoder_copy_buffer.argtypes = [ctypes.c_void_p, ctypes.c_void_p]
        self.lib.ltc_encoder_get_buffersize.argtypes = [ctypes.c_void_p]
        self.lib.ltc_encoder_get_buffersize.restype = ctypes.c_size_t
        self.encoder = self.lib.ltc_encoder_create(rate, fps, standard, 0)
        time = self.Time(hours=begin[0], mins=begin[1], secs=begin[2], frame=begin[3])
        self.lib.ltc_encoder_set_timecode(self.encoder, ctypes.byref(time))

    def samples(self, frames: int) -> NDArray[np.float32]:
        found = []
        for _ in range(frames):
            self.lib.ltc_encoder_encode_frame(self.encoder)
            buffer = (ctypes.c_ubyte * self.lib.ltc_encoder_get_buffersize(self.encoder))()
            length = self.lib.ltc_encoder_copy_buffer(self.encoder, buffer)
            found.append(np.frombuffer(buffer, np.uint8)[:length].copy())
            self.lib.ltc_encoder_inc_timecode(self.encoder)
        return (np.concatenate(found).astype(np.float32) - 128) / 128


def bits_of(label: Label, drop: bool = False) -> list[int]:
    """The 80 bits of a frame, by the table of SMPTE ST 12-1; the user bits are 0 and the polarity is corrected."""
    hours, minutes, seconds, frames = label
    bits = [0] * 64
    for value, units, tens in ((frames, 0, 8), (seconds, 16, 24), (minutes, 32, 40), (hours, 48, 56)):
        for place, digit in ((units, value % 10), (tens, value // 10)):
            for n in range(4):
                if digit >> n & 1:
                    bits[place + n] = 1
    bits[10] = int(drop)
    bits[27] = (sum(bits) + sum(SYNC)) % 2
    return bits + SYNC


def drawn(labels: Sequence[Label], cell: float | NDArray[np.float64], drop: bool = False) -> NDArray[np.float32]:
    """Biphase mark, drawn by the moments of its edges. cell: samples a bit, one number or one for each bit."""
    bits = [bit for label in labels for bit in bits_of(label, drop)]
    lengths = np.broadcast_to(np.asarray(cell, float), (len(bits),))
    starts = np.concatenate([[0.0], np.cumsum(lengths)])
    edges: list[float] = []
    for n, bit in enumerate(bits):
        edges += [starts[n]] + ([starts[n] + lengths[n] / 2] if bit else [])
    at = np.arange(int(starts[-1]) + 1)
    return np.where(np.searchsorted(edges, at, "right") % 2, 1.0, -1.0).astype(np.float32)


def counted(begin: Label, count: int, fps: int, step: int = 1) -> list[Label]:
    first = ((begin[0] * 60 + begin[1]) * 60 + begin[2]) * fps + begin[3]
    return [
        (n // fps // 3600 % 24, n // fps // 60 % 60, n // fps % 60, n % fps)
        for n in range(first, first + count * step, step)
    ]


def decoded(samples: NDArray[np.float32], rate: float = 48000, block: int = 480) -> list[LtcFrame]:
    decoder = Decoder(rate)
    return [frame for n in range(0, len(samples), block) for frame in decoder.feed(samples[n : n + block])]


def labels(frames: list[LtcFrame]) -> list[Label]:
    return [(frame.hours, frame.minutes, frame.seconds, frame.frames) for frame in frames]


def assert_a_run(got: list[Label], told: list[Label], least: int) -> None:
    """`got` is at least so many labels of `told`, one after the other. The first frames teach the speed, and the last
    one ends with the first edge of the next."""
    assert len(got) >= least
    first = told.index(got[0])
    assert got == told[first : first + len(got)]


@pytest.mark.parametrize(("fps", "standard"), [(24, 2), (25, 1), (29.97, 0), (30, 0)])
@pytest.mark.parametrize("rate", [44100, 48000, 96000])
def test_timecode_of_libltc_is_read_at_every_rate(fps: float, standard: int, rate: int) -> None:
    begin = (1, 0, 59, 10)
    frames = decoded(LibLtc(rate, fps, standard, begin).samples(50), rate)
    told = counted(begin, 50, round(fps))
    if fps == 29.97:
        first = told.index((1, 0, 59, 29)) + 1  # no tenth minute begins
        told = told[:first] + counted((1, 1, 0, 2), 50 - first, 30)
    assert_a_run(labels(frames), told, 46)
    assert all(frame.drop == (fps == 29.97) for frame in frames)
    steps = np.diff([frame.end for frame in frames])
    assert np.allclose(steps, rate / fps, atol=1.5)


@pytest.mark.parametrize("speed", [0.5, 0.8, 1.25, 2.0, 4.0])
@pytest.mark.parametrize("sign", [1, -1])
def test_either_polarity_and_direction_at_every_speed(speed: float, sign: int) -> None:
    told = counted((10, 59, 59, 3), 40, 25)
    tape = drawn(told, 24 / speed) * 0.4 * sign
    forwards, backwards = decoded(tape), decoded(tape[::-1].copy())
    assert_a_run(labels(forwards), told, 37)
    assert not any(frame.reverse for frame in forwards)
    assert_a_run(labels(backwards), told[::-1], 37)
    assert all(frame.reverse for frame in backwards)


def test_the_end_of_a_frame_is_where_it_ends() -> None:
    told = counted((0, 0, 0, 0), 20, 25)
    frames = decoded(drawn(told, 24.0))
    for frame in frames:
        assert frame.end == pytest.approx((frame.frames + 1) * 80 * 24, abs=1.0)


def test_a_ramp_from_half_to_double_speed_is_followed() -> None:
    told = counted((1, 0, 0, 0), 200, 25)
    tape = drawn(told, np.geomspace(48, 12, 200 * 80))
    assert len(labels(decoded(tape))) >= 195


def test_noise_hum_and_a_level_that_falls_to_a_tenth() -> None:
    told = counted((2, 30, 0, 0), 250, 30)
    tape = drawn(told, 20.0)
    rng = np.random.default_rng(1)
    at = np.arange(len(tape)) / 48000
    gain = np.geomspace(0.8, 0.08, len(tape)).astype(np.float32)
    heard = gain * (tape + 0.15 * rng.standard_normal(len(tape))) + 0.1 * np.sin(2 * np.pi * 50 * at) * gain + 0.02
    got = labels(decoded(heard.astype(np.float32)))
    assert len(got) >= 0.95 * 250
    assert set(got) <= set(told)


def test_after_a_dropout_the_next_frames_are_read_and_none_is_invented() -> None:
    told = counted((1, 0, 0, 0), 100, 25)
    tape = drawn(told, 24.0)
    tape[48000:60000] = 0
    rng = np.random.default_rng(2)
    tape[90000:100000] = rng.standard_normal(10000)
    got = labels(decoded(tape))
    assert set(got) <= set(told)
    assert len(got) >= 70
    assert got == sorted(got)
    assert got[-1] in told[-2:]


@pytest.mark.parametrize("rate", [44100, 96000])
def test_timecode_is_read_through_another_converter(rate: int) -> None:
    tape = drawn(counted((1, 0, 0, 0), 60, 25), 24.0) * np.float32(0.5)
    frame = av.AudioFrame.from_ndarray(tape[None], format="flt", layout="mono")
    frame.sample_rate, frame.time_base = 48000, Fraction(1, 48000)
    resampler = av.AudioResampler(format="flt", layout="mono", rate=rate)
    converted = [out.to_ndarray()[0] for one in (frame, None) for out in resampler.resample(one)]
    assert len(decoded(np.concatenate(converted), rate)) >= 57


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.integers(0, 2000), max_size=20), st.integers(0, 2**32 - 1), st.floats(0, 4, allow_nan=False),
)  # fmt: skip
def test_whatever_comes_no_time_is_invented_in_noise(blocks: list[int], seed: int, loud: float) -> None:
    rng = np.random.default_rng(seed)
    decoder = Decoder(48000)
    for length in blocks:
        for frame in decoder.feed((loud * rng.standard_normal(length)).astype(np.float32)):
            assert max(frame.hours - 23, frame.minutes - 59, frame.seconds - 59, frame.frames - 29) <= 0
    decoder.feed(np.array([np.nan, np.inf, -np.inf], np.float32))


@settings(max_examples=25, deadline=None)
@given(
    st.integers(0, 23), st.integers(0, 59), st.integers(0, 59), st.integers(0, 23),
    st.sampled_from([1, 37, 480, 4096]), st.booleans(),
)  # fmt: skip
def test_every_label_is_read_in_blocks_of_any_size(
    hours: int, minutes: int, seconds: int, frame: int, block: int, drop: bool
) -> None:
    tape = drawn([(hours, minutes, seconds, frame)] * 6, 22.3, drop)
    frames = decoded(tape, block=block)
    assert len(frames) >= 3
    assert set(labels(frames)) == {(hours, minutes, seconds, frame)}
    assert all(one.drop == drop for one in frames)
