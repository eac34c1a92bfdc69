"""Virtual camera out: the show as a camera for video calls, browsers and recorders.

Written against pyvirtualcam 0.15.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from . import Frame, Layout, Output, Unsuitable, VideoFormat

FIXES = (
    "Linux: sudo apt install v4l2loopback-dkms && sudo modprobe v4l2loopback exclusive_caps=1 card_label=worldjockey; "
    "macOS and Windows: install OBS 30 or newer and start its virtual camera once"
)


class VirtualCameraOutput(Output):
    """One virtual camera at the show's size.

    name: of the device, as in /dev/video2 or "OBS Virtual Camera"; None takes the first free one.
    """

    layout: Layout = "yuv420p"
    holds = 0
    copies = ("into the device",)  # in pyvirtualcam's `send`

    def __init__(self, name: str | None = None) -> None:
        self._name = name
        self._camera: Any = None
        self._frames = 0

    def open(self, fmt: VideoFormat) -> None:
        try:
            import pyvirtualcam
        except ImportError as error:
            raise Unsuitable(f"the virtual camera's library is missing ({error}): pip install pyvirtualcam") from None
        if fmt.width % 2 or fmt.height % 2:
            raise Unsuitable(f"a camera cannot show {fmt.width}x{fmt.height}: use an even width and height, for 4:2:0")
        self._fmt = fmt
        try:
            self._camera = pyvirtualcam.Camera(
                fmt.width, fmt.height, fmt.fps, fmt=pyvirtualcam.PixelFormat.I420, device=self._name
            )
        except RuntimeError as error:
            name = f" {self._name}" if self._name else ""
            raise OSError(f"no virtual camera{name} can be opened ({error}). {FIXES}") from None

    def send(self, frame: Frame) -> None:
        expected = (self._fmt.height * 3 // 2, self._fmt.width)
        if frame.pixels.shape != expected:
            raise ValueError(f"a camera takes yuv420p {expected}, not {frame.pixels.shape}")
        self._camera.send(np.ascontiguousarray(frame.pixels).reshape(-1))
        self._frames += 1

    def status(self) -> Mapping[str, Any]:
        """device: as other programs list it; frames: sent so far."""
        return {"device": self._camera.device if self._camera is not None else "", "frames": self._frames}

    def close(self) -> None:
        if self._camera is not None:
            self._camera.close()
            self._camera = None
