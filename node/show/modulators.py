"""The modulators of a show file, one line each."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, field_validator, model_validator

from ..parameters import Parameter, find, nearest
from ..timing.oscillators import Modulator
from ..timing.tempo import Span
from .fields import known_parameter

Shape = Literal["sine", "triangle", "saw", "square", "random", "sample-and-hold", "envelope"]


def targets_of(text: str) -> tuple[Parameter, ...]:
    """The parameters of a list as in "energy, cam/yaw". ValueError, with an example, for one that cannot be moved."""
    found = []
    for name in filter(None, (part.strip() for part in text.split(","))):
        p = known_parameter(name)
        if p.kind != "float" or p.local:
            raise ValueError(f"a modulator moves faders of the world, such as energy or cam/yaw, not {name}")
        found.append(p)
    return tuple(found)


Length = Annotated[Span, BeforeValidator(Span.parse), PlainSerializer(str)]


class ModulatorLine(BaseModel):
    """One of a show's `modulators`, which are mod/1, mod/2, ... in the order of the file.

    Everything but phase, times and `fire` can be changed live.
    rate: cycles a second, or beats: beats a cycle. phase: the point of its wave at which it starts, in cycles.
    to: one or several parameters. attack, decay, release: lengths of an envelope; sustain: its level.
    fire: parameters that start the envelope: triggers, or faders when they pass the middle.
    """

    model_config = ConfigDict(extra="forbid", str_strip_whitespace=True)

    name: str = ""
    shape: Shape = "sine"
    rate: float | None = Field(default=None, ge=0, le=20)
    beats: float | None = Field(default=None, gt=0, le=256)
    depth: float = Field(default=0.5, ge=-1, le=1)
    offset: float = Field(default=0.0, ge=-1, le=1)
    phase: float = Field(default=0.0, ge=-1, le=1)
    to: str | list[str]
    attack: Length = Span(0.01)
    decay: Length = Span(0.2)
    sustain: float = Field(default=0.0, ge=0, le=1)
    release: Length = Span(0.3)
    fire: list[str] = []

    @field_validator("to")
    @classmethod
    def _to(cls, to: str | list[str]) -> str:
        text = to if isinstance(to, str) else ", ".join(to)
        if not targets_of(text):
            raise ValueError("name at least one fader to move, as in `to: energy`")
        return text

    @field_validator("fire", mode="before")
    @classmethod
    def _fire(cls, fire: Any) -> Any:
        names = [fire] if isinstance(fire, str) else fire
        for name in names if isinstance(names, list) else ():
            p = find(str(name))
            if p is None or p.kind in ("text", "enum"):
                raise ValueError(f"{name!r} is neither a trigger nor a fader{nearest(str(name)) if p is None else ''}")
        return names

    @model_validator(mode="after")
    def _fits(self) -> ModulatorLine:
        if self.rate is not None and self.beats is not None:
            raise ValueError("use rate (cycles a second) or beats (beats a cycle), not both")
        if self.shape == "envelope" and (self.rate is not None or self.beats is not None):
            raise ValueError("an envelope has attack, decay, sustain and release: remove rate and beats")
        return self

    def values(self, n: int) -> dict[str, Any]:
        """The values with which the parameters mod/<n>/... start."""
        start = {
            "to": str(self.to), "shape": self.shape, "depth": self.depth, "offset": self.offset,
            "rate": 1.0 if self.rate is None else self.rate,
            "beats": 0.0 if self.rate is not None else self.beats or 4.0,
        }  # fmt: skip
        return {f"mod/{n}/{name}": value for name, value in start.items()}

    def modulator(self, n: int) -> Modulator:
        return Modulator(n, self.attack, self.decay, self.sustain, self.release, frozenset(self.fire), shift=self.phase)
