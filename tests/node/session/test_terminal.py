"""A terminal that stands still, or that nobody reads any more, stops nothing."""

from __future__ import annotations

import contextlib
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from play_command import PLAY

TALKATIVE = """
from worldjockey.node.session.terminal import Terminal
terminal = Terminal(live=False)
for _ in range(500):
    terminal.print_line("x" * 900)
print(terminal.close(), flush=True)
import os; os._exit(0)
"""


@pytest.fixture
def stuck() -> Iterator[int]:
    """A terminal's own side, full because nobody reads the other: whoever writes there waits for ever."""
    reader, writer = pty.openpty()
    os.set_blocking(writer, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(writer, b"x" * 4096)
    os.set_blocking(writer, True)
    yield writer
    os.close(reader)
    os.close(writer)


def closed_pipe() -> int:
    reader, writer = os.pipe()
    os.close(reader)
    return writer


def test_messages_for_a_stuck_terminal_are_dropped_without_waiting(stuck: int) -> None:
    done = subprocess.run(
        [sys.executable, "-c", TALKATIVE], stderr=stuck, stdout=subprocess.PIPE, text=True, timeout=120
    )
    assert done.stdout.strip() == "False", "the terminal took nothing, and that is known at the end"


def test_messages_for_a_closed_pipe_are_dropped() -> None:
    writer = closed_pipe()
    done = subprocess.run(
        [sys.executable, "-c", TALKATIVE], stderr=writer, stdout=subprocess.PIPE, text=True, timeout=120
    )
    os.close(writer)
    assert done.stdout.strip() == "True"


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="kills a process by its number in the log")
@pytest.mark.parametrize("kind", ["stuck terminal", "closed pipe"])
def test_a_show_restarts_its_world_and_ends_on_ctrl_c_whatever_its_terminal_does(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path, wait_for: Callable[..., None]
) -> None:
    terminal = request.getfixturevalue("stuck") if kind == "stuck terminal" else closed_pipe()
    clip, log = tmp_path / "clip.mkv", tmp_path / "run.log"
    options = ["--size", "320x180", "--out", f"file:{clip}", "--log-file", str(log)]
    play = subprocess.Popen([*PLAY, *options], stderr=terminal)
    try:
        wait_for(lambda: log.exists() and "world is running" in log.read_text(), what="the show to play")
        world = int(log.read_text().split("world runs as process ")[1].split()[0])
        os.kill(world, signal.SIGKILL)
        wait_for(lambda: log.read_text().count("world runs as process") == 2, what="another world")
        play.send_signal(signal.SIGINT)
        assert play.wait(60) == 0
    finally:
        play.kill()
