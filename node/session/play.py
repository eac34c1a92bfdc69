"""`wj play`: the control process. Starts world and output, hears the inputs, and keeps everything alive."""

from __future__ import annotations

import contextlib
import json
import secrets
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.live import Live
from worldjockey.integrations import AudioChunk, Input, VideoFormat

from ..control.control_log import ControlLog
from ..control.desk import Desk
from ..control.snapshot_file import SnapshotFile
from ..ipc.audio_ring import AudioRing
from ..ipc.cell import Cell
from ..ipc.frame_ring import FrameRing
from ..ipc.mailbox import Mailbox
from ..ipc.process import SPAWN
from ..ipc.supervisor import Supervisor
from ..ipc.tick import CardLine
from ..output import clock_process, worker
from ..output.worker import OUTPUT_CLASSES, OutputSpec
from ..remote.key import Key
from ..show.connections import OutputEntry
from ..show.fingerprint import digests
from ..show.schema import Show
from ..world import live_source as looking
from ..world import process as world_process
from ..world.live_source import LiveSpec
from ..world.process import WorldOptions
from .options import PlayOptions
from .report import Report, latency, percentiles, tally

NATIVE_BYTES = 1920 * 1088 * 4  # the largest frame a world may make
NEWS_BYTES = 16 * 1024
BEAT = 0.01  # seconds between two looks at everything
# How long each process may be silent, in seconds by state. Nothing limits how long a world takes to load.
WORLD_PATIENCE = {"running": 15.0}
OUTPUT_PATIENCE = {"opening": 20.0, "running": 4.0}
CLOCK_PATIENCE = {"opening": 20.0, "running": 2.0}
SAMPLES = 5  # measured latencies from which on cues are fired early by their median
CLOSING = 5.0  # seconds all together may take to end: a file is completed then


def outlet_specs(entries: list[OutputEntry]) -> list[OutputSpec]:
    """What the show's outputs are made from; two of a kind get numbers."""
    import importlib

    specs: list[OutputSpec] = []
    for entry in entries:
        options: dict[str, Any] = entry.model_dump(exclude={"kind", "monitor"}, exclude_none=True)
        options = {k: str(v) if k == "path" else v for k, v in options.items()}
        if entry.kind == "window" and entry.monitor is not None:
            options |= {"monitor": entry.monitor, "fullscreen": True}
        module, _, name = OUTPUT_CLASSES[entry.kind].partition(":")
        probe = getattr(importlib.import_module(module), name)(**options)  # cheap: nothing opens before `open`
        before = sum(earlier.kind == entry.kind for earlier in entries[: len(specs)])
        label = f"{entry.kind} {before + 1}" if before else entry.kind
        on_card = getattr(probe, "takes_card", False)
        hears = getattr(probe, "hears", False)
        specs.append(OutputSpec(label, OUTPUT_CLASSES[entry.kind], probe.layout, probe.holds, options, on_card, hears))
    return specs


def live_spec(show: Show, folder: Path) -> LiveSpec | None:
    """What reads the show's live picture. Raises ShowError where its file is not there."""
    return LiveSpec(looking.SOURCE_CLASSES[show.live.kind], show.live.options(folder)) if show.live else None


def inputs_of(show: Show, desk: Desk, hear: Callable[[AudioChunk], None] | None = None) -> dict[str, Input]:
    """hear: gets the sound itself, where sound is listened to."""
    found: dict[str, Input] = {}
    if show.osc.enabled:
        found |= _osc(show, desk)
    if show.midi.enabled:
        from worldjockey.integrations.midi.input import MIDIInput

        from ..show.midi_mapping import compose

        midi = show.midi
        found["midi"] = MIDIInput(
            midi.rules(), controllers=midi.controllers(), feedback=midi.feedback, read=desk.read, compose=compose,
            on_clock=desk.clock.on_clock,
        )  # fmt: skip
    if show.sound.enabled:
        found["sound"] = _sound(show, hear)
    found["link"] = _link(desk)
    return found


def _link(desk: Desk) -> Input:
    """Link is joined when `tempo/source` says so, now or later."""
    from worldjockey.integrations.link.input import LinkInput

    values = desk.values
    joined = values["tempo/source"] == "link"
    link = LinkInput(desk.clock.on_link, joined, values["tempo"], values["tempo/bar"], values["tempo/phrase"])
    desk.clock.lead = link.set_tempo
    return link


