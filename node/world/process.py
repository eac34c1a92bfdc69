"""The process that runs the world: between steps it reads the mailbox and mixes the deck; then it publishes frames."""

from __future__ import annotations

import contextlib
import logging
import math
import os
import queue
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from worldjockey.model.spec import CAMERA_AXES

from ..ipc.audio_ring import AudioRing
from ..ipc.cell import Cell
from ..ipc.frame_ring import FrameInfo, FrameRing
from ..ipc.mailbox import Mailbox, Triggers
from ..ipc.process import (
    CLOSED,
    exit_now,
    init_child,
    keep_compiled,
    limit_threads,
    lower_priority,
    parent_died,
    publish_status,
    raise_priority,
    stay_offline,
)
from ..ipc.status import error_text
from ..ipc.tick import TickPlan
from ..parameters import PARAMETERS
from ..show.media import Media
from ..timing.easing import approach
from ..timing.pacing import LOCK_SHARE, step_start
from ..timing.percentiles import percentiles
from .adaptive_quality import Governor
from .frame_publisher import FramePublisher
from .handover import Arrival, ArrivalTaker, Handover, StateGiver
from .heartbeat import Heartbeat
from .live_conditioning import LiveConditioning
from .live_source import LiveFeed
from .playout import Playout
from .preview import PreviewLine, PreviewSide
from .prompt_deck import Deck
from .prompt_encoder import Encoder
from .prompt_reading import Reader, ReadingLine
from .upscaling import Upscaler

if TYPE_CHECKING:
    from worldjockey.model import Controls, World
    from worldjockey.model.spec import WorldState

logger = logging.getLogger(__name__)
SITUATION_INTERVAL_S = 0.05  # between two statuses of where the camera is
DT_MIN, DT_MAX = 1 / 120, 1 / 8  # seconds of world time that one step covers
NATIVE_BYTES = 1920 * 1088 * 4  # the largest frame a world may make
# Without a status, by state. Loading may take any time.
WORLD_PATIENCE_S = {"running": 15.0}
CHUNK_DT_MAX = 10.0  # the same for smoothing the faders of a world that makes chunks
AUDIO_PARAMETERS = ("sound/level", "sound/bass", "sound/treble", "sound/onset")
STEPS_KEPT = 512  # for percentiles
RATE_S = 3.0  # over which a preview's rate is counted: it rests from time to time
DURATIONS_KEPT = 20  # steps whose durations say how long the next one takes
CLOCK_SILENT_S = 1.0  # after which the clock's last tick says nothing of the next one


@dataclass(frozen=True)
class WorldOptions:
    """model: a name for `worldjockey.model.load`. top_fps: the show's rate, an upper limit of the world's. aspect: the
    show's width over height. media: images, sounds and clips on pads, by the text that stands for them. ahead: prompts
    to encode ahead of time. live: live video. returns: another world will be opened after this one. card: cell in
    which the memory of frames on a graphics card is published; None where no output uses it. clock: cell with the
    clock's latest `TickPlan`; None where no clock is near. matte: frames shall be
    RGBA with the figure as alpha. handover: to give the world's state to a preview, or to another machine. arrival: to
    go on from a state of another machine. reading: to answer what the world
    reads of a text. preview: this is the preview's world. edits: cell
    with the prompts and media that the show gets while it plays. audio: for the sound of a world that makes some; None
    where no output carries audio, or the show listens to another. upscale: the show's width and height, up to which
    frames on an NVIDIA card are made larger there; None leaves them as they are."""

    model: str
    device: str = "auto"
    threads: int | None = None
    top_fps: float = 30.0
    aspect: float | None = None
    media: Mapping[str, Media] = field(default_factory=dict)
    ahead: tuple[str, ...] = ()
    live: LiveFeed | None = None
    returns: bool = False
    card: Cell | None = None
    clock: Cell | None = None
    matte: bool = False
    handover: Handover | None = None
    arrival: Arrival | None = None
    reading: ReadingLine | None = None
    preview: PreviewLine | None = None
    edits: Cell | None = None
    audio: AudioRing | None = None
    upscale: tuple[int, int] | None = None


STEP_ATTEMPTS = 3  # of one step; then the process is started anew
STEP_ERROR_S = 10.0  # that the error of a step stays in the status
TOO_LARGE = "two worlds of this size have no room here, so there is no preview"
NO_MATTE = "this world has no matte, so key: figure makes the whole frame opaque: use key: luma or key: green"


