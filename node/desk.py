"""The desk: every control that arrives, from whichever input, becomes parameter values in the mailbox."""

from __future__ import annotations

import threading
import time
from typing import Any

from worldjockey.integrations import Control

from . import cues
from .cues import Change, Ramps
from .mailbox import Mailbox
from .parameters import PARAMETERS, Parameter, find
from .show import Show

SAFE = ("pad/", "cam/", "act", "freeze", "blackout", "morph", "energy", "sound/", "guidance", "speed")  # what panic puts back


class Desk:
    """Holds the present value of every parameter. `deliver` may be called from any thread and never raises."""

    def __init__(self, show: Show, mailbox: Mailbox) -> None:
        self.show, self.mailbox = show, mailbox
        self.values = show.initial()
        self.counts = {"obeyed": 0, "refused": 0}
        self.fault = ""  # the last refused control, in words
        self._cue: int | None = None
        self._ramps = Ramps()
        self._lock = threading.RLock()
        self._changed: dict[str, Any] = {}
        for name, value in self.values.items():
            mailbox.post(name, value, 0.0, seconds=0.0)  # no stamp: nobody's hand is measured by it

    def deliver(self, control: Control) -> None:
        """Obey one control, or count and remember why not."""
        try:
            with self._lock:
                self._obey(control)
            self.counts["obeyed"] += 1
        except (ValueError, TypeError, OverflowError, KeyError) as fault:
            self.counts["refused"] += 1
            self.fault = f"{control.source}: {fault}"[:200]

    def _obey(self, control: Control) -> None:
        name, args, stamp = control.target, control.args, control.time or time.monotonic()
        p = find(name)
        if p is None:
            raise ValueError(f"there is no parameter {name[:80]!r}")
        if control.meta.get("relative"):
            args = (p.stepped(self.read(name), args[0] if args else None),)
        if p.kind == "text":
            if args:
                seconds = float(args[1]) if len(args) > 1 else float("nan")
                self._set(p, p.coerce(args[0]), stamp, min(max(seconds, 0.0), 60.0) if seconds == seconds else seconds)
            return
        if name == "cue/go":
            index = cues.choose(self.show.cues, args, self._cue)
            if index is not None:
                self.go(index, stamp)
            return
        if not args and p.kind not in ("trigger", "bool"):
            raise ValueError(f"{p.name} takes a value")
        bare = not self.values[name] if p.kind == "bool" else True  # a switch without a value is thrown over
        value = p.coerce(args[0]) if args else bare
        if p.kind != "trigger":
            self._ramps.touch(name)
            self._set(p, value, stamp)
        elif value:
            self._fire(name, stamp)

    def read(self, name: str) -> Any:
        """A parameter's present value; None for a trigger, and for what is no parameter. From any thread."""
        if name.startswith("word/"):
            p = find(name)
            return self.mailbox.words()[0].get(p.name.removeprefix("word/"), p.default) if p else None
        return self.values.get(name)

    def _set(self, p: Parameter, value: Any, stamp: float, seconds: float = float("nan")) -> None:
        self.mailbox.post(p.name, value, stamp, seconds)
        self._changed[p.name] = value
        if p.name in PARAMETERS:  # there is no end of words: the mailbox keeps the few that count
            self.values[p.name] = value

    def _fire(self, name: str, stamp: float) -> None:
        if name.startswith("act/"):
            self._set(PARAMETERS["act"], name.removeprefix("act/"), stamp)
            return
        if name == "panic":
            self._ramps.clear()
            for p in PARAMETERS.values():
                if p.name.startswith(SAFE) and p.kind not in ("text", "trigger"):
                    self._set(p, p.default, stamp)
        self.mailbox.post(name, True, stamp)

    def go(self, index: int, stamp: float) -> None:
        """Fire a cue by index."""
        self._cue = index
        wanted = cues.changes(self.show, self.show.cues[index])
        words = {f"word/{word}": weight for word, weight in self.mailbox.words()[0].items()}
        for change in self._ramps.start(wanted, {**self.values, **words}, stamp):
            self._carry_out(change, stamp)

    def _carry_out(self, change: Change, stamp: float) -> None:
        p = find(change.target)
        if p is not None:
            self._set(p, change.value, stamp, change.seconds if p.kind == "text" else float("nan"))

    def advance(self, now: float) -> None:
        """Move the faders that move by themselves; called often."""
        with self._lock:
            for name, value in self._ramps.advance(now).items():
                p = find(name)
                if p is not None:
                    self._set(p, value, now)

    def changed(self) -> dict[str, Any]:
        """What changed since the last call, the latest value each: for feedback to controllers."""
        with self._lock:
            found, self._changed = self._changed, {}
        return found
