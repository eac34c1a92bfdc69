"""A training run on disk: checkpoints that resume, a learning curve, a progress bar."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn


class Run:
    """One stage of training in `folder`: `name.pt` (resumable), `name.json` (the curve).

    The checkpoint is read with weights_only=True: it holds tensors and numbers, never code.
    """

    def __init__(
        self, folder: Path, name: str, steps: int, save_interval_s: float = 120.0, quiet: bool = False
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.checkpoint, self.curve_file = folder / f"{name}.pt", folder / f"{name}.json"
        self.name, self.steps, self.save_interval_s = name, steps, save_interval_s
        self.step, self.seconds = 0, 0.0
        self.curve: list[dict[str, float]] = []
        self.quiet = quiet  # one of several processes speaks

    def load(self) -> dict[str, Any] | None:
        """The last checkpoint's state, or None at the start."""
        if not self.checkpoint.exists():
            return None
        saved = torch.load(self.checkpoint, weights_only=True)
        self.step, self.seconds, self.curve = saved["step"], saved["seconds"], saved["curve"]
        return saved["state"]

    def save(self, state: dict[str, Any]) -> None:
        """Called inside a step, after its update. A run killed while saving resumes from the save before."""
        tmp = self.checkpoint.with_suffix(".tmp")
        torch.save({"step": self.step + 1, "seconds": self.seconds, "curve": self.curve, "state": state}, tmp)
        tmp.replace(self.checkpoint)
        self.curve_file.write_text(json.dumps(self.curve))

    def __iter__(self) -> Iterator[int]:
        """Step numbers still to do, with a progress bar; the caller calls `log` and `due`."""
        columns = (
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
            TimeRemainingColumn(), TextColumn("{task.fields[figures]}"),
        )  # fmt: skip
        self._saved = self._last = time.monotonic()
        self._progress = Progress(*columns, disable=self.quiet)
        with self._progress as bar:
            self._task = bar.add_task(self.name, total=self.steps, completed=self.step, figures="")
            while self.step < self.steps:
                yield self.step
                self.step += 1
                now = time.monotonic()
                self.seconds += now - self._last
                self._last = now
                bar.update(self._task, completed=self.step)

    def log(self, **figures: float) -> None:
        self.curve.append(
            {"step": self.step + 1, "seconds": round(self.seconds, 1), **{k: round(v, 5) for k, v in figures.items()}}
        )
        text = " ".join(f"{k} {v:.4g}" for k, v in figures.items())
        self._progress.update(self._task, figures=text)
        if not self.quiet and not self._progress.console.is_terminal:
            print(f"{self.name} {self.step + 1}/{self.steps} {self.seconds:.0f}s {text}", flush=True)

    def due(self) -> bool:
        """Time for a checkpoint?"""
        now = time.monotonic()
        if now - self._saved < self.save_interval_s and self.step + 1 < self.steps:
            return False
        self._saved = now
        return True


def plot(curves: dict[str, list[dict[str, float]]], figures: dict[str, tuple[str, ...]]) -> str:
    """Learning curves as an SVG: one panel a run, one line a figure, steps across, from the lowest to the highest."""
    width, height, gap = 420, 220, 56
    colours = ("#d6336c", "#1c7ed6", "#2f9e44")
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{len(curves) * (width + gap) + gap}" '
           f'height="{height + 2 * gap}" font-family="sans-serif" font-size="12"><rect width="100%" height="100%" '
           'fill="white"/>']  # fmt: skip
    for panel, (name, rows) in enumerate(curves.items()):
        left = gap + panel * (width + gap)
        last = max((r["step"] for r in rows), default=1)
        out.append(f'<text x="{left}" y="{gap - 30}" font-weight="bold">{name}</text>')
        out.append(f'<rect x="{left}" y="{gap}" width="{width}" height="{height}" fill="none" stroke="#ccc"/>')
        out.append(f'<text x="{left + width}" y="{gap + height + 18}" text-anchor="end">{last:.0f} steps</text>')
        for i, key in enumerate(figures[name]):
            values = [r[key] for r in rows]
            low, high = min(values), max(values)
            at = [(left + width * r["step"] / last, gap + height * (1 - (v - low) / max(high - low, 1e-9)))
                  for r, v in zip(rows, values, strict=True)]  # fmt: skip
            line = " ".join(f"{x:.1f},{y:.1f}" for x, y in at)
            out.append(f'<polyline points="{line}" fill="none" stroke="{colours[i]}" stroke-width="2"/>')
            label = f"{key}: {values[0]:.3g} to {values[-1]:.3g}"
            out.append(f'<text x="{left + i * width / 3}" y="{gap - 10}" fill="{colours[i]}">{label}</text>')
    return "\n".join([*out, "</svg>"])
