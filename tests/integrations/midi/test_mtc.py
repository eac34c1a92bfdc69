"""MTC: messages made by mido, and what a port of JACK carries."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import mido
import pytest
from hypothesis import given
from hypothesis import strategies as st
from timecode import Timecode
from worldjockey.integrations import TimecodeFrame
from worldjockey.integrations.midi.input import MIDIInput
from worldjockey.integrations.midi.mtc import MtcDecoder, is_timecode
from worldjockey.integrations.midi.mtc_output import MtcOutput
from worldjockey.integrations.midi.mtc_process import Quarters

CODES = {"24": 0, "25": 1, "29.97": 2, "30": 3}


def quarters(rate: str, first: int, count: int, step: int = 1) -> Iterator[mido.Message]:
    """Quarter frames by the specification's table; first: a number of quarters since midnight."""
    for quarter in range(first, first + step * count, step):
        label = Timecode(rate, frames=quarter // 8 * 2 + 1)
        h = label.hrs | CODES[rate] << 5
        values = [label.frs & 15, label.frs >> 4, label.secs & 15, label.secs >> 4,
                  label.mins & 15, label.mins >> 4, h & 15, h >> 4]  # fmt: skip
        yield mido.Message("quarter_frame", frame_type=quarter % 8, frame_value=values[quarter % 8])


def position(frame: TimecodeFrame) -> float:
    """In frames since midnight, counted by another library."""
    text = f"{frame.hours:02}:{frame.minutes:02}:{frame.seconds:02}:{frame.frames:02}"
    return float(Timecode(frame.rate, text).frames - 1 + frame.part)


@pytest.mark.parametrize("rate", list(CODES))
@pytest.mark.parametrize("step", [1, -1])
def test_quarter_frames_say_where_the_source_is_at_each_quarter(rate: str, step: int) -> None:
    decoder = MtcDecoder()
    first = Timecode(rate, "01:00:59:20").frames * 4 // 8 * 8 + (0 if step > 0 else 7)
    found = [decoder.feed(message.bytes(), 0.0) for message in quarters(rate, first, 64, step)]
    assert found[:7] == [None] * 7
    for n, frame in enumerate(found[7:], 7):
        assert frame is not None
        assert (frame.rate, frame.located) == (rate, False)
        assert position(frame) == (first + step * n) / 4


def test_after_a_lost_quarter_frame_or_a_turn_a_whole_label_is_needed_again() -> None:
    decoder = MtcDecoder()
    messages = list(quarters("25", 90000 * 4, 40))
    del messages[19]
    found = [decoder.feed(message.bytes(), 0.0) for message in messages]
    assert found[18] is not None
    assert found[19:26] == [None] * 7
    assert found[31] is not None
    back = [decoder.feed(message.bytes(), 0.0) for message in quarters("25", 90000 * 4 + 38, 20, -1)]
    assert back[:6] == [None] * 6
    assert back[-1] is not None


@pytest.mark.parametrize("rate", list(CODES))
def test_a_full_frame_is_where_the_source_stands(rate: str) -> None:
    message = mido.Message("sysex", data=[0x7F, 0x7F, 1, 1, 3 | CODES[rate] << 5, 4, 5, 6])
    assert is_timecode(message.bytes())
    assert MtcDecoder("desk").feed(message.bytes(), 2.0) == TimecodeFrame(3, 4, 5, 6, 0.0, rate, 2.0, True, "desk")


@given(st.lists(st.lists(st.integers(0, 255), max_size=12), max_size=40))
def test_any_bytes_are_no_timecode_or_a_time_of_a_day(messages: list[list[int]]) -> None:
    decoder = MtcDecoder()
    for data in messages:
        if is_timecode(data) and (frame := decoder.feed(data, 0.0)) is not None:
            assert max(frame.hours - 23, frame.minutes - 59, frame.seconds - 59, frame.frames - 29) <= 0


@pytest.mark.parametrize("rate", list(CODES))
@pytest.mark.parametrize("speed", [1.0, 0.5, 2.0, -1.0])
def test_what_is_sent_is_read_as_the_time_that_it_was(rate: str, speed: float) -> None:
    sender, decoder = Quarters(rate), MtcDecoder()
    sender.follow(0.0, 3599.0, speed)
    fps = {"24": 24, "25": 25, "29.97": 30000 / 1001, "30": 30}[rate]
    read = 0
    for n in range(4000):
        for message in sender.due(n / 1000):
            frame = decoder.feed(message.bytes(), n / 1000)
            if frame is not None and not frame.located:
                read += 1
                assert position(frame) / fps == pytest.approx(3599 + n / 1000 * speed, abs=0.0015 * abs(speed) + 1e-6)
    assert read > 4 * fps * 4 * abs(speed) - 20


def test_a_jump_and_a_stop_are_sent_as_full_frames() -> None:
    sender, decoder = Quarters("25"), MtcDecoder()
    located = []
    for n in range(3000):
        if n == 1000:
            sender.follow(1.0, 500.0, 1.0)
        if n == 2000:
            sender.follow(2.0, 501.0, 0.0)
        for message in sender.due(n / 1000):
            frame = decoder.feed(message.bytes(), n / 1000)
            if frame is not None and frame.located:
                located.append(position(frame))
    assert located == [0, 12500, 12525]


def test_timecode_of_a_jack_port_reaches_the_input(jack: str, wait_for: Callable[..., None]) -> None:
    frames: list[TimecodeFrame] = []
    midi = MIDIInput([], backend="jack", name="wj-mtc", on_timecode=frames.append, timecode_port="desk")
    mido.set_backend("mido.backends.rtmidi/UNIX_JACK")
    with mido.open_output("desk", virtual=True) as desk, mido.open_output("other", virtual=True) as other:
        midi.start(lambda control: None)
        try:
            wait_for(lambda: sum("desk" in p or "other" in p for p in midi.status()["ports"]) == 2)
            message = mido.Message("sysex", data=[0x7F, 0x7F, 1, 1, 1 | 1 << 5, 2, 3, 4])

            def located() -> bool:
                other.send(mido.Message("sysex", data=[0x7F, 0x7F, 1, 1, 9, 9, 9, 9]))
                desk.send(mido.Message("sysex", data=[0x7E, 0x7F, 6, 1]))
                desk.send(message)
                return bool(frames)

            wait_for(located)
            assert all(frame.located and (frame.hours, frame.frames) == (1, 4) for frame in frames)
            frames.clear()
            for one in quarters("25", 3600 * 100, 400):
                desk.send(one)
                time.sleep(0.01)
            wait_for(lambda: [frame for frame in frames if not frame.located])
            running = [position(frame) for frame in frames if not frame.located]
            assert running == sorted(running)
            assert len(running) > 100
        finally:
            midi.stop()


def test_mido_hears_what_is_sent(jack: str, wait_for: Callable[..., None]) -> None:
    mido.set_backend("mido.backends.rtmidi/UNIX_JACK")
    with mido.open_input("recorder", virtual=True) as recorder:
        output = MtcOutput("recorder", "30")
        output.start(lambda control: None)
        try:
            wait_for(lambda: "recorder" in output.status()["port"])
            output.send(time.monotonic(), 3600.0, 1.0)
            heard: list[mido.Message] = []
            wait_for(lambda: heard.extend(recorder.iter_pending()) or len(heard) > 120)
            decoder = MtcDecoder()
            found = [decoder.feed(m.bytes(), 0.0) for m in heard if is_timecode(m.bytes())]
            running = [position(frame) for frame in found if frame is not None and not frame.located]
            assert len(running) > 60
            assert 108000 <= running[0] < 108000 + 30 * 60
            assert running == sorted(running)
        finally:
            output.stop()


def test_a_missing_port_is_named_with_those_that_exist(jack: str, wait_for: Callable[..., None]) -> None:
    output = MtcOutput("nowhere", "25")
    output.start(lambda control: None)
    try:
        wait_for(lambda: "no MIDI output is named 'nowhere'" in output.status()["error"])
    finally:
        output.stop()
