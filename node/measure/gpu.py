"""`wj bench --gpu`: what only a graphics card can tell of each world whose weights are here.

Each world runs in a process of its own and has a share of the time, so that one which fails, crashes or never ends
costs the others nothing. Only native frames count: a frame that repeats the one before, or that a painter's world only
carried along, is none. `card_world` is what runs in that process.
"""

from __future__ import annotations

import contextlib
import os
import platform
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from itertools import product
from pathlib import Path
from typing import Any

from worldjockey.model.registry import OVER, WorldEntry, preset_values, worlds

from ..ipc.process import SPAWN
from . import card_world, json_file
from .model_choice import Machine, machine, missing_weights, unfit

MINUTES = 12.0
RESERVE = 0.05  # of them, for starting and ending processes
RATE_S = 60.0  # over which the rate is counted, where the time allows it
LEAST_S = 15.0  # that a world gets, however little is left
RUNTIMES = {"cuda": ("torch", "cuda-graphs"), "mps": ("torch",), "cpu": ("torch", "openvino")}
NANO_SIZES, NANO_STEPS = ("small", "large"), (1, 4)
RULE = "Only native frames count: frames that repeat the one before, or that were carried along, are left out."


@dataclass(frozen=True)
class Job:
    """model: a world with its options. steps: prediction steps to measure. skip: why it is not measured."""

    model: str
    steps: tuple[int, ...] = (1,)
    skip: str = ""


def jobs(here: Machine, model: str | None = None) -> list[Job]:
    """The worlds to measure, the lightest first; those that cannot run here say why. model: only that one."""
    if model is not None:
        return [Job(model, _steps(model))]
    found = []
    for entry in worlds().values():
        if not entry.devices and entry.package == "worldjockey":  # the test card
            continue
        if entry.name == "nano":
            found += [
                Job(f"nano:size={size},runtime={runtime}", NANO_STEPS)
                for size, runtime in product(NANO_SIZES, RUNTIMES[here.device])
            ]
            continue
        why = _unfit(entry, here)
        found.append(Job(entry.name, _steps(entry.name), why))
        if entry.paints and not why:
            found.append(Job(f"{entry.name}:{OVER}=nano", _steps(entry.name)))
    return found


def _steps(model: str) -> tuple[int, ...]:
    return (int(preset_values(model).get("steps", 1)),)


def _unfit(entry: WorldEntry, here: Machine) -> str:
    if not entry.devices:  # of a package that is not imported here: its process finds out
        return ""
    fix = missing_weights(entry)
    return unfit(entry, here) or (f"its weights are not here: {fix}" if fix else "")


def measured(job: Job, device: str, seconds: float, budget_s: float) -> list[dict[str, Any]]:
    """A row for each number of steps, with whatever could be measured within `budget_s`; "error" says what failed."""
    if job.skip:
        return [{"world": job.model, "skipped": job.skip}]
    deadline = time.monotonic() + budget_s
    ours, theirs = SPAWN.Pipe(duplex=False)
    arguments = (theirs, job.model, device, job.steps, seconds, budget_s)
    process = SPAWN.Process(target=card_world.main, args=arguments, daemon=True)
    process.start()
    theirs.close()
    common: dict[str, Any] = {"world": job.model}
    rows: dict[int, dict[str, Any]] = {}
    stage, error, done = "starting", "", False
    try:
        while not done and not error:
            if not ours.poll(max(deadline - time.monotonic(), 0)):
                error = f"not done after {budget_s:.0f} s, while {stage}"
                break
            message = ours.recv()
            stage, done = message.pop("stage", stage), message.pop("done", False)
            error = message.pop("error", "")
            if "steps" in message:
                rows.setdefault(message["steps"], {}).update(message)
            else:
                common.update(message)
    except (EOFError, OSError):
        process.join(10)
        error = f"its process {_end(process.exitcode)}, while {stage}"
    finally:
        process.join(5 if done else 0)
        if process.is_alive():
            process.kill()
            process.join()
        ours.close()
    found = [{**common, **row} for row in rows.values()] or [common]
    if error:
        found[-1]["error"] = error
    return found


def _end(code: int | None) -> str:
    """How a process ended."""
    if code is not None and code < 0:
        with contextlib.suppress(ValueError):
            return f"crashed ({signal.Signals(-code).name})"
    return f"ended with code {code}"


def rows(todo: Sequence[Job], device: str, seconds: float, budget_s: float) -> Iterator[list[dict[str, Any]]]:
    """The rows of one world after another. What a world leaves of its share of the time goes to those after it."""
    end = time.monotonic() + budget_s
    for number, job in enumerate(todo):
        waiting = sum(not other.skip for other in todo[number:])
        share = (end - time.monotonic()) / max(waiting, 1)
        yield measured(job, device, seconds, max(share, min(LEAST_S, budget_s)))