class WorldStepper:
    """One world that is played. `step` does everything that happens between two frames."""

    def __init__(self, world: World, mailbox: Mailbox, options: WorldOptions) -> None:
        self.world, self.mailbox, self.options = world, mailbox, options
        self.deck, self.triggers = Deck(), Triggers(mailbox.consumed)
        self.encoder = Encoder(world, mailbox, options.media, options.ahead, options.edits)
        self.conditioning = LiveConditioning(world, options.live) if options.live else None
        self.smoothed: dict[str, float] = {}
        self.arrived_at = 0.0  # arrival time of the newest control
        self.newest_control_at = 0.0  # arrival time of the newest control that frames obey
        self.new = True
        self._controls: Controls | None = None  # of the current chunk
        self._turn, self._waited = 0, 0.0  # steps in that chunk so far, and seconds
        self._step_error, self._failed_at = "", float("-inf")  # of the latest step that failed
        if options.reading is not None:
            self.encoder.reader = Reader(world, options.reading)

    @property
    def bursts(self) -> bool:
        """Whether the world makes several frames at a time, which are then shown one by one."""
        return self.world.spec.frames_per_step > 1

    @property
    def rate(self) -> float:
        """Frames a second of such a world: its own rate, times `speed`."""
        return self.world.spec.fps * self.mailbox.value("speed")

    @property
    def error(self) -> str:
        """The latest error of prompts or live video; empty without one."""
        no_matte = NO_MATTE if self.options.matte and not self.world.spec.matte else ""
        failed = self._step_error if time.monotonic() - self._failed_at < STEP_ERROR_S else ""
        message: str = getattr(self.world, "message", "")
        return (
            failed
            or message
            or self.encoder.error
            or (self.conditioning.error if self.conditioning else "")
            or no_matte
        )

    def _smoothed(self, name: str, target: float, dt: float) -> float:
        value = approach(self.smoothed.get(name, target), target, dt, PARAMETERS[name].smoothing)
        self.smoothed[name] = value
        return value

    def _audio(self, values: Mapping[str, Any], dt: float) -> tuple[float, float, float, float]:
        level, bass, treble, onset = (self._smoothed(n, values[n], dt) for n in AUDIO_PARAMETERS)
        return level, bass, treble, onset

    def take_prompts(self) -> float:
        """Put newly encoded prompts on the deck; returns the arrival time of the newest."""
        newest = 0.0
        self.encoder.recall()
        while True:
            try:
                name, text, tokens = self.encoder.done.get_nowait()
            except queue.Empty:
                return newest
            slot = name.removesuffix("/text")
            if tokens is None:
                self.deck.clear(slot)
            else:
                default = self.mailbox.value("transition")
                seconds = text.seconds if math.isfinite(text.seconds) else default
                self.deck.set_tokens(slot, tokens, seconds if slot == "prompt" else 0.0)
            newest = max(newest, text.arrived_at)

    def step(self, wall: float, afford: Callable[[int], int] = int) -> tuple[Any, FrameInfo] | None:
        """One step covering `wall` seconds: frames (n, h, w, 3) and their info; None while the world is frozen.

        afford: how many of the requested prediction steps to take.
        A world that makes chunks obeys controls at the first step of each chunk; for the other steps nothing is mixed.
        """
        reading = self.mailbox.read()
        words, words_arrived_at = self.mailbox.words()
        self.arrived_at = max(self.arrived_at, reading.newest_control_at, words_arrived_at, self.take_prompts())
        values = reading.values
        fired = self.triggers.fired(reading.counts)
        if self.new or fired.keys() & {"seed", "panic", "cam/home"}:
            self.new, self._controls = False, None
            self.world.reset(values["seed"])
            self.smoothed.clear()
        if values["freeze"]:
            return None
        self._waited += wall
        if self._controls is None or self._turn == self.world.spec.steps_per_chunk:
            self._controls = self._mixed(values, words, self._waited, afford)
            self._turn, self._waited = 0, 0.0
            if self._controls is None:
                return None
            self.newest_control_at = self.arrived_at
        frames = self._stepped(self._controls, values["seed"])
        self._turn += 1
        return frames, FrameInfo(time.monotonic(), self.newest_control_at, wall)

    def start_from(self, state: WorldState | None) -> None:
        """Go on from the state of another world of the same weights; None begins anew. Triggers that were fired before
        are over, since their world has obeyed them."""
        reading = self.mailbox.read()
        self.triggers.fired(reading.counts)
        self.take_prompts()
        if state is None:
            self.world.reset(reading.values["seed"])
        else:
            self.world.restore(state)
        self.new, self._controls, self._turn, self._waited = False, None, 0, 0.0
        self.smoothed.clear()

    def _stepped(self, controls: Controls, seed: int) -> Any:
        """One step of the world. A step that fails (a GPU out of memory for a moment, an image that it cannot use) is
        taken again from the state before it, and then from the world's beginning; the frame holds meanwhile."""
        # What several frames come from is gigabytes: it is not copied, and stays as the failed step left it.
        before = None
        if not self.bursts:
            with contextlib.suppress(NotImplementedError, AttributeError):  # on several devices, or of another package
                before = self.world.snapshot()
        for attempt in range(1, STEP_ATTEMPTS + 1):
            try:
                return self.world.step(controls)
            except Exception as error:
                logger.exception("a step of the world failed (%d of %d attempts)", attempt, STEP_ATTEMPTS)
                self._step_error = f"a step of the world failed and was taken again: {error_text(error)}"
                self._failed_at = time.monotonic()
                if attempt == STEP_ATTEMPTS:
                    raise
                _free_gpu_memory()
                if attempt == 1 and before is not None:
                    self.world.restore(before)
                elif attempt > 1:
                    self.world.reset(seed)
        raise AssertionError("unreachable")

    def _mixed(
        self, values: Mapping[str, Any], words: Mapping[str, float], wall: float, afford: Callable[[int], int]
    ) -> Controls | None:
        """The controls of the next steps, `wall` seconds after the last; None until the first prompt."""
        from worldjockey.model import Controls

        dt = min(max(wall, DT_MIN), CHUNK_DT_MAX if self.bursts else DT_MAX)
        tokens = self.deck.tokens(values, words, dt)
        if tokens is None:
            return None
        live_frame, strength = None, 0.0
        if self.conditioning:
            live_frame, strength = self.conditioning.frame(
                self._smoothed("live/strength", values["live/strength"], dt), dt
            )
            tokens = self.conditioning.look(tokens, self._smoothed("live/look", values["live/look"], dt), dt)
        return Controls(
            tokens=tokens,
            live=live_frame,
            strength=strength,
            acts={} if values["act"] == "none" else {values["act"]: 1.0},
            camera={axis: self._smoothed(f"cam/{axis}", values[f"cam/{axis}"], dt) for axis in CAMERA_AXES},
            dt=min(min(dt, DT_MAX) * self._smoothed("speed", values["speed"], dt), DT_MAX),
            steps=afford(values["steps"]),
            energy=self._smoothed("energy", values["energy"], dt),
            sound=self._audio(values, dt),
            guidance=self._smoothed("guidance", values["guidance"], dt),
            matte=self.options.matte and self.world.spec.matte,
            paint=self._smoothed("paint/strength", values["paint/strength"], dt),
        )


