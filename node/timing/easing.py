"""How a value goes from one to another: easing curves and one-pole smoothing. Pure functions."""

from __future__ import annotations

import math
from typing import Literal

Curve = Literal["linear", "smooth", "exp"]
STEEP = 4.0  # of an exponential way: it is half done after 83% of its time
SETTLED = 1e-5  # a smoothed value this near its target has arrived


def smoothstep(t: float) -> float:
    """0..1 -> 0..1 with no slope at either end."""
    t = min(max(t, 0.0), 1.0)
    return t * t * (3 - 2 * t)


def approach(value: float, target: float, dt: float, smoothing: float) -> float:
    """One-pole smoothing: after `smoothing` seconds 63% of the way is done."""
    if smoothing <= 0:
        return target
    value += (target - value) * -math.expm1(-dt / smoothing)
    return target if abs(target - value) < SETTLED else value


def curved(curve: Curve, t: float) -> float:
    """How far along its way a fader is after the part `t` of its time; 0..1 -> 0..1."""
    match curve:
        case "linear":
            return min(max(t, 0.0), 1.0)
        case "exp":
            return math.expm1(STEEP * min(max(t, 0.0), 1.0)) / math.expm1(STEEP)
    return smoothstep(t)
