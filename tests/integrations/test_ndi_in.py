"""NDI in against cyndilib, an independent sender in a process of its own."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from worldjockey.integrations.ndi_in import NDISource, matching

SENDER = Path(__file__).parents[1] / "peers" / "ndi_sender.py"
pytest.importorskip("cyndilib", reason="the independent NDI sender is not installed: pip install cyndilib")


@contextlib.contextmanager
def on_air(name: str, *colours: str) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([sys.executable, str(SENDER), name, *colours], stdin=subprocess.PIPE)
    try:
        yield process
    finally:
        process.communicate()


@contextlib.contextmanager
def receiving(name: str) -> Iterator[NDISource]:
    """Opened as soon as it is on air, as whoever runs a source tries again."""
    source = NDISource(name)
    deadline = time.monotonic() + 20
    while True:
        try:
            source.open()
            break
        except OSError:
            source.close()
            if time.monotonic() > deadline:
                raise
    try:
        yield source
    finally:
        source.close()


def test_colours_arrive_as_they_were_sent_and_fill_the_size_that_is_wanted(discovery: None) -> None:
    name = f"wj in {os.getpid()}"
    with on_air(name, "c86432", "143c28", "ebebeb"), receiving(name) as source:
        picture = None
        while picture is None:
            picture = source.read((512, 288))
        assert picture.shape == (288, 512, 3)
        for x, colour in ((80, (200, 100, 50)), (256, (20, 60, 40)), (430, (235, 235, 235))):
            assert np.abs(picture[140, x].astype(int) - colour).max() <= 6, (x, picture[140, x])
        square = None
        while square is None:
            square = source.read((100, 100))
        assert square.shape == (100, 100, 3)
        assert np.abs(square[50, 50].astype(int) - (20, 60, 40)).max() <= 6, "the middle of the picture"
        assert source.status()["size"] == [640, 360]
        assert name in source.status()["source"]


def read_for(source: NDISource, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        source.read((64, 36))


def test_a_source_that_goes_is_told_and_one_that_never_was_is_named(discovery: None) -> None:
    name = f"wj gone {os.getpid()}"
    with contextlib.ExitStack() as stack:
        with on_air(name, "ff0000"):
            source = stack.enter_context(receiving(name))
            while source.read((64, 36)) is None:
                pass
        with pytest.raises(OSError, match=f"{name}.* is gone"):
            read_for(source, 20)
    nobody = NDISource(f"wj nobody {os.getpid()}")
    with pytest.raises(OSError, match=r"wj nobody \d+' is not on the network; there are: "):
        nobody.open()
    nobody.close()


def test_a_source_is_found_by_any_part_of_its_name_and_best_by_its_own() -> None:
    there = ["DESK (stage left 2)", "DESK (stage left)", "LAPTOP (OBS)"]
    assert matching("stage left", there) == "DESK (stage left)"
    assert matching("laptop (obs)", there) == "LAPTOP (OBS)"
    assert matching("obs", there) == "LAPTOP (OBS)"
    assert matching("left 2", there) == "DESK (stage left 2)"
    assert matching("vmix", there) is None