def _sound(world: Any) -> tuple[Any, int]:
    """The sound of the last step (samples, 2), and its samples a second; None for a world that makes none."""
    rate = world.spec.audio_rate
    return (world.audio(), rate) if rate else (None, 0)


def _situation(world: Any) -> dict[str, Any]:
    """Where the camera is and what is near, of a world that knows."""
    return asdict(world.situation()) if hasattr(world, "situation") else {}


def _paintings(world: Any) -> dict[str, float]:
    """Of a world that paints over another: paintings a second. Its other frames are carried along the motion."""
    return {"painted_fps": round(world.painted_fps, 2)} if hasattr(world, "painted_fps") else {}


def _free_gpu_memory() -> None:
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()


def run(options: WorldOptions, mailbox: Mailbox, ring: FrameRing, status: Cell, stop: Any) -> None:
    """Main function of the process. Ends when `stop` is set or the parent died; an error is published in the status."""
    init_child()
    stay_offline()
    keep_compiled()
    threads = limit_threads(options.threads)
    fields: dict[str, Any] = {"state": "loading", "model": options.model, "threads": threads}
    publish_status(status, fields)
    try:
        from worldjockey.model import load
        from worldjockey.model.registry import entry_for

        if entry_for(options.model).torch:
            import torch

            torch.set_num_threads(threads)
        lower_priority(opening=True) if options.preview else raise_priority()  # before torch starts threads
        if options.preview and (too_large := _too_large(options)):
            publish_status(status, {**fields, "state": "too large", "message": too_large})
            raise SystemExit(CLOSED)
        with _torchrun_team(options, threads) as (device, shared):
            world = shared(load(options.model, device=device, aspect=options.aspect))
            stepper = WorldStepper(world, mailbox, options)
            stepper.encoder.once()
            if options.preview:
                lower_priority()
            stepper.encoder.start()
            _play(stepper, ring, status, fields, stop)
    except Exception as error:
        logger.exception("the world failed")
        if options.preview and "out of memory" in str(error).lower():
            publish_status(status, {**fields, "state": "too large", "message": TOO_LARGE})
            raise SystemExit(CLOSED) from None
        publish_status(status, {**fields, "state": "error", "message": error_text(error)})
        raise SystemExit(1) from None
    exit_now()


