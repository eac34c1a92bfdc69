"""The audio of a media file at one rate and layout, whatever the file changes on the way."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import av
import numpy as np

from .. import Samples
from .clip import audio_frames

MIXED_CHANNELS_MAX = 8  # of 7.1; a file with more is a recording of an interface's inputs, which no rule mixes


def samples(container: Any, rate: int, layout: str, size: int = 0) -> Iterator[Samples]:
    """(n, channels) of the whole file, -1..1, n being `size` but for the last, or of any length where size is 0.

    layout: "mono" or "stereo". Of more than MIXED_CHANNELS_MAX channels the first two are used. Files that were joined
    may change their rate and channels on the way. Raises as `audio_frames`.
    """
    resampler, form = av.AudioResampler(format="flt", layout=layout, rate=rate, frame_size=size), None
    for frame in audio_frames(container):
        if frame.layout.nb_channels > MIXED_CHANNELS_MAX:
            frame = _first_two(frame)
        new_form = (frame.format.name, frame.layout.name, frame.sample_rate)
        if new_form != form:
            yield from _interleaved(resampler, None)
            resampler = av.AudioResampler(format="flt", layout=layout, rate=rate, frame_size=size)
            form = new_form
        frame.pts = None  # the next sample follows the last, whatever the file says
        yield from _interleaved(resampler, frame)
    yield from _interleaved(resampler, None)


def _interleaved(resampler: av.AudioResampler, frame: av.AudioFrame | None) -> Iterator[Samples]:
    """The resampler's output for a frame; with None, what it still has."""
    for out in resampler.resample(frame):
        if out is not None:
            data = out.to_ndarray().astype(np.float32).reshape(-1, out.layout.nb_channels)
            yield np.clip(np.nan_to_num(data), -1, 1)  # floating-point files may have anything


def _first_two(frame: av.AudioFrame) -> av.AudioFrame:
    data: Any = frame.to_ndarray()
    channels = frame.layout.nb_channels
    pair = data[:2] if frame.format.is_planar else data.reshape(-1, channels)[:, :2].reshape(1, -1)
    first = av.AudioFrame.from_ndarray(np.ascontiguousarray(pair), format=frame.format.name, layout="stereo")
    first.sample_rate = frame.sample_rate
    return first
