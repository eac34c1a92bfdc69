"""Frames for browsers, encoded once for all viewers: H.264 and VP8 for WebRTC, JPEG for the others."""

from __future__ import annotations

import asyncio
import contextlib
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any, Literal, Protocol

import av
import numpy as np
from av.video.frame import PictureType
from av.video.reformatter import ColorRange, Colorspace, VideoReformatter

from .. import Pixels, VideoFormat
from ..media.ffmpeg_frames import planar

Codec = Literal["H264", "VP8", "JPEG"]
RTP_CLOCK_HZ = 90_000  # of every video payload (RFC 3551)
BT709, LIMITED_RANGE = 1, 1  # ITU-T H.273 matrix and AVCOL_RANGE_MPEG
MAX_BITS_A_PIXEL = 0.13  # 8 Mbit/s for 1920x1080 at 30 frames a second
LEAST_MAX_BIT_RATE = 2_000_000  # bits a second; small frames need more bits for each pixel
RECENT_FRAMES = 15  # kept for viewers that are a little late
MIN_KEY_INTERVAL_S = 0.5  # between key frames, so that one bad link does not cost the others their quality
# By default PyAV 17 converts in a pool of threads, which is late on a busy machine.
ONE_THREAD: dict[str, Any] = {"threads": 1} if int(av.__version__.partition(".")[0]) >= 17 else {}


@dataclass(frozen=True)
class EncodedFrame:
    """One encoded frame. number: from 1 on. due: time.monotonic() of its tick. key: it can be decoded alone."""

    number: int
    data: bytes
    due: float
    key: bool = True


class Encode(Protocol):
    def __call__(self, pixels: Pixels, due: float, key: bool) -> tuple[bytes, bool]:
        """Encode pixels, yuv420p (h * 3 / 2, w), BT.709 limited range -> (data, whether it is a key frame).

        due: time.monotonic() of the tick. key: ask for a key frame.
        """
        ...


def _max_bit_rate(fmt: VideoFormat) -> int:
    """Bits a second."""
    return max(math.ceil(fmt.width * fmt.height * fmt.fps * MAX_BITS_A_PIXEL), LEAST_MAX_BIT_RATE)


def _coder(codec: str, fmt: VideoFormat, options: dict[str, str]) -> Any:
    """An encoder with one thread and no delay; its time base is RTP's."""
    coder: Any = av.CodecContext.create(codec, "w")
    coder.width, coder.height, coder.pix_fmt = fmt.width, fmt.height, "yuv420p"
    coder.framerate, coder.time_base = Fraction(fmt.fps_num, fmt.fps_den), Fraction(1, RTP_CLOCK_HZ)
    coder.thread_count = 1  # the world needs the other cores, and each further thread would delay by a frame
    coder.gop_size = 10_000_000  # key frames come when a viewer needs one
    coder.options = options
    return coder


def rtp_time(seconds: float) -> int:
    """Seconds in units of the RTP clock."""
    return round(seconds * RTP_CLOCK_HZ)


def unix_ms(monotonic: float) -> float:
    """A time.monotonic() of this process in milliseconds of UTC."""
    return (monotonic + time.time() - time.monotonic()) * 1e3


class _StreamEncoder:
    """Encodes one frame after another, on one timeline."""

    def __init__(self, coder: Any, convert: bool) -> None:
        self._coder, self._last = coder, -1
        self._convert = VideoReformatter() if convert else None

    def __call__(self, pixels: Pixels, due: float, key: bool) -> tuple[bytes, bool]:
        frame = planar(pixels)
        if self._convert:
            frame = self._convert.reformat(
                frame, format="yuv420p", src_colorspace=Colorspace.ITU709, dst_colorspace=Colorspace.ITU601,
                src_color_range=ColorRange.MPEG, dst_color_range=ColorRange.MPEG, **ONE_THREAD,
            )  # fmt: skip
        frame.pict_type = PictureType.I if key else PictureType.NONE
        frame.pts = self._last = max(rtp_time(due), self._last + 1)
        frame.time_base = self._coder.time_base
        packets = self._coder.encode(frame)
        return b"".join(bytes(p) for p in packets), any(p.is_keyframe for p in packets)


