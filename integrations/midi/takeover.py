"""Soft takeover: how a fader whose position is not the parameter's value takes it over without a jump. Pure.

All in positions of the fader, 0..1: where it was, where it is, and where the present value would have it.
"""

from __future__ import annotations

from typing import Literal

Takeover = Literal["pickup", "scale", "jump"]
NEAR = 1.5 / 127  # from here on a fader is at the value: one step of 7 bits, and what rounding may cost
MOST = 4.0  # times as far as the hand that `scale` moves the value at most


def pickup(before: float | None, now: float, value: float, near: float = NEAR) -> float | None:
    """The value's new position: the fader's, once it has reached or crossed the value; None while it has not.

    The value never moves further than the hand did, nor against it (`near` aside). One that is outside the fader's
    range has the place of the nearer end.
    """
    crossed = before is not None and (before - value) * (now - value) <= 0
    return now if crossed or abs(now - value) <= near else None


def scale(before: float | None, now: float, value: float, near: float = NEAR) -> float | None:
    """The value's new position: it moves with the hand at once, so much faster or slower that both reach the end
    together; never more than MOST times as far as the hand. None for the first move, which tells where the hand is."""
    if abs(now - value) <= near:
        return now
    if before is None or before == now:
        return None
    room, way = (1 - value, 1 - before) if now > before else (value, before)
    return min(max(value + (now - before) * min(room / way, MOST), 0.0), 1.0)
