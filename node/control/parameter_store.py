"""The present value of every parameter: what was set, what modulators add to it, and how it is undone."""

from __future__ import annotations

from collections.abc import Collection, Container, Hashable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import asdict
from typing import Any

from ..ipc.mailbox import Mailbox
from ..parameters import MODULATORS, PARAMETERS, Parameter, find
from ..show.banks import TEXTS, WEIGHTS, Banks
from ..show.schema import Show
from ..timing.show_clock import ShowClock
from ..timing.tempo import Line
from .arguments import DEFAULT_TRANSITION
from .history import History, PastChange

NOT_UNDONE = (
    "tempo",
    "learn",
    "sound/",
    "preview/",
)  # set by programs as well, so that undo would surprise a performer
SAFE = ("pad/", "cam/", "act", "freeze", "blackout", "morph", "energy", "sound/", "guidance", "speed", "live/")
RESET_BY_PANIC = [p for p in PARAMETERS.values() if p.name.startswith(SAFE) and p.kind not in ("text", "trigger")]
RESET_BY_PANIC += [PARAMETERS[f"mod/{n}/depth"] for n in range(1, MODULATORS + 1)]
TEMPO_STEP_BPM = 0.1  # by which another program's tempo has to differ before controllers are shown it


def renumbered(cue: int | None, order: Sequence[int | None]) -> int | None:
    """The index of a cue after an edit."""
    return order[cue] if cue is not None and cue < len(order) else None