def h264(fmt: VideoFormat) -> Encode:
    """Constrained baseline, which every browser decodes, with its colours tagged."""
    bits = _max_bit_rate(fmt)
    coder = _coder("libx264", fmt, {
        "preset": "ultrafast", "tune": "zerolatency", "crf": "21", "forced-idr": "1",
        "maxrate": str(bits), "bufsize": str(bits // 3),  # so that no frame takes longer than a third of a second
    })  # fmt: skip
    coder.profile = "Baseline"
    coder.color_primaries = coder.color_trc = coder.colorspace = BT709
    coder.color_range = LIMITED_RANGE
    return _StreamEncoder(coder, convert=False)


def vp8(fmt: VideoFormat) -> Encode:
    """For browsers without H.264. VP8 has BT.601 colours only."""
    bits = _max_bit_rate(fmt)
    coder = _coder("libvpx", fmt, {
        "deadline": "realtime", "cpu-used": "-12", "lag-in-frames": "0", "static-thresh": "1",
        "maxrate": str(bits), "bufsize": str(bits // 3),
    })  # fmt: skip
    coder.bit_rate, coder.qmin, coder.qmax = bits, 4, 56
    return _StreamEncoder(coder, convert=True)


def jpeg(fmt: VideoFormat) -> Encode:
    """JFIF: BT.601, full range."""
    coder = _coder("mjpeg", fmt, {"huffman": "default"})
    coder.pix_fmt = "yuvj420p"
    coder.qmin = coder.qmax = 4  # close to quality 85 of libjpeg
    convert = VideoReformatter()

    def encode(pixels: Pixels, due: float, key: bool) -> tuple[bytes, bool]:
        frame = convert.reformat(
            planar(pixels), format="yuvj420p",
            src_colorspace=Colorspace.ITU709, dst_colorspace=Colorspace.ITU601,
            src_color_range=ColorRange.MPEG, dst_color_range=ColorRange.JPEG, **ONE_THREAD,
        )  # fmt: skip
        frame.pts, frame.time_base = rtp_time(due), coder.time_base
        return b"".join(bytes(p) for p in coder.encode(frame)), True

    return encode


ENCODERS: dict[Codec, Callable[[VideoFormat], Encode]] = {"H264": h264, "VP8": vp8, "JPEG": jpeg}


def _not_yet(pixels: Pixels, due: float, key: bool) -> tuple[bytes, bool]:
    """The encoder before the first frame."""
    return b"", False


class Feed:
    """The show in one codec, encoded in a thread of its own, and only while there are viewers.

    Call `send` from the output's thread, the rest from the event loop's. A frame that comes while another is being
    encoded replaces the one that waits.
    """

    def __init__(self, codec: Codec, fmt: VideoFormat, loop: asyncio.AbstractEventLoop) -> None:
        self.codec, self.fmt, self.error = codec, fmt, ""
        self.viewers = 0
        self.encoded = self.dropped = 0  # frames; a frame is dropped when a newer one replaces it before it is encoded
        self._loop = loop
        self._change = threading.Condition()
        self._waiting: tuple[Pixels, float] | None = None
        self._closed = False
        self._key = True
        self._thread: threading.Thread | None = None
        self._recent: deque[EncodedFrame] = deque(maxlen=RECENT_FRAMES)
        self._next: asyncio.Future[None] = loop.create_future()

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        """Frames are encoded until the context ends."""
        self.viewers += 1
        if self._thread is None or not self._thread.is_alive():  # at first, or after an error
            self.error, self._key = "", True
            self._thread = threading.Thread(target=self._run, name=f"web {self.codec}", daemon=True)
            self._thread.start()
        try:
            yield
        finally:
            self.viewers -= 1

    def send(self, pixels: Pixels, due: float) -> None:
        """Encode this frame next. The pixels must not change any more."""
        if self.viewers:
            with self._change:
                self.dropped += self._waiting is not None
                self._waiting = pixels, due
                self._change.notify()

    def request_key_frame(self) -> None:
        """Make the next frame a key frame, since a viewer cannot decode the present ones."""
        self._key = True

    @property
    def number(self) -> int:
        """Of the newest frame; 0 before the first."""
        return self._recent[-1].number if self._recent else 0

    async def newest(self, after: int) -> EncodedFrame:
        """The newest frame, as soon as there is one after number `after`. RuntimeError if frames cannot be encoded."""
        while self.number <= after:
            await asyncio.shield(self._next)
        return self._recent[-1]

    async def following(self, after: int) -> EncodedFrame:
        """The next frame after number `after`, or a later one if that one is no longer kept."""
        await self.newest(after)
        return next(frame for frame in self._recent if frame.number > after)

    def close(self) -> None:
        with self._change:
            self._closed = True
            self._change.notify()
        if self._thread is not None:
            self._thread.join(2.0)

    def _run(self) -> None:
        try:
            encode, shape, keyed_at = _not_yet, (0, 0), -math.inf
            while (found := self._take()) is not None:
                pixels, due = found
                if pixels.shape != shape:  # at first, and where frames change their size
                    shape = pixels.shape
                    encode = ENCODERS[self.codec](replace(self.fmt, width=shape[1], height=shape[0] * 2 // 3))
                key = self._key and due - keyed_at >= MIN_KEY_INTERVAL_S
                if key:
                    self._key, keyed_at = False, due
                data, is_key = encode(pixels, due, key)
                if data:
                    self.encoded += 1
                    frame = EncodedFrame(self.encoded, data, due, is_key)
                    self._loop.call_soon_threadsafe(self._publish, frame)
        except Exception as error:
            self.error = f"{self.codec} cannot be encoded: {error or type(error).__name__}"
            with contextlib.suppress(RuntimeError):  # the loop is closed already
                self._loop.call_soon_threadsafe(self._wake, RuntimeError(self.error))

    def _take(self) -> tuple[Pixels, float] | None:
        with self._change:
            self._change.wait_for(lambda: self._waiting is not None or self._closed)
            found, self._waiting = self._waiting, None
            return None if self._closed else found

    def _publish(self, frame: EncodedFrame) -> None:
        self._recent.append(frame)
        self._wake()

    def _wake(self, error: RuntimeError | None = None) -> None:
        done, self._next = self._next, self._loop.create_future()
        if error is None:
            done.set_result(None)
        else:
            done.set_exception(error)
            done.exception()  # marks it as retrieved, since nobody may be waiting


class Feeds:
    """The show in every codec."""

    def __init__(self, fmt: VideoFormat, loop: asyncio.AbstractEventLoop) -> None:
        self._feeds: dict[Codec, Feed] = {codec: Feed(codec, fmt, loop) for codec in ENCODERS}
        self.frames = 0

    def __getitem__(self, codec: Codec) -> Feed:
        return self._feeds[codec]

    @property
    def watched(self) -> bool:
        """Whether there are viewers of any codec."""
        return any(feed.viewers for feed in self._feeds.values())

    def send(self, pixels: Pixels, due: float, copy: bool = True) -> None:
        """Pass one copy of the frame to the codecs that have viewers. due: time.monotonic() of its tick. copy: false
        where the pixels do not change any more."""
        self.frames += 1
        watched = [feed for feed in self._feeds.values() if feed.viewers]
        if watched:
            own = np.array(pixels) if copy else pixels
            for feed in watched:
                feed.send(own, due)

    def errors(self) -> list[str]:
        return [feed.error for feed in self._feeds.values() if feed.error]

    def coded(self) -> dict[str, int]:
        """Frames encoded so far, by codec."""
        return {codec: feed.encoded for codec, feed in self._feeds.items()}

    def dropped(self) -> int:
        """Frames that were not encoded in time, summed over the codecs that had viewers."""
        return sum(feed.dropped for feed in self._feeds.values())

    def close(self) -> None:
        for feed in self._feeds.values():
            feed.close()
