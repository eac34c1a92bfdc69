import contextlib
import os
import subprocess
import sys
import threading
import time

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from wav import wav
from worldjockey.integrations.audio import input as audio_input
from worldjockey.integrations.audio.input import (
    BLOCK_SAMPLES,
    FEATURES,
    SAMPLE_RATE_HZ,
    AudioInput,
    FeatureExtractor,
    FeatureMapping,
    follow,
    stereo,
)

pytestmark = pytest.mark.slow

T = np.arange(SAMPLE_RATE_HZ * 4) / SAMPLE_RATE_HZ


def listen(wave):
    extractor = FeatureExtractor()
    rows = [
        extractor.extract(wave[i : i + BLOCK_SAMPLES]) for i in range(0, len(wave) - BLOCK_SAMPLES + 1, BLOCK_SAMPLES)
    ]
    return {k: np.array([r[k] for r in rows]) for k in FEATURES}


def kicks(beat=0.5, hz=60.0, gain=0.8):
    since = T % beat
    return (gain * np.sin(2 * np.pi * hz * since) * np.exp(-since * 18)).astype(np.float32)


def test_silence_and_hum_below_hearing_are_nothing():
    for wave in (
        np.zeros(SAMPLE_RATE_HZ, np.float32),
        (1e-5 * np.sin(2 * np.pi * 50 * T[:SAMPLE_RATE_HZ])).astype(np.float32),
    ):
        features = listen(wave)
        assert all(v.max() == 0 for v in features.values())


@pytest.mark.parametrize("gain", [0.9, 0.05])
def test_kicks_are_heard_once_each_and_on_time_at_any_gain(gain):
    features = listen(kicks(gain=gain))
    at = np.flatnonzero(features["onset"]) * BLOCK_SAMPLES / SAMPLE_RATE_HZ
    at = at[at > 0.4]  # it needs a moment to know the room
    beats = np.arange(0.5, 4, 0.5)
    assert len(at) == len(beats)
    assert np.abs(at - beats).max() < 0.03
    assert features["bass"][50:].max() > 0.9


def test_bass_and_treble_are_told_apart():
    low, high = (
        listen((0.5 * np.sin(2 * np.pi * 80 * T)).astype(np.float32)),
        np.random.default_rng(0).normal(0, 0.2, SAMPLE_RATE_HZ),
    )
    hiss = np.diff(high, prepend=0).astype(np.float32)  # noise without its low end
    mixed = listen(np.concatenate([(0.5 * np.sin(2 * np.pi * 80 * T)).astype(np.float32), hiss]))
    n = len(T) // BLOCK_SAMPLES
    assert low["bass"][20:].min() > 0.9
    assert mixed["bass"][n + 10 :].mean() < 0.2 < mixed["treble"][n + 10 :].mean()


def test_followers_rise_by_attack_and_fall_by_release():
    up = follow(0.0, 1.0, 0.01, 0.01, 1.0)
    down = follow(1.0, 0.0, 0.01, 0.01, 1.0)
    assert up == pytest.approx(1 - np.exp(-1))
    assert down == pytest.approx(np.exp(-0.01))
    assert follow(0.3, 0.9, 0.01, 0.0, 0.0) == 0.9


@settings(max_examples=60, deadline=None)
@given(
    arrays.arrays(np.float32, st.integers(0, 700), elements=st.floats(width=32, allow_nan=True, allow_infinity=True))
)
def test_any_samples_give_values_in_range(block):
    with np.errstate(all="ignore"):
        extractor = FeatureExtractor()
        for _ in range(3):
            assert all(0 <= v <= 1 for v in extractor.extract(block).values())


def test_a_file_plays_its_parameters(tmp_path):
    path = wav(tmp_path / "kicks.wav", SAMPLE_RATE_HZ, kicks())
    controls, enough = [], threading.Event()

    def deliver(control):
        controls.append(control)
        if len(controls) > 60:
            enough.set()

    source = AudioInput(str(path), (FeatureMapping("bass", "cam/zoom", low=-0.5, high=0.5),))
    begin = time.monotonic()
    source.start(deliver)
    assert enough.wait(60)
    source.stop()
    assert {c.target for c in controls} == {"cam/zoom"}
    values = [c.args[0] for c in controls]
    assert min(values) >= -0.5
    assert 0.3 < max(values) <= 0.5
    assert all(begin <= c.arrived_at <= time.monotonic() for c in controls)


