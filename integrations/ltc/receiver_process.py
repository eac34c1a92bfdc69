"""The process that hears LTC: from an audio input (PortAudio may hang or crash its process), or from a WAV file at its
own speed.

    python -m worldjockey.integrations.ltc.receiver_process       until standard input ends

Reads one JSON line: {"input", "channel"}; input is part of a device's name, the path of a WAV file, or null for the
system's input. Writes {"frame": [hours, minutes, seconds, frames, part, rate, time]}, {"facts": {...}} twice a second,
and {"error": why} before it ends because of that.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import sys
import threading
import time
import wave
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .decoder import Decoder
from .rate import RateGuess

BLOCK_S = 0.01
SILENT_TIMEOUT_S = 3.0  # without a block, after which a device is gone
FACTS_INTERVAL_S = 0.5
RECENT_BLOCKS = 50  # by whose arrival the device's clock is followed
FULL_SCALE_DB = -60.0  # the quietest level that is shown
FIX = "pip install sounddevice, and on Debian apt install libportaudio2"


@dataclass(frozen=True)
class Block:
    """samples: (n,), of one channel, -1..1. end: time.monotonic() at which the last one was heard."""

    samples: NDArray[np.float32]
    end: float


class Source:
    """Blocks of one channel. rate: samples a second. name: for the performer."""

    rate: float
    name: str

    def blocks(self) -> Iterator[Block]:
        raise NotImplementedError


class File(Source):
    """A WAV file, once, at its own speed."""

    def __init__(self, path: Path, channel: int) -> None:
        with wave.open(str(path)) as file:
            self.rate, channels, width = file.getframerate(), file.getnchannels(), file.getsampwidth()
            data = file.readframes(file.getnframes())
        if not 1 <= channel <= channels:
            raise ValueError(f"{path.name} has {channels} channels: there is no channel {channel}")
        raw = np.frombuffer(data, np.uint8).reshape(-1, channels, width)[:, channel - 1]
        self._samples = _decoded(raw, width)
        self.name = path.name

    def blocks(self) -> Iterator[Block]:
        length = max(int(self.rate * BLOCK_S), 1)
        begin = time.monotonic()
        for first in range(0, len(self._samples), length):
            samples = self._samples[first : first + length]
            end = begin + (first + len(samples)) / self.rate
            time.sleep(max(end - time.monotonic(), 0.0))
            yield Block(samples, end)
        while True:  # the tape has ended, and the source stands
            time.sleep(FACTS_INTERVAL_S)
            yield Block(np.zeros(1, np.float32), time.monotonic())


def _decoded(raw: NDArray[np.uint8], width: int) -> NDArray[np.float32]:
    """(n, width) bytes of PCM -> -1..1."""
    if width == 1:
        return ((raw[:, 0].astype(np.float32) - 128) / 128).astype(np.float32)
    padded = np.zeros((len(raw), 4), np.uint8)
    padded[:, 4 - width :] = raw
    return (padded.view("<i4")[:, 0] / 2.0**31).astype(np.float32)


class Device(Source):
    """A channel of an audio input, at the device's own sample rate."""

    def __init__(self, name: str | None, channel: int) -> None:
        import sounddevice

        index = _find(sounddevice, name)
        facts = sounddevice.query_devices(index, "input")
        self.name, self.rate = facts["name"], facts["default_samplerate"] or 48000.0
        if channel > facts["max_input_channels"]:
            raise ValueError(f"{self.name} has {facts['max_input_channels']} channels: there is no channel {channel}")
        self._blocks = queue.Queue[tuple[float, bytes]](200)
        self._channel = channel

        def on_audio(samples: Any, *_: Any) -> None:
            # A callback, because blocking reads were seen to freeze the whole process with JACK.
            with contextlib.suppress(queue.Full):
                self._blocks.put_nowait((time.monotonic(), bytes(samples)))

        self._stream = sounddevice.RawInputStream(
            self.rate, int(self.rate * BLOCK_S), index, channel, "float32", "low", callback=on_audio
        )

    def blocks(self) -> Iterator[Block]:
        self._stream.start()
        latency = min(max(float(self._stream.latency), 0.0), 0.5)
        heard, offsets = 0, deque[float](maxlen=RECENT_BLOCKS)
        while True:
            try:
                arrived, data = self._blocks.get(timeout=SILENT_TIMEOUT_S)
            except queue.Empty:
                raise OSError(f"the audio input {self.name} is silent or gone") from None
            samples = np.frombuffer(data, np.float32).reshape(-1, self._channel)[:, self._channel - 1]
            heard += len(samples)
            # Blocks arrive late, never early: of the latest ones, the earliest gives the time. Older ones do not count,
            # because the two clocks drift, and an overloaded machine loses blocks.
            offsets.append(arrived - heard / self.rate)
            yield Block(samples, min(offsets) + heard / self.rate - latency)


def _find(sounddevice: Any, name: str | None) -> int | None:
    """The number of the input whose name has these words; None is the system's."""
    if name is None:
        return None
    inputs = [(n, d["name"]) for n, d in enumerate(sounddevice.query_devices()) if d["max_input_channels"] > 0]
    found = [n for n, known in inputs if known.lower() == name.lower()]
    found = found or [n for n, known in inputs if all(word in known.lower() for word in name.lower().split())]
    if not found:
        there = ", ".join(known for _, known in inputs) or "none"
        raise ValueError(f"no audio input is named {name!r}; there is {there}")
    return found[0]


def opened(name: str | None, channel: int) -> Source:
    """OSError or ValueError, with the fix, where it cannot be opened."""
    if name is not None and Path(name).suffix.lower() in (".wav", ".wave"):
        try:
            return File(Path(name), channel)
        except (wave.Error, EOFError) as error:
            raise ValueError(f"{name} is no WAV file of whole numbers ({error}): save it as 16 or 24 bits") from None
    try:
        return Device(name, channel)
    except ImportError as error:
        raise OSError(f"LTC needs PortAudio ({error}): {FIX}") from None


def write(**fields: Any) -> None:
    try:
        sys.stdout.write(json.dumps(fields) + "\n")
        sys.stdout.flush()
    except OSError:
        os._exit(0)


def listen(source: Source) -> None:
    decoder, guess = Decoder(source.rate), RateGuess()
    heard, frames, told_at, rate = 0, 0, 0.0, ""
    for block in source.blocks():
        heard += len(block.samples)
        for frame in decoder.feed(block.samples):
            rate = guess.feed(frame, source.rate)
            at = block.end - (heard - frame.end) / source.rate
            frames += 1
            label = [frame.hours, frame.minutes, frame.seconds, frame.frames]
            write(frame=[*label, 0.0 if frame.reverse else 1.0, rate, at])
        now = time.monotonic()
        if now - told_at >= FACTS_INTERVAL_S:
            told_at = now
            db = max(20 * np.log10(max(decoder.level, 1e-6)), FULL_SCALE_DB)
            write(facts={"device": source.name, "frames": frames, "level_db": round(float(db), 1), "rate": rate})


def end_with_input() -> None:
    sys.stdin.read()
    os._exit(0)  # no normal exit: PortAudio might hang


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the show handles Ctrl-C, and closes our input
    config = json.loads(sys.stdin.readline())
    threading.Thread(target=end_with_input, daemon=True).start()
    try:
        listen(opened(config["input"], config["channel"]))
    except Exception as error:
        write(error=str(error) or type(error).__name__)
    os._exit(1)


if __name__ == "__main__":
    main()
