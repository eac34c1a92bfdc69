"""Audio input: a device or a file becomes level, bass, treble and onset, a hundred times a second.

`FeatureExtractor` is a pure state over blocks of samples. A thread reads a device (PortAudio, in a process of its own:
device_process.py) or a file at its own speed, and delivers the features as controls. The first two channels are also
passed on, for outputs that carry audio.
"""

from __future__ import annotations

import itertools
import json
import struct
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from .. import AudioChunk, ControlEvent, Deliver, Input, Samples
from ..child import Child

Block = tuple[Samples, float]  # (n, channels) -1..1, and time.monotonic() of its arrival

SAMPLE_RATE_HZ, BLOCK_SAMPLES, WINDOW_SAMPLES = 48000, 480, 2048  # a block is 10 ms
BASS, TREBLE = (20.0, 150.0), (4000.0, 14000.0)  # Hz
LOUDNESS_MEMORY_S = 8.0  # time constant with which the loudest level is forgotten
SILENCE_RMS = 1e-3  # silence is not amplified
ONSET_RATIO = 1.9  # an onset's rise of the spectrum, against the recent median
ONSET_DISTANCE_S = 0.09
FEATURES = ("level", "bass", "treble", "onset")
REOPEN_DELAY_S = 2.0
DEVICE_PROGRAM = Path(__file__).with_name("device_process.py")
FILE_PROGRAM = "worldjockey.integrations.audio.file_process"
FILE_SUFFIXES = {
    ".wav",
    ".mp3",
    ".flac",
    ".ogg",
    ".opus",
    ".m4a",
    ".aac",
    ".aif",
    ".aiff",
    ".wma",
    ".mp4",
    ".mov",
    ".mkv",
    ".webm",
}
ARRIVAL = struct.Struct("<dI")  # head of each block: time.monotonic(), samples
FIX = "pip install sounddevice, and on Debian apt install libportaudio2"


@dataclass(frozen=True)
class FeatureMapping:
    """Maps a feature to `target` between low and high, smoothed with attack and release in seconds."""

    feature: str
    target: str
    low: float = 0.0
    high: float = 1.0
    attack: float = 0.005
    release: float = 0.12


DEFAULT = tuple(FeatureMapping(f, f"sound/{f}") for f in FEATURES)


