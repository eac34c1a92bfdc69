"""What the surface shows besides the parameters' values: the show ("show"), and how it goes ("status")."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from ..control.desk import Desk
from ..control.maps import pickup_rows
from ..ipc.log_file import current_path
from ..parameters import PADS
from ..show.pads import Cue, Pad
from ..show.schema import Show
from ..timing.schedule import Waiting
from ..timing.tempo import Line
from .report import tally

WORLD_FACTS = (
    "state",
    "fps",
    "wanted_fps",
    "painted_fps",
    "runtime",
    "quality",
    "message",
    "restarts",
    "width",
    "height",
    "unread",
)
CLOCK_FACTS = ("ticks", "late", "missed", "worst_ms")
NO_PREVIEW = {"state": "off", "fps": 0.0, "message": ""}
Parts = dict[str, Callable[[], Any]]


class SurfaceState:
    """Builds both, ten times a second and in well under a millisecond: the control loop waits for it.

    file: of the show; None for the embedded one. show_parts, status_parts: more fields, each made by a function that
    must be as quick. messages: the latest lines of the terminal, each with its time.
    """

    def __init__(self, desk: Desk, messages: Iterable[tuple[float, str]], file: Path | None = None) -> None:
        self.file = file
        self.show_parts: Parts = {}
        self.status_parts: Parts = {}
        self._desk, self._messages = desk, messages
        self._log = str(current_path() or "")
        self._shown: Show | None = None
        self._show: dict[str, Any] = {}
        self._stale = True

    def show_changed(self) -> None:
        """Build "show" anew: something in it has changed. From any thread."""
        self._stale = True

    def build(self, now: float, world: Mapping[str, Any], clock: Mapping[str, Any], outputs: Mapping[str, Any],
              latency_ms: Mapping[str, float], inputs: Mapping[str, Mapping[str, Any]],
              monitors: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:  # fmt: skip
        """{"show", "status", "monitors"}. world, clock, outputs, inputs, monitors: statuses, the last three by name.
        "show" is the same object until it changes."""
        if self._stale or self._shown is not self._desk.show:
            self._stale, self._shown = False, self._desk.show
            parts = {name: part() for name, part in self.show_parts.items()}
            self._show = {**show_of(self._desk.show, self.file), **parts}
        status = {
            "world": {"model": self._desk.show.model, **_some(world, WORLD_FACTS)},
            "clock": _some(clock, CLOCK_FACTS),
            "latency_ms": {name: latency_ms.get(name, 0.0) for name in ("p50", "p95")},
            "outputs": {
                name: {"state": "opening", **_some(o, ("state", "message", "facts"))} for name, o in outputs.items()
            },
            "inputs": dict(inputs),
            "messages": [{"at": round(at, 2), "text": text} for at, text in list(self._messages)],
            "log": self._log,
            "tempo": tempo(self._desk, now),
            "cue": cue(self._desk, now),
            "tally": tally(outputs, inputs),
            "bank": self._desk.bank,
            "snapshots": self._desk.player.snapshots.names,
            "surfaces": inputs.get("surface", {}).get("clients", 0),
            "preview": NO_PREVIEW,
            "learning": None,
            "moved": moved(self._desk),
            "pickup": pickup_rows(inputs.get("midi", {}).get("pickup", ())),
            "stills": {},
            "timecode": None if self._desk.timecode is None else self._desk.timecode.status(now),
        }
        status |= {name: part() for name, part in self.status_parts.items()}
        urls = {bus: m["facts"]["url"] for bus, m in monitors.items() if m.get("facts", {}).get("url")}
        return {"show": self._show, "status": status, "monitors": urls}


def _some(status: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    return {name: status[name] for name in names if name in status}


def tempo(desk: Desk, now: float) -> dict[str, Any]:
    meter = desk.clock.meter
    return {**desk.clock.status(now), "beats_a_bar": meter.bar, "bars_a_phrase": meter.phrase}


def moved(desk: Desk) -> dict[str, float]:
    """The present values of what modulators move, by name; the faders themselves stay where they are."""
    return {name: round(desk.mailbox.value(name), 4) for name in desk.store.modulated}


def cue(desk: Desk, now: float) -> dict[str, Any]:
    """Of the cues, by index: the last one, the next one, what waits for its beat, what follows, and what moves."""
    count, last, line = len(desk.show.cues), desk.store.cue, desk.clock.line(now)
    schedule = desk.player.schedule
    return {
        "now": last,
        "next": None if not count else 0 if last is None else (last + 1) % count,
        "waiting": _waiting(schedule.asked, line, now),
        "follow": _waiting(schedule.following, line, now),
        "moving": desk.player.ramps.left(now),
    }


def _waiting(waiting: Waiting | None, line: Line, now: float) -> dict[str, Any] | None:
    if waiting is None:
        return None
    index = waiting.what.args[0] - 1 if waiting.what.target == "cue/go" else None  # a snapshot has none
    return {"index": index, "seconds": round(max(waiting.lands(line) - now, 0.0), 2)}


def show_of(show: Show, file: Path | None) -> dict[str, Any]:
    """The show as the surface lists it."""
    banks = show.banks or {"1": show.pads}
    return {
        "name": show.name, "file": "" if file is None else str(file), "model": show.model,
        "size": [show.width, show.height], "fps": round(show.fps_num / show.fps_den, 3),
        "unsaved": False, "error": "",
        "banks": [{"name": name, "pads": _pads(pads)} for name, pads in banks.items()],
        "cues": [_cue(cue) for cue in show.cues],
        "maps": [], "keys": {}, "favourites": [], "attributes": {},
        "sound": [{"of": line.of, "to": line.to} for line in show.sound.map],
        "fires": {str(n): line.fire for n, line in enumerate(show.modulators, 1) if line.fire},
    }  # fmt: skip


def _pads(pads: list[Pad]) -> list[dict[str, Any]]:
    return [_pad(pad) for pad in (*pads, *[Pad()] * (PADS - len(pads)))]


def _pad(pad: Pad) -> dict[str, Any]:
    return {
        "label": pad.label, "text": pad.text, "image": pad.image, "sound": pad.sound, "video": pad.video,
        "prompt": pad.prompt,
    }  # fmt: skip


def _cue(cue: Cue) -> dict[str, Any]:
    return {
        "name": cue.name, "prompt": cue.prompt, "bank": cue.bank, "pads": cue.pads, "values": cue.values,
        "seconds": cue.seconds, "transition": cue.transition and str(cue.transition), "curve": cue.curve,
        "quantise": cue.quantise, "follow": cue.follow and str(cue.follow), "at": cue.at,
    }  # fmt: skip
