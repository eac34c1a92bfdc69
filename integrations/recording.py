"""File out: a recording that survives a crash, H.264 and AAC in .mp4, .mov, .mkv or .ts.

The container is written in fragments of a second (ISO/IEC 14496-12 movie fragments, Matroska clusters; MPEG-TS needs
none), so that after a crash the file plays up to at most 2 s before it.
"""

from __future__ import annotations

import contextlib
import errno
import os
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from . import AudioChunk, Frame, Layout, Output, VideoFormat

if TYPE_CHECKING:
    from .media.aac import AudioTrack

CONTAINERS = {
    ".mp4": {"movflags": "frag_keyframe+empty_moov+default_base_moof"},
    ".mov": {"movflags": "frag_keyframe+empty_moov+default_base_moof"},
    ".mkv": {"cluster_time_limit": "1000"},
    ".ts": {},
}


def free_name(path: Path) -> Path:
    """`path`, or the first of path-2, path-3, ... that does not exist, so that no recording is overwritten."""
    candidate, number = path, 2
    while candidate.exists():
        candidate = path.with_stem(f"{path.stem}-{number}")
        number += 1
    return candidate


def cut_torn_fragment(path: Path, start: int = 0) -> bool:
    """Shorten an .mp4 or .mov to its last whole box (ISO/IEC 14496-12 4.2) but a `moof`; whether it had to be cut.

    A full disk tears the fragment that is being written, and FFmpeg opens no file whose last `moof` is torn.
    start: where a box begins before which all are known to be whole. Raises OSError.
    """
    size, position, end = path.stat().st_size, start, start
    with path.open("rb") as file:
        while position + 8 <= size:
            file.seek(position)
            length, kind = struct.unpack(">I4s", file.read(8))
            if length < 8:  # no fragment of ours: FFmpeg knows how long each is
                break
            position += length
            if position <= size and kind != b"moof":
                end = position
    if end < size:
        os.truncate(path, end)
    return end < size


class FileOutput(Output):
    """Records the show. Each frame has its tick's time, so a missed tick lengthens the frame before.

    path: ends in .mp4, .mov, .mkv or .ts; if the file exists, the next free name is taken (see `status`). sound: record
    the show's audio too, at the time of its arrival, with silence in its gaps.
    """

    layout: Layout = "yuv420p"
    holds = 0
    copies: tuple[str, ...] = ()  # `Coder.encode` reads the frame directly
    short = "path"
    example = "file:clip.mp4"

    def __init__(self, path: Path, sound: bool = False) -> None:
        self.wants_audio = sound
        self.path = Path(path).expanduser()
        if self.path.suffix.lower() not in CONTAINERS:
            raise ValueError(f"cannot record to {str(path)!r}: the name must end in {', '.join(CONTAINERS)}")
        self._container: Any = None
        self._stopped = False
        self._encoder = ""
        self._first: tuple[int, float] | None = None  # tick and time
        self._track: AudioTrack | None = None
        self._next = 0
        self._frames = 0
        self._whole = 0  # bytes of complete fragments, as last looked at

    def open(self, fmt: VideoFormat) -> None:
        import av

        from .media.aac import AudioTrack
        from .media.h264 import Coder

        self._fmt = fmt
        self.path = free_name(self.path)
        options = {**CONTAINERS[self.path.suffix.lower()], "flush_packets": "1"}
        container = av.open(str(self.path), "w", options=options)
        self._coder = Coder(container, fmt)
        self._track = AudioTrack(container) if self.wants_audio else None
        try:
            container.start_encoding()  # creates the file
        except OSError as error:
            with contextlib.suppress(OSError, av.error.FFmpegError):
                container.close()
            with contextlib.suppress(OSError):  # each retry on a full disk would leave one more empty file
                if self.path.stat().st_size == 0:
                    self.path.unlink()
            where = self.path.parent
            fix = "free some space or choose another place"
            if not where.is_dir():
                fix = f"make the folder: mkdir -p {where}"
            elif error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
                fix = "choose a folder that you may write to"
            raise OSError(f"cannot record to {self.path}: {error.strerror or error}; {fix}") from None
        self._container, self._encoder = container, self._coder.name

    def send(self, frame: Frame) -> None:
        height, width = self._fmt.height, self._fmt.width
        if frame.pixels.shape != (height * 3 // 2, width):
            raise ValueError(f"recording takes yuv420p {(height * 3 // 2, width)}, not {frame.pixels.shape}")
        if self._first is None:
            self._first = frame.tick, frame.time
        position = frame.tick - self._first[0]
        if position < self._next:
            return  # a tick that is sent twice is one frame
        packets = self._coder.encode(np.ascontiguousarray(frame.pixels), position)
        self._write(packets)
        if any(packet.is_keyframe for packet in packets):  # the fragments before it are on disk
            self._whole = self._bytes()
        self._next = position + 1
        self._frames += 1
        if self._track:
            self._write(self._track.wait(self._next / self._fmt.fps))

    def send_audio(self, chunk: AudioChunk) -> None:
        if self._track and self._first:
            self._write(self._track.add(chunk.samples, chunk.time - self._first[1]))

    def _write(self, packets: list[Any]) -> None:
        try:
            for packet in packets:
                self._container.mux(packet)
        except OSError as error:
            self._stopped, reason = True, error.strerror or error
            raise self._error(reason) from None

    def _error(self, reason: object) -> OSError:
        return OSError(f"the recording {self.path} stopped: {reason}; free some space or record elsewhere")

    def _bytes(self) -> int:
        try:
            return self.path.stat().st_size
        except OSError:
            return 0

    def status(self) -> Mapping[str, Any]:
        """path: of the file that is written; encoder; frames, seconds and bytes on disk so far."""
        return {
            "path": str(self.path),
            "encoder": self._encoder,
            "frames": self._frames,
            "seconds": round(self._next / self._fmt.fps, 3) if self._frames else 0.0,
            "bytes": self._bytes() if self._container is not None or self._frames else 0,
        }

    def close(self) -> None:
        if self._container is None:
            return
        container = self._container
        try:
            if self._frames and not self._stopped:
                self._write(self._coder.encode(None, 0))
                if self._track:
                    self._write(self._track.finish(self._next / self._fmt.fps))
        finally:
            self._container = None
            try:
                with contextlib.suppress(OSError) if self._stopped else contextlib.nullcontext():
                    container.close()
            finally:
                torn = self._cut_torn_fragment()
            # A file without a complete fragment is removed: each retry on a full disk would add one.
            if self._stopped and self._next <= self._fmt.fps:
                self.path.unlink(missing_ok=True)
        if torn and not self._stopped:
            raise self._error("its last fragment could not be written")

    def _cut_torn_fragment(self) -> bool:
        if self.path.suffix.lower() in (".mp4", ".mov"):
            with contextlib.suppress(OSError):
                return cut_torn_fragment(self.path, self._whole)
        return False
