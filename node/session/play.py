"""`wj play`: the control process. Starts world and output, hears the inputs, and keeps everything alive."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from worldjockey.integrations import Input, VideoFormat

from ..control.control_log import ControlLog
from ..control.desk import Desk
from ..control.snapshot_file import SnapshotFile
from ..ipc.audio_ring import AudioRing
from ..ipc.log_file import current_path
from ..ipc.mailbox import Mailbox
from ..ipc.signals import StopRequest, stop_signals
from ..show.fingerprint import digests
from ..show.outputs import OutputEntry
from ..show.schema import Show
from ..timing.percentiles import percentiles
from .inputs import inputs_of
from .options import PlayOptions
from .processes import Processes, output_specs
from .report import Report, latency, tally
from .status_line import lacking, line, off_the_card, unheard
from .terminal import Terminal

BEAT = 0.01  # seconds between two looks at everything
SAMPLES = 5  # measured latencies from which on cues are fired early by their median


def beside(entries: list[OutputEntry]) -> Path | None:
    """Where the log goes that nobody asked for: beside the first recording, so that it can be rendered again."""
    path = next((Path(entry.options["path"]).expanduser() for entry in entries if entry.kind == "file"), None)
    return path.with_name(f"{path.stem}-log") if path is not None and path.parent.is_dir() else None


def _log(show: Show, desk: Desk, folder: Path, media: Path) -> ControlLog:
    """Write down what the desk obeys from now on, with what `wj render` has to know of this run."""
    run = {"model": show.model, "size": list(show.size), "fps": str(show.fps), "show": digests(show, media)}
    log = ControlLog(folder, lambda: {**run, **desk.state()})
    log.start()
    desk.log = log
    return log


def play(show: Show, options: PlayOptions, watch: Callable[[Processes], bool] | None = None) -> Report:
    """Play until the time is up or the performer stops it.

    watch: sees every process ten times a second, and ends the show by saying True.
    Raises OSError or RuntimeError, with the fix, where it cannot start; once it plays, errors are survived and told.
    """
    specs = output_specs(show.on_air)
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
        sound = AudioRing() if any(spec.wants_audio for spec in specs) else None
        if sound is not None:
            stack.callback(sound.unlink)
        inputs = inputs_of(show, desk, sound.write if sound else None)
        for source in inputs.values():  # before anything is on air: a port in use is said now
            source.start(desk.deliver)
            stack.callback(source.stop)
        processes = Processes.assemble(show, options, specs, fmt, mailbox, prompts, sound)
        terminal = Terminal(live=not options.headless)
        stack.callback(terminal.close)
        report = Report(size=f"{fmt.width}x{fmt.height}", fps=fmt.fps)
        cpu = time.process_time()
        begin = time.monotonic()
        try:
            _run(desk, inputs, processes, options, terminal, leaving, watch)
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
            terminal.say(f"sent {report.frames_sent} frames, {report.late} late, {report.missed} missed")
        return report


def _run(desk: Desk, inputs: dict[str, Input], processes: Processes, options: PlayOptions, terminal: Terminal,
         leaving: StopRequest, watch: Callable[[Processes], bool] | None) -> None:  # fmt: skip
    details = f" (details: {path})" if (path := current_path()) else ""
    first_tick, looked, spoken, missed, parted = None, 0.0, 0, "", ""
    told = dict.fromkeys(map(id, processes.supervisors), "")
    while not leaving.requested:
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
                # The same error again is no news.
                if supervisor.events and told[id(supervisor)] != supervisor.events[-1]:
                    told[id(supervisor)] = supervisor.events[-1]
                    then = "playing on without it" if supervisor.unsuitable else "starting it again"
                    terminal.say(f"wj: {supervisor.events[-1]}; {then}{details}")
            if (words := "" if world.get("link", {"up": True})["up"] else world["message"]) != parted:
                parted = words
                terminal.say(f"wj: {words or 'the world is back'}")
            if processes.live and (message := processes.live.status().get("message", "")) != missed:
                missed = message
                if message:
                    terminal.say(f"wj: live picture: {message}; trying again")
            for words in lacking(world, clock) + off_the_card(world, outputs) + unheard(outputs):
                desk.note_error(words)
            while spoken < len(desk.errors):
                terminal.say(f"wj: {desk.errors[spoken]}; the rest goes on")
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
            if terminal.live:
                tempo = desk.clock.status(now)
                bank = f"  ·  bank {desk.bank}" if desk.show.banks else ""
                terminal.show_status(
                    f"{line(world, clock, outputs)}  ·  {tempo['bpm']:.1f} bpm ({tempo['source']}){bank}"
                )
            if {said.get("state") for said in outputs.values()} in ({"closed"}, {"closed", "unsuitable"}):
                return  # the user closed the last window
            if watch is not None and watch(processes):
                return
        if options.seconds is not None and first_tick is not None and now - first_tick >= options.seconds:
            return
        time.sleep(BEAT)


def _feed_back(inputs: dict[str, Input], target: str, value: Any, desk: Desk) -> None:
    for name, source in inputs.items():
        try:
            source.feedback(target, value)
        except Exception as error:
            desk.mishap(f"feedback to {name}", error)
