"""Two worlds played as one: a driver, exact and fast, and a painter that draws over each of its pictures.

The driver obeys everything: prompt, acts, camera, sound. The painter, an image-to-image model, gets the driver's
picture as its live picture, with how it moved and how near everything is, and the same prompt, of which it also knows
what the driver does not. `Controls.paint` fades from the driver alone to the painter alone.

A painter that is slower than the pictures works beside the driver, in a thread of its own: between two paintings the
last one is carried along the driver's motion, and takes over its changes of light. So the picture moves at the driver's
rate, and camera and acts show in the next picture.
"""

from __future__ import annotations

import logging
import math
import time
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ..spec import Array, Controls, Frames, Geometry, Prompt, Tokens, World, WorldSpec, WorldState, on_host
from .carried import carried, composed
from .crop import window
from .estimated_motion import MotionEstimator
from .tokens import joined, parted

logger = logging.getLogger(__name__)

LIGHT = 16  # pixels across which a change of light is carried over
HOLES = 4  # how many of these a hole may be wide
KNOWN = 0.4  # share of a coarse cell that must be known for its own mean to count
RATE_PAINTINGS, RATE_S = 64, 3.0  # of which the rate of paintings is taken
WAIT_FRAMES = 0.9  # of a frame's time that a step may take while it waits for the painter


@dataclass
class Picture:
    """A picture of the driver: (1, 3, h, w) 0..1, and what was known of it."""

    image: Tensor
    depth: Array | None


@dataclass
class Painting:
    """painted: (1, 3, h, w) 0..1. picture: what it was painted over. since: how that moved since then, (h, w, 2), and
    whether all of it is known."""

    painted: Tensor
    picture: Picture
    since: Tensor = field(default_factory=lambda: torch.zeros(1, 1, 2))
    known: bool = True

    def move(self, motion: Tensor | None) -> None:
        """The picture moved on; None where nobody knows how."""
        if motion is None:
            self.known = False
        else:
            self.since = composed(self.since, motion)


def cropped(geometry: Geometry, width: int, height: int) -> Geometry:
    """The geometry of a picture's middle, which has the shape width:height."""

    def cut(a: Array) -> tuple[Array, Array]:
        h, w = a.shape[:2]
        top, left, rows, columns = window(h, w, width, height)
        scale = np.array([w / columns, h / rows], np.float32)
        return np.ascontiguousarray(a[top : top + rows, left : left + columns]), scale

    motion, scale = cut(geometry.motion)
    return Geometry(motion * scale, None if geometry.depth is None else cut(geometry.depth)[0])


