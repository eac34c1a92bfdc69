"""What the keys and dials of a Stream Deck do: the show's own, and below them defaults for each size."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, field_validator

from ..parameters import PADS, PARAMETERS
from .fields import ShowModel, known_parameter
from .keys import action

PAGES = ("page/next", "page/previous")  # on the deck itself
PEDAL_KEYS = 3
DIALS = ("energy", "speed", "cam/zoom", "morph", "guidance", "cam/yaw")
SHOW_KEYS = (
    "cue/back", "cue/go", "freeze", "blackout 1", "bank/previous", "bank/next", "tempo/tap", "undo", "cam/home",
    "snapshot/save", "snapshot/recall", "preview/take", "cue/stop", "panic",
)  # fmt: skip
PEDAL = ("cue/back", "cue/go", "freeze")
FIRST_15 = (
    *(f"pad/{n}" for n in range(1, 9)), "cue/back", "cue/go", "act/dance", "act/jump", "bank/next", "freeze",
)  # fmt: skip
LAST_ROW = ("act/dance", "act/jump", "act/wave", "freeze", "bank/previous", "bank/next", "cue/go")


def check_does(text: str) -> str:
    """ValueError, with the fix, for what no key of a deck can do."""
    text = text.strip()
    if text in PAGES:
        return text
    if text.startswith("page"):
        raise ValueError(f"a deck has {' and '.join(PAGES)}, not {text[:40]!r}")
    action(text)
    return text


class DeckKey(ShowModel):
    """One key. In the file, what it does is enough. do: as keys of a keyboard do (keys.py), or page/next. label: in
    place of the usual one. color: as #ff8800."""

    do: str
    label: str = Field(default="", max_length=60)
    color: str = ""

    @field_validator("do")
    @classmethod
    def _do(cls, text: str) -> str:
        return check_does(text)

    @field_validator("color")
    @classmethod
    def _color(cls, color: str) -> str:
        if color and not re.fullmatch("#[0-9a-fA-F]{6}", color):
            raise ValueError(f"a color is written as #ff8800, in quotes, not {color[:40]!r}")
        return color.lower()


def _key(value: Any) -> Any:
    return {"do": value} if isinstance(value, str) else value


class StreamDeck(ShowModel):
    """Stream Decks. brightness: of the keys, in per cent. keys: what keys of the first page do, by their number from 1,
    row by row; nothing (null) leaves a key dark. dials: the faders of the dials, by their number from 1. pictures: pads
    show the stills that the world drew of them."""

    enabled: bool = True
    brightness: int = Field(default=70, ge=0, le=100)
    keys: dict[int, Annotated[DeckKey | None, BeforeValidator(_key)]] = Field(default={})
    dials: dict[int, str | None] = Field(default={})
    pictures: bool = True

    @field_validator("dials")
    @classmethod
    def _dials(cls, dials: dict[int, str | None]) -> dict[int, str | None]:
        for number, name in dials.items():
            if name is not None and (p := known_parameter(name)).kind not in ("float", "int"):
                raise ValueError(f"dial {number} moves a fader, but {name} is of the kind {p.kind}: use a key for it")
        return dials

    @field_validator("keys")
    @classmethod
    def _numbers(cls, keys: dict[int, DeckKey | None]) -> dict[int, DeckKey | None]:
        if min(keys, default=1) < 1:
            raise ValueError(f"keys count from 1, row by row: there is no key {min(keys)}")
        return keys

    def faders(self, dials: int) -> list[str | None]:
        """The parameter of each dial."""
        usual: Sequence[str | None] = (*DIALS, *[None] * dials)
        return [self.dials.get(n, usual[n - 1]) for n in range(1, dials + 1)]

    def pages(self, keys: int, cues: Sequence[str], paged: bool = False) -> list[tuple[str, dict[int, str]]]:
        """The pages of a deck of so many keys: name, and what each key does by its number from 0. cues: names.
        paged: the deck turns its pages by itself, and needs no key for it."""
        pages = defaults(keys, cues, paged)
        own = {number - 1: key.do if key else "" for number, key in self.keys.items() if number <= keys}
        name, first = pages[0]
        pages[0] = name, {n: does for n, does in {**first, **own}.items() if does}
        return pages


def defaults(keys: int, cues: Sequence[str], paged: bool = False) -> list[tuple[str, dict[int, str]]]:
    """The pages that a deck of so many keys has where the show sets nothing."""
    if keys <= PEDAL_KEYS:
        return [("pedal", dict(enumerate(PEDAL[:keys])))]
    room = keys if paged else keys - 1
    go = [f"cue/go {name}" for name in cues]
    pads = [f"pad/{n}" for n in range(1, PADS + 1)]
    if keys < 15:
        first = [*pads[: room - 1], "cue/go"]
    elif keys < 32:
        first = [*FIRST_15, *SHOW_KEYS[3:]][:room]
    else:
        cues_shown = keys - PADS - len(LAST_ROW) - 1
        shown = [*go[:cues_shown], *[""] * (cues_shown - len(go))]
        first = [*pads, *shown, *LAST_ROW][:room]
    acts = [f"act/{name}" for name in PARAMETERS["act"].choices]
    rest = [pad for pad in pads if pad not in first]
    pages = [("play", first)]
    for name, wanted in (("pads", rest), ("cues", go), ("acts", acts), ("show", list(SHOW_KEYS))):
        parts = [wanted[n : n + room] for n in range(0, len(wanted), room)]
        pages += [(name if len(parts) == 1 else f"{name} {n}", part) for n, part in enumerate(parts, 1)]
    turning: Mapping[int, str] = {} if paged else {keys - 1: "page/next"}
    return [(name, {**{n: does for n, does in enumerate(part) if does}, **turning}) for name, part in pages]
