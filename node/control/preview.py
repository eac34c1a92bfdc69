"""The preview's side of control: a desk of its own, on which the next scene is prepared while the program plays on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from worldjockey.integrations import ControlEvent

from ..ipc.mailbox import Mailbox
from ..parameters import PREVIEW, find, preview_name
from .desk import Desk
from .history import History
from .taking import Prepared

SHARED = ("sound/level", "sound/bass", "sound/treble", "sound/onset")  # that the preview hears as the program does


class Preview:
    """A second desk, without modulators, quantise and follow, for all names that begin with "preview/". It exists as
    long as the show; while it is closed it takes no controls, and costs nothing.

    mailbox: the preview world's. copies: how often the preview became what the program is, of which its world takes
    the program's state as well. All methods need the program's desk's lock, except `values` and `read`.
    """

    def __init__(self, program: Desk, mailbox: Mailbox) -> None:
        self._program, self.mailbox = program, mailbox
        self.desk = Desk(program.show, mailbox, program.clock, replaying=True, modulated=False)
        self.desk.player.snapshots = program.player.snapshots
        mailbox.post("inbetween", "hold", 0.0)  # it has few frames, and motion in between would cost the program time
        self.desk.errors = program.errors
        self.on, self.copies = False, 0
        program.taking.prepared = lambda: self._prepared() if self.on else None
        program.taking.put_back = self._put_back

    def obey(self, control: ControlEvent) -> None:
        """Carry out a control whose target begins with "preview/". Raises ValueError while the preview is closed, and
        for what is wrong with the control."""
        if not self.on:
            raise ValueError(f"{control.target[:80]}: the preview is closed: open it with preview/on")
        self.desk.obey(replace(control, target=control.target.removeprefix(PREVIEW)))

    def advance(self, now: float) -> None:
        """Move on what moves by itself."""
        self.follow(now)
        if not self.on:
            return
        for name in SHARED:
            if (level := self._program.mailbox.value(name)) != self.mailbox.value(name):
                self.mailbox.post(name, level, 0.0)
        self.desk.advance(now)

    def follow(self, now: float) -> None:
        """Open or close as `preview/on` says, which a control, a cue or the show has set."""
        if (wanted := bool(self._program.values["preview/on"])) != self.on:
            self.on = wanted
            if wanted:
                self.copy(now)

    def copy(self, now: float) -> None:
        """Make the preview what the program is now."""
        program, store = self._program.store, self.desk.store
        self.desk.player.clear()
        state = program.state()
        words = {**dict.fromkeys(store.words(), 1.0), **state["words"]}
        store.restore({**state, "values": _previewed(state["values"]), "words": words}, now)
        store.history = History()
        self.copies += 1

    def read(self, name: str) -> Any:
        """The present value of "preview/pad/3"; None for a name that the preview has not."""
        return self.desk.read(name.removeprefix(PREVIEW))

    @property
    def values(self) -> dict[str, Any]:
        """All present values, words among them, by their names with "preview/"."""
        return {
            preview_name(n): v for n, v in {**self.desk.values, **self.desk.store.words()}.items() if preview_name(n)
        }

    def take_changed(self) -> dict[str, Any]:
        """The latest value of each of its parameters that changed since the last call, with "preview/"."""
        return {named: v for name, v in self.desk.store.take_changed().items() if (named := preview_name(name))}

    def _prepared(self) -> Prepared:
        return Prepared.of(self.desk.store, self.desk.player.ramps)

    def _put_back(self, prepared: Prepared, now: float) -> None:
        """Give the preview again what it had at the take."""
        if self.on:
            self.desk.player.clear()
            self.desk.player.move_to(prepared.values, 0.0, ("preview/back", now), now)
            self.desk.store.cue = prepared.cue


def _previewed(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if preview_name(name) and find(name)}
