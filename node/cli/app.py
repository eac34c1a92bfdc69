"""The `wj` command. Starts at once: what a command needs is imported when it runs, and torch never here."""

from __future__ import annotations

import importlib
import json
import os
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from ..ipc.process import exit_now, limit_threads
from .weights import weights

EPILOG = "Start with `wj play`: it opens the embedded show. `wj doctor` finds what is wrong when something is."
app = typer.Typer(
    name="wj",
    help="worldjockey plays a generative world live: OSC and MIDI in, NDI, a window and files out.",
    epilog=EPILOG,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
ShowFile = Annotated[Path | None, typer.Argument(metavar="SHOW", help="a show file; without one, the embedded show")]
Json = Annotated[bool, typer.Option("--json", help="print JSON, for other programs")]


_show = partial(typer.Option, rich_help_panel="The show")
_picture = partial(typer.Option, rich_help_panel="The picture")
_controls = partial(typer.Option, rich_help_panel="Controls")
_run = partial(typer.Option, rich_help_panel="This run")


class Fault(Exception):
    """What the user can mend: one line, with the fix in it."""


@app.command()
def play(
    show: ShowFile = None,
    model: Annotated[
        str | None, _show(help="the world: nano, auto (the best in time here), NAME:option=choice, ...")
    ] = None,
    world: Annotated[str | None, _show(help="run it on another machine: tcp://HOST (see `wj world`)")] = None,
    key: Annotated[Path | None, _show(help="the key file that such a world was started with")] = None,
    prompt: Annotated[str | None, _show(help="what the world is as it opens")] = None,
    seed: Annotated[int | None, _show(help="which world: the same seed is the same world again")] = None,
    out: Annotated[
        str | None,
        _picture(help="`window,ndi,web:8080,file:clip.mp4,stream:tcp://127.0.0.1:9710`; `window:1` is a monitor"),
    ] = None,
    size: Annotated[str | None, _picture(help="of what is sent, as in 1920x1080")] = None,
    fps: Annotated[str | None, _picture(help="frames a second sent: 30, 29.97, 30000/1001")] = None,
    name: Annotated[str | None, _picture(help="the NDI source's name, as receivers list it")] = None,
    headless: Annotated[bool, _picture("--headless", help="no window and no live status")] = False,
    osc_host: Annotated[str | None, _controls(help="where OSC is heard; 0.0.0.0 hears the whole network")] = None,
    osc_port: Annotated[int | None, _controls(help="UDP port for OSC (9010)")] = None,
    osc_feedback: Annotated[str | None, _controls(help="OSC feedback: PORT, HOST:PORT, or `none` (9011)")] = None,
    osc: Annotated[bool, _controls("--osc/--no-osc", help="listen to OSC")] = True,
    midi: Annotated[bool, _controls("--midi/--no-midi", help="listen to every MIDI port")] = True,
    sound: Annotated[str | None, _controls(help="listen: `default`, part of a device's name, or a sound file")] = None,
    live: Annotated[
        str | None, _controls(help="what the world sees: ndi:NAME, camera:0, file:clip.mp4, or none")
    ] = None,
    link: Annotated[bool, _controls("--link", help="take the tempo from an Ableton Link session")] = False,
    seconds: Annotated[float | None, _run(help="stop after so long; without it, Ctrl-C stops", min=0)] = None,
    report: Annotated[Path | None, _run(help="write the run's figures here, as JSON")] = None,
    keep: Annotated[Path | None, _run(help="keep snapshots in this file, from one run to the next")] = None,
    log: Annotated[Path | None, _run(help="write every control into this folder, for `wj render`")] = None,
    device: Annotated[str, _run(help="what the world runs on: auto, cpu, cuda, cuda:1, mps")] = "auto",
    threads: Annotated[int | None, _run(help="CPU threads of the world; one core stays free", min=1)] = None,
    log_file: Annotated[Path | None, _run(help="write this run's log of messages and tracebacks here")] = None,
    verbose: Annotated[bool, _run("--verbose", "-v", help="write more into that log")] = False,
) -> None:
    """Play a show: the world runs, OSC and MIDI play it, and its picture goes out.

    Everything in a show file can be said here too, and what is said here wins.

    Examples: `wj play` · `wj play my.yaml --out ndi` · `wj play --headless --out ndi --seconds 20 --report run.json`
    """
    from ..session.options import PlayOptions
    from ..show.schema import Show

    if _follows():
        _call("worldjockey.node.world.torchrun_worker", "follow")
        return
    loaded = Show.load(show)
    given: dict[str, Any] = {
        "model": model, "size": size, "fps": fps, "prompt": prompt, "name": name,
        "world": world, "key": str(key.absolute()) if key else None,
    }  # fmt: skip
    for field, value in given.items():
        if value is not None:
            _set(loaded, field, value, f"--{field}")
    if out is not None:
        entries = [entry for entry in out.split(",") if entry.strip() not in ("", "none")]
        _set(loaded, "outputs", entries, "--out")
    if headless:
        loaded.outputs = [output for output in loaded.outputs if output.kind != "window"]
    _set(loaded.osc, "enabled", osc and loaded.osc.enabled, "--osc")
    for field, value in {"host": osc_host, "port": osc_port, "feedback": osc_feedback}.items():
        if value is not None:
            _set(loaded.osc, field, None if value == "none" else value, f"--osc-{field}")
    loaded.midi.enabled = midi and loaded.midi.enabled
    if sound is not None:
        loaded.sound.enabled, loaded.sound.input = True, None if sound == "default" else sound
    if live is not None:
        _set(loaded, "live", None if live == "none" else live, "--live")
    if link:
        _set(loaded, "values", {**loaded.values, "tempo/source": "link"}, "--link")
    if seed is not None:
        _set(loaded, "values", {**loaded.values, "seed": seed}, "--seed")
    folder = show.parent if show else Path()
    if keep is None and loaded.snapshots is not None:
        keep = folder / loaded.snapshots
    for path in map(Path, filter(None, [report, keep, *(o.options.get("path") for o in loaded.outputs)])):
        if not path.expanduser().absolute().parent.is_dir():
            raise Fault(f"{path}: there is no folder {path.parent}; make it first, or name another file")
    for media in loaded.media(folder).values():
        media.prompt()  # a picture that cannot be read is said now, not in the middle of a show
    if loaded.model == "auto" and loaded.world:
        raise Fault("auto chooses for this machine, not for the world's: name a model with --model")
    if loaded.model == "auto":
        said = partial(typer.secho, dim=True, err=True)
        loaded.model = _call("worldjockey.node.measure.model_choice", "choose", device, float(loaded.fps), said)
    if loaded.world is None:  # elsewhere there may be others
        _call("worldjockey.model.registry", "check", loaded.model)
    options = PlayOptions(
        seconds=seconds,
        report=report,
        device=device,
        threads=threads,
        folder=folder,
        keep=keep,
        log=log,
        headless=headless,
    )
    _logged(log_file, verbose, lambda: _call("worldjockey.node.session.play", "play", loaded, options))


@app.command("world")
def world_(
    listen: Annotated[str, typer.Option(help="HOST:PORT to listen at; 0.0.0.0 is every network")] = "127.0.0.1:9014",
    key: Annotated[Path | None, typer.Option(help="the key file; the rig has the same")] = None,
    new_key: Annotated[Path | None, typer.Option(help="make a key file, and nothing else")] = None,
    model: Annotated[str | None, typer.Option(help="run this, whatever the rig's show says")] = None,
    device: Annotated[str, typer.Option(help="what the world runs on: auto, cpu, cuda, cuda:1, mps")] = "auto",
    threads: Annotated[int | None, typer.Option(help="CPU threads of the world", min=1)] = None,
    seconds: Annotated[float | None, typer.Option(help="stop after so long", min=0)] = None,
    log_file: Annotated[Path | None, typer.Option(help="write this run's log of messages and tracebacks here")] = None,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="write more into that log")] = False,
) -> None:
    """Run a world here for a rig on another machine. The link is encrypted; only who has the key gets in.

    `wj world --new-key world.key` once, and copy it to the rig; then `wj world --listen 0.0.0.0:9014 --key world.key`
    here, and `wj play --world tcp://THIS_HOST --key world.key` there.
    """
    from ..remote import key as remote_key
    from ..show.fields import parse_world_address

    if new_key is not None:
        remote_key.make(new_key)
        typer.echo(f"wrote {new_key}: copy it to the other machine, and keep it secret")
        return
    if key is None:
        raise Fault("a world for others needs a key: wj world --new-key world.key, then say --key world.key")
    if _follows():
        _call("worldjockey.node.world.torchrun_worker", "follow", seconds)
        return
    module = importlib.import_module("worldjockey.node.remote.host")
    options = module.HostOptions(
        parse_world_address(listen), remote_key.read(key), model, device, threads, seconds
    )  # fmt: skip
    _logged(log_file, verbose, lambda: _with_terminal(partial(module.serve, options)))


