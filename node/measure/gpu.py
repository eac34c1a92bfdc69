"""`wj bench --gpu`: nano alone on the graphics card, in each size, by each runtime, with 1 and 4 prediction steps."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

from . import json_file
from .bench import world

SIZES = ("small", "large")
RUNTIMES = {"cuda": ("torch", "cuda-graphs"), "mps": ("torch",), "cpu": ("torch", "openvino")}
STEPS = (1, 4)
COLUMNS = ("step_ms", "decode_ms", "copy_ms", "ms")


def rows(device: str, seconds: float) -> Iterator[dict[str, Any]]:
    """One row for each size, runtime and number of steps, as they are measured: frames a second, and percentiles of
    COLUMNS. A combination that does not run has an "error" instead."""
    for size, runtime in product(SIZES, RUNTIMES[device]):
        row = {"size": size, "runtime": runtime}
        try:
            measured, machine = world(f"nano:size={size},runtime={runtime}", device, STEPS, seconds)
        except RuntimeError as error:
            yield {**row, "error": str(error)}
            continue
        for each in measured:
            yield {**row, "pixels": machine["size"], "by": machine["runtime"], **each}


def device_here() -> str:
    """ "cuda" or "mps". Raises RuntimeError without a card that PyTorch can use."""
    import torch

    if torch.cuda.is_available():
        return "cuda"
    if torch.backends.mps.is_available():
        return "mps"
    raise RuntimeError("PyTorch finds no graphics card here: `wj doctor` says why, and `wj bench` measures the CPU")


def run(json_path: Path | None, seconds: float, device: str | None = None) -> list[dict[str, Any]]:
    """Print the table, and write it as JSON."""
    from rich.console import Console
    from rich.table import Table

    json_file.check_folder(json_path)
    device = device or device_here()
    table = Table(title=f"nano on {device}, {seconds:g} s each; p50/p95 in ms")
    for name in ("size", "runtime", "steps", "frames/s", "model", "decode", "copy", "all"):
        table.add_column(name, justify="left" if name in ("size", "runtime") else "right", no_wrap=True)
    found, errors = [], []
    with Console(stderr=True).status(f"measuring nano on {device}"):
        for row in rows(device, seconds):
            found.append(row)
            if "error" in row:
                errors.append(f"{row['size']}, {row['runtime']}: {row['error']}")
                continue
            figures = [f"{row[c]['p50']:.0f}/{row[c]['p95']:.0f}" if c in row else "-" for c in COLUMNS]
            pixels = "x".join(map(str, row["pixels"]))
            table.add_row(pixels, row["by"], str(row["steps"]), f"{row['fps']:.1f}", *figures)
    Console().print(table)
    for error in errors:
        Console(stderr=True).print(error, highlight=False)
    json_file.write(json_path, {"device": device, "seconds_each": seconds, "rows": found})
    return found
