"""Decoded frames as a person expects to see them: upright, in square pixels, opaque, in the colours of a screen.

A container or a stream says how its frames are to be shown: a matrix that turns or mirrors them (ISO/IEC 14496-12,
6.2.2), the shape of a pixel, the matrix, range and transfer of its colours (ITU-T H.273). FFmpeg's command line obeys
all of it; its libraries leave it to the program. The work itself is done by FFmpeg's filters.
"""

from __future__ import annotations

import struct
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.filter import Graph

from .. import Pixels
from .hdr import table

HD_HEIGHT = 720  # rows from which on frames that do not name their colour matrix are BT.709, and BT.601 below
GRAPHS_MAX = 4  # a broadcast may change between interlaced and progressive frames with each cut
EXACT = "bicubic+accurate_rnd+full_chroma_int"
# By the numbers of H.273, as FFmpeg's filters call them.
MATRICES = {0: "gbr", 1: "bt709", 4: "fcc", 5: "bt470bg", 6: "smpte170m", 7: "smpte240m", 9: "bt2020nc", 10: "bt2020c"}
LINEAR = 8  # light itself, as OpenEXR stores it, with its alpha multiplied already
TO_SRGB = "maxval*if(lte(val,0.0031308*maxval),12.92*val/maxval,1.055*pow(val/maxval,1/2.4)-0.055)"  # IEC 61966-2-1
HDR_TRANSFERS = {16: "smpte2084", 18: "arib-std-b67"}  # PQ and HLG
# The filters that do what a display matrix (a, b, c, d) does to the frame: turns and mirrors.
Turn = tuple[int, int, int, int]
TURNS: dict[Turn, tuple[str, ...]] = {
    (1, 0, 0, 1): (),
    (-1, 0, 0, -1): ("hflip", "vflip"),
    (0, 1, -1, 0): ("transpose=clock",),
    (0, -1, 1, 0): ("transpose=cclock",),
    (-1, 0, 0, 1): ("hflip",),
    (1, 0, 0, -1): ("vflip",),
    (0, 1, 1, 0): ("transpose=cclock_flip",),
    (0, -1, -1, 0): ("transpose=clock_flip",),
}


class Display:
    """Turns frames into RGB. Frames may change their size, shape and colours on the way.

    Of an interlaced frame, which shows two moments in alternate rows, one is shown.
    """

    def __init__(self) -> None:
        self._graphs: dict[tuple[Any, ...], Graph] = {}

    def rgb(self, frame: av.VideoFrame, size: tuple[int, int] | None = None, max_height: int | None = None,
            pixel_aspect: Fraction | None = None) -> Pixels:  # fmt: skip
        """(height, width, 3) RGB.

        size: (width, height) that is filled with the middle of the frame; None keeps the frame's own size, made
        smaller where it is taller than max_height. pixel_aspect: width over height of the stream's pixels.
        """
        aspect = pixel_aspect or Fraction(1)
        if int(frame.color_range) == 0 and not frame.format.is_rgb and len(frame.format.components) > 2:
            # FFmpeg takes YUV with alpha as of full range where nothing tells, and other YUV as limited.
            frame.color_range = 2 if frame.format.name.startswith("yuvj") else 1
        shape = frame.width, frame.height, frame.format.name
        colours = int(frame.colorspace), int(frame.color_range), int(frame.color_primaries), int(frame.color_trc)
        key = (*shape, *colours, frame.interlaced_frame, _matrix(frame), aspect, size, max_height)
        graph = self._graphs.get(key)
        if graph is None:
            if len(self._graphs) >= GRAPHS_MAX:
                self._graphs.clear()
            graph = self._graphs[key] = _graph(frame, size, max_height, aspect)
        frame.pts = None  # the graph has no use for time
        graph.push(frame)
        shown = graph.vpull()
        return np.ascontiguousarray(shown.to_ndarray(format="rgb24"))


