"""`wj play`: the control process. It opens the inputs, starts the world and the outputs, and keeps them running."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from pathlib import Path

from worldjockey.integrations import VideoFormat

from ..control.control_log import ControlLog
from ..control.desk import Desk
from ..control.keyboard import Buttons, Keyboard
from ..control.preview import Preview
from ..control.show_editor import ShowEditor
from ..control.snapshot_file import SnapshotFile
from ..ipc.audio_ring import AudioRing
from ..ipc.mailbox import Mailbox
from ..ipc.signals import stop_signals
from ..show.fingerprint import digests
from ..show.outputs import OutputEntry
from ..show.schema import Show
from ..timing.percentiles import percentiles
from .announcement import Announcement
from .control_loop import ControlLoop, HasStatus
from .crowd import crowd_of, overlay_writer, story_of
from .inputs import connect_maps, connect_stills, inputs_of, stills_folder, surface_of, unsaved_folder
from .options import PlayOptions
from .players import PlayersInput
from .processes import Processes, monitor_spec, output_specs
from .report import Report
from .requests import Requests
from .stills import Stills, tried
from .surface_state import SurfaceState
from .terminal import Terminal


def default_log_folder(entries: list[OutputEntry]) -> Path | None:
    """The folder of the control log where none was asked for: next to the first recording, so that the show can be
    rendered again. None without a recording."""
    path = next((Path(entry.options["path"]).expanduser() for entry in entries if entry.kind == "file"), None)
    return path.with_name(f"{path.stem}-log") if path is not None and path.parent.is_dir() else None


def _start_log(show: Show, desk: Desk, folder: Path, media: Path) -> ControlLog:
    """Log the controls that the desk obeys from now on, after the facts of this run that `wj render` needs."""
    run = {"model": show.model, "size": list(show.size), "fps": str(show.fps), "show": digests(show, media)}
    log = ControlLog(folder, lambda: {**run, **desk.state()})
    log.start()
    desk.log = log
    return log


def play(show: Show, options: PlayOptions, watch: Callable[[Processes], bool] | None = None) -> Report:
    """Play until the time is up or the performer stops the show.

    watch: called with the processes ten times a second; the show ends when it returns true.
    Raises OSError or RuntimeError, with the fix, where the show cannot start. Once it plays, errors are reported and
    the show goes on.
    """
    specs = output_specs(show.on_air)
    fmt = VideoFormat(show.width, show.height, show.fps_num, show.fps_den, show.name)
    with contextlib.ExitStack() as stack, stop_signals() as stop:
        mailbox = Mailbox()
        stack.callback(mailbox.unlink)
        desk = Desk(show, mailbox)
        prepared = Mailbox()
        stack.callback(prepared.unlink)
        desk.preview = Preview(desk, prepared)
        log = None
        if folder := options.log or default_log_folder(show.outputs):
            with contextlib.nullcontext() if options.log else contextlib.suppress(OSError):
                log = _start_log(show, desk, folder, options.folder)
        if log is not None:
            stack.callback(log.stop)
        snapshot_file, prompts = SnapshotFile(options.keep) if options.keep else None, list[str]()
        if snapshot_file is not None:
            snapshots = snapshot_file.start()
            prompts = [str(kept["prompt"]) for kept in snapshots.values() if kept["prompt"]]
            desk.remember(snapshots)
            desk.on_saved = snapshot_file.keep
            stack.callback(snapshot_file.stop)
        editor = ShowEditor(desk, options.file, options.folder, remote=show.world is not None)
        editor.start()
        stack.callback(editor.stop)
        audio = AudioRing() if any(spec.wants_audio for spec in specs) else None
        if audio is not None:
            stack.callback(audio.unlink)
        inputs = inputs_of(show, desk, audio.write if audio else None, options.folder)
        connect_maps(inputs, editor)
        buttons = Buttons(desk.deliver, desk.read)
        players = inputs.get("players")
        assert players is None or isinstance(players, PlayersInput)
        keyboard = Keyboard(buttons, lambda: editor.keys, lambda: desk.values["learn"], editor.learn_key,
                            players.key if players else None)  # fmt: skip
        editor.register(requests := Requests())
        terminal = Terminal(live=not options.headless)
        stack.callback(terminal.close)
        announcement = Announcement(terminal, options.browser and not options.headless)
        state, monitor = None, None
        if options.surface and show.surface.enabled:
            inputs["surface"] = surface_of(show, desk, requests, options.folder, announcement.served)
            state = SurfaceState(desk, terminal.recent, options.file)
            state.show_parts |= editor.parts()
            state.status_parts["learning"] = editor.learning
            state.status_parts["events"] = lambda: desk.events.status(time.monotonic())
            editor.on_changed = state.show_changed
            monitor = monitor_spec("0.0.0.0" if show.surface.everywhere else "127.0.0.1")
        if (driver := crowd_of(show, desk, inputs, requests, players)) is not None and state is not None:
            state.status_parts["crowd"] = driver.status
        if (story := story_of(show, desk, driver)) is not None and state is not None:
            state.status_parts["story"] = story.status
        for source in inputs.values():  # first, so that a port in use is reported before anything is on air
            source.start(desk.deliver)
            stack.callback(source.stop)
        processes = Processes.assemble(
            show, options, specs, fmt, mailbox, prompts, audio, monitor, desk.preview, stills_folder(),
            overlaid="crowd" in inputs,
        )  # fmt: skip
        editor.on_prompts = processes.offer_prompts
        if processes.preview is not None:
            stills = Stills(desk, processes.preview, processes.reading, stills_folder(), options.folder)
            stills.register(requests)
            connect_stills(inputs, stills.files)
            if driver is not None:
                driver.stills = lambda: stills.status()["pads"]
            if state is not None:
                state.status_parts |= {"preview": processes.preview.status, "stills": stills.status}
                state.show_parts["attributes"] = lambda: tried(show.model)
        advancing: dict[str, Callable[[float], None]] = {"the players": players.advance} if players else {}
        if processes.overlay is not None:
            advancing["the overlay"] = overlay_writer(processes.overlay, desk, inputs["crowd"], driver).advance
        report = Report(size=f"{fmt.width}x{fmt.height}", fps=fmt.fps)
        cpu = time.process_time()
        begin = time.monotonic()
        written = (("snapshots", snapshot_file), ("control log", log), ("show file", editor))
        files: dict[str, HasStatus] = {name: file for name, file in written if file is not None}
        if processes.drawing is not None:
            files["overlay"] = processes.drawing
        try:
            ControlLoop(
                desk, inputs, processes, terminal, options.seconds, files, state, keyboard, announcement.on_air,
                advancing,
            ).run(stop, watch)  # fmt: skip
        finally:
            report.seconds = round(time.monotonic() - begin, 3)
            processes.finish(report, time.process_time() - cpu)
            editor.stop()
            if lost := editor.keep_copy(unsaved_folder()):
                terminal.print_line(f"wj: {lost}")
            delays = list(desk.delays)  # a copy: inputs still append to it
            report.controls = {
                **desk.counts, "last error": desk.error, "tempo": desk.clock.status(time.monotonic()),
                "errors": desk.errors, "survived": desk.survived,
                "arrival_ms": percentiles([seconds * 1e3 for seconds in delays]),
            }  # fmt: skip
            if log is not None:
                report.controls["log"] = log.status()
            if snapshot_file is not None:
                report.controls["snapshots"] = snapshot_file.status()
            report.inputs = {name: dict(source.status()) for name, source in inputs.items()}
        if options.report:
            report.write(options.report)
        if not options.headless:
            terminal.print_line(f"sent {report.frames_sent} frames, {report.late} late, {report.missed} missed")
        return report
