"""The maps of known controllers: YAML files in controllers/, one for each product.

name: of the product
ports: parts of its ports' names; skip: parts of the names of ports to ignore; outputs: parts of the names of the ports
that take its lights
hello, bye: messages in hexadecimal that are sent when it is plugged in, and when the show ends
map: lines as in a show's `midi: map:`. A range as in "11..14", or a list, stands for one line for each of its values;
several ranges in one line, as in `to: pad/1..4`, advance together.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, field_validator

from .midi_mapping import MidiMapping

FOLDER = Path(__file__).parent / "controllers"
GENERIC = "generic"  # the map for unknown controllers
RUN = re.compile(r"(\d+)\.\.(\d+)")


class ControllerMap(BaseModel):
    """One file of controllers/."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    ports: list[str] = []
    skip: list[str] = []
    outputs: list[str] = []
    hello: list[str] = []
    bye: list[str] = []
    map: list[MidiMapping]

    @field_validator("map", mode="before")
    @classmethod
    def _expand(cls, lines: Any) -> list[Any]:
        return [line for short in lines for line in expanded(short)]

    @field_validator("hello", "bye")
    @classmethod
    def _hexadecimal(cls, messages: list[str]) -> list[str]:
        for message in messages:
            bytes.fromhex(message)
        return messages

    def fields(self, takeover: str = "pickup") -> dict[str, Any]:
        """The fields of the MIDI input's `Controller` (integrations/midi/rules.py)."""
        return {
            "name": self.name, "ports": tuple(self.ports), "skip": tuple(self.skip), "outputs": tuple(self.outputs),
            "hello": tuple(tuple(bytes.fromhex(m)) for m in self.hello),
            "bye": tuple(tuple(bytes.fromhex(m)) for m in self.bye),
            "rules": [m.rule(takeover) for m in self.map],
        }  # fmt: skip


def expanded(line: dict[str, Any]) -> list[dict[str, Any]]:
    """{"note": "36..38", "to": "pad/1..3"} -> three lines. ValueError if the ranges differ in length."""
    runs = {key: _run(value) for key, value in line.items() if key != "light"}
    runs = {key: run for key, run in runs.items() if run is not None}
    if not runs:
        return [line]
    lengths = {len(run) for run in runs.values() if run is not None}
    if len(lengths) != 1:
        raise ValueError(f"the ranges of {line} differ in length: give each the same number of values")
    return [{**line, **{key: run[i] for key, run in runs.items() if run is not None}} for i in range(lengths.pop())]


def _run(value: Any) -> list[Any] | None:
    if isinstance(value, list):
        return value
    match = RUN.search(value) if isinstance(value, str) else None
    if match is None:
        return None
    first, last = int(match[1]), int(match[2])
    numbers = range(first, last + 1) if first <= last else range(first, last - 1, -1)
    if match[0] == value:
        return list(numbers)
    return [value[: match.start()] + str(n) + value[match.end() :] for n in numbers]


@cache
def load(name: str) -> ControllerMap:
    """The map with that file name: "generic" or one of `names`."""
    return ControllerMap.model_validate(yaml.safe_load((FOLDER / f"{name}.yaml").read_text("utf-8")))


def generic() -> ControllerMap:
    return load(GENERIC)


def names() -> list[str]:
    """The file names of the known controllers' maps, without suffix."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml") if path.stem != GENERIC)


def known(takeover: str = "pickup") -> list[dict[str, Any]]:
    """Every known controller, as the MIDI input takes them."""
    return [load(name).fields(takeover) for name in names()]


def rules(mappings: Iterable[MidiMapping], defaults: bool = True, takeover: str = "pickup") -> list[dict[str, Any]]:
    """The rules that the MIDI input takes. A message in `mappings` replaces the default one of every channel."""
    own = list(mappings)
    taken = {m.source for m in own if m.device is None}
    rest = [m for m in generic().map if m.source not in taken] if defaults else []
    return [*(m.rule(takeover) for m in own), *(m.rule(takeover, default=True) for m in rest)]


def default_source(name: str) -> str:
    """The messages that play a parameter by default, for the reference: "note 36, CC 102"; empty if there are none."""
    kinds = {"cc": "CC", "bend": "pitch bend", "program": "program change"}
    found = [m.source for m in generic().map if m.to == name]
    return ", ".join(kinds.get(k, k) + (f" {n}" if n is not None else "") for k, n in found)
