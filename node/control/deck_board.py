"""What Stream Decks play and show: the show's pages, and the true state of each key and dial."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from worldjockey.integrations.stream_deck.input import DeckShape, Fader, Page

from ..parameters import PARAMETERS, find
from ..show.keys import action
from ..show.stream_deck import StreamDeck
from .desk import Desk

STILLS_INTERVAL_S = 1.0
FAMILIES = ("pad", "cue", "act", "bank")


class DeckBoard:
    """deck: the show's part. Methods may be called from any thread, and only read."""

    def __init__(self, desk: Desk, deck: StreamDeck) -> None:
        self._desk, self._deck = desk, deck
        self._own = {key.do: key for key in deck.keys.values() if key is not None}
        self.stills: Callable[[], Mapping[int, Path]] = dict  # of the present bank's pads, by number
        self._stills: tuple[float, Any, Mapping[int, Path]] = (float("-inf"), None, {})

    def _still(self, number: int) -> Path | None:
        """The still of a pad of the present bank, looked for once a second: it takes the disk."""
        at, bank, found = self._stills
        now = time.monotonic()
        if now - at > STILLS_INTERVAL_S or bank != self._desk.bank:
            found = self.stills()
            self._stills = now, self._desk.bank, found
        return found.get(number)

    def pages(self, shape: DeckShape) -> Sequence[Page]:
        cues = [cue.name for cue in self._desk.show.cues]
        return [Page(name, keys) for name, keys in self._deck.pages(shape.keys, cues, shape.touch_keys > 1)]

    def look(self, does: str) -> Mapping[str, Any]:
        look = self._look(does)
        own = self._own.get(does)
        if own is not None:
            look |= {name: value for name, value in (("label", own.label), ("color", own.color)) if value}
        return look

    def _look(self, does: str) -> dict[str, Any]:
        name, _, rest = does.partition(" ")
        family = name.partition("/")[0]
        look: dict[str, Any] = {"label": rest or name.replace("/", " "), "detail": "", "lit": 0.0,
                                "color": family if family in FAMILIES else "other"}  # fmt: skip
        desk = self._desk
        if name.startswith("pad/") and name.count("/") == 1:
            return {**look, **self._pad(int(name.removeprefix("pad/")))}
        if name == "cue/go":
            following = self._following()
            now = bool(rest) and desk.cue_name.lower() == rest.lower()
            return {**look, "label": rest or following or "cue", "detail": "cue" if rest else "GO", "lit": float(now),
                    "next": bool(rest) and rest.lower() == following.lower()}  # fmt: skip
        if name.startswith("act/"):
            return {**look, "label": name.removeprefix("act/"), "lit": float(desk.read("act") == name[4:])}
        if name in ("bank/next", "bank/previous"):
            return {**look, "label": desk.bank, "detail": "bank ▸" if name == "bank/next" else "bank ◂"}
        if name in ("panic", "blackout"):
            look["color"] = "warn"
        does_what, value = action(does), desk.read(name)
        if does_what.mode != "fire" and value is not None:
            look["lit"] = float(value == does_what.args[0])
        return look

    def _pad(self, number: int) -> dict[str, Any]:
        text = str(self._desk.read(f"pad/{number}/text"))
        bank = self._desk.show.bank(self._desk.bank if self._desk.show.banks else None)
        pad = bank[number - 1] if number <= len(bank) else None
        label = pad.label if pad is not None and pad.label and pad.prompt == text else text
        look: dict[str, Any] = {"label": label, "detail": str(number), "lit": float(self._desk.read(f"pad/{number}"))}
        if self._deck.pictures and text and (still := self._still(number)):
            look["image"] = str(still)
        return look

    def _following(self) -> str:
        """The name of the cue that `cue/go` fires."""
        cues, last = self._desk.show.cues, self._desk.store.cue
        return cues[0 if last is None else (last + 1) % len(cues)].name if cues else ""

    def faders(self, dials: int) -> Sequence[Fader | None]:
        return [None if name is None else self._fader(name) for name in self._deck.faders(dials)]

    def _fader(self, name: str) -> Fader:
        p = find(name) or PARAMETERS[name]
        value = float(self._desk.read(p.name))
        unit = f" {p.unit}" if p.unit else ""
        text = f"{value:.0f}{unit}" if p.kind == "int" or p.high > 10 else f"{value:.2f}{unit}"
        label = p.name.replace("/", " ")
        return Fader(p.name, p.low, p.high, float(p.default), value, label, text, p.kind == "int")
