"""The `wj` command. It starts fast: a command's imports happen when the command runs."""

from __future__ import annotations

import importlib.metadata
import logging
import os
import platform
import sys
from typing import Annotated

import typer

from . import measure, play, show, train
from .command import CommandError
from .weights import weights

app = typer.Typer(
    name="wj",
    help="Play a generative world live: OSC and MIDI in; NDI, a window, browsers, streams and recordings out.",
    epilog="Start with `wj play`, which plays the embedded show. If something does not work, run `wj doctor`.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (
    play.play,
    play.world,
    play.render,
    show.show,
    measure.ports,
    show.reference,
    measure.doctor,
    show.learn,
    measure.bench,
):
    app.command()(command)
app.command(**train.PASS_ON)(train.train)
app.command("eval", **train.PASS_ON)(train.evaluate)
app.add_typer(show.cues, name="cues")
app.add_typer(weights, name="weights")


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"worldjockey {importlib.metadata.version('worldjockey')}, Python {platform.python_version()}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="print the version, and end")
    ] = False,
) -> None:
    """Options of `wj` itself."""


def main() -> None:
    """Entry point. An error is one line on standard error and exit code 2; WJ_DEBUG=1 adds the traceback."""
    logging.getLogger("worldjockey").addHandler(logging.NullHandler())  # tracebacks go to a log, or nowhere
    try:
        app()
    except KeyboardInterrupt:
        sys.exit(130)
    except (CommandError, ValueError, OSError, RuntimeError) as error:
        if os.environ.get("WJ_DEBUG"):
            raise
        from ..ipc.status import error_text

        typer.secho(f"wj: {error_text(error)}", fg="red", err=True)
        sys.exit(2)


if __name__ == "__main__":
    main()
