"""The pads and cues of a show."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer, field_validator, model_validator

from ..parameters import PADS, PARAMETERS, TEXT_BYTES, number_text
from ..timing.tempo import Quantise, Span
from .fields import ShowModel, check_path, check_values
from .media import prompt_text

NAME_CHARS_MAX = 200
FilePath = Annotated[str | None, AfterValidator(check_path)]


class Pad(ShowModel):
    """One slot of the prompt deck. In the file a plain text is enough.

    image: a file whose look the world takes. sound: a file whose first second gives the pulse. video: a clip that the
    world continues; a world without clips takes its first frame as an image. All are paths, from the show file's
    folder. Text takes precedence over what the image shows.
    """

    text: str = Field(default="", max_length=TEXT_BYTES)
    label: str = Field(default="", max_length=NAME_CHARS_MAX)
    image: FilePath = None
    sound: FilePath = None
    video: FilePath = None

    @property
    def prompt(self) -> str:
        """The value of `pad/<n>/text`: the text, and the names of the files in brackets."""
        return str(PARAMETERS["pad/1/text"].coerce(prompt_text(self.text, self.image, self.sound, self.video)))


def _pad(value: Any) -> Any:
    if value is None:
        return {}
    return {"text": value} if isinstance(value, str | int | float) else value


def short_pad(pad: Pad) -> Any:
    """The pad as in a show file: a plain text where that is enough."""
    fields = pad.model_dump(exclude_defaults=True)
    return fields.get("text", "") if fields.keys() <= {"text"} else fields


PadList = Annotated[list[Annotated[Pad, BeforeValidator(_pad)]], Field(max_length=PADS)]


def _name(value: Any) -> Any:
    """A name may be written as a number: `name: 1.5`."""
    return number_text(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


Name = Annotated[str, Field(min_length=1, max_length=NAME_CHARS_MAX), BeforeValidator(_name)]  # of a bank or a cue


def _span(value: Any) -> Any:
    return None if value is None else Span.parse(value)


Length = Annotated[Span | None, BeforeValidator(_span), PlainSerializer(lambda span: span and str(span))]


def _pad_key(key: Any) -> Any:
    """A pad's number or label; JSON has all keys in quotes."""
    return int(key) if isinstance(key, str) and key.isdecimal() else key


class Cue(ShowModel):
    """A named snapshot. Parameters that it does not mention keep their values.

    bank: the present bank from then on, by number or name. pads: weights by pad number or label, in that bank; pads
    that a cue with `pads` leaves out go to 0.
    seconds: the length of the transition; or transition: its length as in "2 beats" or "1 bar". curve: of the
    transition. quantise: the beat, bar or phrase that the cue waits for; by default the show's own `quantise`.
    follow: the time after which the next cue starts by itself. at: the timecode at which it is fired, as in
    01:00:12:05 or 01:00:12.2.
    """

    name: Name
    prompt: str | None = Field(default=None, max_length=TEXT_BYTES)
    bank: int | str | None = None
    pads: dict[Annotated[int | str, BeforeValidator(_pad_key)], Annotated[float, Field(ge=0, le=1)]] | None = None
    values: dict[str, Any] = Field(default={})
    seconds: float = Field(default=0.0, ge=0, le=3600)
    transition: Length = None
    curve: Literal["linear", "smooth", "exp"] = "smooth"
    quantise: Quantise | None = None
    follow: Length = None
    at: Annotated[str | None, BeforeValidator(_name), Field(min_length=1, max_length=40)] = None

    @field_validator("values")
    @classmethod
    def _values(cls, values: dict[str, Any]) -> dict[str, Any]:
        return check_values(values, ("prompt", "bank"))

    @model_validator(mode="after")
    def _one_length(self) -> Cue:
        if self.transition is not None and self.seconds:
            raise ValueError("use seconds or transition, not both")
        return self

    @property
    def span(self) -> Span:
        return self.transition or Span(self.seconds)
