"""The show file: one YAML file that says what is played, how it is mapped, and where it goes.

It is read with a safe loader, checked against the parameter table, and every fault is reported with its line.
"""

from __future__ import annotations

import difflib
import ipaddress
import os
import re
import reprlib
import tempfile
from collections.abc import Hashable
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError
from worldjockey.model.registry import made_for, parted

from . import remote_key
from .banks import Banks
from .controllers import known
from .mapping import MidiMapping, rules
from .media import Media, shown
from .modulators import ModulatorLine
from .parameters import BANKS, MODULATORS, PADS, PARAMETERS, TEXT_BYTES, find, nearest
from .tempo import Quantise, Span

EMBEDDED = Path(__file__).parent / "shows" / "default.yaml"
LIVE_OPENS = 0.5  # strength of a live picture where the show says nothing: it is seen, and so is the world
LARGEST = 1_000_000  # bytes of a show file; more is no show
OUTPUTS = ("window", "ndi", "file", "syphon", "spout", "web", "stream", "virtualcam")
SOUNDING = ("ndi", "file", "stream", "web")  # of these, what takes sound
T = TypeVar("T")
_short = reprlib.Repr()
_short.maxstring = _short.maxother = 60


class ShowError(ValueError):
    """A show file that cannot be played. The message has one line a fault: file, line, what is wrong, what is right."""


class Part(BaseModel):
    model_config = ConfigDict(extra="forbid", validate_assignment=True, str_strip_whitespace=True)


def parse_size(value: Any) -> tuple[int, int]:
    """ "1920x1080" or [1920, 1080] -> (1920, 1080). ValueError says what is right."""
    if isinstance(value, str):
        match = re.fullmatch(r"\s*(\d+)\s*[xX×]\s*(\d+)\s*", value)
        value = match.groups() if match else ()
    try:
        width, height = (int(v) for v in value)
    except (TypeError, ValueError):
        raise ValueError("a size is width x height in pixels, as in 1920x1080") from None
    if not (64 <= width <= 8192 and 64 <= height <= 8192):
        raise ValueError(f"{width}x{height} is out of range: 64x64 to 8192x8192")
    if width % 2 or height % 2:
        raise ValueError(f"{width}x{height} is odd, and video wants even: {width + width % 2}x{height + height % 2}")
    return width, height


def parse_fps(value: Any) -> Fraction:
    """30, 29.97 or "30000/1001" -> frames a second as a fraction; the NTSC rates are recognised by their decimals."""
    try:
        rate = Fraction(value if isinstance(value, Fraction | int) else str(value).strip())
    except (ValueError, ZeroDivisionError):
        raise ValueError("a frame rate is a number or a fraction, as in 30, 29.97 or 30000/1001") from None
    for whole in (24, 30, 48, 60, 120):
        if abs(rate - Fraction(whole * 1000, 1001)) < Fraction(6, 1000):
            rate = Fraction(whole * 1000, 1001)
    if not 1 <= rate <= 240:
        raise ValueError(f"{value} frames a second is out of range: 1 to 240")
    return rate.limit_denominator(10_000)


def check_value(name: str, value: Any) -> Any:
    """The value as the table keeps it. ValueError for what is unknown, or out of range: a file can still be mended."""
    p = find(name)
    if p is None:
        raise ValueError(f"there is no parameter {name!r}{nearest(name)}; `wj reference` lists them all")
    if p.kind == "trigger":
        raise ValueError(f"{name} is a trigger: it can be fired, but has no value to start from")
    if p.kind == "text":
        if not isinstance(value, str):
            raise ValueError(f"{name} is a text, not {_short.repr(value)}")
        if len(value.encode()) > TEXT_BYTES:
            raise ValueError(f"{name} is longer than {TEXT_BYTES} bytes")
        return p.coerce(value)
    if not isinstance(value, bool | int | float | str):
        raise ValueError(f"{name} takes one value, not {_short.repr(value)}")
    if isinstance(value, str) and p.kind != "enum":
        raise ValueError(f"{name} takes a number, not {_short.repr(value)}")
    coerced = p.coerce(value)
    if p.kind in ("float", "int") and abs(float(coerced) - float(value)) > (0.5 if p.kind == "int" else 0):
        bounds = f"{p.low} to {p.high}" if p.kind == "int" else f"{p.low:g} to {p.high:g}"
        raise ValueError(f"{name} is {value}, out of its range: {bounds}")
    return coerced


