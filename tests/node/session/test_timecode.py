"""Shows that timecode plays, by the real command: LTC from a tape made by libltc, MTC from mido over JACK."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mido
import pytest
from timecode import Timecode
from worldjockey.integrations.midi.mtc import MtcDecoder, is_timecode
from worldjockey.node.control.control_log import parts, read

from ...integrations.ltc.test_decoder import LibLtc
from ...peers.wav import wav

CUES = """
cues:
- {name: one, at: 01:00:02:00, values: {energy: 0.1}}
- {name: two, at: 01:00:03:05, values: {energy: 0.2}}
- {name: later, at: 01:10:00:00}
"""


def command(show: Path, log: Path) -> list[str]:
    return [
        sys.executable, "-m", "worldjockey.node", "play", str(show), "--no-surface", "--no-osc", "--model", "testcard",
        "--headless", "--log", str(log),
        "--out", f"file:{log.with_name('clip.mkv')}",
    ]  # fmt: skip


@pytest.fixture
def port(jack: str) -> None:
    mido.set_backend("mido.backends.rtmidi/UNIX_JACK")


def fired(log: Path) -> dict[str, float]:
    """When each cue was fired, by its name; none before the show has begun."""
    try:
        rows = list(read(parts(log)))
    except (OSError, ValueError):
        return {}
    return {row["args"][0]: row["t"] for row in rows if row.get("to") == "cue/go" and row.get("from") == "timecode"}


def end(process: subprocess.Popen[Any]) -> None:
    process.terminate()
    process.wait(20)


def test_a_tape_of_ltc_fires_cues_at_their_frames_and_is_passed_on_as_mtc(
    port: None, tmp_path: Path, wait_for: Callable[..., None]
) -> None:
    tape = LibLtc(48000, 25, 1, (1, 0, 0, 0)).samples(25 * 6)
    wav(tmp_path / "tape.wav", 48000, 0.0 * tape, 0.5 * tape)
    show, log = tmp_path / "show.yaml", tmp_path / "log"
    show.write_text(
        "size: 128x72\ntimecode: {source: ltc, input: tape.wav, channel: 2, rate: 25, out: recorder}\n" + CUES
    )
    decoder, at = MtcDecoder(), list[tuple[float, float]]()  # when, and where the timecode was by another library
    with mido.open_input("recorder", virtual=True) as recorder:
        process = subprocess.Popen(command(show, log))
        try:

            def both() -> bool:
                assert process.poll() is None
                now = time.monotonic()
                for message in recorder.iter_pending():
                    if is_timecode(data := message.bytes()) and (frame := decoder.feed(data, now)) is not None:
                        label = f"{frame.hours:02}:{frame.minutes:02}:{frame.seconds:02}:{frame.frames:02}"
                        at.append((now, (Timecode("25", label).frames - 1 + frame.part) / 25))
                return {"one", "two"} <= fired(log).keys()

            wait_for(both)
        finally:
            end(process)
    times = fired(log)
    assert set(times) == {"one", "two"}
    assert times["two"] - times["one"] == pytest.approx(1.2, abs=0.06)
    for name, wanted in (("one", 3602.0), ("two", 3603.2)):
        there = [position + times[name] - when for when, position in at if abs(when - times[name]) < 0.3]
        assert there, at[:5]
        assert sorted(there)[len(there) // 2] == pytest.approx(wanted, abs=0.2)  # early by the latency


def test_mtc_from_another_program_fires_cues(port: None, tmp_path: Path, wait_for: Callable[..., None]) -> None:
    show, log = tmp_path / "show.yaml", tmp_path / "log"
    show.write_text("size: 128x72\ntimecode: {source: mtc, input: daw, rate: 30}\n" + CUES)
    with mido.open_output("daw", virtual=True) as daw:
        process = subprocess.Popen(command(show, log))
        try:
            begun = False
            sent = {}
            deadline = time.monotonic() + 60
            while (
                process.poll() is None and not begun and time.monotonic() < deadline
            ):  # until the show hears this port: it says so by its state
                daw.send(mido.Message("sysex", data=[0x7F, 0x7F, 1, 1, 1 | 3 << 5, 10, 0, 0]))
                time.sleep(0.1)
                rows = list(read(parts(log))) if any(log.glob("*.jsonl")) else []
                begun = any(row.get("to") == "timecode/goto" for row in rows)
            assert begun
            first, start = 108000 * 4 + 4 * 30, time.monotonic()
            for quarter in range(first, first + 4 * 30 * 3):
                label = Timecode("30", frames=quarter // 8 * 2 + 1)
                h = label.hrs | 3 << 5
                values = [label.frs & 15, label.frs >> 4, label.secs & 15, label.secs >> 4,
                          label.mins & 15, label.mins >> 4, h & 15, h >> 4]  # fmt: skip
                time.sleep(max(start + (quarter - first) / 120 - time.monotonic(), 0))
                sent[quarter] = time.monotonic()
                daw.send(mido.Message("quarter_frame", frame_type=quarter % 8, frame_value=values[quarter % 8]))
            wait_for(lambda: {"one", "two"} <= fired(log).keys())
        finally:
            end(process)
    times = fired(log)
    assert set(times) == {"one", "two"}
    for name, quarter in (("one", first + 120), ("two", first + 240 + 20)):
        assert times[name] == pytest.approx(sent[quarter], abs=0.2)  # early by the latency, as measured