class ParameterStore:
    """All that undo can take back: the value of each parameter, the prompts on the pads, and the last cue.

    Values are given coerced (`Parameter.coerce`), and go into the mailbox as they are set; those of the tempo go to the
    clock as well. `read` may be called from any thread; all other methods need the desk's lock.

    values: by name, without what modulators add. cue: index of the last cue that was fired. moving: names of the faders
    that a cue moves. replaying: a log sets the clock, and no control does.
    """

    def __init__(self, show: Show, mailbox: Mailbox, clock: ShowClock, moving: Container[str], now: float,
                 replaying: bool = False) -> None:  # fmt: skip
        initial = show.initial()
        self.values = {name: value for name, value in initial.items() if name in PARAMETERS}
        self.banks = show.prompts()
        self.cue: int | None = None
        self.history = History()
        self._mailbox, self._clock, self._moving, self._replaying = mailbox, clock, moving, replaying
        self._changed: dict[str, Any] = {}
        self._offsets: dict[str, float] = {}  # what modulators add,
        self._bases: dict[str, Any] = {}  # the values without it,
        self._base_arrived_at: dict[str, float] = {}  # and the arrival times of these
        for name, value in initial.items():
            mailbox.post(name, value, 0.0, seconds=0.0)  # no arrival time: it is no control whose latency is measured
            if name in TEXTS:
                self.banks = self.banks.written(TEXTS[name], value)
            if name.startswith("tempo"):
                clock.obey(name, value, now)

    def read(self, name: str) -> Any:
        """A parameter's present value; None for a trigger and for an unknown name."""
        if not name.startswith("word/"):
            return self.values.get(name)
        p = find(name)
        if p is None:
            return None
        base = self._bases.get(p.name)
        return self._mailbox.words()[0].get(p.name.removeprefix("word/"), p.default) if base is None else base

    def words(self) -> dict[str, float]:
        """The words whose weight is not 1, as parameters: {"word/storm": 0.5}."""
        words = {f"word/{word}": weight for word, weight in self._mailbox.words()[0].items()}
        return words | {name: value for name, value in self._bases.items() if name.startswith("word/")}

    def set(self, p: Parameter, value: Any, arrived_at: float, seconds: float = DEFAULT_TRANSITION) -> None:
        """Set a value and post it, with what a modulator adds. seconds: a text's transition."""
        modulated = value
        if p.name in self._offsets:
            self._bases[p.name], self._base_arrived_at[p.name] = value, arrived_at
            modulated = p.coerce(value + self._offsets[p.name])
        self._mailbox.post(p.name, modulated, arrived_at, seconds)
        self._changed[p.name] = value
        if p.name in PARAMETERS:  # there are endless words: the mailbox keeps the few whose weight is not 1
            self.values[p.name] = value
        if p.name in TEXTS:
            self.banks = self.banks.written(TEXTS[p.name], value)
        elif p.name in WEIGHTS and modulated == 0:
            self._release(WEIGHTS[p.name], arrived_at)
        if p.name.startswith("tempo"):
            self.set_clock(p.name, value, arrived_at)

    def set_clock(self, name: str, value: Any, arrived_at: float) -> None:
        """Give the clock a value of `tempo`, or a tap."""
        if not self._replaying or name in ("tempo/bar", "tempo/phrase"):
            self._clock.obey(name, value, arrived_at)

    def follow_tempo(self, line: Line) -> None:
        """Take over the tempo that the clock has from taps, a MIDI clock or Link."""
        bpm = round(line.bpm, 2)
        if abs(bpm - self.values["tempo"]) >= TEMPO_STEP_BPM:
            self.values["tempo"] = self._changed["tempo"] = bpm

    def panic(self, arrived_at: float) -> None:
        """Set everything that can spoil the frame to its default, as one change to undo."""
        self.remember(("panic", arrived_at), {p.name: self.values[p.name] for p in RESET_BY_PANIC}, arrived_at)
        for p in RESET_BY_PANIC:
            self.set(p, p.default, arrived_at)

    def take_changed(self) -> dict[str, Any]:
        """The latest value of each parameter that changed since the last call."""
        changed, self._changed = self._changed, {}
        return changed

    # -- modulation --------------------------------------------------------------------------------------------------

    @property
    def modulated(self) -> Collection[str]:
        """Names of the parameters to which modulators add something."""
        return self._offsets.keys()

    def set_offset(self, name: str, offset: float | None) -> None:
        """Let modulators add that much to a parameter; None when none moves it any more."""
        p = find(name)
        assert p is not None
        if name not in self._offsets:
            self._bases[name] = self.read(name)
        base = modulated = self._bases[name]
        if offset is None:
            del self._offsets[name], self._bases[name]
        elif offset != self._offsets.get(name):
            self._offsets[name] = offset
            modulated = p.coerce(base + offset)
        else:
            return
        arrived_at = self._base_arrived_at.get(name, 0.0)
        self._mailbox.post(name, modulated, arrived_at)
        if name in WEIGHTS and modulated == 0:
            self._release(WEIGHTS[name], arrived_at)

    # -- banks of pads -----------------------------------------------------------------------------------------------

    def active_pads(self) -> AbstractSet[int]:
        """Pads with a weight, modulators included, and pads that a cue moves. They keep their prompt in a switch."""
        return {pad for name, pad in WEIGHTS.items() if name in self._moving or self._mailbox.value(name) > 0}

    def switch_bank(self, to: int, arrived_at: float) -> None:
        self.remember("bank", self.banks.values, arrived_at)
        self.deal(self.banks.switched(to, self.active_pads()), arrived_at)

    def release_pads(self, arrived_at: float) -> None:
        """Give each pad that is not active the prompt of the present bank."""
        self.deal(self.banks.switched(self.banks.now, self.active_pads()), arrived_at)

    def deal(self, banks: Banks, arrived_at: float) -> None:
        """Put the prompts of these banks on the pads."""
        self.banks = banks
        for name, value in banks.values.items():
            if self.values[name] != value:
                self.set(PARAMETERS[name], value, arrived_at)

    def _release(self, pad: int, arrived_at: float) -> None:
        """A pad is down: from now on it has the prompt of the present bank."""
        if self.banks.of[pad - 1] != self.banks.now and f"pad/{pad}" not in self._moving:
            self.deal(self.banks.released(pad), arrived_at)

    def rewrite(self, before: Banks, after: Banks, order: Sequence[int | None], arrived_at: float) -> None:
        """Take over what an edit of the show wrote on its pads, also in what undo would bring back.

        before, after: the show's banks. order: the new index of each cue, None for one that is gone.
        """

        def rewritten(banks: Banks) -> Banks:
            return banks.rewritten(before, after)

        self.cue = renumbered(self.cue, order)
        self.history.rewrite(lambda context: (renumbered(context[0], order), rewritten(context[1])))
        self.deal(rewritten(self.banks), arrived_at)

    # -- undo, and the head of a log ---------------------------------------------------------------------------------

    def remember(self, key: Hashable, before: Mapping[str, Any], arrived_at: float) -> None:
        """Keep values for undo, before they change. The same key again within a second is the same change."""
        self.history.note(key, before, (self.cue, self.banks), arrived_at)

    def remember_value(self, name: str, arrived_at: float) -> None:
        """Keep one value for undo, unless it is one that undo leaves alone."""
        if not name.startswith(NOT_UNDONE):
            self.remember(name, {name: self.read(name)}, arrived_at)

    def put_back(self, change: PastChange, arrived_at: float) -> None:
        """Make everything as it was before that change."""
        self.cue, banks = change.context
        dealt = banks.values
        for name, value in change.before.items():
            p = find(name)
            if p is not None and name not in dealt and self.read(name) != value:
                self.set(p, value, arrived_at)
        self.banks = banks
        self.release_pads(arrived_at)

    def state(self) -> dict[str, Any]:
        """Values, words, cue and banks, JSON-able."""
        return {"values": dict(self.values), "words": self.words(), "cue": self.cue, "banks": asdict(self.banks)}

    def restore(self, state: Mapping[str, Any], now: float) -> None:
        """Set everything as in `state`. Names that are no parameter any more are passed over."""
        banks = state.get("banks")
        self.banks = Banks.revived(banks) if banks else self.banks.recalled({**self.values, **state["values"]})
        for name, value in {**state["values"], **state["words"]}.items():
            p = find(name)
            if p is not None and p.kind != "trigger" and self.read(name) != value:
                self.set(p, p.coerce(value), now, 0.0)
        self.cue = state["cue"]
