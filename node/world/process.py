"""The process that runs the world: reads the mailbox between steps, mixes the deck, steps, publishes the frame."""

from __future__ import annotations

import contextlib
import logging
import math
import os
import queue
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from worldjockey.model.spec import CAMERA_AXES

from ..ipc.cell import Cell
from ..ipc.frame_ring import FrameInfo, FrameRing
from ..ipc.mailbox import Mailbox, Triggers
from ..ipc.process import exit_now, init_child, limit_threads, parent_died, publish_status, raise_priority, stay_offline
from ..ipc.status import error_text
from ..parameters import PARAMETERS
from ..show.media import Media
from ..timing.easing import approach
from ..timing.percentiles import percentiles
from .adaptive_quality import Governor
from .frame_publisher import FramePublisher
from .live_conditioning import LiveConditioning
from .live_source import LiveFeed
from .playout import Playout
from .prompt_deck import Deck
from .prompt_encoder import Encoder

if TYPE_CHECKING:
    from worldjockey.model import Controls, World

logger = logging.getLogger(__name__)
DT_MIN, DT_MAX = 1 / 30, 1 / 8  # seconds of world time a step may cover
NATIVE_BYTES = 1920 * 1088 * 4  # the largest frame a world may make
# Seconds by state that the world may be silent. Nothing limits how long it takes to load.
WORLD_PATIENCE = {"running": 15.0}
CHUNK_MAX = 10.0  # seconds that faders may glide in one step of a world that thinks in chunks
SOUND = ("sound/level", "sound/bass", "sound/treble", "sound/onset")
RECENT = 512  # steps that percentiles look back on


@dataclass(frozen=True)
class WorldOptions:
    """model: a name for `worldjockey.model.load`. top_fps: the show's rate, which the world never runs ahead of.
    aspect: the show's width over height. media: pictures and sounds on pads as the show opens, by slot. ahead: prompts
    of cues, encoded before they are asked for. live: where the live picture comes. returns: another world will be
    opened after this one. card: where the memory of frames that stay on a graphics card is told; None where nobody
    draws from there. matte: frames are to be RGBA, alpha being the figure."""

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
    matte: bool = False


NO_MATTE = "this world cannot tell its figure from the rest: with key: figure all is opaque; key: luma or green works"


