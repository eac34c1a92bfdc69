"""How long a supervised process may be silent, and what is left of it at the end."""

from __future__ import annotations

import threading
import time
from multiprocessing.shared_memory import SharedMemory
from types import SimpleNamespace
from typing import Any

import pytest
from worldjockey.integrations import VideoFormat
from worldjockey.node.ipc import supervisor as module
from worldjockey.node.ipc.process import publish_status
from worldjockey.node.ipc.supervisor import Supervisor
from worldjockey.node.session.preview_bus import PreviewBus
from worldjockey.node.session.processes import CLOCK_PATIENCE


class Silent:
    """A process that lives, and never says anything by itself."""

    pid, exitcode = 1, None

    def __init__(self, **options: Any) -> None:
        self.alive = True
        self.ended = threading.Event()

    def start(self) -> None: ...

    def is_alive(self) -> bool:
        return self.alive

    def kill(self) -> None:
        self.alive = False
        self.ended.set()

    def join(self, seconds: float) -> None:
        self.ended.wait(seconds)


def test_a_clock_may_open_slowly_before_anything_is_on_air_and_not_later(monkeypatch: Any) -> None:
    monkeypatch.setattr(module, "SPAWN", SimpleNamespace(Event=threading.Event, Process=Silent))
    clock = Supervisor("clock", print, (), CLOCK_PATIENCE)
    began = time.monotonic()
    clock.watch(began + 55)
    assert clock.pid is not None
    clock.watch(began + 61)
    assert clock.pid is None
    assert clock.error.startswith("clock did not respond for 60 s while it started: close other programs")
    clock.watch(began + 62)
    publish_status(clock.status_cell, {"state": "running"})
    clock.watch(began + 62.1)
    clock.watch(began + 65)
    assert clock.error == "clock did not respond for 2 s"
    clock.watch(began + 70)
    clock.watch(began + 95)
    assert clock.error.startswith("clock did not respond for 20 s while it started")
    clock.finish(time.monotonic())


def test_a_preview_world_that_obeys_late_leaves_no_memory_behind(monkeypatch: Any) -> None:
    monkeypatch.setattr(module, "SPAWN", SimpleNamespace(Event=threading.Event, Process=Silent))
    options: Any = SimpleNamespace(handover=None)
    unused: Any = None
    bus = PreviewBus(unused, options, unused, unused, VideoFormat(160, 96, 20), remote=True)
    world = bus._running["preview world"] = Supervisor("preview world", print, (), {})
    name = world.status_cell._memory.name
    bus.finish(time.monotonic() + 0.2)
    with pytest.raises(FileNotFoundError):
        SharedMemory(name)


def test_a_process_that_cannot_start_leaves_no_memory_behind(monkeypatch: Any) -> None:
    cells: list[str] = []

    class Refused(Silent):
        def __init__(self, args: Any, **options: Any) -> None:
            cells.append(args[-2]._memory.name)

        def start(self) -> None:
            raise OSError("no more processes")

    monkeypatch.setattr(module, "SPAWN", SimpleNamespace(Event=threading.Event, Process=Refused))
    with pytest.raises(OSError, match="no more processes"):
        Supervisor("clock", print, (), {})
    with pytest.raises(FileNotFoundError):
        SharedMemory(cells[0])
