"""Mappings from MIDI messages to parameters: the show's own, which take precedence over its controllers' maps."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from ..parameters import Parameter, find, to_switch
from .fields import known_parameter

Source = Literal["note", "cc", "cc14", "nrpn", "bend", "program", "pressure", "poly"]
Byte = Field(default=None, ge=0, le=127)
FADERS = ("cc", "cc14", "nrpn")  # controls that keep their position, which may differ from the parameter's value
SOURCES = "note, cc, cc14, nrpn, pitchbend: true, program, aftertouch: true, polytouch"


class MidiMapping(BaseModel):
    """One line of a show's `midi: map:`, or of a controller's map.

    The message is exactly one of note, cc, cc14 (a controller 0..31 with its fine half 32 higher), nrpn, pitchbend,
    program, aftertouch (of a channel) and polytouch (of a note). to: a parameter; null disables the default mapping.
    low, high: the values at the two ends of the message's range; by default the parameter's own range. An exact centre
    (CC 64, a pitch wheel at rest) gives the exact middle, so a pitch wheel with `low: -1, high: 1` rests at 0.
    value: the value that a press sends, as a cue's name or a prompt's text.
    mode: gate is high while pressed; toggle switches with each press; trigger fires with each press; enum divides a
    fader's travel evenly among the choices, or steps through them with each press; next steps with each press.
    curve: of a fader's travel: exp is fine at the low end, log at the high end, s at both.
    takeover: pickup waits until the fader reaches the value, scale moves the value in proportion, jump takes the
    fader's position at once.
    relative: an encoder's coding of one tick up and down (twos: 1, 127; signed: 1, 65; offset: 65, 63). speed: how far
    a tick goes.
    light: "value" for rings and motor faders, or a list from off to full, each a velocity or [velocity, channel].
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    note: int | None = Byte
    cc: int | None = Byte
    cc14: int | None = Field(default=None, ge=0, le=31)
    nrpn: int | None = Field(default=None, ge=0, le=16382)
    pitchbend: bool = False
    program: int | Literal["any"] | None = None
    aftertouch: bool = False
    polytouch: int | None = Byte
    to: str | None
    channel: int | None = Field(default=None, ge=1, le=16)
    device: str | None = None
    low: float | None = None
    high: float | None = None
    value: str | float | None = None
    mode: Literal["fader", "gate", "toggle", "trigger", "enum", "next"] | None = None
    curve: Literal["linear", "log", "exp", "s"] = "linear"
    takeover: Literal["pickup", "scale", "jump"] | None = None
    relative: Literal["twos", "signed", "offset"] | None = None
    speed: float = Field(default=1.0, ge=-64, le=64)
    light: Literal["value"] | list[int | list[int]] | None = None

    @model_validator(mode="before")
    @classmethod
    def _value_of_its_kind(cls, data: Any) -> Any:
        """`value: on` is a number to whatever takes one."""
        if isinstance(data, dict) and isinstance(data.get("value"), str):
            p = find(str(data.get("to")))
            if p is not None and p.kind in ("bool", "float", "int"):
                with contextlib.suppress(ValueError):
                    return {**data, "value": to_switch(data["value"])}
        return data

    @field_validator("to")
    @classmethod
    def _known(cls, to: str | None) -> str | None:
        return None if to is None else known_parameter(to).name

    @field_validator("program")
    @classmethod
    def _program(cls, program: int | str | None) -> int | str | None:
        if isinstance(program, int) and not 1 <= program <= 128:
            raise ValueError(f"program is {program}: use 1 to 128, or any")
        return program

    @field_validator("light")
    @classmethod
    def _light(cls, light: Any) -> Any:
        for level in light if isinstance(light, list) else []:
            velocity, channel = (*level, 1, 0)[:2] if isinstance(level, list) else (level, 1)
            if not (0 <= velocity <= 127 and 1 <= channel <= 16) or (isinstance(level, list) and len(level) != 2):
                raise ValueError(f"a light takes 0 to 127, or that and a channel as in [21, 7], not {level}")
        if light == []:
            raise ValueError("light needs at least one level, which is the light's when it is off")
        return light

    @model_validator(mode="after")
    def _fits(self) -> MidiMapping:
        numbers = (self.note, self.cc, self.cc14, self.nrpn, self.program, self.polytouch)
        if sum(n is not None for n in numbers) + self.pitchbend + self.aftertouch != 1:
            raise ValueError(f"a mapping needs exactly one of {SOURCES}")
        p = find(self.to) if self.to else None
        if p and p.kind == "text" and self.value is None:
            raise ValueError(f"{self.to} is a text: add `value: ...` with the text that a press is to send")
        if self.relative is not None and self.cc is None:
            raise ValueError("relative is for an encoder: it needs cc")
        if p and p.kind != "trigger" and self.mode == "trigger" and self.value is None:
            raise ValueError(f"{self.to} has a value: add `value: ...` with the value that the trigger is to send")
        if p and p.kind in ("trigger", "text") and self.mode not in (None, "trigger"):
            raise ValueError(f"{self.to} is a {p.kind}, which is fired by each press: remove `mode: {self.mode}`")
        return self

    @property
    def source(self) -> tuple[Source, int | None]:
        if self.program is not None:
            return "program", None if self.program == "any" else int(self.program) - 1
        numbered: dict[Source, int | None] = {
            "note": self.note, "cc": self.cc, "cc14": self.cc14, "nrpn": self.nrpn, "poly": self.polytouch,
        }  # fmt: skip
        for kind, number in numbered.items():
            if number is not None:
                return kind, number
        return ("bend" if self.pitchbend else "pressure"), None

    def rule(self, takeover: str = "pickup", default: bool = False) -> dict[str, Any]:
        """The fields of the MIDI input's `Rule` (integrations/midi/rules.py), the parameter's own range filled in.

        takeover: of faders that set none. default: a controller's map may replace the rule.
        """
        kind, number = self.source
        p = find(self.to) if self.to else None
        low, high = _range(p)
        fader = kind in FADERS and self.relative is None and self.mode in (None, "fader", "enum")
        rule = {
            "kind": kind, "number": number, "channel": self.channel, "device": self.device, "target": self.to,
            "low": low if self.low is None else self.low, "high": high if self.high is None else self.high,
            "press": self._press(p), "switch": bool(p and p.kind == "bool" and self.mode in (None, "fader")),
            "mode": "fader" if self.mode in (None, "trigger") else self.mode, "curve": self.curve,
            "takeover": (self.takeover or takeover) if fader else (self.takeover or "jump"),
            "relative": self.relative, "speed": self.speed, "light": self.light, "default": default,
        }  # fmt: skip
        if p is not None and p.kind in ("float", "int"):
            rule |= {"least": p.low, "most": p.high, "whole": p.kind == "int"}
        if p is not None and p.kind == "enum":
            rule |= {"least": 0, "most": len(p.choices) - 1, "choices": p.choices}
        family, _, member = (self.to or "").rpartition("/")
        owner = find(family) if family else None
        if p is not None and p.kind == "trigger" and owner is not None and member in owner.choices:
            rule |= {"watch": family, "shows": member}
        elif self.value is not None:
            rule |= {"shows": self.value}
        return rule

    def _press(self, p: Parameter | None) -> tuple[Any, ...] | None:
        """The arguments that a button sends with each press; None for a control that is moved."""
        if self.value is not None:
            return (self.value,)
        if p is None or p.kind != "trigger":
            return None
        if p.name == "cue/go":
            return None if self.program is not None else ()
        return (1,)


