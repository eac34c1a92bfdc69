"""Files from pages: their names, and where they end up."""

from __future__ import annotations

import asyncio
import shutil
from collections import namedtuple
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from worldjockey.integrations.surface import uploads
from worldjockey.integrations.surface.uploads import KINDS, NAME_CHARS_MAX, safe_name, store


async def chunks(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


@given(st.text(), st.sampled_from(sorted(KINDS)))
def test_any_name_becomes_one_plain_file_of_that_folder(stem, kind):
    name = safe_name(stem + kind)
    assert name.endswith(kind)
    assert name == Path(name).name == name.strip()
    assert not name.startswith(".")
    assert not set(name) & set('/\\:*?"<>|\0\n\r')
    assert len(name.encode()) <= NAME_CHARS_MAX + 10


@pytest.mark.parametrize(
    ("name", "stored"),
    [
        ("../../etc/passwd.jpg", "passwd.jpg"), ("..\\..\\windows\\x.PNG", "x.png"), ("/abs/olute.wav", "olute.wav"),
        ("..jpg", "file.jpg"), ("con.mp4", "con_.mp4"), ("a:b*c.jpg", "a_b_c.jpg"),
        ("Grün 1 (2).jpeg", "Grün 1 (2).jpeg"),
    ],
)  # fmt: skip
def test_folders_and_special_names_are_left_out(name, stored):
    assert safe_name(name) == stored


@pytest.mark.parametrize("name", ["", "x", "x.py", "show.yaml", "page.html", "x.jpg.exe", "x.svg"])
def test_other_kinds_are_refused(name):
    with pytest.raises(ValueError, match=r"\.wav"):
        safe_name(name)


def test_a_file_that_exists_is_never_replaced(tmp_path):
    names = [asyncio.run(store(tmp_path, "a.jpg", 3, chunks(text))) for text in (b"one", b"two", b"six")]
    assert names == ["a.jpg", "a-2.jpg", "a-3.jpg"]
    assert [(tmp_path / name).read_bytes() for name in names] == [b"one", b"two", b"six"]


def test_what_fails_leaves_nothing_behind(tmp_path, monkeypatch):
    monkeypatch.setattr(uploads, "FILE_BYTES_MAX", 10)

    async def broken() -> AsyncIterator[bytes]:
        yield b"half"
        raise ConnectionResetError

    for size, content in ((11, chunks()), (0, chunks(b"123456", b"123456")), (0, chunks())):
        with pytest.raises(ValueError, match=r"MB at most|empty"):
            asyncio.run(store(tmp_path, "a.jpg", size, content))
    with pytest.raises(ConnectionResetError):
        asyncio.run(store(tmp_path, "a.jpg", 4, broken()))
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_refused(tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(1, 1, 1000))
    with pytest.raises(OSError, match="full"):
        asyncio.run(store(tmp_path, "a.jpg", 1, chunks(b"1")))
