"""The inputs of a show: its sources of controls, audio and live pictures."""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator

from ..parameters import OSC_PREFIX, SWITCH_WORDS
from ..timing.easing import bent
from .fields import SHORT, ShowModel, file_from, known_parameter, none_if_off
from .midi_controllers import known, rules
from .midi_mapping import MidiMapping
from .yaml_file import ShowError


class OscMapping(ShowModel):
    """One line of a show's `osc: map:`: an address of another program that plays a parameter.

    address: as that program sends it, as in /1/fader3. to: the parameter. low, high: the values for 0 and 1 of the
    message's first argument, by default the ends of the parameter's range. value: what a press sends, as a cue's name
    or a prompt's text. curve: of the way from low to high.
    """

    address: str = Field(min_length=2, max_length=200)
    to: str
    low: float | None = None
    high: float | None = None
    value: str | float | None = None
    curve: Literal["linear", "log", "exp", "s"] = "linear"

    @field_validator("address")
    @classmethod
    def _address(cls, address: str) -> str:
        if not address.startswith("/") or re.search(r"[\s#*,?\[\]{}]", address):
            raise ValueError(f"{SHORT.repr(address)} is not an OSC address: write it as in /1/fader3")
        if address.startswith(OSC_PREFIX):
            raise ValueError(f"{address} is an address of the node's own: map one of another program")
        return address

    @model_validator(mode="after")
    def _fits(self) -> OscMapping:
        p = known_parameter(self.to)
        if p.kind == "text" and self.value is None:
            raise ValueError(f"{self.to} is a text: add `value: ...` with the text that a press is to send")
        return self

    def rule(self) -> dict[str, Any]:
        """The fields of the OSC input's `AddressRule`."""
        p = known_parameter(self.to)
        ranged = p.kind in ("float", "int")
        low = (p.low if ranged else 0.0) if self.low is None else self.low
        high = (p.high if ranged else len(p.choices) - 1.0 if p.kind == "enum" else 1.0) if (
            self.high is None) else self.high  # fmt: skip
        press = None if self.value is None and p.kind != "trigger" else () if self.value is None else (self.value,)
        return {
            "address": self.address, "target": p.name, "press": press,
            "value": lambda x: low + bent(self.curve, x) * (high - low),
        }  # fmt: skip


class Osc(ShowModel):
    """The OSC input, and where its feedback goes: to the last sender, or to a named host.

    host: 127.0.0.1 receives from this machine only; 0.0.0.0 also from the network.
    feedback: a port on the last sender's machine, or "host:port".
    allow: hosts that get answers besides this machine: addresses, networks as in 192.168.1.0/24, lan, or any.
    query: the TCP port of OSCQuery, where other programs list the parameters; null turns it off.
    aliases: programs whose addresses are accepted too (compat/osc_aliases.py). map: addresses of other programs.
    """

    enabled: bool = True
    host: str = "127.0.0.1"
    port: int = Field(default=9010, ge=1, le=65535)
    feedback: Annotated[int | str | None, BeforeValidator(none_if_off)] = 9011
    allow: list[str] = Field(default=[])
    query: Annotated[int | None, BeforeValidator(none_if_off)] = Field(default=9012, ge=1, le=65535)
    aliases: list[Literal["scope", "streamdiffusion"]] = Field(default=[])
    map: list[OscMapping] = Field(default=[])

    @field_validator("host")
    @classmethod
    def _host(cls, host: str) -> str:
        if host in ("*", "any", "all", ""):
            return "0.0.0.0"
        name, _, port = host.rpartition(":")
        if port.isdigit() and ":" not in name:
            raise ValueError(f"the port has a line of its own: write `host: {name}` and `port: {port}`")
        return host

    @field_validator("allow")
    @classmethod
    def _allow(cls, allow: list[str]) -> list[str]:
        for entry in set(allow) - {"lan", "any"}:
            try:
                ipaddress.ip_network(entry, strict=False)
            except ValueError:
                right = "an address, a network as in 192.168.1.0/24, lan, or any"
                raise ValueError(f"{entry!r} is not a host or a network: use {right}") from None
        return allow

    @field_validator("feedback")
    @classmethod
    def _feedback(cls, value: int | str | None) -> int | str | None:
        port = str(value).rpartition(":")[2]
        if value is not None and not (port.isdigit() and 1 <= int(port) <= 65535):
            raise ValueError("feedback takes a port, as in 9011, or host:port, as in 192.168.1.20:9011")
        return value

    @property
    def feedback_host(self) -> str | None:
        return str(self.feedback).rpartition(":")[0].strip("[]") or None

    @property
    def feedback_port(self) -> int | None:
        return None if self.feedback is None else int(str(self.feedback).rpartition(":")[2])


class AudioMapping(ShowModel):
    """A parameter that one feature of the audio moves between low and high.

    low, high: by default the ends of the parameter's range. attack, release: seconds in which the parameter follows a
    rising and a falling feature.
    """

    of: Literal["level", "bass", "treble", "onset"]
    to: str
    low: float | None = None
    high: float | None = None
    attack: float = Field(default=0.005, ge=0, le=10)
    release: float = Field(default=0.12, ge=0, le=10)

    @field_validator("to")
    @classmethod
    def _to(cls, to: str) -> str:
        p = known_parameter(to)
        if p.kind not in ("float", "int", "bool", "trigger"):
            raise ValueError(f"audio moves faders, switches and triggers, but {to} is of the kind {p.kind}")
        return p.name


