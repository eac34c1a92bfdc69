"""The keys of an output window play the show that `wj play` plays, and are learned there."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pythonosc.udp_client import SimpleUDPClient
from worldjockey.node.measure.show_process import free_port
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


@contextlib.contextmanager
def playing(file: Path, *options: str) -> Iterator[None]:
    command = [sys.executable, "-m", "worldjockey.node", "play", str(file), "--no-surface", *options]
    with subprocess.Popen(command, env=os.environ, cwd=file.parent) as process:
        try:
            yield
        finally:
            process.send_signal(signal.SIGINT)
            assert process.wait(120) == 0


def test_keys_of_the_window_play_the_show_and_are_learned(display: str, tmp_path: Path, wait_for: Any) -> None:
    file, logs, port = tmp_path / "show.yaml", tmp_path / "logs", free_port()
    file.write_text(SHOW % port)
    with playing(file, "--log", str(logs), "--report", str(tmp_path / "report.json")):

        def logged(text: str, key: str = "") -> bool:
            if key:
                press(display, key)
            return any(text in path.read_text() for path in logs.glob("*") if path.is_file())

        wait_for(lambda: logged('"act/dance"', "x"))
        wait_for(lambda: logged('"pad/3"', "g"))
        press(display, "k")  # the last one: all keys before it are played when it is
        wait_for(lambda: logged('"act/walk"'))
        SimpleUDPClient("127.0.0.1", port).send_message("/wj/learn", "act/bow")

        def learned() -> bool:
            press(display, "o")
            return "o: act/bow" in file.read_text()

        wait_for(learned)
        wait_for(lambda: logged('"act/bow"', "o"))
    assert file.read_text() == SHOW % port + "  o: act/bow\n"
    assert Show.load(file).keys == {"g": "pad/3", "o": "act/bow"}


def test_keys_of_the_previews_window_play_the_preview(display: str, tmp_path: Path, wait_for: Any) -> None:
    file = tmp_path / "show.yaml"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as feedback:
        feedback.bind(("127.0.0.1", 0))
        feedback.settimeout(0.2)
        text = SHOW % free_port() + "values: {preview/on: true}\n"
        text = text.replace("outputs: [window]", "outputs: [{kind: window, bus: preview}]")
        file.write_text(text.replace("feedback: off", f"feedback: 127.0.0.1:{feedback.getsockname()[1]}"))
        heard = b""

        def plays(address: bytes, key: str) -> bool:
            nonlocal heard
            press(display, key)
            until = time.monotonic() + 1  # other feedback may go on for ever
            with contextlib.suppress(TimeoutError):
                while address not in heard and time.monotonic() < until:
                    heard += feedback.recv(65536)
            return address in heard

        with playing(file):
            wait_for(lambda: plays(b"/wj/preview/pad/3\0", "g"), 90)
            assert b"/wj/pad/3\0" not in heard
