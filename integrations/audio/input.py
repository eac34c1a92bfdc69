"""Sound in: a live input or a file becomes level, bass, treble and onset, a hundred times a second.

The listening is a pure state over blocks of samples (`FeatureExtractor`); around it a thread reads a device (PortAudio,
in a process of its own: device_process.py) or a file at its own speed, and delivers what it hears as controls. Whoever
wants the sound itself, to send it on, gets the first two channels.
"""

from __future__ import annotations

import json
import struct
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from .. import AudioChunk, ControlEvent, Deliver, Samples
from ..child import Child

Block = tuple[Samples, float]  # (n, channels) -1..1, and time.monotonic() of its arrival

RATE, BLOCK, WINDOW = 48000, 480, 2048  # Hz, samples a block (10 ms), samples a spectrum looks at
BASS, TREBLE = (20.0, 150.0), (4000.0, 14000.0)  # Hz
FORGETS = 8.0  # seconds in which the loudest that was heard is forgotten
QUIET = 1e-3  # RMS that still counts as silence: never amplified
RISE = 1.9  # how far the spectrum's rise must stand out of its recent median to be an onset
REST = 0.09  # seconds between two onsets
FEATURES = ("level", "bass", "treble", "onset")
REOPEN_DELAY_S = 2.0  # between two attempts to open a device
PEER = Path(__file__).with_name("device_process.py")
ARRIVAL = struct.Struct("<dI")  # before each block that the peer sends: time.monotonic(), samples
FIX = "pip install sounddevice, and on Debian apt install libportaudio2"


@dataclass(frozen=True)
class FeatureMapping:
    """What one feature plays: `target` between low and high, following with attack and release in seconds."""

    feature: str
    target: str
    low: float = 0.0
    high: float = 1.0
    attack: float = 0.005
    release: float = 0.12


DEFAULT = tuple(FeatureMapping(f, f"sound/{f}") for f in FEATURES)


