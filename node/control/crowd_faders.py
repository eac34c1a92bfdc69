"""The faders that an audience moves together. Pure: the moment comes with each call."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from ..show.crowd import CrowdFader

SENT_STEP = 0.004  # of the fader, below which a new value is not sent
SAME = 0.02  # of a parameter's range, by which it may differ from what the audience sent and be untouched


@dataclass
class Moved:
    """One fader: `wish` is the audience's median, None while too few move it; `value` is where it stands. sent: the
    parameter's value as it was sent last, None while the audience has not touched it. before: what it was then. held:
    the performer has it."""

    fader: CrowdFader
    value: float
    wish: float | None = None
    votes: int = 0
    sent: float | None = None
    before: float = 0.0
    held: bool = False

    def advance(self, seconds: float) -> None:
        """Towards the wish at most at the fader's rate; back to rest where there is none."""
        fader = self.fader
        if self.wish is None:
            step = seconds / fader.decay
            self.value += min(max(fader.rest - self.value, -step), step)
        else:
            step = seconds * fader.rate
            self.value += min(max(self.wish - self.value, -step), step)


class CrowdFaders:
    """read: a parameter's present value. send: sets one."""

    def __init__(self, faders: Iterable[CrowdFader], read: Callable[[str], float],
                 send: Callable[[str, float], None]) -> None:  # fmt: skip
        self.moved = {fader.name: Moved(fader, fader.rest) for fader in faders}
        self._read, self._send = read, send
        self._at: float | None = None

    @property
    def values(self) -> dict[str, float]:
        """Where each fader stands, 0 to 1."""
        return {name: moved.value for name, moved in self.moved.items()}

    def wish(self, name: str, median: float, votes: int) -> None:
        if (moved := self.moved.get(name)) is not None:
            moved.votes = votes
            moved.wish = median if votes >= moved.fader.quorum else None

    def silence(self) -> None:
        """Nobody moves anything any more."""
        for moved in self.moved.values():
            moved.wish, moved.votes = None, 0

    def advance(self, now: float, weight: float) -> None:
        """weight: 0 to 1, how far from its rest the audience moves a parameter."""
        seconds, self._at = 0.0 if self._at is None else max(now - self._at, 0.0), now
        for moved in self.moved.values():
            moved.advance(seconds)
            if moved.fader.to is not None:
                self._play(moved, moved.fader.to, weight)

    def _play(self, moved: Moved, to: str, weight: float) -> None:
        low, high = moved.fader.ends()
        span = abs(high - low) or 1.0
        present = float(self._read(to))
        if moved.sent is not None and abs(present - moved.sent) > SAME * span:
            moved.held = True  # somebody else has moved it since
        if moved.held or (moved.sent is None and moved.wish is None):
            return
        rest = moved.fader.rest
        value = low + (rest + (moved.value - rest) * weight) * (high - low)
        if moved.sent is None:
            moved.before = present
        if moved.sent is None or abs(value - moved.sent) > SENT_STEP * span:
            moved.sent = value
            self._send(to, value)

    def give_back(self, to: str = "") -> None:
        """The audience has the parameter again, or all of them."""
        for moved in self.moved.values():
            if to in ("", moved.fader.to):
                moved.held, moved.sent = False, None

    def release(self) -> None:
        """Put back what the audience moved, as it was before, and forget its wishes."""
        self.silence()
        for moved in self.moved.values():
            if moved.sent is not None and not moved.held and moved.fader.to is not None:
                self._send(moved.fader.to, moved.before)
            moved.value, moved.sent, moved.held = moved.fader.rest, None, False
