"""The figure: a skeleton whose joints are smooth periodic functions of the act's phase."""

from __future__ import annotations

from math import pi

import torch
from torch import Tensor

from .constants import constant
from .geometry import hypot
from .vocabulary import FIGURES

# One row of joints: hip x, hip y, lean, head tilt, then upper/lower angle of left arm, right arm, left leg, right leg.
# Angles in radians from straight down, positive to the figure's right on screen.
JOINTS = 12
TALL, FEET = 1.20, -0.82  # screen units: the figure's height and where it stands, whatever the camera does


def _joints(act: str, phase: Tensor) -> Tensor:
    """(n, JOINTS) of one act at phase (n,) 0..1."""
    a = 2 * pi * phase
    s, c, s2, c2 = a.sin(), a.cos(), (2 * a).sin(), (2 * a).cos()
    o = torch.zeros_like(a)
    match act:
        case "dance":
            rows = [0.14 * s, 0.03 * c2 - 0.03, 0.22 * s, 0.25 * s2,
                    -1.9 - 0.7 * s, -2.6 - 0.6 * c, 1.9 - 0.7 * s, 2.5 + 0.7 * c,
                    -0.30 - 0.25 * s, -0.05 + 0.30 * c2, 0.30 - 0.25 * s, 0.05 - 0.30 * c2]  # fmt: skip
        case "robot":  # locks into four positions, a soft square wave between them
            q, r = torch.tanh(4 * s), torch.tanh(4 * c)
            rows = [0.05 * q, -0.02 + 0.015 * r, 0.10 * q, 0.30 * r,
                    -1.45 - 0.15 * r, -1.45 - 1.55 * q, 1.45 + 0.15 * q, 1.45 - 1.55 * r,
                    -0.28 - 0.10 * q, -0.10 + 0.15 * r, 0.28 - 0.10 * q, 0.10 - 0.15 * r]  # fmt: skip
        case "headbang":
            down = (1 - c) / 2
            rows = [0.01 * s, -0.05 - 0.03 * down, 0.18 + 0.40 * down, -0.25 + 0.95 * down,
                    0.10 + 0.55 * down, 1.30 + 0.30 * down, 0.45 + 0.45 * down, 1.75 + 0.25 * down,
                    -0.42 + o, 0.12 + o, 0.48 + o, -0.22 + o]  # fmt: skip
        case "run":
            rows = [0.02 * s, 0.05 * c2 - 0.03, 0.28 + o, -0.12 + o,
                    1.05 * s, 1.05 * s + 1.45, -1.05 * s, -1.05 * s + 1.45,
                    -0.95 * s, -0.95 * s - 0.75 - 0.75 * c, 0.95 * s, 0.95 * s - 0.75 + 0.75 * c]  # fmt: skip
        case "bow":
            low = ((1 - c) / 2) ** 0.7
            rows = [-0.10 * low, -0.01 + o, 1.25 * low, 0.35 * low,
                    -0.15 + 0.75 * low, 0.05 + 0.45 * low, 0.15 + 1.65 * low, 0.10 + 2.20 * low,
                    -0.10 + 0.08 * low, -0.04 + o, 0.12 + 0.06 * low, 0.02 + o]  # fmt: skip
        case "jump":
            up = (1 - c) / 2
            rows = [o, 0.22 * up - 0.08 * (1 - up), o, o,
                    -0.4 - 2.2 * up, -0.5 - 2.3 * up, 0.4 + 2.2 * up, 0.5 + 2.3 * up,
                    -0.55 + 0.1 * up, 0.35 - 0.75 * up, 0.55 - 0.1 * up, -0.35 + 0.75 * up]  # fmt: skip
        case "wave":
            rows = [0.02 * s, o, 0.05 * s, 0.08 * s,
                    -0.20 + 0.04 * s, -0.12 + 0.04 * s, 2.35 + 0.10 * s, 2.95 + 0.55 * s2,
                    -0.10 + o, -0.06 + o, 0.10 + o, 0.06 + o]  # fmt: skip
        case "cry":
            rows = [0.015 * s2, -0.20 + 0.012 * s2, 0.28 + 0.03 * s, 0.75 + 0.10 * s,
                    0.55 + o, 2.55 + 0.05 * s2, 0.85 + o, 2.75 + 0.05 * s2,
                    0.95 + o, -0.95 + o, 0.35 + o, -1.35 + o]  # fmt: skip
        case "pose":
            rows = [0.02 * s, 0.01 * c - 0.02, -0.08 + 0.02 * s, -0.15 + o,
                    -2.5 + 0.05 * s, -2.75 + 0.05 * s, 1.25 + 0.05 * s, 2.9 + 0.05 * s,
                    -0.42 + o, -0.38 + o, 0.55 + o, -0.25 + o]  # fmt: skip
        case "walk":
            rows = [0.02 * s, 0.02 * c2 - 0.02, 0.08 + o, o,
                    0.55 * s, 0.55 * s + 0.35, -0.55 * s, -0.55 * s + 0.35,
                    -0.52 * s, -0.52 * s - 0.35 - 0.35 * c, 0.52 * s, 0.52 * s - 0.35 + 0.35 * c]  # fmt: skip
        case _:
            rows = [o, 0.01 * s, o, o,
                    -0.15 + o, -0.1 + o, 0.15 + o, 0.1 + o,
                    -0.08 + o, -0.04 + o, 0.08 + o, 0.04 + o]  # fmt: skip
    return torch.stack(rows, -1)


