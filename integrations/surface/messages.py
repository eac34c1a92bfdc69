"""What a page may send by its websocket: JSON that is checked here, since it may come from anywhere. Pure."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

MESSAGE_BYTES_MAX = 64 * 1024
NAME_CHARS_MAX = 128
TEXT_CHARS_MAX = 16 * 1024
NAMES_MAX = 512  # in one message
ARGS_MAX = 8
ID_MAX = 2**53  # beyond that, JavaScript's numbers have gaps
UNKNOWN = 'a message is {"set": ...}, {"fire": ...}, {"hold": ...}, {"release": ...} or {"request": ...}'

Scalar = bool | int | float | str


@dataclass(frozen=True)
class Values:
    """New values of parameters; of each, only the latest matters."""

    values: Mapping[str, Scalar]


@dataclass(frozen=True)
class Fire:
    """A control that is never dropped: a trigger, or a text with the seconds of its transition."""

    name: str
    args: tuple[Scalar | None, ...] = ()


@dataclass(frozen=True)
class Hold:
    """Parameters that the page holds, as with a finger, and the value that each takes when it is let go."""

    rest: Mapping[str, Scalar]


@dataclass(frozen=True)
class Release:
    """Parameters that the page holds no more; it has set them to what they are now."""

    names: tuple[str, ...]


@dataclass(frozen=True)
class Request:
    """id: of the page's own choice, and repeated in the reply. fields: all others of the request, "do" among them."""

    id: int
    fields: Mapping[str, Any]


def is_plain_word(name: str, value: Any) -> bool:
    """Whether it is a word of the weight that all words have. There are endless words, so these are not kept."""
    return value == 1 and name.removeprefix("preview/").startswith("word/")


def parse(text: str) -> Values | Fire | Hold | Release | Request:
    """ValueError, in plain words, for anything that is not one of the five messages."""
    try:
        message = json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        raise ValueError("this is not JSON") from None
    if not isinstance(message, dict) or len(message) != 1:
        raise ValueError(UNKNOWN)
    kind, content = next(iter(message.items()))
    match kind:
        case "set":
            return Values(_values(kind, content))
        case "fire":
            return _fire(content)
        case "hold":
            return Hold(_values(kind, content))
        case "release":
            if not isinstance(content, list) or not 1 <= len(content) <= NAMES_MAX:
                raise ValueError(f'"release" takes a list of 1 to {NAMES_MAX} names')
            return Release(tuple(map(_name, content)))
        case "request":
            return _request(content)
    raise ValueError(UNKNOWN)


def _values(kind: str, content: Any) -> dict[str, Scalar]:
    if not isinstance(content, dict) or not content or len(content) > NAMES_MAX:
        raise ValueError(f'"{kind}" takes 1 to {NAMES_MAX} values by name')
    return {_name(name): _scalar(value) for name, value in content.items()}


def _fire(content: Any) -> Fire:
    if not isinstance(content, list) or not 1 <= len(content) <= 1 + ARGS_MAX:
        raise ValueError(f'"fire" takes a name and at most {ARGS_MAX} arguments')
    return Fire(_name(content[0]), tuple(None if arg is None else _scalar(arg) for arg in content[1:]))


def _request(content: Any) -> Request:
    if not isinstance(content, dict):
        raise ValueError('"request" takes {"id": number, "do": name, ...}')
    number, do = content.get("id"), content.get("do")
    if not isinstance(number, int) or isinstance(number, bool) or not 0 <= number <= ID_MAX:
        raise ValueError('the "id" of a request is a whole number')
    if not isinstance(do, str) or not 1 <= len(do) <= NAME_CHARS_MAX:
        raise ValueError('"do" names what a request asks for')
    return Request(number, {name: value for name, value in content.items() if name != "id"})


def _name(name: Any) -> str:
    if not isinstance(name, str) or not 1 <= len(name) <= NAME_CHARS_MAX:
        raise ValueError(f"a name is a text of 1 to {NAME_CHARS_MAX} characters")
    return name


def _scalar(value: Any) -> Scalar:
    if isinstance(value, str):
        if len(value) > TEXT_CHARS_MAX:
            raise ValueError(f"a text has at most {TEXT_CHARS_MAX} characters")
        return value
    if isinstance(value, bool):
        return value
    if isinstance(value, int | float):
        try:
            if math.isfinite(float(value)):
                return value
        except OverflowError:
            pass
        raise ValueError("a number is finite")
    raise ValueError("a value is a number, a text, true or false")


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")