def test_the_sound_itself_is_passed_on_piece_by_piece(tmp_path):
    """Both sides as they are, round and round, beside what is made of it."""
    left, right = (
        0.5 * np.sin(2 * np.pi * 100 * T[:SAMPLE_RATE_HZ]),
        0.25 * np.sin(2 * np.pi * 200 * T[:SAMPLE_RATE_HZ]),
    )
    pieces, levels, enough = [], [], threading.Event()

    def on_audio(piece):
        pieces.append(piece)
        if sum(len(p.samples) for p in pieces) > 1.2 * SAMPLE_RATE_HZ:
            enough.set()

    source = AudioInput(
        str(wav(tmp_path / "sides.wav", SAMPLE_RATE_HZ, left, right)),
        (FeatureMapping("level", "sound/level"),),
        on_audio,
    )
    begin = time.monotonic()
    source.start(levels.append)
    assert enough.wait(60)
    source.stop()
    samples = np.concatenate([p.samples for p in pieces])
    sent = np.resize(np.stack([left, right], 1), samples.shape)
    assert np.abs(samples - sent).max() < 1e-3
    assert {p.rate for p in pieces} == {SAMPLE_RATE_HZ}
    assert begin <= pieces[0].time + 0.1
    assert pieces[-1].end - pieces[0].time == pytest.approx(len(samples) / SAMPLE_RATE_HZ, abs=1e-3)
    assert max(c.args[0] for c in levels) > 0.9


@settings(max_examples=60, deadline=None)
@given(arrays.arrays(np.float32, st.tuples(st.integers(0, 50), st.integers(1, 8)), elements=st.floats(width=32)))
def test_any_block_becomes_two_sides_in_range(block):
    pair = stereo(block)
    assert pair.shape == (len(block), 2)
    assert np.all(np.abs(pair) <= 1)
    if block.shape[1] == 1:
        assert np.array_equal(pair[:, 0], pair[:, 1])


def test_no_device_is_said_and_waited_for():
    source = AudioInput("no such microphone anywhere")
    source.start(lambda control: None)
    deadline = time.monotonic() + 60
    while source.status()["state"] == "opening" and time.monotonic() < deadline:
        time.sleep(0.01)
    assert source.status()["state"] == "no sound"
    assert source.status()["message"]
    source.stop()


LISTEN = """
import sys, time
from worldjockey.integrations.audio.input import AudioInput
onsets = []
def deliver(control):
    if control.target == "sound/onset" and control.args[0] > 0.5 and (not onsets or control.arrived_at > onsets[-1] +
    0.2):
        onsets.append(control.arrived_at)
source = AudioInput("metro")
source.start(deliver)
deadline = time.monotonic() + 60
while len(onsets) < 7 and time.monotonic() < deadline:
    time.sleep(0.01)
print(source.status()["state"], *onsets)
source.stop()
"""


def test_a_live_input_is_heard_in_its_time(jack):
    """A metronome of JACK's, through PortAudio; in a process of its own, as PortAudio looks for JACK only once."""
    metro = subprocess.Popen(["jack_metro", "-b", "120", "-n", "metro"], stdout=subprocess.DEVNULL)
    try:
        said = subprocess.run([sys.executable, "-c", LISTEN], capture_output=True, text=True, timeout=120)
    finally:
        metro.kill()
        metro.wait()
    state, *onsets = said.stdout.split()
    assert state == "listening", said.stdout + said.stderr
    assert len(onsets) >= 7
    assert np.median(np.diff(np.array(onsets, float))) == pytest.approx(0.5, abs=0.05)


@contextlib.contextmanager
def metronome(server, end=subprocess.Popen.terminate):
    """A JACK server of its own, with a metronome; it ends with the block, and all that listens to it is cut off.

    Before it ends in order, it waits some seconds for whoever listens.
    """
    environment = {**os.environ, "JACK_DEFAULT_SERVER": server, "JACK_NO_START_SERVER": "1"}
    command = ["jackd", "--no-realtime", "--no-mlock", "--silent", "--name", server, "-d", "dummy", "-p", "512"]
    with contextlib.ExitStack() as stack:
        for program in (command, ["jack_metro", "-b", "120", "-n", "metro"]):
            process = subprocess.Popen(program, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment)
            stack.callback(process.wait)
            stack.callback(end if program is command else subprocess.Popen.kill, process)
            if program is command:
                assert (
                    subprocess.run(["jack_wait", "--server", server, "-w", "-t", "60"], env=environment).returncode == 0
                )
        yield


def test_a_sound_server_that_ends_costs_the_sound_until_it_is_back(jack, wait_for, monkeypatch):
    """In this process, which PortAudio must not take with it."""
    monkeypatch.setattr(audio_input, "REOPEN_DELAY_S", 0.2)
    server = f"wj-lost-{os.getpid()}"
    monkeypatch.setenv("JACK_DEFAULT_SERVER", server)
    source = AudioInput("metro")

    def state():
        return source.status()["state"]

    try:
        with metronome(server, end=subprocess.Popen.kill):
            source.start(lambda control: None)
            wait_for(lambda: state() == "listening")
        wait_for(lambda: state() == "no sound")
        assert "silent or gone" in source.status()["message"] or "no audio input" in source.status()["message"]
        with metronome(server):
            wait_for(lambda: state() == "listening")
            source.stop()
    finally:
        source.stop()


