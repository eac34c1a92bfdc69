"""`wj bench --latency`: the parts of the delay from a control to the sent frame, in a show that sends NDI."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from . import json_file
from .bench import best_output, chain

# In order of time; world, clock and output are the statuses in which the report has them.
PARTS = (
    ("world", "wait_ms", "until the world begins a step that obeys it"),
    ("world", "step_ms", "the step"),
    ("world", "decode_ms", "decoding"),
    ("clock", "ring_ms", "until the clock takes the frame"),
    ("clock", "compose_ms", "in-betweens and scaling, until the tick is due"),
    ("output", "send_ms", "until the output has sent it"),
)
CHAIN_START_S = 12.0  # in which the world opens, and may change to a faster runtime


def rows(report: dict[str, Any]) -> list[dict[str, Any]]:
    """The parts that a report has: {"part", "what", "p50", "p95"} in ms; last the whole, measured by itself."""
    output: dict[str, Any] = next(iter(report["outputs"].values()), {})
    statuses = {"world": report["world"], "clock": report["clock"], "output": output}
    parts = [
        {"part": part, "what": what, **statuses[status][part]}
        for status, part, what in PARTS
        if part in statuses[status]
    ]
    whole = {name: report["latency_ms"].get(name, 0.0) for name in ("p50", "p95")}
    return [*parts, {"part": "latency_ms", "what": "from the control to the sent frame", **whole}]


def run(json_path: Path | None, seconds: float, model: str, size: str, fps: str = "30") -> dict[str, Any]:
    """Play a show, print the parts, and write them as JSON. Raises RuntimeError where the show cannot run."""
    from rich.console import Console
    from rich.table import Table

    json_file.check_folder(json_path)
    out, note = best_output()
    with Console(stderr=True).status(f"playing {model} at {size} for {seconds + CHAIN_START_S:.0f} s"):
        report = chain(model, "auto", seconds + CHAIN_START_S, out, size, fps)
    found = rows(report)
    world = report["world"]
    runtime = f" ({world['runtime']})" if world.get("runtime") else ""
    table = Table(title=f"{model}{runtime}, {size} at {fps}, {report['latency_ms'].get('count', 0)} changes")
    table.add_column("part of the delay")
    for name in ("p50", "p95"):
        table.add_column(f"{name}, ms", justify="right")
    for row in found:
        if row["part"] == "latency_ms":
            table.add_section()
        table.add_row(row["what"], f"{row['p50']:.1f}", f"{row['p95']:.1f}")
    Console().print(table)
    if note:
        Console(stderr=True).print(note, highlight=False)
    result = {
        "model": model, "runtime": world.get("runtime", ""), "output": {"size": size, "fps": fps}, "parts": found,
        "world_fps": world.get("fps", 0.0), "late": report["late"], "missed": report["missed"],
    }  # fmt: skip
    json_file.write(json_path, result)
    return result
