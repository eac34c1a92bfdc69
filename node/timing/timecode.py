"""Timecode: rates, labels as 01:00:12:05, and the seconds that they stand for. Pure functions, after SMPTE ST 12-1.

These are not the `timecode` package's, which reads a label that does not exist as another one: 00:01:00;00 at 29.97
drop frame becomes 00:00:59;28, and frame 99 lies seconds later. A cue must not land elsewhere without a word. The tests
compare the arithmetic with that package's.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

DAY_S = 86400
DROPPED = 2  # labels that drop frame leaves out at the beginning of each minute but every tenth
LABEL = re.compile(r"(\d{1,2}):(\d{1,2}):(\d{1,2})[:;](\d{1,2})")
CLOCK = re.compile(r"(?:(?:(\d{1,3}):)?(\d{1,3}):)?(\d+(?:\.\d*)?|\.\d+)(?: ?(s|sec|seconds|ms))?")
FORMS = "write it as hours:minutes:seconds:frames, as in 01:00:12:05, or with milliseconds, as in 01:00:12.200"


@dataclass(frozen=True)
class Rate:
    """frames: labels in a second. real: frames in a second. drop: whether labels are left out to keep to the clock."""

    name: str
    frames: int
    real: Fraction
    drop: bool = False

    def __str__(self) -> str:
        return self.name


RATES = {
    "24": Rate("24", 24, Fraction(24)),
    "25": Rate("25", 25, Fraction(25)),
    "29.97": Rate("29.97", 30, Fraction(30000, 1001), drop=True),
    "30": Rate("30", 30, Fraction(30)),
}


def count(hours: int, minutes: int, seconds: int, frames: int, rate: Rate) -> int:
    """How many frames lie between midnight and this label. ValueError for a label that the rate does not have."""
    if hours > 23 or minutes > 59 or seconds > 59:
        raise ValueError(f"{hours:02}:{minutes:02}:{seconds:02} is no time of a day: 23:59:59 is the last")
    if frames >= rate.frames:
        raise ValueError(f"there is no frame {frames} at {rate} frames a second: {rate.frames - 1} is the last")
    whole = (hours * 60 + minutes) * 60 + seconds
    if not rate.drop:
        return whole * rate.frames + frames
    if seconds == 0 and frames < DROPPED and minutes % 10:
        raise ValueError(
            f"drop frame leaves out {hours:02}:{minutes:02}:00;{frames:02}: "
            f"the minute begins at {hours:02}:{minutes:02}:00;{DROPPED:02}"
        )
    passed = hours * 60 + minutes
    return whole * rate.frames + frames - DROPPED * (passed - passed // 10)


def seconds(hours: int, minutes: int, secs: int, frames: int, rate: Rate) -> float:
    """Seconds of the clock on the wall between midnight and this label. ValueError as for `count`."""
    return float(count(hours, minutes, secs, frames, rate) / rate.real)


def parts(at: float, rate: Rate) -> tuple[int, int, int, int]:
    """The label (hours, minutes, seconds, frames) of the frame that is shown `at` seconds after midnight; the day
    begins again after 24 hours, and before 0 it is the day before."""
    number = int(at * rate.real + Fraction(1, 1000)) if at >= 0 else -int(-at * rate.real + Fraction(999, 1000))
    if rate.drop:
        ten, one = rate.frames * 600 - 9 * DROPPED, rate.frames * 60 - DROPPED  # frames in as many minutes
        number %= ten * 144
        tens, rest = divmod(number, ten)
        number += 9 * DROPPED * tens + (DROPPED * ((rest - DROPPED) // one) if rest > DROPPED else 0)
    number %= DAY_S * rate.frames
    whole, frames = divmod(number, rate.frames)
    return whole // 3600, whole // 60 % 60, whole % 60, frames


def label(at: float, rate: Rate) -> str:
    """01:00:12:05, or 01:00:12;05 for drop frame."""
    hours, minutes, secs, frames = parts(at, rate)
    return f"{hours:02}:{minutes:02}:{secs:02}{';' if rate.drop else ':'}{frames:02}"


def parse(text: str | float, rate: Rate) -> float:
    """Seconds after midnight of "01:00:12:05" (frames), "01:00:12.2", "1:12.5", "72.5" or "500 ms". ValueError, with
    the reason, for anything else, and for a label that the rate does not have."""
    written = str(text).strip()
    if isinstance(text, int | float) and not isinstance(text, bool) and 0 <= text < DAY_S:
        return float(text)
    if found := LABEL.fullmatch(written):
        hours, minutes, secs, frames = map(int, found.groups())
        return seconds(hours, minutes, secs, frames, rate)
    if not (found := CLOCK.fullmatch(written)):
        raise ValueError(f"{written[:40]!r} is no timecode: {FORMS}")
    hour, minute, rest, unit = found.groups()
    if unit == "ms" and minute:
        raise ValueError(f"{written[:40]!r} is no timecode: {FORMS}")
    if minute and (float(rest) >= 60 or (hour and int(minute) > 59)):
        raise ValueError(f"{written[:40]!r} has more than 59 minutes or seconds: {FORMS}")
    at = int(hour or 0) * 3600 + int(minute or 0) * 60 + float(rest) / (1000 if unit == "ms" else 1)
    if at >= DAY_S:
        raise ValueError(f"{written[:40]!r} is later than a day, which timecode does not have")
    return at


def parse_offset(text: str | float, rate: Rate) -> float:
    """As `parse`, with a sign if need be: "-01:00:00:00" is -3600 seconds."""
    written = str(text).strip()
    sign = -1 if written.startswith("-") else 1
    return sign * parse(written.lstrip("+-") if written[:1] in "+-" else written, rate)
