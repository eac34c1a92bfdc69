"""A rate limit that allows short bursts."""

from __future__ import annotations


class TokenBucket:
    """rate: of units a second, on average. burst: units at once, at most. Times are those of time.monotonic()."""

    def __init__(self, rate: float, burst: float) -> None:
        self._rate, self._burst = rate, burst
        self._left, self._at = burst, 0.0

    def spend(self, now: float, units: float = 1.0) -> bool:
        """Take units; False, and nothing is taken, where too few are left."""
        self._fill(now)
        if self._left < units:
            return False
        self._left -= units
        return True

    def borrow(self, now: float, units: float = 1.0) -> float:
        """Take units, and return after how many seconds they are paid for; 0 where the rate allows them now."""
        self._fill(now)
        self._left -= units
        return max(-self._left / self._rate, 0.0)

    def _fill(self, now: float) -> None:
        self._left = min(self._left + max(now - self._at, 0.0) * self._rate, self._burst)
        self._at = now
