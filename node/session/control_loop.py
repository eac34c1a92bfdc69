"""The control loop of a running show: advances the desk, watches the processes, and publishes how the show goes.

Nothing here may block: a cue waits for this loop. The terminal is written by a thread of its own, statuses come from
shared memory, and an input's `feedback` only hands the value over.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

from worldjockey.integrations import Input

from ..control.desk import Desk
from ..control.keyboard import Keyboard
from ..control.refusals import Refusals
from ..ipc.log_file import current_path
from ..ipc.signals import StopRequest
from ..ipc.status import plain_text
from . import status_line
from .processes import Processes
from .report import latency, tally
from .situations import Situations
from .surface_state import SurfaceState
from .terminal import Terminal

logger = logging.getLogger(__name__)
CONTROL_INTERVAL_S = 0.01
WATCH_INTERVAL_S = 0.1
MIN_LATENCY_SAMPLES = 5  # from which on cues are fired early by the median latency


class HasStatus(Protocol):
    def status(self) -> Mapping[str, Any]: ...


@dataclass(frozen=True)
class Statuses:
    """The processes' statuses at one moment, the outputs' by name."""

    world: dict[str, Any]
    clock: dict[str, Any]
    outputs: dict[str, Any]
    monitors: dict[str, Any]  # by bus
    inputs: dict[str, Mapping[str, Any]]

    @classmethod
    def of(cls, processes: Processes, inputs: Mapping[str, Input]) -> Statuses:
        monitors = {"program": processes.monitor.status()} if processes.monitor else {}
        if processes.preview and (shown := processes.preview.monitor_status()):
            monitors["preview"] = shown
        return cls(
            processes.world.status(), processes.clock.status(), processes.output_statuses(), monitors, _statuses(inputs)
        )  # fmt: skip

    @cached_property
    def latency(self) -> dict[str, float]:
        """From a control's arrival to the sent frame, as `report.latency`, in ms. A show that only the surface shows
        has that of its monitor."""
        return latency(self.outputs or self.monitors)

    @property
    def all_outputs_ended(self) -> bool:
        """The user closed every output that can work here."""
        return {output.get("state") for output in self.outputs.values()} in ({"closed"}, {"closed", "unsuitable"})


class ControlLoop:
    """seconds: how long to play, counted from the clock's first tick; None is until a stop is requested. files:
    what else works beside the show, as the writers of files, by name; their errors are shown like those of inputs.
    state: builds what inputs publish; None where none of them does. keyboard: takes the keys that are pressed in
    outputs. advancing: what else moves, by name, called with the time in each round; must be quick."""

    def __init__(self, desk: Desk, inputs: Mapping[str, Input], processes: Processes, terminal: Terminal,
                 seconds: float | None = None, files: Mapping[str, HasStatus] | None = None,
                 state: SurfaceState | None = None, keyboard: Keyboard | None = None,
                 on_air: Callable[[], None] = lambda: None,
                 advancing: Mapping[str, Callable[[float], None]] | None = None) -> None:  # fmt: skip
        self._desk, self._inputs, self._processes, self._terminal = desk, inputs, processes, terminal
        self._seconds, self._state, self._keyboard = seconds, state, keyboard
        self._sources: dict[str, HasStatus] = {**inputs, **(files or {})}
        self._first_tick_at: float | None = None
        self._on_air, self._advancing = on_air, advancing or {}
        self._situations = Situations()
        self._announced = _Announced(processes)

    def run(self, stop: StopRequest, watch: Callable[[Processes], bool] | None = None) -> None:
        """Returns when the show ends: on request, when the time is up, or when the user closed the last output.

        watch: called ten times a second; the show ends when it returns true. Raises RuntimeError where world or clock
        cannot be opened at all.
        """
        watched_at = 0.0
        while not stop.requested:
            now = time.monotonic()
            self._take_keys()
            self._advance(now)
            self._desk.advance(now)
            self._send_feedback(self._desk.changed())
            self._publish_situation(now)
            if now - watched_at > WATCH_INTERVAL_S:
                watched_at = now
                self._processes.watch(now)
                statuses = Statuses.of(self._processes, self._inputs)
                if self._first_tick_at is None and statuses.clock.get("ticks"):
                    self._first_tick_at = now
                    self._on_air()
                self._announce(statuses)
                self._publish(now, statuses)
                self._publish_state(now, statuses)
                self._show_status(now, statuses)
                if statuses.all_outputs_ended or (watch is not None and watch(self._processes)):
                    return
            if self._time_is_up(now):
                return
            time.sleep(CONTROL_INTERVAL_S)

    def _take_keys(self) -> None:
        if self._keyboard is None:
            return
        previewed = self._processes.preview.keys if self._processes.preview else {}
        for blind, lines in ((False, self._processes.keys), (True, previewed)):
            for name, line in lines.items():
                try:
                    for event in line.take():
                        self._keyboard.key(name, event.key, event.down, event.at, blind)
                except Exception as error:
                    self._desk.mishap(f"the keys of {name}", error)

    def _advance(self, now: float) -> None:
        for name, advance in self._advancing.items():
            try:
                advance(now)
            except Exception as error:
                self._desk.mishap(name, error)

    def _publish_situation(self, now: float) -> None:
        """Send where the camera is and what is near, as /wj/state/..."""
        if self._situations.due(now):
            self._send_feedback(self._situations.news(self._processes.world.status().get("situation"), now))

    def _time_is_up(self, now: float) -> bool:
        begun = self._first_tick_at
        return self._seconds is not None and begun is not None and now - begun >= self._seconds

    def _send_feedback(self, values: Mapping[str, Any]) -> None:
        for target, value in values.items():
            for name, source in self._inputs.items():
                try:
                    source.feedback(target, value)
                except Exception as error:
                    self._desk.mishap(f"feedback to {name}", error)

    def _announce(self, statuses: Statuses) -> None:
        """Print one line for each event that is new, and note the errors that the show plays on with."""
        for text in self._announced.process_events(self._processes, statuses.world):
            self._terminal.print_line(f"wj: {text}")
        for text in status_line.errors(statuses.world, statuses.clock, statuses.outputs):
            self._desk.note_error(text)
        for text in self._announced.desk_errors(self._desk):
            self._terminal.print_line(f"wj: {text}; the rest goes on")
        now = time.monotonic()
        if refusal := self._desk.refusal_to_show(now):
            self._terminal.print_line(f"wj: not obeyed: {refusal}")
        if text := self._announced.input_error(self._sources, statuses.world, now):
            self._terminal.print_line(f"wj: {text}")

    def _publish(self, now: float, statuses: Statuses) -> None:
        """Send how the show goes to the desk, the outputs and the controllers."""
        desk, delay = self._desk, statuses.latency
        if delay["count"] >= MIN_LATENCY_SAMPLES:
            desk.latency = delay["p50"] / 1e3
        line, bar = desk.clock.line(now), desk.clock.meter.bar
        rhythm = {"time": now, "beat": line.beat_at(now), "bpm": line.bpm, "bar": bar}
        metadata = {**desk.news(), "latency_ms": delay["p50"], "rhythm": rhythm}
        self._processes.metadata.write(json.dumps(metadata).encode())
        self._send_feedback({
            "status/world_fps": statuses.world.get("fps", 0.0), "status/latency_ms": delay["p50"],
            "status/frames": statuses.clock.get("ticks", 0), "status/state": statuses.world.get("state", "opening"),
            "status/refused": desk.counts["refused"], "status/quality": statuses.world.get("quality", ""),
            "status/bank": desk.bank, "status/cue": desk.cue_name,
            "status/cue_number": 0 if desk.store.cue is None else desk.store.cue + 1,
            "status/tally": tally(statuses.outputs, statuses.inputs),
            "status/beat": round(desk.clock.line(now).beat_at(now), 2),
        })  # fmt: skip
        if desk.timecode is not None:
            timecode = desk.timecode.status(now)
            self._send_feedback({"status/timecode": timecode["now"], "status/timecode_state": timecode["state"]})

    def _publish_state(self, now: float, statuses: Statuses) -> None:
        """Hand what the surface shows to the inputs."""
        if self._state is None:
            return
        try:
            s = statuses
            state = self._state.build(now, s.world, s.clock, s.outputs, s.latency, s.inputs, s.monitors)
            state["situation"] = s.world.get("situation", {})
            for source in self._inputs.values():
                source.publish(state)
        except Exception as error:
            self._desk.mishap("the surface", error)

    def _show_status(self, now: float, statuses: Statuses) -> None:
        if self._terminal.live:
            tempo = self._desk.clock.status(now)
            bank = f"  ·  bank {self._desk.bank}" if self._desk.show.banks else ""
            line = status_line.line(statuses.world, statuses.clock, statuses.outputs)
            preview = self._processes.preview.status() if self._processes.preview else {"state": "off"}
            shown = "" if preview["state"] == "off" else f"  ·  preview {preview['state']} {preview['fps']:.1f} fps"
            timecode = "" if self._desk.timecode is None else status_line.timecode(self._desk.timecode.status(now))
            self._terminal.show_status(f"{line}{shown}  ·  {tempo['bpm']:.1f} bpm ({tempo['source']}){bank}{timecode}")


class _Announced:
    """The messages that the terminal has already shown, so that each is printed once."""

    def __init__(self, processes: Processes) -> None:
        self._details = f" (details: {path})" if (path := current_path()) else ""
        self._last_event = dict.fromkeys(map(id, processes.supervisors), "")
        self._link_error = self._live_error = ""
        self._desk_errors = self._machine_events = 0
        self._input_errors: dict[str, str] = {}
        self._refusals = Refusals()

    def process_events(self, processes: Processes, world: Mapping[str, Any]) -> list[str]:
        """Deaths and restarts, a lost or restored link to a world on another machine, which of two machines plays, and
        a lost live picture."""
        new = []
        for supervisor in processes.supervisors:
            event = supervisor.events[-1] if supervisor.events else ""
            if event and event != self._last_event.get(id(supervisor)):  # the same error again is not announced again
                self._last_event[id(supervisor)] = event
                then = "playing on without it" if supervisor.unsuitable else "starting it again"
                new.append(f"{event}; {then}{self._details}")
        link_error = "" if world.get("link", {"up": True})["up"] else world["message"]
        if link_error != self._link_error:
            self._link_error = link_error
            new.append(link_error or "the world is back")
        new += self._events_of_machines(world.get("link", {}))
        if processes.live and (live_error := processes.live.status().get("message", "")) != self._live_error:
            self._live_error = live_error
            if live_error:
                new.append(f"live picture: {live_error}; trying again")
        return new

    def _events_of_machines(self, link: Mapping[str, Any]) -> list[str]:
        if "event_count" not in link:
            return []
        fresh = link["event_count"] - self._machine_events
        if fresh < 0:  # the process that counts them was started again
            fresh = link["event_count"]
        self._machine_events = link["event_count"]
        return list(link["events"][-fresh:]) if fresh else []

    def input_error(self, inputs: Mapping[str, HasStatus], world: Mapping[str, Any], now: float) -> str:
        """Why an input does not work or cannot read what it gets, or which prompt the world could not read; each once,
        and one at a time."""
        for name, status in {"prompt": {"error": world.get("unread")}, **_statuses(inputs)}.items():
            error = str(status.get("error") or status.get("message") or "")
            if error and error != self._input_errors.get(name):
                self._refusals.note(name, error, now)
            self._input_errors[name] = error
        text = plain_text(self._refusals.to_show(now))
        if text:
            logger.warning("%s", text)
        return text

    def desk_errors(self, desk: Desk) -> list[str]:
        new = desk.errors[self._desk_errors :]
        self._desk_errors += len(new)
        return new


def _statuses(inputs: Mapping[str, HasStatus]) -> dict[str, Mapping[str, Any]]:
    return {name: source.status() for name, source in inputs.items()}