def _range(p: Parameter | None) -> tuple[float, float]:
    if p is None or p.kind in ("bool", "trigger", "text"):
        return 0.0, 1.0
    return (0.0, len(p.choices) - 1.0) if p.kind == "enum" else (p.low, p.high)


def compose(target: str, source: Mapping[str, Any]) -> dict[str, Any]:
    """The rule of a learned mapping, as `learned` makes it. ValueError, with the reason, for an impossible one."""
    return learned(target, source).rule()


def learned_line(target: str, source: Mapping[str, Any]) -> dict[str, Any]:
    """The line of a show's `midi: map:` for a control that was moved. A fader chooses evenly among choices, and a press
    the next one. source: the fields that name the control (note, cc, channel, device, ...)."""
    p = find(target)
    choosing = {"mode": "enum"} if p is not None and p.kind == "enum" and "program" not in source else {}
    return {**source, **choosing, "to": target}


def learned(target: str, source: Mapping[str, Any]) -> MidiMapping:
    """The mapping of `learned_line`. ValueError, with the reason, for an impossible one."""
    from pydantic import ValidationError

    try:
        return MidiMapping(**learned_line(target, source))
    except ValidationError as error:
        raise ValueError(error.errors(include_url=False)[0]["msg"].removeprefix("Value error, ")) from None