def _too_large(options: WorldOptions) -> str:
    """Why a second world has no room beside the program's; empty where it has. The registry declares the memory."""
    import psutil
    from worldjockey.model.registry import imported

    entry = imported(options.model)
    needed, free = entry.memory * 1e9, psutil.virtual_memory().available
    if entry.torch:
        import torch

        if options.device.startswith("cuda") or (options.device == "auto" and torch.cuda.is_available()):
            free = torch.cuda.mem_get_info()[0]
    if needed <= free:
        return ""
    return f"{TOO_LARGE}: it needs {needed / 1e9:.1f} GB, and {free / 1e9:.1f} GB are free"


@contextlib.contextmanager
def _torchrun_team(options: WorldOptions, threads: int) -> Iterator[tuple[str, Callable[[World], World]]]:
    """The device to play on, and a function that distributes the world over all processes of `torchrun`."""
    if "MASTER_ADDR" not in os.environ or os.environ.get("WORLD_SIZE", "1") == "1":
        yield options.device, lambda world: world
        return
    from worldjockey.model.worlds import distributed

    broadcast = distributed.Broadcast()
    settings = {"model": options.model, "device": options.device, "aspect": options.aspect, "threads": threads}
    broadcast.send("open", settings)
    yield distributed.device(options.device), lambda world: distributed.Leader(world, broadcast)
    broadcast.send("close", {"over": not options.returns})


def _play(stepper: WorldStepper, ring: FrameRing, status: Cell, fields: dict[str, Any], stop: Any) -> None:
    heartbeat = Heartbeat(status, notes=stepper.options.preview is None)  # a preview's steps wait for the program
    try:
        _step_on(stepper, ring, heartbeat, fields, stop)
    finally:
        heartbeat.stop()


def just_in_time(next_start: float, durations: deque[float], clock: Cell | None, period: float) -> float:
    """When the next step starts: at `next_start`; where the clock is near and every tick can have a frame, so late that
    the frame is just ready when the clock takes it. durations: of the latest steps, in seconds."""
    data = clock.read()[1] if clock is not None else b""
    if not data or len(durations) < DURATIONS_KEPT:
        return next_start
    plan, now = TickPlan.unpacked(data), time.monotonic()
    took = sorted(durations)[-2]  # all but the longest: to be late costs a tick, to be early the difference
    if now - plan.due > CLOCK_SILENT_S or took > LOCK_SHARE * period:
        return next_start
    return step_start(now, took, plan.due - plan.ahead, period)


