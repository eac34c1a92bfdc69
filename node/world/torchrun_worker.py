"""What `wj` does in every process of `torchrun` but the first: the world's share of the work, and no show.

The first process plays. When its world dies or starts anew, the followers meet it again.
"""

from __future__ import annotations

import time
from typing import Any

from ..ipc.cell import Cell
from ..ipc.process import CLOSED, exit_now, init_child, limit_threads, publish_status, stay_offline
from ..ipc.supervisor import Supervisor

BEAT = 0.1  # seconds between two looks at the process


def run(status: Cell, stop: Any) -> None:
    """The process's main: follow one leader until it closes; exit code 3 when the show is over."""
    init_child()
    stay_offline()
    limit_threads(None)
    publish_status(status, {"state": "waiting"})
    import torch
    from worldjockey.model import load
    from worldjockey.model.worlds import distributed

    torch.set_num_threads(1)
    broadcast = distributed.Broadcast()
    name, said, _ = broadcast.receive()
    if name != "open":
        raise SystemExit(1)
    if said["threads"]:
        torch.set_num_threads(said["threads"])
    world = load(said["model"], device=distributed.device(said["device"]), aspect=said["aspect"])
    publish_status(status, {"state": "following"})
    exit_now(CLOSED if distributed.follow(world, broadcast) else 0)


def follow(seconds: float | None = None) -> None:
    """Until the show is over, the time is up, or Ctrl-C."""
    from ..ipc.signals import stop_signals

    supervisor, begin = Supervisor("follower", run, (), {}), time.monotonic()
    with stop_signals() as leaving:
        while (
            not leaving.requested and not supervisor.closed and (seconds is None or time.monotonic() - begin < seconds)
        ):
            supervisor.watch(time.monotonic())
            time.sleep(BEAT)
    supervisor.finish(time.monotonic())