@app.command()
def render(
    log: Annotated[Path, typer.Option(help="a control log: the file, or the folder of `wj play --log`")],
    out: Annotated[Path, typer.Option(help="the clip: .mp4, .mov, .mkv or .ts")],
    show: ShowFile = None,
    size: Annotated[str | None, _picture(help="of the clip; without it, as it was played")] = None,
    fps: Annotated[str | None, _picture(help="frames a second; without it, as it was played")] = None,
    seconds: Annotated[float | None, _run(help="only so much of it", min=0)] = None,
    device: Annotated[str, _run(help="what the world runs on: auto, cpu, cuda, cuda:1, mps")] = "auto",
    log_file: Annotated[Path | None, _run(help="write this run's log of messages and tracebacks here")] = None,
    verbose: Annotated[bool, _run("--verbose", "-v", help="write more into that log")] = False,
    as_json: Json = False,
) -> None:
    """Play a control log again into a clip, frame by frame: the same log is the same frames.

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
            _set(loaded, field, value, f"--{field}")
    if not out.expanduser().absolute().parent.is_dir():
        raise Fault(f"{out}: there is no folder {out.parent}; make it first, or name another file")
    folder = show.parent if show else Path()
    differs = differing(loaded, folder, head.get("show"))
    if differs:
        what = f"{show or 'the embedded show'} is not as it was when {log} was recorded: other {' and '.join(differs)}"
        typer.secho(f"wj: {what}. The clip will not show what was played.", fg="yellow", err=True)
    to_clip = partial(_call, "worldjockey.node.session.render", "to_clip")
    made = _logged(log_file, verbose, lambda: to_clip(loaded, log, out, device, seconds, folder))
    if as_json:
        typer.echo(json.dumps({**vars(made), "differs": differs}, indent=2))
    else:
        typer.echo(f"wrote {made.path}: {made.frames} frames, {made.seconds:g} s, sha256 {made.sha256[:16]}")


def _logged(log_file: Path | None, verbose: bool, run: Callable[[], Any]) -> Any:
    """What `run` gives. Messages and tracebacks of all its processes go into a log file meanwhile.

    Where the terminal stands still, this process ends here: Python would wait for it.
    """
    from ..ipc.log_file import run_log
    from ..session import terminal

    code = 2
    try:
        with run_log(log_file, verbose):
            result = run()
        code = 0
        return result
    finally:
        if terminal.is_stuck():
            os._exit(code)


def _with_terminal(serve: Callable[[Callable[[str], None]], None]) -> None:
    """Serve, and say on the terminal what happens, without ever waiting for it."""
    from ..session.terminal import Terminal

    terminal = Terminal(live=False)
    try:
        serve(terminal.say)
    finally:
        terminal.close()


def _follows() -> bool:
    """Whether `torchrun` started this, and another process plays the show."""
    return "TORCHELASTIC_RUN_ID" in os.environ and os.environ.get("RANK", "0") != "0"


def _set(part: Any, field: str, value: Any, flag: str) -> None:
    """Override one line of the show, checked as the file's own lines are."""
    from pydantic import ValidationError

    try:
        setattr(part, field, value)
    except ValidationError as error:
        detail = error.errors(include_url=False)[0]
        raise Fault(f"{flag} {detail['msg'].removeprefix('Value error, ')}") from None