def _matrix(frame: av.VideoFrame) -> Turn:
    """(a, b, c, d) of the frame's display matrix, each -1, 0 or 1."""
    try:
        data = frame.side_data.get("DISPLAYMATRIX")
    except ValueError:  # side data that this PyAV has no name for
        data = None
    if data is None:
        return TURN_OF_ANGLE.get(round(frame.rotation / 90) * 90 % 360, (1, 0, 0, 1))
    a, b, _, c, d, *_ = struct.unpack("<9i", bytes(data)[:36])  # type: ignore[call-overload]
    largest = max(abs(v) for v in (a, b, c, d)) or 1
    turn = (round(a / largest), round(b / largest), round(c / largest), round(d / largest))
    return turn if turn in TURNS else (1, 0, 0, 1)


# Of `VideoFrame.rotation`, which counts degrees counterclockwise.
TURN_OF_ANGLE: dict[int, Turn] = {0: (1, 0, 0, 1), 90: (0, -1, 1, 0), 180: (-1, 0, 0, -1), 270: (0, 1, -1, 0)}


def escaped(path: Path) -> str:
    """A path as the value of a filter's option, where a colon ends it (as in C:/)."""
    return path.as_posix().replace("\\", "/").replace(":", r"\:").replace("'", r"\'")


def _graph(frame: av.VideoFrame, size: tuple[int, int] | None, max_height: int | None, aspect: Fraction) -> Graph:
    width, height, form = frame.width, frame.height, frame.format
    matrix = MATRICES.get(int(frame.colorspace), "bt709" if height >= HD_HEIGHT else "smpte170m")
    full = int(frame.color_range) == 2 or form.name.startswith("yuvj") or form.is_rgb
    turn = _matrix(frame)
    linear = int(frame.color_trc) == LINEAR
    chain = []
    if frame.interlaced_frame:  # one of the two moments that it shows, in half of the rows
        chain.append("field=type=top")
    if any(component.is_alpha for component in form.components) and not linear:  # over black
        chain += ["format=gbrap", "premultiply=inplace=1", "format=gbrp"]
        matrix, full = "gbr", True
    chain += TURNS[turn]
    wide, tall = round(width * aspect), height
    if turn[0] == 0:
        wide, tall = tall, wide
    if size is not None:
        scale = max(size[0] / wide, size[1] / tall)
        # Of a banner or an LED strip only the middle is seen: the rest is not scaled to the size, which may be huge.
        kept = [min(1.0, 2 * seen / (of * scale)) for seen, of in zip(size, (wide, tall), strict=True)]
        if min(kept) < 1:
            chain.append(f"crop=iw*{kept[0]}:ih*{kept[1]}:exact=1")
            wide, tall = max(round(wide * kept[0]), 1), max(round(tall * kept[1]), 1)
            scale = max(size[0] / wide, size[1] / tall)
    else:
        scale = min(1.0, max_height / tall) if max_height else 1.0
    wide, tall = max(round(wide * scale), size[0] if size else 1), max(round(tall * scale), size[1] if size else 1)
    scaler = f"scale={wide}:{tall}:flags={EXACT}"
    chain.append(scaler)
    if transfer := HDR_TRANSFERS.get(int(frame.color_trc)):
        chain += ["format=gbrp10le", f"lut3d=file={escaped(table(transfer))}:interp=tetrahedral"]
    if linear:
        chain += ["format=gbrp16le", f"lutrgb=r='{TO_SRGB}':g='{TO_SRGB}':b='{TO_SRGB}'"]
    if size is not None:
        chain.append(f"crop={size[0]}:{size[1]}:{(wide - size[0]) // 2}:{(tall - size[1]) // 2}")
    chain.append("format=rgb24")
    source = f"video_size={width}x{height}:pix_fmt={form.name}:time_base=1/1000"
    source += f":colorspace={matrix if not form.is_rgb else 'gbr'}:range={'pc' if full else 'tv'}"
    graph = Graph()
    graph.threads = 1
    nodes = [graph.add("buffer", source)]
    for step in chain:
        name, _, options = step.partition("=")
        nodes.append(graph.add(name, options or None))
    nodes.append(graph.add("buffersink"))
    graph.link_nodes(*nodes)
    graph.configure()
    return graph
