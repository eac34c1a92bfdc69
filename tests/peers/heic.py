"""A photograph as phones store it: HEVC tiles, and an item that says how they lie (ISO/IEC 23008-12, 6.6.2.3)."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import av
import numpy as np

TILE = 128


def box(kind: bytes, *parts: bytes, full: int | None = None) -> bytes:
    """full: version and flags of a full box."""
    body = (struct.pack(">I", full) if full is not None else b"") + b"".join(parts)
    return struct.pack(">I", 8 + len(body)) + kind + body


def coded(tile: np.ndarray) -> tuple[bytes, bytes]:
    """One tile as a still: its decoder configuration (hvcC) and its sample."""
    file = io.BytesIO()
    with av.open(file, "w", format="matroska") as container:
        stream = container.add_stream("libx265", rate=1, options={"x265-params": "log-level=none:crf=4"})
        stream.width = stream.height = TILE
        stream.pix_fmt = "yuv420p"
        frame = av.VideoFrame.from_ndarray(tile, format="rgb24")
        frame.pts = 0
        container.mux(stream.encode(frame) + stream.encode())
    with av.open(io.BytesIO(file.getvalue())) as container:
        configuration = container.streams.video[0].codec_context.extradata
        return bytes(configuration or b""), bytes(next(container.demux(video=0)))


def write(path: Path, image: np.ndarray) -> None:
    """(rows * TILE, columns * TILE, 3) RGB."""
    height, width = image.shape[:2]
    rows, columns = height // TILE, width // TILE
    cut = [image[y : y + TILE, x : x + TILE] for y in range(0, height, TILE) for x in range(0, width, TILE)]
    tiles = [coded(np.ascontiguousarray(tile)) for tile in cut]
    grid = len(tiles) + 1
    layout = struct.pack(">BBBBHH", 0, 0, rows - 1, columns - 1, width, height)
    samples = [sample for _, sample in tiles] + [layout]

    def meta(at: int) -> bytes:
        items = b"".join(
            box(b"infe", struct.pack(">HH", n, 0), kind + b"\0", full=0x02000000 | (n != grid))
            for n, kind in enumerate([b"hvc1"] * len(tiles) + [b"grid"], 1)
        )
        places, offset = b"", at
        for n, sample in enumerate(samples, 1):
            places += struct.pack(">HHHII", n, 0, 1, offset, len(sample))
            offset += len(sample)
        sizes = [box(b"ispe", struct.pack(">II", w, h), full=0) for w, h in ((TILE, TILE), (width, height))]
        used = b"".join(struct.pack(">HBBB", n, 2, 0x81, 0x02) for n in range(1, grid))
        used += struct.pack(">HBB", grid, 1, 0x03)
        return box(
            b"meta",
            box(b"hdlr", struct.pack(">I4s12x", 0, b"pict"), b"\0", full=0),
            box(b"pitm", struct.pack(">H", grid), full=0),
            box(b"iinf", struct.pack(">H", grid), items, full=0),
            box(b"iref", box(b"dimg", struct.pack(f">HH{len(tiles)}H", grid, len(tiles), *range(1, grid))), full=0),
            box(b"iprp", box(b"ipco", box(b"hvcC", tiles[0][0]), *sizes),
                box(b"ipma", struct.pack(">I", grid), used, full=0)),
            box(b"iloc", struct.pack(">HH", 0x4400, grid), places, full=0),
            full=0,
        )  # fmt: skip

    head = box(b"ftyp", b"heic", struct.pack(">I", 0), b"mif1heic")
    start = len(head) + len(meta(0)) + 8
    path.write_bytes(head + meta(start) + box(b"mdat", *samples))
