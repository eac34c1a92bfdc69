"""Files that a page sends, stored in the folder `media` beside the show, if they are what their names tell."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
import sys
import unicodedata
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

from . import media_check
from .file_names import is_device

IMAGES = {".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".heic", ".heif", ".avif"}
SOUNDS = {".wav", ".flac", ".mp3", ".ogg", ".opus", ".m4a", ".aac", ".aif", ".aiff"}
CLIPS = {".mp4", ".mov", ".m4v", ".mkv", ".webm", ".avi"}
KINDS = IMAGES | SOUNDS | CLIPS
CHECK_TIMEOUT_S = 60.0
FILE_BYTES_MAX = 64 * 1024 * 1024
FREE_BYTES_MIN = 512 * 1024 * 1024  # that stay free on the disk
NAME_CHARS_MAX = 80
COPIES_MAX = 1000


def safe_name(name: str) -> str:
    """A file's name without folders and without anything that a system gives a meaning to.

    ValueError, with the kinds that exist, for a file that is no image, sound or clip.
    """
    last = re.split(r"[/\\]", unicodedata.normalize("NFC", name))[-1]
    kept = "".join(c if c.isalnum() or c in " ._-()" else "_" for c in last)
    stem, dot, kind = kept.rpartition(".")
    kind = f".{kind.lower()}" if dot else ""
    if kind not in KINDS:
        raise ValueError(
            f"{kind or 'a file without a kind'} is no image, sound or clip: use {', '.join(sorted(KINDS))}"
        )
    stem = stem.strip(" ._")
    while len(stem.encode()) > NAME_CHARS_MAX:
        stem = stem[:-1]
    stem = stem.strip(" ._") or "file"
    return f"{stem}_{kind}" if is_device(stem) else f"{stem}{kind}"


Check = Callable[[Path, str], Awaitable[None]]


async def check_content(path: Path, name: str) -> None:
    """ValueError for a file that is not what its name tells, by its content. A process of its own looks at it, which a
    hostile file may crash. One that takes too long passes: a pad reads it again before it takes it."""
    kind = Path(name).suffix
    what = "an image" if kind in IMAGES else "a sound" if kind in SOUNDS else "a clip"
    nowhere = asyncio.subprocess.DEVNULL
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", media_check.__name__, what, str(path), stdin=nowhere, stdout=nowhere, stderr=nowhere
    )
    try:
        code = await asyncio.wait_for(process.wait(), CHECK_TIMEOUT_S)
    except asyncio.TimeoutError:
        return
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
    if code == media_check.OTHER or code < 0:
        raise ValueError(f"{name} is not {what}")


class Upload:
    """One file on its way: written beside its place, and moved there once it is whole.

    A file that exists is never replaced: the new one gets a number. OSError where the disk takes no more.
    """

    def __init__(self, folder: Path, name: str, size: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        if shutil.disk_usage(folder).free - size < FREE_BYTES_MIN:
            raise OSError(f"the disk of {folder} is full")
        self.path = _reserved(folder, name)
        self.part = self.path.with_name(f".{os.urandom(4).hex()}.part-{self.path.name}")  # with the ending of its kind
        self._file = self.part.open("xb")
        self.size = 0

    def write(self, data: bytes) -> None:
        self.size += len(data)
        if self.size > FILE_BYTES_MAX:
            raise ValueError(f"a file may have {FILE_BYTES_MAX >> 20} MB at most")
        self._file.write(data)

    def close(self) -> None:
        """All of it is written to `part`."""
        self._file.close()

    def finish(self) -> None:
        self._file.close()
        self.part.replace(self.path)

    def cancel(self) -> None:
        self._file.close()
        for path in (self.part, self.path):
            with contextlib.suppress(OSError):
                path.unlink()


async def store(folder: Path, name: str, size: int, chunks: AsyncIterator[bytes], check: Check | None = None) -> str:
    """Store a file and return its name. ValueError or OSError, with the fix. size: in bytes, as announced. check: is
    called with the file before it gets its place, and its name."""
    if size > FILE_BYTES_MAX:
        raise ValueError(f"a file may have {FILE_BYTES_MAX >> 20} MB at most")
    upload = Upload(folder, safe_name(name), size)
    try:
        async for chunk in chunks:
            upload.write(chunk)
        if not upload.size:
            raise ValueError("the file is empty")
        upload.close()
        if check is not None:
            await check(upload.part, upload.path.name)
        upload.finish()
    except BaseException:
        upload.cancel()
        raise
    return upload.path.name


def _reserved(folder: Path, name: str) -> Path:
    """An empty file of that name, or of that name with a number, which did not exist before."""
    stem, dot, kind = name.rpartition(".")
    for number in range(1, COPIES_MAX):
        path = folder / (name if number == 1 else f"{stem}-{number}{dot}{kind}")
        try:
            path.touch(exist_ok=False)
        except FileExistsError:
            continue
        return path
    raise OSError(f"{folder} has too many files named {name}: rename this one")
