"""The desk: every control that arrives, from whichever input, becomes parameter values in the mailbox."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, replace
from functools import partial
from typing import Any, Protocol

from worldjockey.integrations import ControlEvent

from ..ipc.mailbox import Mailbox
from ..parameters import MODULATORS, PARAMETERS, Parameter, find
from ..show.banks import TEXTS, WEIGHTS, Banks
from ..show.modulators import targets_of
from ..show.schema import Show
from ..timing.schedule import Schedule
from ..timing.show_clock import ShowClock
from ..timing.tempo import Line
from . import cues
from .cues import Change, Ramps
from .history import History, Snapshots
from .modulators import Modulators
from .snapshot_file import SavedSnapshots, in_snapshots

logger = logging.getLogger(__name__)
SAFE = (
    "pad/",
    "cam/",
    "act",
    "freeze",
    "blackout",
    "morph",
    "energy",
    "sound/",
    "guidance",
    "speed",
    "live/",
)  # what panic puts back
DELAYS = 1 << 16  # of the latest controls, how long each took from its arrival to the mailbox
ERRORS_MAX = 20  # different errors that are remembered in words
LATENCY = 0.08  # seconds from a control to the frame that shows it, until it is measured
NOT_UNDONE = ("tempo", "learn", "sound/")  # what others set, and what would be undone behind a performer's back
TEMPO_STEP = 0.1  # bpm from which a tempo that others keep is told


class Log(Protocol):
    """Where what was obeyed is written down. Called with the desk's lock held: must not wait."""

    def control(self, control: ControlEvent, waits: bool) -> None: ...

    def line(self, line: Line, now: float) -> None: ...


