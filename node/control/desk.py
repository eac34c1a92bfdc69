"""The desk: every control that arrives, from whichever input, becomes parameter values in the mailbox.

input ── deliver ── obey ─┬─ a command: CuePlayer's methods, banks ─┬─ ParameterStore.set ── Mailbox.post
                          └─ a trigger, a text or a number ─────────┘
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from worldjockey.integrations import ControlEvent

from ..ipc.mailbox import Mailbox
from ..ipc.status import PLAIN_CHARS, error_text, plain_text
from ..parameters import EVENT, PARAMETERS, PREVIEW, Parameter, find
from ..show.banks import TEXTS
from ..show.schema import Show
from ..timing.show_clock import ShowClock
from .arguments import Handler, on_press, value_given
from .control_log import ControlLog
from .cue_player import CuePlayer
from .cues import Ramps
from .events import Events
from .modulators import Modulators
from .parameter_store import ParameterStore
from .refusals import Refusals
from .snapshot_file import SavedSnapshots
from .taking import Taking
from .timecode import TimecodeFollower

if TYPE_CHECKING:
    from .preview import Preview

logger = logging.getLogger(__name__)
# Their faders move all the time: an undo takes back what the performer did.
NOT_UNDONE = ("sound", "crowd", "story")
# Parts of a show whose commands mean nothing without them: what they are called, and their line in the file.
PARTS = {"crowd": ("audience", "crowd"), "story": ("story", "story")}
EDITED_PARTS = (
    "pads",
    "banks",
    "cues",
    "midi",
    "osc",
    "gamepad",
    "keys",
    "favourites",
    "crowd",
    "obs",
)  # of a show, while it plays
DELAYS_MAX = 1 << 16  # of the latest controls, how long each took from its arrival to the mailbox
ERRORS_MAX = 20  # different errors that are kept as text


class Driver(Protocol):
    """Something that plays the show by itself, beside cues and modulators: the audience, a story, a timecode. What it
    plays are controls, given to `Desk.deliver`.

    name: for errors. commands: what carries out its own parameters, by their names.
    """

    @property
    def name(self) -> str: ...

    @property
    def commands(self) -> Mapping[str, Handler]: ...

    def advance(self, now: float) -> None:
        """Called often, with the desk's lock. Must not wait."""
        ...


