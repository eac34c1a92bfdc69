"""The process that reads the audio device. PortAudio may hang or crash its process: when a JACK server ended, it was
seen to wait for ten minutes, and then to abort. It also finds only devices that were connected when it started.

    python device_process.py RATE BLOCK [NAME]       until standard input ends, or no audio arrives for 2 s

NAME: part of a device's name; without it, the system's input. Writes one JSON line, {"channels": n} or {"error": why},
and then blocks: time.monotonic() of the arrival and the number of samples ("<dI"), then the samples, interleaved
float32.
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
from typing import Any

BLOCK_HEAD = struct.Struct("<dI")
SILENCE_TIMEOUT_S = 2.0  # without a block, after which a device is gone
QUEUED_BLOCKS = 20


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

    stream = sounddevice.RawInputStream(rate, size, name, None, "float32", "low", callback=on_audio)
    stream.start()
    write_message(channels=stream.channels)
    out = sys.stdout.buffer
    while True:
        arrived, count, data = blocks.get(timeout=SILENCE_TIMEOUT_S)
        out.write(BLOCK_HEAD.pack(arrived, count) + data)
        out.flush()


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
