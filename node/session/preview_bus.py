"""The preview bus: a second world, its clock and its outputs. Its processes run only while somebody needs them."""

from __future__ import annotations

import json
import logging
import shutil
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from worldjockey.integrations import VideoFormat
from worldjockey.model.registry import lightest

from ..control.preview import Preview
from ..ipc.cell import Cell
from ..ipc.frame_ring import FrameRing
from ..ipc.key_line import KeyLine
from ..ipc.mailbox import Mailbox
from ..ipc.process import SPAWN, limit_threads, read_status
from ..ipc.status import error_text
from ..ipc.supervisor import STOP_TIMEOUT_S, Supervisor
from ..output import clock_process, worker
from ..output.layouts import rings_for
from ..output.worker import OutputSpec
from ..world import process as world_process
from ..world.handover import Handover
from ..world.live_source import LiveFeed
from ..world.preview import ORDERS_BYTES, RESULTS_BYTES, PreviewLine
from ..world.process import NATIVE_BYTES, WorldOptions

logger = logging.getLogger(__name__)
RATE = 10.0  # frames a second of the preview's world, at most
TICKS_A_SECOND = 20  # of its clock, at most
IDLE_S = 30.0  # after which a world that was opened for stills alone is closed
# Seconds without a status, by state, after which a process is killed: on a busy machine these get little of it.
WORLD_PATIENCE = {"running": 120.0}
PATIENCE = {"opening": 120.0, "running": 30.0}
REMOTE = "the world runs on another machine, which opens no second one"
RETRY_DELAY_S = 5.0
OFF = {"state": "off", "fps": 0.0, "message": ""}


@dataclass
class Orders:
    """What the preview's world is asked for besides playing. Written by the thread that answers requests.

    pads: [{"file", "prompt", "seed"}] to draw. tried: {"id", "attribute"}, or None. busy_until: time.monotonic() up to
    which somebody may want more.
    """

    pads: list[dict[str, Any]] = field(default_factory=list)
    tried: dict[str, Any] | None = None
    busy_until: float = 0.0


