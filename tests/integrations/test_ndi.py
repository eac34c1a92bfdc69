"""NDI out against cyndilib, an independent receiver in a process of its own."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from worldjockey.integrations import Frame, VideoFormat, ndi
from worldjockey.integrations.ndi import NDIOutput, list_sources

Status = dict[str, Any]

# Colours and their BT.709 limited-range Y'CbCr, computed by hand from the standard.
PATCHES = {
    (0, 0, 0): (16, 128, 128),
    (128, 128, 128): (126, 128, 128),
    (255, 255, 255): (235, 128, 128),
    (200, 100, 50): (117, 96, 172),
    (20, 40, 60): (48, 139, 120),
}


@contextlib.contextmanager
def on_air(output: NDIOutput, fmt: VideoFormat, picture: np.ndarray) -> Iterator[Callable[[], Status]]:
    """Sends `picture` at the format's rate from a ring of slots that are scribbled over once they may be."""
    stop = threading.Event()
    status: Status = {}
    ready = threading.Event()
    errors: list[BaseException] = []

    def run() -> None:
        try:
            output.open(fmt)
            ready.set()
            slots = [np.empty_like(picture) for _ in range(output.holds + 1)]
            due = time.monotonic()
            tick = 0
            while not stop.is_set():
                slots[tick % len(slots)][:] = picture
                output.send(Frame(slots[tick % len(slots)], tick, due))
                tick += 1
                slots[tick % len(slots)][:] = 77  # the one that was given back
                status.update(output.status())
                due += 1 / fmt.fps
                stop.wait(max(due - time.monotonic(), 0))
        except BaseException as error:
            errors.append(error)
        finally:
            ready.set()
            output.close()

    thread = threading.Thread(target=run)
    thread.start()
    ready.wait(10)
    try:
        yield lambda: status
    finally:
        stop.set()
        thread.join()
    assert not errors


def patches(width: int, height: int, values: list[tuple[int, ...]]) -> np.ndarray:
    picture = np.zeros((height, width, len(values[0])), np.uint8)
    for column, value in zip(np.array_split(np.arange(width), len(values)), values, strict=True):
        picture[:, column] = value
    return picture


def centres(picture: np.ndarray, count: int) -> list[tuple[int, ...]]:
    columns = np.array_split(np.arange(picture.shape[1]), count)
    return [tuple(int(x) for x in picture[picture.shape[0] // 2, c[len(c) // 2]]) for c in columns]


def test_rgba_arrives_with_its_colours_alpha_size_and_rate(ndi_receiver: Any, wait_for: Any) -> None:
    name = f"wj rgba {os.getpid()}"
    fmt = VideoFormat(960, 540, 30000, 1001, name)
    picture = patches(960, 540, [(*rgb, 255) for rgb in PATCHES])
    picture[..., 3] = np.linspace(0, 255, 540).astype(np.uint8)[:, None]
    with on_air(NDIOutput(layout="rgba"), fmt, picture) as status:
        receiver = ndi_receiver(name)
        first = receiver.wait(lambda row: True)
        assert (first["size"], first["fps"], first["fourcc"]) == ([960, 540], [30000, 1001], "RGBA")
        got = receiver.picture()
        # The NDI library itself rounds RGB down on its way to Y'CbCr and back: up to 5 levels, whoever sends.
        for sent, seen in zip(PATCHES, centres(got[..., :3], len(PATCHES)), strict=True):
            assert np.abs(np.subtract(sent, seen)).max() <= 5, (sent, seen)
        assert np.abs(got[..., 3].astype(int) - picture[..., 3]).max() <= 3
        wait_for(lambda: status()["connections"] == 1)
        assert status()["source"].endswith(f"({name})")
        receiver.tell("program 1")
        wait_for(lambda: status()["tally"] == {"program": True, "preview": False})
        receiver.tell("program 0")
        receiver.tell("preview 1")
        wait_for(lambda: status()["tally"] == {"program": False, "preview": True})
        receiver.stop()
        wait_for(lambda: status()["connections"] == 0)


def test_uyvy_arrives_bit_for_bit(ndi_receiver: Any) -> None:
    name = f"wj uyvy {os.getpid()}"
    fmt = VideoFormat(1280, 720, 25, 1, "not this one")
    picture = np.zeros((720, 1280, 2), np.uint8)
    columns = np.array_split(np.arange(1280), len(PATCHES))
    for column, (y, cb, cr) in zip(columns, PATCHES.values(), strict=True):
        picture[:, column, 1] = y
        picture[:, column, 0] = np.where(column % 2, cr, cb)
    with on_air(NDIOutput(name, layout="uyvy"), fmt, picture):
        receiver = ndi_receiver(name, "--uyvy")
        first = receiver.wait(lambda row: True)
        assert (first["size"], first["fps"], first["fourcc"]) == ([1280, 720], [25, 1], "UYVY")
        got = receiver.picture()
        middles = [c[len(c) // 2] // 2 * 2 for c in columns]
        for middle, ycc in zip(middles, PATCHES.values(), strict=True):
            seen = (got[360, middle, 1], got[360, middle, 0], got[360, middle + 1, 0])
            assert np.abs(np.subtract(seen, ycc)).max() <= 1


def test_sources_are_listed(discovery: None, wait_for: Any) -> None:
    output = NDIOutput(f"wj list {os.getpid()}")
    output.open(VideoFormat(64, 36, 30))
    try:
        wait_for(lambda: any(f"wj list {os.getpid()}" in source for source in list_sources(0.3)))
        with pytest.raises(OSError, match="another name"):
            NDIOutput(f"wj list {os.getpid()}").open(VideoFormat(64, 36, 30))
    finally:
        output.close()


def test_a_picture_of_another_size_is_refused(discovery: None) -> None:
    output = NDIOutput(f"wj size {os.getpid()}", layout="rgba")
    output.open(VideoFormat(64, 36, 30))
    try:
        with pytest.raises(ValueError, match=r"\(36, 64, 4\)"):
            output.send(Frame(np.zeros((36, 32, 4), np.uint8), 0, 0.0))
        assert output.status()["frames"] == 0
    finally:
        output.close()


@pytest.mark.parametrize(("missing", "fix"), [("DBUS_SOCKET", "service dbus start"), ("AVAHI_SOCKET", "avahi-daemon")])
def test_missing_discovery_names_the_fix(
    missing: str, fix: str, discovery: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(ndi, missing, tmp_path / "nobody")
    monkeypatch.setenv("NDI_CONFIG_DIR", str(tmp_path))
    with pytest.raises(OSError, match=fix):
        NDIOutput().open(VideoFormat(64, 36, 30))
    (tmp_path / "ndi-config.v1.json").write_text('{"ndi": {"networks": {"discovery": "127.0.0.1"}}}')
    ndi.check_discovery()  # with a Discovery Server nobody needs mDNS


def test_missing_runtime_names_the_fix(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "NDIlib", None)
    with pytest.raises(RuntimeError, match="pip install ndi-python"):
        NDIOutput().open(VideoFormat(64, 36, 30))


def test_unknown_layout_is_refused() -> None:
    with pytest.raises(ValueError, match="yuv420p"):
        NDIOutput(layout="yuv420p")