class Pad(Part):
    """One slot of the deck. In the file a plain text is enough.

    image: a picture whose look the pad takes. sound: a file whose first second is the pad's pulse. video: a clip that
    the world carries on; one that knows pictures only takes its first. All are paths, from the show file's folder;
    words beside them overrule what the picture says.
    """

    text: str = Field(default="", max_length=TEXT_BYTES)
    label: str = ""
    image: str | None = None
    sound: str | None = None
    video: str | None = None

    @property
    def said(self) -> str:
        """What `pad/<n>/text` says: its words, and in brackets its files."""
        return str(PARAMETERS["pad/1/text"].coerce(shown(self.text, self.image, self.sound, self.video)))


def _pad(value: Any) -> Any:
    if value is None:
        return {}
    return {"text": value} if isinstance(value, str) else value


def _short_pad(pad: Pad) -> Any:
    """`_pad`'s inverse."""
    said = pad.model_dump(exclude_defaults=True)
    return said.get("text", "") if said.keys() <= {"text"} else said


def _model(value: Any) -> Any:
    """{name: turbo, size: small} -> "turbo:size=small"; ValueError for options that are none."""
    if isinstance(value, dict) and isinstance(name := value.get("name"), str):
        options = ",".join(f"{key}={choice}" for key, choice in value.items() if key != "name")
        value = f"{name}:{options}" if options else name
    if isinstance(value, str):
        parted(value)
    return value


def _world(value: str | None) -> str | None:
    return None if value is None else remote_key.address(value)


def _span(value: Any) -> Any:
    return None if value is None else Span.parse(value)


Length = Annotated[Span | None, BeforeValidator(_span), PlainSerializer(lambda span: span and str(span))]


class Cue(Part):
    """A named snapshot. What it does not mention stays as it is.

    bank: what lies under the hands from then on, by number or name. pads: weight by pad number or label, in that bank;
    pads that a cue with `pads` leaves out go to 0.
    seconds: how long everything takes to get there; or transition, as in "2 beats" or "1 bar". curve: of the way.
    quantise: what the cue waits for, if not what the show says. follow: how long after it the next one comes by itself.
    """

    name: str = Field(min_length=1)
    prompt: str | None = Field(default=None, max_length=TEXT_BYTES)
    bank: int | str | None = None
    pads: dict[int | str, Annotated[float, Field(ge=0, le=1)]] | None = None
    values: dict[str, Any] = {}
    seconds: float = Field(default=0.0, ge=0, le=3600)
    transition: Length = None
    curve: Literal["linear", "smooth", "exp"] = "smooth"
    quantise: Quantise | None = None
    follow: Length = None

    @field_validator("values")
    @classmethod
    def _values(cls, values: dict[str, Any]) -> dict[str, Any]:
        return _check_values(values, ("prompt", "bank"))

    @model_validator(mode="after")
    def _one_length(self) -> Cue:
        if self.transition is not None and self.seconds:
            raise ValueError("say seconds or transition, not both")
        return self

    @property
    def span(self) -> Span:
        return self.transition or Span(self.seconds)


def _check_values(values: dict[str, Any], apart: tuple[str, ...] = ("prompt",)) -> dict[str, Any]:
    checked, faults = {}, []
    for name, value in values.items():
        try:
            if name in apart:
                raise ValueError(f"the {name} has a line of its own, `{name}: ...`")
            checked[name] = check_value(name, value)
        except ValueError as fault:
            faults.append(((name,), str(fault)))
    return _or_refuse(checked, faults)


def _or_refuse(checked: T, faults: list[tuple[tuple[Any, ...], str]]) -> T:
    """`checked`, or one error that carries every fault and its place below the field."""
    if faults:
        raise PydanticCustomError("faults", "{message}", {"message": faults[0][1], "faults": faults})
    return checked


