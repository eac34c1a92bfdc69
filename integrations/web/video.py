"""Pictures for browsers, coded once for all who watch: H.264 and VP8 for WebRTC, JPEG for everybody else."""

from __future__ import annotations

import asyncio
import contextlib
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal, Protocol

import av
import numpy as np
from av.video.frame import PictureType
from av.video.reformatter import ColorRange, Colorspace, VideoReformatter

from .. import Pixels, VideoFormat
from ..media.ffmpeg_frames import planar

Kind = Literal["H264", "VP8", "JPEG"]
RTP_CLOCK = 90_000  # ticks a second of every video payload (RFC 3551)
BT709, LIMITED_RANGE = 1, 1  # ITU-T H.273 matrix and AVCOL_RANGE_MPEG
BITS_A_PIXEL = 0.13  # the most that a moving picture may take: 8 Mbit/s for 1920x1080 at 30
RECENT = 15  # pictures kept for who is a little late
KEY_PAUSE = 0.5  # seconds between two key frames at least: one bad link must not cost the others their quality
# PyAV 17 converts in a pool of threads unless told not to, which is late on a busy machine.
ONE_THREAD: dict[str, Any] = {"threads": 1} if int(av.__version__.partition(".")[0]) >= 17 else {}


@dataclass(frozen=True)
class Coded:
    """One picture as it goes over the wire. due: time.monotonic() of its tick."""

    number: int
    data: bytes
    due: float
    key: bool = True


class Code(Protocol):
    def __call__(self, pixels: Pixels, due: float, key: bool) -> tuple[bytes, bool]:
        """yuv420p (h * 3 / 2, w), BT.709 limited range -> (its code, whether it can be decoded alone)."""
        ...


def _bits(fmt: VideoFormat) -> int:
    return math.ceil(fmt.width * fmt.height * fmt.fps * BITS_A_PIXEL)


def _coder(codec: str, fmt: VideoFormat, options: dict[str, str]) -> Any:
    """An encoder of one thread that holds nothing back; its time base is RTP's."""
    coder: Any = av.CodecContext.create(codec, "w")
    coder.width, coder.height, coder.pix_fmt = fmt.width, fmt.height, "yuv420p"
    coder.framerate, coder.time_base = Fraction(fmt.fps_num, fmt.fps_den), Fraction(1, RTP_CLOCK)
    coder.thread_count = 1  # the world needs the other cores, and a thread more is a picture later
    coder.gop_size = 10_000_000  # key frames come when somebody needs one
    coder.options = options
    return coder


def rtp_time(seconds: float) -> int:
    return round(seconds * RTP_CLOCK)


def unix_ms(monotonic: float) -> float:
    """A time of this process's monotonic clock, in milliseconds of UTC."""
    return (monotonic + time.time() - time.monotonic()) * 1e3


class _Stream:
    """A coder of one picture after another."""

    def __init__(self, coder: Any, convert: bool) -> None:
        self._coder, self._last = coder, -1
        self._convert = VideoReformatter() if convert else None

    def __call__(self, pixels: Pixels, due: float, key: bool) -> tuple[bytes, bool]:
        picture = planar(pixels)
        if self._convert:
            picture = self._convert.reformat(
                picture, format="yuv420p", src_colorspace=Colorspace.ITU709, dst_colorspace=Colorspace.ITU601,
                src_color_range=ColorRange.MPEG, dst_color_range=ColorRange.MPEG, **ONE_THREAD,
            )  # fmt: skip
        picture.pict_type = PictureType.I if key else PictureType.NONE
        picture.pts = self._last = max(rtp_time(due), self._last + 1)
        picture.time_base = self._coder.time_base
        packets = self._coder.encode(picture)
        return b"".join(bytes(p) for p in packets), any(p.is_keyframe for p in packets)


