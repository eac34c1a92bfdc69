"""What this machine has for inputs and outputs: MIDI ports, audio inputs, NDI sources, cameras, ..., for `wj ports`."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any


def found(seconds: float = 2.0) -> dict[str, dict[str, Any]]:
    """By kind: `found`, the names in the order in which options count them, and `error`, the reason for none."""
    return {
        "MIDI in": _listed("midi.input", lambda m: m.list_ports()),
        "MIDI out (timecode)": _listed("midi.mtc_output", lambda m: m.list_outputs()),
        "sound in": _listed("audio.input", lambda m: m.devices()),
        "NDI sources": _listed("ndi.output", lambda m: m.list_sources(seconds)),
        "cameras": _listed("camera", lambda m: m.list_cameras()),
        "monitors": _listed("window", lambda m: m.list_monitors()),
        "gamepads": _listed("gamepad.input", lambda m: m.list_gamepads()),
        "Stream Decks": _listed("stream_deck.input", lambda m: m.list_decks()),
        "OBS": _listed("obs.input", lambda m: m.list_servers()),
        "networks (lighting desks)": _listed("dmx.multicast", lambda m: sorted(m.networks("0.0.0.0"))),
    }


def _listed(module: str, ask: Callable[[Any], list[str]]) -> dict[str, Any]:
    try:
        return {"found": ask(importlib.import_module(f"worldjockey.integrations.{module}")), "error": ""}
    except (ImportError, OSError, RuntimeError) as error:
        return {"found": [], "error": str(error)}