@dataclass
class FeatureExtractor:
    """Extracts features block by block. Levels adapt: the loudest of the last seconds is 1, whatever the gain."""

    past: Samples = field(default_factory=lambda: np.zeros(WINDOW_SAMPLES, np.float32))
    loudest: dict[str, float] = field(default_factory=lambda: dict.fromkeys(("level", "bass", "treble"), SILENCE_RMS))
    spectrum: Samples = field(default_factory=lambda: np.zeros(WINDOW_SAMPLES // 2 + 1, np.float32))
    rises: list[float] = field(default_factory=list)
    since: float = 1.0  # seconds since the last onset

    def extract(self, block: Samples) -> dict[str, float]:
        """(n,) mono samples -1..1 at RATE, n at most WINDOW -> each feature 0..1; onset is 1 in the block of an
        onset."""
        block = np.clip(np.nan_to_num(np.asarray(block, np.float32)[:WINDOW_SAMPLES]), -1, 1)
        seconds = len(block) / SAMPLE_RATE_HZ
        self.past = np.concatenate([self.past[len(block) :], block])
        spectrum = np.abs(np.fft.rfft(self.past * _HANN)).astype(np.float32) * (4 / WINDOW_SAMPLES)
        power = {"level": float(np.sqrt(np.mean(np.square(block)))) if len(block) else 0.0}
        for name, (low, high) in (("bass", BASS), ("treble", TREBLE)):
            power[name] = float(np.sqrt(np.sum(np.square(spectrum[_bins(low, high)]))))
        found = {}
        for name, value in power.items():
            self.loudest[name] = max(
                SILENCE_RMS, value, self.loudest[name] * float(np.exp(-seconds / LOUDNESS_MEMORY_S))
            )
            level = value / self.loudest[name]
            found[name] = level if power["level"] > SILENCE_RMS else 0.0
        scaled = np.log1p(100 * spectrum / max(self.loudest["level"], 10 * SILENCE_RMS))
        rise = float(np.sum(np.maximum(scaled - self.spectrum, 0)))
        self.spectrum = scaled
        usual = float(np.median(self.rises)) if self.rises else 0.0
        self.rises = [*self.rises[-99:], rise]
        self.since += seconds
        hit = (
            power["level"] > SILENCE_RMS
            and rise > ONSET_RATIO * usual + 12
            and self.since > ONSET_DISTANCE_S
            and len(self.rises) > 5
        )
        if hit:
            self.since = 0.0
        found["onset"] = float(hit)
        return found


_HANN = np.hanning(WINDOW_SAMPLES).astype(np.float32)


def _bins(low: float, high: float) -> slice:
    return slice(max(1, int(low * WINDOW_SAMPLES / SAMPLE_RATE_HZ)), int(high * WINDOW_SAMPLES / SAMPLE_RATE_HZ) + 1)


def follow(now: float, wanted: float, seconds: float, attack: float, release: float) -> float:
    """An envelope follower with time constants `attack` (up) and `release` (down)."""
    span = attack if wanted > now else release
    return wanted if span <= 0 else now + (wanted - now) * -float(np.expm1(-seconds / span))


def stereo(block: Samples) -> Samples:
    """(n, channels) -> (n, 2), finite and within -1..1. One channel is copied to both sides; of more channels the first
    two are used."""
    pair = block[:, :2] if block.shape[1] > 1 else block.repeat(2, 1)
    return np.clip(np.nan_to_num(pair), -1, 1)


class AudioInput(Input):
    """An `Input`. source: None for the system's input, part of a device's name, or the path of an audio file (looped).

    on_audio: called with each chunk of audio, in this input's thread. Its times are arrival times, which are sometimes
    late.
    """

    def __init__(self, source: str | None = None, mappings: tuple[FeatureMapping, ...] = DEFAULT,
                 on_audio: Callable[[AudioChunk], None] | None = None) -> None:  # fmt: skip
        self._source, self.mappings, self._on_chunk = source, mappings, on_audio
        self._extractor, self._values = FeatureExtractor(), [0.0] * len(mappings)
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._status: dict[str, Any] = {"state": "opening", "source": source or "the system's input"}

    def start(self, deliver: Deliver) -> None:
        """Raises OSError where a file cannot be read. A missing device is reported in the status, and retried."""
        reopen = partial(from_device, self._source)
        opened: Iterator[Block] | None = None
        if self._source is not None and is_file(self._source):
            reopen = partial(from_file, self._source)
            blocks = reopen()
            opened = itertools.chain([next(blocks)], blocks)  # the process that was tried is the one that plays
        self._thread = threading.Thread(target=self._run, args=(opened, reopen, deliver), daemon=True, name="audio")
        self._thread.start()

    def _run(self, opened: Iterator[Block] | None, reopen: Callable[[], Iterator[Block]], deliver: Deliver) -> None:
        while not self._stop.is_set():
            try:
                for block, arrived in opened or reopen():
                    if self._stop.is_set():
                        return
                    self._status = {**self._status, "state": "listening"}
                    if self._on_chunk is not None:
                        self._on_chunk(AudioChunk(stereo(block), SAMPLE_RATE_HZ, arrived - len(block) / SAMPLE_RATE_HZ))
                    self.take(block.mean(-1), deliver)
            except (OSError, ValueError) as error:
                self._status = {**self._status, "state": "no sound", "message": str(error)}
            opened = None
            self._rest(deliver)
            self._stop.wait(REOPEN_DELAY_S)

    def take(self, block: Samples, deliver: Deliver) -> None:
        """Extract the features of one block, (n,) mono, and deliver the changes."""
        features, now, seconds = self._extractor.extract(block), time.monotonic(), len(block) / SAMPLE_RATE_HZ
        for i, mapping in enumerate(self.mappings):
            value = follow(self._values[i], features[mapping.feature], seconds, mapping.attack, mapping.release)
            if abs(value - self._values[i]) > 1e-4 or value in (0.0, 1.0) != self._values[i]:
                deliver(
                    ControlEvent(mapping.target, (mapping.low + (mapping.high - mapping.low) * value,), now, "sound")
                )
            self._values[i] = value

    def _rest(self, deliver: Deliver) -> None:
        """Set all mapped parameters to their low value, since there is no audio any more."""
        for i, mapping in enumerate(self.mappings):
            if self._values[i] > 0:
                deliver(ControlEvent(mapping.target, (mapping.low,), time.monotonic(), "sound"))
            self._values[i] = 0.0

    def status(self) -> Mapping[str, Any]:
        """levels: 0..1, of each mapping, in their order."""
        return {**self._status, "levels": [round(value, 3) for value in self._values]}

    def stop(self) -> None:
        self._stop.set()
        if self._thread:
            self._thread.join(2)


def is_file(source: str | None) -> bool:
    """Whether a source is the path of a file, and not a part of a device's name."""
    path = Path(source or "")
    return path.suffix.lower() in FILE_SUFFIXES or (path.suffix != "" and path.is_file())


def from_device(name: str | None) -> Iterator[Block]:
    """Blocks of a device, with all its channels. Raises OSError, with the fix, where there is none or it is gone."""
    child = Child("audio input", DEVICE_PROGRAM, end_timeout_s=0.5)
    child.start((str(SAMPLE_RATE_HZ), str(BLOCK_SAMPLES), *([] if name is None else [name])))
    for head in _blocks(child):
        if isinstance(head, tuple):
            yield head
        elif head.get("missing"):
            raise OSError(f"audio input needs PortAudio ({head['error']}): {FIX}")
        else:
            error = head.get("error", "PortAudio crashed")
            raise OSError(f"no audio input {name or 'on this machine'} ({error}); `wj ports` lists them")
    raise OSError(f"the audio input {name or 'of this machine'} is silent or gone; `wj ports` lists them")


def from_file(path: str) -> Iterator[Block]:
    """Blocks of an audio file in a loop, mono or stereo, at its own speed. Raises OSError where it cannot be read."""
    child = Child("audio file", FILE_PROGRAM, end_timeout_s=0.5)
    child.start((str(SAMPLE_RATE_HZ), str(BLOCK_SAMPLES), path))
    for head in _blocks(child):
        if not isinstance(head, tuple):
            raise OSError(head.get("error", f"{path} could not be read: its process crashed"))
        yield head
    raise OSError(f"{path} could not be read to its end")


def _blocks(child: Child) -> Iterator[Block | dict[str, Any]]:
    """What a child writes: its blocks, or the message that there are none. The child ends with the generator."""
    try:
        format = json.loads(child.read_line() or "{}")
        if "channels" not in format:
            if "error" in format:  # it ended because of that
                child.close_input()
            yield format
            return
        while head := child.read(ARRIVAL.size):
            arrived, count = ARRIVAL.unpack(head)
            data = child.read(count * format["channels"] * 4)
            yield np.frombuffer(data, np.float32).reshape(count, format["channels"]), arrived
    except (ValueError, struct.error):  # the process ended within a block
        pass
    except GeneratorExit:
        child.close_input()
        raise
    finally:
        child.finish()


def devices() -> list[str]:
    """Names of the audio inputs. Raises OSError, with the fix, without PortAudio."""
    return [d["name"] for d in _portaudio().query_devices() if d["max_input_channels"] > 0]


def _portaudio() -> Any:
    try:
        import sounddevice
    except (ImportError, OSError) as error:
        raise OSError(f"audio input needs PortAudio ({error}): {FIX}") from None
    return sounddevice
