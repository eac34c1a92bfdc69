"""Images, clips and sounds from files, as prompts need them: a few seconds, as people see and hear them."""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from . import Pixels, Samples
from .media.clip import Undecodable, best, misnamed, opened, reason, video_frames
from .media.display import Display
from .media.samples import samples
from .media.still import animation, read_still

SAMPLE_RATE_HZ = 48000
NO_VIDEO = "neither an image nor a video"


def read_image(path: Path) -> Pixels:
    """(h, w, 3) RGB: an image, or the first frame of a video. ValueError, with the path, if it cannot be read."""
    try:
        image = read_still(path)
    except FileNotFoundError:
        raise ValueError(f"{path}: {missing('image', path)}") from None
    except OSError as error:
        raise ValueError(f"{path}: cannot be read ({error.strerror or error})") from None
    return image if image is not None else read_video(path, 1.0, 0.0)[0]


def read_video(path: Path, fps: float, seconds: float, max_height: int | None = None) -> Pixels:
    """(n, h, w, 3) RGB: the first seconds of a clip at `fps` frames a second, whatever its own rate; at least one.

    max_height: a taller clip is scaled down. ValueError, with the path, for a file that cannot be read.
    """
    wanted, frames, display = max(round(seconds * fps), 1), list[Any](), Display()
    size: tuple[int, int] | None = None
    with _errors_named(path, "video", NO_VIDEO), contextlib.closing(_moving(path)) as moving:
        for time, frame, aspect in moving:
            due = min(int(time * fps + 1e-3) + 1, wanted)
            frames += frames[-1:] * (due - len(frames) - 1)  # a slower clip holds its frames
            if len(frames) < due:
                frames.append(display.rgb(frame, size, max_height, aspect))
                size = frames[0].shape[1], frames[0].shape[0]  # a clip may change its size on the way
            if len(frames) >= wanted:
                break
    if not frames:
        raise ValueError(f"{path}: this is {NO_VIDEO}: {misnamed(path) or 'save it as PNG, JPEG or .mp4'}")
    return np.stack(frames)


def missing(kind: str, path: Path) -> str:
    """What is wrong with the path of a file that is not there."""
    if ":" in path.parts[0] and path.parts[0].lower() in ("http:", "https:"):
        return f"an address is no {kind} file: download the file and name it here"
    return f"there is no such {kind} file"


def _moving(path: Path) -> Generator[tuple[float, av.VideoFrame, Fraction | None]]:
    """(seconds, frame, its pixels' aspect) of a clip."""
    count = 0
    for time, image in animation(path):
        count += 1
        yield time, av.VideoFrame.from_ndarray(image, format="rgb24"), None
    if not count:
        with opened(path) as container:
            aspect = best(container, "video").sample_aspect_ratio
            for time, frame in video_frames(container):
                yield time, frame, aspect


def read_audio(path: Path, seconds: float) -> tuple[Samples, int]:
    """(n,) mono -1..1 and samples a second: the first seconds of an audio file, or of a video's audio.

    ValueError, with the path, for a file that cannot be read.
    """
    wanted, parts = int(seconds * SAMPLE_RATE_HZ), list[Samples]()
    with _errors_named(path, "audio", "not audio"), opened(path) as container:
        for part in samples(container, SAMPLE_RATE_HZ, "mono"):
            parts.append(part[:, 0])
            if sum(map(len, parts)) >= wanted:
                break
    if not parts:
        raise ValueError(f"{path}: this file has no audio")
    return np.concatenate(parts)[:wanted], SAMPLE_RATE_HZ


@contextlib.contextmanager
def _errors_named(path: Path, kind: str, otherwise: str) -> Iterator[None]:
    """What goes wrong with a file within the block becomes a ValueError with the path.

    kind: of file, for one that is missing. otherwise: what a file is that cannot be read as that kind.
    """
    try:
        yield
    except FileNotFoundError:
        raise ValueError(f"{path}: {missing(kind, path)}") from None
    except Undecodable as error:
        raise ValueError(f"{path}: {error}") from None
    except (av.FFmpegError, IndexError) as error:
        why = misnamed(path) or f"it has no {kind}" if isinstance(error, IndexError) else reason(error, path)
        raise ValueError(f"{path}: this is {otherwise}: {why}") from None
