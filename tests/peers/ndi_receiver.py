"""An NDI receiver in a process of its own, on cyndilib: independent of the code it judges.

    python ndi_receiver.py NAME [--uyvy | --bgrx] [--sound]

Connects to the first source whose name contains NAME, then prints one JSON line for each picture: its number, size,
rate, FourCC, timecode in seconds, mean colour, range of alpha, what metadata came before it, and with --sound what was
heard in the last second: each channel's RMS and its loudest frequency in Hz. Takes commands on
standard input, one a line: `save PATH` writes the next picture as npy, (H, W, 4) RGBA, or the raw (H, W, 2) or BGRX;
`program 0|1` and `preview 0|1` set the tally. Ends with its standard input.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import threading
import time
from collections import deque
from pathlib import Path

import numpy as np
from cyndilib.audio_frame import AudioFrameSync
from cyndilib.finder import Finder
from cyndilib.metadata_frame import MetadataRecvFrame
from cyndilib.receiver import ReceiveFrameType, Receiver
from cyndilib.video_frame import VideoFrameSync
from cyndilib.wrapper import FourCC, RecvBandwidth, RecvColorFormat

commands: deque[list[str]] = deque()


def read_commands() -> None:
    for line in sys.stdin:
        commands.append(line.split(maxsplit=1))
    os._exit(0)


RATE = 48000


def said_of(sound: np.ndarray) -> list[dict[str, float]]:
    """(channels, samples) -> of each channel, "rms" and "hz"."""
    spectrum = np.abs(np.fft.rfft(sound * np.hanning(sound.shape[1])))
    loudest = spectrum.argmax(1) * RATE / sound.shape[1]
    rms = np.sqrt(np.square(sound).mean(1))
    return [{"rms": float(level), "hz": float(hz)} for level, hz in zip(rms, loudest, strict=True)]


def connect(name: str, color: RecvColorFormat) -> tuple[Finder, Receiver]:
    finder = Finder()
    finder.open()
    while True:
        finder.wait_for_sources(0.5)
        finder.update_sources()
        for source in finder.iter_sources():
            if name in source.name:
                receiver = Receiver(color_format=color, bandwidth=RecvBandwidth.highest, recv_name="wj test")
                receiver.frame_sync.set_video_frame(VideoFrameSync())
                receiver.frame_sync.set_audio_frame(AudioFrameSync())
                receiver.set_metadata_frame(MetadataRecvFrame())
                receiver.set_source(source)
                return finder, receiver


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("name")
    parser.add_argument("--uyvy", action="store_const", dest="color", const=RecvColorFormat.UYVY_RGBA)
    parser.add_argument("--bgrx", action="store_const", dest="color", const=RecvColorFormat.BGRX_BGRA)
    parser.add_argument("--sound", action="store_true")
    args = parser.parse_args()
    threading.Thread(target=read_commands, daemon=True).start()
    _finder, receiver = connect(args.name, RecvColorFormat.RGBX_RGBA if args.color is None else args.color)
    saves: list[Path] = []
    metadata: list[dict[str, str]] = []
    number = 0
    last = 0.0
    sound, heard = np.zeros((2, RATE), np.float32), time.monotonic()
    while True:
        if args.sound and (samples := int((time.monotonic() - heard) * RATE)):
            heard += samples / RATE
            if receiver.frame_sync.capture_audio(samples):
                piece = np.array(receiver.frame_sync.audio_frame.get_array())
                sound = np.concatenate([sound, piece], 1)[:, -RATE:] if len(piece) == 2 else sound
        while commands:
            word, value = commands.popleft()
            if word == "save":
                saves.append(Path(value.strip()))
            elif word == "program":
                receiver.set_source_tally_program(value.strip() == "1")
            elif word == "preview":
                receiver.set_source_tally_preview(value.strip() == "1")
        while receiver.receive(ReceiveFrameType.recv_metadata, 0) & ReceiveFrameType.recv_metadata:
            frame = receiver.metadata_frame
            metadata.append({"tag": frame.get_tag() or "", **dict(frame.items())})
        # The frame synchroniser hands out the library's own memory: cyndilib's other path copies a byte at a time.
        receiver.frame_sync.capture_video()
        video = receiver.frame_sync.video_frame
        width, height = video.get_resolution()
        stamp = video.get_timestamp_posix()
        if not width or stamp == last:
            time.sleep(0.004)
            continue
        last = stamp
        data = np.frombuffer(video, np.uint8)
        fourcc = FourCC(video.get_fourcc())
        depth = 2 if fourcc == FourCC.UYVY else 4
        picture = data[: height * width * depth].reshape(height, width, depth)
        rate = video.get_frame_rate()
        some = picture[:: max(height // 90, 1), :: max(width // 160, 1)]
        for path in saves:
            np.save(path.with_suffix(".part.npy"), picture)
            path.with_suffix(".part.npy").rename(path)
        row = {
            "number": number,
            "time": time.monotonic(),
            "size": [width, height],
            "fps": [rate.numerator, rate.denominator],
            "fourcc": fourcc.name,
            "timecode": video.get_timecode_posix(),
            "metadata": metadata,
            "mean": [round(float(x), 2) for x in some.reshape(-1, depth).mean(0)],
            "alpha": [int(some[..., 3].min()), int(some[..., 3].max())] if depth == 4 else None,
            "saved": [str(path) for path in saves],
            "sound": said_of(sound) if args.sound else None,
        }
        saves.clear()
        metadata = []
        del data, picture, some
        number += 1
        print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
