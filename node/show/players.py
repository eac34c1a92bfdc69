"""Who plays beside the performer: gamepads, keyboards and phones, and what they may reach."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator
from worldjockey.model.spec import ACTS, CAMERA_AXES

from ..parameters import EVENT, find
from ..timing.tempo import Span
from .fields import ShowModel, none_if_off
from .gamepad import Button
from .pads import Length

Mode = Literal["turns", "average", "each"]
Keys = Literal["wasd", "arrows"]
SEATS_MAX = 16
GROUPS = {
    "camera": tuple(f"cam/{axis}" for axis in CAMERA_AXES),
    "act": tuple(f"act/{act}" for act in ACTS),
}  # what `allow` may name besides "events" and single parameters
DEFAULT_BUTTONS: Mapping[Button, str] = {"a": "act/jump", "b": "act/dance", "x": "act/wave", "y": "act/run"}
# What the keys of a set are on a gamepad: a button, or an axis and its value.
KEY_SETS: Mapping[Keys, Mapping[str, str | tuple[str, float]]] = {
    "wasd": {
        "w": ("forward", 1.0), "s": ("forward", -1.0), "a": ("yaw", -1.0), "d": ("yaw", 1.0), " ": "a", "e": "b",
        "q": "x", "r": "y",
    },
    "arrows": {
        "arrowup": ("forward", 1.0), "arrowdown": ("forward", -1.0), "arrowleft": ("yaw", -1.0),
        "arrowright": ("yaw", 1.0), "enter": "a", "backspace": "b", ".": "x", ",": "y",
    },
}  # fmt: skip


def _list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


class Players(ShowModel):
    """A show with `players:` lets gamepads, keyboards and phones play.

    seats: players at once. mode: turns, one after another; average, all together: the mean of the sticks, and the act
    that most press; each, a figure each, for worlds that have several. turn: its length, in seconds or as in "8 bars".
    idle: seconds of a player's own time without a movement, after which the seat is free. allow: what they reach, of
    camera, act and events, or single parameters as in cam/yaw, act/jump and event/hit. gamepads: all, off, or names of
    those that are players'; others stay the performer's. keys: sets of keys that are players', as in {1: wasd, 2:
    arrows}. phones: whether they play by the page /play of the audience's server. buttons: what a player's buttons do.
    """

    enabled: bool = True
    seats: int = Field(default=4, ge=1, le=SEATS_MAX)
    mode: Mode = "turns"
    turn: Length = Field(default=Span(20.0))
    idle: float = Field(default=60.0, ge=1, le=3600)
    allow: Annotated[list[str], BeforeValidator(_list)] = Field(default=["camera", "act", "events"], min_length=1)
    gamepads: Literal["all"] | Annotated[list[str], BeforeValidator(_list)] | None = "all"
    keys: dict[int, Keys] = Field(default={})
    phones: bool = False
    buttons: dict[Button, str] = Field(default={})

    @field_validator("gamepads", mode="before")
    @classmethod
    def _gamepads(cls, value: Any) -> Any:
        value = none_if_off(value)
        return "all" if value is True else value

    @field_validator("turn")
    @classmethod
    def _lasts(cls, turn: Span | None) -> Span:
        if turn is None or turn.amount < 1:
            raise ValueError("a turn lasts 1 second or 1 beat at least, as in `turn: 20` or `turn: 8 bars`")
        return turn

    @field_validator("allow")
    @classmethod
    def _allowed(cls, allow: list[str]) -> list[str]:
        for name in allow:
            if name not in (*GROUPS, "events") and not name.startswith(("cam/", "act/", EVENT)):
                raise ValueError(
                    f"{name[:60]!r} is nothing that players reach: use camera, act, events, or names of these"
                )
            if "/" in name and find(name) is None:
                raise ValueError(f"there is no parameter {name[:60]!r}")
        return allow

    @field_validator("buttons")
    @classmethod
    def _buttons(cls, buttons: dict[Button, str]) -> dict[Button, str]:
        for target in buttons.values():
            if find(target) is None or not target.startswith(("act/", EVENT)):
                raise ValueError(
                    f"a player's button does an act or an event, as in act/jump or event/hit, not {target!r}"
                )
        return buttons

    @model_validator(mode="after")
    def _keys_fit(self) -> Players:
        if len(set(self.keys.values())) < len(self.keys):
            raise ValueError("two players have the same keys: give one wasd, and the other arrows")
        return self

    @property
    def does(self) -> dict[str, str]:
        """What each button does."""
        return {str(button): to for button, to in {**DEFAULT_BUTTONS, **self.buttons}.items()}

    def reach(self, events: Iterable[str]) -> frozenset[str]:
        """The names of all parameters that players can move. events: names of the show's events."""
        found: set[str] = set()
        for name in self.allow:
            found |= set(GROUPS.get(name, (name,)))
        if "events" in found:
            found = found - {"events"} | {EVENT + event for event in events}
        return frozenset(found)

    def plays(self, gamepad: str) -> bool:
        """Whether a gamepad of that name is a player's."""
        if isinstance(self.gamepads, list):
            return any(name.lower() in gamepad.lower() for name in self.gamepads)
        return self.gamepads == "all"
