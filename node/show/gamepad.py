"""What the sticks and buttons of a gamepad do."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, Literal, get_args

from pydantic import Field, field_validator, model_validator

from ..parameters import find
from ..timing.easing import bent
from .fields import ShowModel, known_parameter
from .keys import action

Button = Literal[
    "a", "b", "x", "y", "left_bumper", "right_bumper", "back", "start", "guide", "left_thumb", "right_thumb",
    "dpad_up", "dpad_right", "dpad_down", "dpad_left",
]  # fmt: skip
Axis = Literal["left_x", "left_y", "right_x", "right_y", "left_trigger", "right_trigger"]
BUTTONS, AXES = get_args(Button), get_args(Axis)
Curve = Literal["linear", "log", "exp", "s"]


class GamepadMapping(ShowModel):
    """One line of a show's `gamepad: map:`: exactly one of button and axis, named as on an Xbox controller.

    to: of a button what a key does, as in "act/jump", "cue/go storm" or "pad/3"; of an axis a fader. null switches the
    default off. low, high: the values at the ends of an axis, by default those of the parameter's range. Sticks to the
    right and up are high. curve: of the travel from a stick's rest to its end, and of a trigger. dead: the part of the
    travel around a stick's rest that does nothing.
    """

    button: Button | None = None
    axis: Axis | None = None
    to: str | None
    low: float | None = None
    high: float | None = None
    curve: Curve = "linear"
    dead: Annotated[float, Field(ge=0, le=0.9)] = 0.15

    @field_validator("button", "axis", mode="before")
    @classmethod
    def _as_written(cls, value: Any) -> Any:
        return value.strip().lower().replace(" ", "_").replace("-", "_") if isinstance(value, str) else value

    @model_validator(mode="after")
    def _fits(self) -> GamepadMapping:
        if (self.button is None) == (self.axis is None):
            raise ValueError("a line takes exactly one of button and axis")
        if self.to is None:
            return self
        if self.button is not None:
            action(self.to)
            return self
        p = known_parameter(self.to)
        if p.kind not in ("float", "int"):
            raise ValueError(f"a stick moves a fader, but {self.to} is a {p.kind}: use a button for it")
        return self

    def rule(self) -> dict[str, Any]:
        """The fields of the gamepad input's `GamepadRule`."""
        if self.button is not None:
            return {"button": self.button, "does": str(self.to)}
        p = find(str(self.to))
        assert p is not None
        assert self.axis is not None
        trigger = self.axis.endswith("trigger")
        low = (max(p.low, 0.0) if trigger and p.low < 0 else p.low) if self.low is None else self.low
        high = p.high if self.high is None else self.high
        return {"axis": self.axis, "target": p.name, "value": lambda x: self._value(x, low, high, trigger)}

    def _value(self, x: float, low: float, high: float, trigger: bool) -> float:
        """x: -1..1 of a stick, 0..1 of a trigger. A stick at rest is exactly in the middle."""
        far = max(abs(x) - self.dead, 0.0) / (1 - self.dead)
        way = bent(self.curve, far)
        return low + (way if trigger else 0.5 + (way if x > 0 else -way) / 2) * (high - low)


_AXES: tuple[tuple[Axis, str], ...] = (
    ("left_x", "cam/strafe"), ("left_y", "cam/forward"), ("right_x", "cam/yaw"), ("right_y", "cam/pitch"),
    ("right_trigger", "cam/zoom"),
)  # fmt: skip
_BUTTONS: tuple[tuple[Button, str], ...] = (
    ("a", "cue/go"), ("b", "cue/back"), ("x", "act/dance"), ("y", "act/jump"),
    ("left_bumper", "bank/previous"), ("right_bumper", "bank/next"), ("start", "cam/home"), ("back", "freeze"),
    ("dpad_up", "act/wave"), ("dpad_right", "act/run"), ("dpad_down", "act/bow"), ("dpad_left", "act/none"),
    ("left_thumb", "undo"), ("right_thumb", "tempo/tap"),
)  # fmt: skip
DEFAULT_MAP: tuple[GamepadMapping, ...] = (
    *(GamepadMapping(axis=axis, to=to) for axis, to in _AXES),
    GamepadMapping(axis="left_trigger", to="cam/zoom", low=0.0, high=-1.0),
    *(GamepadMapping(button=button, to=to) for button, to in _BUTTONS),
)


class Gamepad(ShowModel):
    """Gamepads. enabled: listen to every gamepad. map: what differs from the defaults (DEFAULT_MAP)."""

    enabled: bool = True
    map: list[GamepadMapping] = Field(default=[])

    def mappings(self) -> list[GamepadMapping]:
        """The show's own lines, and below them the defaults of all other controls."""
        return whole(self.map)


def whole(own: Iterable[GamepadMapping]) -> list[GamepadMapping]:
    """These lines, and the defaults of the controls that they do not mention; without those that are switched off."""
    lines = list(own)
    mentioned = {(line.button, line.axis) for line in lines}
    lines += [line for line in DEFAULT_MAP if (line.button, line.axis) not in mentioned]
    return [line for line in lines if line.to is not None]
