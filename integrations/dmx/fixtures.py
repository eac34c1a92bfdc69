"""Lights that show the picture: which part of it each one shows, and the bytes that it gets. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from .. import Rhythm

CHANNELS = 512
Colours = NDArray[np.float32]  # (n, 3) as in the picture, 0..1
Channels = Literal[
    "rgb", "grb", "bgr", "rgbw", "grbw", "rgba", "dimmer", "dimmer16", "rgb16", "dimmer+rgb", "rgb+dimmer"
]
Pulse = Literal["none", "beat", "bar", "energy", "level", "bass", "treble"]
PLACES: dict[str, tuple[float, float, float, float]] = {  # x, y, width and height as shares of the picture
    "all": (0, 0, 1, 1), "left": (0, 0, 0.33, 1), "right": (0.67, 0, 0.33, 1), "middle": (0.33, 0, 0.34, 1),
    "top": (0, 0, 1, 0.33), "bottom": (0, 0.67, 1, 0.33), "sky": (0, 0, 1, 0.4), "floor": (0, 0.75, 1, 0.25),
}  # fmt: skip
PIXELS_MAX = 4096  # of one strip
SAMPLED_ROWS, SAMPLED_COLUMNS = 72, 128  # of the picture that are looked at
LUMA = np.array([0.2126, 0.7152, 0.0722], np.float32)
AMBER = 0.75  # of red that amber takes over, where green goes with it


@dataclass(frozen=True)
class Fixture:
    """One light, or a strip or matrix of pixels.

    universe, channel: of its first channel. channels: what it takes, in this order. at: the part of the picture that it
    shows: a name (all, left, right, middle, top, bottom, sky, floor) or [x, y, width, height] as shares of it. pixels:
    of a strip, which lie along the part from its left to its right (or from its top to its bottom with `down: true`).
    rows: of a matrix, whose pixels fill the part row by row; with `serpentine: true` each second row runs back.
    reverse: the first pixel is the last. colour: the mean of the part, its most vivid colour, or white whatever the
    picture shows. level: its brightness at most, 0 to 1. pulse: what makes it brighter: each beat, the first beat of
    each bar, the show's energy, or the sound's level, bass or treble. depth: how dark it is between pulses, 0 as bright
    as ever and 1 black. balance: how much of red, green and blue makes this light's white look white, each 0 to 1.
    name: for the page.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid"}

    universe: int = 1
    channel: int = 1
    channels: Channels = "rgb"
    at: str | Sequence[float] = "all"
    pixels: int = 1
    rows: int = 1
    serpentine: bool = False
    reverse: bool = False
    down: bool = False
    colour: Literal["mean", "vivid", "white"] = "mean"
    level: float = 1.0
    pulse: Pulse = "none"
    depth: float = 1.0
    balance: Sequence[float] = (1.0, 1.0, 1.0)
    name: str = ""

    def __post_init__(self) -> None:
        """ValueError, with the fix, for what no light can be."""
        if not 1 <= self.channel <= CHANNELS:
            raise ValueError(f"channel {self.channel} does not exist: a universe has 1 to {CHANNELS}")
        if not 0 <= self.universe <= 63_999:
            raise ValueError(f"universe {self.universe} does not exist: use 1 to 63999, with Art-Net 0 to 32767")
        if not 1 <= self.pixels <= PIXELS_MAX or self.rows < 1 or self.pixels % self.rows:
            raise ValueError(f"a light has 1 to {PIXELS_MAX} pixels, which the rows divide evenly")
        if not 0 <= self.level <= 1 or not 0 <= self.depth <= 1:
            raise ValueError("level and depth are 0 to 1")
        if len(self.balance) != 3 or not all(0 <= part <= 1 for part in self.balance) or not any(self.balance):
            raise ValueError("balance is [red, green, blue], each 0 to 1, as in [1, 0.9, 0.8]")
        x, y, w, h = self.box
        if min(w, h) <= 0 or min(x, y) < 0 or max(x + w, y + h) > 1.0001:
            raise ValueError("at is a part of the picture: [x, y, width, height] between 0 and 1")

    @property
    def box(self) -> tuple[float, float, float, float]:
        if isinstance(self.at, str):
            if self.at not in PLACES:
                raise ValueError(f"there is no part {self.at[:40]!r}: use {', '.join(PLACES)} or [x, y, width, height]")
            return PLACES[self.at]
        if len(self.at) != 4:
            raise ValueError("at is a part of the picture: [x, y, width, height] between 0 and 1")
        x, y, w, h = (float(value) for value in self.at)
        return x, y, w, h

    @property
    def footprint(self) -> int:
        """Channels of one pixel."""
        return len(bytes_of(np.zeros((1, 3), np.float32), self.channels)[0])


def sampled(frame: NDArray[np.uint8]) -> Colours:
    """A few pixels of a frame (h, w, 3), spread evenly: at most (72, 128, 3), 0..1."""
    h, w = frame.shape[:2]
    rows = np.linspace(0, h - 1, min(h, SAMPLED_ROWS)).astype(int)
    columns = np.linspace(0, w - 1, min(w, SAMPLED_COLUMNS)).astype(int)
    found: Colours = frame[rows[:, None], columns, :3].astype(np.float32) / np.float32(255)
    return found


