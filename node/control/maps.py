"""The maps of a show: which control of which device plays what."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..parameters import find
from ..show.edit import control
from ..show.gamepad import DEFAULT_MAP, GamepadMapping
from ..show.keys import DEFAULT_KEYS, table
from ..show.midi_controllers import generic
from ..show.midi_mapping import MidiMapping
from ..show.schema import Show

KEY_NAMES = {" ": "space", "arrowup": "↑", "arrowdown": "↓", "arrowleft": "←", "arrowright": "→"}


@dataclass(frozen=True)
class Map:
    """One control and what it plays. kind: midi, key, gamepad or osc. source: the fields that name the control. text:
    the same in words. line: as in a show file. locked: it is a default."""

    kind: str
    source: Mapping[str, Any]
    text: str
    to: str
    line: Mapping[str, Any] = field(default_factory=dict)
    locked: bool = False
    takeover: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """As the surface lists it, with the ends of the range that it has."""
        p = find(self.to.partition(" ")[0])
        ranged = p is not None and p.kind in ("float", "int")
        ends = {"low": p.low, "high": p.high} if p is not None and ranged else {"low": None, "high": None}
        for end in ends:
            if self.line.get(end) is not None:
                ends[end] = self.line[end]
        return {
            "kind": self.kind, "source": dict(self.source), "text": self.text, "to": self.to, **ends,
            "curve": self.line.get("curve", "linear"), "takeover": self.takeover, "locked": self.locked,
            **{name: self.line[name] for name in ("mode", "value") if name in self.line},
        }  # fmt: skip


def map_rows(show: Show) -> list[Map]:
    """The show's own maps, then the defaults that no map of the show replaces."""
    return [*_midi(show), *_osc(show), *_gamepad(show), *_keys(show), *_default_midi(show), *_default_gamepad(show)]


def midi_text(line: Mapping[str, Any]) -> str:
    """ "CC 7, channel 1, APC mini"."""
    words = {"note": "note", "cc": "CC", "cc14": "CC 14 bit", "nrpn": "NRPN", "program": "program",
             "polytouch": "aftertouch of note"}  # fmt: skip
    control = next((f"{word} {line[name]}" for name, word in words.items() if line.get(name) is not None), "")
    control = control or ("pitch bend" if line.get("pitchbend") else "aftertouch")
    channel = f"channel {line['channel']}" if line.get("channel") else ""
    return ", ".join(filter(None, (control, channel, line.get("device"))))


MIDI_FIELDS = {"bend": "pitchbend", "pressure": "aftertouch", "poly": "polytouch"}  # of a line, by a rule's kind


def pickup_rows(waiting: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """MIDI's faders that wait until they reach their parameter's value, as the surface shows them: "text" and "to" as
    in the list of maps, and "at", the value where the fader stands.

    waiting: from the status of the MIDI input, as `Translator.pickups` gives them.
    """
    found = []
    for fader in waiting:
        named = {MIDI_FIELDS.get(fader["kind"], fader["kind"]): True if fader["number"] is None else fader["number"]}
        p = find(fader["target"])
        if p is not None:
            text = midi_text({**named, "channel": fader["channel"], "device": fader["device"]})
            found.append({"text": text, "to": fader["target"], "at": p.coerce(fader["at"])})
    return found


def _line(mapping: Any) -> dict[str, Any]:
    return {**mapping.model_dump(exclude_defaults=True), "to": mapping.to}


def _midi_map(mapping: MidiMapping, takeover: str, locked: bool = False) -> Map:
    line = _line(mapping)
    fader = mapping.rule(takeover)["takeover"]
    return Map("midi", control("midi", line), midi_text(line), mapping.to or "", line, locked, fader)


def _midi(show: Show) -> Iterator[Map]:
    return (_midi_map(line, show.midi.takeover) for line in show.midi.map if line.to)


def _default_midi(show: Show) -> Iterator[Map]:
    if show.midi.enabled and show.midi.defaults:
        taken = {line.source for line in show.midi.map if line.device is None}
        for line in generic().map:
            if line.source not in taken and line.to:
                yield _midi_map(line, show.midi.takeover, True)


def _osc(show: Show) -> Iterator[Map]:
    for mapping in show.osc.map:
        yield Map("osc", {"address": mapping.address}, mapping.address, mapping.to, _line(mapping))


def _pad_map(mapping: GamepadMapping, locked: bool = False) -> Map:
    kind = "button" if mapping.button else "axis"
    name = str(mapping.button or mapping.axis)
    text = f"{name.replace('_', ' ')}" + (" stick" if mapping.axis and not name.endswith("trigger") else "")
    return Map("gamepad", {kind: name}, text, mapping.to or "", _line(mapping), locked)


def _gamepad(show: Show) -> Iterator[Map]:
    return (_pad_map(mapping) for mapping in show.gamepad.map if mapping.to)


def _default_gamepad(show: Show) -> Iterator[Map]:
    mentioned = {(line.button, line.axis) for line in show.gamepad.map}
    if show.gamepad.enabled:
        yield from (_pad_map(line, True) for line in DEFAULT_MAP if (line.button, line.axis) not in mentioned)


def _keys(show: Show) -> Iterator[Map]:
    """The show's own keys. All of them, defaults included, are in `keys`."""
    for key, to in table(show.keys).items():
        if DEFAULT_KEYS.get(key) != to:
            yield Map("key", {"key": key}, f"key {KEY_NAMES.get(key, key)}", to)
