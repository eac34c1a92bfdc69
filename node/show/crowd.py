"""What a show asks of its audience: faders, polls and words."""

from __future__ import annotations

import ipaddress
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator

from ..parameters import TEXT_BYTES
from ..timing.tempo import Quantise, Span
from .fields import WORD, ShowModel, known_parameter, spelt
from .keys import action
from .pads import Length

LABEL_CHARS_MAX = 80
FADERS_MAX, OPTIONS_MAX = 6, 8
Text = Annotated[str, Field(min_length=1, max_length=LABEL_CHARS_MAX)]
Label = (
    Text | dict[Annotated[str, spelt("[a-z]{2}", "a language in two letters, as in de")], Text]
)  # one for all, or one for each language


class CrowdFader(ShowModel):
    """A fader that the audience moves together: the median of all who moved theirs lately.

    labels: what its two ends are called. to: the parameter that it plays; without one it is for the story and other
    programs. low, high: the values at its ends, by default those of the parameter's range. rest: where it stands, 0 to
    1, when nobody moves it. rate: how far it may move in a second. decay: seconds in which it goes back to rest after
    the audience fell silent. quorum: how many must move it before it counts.
    """

    name: Annotated[str, Field(max_length=40), WORD]
    labels: tuple[Label, Label]
    to: str | None = None
    low: float | None = None
    high: float | None = None
    rest: float = Field(default=0.5, ge=0, le=1)
    rate: float = Field(default=0.25, gt=0, le=10)
    decay: float = Field(default=20.0, ge=0.1, le=600)
    quorum: int = Field(default=1, ge=1)

    @field_validator("to")
    @classmethod
    def _to(cls, to: str | None) -> str | None:
        if to is None:
            return None
        p = known_parameter(to)
        if p.kind not in ("float", "int"):
            raise ValueError(f"the audience moves faders, but {to} is of the kind {p.kind}: use a poll for it")
        if p.name.startswith("crowd/"):
            raise ValueError("the audience cannot play its own controls")
        return p.name

    def ends(self) -> tuple[float, float]:
        """The parameter's values at the fader's two ends."""
        if self.to is None:
            return 0.0, 1.0
        p = known_parameter(self.to)
        return (p.low if self.low is None else self.low), (p.high if self.high is None else self.high)


class PollOption(ShowModel):
    """One option of a poll. do: what happens if it wins, as of a key: "cue/go storm", "act/dance", "pad/3", "prompt a
    calm sea"; an option that is a cue's name or a pad's label alone fires that cue, or brings that pad up and the
    other options' pads down."""

    label: Label
    do: str | None = None

    @field_validator("do")
    @classmethod
    def _do(cls, do: str | None) -> str | None:
        if do is not None and action(do).target.startswith("crowd/"):
            raise ValueError("the audience cannot play its own controls")
        return do


def _option(value: Any) -> Any:
    return {"label": str(value)} if isinstance(value, str | int | float) else value


class Poll(ShowModel):
    """A question to the audience.

    lasts: how long it is open, as in "20 s" or "8 bars". quorum: how many must vote, or nothing happens. ties: which of
    the winners wins: one by lot, the first, the one that the performer chooses, or none. on: what the result waits for.
    """

    name: Annotated[str, Field(min_length=1, max_length=LABEL_CHARS_MAX)]
    question: Label
    options: Annotated[
        list[Annotated[PollOption, BeforeValidator(_option)]], Field(min_length=2, max_length=OPTIONS_MAX)
    ]
    lasts: Length = Field(default=Span(20.0))
    quorum: int = Field(default=1, ge=1)
    ties: Literal["random", "first", "performer", "none"] = "random"
    on: Quantise = "bar"


class Words(ShowModel):
    """Words from the audience, which make a prompt on a pad.

    pad: the pad; its text becomes the words, and its weight `weight`. most: how many words count at once. lifetime:
    seconds after which a word goes. approve: whether each new word waits for you; a world with a vocabulary of its own
    takes only those words, which need no approval unless this is true. blocked: words that never count. per_person:
    seconds between two words of one person.
    """

    pad: int = Field(default=16, ge=1, le=16)
    weight: float = Field(default=0.6, ge=0, le=1)
    most: int = Field(default=4, ge=1, le=16)
    lifetime: float = Field(default=60.0, ge=1, le=3600)
    approve: bool | None = None
    blocked: list[str] = Field(default=[], max_length=1000)
    per_person: float = Field(default=20.0, ge=1, le=600)


class Crowd(ShowModel):
    """The audience. A show with `crowd:` serves a page for its phones; it is closed until `crowd/open`.

    host: 127.0.0.1 serves this machine only, lan the network. port: of the page; where another program uses it, the
    next one that is free. url: the address that the audience opens, where it is another than this machine's, as behind
    a tunnel. title: what the page is called. people: how many may take part. per_address: how many behind one network
    address, which in a venue may be all of them. twitch: a channel whose chat takes part in polls and words.
    """

    enabled: bool = True
    host: str = "127.0.0.1"
    port: int = Field(default=9070, ge=1, le=65535)
    url: (
        Annotated[
            str, Field(max_length=200),
            spelt(r"https?://[^\s/]+(/\S*)?", "the whole address, as in https://play.example.org/"),
        ]
        | None
    ) = None  # fmt: skip
    title: Label | None = None
    people: int = Field(default=3000, ge=1, le=20_000)
    per_address: int = Field(default=1500, ge=1, le=20_000)
    faders: list[CrowdFader] = Field(default=[], max_length=FADERS_MAX)
    polls: list[Poll] = Field(default=[], max_length=100)
    words: Words | None = None
    twitch: Annotated[str, spelt("[A-Za-z0-9_]{2,30}", "the name of the channel alone, as in yourchannel")] | None = (
        None
    )

    @field_validator("host")
    @classmethod
    def _host(cls, host: str) -> str:
        if host in ("lan", "*", "any", "all", ""):
            return "0.0.0.0"
        try:
            ipaddress.ip_address(host)
        except ValueError:
            raise ValueError(f"{host!r} is not an address: use 127.0.0.1, lan, or an address of this machine") from None
        return host

    @model_validator(mode="after")
    def _names_differ(self) -> Crowd:
        for what, names in (("fader", [f.name for f in self.faders]), ("poll", [p.name.lower() for p in self.polls])):
            if twice := [name for name in names if names.count(name) > 1]:
                raise ValueError(f"there are two {what}s named {twice[0]!r}: rename one")
        return self


def prompt_of(words: list[str]) -> str:
    """The prompt that the words of an audience make."""
    return ", ".join(words).encode()[:TEXT_BYTES].decode("utf-8", "ignore")


def plain(label: Label) -> str:
    """A label as the performer reads it: in English, or else in its first language."""
    return label if isinstance(label, str) else label.get("en") or next(iter(label.values()))
