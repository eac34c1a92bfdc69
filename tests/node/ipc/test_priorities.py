"""Who is served first on a machine that has too little for all."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from worldjockey.node.measure.show_process import ShowProcess, free_port


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="priorities are Linux's here")
def test_the_world_is_served_as_soon_as_the_outputs(tmp_path: Path, wait_for: Callable[..., None]) -> None:
    show = {
        "model": "testcard", "size": "320x180", "outputs": [f"file:{tmp_path}/clip.mp4"],
        "osc": {"port": free_port(), "feedback": None, "query": None}, "midi": {"enabled": False},
    }  # fmt: skip
    rehearsal = ShowProcess(show, tmp_path)
    try:

        def up() -> bool:
            rehearsal.check()
            said = [rehearsal.now.get("world", {}), *rehearsal.now.get("outputs", {}).values()]
            return len(said) == 2 and all(one.get("state") == "running" for one in said)

        wait_for(up)
        world, output = rehearsal.now["world"]["pid"], rehearsal.now["outputs"]["file"]["pid"]
        at = {pid: os.getpriority(os.PRIO_PROCESS, pid) for pid in (world, output, rehearsal.pid)}
    finally:
        rehearsal.close()
    assert at[world] == at[output]
    if os.geteuid() == 0:  # whom the system lets
        assert at[world] < at[rehearsal.pid]
