"""The process that has the sound input open, because PortAudio may take its process with it: when a JACK server ends it
was seen to wait for ten minutes, and then to abort. It also finds only what was there when it began.

    python device_process.py RATE BLOCK [NAME]       until standard input ends, or nothing is heard for 2 s

NAME: part of a device's name; without it, the system's input. Writes one JSON line, {"channels": n} or {"error": why},
and then the blocks: time.monotonic() of the arrival and the number of samples ("<dI"), then these, interleaved float32.
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

BLOCK = struct.Struct("<dI")
SILENCE_TIMEOUT_S = 2.0  # seconds without a block after which a device is gone
WAITING = 20  # blocks that may wait to be passed on


def end_with_input() -> None:
    with contextlib.suppress(OSError):
        sys.stdin.buffer.read()
    os._exit(0)  # not in order: PortAudio might not let go


def say(**words: Any) -> None:
    sys.stdout.buffer.write(json.dumps(words).encode() + b"\n")
    sys.stdout.buffer.flush()


def listen(rate: int, size: int, name: str | None) -> None:
    import sounddevice

    blocks = queue.Queue[tuple[float, int, bytes]](WAITING)

    def hear(heard: Any, count: int, *_: Any) -> None:
        # PortAudio calls us: a read that waits was seen to freeze the whole process where the sound comes from JACK.
        with contextlib.suppress(queue.Full):
            blocks.put_nowait((time.monotonic(), count, bytes(heard)))

    stream = sounddevice.RawInputStream(rate, size, name, None, "float32", "low", callback=hear)
    stream.start()
    say(channels=stream.channels)
    out = sys.stdout.buffer
    while True:
        arrived, count, data = blocks.get(timeout=SILENCE_TIMEOUT_S)
        out.write(BLOCK.pack(arrived, count) + data)
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
        say(error=str(error) or type(error).__name__, missing=isinstance(error, ImportError | OSError))
        os._exit(1)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3] if len(sys.argv) > 3 else None)
