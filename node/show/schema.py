"""The show: everything one performance needs, checked against the parameter table, from one YAML file."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any

import yaml
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
from worldjockey.model.registry import preset_values, split_options

from ..parameters import BANKS, MODULATORS, PADS, PARAMETERS, TEXT_BYTES, find
from ..timing.tempo import Quantise
from .banks import Banks
from .connections import LivePicture, Midi, Osc, Sound, parse_live
from .fields import ShowModel, check_values, or_refuse, parse_fps, parse_size, parse_world_address
from .media import Media
from .midi_mapping import MidiMapping
from .modulators import ModulatorLine
from .outputs import OutputEntry, parse_output
from .pads import BankName, Cue, Pad, PadList, short_pad
from .yaml_file import explained, parse, read, write

EMBEDDED = Path(__file__).parent / "default.yaml"
LIVE_OPENS = 0.5  # strength of a live picture where the show says nothing: it is seen, and so is the world


def _model(value: Any) -> Any:
    """{name: turbo, size: small} -> "turbo:size=small"; ValueError for options that are none."""
    if isinstance(value, dict) and isinstance(name := value.get("name"), str):
        options = ",".join(f"{key}={choice}" for key, choice in value.items() if key != "name")
        value = f"{name}:{options}" if options else name
    if isinstance(value, str):
        split_options(value)
    return value


def _world(value: str | None) -> str | None:
    return None if value is None else parse_world_address(value)


class Show(ShowModel):
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
    pads: PadList = Field(default=[])
    banks: dict[BankName, PadList] = Field(default={}, max_length=BANKS)
    values: dict[str, Any] = Field(default={})
    cues: list[Cue] = Field(default=[])
    quantise: Annotated[Quantise, BeforeValidator(lambda value: value or "none")] = "none"
    modulators: list[ModulatorLine] = Field(default=[], max_length=MODULATORS)
    snapshots: str | None = Field(default=None, min_length=1)
    outputs: list[Annotated[OutputEntry, BeforeValidator(parse_output), PlainSerializer(OutputEntry.dump)]] = Field(
        default_factory=lambda: [OutputEntry("window"), OutputEntry("ndi")]
    )
    osc: Osc = Field(default_factory=Osc)
    midi: Midi = Field(default_factory=Midi)
    sound: Sound = Field(default_factory=Sound)
    live: Annotated[LivePicture | None, BeforeValidator(parse_live)] = None

    @field_validator("values")
    @classmethod
    def _values(cls, values: dict[str, Any]) -> dict[str, Any]:
        return check_values(values)

    @model_validator(mode="after")
    def _cues_fit(self) -> Show:
        names: set[str] = set()
        errors: list[tuple[tuple[Any, ...], str]] = []
        banks = self.prompts()
        if self.pads and self.banks:
            errors.append((("pads",), "say pads or banks, not both: a bank can be named, with these pads in it"))
        if len({name.lower() for name in banks.names}) < len(banks.names):
            errors.append((("banks",), "each bank needs a name of its own, in any case"))
        if int(self.values.get("bank", 1)) > len(banks.names):
            errors.append((("values", "bank"), f"there is no bank {self.values['bank']}: there is {len(banks.names)}"))
        for index, cue in enumerate(self.cues):
            if cue.name.lower() in names:
                errors.append((("cues", index), f"there is already a cue {cue.name!r}; each needs a name of its own"))
            names.add(cue.name.lower())
            try:
                here = self.bank(cue.bank)
                if isinstance(cue.bank, int) and not 1 <= cue.bank <= len(banks.names):
                    raise ValueError(f"there is no bank {cue.bank}: there is {', '.join(banks.names)}")
            except ValueError as error:
                errors.append((("cues", index, "bank"), str(error)))
                continue
            labels = sorted({pad.label.lower() for pad in here if pad.label})
            pads_there = f"1 to {PADS}, or a pad's label" + (f" ({', '.join(labels)})" if labels else "")
            if cue.pads and cue.bank is None and len(banks.names) > 1:
                errors.append((("cues", index, "pads"), f"of which bank? Add `bank: {banks.names[0]}`"))
                continue
            for pad in cue.pads or {}:
                if not (1 <= pad <= PADS if isinstance(pad, int) else pad.lower() in labels):
                    errors.append((("cues", index, "pads", pad), f"there is no pad {pad!r}: use {pads_there}"))
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
        """The outputs that are played to. Audio goes to each that can carry it, unless its line says `sound: false`."""
        return [
            entry.with_options(sound=self.sound.enabled and entry.options.get("sound") is not False)
            if entry.carries_audio
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
        values.update({name: PARAMETERS[name].coerce(value) for name, value in preset_values(self.model).items()})
        values["prompt"] = self.prompt
        values.update(self.prompts().values)
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
        """Read and check a show file; None opens the embedded one. Raises ShowError with every error found."""
        path = EMBEDDED if path is None else Path(path)
        return cls.parse(read(path), str(path))

    @classmethod
    def parse(cls, text: str | bytes, source: str = "show") -> Show:
        """A show from its YAML. Raises ShowError with every error found."""
        data, lines = parse(text, source)
        try:
            return cls.model_validate(data)
        except ValidationError as error:
            raise explained(error, source, lines, _owner) from None

    def dump(self, path: Path | str | None = None) -> str:
        """The show as YAML that `load` reads back; also written to `path` where one is given, whole or not at all."""
        data = self.model_dump(mode="python", exclude_defaults=True)
        data |= {"name": self.name, "model": self.model, "size": f"{self.width}x{self.height}"}
        data["fps"] = self.fps_num if self.fps_den == 1 else f"{self.fps_num}/{self.fps_den}"
        data["outputs"] = [entry.dump() for entry in self.outputs]
        if self.pads:
            data["pads"] = [short_pad(pad) for pad in self.pads]
        if self.banks:
            data["banks"] = {name: [short_pad(pad) for pad in bank] for name, bank in self.banks.items()}
        data = {name: data[name] for name in type(self).model_fields if name in data}
        text = yaml.safe_dump(data, sort_keys=False, allow_unicode=True, width=120)
        if path is not None:
            write(Path(path), text)
        return text


def _texts(values: dict[str, Any]) -> list[str]:
    return [str(value) for name, value in values.items() if (p := find(name)) and p.kind == "text" and not p.local]


def _owner(loc: tuple[Any, ...]) -> type[BaseModel]:
    """The part of a show that a line at this place belongs to."""
    if loc[:2] == ("midi", "map"):
        return MidiMapping
    parts: dict[str, type[BaseModel]] = {
        "pads": Pad, "banks": Pad, "cues": Cue, "osc": Osc, "midi": Midi,
        "modulators": ModulatorLine, "live": LivePicture,
    }  # fmt: skip
    return Show if len(loc) == 1 else parts.get(str(loc[0]), Show)