def beside(entries: list[OutputEntry]) -> Path | None:
    """Where the log goes that nobody asked for: beside the first recording, so that it can be rendered again."""
    paths = [entry.path for entry in entries if entry.kind == "file" and entry.path is not None]
    path = paths[0].expanduser() if paths else None
    return path.with_name(f"{path.stem}-log") if path is not None and path.parent.is_dir() else None


def _log(show: Show, desk: Desk, folder: Path, media: Path) -> ControlLog:
    """Write down what the desk obeys from now on, with what `wj render` has to know of this run."""
    run = {"model": show.model, "size": list(show.size), "fps": str(show.fps), "show": digests(show, media)}
    log = ControlLog(folder, lambda: {**run, **desk.state()})
    log.start()
    desk.log = log
    return log


def _sound(show: Show, hear: Callable[[AudioChunk], None] | None) -> Input:
    from worldjockey.integrations.audio.input import DEFAULT, AudioInput, FeatureMapping

    from ..parameters import find

    mappings = []
    for mapping in show.sound.map:
        p = find(mapping.to)
        assert p is not None  # the show was checked
        low, high = (p.low, p.high) if p.kind in ("float", "int") else (0.0, 1.0)
        mappings.append(FeatureMapping(mapping.of, mapping.to, low if mapping.low is None else mapping.low,
                          high if mapping.high is None else mapping.high, mapping.attack, mapping.release))  # fmt: skip
    return AudioInput(show.sound.input, tuple(mappings) or DEFAULT, hear)


def _osc(show: Show, desk: Desk) -> dict[str, Input]:
    from worldjockey.integrations.osc.input import OSCInput
    from worldjockey.integrations.osc.query import OSCQuery

    from ..compat.osc_aliases import Aliases
    from ..control import reference
    from ..parameters import PARAMETERS, latest_wins

    osc = show.osc
    found: dict[str, Input] = {
        "osc": OSCInput(
            osc.host, osc.port, osc.feedback_host, osc.feedback_port, latest_wins, PARAMETERS, desk.read, osc.allow,
            Aliases(osc.aliases, desk.read, show.name) if osc.aliases else None,
        )
    }  # fmt: skip
    if osc.query is not None:
        rows = [row for row in reference.rows() if row["name"] in PARAMETERS]
        banks = show.prompts().names
        for row in (row for row in rows if row["name"] == "bank"):
            row |= {"high": len(banks), "doc": f"{row['doc']}: {', '.join(banks)}"}
        values = {name: desk.read(name) for name in PARAMETERS}
        found["oscquery"] = OSCQuery(rows, values, show.name, osc.host, osc.query, osc.port)
    return found


@dataclass
class StopRequest:
    """Whether the performer asked for the end. A plain flag: an Event's lock could be held when the signal comes."""

    said: bool = False


