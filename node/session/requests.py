"""What the surface asks of a running show, beyond controls: to edit the show, to draw stills, to read a prompt."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

Handler = Callable[..., Any]


class Requests:
    """Handlers of requests, by the name in a request's field "do". They run in a thread of their own, one at a time,
    and so may wait for a disk; what takes the processor for long belongs to another process."""

    def __init__(self) -> None:
        self._handlers: dict[str, Handler] = {}

    def register(self, do: str, handler: Handler) -> None:
        """handler: takes the request's other fields as keywords, and returns what JSON can hold. It raises ValueError
        or OSError, with the fix, for what cannot be done."""
        self._handlers[do] = handler

    def answer(self, request: Mapping[str, Any]) -> Any:
        """Carry out one request. Raises ValueError or OSError, with the fix."""
        fields = {str(name): value for name, value in request.items() if name not in ("id", "do")}
        handler = self._handlers.get(str(request.get("do")))
        if handler is None:
            known = ", ".join(sorted(self._handlers))
            raise ValueError(f"there is no request {str(request.get('do'))[:80]!r}: {known}")
        check_fields(str(request["do"]), handler, fields)
        try:
            return handler(**fields)
        except TypeError as error:
            raise ValueError(f"{request['do']}: {error}") from error


def check_fields(do: str, handler: Handler, fields: Mapping[str, Any]) -> None:
    """ValueError, in words, where a request has a field that its handler does not take, or lacks one."""
    takes = inspect.signature(handler).parameters.values()
    names = [p.name for p in takes if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)]
    if len(names) == len(takes) and (unknown := [name for name in fields if name not in names]):
        raise ValueError(f"{do} has no field {unknown[0][:80]!r}: it takes {', '.join(names) or 'none'}")
    if missing := [p.name for p in takes if p.name in names and p.default is p.empty and p.name not in fields]:
        raise ValueError(f"{do} needs the field {missing[0]!r}: it takes {', '.join(names)}")