def _call(module: str, function: str, *args: Any, **options: Any) -> Any:
    """`module.function(...)`, imported only now."""
    try:
        found = getattr(importlib.import_module(module), function)
    except ModuleNotFoundError as error:
        if error.name == module:
            raise Fault(f"this build has no {module}; install worldjockey again") from None
        raise Fault(f"{error.name} is not installed: pip install {error.name}, or install worldjockey again") from None
    return found(*args, **options)


@app.command("show")
def show_(
    show: ShowFile = None,
    save: Annotated[Path | None, typer.Option(help="write it here, as a copy to edit")] = None,
    force: Annotated[bool, typer.Option("--force", help="write over a file that is there")] = False,
) -> None:
    """Check a show file and print it; `--save my.yaml` makes your own copy of the embedded one."""
    from ..show.schema import EMBEDDED, Show

    Show.load(show)
    text = (show or EMBEDDED).read_text("utf-8")
    if save is None:
        typer.echo(text, nl=False)
        return
    if save.exists() and not force:
        raise Fault(f"{save} is there already; name another file, or write over it with --force")
    save.write_text(text, "utf-8")
    typer.echo(f"wrote {save}: play it with `wj play {save}`")


cues = typer.Typer(help="Cues from elsewhere.", no_args_is_help=True)
app.add_typer(cues, name="cues")
app.add_typer(weights, name="weights")


