"""A worker under `torchrun`: all processes but the first compute a share of the world, and play no show.

The first process plays. When its world dies or restarts, the workers connect to it again.
"""

from __future__ import annotations

import time
from typing import Any

from ..ipc.cell import Cell
from ..ipc.process import CLOSED, exit_now, init_child, keep_compiled, limit_threads, publish_status, stay_offline
from ..ipc.supervisor import Supervisor

WATCH_INTERVAL_S = 0.1


def run(status: Cell, stop: Any) -> None:
    """Main function of the process: follow one leader until it closes; exit code 3 when the show is over."""
    init_child()
    stay_offline()
    keep_compiled()
    limit_threads(None)
    publish_status(status, {"state": "waiting"})
    import torch
    from worldjockey.model import load
    from worldjockey.model.worlds import distributed

    torch.set_num_threads(1)
    broadcast = distributed.Broadcast()
    name, settings, _ = broadcast.receive()
    if name != "open":
        raise SystemExit(1)
    if settings["threads"]:
        torch.set_num_threads(settings["threads"])
    world = load(settings["model"], device=distributed.device(settings["device"]), aspect=settings["aspect"])
    publish_status(status, {"state": "following"})
    exit_now(CLOSED if distributed.follow(world, broadcast) else 0)


def follow(seconds: float | None = None) -> None:
    """Work until the show is over, the time is up, or Ctrl-C."""
    from ..ipc.signals import stop_signals

    supervisor, begin = Supervisor("follower", run, (), {}), time.monotonic()
    with stop_signals() as request:
        while (
            not request.requested and not supervisor.closed and (seconds is None or time.monotonic() - begin < seconds)
        ):
            supervisor.watch(time.monotonic())
            time.sleep(WATCH_INTERVAL_S)
    supervisor.finish(time.monotonic())
