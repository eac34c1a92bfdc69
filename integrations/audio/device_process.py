"""The process that reads the audio device. PortAudio may hang or crash its process: when a JACK server ended, it was
seen to wait for ten minutes, and then to abort. It also finds only devices that were connected when it started.

    python device_process.py RATE BLOCK [NAME]       until standard input ends, or no audio arrives for 2 s

NAME: part of a device's name; without it, the system's input. A device that does not take RATE is converted. Writes
one JSON line, {"channels": n} or {"error": why}, and then blocks: time.monotonic() of the arrival and the number of
samples ("<dI"), then the samples, interleaved float32.
Imports nothing of this package.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import struct
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

BLOCK_HEAD = struct.Struct("<dI")
SILENCE_TIMEOUT_S = 2.0  # without a block, after which a device is gone
QUEUED_BLOCKS = 20
WASAPI = "Windows WASAPI"
CONVERTED_CHANNELS = 2  # of a device that has another rate


def end_with_input() -> None:
    with contextlib.suppress(OSError):
        sys.stdin.buffer.read()
    os._exit(0)  # no normal exit: PortAudio might hang


def write_message(**fields: Any) -> None:
    sys.stdout.buffer.write(json.dumps(fields).encode() + b"\n")
    sys.stdout.buffer.flush()


def listen(rate: int, size: int, name: str | None) -> None:
    import sounddevice

    blocks = queue.Queue[tuple[float, int, bytes]](QUEUED_BLOCKS)

    def on_audio(samples: Any, count: int, *_: Any) -> None:
        # A callback, because blocking reads were seen to freeze the whole process with JACK.
        with contextlib.suppress(queue.Full):
            blocks.put_nowait((time.monotonic(), count, bytes(samples)))

    stream = opened(sounddevice, find(sounddevice, name), rate, size, on_audio)
    stream.start()
    convert = converter(stream.channels, round(stream.samplerate), rate)
    write_message(channels=stream.channels if convert is None else CONVERTED_CHANNELS)
    out = sys.stdout.buffer
    while True:
        arrived, count, data = blocks.get(timeout=SILENCE_TIMEOUT_S)
        if convert is not None:
            count, data = convert(data)
            if not count:  # it collects the first samples
                continue
        out.write(BLOCK_HEAD.pack(arrived, count) + data)
        out.flush()


def find(sounddevice: Any, name: str | None) -> int | None:
    """The number of the input of that name, or else of the first one whose name has its words; None is the system's.

    Windows lists each device once for each of its sound systems; the preferred system is WASAPI.
    """
    if name is None:
        return None
    systems = [system["name"] for system in sounddevice.query_hostapis()]
    inputs = [
        (number, device["name"].lower(), systems[device["hostapi"]])
        for number, device in enumerate(sounddevice.query_devices())
        if device["max_input_channels"] > 0
    ]
    wanted = name.lower()
    found = [i for i in inputs if wanted in (i[1], f"{i[1]}, {i[2].lower()}")]
    found = found or [i for i in inputs if all(word in f"{i[1]}, {i[2].lower()}" for word in wanted.split())]
    if not found:
        raise ValueError("no device has that name")
    return min(found, key=lambda i: i[2] != WASAPI)[0]


def opened(sounddevice: Any, device: int | None, rate: int, size: int, on_audio: Any) -> Any:
    """A stream of the device at that rate, or at the device's own where it takes no other."""
    own = sounddevice.query_devices(device, "input")
    system = sounddevice.query_hostapis(own["hostapi"])["name"]
    settings = sounddevice.WasapiSettings(auto_convert=True) if system == WASAPI else None

    def at(rate: int, size: int) -> Any:
        return sounddevice.RawInputStream(
            rate, size, device, None, "float32", "low", extra_settings=settings, callback=on_audio
        )

    try:
        return at(rate, size)
    except sounddevice.PortAudioError:
        own_rate = round(own["default_samplerate"])
        if own_rate in (0, rate):
            raise
        return at(own_rate, size * own_rate // rate)


def converter(channels: int, own_rate: int, rate: int) -> Callable[[bytes], tuple[int, bytes]] | None:
    """What turns a block of the device into (samples, block) of its first CONVERTED_CHANNELS channels at `rate`."""
    if own_rate == rate:
        return None
    import av
    import numpy as np

    resampler = av.AudioResampler(format="flt", layout="stereo", rate=rate)

    def convert(data: bytes) -> tuple[int, bytes]:
        block = np.frombuffer(data, np.float32).reshape(-1, channels)
        pair = block[:, [0, min(1, channels - 1)]].reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(pair), format="flt", layout="stereo")
        frame.sample_rate = own_rate
        converted = b"".join(out.to_ndarray().tobytes() for out in resampler.resample(frame))
        return len(converted) // (4 * CONVERTED_CHANNELS), converted

    return convert


def main(rate: int, size: int, name: str | None) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=end_with_input, daemon=True).start()
    try:
        listen(rate, size, name)
    except queue.Empty:
        os._exit(1)
    except BrokenPipeError:
        os._exit(0)
    except Exception as error:
        write_message(error=str(error) or type(error).__name__, missing=isinstance(error, ImportError | OSError))
        os._exit(1)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3] if len(sys.argv) > 3 else None)
