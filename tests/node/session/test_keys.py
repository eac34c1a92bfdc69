"""The keys of an output window play the show that `wj play` plays, and are learned there."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from worldjockey.node.show.schema import Show

pytestmark = pytest.mark.slow
SHOW = """
model: testcard
size: 320x180
fps: 30
outputs: [window]
osc: {port: %d, query: off, feedback: off}
midi: off
keys:
  g: pad/3   # mine
"""


def press(display: str, keysym: str) -> None:
    x11, test = ctypes.CDLL("libX11.so.6"), ctypes.CDLL("libXtst.so.6")
    x11.XOpenDisplay.restype, x11.XStringToKeysym.restype = ctypes.c_void_p, ctypes.c_ulong
    there = ctypes.c_void_p(x11.XOpenDisplay(display.encode()))
    code = x11.XKeysymToKeycode(there, ctypes.c_ulong(x11.XStringToKeysym(keysym.encode())))
    for down in (1, 0):
        test.XTestFakeKeyEvent(there, code, down, ctypes.c_ulong(0))
    x11.XCloseDisplay(there)


def test_keys_of_the_window_play_the_show_and_are_learned(display: str, tmp_path: Path, wait_for: Any) -> None:
    from pythonosc.udp_client import SimpleUDPClient
    from worldjockey.node.measure.show_process import free_port

    file, logs, port = tmp_path / "show.yaml", tmp_path / "logs", free_port()
    file.write_text(SHOW % port)
    command = [sys.executable, "-m", "worldjockey.node", "play", str(file), "--no-surface", "--log", str(logs),
               "--report", str(tmp_path / "report.json")]  # fmt: skip
    with subprocess.Popen(command, env=os.environ, cwd=tmp_path) as process:
        try:

            def logged(text: str, key: str = "") -> bool:
                if key:
                    press(display, key)
                return any(text in path.read_text() for path in logs.glob("*") if path.is_file())

            wait_for(lambda: logged('"act/dance"', "x"), 60)
            wait_for(lambda: logged('"pad/3"', "g"), 20)
            press(display, "k")  # the last one: all keys before it are played when it is
            wait_for(lambda: logged('"act/walk"'), 20)
            SimpleUDPClient("127.0.0.1", port).send_message("/wj/learn", "act/bow")

            def learned() -> bool:
                press(display, "o")
                return "o: act/bow" in file.read_text()

            wait_for(learned, 20)
            wait_for(lambda: logged('"act/bow"', "o"), 20)
        finally:
            process.send_signal(signal.SIGINT)
            assert process.wait(60) == 0
    assert file.read_text() == SHOW % port + "  o: act/bow\n"
    assert Show.load(file).keys == {"g": "pad/3", "o": "act/bow"}