def skeleton(figure: Tensor, phase: Tensor) -> tuple[Tensor, Tensor]:
    """Bones of the figure, standing at the origin, about 1 unit tall, y up.

    figure: (n, 11) act weights. Returns ends (n, 10, 4) as x0, y0, x1, y1 and radii (10, 2) at both ends.
    """
    weights = figure.clone()
    weights[:, FIGURES.index("none")] += 1e-3  # all weights zero still has a shape
    weights = weights / weights.sum(-1, keepdim=True)
    shown = torch.nonzero(weights.amax(0)).flatten().tolist()
    joints = sum(weights[:, i, None] * _joints(FIGURES[i], phase) for i in shown)
    assert isinstance(joints, Tensor)
    hip = torch.stack([joints[:, 0], 0.50 + joints[:, 1]], -1)
    lean, tilt = joints[:, 2], joints[:, 3]
    spine = torch.stack([lean.sin(), lean.cos()], -1)
    side = torch.stack([spine[:, 1], -spine[:, 0]], -1)
    chest = hip + 0.27 * spine
    neck = hip + 0.33 * spine
    head_dir = torch.stack([(lean + tilt).sin(), (lean + tilt).cos()], -1)
    head = neck + 0.075 * head_dir

    def limb(start: Tensor, upper: Tensor, lower: Tensor, length: float) -> tuple[Tensor, Tensor]:
        knee = start + length * torch.stack([upper.sin(), -upper.cos()], -1)
        return knee, knee + length * torch.stack([lower.sin(), -lower.cos()], -1)

    bones = [(hip, chest), (chest, neck), (head, head + 0.03 * head_dir)]
    for k, sign in ((4, -1.0), (6, 1.0)):
        shoulder = chest + sign * 0.075 * side + 0.02 * spine
        elbow, hand = limb(shoulder, joints[:, k], joints[:, k + 1], 0.165)
        bones += [(shoulder, elbow), (elbow, hand)]
    for k, sign in ((8, -1.0), (10, 1.0)):
        top = hip + sign * 0.045 * side
        knee, foot = limb(top, joints[:, k], joints[:, k + 1], 0.24)
        bones += [(top, knee), (knee, foot)]
    ends = torch.stack([torch.cat(b, -1) for b in bones], 1)
    return ends, radii(ends)


RADII = (
    (0.075, 0.088), (0.075, 0.045), (0.064, 0.060), *((0.036, 0.028), (0.028, 0.018)) * 2,
    *((0.060, 0.040), (0.038, 0.024)) * 2,
)  # fmt: skip


def radii(ends: Tensor) -> Tensor:
    """(10, 2) radii at both ends of the bones whose ends are (n, 10, 4)."""
    return constant(RADII, ends)


