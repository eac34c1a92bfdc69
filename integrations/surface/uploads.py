"""Files that a page sends, stored in the folder `media` beside the show."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import unicodedata
from collections.abc import AsyncIterator
from pathlib import Path

KINDS = {
    *(".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".heic", ".heif", ".avif"),
    *(".wav", ".flac", ".mp3", ".ogg", ".opus", ".m4a", ".aac", ".aif", ".aiff"),
    *(".mp4", ".mov", ".m4v", ".mkv", ".webm", ".avi"),
}
FILE_BYTES_MAX = 64 * 1024 * 1024
FREE_BYTES_MIN = 512 * 1024 * 1024  # that stay free on the disk
NAME_CHARS_MAX = 80
COPIES_MAX = 1000
RESERVED = re.compile(r"(?i)^(con|prn|aux|nul|com\d|lpt\d)$")  # names of devices on Windows


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
    return f"{stem}_{kind}" if RESERVED.match(stem) else f"{stem}{kind}"


class Upload:
    """One file on its way: written beside its place, and moved there once it is whole.

    A file that exists is never replaced: the new one gets a number. OSError where the disk takes no more.
    """

    def __init__(self, folder: Path, name: str, size: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        if shutil.disk_usage(folder).free - size < FREE_BYTES_MIN:
            raise OSError(f"the disk of {folder} is full")
        self.path = _reserved(folder, name)
        self._part = self.path.with_name(f".{self.path.name}.{os.urandom(4).hex()}.part")
        self._file = self._part.open("xb")
        self.size = 0

    def write(self, data: bytes) -> None:
        self.size += len(data)
        if self.size > FILE_BYTES_MAX:
            raise ValueError(f"a file may have {FILE_BYTES_MAX >> 20} MB at most")
        self._file.write(data)

    def finish(self) -> None:
        self._file.close()
        self._part.replace(self.path)

    def cancel(self) -> None:
        self._file.close()
        for path in (self._part, self.path):
            with contextlib.suppress(OSError):
                path.unlink()


async def store(folder: Path, name: str, size: int, chunks: AsyncIterator[bytes]) -> str:
    """Store a file and return its name. ValueError or OSError, with the fix. size: in bytes, as announced."""
    if size > FILE_BYTES_MAX:
        raise ValueError(f"a file may have {FILE_BYTES_MAX >> 20} MB at most")
    upload = Upload(folder, safe_name(name), size)
    try:
        async for chunk in chunks:
            upload.write(chunk)
        if not upload.size:
            raise ValueError("the file is empty")
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
