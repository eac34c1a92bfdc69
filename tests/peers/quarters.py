"""An image whose four quarters have colours of their own: it shows how it was turned, mirrored, cut and coloured."""

from __future__ import annotations

import numpy as np

QUARTERS = ((200, 40, 40), (40, 200, 40), (40, 40, 200), (220, 220, 220))  # from the top left, by rows


def quarters(width: int, height: int) -> np.ndarray:
    image = np.zeros((height, width, 3), np.uint8)
    for n, colour in enumerate(QUARTERS):
        top, left = n // 2 * height // 2, n % 2 * width // 2
        image[top : top + height // 2, left : left + width // 2] = colour
    return image


def near(a: np.ndarray, b: np.ndarray, levels: float = 12.0) -> bool:
    return a.shape == b.shape and float(np.abs(a.astype(int) - b).mean()) < levels