def _reach(x: Tensor, y: Tensor, end: Tensor, radii: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """From a tapered bone (n, 4), radii (2,), to the points x (1, 1, w), y (1, h, 1): the way there from the nearest
    point of its middle line, as x and y, and the signed distance to its surface, (n, h, w) each."""
    x0, y0, x1, y1 = (end[:, k][:, None, None] for k in range(4))
    dx, dy = x1 - x0, y1 - y0
    t = (((x - x0) * dx + (y - y0) * dy) / (dx * dx + dy * dy)).clamp_(0, 1)
    off_x, off_y = x - x0 - t * dx, y - y0 - t * dy
    return off_x, off_y, hypot(off_x, off_y) - (radii[0] + t * (radii[1] - radii[0]))


def distance(px: Tensor, py: Tensor, ends: Tensor, radii: Tensor) -> Tensor:
    """(n, h, w) signed distance to the union of tapered bones; px (w,), py (h,) in the figure's units."""
    x, y = px[None, None, :], py[None, :, None]
    best = _reach(x, y, ends[:, 0], radii[0])[2]
    for i in range(1, ends.shape[1]):
        best = torch.minimum(best, _reach(x, y, ends[:, i], radii[i])[2])
    return best


def surface(px: Tensor, py: Tensor, ends: Tensor, radii: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The signed distance, and the direction in which the nearest surface faces as x and y; (n, h, w) each."""
    x, y = px[None, None, :], py[None, :, None]
    off_x, off_y, best = _reach(x, y, ends[:, 0], radii[0])
    for i in range(1, ends.shape[1]):
        to_x, to_y, d = _reach(x, y, ends[:, i], radii[i])
        closer = d < best
        best, off_x, off_y = best.minimum(d), torch.where(closer, to_x, off_x), torch.where(closer, to_y, off_y)
    length = hypot(off_x, off_y).clamp_(min=1e-6)
    return best, off_x / length, off_y / length


def carried_by_bones(px: Tensor, py: Tensor, now: Tensor, before: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Where the skeleton `before` had the points that the skeleton `now` has at px (w,) and py (h,), each of them moved
    by its nearest bone: x and y, and whether the point is within the figure; (n, h, w) each."""
    x, y = px[None, None, :], py[None, :, None]
    r = radii(now)
    found: tuple[Tensor, Tensor, Tensor] | None = None
    for i in range(now.shape[1]):
        off_x, off_y, d = _reach(x, y, now[:, i], r[i])
        x0, y0, x1, y1 = (now[:, i, k][:, None, None] for k in range(4))
        was_x0, was_y0, was_x1, was_y1 = (before[:, i, k][:, None, None] for k in range(4))
        dx, dy, was_dx, was_dy = x1 - x0, y1 - y0, was_x1 - was_x0, was_y1 - was_y0
        square = dx * dx + dy * dy
        along = ((x - off_x - x0) * dx + (y - off_y - y0) * dy) / square
        turn_x, turn_y = (dx * was_dx + dy * was_dy) / square, (dx * was_dy - dy * was_dx) / square
        turned_x, turned_y = turn_x * off_x - turn_y * off_y, turn_x * off_y + turn_y * off_x
        here = d, was_x0 + along * was_dx + turned_x, was_y0 + along * was_dy + turned_y
        if found is None:
            found = here
        else:
            closer = d < found[0]
            found = tuple(torch.where(closer, a, b) for a, b in zip(here, found, strict=True))  # type: ignore[assignment]
    assert found is not None
    distance, was_x, was_y = found
    return was_x, was_y, distance < 0


def contact(px: Tensor, py: Tensor, ends: Tensor) -> Tensor:
    """(n, h, w) 0..1: the shadow under the feet, which fades as they leave the ground."""
    shadow = torch.exp(-((px[None, None, :] / 0.30) ** 2) - (py[None, :, None] / 0.030) ** 2)
    lift = 1 - 1.6 * (ends[:, :, 1::2].amin((1, 2)) - 0.02).clamp(0, 0.4)
    return shadow * lift[:, None, None]
