"""The process that plays an audio file, in a loop and at its own speed, as a device would deliver it.

    python -m worldjockey.integrations.audio.file_process RATE BLOCK PATH       until standard input ends

Writes what device_process.py writes. Packets that cannot be decoded are skipped.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import av

from ..media.clip import Undecodable, best, opened, reason
from ..media.samples import samples
from .device_process import BLOCK_HEAD, end_with_input, write_message


def blocks(path: Path, rate: int, size: int) -> Iterator[tuple[int, bytes]]:
    """(channels, interleaved float32) of the whole file, once, in blocks of `size` samples and a last one of what is
    left, so that a loop keeps its length. Raises OSError."""
    try:
        with opened(path) as container:
            channels = 1 if best(container, "audio").codec_context.channels == 1 else 2
            for block in samples(container, rate, "mono" if channels == 1 else "stereo", size):
                yield channels, block.tobytes()
    except FileNotFoundError:
        raise OSError(f"{path} does not exist: check the path") from None
    except IndexError:
        raise OSError(f"{path} has no audio") from None
    except Undecodable as error:
        raise OSError(f"{path}: {error}") from None
    except av.FFmpegError as error:
        raise OSError(f"{path} is not audio: {reason(error, path)}") from None


def play(path: Path, rate: int, size: int) -> None:
    out, due, begun = sys.stdout.buffer, time.monotonic(), False
    while True:
        count = 0
        for channels, data in blocks(path, rate, size):
            if not begun:
                write_message(channels=channels)
                begun = True
            samples = len(data) // (4 * channels)
            count += samples
            due += samples / rate
            time.sleep(max(0.0, due - time.monotonic()))
            out.write(BLOCK_HEAD.pack(due, samples) + data)
            out.flush()
        if not count:
            raise OSError(f"{path} has no audio")


def main(rate: int, size: int, path: str) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=end_with_input, daemon=True).start()
    try:
        play(Path(path), rate, size)
    except BrokenPipeError:
        os._exit(0)
    except Exception as error:
        write_message(error=str(error) or type(error).__name__)
        os._exit(1)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
