"""The contract between a world and the program that plays it. Needs numpy only: importing this never loads torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor

Array = NDArray[np.float32]
Frames: TypeAlias = "Tensor | NDArray[np.uint8]"

ACTS = (
    "none", "dance", "robot", "headbang", "jump", "wave", "cry", "pose", "walk", "run", "bow", "freeze",
)  # fmt: skip
SOUND_STEPS = 16  # a sound prompt is a loop of so many levels a second
CAMERA_AXES = ("strafe", "forward", "yaw", "pitch", "zoom")


@dataclass(frozen=True)
class WorldSpec:
    """What a world is and can do."""

    name: str
    width: int
    height: int
    fps: float  # the rate it was trained for; a step's real length is Controls.dt
    frames_per_step: int  # at most
    acts: tuple[str, ...]
    modalities: tuple[str, ...]
    device: str
    steps_per_chunk: int = 1  # of which the first is long: it applies the controls and computes the chunk
    qualities: tuple[str, ...] = ()  # best first, each later one cheaper (size, window, ...); frames may be smaller
    # (prediction steps, index in `qualities`), best first: the order in which quality is given up where the world is
    # too slow. Without it, steps go first and then the qualities.
    ladder: tuple[tuple[int, int], ...] = ()
    matte: bool = False  # it can return the matte of its figure
    runtime: str = ""  # what computes its frames, for worlds that have several: "openvino bf16"
    audio_rate: int = 0  # samples a second of its own sound; 0 for a world that makes none
    # What its tokens say, for worlds whose tokens can be read: row i of `Tokens.values` belongs to the i-th attribute,
    # and column j of it holds the weight of that attribute's j-th value. Each value is a word that its prompts know.
    attributes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Prompt:
    """A description of the world by text, image, sound or video, alone or together.

    image: (h, w, 3) uint8 RGB of any size, whose look the world takes. sound: (n,) mono -1..1 at `rate`, of which up to
    a second is looped as the scene's pulse. video: (n, h, w, 3) uint8 RGB at the world's own rate, a scene that the
    world continues, for worlds with the modality "video".
    """

    text: str = ""
    image: NDArray[np.uint8] | None = None
    sound: Array | None = None
    rate: int = 48000
    video: NDArray[np.uint8] | None = None


@dataclass(frozen=True)
class Tokens:
    """An encoded prompt.

    values: (n, d) float32, to which the world attends; n and d are the same for every prompt of one world.
    words:  the prompt's words in order, lower case.
    parts:  (len(words), m, d) float32, the share of each word in the first m rows of `values`.
    rows:   (len(words), n) float32, instead of parts or beside them: the share of each row of `values` that belongs to
            a word. For encoders whose tokens belong to words it takes a few bytes, where parts would take megabytes a
            word.
    understood: 0..1, how clearly the world could read the prompt; 1 where it cannot tell.
    """

    values: Array
    words: tuple[str, ...] = ()
    parts: Array | None = None
    rows: Array | None = None
    understood: float = 1.0

    def weighted(self, weights: Mapping[str, float]) -> Array:
        """(n, d) values with each word's share times its live weight: 1 leaves it, 0 removes it, 2
        doubles it, -1 pushes away from it."""
        if not any(weights.get(w, 1.0) != 1.0 for w in self.words):
            return self.values
        scale = np.array([weights.get(w, 1.0) - 1.0 for w in self.words], np.float32)
        values = self.values if self.rows is None else self.values * (1.0 + scale @ self.rows)[:, None]
        if self.parts is not None:
            values = values.copy()
            values[: self.parts.shape[1]] += np.einsum("w,wnd->nd", scale, self.parts)
        return values


@dataclass(frozen=True)
class Controls:
    """The inputs of one step. They change only between steps."""

    tokens: Array  # (n, d), mixed by the deck from encoded prompts
    acts: Mapping[str, float] = field(default_factory=dict)  # act -> strength 0..1; empty is "none"
    camera: Mapping[str, float] = field(default_factory=dict)  # axis of CAMERA_AXES -> -1..1
    dt: float = 1 / 20  # seconds of world time this step covers, 1/120..1/8
    steps: int = 1  # prediction steps, 1..4
    energy: float = 0.0  # 0..1, how strongly a fader drives the scene
    sound: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)  # level, bass, treble, onset, 0..1 each
    guidance: float = 1.0  # 1 shows the prompt as it is, up to 2 exaggerates it
    live: NDArray[np.uint8] | None = None  # (h, w, 3) RGB of a camera; for worlds with the modality "live"
    strength: float = 0.0  # of the live image: 0 shows the world alone, 1 that image
    matte: bool = False  # return RGBA frames with the figure as alpha; for worlds whose spec has `matte`
    paint: float = 0.6  # of a world that paints over another: 0 shows the other alone, 1 the painting alone
    # How the live picture moved since the step before, where that is known: (h, w, 2), of each of its pixels the way
    # right and down that it came, in shares of the picture's width and height. NaN where nothing was there before.
    motion: Array | None = None
    depth: Array | None = None  # (h, w), how near each of its pixels is, where that is known: 1 near, 0 far away


@dataclass(frozen=True)
class Geometry:
    """What a world knows of the picture of its last step. motion, depth: as in `Controls`, of any size."""

    motion: Array
    depth: Array | None = None


@dataclass(frozen=True)
class Thing:
    """Something that stands in a world. bearing: degrees right of what the camera faces, -180..180. distance, height:
    in the world's units."""

    name: str
    bearing: float
    distance: float
    height: float = 0.0


