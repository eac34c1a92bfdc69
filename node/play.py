"""`wj play`: the control process. Starts world and output, hears the inputs, and keeps everything alive."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Iterator
from typing import Any

from rich.console import Console
from rich.live import Live
from worldjockey.integrations import Input, VideoFormat

from . import output_process, world_process
from .cell import Cell
from .desk import Desk
from .mailbox import Mailbox
from .options import PlayOptions
from .outlet import PLACES, OutletSpec
from .process import SPAWN, STATUS_BYTES, end, tell, told
from .report import Report, latency
from .ring import FrameRing
from .show import OutputEntry, Show
from .world_process import WorldOptions

NATIVE_BYTES = 1920 * 1088 * 3  # the largest frame a world may make
SILENT = 15.0  # seconds without a word from a running world after which it counts as hung
BACK_OFF = (0.0, 0.5, 1.0, 2.0, 4.0, 8.0)
BEAT = 0.01  # seconds between two looks at everything


class WorldKeeper:
    """The world's process: started, watched, started again with the same mailbox."""

    def __init__(self, options: WorldOptions, mailbox: Mailbox, ring: FrameRing) -> None:
        self.options, self.mailbox, self.ring = options, mailbox, ring
        self.status = Cell(STATUS_BYTES)
        self.restarts, self.events = 0, list[str]()
        self.ran = False  # it has played before: from then on faults are survived
        self._failures = 0
        self._retry_at = 0.0
        self.process: Any = None
        self.start()

    def start(self) -> None:
        self._stop = SPAWN.Event()
        self._began = self._heard = time.monotonic()
        self._version = self.status.version
        args = (self.options, self.mailbox, self.ring, self.status, self._stop)
        self.process = SPAWN.Process(target=world_process.run, args=args, name="wj world")
        self.process.start()

    def watch(self, now: float) -> None:
        """Called now and then. Raises RuntimeError if the world cannot be opened at all."""
        if self.process is None:
            if now >= self._retry_at:
                self.restarts += 1
                self.start()
            return
        said = self.said()
        if self.status.version != self._version:
            self._version, self._heard = self.status.version, now
        if said.get("state") == "running" and self.process.is_alive():
            self.ran = True
            if now - self._began > 30:
                self._failures = 0
            if now - self._heard > SILENT:
                self.process.kill()
        if self.process.is_alive():
            return
        self.process.join()
        code = self.process.exitcode
        why = said.get("message", "") if said.get("state") == "error" else ""
        if not self.ran:
            raise RuntimeError(why or f"the world ended while it was opened (exit code {code})")
        killed = f"was killed (signal {-code})" if code and code < 0 else f"ended (exit code {code})"
        wait = BACK_OFF[min(self._failures, len(BACK_OFF) - 1)]
        self.events = [*self.events[-49:], f"the world {f'failed: {why}' if why else killed}; started again"]
        self._failures += 1
        self._retry_at, self.process = now + wait, None
        tell(self.status, {**said, "state": "restarting", "fps": 0.0, "message": self.events[-1]})

    def said(self) -> dict[str, Any]:
        return {**told(self.status), "pid": self.process.pid if self.process else None}

    def finish(self) -> dict[str, Any]:
        if self.process is not None:
            self._stop.set()
            end(self.process, 5.0)
        said = self.said()
        self.status.unlink()
        return said


def outlet_specs(entries: list[OutputEntry]) -> list[OutletSpec]:
    """What the show's outputs are made from; two of a kind get numbers."""
    import importlib

    specs: list[OutletSpec] = []
    for entry in entries:
        options: dict[str, Any] = {"name": entry.name, "layout": entry.layout, "path": entry.path}
        options = {k: str(v) if k == "path" else v for k, v in options.items() if v is not None}
        if entry.kind == "window" and entry.monitor is not None:
            options |= {"monitor": entry.monitor, "fullscreen": True}
        module, _, name = PLACES[entry.kind].partition(":")
        probe = getattr(importlib.import_module(module), name)(**options)  # cheap: nothing opens before `open`
        label = entry.kind + (f" {sum(s.name.split()[0] == entry.kind for s in specs) + 1}" if any(
            s.name.split()[0] == entry.kind for s in specs) else "")  # fmt: skip
        specs.append(OutletSpec(label, PLACES[entry.kind], probe.layout, probe.holds, options))
    return specs


def inputs_of(show: Show) -> dict[str, Input]:
    found: dict[str, Input] = {}
    if show.osc.enabled:
        from worldjockey.integrations.osc import OSCInput

        from .parameters import latest_wins

        found["osc"] = OSCInput(
            show.osc.host, show.osc.port, show.osc.feedback_host, show.osc.feedback_port, latest_wins=latest_wins
        )
    if show.midi.enabled:
        from worldjockey.integrations.midi import MIDIInput

        found["midi"] = MIDIInput(show.midi.rules())
    return found