class OutputEntry(Part):
    """Where frames go: `window`, `ndi`, `file`, `syphon`, `spout`, `web`, `stream`, `virtualcam`. Short forms:
    "window:1" (monitor 1), "ndi:NAME", "file:clip.mp4", "web:8080", "stream:srt://127.0.0.1:9710", "virtualcam:NAME".

    name: an NDI source's name, or a Syphon server's or Spout sender's. layout: what is sent; these two take rgba alone.
    monitor: whose whole screen the window fills (0 is the first); without it, a window that can be moved. path: of the
    file that is written. scale: fit shows all of the picture, fill all of the screen, stretch both. rotate: degrees
    clockwise. keystone: where a projector's corners shall land, top left first and clockwise, each [x, y] from 0 to 1.
    groups: in which the NDI source is seen, by comma. failover: the source that its receivers turn to when it is gone.
    key: what of the picture is transparent, the dark or the green; threshold: how dark or green, 0 to 1.
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
    key: Literal["luma", "green"] | None = None
    threshold: float | None = Field(default=None, ge=0, le=1)
    host: str | None = Field(default=None, min_length=1)
    port: int | None = Field(default=None, ge=1, le=65535)
    url: str | None = None
    sound: bool | None = None

    @field_validator("keystone")
    @classmethod
    def _keystone(cls, corners: list[tuple[float, float]] | None) -> list[tuple[float, float]] | None:
        from worldjockey.integrations.projection import check_keystone

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
        if self.kind == "file" and self.path is None:
            raise ValueError("a file output needs a path, as in file:clip.mp4")
        if self.kind == "stream":
            from worldjockey.integrations.stream import address

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
        raise ValueError(f"there is no output {_short.repr(kind)}: this build has {', '.join(OUTPUTS)}")
    return value


class Osc(Part):
    """Where OSC is heard, and where feedback goes: to the last sender, or to a named host.

    host: 127.0.0.1 hears this machine only; 0.0.0.0 hears the network.
    feedback: a port on the last sender's machine, or "host:port".
    allow: who is answered besides this machine: addresses, networks as in 192.168.1.0/24, lan, or any.
    query: the TCP port on which OSCQuery tells other programs what there is; null tells nobody.
    aliases: other programs' addresses that are understood too (aliases.py).
    """

    enabled: bool = True
    host: str = "127.0.0.1"
    port: int = Field(default=9010, ge=1, le=65535)
    feedback: int | str | None = 9011
    allow: list[str] = []
    query: int | None = Field(default=9012, ge=1, le=65535)
    aliases: list[Literal["scope", "streamdiffusion"]] = []

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


class SoundWire(Part):
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


class Sound(Part):
    """Whether and what is listened to, and sent on beside the picture. Nothing is, until a show or `wj play --sound`
    says so.

    input: part of a device's name, or a sound file; null is the system's input. map: what the sound plays instead of
    the world's own sound/level, sound/bass, sound/treble and sound/onset.
    """

    enabled: bool = False
    input: str | None = None
    map: list[SoundWire] = []


class LivePicture(Part):
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
        raise ValueError(f"a live picture is ndi:NAME, camera:0 or file:clip.mp4, not {_short.repr(value)}")
    return {kind: int(what or 0) if kind == "camera" and not what.strip("0123456789") else what}


class Midi(Part):
    """enabled: listen to every MIDI port. defaults: what `map` leaves free is mapped as `wj reference` says, and known
    products as their own maps say.

    takeover: of faders whose line in `map` does not say. feedback: parts of the names of products that are not known,
    whose controls are sent their values all the same (motor faders, encoder rings, lights).
    """

    enabled: bool = True
    defaults: bool = True
    takeover: Literal["pickup", "scale", "jump"] = "pickup"
    feedback: list[Annotated[str, Field(min_length=1)]] = []
    map: list[MidiMapping] = []

    def rules(self) -> list[dict[str, Any]]:
        """The mappings that `integrations.midi.MIDIInput` takes."""
        return rules(self.map, self.defaults, self.takeover)

    def controllers(self) -> list[dict[str, Any]]:
        """The products that it takes."""
        return known(self.takeover) if self.defaults else []


PadList = Annotated[list[Annotated[Pad, BeforeValidator(_pad)]], Field(max_length=PADS)]
BankName = Annotated[str, BeforeValidator(lambda name: str(name) if type(name) is int else name), Field(min_length=1)]


class Show(Part):
    """Everything one performance needs.

    model: a world, perhaps with options: `wan-1.3b-longlive:decoder=full`, or {name: wan-1.3b-longlive, decoder: full}.
    snapshots: the file, from the show file's folder, that keeps what is saved live from one run to the next.
    world: the machine that runs it, as in tcp://192.168.1.20, if not this one. key: the file, from that folder, that
    both machines have.
    banks: pads by the name of their bank, in place of `pads`. The first opens, or the one that `values: {bank: 2}`
    says.
    """

    name: str = Field(default="worldjockey", min_length=1, max_length=200)
    model: Annotated[str, BeforeValidator(_model)] = Field(default="nano", min_length=1)
    world: Annotated[str | None, AfterValidator(_world)] = None
    key: str | None = Field(default=None, min_length=1)
    size: Annotated[tuple[int, int], BeforeValidator(parse_size)] = (1920, 1080)
    fps: Annotated[Any, BeforeValidator(parse_fps)] = Fraction(30)
    prompt: str = Field(default="", max_length=TEXT_BYTES)
    pads: PadList = []
    banks: dict[BankName, PadList] = Field(default={}, max_length=BANKS)
    values: dict[str, Any] = {}
    cues: list[Cue] = []
    quantise: Annotated[Quantise, BeforeValidator(lambda value: value or "none")] = "none"
    modulators: list[ModulatorLine] = Field(default=[], max_length=MODULATORS)
    snapshots: str | None = Field(default=None, min_length=1)
    outputs: list[Annotated[OutputEntry, BeforeValidator(parse_output)]] = Field(
        default_factory=lambda: [OutputEntry(kind="window"), OutputEntry(kind="ndi")]
    )
    osc: Osc = Field(default_factory=Osc)
    midi: Midi = Field(default_factory=Midi)
    sound: Sound = Field(default_factory=Sound)
    live: Annotated[LivePicture | None, BeforeValidator(parse_live)] = None

    @field_validator("values")
    @classmethod
    def _values(cls, values: dict[str, Any]) -> dict[str, Any]:
        return _check_values(values)

    @model_validator(mode="after")
    def _cues_fit(self) -> Show:
        names: set[str] = set()
        faults: list[tuple[tuple[Any, ...], str]] = []
        banks = self.prompts()
        if self.pads and self.banks:
            faults.append((("pads",), "say pads or banks, not both: a bank can be named, with these pads in it"))
        if len({name.lower() for name in banks.names}) < len(banks.names):
            faults.append((("banks",), "each bank needs a name of its own, in any case"))
        if int(self.values.get("bank", 1)) > len(banks.names):
            faults.append((("values", "bank"), f"there is no bank {self.values['bank']}: there is {len(banks.names)}"))
        for index, cue in enumerate(self.cues):
            if cue.name.lower() in names:
                faults.append((("cues", index), f"there is already a cue {cue.name!r}; each needs a name of its own"))
            names.add(cue.name.lower())
            try:
                here = self.bank(cue.bank)
                if isinstance(cue.bank, int) and not 1 <= cue.bank <= len(banks.names):
                    raise ValueError(f"there is no bank {cue.bank}: there is {', '.join(banks.names)}")
            except ValueError as fault:
                faults.append((("cues", index, "bank"), str(fault)))
                continue
            labels = sorted({pad.label.lower() for pad in here if pad.label})
            pads_there = f"1 to {PADS}, or a pad's label" + (f" ({', '.join(labels)})" if labels else "")
            if cue.pads and cue.bank is None and len(banks.names) > 1:
                faults.append((("cues", index, "pads"), f"of which bank? Add `bank: {banks.names[0]}`"))
                continue
            for pad in cue.pads or {}:
                if not (1 <= pad <= PADS if isinstance(pad, int) else pad.lower() in labels):
                    faults.append((("cues", index, "pads", pad), f"there is no pad {pad!r}: use {pads_there}"))
        return _or_refuse(self, faults)

    @property
    def width(self) -> int:
        return self.size[0]

    @property
    def height(self) -> int:
        return self.size[1]

    @property
    def fps_num(self) -> int:
        return Fraction(self.fps).numerator

    @property
    def fps_den(self) -> int:
        return Fraction(self.fps).denominator

    @property
    def on_air(self) -> list[OutputEntry]:
        """Where frames go. What is heard goes with them wherever there is a place for it, unless it is left out."""
        return [
            entry.model_copy(update={"sound": self.sound.enabled and entry.sound is not False})
            if entry.kind in SOUNDING
            else entry
            for entry in self.outputs
        ]

    def prompts(self) -> Banks:
        """What its banks have on their pads; one bank, "1", where it has pads alone."""
        banks = self.banks or {"1": self.pads}
        texts = (tuple(pad.said for pad in pads) + ("",) * (PADS - len(pads)) for pads in banks.values())
        return Banks(tuple(banks), tuple(texts)).switched(int(self.values.get("bank", 1)) - 1)

    def bank(self, key: int | str | None) -> list[Pad]:
        """The pads of a bank, by number or name; of the first where None. ValueError, naming what there is."""
        return [*(self.banks or {"1": self.pads}).values()][0 if key is None else self.prompts().index(key)]

    def pad_number(self, key: int | str, bank: int | str | None = None) -> int:
        """A pad's number 1..16 by number or label; the show's own validation has made sure that it exists."""
        if isinstance(key, int):
            return key
        return 1 + next(i for i, pad in enumerate(self.bank(bank)) if pad.label.lower() == key.lower())

    def initial(self) -> dict[str, Any]:
        """Every parameter's value as the show opens: the table's defaults, the world's, the show's texts and values."""
        values = {name: p.default for name, p in PARAMETERS.items() if p.kind != "trigger"}
        values.update({name: PARAMETERS[name].coerce(value) for name, value in made_for(self.model).items()})
        values["prompt"] = self.prompt
        values.update(self.prompts().said)
        values["quantise"] = self.quantise
        for n, line in enumerate(self.modulators, 1):
            values.update(line.values(n))
        if self.live and not self.values.keys() & {"live/look", "live/strength"}:
            values["live/strength"] = LIVE_OPENS
        return {**values, **self.values}

    def ahead(self) -> tuple[str, ...]:
        """The prompts that cues and banks will ask for."""
        said = [text for cue in self.cues for text in (cue.prompt, *_texts(cue.values))]
        said += [pad.said for bank in self.banks.values() for pad in bank]
        return tuple(text for text in said if text)

    def media(self, folder: Path) -> dict[str, Media]:
        """Pictures, sounds and clips on pads, by the text that stands for them. `folder` is where their paths start."""
        return {
            pad.said: Media(*(str(folder / v) if v else None for v in (pad.image, pad.sound, pad.video)))
            for pad in (*self.pads, *(pad for bank in self.banks.values() for pad in bank))
            if pad.image or pad.sound or pad.video
        }

    @classmethod
    def load(cls, path: Path | str | None = None) -> Show:
        """Read and check a show file; None opens the embedded one. Raises ShowError with every fault found."""
        path = EMBEDDED if path is None else Path(path)
        try:
            with path.open("rb") as file:
                raw = file.read(LARGEST + 1)
        except FileNotFoundError:
            raise ShowError(
                f"{path}: there is no such file; `wj play` without a name opens the embedded show, "
                f"and `wj show --save {path.name}` writes a copy to start from"
            ) from None
        except OSError as fault:
            raise ShowError(f"{path}: cannot be read ({fault.strerror})") from None
        if len(raw) > LARGEST:
            raise ShowError(f"{path}: larger than {LARGEST // 1000} kB, so not a show file")
        return cls.parse(raw, str(path))

    @classmethod
    def parse(cls, text: str | bytes, source: str = "show") -> Show:
        """A show from its YAML. Raises ShowError with every fault found."""
        try:
            loader = yaml.SafeLoader(text)
            node = loader.get_single_node()
            _refuse_doubles(node, source)
            data = loader.construct_document(node) if node is not None else {}
        except yaml.MarkedYAMLError as fault:
            mark = fault.problem_mark or fault.context_mark
            line = f":{mark.line + 1}" if mark else ""
            raise ShowError(f"{source}{line}: this is not YAML: {fault.problem or fault.context}") from None
        except (yaml.YAMLError, UnicodeDecodeError, ValueError, TypeError, RecursionError) as fault:
            if isinstance(fault, ShowError):
                raise
            raise ShowError(f"{source}: this is not YAML: {str(fault).splitlines()[0]}") from None
        if not isinstance(data, dict):
            raise ShowError(f"{source}:1: a show is a list of `name: value` lines, as `wj show` prints one")
        try:
            return cls.model_validate(data)
        except ValidationError as fault:
            raise ShowError("\n".join(_explain(source, node, error) for error in _distinct(fault))) from None

    def dump(self, path: Path | str | None = None) -> str:
        """The show as YAML that `load` reads back; also written to `path` where one is given, whole or not at all."""
        data = self.model_dump(mode="python", exclude_defaults=True)
        data |= {"name": self.name, "model": self.model, "size": f"{self.width}x{self.height}"}
        data["fps"] = self.fps_num if self.fps_den == 1 else f"{self.fps_num}/{self.fps_den}"
        data["outputs"] = [
            {k: str(v) if isinstance(v, Path) else v for k, v in o.model_dump(exclude_none=True).items()}
            if o != OutputEntry.model_validate(parse_output(o.short()))
            else o.short()
            for o in self.outputs
        ]
        if self.pads:
            data["pads"] = [_short_pad(pad) for pad in self.pads]
        if self.banks:
            data["banks"] = {name: [_short_pad(pad) for pad in bank] for name, bank in self.banks.items()}
        data = {name: data[name] for name in type(self).model_fields if name in data}
        text = yaml.safe_dump(data, sort_keys=False, allow_unicode=True, width=120)
        if path is not None:
            _write(Path(path), text)
        return text


def _texts(values: dict[str, Any]) -> list[str]:
    return [str(value) for name, value in values.items() if (p := find(name)) and p.kind == "text" and not p.local]


def _write(path: Path, text: str) -> None:
    """Through a file beside it, so that a full disk or a crash never leaves half a show."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        Path(name).chmod(path.stat().st_mode & 0o777 if path.exists() else 0o644)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _refuse_doubles(node: yaml.Node | None, source: str) -> None:
    """YAML readers keep the last of two equal keys and drop the first in silence; a show must not lose a line."""
    pending, seen_nodes = [node], set()
    while pending:
        node = pending.pop()
        if node is None or id(node) in seen_nodes:
            continue
        seen_nodes.add(id(node))
        if isinstance(node, yaml.SequenceNode):
            pending += node.value
        elif isinstance(node, yaml.MappingNode):
            seen: set[Hashable] = set()
            for key, value in node.value:
                if key.value != "<<" and isinstance(key, yaml.ScalarNode) and (key.tag, key.value) in seen:
                    line = key.start_mark.line + 1
                    raise ShowError(f"{source}:{line}: {key.value!r} is here twice; keep one of them")
                if isinstance(key, yaml.ScalarNode):
                    seen.add((key.tag, key.value))
                pending.append(value)


