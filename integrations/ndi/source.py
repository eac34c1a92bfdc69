"""NDI in: another program's frames from the local network.

Follows the NDI SDK 6 (Receiver): every captured frame is returned to the library, and of several queued ones only the
newest is used. Colours are limited range, by the matrix in the frame's `ndi_color_info` (SDK, HDR). Without that they
are BT.709 at every size: the SDK asks senders of YCbCr for BT.601 below HD and BT.2020 above, but its library (6.3,
measured) converts RGB by BT.709 from 320x240 to 3840x2160.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

import av
import numpy as np

from .. import FrameSource, Pixels
from ..media.display import Display
from .output import as_announced, check_discovery, runtime

FIND_TIMEOUT_S = 3.0  # for sources to answer
WAIT_MS = 250  # for a frame
MATRIX = re.compile(r"<ndi_color_info\b[^>]*\bmatrix\s*=\s*[\"'](\w+)")
MATRICES = {"bt_601": 5, "bt_709": 1, "bt_2020": 9, "bt_2100": 9}  # by the numbers of ITU-T H.273
LOST_TIMEOUT_S = 1.5  # without a frame or connection, after which the source is looked for anew


def named(name: str, sources: Sequence[str]) -> str | None:
    """The source of exactly this name, in full, "MACHINE (source)", or without the machine; None if there is none."""
    wanted = as_announced(name).lower()
    return next((s for s in sources if s.lower() == wanted or s.lower().endswith(f" ({wanted})")), None)


def matching(name: str, sources: Sequence[str]) -> str | None:
    """The source of exactly this name, or else one whose name contains it; None if there is none."""
    return named(name, sources) or next((s for s in sources if as_announced(name).lower() in s.lower()), None)


def matrix(metadata: str) -> int:
    """The number of the colour matrix that a frame's metadata names; BT.709 where it names none."""
    found = MATRIX.search(metadata)
    return MATRICES.get(found[1].lower() if found else "", MATRICES["bt_709"])


def pixel_rows(data: Pixels, row_bytes: int) -> Pixels:
    """(height, row_bytes) of a frame whose rows may be longer, as the library pads those of narrow frames."""
    return np.lib.stride_tricks.as_strided(data, (len(data), row_bytes), (data.strides[0], 1), writeable=False)


def pixel_aspect(picture_aspect: float, width: int, height: int) -> Fraction:
    """Width over height of a pixel. picture_aspect: of the frame, 0 where its pixels are square."""
    ratio = picture_aspect * height / width if width and height else 0.0
    return Fraction(1) if ratio <= 0 or abs(ratio - 1) < 0.01 else Fraction(ratio).limit_denominator(1000)


class NDISource(FrameSource):
    """One NDI source, found by name. `read` waits for its frames; after the source has gone, `open` finds it again.

    name: in full, "MACHINE (source)", without the machine, or a part of either. A part counts only if no source of the
    exact name ever answered: "stage left 2" must not replace "stage left" when that one is gone. groups: the groups to
    look in, separated by commas; None is the public one.
    """

    def __init__(self, name: str = "", groups: str | None = None) -> None:
        self._name, self._groups = name, groups
        self._finder: Any = None
        self._receiver: Any = None
        self._display = Display()
        self._exact_found = False  # a source of the exact name answered once
        self._source, self._size, self._frames, self._last_seen = "", (0, 0), 0, 0.0

    @property
    def name(self) -> str:
        return f"NDI source {self._name!r}"

    def open(self) -> None:
        """OSError, with the names on the network, if the source is not there; Unsuitable without the NDI library."""
        ndi = self._ndi = runtime()
        check_discovery()
        self._finder = ndi.find_create_v2(ndi.FindCreate(p_groups=self._groups))
        if self._finder is None:
            raise OSError("NDI cannot look for sources: check that this machine has a network")
        deadline, found, source = time.monotonic() + FIND_TIMEOUT_S, dict[str, Any](), None
        while source is None and time.monotonic() < deadline:
            ndi.find_wait_for_sources(self._finder, WAIT_MS)
            found = {s.ndi_name: s for s in ndi.find_get_current_sources(self._finder)}
            source = named(self._name, sorted(found))
        self._exact_found |= source is not None
        if not self._exact_found:
            source = matching(self._name, sorted(found))
        if source is None:
            names = ", ".join(sorted(found)) or "none"
            raise OSError(f"{self.name} is not on the network; there are: {names}")
        settings = ndi.RecvCreateV3(
            found[source], ndi.RECV_COLOR_FORMAT_UYVY_RGBA, ndi.RECV_BANDWIDTH_HIGHEST, False, "worldjockey"
        )
        self._receiver = ndi.recv_create_v3(settings)
        if self._receiver is None:
            raise OSError(f"NDI cannot connect to {source}: check the network between the two machines")
        self._source, self._last_seen = source, time.monotonic()

    def read(self, size: tuple[int, int]) -> Pixels | None:
        """The newest frame, (height, width, 3) RGB; None if none came for a moment. OSError when the source is gone."""
        ndi, newest = self._ndi, None
        wait = WAIT_MS
        while True:
            kind, video, *_ = ndi.recv_capture_v2(self._receiver, wait, True, False, False)
            if kind != ndi.FRAME_TYPE_VIDEO:
                break
            if newest is not None:
                ndi.recv_free_video_v2(self._receiver, newest)
            newest, wait = video, 0
        now = time.monotonic()
        if newest is None:
            if ndi.recv_get_no_connections(self._receiver) > 0:
                self._last_seen = now
            elif now - self._last_seen > LOST_TIMEOUT_S:
                raise OSError(f"{self._source} is gone")
            return None
        try:
            self._last_seen, self._frames = now, self._frames + 1
            return self._rgb(newest, size)
        finally:
            ndi.recv_free_video_v2(self._receiver, newest)

    def _rgb(self, video: Any, size: tuple[int, int]) -> Pixels:
        data, width, height = np.asarray(video.data), video.xres, video.yres
        self._size = (width, height)
        uyvy = video.FourCC == self._ndi.FourCCVideoType.FOURCC_VIDEO_TYPE_UYVY
        rows = pixel_rows(data, width * (2 if uyvy else 4))
        aspect = pixel_aspect(video.picture_aspect_ratio, width, height)
        if not uyvy:
            rgba = np.ascontiguousarray(rows.reshape(height, width, 4))
            return self._display.rgb(av.VideoFrame.from_numpy_buffer(rgba, "rgba"), size, pixel_aspect=aspect)
        frame = av.VideoFrame(width, height, "uyvy422")
        plane: Any = frame.planes[0]
        np.frombuffer(plane, np.uint8).reshape(plane.height, -1)[:, : rows.shape[1]] = rows
        frame.colorspace, frame.color_range = matrix(video.metadata or ""), 1  # limited
        return self._display.rgb(frame, size, pixel_aspect=aspect)

    def status(self) -> Mapping[str, Any]:
        return {"source": self._source, "size": list(self._size), "pictures": self._frames}

    def close(self) -> None:
        if self._receiver is not None:
            self._ndi.recv_destroy(self._receiver)
        if self._finder is not None:
            self._ndi.find_destroy(self._finder)
        self._receiver = self._finder = None
