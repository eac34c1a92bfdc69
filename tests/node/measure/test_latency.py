"""`wj bench --latency`: where the time from a control to the sent frame goes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from worldjockey.node.measure import latency


@pytest.mark.slow
def test_the_parts_make_the_whole(tmp_path: Path, discovery: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(latency, "CHAIN_START_S", 8.0)
    file = tmp_path / "latency.json"
    latency.run(file, 4.0, "testcard", "320x180")
    found = json.loads(file.read_text())
    parts = {row["part"]: row for row in found["parts"]}
    assert list(parts) == [part for _, part, _ in latency.PARTS if part in parts] + ["latency_ms"]
    assert {"wait_ms", "ring_ms", "compose_ms", "send_ms"} <= parts.keys()
    whole = parts.pop("latency_ms")["p50"]
    assert whole > 0
    assert 1 / 3 < sum(row["p50"] for row in parts.values()) / whole < 3, "medians, of which some are of few"
