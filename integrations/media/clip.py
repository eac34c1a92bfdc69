"""The frames and the audio of a media file, whatever state the file is in.

Files are cut, joined, damaged, and written without time stamps. A player skips what it cannot decode and goes on, and
so do these readers: one bad packet costs its frames, and only many in a row are the end.
"""

from __future__ import annotations

import contextlib
import errno
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, Literal

import av

BAD_PACKETS_MAX = 200  # in a row
JUMP_MAX_S = 10.0  # between two frames; more is a pause within the file's length, or a joint between two files
JOINTS = 0x0200  # AVFMT_TS_DISCONT: of formats whose files may be joined, so that their length tells nothing
DEFAULT_FPS = 25.0  # of a stream that tells neither times nor a rate
APPLE_DOUBLE = b"\x00\x05\x16\x07"  # RFC 1740
ALPHA_DECODERS = {"vp8": "libvpx", "vp9": "libvpx-vp9"}  # FFmpeg's own decoders of these leave the alpha out


UNDECODABLE = {
    "video": "FFmpeg cannot decode it: convert it to PNG or to H.264 in .mp4",
    "audio": "FFmpeg cannot decode its audio: convert it to WAV or MP3",
}


class Undecodable(OSError):
    """A file that cannot be played as it is. The message is the reason, with the fix."""


def opened(path: Path) -> Any:
    """The container of a file, which closes with a `with` block.

    Its path is absolute, since a relative "12:30.mp4" would be an address, and its tags may be in any encoding.
    """
    return av.open(str(path.absolute()), metadata_errors="replace")


def reason(error: Exception, path: Path | None = None) -> str:
    """Why a file cannot be opened or decoded, without FFmpeg's own words for damage.

    path: of a local file.
    """
    if path is not None and (what := misnamed(path)):
        return what
    if isinstance(error, av.error.InvalidDataError):
        return "the file is damaged, or of a kind that FFmpeg does not know"
    if isinstance(error, av.error.ProtocolNotFoundError):
        return "FFmpeg does not know such addresses: use rtsp://, rtmp://, udp://, tcp:// or http://"
    if getattr(error, "errno", None) == errno.EIO and path is not None and not path.exists():  # an address
        return "it cannot be reached, or sends no video: check its address"
    return str(getattr(error, "strerror", None) or error)


def misnamed(path: Path) -> str:
    """What a path is that has the name of a media file and is none; empty where it may be one."""
    if path.is_dir():
        return "it is a folder, not a file"
    if path.is_file():
        with contextlib.suppress(OSError), path.open("rb") as file:
            return _misnamed(file)
    return ""


def _misnamed(file: BinaryIO) -> str:
    head = file.read(64)
    if not head:
        return "the file is empty"
    if head.lstrip().lower().startswith((b"<!doctype html", b"<html")):
        return "it is a web page: download the file itself"
    if head.startswith(APPLE_DOUBLE):
        return "it only has macOS's notes about a file: take the one whose name lacks the ._ in front"
    if head[4:8] == b"ftyp" and not _has_index(file):
        return "its end is missing: stop the recording, or download it again; a recording as .mkv can always be played"
    return ""


def _has_index(file: BinaryIO) -> bool:
    """Whether an MP4 or QuickTime file has its `moov`, which recorders write last (ISO/IEC 14496-12, 8.2.1)."""
    end = file.seek(0, io.SEEK_END)
    at = 0
    while at + 8 <= end:
        file.seek(at)
        head = file.read(16)
        size, kind = int.from_bytes(head[:4], "big"), head[4:8]
        if kind == b"moov":
            return at + size <= end
        if size == 1:  # 64 bits follow
            size = int.from_bytes(head[8:], "big")
        if size < 8:  # to the end of the file
            break
        at += size
    return False


def decoded(container: Any, stream: Any, decoder: Any) -> Iterator[Any]:
    """Decoded frames of a stream. Packets that cannot be decoded are skipped.

    Raises Undecodable after BAD_PACKETS_MAX of them in a row, and OSError where the source itself fails.
    """
    bad = 0
    source = container.demux(stream)
    while True:
        frames: list[Any] = []
        reason: Any = None
        try:
            packet = next(source, None)
        except av.error.InvalidDataError as error:
            reason = error
        except av.error.PatchWelcomeError:
            raise Undecodable("it changes on the way to what FFmpeg cannot read: convert it to one format") from None
        else:
            if packet is None:
                return
            try:
                frames = decoder.decode(packet)
            except av.error.EOFError:
                return
            except av.error.FFmpegError as error:  # decoders call damage by many names
                reason = error
        bad = bad + 1 if reason is not None else 0 if frames else bad
        if bad > BAD_PACKETS_MAX:
            raise Undecodable(f"{bad} packets in a row cannot be decoded: use another copy of it")
        yield from frames


def best(container: Any, kind: Literal["video", "audio"]) -> Any:
    """The stream that a player shows: no cover, the largest of several, and one that FFmpeg can decode.

    Raises IndexError where the file has none of that kind, and Undecodable where FFmpeg can decode none of them.
    """
    streams = getattr(container.streams, kind)
    known = [stream for stream in streams if stream.codec_context is not None]
    if not known and streams:
        raise Undecodable(UNDECODABLE[kind])
    found = container.streams.best(kind)
    return found if found in known else known[0]


def video_decoder(stream: Any) -> Any:
    """What decodes a video stream, with its alpha where it has one. Undecodable where FFmpeg cannot."""
    if stream.codec_context is None:
        raise Undecodable(UNDECODABLE["video"])
    name = ALPHA_DECODERS.get(stream.codec_context.name)
    metadata = {key.lower(): value for key, value in stream.metadata.items()}
    if name is not None and metadata.get("alpha_mode") == "1":
        try:
            return av.CodecContext.create(name, "r")
        except ValueError:  # this build of PyAV has no such decoder: the clip plays, opaque
            pass
    stream.codec_context.thread_count = 1  # the world needs the cores
    return stream


def video_frames(container: Any) -> Iterator[tuple[float, Any]]:
    """(seconds since the first frame, frame) of the video; the seconds never run backwards.

    Frames without a usable time stamp follow the one before at the stream's average rate. Raises IndexError where the
    file has no video, and as `decoded`.
    """
    stream = best(container, "video")
    period = 1 / float(stream.average_rate or stream.guessed_rate or DEFAULT_FPS)
    length = 0.0 if container.format.flags & JOINTS else (container.duration or 0) / av.time_base
    jump_max = max(JUMP_MAX_S, length)  # a screen recording has no frames while nothing moves
    now, last = -period, None
    for frame in decoded(container, stream, video_decoder(stream)):
        stamp = frame.time if frame.pts is not None else None
        step = period if stamp is None or last is None else stamp - last
        now += step if 0 < step <= jump_max else period
        last = stamp if stamp is not None else None
        yield max(now, 0.0), frame


def audio_frames(container: Any) -> Iterator[Any]:
    """Frames of the audio. Raises IndexError where the file has no audio, and as `decoded`."""
    stream = best(container, "audio")
    return decoded(container, stream, stream)
