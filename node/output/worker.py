"""One output in a process of its own: it may block or die, and nobody else notices."""

from __future__ import annotations

import importlib
import json
import logging
import time
from collections import deque
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from worldjockey.integrations import CardError, CardMemory, Frame, Layout, OnCard, Output, Unsuitable, VideoFormat

from ..ipc.audio_ring import AudioReader, AudioRing
from ..ipc.card_memory import unpacked_card_memory
from ..ipc.cell import Cell
from ..ipc.frame_ring import FrameRing, Pixels
from ..ipc.mailbox import Mailbox
from ..ipc.process import CLOSED, UNSUITABLE, init_child, parent_died, publish_status, raise_priority
from ..ipc.status import error_text
from ..ipc.tick import CardLine, TickPlan

logger = logging.getLogger(__name__)
NO_PIXELS: Pixels = np.empty((0, 0, 3), np.uint8)


@dataclass(frozen=True)
class OutputSpec:
    """name: as the status lists it. class_path: "module:class". layout, holds, accepts_gpu_frames, wants_audio: as the
    output declares them."""

    name: str
    class_path: str
    layout: Layout
    holds: int = 1
    options: dict[str, Any] = field(default_factory=dict)
    accepts_gpu_frames: bool = False
    wants_audio: bool = False

    def make(self) -> Output:
        module, _, name = self.class_path.partition(":")
        return getattr(importlib.import_module(module), name)(**self.options)


def run(spec: OutputSpec, fmt: VideoFormat, ring: FrameRing, clock: Cell, wake: Any, news: Cell, status: Cell,
        stop: Any, card: CardLine | None = None, mailbox: Mailbox | None = None,
        sound: AudioRing | None = None) -> None:  # fmt: skip
    """The process's main: sends the newest frame of `ring` for every tick that `wake` announces.

    clock: the `TickPlan` of the tick that `wake` last announced. card: for an output that may draw from the world's
    graphics card, which it does as long as that works. mailbox: where the performer moves the corners of this output's
    screen. news: what is played, as JSON. sound: what is heard, for an output that carries it.
    """
    init_child()
    say: dict[str, Any] = {"state": "opening", "sent": 0, "cpu_s": 0.0}
    publish_status(status, say)
    lane = CardPath(card, spec.name) if card and spec.name in card.paths else None
    try:
        output = spec.make()
        output.open(fmt)
    except Exception as error:
        logger.exception("output %s cannot open", spec.name)
        publish_status(status, {**say, "state": "error", "message": error_text(error)})
        raise SystemExit(UNSUITABLE if _hopeless(error) else 1) from None
    corners = mailbox if type(output).set_keystone is not Output.set_keystone else None
    ears = AudioForwarder(output, sound) if sound is not None and output.wants_audio else None
    raise_priority()
    cpu = time.process_time()  # of the frames alone, not of starting up
    latencies: deque[float] = deque(maxlen=512)
    sent, last, latest_control_at, said_at = 0, -1, _newest_control_at(ring), 0.0
    code = 0
    try:
        while not stop.is_set():
            woken = wake.acquire(True, 0.25)
            while wake.acquire(False):  # ticks that came meanwhile are one picture
                pass
            plan = TickPlan.unpacked(data) if woken and not stop.is_set() and (data := clock.read()[1]) else None
            if plan and plan.tick > last:  # who was late has sent the tick that this wake announces already
                newest_control_at = 0.0
                if corners is not None:
                    output.set_keystone([[corners.value(f"keystone/{n}/{axis}") for axis in "xy"] for n in range(1, 5)])
                if lane and lane.sent(output, plan):
                    sent, last, newest_control_at = sent + 1, plan.tick, plan.newest_control_at
                elif (found := ring.view(ring.newest)) and (plan.pixels or spec.layout != "native"):
                    pixels, info = found
                    output.send(Frame(pixels[..., 0] if pixels.shape[2] == 1 else pixels, plan.tick, plan.due))
                    sent, last, newest_control_at = sent + 1, plan.tick, info.newest_control_at
                if newest_control_at > latest_control_at:
                    latest_control_at = newest_control_at
                    latencies.append((time.monotonic() - newest_control_at) * 1e3)
            if ears:  # after the picture, which waits for nothing
                ears.pass_on()
            now = time.monotonic()
            if now - said_at > 0.2:
                said_at = now
                output.set_metadata(json.loads(news.read()[1] or b"{}"))
                facts = dict(output.status())
                say |= (lane.status if lane else {}) | (ears.said if ears else {})
                publish_status(status, _told(say, sent, latencies, time.process_time() - cpu, facts))
                if facts.get("closed"):
                    code = CLOSED
                    break
                if parent_died():
                    break
    except Exception as error:
        logger.exception("output %s failed", spec.name)
        publish_status(status, {**say, "state": "error", "sent": sent, "message": error_text(error)})
        raise SystemExit(1) from None
    finally:
        output.close()
    say |= (lane.status if lane else {}) | (ears.said if ears else {})
    publish_status(
        status, {**_told(say, sent, latencies, time.process_time() - cpu, dict(output.status())), "state": "closed"}
    )
    raise SystemExit(code)


