"""Easing curves and one-pole smoothing. Pure functions."""

from __future__ import annotations

import math
from typing import Literal

Curve = Literal["linear", "smooth", "exp"]
STEEPNESS = 4.0  # of the curve "exp": half of the change happens in the last 17% of the time
SETTLED_WITHIN = 1e-5  # a smoothed value this near its target is set to it


def smoothstep(t: float) -> float:
    """0..1 -> 0..1 with slope 0 at both ends."""
    t = min(max(t, 0.0), 1.0)
    return t * t * (3 - 2 * t)


def approach(value: float, target: float, dt: float, smoothing: float) -> float:
    """One-pole smoothing: after `smoothing` seconds the value has covered 63% of the distance."""
    if smoothing <= 0:
        return target
    value += (target - value) * -math.expm1(-dt / smoothing)
    return target if abs(target - value) < SETTLED_WITHIN else value


def bent(travel: Literal["linear", "log", "exp", "s"], x: float) -> float:
    """Where a fader's travel leads, 0..1 -> 0..1: exp is fine at the low end, log at the high end, s at both."""
    x = min(max(x, 0.0), 1.0)
    if travel == "log":
        return math.log1p(x * math.expm1(STEEPNESS)) / STEEPNESS
    return curved("smooth" if travel == "s" else travel, x)


def curved(curve: Curve, t: float) -> float:
    """Progress of a transition after the share `t` of its time; 0..1 -> 0..1."""
    # integrations/midi/rules.bent has the same formula: integrations may not import node (tests/test_layers.py).
    match curve:
        case "linear":
            return min(max(t, 0.0), 1.0)
        case "exp":
            return math.expm1(STEEPNESS * min(max(t, 0.0), 1.0)) / math.expm1(STEEPNESS)
    return smoothstep(t)