def _distinct(fault: ValidationError) -> list[Any]:
    """One error a place: a union reports each of its branches, and some errors carry several."""
    seen: dict[tuple[Any, ...], Any] = {}
    for error in fault.errors(include_url=False):
        loc = tuple(part for part in error["loc"] if part not in ("[key]", "int", "str"))
        faults = error.get("ctx", {}).get("faults", []) if error["type"] == "faults" else [((), error["msg"])]
        for below, message in faults:
            seen.setdefault((*loc, *below), {**error, "loc": (*loc, *below), "msg": message})
    return list(seen.values())


def _explain(source: str, root: yaml.Node | None, error: Any) -> str:
    """ "show.yaml:12: pads.2: what is wrong": the deepest line of the file that the error's place leads to."""
    loc: tuple[Any, ...] = error["loc"]
    message: str = error["msg"].removeprefix("Value error, ")
    if error["type"] == "extra_forbidden":
        message = f"there is no such line in a show{_nearest_field(loc)}"
    elif error["type"] == "missing":
        message = "this line is missing"
    elif error["type"] not in ("value_error", "faults"):
        message = f"{message[0].lower()}{message[1:]}, not {_short.repr(error['input'])}"
    line = _line(root, loc)
    where = ".".join(str(part + 1) if isinstance(part, int) else str(part) for part in loc)
    return f"{source}{f':{line}' if line else ''}: {f'{where}: ' if where else ''}{message}"


def _nearest_field(loc: tuple[Any, ...]) -> str:
    parts: dict[str, type[BaseModel]] = {
        "pads": Pad,
        "banks": Pad,
        "cues": Cue,
        "outputs": OutputEntry,
        "osc": Osc,
        "midi": Midi,
    }
    parts["modulators"], parts["live"] = ModulatorLine, LivePicture
    owner: type[BaseModel] = Show if len(loc) == 1 else parts.get(str(loc[0]), Show)
    if loc[:2] == ("midi", "map"):
        owner = MidiMapping
    near = difflib.get_close_matches(str(loc[-1]), list(owner.model_fields), 1, 0.6)
    return f", did you mean {near[0]!r}?" if near else f": it has {', '.join(owner.model_fields)}"


def _line(node: yaml.Node | None, loc: tuple[Any, ...]) -> int | None:
    line = None
    for part in loc:
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                if key.value == str(part):
                    line, node = key.start_mark.line + 1, value
                    break
            else:
                return line
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            node = node.value[part]
            line = node.start_mark.line + 1
        else:
            return line
    return line
