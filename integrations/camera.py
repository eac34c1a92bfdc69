"""Cameras, capture cards, clips and streams as live video: anything that ffmpeg opens.

Cameras are ffmpeg's input devices: v4l2 on Linux, avfoundation on macOS, dshow on Windows (ffmpeg-devices).
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import av

from . import FrameSource, Pixels
from .media.clip import Undecodable, best, decoded, reason, video_decoder, video_frames
from .media.display import Display
from .media.still import is_still, read_still

Show = Callable[[tuple[int, int]], Pixels]  # a frame at a size
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


class VideoSource(FrameSource):
    """Frames from a camera, a file in a loop, or a stream.

    Exactly one of: camera, a number or a part of its name; file, a path or URL. format: one of ffmpeg's, where it
    cannot be detected. A file plays at its own speed, and late frames are skipped.
    """

    def __init__(self, camera: int | str | None = None, file: str | None = None, format: str | None = None) -> None:
        if (camera is None) == (file is None):
            raise ValueError("a video source is a camera or a file, and not both")
        self._camera, self._file, self._format = camera, file, format
        self._container: Any = None
        self._display = Display()
        self._aspect: Fraction | None = None  # of a pixel
        self._decoded = 0

    @property
    def name(self) -> str:
        return f"camera {self._camera}" if self._camera is not None else str(self._file)

    def open(self) -> None:
        """Raises OSError, with the fix."""
        path = Path(str(self._file))
        if self._camera is None and path.is_file() and is_still(path):
            self._frames = self._still(path)
            return
        self._open_container()
        self._frames = self._looped() if self._ends else self._live()

    def _open_container(self) -> None:
        self.close()
        url, form = str(self._file), self._format
        try:
            if self._camera is not None:
                if sys.platform not in DEVICE_FORMATS:
                    raise OSError(f"cameras do not work on {sys.platform}: use a `file:` or `ndi:` source")
                url, form = camera_url(self._camera), DEVICE_FORMATS[sys.platform]
            if self._camera is None and Path(url).is_file():
                url = str(Path(url).absolute())  # a relative 12:30.mp4 would be an address
            timeout = NETWORK_TIMEOUT_S if "://" in url else None
            self._container = av.open(url, format=form, timeout=timeout, metadata_errors="replace")
            self._aspect = best(self._container, "video").sample_aspect_ratio
        except IndexError:
            raise OSError(f"{self.name} has no video") from None
        except Undecodable as error:
            raise OSError(f"{self.name}: {error}") from None
        except FileNotFoundError:
            what = "connect it; `wj ports` lists cameras" if self._camera is not None else "check the path"
            raise OSError(f"{self.name} does not exist: {what}") from None
        except PermissionError:
            fix = "sudo usermod -aG video $USER, or allow it in the system's privacy settings"
            raise OSError(f"this user may not open {self.name}: {fix}") from None
        except (av.FFmpegError, ValueError) as error:
            raise OSError(f"{self.name} cannot be opened: {reason(error, Path(url))}") from None

    @property
    def _ends(self) -> bool:
        """Whether it is a file that starts again at its end, not a camera or a stream."""
        return self._camera is None and (self._container.duration is not None or Path(str(self._file)).is_file())

    def _shown(self, frame: av.VideoFrame, size: tuple[int, int]) -> Pixels:
        self._decoded += 1
        return self._display.rgb(frame, size, pixel_aspect=self._aspect)

    def _still(self, path: Path) -> Iterator[Show | None]:
        try:
            image = read_still(path)
        except ValueError as error:
            raise OSError(str(error)) from None
        assert image is not None
        frame = av.VideoFrame.from_ndarray(image, format="rgb24")
        yield partial(self._shown, frame)
        while True:
            time.sleep(STILL_INTERVAL_S)
            yield None

    def _live(self) -> Iterator[Show | None]:
        stream = best(self._container, "video")
        for frame in decoded(self._container, stream, video_decoder(stream)):
            yield partial(self._shown, frame)

    def _looped(self) -> Iterator[Show | None]:
        """Frames when they are due; None where there is no new one for a while."""
        begin = time.monotonic()
        while True:
            count, last, period = 0, 0.0, 0.0
            for seconds, frame in video_frames(self._container):
                count, last, period = count + 1, seconds, seconds - last if count else 0.0
                own = float(frame.duration * frame.time_base) if frame.duration and frame.time_base else 0.0
                if time.monotonic() - begin - seconds > LATE_MAX_S:
                    begin = time.monotonic() - seconds
                while (ahead := begin + seconds - time.monotonic()) > 0:
                    time.sleep(min(ahead, STILL_INTERVAL_S))
                    if ahead > STILL_INTERVAL_S:
                        yield None
                yield partial(self._shown, frame)
            if count == 0:
                raise OSError(f"{self.name} has no video")
            while count == 1:  # a still in a video's container
                time.sleep(STILL_INTERVAL_S)
                yield None
            self._open_container()  # not every format can be sought in
            begin += last + (own or min(period, STILL_INTERVAL_S))  # the last frame is shown for its time, too

    def read(self, size: tuple[int, int]) -> Pixels | None:
        """The next frame, (height, width, 3) RGB, once it is due; None without a new one within half a second.

        Raises OSError when the camera or stream is gone.
        """
        try:
            frame = next(self._frames)
        except StopIteration:
            raise OSError(f"{self.name} ended") from None
        except Undecodable as error:
            raise OSError(f"{self.name}: {error}") from None
        except av.FFmpegError as error:
            raise OSError(
                f"{self.name} stopped sending ({error.strerror or error}): check its cable or network"
            ) from None
        return None if frame is None else frame(size)

    def status(self) -> Mapping[str, Any]:
        return {"source": self.name, "decoded": self._decoded}

    def close(self) -> None:
        if self._container is not None:
            self._container.close()
            self._container = None