@cues.callback()
def _cues() -> None:
    """Cues from elsewhere."""


@cues.command("import")
def import_(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="a timeline or workflow that Daydream Scope exported")],
) -> None:
    """Print a Daydream Scope timeline as the lines of a show file: paste them into yours, or play them as they are.

    Example: `wj cues import timeline.json > panda.yaml`, then `wj play panda.yaml`
    """
    from ..compat.scope_timeline import load

    typer.echo(load(file), nl=False)


@app.command()
def ports(
    seconds: Annotated[float, typer.Option(help="how long to listen for NDI sources", min=0.1)] = 2.0,
    as_json: Json = False,
) -> None:
    """List what can be plugged in: MIDI ports, NDI sources on the network, cameras, monitors."""
    from ..compat.report_names import with_old_names
    from ..measure.ports import found

    groups = found(seconds)
    if as_json:
        typer.echo(json.dumps(with_old_names(groups), indent=2))
        return
    for title, group in groups.items():
        typer.secho(title, bold=True)
        for index, item in enumerate(group["found"]):
            typer.echo(f"  {index}  {item}")
        if not group["found"]:
            typer.echo(f"  none{': ' if group['error'] else ''}{group['error']}")


@app.command()
def reference(
    as_json: Json = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="print a Markdown table")] = False,
) -> None:
    """Print every parameter: its OSC address, what it takes, its range, and the MIDI that plays it."""
    from ..control import reference as made

    if as_json:
        typer.echo(json.dumps(made.rows(), indent=2))
    elif markdown or not sys.stdout.isatty():
        typer.echo(made.markdown())
    else:
        from rich.console import Console
        from rich.table import Table

        table = Table(*made.COLUMNS, box=None, pad_edge=False, header_style="bold")
        for row in made.table():
            table.add_row(*(cell.replace("[", r"\[") for cell in row))
        Console().print(table)


@app.command()
def doctor(
    osc_port: Annotated[int, typer.Option(help="the OSC port to try")] = 9010,
    seconds: Annotated[float, typer.Option(help="how long to try each world that fits; 0 tries none", min=0)] = 5.0,
    as_json: Json = False,
    report: Annotated[
        Path | None,
        typer.Option(metavar="ZIP", help="pack the last run's log, the findings and --show for a bug report"),
    ] = None,
    show: Annotated[Path | None, typer.Option(help="the show file to pack; keys and passwords are left out")] = None,
) -> None:
    """Check this machine, and print the exact fix for each error. Exit code 1 if something would stop a show."""
    from ..measure import bug_report
    from ..measure.doctor import check_all

    results = []
    for check in check_all(osc_port, seconds):
        results.append(check)
        if not as_json:
            mark, colour = {"ok": ("ok  ", "green"), "note": ("note", "yellow"), "error": ("FAIL", "red")}[check.state]
            typer.echo(f"{typer.style(mark, fg=colour)} {check.name}: {check.detail}")
            if check.fix:
                typer.echo(f"     fix: {check.fix}")
    if as_json:
        # "state" keeps its old words for one release; "result" is its new name.
        rows = [
            vars(check) | {"result": check.state, "state": check.state.replace("error", "fault")} for check in results
        ]
        typer.echo(json.dumps(rows, indent=2))
    if report is not None:
        try:
            packed = bug_report.write(report, [vars(check) for check in results], show)
        except OSError as error:
            raise Fault(f"{error.filename or report}: {error.strerror or error}") from None
        typer.echo(f"wrote {report}: {', '.join(packed)}", err=True)
    if any(check.state == "error" for check in results):
        raise typer.Exit(1)


