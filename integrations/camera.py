"""Cameras, capture cards, clips and streams as live video: anything that ffmpeg opens.

Cameras are ffmpeg's input devices: v4l2 on Linux, avfoundation on macOS, dshow on Windows (ffmpeg-devices).
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import av

from . import Pixels
from .media.ffmpeg_frames import Framing

DEVICE_FORMATS = {"linux": "v4l2", "darwin": "avfoundation", "win32": "dshow"}
NETWORK_TIMEOUT_S = 5.0  # to open a stream, and without data
LATE_MAX_S = 0.25  # delay from which a clip that decodes too slowly restarts its clock
STILL_INTERVAL_S = 0.5  # after which `read` returns without a new frame


def list_cameras() -> list[str]:
    """Names or descriptions of the cameras, in the order in which `camera: 0` counts them."""
    return [f"{d.description or d.name} ({d.name})" if sys.platform == "linux" else d.description or d.name
            for d in _devices()]  # fmt: skip


def _devices() -> list[av.DeviceInfo]:
    try:
        found = av.enumerate_input_devices(DEVICE_FORMATS[sys.platform])
    except (KeyError, OSError, ValueError, av.FFmpegError):
        return []
    return [d for d in found if not d.media_types or "video" in d.media_types]


def camera_url(camera: int | str, system: str = sys.platform) -> str:
    """ffmpeg's URL of a camera: a number counts cameras from 0, a text is a part of a name, or a path on Linux.

    Raises OSError, with the names of all cameras, where none has that name.
    """
    if system == "linux" and not isinstance(camera, int) and camera.startswith("/dev/"):
        return camera
    if system == "darwin":
        return f"{camera}:none"  # avfoundation takes numbers and names
    found = _devices()
    for i, d in enumerate(found):
        if camera == i or (isinstance(camera, str) and camera.lower() in f"{d.name} {d.description}".lower()):
            return d.name if system == "linux" else f"video={d.description or d.name}"
    if system == "linux" and isinstance(camera, int):
        return f"/dev/video{camera}"
    there = ", ".join(d.description or d.name for d in found) or "none"
    raise OSError(f"there is no camera {camera!r}; the cameras of this machine: {there} (`wj ports` lists them)")


class VideoSource:
    """Frames from a camera, a file in a loop, or a stream.

    Exactly one of: camera, a number or a part of its name; file, a path or URL. format: one of ffmpeg's, where it
    cannot be detected. A file plays at its own speed, and late frames are skipped.
    """

    def __init__(self, camera: int | str | None = None, file: str | None = None, format: str | None = None) -> None:
        if (camera is None) == (file is None):
            raise ValueError("a video source is a camera or a file, and not both")
        self._camera, self._file, self._format = camera, file, format
        self._container: Any = None
        self._framing = Framing()
        self._decoded = 0

    @property
    def name(self) -> str:
        return f"camera {self._camera}" if self._camera is not None else str(self._file)

    def open(self) -> None:
        """Raises OSError, with the fix."""
        url, form = str(self._file), self._format
        try:
            if self._camera is not None:
                if sys.platform not in DEVICE_FORMATS:
                    raise OSError(f"cameras do not work on {sys.platform}: use a `file:` or `ndi:` source")
                url, form = camera_url(self._camera), DEVICE_FORMATS[sys.platform]
            self._container = av.open(url, format=form, timeout=NETWORK_TIMEOUT_S if "://" in url else None)
            stream = self._container.streams.video[0]
        except IndexError:
            raise OSError(f"{self.name} has no video") from None
        except FileNotFoundError:
            what = "connect it; `wj ports` lists cameras" if self._camera is not None else "check the path"
            raise OSError(f"{self.name} does not exist: {what}") from None
        except PermissionError:
            fix = "sudo usermod -aG video $USER, or allow it in the system's privacy settings"
            raise OSError(f"this user may not open {self.name}: {fix}") from None
        except (av.FFmpegError, ValueError) as error:
            raise OSError(f"{self.name} cannot be opened ({getattr(error, 'strerror', None) or error})") from None
        stream.codec_context.thread_count = 1  # the world needs the cores
        self._frames = self._played(stream)

    def _played(self, stream: Any) -> Iterator[av.VideoFrame | None]:
        """Frames when they are due; None where there is no new one for a while."""
        container = self._container
        ends = self._camera is None and (container.duration is not None or Path(str(self._file)).is_file())
        while True:
            begin = first = None
            count = 0
            for frame in container.decode(stream):
                count += 1
                now = time.monotonic()
                if ends and frame.time is not None:
                    if begin is None or first is None or now - begin - (frame.time - first) > LATE_MAX_S:
                        begin, first = now, frame.time
                    ahead = begin + frame.time - first - now
                    while ahead > 0:
                        time.sleep(min(ahead, STILL_INTERVAL_S))
                        if ahead > STILL_INTERVAL_S:
                            yield None
                        ahead = begin + frame.time - first - time.monotonic()
                self._decoded += 1
                yield frame
            if not ends:
                return
            if count == 0:
                raise OSError(f"{self.name} has no video")
            if count == 1:  # a still
                while True:
                    time.sleep(STILL_INTERVAL_S)
                    yield None
            last = float(1 / stream.average_rate) if stream.average_rate else 0.0
            time.sleep(min(last, STILL_INTERVAL_S))  # the last frame is shown for its time, too
            container.seek(0)

    def read(self, size: tuple[int, int]) -> Pixels | None:
        """The next frame, (height, width, 3) RGB, once it is due; None without a new one within half a second.

        Raises OSError when the camera or stream is gone.
        """
        try:
            frame = next(self._frames)
        except StopIteration:
            raise OSError(f"{self.name} ended") from None
        except av.FFmpegError as error:
            raise OSError(
                f"{self.name} stopped sending ({error.strerror or error}): check its cable or network"
            ) from None
        return None if frame is None else self._framing.rgb(frame, size)

    def status(self) -> Mapping[str, Any]:
        return {"source": self.name, "decoded": self._decoded}

    def close(self) -> None:
        if self._container is not None:
            self._container.close()
            self._container = None
