"""Stream Decks play the show. Their keys do what keys of a keyboard do, and show the true state; dials and touch strips
move faders. A child program draws and reads them (deck_process.py); they come and go while the show plays."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from .. import ControlEvent, Deliver, Input
from ..child import Child

PROCESS = Path(__file__).with_name("deck_process.py")
PAINT_INTERVAL_S = 1 / 15  # between two paintings of what changed
REFRESH_S = 1.0  # in which what no feedback tells is seen: edited cues, new stills
PAGE = "page/"  # page/next, page/previous: on the deck itself
DETENTS = 50  # of a dial, from one end of a fader to the other


@dataclass(frozen=True)
class DeckShape:
    """keys, and how many in a row; touch_keys, without pictures; dials; visual: keys have pictures."""

    keys: int
    cols: int
    dials: int = 0
    visual: bool = True
    touch_keys: int = 0


@dataclass(frozen=True)
class Page:
    """One page of a deck. keys: what each does, by its number from 0, as in "act/jump" or "page/next"."""

    name: str
    keys: Mapping[int, str]


@dataclass(frozen=True)
class Fader:
    """What a dial moves, and where it stands. text: its value in words."""

    target: str
    low: float
    high: float
    default: float
    value: float
    label: str
    text: str
    whole: bool = False


class Board(Protocol):
    """What the decks play, and how it looks."""

    def pages(self, shape: DeckShape) -> Sequence[Page]: ...

    def look(self, does: str) -> Mapping[str, Any]:
        """How a key looks that does this (drawing.py)."""

    def faders(self, dials: int) -> Sequence[Fader | None]: ...


class Buttons(Protocol):
    """What buttons do; button: which one. text: as in "act/jump"."""

    def press(self, button: Hashable, text: str, at: float, source: str) -> None: ...

    def release(self, button: Hashable, at: float, source: str) -> None: ...

    def release_all(self, where: Hashable, at: float, source: str) -> None: ...


@dataclass
class _Deck:
    name: str
    shape: DeckShape
    touch: bool
    page: int = 0
    pages: Sequence[Page] = ()
    shown: dict[int, Mapping[str, Any]] = field(default_factory=dict)
    strip: list[Any] | None = None


class StreamDeckInput(Input):
    """board: what the decks play and show. brightness: of the keys, in per cent."""

    def __init__(self, board: Board, buttons: Buttons, brightness: int = 70) -> None:
        self.board, self._buttons, self._brightness = board, buttons, brightness
        self._child = Child("Stream Decks", PROCESS)
        self._decks: dict[str, _Deck] = {}
        self._lock = threading.Lock()
        self._fresh, self._stop = threading.Event(), threading.Event()
        self._reason = self._problem = ""
        self._counts: Counter[str] = Counter()
        self._threads: list[threading.Thread] = []

    def start(self, deliver: Deliver) -> None:
        """Returns at once: decks play as they are found."""
        self._deliver = deliver
        self._threads = [
            threading.Thread(target=target, name=name, daemon=True)
            for target, name in ((self._run, "stream decks"), (self._paint, "stream deck keys"))
        ]
        for thread in self._threads:
            thread.start()

    def feedback(self, target: str, value: Any) -> None:
        if not target.startswith("status/") or target in ("status/cue", "status/bank"):
            self._fresh.set()

    def status(self) -> Mapping[str, Any]:
        """reason: why Stream Decks cannot be played here. decks: names of those that are plugged in."""
        with self._lock:
            decks = [deck.name for deck in self._decks.values()]
            pages = {deck.name: deck.pages[deck.page].name for deck in self._decks.values() if deck.pages}
        running = bool(self._threads) and not self._reason and self._child.pid is not None
        return {
            "state": "running" if running else "unavailable", "decks": decks, "pages": pages, "reason": self._reason,
            "error": self._child.error or self._problem or self._reason, "delivered": self._counts["delivered"],
            "restarts": max(self._child.starts - 1, 0),
        }  # fmt: skip

    def stop(self) -> None:
        self._stop.set()
        self._fresh.set()
        self._child.end()
        for thread in self._threads:
            thread.join(5)

    # -- what the decks do -------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while self._child.start(first={"brightness": self._brightness}):
            for message in self._child.messages():
                with contextlib.suppress(ValueError, TypeError, AttributeError, KeyError, IndexError):
                    self._on_message(message)
            self._child.finish()
            self._plugged([])
            if self._reason:
                return

    def _on_message(self, message: Any) -> None:
        match message:
            case {"decks": decks}:
                self._plugged(decks)
            case {"problem": problem}:
                self._problem = str(problem)
            case {"unavailable": reason}:
                self._reason = str(reason)
            case ["key", str(name), int(key), bool(down), float(at)]:
                self._key(name, key, down, at)
            case ["dial", str(name), int(dial), int(steps), float(at)]:
                if fader := self._fader(name, dial):
                    step = steps * (fader.high - fader.low) / DETENTS
                    self._move(fader.target, steps if fader.whole else step, at, name, relative=True)
            case ["push", str(name), int(dial), True, float(at)]:
                if fader := self._fader(name, dial):
                    self._move(fader.target, fader.default, at, name)
            case ["touch", str(name), int(dial), int(share) | float(share), float(at)]:
                if fader := self._fader(name, dial):
                    self._move(fader.target, fader.low + share * (fader.high - fader.low), at, name)

    def _plugged(self, decks: Sequence[Mapping[str, Any]]) -> None:
        """Let go of what decks hold that are gone, and begin anew with those that came."""
        now = time.monotonic()
        found = {str(row["id"]): row for row in decks}
        with self._lock:
            gone = {name: self._decks.pop(name) for name in self._decks.keys() - found.keys()}
            for name, row in found.items():
                if name not in self._decks:
                    shape = DeckShape(row["keys"], row["cols"], row["dials"], row["visual"], row["touch_keys"])
                    self._decks[name] = _Deck(str(row["name"]), shape, bool(row["touch"]))
        for name, deck in gone.items():
            self._buttons.release_all(name, now, f"streamdeck {deck.name}")
        self._fresh.set()

    def _key(self, name: str, key: int, down: bool, at: float) -> None:
        deck = self._decks.get(name)
        if deck is None:
            return
        source = f"streamdeck {deck.name}"
        if not down:
            self._buttons.release((name, key), at, source)
            return
        pages = deck.pages or self.board.pages(deck.shape)
        does = self._does(deck, key, pages)
        if does.startswith(PAGE):
            step = -1 if does == f"{PAGE}previous" else 1
            with self._lock:
                deck.page = (deck.page + step) % len(pages)
            self._fresh.set()
        elif does:
            self._buttons.press((name, key), does, at, source)
            self._counts["delivered"] += 1

    @staticmethod
    def _does(deck: _Deck, key: int, pages: Sequence[Page]) -> str:
        if key >= deck.shape.keys:  # the touch keys of a Neo turn the page
            return f"{PAGE}previous" if key == deck.shape.keys else f"{PAGE}next"
        return pages[min(deck.page, len(pages) - 1)].keys.get(key, "")

    def _fader(self, name: str, dial: int) -> Fader | None:
        deck = self._decks.get(name)
        return None if deck is None else self.board.faders(deck.shape.dials)[dial]

    def _move(self, target: str, value: float, at: float, name: str, relative: bool = False) -> None:
        source = f"streamdeck {self._decks[name].name}"
        self._deliver(ControlEvent(target, (value,), at, source, {"relative": True} if relative else {}))
        self._counts["delivered"] += 1

    # -- how they look -----------------------------------------------------------------------------------------------

    def _paint(self) -> None:
        while not self._stop.is_set():
            self._fresh.wait(REFRESH_S)
            self._fresh.clear()
            with self._lock:
                decks = dict(self._decks)
            for name, deck in decks.items():
                if (news := self._news(deck)) and not self._child.send({"deck": name, **news}):
                    deck.shown, deck.strip = {}, None  # all of it is painted when the child takes it again
            self._stop.wait(PAINT_INTERVAL_S)

    def _news(self, deck: _Deck) -> dict[str, Any]:
        """What is to be painted on a deck."""
        deck.pages = self.board.pages(deck.shape)
        deck.page = min(deck.page, len(deck.pages) - 1)
        news: dict[str, Any] = {}
        if deck.shape.visual:
            looks = {key: self._look(deck, key) for key in range(deck.shape.keys)}
            if keys := {str(key): look for key, look in looks.items() if deck.shown.get(key) != look}:
                news["keys"] = keys
            deck.shown = looks
        if deck.touch:
            strip = [
                {} if fader is None else {"label": fader.label, "text": fader.text, "share": _share(fader, fader.value),
                                          "rest": _share(fader, fader.default)}
                for fader in self.board.faders(deck.shape.dials)
            ]  # fmt: skip
            if strip != deck.strip:
                news["strip"] = deck.strip = strip
        return news

    def _look(self, deck: _Deck, key: int) -> Mapping[str, Any]:
        does = self._does(deck, key, deck.pages)
        if does.startswith(PAGE):
            step = -1 if does == f"{PAGE}previous" else 1
            following = deck.pages[(deck.page + step) % len(deck.pages)].name
            return {"label": following, "detail": "page ◂" if step < 0 else "page ▸", "color": "page", "lit": 0.0}
        return self.board.look(does) if does else {}


def _share(fader: Fader, value: float) -> float:
    return round(min(max((value - fader.low) / (fader.high - fader.low), 0.0), 1.0), 3)


def list_decks() -> list[str]:
    """The Stream Decks that are plugged in, for `wj ports`. OSError, with the fix, where they cannot be listed."""
    import sys

    from .deck_process import HIDAPI, LIBRARY, Library

    try:
        library = Library()
    except ImportError:
        raise OSError(LIBRARY) from None
    try:
        decks = library.manager().enumerate()
    except library.probe_error:
        raise OSError(f"Stream Decks need hidapi: {HIDAPI.get(sys.platform, 'install it')}") from None
    return [f"{deck.deck_type()}, {deck.key_count()} keys" for deck in decks]