@app.command()
def learn(
    parameter: Annotated[str, typer.Argument(help="what to play, as in pad/3 or cam/yaw")],
    show: ShowFile = None,
    save: Annotated[bool, typer.Option("--save", help="write it into the show file")] = False,
    seconds: Annotated[float, typer.Option(help="how long to wait for a control to be moved", min=1)] = 30.0,
) -> None:
    """Move a MIDI control (turn encoders to the right), and get the line that maps it to a parameter."""
    from ..control import midi_learn as learning

    if save and show is None:
        raise Fault(f"--save needs a show file to write to, as in: wj learn {parameter} my.yaml --save")
    typer.echo(f"move the control that shall play {parameter} …", err=True)
    mapping = learning.listen(parameter, seconds)
    if mapping is None:
        raise Fault(f"nothing was moved in {seconds:g} s; `wj ports` lists what is plugged in")
    typer.echo(f"midi:\n  map:\n  - {learning.line(mapping)}")
    if save and show is not None:
        learning.save(show, mapping)
        typer.echo(f"wrote {show}", err=True)


@app.command()
def bench(
    json_path: Annotated[Path | None, typer.Option("--json", help="write the figures here, as JSON")] = None,
    seconds: Annotated[float, typer.Option(help="of each measurement", min=1)] = 20.0,
    model: Annotated[str, typer.Option(help="the world to measure")] = "nano",
    outputs: Annotated[
        bool, typer.Option("--outputs", help="each way out: its cost, and control to received pixel")
    ] = False,
    rig: Annotated[
        bool, typer.Option("--rig", help="everything at once, with mishaps: a rehearsal of your machine")
    ] = False,
    kill: Annotated[
        bool, typer.Option("--kill", help="kill a random process of a show every 5 s, and count missed ticks")
    ] = False,
    minutes: Annotated[float | None, typer.Option(help="of --rig and --kill; 10, and 2 with --kill", min=0.2)] = None,
    size: Annotated[str | None, _picture(help="of the picture; 1920x1080, and 1280x720 with --rig and --kill")] = None,
) -> None:
    """Measure this machine: speed, latency and cadence, with and without a busy neighbour.

    Before a show: `wj bench --rig --minutes 10`. Exit code 1 if a tick was missed because of an output or more than 1%
    of all were, if what befell one output cost another a fifth of its pictures, or if one did not come back. With
    --kill it is 1 if the death of the clock cost more than 3 ticks, or that of another process any.
    """
    if kill:
        result = _call("worldjockey.node.measure.kill", "run", json_path, minutes or 2.0, model, size or "1280x720")
        raise typer.Exit(int(not result["passed"]))
    if rig:
        result = _call(
            "worldjockey.node.measure.rehearsal", "run", json_path, minutes or 10.0, model, size or "1280x720"
        )
        raise typer.Exit(int(not result["passed"]))
    if outputs:
        _call("worldjockey.node.measure.outputs", "run", json_path, seconds, size or "1920x1080")
        return
    _call("worldjockey.node.measure.bench", "run", json_path, seconds, model, size=size or "1920x1080")


PASS_ON: dict[str, Any] = {
    "add_help_option": False,
    "context_settings": {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []},
}


@app.command(**PASS_ON)
def train(context: typer.Context) -> None:
    """Train a world from nothing; `wj train --help` lists its options. Stops and goes on where it was."""
    # Under torchrun a process that aborts at its very end would take the team down with it.
    exit_now(_call("worldjockey.model.train.stages", "main", list(context.args)) or 0)


@app.command("eval", **PASS_ON)
def evaluate(context: typer.Context) -> None:
    """Score a world: does it show what was asked for? `wj eval --json F` writes the scorecard."""
    _call("torch", "set_num_threads", limit_threads(None))  # as the world is played
    raise typer.Exit(_call("worldjockey.model.evaluate.cli", "main", list(context.args)) or 0)


def main() -> None:
    """Entry point. An error is one line on stderr and exit code 2; WJ_DEBUG=1 adds the traceback."""
    try:
        app()
    except KeyboardInterrupt:
        sys.exit(130)
    except (Fault, ValueError, OSError, RuntimeError) as error:
        if os.environ.get("WJ_DEBUG"):
            raise
        typer.secho(f"wj: {str(error) or type(error).__name__}", fg="red", err=True)
        sys.exit(2)


if __name__ == "__main__":
    main()
