"""The contract between the node and the rig: `Output`, `Input`, `FrameSource` and the values that they exchange.

Each protocol is one file or package, and imports neither another protocol nor the node.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

# The environment variable that names the run's log file, to which every process and child program appends.
LOG_FILE_VARIABLE = "WJ_LOG_FILE"
Pixels = NDArray[np.uint8]
Samples = NDArray[np.float32]
Layout = Literal["native", "rgba", "bgrx", "uyvy", "uyva", "yuv420p"]


@dataclass(frozen=True)
class VideoFormat:
    """The format of the show: its size in pixels, its frame rate and its name."""

    width: int
    height: int
    fps_num: int  # frames a second as a fraction, as in 30000/1001 for 29.97
    fps_den: int = 1
    name: str = "worldjockey"  # as other programs list the source

    @property
    def fps(self) -> float:
        return self.fps_num / self.fps_den


@dataclass(frozen=True)
class CardMemory:
    """Frames in a CUDA card's memory that another process can open.

    handle: of the memory, for CUDA's interprocess communication. bus: the card's PCI address. slots: how many frames it
    holds. size: bytes of one slot.
    """

    handle: bytes
    bus: str
    size: int
    slots: int


@dataclass(frozen=True)
class OnCard:
    """A world's frame on a CUDA card, and how to compose the program's frame from it.

    slot: of the frame in `memory`, where it lies as RGBA. number: counts the world's frames. Each one replaces what was
    shown before it step by step: share is how much of it shows, 0..1, and flow the motion towards it,
    (height / 2, width / 2, 2) in pixels, float16; None is a plain blend. blackout: 0..1, 1 is black.
    """

    memory: CardMemory
    slot: int
    number: int
    width: int
    height: int
    share: float = 1.0
    blackout: float = 0.0
    flow: NDArray[np.float16] | None = None


@dataclass(frozen=True)
class KeyEvent:
    """A key of a computer keyboard that was pressed or released. key: its name as browsers give it
    (KeyboardEvent.key), in lower case, as in "q", "arrowleft", " "; "shift+w" for a letter while Shift is held. at:
    time.monotonic()."""

    key: str
    down: bool
    at: float


@dataclass(frozen=True, eq=False)
class Patch:
    """A part of the picture that lies over the world. rgba: (h, w, 4), not premultiplied. x, y: of its top left pixel,
    at the show's size. All four numbers are even."""

    rgba: Pixels
    x: int
    y: int


@dataclass(frozen=True)
class Rhythm:
    """The show's beat and sound. beat: at `time`, time.monotonic(), and it goes on at `bpm`. bar: beats of a bar.
    energy, level, bass, treble: the parameters of those names, 0..1."""

    time: float = 0.0
    beat: float = 0.0
    bpm: float = 120.0
    bar: int = 4
    energy: float = 0.0
    level: float = 0.0
    bass: float = 0.0
    treble: float = 0.0

    def beat_at(self, time: float) -> float:
        return self.beat + (time - self.time) * self.bpm / 60


class CardError(RuntimeError):
    """A frame cannot go from the card's memory to OpenGL, for the reason in the message. Its pixels still can."""


@dataclass(frozen=True)
class Frame:
    """One tick's frame in the layout that the output declared.

    pixels: native (h, w, 3) RGB at the world's own size; rgba (H, W, 4); bgrx (H, W, 4); uyvy (H, W, 2), BT.709 limited
    range; uyva (H * 3 / 2, W, 2), the same and below it H * W bytes of alpha; yuv420p (H * 3 / 2, W), BT.709 limited
    range. They belong to the caller: an output that needs them after `send` declares it with `holds`, the number of
    earlier frames whose pixels must stay untouched.
    """

    pixels: Pixels
    tick: int  # index on the output clock
    time: float  # time.monotonic() at which this tick was due
    card: OnCard | None = None


@dataclass(frozen=True)
class AudioChunk:
    """A chunk of the show's audio.

    samples: (n, 2), left and right, -1..1. rate: samples a second. time: time.monotonic() at which the first sample
    arrived, on a smoothed clock: the next chunk begins at this one's `end`, unless audio was lost in between.
    """

    samples: Samples
    rate: int
    time: float

    @property
    def end(self) -> float:
        """time.monotonic() at which the next chunk begins."""
        return self.time + len(self.samples) / self.rate


class Unsuitable(RuntimeError):
    """It cannot work on this machine as it is, because of the platform or a missing library. The message names the fix,
    and a retry is useless."""


