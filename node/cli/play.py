"""`wj play`, `wj world` and `wj render`: the commands that run a world."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from .command import (
    DEVICES,
    CommandError,
    Json,
    LogFile,
    ShowFile,
    Verbose,
    call,
    check_files,
    check_folder_of,
    check_world,
    input_option,
    is_torchrun_worker,
    output_option,
    override,
    print_notes,
    run_logged,
    run_option,
    show_option,
)


def play(
    show: ShowFile = None,
    model: Annotated[
        str | None,
        show_option(help="world: nano, auto (the best that is fast enough here), or NAME:option=choice"),
    ] = None,
    world: Annotated[
        str | None,
        show_option(
            help="run the world elsewhere: tcp://HOST (see `wj world`), tcp://HOST,tcp://HOST (the second takes over), "
            "or sglang://HOST"
        ),
    ] = None,
    key: Annotated[Path | None, show_option(help="key file of the worlds on other machines")] = None,
    prompt: Annotated[str | None, show_option(help="prompt with which the world opens")] = None,
    seed: Annotated[int | None, show_option(help="seed of the world; the same seed gives the same world")] = None,
    out: Annotated[
        str | None,
        output_option(
            help="outputs, separated by commas: `window`, `window:1` (second monitor), `ndi`, `web:8080`, "
            "`file:clip.mp4`, `stream:tcp://127.0.0.1:9710`, `whip:https://HOST/whip/NAME`"
        ),
    ] = None,
    size: Annotated[str | None, output_option(help="size of sent frames, as in 1920x1080")] = None,
    upscale: Annotated[
        bool,
        output_option(
            "--upscale/--no-upscale", help="make frames larger on the NVIDIA card itself, where nvidia-vfx is installed"
        ),
    ] = True,
    fps: Annotated[str | None, output_option(help="sent frames per second: 30, 29.97, 30000/1001")] = None,
    name: Annotated[str | None, output_option(help="name of the NDI source")] = None,
    headless: Annotated[bool, output_option("--headless", help="open no window, and print no status line")] = False,
    osc_host: Annotated[
        str | None,
        input_option(help="address that receives OSC: 127.0.0.1 (this machine only), or 0.0.0.0 (all networks)"),
    ] = None,
    osc_port: Annotated[int | None, input_option(help="UDP port that receives OSC (default: 9010)")] = None,
    osc_feedback: Annotated[
        str | None, input_option(help="destination of OSC feedback: PORT, HOST:PORT, or `none` (default: 9011)")
    ] = None,
    osc: Annotated[bool, input_option("--osc/--no-osc", help="receive OSC")] = True,
    midi: Annotated[bool, input_option("--midi/--no-midi", help="receive MIDI from every port")] = True,
    sound: Annotated[
        str | None,
        input_option(help="audio input: `default`, part of a device's name, or the path of an audio file"),
    ] = None,
    live: Annotated[
        str | None,
        input_option(help="live video that the world takes in: ndi:NAME, camera:0, file:clip.mp4, or none"),
    ] = None,
    surface: Annotated[
        bool, input_option("--surface/--no-surface", help="serve the page in a browser that plays the show")
    ] = True,
    surface_host: Annotated[
        str | None,
        input_option(help="address of that page: 127.0.0.1 (this machine only), or lan (also the network, by a link)"),
    ] = None,
    surface_port: Annotated[
        int | None, input_option(help="TCP port of that page (default: 9080, or the next one that is free)")
    ] = None,
    link: Annotated[bool, input_option("--link", help="follow the tempo of an Ableton Link session")] = False,
    seconds: Annotated[
        float | None, run_option(help="stop after this many seconds (default: play until Ctrl-C)", min=0)
    ] = None,
    report: Annotated[Path | None, run_option(help="write the run's measurements to this JSON file")] = None,
    keep: Annotated[Path | None, run_option(help="file that keeps snapshots from one run to the next")] = None,
    log: Annotated[Path | None, run_option(help="folder in which all controls are recorded, for `wj render`")] = None,
    device: Annotated[str, run_option(help=DEVICES)] = "auto",
    runtime: Annotated[
        str | None,
        run_option(help="library that computes nano's frames: auto (the fastest here), torch, openvino or cuda-graphs"),
    ] = None,
    threads: Annotated[
        int | None, run_option(help="CPU threads of the world (default: all cores but one)", min=1)
    ] = None,
    log_file: LogFile = None,
    verbose: Verbose = False,
) -> None:
    """Play a show: run the world, receive OSC and MIDI, and send frames to the outputs.

    Options override what the show file sets.

    Examples: `wj play` · `wj play my.yaml --out ndi` · `wj play --headless --out ndi --seconds 20 --report run.json`
    """
    from ..session.options import PlayOptions
    from ..show.fields import path_from
    from ..show.outputs import split_outputs
    from ..show.schema import Show

    if is_torchrun_worker():
        call("worldjockey.node.world.torchrun_worker", "follow")
        return
    loaded, folder = Show.load(show), show.parent if show else Path()
    given: dict[str, Any] = {
        "model": model, "size": size, "fps": fps, "prompt": prompt, "name": name,
        "world": world, "key": str(key.absolute()) if key else None,
    }  # fmt: skip
    for field, value in given.items():
        if value is not None:
            override(loaded, field, value, f"--{field}")
    if out is not None:
        override(loaded, "outputs", split_outputs(out), "--out")
    loaded.outputs = [entry.from_folder(Path() if out is not None else folder) for entry in loaded.outputs]
    if headless:
        loaded.outputs = [output for output in loaded.outputs if output.kind != "window"]
    loaded.upscale = upscale and loaded.upscale
    override(loaded.osc, "enabled", osc and loaded.osc.enabled, "--osc")
    for field, value in {"host": osc_host, "port": osc_port, "feedback": osc_feedback}.items():
        if value is not None:
            override(loaded.osc, field, None if value == "none" else value, f"--osc-{field}")
    override(loaded.surface, "enabled", surface and loaded.surface.enabled, "--surface")
    for field, value in {"host": surface_host, "port": surface_port}.items():
        if value is not None:
            override(loaded.surface, field, value, f"--surface-{field}")
    loaded.midi.enabled = midi and loaded.midi.enabled
    if sound is not None:
        here = str(Path(sound).absolute()) if Path(sound).is_file() else sound
        loaded.sound.enabled, loaded.sound.input = True, None if sound == "default" else here
    if live is not None:
        kind, _, clip = live.partition(":")
        here = f"file:{Path(clip).absolute()}" if kind == "file" and Path(clip).is_file() else live
        override(loaded, "live", None if live == "none" else here, "--live")
    if link:
        override(loaded, "values", {**loaded.values, "tempo/source": "link"}, "--link")
    if seed is not None:
        override(loaded, "values", {**loaded.values, "seed": seed}, "--seed")
    if keep is None and loaded.snapshots is not None:
        keep = path_from(folder, loaded.snapshots)
    check_files(loaded, folder)
    print_notes(loaded)
    for path in filter(None, [report, keep]):
        check_folder_of(path)
    if loaded.model == "auto" and loaded.world:
        raise CommandError("--model auto tries the worlds of this machine, not of another: name a world instead")
    if loaded.model == "auto":
        print_dim = partial(typer.secho, dim=True, err=True)
        loaded.model = call(
            "worldjockey.node.measure.model_choice", "choose_here", device, float(loaded.fps), print_dim
        )
    if runtime is not None:
        loaded.model = call("worldjockey.model.registry", "with_option", loaded.model, "runtime", runtime)
        check_world(loaded)
    options = PlayOptions(
        seconds=seconds,
        report=report,
        device=device,
        threads=threads,
        folder=folder,
        keep=keep,
        log=log,
        headless=headless,
        surface=True,
        browser=True,
        file=show,
    )
    run_logged(log_file, verbose, lambda: call("worldjockey.node.session.play", "play", loaded, options))


def world(
    listen: Annotated[
        str, typer.Option(help="HOST:PORT that accepts connections; host 0.0.0.0 accepts them from all networks")
    ] = "127.0.0.1:9014",
    key: Annotated[Path | None, typer.Option(help="key file; the machine that plays needs a copy of it")] = None,
    new_key: Annotated[Path | None, typer.Option(help="create this key file, and exit")] = None,
    model: Annotated[str | None, typer.Option(help="world to run, instead of the one that the show names")] = None,
    device: Annotated[str, typer.Option(help=DEVICES)] = "auto",
    threads: Annotated[int | None, typer.Option(help="CPU threads of the world", min=1)] = None,
    seconds: Annotated[float | None, typer.Option(help="stop after this many seconds", min=0)] = None,
    log_file: LogFile = None,
    verbose: Verbose = False,
) -> None:
    """Run the world on this machine for a show on another. The link is encrypted, and both machines need the same key.

    First create a key with `wj world --new-key world.key`, and copy the file to the other machine. Then start
    `wj world --listen 0.0.0.0:9014 --key world.key` here, and `wj play --world tcp://THIS_HOST --key world.key` there.
    """
    from ..remote import key as remote_key
    from ..show.fields import parse_world_address

    if new_key is not None:
        remote_key.make(new_key)
        typer.echo(f"wrote {new_key}: copy it to the other machine, and keep it secret")
        return
    if key is None:
        raise CommandError("--key is missing: create a key with wj world --new-key world.key, then add --key world.key")
    if is_torchrun_worker():
        call("worldjockey.node.world.torchrun_worker", "follow", seconds)
        return
    module = importlib.import_module("worldjockey.node.remote.host")
    options = module.HostOptions(
        parse_world_address(listen), remote_key.read(key), model, device, threads, seconds
    )  # fmt: skip
    run_logged(log_file, verbose, lambda: _with_terminal(partial(module.serve, options)))


def render(
    log: Annotated[Path, typer.Option(help="control log: the folder that `wj play --log` wrote, or a file in it")],
    out: Annotated[Path, typer.Option(help="video file to write: .mp4, .mov, .mkv or .ts")],
    show: ShowFile = None,
    size: Annotated[str | None, output_option(help="size of the video (default: as played)")] = None,
    fps: Annotated[str | None, output_option(help="frames per second (default: as played)")] = None,
    seconds: Annotated[float | None, run_option(help="render only the first seconds", min=0)] = None,
    device: Annotated[str, run_option(help=DEVICES)] = "auto",
    log_file: LogFile = None,
    verbose: Verbose = False,
    as_json: Json = False,
) -> None:
    """Render a recorded control log to a video file, frame by frame. The same log gives the same frames.

    Example: `wj play my.yaml --log logs`, and afterwards `wj render my.yaml --log logs --out clip.mp4`
    """
    from ..control import control_log as logs
    from ..show.fingerprint import differing
    from ..show.schema import Show

    loaded = Show.load(show)
    head = next(logs.read(logs.parts(log)))
    given = {"model": head.get("model"), "size": size or head.get("size"), "fps": fps or head.get("fps")}
    for field, value in given.items():
        if value is not None:
            override(loaded, field, value, f"--{field}")
    check_folder_of(out)
    folder = show.parent if show else Path()
    differs = differing(loaded, folder, head.get("show"))
    if differs:
        what = f"{show or 'the embedded show'} has changed since {log} was recorded ({' and '.join(differs)})"
        typer.secho(f"wj: {what}. The video will differ from what was played.", fg="yellow", err=True)
    to_clip = partial(call, "worldjockey.node.session.render", "to_clip")
    made = run_logged(log_file, verbose, lambda: to_clip(loaded, log, out, device, seconds, folder))
    if as_json:
        typer.echo(json.dumps({**vars(made), "differs": differs}, indent=2))
    else:
        typer.echo(f"wrote {made.path}: {made.frames} frames, {made.seconds:g} s, sha256 {made.sha256[:16]}")


def _with_terminal(serve: Callable[[Callable[[str], None]], None]) -> None:
    """Serve, and print events without ever waiting for the terminal."""
    from ..session.terminal import Terminal

    terminal = Terminal(live=False)
    try:
        serve(terminal.print_line)
    finally:
        terminal.close()