@dataclass(frozen=True)
class Situation:
    """What a world knows of the moment of its last step, for game logic outside. The same seed and the same controls
    give the same one.

    x, y: where the camera is, in the world's units: to the right and ahead of where it began. height: of the eye.
    heading: degrees that it has turned to the right, 0..360. pitch: how far it looks up, below 0 down; zoom: a factor.
    place, light, weather, mood, act: the value that shows most; empty where the world has none. faces: what is in the
    middle of the picture. near: what stands around, the nearest first. sun_bearing: degrees right of what the camera
    faces, None without a sun or moon. seconds: of its own time since its beginning.
    """

    x: float = 0.0
    y: float = 0.0
    height: float = 0.0
    heading: float = 0.0
    pitch: float = 0.0
    zoom: float = 1.0
    place: str = ""
    light: str = ""
    weather: str = ""
    mood: str = ""
    act: str = ""
    faces: str = ""
    near: tuple[Thing, ...] = ()
    sun_bearing: float | None = None
    seconds: float = 0.0


@dataclass(frozen=True)
class WorldState:
    """A snapshot of a world. Opaque; valid for the world (and its weights) that made it."""

    data: Mapping[str, Any]


class World(Protocol):
    """A running generative model with its memory, which produces frames for ever. If its spec names `qualities`, it
    also has `set_quality(level: int)`, which takes effect with its next step or its next chunk. A world that becomes
    faster after it was opened has `settle()`, which waits for that. A world that knows how its pictures move has
    `geometry() -> Geometry | None`, of its last step. A world that knows where its camera is has `situation() ->
    Situation`, also of its last step; it is asked often, and takes well under a millisecond. A world that makes sound
    (`WorldSpec.audio_rate`) has `audio() -> Array`, the sound of its last step's frames: (samples, 2), -1..1. A world
    whose state can go on in another process with the same weights has `pack(state: WorldState) -> bytes` and
    `unpack(data: bytes) -> WorldState`; the second raises ValueError for anything else."""

    @property
    def spec(self) -> WorldSpec: ...

    def encode(self, prompt: Prompt) -> Tokens:
        """Encode a prompt once. May be slow; it is never called on the frame path. Raises ValueError for a prompt of a
        modality that the world does not have."""
        ...

    def reset(self, seed: int) -> None:
        """Forget everything; the same seed gives the same world again."""
        ...

    def step(self, controls: Controls) -> Frames:
        """One call of the world: uint8 (n, height, width, 3) RGB, on the model's device or as a NumPy array; RGBA with
        `Controls.matte`, for worlds that have a matte."""
        ...

    def snapshot(self) -> WorldState: ...

    def restore(self, state: WorldState) -> None: ...


def on_host(frames: Frames) -> NDArray[np.uint8]:
    """The frames of a step in host memory."""
    return frames if isinstance(frames, np.ndarray) else frames.cpu().numpy()


def slerp(tokens: Sequence[Array], weights: Sequence[float]) -> Array:
    """N-way spherical interpolation of (n, d) token arrays, row by row.

    Directions are averaged by weight and put back on the weighted mean length: for two inputs this is within
    rounding of Shoemake's slerp for the small angles between prompts, it is defined for any number, does not
    depend on their order, and is continuous in every weight: opposite directions, between which no shortest way
    exists, pass through shorter tokens instead of flipping. Weights that sum to 0 count as equal.
    """
    if len(tokens) == 1:
        return tokens[0]
    w = np.maximum(np.asarray(weights, np.float32), 0.0)
    w = w / w.sum() if w.sum() > 1e-6 else np.full(len(tokens), 1 / len(tokens), np.float32)
    stack = np.stack(tokens).astype(np.float32)
    lengths = np.linalg.norm(stack, axis=-1, keepdims=True)
    floor = np.maximum(lengths, np.maximum(0.1 * lengths.max(axis=0), 1e-6))  # what fades to nothing turns nothing
    direction = np.einsum("k,knd->nd", w, stack / floor)
    norm = np.linalg.norm(direction, axis=-1, keepdims=True)
    mean_length = np.einsum("k,knd->nd", w, lengths)
    directed = np.einsum("k,knd->nd", w, lengths / floor)  # the weight of rows that point anywhere at all
    return (direction / np.maximum(np.maximum(norm, 0.25 * directed), 1e-6) * mean_length).astype(np.float32)