@contextlib.contextmanager
def stop_signals() -> Iterator[StopRequest]:
    """Ctrl-C and SIGTERM end a show in order; the second time they end it at once."""
    leaving = StopRequest()

    def leave(*_: Any) -> None:
        if leaving.said:
            raise KeyboardInterrupt
        leaving.said = True

    before = {number: signal.signal(number, leave) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield leaving
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def play(show: Show, options: PlayOptions, watch: Callable[[Processes], bool] | None = None) -> Report:
    """Play until the time is up or the performer stops it.

    watch: sees every process ten times a second, and ends the show by saying True.
    Raises OSError or RuntimeError, with the fix, where it cannot start; once it plays, errors are survived and told.
    """
    specs = outlet_specs(show.on_air)
    fmt = VideoFormat(show.width, show.height, show.fps_num, show.fps_den, show.name)
    with contextlib.ExitStack() as stack, stop_signals() as leaving:
        mailbox = Mailbox()
        stack.callback(mailbox.unlink)
        desk = Desk(show, mailbox)
        log = None
        if folder := options.log or beside(show.outputs):
            with contextlib.nullcontext() if options.log else contextlib.suppress(OSError):
                log = _log(show, desk, folder, options.folder)
        if log is not None:
            stack.callback(log.stop)
        snapshot_file, prompts = SnapshotFile(options.keep) if options.keep else None, list[str]()
        if snapshot_file is not None:
            snapshots = snapshot_file.start()
            prompts = [str(kept["prompt"]) for kept in snapshots.values() if kept["prompt"]]
            desk.remember(snapshots)
            desk.on_saved = snapshot_file.keep
            stack.callback(snapshot_file.stop)
        sound = AudioRing() if any(spec.hears for spec in specs) else None
        if sound is not None:
            stack.callback(sound.unlink)
        inputs = inputs_of(show, desk, sound.write if sound else None)
        for source in inputs.values():  # before anything is on air: a port in use is said now
            source.start(desk.deliver)
            stack.callback(source.stop)
        processes = Processes.assemble(show, options, specs, fmt, mailbox, prompts, sound)
        console = Console(stderr=True)
        report = Report(size=f"{fmt.width}x{fmt.height}", fps=fmt.fps)
        cpu = time.process_time()
        begin = time.monotonic()
        try:
            _run(desk, inputs, processes, options, console, leaving, watch)
        finally:
            report.seconds = round(time.monotonic() - begin, 3)
            processes.finish(report, time.process_time() - cpu)
            report.controls = {
                **desk.counts, "last error": desk.error, "tempo": desk.clock.status(time.monotonic()),
                "errors": desk.errors, "survived": desk.survived,
                "arrival_ms": percentiles([seconds * 1e3 for seconds in list(desk.delays)]),  # inputs still fill it
            }  # fmt: skip
            if log is not None:
                report.controls["log"] = log.status()
            if snapshot_file is not None:
                report.controls["snapshots"] = snapshot_file.status()
            report.inputs = {name: dict(source.status()) for name, source in inputs.items()}
        if options.report:
            report.write(options.report)
        if not options.headless:
            console.print(f"sent {report.frames_sent} frames, {report.late} late, {report.missed} missed")
        return report


def _elsewhere(show: Show, options: PlayOptions) -> Key | None:
    """The key of a world on another machine; None where it runs here. Raises what would keep the show from starting."""
    if show.world is None:
        return None
    if show.key is None:
        raise RuntimeError(f"{show.world} wants a key: copy the one that it was started with, and say --key FILE")
    if show.live:
        raise RuntimeError("a live picture does not reach a world on another machine: play without `live`")
    if any(entry.key == "figure" for entry in show.outputs):
        raise RuntimeError("no matte comes from a world on another machine: play without `key: figure`")
    from ..remote import client
    from ..remote import key as remote_key

    for media in show.media(options.folder).values():
        for path in media.paths:
            client.named(Path(path))
    return remote_key.read(options.folder / Path(show.key).expanduser())


def _world(show: Show, options: WorldOptions, key: Key | None) -> tuple[Callable[..., None], Any]:
    """What runs as the world process, and its options: the world itself, or the link to one on another machine."""
    if show.world is None or key is None:
        return world_process.run, options
    from ..remote import client

    return client.run, client.RemoteOptions(show.world, key, secrets.token_hex(8), options)


@dataclass
class Processes:
    """Every process of a show, and the memory that they share."""

    world: Supervisor
    clock: Supervisor
    outputs: dict[str, Supervisor]
    memory: list[Cell | FrameRing]
    news: Cell  # what is played, as JSON, for outputs that tell it on
    live: Supervisor | None = None  # reads what the world sees

    @classmethod
    def assemble(cls, show: Show, options: PlayOptions, specs: list[OutputSpec], fmt: VideoFormat,
                 mailbox: Mailbox, remembered: list[str], sound: AudioRing | None) -> Processes:  # fmt: skip
        """remembered: prompts of snapshots, which may be recalled. sound: what is heard, for outputs that carry it."""
        key = _elsewhere(show, options)
        source, tick, news = FrameRing(NATIVE_BYTES, 4), Cell(64), Cell(NEWS_BYTES)
        rings = clock_process.rings_for(specs, fmt, source.size)
        wakes = [SPAWN.Semaphore(0) for _ in specs]
        spec, feed, live = live_spec(show, options.folder), None, None
        if spec:
            feed = looking.LiveFeed(FrameRing(NATIVE_BYTES, 4), Cell(64))
            live = Supervisor("live picture", looking.run, (spec, feed), looking.PATIENCE)
        paths = {spec.name: Cell(8) for spec in specs if spec.takes_card}
        card = CardLine(paths=paths) if paths and key is None else None
        world_options = WorldOptions(
            show.model, options.device, options.threads, fmt.fps, fmt.width / fmt.height,
            show.media(options.folder), (*show.ahead(), *remembered), feed,
            card=card.memory if card else None, matte=any(spec.layout == "uyva" for spec in specs),
        )  # fmt: skip
        target, opened = _world(show, world_options, key)
        world = Supervisor("world", target, (opened, mailbox, source), WORLD_PATIENCE)
        keep_time, send = partial(clock_process.run, card=card), partial(worker.run, card=card)
        clock = Supervisor("clock", keep_time, (fmt, mailbox, source, rings, wakes, tick), CLOCK_PATIENCE)
        aimed, sounding = partial(send, mailbox=mailbox), partial(send, sound=sound)
        ways = {spec.name: aimed if spec.name == "window" else sounding if spec.hears else send for spec in specs}
        outputs = {
            spec.name: Supervisor(
                spec.name, ways[spec.name], (spec, fmt, rings[spec.layout], tick, wake, news), OUTPUT_PATIENCE
            )
            for spec, wake in zip(specs, wakes, strict=True)
        }
        seen: list[Cell | FrameRing] = [feed.ring, feed.size] if feed else []
        seen += card.cells if card else []
        return cls(world, clock, outputs, [source, tick, news, *seen, *rings.values()], news, live)

    @property
    def supervisors(self) -> list[Supervisor]:
        return [*self.outputs.values(), self.clock, self.world, *([self.live] if self.live else [])]

    def watch(self, now: float) -> None:
        """Raises RuntimeError if the world cannot be opened at all: that is a mistake to mend, not a mishap."""
        for supervisor in self.supervisors:
            supervisor.watch(now)
        for needed in (self.world, self.clock):
            if needed.error and not needed.ran:
                raise RuntimeError(needed.error)

    def output_statuses(self) -> dict[str, Any]:
        return {name: supervisor.status() for name, supervisor in self.outputs.items()}

    def finish(self, report: Report, control_cpu: float) -> None:
        """End every process, the outputs first, and put what they did in the report."""
        deadline = time.monotonic() + CLOSING
        for supervisor in self.supervisors:
            supervisor.ask_to_stop()
        report.restarts, report.events = self.world.restarts, [e for k in self.supervisors for e in k.events]
        report.outputs = {name: supervisor.finish(deadline) for name, supervisor in self.outputs.items()}
        if self.live:
            report.live = self.live.finish(deadline)
        clock = self.clock.finish(deadline)
        report.world = self.world.finish(deadline)
        report.frames_sent = clock.get("ticks", 0)
        for name in ("late", "missed", "worst_ms", "fresh", "between", "repeated"):
            setattr(report, name, clock.get(name, 0))
        report.latency_ms = latency(report.outputs)
        for said in report.outputs.values():
            said.pop("latency_ms", None)
        report.node_cpu_ms = round((clock.get("cpu_s", 0.0) + control_cpu) * 1e3 / max(report.frames_sent, 1), 3)
        for shared in self.memory:
            shared.unlink()


def _run(desk: Desk, inputs: dict[str, Input], processes: Processes, options: PlayOptions, console: Console,
         leaving: StopRequest, watch: Callable[[Processes], bool] | None) -> None:  # fmt: skip
    live = Live("opening the world…", console=console, refresh_per_second=4, transient=True)
    shown = not options.headless and console.is_terminal
    if shown:
        live.start()
    first_tick, looked, spoken, missed, parted = None, 0.0, 0, "", ""
    told = dict.fromkeys(map(id, processes.supervisors), "")
    try:
        while not leaving.said:
            now = time.monotonic()
            desk.advance(now)
            for target, value in desk.changed().items():
                _feed_back(inputs, target, value, desk)
            if now - looked > 0.1:
                looked = now
                processes.watch(now)
                world, clock, outputs = processes.world.status(), processes.clock.status(), processes.output_statuses()
                if first_tick is None and clock.get("ticks"):
                    first_tick = now
                for supervisor in processes.supervisors:
                    if (
                        supervisor.events and told[id(supervisor)] != supervisor.events[-1]
                    ):  # the same error again is no news
                        told[id(supervisor)] = supervisor.events[-1]
                        then = "playing on without it" if supervisor.unsuitable else "starting it again"
                        console.print(f"wj: {supervisor.events[-1]}; {then}", highlight=False, markup=False)
                if (words := "" if world.get("link", {"up": True})["up"] else world["message"]) != parted:
                    parted = words
                    console.print(f"wj: {words or 'the world is back'}", highlight=False, markup=False)
                if processes.live and (message := processes.live.status().get("message", "")) != missed:
                    missed = message
                    if message:
                        console.print(f"wj: live picture: {message}; trying again", highlight=False, markup=False)
                for words in lacking(world, clock) + off_the_card(world, outputs) + unheard(outputs):
                    if words not in desk.errors:
                        desk.errors.append(words)
                while spoken < len(desk.errors):
                    console.print(f"wj: {desk.errors[spoken]}; the rest goes on", highlight=False, markup=False)
                    spoken += 1
                if (delay := latency(outputs))["count"] >= SAMPLES:
                    desk.latency = delay["p50"] / 1e3
                processes.news.write(json.dumps({**desk.news(), "latency_ms": delay["p50"]}).encode())
                figures = {
                    "status/world_fps": world.get("fps", 0.0), "status/latency_ms": delay["p50"],
                    "status/frames": clock.get("ticks", 0), "status/state": world.get("state", "opening"),
                    "status/quality": world.get("quality", ""), "status/bank": desk.bank,
                    "status/tally": tally(outputs), "status/beat": round(desk.clock.line(now).beat_at(now), 2),
                }  # fmt: skip
                for target, value in figures.items():
                    _feed_back(inputs, target, value, desk)
                if shown:
                    tempo = desk.clock.status(now)
                    bank = f"  ·  bank {desk.bank}" if desk.show.banks else ""
                    live.update(f"{line(world, clock, outputs)}  ·  {tempo['bpm']:.1f} bpm ({tempo['source']}){bank}")
                if {said.get("state") for said in outputs.values()} in ({"closed"}, {"closed", "unsuitable"}):
                    return  # the user closed the last window
                if watch is not None and watch(processes):
                    return
            if options.seconds is not None and first_tick is not None and now - first_tick >= options.seconds:
                return
            time.sleep(BEAT)
    finally:
        if shown:
            live.stop()


def lacking(*processes: dict[str, Any]) -> list[str]:
    """What world and clock do without, while they play: a prompt that was not understood, a matte, OpenCV."""
    playing = [said for said in processes if said.get("state") == "running" and said.get("link", {"up": True})["up"]]
    return [said["message"] for said in playing if said.get("message")]


def off_the_card(world: dict[str, Any], outputs: dict[str, Any]) -> list[str]:
    """Why frames of a world on a graphics card go through the processor after all, by output."""
    found = [f"world: frames go through the processor: {world['card']}"] if world.get("card") else []
    running = {name: said for name, said in outputs.items() if said.get("state") == "running"}
    return found + [f"{name}: {said['message']}" for name, said in running.items() if said.get("message")]


def unheard(outputs: dict[str, Any]) -> list[str]:
    """Why nobody takes what an output that plays sends, by output."""
    running = {name: said.get("facts", {}) for name, said in outputs.items() if said.get("state") == "running"}
    return [f"{name}: {facts['error']}" for name, facts in running.items() if facts.get("error")]


def _feed_back(inputs: dict[str, Input], target: str, value: Any, desk: Desk) -> None:
    for name, source in inputs.items():
        try:
            source.feedback(target, value)
        except Exception as error:
            desk.mishap(f"feedback to {name}", error)


def line(world: dict[str, Any], clock: dict[str, Any], outputs: dict[str, Any]) -> str:
    """The live status, one line."""
    delay = latency(outputs)
    parts = [
        f"world {world.get('state', 'opening')} {world.get('fps', 0):.1f} fps",
        f"control to frame {delay['p50']:.0f}/{delay['p95']:.0f} ms",
        f"{clock.get('ticks', 0)} sent, {clock.get('late', 0)} late, {clock.get('missed', 0)} missed",
    ]
    for name, said in outputs.items():
        facts = said.get("facts", {})
        where = f" {facts['url']}" if "url" in facts else ""
        extra = f" ×{facts['connections']}" if "connections" in facts else ""
        on_air = " ON AIR" if facts.get("tally", {}).get("program") else ""
        where += " by CUDA" if said.get("texture") == "card" else ""
        words = said.get("message", "") if said.get("state") not in ("running", "closed") else facts.get("error", "")
        parts.append(f"{name} {said.get('state', 'opening')}{where}{extra}{on_air}{f' ({words})' if words else ''}")
    if world.get("quality"):
        parts.append(world["quality"])
    if world.get("restarts"):
        parts.append(f"{world['restarts']} restarts")
    return "  ·  ".join(parts)
