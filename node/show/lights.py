"""What a lighting desk plays: the node as a fixture with its channels, and channels of a show's own patch."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from ..parameters import PADS, PARAMETERS, Parameter, find
from ..timing.easing import bent
from .fields import ShowModel, known_parameter

CHANNELS = 512
Bits = Literal[8, 16]
Mode = Literal["basic", "full"]
Curve = Literal["linear", "log", "exp", "s"]
CUES_MAX = 255  # that one channel can choose
REST = 1 / 255  # on each side of the middle
Values = Callable[[float], tuple[Any, ...] | None]


@dataclass(frozen=True)
class FixtureChannel:
    """One function of the fixture. name: as a desk shows it. bits: of its value. attribute: GDTF's name for it.
    home: the value of 0..1 that a desk begins with. slots: named ranges of an 8-bit value, (first, last, name)."""

    name: str
    target: str
    bits: Bits
    doc: str
    attribute: str
    low: float = 0.0
    high: float = 1.0
    home: float = 0.0
    slots: tuple[tuple[int, int, str], ...] = ()

    @property
    def values(self) -> Values:
        return chosen(self.slots, find(self.target)) if self.slots else moved(self.low, self.high)


def moved(low: float, high: float, curve: Curve = "linear") -> Values:
    """The arguments of a fader for a channel's value of 0..1. The two middle values of 8 bits are exactly the middle of
    a fader with two sides: a camera must be able to rest."""
    rests = low < 0 < high or high < 0 < low

    def values(x: float) -> tuple[float]:
        return ((low + high) / 2 if rests and abs(x - 0.5) < REST else low + bent(curve, x) * (high - low),)

    return values


def stepped(low: float, high: float, curve: Curve) -> Values:
    """As `moved`, in whole numbers."""
    return lambda x: (round(low + bent(curve, x) * (high - low)),)


def pressed(*args: Any) -> Values:
    """The arguments of a button, which is down in the upper half."""
    return lambda x: args if x >= 0.5 else None


def chosen(slots: tuple[tuple[int, int, str], ...], p: Parameter | None) -> Values:
    """The arguments for the slot in which an 8-bit value lies: a number for a cue or a bank, a name for an enum."""
    numbered = p is None or p.kind != "enum"

    def values(x: float) -> tuple[Any, ...] | None:
        raw = round(x * 255)
        for number, (first, last, name) in enumerate(slots, 1):
            if first <= raw <= last:
                return (number,) if numbered else (name,)
        return None  # the lowest values choose nothing

    return values


def _bands(names: list[str], width: int) -> tuple[tuple[int, int, str], ...]:
    """Slots of equal width from value `width` on; below it nothing is chosen."""
    return tuple((width * n, width * n + width - 1, name) for n, name in enumerate(names, 1))


_BASIC = ("energy", "speed", "morph", "cam/strafe", "cam/forward", "cam/yaw", "cam/pitch", "cam/zoom")
_NAMES = {"cam/strafe": "Strafe", "cam/forward": "Forward", "cam/yaw": "Pan", "cam/pitch": "Tilt", "cam/zoom": "Zoom"}
_ATTRIBUTES = {"cam/yaw": "Pan", "cam/pitch": "Tilt", "cam/zoom": "Zoom"}
_FULL = ("guidance", "transition", "live/look", "live/strength", "paint/strength", "sound/level", "sound/bass",
         "sound/treble", "tempo")  # fmt: skip


def _fader(name: str, bits: Bits) -> FixtureChannel:
    p = PARAMETERS[name]
    home = (float(p.default) - p.low) / (p.high - p.low)
    shown = _NAMES.get(name) or name.replace("/", " ").capitalize()
    return FixtureChannel(shown, name, bits, p.doc, _ATTRIBUTES.get(name, "Control"), p.low, p.high, home)


def fixture(mode: Mode) -> Iterator[FixtureChannel]:
    """The fixture's functions, in the order of their channels. "basic" has 8-bit faders; "full" has 16 bits for what
    moves slowly, and more of them."""
    bits: Bits = 8 if mode == "basic" else 16
    yield FixtureChannel("Dimmer", "blackout", bits, "the program's brightness: 0 is black", "Dimmer", 1.0, 0.0, 1.0)
    yield FixtureChannel("Cue", "cue/go", 8, "fire a cue by its number in the show; 0 is none", "Control",
                         slots=tuple((n, n, f"Cue {n}") for n in range(1, CUES_MAX + 1)))  # fmt: skip
    acts = list(PARAMETERS["act"].choices)
    yield FixtureChannel("Act", "act", 8, "what the figure does", "Control", slots=_bands(acts, 255 // (len(acts) + 1)))
    yield FixtureChannel("Bank", "bank", 8, "the bank whose prompts lie on the pads", "Control",
                         slots=_bands([f"Bank {n}" for n in range(1, 17)], 15))  # fmt: skip
    for name in (*_BASIC, *(_FULL if mode == "full" else ())):
        yield _fader(name, bits)
    for n in range(1, PADS + 1):
        p = PARAMETERS[f"pad/{n}"]
        yield FixtureChannel(f"Pad {n}", p.name, bits, p.doc, "Intensity", p.low, p.high, 0.0)


def length(mode: Mode) -> int:
    """Channels that the fixture takes."""
    return sum(channel.bits // 8 for channel in fixture(mode))


def addressed(mode: Mode, start: int) -> Iterator[tuple[int, FixtureChannel]]:
    """Each function with its (coarse) channel. start: the channel of the first one."""
    for channel in fixture(mode):
        yield start, channel
        start += channel.bits // 8


class LightChannel(ShowModel):
    """One line of a show's `lights: patch:`: a channel that plays a parameter.

    universe: by default that of `lights`. channel: 1 to 512; with `bits: 16` the coarse one, and the next is the fine
    one. to: the parameter. low, high: the values at 0 and at full, by default the ends of the parameter's range. value:
    what a press sends, as a cue's name or a prompt's text. curve: of the way from low to high.
    """

    universe: int | None = Field(default=None, ge=0, le=63_999)
    channel: int = Field(ge=1, le=CHANNELS)
    bits: Bits = 8
    to: str
    low: float | None = None
    high: float | None = None
    value: str | float | None = None
    curve: Curve = "linear"

    @model_validator(mode="after")
    def _fits(self) -> LightChannel:
        p = known_parameter(self.to)
        if p.kind == "text" and self.value is None:
            raise ValueError(f"{self.to} is a text: add `value: ...` with the text that a press is to send")
        if self.channel + self.bits // 8 - 1 > CHANNELS:
            raise ValueError("a channel of 16 bits takes two, and 512 is the last: begin at 511 at most")
        return self

    def rule(self, universe: int) -> dict[str, Any]:
        """The fields of the lights input's `ChannelRule`."""
        p = known_parameter(self.to)
        where = {
            "universe": universe if self.universe is None else self.universe, "channel": self.channel,
            "bits": self.bits, "target": p.name, "label": p.name,
        }  # fmt: skip
        if self.value is not None or p.kind == "trigger":
            return where | {"values": pressed(*(() if self.value is None else (self.value,))), "presses": True}
        if p.kind == "bool":
            return where | {"values": lambda x: (float(x >= 0.5),), "presses": True}
        ranged = p.kind in ("float", "int")
        low = (p.low if ranged else 0.0) if self.low is None else self.low
        high = (p.high if ranged else len(p.choices) - 1.0) if self.high is None else self.high
        steps = p.kind in ("int", "enum")
        return where | {
            "values": stepped(low, high, self.curve) if steps else moved(low, high, self.curve),
            "presses": steps,
        }


