"""The mailbox through which controls reach the world and the output. It holds state, and is not a queue.

Every parameter has its own slot, and the latest value wins: a fader at 1 kHz costs as much as one at 10 Hz. A trigger
is a count that only grows, so it is never lost and never obeyed twice. Because the mailbox is state, a world that was
killed and restarted reads the same values again.
"""

from __future__ import annotations

import json
import struct
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..parameters import PARAMETERS, TEXT_BYTES, WORDS_MAX, Parameter
from .cell import Cell

LOCAL_NAMES = frozenset(p.name for p in PARAMETERS.values() if p.local)  # used in the control process only
NUMBERS = tuple(p for p in PARAMETERS.values() if p.kind != "text" and not p.local)
TEXTS = tuple(p.name for p in PARAMETERS.values() if p.kind == "text" and not p.local)
_INDEX = {p.name: i for i, p in enumerate(NUMBERS)}
_NOT_FOR_THE_WORLD = [_INDEX[name] for name in ("blackout", "inbetween", "cue/go", "transition", "bank")]
_NOT_FOR_THE_WORLD += [i for name, i in _INDEX.items() if name.startswith("keystone/")]
_TEXT = struct.Struct("<dd")  # arrived_at, seconds; then UTF-8


@dataclass(frozen=True)
class TextValue:
    """A text parameter. version: grows with every change. seconds: length of the transition (NaN: the default)."""

    version: int
    text: str
    seconds: float
    arrived_at: float


@dataclass(frozen=True)
class Reading:
    """All numeric parameters at one moment. counts: how often each trigger fired and the seed was set.
    newest_control_at: arrival time of the latest change that the world obeys."""

    values: dict[str, Any]
    counts: dict[str, int]
    newest_control_at: float


class Mailbox:
    """Written by any thread of the control process, read by the world and the output."""

    def __init__(self) -> None:
        self._numbers = Cell(len(NUMBERS) * 3 * 8)
        self._texts = {name: Cell(_TEXT.size + TEXT_BYTES) for name in TEXTS}
        self._words = Cell(64 * 1024)
        self.consumed = Cell(8 * 1024)  # trigger counts that the world has obeyed; the world writes it
        self._table = np.zeros((3, len(NUMBERS)))  # value, arrived_at, count
        self._weights: dict[str, float] = {}
        self._lock = threading.Lock()
        for p in NUMBERS:
            self._table[0, _INDEX[p.name]] = _number(p, p.default) if p.kind != "trigger" else 0
        self._numbers.write(self._table.tobytes())

    def __getstate__(self) -> dict[str, Any]:
        return {k: v for k, v in self.__dict__.items() if k != "_lock"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._lock = threading.Lock()

    def post(self, name: str, value: Any, arrived_at: float, seconds: float = float("nan")) -> None:
        """Set a parameter to a coerced value (`Parameter.coerce`); a trigger fires if the value is true.

        Raises KeyError for a name that is not a parameter.
        """
        with self._lock:
            if name.startswith("word/"):
                self._post_word(name.removeprefix("word/"), float(value), arrived_at)
            elif name in LOCAL_NAMES:
                return
            elif name in self._texts:
                self._texts[name].write(_TEXT.pack(arrived_at, seconds) + str(value).encode())
            else:
                i = _INDEX[name]
                if NUMBERS[i].kind == "trigger":
                    if not value:
                        return
                else:
                    self._table[0, i] = _number(NUMBERS[i], value)
                self._table[1, i] = arrived_at
                self._table[2, i] += 1
                self._numbers.write(self._table.tobytes())

    def _post_word(self, word: str, weight: float, arrived_at: float) -> None:
        self._weights.pop(word, None)
        if weight != 1.0:
            self._weights[word] = weight
        while len(self._weights) > WORDS_MAX:  # the word that was changed least recently goes back to 1
            self._weights.pop(next(iter(self._weights)))
        self._words.write(json.dumps([arrived_at, self._weights]).encode())

    def read(self) -> Reading:
        table = np.frombuffer(self._numbers.read()[1]).reshape(3, -1)
        values = {p.name: _value(p, table[0, i]) for i, p in enumerate(NUMBERS) if p.kind != "trigger"}
        counts = {p.name: int(table[2, i]) for i, p in enumerate(NUMBERS) if p.kind == "trigger" or p.name == "seed"}
        return Reading(values, counts, float(np.delete(table[1], _NOT_FOR_THE_WORLD).max()))

    def value(self, name: str) -> float:
        """One numeric parameter, for readers that need no others."""
        return float(np.frombuffer(self._numbers.read()[1], count=len(NUMBERS))[_INDEX[name]])

    def text(self, name: str) -> TextValue:
        version, data = self._texts[name].read()
        if not version:
            return TextValue(0, "", float("nan"), 0.0)
        arrived_at, seconds = _TEXT.unpack_from(data)
        return TextValue(version, data[_TEXT.size :].decode(), seconds, arrived_at)

    def text_version(self, name: str) -> int:
        return self._texts[name].version

    def words(self) -> tuple[Mapping[str, float], float]:
        """Word weights other than 1, and the arrival time of the latest change."""
        _, data = self._words.read()
        if not data:
            return {}, 0.0
        arrived_at, weights = json.loads(data)
        return weights, arrived_at

    @property
    def cells(self) -> dict[str, Cell]:
        """All cells by name, to be copied to another machine."""
        return {**self._texts, "words": self._words, "numbers": self._numbers}

    def unlink(self) -> None:
        for cell in (*self.cells.values(), self.consumed):
            cell.unlink()


class Triggers:
    """The world's side of the triggers: each count is obeyed once, even when the world restarts after a crash."""

    def __init__(self, consumed: Cell) -> None:
        self._cell = consumed
        self._seen: dict[str, int] = json.loads(consumed.read()[1] or b"{}")

    def fired(self, counts: Mapping[str, int]) -> dict[str, int]:
        """How often each trigger fired since the last call."""
        fresh = {k: n - self._seen.get(k, 0) for k, n in counts.items() if n > self._seen.get(k, 0)}
        if fresh:
            self._seen = {k: n for k, n in counts.items() if n}
            self._cell.write(json.dumps(self._seen).encode())
        return fresh


def _number(p: Parameter, value: Any) -> float:
    return float(p.choices.index(value)) if p.kind == "enum" else float(value)


def _value(p: Parameter, number: float) -> Any:
    match p.kind:
        case "enum":
            return p.choices[int(number)]
        case "bool":
            return number != 0
        case "int":
            return int(number)
        case _:
            return float(number)
