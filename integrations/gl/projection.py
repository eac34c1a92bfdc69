"""Where a frame lies on a screen: fitted, rotated, and corrected for a projector at an angle. Pure functions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Scale = Literal["fit", "fill", "stretch"]
Turn = Literal[0, 90, 180, 270]  # degrees clockwise
Matrix = NDArray[np.float64]
Corner = Sequence[float]
# Rows of a 3x3 matrix from a point of the drawn rectangle to the frame's point (u, v); degrees are clockwise.
TURNS = {
    0: ((1, 0, 0), (0, 1, 0)),
    90: ((0, 1, 0), (-1, 0, 1)),
    180: ((-1, 0, 1), (0, -1, 1)),
    270: ((0, -1, 1), (1, 0, 0)),
}


def fit(width: int, height: int, into_width: int, into_height: int) -> tuple[int, int, int, int]:
    """x, y, width, height of the largest centred rectangle of the frame's aspect ratio inside the other."""
    return _middle(width, height, into_width, into_height, min(into_width / width, into_height / height))


def fill(width: int, height: int, into_width: int, into_height: int) -> tuple[int, int, int, int]:
    """x, y, width, height of the smallest centred rectangle of the frame's aspect ratio that covers the other."""
    return _middle(width, height, into_width, into_height, max(into_width / width, into_height / height))


def _middle(width: int, height: int, into_width: int, into_height: int, scale: float) -> tuple[int, int, int, int]:
    w, h = max(round(width * scale), 1), max(round(height * scale), 1)
    return (into_width - w) // 2, (into_height - h) // 2, w, h


def check_turn(degrees: int) -> int:
    """ValueError unless it is a quarter turn."""
    if degrees not in TURNS:
        raise ValueError(f"rotate takes 0, 90, 180 or 270 degrees, not {degrees}")
    return degrees


def check_keystone(corners: Any) -> Matrix:
    """Four corners -> (4, 2). ValueError unless they span a quadrilateral that a screen can show."""
    right = "four corners [x, y] from 0 to 1: top left, top right, bottom right, bottom left"
    try:
        quad = np.array(corners, float)
    except (TypeError, ValueError):
        quad = np.empty(0)
    if quad.shape != (4, 2) or not np.isfinite(quad).all():
        raise ValueError(f"keystone takes {right}")
    if quad.min() < 0 or quad.max() > 1:
        raise ValueError(f"a corner of the keystone lies outside the screen: it takes {right}")
    ahead = np.roll(quad, -1, 0) - quad
    turns = ahead[:, 0] * np.roll(ahead, -1, 0)[:, 1] - ahead[:, 1] * np.roll(ahead, -1, 0)[:, 0]
    if not ((turns > 1e-4).all() or (turns < -1e-4).all()):  # counterclockwise is a mirror image, for rear projection
        raise ValueError(f"the keystone's corners cross or lie on one line: it takes {right}")
    return quad


def nudged(corners: Matrix | None, by: Sequence[Corner]) -> Matrix | None:
    """The keystone with its corners moved by [x, y] each, as shares of the screen, and kept on the screen.

    corners: None is no keystone. ValueError as `check_keystone` if the result is impossible.
    """
    if not np.any(by):
        return corners
    square = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], float)
    return check_keystone(np.clip((square if corners is None else corners) + np.asarray(by, float), 0, 1))


def square_to(quad: Matrix) -> Matrix:
    """The projective map, 3x3, that takes the unit square's corners to `quad`'s (4, 2), in the same order.

    Heckbert, "Fundamentals of Texture Mapping and Image Warping" (1989), section 2.2.3.
    """
    top_left, top_right, bottom_right, bottom_left = quad
    (dx1, dy1), (dx2, dy2) = top_right - bottom_right, bottom_left - bottom_right
    sx, sy = top_left - top_right + bottom_right - bottom_left
    area = dx1 * dy2 - dx2 * dy1
    g, h = (sx * dy2 - dx2 * sy) / area, (dx1 * sy - sx * dy1) / area
    across = top_right - top_left + g * top_right
    down = bottom_left - top_left + h * bottom_left
    return np.vstack([np.column_stack([across, down, top_left]), [g, h, 1.0]])


def to_frame(size: tuple[int, int], screen: tuple[int, int], scale: Scale = "fit", turn: int = 0,
               keystone: Sequence[Corner] | Matrix | None = None) -> Matrix:  # fmt: skip
    """The 3x3 projective map from the screen to the frame, both 0..1 with the origin top left.

    size, screen: width and height in pixels. turn: degrees clockwise. keystone: where the corners of the uncorrected
    screen come to lie, (4, 2). Points of the screen outside the frame map outside 0..1.
    """
    if turn in (90, 270):
        size = size[1], size[0]
    match scale:
        case "fit":
            x, y, w, h = fit(*size, *screen)
        case "fill":
            x, y, w, h = fill(*size, *screen)
        case "stretch":
            x, y, w, h = 0, 0, *screen
    placed = np.array([[screen[0] / w, 0, -x / w], [0, screen[1] / h, -y / h], [0, 0, 1.0]])
    turned = np.array([*TURNS[turn], (0, 0, 1.0)])
    if keystone is None:
        return turned @ placed
    back = np.linalg.inv(square_to(np.asarray(keystone, float)))
    centre = back @ np.append(np.mean(keystone, 0), 1.0)
    return turned @ placed @ (back / centre[2])  # so that the third coordinate is positive on the screen


def mipmap(size: tuple[int, int], screen: tuple[int, int], scale: Scale = "fit", turn: int = 0) -> int:
    """The mipmap level, how often the frame is halved before it is scaled to the screen: 0 unless it is scaled down."""
    w, h = (size[1], size[0]) if turn in (90, 270) else size
    across, down = w / screen[0], h / screen[1]
    ratio = max(across, down) if scale == "fit" else min(across, down)
    return min(max(0, round(math.log2(ratio))), int(math.log2(max(size))))