class Lights(ShowModel):
    """Lighting desks. A show with `lights:` listens to them.

    host: 127.0.0.1 receives from this machine only; lan also from the network. artnet, sacn: the protocols that are
    received. universe: of the fixture and of the patch. start: the fixture's first channel; 0 leaves the fixture out.
    mode: of the fixture, as `wj reference --dmx` lists them. patch: channels of the show's own.
    """

    enabled: bool = True
    host: str = "127.0.0.1"
    artnet: bool = True
    sacn: bool = True
    universe: int = Field(default=1, ge=0, le=63_999)
    start: int = Field(default=1, ge=0, le=CHANNELS)
    mode: Mode = "basic"
    patch: list[LightChannel] = Field(default=[])

    @field_validator("host")
    @classmethod
    def _host(cls, host: str) -> str:
        if host in ("lan", "*", "any", "all", ""):
            return "0.0.0.0"
        try:
            ipaddress.IPv4Address(host)
        except ValueError:
            raise ValueError(
                f"{host!r} is not an address: use 127.0.0.1, lan, or an IPv4 address of this machine"
            ) from None
        return host

    @model_validator(mode="after")
    def _has_room(self) -> Lights:
        if self.start and self.start + length(self.mode) - 1 > CHANNELS:
            last = CHANNELS - length(self.mode) + 1
            raise ValueError(
                f"the fixture has {length(self.mode)} channels in its mode {self.mode}: start at {last} at most"
            )
        universes = {self.universe, *(line.universe for line in self.patch if line.universe is not None)}
        if self.sacn and not self.artnet and 0 in universes:
            raise ValueError("sACN counts universes from 1: there is no universe 0")
        if self.artnet and not self.sacn and max(universes) > 32_767:
            raise ValueError("Art-Net's universes are 0 to 32767")
        return self

    def rules(self) -> list[dict[str, Any]]:
        """The rules that `integrations.dmx.input.LightsInput` takes: the fixture's and the patch's."""
        fixed = [
            {"universe": self.universe, "channel": at, "bits": channel.bits, "target": channel.target,
             "values": channel.values, "presses": bool(channel.slots), "label": channel.name}
            for at, channel in (addressed(self.mode, self.start) if self.start else ())
        ]  # fmt: skip
        return fixed + [line.rule(self.universe) for line in self.patch]