@dataclass
class FeatureExtractor:
    """What is heard, block by block. Levels adapt: the loudest of the last seconds is 1, whatever the gain."""

    past: Samples = field(default_factory=lambda: np.zeros(WINDOW, np.float32))
    loudest: dict[str, float] = field(default_factory=lambda: dict.fromkeys(("level", "bass", "treble"), QUIET))
    spectrum: Samples = field(default_factory=lambda: np.zeros(WINDOW // 2 + 1, np.float32))
    rises: list[float] = field(default_factory=list)
    since: float = 1.0  # seconds since the last onset

    def hear(self, block: Samples) -> dict[str, float]:
        """(n,) mono samples -1..1 at RATE, n at most WINDOW -> each feature 0..1; onset is 1 where one begins."""
        block = np.clip(np.nan_to_num(np.asarray(block, np.float32)[:WINDOW]), -1, 1)
        seconds = len(block) / RATE
        self.past = np.concatenate([self.past[len(block) :], block])
        spectrum = np.abs(np.fft.rfft(self.past * _HANN)).astype(np.float32) * (4 / WINDOW)
        power = {"level": float(np.sqrt(np.mean(np.square(block)))) if len(block) else 0.0}
        for name, (low, high) in (("bass", BASS), ("treble", TREBLE)):
            power[name] = float(np.sqrt(np.sum(np.square(spectrum[_bins(low, high)]))))
        found = {}
        for name, value in power.items():
            self.loudest[name] = max(QUIET, value, self.loudest[name] * float(np.exp(-seconds / FORGETS)))
            heard = value / self.loudest[name]
            found[name] = heard if power["level"] > QUIET else 0.0
        scaled = np.log1p(100 * spectrum / max(self.loudest["level"], 10 * QUIET))
        rise = float(np.sum(np.maximum(scaled - self.spectrum, 0)))
        self.spectrum = scaled
        usual = float(np.median(self.rises)) if self.rises else 0.0
        self.rises = [*self.rises[-99:], rise]
        self.since += seconds
        hit = power["level"] > QUIET and rise > RISE * usual + 12 and self.since > REST and len(self.rises) > 5
        if hit:
            self.since = 0.0
        found["onset"] = float(hit)
        return found


_HANN = np.hanning(WINDOW).astype(np.float32)


def _bins(low: float, high: float) -> slice:
    return slice(max(1, int(low * WINDOW / RATE)), int(high * WINDOW / RATE) + 1)


def follow(now: float, wanted: float, seconds: float, attack: float, release: float) -> float:
    """An envelope follower: up within `attack`, down within `release` (to 63% of the way)."""
    span = attack if wanted > now else release
    return wanted if span <= 0 else now + (wanted - now) * -float(np.expm1(-seconds / span))


def stereo(block: Samples) -> Samples:
    """(n, channels) -> (n, 2), finite and within -1..1: one channel goes to both sides, of many the first two go."""
    pair = block[:, :2] if block.shape[1] > 1 else block.repeat(2, 1)
    return np.clip(np.nan_to_num(pair), -1, 1)


class AudioInput:
    """An `Input`. source: None for the system's input, part of a device's name, or a sound file's path (looped).

    hear: gets the sound itself, piece by piece, in this input's thread. Its clock is the arrival's, which is late now
    and then.
    """

    def __init__(self, source: str | None = None, mappings: tuple[FeatureMapping, ...] = DEFAULT,
                 hear: Callable[[AudioChunk], None] | None = None) -> None:  # fmt: skip
        self._source, self.mappings, self._hear = source, mappings, hear
        self._ear, self._values = FeatureExtractor(), [0.0] * len(mappings)
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._said: dict[str, Any] = {"state": "opening", "source": source or "the system's input"}

    def start(self, deliver: Deliver) -> None:
        """Raises OSError where a file cannot be read. A missing device is said in the status, and waited for."""
        file = self._source is not None and Path(self._source).suffix != "" and Path(self._source).exists()
        blocks = (lambda: from_file(str(self._source))) if file else (lambda: from_device(self._source))
        if file:
            next(from_file(str(self._source), paced=False))
        self._thread = threading.Thread(target=self._run, args=(blocks, deliver), daemon=True, name="audio")
        self._thread.start()

    def _run(self, blocks: Callable[[], Iterator[Block]], deliver: Deliver) -> None:
        while not self._stop.is_set():
            try:
                for block, arrived in blocks():
                    if self._stop.is_set():
                        return
                    self._said = {**self._said, "state": "listening"}
                    if self._hear is not None:
                        self._hear(AudioChunk(stereo(block), RATE, arrived - len(block) / RATE))
                    self.take(block.mean(-1), deliver)
            except (OSError, ValueError) as error:
                self._said = {**self._said, "state": "no sound", "message": str(error)}
            self._rest(deliver)
            self._stop.wait(REOPEN_DELAY_S)

    def take(self, block: Samples, deliver: Deliver) -> None:
        """Hear one block, (n,) mono, and deliver what changed."""
        heard, now, seconds = self._ear.hear(block), time.monotonic(), len(block) / RATE
        self._said["level"] = round(heard["level"], 3)
        for i, mapping in enumerate(self.mappings):
            value = follow(self._values[i], heard[mapping.feature], seconds, mapping.attack, mapping.release)
            if abs(value - self._values[i]) > 1e-4 or value in (0.0, 1.0) != self._values[i]:
                deliver(
                    ControlEvent(mapping.target, (mapping.low + (mapping.high - mapping.low) * value,), now, "sound")
                )
            self._values[i] = value

    def _rest(self, deliver: Deliver) -> None:
        """Nothing is heard any more: let go of what was held up."""
        for i, mapping in enumerate(self.mappings):
            if self._values[i] > 0:
                deliver(ControlEvent(mapping.target, (mapping.low,), time.monotonic(), "sound"))
            self._values[i] = 0.0

    def feedback(self, target: str, value: Any) -> None:
        """Sound has no lights."""

    def status(self) -> Mapping[str, Any]:
        return dict(self._said)

    def stop(self) -> None:
        self._stop.set()
        if self._thread:
            self._thread.join(2)


def from_device(name: str | None) -> Iterator[Block]:
    """Blocks of a live input, all its channels. Raises OSError, with the fix, where there is none or it is gone."""
    child = Child("audio input", PEER, end_timeout_s=0.5)
    child.start((str(RATE), str(BLOCK), *([] if name is None else [name])))
    try:
        format = json.loads(child.read_line() or "{}")
        if format.get("missing"):
            child.close_input()
            raise OSError(f"sound in needs PortAudio ({format['error']}): {FIX}")
        if "channels" not in format:
            if "error" in format:
                child.close_input()
            error = format.get("error", "PortAudio crashed")
            raise OSError(f"no sound input {name or 'on this machine'} ({error}); `wj ports` lists them")
        while head := child.read(ARRIVAL.size):
            arrived, count = ARRIVAL.unpack(head)
            data = child.read(count * format["channels"] * 4)
            yield np.frombuffer(data, np.float32).reshape(count, format["channels"]), arrived
    except (ValueError, struct.error):  # it ended in the middle of a block
        pass
    except GeneratorExit:
        child.close_input()
        raise
    finally:
        child.finish()
    raise OSError(f"the sound input {name or 'of this machine'} is silent or gone; `wj ports` lists them")


def from_file(path: str, paced: bool = True) -> Iterator[Block]:
    """Blocks of a sound file, mono or stereo, round and round, at its own speed. Raises OSError where it cannot be
    read."""
    import av

    due = time.monotonic()
    while True:
        count = 0
        try:
            with av.open(path) as container:
                layout = "mono" if container.streams.audio[0].channels == 1 else "stereo"
                plain = av.AudioResampler(format="flt", layout=layout, rate=RATE, frame_size=BLOCK)
                frames = (out for frame in container.decode(audio=0) for out in plain.resample(frame))
                for frame in frames:
                    count += 1
                    due += frame.samples / RATE
                    if paced:
                        time.sleep(max(0.0, due - time.monotonic()))
                    yield frame.to_ndarray().reshape(frame.samples, -1).astype(np.float32), due
        except (av.FFmpegError, IndexError) as error:
            raise OSError(f"{path}: not a sound that can be read ({error})") from None
        if not count:
            raise OSError(f"{path}: has no sound in it")


def devices() -> list[str]:
    """Names of the inputs there are. Raises OSError, with the fix, without PortAudio."""
    return [d["name"] for d in _portaudio().query_devices() if d["max_input_channels"] > 0]


def _portaudio() -> Any:
    try:
        import sounddevice
    except (ImportError, OSError) as error:
        raise OSError(f"sound in needs PortAudio ({error}): {FIX}") from None
    return sounddevice