def _step_on(stepper: WorldStepper, ring: FrameRing, heartbeat: Heartbeat, fields: dict[str, Any], stop: Any) -> None:
    spec, show_fps = stepper.world.spec, stepper.options.top_fps
    period = max(1 / show_fps, DT_MIN)
    arrived: deque[tuple[float, int]] = deque(
        maxlen=STEPS_KEPT
    )  # time at which a step was done, and its number of frames
    timings = {name: deque[float](maxlen=STEPS_KEPT) for name in ("wait_ms", "step_ms", "decode_ms")}
    made, published_at, obeyed, span = 0, 0.0, 0.0, period
    situated_at, known = 0.0, dict[str, Any]()
    durations: deque[float] = deque(maxlen=DURATIONS_KEPT)
    begin = last = time.monotonic()
    next_start = begin
    upscaler = Upscaler(stepper.options.upscale) if stepper.options.upscale and not stepper.options.preview else None
    publisher = FramePublisher(ring, stepper.options.card, stepper.options.audio, upscaler)
    governor = Governor(spec.fps, show_fps, stepper.bursts, spec.steps_per_chunk, spec.qualities, spec.ladder)
    playout = None
    level, busy = 0, 0.0
    giver = StateGiver(stepper.world, stepper.options.handover) if stepper.options.handover else None
    arrivals = ArrivalTaker(stepper.world, stepper.options.arrival) if stepper.options.arrival else None
    preview = PreviewSide(stepper, stepper.options.preview) if stepper.options.preview else None

    def publish() -> bool:
        """Publish the status from time to time, and the world's situation more often; whether the process goes on."""
        nonlocal published_at, situated_at, known
        now = time.monotonic()
        if known and made and now - situated_at >= SITUATION_INTERVAL_S:
            situated_at = now
            if situation := _situation(stepper.world):
                known = {**known, "situation": situation}
                heartbeat.publish(known)
        if now - published_at <= 0.25:
            return True
        published_at = time.monotonic()
        if parent_died():
            return False
        recent = [(at, n) for at, n in arrived if preview is None or published_at - at < RATE_S]
        since = recent[-1][0] - recent[0][0] if len(recent) > 1 else 0.0
        rate = sum(n for _, n in recent[1:]) / since if since else 0.0
        here = stepper.world.spec  # its size and runtime may change
        known = {
            **fields, "state": "running", "device": here.device, "runtime": here.runtime,
            "width": here.width, "height": here.height,
            "fps": round(rate, 2), "wanted_fps": round(stepper.rate if playout else 1 / period, 2),
            "frames": made, "busy_s": round(busy, 4), "encode_ms": round(stepper.encoder.encode_ms, 2),
            "quality": governor.message(), "message": stepper.error, "card": publisher.error,
            "upscaling": upscaler.message if upscaler else "",
            "unread": stepper.encoder.unread,
            "cues_to_encode": stepper.encoder.waiting,
            **{key: percentiles(values) for key, values in timings.items()},
            **_paintings(stepper.world),
            **(preview.status() if preview else {}),
            **({"situation": known["situation"]} if "situation" in known else {}),
        }  # fmt: skip
        heartbeat.publish(known)
        return True

    if stepper.bursts:
        frozen = partial(stepper.mailbox.value, "freeze")
        playout = Playout(publisher, spec.steps_per_chunk, lambda: stepper.rate, show_fps, lambda: frozen() != 0)
        playout.start()
    while not stop.is_set():
        if giver is not None:
            giver.give()
        if arrivals is not None and (state := arrivals.take()) is not None:
            stepper.start_from(state)
            arrivals.done()
        if preview is not None and not preview.ready():
            if not publish():
                return
            continue
        if playout is None:
            next_start = just_in_time(next_start, durations, stepper.options.clock, period)
        now = time.monotonic()
        if now < next_start:
            time.sleep(next_start - now)
        start = time.monotonic()
        next_start = max(next_start + period, start)
        result = None
        if playout is None or not playout.full:
            governor.levels = stepper.world.spec.qualities
            if (wanted := governor.allow(stepper.mailbox.value("quality") == 0)) != level:
                level = wanted
                stepper.world.set_quality(level)
            result = stepper.step(start - last if made else 1 / spec.fps, governor.afford)
            last = start
        if result is None:
            time.sleep(0.005)
            next_start = time.monotonic()
        else:
            frames, info = result
            host_frames = publisher.take(frames, *_sound(stepper.world))
            took = time.monotonic() - start
            busy += took
            durations.append(took)
            if info.newest_control_at > obeyed:
                obeyed = info.newest_control_at
                timings["wait_ms"].append((start - obeyed) * 1e3)
            governor.done(took, len(host_frames))
            span += 0.2 * (max(took, period) - span)
            if playout:
                playout.put(host_frames, info, took)
            else:
                for frame in host_frames:
                    publisher.write(frame, FrameInfo(info.made, info.newest_control_at, span / len(host_frames)))
            made += len(host_frames)
            arrived.append((time.monotonic(), len(host_frames)))
            for key, value in getattr(stepper.world, "timings", {}).items():
                timings.setdefault(key, deque(maxlen=STEPS_KEPT)).append(value)
        if not publish():
            return
    if playout:
        playout.end()
