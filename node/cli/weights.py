"""`wj weights`: the available worlds, and the download of their weights."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

weights = typer.Typer(help="List worlds, and download their weights.", no_args_is_help=True)


def rows() -> list[dict[str, Any]]:
    """One row for each world, with the state of its weights on this machine."""
    from worldjockey.model import worlds
    from worldjockey.model.weights_store import commit, home, missing

    root, found = home(), []
    for entry in worlds().values():
        gone = [path for source in entry.weights for path in missing(source, root)]
        here = "built in" if not entry.weights else "missing" if gone else "here"
        found.append({
            "name": entry.name, "weights": here, "memory_gb": entry.memory, "licence": entry.licence,
            "rate": entry.rate, "note": entry.note, "package": entry.package, "extra": entry.extra,
            "terms": entry.terms,
            "commits": {source.repository: commit(source, root) for source in entry.weights},
            "options": {name: list(choices) for name, choices in entry.options.items()},
        })  # fmt: skip
    return found


@weights.command("list")
def list_(as_json: Annotated[bool, typer.Option("--json", help="print JSON, for other programs")] = False) -> None:
    """List the worlds with their memory, licence and speed, and whether their weights are on this machine."""
    found = rows()
    if as_json:
        typer.echo(json.dumps(found, indent=2))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, header_style="bold", pad_edge=False)
    for title in ("world", "weights", "commit", "memory", "licence", "rate as published"):
        table.add_column(title, no_wrap=title in ("world", "weights", "commit", "memory"))
    for row in found:
        memory = f"{row['memory_gb']:g} GB" if row["memory_gb"] else ""
        rate = "; ".join(filter(None, (row["rate"], row["note"])))
        commit = next(iter(row["commits"].values()), "")[:7]  # of the network itself; --json has all of them
        table.add_row(row["name"], row["weights"], commit, memory, row["licence"], rate)
    Console().print(table)


@weights.command()
def get(
    name: Annotated[str, typer.Argument(help="world, as listed by `wj weights list`, or NAME:option=choice")],
    given: Annotated[Path | None, typer.Option("--from", help="copy from this folder instead of downloading")] = None,
    accept: Annotated[bool, typer.Option("--accept", help="accept the licence without a question")] = False,
) -> None:
    """Download a world's weights and verify every file. Then `wj play --model NAME` plays the world.

    An interrupted download is resumed. The environment variable WORLDJOCKEY_WEIGHTS sets the folder for weights.
    """
    from worldjockey.model import weights_store
    from worldjockey.model.registry import check_options, imported, split_options

    entry, root, options = imported(name), weights_store.home(), split_options(name)[1]
    if entry.package == "worldjockey" or entry.weights:
        check_options(entry, options)
    sources = entry.needs(options)
    if not sources:
        typer.echo(f"{name} needs no weights: wj play --model {name}")
        return
    typer.echo(f"{name}: {entry.licence}{f' ({entry.terms})' if entry.terms else ''}")
    if given is None:
        whole, left = weights_store.download_bytes(sources, root)
        typer.echo(f"{left / 1e9:.1f} GB to download{f' of {whole / 1e9:.1f} GB' if left < whole else ''}, into {root}")
    if not accept and not typer.confirm("do you accept this licence?"):
        typer.echo("nothing was downloaded", err=True)
        raise typer.Exit(1)

    print_progress = partial(typer.echo, err=True)
    if given is None:
        weights_store.get(sources, root, print_progress)
    else:
        weights_store.take(sources, root, given, print_progress)
    extra = f"pip install 'worldjockey[{entry.extra}]', then " if entry.extra else ""
    typer.echo(f"{name} is in {root}: {extra}wj play --model {name}")
