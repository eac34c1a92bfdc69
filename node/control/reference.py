"""The printed reference, generated from the table: every parameter with its OSC address, MIDI control and values."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..parameters import PARAMETERS, Parameter, find
from ..show.midi_controllers import default_source

TYPETAGS = {"float": "f", "int": "i", "bool": "T/F", "trigger": "", "enum": "s or i", "text": "s"}


def _limits(p: Parameter) -> str:
    if p.kind == "enum":
        return ", ".join(p.choices)
    return f"{p.low:g} .. {p.high:g}" if p.kind in ("float", "int") else ""


def _default(p: Parameter) -> str:
    if p.kind == "trigger" or p.default in (None, ""):
        return ""
    return f"{p.default:g}" if isinstance(p.default, float) else str(p.default).lower()


def parameters() -> Iterator[Parameter]:
    """The table's rows in its order, with `word/<word>` and `event/<name>` for those of all words and events."""
    yield from PARAMETERS.values()
    word = find("word/storm")
    assert word is not None
    yield Parameter("word/<word>", word.kind, "weight of one word in every prompt", word.default, word.low, word.high)
    yield Parameter("event/<name>", "trigger", "an event of the show's `events`", takes="[1 or 0]")


def rows() -> list[dict[str, Any]]:
    """One dictionary a parameter, JSON-able: what `wj reference --json` prints."""
    return [row(p) for p in parameters()]


def row(p: Parameter) -> dict[str, Any]:
    """One parameter, JSON-able."""
    return {
        "name": p.name,
        "osc": p.osc,
        "arguments": " ".join(filter(None, (TYPETAGS[p.kind], p.takes))),
        "kind": p.kind,
        "range": _limits(p),
        "low": p.low if p.kind in ("float", "int") else None,
        "high": p.high if p.kind in ("float", "int") else None,
        "choices": list(p.choices),
        "default": None if p.kind == "trigger" else p.default,
        "unit": p.unit,
        "smoothing": p.smoothing,
        "midi": default_source(p.name),
        "doc": p.doc,
    }


COLUMNS = ("OSC", "takes", "range", "default", "MIDI", "what it does")


def table() -> list[tuple[str, ...]]:
    """The same, as the texts of a table with COLUMNS."""
    return [
        (
            row["osc"],
            row["arguments"] or "(nothing)",
            " ".join(filter(None, (row["range"], row["unit"]))),
            _default(p),
            row["midi"],
            row["doc"],
        )
        for p, row in zip(parameters(), rows(), strict=True)
    ]


def markdown() -> str:
    lines = ["| " + " | ".join(COLUMNS) + " |", "|" + " --- |" * len(COLUMNS)]
    for osc, *rest in table():
        lines.append("| " + " | ".join([f"`{osc}`", *(cell.replace("|", "\\|") for cell in rest)]) + " |")
    return "\n".join(lines)
