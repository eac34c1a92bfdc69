"""What a phone may send: JSON that is checked here, since it may come from anywhere. Pure."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

MESSAGE_BYTES_MAX = 1024
FADERS_MAX = 6
OPTIONS_MAX = 8
NAME_CHARS_MAX = 64
WORD_CHARS_MAX = 80  # before it is cleaned
BUTTONS_MAX = 8
BUTTON_CHARS_MAX = 16
POLL_ID_MAX = 2**53
TOKEN = re.compile(r"[0-9A-Za-z_-]{16,43}")  # a person: random characters that the page made


@dataclass(frozen=True)
class Moved:
    """One fader is at a value, 0..1."""

    name: str
    value: float


@dataclass(frozen=True)
class Vote:
    """poll: its id. option: counted from 0."""

    poll: int
    option: int


@dataclass(frozen=True)
class Word:
    text: str


@dataclass(frozen=True)
class Seat:
    """The person wants to be a player, or no longer."""

    wanted: bool


@dataclass(frozen=True)
class Play:
    """What a player holds: a stick, -1..1 each way, and buttons."""

    axes: tuple[float, float]
    buttons: tuple[str, ...]


Message = Moved | Vote | Word | Seat | Play


def parse(text: str | bytes) -> Message:
    """ValueError for anything that is not one of the five messages."""
    if len(text) > MESSAGE_BYTES_MAX:
        raise ValueError("too long")
    try:
        message = json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        raise ValueError("no JSON") from None
    match message:
        case {"fader": [str(name), int() | float() as value], **rest} if not rest:
            if len(name) <= NAME_CHARS_MAX:
                return Moved(name, number(value, 0.0, 1.0))
        case {"vote": [int(poll), int(option)], **rest} if not rest and not isinstance(poll, bool):
            if 0 <= poll <= POLL_ID_MAX and not isinstance(option, bool) and 0 <= option < OPTIONS_MAX:
                return Vote(poll, option)
        case {"word": str(word), **rest} if not rest and 0 < len(word) <= WORD_CHARS_MAX:
            return Word(word)
        case {"seat": bool(wanted), **rest} if not rest:
            return Seat(wanted)
        case {"play": {"axes": [int() | float() as x, int() | float() as y], "buttons": list(names), **more}, **rest}:
            if not rest and not more:
                return Play((number(x, -1.0, 1.0), number(y, -1.0, 1.0)), buttons(names))
    raise ValueError("unknown message")


def number(value: Any, low: float, high: float) -> float:
    """A number in the range. ValueError for another, and for what is none."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise ValueError("no number in range")
    return float(value)


def buttons(names: Any) -> tuple[str, ...]:
    """ValueError where these are not up to BUTTONS_MAX short texts."""
    if not isinstance(names, list) or len(names) > BUTTONS_MAX:
        raise ValueError("too many buttons")
    if not all(isinstance(name, str) and 0 < len(name) <= BUTTON_CHARS_MAX and name.isprintable() for name in names):
        raise ValueError("no button")
    return tuple(names)


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")
