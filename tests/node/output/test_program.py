"""What the audience sees from tick to tick, without a clock."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from worldjockey.integrations import VideoFormat
from worldjockey.node.ipc.frame_ring import FrameInfo, FrameRing, Pixels
from worldjockey.node.ipc.mailbox import Mailbox
from worldjockey.node.output import interpolation
from worldjockey.node.output.clock_process import pick_up
from worldjockey.node.output.program import Program, blend, inbetween_mode
from worldjockey.node.parameters import PARAMETERS

PERIOD = 1 / 30


def flat(level: int) -> Pixels:
    return np.full((18, 32, 3), level, np.uint8)


@pytest.fixture
def ring() -> Iterator[FrameRing]:
    ring = FrameRing(18 * 32 * 3, 4)
    yield ring
    ring.unlink()


def levels(program: Program, ticks: range, fill: str = "blend", blackout: float = 0.0) -> list[int]:
    return [int(program.tick(tick * PERIOD, fill, blackout)[0][0, 0, 0]) for tick in ticks]


def test_standby_gives_way_to_the_first_frame_at_once(ring: FrameRing) -> None:
    program = Program(ring, flat(20), PERIOD)
    assert levels(program, range(2)) == [20, 20]
    ring.write(flat(200), FrameInfo(span=PERIOD * 3))
    assert levels(program, range(2, 4)) == [200, 200]


def test_a_change_shows_at_the_next_tick_and_whole_before_the_next_frame(ring: FrameRing) -> None:
    program = Program(ring, flat(0), PERIOD)
    ring.write(flat(0), FrameInfo(span=PERIOD * 3))
    levels(program, range(3))
    ring.write(flat(90), FrameInfo(newest_control_at=7.0, span=PERIOD * 3))
    image, newest_control_at, new = program.tick(3 * PERIOD, "blend", 0.0)
    assert (newest_control_at, new) == (7.0, True)
    assert abs(int(image[0, 0, 0]) - 30) <= 2
    later = levels(program, range(4, 7))
    assert abs(later[0] - 60) <= 2
    assert later[1:] == [90, 90]


def test_a_frame_that_comes_early_starts_from_what_is_shown(ring: FrameRing) -> None:
    program = Program(ring, flat(0), PERIOD)
    for level in (0, 100):
        ring.write(flat(level), FrameInfo(span=PERIOD * 4))
        (shown,) = levels(program, range(1 if level else 0, 2 if level else 1))
    ring.write(flat(0), FrameInfo(span=PERIOD * 4))
    (after,) = levels(program, range(2, 3))
    assert 0 < after < shown, "no jump to the frame that never was shown whole"


def test_hold_shows_frames_whole_and_nothing_is_composed_twice(ring: FrameRing) -> None:
    program = Program(ring, flat(0), PERIOD)
    ring.write(flat(50), FrameInfo(span=PERIOD * 4))
    assert levels(program, range(4), fill="hold") == [50] * 4
    assert program.counts == {"fresh": 1, "between": 0, "repeated": 3}
    assert levels(program, range(4, 6), fill="hold", blackout=0.5) == [25, 25]
    assert program.counts["repeated"] == 4


WIDE, TALL = 256, 144


def lamp(at: int) -> Pixels:
    """A soft lamp in the middle row, at that column, over a floor that does not move."""
    y, x = np.mgrid[:TALL, :WIDE]
    light = 190 * np.exp(-((x - at) ** 2 + (y - TALL / 2) ** 2) / 12**2)
    floor = 30 + 10 * np.sin(x / 9) * np.sin(y / 7)
    return np.repeat((floor + light)[..., None], 3, 2).astype(np.uint8)


def peak(image: Pixels) -> float:
    """The column where the lamp stands; -1 where it is no lamp any more but two ghosts."""
    bright = np.flatnonzero(image[TALL // 2, :, 0] > 190)
    return float(bright.mean()) if len(bright) else -1.0


def test_motion_moves_what_a_blend_doubles() -> None:
    ring = FrameRing(TALL * WIDE * 3, 4)
    try:
        program = Program(ring, lamp(0), PERIOD)
        for at in (80, 96):
            ring.write(lamp(at), FrameInfo(span=PERIOD * 4))
            tick = 0 if at == 80 else 1
            image, _, _ = program.tick(tick * PERIOD, "motion", 0.0)
        shown = [image, *(program.tick(tick * PERIOD, "motion", 0.0)[0] for tick in range(2, 6))]
        assert [peak(p) for p in shown] == pytest.approx([84, 88, 92, 96, 96], abs=1.5)
        assert peak(blend(lamp(80), lamp(96), 0.5)) == -1
        assert program.counts == {"fresh": 2, "between": 3, "repeated": 1}
    finally:
        ring.unlink()


@pytest.mark.parametrize("flash", [False, True], ids=["cut", "flash"])
def test_a_cut_and_a_flash_are_shown_whole_at_once(flash: bool) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (TALL // 8, WIDE // 8, 3), dtype=np.uint8)
    other = np.kron(noise, np.ones((8, 8, 1), np.uint8))
    before, after = lamp(80), np.minimum(lamp(80), 205) + 50 if flash else other
    ring = FrameRing(TALL * WIDE * 3, 4)
    try:
        program = Program(ring, before, PERIOD)
        for tick, image in enumerate((before, after)):
            ring.write(image, FrameInfo(span=PERIOD * 4))
            shown, _, _ = program.tick(tick * PERIOD, "motion", 0.0)
        assert np.array_equal(shown, after)
        assert program.advance(2 * PERIOD, "motion", 0.0) is False, "there is nothing between"
    finally:
        ring.unlink()


def test_a_frame_that_comes_early_is_followed_from_what_is_shown_and_the_filling_can_change() -> None:
    ring = FrameRing(TALL * WIDE * 3, 4)
    try:
        program = Program(ring, lamp(0), PERIOD)
        peaks = []
        for tick, (at, fill) in enumerate([(80, "hold"), (96, "motion"), (0, "motion"), (104, "motion"), (0, "hold")]):
            if at:
                ring.write(lamp(at), FrameInfo(span=PERIOD * 4))
            peaks.append(peak(program.tick(tick * PERIOD, fill, 0.0)[0]))
        assert peaks == pytest.approx([80, 84, 88, 92, 104], abs=1.5)
    finally:
        ring.unlink()


def test_a_new_clock_keeps_the_beat_of_the_one_that_died() -> None:
    fmt = VideoFormat(640, 360, 30_000, 1001)
    first = 1000.0
    due = first + 90 * 1001 / 30_000
    last_status = {"ticks": 80, "late": 3, "missed": 4, "worst_ms": 250.0}  # a moment before its death
    pace = pick_up(fmt, 90, due, due + 0.5, last_status)
    assert pace.due >= due + 0.5
    assert pace.due - (due + 0.5) <= pace.period
    assert abs((pace.due - first) / pace.period - pace.tick) < 1e-6
    assert pace.missed == 4 + pace.tick - 91
    assert pace.sent == 91 - 4
    assert (pace.late, pace.worst) == (3, 0.25)
    assert pick_up(fmt, 90, due, due + 0.5, {}).sent == 91, "a clock that died before its first status"


@pytest.mark.slow
def test_a_show_plays_on_without_opencv_and_says_so(tmp_path: Path) -> None:
    (tmp_path / "cv2.py").write_text("raise ImportError('libstrange.so: cannot open shared object file')")
    report = tmp_path / "report.json"
    options = ["--model", "testcard", "--headless", "--no-midi", "--no-osc", "--out", "none", "--size", "320x180"]
    options.append("--no-surface")
    done = subprocess.run(
        [sys.executable, "-m", "worldjockey.node", "play", *options, "--seconds", "1", "--report", str(report)],
        env={**os.environ, "PYTHONPATH": str(tmp_path)}, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("libstrange.so") == 1
    assert "opencv-python-headless" in done.stderr
    assert json.loads(report.read_text())["restarts"] == 0
    assert json.loads(report.read_text())["events"] == []


def test_a_search_that_fails_costs_its_motion_and_nothing_else(
    ring: FrameRing, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*images: Pixels) -> None:
        raise RuntimeError("out of memory")

    program = Program(ring, flat(0), PERIOD)
    monkeypatch.setattr(interpolation, "change", fail)
    for level in (0, 90):
        ring.write(flat(level), FrameInfo(span=PERIOD * 3))
        seen = levels(program, range(3 * bool(level), 3 * bool(level) + 3), fill="motion")
    assert seen == pytest.approx([30, 60, 90], abs=2)
    assert "out of memory" in program.error


@pytest.mark.parametrize(("value", "mode"), [(0, "blend"), (1.0, "hold"), (2, "motion"), ("motion", "motion")])
def test_the_performer_switches_the_inbetween_mode_by_number_or_name(value: object, mode: str) -> None:
    mailbox = Mailbox()
    try:
        assert inbetween_mode(mailbox) == PARAMETERS["inbetween"].default
        mailbox.post("inbetween", PARAMETERS["inbetween"].coerce(value), 0.0)
        assert inbetween_mode(mailbox) == mode
    finally:
        mailbox.unlink()
