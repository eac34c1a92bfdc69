"""The show: everything that one performance needs, in one YAML file that is checked against the parameter table."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    Field,
    PlainSerializer,
    ValidationError,
    field_validator,
    model_validator,
)
from worldjockey.model.registry import preset_values, sounds, split_options

from ..parameters import BANKS, MODULATORS, PADS, PARAMETERS, TEXT_BYTES, find
from ..timing.tempo import Quantise
from ..timing.timecode import RATES, Rate
from ..timing.timecode import parse as parse_timecode
from .banks import Banks
from .connections import LiveInput, Midi, Osc, OscMapping, Sound, Surface, parse_live
from .crowd import Crowd, CrowdFader, Poll, plain
from .events import EVENTS_MAX, Event, check_names
from .fields import (
    ShowModel,
    check_values,
    file_from,
    none_if_off,
    or_refuse,
    parse_fps,
    parse_size,
    switched,
)
from .gamepad import Gamepad, GamepadMapping
from .keys import check_keys
from .lights import LightChannel, Lights
from .media import Media
from .midi_mapping import MidiMapping
from .modulators import ModulatorLine
from .obs import Obs
from .outputs import OutputEntry, parse_output
from .pads import Cue, Name, Pad, PadList, short_pad
from .players import Players
from .references import wrong_names
from .story import Story, StoryScene
from .stream_deck import DeckKey, StreamDeck
from .timecode import DEFAULT_RATE, Timecode
from .world_address import parse_world
from .yaml_file import dumped, explained, parse, read, write

EMBEDDED = Path(__file__).parent / "default.yaml"
DEFAULT_LIVE_STRENGTH = 0.5  # where the show sets none: both the live picture and the world are visible


def _model(value: Any) -> Any:
    """{name: turbo, size: small} -> "turbo:size=small". ValueError for malformed options."""
    if isinstance(value, dict) and isinstance(name := value.get("name"), str):
        options = ",".join(f"{key}={choice}" for key, choice in value.items() if key != "name")
        value = f"{name}:{options}" if options else name
    if isinstance(value, str):
        split_options(value)
    return value


def _world(value: str | None) -> str | None:
    return None if value is None else parse_world(value)


def _keys(value: Any) -> Any:
    return check_keys(value) if isinstance(value, dict) else value


class Show(ShowModel):
    """Everything that one performance needs.

    model: a world, if need be with options: `wan-1.3b-longlive:decoder=full`, or {name: wan-1.3b-longlive, decoder:
    full}. world: the machine that runs it, as in tcp://192.168.1.20, or two of them, or a server of SGLang
    (world_address.py); by default this machine. key: path of the key file that both machines have. upscale: whether
    frames of a world on an NVIDIA card are made larger there, where nvidia-vfx is installed. snapshots: path of the
    file that keeps snapshots from one run to the next. Paths start from the show file's folder.
    banks: pads by the name of their bank, in place of `pads`. The show opens with the first bank, or with the one that
    `values: {bank: 2}` selects.
    keys: what the keys of a computer keyboard do, where that is not their default (keys.py). favourites: prompts that
    the performer's page offers.
    """

    name: str = Field(default="worldjockey", min_length=1, max_length=200)
    model: Annotated[str, BeforeValidator(_model)] = Field(default="nano", min_length=1)
    world: Annotated[str | None, BeforeValidator(none_if_off), AfterValidator(_world)] = None
    key: Annotated[str | None, BeforeValidator(none_if_off)] = Field(default=None, min_length=1)
    size: Annotated[tuple[int, int], BeforeValidator(parse_size)] = (1920, 1080)
    fps: Annotated[Any, BeforeValidator(parse_fps)] = Fraction(30)
    upscale: bool = True
    prompt: str = Field(default="", max_length=TEXT_BYTES)
    pads: PadList = Field(default=[])
    banks: dict[Name, PadList] = Field(default={}, max_length=BANKS)
    values: dict[str, Any] = Field(default={})
    cues: list[Cue] = Field(default=[])
    quantise: Annotated[Quantise, BeforeValidator(lambda value: none_if_off(value) or "none")] = "none"
    modulators: list[ModulatorLine] = Field(default=[], max_length=MODULATORS)
    keys: Annotated[dict[Any, str | None], BeforeValidator(_keys)] = Field(default={})
    favourites: list[Annotated[str, Field(min_length=1, max_length=TEXT_BYTES)]] = Field(default=[], max_length=500)
    snapshots: Annotated[str | None, BeforeValidator(none_if_off)] = Field(default=None, min_length=1)
    outputs: list[Annotated[OutputEntry, BeforeValidator(parse_output), PlainSerializer(OutputEntry.dump)]] = Field(
        default_factory=lambda: [OutputEntry("window"), OutputEntry("ndi")]
    )
    osc: Annotated[Osc, BeforeValidator(switched)] = Field(default_factory=Osc)
    midi: Annotated[Midi, BeforeValidator(switched)] = Field(default_factory=Midi)
    gamepad: Annotated[Gamepad, BeforeValidator(switched)] = Field(default_factory=Gamepad)
    sound: Annotated[Sound, BeforeValidator(switched)] = Field(default_factory=Sound)
    surface: Annotated[Surface, BeforeValidator(switched)] = Field(default_factory=Surface)
    live: Annotated[LiveInput | None, BeforeValidator(parse_live)] = None
    lights: Annotated[Lights | None, BeforeValidator(switched)] = None
    crowd: Annotated[Crowd | None, BeforeValidator(switched)] = None
    story: Story | None = None
    obs: Annotated[Obs | None, BeforeValidator(switched)] = None
    streamdeck: Annotated[StreamDeck | None, BeforeValidator(switched)] = None
    players: Annotated[Players | None, BeforeValidator(switched)] = None
    events: list[Event] = Field(default=[], max_length=EVENTS_MAX)
    timecode: Annotated[Timecode | None, BeforeValidator(switched)] = None

    @field_validator("values")
    @classmethod
    def _values(cls, values: dict[str, Any]) -> dict[str, Any]:
        return check_values(values)

    @field_validator("events")
    @classmethod
    def _events(cls, events: list[Event]) -> list[Event]:
        check_names(events)
        return events

    @model_validator(mode="after")
    def _names_mean_something(self) -> Show:
        return or_refuse(self, list(wrong_names(self)))

    @model_validator(mode="after")
    def _cues_fit(self) -> Show:
        names: set[str] = set()
        errors: list[tuple[tuple[Any, ...], str]] = []
        banks = self.prompts()
        if self.pads and self.banks:
            errors.append((("pads",), "use pads or banks, not both: move these pads into a bank of their own"))
        if len({name.lower() for name in banks.names}) < len(banks.names):
            errors.append((("banks",), "two banks have the same name but for upper and lower case: rename one"))
        if int(self.values.get("bank", 1)) > len(banks.names):
            errors.append(
                (("values", "bank"), f"there is no bank {self.values['bank']}: the show has {len(banks.names)}")
            )
        if self.chased and self.chased.source == "mtc" and not self.midi.enabled:
            errors.append((("timecode", "source"), "MIDI timecode needs MIDI: remove `midi: off`, or use source ltc"))
        for index, cue in enumerate(self.cues):
            if cue.name.lower() in names:
                errors.append((("cues", index), f"there is already a cue {cue.name!r}: rename one of the two"))
            names.add(cue.name.lower())
            try:
                self.time_of(cue)
            except ValueError as error:
                errors.append((("cues", index, "at"), str(error)))
            try:
                here = self.bank(cue.bank)
                if isinstance(cue.bank, int) and not 1 <= cue.bank <= len(banks.names):
                    raise ValueError(f"there is no bank {cue.bank}: the show has {', '.join(banks.names)}")
            except ValueError as error:
                errors.append((("cues", index, "bank"), str(error)))
                continue
            labels = sorted({pad.label.lower() for pad in here if pad.label})
            pads_there = f"1 to {PADS}, or a pad's label" + (f" ({', '.join(labels)})" if labels else "")
            if cue.pads and cue.bank is None and len(banks.names) > 1:
                errors.append(
                    (
                        ("cues", index, "pads"),
                        f"each bank has its own pads: add the bank, as in `bank: {banks.names[0]}`",
                    )
                )
                continue
            for pad in cue.pads or {}:
                if not (1 <= pad <= PADS if isinstance(pad, int) else pad.lower() in labels):
                    errors.append((("cues", index, "pads", pad), f"there is no pad {pad!r}: use {pads_there}"))
        if self.obs is not None:
            errors += [(("obs", *place), message) for place, message in self.obs.wrong_cues(self.cues)]
        return or_refuse(self, errors)

    @model_validator(mode="after")
    def _lights_are_no_loop(self) -> Show:
        if self.lights is None or not self.lights.enabled:
            return self
        heard = {rule["universe"] for rule in self.lights.rules()}
        for index, entry in enumerate(self.outputs):
            sent: set[int] = getattr(entry.make(), "universes", set()) if entry.kind == "dmx" else set()
            if both := sorted(heard & sent):
                text = f"it sends universe {both[0]}, to which `lights` listens, and would play itself: use another one"
                or_refuse(self, [(("outputs", index), text)])
        return self

    @model_validator(mode="after")
    def _polls_fit(self) -> Show:
        banks = self.banks or {"1": self.pads}
        known = {cue.name.lower() for cue in self.cues}
        known |= {pad.label.lower() for pads in banks.values() for pad in pads if pad.label}
        errors: list[tuple[tuple[Any, ...], str]] = []
        for p, poll in enumerate(self.crowd.polls if self.crowd else ()):
            for o, option in enumerate(poll.options):
                if option.do is None and plain(option.label).lower() not in known:
                    name = plain(option.label)
                    text = f"there is no cue or pad named {name!r}: add what it does, as in do: cue/go {name}"
                    errors.append((("crowd", "polls", p, "options", o), text))
        return or_refuse(self, errors)

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
        """The outputs that the show plays to. Each that can carry audio gets that of the input, or else of the world,
        unless its line has `sound: false`."""
        heard = self.sound.enabled or sounds(self.model)
        return [
            entry.with_options(sound=heard and entry.options.get("sound") is not False)
            if entry.carries_audio
            else entry
            for entry in self.outputs
        ]

    @property
    def chased(self) -> Timecode | None:
        """The timecode, where the show follows one."""
        return self.timecode if self.timecode is not None and self.timecode.enabled else None

    @property
    def timecode_rate(self) -> Rate:
        return RATES[DEFAULT_RATE if self.timecode is None else self.timecode.rate]

    def time_of(self, cue: Cue) -> float | None:
        """Seconds of the timecode at which a cue is fired, None where it has none. ValueError for one that its rate
        does not have."""
        return None if cue.at is None else parse_timecode(cue.at, self.timecode_rate)

    def prompts(self) -> Banks:
        """The texts of its banks' pads; a show with `pads` has one bank, named "1"."""
        banks = self.banks or {"1": self.pads}
        texts = (tuple(pad.prompt for pad in pads) + ("",) * (PADS - len(pads)) for pads in banks.values())
        return Banks(tuple(banks), tuple(texts)).switched(int(self.values.get("bank", 1)) - 1)

    def bank(self, key: int | str | None) -> list[Pad]:
        """The pads of a bank by number or name, of the first one for None. ValueError, with the names, for another."""
        return [*(self.banks or {"1": self.pads}).values()][0 if key is None else self.prompts().index(key)]

    def pad_number(self, key: int | str, bank: int | str | None = None) -> int:
        """A pad's number 1..16 by number or label. Validation has made sure that the pad exists."""
        if isinstance(key, int):
            return key
        return 1 + next(i for i, pad in enumerate(self.bank(bank)) if pad.label.lower() == key.lower())

    def initial(self) -> dict[str, Any]:
        """Every parameter's value as the show opens: the defaults, overridden by the world's presets and the show."""
        values = {name: p.default for name, p in PARAMETERS.items() if p.kind != "trigger"}
        values.update({name: PARAMETERS[name].coerce(value) for name, value in preset_values(self.model).items()})
        values["prompt"] = self.prompt
        values.update(self.prompts().values)
        values["quantise"] = self.quantise
        for n, line in enumerate(self.modulators, 1):
            values.update(line.values(n))
        if self.live and not self.values.keys() & {"live/look", "live/strength"}:
            values["live/strength"] = DEFAULT_LIVE_STRENGTH
        if self.players is not None:
            values["players/mode"] = self.players.mode
        if self.timecode is not None:
            values["timecode/chase"] = self.timecode.chase
        return {**values, **self.values}

    def ahead(self) -> tuple[str, ...]:
        """The prompts of all cues and banks, to be encoded ahead of time."""
        prompts = [text for cue in self.cues for text in (cue.prompt, *_texts(cue.values))]
        prompts += [pad.prompt for bank in self.banks.values() for pad in bank]
        return tuple(text for text in prompts if text)

    def media(self, folder: Path) -> dict[str, Media]:
        """The files on pads, by the pad's prompt. folder: where relative paths start."""
        return {
            pad.prompt: Media(*(str(file_from(folder, v)) if v else None for v in (pad.image, pad.sound, pad.video)))
            for pad in (*self.pads, *(pad for bank in self.banks.values() for pad in bank))
            if pad.image or pad.sound or pad.video
        }

    @classmethod
    def load(cls, path: Path | str | None = None) -> Show:
        """Read and check a show file; None reads the embedded one. ShowError with every error in it."""
        path = EMBEDDED if path is None else Path(path)
        return cls.parse(read(path), str(path))

    @classmethod
    def parse(cls, text: str | bytes, source: str = "show") -> Show:
        """A show from its YAML. ShowError with every error in it. source: the name that messages give to the file."""
        data, lines = parse(text, source)
        try:
            return cls.model_validate(data)
        except ValidationError as error:
            raise explained(error, source, lines, _owner) from None

    def dump(self, path: Path | str | None = None) -> str:
        """The show as YAML that `load` reads back. It is also written to `path`, if given, whole or not at all."""
        data = self.model_dump(mode="python", exclude_defaults=True)
        data |= {"name": self.name, "model": self.model, "size": f"{self.width}x{self.height}"}
        data["fps"] = self.fps_num if self.fps_den == 1 else f"{self.fps_num}/{self.fps_den}"
        data["outputs"] = [entry.dump() for entry in self.outputs]
        if self.pads:
            data["pads"] = [short_pad(pad) for pad in self.pads]
        if self.banks:
            data["banks"] = {name: [short_pad(pad) for pad in bank] for name, bank in self.banks.items()}
        data = {name: data[name] for name in type(self).model_fields if name in data}
        text = dumped(data)
        if path is not None:
            write(Path(path), text)
        return text


