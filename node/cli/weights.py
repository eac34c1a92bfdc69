"""`wj weights`: which worlds there are, and getting what they need."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

weights = typer.Typer(help="The worlds that can be played, and their weights.", no_args_is_help=True)


def rows() -> list[dict[str, Any]]:
    """One a world, with whether its weights are here."""
    from worldjockey.model import worlds
    from worldjockey.model.weights_store import commit, home, missing

    root, found = home(), []
    for entry in worlds().values():
        gone = [path for source in entry.weights for path in missing(source, root)]
        here = "built in" if not entry.weights else "missing" if gone else "here"
        found.append({
            "name": entry.name, "weights": here, "memory_gb": entry.memory, "licence": entry.licence,
            "rate": entry.rate, "package": entry.package, "extra": entry.extra, "terms": entry.terms,
            "commits": {source.repository: commit(source, root) for source in entry.weights},
            "options": {name: list(choices) for name, choices in entry.options.items()},
        })  # fmt: skip
    return found


@weights.command("list")
def list_(as_json: Annotated[bool, typer.Option("--json", help="print JSON, for other programs")] = False) -> None:
    """List the worlds: what they need, what they may be used for, and whether their weights are here."""
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
        commit = next(iter(row["commits"].values()), "")[:7]  # of the network itself; --json has all of them
        table.add_row(row["name"], row["weights"], commit, memory, row["licence"], row["rate"])
    Console().print(table)


@weights.command()
def get(
    name: Annotated[str, typer.Argument(help="a world, as `wj weights list` names it; NAME:option=choice for options")],
    given: Annotated[Path | None, typer.Option("--from", help="copy from this folder, without any network")] = None,
    accept: Annotated[bool, typer.Option("--accept", help="accept the licence without being asked")] = False,
) -> None:
    """Get a world's weights, check every file, and keep them for `wj play --model NAME`.

    What was cut off goes on where it was. $WORLDJOCKEY_WEIGHTS names another folder for them.
    """
    from worldjockey.model import weights_store
    from worldjockey.model.registry import check_options, imported, split_options

    entry, root, options = imported(name), weights_store.home(), split_options(name)[1]
    if entry.weights:
        check_options(entry, options)
    sources = entry.needs(options)
    if not sources:
        typer.echo(f"{name} needs no weights: wj play --model {name}")
        return
    typer.echo(f"{name}: {entry.licence}{f' ({entry.terms})' if entry.terms else ''}")
    if not accept and not typer.confirm("accept this licence?"):
        typer.echo("nothing was fetched", err=True)
        raise typer.Exit(1)

    def tell(line: str) -> None:
        typer.echo(line, err=True)

    if given is None:
        weights_store.get(sources, root, tell)
    else:
        weights_store.take(sources, root, given, tell)
    extra = f"pip install 'worldjockey[{entry.extra}]', then " if entry.extra else ""
    typer.echo(f"{name} is in {root}: {extra}wj play --model {name}")
