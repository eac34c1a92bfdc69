"""An image whose four quarters have colours of their own: it shows how it was turned, mirrored, cut and coloured."""

from __future__ import annotations

import struct
from fractions import Fraction
from pathlib import Path

import av
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


def write(path: Path, images: list[np.ndarray], pixel_aspect: Fraction = Fraction(1)) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("h264", rate=10, options={"crf": "1"})
        stream.height, stream.width = images[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        stream.codec_context.sample_aspect_ratio = pixel_aspect
        for image in images:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
    return path


def turn(path: Path, matrix: tuple[int, int, int, int]) -> None:
    """Write a display matrix into the file's track header (ISO/IEC 14496-12, 8.3.2)."""
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 4 + 40
    a, b, c, d = (v << 16 for v in matrix)
    data[at : at + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(data)