@pytest.mark.parametrize(("name", "words"), [("gone.wav", "does not exist"), ("notes.wav", "not audio")])
def test_a_file_that_cannot_be_played_is_an_error_before_the_show_starts(tmp_path, name, words):
    (tmp_path / "notes.wav").write_text("no audio at all")
    with pytest.raises(OSError, match=words):
        AudioInput(str(tmp_path / name)).start(lambda control: None)


def test_a_damaged_file_is_played_around_its_damage(tmp_path, wait_for):
    """A bad packet is skipped, as players do, and the loop goes on."""
    path = tmp_path / "set.mp3"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libmp3lame", rate=48000, layout="mono")
        noise = np.random.default_rng(0).uniform(-0.5, 0.5, 48000).astype(np.float32)
        for at in range(0, 48000 - 1152, 1152):
            frame = av.AudioFrame.from_ndarray(noise[None, at : at + 1152], format="fltp", layout="mono")
            frame.sample_rate, frame.pts = 48000, at
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    data = path.read_bytes()
    middle = len(data) // 2
    path.write_bytes(data[:middle] + os.urandom(64) + data[middle + 64 :])
    played = []
    source = AudioInput(str(path), on_audio=lambda chunk: played.append(len(chunk.samples)))
    source.start(lambda control: None)
    try:
        wait_for(lambda: sum(played) > 1.5 * 48000)
        assert source.status()["state"] == "listening"
    finally:
        source.stop()


FAKE_SOUNDDEVICE = '''
"""A USB microphone as Windows lists it, once for each sound system, and an interface that only takes 44.1 kHz."""
import threading, time
import numpy as np

class PortAudioError(Exception):
    pass

class WasapiSettings:
    def __init__(self, auto_convert=False):
        assert auto_convert

SYSTEMS = ["MME", "Windows DirectSound", "Windows WASAPI", "ALSA"]
DEVICES = [("Microphone (Razer Seiren Mini)", 0, 1, 44100.0), ("Microphone (Razer Seiren Mini)", 1, 1, 44100.0),
           ("Microphone (Razer Seiren Mini)", 2, 1, 44100.0), ("UMC204: USB Audio (hw:1,0)", 3, 4, 44100.0)]

def query_hostapis(number=None):
    found = [{"name": name} for name in SYSTEMS]
    return found if number is None else found[number]

def query_devices(number=None, kind=None):
    keys = ("name", "hostapi", "max_input_channels", "default_samplerate")
    found = [dict(zip(keys, device)) for device in DEVICES]
    return found if number is None else found[number]

class RawInputStream:
    def __init__(self, samplerate, blocksize, device, channels, dtype, latency, extra_settings=None, callback=None):
        if isinstance(device, str):
            raise ValueError(f"Multiple input devices found for {device!r}")
        if device == 3 and samplerate != 44100:
            raise PortAudioError("Error opening RawInputStream: Invalid sample rate [PaErrorCode -9997]")
        if device < 3 and extra_settings is None:
            raise PortAudioError("Error opening RawInputStream: Invalid device [PaErrorCode -9996]")
        self.samplerate, self.channels, self.size = samplerate, DEVICES[device][2], blocksize
        self.callback, self.count = callback, 0
    def start(self):
        threading.Thread(target=self.run, daemon=True).start()
    def run(self):
        while True:
            t = (self.count + np.arange(self.size)) / self.samplerate
            self.count += self.size
            wave = 0.5 * np.sin(2 * np.pi * 440 * t).astype(np.float32)
            self.callback(np.repeat(wave[:, None], self.channels, 1).tobytes(), self.size, None, None)
            time.sleep(self.size / self.samplerate)
'''


@pytest.mark.parametrize("name", ["Microphone (Razer Seiren Mini)", "razer mini", "UMC204"])
def test_a_device_is_opened_that_is_listed_several_times_or_has_a_rate_of_its_own(
    tmp_path, monkeypatch, wait_for, name
):
    (tmp_path / "sounddevice.py").write_text(FAKE_SOUNDDEVICE)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    chunks = []
    source = AudioInput(name, on_audio=chunks.append)
    source.start(lambda control: None)
    try:
        wait_for(lambda: sum(len(chunk.samples) for chunk in chunks) >= SAMPLE_RATE_HZ, what=source.status())
    finally:
        source.stop()
    wave = np.concatenate([chunk.samples for chunk in chunks])[:SAMPLE_RATE_HZ, 0]
    spectrum = np.abs(np.fft.rfft(wave * np.hanning(len(wave))))
    assert np.argmax(spectrum) == pytest.approx(440, abs=1)
