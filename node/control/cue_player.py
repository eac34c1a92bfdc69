"""Cues, snapshots and banks as they are played: what waits for its beat, what follows, and which faders are moving."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from worldjockey.integrations import ControlEvent

from ..parameters import PARAMETERS, find
from ..show.banks import WEIGHTS, Banks
from ..show.schema import Show
from ..timing.schedule import Schedule
from ..timing.show_clock import ShowClock
from ..timing.tempo import Line
from . import cues
from .arguments import DEFAULT_TRANSITION, named, snapshot_name
from .cues import Change, Ramps
from .history import Snapshots
from .parameter_store import ParameterStore, renumbered
from .snapshot_file import SavedSnapshots, in_snapshots

LATENCY_S = 0.08  # from a control to the frame that shows it, until it is measured
LATE_MAX_S = 0.1  # by which an action may be late and still be stamped with the moment at which it was due


class CuePlayer:
    """Plays the cues, the snapshots and the banks of a show. All methods need the desk's lock.

    Methods that take a ControlEvent obey that control; those that return a bool return whether it waits for its beat.
    An action is a `cue/go` or `snapshot/recall` with all that it needs: its cue's number, or its name and seconds.
    others: what carries out actions of other targets.

    latency: seconds from a control to the frame that shows it. What waits for a beat is fired so much earlier.
    on_cue: called with the arrival time of each cue that was fired. replaying: a log gives the moment of each cue.
    """

    def __init__(self, show: Show, store: ParameterStore, ramps: Ramps, clock: ShowClock,
                 on_cue: Callable[[float], None], replaying: bool = False) -> None:  # fmt: skip
        self.latency = LATENCY_S
        self.ramps, self.schedule, self.snapshots = ramps, Schedule(), Snapshots()
        self._show, self._store, self._clock = show, store, clock
        self._on_cue, self._replaying = on_cue, replaying
        self.others: dict[str, Callable[[ControlEvent], None]] = {}

    def go(self, control: ControlEvent) -> bool:
        index = cues.choose(self._show.cues, named(control.args), self._store.cue)
        return index is not None and self._ask_cue(index, control)

    def back(self, control: ControlEvent) -> bool:
        return self._ask_cue(cues.before(self._show.cues, self._store.cue), control)

    def jump(self, control: ControlEvent) -> None:
        index = cues.choose(self._show.cues, named(control.args), self._store.cue)
        if index is not None:
            self.schedule.clear()
            self._fire(index, control.arrived_at, control.arrived_at + self.latency, cut=True)

    def put(self, indices: Sequence[int], arrived_at: float) -> None:
        """Be in the state that these cues give, one after the other, at once: none of them is fired for itself."""
        merged: dict[str, Change] = {}
        store, lifted = self._store, set[int]()
        banks = store.banks
        for index in indices:
            cue = self._show.cues[index]
            changes = cues.changes(self._show, cue, 0.0)
            merged |= {change.target: change for change in changes}
            if cue.pads is not None:
                lifted = {WEIGHTS[c.target] for c in changes if c.target in WEIGHTS and c.value > 0}
            if cue.bank is not None:
                banks = banks.switched(banks.index(cue.bank), store.active_pads() - lifted)
        self.schedule.clear()
        self._start(("timecode", indices[-1], arrived_at), list(merged.values()), banks, arrived_at)
        store.cue = indices[-1]
        self._on_cue(arrived_at)

    def stop(self, control: ControlEvent) -> None:
        self.clear()
        self._store.release_pads(control.arrived_at)

    def clear(self) -> None:
        """Forget what waits and what follows, and leave faders where they are."""
        self.schedule.clear()
        self.ramps.clear()

    def panic(self, arrived_at: float) -> None:
        self.clear()
        self._store.panic(arrived_at)

    def save(self, control: ControlEvent) -> None:
        values = {name: value for name, value in self._store.values.items() if in_snapshots(name)}
        self.snapshots.save(snapshot_name(control.args), {**values, **self._store.words()})

    def recall(self, control: ControlEvent) -> bool:
        name, values = snapshot_name(control.args), self._store.values
        self.snapshots.recall(name)  # refused now if there is none
        given = named(control.args)[1:2]
        seconds = PARAMETERS["transition"].coerce(given[0]) if given else values["transition"]
        action = ControlEvent("snapshot/recall", (name, seconds), control.arrived_at)
        return self.ask(action, values["quantise"], control)

    def undo(self, control: ControlEvent) -> None:
        change = self._store.history.undo(self._store.read)
        if change is not None:
            self.schedule.clear()
            for name in change.before:
                self.ramps.touch(name)
            self._store.put_back(change, control.arrived_at)

    def select_bank(self, control: ControlEvent) -> None:
        if not control.args:
            raise ValueError("bank takes a number or a name")
        key = named(control.args)[0]
        if control.meta.get("relative"):
            key = PARAMETERS["bank"].stepped(self._store.values["bank"], key)
        self._store.switch_bank(self._store.banks.index(key), control.arrived_at)

    def step_bank(self, step: int, control: ControlEvent) -> None:
        banks = self._store.banks
        self._store.switch_bank((banks.now + step) % len(banks.names), control.arrived_at)

    def _ask_cue(self, index: int, control: ControlEvent) -> bool:
        action = ControlEvent("cue/go", (index + 1,), control.arrived_at)
        return self.ask(action, self._show.cues[index].quantise or self._store.values["quantise"], control)

    def ask(self, action: ControlEvent, quantise: str, control: ControlEvent) -> bool:
        """Carry it out, or schedule it for its beat; returns whether it waits."""
        now, every = control.arrived_at, self._clock.meter.beats(quantise)
        waits = bool(every) and not self._replaying and not control.meta.get("now")
        if waits:
            self.schedule.ask(action, self._clock.line(now), now, every, self.latency, self._clock.jumped)
        else:
            self.schedule.clear()
            self.perform(action, now + self.latency)
        return waits

    def renumber(self, order: Sequence[int | None]) -> None:
        """Keep what waits and what follows, after an edit of the cues. order: the new index of each, None for one that
        is gone."""

        def moved(action: ControlEvent) -> ControlEvent | None:
            if action.target != "cue/go" or not action.args:
                return action
            index = renumbered(action.args[0] - 1, order)
            return None if index is None else replace(action, args=(index + 1,))

        self.schedule.rewrite(moved)

    # -- what is due -------------------------------------------------------------------------------------------------

    def due(self, line: Line, now: float) -> Iterator[tuple[ControlEvent, float]]:
        """Actions to carry out now, each once, and the moment at which each is to be seen. An action's arrival time is
        the moment at which it was due, so that a delay of the desk counts as latency."""
        for action, lands_at in self.schedule.due(line, now, self.latency, self._clock.jumped):
            due_at = max(min(lands_at - self.latency, now), now - LATE_MAX_S)
            yield replace(action, arrived_at=due_at, source="clock", meta={"now": True}), lands_at

    def perform(self, action: ControlEvent, lands_at: float) -> None:
        if action.target == "cue/go":
            self._fire(action.args[0] - 1, action.arrived_at, lands_at)
        elif action.target == "snapshot/recall":
            name, seconds = action.args
            self.move_to(self.snapshots.recall(name), seconds, ("snapshot", action.arrived_at), action.arrived_at)
        else:
            self.others[action.target](action)

    def advance_ramp(self, name: str, now: float) -> None:
        """Move one fader on; its arrival time stays that of its cue, since it is no new control."""
        arrived_at, p = self.ramps.began(name), find(name)
        value = self.ramps.pass_on(name, now)
        if p is not None:
            self._store.set(p, value, arrived_at)

    def _fire(self, index: int, arrived_at: float, lands_at: float, cut: bool = False) -> None:
        """Fire a cue. lands_at: when it will be seen. cut: without its transition."""
        cue, line, meter = self._show.cues[index], self._clock.line(arrived_at), self._clock.meter
        seconds = 0.0 if cut else cue.span.seconds(line.bpm, meter)
        changes, banks = cues.changes(self._show, cue, seconds), self._store.banks
        if cue.bank is not None:
            raised = {WEIGHTS[c.target] for c in changes if c.target in WEIGHTS and c.value > 0}
            banks = banks.switched(banks.index(cue.bank), self._store.active_pads() - raised)
        self._start(("cue", index, arrived_at), changes, banks, arrived_at)
        self._store.cue = index
        if cue.follow is not None and not self._replaying:
            after = ControlEvent("cue/go", ((index + 1) % len(self._show.cues) + 1,))
            self.schedule.follow(after, cue.follow, line, lands_at, meter, self._clock.jumped)
        self._on_cue(arrived_at)

    def move_to(self, saved: Mapping[str, Any], seconds: float, key: Hashable, arrived_at: float) -> None:
        """Start the way to these values, as one change to undo. Words that they do not mention go back to 1."""
        store = self._store
        wanted = {**dict.fromkeys(store.words(), 1.0), **saved}
        banks = store.banks.recalled(saved, store.active_pads())
        dealt = banks.values
        changes = [
            Change(target, value, seconds)
            for target, value in wanted.items()
            if target not in dealt and store.read(target) != value
        ]
        self._start(key, changes, banks, arrived_at)

    def _start(self, key: Hashable, changes: list[Change], banks: Banks, arrived_at: float) -> None:
        """Start many changes at once, as one change to undo."""
        store = self._store
        before: dict[str, Any] = {change.target: store.read(change.target) for change in changes}
        store.remember(key, {**store.banks.values, **before} if banks != store.banks else before, arrived_at)
        store.deal(banks, arrived_at)
        for change in self.ramps.start(changes, {**store.values, **store.words()}, arrived_at):
            p = find(change.target)
            if p is not None:
                store.set(p, change.value, arrived_at, change.seconds if p.kind == "text" else DEFAULT_TRANSITION)

    # -- the head of a log ---------------------------------------------------------------------------------------------

    def state(self, now: float) -> dict[str, Any]:
        """Everything that the head of a log holds, JSON-able."""
        line = self._clock.line(now)
        return {**self._store.state(), "snapshots": self.snapshots.kept, "line": [line.time, line.beat, line.bpm]}

    def restore(self, state: Mapping[str, Any], now: float) -> None:
        """Set everything as in `state`. Names that are no parameter any more are passed over."""
        self._clock.set(Line(*state["line"]))
        self._store.restore(state, now)
        self.add_snapshots(state["snapshots"])

    def add_snapshots(self, snapshots: SavedSnapshots) -> None:
        """Add snapshots from elsewhere, oldest first."""
        for name, values in snapshots.items():
            self.snapshots.save(name, values)
