"""One output in a process of its own: it may block or die without disturbing anything else."""

from __future__ import annotations

import json
import logging
import time
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from worldjockey.integrations import (
    CardError,
    CardMemory,
    Frame,
    Layout,
    OnCard,
    Output,
    Rhythm,
    Unsuitable,
    VideoFormat,
)

from ..ipc.audio_ring import AudioReader, AudioRing
from ..ipc.card_memory import unpacked_card_memory
from ..ipc.cell import Cell
from ..ipc.class_path import load_class
from ..ipc.frame_ring import FrameRing, Pixels
from ..ipc.key_line import KeyLine
from ..ipc.mailbox import Mailbox
from ..ipc.overlay import OverlayLine, OverlayReader
from ..ipc.process import (
    CLOSED,
    UNSUITABLE,
    init_child,
    lower_priority,
    parent_died,
    publish_status,
    raise_priority,
)
from ..ipc.status import error_text
from ..ipc.tick import CardLine, TickPlan
from ..timing.percentiles import percentiles

if TYPE_CHECKING:
    from ..show.outputs import Bus  # with pydantic, for which the processes of clock and outputs would wait

logger = logging.getLogger(__name__)
NO_PIXELS: Pixels = np.empty((0, 0, 3), np.uint8)
TICK_TIMEOUT_S = 0.25  # after which the loop looks at its status and at the parent, ticks or not
STATUS_INTERVAL_S = 0.2
LATENCIES_MAX = 512  # the newest ones, for the status


@dataclass(frozen=True)
class OutputSpec:
    """What an output is made from.

    name: as the status lists it. class_path: "module:class". layout, holds, accepts_gpu_frames, wants_audio: as the
    output declares them. bus: whose frames it sends.
    """

    name: str
    class_path: str
    layout: Layout
    holds: int = 1
    options: dict[str, Any] = field(default_factory=dict)
    accepts_gpu_frames: bool = False
    wants_audio: bool = False
    sends_keys: bool = False
    bus: Bus = "program"

    def make(self) -> Output:
        made: Output = load_class(self.class_path)(**self.options)
        return made


def run(spec: OutputSpec, fmt: VideoFormat, ring: FrameRing, clock: Cell, wake: Any, metadata: Cell, status: Cell,
        stop: Any, card: CardLine | None = None, mailbox: Mailbox | None = None,
        audio: AudioRing | None = None, keys: KeyLine | None = None,
        overlay: OverlayLine | None = None) -> None:  # fmt: skip
    """The process's main: sends the newest frame of `ring` for every tick that `wake` announces.

    clock: the `TickPlan` of the tick that `wake` announced last. metadata: of the show and its beat, as JSON. card: for
    an output that may draw from the world's graphics card, which it does as long as that works. mailbox: the parameters
    that move the corners of this output's screen. audio: the show's, for an output that carries it. keys: where the
    keys that are pressed in this output go. overlay: what lies over the picture, where the frames do not have it.
    """
    init_child()
    current: dict[str, Any] = {"state": "opening", "sent": 0, "cpu_s": 0.0}
    publish_status(status, current)
    own_path = card.paths.get(spec.name) if card else None
    gpu_path = CardPath(card, spec.name) if card and own_path and spec.accepts_gpu_frames else None
    pixels_path = PixelsPath(own_path) if own_path and not gpu_path else None
    try:
        output = spec.make()
        output.open(fmt)
    except Exception as error:
        logger.exception("output %s cannot open", spec.name)
        publish_status(status, {**current, "state": "error", "message": error_text(error)})
        raise SystemExit(UNSUITABLE if _is_permanent(error) else 1) from None
    corners = mailbox if type(output).set_keystone is not Output.set_keystone else None
    beat = BeatReader(metadata, mailbox) if type(output).set_rhythm is not Output.set_rhythm else None
    patches = OverlayReader(overlay if spec.layout == "native" else None)
    forwarder = AudioForwarder(output, audio) if audio is not None and output.wants_audio else None
    if spec.bus == "preview":
        lower_priority()
    elif not output.background:
        raise_priority()
    cpu = time.process_time()  # so that the status counts the frames alone, without starting up
    latencies, sendings = deque[float](maxlen=LATENCIES_MAX), deque[float](maxlen=LATENCIES_MAX)
    sent, last, latest_control_at, published_at = 0, -1, _newest_control_at(ring), 0.0
    code = 0
    try:
        while not stop.is_set():
            woken = wake.acquire(True, TICK_TIMEOUT_S)
            while wake.acquire(False):  # ticks that came meanwhile make one frame
                pass
            plan = TickPlan.unpacked(data) if woken and not stop.is_set() and (data := clock.read()[1]) else None
            if plan and plan.tick > last:  # a late output has already sent the tick that this wake announces
                newest_control_at = 0.0
                if pixels_path:
                    pixels_path.publish(output.wants_pixels)
                if corners is not None:
                    output.set_keystone([[corners.value(f"keystone/{n}/{axis}") for axis in "xy"] for n in range(1, 5)])
                if beat is not None:
                    output.set_rhythm(beat.read())
                if overlay is not None and spec.layout == "native":
                    patches.refresh()
                    output.set_overlay(patches.patches, 1 - plan.blackout)
                if gpu_path and gpu_path.send(output, plan):
                    sent, last, newest_control_at = sent + 1, plan.tick, plan.newest_control_at
                elif (found := ring.view(ring.newest)) and (plan.pixels or spec.layout != "native"):
                    pixels, info = found
                    output.send(Frame(pixels[..., 0] if pixels.shape[2] == 1 else pixels, plan.tick, plan.due))
                    sent, last, newest_control_at = sent + 1, plan.tick, info.newest_control_at
                if newest_control_at > latest_control_at:
                    latest_control_at = newest_control_at
                    now = time.monotonic()
                    latencies.append((now - newest_control_at) * 1e3)
                    sendings.append((now - plan.due) * 1e3)
            if keys:
                keys.post(output.take_keys())
            if forwarder:  # after the frame, which must not wait for the audio
                forwarder.forward()
            now = time.monotonic()
            if now - published_at > STATUS_INTERVAL_S:
                published_at = now
                output.set_metadata(json.loads(metadata.read()[1] or b"{}"))
                facts = dict(output.status())
                current |= (gpu_path.status if gpu_path else {}) | (forwarder.status if forwarder else {})
                current["send_ms"] = percentiles(sendings)
                publish_status(status, _running(current, sent, latencies, time.process_time() - cpu, facts))
                if facts.get("closed"):
                    code = CLOSED
                    break
                if parent_died():
                    break
    except Exception as error:
        logger.exception("output %s failed", spec.name)
        publish_status(status, {**current, "state": "error", "sent": sent, "message": error_text(error)})
        raise SystemExit(1) from None
    finally:
        output.close()
    current |= (gpu_path.status if gpu_path else {}) | (forwarder.status if forwarder else {})
    facts = dict(output.status())
    publish_status(
        status, {**_running(current, sent, latencies, time.process_time() - cpu, facts), "state": "closed"}
    )  # fmt: skip
    raise SystemExit(code)