class WorldStepper:
    """One world being played. `step` is everything that happens between two frames."""

    def __init__(self, world: World, mailbox: Mailbox, options: WorldOptions) -> None:
        self.world, self.mailbox, self.options = world, mailbox, options
        self.deck, self.triggers = Deck(), Triggers(mailbox.consumed)
        self.encoder = Encoder(world, mailbox, options.media, options.ahead)
        self.sight = LiveConditioning(world, options.live) if options.live else None
        self.smooth: dict[str, float] = {}
        self.arrived_at = 0.0  # arrival time of the newest control
        self.newest_control_at = 0.0  # of the newest that frames obey
        self.new = True
        self._controls: Controls | None = None  # of the chunk that is being drawn
        self._turn, self._waited = 0, 0.0  # steps into that chunk, and their seconds

    @property
    def bursts(self) -> bool:
        """The world makes several frames at a time, which are to be shown one by one."""
        return self.world.spec.frames_per_step > 1

    @property
    def rate(self) -> float:
        """Frames a second at which such a world's are shown: its own, times `speed`."""
        return self.world.spec.fps * self.mailbox.value("speed")

    @property
    def error(self) -> str:
        """What was not understood lately."""
        no_matte = NO_MATTE if self.options.matte and not self.world.spec.matte else ""
        return self.encoder.error or (self.sight.error if self.sight else "") or no_matte

    def _glide(self, name: str, target: float, dt: float) -> float:
        value = approach(self.smooth.get(name, target), target, dt, PARAMETERS[name].smoothing)
        self.smooth[name] = value
        return value

    def _sound(self, values: Mapping[str, Any], dt: float) -> tuple[float, float, float, float]:
        level, bass, treble, onset = (self._glide(n, values[n], dt) for n in SOUND)
        return level, bass, treble, onset

    def take_prompts(self) -> float:
        """Put freshly encoded prompts on the deck; returns the arrival time of the newest."""
        newest = 0.0
        self.encoder.recall()
        while True:
            try:
                name, said, tokens = self.encoder.done.get_nowait()
            except queue.Empty:
                return newest
            slot = name.removesuffix("/text")
            if tokens is None:
                self.deck.clear(slot)
            else:
                default = self.mailbox.value("transition")
                seconds = said.seconds if math.isfinite(said.seconds) else default
                self.deck.set_tokens(slot, tokens, seconds if slot == "prompt" else 0.0)
            newest = max(newest, said.arrived_at)

    def step(self, wall: float, afford: Callable[[int], int] = int) -> tuple[Any, FrameInfo] | None:
        """One step covering `wall` seconds: frames (n, h, w, 3) and their info; None while the picture is frozen.

        afford: of the prediction steps that are asked for, how many are to be taken.
        A world that thinks in chunks obeys at the first step of each, so for the others nothing is mixed.
        """
        reading = self.mailbox.read()
        words, words_arrived_at = self.mailbox.words()
        self.arrived_at = max(self.arrived_at, reading.newest_control_at, words_arrived_at, self.take_prompts())
        values = reading.values
        fired = self.triggers.fired(reading.counts)
        if self.new or fired.keys() & {"seed", "panic", "cam/home"}:
            self.new, self._controls = False, None
            self.world.reset(values["seed"])
            self.smooth.clear()
        if values["freeze"]:
            return None
        self._waited += wall
        if self._controls is None or self._turn == self.world.spec.steps_per_chunk:
            self._controls = self._mixed(values, words, self._waited, afford)
            self._turn, self._waited = 0, 0.0
            if self._controls is None:
                return None
            self.newest_control_at = self.arrived_at
        frames = self.world.step(self._controls)
        self._turn += 1
        return frames, FrameInfo(time.monotonic(), self.newest_control_at, wall)

    def _mixed(
        self, values: Mapping[str, Any], words: Mapping[str, float], wall: float, afford: Callable[[int], int]
    ) -> Controls | None:
        """What the next steps obey, `wall` seconds after the last; None as long as nothing was ever said."""
        from worldjockey.model import Controls

        dt = min(max(wall, DT_MIN), CHUNK_MAX if self.bursts else DT_MAX)
        tokens = self.deck.tokens(values, words, dt)
        if tokens is None:
            return None
        picture, strength = None, 0.0
        if self.sight:
            picture, strength = self.sight.picture(self._glide("live/strength", values["live/strength"], dt), dt)
            tokens = self.sight.look(tokens, self._glide("live/look", values["live/look"], dt), dt)
        return Controls(
            tokens=tokens,
            live=picture,
            strength=strength,
            acts={} if values["act"] == "none" else {values["act"]: 1.0},
            camera={axis: self._glide(f"cam/{axis}", values[f"cam/{axis}"], dt) for axis in CAMERA_AXES},
            dt=min(min(dt, DT_MAX) * self._glide("speed", values["speed"], dt), DT_MAX),
            steps=afford(values["steps"]),
            energy=self._glide("energy", values["energy"], dt),
            sound=self._sound(values, dt),
            guidance=self._glide("guidance", values["guidance"], dt),
            matte=self.options.matte and self.world.spec.matte,
        )


def run(options: WorldOptions, mailbox: Mailbox, ring: FrameRing, status: Cell, stop: Any) -> None:
    """The process's main. Ends when `stop` is set or the parent is gone; an error is told in the status, then
    raised."""
    init_child()
    stay_offline()
    threads = limit_threads(options.threads)
    say: dict[str, Any] = {"state": "loading", "model": options.model, "threads": threads}
    publish_status(status, say)
    try:
        import torch

        torch.set_num_threads(threads)
        raise_priority()  # before torch starts threads
        from worldjockey.model import load

        with _company(options, threads) as (device, shared):
            world = shared(load(options.model, device=device, aspect=options.aspect))
            player = WorldStepper(world, mailbox, options)
            player.encoder.once()
            player.encoder.start()
            _play(player, ring, status, say, stop)
    except Exception as error:
        logger.exception("the world failed")
        publish_status(status, {**say, "state": "error", "message": error_text(error)})
        raise SystemExit(1) from None
    exit_now()


