"""What a show lays on the pads, and its cues."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, PlainSerializer, field_validator, model_validator

from ..parameters import PADS, PARAMETERS, TEXT_BYTES
from ..timing.tempo import Quantise, Span
from .fields import ShowModel, check_values
from .media import shown


class Pad(ShowModel):
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


def short_pad(pad: Pad) -> Any:
    """`_pad`'s inverse."""
    said = pad.model_dump(exclude_defaults=True)
    return said.get("text", "") if said.keys() <= {"text"} else said


PadList = Annotated[list[Annotated[Pad, BeforeValidator(_pad)]], Field(max_length=PADS)]
BankName = Annotated[str, BeforeValidator(lambda name: str(name) if type(name) is int else name), Field(min_length=1)]


def _span(value: Any) -> Any:
    return None if value is None else Span.parse(value)


Length = Annotated[Span | None, BeforeValidator(_span), PlainSerializer(lambda span: span and str(span))]


class Cue(ShowModel):
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
    values: dict[str, Any] = Field(default={})
    seconds: float = Field(default=0.0, ge=0, le=3600)
    transition: Length = None
    curve: Literal["linear", "smooth", "exp"] = "smooth"
    quantise: Quantise | None = None
    follow: Length = None

    @field_validator("values")
    @classmethod
    def _values(cls, values: dict[str, Any]) -> dict[str, Any]:
        return check_values(values, ("prompt", "bank"))

    @model_validator(mode="after")
    def _one_length(self) -> Cue:
        if self.transition is not None and self.seconds:
            raise ValueError("say seconds or transition, not both")
        return self

    @property
    def span(self) -> Span:
        return self.transition or Span(self.seconds)