class Desk:
    """Holds the present value of every parameter. `deliver` may be called from any thread and never raises.

    latency: seconds from a control to the frame that shows it, as measured; what waits for a beat is fired so much
    earlier. replaying: controls come from a log, which says when each cue was fired and what the beat was.
    """

    def __init__(self, show: Show, mailbox: Mailbox, clock: ShowClock | None = None, log: Log | None = None,
                 replaying: bool = False) -> None:  # fmt: skip
        self.show, self.mailbox = show, mailbox
        self.values = show.initial()
        self.counts = {"obeyed": 0, "refused": 0}
        self.error = ""  # the last refused control, in words
        self.errors: list[str] = []  # what failed without anybody's hand, each once, in words
        self.survived = 0  # and how often in all
        self.delays: deque[float] = deque(maxlen=DELAYS)  # seconds
        self.latency = LATENCY
        self.log = log
        self.on_saved: Callable[[SavedSnapshots], None] = lambda kept: None  # told all snapshots; must not wait
        now = time.monotonic()
        self.clock = clock or ShowClock(now=now)
        self._replaying = replaying
        self._cue: int | None = None
        self._banks = show.prompts()
        self._line = self.clock.line(now)
        self._ramps, self._schedule = Ramps(), Schedule()
        self._history, self._snapshots = History(), Snapshots()
        self._modulators = Modulators(line.modulator(n) for n, line in enumerate(show.modulators, 1))
        self._offsets: dict[str, float] = {}  # by how much modulators move what they move
        self._centres: dict[str, float] = {}  # where the hand left that
        self._centre_arrived_at: dict[str, float] = {}  # and when
        self._lock = threading.RLock()
        self._changed: dict[str, Any] = {}
        self._commands: dict[str, Callable[[tuple[Any, ...], float, Mapping[str, Any]], bool]] = {
            "cue/go": self._cue_go, "cue/back": self._cue_back, "cue/jump": self._cue_jump, "cue/stop": self._cue_stop,
            "snapshot/save": self._save, "snapshot/recall": self._recall, "undo": self._undo,
            "bank": self._bank_to, "bank/next": partial(self._bank_by, 1), "bank/previous": partial(self._bank_by, -1),
        }  # fmt: skip
        for name, value in self.values.items():
            mailbox.post(name, value, 0.0, seconds=0.0)  # no arrival time: nobody's hand is measured by it
            if name in TEXTS:
                self._banks = self._banks.written(TEXTS[name], value)
            if name.startswith("tempo"):
                self.clock.obey(name, value, now)

    def deliver(self, control: ControlEvent) -> None:
        """Obey one control, or count and remember why not."""
        if not control.arrived_at:
            control = replace(control, arrived_at=time.monotonic())
        try:
            with self._lock:
                waits = self._obey(control)
                self._write_down(control, waits)
            self.counts["obeyed"] += 1
            self.delays.append(time.monotonic() - control.arrived_at)
        except Exception as error:
            self.counts["refused"] += 1
            self.error = f"{control.source}: {error}"[:200]

    def _obey(self, control: ControlEvent) -> bool:
        """Whether it waits for its beat."""
        name, args, arrived_at = control.target, control.args, control.arrived_at
        p = find(name)
        if p is None:
            raise ValueError(f"there is no parameter {name[:80]!r}")
        if name in self._commands:
            return self._commands[name](args, arrived_at, control.meta)
        if control.meta.get("relative"):
            args = (p.stepped(self.read(name), args[0] if args else None),)
        if p.kind == "text":
            if args:
                seconds = float(args[1]) if len(args) > 1 else float("nan")
                text = p.coerce(args[0])
                if name.startswith("mod/"):
                    targets_of(text)
                self._note(name, arrived_at, control.source)
                self._set(p, text, arrived_at, min(max(seconds, 0.0), 60.0) if seconds == seconds else seconds)
            return False
        if not args and p.kind not in ("trigger", "bool"):
            raise ValueError(f"{p.name} takes a value")
        bare = not self.values[name] if p.kind == "bool" else True  # a switch without a value is thrown over
        value = p.coerce(args[0]) if args else bare
        if p.kind != "trigger":
            self._note(p.name, arrived_at, control.source)
            self._ramps.touch(name)
            self._set(p, value, arrived_at)
            self._play_envelopes(p.name, value, arrived_at)
        elif value:
            self._fire(name, arrived_at)
            self._play_envelopes(name, None, arrived_at)
        return False

    def read(self, name: str) -> Any:
        """A parameter's present value; None for a trigger, and for what is no parameter. From any thread."""
        if name.startswith("word/"):
            p = find(name)
            if p is None or p.name in self._centres:
                return self._centres.get(p.name) if p else None
            return self.mailbox.words()[0].get(p.name.removeprefix("word/"), p.default)
        return self.values.get(name)

    def _note(self, name: str, arrived_at: float, source: str) -> None:
        """Remember what a hand is about to change."""
        if not name.startswith(NOT_UNDONE) and not source.startswith("sound"):
            self._remember(name, {name: self.read(name)}, arrived_at)

    def _remember(self, key: Any, before: Mapping[str, Any], arrived_at: float) -> None:
        self._history.note(key, before, (self._cue, self._banks), arrived_at)

    def _set(self, p: Parameter, value: Any, arrived_at: float, seconds: float = float("nan")) -> None:
        if p.name in self._offsets:
            self._centres[p.name], self._centre_arrived_at[p.name] = value, arrived_at
            modulated = p.coerce(value + self._offsets[p.name])
        else:
            modulated = value
        self.mailbox.post(p.name, modulated, arrived_at, seconds)
        self._changed[p.name] = value
        if p.name in PARAMETERS:  # there is no end of words: the mailbox keeps the few that count
            self.values[p.name] = value
        if p.name in TEXTS:
            self._banks = self._banks.written(TEXTS[p.name], value)
        elif p.name in WEIGHTS and modulated == 0:
            self._silent(WEIGHTS[p.name], arrived_at)
        if p.name.startswith("tempo"):
            self._tell_clock(p.name, value, arrived_at)

    def _tell_clock(self, name: str, value: Any, arrived_at: float) -> None:
        if not self._replaying or name in ("tempo/bar", "tempo/phrase"):  # the log says itself what the beat was
            self.clock.obey(name, value, arrived_at)

    def _fire(self, name: str, arrived_at: float) -> None:
        if name.startswith("act/"):
            self._remember("act", {"act": self.values["act"]}, arrived_at)
            self._set(PARAMETERS["act"], name.removeprefix("act/"), arrived_at)
            return
        if name.startswith("tempo/"):
            self._tell_clock(name, True, arrived_at)
            return
        if name == "panic":
            self._ramps.clear()
            self._schedule.clear()
            safe = [p for p in PARAMETERS.values() if p.name.startswith(SAFE) and p.kind not in ("text", "trigger")]
            safe += [PARAMETERS[f"mod/{n}/depth"] for n in range(1, MODULATORS + 1)]
            self._remember((name, arrived_at), {p.name: self.values[p.name] for p in safe}, arrived_at)
            for p in safe:
                self._set(p, p.default, arrived_at)
        self.mailbox.post(name, True, arrived_at)

    # -- banks -------------------------------------------------------------------------------------------------------

    def _bank_to(self, args: tuple[Any, ...], arrived_at: float, meta: Mapping[str, Any]) -> bool:
        if not args:
            raise ValueError("bank takes a number or a name")
        relative = meta.get("relative")
        self._switch(
            self._banks.index(PARAMETERS["bank"].stepped(self.values["bank"], args[0]) if relative else args[0]),
            arrived_at,
        )
        return False

    def _bank_by(self, step: int, args: tuple[Any, ...], arrived_at: float, meta: Mapping[str, Any]) -> bool:
        if not _released(args):
            self._switch((self._banks.now + step) % len(self._banks.names), arrived_at)
        return False

    def _switch(self, to: int, arrived_at: float) -> None:
        self._remember("bank", self._banks.values, arrived_at)
        self._deal(self._banks.switched(to, self._sounding()), arrived_at)

    def _sounding(self) -> set[int]:
        """Pads that sound, by hand or by modulator, or on their way up."""
        moving = self._ramps.targets
        return {pad for name, pad in WEIGHTS.items() if name in moving or self.mailbox.value(name) > 0}

    def _silent(self, pad: int, arrived_at: float) -> None:
        if self._banks.of[pad - 1] != self._banks.now and f"pad/{pad}" not in self._ramps.targets:
            self._deal(self._banks.released(pad), arrived_at)

    def _deal(self, banks: Banks, arrived_at: float) -> None:
        """Lay these prompts on the pads."""
        self._banks = banks
        for name, value in banks.values.items():
            if self.values[name] != value:
                self._set(PARAMETERS[name], value, arrived_at)

    # -- cues, snapshots, undo ---------------------------------------------------------------------------------------

    def _cue_go(self, args: tuple[Any, ...], arrived_at: float, meta: Mapping[str, Any]) -> bool:
        index = cues.choose(self.show.cues, args, self._cue)
        return index is not None and self._ask_cue(index, arrived_at, meta)

    def _cue_back(self, args: tuple[Any, ...], arrived_at: float, meta: Mapping[str, Any]) -> bool:
        return not _released(args) and self._ask_cue(cues.before(self.show.cues, self._cue), arrived_at, meta)

    def _ask_cue(self, index: int, arrived_at: float, meta: Mapping[str, Any]) -> bool:
        quantise = self.show.cues[index].quantise or self.values["quantise"]
        return self._ask(ControlEvent("cue/go", (index + 1,)), quantise, arrived_at, meta)

    def _cue_jump(self, args: tuple[Any, ...], arrived_at: float, meta: Mapping[str, Any]) -> bool:
        index = cues.choose(self.show.cues, args, self._cue)
        if index is not None:
            self._schedule.clear()
            self.go(index, arrived_at, cut=True)
        return False

    def _cue_stop(self, args: tuple[Any, ...], arrived_at: float, meta: Mapping[str, Any]) -> bool:
        if not _released(args):
            self._schedule.clear()
            self._ramps.clear()
            self._deal(self._banks.switched(self._banks.now, self._sounding()), arrived_at)
        return False

    def _save(self, args: tuple[Any, ...], arrived_at: float, meta: Mapping[str, Any]) -> bool:
        if not _released(args):
            kept = {name: value for name, value in self.values.items() if in_snapshots(name)}
            self._snapshots.save(_name(args), {**kept, **self._words()})
            with self._surviving("the file of snapshots"):
                self.on_saved(self._snapshots.kept)
        return False

    def _recall(self, args: tuple[Any, ...], arrived_at: float, meta: Mapping[str, Any]) -> bool:
        if _released(args):
            return False
        name = _name(args)
        self._snapshots.recall(name)  # refused now if there is none
        seconds = PARAMETERS["transition"].coerce(args[1]) if len(args) > 1 else self.values["transition"]
        return self._ask(ControlEvent("snapshot/recall", (name, seconds)), self.values["quantise"], arrived_at, meta)

    def _undo(self, args: tuple[Any, ...], arrived_at: float, meta: Mapping[str, Any]) -> bool:
        change = None if _released(args) else self._history.undo(self.read)
        if change is not None:
            self._schedule.clear()
            self._cue, banks = change.beside
            for name, value in change.before.items():
                p = find(name)
                self._ramps.touch(name)
                if p is not None and name not in banks.values and self.read(name) != value:
                    self._set(p, value, arrived_at)
            self._deal(banks.switched(banks.now, self._sounding()), arrived_at)
        return False

    def _ask(self, what: ControlEvent, quantise: str, arrived_at: float, meta: Mapping[str, Any]) -> bool:
        """Do it, or let it wait for its beat; whether it waits."""
        every = self.clock.meter.beats(quantise)
        if not every or self._replaying or meta.get("now"):
            self._schedule.clear()
            self._do(what, arrived_at, arrived_at + self.latency)
            return False
        line = self.clock.line(arrived_at)
        self._schedule.ask(what, line, arrived_at, every, self.latency, self.clock.jumped)
        return True

    def _do(self, what: ControlEvent, arrived_at: float, lands: float) -> None:
        if what.target == "cue/go":
            self.go(what.args[0] - 1, arrived_at, lands)
            return
        name, seconds = what.args
        kept = self._snapshots.recall(name)
        wanted = {**dict.fromkeys(self._words(), 1.0), **kept}
        banks = self._banks.recalled(kept, self._sounding())
        moved = [
            Change(name, value, seconds)
            for name, value in wanted.items()
            if name not in banks.values and self.read(name) != value
        ]
        self._travel(("snapshot", arrived_at), moved, arrived_at, banks)

    def go(self, index: int, arrived_at: float, lands: float | None = None, cut: bool = False) -> None:
        """Fire a cue by index. lands: when it will be seen. cut: without its transition."""
        cue, line, meter = self.show.cues[index], self.clock.line(arrived_at), self.clock.meter
        seconds = 0.0 if cut else cue.span.seconds(line.bpm, meter)
        wanted, banks = cues.changes(self.show, cue, seconds), self._banks
        if cue.bank is not None:
            raised = {WEIGHTS[c.target] for c in wanted if c.target in WEIGHTS and c.value > 0}
            banks = banks.switched(banks.index(cue.bank), self._sounding() - raised)
        self._travel(("cue", index, arrived_at), wanted, arrived_at, banks)
        self._cue = index
        if cue.follow is not None and not self._replaying:
            after = ControlEvent("cue/go", ((index + 1) % len(self.show.cues) + 1,))
            seen = arrived_at + self.latency if lands is None else lands
            self._schedule.follow(after, cue.follow, line, seen, meter, self.clock.jumped)
        self._play_envelopes("cue/go", None, arrived_at)

    def _travel(self, key: tuple[Any, ...], wanted: list[Change], arrived_at: float, banks: Banks) -> None:
        """Set off to many values at once, which is one change to undo."""
        before = {change.target: self.read(change.target) for change in wanted}
        self._remember(key, {**self._banks.values, **before} if banks != self._banks else before, arrived_at)
        self._deal(banks, arrived_at)
        for change in self._ramps.start(wanted, {**self.values, **self._words()}, arrived_at):
            p = find(change.target)
            if p is not None:
                self._set(p, change.value, arrived_at, change.seconds if p.kind == "text" else float("nan"))

    def _words(self) -> dict[str, float]:
        words = {f"word/{word}": weight for word, weight in self.mailbox.words()[0].items()}
        return words | {name: value for name, value in self._centres.items() if name.startswith("word/")}

    # -- what moves by itself ----------------------------------------------------------------------------------------

    def advance(self, now: float) -> None:
        """Fire what is due and move the faders that move by themselves; called often.

        Never raises: what fails is let go and told in `errors`, and everything else goes on.
        """
        with self._lock:
            with self._surviving("the clock"):
                self._line = self.clock.line(now)
            line = self._line
            with self._surviving("what waits for its beat", self._schedule.clear):
                for what, lands in self._schedule.due(line, now, self.latency, self.clock.jumped):
                    due = max(min(lands - self.latency, now), now - 0.1)  # our own delay is measured with the rest
                    with self._surviving(f"{what.target} {what.args[0]}"):
                        self._do(what, due, lands)
                        self._write_down(replace(what, arrived_at=due, source="clock", meta={"now": True}), False)
            for name in self._ramps.targets:
                with self._surviving(f"the way of {name}", partial(self._ramps.touch, name)):
                    self._glide(name, now)
            with self._surviving("the modulators"):
                self._modulate(now, line)
            with self._surviving("the tempo"):
                self._follow_tempo(line)
            with self._surviving("the log"):
                if self.log is not None:
                    self.log.line(line, now)

    @contextlib.contextmanager
    def _surviving(self, what: str, let_go: Callable[[], None] = lambda: None) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            self.mishap(what, error)
            let_go()

    def mishap(self, what: str, error: Exception) -> None:
        """Count and remember what failed of itself, and not because of a control."""
        text = f"{what}: {error or type(error).__name__}"[:200]
        self.survived += 1
        if self.note_error(text):
            logger.error("%s", text, exc_info=error)

    def note_error(self, text: str) -> bool:
        """Remember an error in words, each once and ERRORS_MAX at most; whether it was kept."""
        new = text not in self.errors and len(self.errors) < ERRORS_MAX
        if new:
            self.errors.append(text)
        return new

    def _write_down(self, control: ControlEvent, waits: bool) -> None:
        with self._surviving("the log"):
            if self.log is not None:
                self.log.control(control, waits)

    def _glide(self, name: str, now: float) -> None:
        began, p = self._ramps.began(name), find(name)
        value = self._ramps.pass_on(name, now)
        if p is not None:
            self._set(p, value, began)

    def _modulate(self, now: float, line: Line) -> None:
        offsets = self._modulators.offsets(self.values, now, line, self.clock.meter)
        for n, error in self._modulators.broken():
            self.mishap(f"modulator {n} is off", error)
            self._set(PARAMETERS[f"mod/{n}/depth"], 0.0, now)
        for name in {*offsets, *self._offsets}:
            with self._surviving(f"the modulation of {name}"):
                self._move(name, offsets.get(name))

    def _move(self, name: str, offset: float | None) -> None:
        """offset: None when nobody moves it any more."""
        p = find(name)
        assert p is not None
        if name not in self._offsets:
            self._centres[name] = self.read(name)
        centre, arrived_at = self._centres[name], self._centre_arrived_at.get(name, 0.0)
        if offset is None:
            del self._offsets[name], self._centres[name]
            modulated = centre
        elif offset != self._offsets.get(name):
            self._offsets[name] = offset
            modulated = p.coerce(centre + offset)
        else:
            return
        self.mailbox.post(name, modulated, arrived_at)
        if name in WEIGHTS and modulated == 0:
            self._silent(WEIGHTS[name], arrived_at)

    def _play_envelopes(self, name: str, value: Any, arrived_at: float) -> None:
        if name in self._modulators.players:
            self._modulators.play_envelopes(name, value, arrived_at, self.clock.line(arrived_at), self.clock.meter)

    def _follow_tempo(self, line: Line) -> None:
        bpm = round(line.bpm, 2)
        if abs(bpm - self.values["tempo"]) >= TEMPO_STEP:
            self.values["tempo"] = self._changed["tempo"] = bpm

    def news(self) -> dict[str, Any]:
        """What is played, in words: the prompt and the last cue, not longer than other programs show."""
        cue = self._cue
        return {"prompt": self.values["prompt"][:500], "cue": "" if cue is None else self.show.cues[cue].name[:200]}

    @property
    def bank(self) -> str:
        """The name of the bank under the hands."""
        return self._banks.name

    def state(self) -> dict[str, Any]:
        """Everything a log has to begin with, JSON-able."""
        with self._lock:
            line = self.clock.line(time.monotonic())
            return {"values": dict(self.values), "words": self._words(), "cue": self._cue, "banks": asdict(self._banks),
                    "snapshots": self._snapshots.kept, "line": [line.time, line.beat, line.bpm]}  # fmt: skip

    def restore(self, state: Mapping[str, Any], now: float) -> None:
        """Be as `state` says. What it names and is no parameter any more is passed over."""
        with self._lock:
            self.clock.set(Line(*state["line"]))
            banks = state.get("banks")
            self._banks = Banks.revived(banks) if banks else self._banks.recalled({**self.values, **state["values"]})
            for name, value in {**state["values"], **state["words"]}.items():
                p = find(name)
                if p is not None and p.kind != "trigger" and self.read(name) != value:
                    self._set(p, p.coerce(value), now, 0.0)
            self._cue = state["cue"]
            self.remember(state["snapshots"])

    def remember(self, snapshots: SavedSnapshots) -> None:
        """Snapshots from elsewhere, oldest first."""
        with self._lock:
            for name, kept in snapshots.items():
                self._snapshots.save(name, kept)

    def changed(self) -> dict[str, Any]:
        """What changed since the last call, the latest value each: for feedback to controllers."""
        with self._lock:
            found, self._changed = self._changed, {}
        return found


def _released(args: tuple[Any, ...]) -> bool:
    """A button that comes up, or nothing that means anything."""
    return bool(args) and not isinstance(args[0], str) and not (isinstance(args[0], int | float) and args[0] > 0)


def _name(args: tuple[Any, ...]) -> str:
    if not args or isinstance(args[0], bool):
        return ""
    return f"{args[0]:g}" if isinstance(args[0], int | float) else str(args[0])