class BeatReader:
    """The show's beat, and the levels of its sound."""

    def __init__(self, metadata: Cell, mailbox: Mailbox | None) -> None:
        self._metadata, self._mailbox = metadata, mailbox
        self._version, self._beat = 0, dict[str, Any]()

    def read(self) -> Rhythm:
        if self._metadata.version != self._version:
            self._version, data = self._metadata.read()
            self._beat = json.loads(data)["rhythm"]
        if self._mailbox is None:
            return Rhythm(**self._beat)
        value = self._mailbox.value
        return Rhythm(
            **self._beat, energy=value("energy"), level=value("sound/level"), bass=value("sound/bass"),
            treble=value("sound/treble"),
        )  # fmt: skip


class AudioForwarder:
    """Passes the show's audio to an output. If the output fails to take it, the audio ends and the frames go on."""

    def __init__(self, output: Output, ring: AudioRing) -> None:
        self._output = output
        self._reader = AudioReader(ring)
        self.status: dict[str, str] = {}  # why there is no audio, for the output's status

    def forward(self) -> None:
        if self.status:
            return
        try:
            for chunk in self._reader.read_new():
                self._output.send_audio(chunk)
        except Exception as error:
            logger.exception("audio of an output failed")
            self.status = {"message": f"goes on without audio: {error_text(error)}"}


class PixelsPath:
    """Publishes whether an output at the world's own size wants pixels, so that the clock composes none in vain."""

    def __init__(self, cell: Cell) -> None:
        self._cell, self._wanted = cell, False
        cell.write(b"card")

    def publish(self, wanted: bool) -> None:
        if wanted != self._wanted:
            self._wanted = wanted
            self._cell.write(b"pixels" if wanted else b"card")


class CardPath:
    """Sends frames that lie on the world's graphics card, for as long as that works, and publishes whether it does."""

    def __init__(self, line: CardLine, name: str) -> None:
        self._line, self._cell = line, line.paths[name]
        self._refused = 0  # version of the memory that cannot be drawn from
        self._memory: tuple[int, CardMemory | None] = (0, None)
        self._flow: tuple[int, Any] = (0, None)
        self.path, self.error = "pixels", ""
        self._cell.write(b"pixels")

    @property
    def status(self) -> dict[str, str]:
        """Whether frames come from the card or as pixels and, in the second case, why."""
        return {"texture": self.path, "message": self.error}

    def send(self, output: Output, plan: TickPlan) -> bool:
        """Whether the frame was sent from the card; if not, its pixels must be sent."""
        if not drawable(plan, self._refused):
            self._publish("pixels")
            return False
        try:
            output.send(Frame(NO_PIXELS, plan.tick, plan.due, self._on_card(plan)))
        except CardError as error:
            self._refused, self.error = plan.memory, f"frames go through the processor: {error}"
            self._publish("pixels")
            return False
        self.error = ""
        self._publish("card")
        return True

    def _publish(self, path: str) -> None:
        if path != self.path:
            self.path = path
            self._cell.write(path.encode())

    def _on_card(self, plan: TickPlan) -> OnCard:
        if self._memory[0] != plan.memory:
            version, text = self._line.memory.read()
            if version != plan.memory:  # another world has taken over, and its first frame is on its way
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
    """Whether to try this tick's frame from the card. Memory that failed once is not tried again.

    refused: the version of that memory; 0 for none.
    """
    return plan.memory > 0 and plan.memory != refused


def _is_permanent(error: BaseException) -> bool:
    """Whether to try again is useless: a missing library will not appear by waiting, but a busy device may."""
    causes: list[BaseException] = [error]
    while (cause := causes[-1].__cause__ or causes[-1].__context__) is not None and cause not in causes:
        causes.append(cause)
    return any(isinstance(cause, Unsuitable | ImportError) for cause in causes)


def _newest_control_at(ring: FrameRing) -> float:
    """The newest control that frames obeyed before this output opened, which is not part of its latency."""
    found = ring.view(ring.newest)
    return found[1].newest_control_at if found else 0.0


def _running(current: dict[str, Any], sent: int, latencies: deque[float], cpu: float,
             facts: dict[str, Any]) -> dict[str, Any]:  # fmt: skip
    return {
        **current, "state": "running", "sent": sent, "latency_ms": [round(v, 2) for v in latencies],
        "cpu_s": round(cpu, 3), "facts": facts,
    }  # fmt: skip