class Sound(ShowModel):
    """The audio input, which moves parameters and is sent with the frames. It is off until a show or `wj play --sound`
    enables it.

    input: part of a device's name, or an audio file; null is the system's input. map: the parameters that the audio
    moves instead of the world's own sound/level, sound/bass, sound/treble and sound/onset.
    """

    enabled: bool = False
    input: Annotated[str | None, BeforeValidator(none_if_off)] = None
    map: list[AudioMapping] = Field(default=[])


class LiveInput(ShowModel):
    """The live picture that the world sees: an NDI source, a camera, or a file or stream in a loop.

    ndi: the source's name or a part of it. groups: the NDI groups in which to look for it, separated by commas. camera:
    a number as `wj ports` lists them, or a part of a name. file: a path, from the show file's folder, or a URL. The
    short form is "ndi:NAME".
    """

    ndi: str | None = Field(default=None, min_length=1)
    camera: int | str | None = None
    file: str | None = Field(default=None, min_length=1)
    groups: str | None = None

    @model_validator(mode="after")
    def _one(self) -> LiveInput:
        if sum(v is not None for v in (self.ndi, self.camera, self.file)) != 1:
            raise ValueError("live takes exactly one of ndi: NAME, camera: 0 and file: clip.mp4")
        if self.groups and self.ndi is None:
            raise ValueError("groups are for NDI sources: add ndi: NAME, or remove groups")
        return self

    @property
    def kind(self) -> Literal["ndi", "camera", "file"]:
        return "ndi" if self.ndi is not None else "camera" if self.camera is not None else "file"

    def options(self, folder: Path) -> dict[str, Any]:
        """The arguments of the source's class. ShowError if the file does not exist. folder: where paths start."""
        if self.kind == "ndi":
            return {"name": self.ndi, "groups": self.groups}
        if self.kind == "camera":
            return {"camera": self.camera}
        if "://" in str(self.file):
            return {"file": self.file}
        path = file_from(folder, str(self.file))
        if not path.is_file():
            raise ShowError(f"live: {path}: there is no such file; check the path, or give a URL, as in rtsp://...")
        return {"file": str(path)}


def parse_live(value: Any) -> Any:
    """ "ndi:NAME", "camera:0" or "file:clip.mp4" -> the fields of `LiveInput`. ValueError, with the right forms."""
    if value is None or isinstance(value, dict | LiveInput):
        return value
    if SWITCH_WORDS.get(str(value).lower()) == 0:
        return None
    kind, _, what = (part.strip() for part in str(value).partition(":"))
    if kind not in ("ndi", "camera", "file") or (not what and kind != "camera"):
        raise ValueError(f"live takes ndi:NAME, camera:0 or file:clip.mp4, not {SHORT.repr(value)}")
    return {kind: int(what or 0) if kind == "camera" and not what.strip("0123456789") else what}


class Surface(ShowModel):
    """The surface: the page in a browser from which the show is played.

    host: 127.0.0.1 serves this machine only; lan serves the network too, to those who have the link. port: of the page;
    where another program uses it, the next one that is free. token, viewer_token: the secrets in the links of operators
    and viewers; by default they are new for each run.
    """

    enabled: bool = True
    host: str = "127.0.0.1"
    port: int = Field(default=9080, ge=1, le=65535)
    token: str | None = Field(default=None, min_length=8, max_length=100, pattern="^[A-Za-z0-9_-]+$")
    viewer_token: str | None = Field(default=None, min_length=8, max_length=100, pattern="^[A-Za-z0-9_-]+$")

    @field_validator("host")
    @classmethod
    def _host(cls, host: str) -> str:
        if host in ("lan", "*", "any", "all", "0.0.0.0"):
            return "0.0.0.0"
        if host in ("", "local", "localhost"):
            return "127.0.0.1"
        try:
            ipaddress.ip_address(host)
        except ValueError:
            raise ValueError(f"{host!r} is not an address: use 127.0.0.1, lan, or an address of this machine") from None
        return host

    @field_validator("token", "viewer_token", mode="before")
    @classmethod
    def _token(cls, token: Any) -> Any:
        if isinstance(token, str) and not re.fullmatch("[A-Za-z0-9_-]{8,100}", token):
            raise ValueError("a token has 8 to 100 characters: letters from A to Z, digits, - and _")
        return token

    @property
    def everywhere(self) -> bool:
        """Whether other machines reach it."""
        return not ipaddress.ip_address(self.host).is_loopback

    @model_validator(mode="after")
    def _two_tokens(self) -> Surface:
        if self.token is not None and self.token == self.viewer_token:
            raise ValueError("token and viewer_token must differ: viewers could play the show")
        return self


class Midi(ShowModel):
    """The MIDI input.

    enabled: listen to every MIDI port. defaults: messages that `map` does not mention are mapped as `wj reference`
    lists them, and those of known controllers as in their own maps. takeover: of faders whose line in `map` sets none.
    feedback: parts of the names of unknown controllers that are to receive values (motor faders, encoder rings,
    lights).
    """

    enabled: bool = True
    defaults: bool = True
    takeover: Literal["pickup", "scale", "jump"] = "pickup"
    feedback: list[Annotated[str, Field(min_length=1)]] = Field(default=[])
    map: list[MidiMapping] = Field(default=[])

    def rules(self) -> list[dict[str, Any]]:
        """The mappings that `integrations.midi.MIDIInput` takes."""
        return rules(self.map, self.defaults, self.takeover)

    def controllers(self) -> list[dict[str, Any]]:
        """The known controllers that it takes; none without `defaults`."""
        return known(self.takeover) if self.defaults else []
