"""The rate of LTC, which no flag but that of drop frame gives."""

from __future__ import annotations

from .decoder import BITS, LtcFrame

NEAR = 0.02  # by which the speed may differ where nothing but it is known


class RateGuess:
    """ "24", "25", "29.97" or "30": by the drop-frame flag, or the last label before the next second; until one was
    heard by the speed, if it is one of them; else empty."""

    def __init__(self) -> None:
        self._known = ""
        self._before: LtcFrame | None = None

    def feed(self, frame: LtcFrame, sample_rate: float) -> str:
        before, self._before = self._before, frame
        if frame.drop:
            self._known = "29.97"
        elif before is not None and before.reverse == frame.reverse and not before.drop:
            earlier, later = (frame, before) if frame.reverse else (before, frame)
            if later.frames == 0 and later.seconds == (earlier.seconds + 1) % 60 and earlier.frames in (23, 24, 29):
                self._known = str(earlier.frames + 1)
        if (
            self._known
            and (self._known == "29.97") == frame.drop
            and frame.frames < (30 if frame.drop else int(self._known))
        ):
            return self._known
        self._known = ""
        speed = sample_rate / (BITS * frame.cell)
        return next((str(fps) for fps in (24, 25, 30) if abs(speed / fps - 1) < NEAR and frame.frames < fps), "")
