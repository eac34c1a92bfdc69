"""The motion between two pictures of which nothing is known but their pixels."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from ..spec import Array, Geometry

WIDTH = 256  # pixels across at which motion is estimated


class MotionEstimator:
    """Estimates how each picture moved since the one before (dense inverse search, Kroeger et al. 2016)."""

    def __init__(self) -> None:
        self._flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
        self.forget()

    def forget(self) -> None:
        """The next picture has nothing before it."""
        self._before: NDArray[np.uint8] | None = None

    def moved(self, picture: NDArray[np.uint8]) -> Geometry | None:
        """picture: (h, w, 3) RGB. None for the first, and for one of another shape than the last."""
        height = max(round(picture.shape[0] * WIDTH / picture.shape[1]), 16)
        small = cv2.resize(picture[..., :3], (WIDTH, height), interpolation=cv2.INTER_AREA)
        grey = np.asarray(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY), np.uint8)
        before, self._before = self._before, grey
        if before is None or before.shape != grey.shape:
            return None
        # To where each pixel of the new picture was.
        back = self._flow.calc(grey, before, None)  # type: ignore[call-overload]
        motion: Array = -back / np.array([WIDTH, height], np.float32)
        y, x = np.mgrid[0:height, 0:WIDTH]
        came_y, came_x = y + back[..., 1], x + back[..., 0]
        outside = (came_x < -0.5) | (came_x > WIDTH - 0.5) | (came_y < -0.5) | (came_y > height - 0.5)
        motion[outside] = np.nan
        return Geometry(motion.astype(np.float32))
