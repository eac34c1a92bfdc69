"""Messages between a show (the client) and a world on another machine (the host). Received data is never trusted.

A message is a kind, followed by parts that are JSON, packed numbers or bytes. Client to host: HELLO, FILE, STATE, SEEN,
BYE. Host to client: WELCOME, REFUSED, GOT, STATUS, OBEYED, FRAME.

Where a second machine is kept ready, the client asks the host that plays for its world's state again and again (GIVE;
GIVEN is the answer, empty where the world has none), and passes it on to the other host, which keeps it (KEEP). At TAKE
that host's world goes on from it, and frames are sent from then on.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import av
import numpy as np

from ..ipc.frame_ring import Pixels
from ..ipc.mailbox import NUMBERS, TEXTS
from ..parameters import PARAMETERS, TEXT_BYTES, WORDS_MAX, find

HELLO, FILE, STATE, SEEN, BYE = b"hello", b"file", b"state", b"seen", b"bye"
GIVE, KEEP, TAKE, GIVEN = b"give", b"keep", b"take", b"given"
WELCOME, REFUSED, GOT, STATUS, OBEYED, FRAME = b"welcome", b"refused", b"got", b"told", b"obeyed", b"frame"
NUMBER = struct.Struct("<Q")
FRAME_HEAD = struct.Struct("<Qdd")  # frame's number, newest_control_at, span
FILE_BYTES = 64 << 20  # of an image, audio file or clip on a pad
FRAME_BYTES = 32 << 20
STATE_BYTES = 16 << 20  # of a world's state; a larger one is not carried over
FRAMES_IN_FLIGHT = (2, 12)  # at least, at most
_TEXT = struct.Struct("<dd")
_NAMES = re.compile(r"[0-9a-f]{64}\.[a-z0-9]{1,8}")


class Malformed(ValueError):
    """An invalid message, which is dropped and counted."""


def layout() -> str:
    """Hash of the parameter table, which must be the same on both machines."""
    rows = [(p.name, p.kind, p.low, p.high, p.choices, p.local) for p in PARAMETERS.values()]
    return hashlib.sha256(repr(("2", rows)).encode()).hexdigest()[:16]


def window(rtt: float, fps: float) -> int:
    """How many frames may be in flight: those of a round trip of `rtt` seconds, and one more.

    The number is bounded, so that a slow link does not queue old frames.
    """
    return min(max(1 + math.ceil(rtt * fps), FRAMES_IN_FLIGHT[0]), FRAMES_IN_FLIGHT[1])


def packed(value: Any) -> bytes:
    return json.dumps(value).encode()


def unpacked(data: bytes) -> dict[str, Any]:
    """The JSON object of a message. Raises Malformed."""
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        raise Malformed("not JSON") from None
    if not isinstance(value, dict):
        raise Malformed("not a JSON object")
    return value


@dataclass(frozen=True)
class Hello:
    """What a client requests. session: identifies one run of a show. media: by the text that stands for them
    (media.prompt_text), file names by kind; a file's name is its SHA-256 and suffix. obeyed: how often each trigger was
    obeyed already."""

    session: str
    model: str
    top_fps: float
    aspect: float | None
    ahead: tuple[str, ...] = ()
    media: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    obeyed: Mapping[str, int] = field(default_factory=dict)
    layout: str = field(default_factory=layout)

    def pack(self) -> bytes:
        return packed(vars(self))

    @classmethod
    def unpack(cls, data: bytes) -> Hello:
        fields = unpacked(data)
        try:
            aspect = fields["aspect"]
            media = {str(slot): {str(k): str(v) for k, v in names.items()} for slot, names in fields["media"].items()}
            hello = cls(
                str(fields["session"])[:64], str(fields["model"])[:200], float(fields["top_fps"]),
                None if aspect is None else float(aspect), tuple(str(text)[:TEXT_BYTES] for text in fields["ahead"]),
                media, counts(fields["obeyed"]), str(fields["layout"])[:64],
            )  # fmt: skip
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
            raise Malformed("not a hello") from None
        fits = 1 <= hello.top_fps <= 240 and (hello.aspect is None or 0.05 <= hello.aspect <= 20)
        for slot, names in media.items():
            fits &= 0 < len(slot) <= TEXT_BYTES and slot.endswith("]") and "[" in slot
            fits &= names.keys() <= {"image", "sound", "video"}
            fits &= all(_NAMES.fullmatch(name) is not None for name in names.values())
        if not fits:
            raise Malformed("not a hello")
        return hello


def counts(value: Any) -> dict[str, int]:
    """Trigger counts. Raises Malformed."""
    if not isinstance(value, dict) or not all(find(str(k)) and type(n) is int and n >= 0 for k, n in value.items()):
        raise Malformed("not counts of triggers")
    return value


def cell(name: str, data: bytes) -> bytes:
    """Checked data for one of the mailbox's cells. Raises Malformed."""
    if name == "numbers":
        return _numbers(data)
    if name == "words":
        return _words(data)
    if name not in TEXTS:
        raise Malformed("no such cell")
    if not _TEXT.size <= len(data) <= _TEXT.size + TEXT_BYTES or not math.isfinite(_TEXT.unpack_from(data)[0]):
        raise Malformed(f"not a text for {name}")
    try:
        data[_TEXT.size :].decode()
    except UnicodeDecodeError:
        raise Malformed(f"not a text for {name}") from None
    return data


