"""A terminal that is closed ends the show without a word."""

import os
import signal
import subprocess
import sys
import time

import pytest
from worldjockey.node.measure.show_process import free_port

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="Windows has no SIGHUP")]
PATIENCE_S = 120.0


def test_closing_the_terminal_ends_the_show_in_order(tmp_path):
    clip, errors = tmp_path / "clip.mp4", tmp_path / "errors"
    command = [
        sys.executable, "-m", "worldjockey.node", "play", "--model", "testcard", "--headless", "--no-midi",
        "--no-surface", "--out", f"file:{clip}", "--size", "320x180", "--osc-feedback", "none",
        "--osc-port", str(free_port()),
    ]  # fmt: skip
    with errors.open("wb") as out:
        show = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=out, start_new_session=True)
    try:
        deadline = time.monotonic() + PATIENCE_S
        while not clip.exists() or clip.stat().st_size < 50_000:
            assert show.poll() is None, errors.read_text()
            assert time.monotonic() < deadline, "no frame was recorded"
            time.sleep(0.1)
        os.killpg(show.pid, signal.SIGHUP)  # as a terminal does: to every process of the show
        assert show.wait(PATIENCE_S) == 0
    finally:
        show.kill()
        show.wait()
    assert "Traceback" not in errors.read_text()
    assert "resource_tracker" not in errors.read_text()