def h264(fmt: VideoFormat) -> Code:
    """Constrained baseline, which every browser decodes; its colours are tagged as they are."""
    bits = _bits(fmt)
    coder = _coder("libx264", fmt, {
        "preset": "ultrafast", "tune": "zerolatency", "crf": "21", "forced-idr": "1",
        "maxrate": str(bits), "bufsize": str(bits // 3),  # so that no picture takes longer than a third of a second
    })  # fmt: skip
    coder.profile = "Baseline"
    coder.color_primaries = coder.color_trc = coder.colorspace = BT709
    coder.color_range = LIMITED_RANGE
    return _Stream(coder, convert=False)


def vp8(fmt: VideoFormat) -> Code:
    """For browsers without H.264. VP8 knows no colours but BT.601's."""
    bits = _bits(fmt)
    coder = _coder("libvpx", fmt, {
        "deadline": "realtime", "cpu-used": "-12", "lag-in-frames": "0", "static-thresh": "1",
        "maxrate": str(bits), "bufsize": str(bits // 3),
    })  # fmt: skip
    coder.bit_rate, coder.qmin, coder.qmax = bits, 4, 56
    return _Stream(coder, convert=True)


def jpeg(fmt: VideoFormat) -> Code:
    """JFIF: BT.601, full range."""
    coder = _coder("mjpeg", fmt, {"huffman": "default"})
    coder.pix_fmt = "yuvj420p"
    coder.qmin = coder.qmax = 4  # close to quality 85 of libjpeg
    convert = VideoReformatter()

    def code(pixels: Pixels, due: float, key: bool) -> tuple[bytes, bool]:
        picture = convert.reformat(
            planar(pixels), format="yuvj420p",
            src_colorspace=Colorspace.ITU709, dst_colorspace=Colorspace.ITU601,
            src_color_range=ColorRange.MPEG, dst_color_range=ColorRange.JPEG, **ONE_THREAD,
        )  # fmt: skip
        picture.pts, picture.time_base = rtp_time(due), coder.time_base
        return b"".join(bytes(p) for p in coder.encode(picture)), True

    return code


CODES: dict[Kind, Callable[[VideoFormat], Code]] = {"H264": h264, "VP8": vp8, "JPEG": jpeg}


class Feed:
    """One code of the show, made in a thread of its own while somebody watches and not at all otherwise.

    `show` belongs to the output's thread, everything else to the event loop's. A picture that comes while one is being
    coded replaces the one that waits.
    """

    def __init__(self, kind: Kind, fmt: VideoFormat, loop: asyncio.AbstractEventLoop) -> None:
        self.kind, self.fmt, self.error = kind, fmt, ""
        self.watchers = 0
        self.coded = self.dropped = 0  # pictures; dropped are those that another one replaced before they were coded
        self._loop = loop
        self._change = threading.Condition()
        self._waiting: tuple[Pixels, float] | None = None
        self._closed = False
        self._key = True
        self._thread: threading.Thread | None = None
        self._recent: deque[Coded] = deque(maxlen=RECENT)
        self._next: asyncio.Future[None] = loop.create_future()

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        self.watchers += 1
        if self._thread is None or not self._thread.is_alive():  # at first, or after an error
            self.error, self._key = "", True
            self._thread = threading.Thread(target=self._run, name=f"web {self.kind}", daemon=True)
            self._thread.start()
        try:
            yield
        finally:
            self.watchers -= 1

    def show(self, pixels: Pixels, due: float) -> None:
        """The newest picture, which nobody writes to any more."""
        if self.watchers:
            with self._change:
                self.dropped += self._waiting is not None
                self._waiting = pixels, due
                self._change.notify()

    def ask_for_key(self) -> None:
        """Somebody cannot decode what comes: the next picture shall stand alone."""
        self._key = True

    @property
    def number(self) -> int:
        """Of the newest picture; 0 before the first."""
        return self._recent[-1].number if self._recent else 0

    async def newest(self, after: int) -> Coded:
        """The newest picture, as soon as there is one newer than `after`. RuntimeError if none can be coded."""
        while self.number <= after:
            await asyncio.shield(self._next)
        return self._recent[-1]

    async def following(self, after: int) -> Coded:
        """The picture that comes next after that one; a later one if that is long gone."""
        await self.newest(after)
        return next(picture for picture in self._recent if picture.number > after)

    def close(self) -> None:
        with self._change:
            self._closed = True
            self._change.notify()
        if self._thread is not None:
            self._thread.join(2.0)

    def _run(self) -> None:
        try:
            code, keyed_at = CODES[self.kind](self.fmt), -math.inf
            while (found := self._take()) is not None:
                pixels, due = found
                key = self._key and due - keyed_at >= KEY_PAUSE
                if key:
                    self._key, keyed_at = False, due
                data, alone = code(pixels, due, key)
                if data:
                    self.coded += 1
                    self._loop.call_soon_threadsafe(self._publish, Coded(self.coded, data, due, alone))
        except Exception as error:
            self.error = f"{self.kind} cannot be coded: {error or type(error).__name__}"
            with contextlib.suppress(RuntimeError):  # the loop is closed already
                self._loop.call_soon_threadsafe(self._wake, RuntimeError(self.error))

    def _take(self) -> tuple[Pixels, float] | None:
        with self._change:
            self._change.wait_for(lambda: self._waiting is not None or self._closed)
            found, self._waiting = self._waiting, None
            return None if self._closed else found

    def _publish(self, picture: Coded) -> None:
        self._recent.append(picture)
        self._wake()

    def _wake(self, error: RuntimeError | None = None) -> None:
        done, self._next = self._next, self._loop.create_future()
        if error is None:
            done.set_result(None)
        else:
            done.set_exception(error)
            done.exception()  # nobody needs to be waiting


class Feeds:
    """Every code of the show."""

    def __init__(self, fmt: VideoFormat, loop: asyncio.AbstractEventLoop) -> None:
        self._feeds: dict[Kind, Feed] = {kind: Feed(kind, fmt, loop) for kind in CODES}
        self.frames = 0

    def __getitem__(self, kind: Kind) -> Feed:
        return self._feeds[kind]

    def show(self, pixels: Pixels, due: float) -> None:
        """Hands a copy to those codes that somebody watches."""
        self.frames += 1
        watched = [feed for feed in self._feeds.values() if feed.watchers]
        if watched:
            own = np.array(pixels)
            for feed in watched:
                feed.show(own, due)

    def errors(self) -> list[str]:
        return [feed.error for feed in self._feeds.values() if feed.error]

    def coded(self) -> dict[str, int]:
        """Pictures coded so far, by kind."""
        return {kind: feed.coded for kind, feed in self._feeds.items()}

    def dropped(self) -> int:
        """Pictures that somebody watched for and nobody got, because coding was slow; each code counts its own."""
        return sum(feed.dropped for feed in self._feeds.values())

    def close(self) -> None:
        for feed in self._feeds.values():
            feed.close()
