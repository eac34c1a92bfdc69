"""H.264 for files and streams: the graphics card's encoder where there is one, else x264."""

from __future__ import annotations

import os
from fractions import Fraction
from functools import lru_cache
from typing import Any

import av

from .. import VideoFormat
from .ffmpeg_frames import planar

SOFTWARE = "libx264"
# Hardware encoders, best first, with the pixel format that they take.
HARDWARE = {"h264_videotoolbox": "yuv420p", "h264_nvenc": "yuv420p", "h264_qsv": "nv12", "h264_amf": "nv12"}
IDR = {"forced-idr": "1", "forced_idr": "1"}  # nvenc; qsv and amf: requested key frames are IDR frames
LOW_LATENCY = {  # like x264's zerolatency
    "h264_videotoolbox": {"realtime": "1"},
    "h264_nvenc": {"tune": "ull", "delay": "0", "zerolatency": "1"},
    "h264_qsv": {"async_depth": "1"},
    "h264_amf": {"usage": "ultralowlatency", "latency": "1"},
}
BITS_PER_PIXEL = 0.15  # for encoders without a constant quality mode
BT709 = 1  # primaries, transfer and matrix in ITU-T H.273
LIMITED_RANGE = 1  # AVCOL_RANGE_MPEG


@lru_cache(maxsize=8)
def choose(width: int, height: int) -> tuple[str, dict[str, str]]:
    """The first hardware encoder that works for this size on this machine, with its options; else x264."""
    for name in HARDWARE:
        if name not in av.codec.codecs_available:
            continue
        for options in (IDR | LOW_LATENCY.get(name, {}), IDR):  # an older card or driver may not take them
            if _codes(name, width, height, options):
                return name, options
    return SOFTWARE, {}


def _codes(name: str, width: int, height: int, options: dict[str, str]) -> bool:
    try:
        coder: Any = av.CodecContext.create(name, "w")
        coder.width, coder.height, coder.pix_fmt = width, height, HARDWARE[name]
        coder.time_base, coder.framerate, coder.options = Fraction(1, 30), Fraction(30), dict(options)
        return bool(coder.encode(av.VideoFrame(width, height, HARDWARE[name])) or coder.encode(None))
    except (av.error.FFmpegError, OSError, ValueError):
        return False


class Coder:
    """A video stream of a container. One tick of the clock is one unit of time; there is a key frame every second, and
    no frame is delayed for better compression.

    live: for a network, with a lower bit rate. Raises RuntimeError for an odd width or height.
    """

    def __init__(self, container: Any, fmt: VideoFormat, live: bool = False) -> None:
        if fmt.width % 2 or fmt.height % 2:
            raise RuntimeError(f"cannot code {fmt.width}x{fmt.height}: H.264 4:2:0 needs an even width and height")
        self.name, options = choose(fmt.width, fmt.height)
        rate = Fraction(fmt.fps_num, fmt.fps_den)
        if self.name == SOFTWARE:  # frames held for lookahead would be lost in a crash
            options = {"preset": "veryfast", "tune": "zerolatency", "crf": "21" if live else "18"}
        self._stream = container.add_stream(self.name, rate=rate, options=dict(options))
        self._pixels = HARDWARE.get(self.name, "yuv420p")
        self._stream.width, self._stream.height, self._stream.pix_fmt = fmt.width, fmt.height, self._pixels
        coder = self._stream.codec_context
        self._tick = coder.time_base = 1 / rate
        self._second = coder.gop_size = max(round(rate), 1)
        self._key: int | None = None
        coder.max_b_frames = 0  # no reordering, so what is on disk can be played
        coder.thread_count = min(max((os.cpu_count() or 2) - 1, 1), 8)  # the world and the clock need a core
        if self.name != SOFTWARE:
            coder.bit_rate = int(fmt.width * fmt.height * fmt.fps * BITS_PER_PIXEL)
        coder.color_primaries = coder.color_trc = coder.colorspace = BT709
        coder.color_range = LIMITED_RANGE

    def encode(self, pixels: Any, position: int) -> list[Any]:
        """Packets of a yuv420p frame (h * 3 / 2, w) at a tick; with pixels None, the remaining packets."""
        if pixels is None:
            return list(self._stream.encode(None))
        frame = planar(pixels)  # the encoder does not use it after it returned
        if self._pixels != "yuv420p":
            frame = frame.reformat(format=self._pixels)
        if self._key is None or position - self._key >= self._second:  # by the clock, even if ticks were dropped
            self._key, frame.pict_type = position, av.video.frame.PictureType.I
        frame.pts, frame.time_base = position, self._tick  # not the stream's time base, which the container sets
        return list(self._stream.encode(frame))
