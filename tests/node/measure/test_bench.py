"""`wj bench` measures the real command, and says the same on the terminal and in JSON."""

from __future__ import annotations

import json
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console
from worldjockey.model import Controls, Prompt, Tokens, WorldSpec
from worldjockey.node.measure import bench

pytestmark = pytest.mark.slow


def test_measures_and_prints_what_it_writes(tmp_path: Path, discovery: None, monkeypatch: pytest.MonkeyPatch) -> None:
    world = bench.world
    monkeypatch.setattr(bench, "world", lambda model, device, steps, seconds: world(model, device, steps, 0.2))
    path = tmp_path / "bench.json"
    result = bench.run(path, seconds=2.5, model="testcard", size="640x360")
    assert json.loads(path.read_text()) == result
    assert [row["steps"] for row in result["world"]] == [1, 2, 3, 4]
    assert all(row["fps"] > 0 and row["ms"]["p50"] > 0 for row in result["world"])
    assert result["world_beside_a_busy_core"]["ratio"] > 0
    for chain in (result["chain"], result["chain_in_a_flood"], result["chain_beside_a_busy_core"]):
        assert chain["ticks"] >= 30
        assert chain["node_cpu_ms"] > 0
        assert chain["latency_ms"]["count"] >= 1
    assert result["chain_in_many_hands"]["arrival_ms"]["p95"] > 0
    console = Console(width=140, record=True, quiet=False, file=(tmp_path / "table.txt").open("w"))
    console.print(bench.table(result))
    text = console.export_text()
    assert f"{result['chain']['node_cpu_ms']:.1f}" in text
    assert f"{result['world'][0]['fps']:.1f}" in text


def test_an_unknown_world_is_said(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="unknown world 'nope'"):
        bench.run(tmp_path / "bench.json", seconds=0.1, model="nope")
    with pytest.raises(OSError, match="no folder"):
        bench.run(tmp_path / "no/bench.json", seconds=0.1, model="testcard")


class Chunky:
    """Three steps a chunk, of which the first takes all the time."""

    spec = WorldSpec("chunky", 8, 8, 24.0, 4, (), ("text",), "cpu", steps_per_chunk=3)
    steps = 0

    def encode(self, prompt: Prompt) -> Tokens:
        return Tokens(np.zeros((1, 1), np.float32))

    def step(self, controls: Controls) -> torch.Tensor:
        self.steps += 1
        if self.steps % 3 == 1:
            time.sleep(0.05)
        return torch.zeros(1 if self.steps % 3 == 1 else 4, 8, 8, 3, dtype=torch.uint8)


def test_a_world_that_thinks_in_chunks_is_measured_by_whole_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    chunky = Chunky()
    rows: list[dict[str, Any]] = []
    monkeypatch.setattr("worldjockey.model.load", lambda name, device: chunky)
    for harmless in ("init_child", "stay_offline", "keep_compiled"):
        monkeypatch.setattr(bench, harmless, lambda: None)
    monkeypatch.setattr(bench, "limit_threads", lambda wanted: 1)
    bench._world(SimpleNamespace(send=rows.append), "testcard", "cpu", (1, 2), 0.12)
    assert [row.get("error", "") for row in rows] == [""] * 3
    assert chunky.steps % 3 == 0
    for row in rows[:2]:
        assert row["fps"] <= 9 / 0.05, "nine pictures in the time of one thought"
