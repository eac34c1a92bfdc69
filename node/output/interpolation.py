"""In-between pictures that move: a dense flow from the last picture to the newest, and both warped along it.

The flow is dense inverse search (Kroeger et al. 2016, OpenCV's DISOpticalFlow at its fastest). Where the two pictures,
each warped half the way, agree no better than they did unmoved (what is covered or uncovered, sparks, rain), the flow
is nought, and a warp by nought is the plain blend. Nothing is guessed after a cut: then there is no flow at all.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ..ipc.frame_ring import Pixels
from .program import blend

Flow = NDArray[np.float32]
GREY = {3: cv2.COLOR_RGB2GRAY, 4: cv2.COLOR_RGBA2GRAY}  # by channels
_NO_MAP: Any = None  # remap takes x and y in one map, too

LARGEST = 4 * 512 * 288  # pixels of a picture beyond which a warp would cost a clock of 30 ticks a second too much
SMALLEST = 96  # pixels of a side; below, OpenCV's search changes its own settings for good, or crashes
SHARE, SOFT = 0.8, 2.0  # of the plain difference that the warped one must stay below, and levels of soft edge
NEAR = 5  # pixels around, at half size, whose differences count together
STILL = 0.25  # levels of mean difference below which there is nothing to move
CUT = 8.0  # levels of mean difference that a warp leaves where the picture was cut (1 to 4 where it was not)


def flow(old: Pixels, new: Pixels, largest: float = LARGEST) -> Flow | None:
    """How far each pixel goes from `old` to `new`, (h, w, 2) x and y in pixels; None where a warp is of no use."""
    found = coarse(old, new, largest)
    return None if found is None else spread(found, new)


def spread(found: Flow, picture: Pixels) -> Flow:
    """A coarse flow for each pixel of the picture."""
    height, width = picture.shape[:2]
    return np.asarray(cv2.resize(found, (width, height), interpolation=cv2.INTER_LINEAR), np.float32)


def coarse(old: Pixels, new: Pixels, largest: float = LARGEST) -> Flow | None:
    """The flow at half the size, (h // 2, w // 2, 2), still in whole pixels.

    old, new: (h, w, 3) RGB, or 4 RGBA. None for pictures of two shapes or of more than `largest` pixels, that are
    alike, or between which there was a cut.
    """
    height, width, channels = new.shape
    if old.shape != new.shape or channels not in GREY or height * width > largest or min(height, width) < SMALLEST:
        return None
    a, b = (_half(cv2.cvtColor(p, GREY[channels])) for p in (old, new))
    levelled = cv2.LUT(b, np.clip(np.arange(256) + round(a.mean() - b.mean()), 0, 255).astype(np.uint8))
    plain = cv2.absdiff(a, levelled)  # without what all of the picture gained in brightness: a flash is no cut
    if plain.mean() < STILL:
        return None
    half = _search().calc(a, b, None)
    left = cv2.absdiff(_moved(a, half, -0.5), _moved(levelled, half, 0.5))
    if (rest := left.mean()) > CUT and rest > 0.5 * plain.mean():
        return None
    gain = SHARE * _around(plain) - _around(left)
    return np.asarray(half * (2 * np.clip(gain / SOFT + 1, 0, 1))[..., None], np.float32)


def between(old: Pixels, new: Pixels, along: Flow | None, share: float) -> Pixels:
    """The picture at `share` (0..1) of the way from `old` to `new`; without a flow, their blend."""
    if along is None or share >= 1:
        return blend(old, new, share)
    there, back = _moved(old, along, -share), _moved(new, along, 1 - share)
    return np.asarray(cv2.addWeighted(there, 1 - share, back, share, 0), np.uint8)


def ready() -> None:
    """Before the first picture. OpenCV gets one thread: a pool is late on a busy machine, and its results differ."""
    cv2.setNumThreads(1)
    noise = np.random.default_rng(0).integers(0, 255, (288, 512, 3), np.uint8)
    moved = np.roll(noise, 2, 1)
    between(noise, moved, flow(noise, moved), 0.5)


@cache
def _search() -> Any:
    opencv: Any = cv2  # its stubs lack this
    search = opencv.DISOpticalFlow_create(opencv.DISOPTICAL_FLOW_PRESET_ULTRAFAST)
    search.setFinestScale(1)  # of half the size: as good as its own choice for all of it, and cheaper
    return search


@cache
def _grid(height: int, width: int) -> Flow:
    return np.dstack(np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32)))


def _moved(picture: Any, flow: Any, by: float) -> Any:
    places = cv2.scaleAdd(flow, by, _grid(*picture.shape[:2]))
    return cv2.remap(picture, places, _NO_MAP, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def _half(picture: Any) -> Any:
    h, w = picture.shape[:2]
    return cv2.resize(picture, (w // 2, h // 2), interpolation=cv2.INTER_AREA)


def _around(difference: Any) -> Any:
    return cv2.blur(difference, (NEAR, NEAR)).astype(np.float32)