COLUMNS: dict[str, Callable[[dict[str, Any]], str]] = {
    "world": lambda row: str(row["world"]),
    "size": lambda row: "x".join(map(str, row.get("size", []))),
    "runtime": lambda row: str(row.get("runtime") or row.get("device", "")),
    "steps": lambda row: str(row.get("steps", "")),
    "native frames/s": lambda row: f"{row['fps']:.1f}" if "fps" in row else "",
    "over, s": lambda row: f"{row['seconds']:.0f}" if "seconds" in row else "",
    "reaction, ms": lambda row: _pair(row, "reaction_ms"),
    "memory, GB": lambda row: f"{row['memory_gb']:.1f}" if "memory_gb" in row else "",
    "load and compile, s": lambda row: f"{row['ready_s']:.1f}" if "ready_s" in row else "",
    "change of a still scene": lambda row: f"{row['still']['mean']:.2f}" if "still" in row else "",
    "notes": lambda row: "; ".join(str(row[key]) for key in ("error", "skipped", "note") if row.get(key)),
}

IN_THE_TERMINAL = {
    "world": "world", "size": "size", "steps": "steps", "native frames/s": "frames/s", "reaction, ms": "reaction, ms",
    "memory, GB": "GB", "load and compile, s": "load, s",
}  # fmt: skip


def _pair(row: dict[str, Any], key: str) -> str:
    found = row.get(key)
    return f"{found['p50']:.0f} / {found['p95']:.0f}" if found else "none" if key in row else ""


def markdown(result: dict[str, Any]) -> str:
    """The whole result as one table."""
    about = result["machine"]
    lines = [
        f"# Worlds on {about['name'] or about['device']}", "",
        f"{result['date']}, worldjockey {about['version']}, {about['system']}, Python {about['python']}. {RULE} "
        "Reaction: from a new prompt to a changed frame in memory, p50 / p95; a world that makes several frames at a "
        "time begins at its next chunk. Change of a still scene: mean difference of two frames in a row, of 255.", "",
        "| " + " | ".join(COLUMNS) + " |", "|" + " --- |" * len(COLUMNS),
    ]  # fmt: skip
    for row in result["rows"]:
        cells = [column(row).replace("|", "/").replace("\n", " ") for column in COLUMNS.values()]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _about(here: Machine) -> dict[str, Any]:
    try:
        own = version("worldjockey")
    except PackageNotFoundError:
        own = "from its folder"
    versions = {}
    for name in ("torch", "diffusers", "transformers", "flashdreams", "openvino"):
        with contextlib.suppress(PackageNotFoundError):
            versions[name] = version(name)
    return {
        **asdict(here), "system": platform.platform(), "python": platform.python_version(), "cores": os.cpu_count(),
        "version": own, "packages": versions,
    }  # fmt: skip


def run(json_path: Path | None = None, model: str | None = None, minutes: float = MINUTES, seconds: float = RATE_S,
        device: str | None = None, todo: Sequence[Job] | None = None) -> dict[str, Any]:  # fmt: skip
    """Measure, print the table, and write it as JSON and, beside that, as Markdown. Both are written after each world.

    RuntimeError without a card that PyTorch can use. device: instead of the card. todo: instead of all worlds.
    """
    from rich.console import Console
    from rich.table import Table

    json_path = json_path or Path("wj-gpu.json")
    json_file.check_folder(json_path)
    here = machine(device or "auto")
    if device is None and here.device == "cpu":
        raise RuntimeError("PyTorch finds no graphics card here: `wj doctor` says why, and `wj bench` measures the CPU")
    todo = jobs(here, model) if todo is None else todo
    table_path = json_path.expanduser().with_suffix(".md")
    result: dict[str, Any] = {
        "machine": _about(here), "date": time.strftime("%Y-%m-%d"), "rule": RULE, "minutes": minutes,
        "seconds_each": seconds, "rows": [],
    }  # fmt: skip
    console = Console(stderr=True)
    each = rows(todo, device or here.device, seconds, minutes * 60 * (1 - RESERVE))
    for job in todo:
        with console.status(f"measuring {job.model}") if not job.skip else contextlib.nullcontext():
            result["rows"] += next(each)
        json_file.write(json_path, result)
        table_path.write_text(markdown(result), "utf-8")
    table = Table(title=f"{here.name or here.device}: native frames a second")
    for name, title in IN_THE_TERMINAL.items():
        table.add_column(
            title, justify="left" if name == "world" else "right", no_wrap=name != "world", overflow="fold"
        )
    for row in result["rows"]:
        table.add_row(*(COLUMNS[name](row) for name in IN_THE_TERMINAL))
    Console().print(table)
    for row in result["rows"]:
        if note := COLUMNS["notes"](row):
            console.print(f"{row['world']}: {note}", highlight=False)
    console.print(f"wrote {json_path} and {table_path}", highlight=False)
    return result
