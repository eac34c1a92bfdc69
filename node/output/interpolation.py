"""Motion-compensated in-betweens: a dense flow from the old frame to the new one, and both frames warped along it.

The flow is dense inverse search (Kroeger et al. 2016, OpenCV's DISOpticalFlow, its ultrafast preset). Where the two
frames, each warped halfway, match no better than the unwarped ones (occlusions, sparks, rain), the flow is set to 0,
and a warp by 0 is a plain blend. A cut and a flash are recognised, so that they can be shown at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ..ipc.frame_ring import Pixels
from .program import blend

Flow = NDArray[np.float32]
GREY = {3: cv2.COLOR_RGB2GRAY, 4: cv2.COLOR_RGBA2GRAY}  # by number of channels
_NO_MAP: Any = None  # remap takes x and y in one map, too

MAX_PIXELS = 4 * 512 * 288  # of a frame; to warp a larger one takes too much of a tick at 30 ticks a second
MIN_SIDE_PIXELS = 96  # below, OpenCV's search changes its own settings for good, or crashes
# A warp counts as better where its difference stays below this share of the unwarped one, with a soft edge in levels.
GAIN_SHARE, GAIN_SOFT_LEVELS = 0.8, 2.0
WINDOW_PIXELS = 5  # side of the window, at half size, over which differences are averaged
STILL_LEVELS = 0.25  # mean difference below which nothing moves
CUT_LEVELS = 8.0  # mean difference that remains after the warp across a cut (1 to 4 within a shot)
FLASH_LEVELS = 24.0  # by which a flash changes the mean brightness within one of the world's frames


@dataclass(frozen=True)
class Change:
    """How a frame changed to the next. flow: (h // 2, w // 2, 2), in pixels of the full size; None where no warp gains
    anything. at_once: it is a cut or a flash, of which in-betweens would be a delay."""

    flow: Flow | None = None
    at_once: bool = False


def flow(old: Pixels, new: Pixels, max_pixels: float = MAX_PIXELS) -> Flow | None:
    """How far each pixel moves from `old` to `new`: (h, w, 2), x and y in pixels; None where a warp gains nothing."""
    found = change(old, new, max_pixels).flow
    return None if found is None else upsampled(found, new)


def upsampled(found: Flow, frame: Pixels) -> Flow:
    """A coarse flow (h // 2, w // 2, 2) at the size of the frame: (h, w, 2)."""
    height, width = frame.shape[:2]
    return np.asarray(cv2.resize(found, (width, height), interpolation=cv2.INTER_LINEAR), np.float32)


def change(old: Pixels, new: Pixels, max_pixels: float = MAX_PIXELS) -> Change:
    """old, new: (h, w, 3) RGB or (h, w, 4) RGBA. There is no flow for frames of two sizes or of more than `max_pixels`
    pixels, for frames that are alike, and across a cut."""
    height, width, channels = new.shape
    if old.shape != new.shape or channels not in GREY or height * width > max_pixels:
        return Change()
    if min(height, width) < MIN_SIDE_PIXELS:
        return Change()
    a, b = (_half(cv2.cvtColor(p, GREY[channels])) for p in (old, new))
    darker = a.mean() - b.mean()
    if abs(darker) > FLASH_LEVELS:
        return Change(at_once=True)
    levelled = cv2.LUT(b, np.clip(np.arange(256) + round(darker), 0, 255).astype(np.uint8))
    unwarped = cv2.absdiff(a, levelled)  # without the change of the whole frame's brightness: a flash is no cut
    if unwarped.mean() < STILL_LEVELS:
        return Change()
    half = _search().calc(a, b, None)
    warped = cv2.absdiff(_warped(a, half, -0.5), _warped(levelled, half, 0.5))
    if (rest := warped.mean()) > CUT_LEVELS and rest > 0.5 * unwarped.mean():
        return Change(at_once=True)
    gain = GAIN_SHARE * _windowed(unwarped) - _windowed(warped)
    return Change(np.asarray(half * (2 * np.clip(gain / GAIN_SOFT_LEVELS + 1, 0, 1))[..., None], np.float32))


def between(old: Pixels, new: Pixels, along: Flow | None, share: float) -> Pixels:
    """The frame at `share` (0..1) of the way from `old` to `new`; without a flow, their blend."""
    if along is None or share >= 1:
        return blend(old, new, share)
    forward, backward = _warped(old, along, -share), _warped(new, along, 1 - share)
    return np.asarray(cv2.addWeighted(forward, 1 - share, backward, share, 0), np.uint8)


def ready() -> None:
    """Warm up before the first frame. OpenCV gets one thread: its pool is late on a busy machine, and its results
    depend on the number of threads."""
    cv2.setNumThreads(1)
    noise = np.random.default_rng(0).integers(0, 255, (288, 512, 3), np.uint8)
    moved = np.roll(noise, 2, 1)
    between(noise, moved, flow(noise, moved), 0.5)


@cache
def _search() -> Any:
    opencv: Any = cv2  # its stubs lack this
    search = opencv.DISOpticalFlow_create(opencv.DISOPTICAL_FLOW_PRESET_ULTRAFAST)
    search.setFinestScale(1)  # at half size this is as good as the default at full size, and cheaper
    return search


@cache
def _grid(height: int, width: int) -> Flow:
    return np.dstack(np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32)))


def _warped(frame: Any, flow: Any, by: float) -> Any:
    places = cv2.scaleAdd(flow, by, _grid(*frame.shape[:2]))
    return cv2.remap(frame, places, _NO_MAP, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def _half(frame: Any) -> Any:
    h, w = frame.shape[:2]
    return cv2.resize(frame, (w // 2, h // 2), interpolation=cv2.INTER_AREA)


def _windowed(difference: Any) -> Any:
    return cv2.blur(difference, (WINDOW_PIXELS, WINDOW_PIXELS)).astype(np.float32)
