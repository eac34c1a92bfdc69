"""The peer's own program, with a session that is made up."""

from __future__ import annotations

import asyncio
import io
import sys
import time
import types
from typing import Any

import pytest


def test_a_peer_waits_before_it_joins(monkeypatch: pytest.MonkeyPatch) -> None:
    """A peer that joins at once, while another leaves, sets the tempo of the session now and then (9 of 28 joins)."""
    events: list[tuple[str, float]] = []

    class Link:
        quantum, beat, tempo, num_peers = 4.0, 0.0, 120.0, 0

        def __init__(self, bpm: float) -> None:
            events.append(("made", time.monotonic()))

        def __setattr__(self, name: str, value: Any) -> None:
            if name == "enabled" and value:
                events.append(("enabled", time.monotonic()))

    monkeypatch.setitem(sys.modules, "aalink", types.SimpleNamespace(Link=Link))  # type: ignore[arg-type]
    monkeypatch.delitem(sys.modules, "worldjockey.integrations.link.link_process", raising=False)
    from worldjockey.integrations.link import link_process

    monkeypatch.setattr(sys, "stdin", types.SimpleNamespace(buffer=io.BytesIO()))
    asyncio.run(link_process.serve(120, 4))
    (made, began), (enabled, joined) = events
    assert (made, enabled) == ("made", "enabled")
    assert joined - began >= 0.5
