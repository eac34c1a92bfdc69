"""Events: what happens when a game, a player or a key says that something happened, as in "hit" or "goal"."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from pydantic import Field, field_validator

from ..parameters import EVENT, EVENT_NAME
from .fields import SHORT, ShowModel, check_value, known_parameter, or_refuse

EVENTS_MAX = 64
NEVER = (EVENT, "players/", "preview/", "learn")  # what no event does


class Event(ShowModel):
    """One line of a show's `events`.

    name: a word in lower case; the event is fired by the parameter event/<name>. do: parameters and their values, as in
    {act: jump, sound/onset: 1}; a trigger has no value, or the name that it takes. Without `hold` and `lifetime` the
    values stay. hold: they stand while the event's button is down. lifetime: seconds after which they go back to what
    they were, unless somebody moved them meanwhile; of a held event, the most that it lasts. cooldown: seconds from one
    firing to the next that is obeyed.
    """

    name: str
    do: dict[str, Any] = Field(min_length=1, max_length=32)
    hold: bool = False
    lifetime: float | None = Field(default=None, gt=0, le=3600)
    cooldown: float = Field(default=0.0, ge=0, le=3600)

    @field_validator("name")
    @classmethod
    def _name(cls, name: str) -> str:
        if not EVENT_NAME.fullmatch(name.lower()):
            raise ValueError(f"{name[:40]!r} is no name of an event: use a-z, 0-9, - and _, as in hit or level-2")
        return name.lower()

    @field_validator("do", mode="before")
    @classmethod
    def _lines(cls, do: Any) -> Any:
        """A list of {parameter: value}, or of names of triggers, is taken too."""
        if not isinstance(do, list):
            return do
        found: dict[str, Any] = {}
        for line in do:
            if not isinstance(line, str | dict):
                raise ValueError(f"a line of `do` is a parameter and its value, not {SHORT.repr(line)}")
            found |= {line: None} if isinstance(line, str) else line
        return found

    @field_validator("do")
    @classmethod
    def _known(cls, do: dict[str, Any]) -> dict[str, Any]:
        checked, errors = {}, []
        for name, value in do.items():
            try:
                p = known_parameter(name)
                if p.name.startswith(NEVER):
                    raise ValueError(f"an event cannot play {p.name}")
                if p.kind == "trigger":
                    if value is not None and "name" not in p.takes:
                        raise ValueError(f"{p.name} is a trigger: write nothing behind it")
                    checked[p.name] = value
                else:
                    checked[p.name] = check_value(p.name, value)
            except ValueError as error:
                errors.append(((name,), str(error)))
        return or_refuse(checked, errors)

    def fires(self) -> Iterator[tuple[str, tuple[Any, ...]]]:
        """The triggers that it fires, with their arguments."""
        for name, value in self.do.items():
            if known_parameter(name).kind == "trigger" and not name.startswith("act/"):
                yield name, () if value is None else (value,)

    def values(self) -> Iterator[tuple[str, Any]]:
        """The values that it sets."""
        for name, value in self.do.items():
            if name.startswith("act/"):
                yield "act", name.removeprefix("act/")
            elif known_parameter(name).kind != "trigger":
                yield name, value


def check_names(events: Iterable[Event]) -> None:
    """ValueError where two events have the same name."""
    names = [event.name for event in events]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise ValueError(f"there are two events {twice!r}: rename one")