def _numbers(data: bytes) -> bytes:
    if len(data) != 3 * 8 * len(NUMBERS):
        raise Malformed("not the numbers")
    table = np.frombuffer(data).reshape(3, -1).copy()
    if not np.isfinite(table).all() or (table[2] < 0).any():
        raise Malformed("not numbers")
    for i, p in enumerate(NUMBERS):
        low, high = (0, len(p.choices) - 1) if p.kind == "enum" else (p.low, p.high)
        table[0, i] = min(max(table[0, i], low), high)
    return table.tobytes()


def _words(data: bytes) -> bytes:
    try:
        arrived_at, weights = json.loads(data)
        if len(weights) > WORDS_MAX or not math.isfinite(arrived_at):
            raise Malformed("not words")
        return packed([float(arrived_at), {str(w)[:64]: min(max(float(n), -1.0), 2.0) for w, n in weights.items()}])
    except (ValueError, TypeError, AttributeError, RecursionError):
        raise Malformed("not words") from None


class Packer:
    """Encodes frames as JPEG of the best quality, without chroma subsampling, which keeps saturated edges sharp.

    H.264 with key frames only was measured to be a third smaller and no faster, and needs state on both sides.
    """

    def __init__(self) -> None:
        self._codec: Any = None

    def pack(self, pixels: Pixels) -> bytes:
        """(h, w, 3) uint8 -> JPEG. Odd sizes are kept."""
        h, w, _ = pixels.shape
        codec = self._codec
        if codec is None or (codec.width, codec.height) != (w, h):
            codec = self._codec = av.CodecContext.create("mjpeg", "w")
            codec.width, codec.height, codec.pix_fmt, codec.time_base = w, h, "yuvj444p", Fraction(1, 30)
            codec.color_range, codec.thread_count, codec.qmin, codec.qmax = 2, 1, 2, 2
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), "rgb24").reformat(format="yuvj444p")
        return b"".join(bytes(packet) for packet in codec.encode(frame))


class Unpacker:
    """Decodes the frames of a `Packer`."""

    def __init__(self) -> None:
        self._codec: Any = None

    def unpack(self, data: bytes) -> Pixels:
        """(h, w, 3) uint8. Raises Malformed."""
        if self._codec is None:
            self._codec = av.CodecContext.create("mjpeg", "r")
            self._codec.thread_count = 1
        try:
            frames = self._codec.decode(av.Packet(data)) if data else []
            return np.asarray(frames[0].to_ndarray(format="rgb24"), np.uint8)
        except (av.FFmpegError, IndexError, ValueError, MemoryError):
            self._codec = None
            raise Malformed("not a JPEG") from None