def _texts(values: dict[str, Any]) -> list[str]:
    return [str(value) for name, value in values.items() if (p := find(name)) and p.kind == "text" and not p.local]


def _owner(loc: tuple[Any, ...]) -> type[BaseModel]:
    """The model that a line at this place of the file belongs to."""
    if loc[:2] == ("midi", "map"):
        return MidiMapping
    if loc[:2] == ("osc", "map"):
        return OscMapping
    if loc[:2] == ("gamepad", "map"):
        return GamepadMapping
    if loc[:2] == ("story", "scenes"):
        return StoryScene
    if loc[:2] == ("crowd", "faders"):
        return CrowdFader
    if loc[:2] == ("crowd", "polls"):
        return Poll
    if loc[:2] == ("streamdeck", "keys"):
        return DeckKey
    if loc[:2] == ("lights", "patch"):
        return LightChannel
    parts: dict[str, type[BaseModel]] = {
        "pads": Pad, "banks": Pad, "cues": Cue, "osc": Osc, "midi": Midi, "surface": Surface,
        "modulators": ModulatorLine, "gamepad": Gamepad, "live": LiveInput, "lights": Lights,
        "crowd": Crowd, "obs": Obs, "streamdeck": StreamDeck,
        "story": Story, "players": Players, "events": Event,
        "timecode": Timecode,
    }  # fmt: skip
    return Show if len(loc) == 1 else parts.get(str(loc[0]), Show)
