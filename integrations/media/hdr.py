"""High dynamic range for a screen of standard range, as a table that FFmpeg's `lut3d` filter reads.

Transfers: PQ (SMPTE ST 2084) and hybrid log-gamma (ITU-R BT.2100), both with the primaries of BT.2020. Reference white
is 203 cd/m2 (ITU-R BT.2408). What is brighter is compressed by the Mobius curve that FFmpeg's `tonemap` has as well.
FFmpeg's own scaler can do all this since version 8, and takes 6 s or more for its first frame.
"""

from __future__ import annotations

import atexit
import shutil
import tempfile
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
POINTS = 33  # a side of the table
WHITE_NITS = 203.0
PEAK_NITS = 1000.0  # of most material
LINEAR_BELOW = 0.3  # of white: darker light is left as it is
DISPLAY_GAMMA = 2.4  # ITU-R BT.1886
LUMA_2020 = np.array([0.2627, 0.6780, 0.0593])
# ITU-R BT.2087: linear light of BT.2020 in the primaries of BT.709.
TO_709 = np.array([[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]])


def pq_to_nits(signal: Array) -> Array:
    """ST 2084's EOTF: 0..1 to 0..10,000 cd/m2."""
    m1, m2, c1, c2, c3 = 2610 / 16384, 2523 / 32, 3424 / 4096, 2413 / 128, 2392 / 128
    root = np.power(signal, 1 / m2)
    return np.asarray(10_000 * np.power(np.maximum(root - c1, 0) / (c2 - c3 * root), 1 / m1))


def hlg_to_nits(signal: Array) -> Array:
    """BT.2100's EOTF on a display of PEAK_NITS: (..., 3) 0..1 to cd/m2."""
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    scene = np.where(signal <= 0.5, signal**2 / 3, (np.exp((signal - c) / a) + b) / 12)
    luma = np.maximum(scene @ LUMA_2020, 1e-9)[..., None]
    return np.asarray(PEAK_NITS * luma**0.2 * scene)


def compressed(light: Array) -> Array:
    """Light of any brightness to 0..1, 1 being white: the Mobius curve, on the brightest channel, so hues stay."""
    j, peak = LINEAR_BELOW, PEAK_NITS / WHITE_NITS
    a = -j * j * (peak - 1) / (j * j - 2 * j + peak)
    b = (j * j - 2 * j * peak + peak) / (peak - 1)
    brightest = np.maximum(light.max(-1, keepdims=True), 1e-9)
    curve = (b * b + 2 * b * j + j * j) / (b - a) * (brightest + a) / (brightest + b)
    return light * np.where(brightest <= j, 1.0, np.minimum(curve, 1.0) / brightest)


@lru_cache
def table(transfer: str) -> Path:
    """A .cube file from R'G'B' of BT.2020 to R'G'B' of BT.709. transfer: "smpte2084" or "arib-std-b67"."""
    axis = np.linspace(0, 1, POINTS)
    blue, green, red = np.meshgrid(axis, axis, axis, indexing="ij")  # red changes fastest
    signal = np.stack([red, green, blue], -1).reshape(-1, 3)
    nits = pq_to_nits(signal) if transfer == "smpte2084" else hlg_to_nits(signal)
    light = np.maximum(compressed(nits / WHITE_NITS) @ TO_709.T, 0)
    rows = np.minimum(light, 1) ** (1 / DISPLAY_GAMMA)
    text = f"LUT_3D_SIZE {POINTS}\n" + "\n".join(f"{r:.5f} {g:.5f} {b:.5f}" for r, g, b in rows)
    folder = Path(tempfile.mkdtemp(prefix="worldjockey-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    path = folder / f"{transfer}.cube"
    path.write_text(text)
    return path
