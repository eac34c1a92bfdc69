"""Which MIDI message moves which parameter: the show's own mappings over a default that fits common controllers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator
from worldjockey.model.spec import ACTS, CAMERA_AXES

from .parameters import PADS, Parameter, find, nearest

FIRST_PAD_NOTE = 36  # C1, the lower left pad of most pad controllers
FIRST_CAMERA_CC = 20  # 20..31 are undefined in the MIDI 1.0 specification
FIRST_ACT_NOTE = 60

Source = Literal["note", "cc", "pitchbend", "program", "aftertouch"]


class MidiMapping(BaseModel):
    """One line of a show's `midi` list.

    Exactly one of note, cc, pitchbend, program, aftertouch says what is listened to. `to: null` silences a default.
    low, high: what the message's ends become; without them the parameter's own range. An exact centre (CC 64, a
    pitch wheel at rest) becomes the exact middle, so `low: -1` on a fader of 0..1 gives a wheel that rests at 0.
    value: what a press sends, for a cue's name or a prompt's text.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    note: int | None = Field(default=None, ge=0, le=127)
    cc: int | None = Field(default=None, ge=0, le=127)
    pitchbend: bool = False
    program: int | Literal["any"] | None = None
    aftertouch: bool = False
    to: str | None
    channel: int | None = Field(default=None, ge=1, le=16)
    device: str | None = None
    low: float | None = None
    high: float | None = None
    value: str | float | None = None

    @field_validator("to")
    @classmethod
    def _known(cls, to: str | None) -> str | None:
        if to is not None and find(to) is None:
            raise ValueError(f"there is no parameter {to!r}{nearest(to)}; `wj reference` lists them all")
        return to

    @field_validator("program")
    @classmethod
    def _program(cls, program: int | str | None) -> int | str | None:
        if isinstance(program, int) and not 1 <= program <= 128:
            raise ValueError("a program is 1 to 128, or any")
        return program

    @model_validator(mode="after")
    def _one_source(self) -> MidiMapping:
        given = [self.note is not None, self.cc is not None, self.pitchbend, self.program is not None, self.aftertouch]
        if sum(given) != 1:
            raise ValueError("say exactly one of note, cc, pitchbend: true, program, aftertouch: true")
        p = find(self.to) if self.to else None
        if p and p.kind == "text" and self.value is None:
            raise ValueError(f"{self.to} is a text: add `value: ...` with the text that a press sends")
        return self

    @property
    def source(self) -> tuple[Source, int | None]:
        if self.note is not None:
            return "note", self.note
        if self.cc is not None:
            return "cc", self.cc
        if self.program is not None:
            return "program", None if self.program == "any" else int(self.program) - 1
        return ("pitchbend" if self.pitchbend else "aftertouch"), None

    def rule(self) -> dict[str, Any]:
        """Plain data for the MIDI input, with the parameter's range filled in.

        kind, number, channel, device, target; low and high for a fader; press: what a button sends,
        None for a fader; switch: on from the middle up.
        """
        kind, number = self.source
        rule = {"kind": kind, "number": number, "channel": self.channel, "device": self.device, "target": self.to}
        p = find(self.to) if self.to else None
        low, high = _range(p)
        press: tuple[Any, ...] | None = None
        if self.value is not None:
            press = (self.value,)
        elif p and p.kind == "trigger":
            press = () if p.name == "cue/go" else (1,)
            if kind == "program":
                press = None if p.name == "cue/go" else (1,)
        return {
            **rule,
            "low": low if self.low is None else self.low,
            "high": high if self.high is None else self.high,
            "press": press,
            "switch": bool(p and p.kind == "bool"),
        }


def _range(p: Parameter | None) -> tuple[float, float]:
    if p is None or p.kind in ("bool", "trigger", "text"):
        return 0.0, 1.0
    return (0.0, len(p.choices) - 1.0) if p.kind == "enum" else (p.low, p.high)


DEFAULT: tuple[MidiMapping, ...] = (
    *(MidiMapping(note=FIRST_PAD_NOTE + n, to=f"pad/{n + 1}") for n in range(PADS)),
    *(MidiMapping(note=FIRST_ACT_NOTE + n, to=f"act/{act}") for n, act in enumerate(ACTS)),
    MidiMapping(cc=1, to="energy"),
    MidiMapping(cc=2, to="speed"),
    MidiMapping(cc=7, to="morph"),
    *(MidiMapping(cc=FIRST_CAMERA_CC + n, to=f"cam/{axis}") for n, axis in enumerate(CAMERA_AXES)),
    MidiMapping(cc=25, to="cam/home"),
    MidiMapping(cc=26, to="freeze"),
    MidiMapping(cc=27, to="blackout"),
    MidiMapping(cc=28, to="steps"),
    *(MidiMapping(cc=102 + n, to=f"pad/{n + 1}") for n in range(PADS)),  # 102..119: undefined, free for faders
    MidiMapping(pitchbend=True, to="morph"),
    MidiMapping(program="any", to="cue/go"),
)


def rules(mappings: Iterable[MidiMapping], defaults: bool = True) -> list[dict[str, Any]]:
    """What the MIDI input listens to. A message that a show maps leaves the default, on every channel."""
    own = list(mappings)
    taken = {m.source for m in own}
    rest = [m for m in DEFAULT if m.source not in taken] if defaults else []
    return [m.rule() for m in (*own, *rest) if m.to is not None]


def default_source(name: str) -> str:
    """What plays a parameter by default, for the reference: "note 36, CC 102"; empty if nothing does."""
    words = {"cc": "CC", "pitchbend": "pitch bend", "program": "program change"}
    found = [m.source for m in DEFAULT if m.to == name]
    return ", ".join(words.get(k, k) + (f" {n}" if n is not None else "") for k, n in found)
