"""A show's way into the rig: where frames go, and where controls, sound and live pictures come from."""

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

OUTPUTS = ("window", "ndi", "file", "syphon", "spout", "web", "stream", "virtualcam")
SOUNDING = ("ndi", "file", "stream", "web")  # of these, what takes sound


class OutputEntry(ShowModel):
    """Where frames go: `window`, `ndi`, `file`, `syphon`, `spout`, `web`, `stream`, `virtualcam`. Short forms:
    "window:1" (monitor 1), "ndi:NAME", "file:clip.mp4", "web:8080", "stream:srt://127.0.0.1:9710", "virtualcam:NAME".

    name: an NDI source's name, or a Syphon server's or Spout sender's. layout: what is sent; these two take rgba alone.
    monitor: whose whole screen the window fills (0 is the first); without it, a window that can be moved. path: of the
    file that is written. scale: fit shows all of the picture, fill all of the screen, stretch both. rotate: degrees
    clockwise. keystone: where a projector's corners shall land, top left first and clockwise, each [x, y] from 0 to 1.
    groups: in which the NDI source is seen, by comma. failover: the source that its receivers turn to when it is gone.
    key: what is transparent, luma the dark, green the green, figure all but the figure; threshold: how dark or green,
    0 to 1.
    url: of a stream: tcp:// and srt:// wait for viewers there, udp:// and rtmp:// send there. port: on which browsers
    find the page. host: 127.0.0.1 serves this machine only, 0.0.0.0 the network. sound: false leaves out what is heard.
    """

    kind: Literal["window", "ndi", "file", "syphon", "spout", "web", "stream", "virtualcam"]
    name: str | None = None
    layout: Literal["rgba", "bgrx", "uyvy"] | None = None
    monitor: int | None = Field(default=None, ge=0)
    path: Path | None = None
    scale: Literal["fit", "fill", "stretch"] | None = None
    rotate: Literal[0, 90, 180, 270] | None = None
    keystone: list[tuple[float, float]] | None = None
    groups: str | None = None
    failover: str | None = None
    key: Literal["luma", "green", "figure"] | None = None
    threshold: float | None = Field(default=None, ge=0, le=1)
    host: str | None = Field(default=None, min_length=1)
    port: int | None = Field(default=None, ge=1, le=65535)
    url: str | None = None
    sound: bool | None = None

    @field_validator("keystone")
    @classmethod
    def _keystone(cls, corners: list[tuple[float, float]] | None) -> list[tuple[float, float]] | None:
        from worldjockey.integrations.gl.projection import check_keystone

        if corners is not None:
            check_keystone(corners)
        return corners

    @model_validator(mode="after")
    def _fits(self) -> OutputEntry:
        fields = {
            "window": {"monitor", "scale", "rotate", "keystone"}, "file": {"path", "sound"},
            "ndi": {"name", "layout", "groups", "failover", "key", "threshold", "sound"},
            "syphon": {"name", "layout"}, "spout": {"name", "layout"}, "web": {"host", "port", "sound"},
            "stream": {"url", "sound"}, "virtualcam": {"name"},
        }[self.kind]  # fmt: skip
        for field in type(self).model_fields:
            if field != "kind" and getattr(self, field) is not None and field not in fields:
                raise ValueError(f"{self.kind} takes {' and '.join(sorted(fields))}, not {field}")
        if self.kind in ("syphon", "spout") and self.layout not in (None, "rgba"):
            raise ValueError(f"{self.kind} takes layout: rgba, not {self.layout}")
        if self.key and self.layout not in (None, "uyvy"):
            raise ValueError(f"a key makes alpha beside layout: uyvy, not {self.layout}")
        if self.key == "figure" and self.threshold is not None:
            raise ValueError("threshold is for key: luma and key: green; the world tells what is figure")
        if self.kind == "file" and self.path is None:
            raise ValueError("a file output needs a path, as in file:clip.mp4")
        if self.kind == "stream":
            from worldjockey.integrations.stream.output import address

            address(self.url or "")
        return self

    def short(self) -> str:
        extra = {"window": self.monitor, "file": self.path, "web": self.port, "stream": self.url}.get(
            self.kind, self.name
        )
        return self.kind if extra is None else f"{self.kind}:{extra}"


def parse_output(value: Any) -> Any:
    """The short form of an output -> its fields. ValueError names the outputs there are."""
    if isinstance(value, dict) and "kind" not in value and len(value) == 1:  # {ndi: {name: ...}}
        kind, options = next(iter(value.items()))
        value = {"kind": kind, **(options or {})} if isinstance(options, dict | None) else f"{kind}:{options}"
    if isinstance(value, dict):
        kind = value.get("kind")
    elif isinstance(value, str):
        kind, _, extra = (v.strip() for v in value.partition(":"))
        value = {"kind": kind}
        if extra:
            field = {"window": "monitor", "file": "path", "web": "port", "stream": "url"}.get(kind, "name")
            if field == "monitor" and not extra.isdigit():
                raise ValueError(f"window:{extra}: after window: comes a monitor's number, as in window:0")
            if field == "port" and not extra.isdigit():
                raise ValueError(f"web:{extra}: after web: comes a port, as in web:8080")
            value[field] = int(extra) if field in ("monitor", "port") else extra
    else:
        return value
    if kind not in OUTPUTS:
        raise ValueError(f"there is no output {SHORT.repr(kind)}: this build has {', '.join(OUTPUTS)}")
    return value


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
