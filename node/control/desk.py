"""The desk: every control that arrives, from whichever input, becomes parameter values in the mailbox."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, replace
from functools import partial
from typing import Any, Protocol

from worldjockey.integrations import Control

from ..ipc.mailbox import Mailbox
from ..parameters import MODULATORS, PARAMETERS, Parameter, find
from ..show.banks import TEXTS, WEIGHTS, Banks
from ..show.schema import Show
from ..timing.schedule import Schedule
from ..timing.show_clock import ShowClock
from ..timing.tempo import Line
from . import cues
from .cues import Change, Ramps
from .history import History, Snapshots
from .modulators import Bank, targets_of
from .snapshot_file import Kept, in_snapshots

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
FAULTS = 20  # different faults that are remembered in words
LATENCY = 0.08  # seconds from a control to the frame that shows it, until it is measured
NOT_UNDONE = ("tempo", "learn", "sound/")  # what others set, and what would be undone behind a performer's back
TEMPO_STEP = 0.1  # bpm from which a tempo that others keep is told


class Log(Protocol):
    """Where what was obeyed is written down. Called with the desk's lock held: must not wait."""

    def control(self, control: Control, waits: bool) -> None: ...

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
        self.fault = ""  # the last refused control, in words
        self.faults: list[str] = []  # what failed without anybody's hand, each once, in words
        self.survived = 0  # and how often in all
        self.delays: deque[float] = deque(maxlen=DELAYS)  # seconds
        self.latency = LATENCY
        self.log = log
        self.on_saved: Callable[[Kept], None] = lambda kept: None  # told all snapshots; must not wait
        now = time.monotonic()
        self.clock = clock or ShowClock(now=now)
        self._replaying = replaying
        self._cue: int | None = None
        self._banks = show.prompts()
        self._line = self.clock.line(now)
        self._ramps, self._schedule = Ramps(), Schedule()
        self._history, self._snapshots = History(), Snapshots()
        self._bank = Bank(line.modulator(n) for n, line in enumerate(show.modulators, 1))
        self._offsets: dict[str, float] = {}  # by how much modulators move what they move
        self._centres: dict[str, float] = {}  # where the hand left that
        self._stamps: dict[str, float] = {}  # and when
        self._lock = threading.RLock()
        self._changed: dict[str, Any] = {}
        self._own: dict[str, Callable[[tuple[Any, ...], float, Mapping[str, Any]], bool]] = {
            "cue/go": self._cue_go, "cue/back": self._cue_back, "cue/jump": self._cue_jump, "cue/stop": self._cue_stop,
            "snapshot/save": self._save, "snapshot/recall": self._recall, "undo": self._undo,
            "bank": self._bank_to, "bank/next": partial(self._bank_by, 1), "bank/previous": partial(self._bank_by, -1),
        }  # fmt: skip
        for name, value in self.values.items():
            mailbox.post(name, value, 0.0, seconds=0.0)  # no stamp: nobody's hand is measured by it
            if name in TEXTS:
                self._banks = self._banks.written(TEXTS[name], value)
            if name.startswith("tempo"):
                self.clock.obey(name, value, now)

    def deliver(self, control: Control) -> None:
        """Obey one control, or count and remember why not."""
        if not control.time:
            control = replace(control, time=time.monotonic())
        try:
            with self._lock:
                waits = self._obey(control)
                self._write_down(control, waits)
            self.counts["obeyed"] += 1
            self.delays.append(time.monotonic() - control.time)
        except Exception as fault:
            self.counts["refused"] += 1
            self.fault = f"{control.source}: {fault}"[:200]

    def _obey(self, control: Control) -> bool:
        """Whether it waits for its beat."""
        name, args, stamp = control.target, control.args, control.time
        p = find(name)
        if p is None:
            raise ValueError(f"there is no parameter {name[:80]!r}")
        if name in self._own:
            return self._own[name](args, stamp, control.meta)
        if control.meta.get("relative"):
            args = (p.stepped(self.read(name), args[0] if args else None),)
        if p.kind == "text":
            if args:
                seconds = float(args[1]) if len(args) > 1 else float("nan")
                text = p.coerce(args[0])
                if name.startswith("mod/"):
                    targets_of(text)
                self._note(name, stamp, control.source)
                self._set(p, text, stamp, min(max(seconds, 0.0), 60.0) if seconds == seconds else seconds)
            return False
        if not args and p.kind not in ("trigger", "bool"):
            raise ValueError(f"{p.name} takes a value")
        bare = not self.values[name] if p.kind == "bool" else True  # a switch without a value is thrown over
        value = p.coerce(args[0]) if args else bare
        if p.kind != "trigger":
            self._note(p.name, stamp, control.source)
            self._ramps.touch(name)
            self._set(p, value, stamp)
            self._play_envelopes(p.name, value, stamp)
        elif value:
            self._fire(name, stamp)
            self._play_envelopes(name, None, stamp)
        return False

    def read(self, name: str) -> Any:
        """A parameter's present value; None for a trigger, and for what is no parameter. From any thread."""
        if name.startswith("word/"):
            p = find(name)
            if p is None or p.name in self._centres:
                return self._centres.get(p.name) if p else None
            return self.mailbox.words()[0].get(p.name.removeprefix("word/"), p.default)
        return self.values.get(name)

    def _note(self, name: str, stamp: float, source: str) -> None:
        """Remember what a hand is about to change."""
        if not name.startswith(NOT_UNDONE) and not source.startswith("sound"):
            self._remember(name, {name: self.read(name)}, stamp)

    def _remember(self, key: Any, before: Mapping[str, Any], stamp: float) -> None:
        self._history.note(key, before, (self._cue, self._banks), stamp)

    def _set(self, p: Parameter, value: Any, stamp: float, seconds: float = float("nan")) -> None:
        if p.name in self._offsets:
            self._centres[p.name], self._stamps[p.name] = value, stamp
            heard = p.coerce(value + self._offsets[p.name])
        else:
            heard = value
        self.mailbox.post(p.name, heard, stamp, seconds)
        self._changed[p.name] = value
        if p.name in PARAMETERS:  # there is no end of words: the mailbox keeps the few that count
            self.values[p.name] = value
        if p.name in TEXTS:
            self._banks = self._banks.written(TEXTS[p.name], value)
        elif p.name in WEIGHTS and heard == 0:
            self._silent(WEIGHTS[p.name], stamp)
        if p.name.startswith("tempo"):
            self._tell_clock(p.name, value, stamp)

    def _tell_clock(self, name: str, value: Any, stamp: float) -> None:
        if not self._replaying or name in ("tempo/bar", "tempo/phrase"):  # the log says itself what the beat was
            self.clock.obey(name, value, stamp)

    def _fire(self, name: str, stamp: float) -> None:
        if name.startswith("act/"):
            self._remember("act", {"act": self.values["act"]}, stamp)
            self._set(PARAMETERS["act"], name.removeprefix("act/"), stamp)
            return
        if name.startswith("tempo/"):
            self._tell_clock(name, True, stamp)
            return
        if name == "panic":
            self._ramps.clear()
            self._schedule.clear()
            safe = [p for p in PARAMETERS.values() if p.name.startswith(SAFE) and p.kind not in ("text", "trigger")]
            safe += [PARAMETERS[f"mod/{n}/depth"] for n in range(1, MODULATORS + 1)]
            self._remember((name, stamp), {p.name: self.values[p.name] for p in safe}, stamp)
            for p in safe:
                self._set(p, p.default, stamp)
        self.mailbox.post(name, True, stamp)

    # -- banks -------------------------------------------------------------------------------------------------------

    def _bank_to(self, args: tuple[Any, ...], stamp: float, meta: Mapping[str, Any]) -> bool:
        if not args:
            raise ValueError("bank takes a number or a name")
        relative = meta.get("relative")
        self._switch(
            self._banks.index(PARAMETERS["bank"].stepped(self.values["bank"], args[0]) if relative else args[0]), stamp
        )
        return False

    def _bank_by(self, step: int, args: tuple[Any, ...], stamp: float, meta: Mapping[str, Any]) -> bool:
        if not _released(args):
            self._switch((self._banks.now + step) % len(self._banks.names), stamp)
        return False

    def _switch(self, to: int, stamp: float) -> None:
        self._remember("bank", self._banks.said, stamp)
        self._deal(self._banks.switched(to, self._sounding()), stamp)

    def _sounding(self) -> set[int]:
        """Pads that are heard, by hand or by modulator, or on their way up."""
        moving = self._ramps.targets
        return {pad for name, pad in WEIGHTS.items() if name in moving or self.mailbox.value(name) > 0}

    def _silent(self, pad: int, stamp: float) -> None:
        if self._banks.of[pad - 1] != self._banks.now and f"pad/{pad}" not in self._ramps.targets:
            self._deal(self._banks.released(pad), stamp)

    def _deal(self, banks: Banks, stamp: float) -> None:
        """Lay these prompts on the pads."""
        self._banks = banks
        for name, value in banks.said.items():
            if self.values[name] != value:
                self._set(PARAMETERS[name], value, stamp)

    # -- cues, snapshots, undo ---------------------------------------------------------------------------------------

    def _cue_go(self, args: tuple[Any, ...], stamp: float, meta: Mapping[str, Any]) -> bool:
        index = cues.choose(self.show.cues, args, self._cue)
        return index is not None and self._ask_cue(index, stamp, meta)

    def _cue_back(self, args: tuple[Any, ...], stamp: float, meta: Mapping[str, Any]) -> bool:
        return not _released(args) and self._ask_cue(cues.before(self.show.cues, self._cue), stamp, meta)

    def _ask_cue(self, index: int, stamp: float, meta: Mapping[str, Any]) -> bool:
        quantise = self.show.cues[index].quantise or self.values["quantise"]
        return self._ask(Control("cue/go", (index + 1,)), quantise, stamp, meta)

    def _cue_jump(self, args: tuple[Any, ...], stamp: float, meta: Mapping[str, Any]) -> bool:
        index = cues.choose(self.show.cues, args, self._cue)
        if index is not None:
            self._schedule.clear()
            self.go(index, stamp, cut=True)
        return False

    def _cue_stop(self, args: tuple[Any, ...], stamp: float, meta: Mapping[str, Any]) -> bool:
        if not _released(args):
            self._schedule.clear()
            self._ramps.clear()
            self._deal(self._banks.switched(self._banks.now, self._sounding()), stamp)
        return False

    def _save(self, args: tuple[Any, ...], stamp: float, meta: Mapping[str, Any]) -> bool:
        if not _released(args):
            kept = {name: value for name, value in self.values.items() if in_snapshots(name)}
            self._snapshots.save(_name(args), {**kept, **self._words()})
            with self._surviving("the file of snapshots"):
                self.on_saved(self._snapshots.kept)
        return False

    def _recall(self, args: tuple[Any, ...], stamp: float, meta: Mapping[str, Any]) -> bool:
        if _released(args):
            return False
        name = _name(args)
        self._snapshots.recall(name)  # refused now if there is none
        seconds = PARAMETERS["transition"].coerce(args[1]) if len(args) > 1 else self.values["transition"]
        return self._ask(Control("snapshot/recall", (name, seconds)), self.values["quantise"], stamp, meta)

    def _undo(self, args: tuple[Any, ...], stamp: float, meta: Mapping[str, Any]) -> bool:
        change = None if _released(args) else self._history.undo(self.read)
        if change is not None:
            self._schedule.clear()
            self._cue, banks = change.beside
            for name, value in change.before.items():
                p = find(name)
                self._ramps.touch(name)
                if p is not None and name not in banks.said and self.read(name) != value:
                    self._set(p, value, stamp)
            self._deal(banks.switched(banks.now, self._sounding()), stamp)
        return False

    def _ask(self, what: Control, quantise: str, stamp: float, meta: Mapping[str, Any]) -> bool:
        """Do it, or let it wait for its beat; whether it waits."""
        every = self.clock.meter.beats(quantise)
        if not every or self._replaying or meta.get("now"):
            self._schedule.clear()
            self._do(what, stamp, stamp + self.latency)
            return False
        line = self.clock.line(stamp)
        self._schedule.ask(what, line, stamp, every, self.latency, self.clock.jumped)
        return True

    def _do(self, what: Control, stamp: float, lands: float) -> None:
        if what.target == "cue/go":
            self.go(what.args[0] - 1, stamp, lands)
            return
        name, seconds = what.args
        kept = self._snapshots.recall(name)
        wanted = {**dict.fromkeys(self._words(), 1.0), **kept}
        banks = self._banks.recalled(kept, self._sounding())
        moved = [
            Change(name, value, seconds)
            for name, value in wanted.items()
            if name not in banks.said and self.read(name) != value
        ]
        self._travel(("snapshot", stamp), moved, stamp, banks)

    def go(self, index: int, stamp: float, lands: float | None = None, cut: bool = False) -> None:
        """Fire a cue by index. lands: when it will be seen. cut: without its transition."""
        cue, line, meter = self.show.cues[index], self.clock.line(stamp), self.clock.meter
        seconds = 0.0 if cut else cue.span.seconds(line.bpm, meter)
        wanted, banks = cues.changes(self.show, cue, seconds), self._banks
        if cue.bank is not None:
            raised = {WEIGHTS[c.target] for c in wanted if c.target in WEIGHTS and c.value > 0}
            banks = banks.switched(banks.index(cue.bank), self._sounding() - raised)
        self._travel(("cue", index, stamp), wanted, stamp, banks)
        self._cue = index
        if cue.follow is not None and not self._replaying:
            after = Control("cue/go", ((index + 1) % len(self.show.cues) + 1,))
            seen = stamp + self.latency if lands is None else lands
            self._schedule.follow(after, cue.follow, line, seen, meter, self.clock.jumped)
        self._play_envelopes("cue/go", None, stamp)

    def _travel(self, key: tuple[Any, ...], wanted: list[Change], stamp: float, banks: Banks) -> None:
        """Set off to many values at once, which is one change to undo."""
        before = {change.target: self.read(change.target) for change in wanted}
        self._remember(key, {**self._banks.said, **before} if banks != self._banks else before, stamp)
        self._deal(banks, stamp)
        for change in self._ramps.start(wanted, {**self.values, **self._words()}, stamp):
            p = find(change.target)
            if p is not None:
                self._set(p, change.value, stamp, change.seconds if p.kind == "text" else float("nan"))

    def _words(self) -> dict[str, float]:
        words = {f"word/{word}": weight for word, weight in self.mailbox.words()[0].items()}
        return words | {name: value for name, value in self._centres.items() if name.startswith("word/")}

    # -- what moves by itself ----------------------------------------------------------------------------------------

    def advance(self, now: float) -> None:
        """Fire what is due and move the faders that move by themselves; called often.

        Never raises: what fails is let go and told in `faults`, and everything else goes on.
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
                        self._write_down(replace(what, time=due, source="clock", meta={"now": True}), False)
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
        except Exception as fault:
            self.mishap(what, fault)
            let_go()

    def mishap(self, what: str, fault: Exception) -> None:
        """Count and remember what failed of itself, and not because of a control."""
        text = f"{what}: {fault or type(fault).__name__}"[:200]
        self.survived += 1
        if text not in self.faults and len(self.faults) < FAULTS:
            self.faults.append(text)

    def _write_down(self, control: Control, waits: bool) -> None:
        with self._surviving("the log"):
            if self.log is not None:
                self.log.control(control, waits)

    def _glide(self, name: str, now: float) -> None:
        began, p = self._ramps.began(name), find(name)
        value = self._ramps.pass_on(name, now)
        if p is not None:
            self._set(p, value, began)

    def _modulate(self, now: float, line: Line) -> None:
        offsets = self._bank.offsets(self.values, now, line, self.clock.meter)
        for n, fault in self._bank.broken():
            self.mishap(f"modulator {n} is off", fault)
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
        centre, stamp = self._centres[name], self._stamps.get(name, 0.0)
        if offset is None:
            del self._offsets[name], self._centres[name]
            heard = centre
        elif offset != self._offsets.get(name):
            self._offsets[name] = offset
            heard = p.coerce(centre + offset)
        else:
            return
        self.mailbox.post(name, heard, stamp)
        if name in WEIGHTS and heard == 0:
            self._silent(WEIGHTS[name], stamp)

    def _play_envelopes(self, name: str, value: Any, stamp: float) -> None:
        if name in self._bank.players:
            self._bank.heard(name, value, stamp, self.clock.line(stamp), self.clock.meter)

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

    def remember(self, snapshots: Kept) -> None:
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
