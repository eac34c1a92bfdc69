"""The timecode that a show follows and sends, and the times of its cues."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator

from ..parameters import SWITCH_WORDS, number_text
from ..timing import timecode
from ..timing.timecode import RATES, Rate
from .fields import ShowModel

RateName = Literal["24", "25", "29.97", "30"]
DEFAULT_RATE: RateName = "25"
OWN_PORT = "on"  # of `out`: a port of the node's own


def _rate(value: Any) -> Any:
    """29.97 and 30 are numbers in YAML; drop frame is also written "29.97 drop" or "29.97df"."""
    text = number_text(value) if isinstance(value, int | float) and not isinstance(value, bool) else str(value)
    return text.lower().removesuffix("fps").removesuffix("df").removesuffix("drop").strip()


def _text(value: Any) -> Any:
    return number_text(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


def _out(value: Any) -> Any:
    """`out: on` is a port of the node's own, `out: off` is none."""
    switch = SWITCH_WORDS.get(str(value).lower())
    return value if switch is None else OWN_PORT if switch else None


class Timecode(ShowModel):
    """Timecode. A show with `timecode:` follows it: cues with `at` are fired by it.

    source: mtc is MIDI timecode, ltc is timecode on an audio input, internal is the node's own clock. input: part of
    the name of the MIDI port or the audio input, or for ltc the path of a WAV file. channel: of the audio input. rate:
    by which cues and `out` count frames. freewheel: seconds for which the show runs on without timecode. offset: is
    added to the timecode that comes in. chase: whether the show follows from the beginning. start: where `internal`
    begins. out: the MIDI output that gets timecode; on opens a port of the node's own.
    """

    enabled: bool = True
    source: Literal["mtc", "ltc", "internal"] = "mtc"
    input: str | None = Field(default=None, min_length=1)
    channel: int = Field(default=1, ge=1, le=256)
    rate: Annotated[RateName, BeforeValidator(_rate)] = DEFAULT_RATE
    freewheel: float = Field(default=1.0, ge=0, le=3600)
    offset: Annotated[str, BeforeValidator(_text)] = "0"
    chase: bool = True
    start: Annotated[str, BeforeValidator(_text)] = "0"
    out: Annotated[str | None, BeforeValidator(_out)] = None

    @property
    def wav_file(self) -> str | None:
        """The file that LTC comes from, where it comes from none of the audio inputs."""
        is_file = self.source == "ltc" and self.input is not None and self.input.lower().endswith((".wav", ".wave"))
        return self.input if is_file else None

    @property
    def counts(self) -> Rate:
        return RATES[self.rate]

    @property
    def offset_s(self) -> float:
        return timecode.parse_offset(self.offset, self.counts)

    @property
    def start_s(self) -> float:
        return timecode.parse(self.start, self.counts)

    @field_validator("source", mode="before")
    @classmethod
    def _lower(cls, source: Any) -> Any:
        return source.lower() if isinstance(source, str) else source

    @model_validator(mode="after")
    def _times_fit(self) -> Timecode:
        for name, read in (("offset", timecode.parse_offset), ("start", timecode.parse)):
            try:
                read(getattr(self, name), self.counts)
            except ValueError as error:
                raise ValueError(f"{name}: {error}") from None
        if self.source == "internal" and self.input is not None:
            raise ValueError("internal timecode has no input: use source mtc or ltc, or leave the input out")
        return self
