"""The figures of one run: written by `--report`, read by `wj bench`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ..compat.report_names import with_old_names
from ..timing.percentiles import percentiles


@dataclass
class Report:
    """The figures of one run.

    size: "WIDTHxHEIGHT" in pixels. fps: frames a second that the show sends. frames_sent, late, missed: ticks of the
    clock; worst_ms: the latest tick's delay. fresh, between, repeated: ticks that showed a new frame of the world, an
    in-between, or the last frame again. latency_ms: from a control's arrival to the sent frame. node_cpu_ms: CPU time
    of control and clock for each sent frame; the world's and the outputs' own stand in `world` and `outputs`. clock:
    ring_ms, how long a frame of the world waits for the clock, and compose_ms, from then until its tick is due.
    """

    seconds: float = 0.0
    size: str = ""
    fps: float = 0.0
    frames_sent: int = 0
    late: int = 0
    missed: int = 0
    worst_ms: float = 0.0
    fresh: int = 0
    between: int = 0
    repeated: int = 0
    world: dict[str, Any] = field(default_factory=dict)
    clock: dict[str, Any] = field(default_factory=dict)
    latency_ms: dict[str, float] = field(default_factory=dict)
    restarts: int = 0
    events: list[str] = field(default_factory=list)
    node_cpu_ms: float = 0.0
    controls: dict[str, Any] = field(default_factory=dict)
    inputs: dict[str, Any] = field(default_factory=dict)
    outputs: dict[str, Any] = field(default_factory=dict)
    live: dict[str, Any] = field(default_factory=dict)  # the last status of the live picture's process

    def write(self, path: Path) -> None:
        path.expanduser().write_text(json.dumps(with_old_names(asdict(self)), indent=1, default=str), "utf-8")


def latency(outputs: Mapping[str, Any]) -> dict[str, float]:
    """p50 and p95 of the time from a control's arrival to the sent frame, in ms, and the number of measurements
    ("count"), of the output that has most of them. outputs: statuses by name."""
    samples: list[float] = max((o.get("latency_ms", []) for o in outputs.values()), key=len, default=[])
    return {**percentiles(samples), "count": len(samples)}


def tally(outputs: Mapping[str, Any], inputs: Mapping[str, Any] | None = None) -> str:
    """The tally that mixers report: "program" if any of them shows this source, else "preview" if any has it in
    preview, else "off". outputs, inputs: statuses by name; of the inputs, OBS is a mixer."""
    tallies = [o.get("facts", {}).get("tally", {}) for o in outputs.values()]
    tallies += [status.get("tally", {}) for status in (inputs or {}).values()]
    return next((where for where in ("program", "preview") if any(t.get(where) for t in tallies)), "off")