@contextlib.contextmanager
def _company(options: WorldOptions, threads: int) -> Iterator[tuple[str, Callable[[World], World]]]:
    """The device to play on, and what makes a world the whole team's under `torchrun`."""
    if "MASTER_ADDR" not in os.environ or os.environ.get("WORLD_SIZE", "1") == "1":
        yield options.device, lambda world: world
        return
    from worldjockey.model.worlds import distributed

    broadcast = distributed.Broadcast()
    said = {"model": options.model, "device": options.device, "aspect": options.aspect, "threads": threads}
    broadcast.send("open", said)
    yield distributed.device(options.device), lambda world: distributed.Leader(world, broadcast)
    broadcast.send("close", {"over": not options.returns})


def _play(player: WorldStepper, ring: FrameRing, status: Cell, say: dict[str, Any], stop: Any) -> None:
    spec, top = player.world.spec, player.options.top_fps
    period = max(1 / top, DT_MIN)
    arrived: deque[tuple[float, int]] = deque(maxlen=RECENT)  # when a step was done, and its frames
    timings: dict[str, deque[float]] = {"step_ms": deque(maxlen=RECENT), "decode_ms": deque(maxlen=RECENT)}
    made, told, span = 0, 0.0, period
    begin = last = time.monotonic()
    next_start = begin
    shipping = FramePublisher(ring, player.options.card)
    playout, governor = None, Governor(spec.fps, top, player.bursts, spec.steps_per_chunk, spec.qualities)
    level = 0
    if player.bursts:
        frozen = partial(player.mailbox.value, "freeze")
        playout = Playout(shipping, spec.steps_per_chunk, lambda: player.rate, top, lambda: frozen() != 0)
        playout.start()
    while not stop.is_set():
        now = time.monotonic()
        if now < next_start:
            time.sleep(next_start - now)
        start = time.monotonic()
        next_start = max(next_start + period, start)
        result = None
        if playout is None or not playout.full:
            if (wanted := governor.allow(player.mailbox.value("quality") == 0)) != level:
                level = wanted
                player.world.set_quality(level)
            result = player.step(start - last if made else 1 / spec.fps, governor.afford)
            last = start
        if result is None:
            time.sleep(0.005)
            next_start = time.monotonic()
        else:
            frames, info = result
            shipments = shipping.take(frames)
            took = time.monotonic() - start
            governor.done(took, len(shipments))
            span += 0.2 * (max(took, period) - span)
            if playout:
                playout.put(shipments, info, took)
            else:
                for frame in shipments:
                    shipping.write(frame, FrameInfo(info.made, info.newest_control_at, span / len(shipments)))
            made += len(shipments)
            arrived.append((time.monotonic(), len(shipments)))
            for key, value in getattr(player.world, "timings", {}).items():
                timings.setdefault(key, deque(maxlen=RECENT)).append(value)
        if time.monotonic() - told > 0.25:
            told = time.monotonic()
            if parent_died():
                return
            since = arrived[-1][0] - arrived[0][0] if len(arrived) > 1 else 0.0
            rate = sum(n for _, n in list(arrived)[1:]) / since if since else 0.0
            publish_status(status, {
                **say, "state": "running", "device": spec.device, "width": spec.width, "height": spec.height,
                "fps": round(rate, 2), "frames": made, "encode_ms": round(player.encoder.encode_ms, 2),
                "quality": governor.words(), "message": player.error, "card": shipping.error,
                "cues_to_encode": player.encoder.waiting,
                **{key: percentiles(values) for key, values in timings.items()},
            })  # fmt: skip
    if playout:
        playout.end()
