"""One world on several processes: the first plays, the others make its calls, and they meet again after a death."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import wan_led
from worldjockey.node.ipc.frame_ring import FrameRing
from worldjockey.node.ipc.mailbox import Mailbox
from worldjockey.node.ipc.supervisor import Supervisor
from worldjockey.node.world import process as world_process
from worldjockey.node.world import torchrun_worker
from worldjockey.node.world.process import WorldOptions

pytestmark = pytest.mark.slow

PEERS = Path(__file__).parents[2] / "peers"
PATIENCE = 90  # seconds: the machine may be busy


@pytest.fixture
def meeting_place(monkeypatch):
    """What torchrun keeps for its processes: a store that outlives them."""
    from torch.distributed import TCPStore

    store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    given = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": store.port, "WORLD_SIZE": 2, "LOCAL_RANK": 0}
    for name, value in {**given, "OMP_NUM_THREADS": 1}.items():
        monkeypatch.setenv(name, str(value))

    def as_rank(rank):
        monkeypatch.setenv("RANK", str(rank))

    yield as_rank
    del store


def test_a_team_plays_on_after_a_death_and_ends_with_the_show(meeting_place):
    box, ring = Mailbox(), FrameRing(512 * 288 * 3, 4)
    box.post("prompt", "#204060", 1.0)
    meeting_place(0)
    world = Supervisor("world", world_process.run, (WorldOptions("testcard"), box, ring), {})
    meeting_place(1)
    follower = Supervisor("follower", torchrun_worker.run, (), {})

    def watched(condition, what):
        deadline = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < deadline, what
            for rank, supervisor in enumerate((world, follower)):
                meeting_place(rank)
                supervisor.watch(time.monotonic())
            time.sleep(0.02)

    try:
        watched(lambda: ring.newest > 5, "the team's first frames")
        watched(lambda: follower.status().get("state") == "following", "the follower's word of it")
        os.kill(follower.pid, signal.SIGKILL)
        watched(lambda: world.restarts and follower.restarts, "both start again")
        number = ring.newest
        box.post("prompt", "#c81e5a", 2.0)
        watched(lambda: ring.newest > number and np.array_equal(ring.read()[1][0, 0], (200, 30, 90)), "they meet again")
        world.ask_to_stop()
        watched(lambda: follower.closed, "the follower goes when the show is over")
    finally:
        world.finish(time.monotonic() + 5)
        follower.finish(time.monotonic())
        box.unlink()
        ring.unlink()


def test_a_shared_world_draws_what_one_process_draws(tmp_path):
    import torch

    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2", "--master_port=0", "--standalone"]
    command = [*torchrun, str(PEERS / "wan_led.py"), str(tmp_path / "team")]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    alone, team = wan_led.played(wan_led.Drawing()), torch.load(tmp_path / "team", weights_only=True)
    assert alone.std() > 0.1
    torch.testing.assert_close(team, alone, atol=1e-4, rtol=1e-3)
