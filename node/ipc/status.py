"""What a process says of itself: bounded, so that it always fits, and plain, so that it can be shown."""

from __future__ import annotations

import json
import unicodedata
from typing import Any

PLAIN_CHARS = 200  # of a text that somebody else chose, as a terminal shows it
_CUTS = ((1000, 256), (200, 64), (60, 16), (20, 4), (10, 0))  # characters of a text and items of a list, ever fewer


def plain_text(text: object, limit: int = PLAIN_CHARS) -> str:
    """One line without control characters (they could move a terminal's cursor), of at most `limit` characters."""
    head = str(text)[: 4 * limit]
    plain = "".join(c if c == " " or unicodedata.category(c)[0] not in "CZ" else " " for c in head).strip()
    return plain if len(plain) <= limit else plain[: limit - 1] + "…"


# Of a mistake in the program, not of anything that a performer can mend.
MISTAKES = (LookupError, AttributeError, TypeError, AssertionError, ArithmeticError, NameError)


def error_text(error: BaseException) -> str:
    """An exception in words. Those of a mistake in the program mean nothing without their kind: `KeyError: 'place'`."""
    kind = type(error).__name__
    if isinstance(error, MISTAKES):
        return f"{kind}: {error}"
    return str(error) or kind


def packed_status(status: dict[str, Any], size: int) -> bytes:
    """As JSON of at most `size` bytes. Where that is too little, long texts and lists are cut, and "truncated" is true;
    state and counters stay."""
    data = json.dumps(status, default=str).encode()
    for chars, items in _CUTS:
        if len(data) <= size:
            return data
        data = json.dumps({**_cut(status, chars, items), "truncated": True}, default=str).encode()
    if len(data) <= size:
        return data
    kept: dict[str, Any] = {"state": str(status.get("state", ""))[:40], "truncated": True}
    for key, value in status.items():
        if isinstance(value, bool | int | float):
            more = {**kept, key: value}
            if len(json.dumps(more).encode()) <= size:
                kept = more
    return json.dumps(kept).encode()


def _cut(value: Any, chars: int, items: int) -> Any:
    if isinstance(value, dict):
        few = list(value.items())[: max(items, 64)]
        return {_cut(str(key), chars, items): _cut(inner, chars, items) for key, inner in few}
    if isinstance(value, list | tuple):
        return [_cut(inner, chars, items) for inner in value[:items]]
    if value is None or isinstance(value, bool | int | float):
        return value
    text = str(value)
    return text if len(text) <= chars else text[: chars - 1] + "…"
