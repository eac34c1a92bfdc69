"""How sharp a world's frames are beside the stage's: the width of edges, the overshoot beside them, the finest band.

World and stage play the same scenes; edges are found in the stage's frame and measured at the same place in both, as
on a screen of twice the small size.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from ...spec import Controls, Prompt
from .row import Row
from .truth import StageWorld

Luma = NDArray[np.float32]
HEIGHT, WIDTH = 576, 1024
PROMPTS = (
    "city, noon, clear",
    "temple, dawn, clear",
    "forest, sunset, clear",
    "city, night, rain",
    "kaleidoscope, noon",
)
FRAMES = 8  # of each scene before the one that is measured
REACH = 10  # pixels on each side of an edge that belong to it
FLAT = 4  # of these, the outermost ones show the two sides
CONTRAST_MIN, FLAT_MAX = 0.15, 0.02  # of an edge, and the standard deviation on each of its sides
EDGES_MAX = 400  # a frame
WIDTH_MAX, OVERSHOOT_MAX = 1.5, 0.05


def luma(frame: Any) -> Luma:
    """(h, w, 3) uint8 -> (HEIGHT, WIDTH) 0..1."""
    x = torch.as_tensor(frame).float().permute(2, 0, 1)[None] / 255
    if x.shape[-2:] != (HEIGHT, WIDTH):
        x = F.interpolate(x, (HEIGHT, WIDTH), mode="bicubic").clamp(0, 1)
    weights = torch.tensor([0.2126, 0.7152, 0.0722])
    grey: Luma = (x[0] * weights[:, None, None]).sum(0).numpy()
    return grey


def edges(true: Luma) -> NDArray[np.int64]:
    """(n, 2) rows and columns of upright edges that stand alone: a step between two even sides."""
    slope = np.abs(np.diff(true, axis=1))
    inner = slope[:, REACH : -REACH - 1]
    highest = np.stack([slope[:, REACH + k : slope.shape[1] - REACH - 1 + k] for k in (-2, -1, 1, 2)]).max(0)
    rows, columns = np.nonzero((inner >= highest) & (inner > CONTRAST_MIN / 6))
    found = np.stack([rows, columns + REACH], 1)
    if not len(found):
        return found
    left, right = sides(profiles(true, found))
    step = np.abs(left.mean(1) - right.mean(1))
    good = (step > CONTRAST_MIN) & (left.std(1) < FLAT_MAX) & (right.std(1) < FLAT_MAX)
    found = found[good]
    return found[:: max(1, len(found) // EDGES_MAX)]


def profiles(frame: Luma, places: NDArray[np.int64]) -> Luma:
    """(n, 2 * REACH + 2) luminance across each edge."""
    offsets = np.arange(-REACH, REACH + 2)
    return frame[places[:, :1], places[:, 1:] + offsets]


def sides(profile: Luma) -> tuple[Luma, Luma]:
    return profile[:, :FLAT], profile[:, -FLAT:]


def widths(profile: Luma) -> Luma:
    """Pixels in which each edge would rise from 10 to 90% at its steepest slope."""
    left, right = sides(profile)
    step = np.abs(left.mean(1) - right.mean(1))
    return 0.8 * step / np.maximum(np.abs(np.diff(profile, axis=1)).max(1), 1e-6)


def overshoots(profile: Luma) -> Luma:
    """How far each profile leaves the range of its two sides, as a share of the step."""
    left, right = (side.mean(1) for side in sides(profile))
    low, high = np.minimum(left, right), np.maximum(left, right)
    inner = profile[:, FLAT:-FLAT]
    beyond = np.maximum(inner.max(1) - high, low - inner.min(1))
    return np.maximum(beyond, 0) / np.maximum(high - low, 1e-6)


def fine_band(frame: Luma) -> Luma:
    """What is finer than a quarter of the sampling rate."""
    x = torch.from_numpy(frame)[None, None]
    coarse = F.interpolate(F.avg_pool2d(x, 2), scale_factor=2, mode="bilinear")
    fine: Luma = (x - coarse)[0, 0].numpy()
    return fine


def pairs(world: Any) -> list[tuple[Luma, Luma]]:
    """The same moments of the world and of the stage."""
    stage, found = StageWorld(HEIGHT, WIDTH), []
    for prompt in PROMPTS:
        frames = []
        for each in (world, stage):
            each.reset(0)
            controls = Controls(each.encode(Prompt(prompt)).values, acts={"pose": 1.0}, dt=0.05)
            for _ in range(FRAMES):
                frame = each.step(controls)
            frames.append(luma(torch.as_tensor(frame)[0].cpu()))
        found.append((frames[0], frames[1]))
    return found


def rows(world: Any) -> list[Row]:
    ours, true, beyond, error = [], [], [], []
    for frame, stage in pairs(world):
        places = edges(stage)
        if len(places):
            found = profiles(frame, places)
            left, right = (side.mean(1) for side in sides(found))
            kept = np.abs(left - right) > CONTRAST_MIN / 2  # an edge that is drawn elsewhere has no width here
            ours.append(widths(found)[kept])
            true.append(widths(profiles(stage, places))[kept])
            beyond.append(overshoots(found)[kept])
        error.append(float(((fine_band(frame) - fine_band(stage)) ** 2).mean()))
    ratio = float(np.median(np.concatenate(ours)) / np.median(np.concatenate(true)))
    over = float(np.median(np.concatenate(beyond)))
    band = float(-10 * np.log10(max(float(np.mean(error)), 1e-12)))
    detail = {
        "edges": len(np.concatenate(ours)), "width_px": float(np.median(np.concatenate(ours))),
        "true_width_px": float(np.median(np.concatenate(true))),
    }  # fmt: skip
    return [
        Row("sharpness: width of edges, times the true one", ratio, WIDTH_MAX, at_most=True, truth=1.0, detail=detail),
        Row("sharpness: overshoot beside edges", over, OVERSHOOT_MAX, at_most=True, unit="%"),
        Row("sharpness: finest band", band, 38.0, unit="dB"),
    ]
