"""What one run did, in figures: shown live, written by `--report`, read by `wj bench`."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ..compat.report_names import with_old_names
from ..timing.percentiles import percentiles


@dataclass
class Report:
    """seconds: from the first tick to the last. Times in ms. node_cpu_ms: CPU of control and output per sent frame,
    the world and the outputs' own processes not counted (those stand in `outputs`)."""

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
    latency_ms: dict[str, float] = field(default_factory=dict)
    restarts: int = 0
    events: list[str] = field(default_factory=list)
    node_cpu_ms: float = 0.0
    controls: dict[str, Any] = field(default_factory=dict)
    inputs: dict[str, Any] = field(default_factory=dict)
    outputs: dict[str, Any] = field(default_factory=dict)
    live: dict[str, Any] = field(default_factory=dict)  # what the world saw

    def write(self, path: Path) -> None:
        path.expanduser().write_text(json.dumps(with_old_names(asdict(self)), indent=1, default=str), "utf-8")


def latency(outputs: dict[str, Any]) -> dict[str, float]:
    """p50 and p95 of control arrival to sent frame, in ms, and how many; over the output that saw most."""
    samples: list[float] = max((o.get("latency_ms", []) for o in outputs.values()), key=len, default=[])
    return {**percentiles(samples), "count": len(samples)}


def tally(outputs: dict[str, Any]) -> str:
    """What mixers say of us: "program" where any shows us, "preview" where we come next, else "off"."""
    said = [o.get("facts", {}).get("tally", {}) for o in outputs.values()]
    return next((where for where in ("program", "preview") if any(t.get(where) for t in said)), "off")
