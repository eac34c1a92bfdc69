"""LTC on an audio input: PortAudio hears another program over JACK."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from worldjockey.integrations import TimecodeFrame
from worldjockey.integrations.ltc.input import LtcInput

from ...peers.wav import wav
from .test_decoder import LibLtc

PLAYER = """
import sys, numpy, sounddevice
samples = numpy.load(sys.argv[1])
sounddevice.play(samples, 48000, loop=True)
sys.stdin.read()
"""


def test_ltc_of_another_program_is_heard_on_an_audio_input(
    jack: str, tmp_path: Path, wait_for: Callable[..., None]
) -> None:
    np.save(tmp_path / "tape.npy", 0.5 * LibLtc(48000, 25, 1, (1, 0, 0, 0)).samples(25 * 20))
    command = [sys.executable, "-c", PLAYER, str(tmp_path / "tape.npy")]
    frames: list[TimecodeFrame] = []
    with subprocess.Popen(command, stdin=subprocess.PIPE) as player:
        ltc = LtcInput(frames.append, "PortAudio")
        ltc.start(lambda control: None)
        try:
            wait_for(lambda: len(frames) > 60, what=str(ltc.status()))
        finally:
            ltc.stop()
            player.terminate()
    run = [frame for frame in frames[-50:] if frame.seconds < 19]
    assert {frame.rate for frame in run} == {"25"}
    ahead = [(f.hours * 3600 + f.minutes * 60 + f.seconds) + (f.frames + f.part) / 25 - f.time for f in run]
    steps = np.abs(np.diff(ahead))
    assert np.median(steps) < 0.01  # the moments at which they were heard are as far apart as the frames


def test_a_missing_input_is_named_with_those_that_exist(jack: str, wait_for: Callable[..., None]) -> None:
    ltc = LtcInput(lambda frame: None, "no such thing")
    ltc.start(lambda control: None)
    try:
        wait_for(lambda: "no audio input is named 'no such thing'" in str(ltc.status()["error"]))
    finally:
        ltc.stop()


def test_a_channel_that_a_file_has_not(tmp_path: Path, wait_for: Callable[..., None]) -> None:
    ltc = LtcInput(lambda frame: None, str(wav(tmp_path / "a.wav", 48000, np.zeros(4800))), 2)
    ltc.start(lambda control: None)
    try:
        wait_for(lambda: "a.wav has 1 channels: there is no channel 2" in str(ltc.status()["error"]))
    finally:
        ltc.stop()
