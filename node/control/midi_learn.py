"""`wj learn`: move a control, and the show file gets the line that maps it."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from worldjockey.integrations import ControlEvent

from ..show import edit_process
from ..show.fields import known_parameter
from ..show.midi_mapping import learned, learned_line
from ..show.yaml_file import ShowError


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
        found.append(learned_line(to, source))
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


def save(path: Path, mapping: Mapping[str, Any]) -> None:
    """Write a mapping into a show file, in place of the line of the same control. Raises ShowError or OSError, with the
    fix, where that is not possible; the file then stays as it is."""
    _, refused = edit_process.save(path, [{"do": "map/put", "kind": "midi", "mapping": mapping}], None, True, path)
    if refused:
        raise ShowError(f"{refused[0]}: below `map:` of `midi:`\n  - {line(mapping)}")
