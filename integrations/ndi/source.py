"""NDI in: another program's picture from the local network.

Follows the NDI SDK 6 (Receiver): every captured picture is given back to the library, and of those that wait only the
newest is used. Colours are of limited range, by the matrix that the frame's `ndi_color_info` names (SDK, HDR). Of a
frame that names none they are BT.709, whatever its size: the SDK asks those who send YCbCr for BT.601 below HD and for
BT.2020 above, but its library (6.3, measured) codes and decodes everybody's RGB by BT.709 from 320x240 to 3840x2160.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from typing import Any

import av
import numpy as np
from av.video.reformatter import ColorRange

from .. import Pixels
from ..media.ffmpeg_frames import Framing
from .output import _runtime, check_discovery

FIND = 3.0  # seconds in which sources answer
WAIT_MS = 250  # for a picture
MATRIX = re.compile(r"<ndi_color_info\b[^>]*\bmatrix\s*=\s*[\"'](\w+)")
MATRICES = {"bt_601": 5, "bt_709": 1, "bt_2020": 9, "bt_2100": 9}  # libswscale's SWS_CS_
GONE = 1.5  # seconds without a picture or connection after which a source is looked for anew


def named(name: str, sources: Sequence[str]) -> str | None:
    """The source that is called exactly so: by its full name, "MACHINE (source)", or by its own."""
    wanted = name.lower()
    return next((s for s in sources if s.lower() == wanted or s.lower().endswith(f" ({wanted})")), None)


def matching(name: str, sources: Sequence[str]) -> str | None:
    """The source that is called exactly so, or else one with that in its name."""
    return named(name, sources) or next((s for s in sources if name.lower() in s.lower()), None)


def matrix(metadata: str) -> int:
    """By which a frame of this metadata is coded, as libswscale counts them; BT.709 where it does not say."""
    found = MATRIX.search(metadata)
    return MATRICES.get(found[1].lower() if found else "", MATRICES["bt_709"])


class NDISource:
    """One NDI source, found by name. `read` waits for its pictures; when it goes, it is found again by a new `open`.

    name: in full, "MACHINE (source)", the source's own, or a part of either, which counts only when nobody of the
    exact name answers in time, and no longer once somebody did: "stage left 2" does not stand in for "stage left".
    """

    def __init__(self, name: str = "", groups: str | None = None) -> None:
        self._name, self._groups = name, groups
        self._finder: Any = None
        self._receiver: Any = None
        self._framing = Framing()
        self._exactly = False  # the exact name is somebody's
        self._source, self._size, self._pictures, self._seen = "", (0, 0), 0, 0.0

    @property
    def name(self) -> str:
        return f"NDI source {self._name!r}"

    def open(self) -> None:
        """Raises OSError with the sources there are when this is none of them; Unsuitable without an NDI runtime."""
        ndi = self._ndi = _runtime()
        check_discovery()
        self._finder = ndi.find_create_v2(ndi.FindCreate(p_groups=self._groups))
        if self._finder is None:
            raise OSError("NDI could not start to look for sources")
        deadline, found, source = time.monotonic() + FIND, dict[str, Any](), None
        while source is None and time.monotonic() < deadline:
            ndi.find_wait_for_sources(self._finder, WAIT_MS)
            found = {s.ndi_name: s for s in ndi.find_get_current_sources(self._finder)}
            source = named(self._name, sorted(found))
        self._exactly |= source is not None
        if not self._exactly:
            source = matching(self._name, sorted(found))
        if source is None:
            there = ", ".join(sorted(found)) or "none"
            raise OSError(f"{self.name} is not on the network; there are: {there}")
        settings = ndi.RecvCreateV3(
            found[source], ndi.RECV_COLOR_FORMAT_UYVY_RGBA, ndi.RECV_BANDWIDTH_HIGHEST, False, "worldjockey"
        )
        self._receiver = ndi.recv_create_v3(settings)
        if self._receiver is None:
            raise OSError(f"NDI could not connect to {source}")
        self._source, self._seen = source, time.monotonic()

    def read(self, size: tuple[int, int]) -> Pixels | None:
        """The newest picture, (height, width, 3) RGB; None when none came for a moment. OSError when it is gone."""
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
                self._seen = now
            elif now - self._seen > GONE:
                raise OSError(f"{self._source} is gone")
            return None
        try:
            self._seen, self._pictures = now, self._pictures + 1
            coded = matrix(newest.metadata or "")
            return self._rgb(np.asarray(newest.data), newest.xres, newest.yres, coded, size)
        finally:
            ndi.recv_free_video_v2(self._receiver, newest)

    def _rgb(self, data: Pixels, width: int, height: int, coded: int, size: tuple[int, int]) -> Pixels:
        self._size = (width, height)
        rows = data.reshape(height, -1)
        if rows.shape[1] == 4 * width:
            picture = np.ascontiguousarray(rows.reshape(height, width, 4))
            return self._framing.rgb(av.VideoFrame.from_numpy_buffer(picture, "rgba"), size)
        frame = av.VideoFrame(width, height, "uyvy422")
        plane: Any = frame.planes[0]
        np.frombuffer(plane, np.uint8).reshape(plane.height, -1)[:, : rows.shape[1]] = rows
        return self._framing.rgb(frame, size, src_colorspace=coded, src_color_range=ColorRange.MPEG)

    def status(self) -> Mapping[str, Any]:
        return {"source": self._source, "size": list(self._size), "pictures": self._pictures}

    def close(self) -> None:
        if self._receiver is not None:
            self._ndi.recv_destroy(self._receiver)
        if self._finder is not None:
            self._ndi.find_destroy(self._finder)
        self._receiver = self._finder = None
