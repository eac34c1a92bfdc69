"""A show that flashes and clicks at once, and where the two lie in what is decoded of it."""

from __future__ import annotations

import contextlib
from pathlib import Path

import av
import numpy as np
from worldjockey.integrations import VideoFormat

RATE, PIECE = 48000, 480
FMT = VideoFormat(320, 180, 30000, 1001)
FLASHES = range(30, 300, 60)  # ticks that are white and click


def plain(luma: int) -> np.ndarray:
    picture = np.full((FMT.height * 3 // 2, FMT.width), 128, np.uint8)
    picture[: FMT.height] = luma
    return picture


def clicks(begin: float, flashes: range = FLASHES) -> np.ndarray:
    """(PIECE, 2) heard from `begin` seconds of the recording on: 20 ms of 1 kHz at each flash, half as loud right."""
    at = begin + np.arange(PIECE) / RATE
    mono = np.zeros(PIECE, np.float32)
    for tick in flashes:
        since = at - tick / FMT.fps
        if since[0] > 0.02 or since[-1] < 0:
            continue
        mono += 0.8 * np.sin(2 * np.pi * 1000 * since) * ((since >= 0) & (since < 0.02))
    return np.stack([mono, mono / 2], 1).astype(np.float32)


def onsets(times: np.ndarray, sound: np.ndarray) -> np.ndarray:
    """When the left side of `sound` begins to click."""
    loud = np.flatnonzero(np.abs(sound[0]) > 0.2)
    return np.asarray(times[loud[np.diff(loud, prepend=-RATE) > RATE / 10]])


def decoded(path: Path) -> tuple[list[tuple[float, float]], np.ndarray, np.ndarray]:
    """(time, mean luma) of each picture; times of the samples; the samples (2, n)."""
    with av.open(str(path)) as container, contextlib.suppress(av.error.FFmpegError):
        pictures = []
        for picture in container.decode(video=0):
            pictures.append((float(picture.time), float(picture.to_ndarray()[: picture.height].mean())))
    times, sound = [], []
    with av.open(str(path)) as container, contextlib.suppress(av.error.FFmpegError):
        for piece in container.decode(audio=0):
            times.append(piece.time + np.arange(piece.samples) / RATE)
            sound.append(piece.to_ndarray())
    return pictures, np.concatenate(times), np.concatenate(sound, 1)