class Painted:
    """A `World` made of two. The painter is one with the modality "live"."""

    def __init__(self, driver: World, painter: World, wait: float | None = None) -> None:
        """wait: seconds that a step may take while it waits for the painter; None for most of a frame's time. Infinite
        makes every frame a painting, and the world the same each time."""
        self.driver, self.painter = driver, painter
        self._wait = WAIT_FRAMES / painter.spec.fps if wait is None else wait
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="painter")
        self._estimator = MotionEstimator()
        self._shapes: tuple[tuple[int, int], tuple[int, int]] | None = None
        self.timings: dict[str, float] = {}
        self.painted = 0  # paintings so far
        self._painted_at: deque[float] = deque(maxlen=RATE_PAINTINGS)
        self._working: Future[tuple[Tensor, WorldState, float]] | None = None
        self._forget()

    def _forget(self) -> None:
        self._estimator.forget()
        self._geometry: Geometry | None = None
        self._painting: Painting | None = None
        self._subject: Painting | None = None  # what is being painted: its `painted` is not there yet
        self._painter_state = self.painter.snapshot()

    @property
    def spec(self) -> WorldSpec:
        drawn, painter = self.driver.spec, self.painter.spec
        return replace(
            painter, name=f"{painter.name} over {drawn.name}", acts=drawn.acts, modalities=drawn.modalities,
            matte=drawn.matte, attributes=drawn.attributes, runtime=drawn.runtime,
        )  # fmt: skip

    @property
    def message(self) -> str:
        return next((m for world in (self.painter, self.driver) if (m := getattr(world, "message", ""))), "")

    @property
    def painted_fps(self) -> float:
        """Paintings a second, of late. All other frames are carried."""
        recent = [at for at in self._painted_at if time.monotonic() - at < RATE_S]
        return (len(recent) - 1) / (recent[-1] - recent[0]) if len(recent) > 1 else 0.0

    def set_quality(self, level: int) -> None:
        """The painter's."""
        if self.painter.spec.qualities:
            self.painter.set_quality(level)  # type: ignore[attr-defined]

    def settle(self) -> None:
        for world in (self.driver, self.painter):
            getattr(world, "settle", lambda: None)()

    def encode(self, prompt: Prompt) -> Tokens:
        """The driver's encoding and the painter's. Images, sounds and clips go to whichever of them takes such."""
        found: list[Tokens] = []
        refused: list[ValueError] = []
        for world in (self.driver, self.painter):
            try:
                found.append(world.encode(prompt))
            except ValueError as error:
                refused.append(error)
                found.append(world.encode(Prompt(prompt.text)))
        if len(refused) == 2:
            raise refused[0]
        driven, painting = found
        self._shapes = driven.values.shape, painting.values.shape
        return joined(driven, painting)

    def reset(self, seed: int) -> None:
        self._finish()
        self.driver.reset(seed)
        self.painter.reset(seed)
        self._forget()

    def step(self, controls: Controls) -> Frames:
        """The driver's step, and the newest painting carried to it; one frame of the painter's size."""
        begin = time.perf_counter()
        if self._shapes is None:
            self.encode(Prompt())
        assert self._shapes is not None
        driving, painting = parted(controls.tokens, *self._shapes)
        frames = on_host(self.driver.step(replace(controls, tokens=driving)))
        self._advance(frames)
        picture, alpha = self._prepared(frames)
        motion = None if self._geometry is None else torch.from_numpy(self._geometry.motion)
        for each in (self._painting, self._subject):
            if each is not None:
                each.move(motion)
        drawn = time.perf_counter()
        self.timings = {"step_ms": (drawn - begin) * 1e3}
        if controls.paint <= 0:
            self._painting = None
            return self._frames(picture.image, alpha)
        self._collect()
        if self._working is None:
            self._submit(picture, replace(controls, tokens=painting))
            self._collect(max(self._wait - (time.perf_counter() - begin), 0.0))
        shown = self._carried(picture)
        self.timings["decode_ms"] = (time.perf_counter() - drawn) * 1e3
        return self._frames(shown, alpha)

    def geometry(self) -> Geometry | None:
        """Of the driver's picture."""
        return self._geometry

    def _advance(self, frames: np.ndarray) -> None:
        """How the driver's picture moved: as it says itself, or else as it looks."""
        tell = getattr(self.driver, "geometry", None)
        found: Geometry | None = tell() if tell is not None else None
        if found is None:
            found = self._estimator.moved(frames[-1, ..., :3])
        else:
            self._estimator.forget()
        spec = self.painter.spec
        if found is not None:
            found = cropped(found, spec.width, spec.height)
        self._geometry = found

    def _prepared(self, frames: np.ndarray) -> tuple[Picture, Tensor | None]:
        """The middle of the driver's newest frame in the painter's size, and its matte (1, 1, h, w)."""
        spec = self.painter.spec
        top, left, rows, columns = window(frames.shape[1], frames.shape[2], spec.width, spec.height)
        middle = np.ascontiguousarray(frames[-1:, top : top + rows, left : left + columns])
        cut = torch.from_numpy(middle).permute(0, 3, 1, 2).float() / 255
        image = F.interpolate(cut, (spec.height, spec.width), mode="bilinear", antialias=True).clamp(0, 1)
        depth = None if self._geometry is None else self._geometry.depth
        return Picture(image[:, :3], depth), image[:, 3:] if image.shape[1] == 4 else None

    def _submit(self, picture: Picture, controls: Controls) -> None:
        """Begin to paint a picture. The painter learns how it moved since the last picture that it painted."""
        last = self._painting
        since = last.since.numpy() if last is not None and last.known else None
        live = picture.image[0].permute(1, 2, 0).mul(255).round().to(torch.uint8).numpy()
        asked = replace(controls, live=live, strength=1 - min(controls.paint, 1.0), motion=since, depth=picture.depth,
                        matte=False)  # fmt: skip
        self._subject = Painting(picture.image, picture)
        self._working = self._thread.submit(self._paint, asked)

    def _paint(self, controls: Controls) -> tuple[Tensor, WorldState, float]:
        begin = time.perf_counter()
        frames = torch.as_tensor(self.painter.step(controls)).cpu()
        took = (time.perf_counter() - begin) * 1e3
        return frames[-1:, ..., :3].permute(0, 3, 1, 2).float() / 255, self.painter.snapshot(), took

    def _collect(self, seconds: float = 0.0) -> None:
        """Take the painting that is finished, perhaps after a wait. Raises what the painter raised."""
        working, subject = self._working, self._subject
        if working is None or subject is None:
            return
        wait([working], None if seconds == math.inf else seconds)
        if not working.done():
            return
        self._working = self._subject = None
        painted, state, took = working.result()
        self._painter_state, self.painted = state, self.painted + 1
        self._painted_at.append(time.monotonic())
        self._painting = replace(subject, painted=painted)
        self.timings["paint_ms"] = took

    def _carried(self, picture: Picture) -> Tensor:
        """The newest painting as it looks over this picture."""
        last = self._painting
        if last is None:
            return picture.image
        if last.picture is picture:
            return self._fitted(last.painted)
        both, there = carried(torch.cat([self._fitted(last.painted), last.picture.image], 1), last.since)
        painted, under = both.split(3, 1)
        share = there[None, None].float()
        light = _soft((picture.image - under) * share, share)
        style = _soft((painted - under) * share, share)  # what the painter made of the colours around here
        return torch.where(there, painted + light, picture.image + style).clamp(0, 1)

    def _fitted(self, painted: Tensor) -> Tensor:
        """In the size of the pictures; a painter that is too slow draws smaller ones."""
        size = self.painter.spec.height, self.painter.spec.width
        return painted if painted.shape[2:] == size else F.interpolate(painted, size, mode="bilinear")

    @staticmethod
    def _frames(image: Tensor, alpha: Tensor | None) -> Tensor:
        whole = image if alpha is None else torch.cat([image, alpha], 1)
        return whole.mul(255).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous()

    def _finish(self) -> None:
        """Wait until the painter is idle; what it made is lost."""
        if self._working is not None:
            try:
                self._working.result()
            except Exception:
                logger.warning("a painting failed that is not shown", exc_info=True)
            self._working = self._subject = None

    def snapshot(self) -> WorldState:
        """The driver now, and the painter as it was after its newest painting."""
        last = self._painting
        return WorldState({
            "over": self.spec.name, "driver": self.driver.snapshot(), "painter": self._painter_state,
            "painting": None if last is None else replace(last),
        })  # fmt: skip

    def restore(self, state: WorldState) -> None:
        """Raises ValueError for another world's snapshot."""
        if state.data.get("over") != self.spec.name:
            raise ValueError(f"this snapshot is not of {self.spec.name}")
        self._finish()
        self.driver.restore(state.data["driver"])
        self.painter.restore(state.data["painter"])
        self._estimator.forget()
        self._painter_state = state.data["painter"]
        last = state.data["painting"]
        self._painting = None if last is None else replace(last)


def _soft(change: Tensor, share: Tensor) -> Tensor:
    """What of a change is light and not detail: its mean around each pixel. change: times share (1, 1, h, w), which is
    0 where it is not known."""
    rows, columns = change.shape[2:]
    size = max(rows // LIGHT, 1), max(columns // LIGHT, 1)
    coarse = F.interpolate(torch.cat([change, share], 1), size, mode="area")
    for _ in range(HOLES):  # into holes that are wider than a coarse cell
        coarse = torch.where(coarse[:, 3:] > KNOWN, coarse, F.avg_pool2d(coarse, 3, 1, 1))
    known = coarse[:, :3] / coarse[:, 3:].clamp(min=1e-3)
    return F.interpolate(known, (rows, columns), mode="bilinear")
