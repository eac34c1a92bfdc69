"""A show's inputs: where controls, audio and live pictures come from."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from ..parameters import find, nearest
from .fields import SHORT, ShowModel
from .midi_controllers import known, rules
from .midi_mapping import MidiMapping
from .yaml_file import ShowError


class Osc(ShowModel):
    """Where OSC is heard, and where feedback goes: to the last sender, or to a named host.

    host: 127.0.0.1 hears this machine only; 0.0.0.0 hears the network.
    feedback: a port on the last sender's machine, or "host:port".
    allow: who is answered besides this machine: addresses, networks as in 192.168.1.0/24, lan, or any.
    query: the TCP port on which OSCQuery tells other programs what there is; null tells nobody.
    aliases: other programs' addresses that are understood too (compat/osc_aliases.py).
    """

    enabled: bool = True
    host: str = "127.0.0.1"
    port: int = Field(default=9010, ge=1, le=65535)
    feedback: int | str | None = 9011
    allow: list[str] = Field(default=[])
    query: int | None = Field(default=9012, ge=1, le=65535)
    aliases: list[Literal["scope", "streamdiffusion"]] = Field(default=[])

    @field_validator("allow")
    @classmethod
    def _allow(cls, allow: list[str]) -> list[str]:
        for entry in set(allow) - {"lan", "any"}:
            try:
                ipaddress.ip_network(entry, strict=False)
            except ValueError:
                right = "an address, a network as in 192.168.1.0/24, lan, or any"
                raise ValueError(f"{entry!r} is no host that can be allowed: use {right}") from None
        return allow

    @field_validator("feedback")
    @classmethod
    def _feedback(cls, value: int | str | None) -> int | str | None:
        port = str(value).rpartition(":")[2]
        if value is not None and not (port.isdigit() and 1 <= int(port) <= 65535):
            raise ValueError("feedback is a port, as in 9011, or host:port, as in 192.168.1.20:9011")
        return value

    @property
    def feedback_host(self) -> str | None:
        return str(self.feedback).rpartition(":")[0].strip("[]") or None

    @property
    def feedback_port(self) -> int | None:
        return None if self.feedback is None else int(str(self.feedback).rpartition(":")[2])


class SoundWire(ShowModel):
    """What one thing in the sound plays: it moves a parameter between low and high.

    attack, release: seconds in which the parameter follows up and down. Without low and high, the parameter's range.
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
        p = find(to)
        if p is None:
            raise ValueError(f"there is no parameter {to!r}{nearest(to)}; `wj reference` lists them all")
        if p.kind not in ("float", "int", "bool", "trigger"):
            raise ValueError(f"sound plays faders, switches and triggers; {to} is {p.kind}")
        return to


class Sound(ShowModel):
    """Whether and what is listened to, and sent on beside the picture. Nothing is, until a show or `wj play --sound`
    says so.

    input: part of a device's name, or a sound file; null is the system's input. map: what the sound plays instead of
    the world's own sound/level, sound/bass, sound/treble and sound/onset.
    """

    enabled: bool = False
    input: str | None = None
    map: list[SoundWire] = Field(default=[])


class LivePicture(ShowModel):
    """What the world sees: exactly one of an NDI source, a camera, or a file or stream in a loop.

    ndi: a source's name or a part of it. groups: in which it is looked for, by comma. camera: a number as `wj ports`
    counts them, or a part of a name. file: a path, from the show file's folder, or a URL. Short: "ndi:NAME".
    """

    ndi: str | None = Field(default=None, min_length=1)
    camera: int | str | None = None
    file: str | None = Field(default=None, min_length=1)
    groups: str | None = None

    @model_validator(mode="after")
    def _one(self) -> LivePicture:
        if sum(v is not None for v in (self.ndi, self.camera, self.file)) != 1:
            raise ValueError("a live picture is one of ndi: NAME, camera: 0, file: clip.mp4")
        if self.groups and self.ndi is None:
            raise ValueError("groups belong to ndi: NAME")
        return self

    @property
    def kind(self) -> Literal["ndi", "camera", "file"]:
        return "ndi" if self.ndi is not None else "camera" if self.camera is not None else "file"

    def options(self, folder: Path) -> dict[str, Any]:
        """What its reader is made with. Raises ShowError where the file is not there."""
        if self.kind == "ndi":
            return {"name": self.ndi, "groups": self.groups}
        if self.kind == "camera":
            return {"camera": self.camera}
        if "://" in str(self.file):
            return {"file": self.file}
        path = folder / Path(str(self.file)).expanduser()
        if not path.is_file():
            raise ShowError(f"live: {path}: there is no such file; check the path, or give a URL, as in rtsp://...")
        return {"file": str(path)}


def parse_live(value: Any) -> Any:
    """ "ndi:NAME", "camera:0" or "file:clip.mp4" -> its fields. ValueError says what is right."""
    if not isinstance(value, str):
        return value
    kind, _, what = (part.strip() for part in value.partition(":"))
    if kind not in ("ndi", "camera", "file") or (not what and kind != "camera"):
        raise ValueError(f"a live picture is ndi:NAME, camera:0 or file:clip.mp4, not {SHORT.repr(value)}")
    return {kind: int(what or 0) if kind == "camera" and not what.strip("0123456789") else what}


class Midi(ShowModel):
    """enabled: listen to every MIDI port. defaults: what `map` leaves free is mapped as `wj reference` says, and known
    products as their own maps say.

    takeover: of faders whose line in `map` does not say. feedback: parts of the names of products that are not known,
    whose controls are sent their values all the same (motor faders, encoder rings, lights).
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
        """The products that it takes."""
        return known(self.takeover) if self.defaults else []