class Output(ABC):
    """A destination of frames. It runs in a process of its own, and may block or crash.

    Only `send` must be implemented; all other methods are hooks that do nothing here. The attributes are set by the
    class or, where they depend on options, by its constructor.

    The constructor's arguments, with their types, are the options that a show can set; the constructor raises
    ValueError for invalid values. The class is also imported where the show is read, so its module must import the
    library that it sends through in `open` only.

    short: the option that can follow the kind and a colon, as in "ndi:NAME". example: of that short form.
    layout: of the pixels that `send` gets. holds: number of earlier frames whose pixels must stay untouched.
    wants_audio: `send_audio` gets the show's audio. accepts_gpu_frames: frames may lie on a CUDA card (`Frame.card`);
    if `send` raises CardError for one, the frames from the next tick on have pixels. copies: a description of each copy
    of a whole frame that this output makes, for `wj bench`. sends_keys: it has a keyboard, which plays the show
    (`take_keys`). background: its process gets no higher priority than other programs. wants_pixels: false while this
    output would drop the frames that it gets; an output of the layout "native" then need not get any.
    """

    short: str = "name"
    example: str = ""
    layout: Layout = "rgba"
    holds: int = 0
    wants_audio: bool = False
    accepts_gpu_frames: bool = False
    copies: tuple[str, ...] = ()
    sends_keys: bool = False
    background: bool = False

    @property
    def wants_pixels(self) -> bool:
        return True

    def open(self, fmt: VideoFormat) -> None:  # noqa: B027
        """Prepare to send. OSError or RuntimeError, with the fix, if that fails; Unsuitable if a retry is useless."""

    @abstractmethod
    def send(self, frame: Frame) -> None:
        """Send one frame; called once a tick. An exception ends the process, which is then started again."""

    def send_audio(self, chunk: AudioChunk) -> None:  # noqa: B027
        """Send a chunk of the show's audio; called after the frame of the same tick, and only where `wants_audio` is
        true. An exception ends the audio of this output, but not its frames."""

    def set_metadata(self, metadata: Mapping[str, Any]) -> None:  # noqa: B027
        """Called several times a second with the show's "prompt", "cue" and "latency_ms"."""

    def set_rhythm(self, rhythm: Rhythm) -> None:  # noqa: B027
        """Called before each frame with the show's beat and sound."""

    def set_keystone(self, corners: Sequence[Sequence[float]]) -> None:  # noqa: B027
        """Called before each frame with the four corners' offsets, top left first and clockwise, each [x, y] as a share
        of the screen."""

    def set_overlay(self, patches: Sequence[Patch], light: float) -> None:  # noqa: B027
        """Called before each frame where the layout is "native", with what is to lie over it; the frames of other
        layouts have it already. The same sequence means that nothing changed. light: 0 to 1, less in a blackout."""

    def take_keys(self) -> Sequence[KeyEvent]:
        """The keys since the last call, in the order of their presses; called after each frame where `sends_keys` is
        true. They play the show."""
        return ()

    def status(self) -> Mapping[str, Any]:
        """Facts for the status, as JSON can hold them: connections, tally, bytes written, ... `{"closed": True}` means
        that the user closed this output."""
        return {}

    def close(self) -> None:  # noqa: B027
        """Release everything. Called once, also after an error."""


class FrameSource(ABC):
    """A source of live frames, in a process of its own: it may block or crash. Only `read` has to be written."""

    def open(self) -> None:  # noqa: B027
        """Connect. OSError, with the fix, where that fails for now; Unsuitable if a retry is useless."""

    @abstractmethod
    def read(self, size: tuple[int, int]) -> Pixels | None:
        """Wait for the newest frame: (height, width, 3) RGB, cropped to fill `size`, (width, height). None if none came
        within half a second, but the source is still there. OSError when it is gone."""

    def status(self) -> Mapping[str, Any]:
        """JSON-able facts: the source's name, frames so far, ..."""
        return {}

    def close(self) -> None:  # noqa: B027
        """Let go of everything. Called once, also after an error."""


@dataclass(frozen=True)
class ControlEvent:
    """One control that an input received.

    target: the parameter's name in the table ("prompt", "pad/3", "word/storm", "act/dance", "cue/go", ...).
    args: the values as received (floats, ints, strings); the node checks and clamps them.
    arrived_at: time.monotonic() of its arrival; 0 until the desk sets it.
    source: its sender ("osc 127.0.0.1:53211", "midi APC mini mk2").
    meta: {"relative": True} where args[0] is a step from the present value.
    """

    target: str
    args: tuple[Any, ...] = ()
    arrived_at: float = 0.0
    source: str = ""
    meta: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class TimecodeFrame:
    """Where a source of timecode was at one moment.

    hours, minutes, seconds, frames: the label. part: frames further than the label, with a fraction; may be below 0.
    rate: "24", "25", "29.97" (drop frame) or "30", as the source says or as it was measured; empty where it is unknown.
    time: time.monotonic(). located: the source stands there, and does not run. source: its name, for the performer.
    """

    hours: int
    minutes: int
    seconds: int
    frames: int
    part: float
    rate: str
    time: float
    located: bool = False
    source: str = ""


Deliver = Callable[[ControlEvent], None]
OnTimecode = Callable[[TimecodeFrame], None]


class Input(ABC):
    """A source of controls. It runs in threads of the control process, and never raises into it. Only `start` has to be
    written; all other methods are hooks that do nothing here.
    """

    @abstractmethod
    def start(self, deliver: Deliver) -> None:
        """Start to receive. OSError, with the fix, where that fails (a port in use, no such device).

        deliver: called with each control, from any thread; it never blocks.
        """

    def feedback(self, target: str, value: Any) -> None:  # noqa: B027
        """Pass a parameter's new value to the controllers (LEDs, motor faders, OSC feedback). Must not block."""

    def publish(self, state: Mapping[str, Any]) -> None:  # noqa: B027
        """Pass on how the show goes, as JSON can hold it; called ten times a second. Must not block."""

    def status(self) -> Mapping[str, Any]:
        """JSON-able facts. "error" or "message": why it does not work now, in words for the performer."""
        return {}

    def stop(self) -> None:  # noqa: B027
        """End, within a few seconds."""
