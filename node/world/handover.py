"""The program's world gives its present state to the preview's world, between two of its steps.

The preview's world asks by a counter in shared memory. The program's world takes a snapshot, which costs it nothing; a
thread packs it and writes it to a file in a private folder, and then announces the file.

An `Arrival` goes the other way: a state that came from another machine replaces that of the world that runs here.
"""

from __future__ import annotations

import json
import logging
import os
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..ipc.cell import Cell

if TYPE_CHECKING:
    from worldjockey.model import World
    from worldjockey.model.spec import WorldState

logger = logging.getLogger(__name__)
ANSWER_TIMEOUT_S = 2.0  # after which the preview begins with the world's opening state
ANSWER_BYTES = 1024


@dataclass(frozen=True)
class Handover:
    """What both worlds share. folder: only this user can read it. asked: written by the preview's world, the number of
    the state that it wants. given: written by the program's world, {"number", "file"} of the latest; file is "" where
    there is none."""

    folder: Path
    asked: Cell
    given: Cell

    @classmethod
    def create(cls, folder: Path) -> Handover:
        return cls(folder, Cell(8), Cell(ANSWER_BYTES))

    @property
    def cells(self) -> list[Cell]:
        return [self.asked, self.given]


class StateGiver:
    """The program's side."""

    def __init__(self, world: World, handover: Handover) -> None:
        self._world, self._handover = world, handover
        self._seen = handover.asked.version  # what was asked of a world before this one is asked again
        self._thread: threading.Thread | None = None

    def give(self) -> None:
        """Answer the latest request, if there is a new one. Takes microseconds; call it between two steps."""
        number = self._handover.asked.version
        if number == self._seen or (self._thread is not None and self._thread.is_alive()):
            return
        self._seen = number
        pack = getattr(self._world, "pack", None)
        state = self._world.snapshot() if pack is not None else None
        self._thread = threading.Thread(target=self._write, args=(number, state), name="handover", daemon=True)
        self._thread.start()

    def _write(self, number: int, state: WorldState | None) -> None:
        name = ""
        try:
            if state is not None:
                name = f"state-{os.getpid()}-{number}"
                unfinished = self._handover.folder / f"{name}.part"
                unfinished.write_bytes(self._world.pack(state))
                unfinished.rename(self._handover.folder / name)
        except Exception:  # the preview begins with the opening state
            logger.exception("the world's state cannot be handed over")
            name = ""
        self._handover.given.write(json.dumps({"number": number, "file": name}).encode())


class StateTaker:
    """The preview's side. One request at a time."""

    def __init__(self, world: World, handover: Handover) -> None:
        self._world, self._handover = world, handover
        self._asked_at: float | None = None

    @property
    def waiting(self) -> bool:
        return self._asked_at is not None

    def ask(self) -> None:
        """Ask for the program's present state; an earlier request is forgotten."""
        self._handover.asked.write(b"")
        self._asked_at = time.monotonic()

    def take(self) -> tuple[bool, WorldState | None]:
        """Whether the request is answered, and the state: None from a world that has none to give, or that does not
        answer in time."""
        answer: dict[str, Any] = json.loads(self._handover.given.read()[1] or b"{}")
        if answer.get("number") != self._handover.asked.version:
            if self._asked_at is not None and time.monotonic() - self._asked_at < ANSWER_TIMEOUT_S:
                return False, None
            answer = {}
        self._asked_at = None
        unpack = getattr(self._world, "unpack", None)
        if not answer.get("file") or unpack is None:
            return True, None
        path = self._handover.folder / Path(answer["file"]).name
        try:
            return True, unpack(path.read_bytes())
        except (OSError, ValueError) as error:
            logger.warning("the program's state cannot be used: %s", error)
            return True, None
        finally:
            path.unlink(missing_ok=True)


@dataclass(frozen=True)
class Arrival:
    """What a world shares with the process that brings it a state. folder: only this user can read it. brought: name of
    the state's file. taken: the version of `brought` from which the world goes on."""

    folder: Path
    brought: Cell
    taken: Cell

    @classmethod
    def create(cls, folder: Path) -> Arrival:
        return cls(folder, Cell(ANSWER_BYTES), Cell(8))

    @property
    def cells(self) -> list[Cell]:
        return [self.brought, self.taken]

    def bring(self, state: bytes) -> int:
        """Hand over a packed state; the number that `number_taken` returns once the world goes on from it."""
        number = self.brought.version + 1
        name = f"arrived-{number}"
        (self.folder / name).write_bytes(state)
        self.brought.write(name.encode())
        return number

    @property
    def number_taken(self) -> int:
        return int.from_bytes(self.taken.read()[1] or b"\0", "little")


class ArrivalTaker:
    """The world's side. begun: what was brought to a world before this one is not taken again."""

    def __init__(self, world: World, arrival: Arrival) -> None:
        self._world, self._arrival = world, arrival
        self._seen = arrival.brought.version

    def take(self) -> WorldState | None:
        """The state that was brought since the last call; None if there is none, or none that this world can use. Then
        call `done`."""
        number = self._arrival.brought.version
        if number == self._seen:
            return None
        self._seen, name = number, self._arrival.brought.read()[1]
        path, unpack = self._arrival.folder / Path(name.decode()).name, getattr(self._world, "unpack", None)
        try:
            state: WorldState | None = None if unpack is None else unpack(path.read_bytes())
        except (OSError, ValueError) as error:
            logger.warning("the state from another machine cannot be used: %s", error)
            state = None
        path.unlink(missing_ok=True)
        if state is None:
            self.done()
        return state

    def done(self) -> None:
        """Tell that the world goes on from what was brought last."""
        self._arrival.taken.write(self._seen.to_bytes(8, "little"))