class Desk:
    """Takes controls from all inputs, and keeps what moves by itself moving. `deliver` may be called from any thread
    and never raises.

    values: every parameter's present value. counts: controls that were obeyed, and refused. error: the latest refused
    control. errors: what failed and was no control's doing, each once; survived: how often in all. delays: seconds from
    arrival to mailbox, of the latest controls. on_saved: called with all snapshots after one was saved; must not wait.
    replaying: controls come from a log, which gives the moment of each cue and the beat. modulated: modulators move
    faders. listeners: called with each control that was obeyed, from any thread; they must be quick. preview: gets the
    controls whose names begin with "preview/"; None where there is none.
    """

    def __init__(self, show: Show, mailbox: Mailbox, clock: ShowClock | None = None, log: ControlLog | None = None,
                 replaying: bool = False, modulated: bool = True) -> None:  # fmt: skip
        now = time.monotonic()
        self.show, self.mailbox, self.log = show, mailbox, log
        self.clock = clock or ShowClock(now=now)
        self.counts = {"obeyed": 0, "refused": 0}
        self.error = ""
        self.errors: list[str] = []
        self.survived = 0
        self.delays: deque[float] = deque(maxlen=DELAYS_MAX)
        self.on_saved: Callable[[SavedSnapshots], None] = lambda snapshots: None
        self.listeners: list[Callable[[ControlEvent], None]] = []
        self._refusals = Refusals()
        self._line = self.clock.line(now)
        self.lock = threading.RLock()
        ramps = Ramps()
        self.store = ParameterStore(show, mailbox, self.clock, ramps, now, replaying)
        self.player = CuePlayer(show, self.store, ramps, self.clock, partial(self._play_envelopes, "cue/go", None),
                                replaying)  # fmt: skip
        self.taking = Taking(self.player, self.store, ramps, partial(self._log_control, waits=False))
        self.preview: Preview | None = None
        self.drivers: list[Driver] = []
        self.values = self.store.values
        self.timecode: TimecodeFollower | None = None
        if show.chased is not None:
            self.timecode = TimecodeFollower(show, self.player, self.values, partial(self._log_control, waits=False))
        self._replaying = replaying
        self._modulated = modulated
        self._modulators = Modulators(line.modulator(n) for n, line in enumerate(show.modulators, 1))
        self.events = Events(show.events, self.store.read, self._fire_by_event, self._hold_by_event)
        self._commands: dict[str, Handler] = {
            "cue/go": self.player.go,
            "cue/jump": self.player.jump,
            "cue/back": on_press(self.player.back),
            "cue/stop": on_press(self.player.stop),
            "snapshot/save": on_press(self._save_snapshot, takes_name=True),
            "snapshot/recall": on_press(self.player.recall, takes_name=True),
            "undo": on_press(self.player.undo),
            "bank": self.player.select_bank,
            "bank/next": on_press(partial(self.player.step_bank, 1)),
            "bank/previous": on_press(partial(self.player.step_bank, -1)),
            "timecode/goto": self._go_to_timecode,
            "preview/take": self.taking.take,
            "preview/back": self.taking.back,
            "preview/copy": on_press(self._copy_to_preview),
        }

    def add_driver(self, driver: Driver) -> None:
        """Let it play the show from now on, and obey its commands."""
        self._commands |= driver.commands
        self.drivers.append(driver)

    def deliver(self, control: ControlEvent) -> None:
        """Obey one control, or count it as refused and keep the reason."""
        if not control.arrived_at:
            control = replace(control, arrived_at=time.monotonic())
        try:
            with self.lock:
                waits = self.obey(control)
                if not control.target.startswith(PREVIEW):  # of the preview, a log has what is taken
                    self._log_control(control, waits)
            self.counts["obeyed"] += 1
            for listener in self.listeners:
                listener(control)
            self.delays.append(time.monotonic() - control.arrived_at)
        except Exception as error:
            self._refuse(control, error)

    def _refuse(self, control: ControlEvent, error: Exception) -> None:
        self.error = f"{control.source}: {error_text(error)}"[:PLAIN_CHARS]
        with self.lock:
            self.counts["refused"] += 1
            unknown = control.target[:80] if find(control.target) is None else ""
            self._refusals.note(control.source, error_text(error), control.arrived_at, unknown)

    def refusal_to_show(self, now: float) -> str:
        """A refused control that the performer has not seen yet, in words; empty where there is none."""
        with self.lock:
            line = self._refusals.to_show(now)
        if line:
            line = plain_text(line)
            logger.warning("not obeyed: %s", line)
        return line

    def obey(self, control: ControlEvent) -> bool:
        """Carry out one control, with the lock; returns whether it waits for its beat. Raises what is wrong with it."""
        p = find(control.target)
        if p is None:
            raise ValueError(f"there is no parameter {control.target[:80]!r}")
        if p.name.startswith(PREVIEW) and p.name not in PARAMETERS:
            self._preview_or_refuse().obey(replace(control, target=p.name))
            return False
        if command := self._commands.get(p.name):
            return bool(command(control))
        if p.name.startswith(EVENT):
            down = value_given(p, control, self.store.read) is not None
            self.events.obey(p.name.removeprefix(EVENT), down, control.arrived_at)
            return False
        if p.kind == "trigger" and (part := PARTS.get(p.name.partition("/")[0])):
            raise ValueError(f"this show has no {part[0]}: add `{part[1]}:` to its file")
        if given := value_given(p, control, self.store.read):
            value, seconds = given
            if p.kind == "trigger":
                self._fire(p.name, control)
                self._play_envelopes(p.name, None, control.arrived_at)
            else:
                self._set(p, value, seconds, control)
                self._play_envelopes(p.name, value, control.arrived_at)
        return False

    def register(self, name: str, handler: Handler) -> None:
        """Let a handler obey the controls of one trigger."""
        self._commands[name] = handler

    def _fire_by_event(self, target: str, args: tuple[Any, ...], at: float) -> None:
        self.obey(ControlEvent(target, args, at, "event"))

    def _hold_by_event(self, target: str, value: Any, at: float) -> None:
        """A value that goes back by itself, and so is nothing to undo."""
        p = find(target)
        assert p is not None  # the show was checked
        self.player.ramps.touch(p.name)
        self.store.set(p, value, at)

    def _preview_or_refuse(self) -> Preview:
        if self.preview is None:
            raise ValueError("this show has no preview")
        return self.preview

    def _go_to_timecode(self, control: ControlEvent) -> None:
        if self.timecode is None:
            raise ValueError("this show follows no timecode: add `timecode:` to its file")
        self.timecode.goto(control)

    def _copy_to_preview(self, control: ControlEvent) -> None:
        preview = self._preview_or_refuse()
        if not preview.on:
            raise ValueError("the preview is closed: open it with preview/on, and it is as the program")
        preview.copy(control.arrived_at)

    def _set(self, p: Parameter, value: Any, seconds: float, control: ControlEvent) -> None:
        """A new value from outside: it can be undone, and takes its fader over from a cue."""
        if not control.source.startswith(NOT_UNDONE):
            self.store.remember_value(p.name, control.arrived_at)
        self.player.ramps.touch(p.name)
        self.store.set(p, value, control.arrived_at, seconds)
        if p.name == "preview/on" and self.preview is not None:
            self.preview.follow(control.arrived_at)

    def _fire(self, name: str, control: ControlEvent) -> None:
        """A trigger that is no command."""
        arrived_at = control.arrived_at
        if name.startswith("act/"):
            if not control.source.startswith(NOT_UNDONE):
                self.store.remember_value("act", arrived_at)
            self.store.set(PARAMETERS["act"], name.removeprefix("act/"), arrived_at)
        elif name.startswith("tempo/"):
            self.store.set_clock(name, True, arrived_at)
        else:
            if name == "panic":
                self.events.clear()
                self.player.panic(arrived_at)
            self.mailbox.post(name, True, arrived_at)

    def _save_snapshot(self, control: ControlEvent) -> None:
        self.player.save(control)
        with self._surviving("the snapshot file"):
            self.on_saved(self.player.snapshots.kept)

    def _play_envelopes(self, name: str, value: Any, arrived_at: float) -> None:
        if name in self._modulators.players:
            self._modulators.play_envelopes(name, value, arrived_at, self.clock.line(arrived_at), self.clock.meter)

    # -- what moves by itself ----------------------------------------------------------------------------------------

    def advance(self, now: float) -> None:
        """Carry out what is due, and move ramps and modulators on; called often.

        Never raises: what fails is dropped and kept in `errors`, and everything else goes on.
        """
        with self.lock:
            with self._surviving("the clock"):
                self._line = self.clock.line(now)
            if self.timecode is not None and not self._replaying:  # a log has what the timecode fired
                with self._surviving("the timecode"):
                    self.timecode.advance(now)
            with self._surviving("the schedule", self.player.schedule.clear):
                for action, lands_at in self.player.due(self._line, now):
                    with self._surviving(f"{action.target} {action.args[0]}"):
                        self.player.perform(action, lands_at)
                        if not action.target.startswith(PREVIEW):  # a take is logged with its values
                            self._log_control(action, waits=False)
            for name in self.player.ramps.targets:
                with self._surviving(f"the ramp of {name}", partial(self.player.ramps.touch, name)):
                    self.player.advance_ramp(name, now)
            with self._surviving("the events", self.events.clear):
                self.events.advance(now)
            if self._modulated:
                with self._surviving("the modulators"):
                    self._modulate(now)
            if self.preview is not None:
                with self._surviving("the preview"):
                    self.preview.advance(now)
            for driver in self.drivers:
                with self._surviving(driver.name):
                    driver.advance(now)
            with self._surviving("the tempo"):
                self.store.follow_tempo(self._line)
            if self.log is not None:
                with self._surviving("the log"):
                    self.log.line(self._line, now)

    def _modulate(self, now: float) -> None:
        offsets = self._modulators.offsets(self.values, now, self._line, self.clock.meter)
        for n, error in self._modulators.broken():
            self.mishap(f"modulator {n} is off", error)
            self.store.set(PARAMETERS[f"mod/{n}/depth"], 0.0, now)
        for name in {*offsets, *self.store.modulated}:
            with self._surviving(f"the modulation of {name}"):
                self.store.set_offset(name, offsets.get(name))

    # -- errors ------------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _surviving(self, what: str, let_go: Callable[[], None] = lambda: None) -> Iterator[None]:
        """Whatever fails inside is counted, and `let_go` is called; the desk goes on."""
        try:
            yield
        except Exception as error:
            self.mishap(what, error)
            let_go()

    def mishap(self, what: str, error: Exception) -> None:
        """Count and keep an error that is no control's doing."""
        text = f"{what}: {error_text(error)}"[:PLAIN_CHARS]
        self.survived += 1
        if self.note_error(text):
            logger.error("%s", text, exc_info=error)

    def note_error(self, text: str) -> bool:
        """Keep an error's text, each once and ERRORS_MAX at most; returns whether it is new."""
        if new := text not in self.errors and len(self.errors) < ERRORS_MAX:
            self.errors.append(text)
        return new

    def _log_control(self, control: ControlEvent, waits: bool) -> None:
        if self.log is not None:
            try:  # not `_surviving`: a context manager costs a microsecond, and this is on each control's way
                self.log.control(control, waits)
            except Exception as error:
                self.mishap("the log", error)

    # -- what others read and set ------------------------------------------------------------------------------------

    def read(self, name: str) -> Any:
        """A parameter's present value; None for a trigger and for an unknown name. From any thread."""
        if self.preview is not None and name.startswith(PREVIEW) and name not in PARAMETERS:
            return self.preview.read(name)
        return self.store.read(name)

    def all_values(self) -> dict[str, Any]:
        """The present value of every parameter, words and, where it is open, the preview's among them."""
        with self.lock:
            shown = self.preview.values if self.preview is not None and self.preview.on else {}
            return {**self.values, **self.store.words(), **shown}

    def changed(self) -> dict[str, Any]:
        """The latest value of each parameter that changed since the last call: for feedback to controllers."""
        with self.lock:
            found, preview = self.store.take_changed(), self.preview
            if preview is None:
                return found
            opened = preview.on and found.get("preview/on")  # nobody has seen its values yet
            return {**found, **(preview.values if opened else {}), **preview.take_changed()}

    def adopt(self, edited: Show, order: Sequence[int | None]) -> None:
        """Go on with an edited show: new texts lie on the pads at once, and what waits and follows keeps its cue.

        order: the new index of each cue, None for one that is gone.
        """
        with self.lock:
            now, before = time.monotonic(), self.show.prompts()
            for field in EDITED_PARTS:
                self.show.__dict__[field] = edited.__dict__[field]
            after, texts = self.show.prompts(), self.store.banks.values
            desks = [self, *([self.preview.desk] if self.preview is not None else [])]
            for desk in desks:
                desk.player.renumber(order)
                desk.store.rewrite(before, after, order, now)
            for name, n in TEXTS.items():
                if self.store.banks.text(n) != texts[name]:
                    text = self.store.banks.text(n)
                    self._log_control(ControlEvent(name, (text,), now, "show editor"), waits=False)

    def set_cue(self, index: int) -> None:
        """The present state is that of a cue, which was stored just now."""
        with self.lock:
            self.store.cue = index

    @property
    def latency(self) -> float:
        """Seconds from a control to the frame that shows it, as measured."""
        return self.player.latency

    @latency.setter
    def latency(self, seconds: float) -> None:
        self.player.latency = seconds

    @property
    def bank(self) -> str:
        """The name of the present bank."""
        return self.store.banks.name

    @property
    def cue_name(self) -> str:
        """The name of the last cue; empty before the first."""
        cue = self.store.cue
        return "" if cue is None else self.show.cues[cue].name

    def news(self) -> dict[str, Any]:
        """The prompt and the name of the last cue, cut to what other programs show."""
        return {"prompt": self.values["prompt"][:500], "cue": self.cue_name[:200]}

    def state(self) -> dict[str, Any]:
        """Everything that the head of a log holds, JSON-able."""
        with self.lock:
            return self.player.state(time.monotonic())

    def restore(self, state: Mapping[str, Any], now: float) -> None:
        """Set everything as in `state`. Names that are no parameter any more are passed over."""
        with self.lock:
            self.player.restore(state, now)

    def remember(self, snapshots: SavedSnapshots) -> None:
        """Add snapshots from elsewhere, oldest first."""
        with self.lock:
            self.player.add_snapshots(snapshots)
