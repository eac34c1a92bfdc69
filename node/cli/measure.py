"""`wj ports`, `wj doctor` and `wj bench`: what this machine has, and what it can do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from .command import CommandError, Json, call, check_folder_of


def ports(
    seconds: Annotated[float, typer.Option(help="how many seconds to search for NDI sources", min=0.1)] = 2.0,
    as_json: Json = False,
) -> None:
    """List MIDI ports, audio inputs, NDI sources, cameras, monitors, gamepads, Stream Decks, OBS and networks."""
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


def doctor(
    osc_port: Annotated[int, typer.Option(help="OSC port to check")] = 9010,
    seconds: Annotated[
        float, typer.Option(help="how many seconds to run each world that fits this machine; 0 runs none", min=0)
    ] = 5.0,
    as_json: Json = False,
    report: Annotated[
        Path | None,
        typer.Option(metavar="ZIP", help="write the last run's log, the results and --show to a ZIP for a bug report"),
    ] = None,
    show: Annotated[
        Path | None, typer.Option(help="show file to put into the ZIP, without its keys and passwords")
    ] = None,
) -> None:
    """Check this machine, and print the fix for each problem. The exit code is 1 if a problem would stop a show."""
    from ..measure import bug_report
    from ..measure.doctor import check_all

    if report is not None:
        check_folder_of(report)
        if show is not None and not show.is_file():
            raise CommandError(f"{show}: there is no such file; check the path")
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
            raise CommandError(f"{error.filename or report}: {error.strerror or error}") from None
        typer.echo(f"wrote {report}: {', '.join(packed)}", err=True)
    if any(check.state == "error" for check in results):
        raise typer.Exit(1)


def bench(
    json_path: Annotated[Path | None, typer.Option("--json", help="write the measurements to this JSON file")] = None,
    seconds: Annotated[
        float | None, typer.Option(help="length of each measurement, in seconds (default: 20; with --gpu 60)", min=1)
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="world to measure (default: nano; with --gpu each whose weights are here)")
    ] = None,
    outputs: Annotated[
        bool,
        typer.Option(
            "--outputs", help="measure each output: its CPU time, and the latency from control to received pixel"
        ),
    ] = False,
    latency: Annotated[
        bool, typer.Option("--latency", help="measure each part of the delay from a control to the sent frame")
    ] = False,
    reaction: Annotated[
        bool,
        typer.Option("--reaction", help="measure how soon an NDI receiver sees a fader, with a world of 40 ms a frame"),
    ] = False,
    gpu: Annotated[
        bool,
        typer.Option("--gpu", help="measure each world on the graphics card; write the table as JSON and Markdown"),
    ] = False,
    rig: Annotated[
        bool,
        typer.Option("--rig", help="rehearse a show with all outputs at once while processes fail and receivers stall"),
    ] = False,
    kill: Annotated[
        bool, typer.Option("--kill", help="kill a random process of a show every 5 s, and count the missed ticks")
    ] = False,
    preview: Annotated[
        bool, typer.Option("--preview", help="measure what an open preview costs the program, in turns of one show")
    ] = False,
    crowd: Annotated[
        bool,
        typer.Option(
            "--crowd", help="measure what an audience of 1,000 phones costs a show, in turns with and without"
        ),
    ] = False,
    minutes: Annotated[
        float | None,
        typer.Option(help="length of --rig (default: 10), --kill (default: 2) or --gpu (default: 12)", min=0.2),
    ] = None,
    size: Annotated[
        str | None,
        typer.Option(
            help="size of sent frames (default: 1920x1080; with --rig, --kill, --preview, --reaction, --crowd 1280x720)"
        ),
    ] = None,
) -> None:
    """Measure this machine: speed, latency and regularity, alone and while another program uses a core.

    Before a show: `wj bench --rig --minutes 10`. The exit code of --rig is 1 if an output caused a missed tick, if more
    than 1% of all ticks were missed, if a failure of one output cost another a fifth of its frames, or if an output did
    not recover. The exit code of --kill is 1 if the death of the clock cost more than 3 ticks, or that of another
    process any. The exit code of --preview is 1 if the program keeps less than nine tenths of its rate. That of
    --crowd is 1 if the audience cost the show a tick, or its controls more than a quarter of their time.
    """
    if gpu:
        call("worldjockey.node.measure.gpu", "run", json_path, model, minutes or 12.0, seconds or 60.0)
        return
    model, seconds = model or "nano", seconds or 20.0
    if kill:
        result = call("worldjockey.node.measure.kill", "run", json_path, minutes or 2.0, model, size or "1280x720")
        raise typer.Exit(int(not result["passed"]))
    if rig:
        result = call(
            "worldjockey.node.measure.rehearsal", "run", json_path, minutes or 10.0, model, size or "1280x720"
        )
        raise typer.Exit(int(not result["passed"]))
    if preview:
        result = call("worldjockey.node.measure.preview", "run", json_path, seconds, model, size or "1280x720")
        raise typer.Exit(int(not result["passed"]))
    if crowd:
        result = call("worldjockey.node.measure.crowd", "run", json_path, seconds, model, size or "1280x720")
        raise typer.Exit(int(not result["passed"]))
    if latency:
        call("worldjockey.node.measure.latency", "run", json_path, seconds, model, size or "1920x1080")
        return
    if reaction:
        call("worldjockey.node.measure.reaction", "run", json_path, seconds, size or "1280x720")
        return
    if outputs:
        call("worldjockey.node.measure.outputs", "run", json_path, seconds, size or "1920x1080")
        return
    call("worldjockey.node.measure.bench", "run", json_path, seconds, model, size=size or "1920x1080")
