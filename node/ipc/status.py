"""Statuses and messages of processes: bounded in size, and without control characters."""

from __future__ import annotations

import json
import unicodedata
from typing import Any

PLAIN_CHARS = 200
_CUTS = ((1000, 256), (200, 64), (60, 16), (20, 4), (10, 0))  # characters of a text and items of a list, at most


def plain_text(text: object, limit: int = PLAIN_CHARS) -> str:
    """One line without control characters (they could move a terminal's cursor), of at most `limit` characters."""
    head = str(text)[: 4 * limit]
    plain = "".join(c if c == " " or unicodedata.category(c)[0] not in "CZ" else " " for c in head).strip()
    return plain if len(plain) <= limit else plain[: limit - 1] + "…"


# Of a mistake in the program, not of anything that a performer can mend.
MISTAKES = (LookupError, AttributeError, TypeError, AssertionError, ArithmeticError, NameError)


def error_text(error: BaseException) -> str:
    """An exception as a message. Errors of the program itself get their type, as in `KeyError: 'place'`."""
    kind = type(error).__name__
    if isinstance(error, MISTAKES):
        return f"{kind}: {error}"
    if isinstance(error, OSError) and error.strerror:  # without "[Errno 28]"
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return str(error) or kind


def packed_status(status: dict[str, Any], size: int) -> bytes:
    """The status as JSON of at most `size` bytes. A larger one gets shorter texts and lists, and "truncated": true; the
    state and the counters stay."""
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
