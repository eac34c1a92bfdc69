"""A world's own sound leaves with its frames."""

import itertools
import subprocess
import sys

import av
import numpy as np
import pytest
from worldjockey.node.measure.show_process import free_port
from worldjockey.node.session.processes import output_specs
from worldjockey.node.show.schema import Show

pytestmark = pytest.mark.slow


def test_a_sounding_world_gives_audio_to_the_outputs_that_carry_it():
    outputs = "outputs: [window, ndi, {kind: ndi, name: mute, sound: false}]"
    silent, sounding = (Show.parse(f"model: {model}\n{outputs}") for model in ("testcard", "testcard:sound=beep"))
    assert [spec.wants_audio for spec in output_specs(silent.on_air)] == [False, False, False]
    assert [spec.wants_audio for spec in output_specs(sounding.on_air)] == [False, True, False]


def seen_and_heard(path):
    """Times at which the bar is high, and at which there is a tone, both in seconds of the file."""
    seen, heard = [], []
    with av.open(str(path)) as file:
        for frame in file.decode(video=0):
            image = frame.to_ndarray(format="rgb24")
            strip = image[-image.shape[0] * 40 // 288]  # above the bar's usual height
            seen.append((frame.time, int(strip.min(-1).max()) > 200))
    with av.open(str(path)) as file:
        for frame in file.decode(audio=0):
            heard.append((frame.time, float(np.abs(frame.to_ndarray()).mean()) > 0.02))
    return begins(seen), begins(heard)


def begins(states):
    return [time for (_, before), (time, now) in itertools.pairwise(states) if now and not before]


def test_each_beep_is_recorded_beside_its_frame(tmp_path):
    clip = tmp_path / "beeps.mp4"
    command = [
        sys.executable, "-m", "worldjockey.node", "play", "--model", "testcard:sound=beep", "--headless", "--no-midi",
        "--no-surface", "--prompt", "#204060", "--out", f"file:{clip}", "--size", "512x288", "--seconds", "12",
        "--osc-feedback", "none", "--osc-port", str(free_port()),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    seen, heard = seen_and_heard(clip)
    assert len(seen) >= 3
    off = [min((tone - light for tone in heard), key=abs) for light in seen[1:-1]]
    assert np.median(np.abs(off)) < 0.25, "tone and light belong together"
