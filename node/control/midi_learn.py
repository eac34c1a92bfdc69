"""`wj learn`: move a control, and the show file gets the line that maps it."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from worldjockey.integrations import ControlEvent

from ..show.fields import known_parameter
from ..show.midi_mapping import learned
from ..show.schema import Show
from ..show.yaml_file import ShowError, ShowLoader, read, write


def listen(target: str, seconds: float, backend: str = "auto") -> dict[str, Any] | None:
    """Wait for the next control that is moved, and return its mapping as a line of a show; None after `seconds`.

    Raises ValueError for a target that nothing can be mapped to, OSError where there is no MIDI.
    """
    from worldjockey.integrations.midi.input import LEARN, MIDIInput

    target = known_parameter(target).name
    learned(target, {"note": 0})
    found: list[dict[str, Any]] = []
    done = threading.Event()

    def compose(to: str, source: Mapping[str, Any]) -> dict[str, Any]:
        mapping = learned(to, source)
        found.append({**source, "to": to})
        return mapping.rule()

    def deliver(control: ControlEvent) -> None:
        if control.target == LEARN:
            done.set()

    midi = MIDIInput([], backend, name="worldjockey-learns", compose=compose)
    midi.start(deliver)
    try:
        midi.learn(target)
        done.wait(seconds)
        if not found and not midi.status()["ports"]:
            raise OSError(midi.status()["error"] or "nothing is plugged in")
    finally:
        midi.stop()
    return found[-1] if found else None


def line(mapping: Mapping[str, Any]) -> str:
    """ "{note: 36, channel: 10, to: pad/1}": a mapping as a line of `midi: map:` in a show file."""
    return yaml.safe_dump(dict(mapping), default_flow_style=True, sort_keys=False, width=10**6).strip()


def insert(text: str, mapping: Mapping[str, Any]) -> str:
    """Add one mapping to the text of a show file; comments and order stay. It replaces a line of the same control.

    Raises ShowError, with the line to write by hand, where the layout of the file has no place for it.
    """
    new = f"- {line(mapping)}"
    root = yaml.compose(text, ShowLoader) if text.strip() else None
    midi = _value(root, "midi")
    if midi is None:
        return text + ("" if not text or text.endswith("\n") else "\n") + f"\nmidi:\n  map:\n  {new}\n"
    lines = text.split("\n")
    entries = _value(midi, "map")
    if (empty := _empty(root, "midi") or _empty(midi, "map")) is not None:  # all lines below are comments, if any
        at, indent = empty.start_mark.line + 1, " " * (empty.start_mark.column + 2)
        below = [f"{indent}map:", f"{indent}{new}"] if empty.value == "midi" else [f"{indent}{new}"]
        return "\n".join([*lines[:at], *below, *lines[at:]])
    if isinstance(midi, yaml.MappingNode) and not midi.flow_style and entries is None:
        at, indent = midi.start_mark.line, " " * midi.start_mark.column
        return "\n".join([*lines[:at], f"{indent}map:", f"{indent}{new}", *lines[at:]])
    if not isinstance(entries, yaml.SequenceNode) or entries.flow_style or not entries.value:
        raise ShowError(f"write it by hand, below `map:` of `midi:`\n  {new}")
    mappings = yaml.load(text, ShowLoader)["midi"]["map"]
    for entry, before in zip(entries.value, mappings, strict=True):
        if _named(before) == _named(mapping):
            first, end = entry.start_mark.line, max(mark.line for mark in _ends(entry)) + 1
            return "\n".join([*lines[:first], " " * entries.start_mark.column + new, *lines[end:]])
    at = entries.value[0].start_mark.line
    return "\n".join([*lines[:at], " " * entries.start_mark.column + new, *lines[at:]])


def save(path: Path, mapping: Mapping[str, Any]) -> None:
    """Write a mapping into a show file, whole or not at all, with the ends of lines that the file has. Raises ShowError
    where the result is not a valid show."""
    text = read(path)
    Show.parse(text, str(path))
    end = re.search(r"\r\n|\r|\n", text + "\n")
    assert end is not None
    after = insert(re.sub(r"\r\n|\r", "\n", text), mapping).replace("\n", end.group())
    Show.parse(after, str(path))
    write(path, after)


def _value(node: yaml.Node | None, key: str) -> yaml.Node | None:
    if not isinstance(node, yaml.MappingNode):
        return None
    return next((value for name, value in node.value if name.value == key), None)


def _empty(node: yaml.Node | None, key: str) -> yaml.ScalarNode | None:
    """The key, if nothing stands behind it in a mapping of lines."""
    if not isinstance(node, yaml.MappingNode) or node.flow_style:
        return None
    return next((name for name, value in node.value if name.value == key and value.value == ""), None)


def _ends(node: yaml.Node) -> Iterator[yaml.Mark]:
    """Where the text of a node ends. The end mark of a block will not do: it is where the next node begins."""
    if isinstance(node, yaml.CollectionNode) and not node.flow_style:
        for part in node.value:
            for below in part if isinstance(part, tuple) else (part,):
                yield from _ends(below)
    else:
        yield node.end_mark


NAMES = ("note", "cc", "cc14", "nrpn", "pitchbend", "program", "channel", "device")


def _named(mapping: Mapping[str, Any]) -> dict[str, Any]:
    return {name: mapping[name] for name in NAMES if name in mapping}
