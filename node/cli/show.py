"""`wj show`, `wj cues import`, `wj reference` and `wj learn`: what a show is written from."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from .command import CommandError, Json, ShowFile, check_files, check_folder_of, print_notes


def show(
    show: ShowFile = None,
    save: Annotated[Path | None, typer.Option(help="write the show to this file, as a copy to edit")] = None,
    force: Annotated[bool, typer.Option("--force", help="overwrite an existing file")] = False,
) -> None:
    """Check a show file and print it, with notes on what has no effect and a summary of its story.

    `wj show --save my.yaml` saves a copy of the embedded show.
    """
    from ..show.schema import EMBEDDED, Show
    from ..show.without_effect import story_lines
    from ..show.yaml_file import read

    text = read(show or EMBEDDED)
    loaded, folder = Show.parse(text, str(show or EMBEDDED)), show.parent if show else Path()
    loaded.outputs = [entry.from_folder(folder) for entry in loaded.outputs]
    check_files(loaded, folder)
    print_notes(loaded)
    for line in story_lines(loaded):
        typer.echo(line, err=True)
    if save is None:
        typer.echo(text, nl=False)
        return
    check_folder_of(save)
    if save.exists() and not force:
        raise CommandError(f"{save} already exists: choose another name, or overwrite it with --force")
    save.write_text(text, "utf-8", newline="")  # the ends of lines as they are, on Windows too
    typer.echo(f"wrote {save}: play it with `wj play {save}`")


cues = typer.Typer(help="Import cues from other programs.", no_args_is_help=True)


@cues.callback()
def _cues() -> None:
    """Import cues from other programs."""


@cues.command("import")
def import_(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="timeline or workflow exported by Daydream Scope")],
) -> None:
    """Convert a Daydream Scope timeline into a show file, which is printed. It can be played, or pasted into a show.

    Example: `wj cues import timeline.json > panda.yaml`, then `wj play panda.yaml`
    """
    from ..compat.scope_timeline import load

    typer.echo(load(file), nl=False)


def reference(
    as_json: Json = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="print a Markdown table")] = False,
    dmx: Annotated[bool, typer.Option("--dmx", help="list the channels of the fixture for lighting desks")] = False,
    gdtf: Annotated[
        Path | None, typer.Option(help="write the fixture to this GDTF file, which lighting desks import")
    ] = None,
    csv: Annotated[Path | None, typer.Option(help="write the fixture's channels to this CSV file")] = None,
) -> None:
    """List every parameter with its OSC address, kind, range and MIDI mapping; or the fixture for lighting desks.

    Example: `wj reference --dmx --gdtf worldjockey.gdtf`
    """
    from ..control import fixture_profile
    from ..control import reference as made

    if dmx or gdtf or csv:
        for path, data in ((gdtf, fixture_profile.gdtf), (csv, lambda: fixture_profile.as_csv().encode())):
            if path is not None:
                check_folder_of(path)
                path.write_bytes(data())
                typer.echo(f"wrote {path}", err=True)
        if dmx:
            typer.echo(fixture_profile.markdown())
        return

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


def learn(
    parameter: Annotated[str, typer.Argument(help="parameter to map, as in pad/3 or cam/yaw")],
    show: ShowFile = None,
    save: Annotated[bool, typer.Option("--save", help="add the mapping to the show file")] = False,
    seconds: Annotated[float, typer.Option(help="how many seconds to wait for a control to be moved", min=1)] = 30.0,
) -> None:
    """Map the next MIDI control that is moved to a parameter, and print the mapping. Turn encoders to the right."""
    from ..control import midi_learn as learning

    if save and show is None:
        raise CommandError(f"--save needs a show file to write to, as in: wj learn {parameter} my.yaml --save")
    typer.echo(f"move the control that will play {parameter} …", err=True)
    mapping = learning.listen(parameter, seconds)
    if mapping is None:
        raise CommandError(f"no control was moved within {seconds:g} s; `wj ports` lists the connected MIDI ports")
    typer.echo(f"midi:\n  map:\n  - {learning.line(mapping)}")
    if save and show is not None:
        learning.save(show, mapping)
        typer.echo(f"wrote {show}", err=True)