def seen(fixture: Fixture, picture: Colours) -> Colours:
    """(pixels, 3): the colours of a fixture's pixels, in the order of its channels."""
    h, w = picture.shape[:2]
    x, y, width, height = fixture.box
    top, bottom = int(y * h), max(int(np.ceil((y + height) * h)), int(y * h) + 1)
    left, right = int(x * w), max(int(np.ceil((x + width) * w)), int(x * w) + 1)
    part = picture[top:bottom, left:right]
    columns, rows = fixture.pixels // fixture.rows, fixture.rows
    if fixture.down and rows == 1:
        columns, rows = rows, columns
    if fixture.colour == "white":
        grid = np.ones((rows, columns, 3), np.float32)
    else:
        grid = _vivid(part, rows, columns) if fixture.colour == "vivid" else _means(part, rows, columns)
    if fixture.serpentine:
        grid[1::2] = grid[1::2, ::-1].copy()
    line = grid.reshape(-1, 3)
    return (line[::-1] if fixture.reverse else line) * np.float32(fixture.level)


def _edges(size: int, count: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Where `count` parts of an axis begin and end, each with one sample at least."""
    numbers = np.arange(count)
    first = np.minimum(numbers * size // count, size - 1)
    return first, np.maximum(-(-(numbers + 1) * size // count), first + 1)


def _means(part: Colours, rows: int, columns: int) -> Colours:
    """(rows, columns, 3): the mean of each cell, by a table of sums."""
    h, w = part.shape[:2]
    sums = np.zeros((h + 1, w + 1, 3), np.float64)
    sums[1:, 1:] = part.cumsum(0, dtype=np.float64).cumsum(1)
    (top, bottom), (left, right) = _edges(h, rows), _edges(w, columns)
    cells = sums[bottom][:, right] - sums[top][:, right] - sums[bottom][:, left] + sums[top][:, left]
    found: Colours = (cells / np.outer(bottom - top, right - left)[..., None]).astype(np.float32)
    return found


def _vivid(part: Colours, rows: int, columns: int) -> Colours:
    """(rows, columns, 3): the mean of each cell, in which strong colours count most."""
    weight = (part.max(-1, keepdims=True) - part.min(-1, keepdims=True)) ** 2 * part.max(-1, keepdims=True) + 1e-4
    return _means(part * weight, rows, columns) / _means(np.broadcast_to(weight, part.shape), rows, columns)


def pulsed(fixture: Fixture, rhythm: Rhythm, at: float) -> float:
    """How bright a light is at time.monotonic() `at`, 0..1: full at the beat, and falling until the next one."""
    match fixture.pulse:
        case "none":
            return 1.0
        case "beat" | "bar":
            every = 1 if fixture.pulse == "beat" else rhythm.bar
            bright = (1 - rhythm.beat_at(at) % every / every) ** 2
        case "energy" | "level" | "bass" | "treble":
            bright = getattr(rhythm, fixture.pulse)
    return 1 - fixture.depth * (1 - min(max(bright, 0.0), 1.0))


def bytes_of(colours: Colours, channels: str, balance: Sequence[float] = (1.0, 1.0, 1.0)) -> NDArray[np.uint8]:
    """(pixels, channels) of colours that are ready for the lights, 0..1. balance: of red, green and blue."""
    luma = np.clip(colours @ LUMA, 0, 1)
    dimmer = np.round(luma * 255).astype(np.uint8)[:, None]
    if channels in ("rgbw", "grbw"):  # the white light is white by itself
        white = colours.min(1, keepdims=True)
        parts = np.concatenate([(colours - white) * np.asarray(balance, np.float32), white], 1)
        return np.round(np.clip(parts, 0, 1) * 255).astype(np.uint8)[:, ["rgbw".index(c) for c in channels]]
    colours = colours * np.asarray(balance, np.float32)
    rgb = np.round(np.clip(colours, 0, 1) * 255).astype(np.uint8)
    match channels:
        case "rgb" | "grb" | "bgr":
            return rgb[:, ["rgb".index(c) for c in channels]]
        case "rgba":
            amber = np.minimum(colours[:, 0], colours[:, 1] * 2) * AMBER
            parts = np.stack([colours[:, 0] - amber, colours[:, 1] - amber / 2, colours[:, 2], amber], 1)
            return np.round(np.clip(parts, 0, 1) * 255).astype(np.uint8)
        case "dimmer":
            return dimmer
        case "dimmer16":
            return _coarse_and_fine(luma[:, None])
        case "rgb16":
            return _coarse_and_fine(np.clip(colours, 0, 1))
    # "dimmer+rgb", "rgb+dimmer": the colour at full brightness, and beside it how bright it is
    top = colours.max(1, keepdims=True)
    full = np.round(np.clip(colours / np.maximum(top, 1e-6), 0, 1) * 255).astype(np.uint8)
    bright = np.round(np.clip(top, 0, 1) * 255).astype(np.uint8)
    return np.concatenate([bright, full] if channels == "dimmer+rgb" else [full, bright], 1)


def _coarse_and_fine(values: Colours) -> NDArray[np.uint8]:
    """(n, k) in 0..1 -> (n, 2 * k), each value in two bytes, the coarse one first."""
    whole = np.round(values * 65535).astype(">u2")
    return np.ascontiguousarray(whole).view(np.uint8).reshape(len(values), -1)


def laid_out(fixtures: Sequence[Fixture], bytes_each: Sequence[NDArray[np.uint8]]) -> dict[int, NDArray[np.uint8]]:
    """The universes, (512,) each: what does not fit into one goes on at channel 1 of the next, and no pixel is
    divided."""
    universes: dict[int, NDArray[np.uint8]] = {}
    for fixture, pixels in zip(fixtures, bytes_each, strict=True):
        universe, channel, size = fixture.universe, fixture.channel - 1, pixels.shape[1]
        while len(pixels):
            fits = (CHANNELS - channel) // size
            if fits:
                part, pixels = pixels[:fits], pixels[fits:]
                frame = universes.setdefault(universe, np.zeros(CHANNELS, np.uint8))
                frame[channel : channel + part.size] = part.ravel()
            universe, channel = universe + 1, 0
    return universes
