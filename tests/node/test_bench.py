"""`wj bench` measures the real command, and says the same on the terminal and in JSON."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from rich.console import Console
from worldjockey.node import bench


def test_measures_and_prints_what_it_writes(tmp_path: Path, discovery: None) -> None:
    path = tmp_path / "bench.json"
    result = bench.run(path, seconds=1.0, model="testcard", size="640x360")
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