@contextlib.contextmanager
def _termination() -> Iterator[None]:
    """SIGTERM ends the show the way Ctrl-C does."""

    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def play(show: Show, options: PlayOptions) -> Report:
    """Play until the time is up or the performer stops it.

    Raises OSError or RuntimeError, with the fix, where it cannot start; once it plays, faults are survived and told.
    """
    specs = outlet_specs(show.outputs)
    fmt = VideoFormat(show.width, show.height, show.fps_num, show.fps_den, show.name)
    with contextlib.ExitStack() as stack, _termination():
        mailbox = Mailbox()
        stack.callback(mailbox.unlink)
        desk = Desk(show, mailbox)
        inputs = inputs_of(show)
        for source in inputs.values():  # before anything is on air: a port in use is said now
            source.start(desk.deliver)
            stack.callback(source.stop)
        ring = FrameRing(NATIVE_BYTES, 4)
        stack.callback(ring.unlink)
        output_status, stop = Cell(256 * 1024), SPAWN.Event()
        stack.callback(output_status.unlink)
        args = (specs, fmt, mailbox, ring, output_status, stop)
        output = SPAWN.Process(target=output_process.run, args=args, name="wj output")
        world = WorldKeeper(WorldOptions(show.model, options.device, options.threads, fmt.fps), mailbox, ring)
        output.start()
        console = Console(stderr=True)
        report = Report(size=f"{fmt.width}x{fmt.height}", fps=fmt.fps)
        cpu = time.process_time()
        begin = time.monotonic()
        try:
            _run(desk, inputs, world, output, output_status, options, report, console)
        except KeyboardInterrupt:
            pass
        finally:
            report.seconds = round(time.monotonic() - begin, 3)
            stop.set()
            end(output, 12.0)
            report.world = world.finish()
            _fill(report, told(output_status), time.process_time() - cpu)
            report.restarts, report.events = world.restarts, world.events
            report.controls = {**desk.counts, "last fault": desk.fault}
            report.inputs = {name: dict(source.status()) for name, source in inputs.items()}
        if options.report:
            report.write(options.report)
        if not options.headless:
            console.print(f"sent {report.frames_sent} frames, {report.late} late, {report.missed} missed")
        return report


def _run(desk: Desk, inputs: dict[str, Input], world: WorldKeeper, output: Any, output_status: Cell,
         options: PlayOptions, report: Report, console: Console) -> None:  # fmt: skip
    live = Live("opening the world…", console=console, refresh_per_second=4, transient=True)
    shown = not options.headless and console.is_terminal
    if shown:
        live.start()
    first_tick, looked, events = None, 0.0, 0
    try:
        while True:
            now = time.monotonic()
            desk.advance(now)
            for target, value in desk.changed().items():
                for source in inputs.values():
                    source.feedback(target, value)
            if now - looked > 0.1:
                looked = now
                world.watch(now)
                said = told(output_status)
                if first_tick is None and said.get("ticks"):
                    first_tick = now
                if not output.is_alive():
                    raise RuntimeError(f"the output clock ended (exit code {output.exitcode}); please report this")
                for event in world.events[events:]:
                    console.print(f"wj: {event}", highlight=False)
                events = len(world.events)
                figures = {
                    "status/world_fps": world.said().get("fps", 0.0),
                    "status/latency_ms": latency(said.get("outputs", {}))["p50"],
                }
                for source in inputs.values():
                    for target, value in figures.items():
                        source.feedback(target, value)
                if shown:
                    live.update(line(world.said(), said, world.restarts))
            if options.seconds is not None and first_tick is not None and now - first_tick >= options.seconds:
                return
            time.sleep(BEAT)
    finally:
        if shown:
            live.stop()


def line(world: dict[str, Any], output: dict[str, Any], restarts: int) -> str:
    """The live status, one line."""
    outputs = output.get("outputs", {})
    parts = [f"world {world.get('state', 'opening')} {world.get('fps', 0):.1f} fps"]
    delay = latency(outputs)
    parts.append(f"control to frame {delay['p50']:.0f}/{delay['p95']:.0f} ms")
    parts.append(f"{output.get('ticks', 0)} sent, {output.get('late', 0)} late, {output.get('missed', 0)} missed")
    for name, said in outputs.items():
        facts = said.get("facts", {})
        extra = f" ×{facts['connections']}" if "connections" in facts else ""
        on_air = " ON AIR" if facts.get("tally", {}).get("program") else ""
        words = said.get("message", "") if said.get("state") not in ("running", "closed") else ""
        parts.append(f"{name} {said.get('state', '')}{extra}{on_air}{f' ({words})' if words else ''}")
    if restarts:
        parts.append(f"{restarts} restarts")
    return "  ·  ".join(parts)


def _fill(report: Report, said: dict[str, Any], control_cpu: float) -> None:
    report.frames_sent = said.get("ticks", 0)
    for name in ("late", "missed", "worst_ms", "fresh", "between", "repeated"):
        setattr(report, name, said.get(name, 0))
    outputs = said.get("outputs", {})
    report.latency_ms = latency(outputs)
    report.outputs = {k: {a: b for a, b in v.items() if a != "latency_ms"} for k, v in outputs.items()}
    report.node_cpu_ms = round((said.get("cpu_s", 0.0) + control_cpu) * 1e3 / max(report.frames_sent, 1), 3)
