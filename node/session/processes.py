"""The processes of a show, and the memory that they share."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from worldjockey.integrations import VideoFormat

from ..control.preview import Preview
from ..ipc.audio_ring import AudioRing
from ..ipc.cell import Cell
from ..ipc.frame_ring import FrameRing
from ..ipc.key_line import KeyLine
from ..ipc.mailbox import Mailbox
from ..ipc.overlay import OverlayLine
from ..ipc.process import SPAWN
from ..ipc.supervisor import STOP_TIMEOUT_S, Supervisor
from ..ipc.tick import CardLine
from ..output import clock_process, overlay_process, worker
from ..output.layouts import rings_for
from ..output.overlay_process import PATIENCE_S as OVERLAY_PATIENCE
from ..output.worker import OutputSpec
from ..remote.key import Key
from ..show.fields import file_from
from ..show.media import Media
from ..show.outputs import Bus, OutputEntry, class_path
from ..show.schema import Show
from ..show.world_address import is_sglang
from ..world import live_source
from ..world import process as world_process
from ..world.live_source import LiveSpec
from ..world.process import NATIVE_BYTES, WORLD_PATIENCE_S, WorldOptions
from ..world.prompt_encoder import PROMPTS_BYTES, packed_prompts
from ..world.prompt_reading import ReadingLine
from .clock_pair import ClockPair
from .options import PlayOptions
from .preview_bus import PreviewBus, new_handover
from .report import Report, latency

METADATA_BYTES = 16 * 1024
MONITOR = "worldjockey.integrations.web.monitor:MonitorOutput"
# After how many seconds without a new status a process is killed, by state. A world may load for any length of time. At
# the first opening nothing is on air yet, and everything else starts at the same time.
OUTPUT_PATIENCE = {"first opening": 60.0, "opening": 20.0, "running": 4.0}
CLOCK_PATIENCE = {"first opening": 60.0, "opening": 20.0, "running": 2.0}


def output_specs(entries: list[OutputEntry]) -> list[OutputSpec]:
    """The specification of each output. The second and later ones of a kind get numbers in their names."""
    specs: list[OutputSpec] = []
    for entry in entries:
        output = entry.make()
        before = sum(earlier.kind == entry.kind for earlier in entries[: len(specs)])
        label = f"{entry.kind} {before + 1}" if before else entry.kind
        program = entry.bus == "program"  # of the preview, frames and no audio
        specs.append(
            OutputSpec(label if program else f"preview {label}", class_path(entry.kind), output.layout, output.holds,
                       dict(entry.options), output.accepts_gpu_frames and program, output.wants_audio and program,
                       bus=entry.bus, sends_keys=output.sends_keys)
        )  # fmt: skip
    return specs


def monitor_spec(media_host: str, bus: Bus = "program") -> OutputSpec:
    """The specification of a bus's monitor, through which the surface shows it. media_host: see `MonitorOutput`."""
    name = "monitor" if bus == "program" else "preview monitor"
    return OutputSpec(name, MONITOR, "native", 0, {"media_host": media_host}, bus=bus)


def live_spec(show: Show, folder: Path) -> LiveSpec | None:
    """The specification of the process that reads the live picture; None without one. ShowError if its file is
    missing."""
    return LiveSpec(live_source.SOURCE_CLASSES[show.live.kind], show.live.options(folder)) if show.live else None


def _remote_key(show: Show, options: PlayOptions, matte: bool) -> Key | None:
    """The key of a world on another machine; None where it runs here, or at a server of SGLang, which has none.

    matte: whether an output needs it. Raises RuntimeError or OSError, with the fix, where the show cannot be played
    with that world.
    """
    if show.world is None:
        return None
    if not is_sglang(show.world) and show.key is None:
        raise RuntimeError(
            f"{show.world} needs a key: copy the one it was started with to this machine, and add --key FILE"
        )
    if show.live:
        raise RuntimeError("a live picture cannot be sent to a world on another machine: remove `live` from the show")
    if matte:
        raise RuntimeError("a world on another machine sends no matte: remove `key: figure` from the NDI output")
    if is_sglang(show.world):
        return None
    from ..remote import client
    from ..remote import key as remote_key

    assert show.key is not None
    for media in show.media(options.folder).values():
        for path in media.paths:
            client.named(Path(path))
    return remote_key.read(file_from(options.folder, show.key))


