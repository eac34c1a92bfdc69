"""The rig. One file per protocol; each is an `Output` or an `Input` and knows nothing of the others or of the node."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

# The environment variable that names the run's log file, to which every process and child program appends.
LOG_FILE_VARIABLE = "WJ_LOG_FILE"
Pixels = NDArray[np.uint8]
Samples = NDArray[np.float32]
Layout = Literal["native", "rgba", "bgrx", "uyvy", "uyva", "yuv420p"]


@dataclass(frozen=True)
class VideoFormat:
    """What the show sends."""

    width: int
    height: int
    fps_num: int  # frames a second as a fraction, so that 29.97 is 30000/1001
    fps_den: int = 1
    name: str = "worldjockey"  # the source's name, as other programs list it

    @property
    def fps(self) -> float:
        return self.fps_num / self.fps_den


@dataclass(frozen=True)
class CardMemory:
    """Pictures in a CUDA card's memory, as another process may open them.

    handle: by CUDA's interprocess communication. bus: the card's PCI address. size: bytes of one of the `slots`.
    """

    handle: bytes
    bus: str
    size: int
    slots: int


@dataclass(frozen=True)
class OnCard:
    """A world's picture on a CUDA card, and how it is to be composed there.

    slot: where in `memory` it lies, RGBA. number: counts the world's pictures; a new one is on its way in from what was
    shown before it. share: how much of it is seen, 0..1. flow: what moves from the one to the other,
    (height / 2, width / 2, 2) in pixels, float16; None is a plain blend. blackout: 1 is black.
    """

    memory: CardMemory
    slot: int
    number: int
    width: int
    height: int
    share: float = 1.0
    blackout: float = 0.0
    flow: NDArray[np.float16] | None = None


class CardError(RuntimeError):
    """A picture cannot go from the card's memory to OpenGL. The message says why; the same picture's pixels can."""


@dataclass(frozen=True)
class Frame:
    """One tick's picture in the layout the output asked for.

    pixels: native (h, w, 3) RGB at the world's own size; rgba (H, W, 4); bgrx (H, W, 4); uyvy (H, W, 2), BT.709 limited
    range; uyva (H * 3 / 2, W, 2), the same and below it H * W bytes of alpha; yuv420p (H * 3 / 2, W), BT.709 limited
    range. Owned by the caller: an output that keeps it past `send` says so by `holds`, the number of earlier frames
    whose pixels must stay untouched.
    """

    pixels: Pixels
    tick: int  # index on the output clock
    time: float  # time.monotonic() at which this tick was due
    card: OnCard | None = None


@dataclass(frozen=True)
class AudioChunk:
    """A piece of the sound that is listened to.

    samples: (n, 2), left and right, -1..1. rate: samples a second. time: time.monotonic() at which the first of them
    was heard, on a clock so even that the next piece begins where this one ends, unless something is missing between.
    """

    samples: Samples
    rate: int
    time: float

    @property
    def end(self) -> float:
        return self.time + len(self.samples) / self.rate


class Unsuitable(RuntimeError):
    """This can never work as things are: another platform's, or a part of it is not installed. The message names the
    fix. Whoever runs it need not try for ever."""


class Output(ABC):
    """Somewhere frames go. Runs in a process of its own; may block, may crash.

    Only `send` has to be written. All other methods are hooks that do nothing here. The attributes may be set by the
    class or, where options decide, by its constructor.

    The constructor's arguments, with their types, are the options that a show can set; it raises ValueError for values
    that cannot be. The class is also imported where the show is read, so its module imports the library that it sends
    through in `open` only.

    short: the option that may stand behind the kind and a colon, as in "ndi:NAME". example: of that short form.
    layout: of the pixels that `send` gets. holds: number of earlier frames whose pixels must stay untouched.
    wants_audio: audio goes to `send_audio`. accepts_gpu_frames: frames may lie on a CUDA card (`Frame.card`);
    if `send` raises CardError for one, pixels come from the next tick on. copies: each copy of a whole frame that this
    output makes, in words for `wj bench`.
    """

    short: str = "name"
    example: str = ""
    layout: Layout = "rgba"
    holds: int = 0
    wants_audio: bool = False
    accepts_gpu_frames: bool = False
    copies: tuple[str, ...] = ()

    def open(self, fmt: VideoFormat) -> None:  # noqa: B027
        """Raises OSError or RuntimeError with a message that names the fix; Unsuitable where waiting is no fix."""

    @abstractmethod
    def send(self, frame: Frame) -> None:
        """Take one frame; called once a tick. What it raises ends the process, which is then started again."""

    def send_audio(self, chunk: AudioChunk) -> None:  # noqa: B027
        """Take a chunk of the show's audio, after the frame of the same tick; called only where `wants_audio` is true.
        An exception costs this output its audio, not its frames."""

    def set_metadata(self, metadata: Mapping[str, Any]) -> None:  # noqa: B027
        """Called several times a second: "prompt", "cue" and "latency_ms" of the show."""

    def set_keystone(self, corners: Sequence[Sequence[float]]) -> None:  # noqa: B027
        """Called before each frame: how far the performer moved the screen's four corners, top left first and
        clockwise, each [x, y] as a share of the screen."""

    def status(self) -> Mapping[str, Any]:
        """JSON-able facts: connections, tally, bytes written, ... `{"closed": True}`: the user ended this output."""
        return {}

    def close(self) -> None:  # noqa: B027
        """Let go of everything. Called once, also after an error."""


class PictureSource(Protocol):
    """Somewhere live pictures come from. Runs in a process of its own; may block, may die."""

    def open(self) -> None:
        """Raises OSError with a message that names the fix (it is tried again); Unsuitable where waiting is no fix."""
        ...

    def read(self, size: tuple[int, int]) -> Pixels | None:
        """The newest picture, filling (width, height): (height, width, 3) RGB. Waits for it; None when none came within
        half a second but the source is still there. Raises OSError when it is gone."""
        ...

    def status(self) -> Mapping[str, Any]: ...

    def close(self) -> None: ...


@dataclass(frozen=True)
class ControlEvent:
    """One thing a performer did, as an input understood it.

    target: the parameter's name in the table ("prompt", "pad/3", "word/storm", "act/dance", "cue/go", ...).
    args: the values as they came (floats, ints, strings); the node checks and clamps them.
    arrived_at: time.monotonic() of arrival; 0 until the desk puts it in.
    source: who sent it ("osc 127.0.0.1:53211", "midi APC mini mk2").
    meta: {"relative": True} where the first of args is a step from the present value.
    """

    target: str
    args: tuple[Any, ...] = ()
    arrived_at: float = 0.0
    source: str = ""
    meta: Mapping[str, Any] = field(default_factory=dict)


Deliver = Callable[[ControlEvent], None]


class Input(Protocol):
    """Somewhere controls come from. Runs in threads of the control process and never raises into it."""

    def start(self, deliver: Deliver) -> None:
        """Raises OSError with a message that names the fix (a port in use, no such device)."""
        ...

    def feedback(self, target: str, value: Any) -> None:
        """The node's value of a parameter changed: tell the controller (LEDs, motor faders, OSC feedback)."""
        ...

    def status(self) -> Mapping[str, Any]: ...

    def stop(self) -> None: ...
