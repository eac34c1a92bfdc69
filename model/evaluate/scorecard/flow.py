"""How a frame moves: sparse optical flow, in screen units (half the frame's height is 1, y down, centre 0, 0).

Corners (Shi and Tomasi 1994) followed by pyramidal Lucas-Kanade (Bouguet 2001) from one frame to the next and back
again; what does not come back to where it started is dropped (Kalal et al. 2010).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

HEIGHT_PX = 144  # rows in which motion is followed
CORNERS, BANDS = 300, 3  # at most so many, from the top, the middle and the bottom alike: a starry sky is not all
RETURN_PX = 0.5  # pixels within which a followed corner must come back
Floats = NDArray[np.float64]


def opencv() -> Any:
    """The cv2 module. Raises ModuleNotFoundError with the fix where it is not installed."""
    try:
        import cv2
    except ModuleNotFoundError:
        raise ModuleNotFoundError(
            "motion is measured with OpenCV: pip install opencv-python-headless (it is)"
        ) from None
    return cv2


@dataclass(frozen=True)
class Motion:
    """points, vectors: (n, 2) x and y of what was followed, and how far it went."""

    points: Floats
    vectors: Floats

    def __add__(self, other: Motion) -> Motion:
        return Motion(np.concatenate([self.points, other.points]), np.concatenate([self.vectors, other.vectors]))


NO_MOTION = Motion(np.zeros((0, 2)), np.zeros((0, 2)))


def grey(frame: Tensor) -> NDArray[np.uint8]:
    """(h, w, 3) uint8 -> (HEIGHT, w') uint8."""
    cv2 = opencv()
    image = cv2.cvtColor(frame.numpy(), cv2.COLOR_RGB2GRAY)
    width = round(image.shape[1] * HEIGHT_PX / image.shape[0])
    return np.asarray(cv2.resize(image, (width, HEIGHT_PX), interpolation=cv2.INTER_AREA), np.uint8)


def follow(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> Motion:
    """What moved from one `grey` frame to the next."""
    cv2 = opencv()
    found_in = []
    for band in np.array_split(np.arange(HEIGHT_PX), BANDS):
        corners = cv2.goodFeaturesToTrack(a[band[0] : band[-1] + 1], CORNERS // BANDS, 0.02, 4)
        if corners is not None:
            found_in.append(corners + np.array([0, band[0]], np.float32))
    if not found_in:
        return NO_MOTION
    corners = np.concatenate(found_in)
    options = {"winSize": (15, 15), "maxLevel": 3}
    there, found, _ = cv2.calcOpticalFlowPyrLK(a, b, corners, None, **options)
    back, again, _ = cv2.calcOpticalFlowPyrLK(b, a, there, None, **options)
    start, end, home = (np.asarray(p, np.float64).reshape(-1, 2) for p in (corners, there, back))
    ok = (np.asarray(found).ravel() == 1) & (np.asarray(again).ravel() == 1)
    ok &= np.hypot(*(home - start).T) < RETURN_PX
    half = HEIGHT_PX / 2
    return Motion((start[ok] - [a.shape[1] / 2, half]) / half, (end - start)[ok] / half)


def along(frames: list[Tensor]) -> Motion:
    """All motion between neighbours of a run."""
    greys = [grey(f) for f in frames]
    total = NO_MOTION
    for a, b in pairwise(greys):
        total = total + follow(a, b)
    return total
