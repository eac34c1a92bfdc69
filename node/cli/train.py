"""`wj train` and `wj eval`, whose options the model's own parsers read."""

from __future__ import annotations

from typing import Any

import typer

from ..ipc.process import exit_now, limit_threads
from .command import call

PASS_ON: dict[str, Any] = {
    "add_help_option": False,
    "context_settings": {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []},
}


def train(context: typer.Context) -> None:
    """Train a world from scratch. Training can be interrupted and resumed. `wj train --help` lists the options."""
    # Under torchrun a process that aborts at its very end would take the other workers down with it.
    exit_now(call("worldjockey.model.train.stages", "main", list(context.args)) or 0)


def evaluate(context: typer.Context) -> None:
    """Score how well a world follows its prompts and controls. `wj eval --help` lists the options."""
    call("torch", "set_num_threads", limit_threads(None))  # as many as when the world is played
    raise typer.Exit(call("worldjockey.model.evaluate.cli", "main", list(context.args)) or 0)
