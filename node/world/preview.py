"""What the preview's world does between its steps: becomes what the program is, gives way to it, and draws stills."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..ipc.cell import Cell
from ..ipc.mailbox import Mailbox
from ..ipc.process import read_status
from ..ipc.status import error_text
from .handover import Handover, StateTaker
from .stills import Painter, write_jpeg
from .yielding import Yielding, observed

if TYPE_CHECKING:
    from .process import WorldStepper

logger = logging.getLogger(__name__)
POLL_S = 0.02
ORDERS_BYTES = 1 << 20
RESULTS_BYTES = 256 * 1024
DRAWN_KEPT = 64  # names of files in the status
PAD_PAUSE_S, PAD_PAUSE_ON_S = 0.3, 2.0  # between two pads, which nobody waits for; with a preview that plays
PROGRAM_SILENT_S = 2.0  # after which the program's world is starting again, and needs the machine
RESTING = "resting: the program needs the machine"


@dataclass(frozen=True)
class PreviewLine:
    """What the preview's world shares with the control process and the program's world.

    orders: JSON from the control process: {"on": whether it plays, "copies": how often it is to become what the program
    is, "pads": [{"file", "prompt", "seed"}] to draw, "try": {"id", "attribute"} or null}. results: JSON of the latest
    "try". program: the mailbox of the program; status: of its world. stills: folder for JPEG files. rate: frames a
    second, at most.
    """

    orders: Cell
    results: Cell
    program: Mailbox
    status: Cell
    handover: Handover
    stills: Path
    rate: float = 10.0

    @property
    def cells(self) -> list[Cell]:
        return [self.orders, self.results]


class PreviewSide:
    """`ready` decides what the process does next."""

    def __init__(self, stepper: WorldStepper, line: PreviewLine) -> None:
        self._stepper, self._line = stepper, line
        self._taker = StateTaker(stepper.world, line.handover)
        self._painter = Painter(stepper.world, stepper.encoder, line.program)
        self._yielding = Yielding.at_most(line.rate)
        self._orders: dict[str, Any] = {}
        self._orders_version = self._copied = 0
        self._program: tuple[int, float, int, float] = (0, 0.0, 0, 0.0)  # status version, time, frames, busy seconds
        self._program_at = time.monotonic()
        self._next_at = self._pads_at = 0.0
        self._drawn: set[str] = set()  # or tried to
        self._made: list[str] = []
        row = json.loads(line.results.read()[1] or b"{}")
        self._tried: str | None = row["id"] if row.get("done") else None  # drawn by a world before this one
        self._trying: Iterator[None] | None = None
        self.message = ""  # why a still cannot be drawn

    @property
    def on(self) -> bool:
        return bool(self._orders.get("on"))

    def status(self) -> dict[str, Any]:
        """resting: why it makes no frames now; waiting: stills that are still to be drawn."""
        resting = self.on and (self._yielding.phase == "resting" or self._program_is_silent)
        waiting = sum(job["file"] not in self._drawn for job in self._orders.get("pads", ()))
        slowed = self.on and self._yielding.interval > self._yielding.fastest * 1.01
        return {
            "resting": RESTING if resting else "", "slowed": slowed,
            "stills_waiting": waiting + (self._trying is not None),
            "stills_drawn": self._made[-DRAWN_KEPT:], "stills_message": self.message,
            "alone_ms": round(self._yielding.alone * 1e3, 2),
            "beside_ms": round(self._yielding.beside * 1e3, 2),
        }  # fmt: skip

    def ready(self) -> bool:
        """Whether a step of the preview is due. Draws stills, or waits for a moment, where it is not."""
        self._read_orders()
        self._become_the_program()
        self._observe()
        if self._draw_try() or self._draw_pad():
            return False
        now = time.monotonic()
        if not self.on or self._copied == 0 or not self._yielding.works or self._program_is_silent:
            time.sleep(POLL_S)
            return False
        if now < self._next_at:
            time.sleep(min(self._next_at - now, POLL_S))
            return False
        self._next_at = max(self._next_at + self._yielding.interval, now)
        return True

    def _read_orders(self) -> None:
        if self._line.orders.version != self._orders_version:
            self._orders_version, data = self._line.orders.read()
            self._orders = json.loads(data)

    # -- the program's state and its load ----------------------------------------------------------------------------

    def _become_the_program(self) -> None:
        wanted = self._orders.get("copies", 0)
        if not self.on or self._trying is not None:
            return
        if wanted != self._copied and not self._taker.waiting:
            self._taker.ask()
        if self._taker.waiting:
            answered, state = self._taker.take()
            if answered:
                self._copied = wanted
                self._stepper.start_from(state)

    @property
    def _program_is_silent(self) -> bool:
        return time.monotonic() - self._program_at > PROGRAM_SILENT_S

    def _observe(self) -> None:
        version, at, frames, busy = self._program
        if self._line.status.version == version:
            return
        now, status = time.monotonic(), read_status(self._line.status)
        self._program = (self._line.status.version, now, status.get("frames", 0), status.get("busy_s", 0.0))
        if status.get("state") != "running":
            return
        self._program_at = now
        made = self._program[2] - frames
        if version and made >= 0 and now - at < PROGRAM_SILENT_S:
            self._yielding = observed(self._yielding, now - at, made, max(self._program[3] - busy, 0.0))

    # -- stills --------------------------------------------------------------------------------------------------------

    def _draw_pad(self) -> bool:
        """Draw the next pad, while the machine has time for it."""
        if not self._yielding.works or time.monotonic() < self._pads_at:
            return False
        job = next((job for job in self._orders.get("pads", ()) if job["file"] not in self._drawn), None)
        if job is None:
            return False
        self._drawn.add(job["file"])
        if (self._line.stills / job["file"]).exists():  # drawn by a world before this one
            self._made.append(job["file"])
            return False
        try:
            write_jpeg(self._line.stills / job["file"], self._painter.pad(job["prompt"], job["seed"]))
            self._made.append(job["file"])
            self.message = ""
        except Exception as error:
            logger.exception("a pad cannot be drawn")
            self.message = f"a pad's still cannot be drawn: {error_text(error)}"
        self._pads_at = time.monotonic() + (PAD_PAUSE_ON_S if self.on else PAD_PAUSE_S)
        return True

    def _draw_try(self) -> bool:
        """Draw the next still of a row, one at each call; a new row ends the one before."""
        job = self._orders.get("try")
        if job and job["id"] != self._tried and not self._taker.waiting:
            self._tried, self._trying = job["id"], self._row(job)
        if self._trying is None:
            return False
        if next(self._trying, self) is self:
            self._trying = None
        return True

    def _row(self, job: dict[str, Any]) -> Iterator[None]:
        row: dict[str, Any] = {
            "id": job["id"],
            "attribute": job["attribute"],
            "items": [],
            "done": False,
            "message": "",
        }
        self._taker.ask()
        answered, state = self._taker.take()
        while not answered:
            time.sleep(POLL_S / 10)
            yield
            answered, state = self._taker.take()
        try:
            for number, (value, controls, pixels) in enumerate(self._painter.variants(job["attribute"], state)):
                file = f"{job['id']}-{number}.jpg"
                write_jpeg(self._line.stills / file, pixels)
                row["items"].append({"value": value, "file": file, "controls": dict(controls)})
                self._publish(row)
                yield
        except Exception as error:
            logger.exception("stills of %s cannot be drawn", job["attribute"])
            row["message"] = error_text(error)
        self._publish({**row, "done": True})

    def _publish(self, row: dict[str, Any]) -> None:
        data = json.dumps(row).encode()
        if len(data) > self._line.results.size:  # of prompts that are pages long, the controls are left out
            data = json.dumps({**row, "items": [{**item, "controls": {}} for item in row["items"]]}).encode()
        self._line.results.write(data)