class AudioForwarder:
    """Passes on what is heard. Sound that an output cannot take is said and left out; its pictures go on."""

    def __init__(self, output: Output, sound: AudioRing) -> None:
        self._output = output
        self._listener = AudioReader(sound)
        self.said: dict[str, str] = {}  # for the status: why there is no sound

    def pass_on(self) -> None:
        if self.said:
            return
        try:
            for chunk in self._listener.read_new():
                self._output.send_audio(chunk)
        except Exception as error:
            logger.exception("audio of an output failed")
            self.said = {"message": f"goes on without sound: {error_text(error)}"}


class CardPath:
    """Sends frames that lie on the world's graphics card, for as long as that works; says when it does not."""

    def __init__(self, line: CardLine, name: str) -> None:
        self._line, self._cell = line, line.paths[name]
        self._refused = 0  # the memory that cannot be drawn from
        self._memory: tuple[int, CardMemory | None] = (0, None)
        self._flow: tuple[int, Any] = (0, None)
        self.path, self.why = "pixels", ""
        self._cell.write(b"pixels")

    @property
    def status(self) -> dict[str, str]:
        """Which way frames go, for the status, and why not from the card."""
        return {"texture": self.path, "message": self.why}

    def sent(self, output: Output, plan: TickPlan) -> bool:
        """Whether the picture went; pixels must be sent where it did not."""
        if not drawable(plan, self._refused):
            self._say("pixels")
            return False
        try:
            output.send(Frame(NO_PIXELS, plan.tick, plan.due, self._on_card(plan)))
        except CardError as error:
            self._refused, self.why = plan.memory, f"frames go through the processor: {error}"
            self._say("pixels")
            return False
        self.why = ""
        self._say("card")
        return True

    def _say(self, path: str) -> None:
        if path != self.path:
            self.path = path
            self._cell.write(path.encode())

    def _on_card(self, plan: TickPlan) -> OnCard:
        if self._memory[0] != plan.memory:
            version, text = self._line.memory.read()
            if version != plan.memory:  # another world is already there: its first frame is on its way
                raise CardError("the world was started again")
            self._memory = version, unpacked_card_memory(text)
        memory = self._memory[1]
        assert memory is not None
        if plan.flow != self._flow[0]:
            found = self._line.flows.view(plan.flow) if plan.flow else None
            self._flow = plan.flow, found[0].copy().view(np.float16) if found else None
        return OnCard(
            memory, plan.slot, plan.number, plan.width, plan.height, plan.share, plan.blackout, self._flow[1]
        )  # fmt: skip


def drawable(plan: TickPlan, refused: int) -> bool:
    """Whether this tick's picture is to be tried from the card; memory that failed is not tried again."""
    return plan.memory > 0 and plan.memory != refused


def _hopeless(error: BaseException) -> bool:
    """What is not installed does not come by waiting; a device that is busy may."""
    causes: list[BaseException] = [error]
    while (cause := causes[-1].__cause__ or causes[-1].__context__) is not None and cause not in causes:
        causes.append(cause)
    return any(isinstance(cause, Unsuitable | ImportError) for cause in causes)


def _newest_control_at(ring: FrameRing) -> float:
    """What was obeyed before this output opened is not its latency."""
    found = ring.view(ring.newest)
    return found[1].newest_control_at if found else 0.0


def _told(say: dict[str, Any], sent: int, latencies: deque[float], cpu: float,
          facts: dict[str, Any]) -> dict[str, Any]:  # fmt: skip
    return {
        **say, "state": "running", "sent": sent, "latency_ms": [round(v, 2) for v in latencies],
        "cpu_s": round(cpu, 3), "facts": facts,
    }  # fmt: skip
