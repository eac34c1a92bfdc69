"""One output in a process of its own: it may block or die, and nobody else notices."""

from __future__ import annotations

import importlib
import json
import time
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from worldjockey.integrations import Frame, Layout, Output, Unsuitable, VideoFormat

from .cell import Cell
from .process import CLOSED, UNSUITABLE, enter, hurry, orphaned, tell
from .ring import FrameRing

# What an output's name in a show means. Nothing is imported until the output's own process opens it.
PLACES = {
    "ndi": "worldjockey.integrations.ndi:NDIOutput",
    "window": "worldjockey.integrations.window:WindowOutput",
    "file": "worldjockey.integrations.file:FileOutput",
    "syphon": "worldjockey.integrations.syphon:SyphonOutput",
    "spout": "worldjockey.integrations.spout:SpoutOutput",
    "web": "worldjockey.integrations.web:WebOutput",
    "stream": "worldjockey.integrations.stream:StreamOutput",
    "virtualcam": "worldjockey.integrations.virtual_camera:VirtualCameraOutput",
}


@dataclass(frozen=True)
class OutletSpec:
    """name: as the status lists it. place: "module:class". layout, holds: as the class declares them."""

    name: str
    place: str
    layout: Layout
    holds: int = 1
    options: dict[str, Any] = field(default_factory=dict)

    def make(self) -> Output:
        module, _, name = self.place.partition(":")
        return getattr(importlib.import_module(module), name)(**self.options)


def run(spec: OutletSpec, fmt: VideoFormat, ring: FrameRing, clock: Cell, wake: Any, news: Cell, status: Cell,
        stop: Any) -> None:  # fmt: skip
    """The process's main: sends the newest frame of `ring` for every tick that `wake` announces.

    clock: the tick that `wake` last announced and when it was due, as two numbers. news: what is played, as JSON.
    """
    enter()
    say: dict[str, Any] = {"state": "opening", "sent": 0, "cpu_s": 0.0}
    tell(status, say)
    try:
        output = spec.make()
        output.open(fmt)
    except Exception as fault:
        tell(status, {**say, "state": "error", "message": str(fault) or type(fault).__name__})
        raise SystemExit(UNSUITABLE if _hopeless(fault) else 1) from None
    hear = getattr(output, "tell", None)
    hurry()
    cpu = time.process_time()  # of the frames alone, not of starting up
    latencies: deque[float] = deque(maxlen=512)
    sent, last, newest_stamp, said_at = 0, -1, _stamp(ring), 0.0
    code = 0
    try:
        while not stop.is_set():
            woken = wake.acquire(True, 0.25)
            while wake.acquire(False):  # ticks that came meanwhile are one picture
                pass
            found = ring.view(ring.newest) if woken and not stop.is_set() else None
            tick, due = (float(v) for v in clock.read()[1].split()) if found else (-1.0, 0.0)
            if found and tick > last:  # who was late has sent the tick that this wake announces already
                pixels, info = found
                output.send(Frame(pixels[..., 0] if pixels.shape[2] == 1 else pixels, int(tick), due))
                sent, last = sent + 1, int(tick)
                if info.stamp > newest_stamp:
                    newest_stamp = info.stamp
                    latencies.append((time.monotonic() - info.stamp) * 1e3)
            now = time.monotonic()
            if now - said_at > 0.2:
                said_at = now
                if hear is not None:
                    hear(json.loads(news.read()[1] or b"{}"))
                facts = dict(output.status())
                tell(status, _told(say, sent, latencies, time.process_time() - cpu, facts))
                if facts.get("closed"):
                    code = CLOSED
                    break
                if orphaned():
                    break
    except Exception as fault:
        tell(status, {**say, "state": "error", "sent": sent, "message": str(fault) or type(fault).__name__})
        raise SystemExit(1) from None
    finally:
        output.close()
    tell(status, {**_told(say, sent, latencies, time.process_time() - cpu, dict(output.status())), "state": "closed"})
    raise SystemExit(code)


def _hopeless(fault: BaseException) -> bool:
    """What is not installed does not come by waiting; a device that is busy may."""
    causes: list[BaseException] = [fault]
    while (cause := causes[-1].__cause__ or causes[-1].__context__) is not None and cause not in causes:
        causes.append(cause)
    return any(isinstance(cause, Unsuitable | ImportError) for cause in causes)


def _stamp(ring: FrameRing) -> float:
    """What was obeyed before this output opened is not its latency."""
    found = ring.view(ring.newest)
    return found[1].stamp if found else 0.0


def _told(say: dict[str, Any], sent: int, latencies: deque[float], cpu: float,
          facts: dict[str, Any]) -> dict[str, Any]:  # fmt: skip
    return {
        **say, "state": "running", "sent": sent, "latency_ms": [round(v, 2) for v in latencies],
        "cpu_s": round(cpu, 3), "facts": facts,
    }  # fmt: skip
