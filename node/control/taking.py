"""`preview/take` and `preview/back`: what the preview has goes to the program, and the program goes back."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from worldjockey.integrations import ControlEvent

from ..parameters import PARAMETERS, SWITCH_WORDS, bare, find, is_number, preview_name, to_number
from .arguments import has_no_value
from .cue_player import CuePlayer
from .cues import Ramps
from .parameter_store import ParameterStore
from .snapshot_file import in_snapshots

CUT_WORDS = ("cut", "now")
BUTTONS = ("osc", "midi", "key", "gamepad")  # sources whose buttons send 1 when they go down, and 0 when they come up
NOT_TAKEN = ("transition",)  # it says how the next change goes, and is no part of the picture


@dataclass(frozen=True)
class Prepared:
    """What one bus shows: its values by name, words among them, and the index of its last cue."""

    values: Mapping[str, Any]
    cue: int | None = None

    @classmethod
    def of(cls, store: ParameterStore, ramps: Ramps) -> Prepared:
        """The state of one bus, with moving faders where they are going."""
        values = {**store.values, **store.words(), **ramps.ends}
        return cls({name: value for name, value in values.items() if is_taken(name)}, store.cue)

    def packed(self) -> str:
        return json.dumps({"values": self.values, "cue": self.cue})

    @classmethod
    def unpacked(cls, text: str) -> Prepared:
        """Raises ValueError for a text that `packed` did not make."""
        state = json.loads(text)
        if not isinstance(state, dict) or not isinstance(state.get("values"), dict):
            raise ValueError("a take carries values by name")
        cue = state.get("cue")
        values = {}
        for name, value in state["values"].items():
            p = find(name)
            if p is not None and is_taken(p.name):
                values[p.name] = p.coerce(value)
        return cls(values, cue if isinstance(cue, int) else None)


def is_taken(name: str) -> bool:
    """Whether a take carries that parameter to the program."""
    return bool(in_snapshots(name) and preview_name(name)) and name not in NOT_TAKEN


def seconds_given(control: ControlEvent, default: float) -> float | None:
    """The length of a take's fade; 0 is a cut. None for a button that comes up.

    Without an argument it is `default`. A number is the seconds, and "cut" a cut. Buttons of controllers
    send 1 and 0 for down and up: from these, seconds are another number, or stand behind it: [1, 0.5].
    """
    args = [
        argument.decode("utf-8", "replace") if isinstance(argument, bytes) else argument for argument in control.args
    ]
    if has_no_value(args):
        return default
    first = args[0]
    if isinstance(first, str) and bare(first).lower() in CUT_WORDS:
        return 0.0
    if isinstance(first, str) and bare(first).lower() in SWITCH_WORDS:
        first = SWITCH_WORDS[bare(first).lower()] > 0
    if not isinstance(first, bool) and not is_number(first):
        raise ValueError(f"{control.target} takes seconds, or `cut`, not {str(first)[:80]!r}")
    button = isinstance(first, bool) or (control.source.startswith(BUTTONS) and to_number(first) in (0, 1))
    if button and not first:
        return None
    given = args[1:2] if button else [first]
    return float(PARAMETERS["transition"].coerce(given[0])) if given and is_number(given[0]) else default


class Taking:
    """All methods need the desk's lock. Those that take a ControlEvent return whether it waits for its beat.

    prepared: what the preview has now; None while it is closed. put_back: gives the preview what it had before the
    take. log: called with each take and each way back as it is carried out, with all that it needs.
    """

    def __init__(self, player: CuePlayer, store: ParameterStore, ramps: Ramps,
                 log: Callable[[ControlEvent], None]) -> None:  # fmt: skip
        self._player, self._store, self._ramps, self._log = player, store, ramps, log
        self.prepared: Callable[[], Prepared | None] = lambda: None
        self.put_back: Callable[[Prepared, float], None] = lambda prepared, now: None
        self._taken: tuple[Prepared, Prepared] | None = None  # the program before the last take, and the preview then
        player.others |= {"preview/take": self._carry, "preview/back": self._return}

    def take(self, control: ControlEvent) -> bool:
        """Raises ValueError while the preview is closed."""
        if len(control.args) == 2 and isinstance(packed := control.args[1], str) and packed.startswith("{"):
            Prepared.unpacked(packed)  # a log's row, with the values
            seconds: float | None = PARAMETERS["transition"].coerce(control.args[0])
            rest: tuple[str, ...] = (packed,)
        else:
            seconds, rest = seconds_given(control, self._store.values["transition"]), ()
            if seconds is not None and self.prepared() is None:
                raise ValueError("the preview is closed, so there is nothing to take: open it with preview/on")
        return self._ask(control, seconds, rest)

    def back(self, control: ControlEvent) -> bool:
        """Raises ValueError where there was no take."""
        seconds = seconds_given(control, self._store.values["transition"])
        if seconds is not None and self._taken is None:
            raise ValueError("there was no take to go back from")
        return self._ask(control, seconds, ())

    def _ask(self, control: ControlEvent, seconds: float | None, rest: tuple[str, ...]) -> bool:
        if seconds is None:
            return False
        action = ControlEvent(control.target, (seconds, *rest), control.arrived_at, control.source)
        return self._player.ask(action, self._store.values["quantise"], control)

    def _carry(self, action: ControlEvent) -> None:
        seconds, *packed = action.args
        prepared = Prepared.unpacked(packed[0]) if packed else self.prepared()
        if prepared is None:
            raise ValueError("the preview was closed before its take")
        before = Prepared.of(self._store, self._ramps)
        self._move(prepared, seconds, action)
        self._taken = before, prepared

    def _return(self, action: ControlEvent) -> None:
        if self._taken is None:
            raise ValueError("there was no take to go back from")
        (before, prepared), self._taken = self._taken, None
        self._move(before, action.args[0], action)
        self.put_back(prepared, action.arrived_at)

    def _move(self, to: Prepared, seconds: float, action: ControlEvent) -> None:
        """Move the program there, as one change to undo. It is logged as a take, whose values `wj render` needs."""
        self._player.move_to(to.values, seconds, (action.target, action.arrived_at), action.arrived_at)
        if to.cue is not None:
            self._store.cue = to.cue
        self._log(ControlEvent("preview/take", (seconds, to.packed()), action.arrived_at, action.source, {"now": True}))