def preview_format(fmt: VideoFormat) -> VideoFormat:
    """The show's format at an n-th of its rate, at TICKS_A_SECOND at most."""
    divided = -(-fmt.fps_num // (fmt.fps_den * TICKS_A_SECOND))
    return replace(fmt, fps_den=fmt.fps_den * divided, name=f"{fmt.name} preview")


class PreviewBus:
    """All methods belong to the control loop's thread, and return at once, except `finish`.

    desk: the preview's side of control. options: of the program's world; mailbox, status: the program's. specs: outputs
    with `bus: preview`. monitor: shows the preview to the surface. remote: the program's world is elsewhere.
    """

    def __init__(self, desk: Preview, options: WorldOptions, mailbox: Mailbox, status: Cell, fmt: VideoFormat,
                 specs: Sequence[OutputSpec] = (), monitor: OutputSpec | None = None, metadata: Cell | None = None,
                 stills: Path = Path(), remote: bool = False) -> None:  # fmt: skip
        assert options.handover is not None or remote
        self.orders = Orders()
        self._desk, self._fmt, self._specs, self._monitor = desk, preview_format(fmt), list(specs), monitor
        self._options, self._remote, self._metadata = options, remote, metadata
        self._line: PreviewLine | None = None
        if options.handover is not None and not remote:
            orders, results = Cell(ORDERS_BYTES), Cell(RESULTS_BYTES)
            self._line = PreviewLine(orders, results, mailbox, status, options.handover, stills, RATE)
        self._sent = ""
        self._running: dict[str, Supervisor] = {}
        self._ending: list[threading.Thread] = []
        self._memory: list[Cell | FrameRing | KeyLine] = []
        self.keys: dict[str, KeyLine] = {}  # by output: the keys that are pressed there
        self._starts: dict[str, Callable[[], Supervisor]] = {}
        self._too_large = self._error = ""
        self._retry_at = 0.0
        self.events: list[str] = []

    @property
    def supervisors(self) -> list[Supervisor]:
        return list(self._running.values())

    @property
    def world(self) -> Supervisor | None:
        return self._running.get("preview world")

    def watch(self, now: float) -> None:
        """Start what is needed, one process at a time, and end what is not."""
        if self._line is None or now < self._retry_at:
            return
        try:
            self._watch(self._line, now)
            self._error = ""
        except OSError as error:  # no memory or process is free at the moment
            self._error, self._retry_at = f"the preview cannot start: {error_text(error)}", now + RETRY_DELAY_S
            logger.warning("%s", self._error)

    def _watch(self, line: PreviewLine, now: float) -> None:
        if self.world is not None and not self.world.closed and self.orders.busy_until > now and self.drawn()[1]:
            self.orders.busy_until = now + IDLE_S  # the time begins when all is drawn
        drawing = now < self.orders.busy_until
        self._send_orders(line)
        wanted = self._wanted(drawing)
        for name in [name for name in self._running if name not in wanted]:
            self._end(name, now)
        if self.world is not None and self.world.closed:
            self._too_large = str(read_status(self.world.status_cell).get("message", ""))
        missing = next((name for name in wanted if name not in self._running), None)
        if missing is not None and not any(thread.name == missing and thread.is_alive() for thread in self._ending):
            self._running[missing] = self._starts[missing]()

    def _wanted(self, drawing: bool) -> list[str]:
        """The names of the processes that are to run, in the order of their starts."""
        if not self._desk.on and not drawing:
            self._too_large = ""  # it is tried again when the preview is opened again
        if self._desk.on or drawing:
            self._assemble()
        names = ["preview world"] if self._desk.on or drawing else []
        return names + [name for name in self._starts if self._desk.on and name != "preview world"]

    def _assemble(self) -> None:
        """Make the memory that the processes share, at the first need."""
        if self._starts or self._line is None:
            return
        specs = [*self._specs, *([self._monitor] if self._monitor else [])]
        source, tick = FrameRing(NATIVE_BYTES, 4), Cell(64)
        rings = rings_for(specs, self._fmt, source.size)
        wakes = [SPAWN.Semaphore(0) for _ in specs]
        metadata = self._metadata or Cell(1024)
        self._memory = [source, tick, *rings.values(), *([] if self._metadata else [metadata])]
        options = replace(
            self._options, model=lightest(self._options.model), top_fps=RATE,
            threads=self._threads, ahead=(), card=None, clock=None, handover=None,
            reading=None, preview=self._line, live=self._feed(),
        )  # fmt: skip
        world_args = (options, self._desk.mailbox, source)
        self._starts["preview world"] = partial(
            Supervisor, "preview world", world_process.run, world_args, WORLD_PATIENCE
        )
        if specs:
            run_clock = partial(clock_process.run, background=True)
            clock_args = (self._fmt, self._desk.mailbox, source, rings, wakes, tick)
            self._starts["preview clock"] = partial(Supervisor, "preview clock", run_clock, clock_args, PATIENCE)
        self.keys = {spec.name: KeyLine() for spec in specs if spec.sends_keys}
        self._memory += self.keys.values()
        for spec, wake in zip(specs, wakes, strict=True):
            run_output = partial(worker.run, mailbox=self._desk.mailbox, keys=self.keys.get(spec.name))
            args = (spec, self._fmt, rings[spec.layout], tick, wake, metadata)
            self._starts[spec.name] = partial(Supervisor, spec.name, run_output, args, PATIENCE)

    @property
    def _threads(self) -> int:
        """Half as many as the program's world has."""
        return max(1, limit_threads(self._options.threads) // 2)

    def _feed(self) -> LiveFeed | None:
        """The live picture of the program. The preview's world has a size of its own, which nobody reads."""
        if self._options.live is None:
            return None
        size = Cell(64)
        self._memory.append(size)
        return LiveFeed(self._options.live.ring, size)

    def _send_orders(self, line: PreviewLine) -> None:
        orders = self.orders
        text = json.dumps({"on": self._desk.on, "copies": self._desk.copies, "pads": orders.pads, "try": orders.tried})
        if text != self._sent:
            self._sent = text
            if len(text) > line.orders.size:  # of prompts of many pages each, no stills are drawn
                text = json.dumps({"on": self._desk.on, "copies": self._desk.copies, "pads": [], "try": orders.tried})
            line.orders.write(text.encode())

    def _end(self, name: str, now: float) -> None:
        """End a process. A thread waits for it."""
        supervisor = self._running.pop(name)
        self.events += supervisor.events
        supervisor.ask_to_stop()
        finish = partial(supervisor.finish, now + STOP_TIMEOUT_S)
        self._ending = [thread for thread in self._ending if thread.is_alive()]
        self._ending.append(threading.Thread(target=finish, name=name, daemon=True))
        self._ending[-1].start()

    # -- what others are shown ---------------------------------------------------------------------------------------

    def status(self) -> dict[str, Any]:
        """{"state", "fps", "message"}, and of a running preview the milliseconds that a frame of the program takes
        alone and beside it. Its state is "off", "opening", "running", "resting", "too large" or "error"."""
        if not self._desk.on:
            return OFF
        if self._line is None:
            return {**OFF, "state": "error", "message": REMOTE}
        if self._too_large:
            return {**OFF, "state": "too large", "message": self._too_large}
        if self.world is None:
            return {**OFF, "state": "error" if self._error else "opening", "message": self._error}
        world = self.world.status()
        if world.get("state") != "running":
            failed = world.get("state") in ("error", "restarting", "unsuitable")
            return {**OFF, "state": "error" if failed else "opening", "message": str(world.get("message", ""))}
        facts = {name: world.get(name, 0.0) for name in ("alone_ms", "beside_ms")}
        if world.get("resting"):
            return {"state": "resting", "fps": 0.0, "message": world["resting"], **facts}
        slowed = "slower, because the program needs the machine" if world.get("slowed") else ""
        message = world.get("message") or slowed
        return {"state": "running", "fps": world.get("fps", 0.0), "message": message, **facts}

    def output_statuses(self) -> dict[str, Any]:
        return {spec.name: self._running[spec.name].status() for spec in self._specs if spec.name in self._running}

    def monitor_status(self) -> dict[str, Any]:
        """Of the monitor; empty while it does not run."""
        running = self._running.get(self._monitor.name) if self._monitor else None
        return running.status() if running is not None else {}

    @property
    def unable(self) -> str:
        """Why no second world can be opened; empty where it can."""
        return REMOTE if self._line is None else self._too_large

    def drawn(self) -> tuple[set[str], int, str]:
        """Of the stills of pads: the files that were drawn, how many are still to be drawn, and why one was not."""
        world = read_status(self.world.status_cell) if self.world is not None else {}
        waiting = world.get("stills_waiting", len(self.orders.pads))
        return set(world.get("stills_drawn", ())), waiting, world.get("stills_message", "") or self._too_large

    def results(self) -> Mapping[str, Any]:
        """The latest row of stills that was asked for."""
        found: dict[str, Any] = json.loads(self._line.results.read()[1] or b"{}") if self._line else {}
        return found

    # -- the end -------------------------------------------------------------------------------------------------------

    def ask_to_stop(self) -> None:
        for supervisor in self.supervisors:
            supervisor.ask_to_stop()

    def finish(self, deadline: float) -> None:
        """End every process, and give back the memory. A world that is still opening obeys late: it is killed at the
        deadline, and waited for, since what it uses would not be given back otherwise."""
        for name in list(self._running):
            self._end(name, deadline - STOP_TIMEOUT_S)
        for thread in self._ending:
            thread.join()  # each kills its process in time
        for shared in (*self._memory, *(self._line.cells if self._line else [])):
            shared.unlink()
        if (handover := self._options.handover) is not None:
            for cell in handover.cells:
                cell.unlink()
            shutil.rmtree(handover.folder, ignore_errors=True)


def private_folder() -> Path:
    """A temporary folder that only this user can read, for the states of worlds."""
    return Path(tempfile.mkdtemp(prefix="wj-preview-"))


def new_handover() -> Handover:
    return Handover.create(private_folder())