def _world(show: Show, options: WorldOptions, key: Key | None) -> tuple[Callable[..., None], Any]:
    """The main of the world process and its options: the world itself, or the link to one on another machine."""
    if show.world is None:
        return world_process.run, options
    if is_sglang(show.world):
        from ..remote import sglang

        return sglang.run, sglang.SglangOptions(show.world, options)
    from ..remote import client

    assert key is not None

    return client.run, client.RemoteOptions(show.world, key, secrets.token_hex(8), options)


@dataclass
class Processes:
    """The processes of a show, and the memory that they share."""

    world: Supervisor
    clock: ClockPair
    outputs: dict[str, Supervisor]
    memory: list[Cell | FrameRing | KeyLine]
    metadata: Cell  # prompt, cue and latency as JSON, for outputs that send them on
    edits: Cell  # what edits of the show bring to the world: prompts and the files of pads
    keys: dict[str, KeyLine]  # by output of the program: the keys that are pressed there
    live: Supervisor | None = None  # reads the live picture
    monitor: Supervisor | None = None  # shows the program to the surface; none of the show's own outputs
    preview: PreviewBus | None = None
    reading: ReadingLine | None = None  # to ask what the world reads of a text
    overlay: OverlayLine | None = None  # what lies over the picture
    drawing: Supervisor | None = None  # draws it

    @classmethod
    def assemble(cls, show: Show, options: PlayOptions, specs: list[OutputSpec], fmt: VideoFormat,
                 mailbox: Mailbox, prompts: list[str], audio: AudioRing | None,
                 monitor: OutputSpec | None = None, prepared: Preview | None = None,
                 stills: Path = Path(), overlaid: bool = False) -> Processes:  # fmt: skip
        """Start every process of the show; those of the preview start when it is opened.

        prompts: those of the snapshots, which may be recalled. audio: the show's, for outputs that carry it.
        monitor: of the program, for the surface. prepared: the preview's side of control. stills: folder for the stills
        that it draws. overlaid: something may lie over the picture.
        """
        previewed, specs = [s for s in specs if s.bus == "preview"], [s for s in specs if s.bus == "program"]
        matte = any(spec.layout == "uyva" for spec in specs)
        key = _remote_key(show, options, matte)
        spec = live_spec(show, options.folder)  # raises where its file is missing: before any memory is shared
        source, tick, metadata = FrameRing(NATIVE_BYTES, 4), Cell(64), Cell(METADATA_BYTES)
        edits = Cell(PROMPTS_BYTES)
        all_specs = [*specs, *([monitor] if monitor else [])]
        rings = rings_for(all_specs, fmt, source.size)
        wakes = [SPAWN.Semaphore(0) for _ in all_specs]
        feed, live = None, None
        if spec:
            feed = live_source.LiveFeed(FrameRing(NATIVE_BYTES, 4), Cell(64))
            live = Supervisor("live picture", live_source.run, (spec, feed), live_source.PATIENCE_S)
        on_card = any(spec.accepts_gpu_frames for spec in specs)
        paths = {spec.name: Cell(8) for spec in all_specs if on_card and spec.layout == "native"}
        here = show.world is None
        card = CardLine(paths=paths) if paths and here else None
        handover, reading = (new_handover(), ReadingLine()) if prepared is not None and here else (None, None)
        world_options = WorldOptions(
            show.model, options.device, options.threads, fmt.fps, fmt.width / fmt.height,
            show.media(options.folder), (*show.ahead(), *prompts), feed,
            card=card.memory if card else None, clock=tick, matte=matte, edits=edits, handover=handover,
            reading=reading, audio=None if show.sound.enabled else audio,
            upscale=(fmt.width, fmt.height) if show.upscale else None,
        )  # fmt: skip
        target, target_options = _world(show, world_options, key)
        world = Supervisor("world", target, (target_options, mailbox, source), WORLD_PATIENCE_S)
        overlay = OverlayLine.of(fmt.width, fmt.height) if overlaid else None
        drawing = Supervisor("overlay", overlay_process.run, (fmt, overlay), OVERLAY_PATIENCE) if overlay else None
        run_clock = partial(clock_process.run, card=card, overlay=overlay)
        run_output = partial(worker.run, card=card, mailbox=mailbox, audio=audio, overlay=overlay)
        keys = {spec.name: KeyLine() for spec in specs if spec.sends_keys}
        clock = ClockPair(run_clock, (fmt, mailbox, source, rings, wakes, tick), CLOCK_PATIENCE)
        outputs = {
            spec.name: Supervisor(
                spec.name,
                partial(run_output, keys=keys.get(spec.name)),
                (spec, fmt, rings[spec.layout], tick, wake, metadata),
                OUTPUT_PATIENCE,
            )
            for spec, wake in zip(all_specs, wakes, strict=True)
        }
        shown = outputs.pop(monitor.name) if monitor else None
        memory: list[Cell | FrameRing | KeyLine] = [source, tick, metadata, edits, *rings.values()]
        memory += [feed.ring, feed.size] if feed else []
        memory += card.cells if card else []
        memory += keys.values()
        memory += reading.cells if reading else []
        memory += overlay.cells if overlay else []
        preview = None
        if prepared is not None:
            watched = replace(monitor, name="preview monitor", bus="preview") if monitor else None
            silent = replace(world_options, audio=None)
            preview = PreviewBus(prepared, silent, mailbox, world.status_cell, fmt, previewed, watched, metadata,
                                 stills, remote=not here)  # fmt: skip
        return cls(world, clock, outputs, memory, metadata, edits, keys, live, shown, preview, reading, overlay,
                   drawing)  # fmt: skip

    def offer_prompts(self, media: Mapping[str, Media], ahead: Sequence[str]) -> None:
        """Tell the world of the files of all pads, and of prompts that may be needed. One caller at a time."""
        self.edits.write(packed_prompts(media, ahead))

    @property
    def supervisors(self) -> list[Supervisor | ClockPair]:
        others = [other for other in (self.live, self.monitor, self.drawing) if other]
        others += self.preview.supervisors if self.preview else []
        return [*self.outputs.values(), self.clock, self.world, *others]

    def watch(self, now: float) -> None:
        """Restart processes that died or hang.

        Raises RuntimeError if the world or the clock never opened: that is a mistake in the show, and a restart would
        not mend it.
        """
        for supervisor in self.supervisors:
            supervisor.watch(now)
        if self.preview:
            self.preview.watch(now)
        needs: list[Supervisor | ClockPair] = [self.world, self.clock]
        for needed in needs:
            if needed.error and not needed.ran:
                raise RuntimeError(needed.error)

    def output_statuses(self) -> dict[str, Any]:
        return {name: supervisor.status() for name, supervisor in self.outputs.items()}

    def finish(self, report: Report, control_cpu: float) -> None:
        """End every process, the outputs first, and enter its figures in the report.

        control_cpu: CPU time of the control process, in seconds.
        """
        deadline = time.monotonic() + STOP_TIMEOUT_S
        for supervisor in self.supervisors:
            supervisor.ask_to_stop()
        report.restarts, report.events = self.world.restarts, [e for k in self.supervisors for e in k.events]
        report.outputs = {name: supervisor.finish(deadline) for name, supervisor in self.outputs.items()}
        if self.live:
            report.live = self.live.finish(deadline)
        if self.monitor:
            self.monitor.finish(deadline)
        if self.drawing:
            self.drawing.finish(deadline)
        if self.preview:
            self.preview.finish(deadline)
        clock = self.clock.finish(deadline)
        report.world = self.world.finish(deadline)
        report.frames_sent = clock.get("ticks", 0)
        for name in ("late", "missed", "worst_ms", "fresh", "between", "repeated"):
            setattr(report, name, clock.get(name, 0))
        report.clock = {name: clock[name] for name in ("ring_ms", "compose_ms") if name in clock}
        report.latency_ms = latency(report.outputs)
        for status in report.outputs.values():
            status.pop("latency_ms", None)
        report.node_cpu_ms = round((clock.get("cpu_s", 0.0) + control_cpu) * 1e3 / max(report.frames_sent, 1), 3)
        for shared in self.memory:
            shared.unlink()
