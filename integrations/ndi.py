"""NDI out: the picture on the local network, as mixers, media servers and OBS take it.

Follows the NDI SDK 6 (Sender, "Asynchronous Sending"): the picture handed to send_send_video_async_v2 belongs to the
sender until the next call, so one earlier frame must stay untouched.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np

from . import Frame, Layout, VideoFormat

AVAHI_SOCKET = Path("/run/avahi-daemon/socket")
DBUS_SOCKET = Path("/run/dbus/system_bus_socket")


def _runtime() -> Any:
    """The NDI library, ready to use. RuntimeError if this machine cannot run it."""
    try:
        import NDIlib
    except ImportError as error:
        linux = " && sudo apt install libavahi-client3" if sys.platform.startswith("linux") else ""
        fix = f"pip install ndi-python{linux} (Python 3.11 or newer)"
        raise RuntimeError(f"the NDI runtime is missing ({error}): {fix}") from None
    if not NDIlib.initialize():
        raise RuntimeError("NDI does not run on this processor: it needs SSE4.2 (x86) or NEON (ARM)")
    return NDIlib


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as daemon:
        return daemon.connect_ex(str(path)) == 0


def _discovery_server() -> str:
    """The NDI Discovery Server set in this machine's NDI configuration; with one, mDNS is not needed."""
    folder = Path(os.environ.get("NDI_CONFIG_DIR") or Path.home() / ".ndi")
    try:
        config = json.loads((folder / "ndi-config.v1.json").read_text("utf-8"))
        return str(config["ndi"]["networks"]["discovery"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def check_discovery() -> None:
    """OSError, with the command that helps, when nobody could find a source on this machine."""
    if not sys.platform.startswith("linux") or _discovery_server():
        return
    if not _answers(DBUS_SOCKET):
        raise OSError(
            "NDI sources are found through avahi, and its message bus is not running: "
            "sudo apt install dbus avahi-daemon && sudo service dbus start && sudo service avahi-daemon start"
        )
    if not _answers(AVAHI_SOCKET):
        raise OSError(
            "NDI sources are found through avahi, and it is not running: "
            "sudo apt install avahi-daemon && sudo service avahi-daemon start"
        )


def list_sources(timeout: float = 1.0) -> list[str]:
    """Names of the NDI sources on the network, sorted: those that answer within `timeout` seconds.

    Raises RuntimeError or OSError as `NDIOutput.open` does.
    """
    ndi = _runtime()
    check_discovery()
    finder = ndi.find_create_v2()
    if finder is None:
        raise RuntimeError("NDI could not start to look for sources")
    try:
        deadline = time.monotonic() + timeout
        while (left := deadline - time.monotonic()) > 0:
            ndi.find_wait_for_sources(finder, max(int(left * 1000), 1))
        return sorted(source.ndi_name for source in ndi.find_get_current_sources(finder))
    finally:
        ndi.find_destroy(finder)


class NDIOutput:
    """One NDI source. Receivers are served from threads of the library; `send` never waits for them.

    name: as receivers list it after the machine's name; None takes the show's.
    layout: "uyvy" is what NDI itself works in: exact, and half the bytes. "rgba" adds alpha; the library rounds its
    colours down by up to 5 levels on the way.
    """

    holds = 1

    def __init__(self, name: str | None = None, layout: Literal["rgba", "uyvy"] = "uyvy") -> None:
        if layout not in ("rgba", "uyvy"):
            raise ValueError(f"NDI takes rgba or uyvy, not {layout!r}")
        self.layout: Layout = layout
        self._name = name
        self._sender: Any = None
        self._in_flight: Any = None
        self._frames = 0

    def open(self, fmt: VideoFormat) -> None:
        self._ndi = _runtime()
        check_discovery()
        self._fmt = fmt
        name = self._name or fmt.name
        # The node has the clock: a sender that clocks video would block `send` to the frame rate a second time.
        self._sender = self._ndi.send_create(self._ndi.SendCreate(name, None, False, False))
        if self._sender is None:
            raise OSError(f"NDI could not create the source {name!r}: is it already on air from here? Try another name")

    def send(self, frame: Frame) -> None:
        ndi, fmt = self._ndi, self._fmt
        depth = 4 if self.layout == "rgba" else 2
        if frame.pixels.shape != (fmt.height, fmt.width, depth):
            raise ValueError(f"NDI as {self.layout} takes {(fmt.height, fmt.width, depth)}, not {frame.pixels.shape}")
        # A new description for each frame: it keeps its array alive for as long as it lives, and no longer.
        video = ndi.VideoFrameV2(
            frame_rate_N=fmt.fps_num, frame_rate_D=fmt.fps_den, timecode=ndi.SEND_TIMECODE_SYNTHESIZE
        )
        video.data = np.ascontiguousarray(frame.pixels)  # sets size and stride as well
        fourcc = ndi.FourCCVideoType
        rgba = self.layout == "rgba"
        video.FourCC = fourcc.FOURCC_VIDEO_TYPE_RGBA if rgba else fourcc.FOURCC_VIDEO_TYPE_UYVY
        ndi.send_send_video_async_v2(self._sender, video)
        self._in_flight = video
        self._frames += 1

    def status(self) -> Mapping[str, Any]:
        """source: the full name; connections: receivers now; tally: what a mixer says of us; frames: sent so far."""
        if self._sender is None:
            return {"connections": 0, "tally": {"program": False, "preview": False}, "frames": self._frames}
        tally = self._ndi.Tally()
        self._ndi.send_get_tally(self._sender, tally, 0)
        return {
            "source": self._ndi.send_get_source_name(self._sender).ndi_name,
            "connections": self._ndi.send_get_no_connections(self._sender, 0),
            "tally": {"program": tally.on_program, "preview": tally.on_preview},
            "frames": self._frames,
        }

    def close(self) -> None:
        if self._sender is not None:
            self._ndi.send_send_video_async_v2(self._sender, None)  # waits until the last picture is let go
            self._ndi.send_destroy(self._sender)
            self._sender = self._in_flight = None
