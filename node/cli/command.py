"""What commands share: options, the error of a user's mistake, late imports, and the log of a run."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from ..show.schema import Show

DEVICES = "device of the world: auto, cpu, cuda, cuda:1, mps"

ShowFile = Annotated[Path | None, typer.Argument(metavar="SHOW", help="show file (default: the embedded show)")]
Json = Annotated[bool, typer.Option("--json", help="print JSON, for other programs")]
LogFile = Annotated[
    Path | None,
    typer.Option(
        rich_help_panel="Run", help="file for messages and tracebacks (default: a new file in the log folder)"
    ),
]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", rich_help_panel="Run", help="log debug messages, too")]

show_option = partial(typer.Option, rich_help_panel="Show")
output_option = partial(typer.Option, rich_help_panel="Output")
input_option = partial(typer.Option, rich_help_panel="Input")
run_option = partial(typer.Option, rich_help_panel="Run")


class CommandError(Exception):
    """A mistake that the user can correct: one line that names the fix."""


class RunError(CommandError):
    """A run that failed. Its traceback is in the log of the run, whose path the message ends with."""

    def __init__(self, message: str, log: Path) -> None:
        super().__init__(f"{message} (details: {log})")


def call(module: str, function: str, *args: Any, **options: Any) -> Any:
    """Import the module now, and call its function. Raises CommandError where a package is not installed."""
    try:
        found = getattr(importlib.import_module(module), function)
    except ModuleNotFoundError as error:
        if error.name == module:
            raise CommandError(f"{module} is missing: pip install --force-reinstall worldjockey") from None
        raise CommandError(f"{error.name} is not installed: pip install {error.name}") from None
    return found(*args, **options)


def override(part: Any, field: str, value: Any, flag: str) -> None:
    """Set a field of the show, validated as the same field in a show file is. Raises CommandError."""
    from pydantic import ValidationError

    from ..show.fields import plainly

    try:
        setattr(part, field, value)
    except ValidationError as error:
        detail = error.errors(include_url=False)[0]
        own = detail["type"] in ("value_error", "errors")
        message = detail["msg"].removeprefix("Value error, ") if own else plainly(detail)
        raise CommandError(f"{flag}: {message}") from None


def check_folder_of(path: Path) -> None:
    """Raises CommandError where the folder of a file to be written does not exist, or may not be written to."""
    folder = path.expanduser().absolute().parent
    if not folder.is_dir():
        raise CommandError(f"{path}: the folder {path.parent} does not exist; create it, or choose another path")
    if not os.access(folder, os.W_OK):
        raise CommandError(f"{path}: you may not write to the folder {path.parent}; choose another path")


def check_files(show: Show, folder: Path) -> None:
    """Raises CommandError with a line for each file of the show that is missing or cannot be read.

    folder: where the show's paths start.
    """
    from ..show.fields import path_from

    errors = []
    checks: tuple[Callable[[], Any], ...] = (
        lambda: call("worldjockey.node.show.media", "check", show.media(folder).values()),
        lambda: show.live.options(folder) if show.live else None,
        lambda: check_world(show),
        lambda: _check_sound(show, folder),
        lambda: _check_timecode(show, folder),
        *(partial(check_folder_of, entry.options["path"]) for entry in show.outputs if "path" in entry.options),
        *(partial(check_folder_of, path_from(folder, path)) for path in [show.snapshots] if path is not None),
    )
    for check in checks:
        try:
            check()
        except (ValueError, CommandError) as error:
            errors.append(str(error))
    if errors:
        raise CommandError("\n".join(errors))


def check_world(show: Show) -> None:
    """Raises CommandError for a world or an option that does not exist."""
    if show.world is None and show.model != "auto":  # another machine may have other worlds
        call("worldjockey.model.registry", "check", show.model)
        if show.live is None and call("worldjockey.model.registry", "driver_of", show.model) == "live":
            raise CommandError(
                f"{show.model} paints over the live picture, and the show has none: add --live camera:0, or over=nano"
            )


def print_notes(show: Show) -> None:
    """Print what the show asks for that can never happen."""
    from ..show.without_effect import notes

    for note in notes(show):
        typer.secho(f"note: {note}", fg="yellow", err=True)


def _check_timecode(show: Show, folder: Path) -> None:
    from ..show.fields import file_from

    if show.chased is None or (path := show.chased.wav_file) is None:
        return
    if not file_from(folder, path).is_file():
        raise CommandError(f"timecode: {file_from(folder, path)}: there is no such WAV file; check the path")


def _check_sound(show: Show, folder: Path) -> None:
    from worldjockey.integrations.audio.input import is_file

    from ..show.fields import file_from

    source = show.sound.input
    if show.sound.enabled and source is not None and is_file(source) and not file_from(folder, source).is_file():
        raise CommandError(f"sound: {file_from(folder, source)}: there is no such audio file; check the path")


def run_logged(log_file: Path | None, verbose: bool, run: Callable[[], Any]) -> Any:
    """Call `run` while messages and tracebacks of all processes go to a log file, and return its result.

    Raises RunError with the log's path where `run` fails. Where the terminal takes no more output, this process ends
    here: Python would wait for the terminal at its exit.
    """
    from ..ipc.log_file import run_log
    from ..ipc.status import error_text
    from ..session import terminal

    if log_file is not None:
        check_folder_of(log_file)
    code, path = 2, None
    try:
        with run_log(log_file, verbose) as path:
            result = run()
        code = 0
        return result
    except Exception as error:
        if path is None:
            raise
        raise RunError(error_text(error), path) from error
    finally:
        if terminal.is_stuck():
            os._exit(code)


def is_torchrun_worker() -> bool:
    """Whether `torchrun` started this process as one of the workers, while its first process plays the show."""
    return "TORCHELASTIC_RUN_ID" in os.environ and os.environ.get("RANK", "0") != "0"
