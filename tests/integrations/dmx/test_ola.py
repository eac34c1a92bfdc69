"""OLA, the lighting daemon of many rigs, reads what the lights' output sends."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from worldjockey.integrations import Frame, VideoFormat
from worldjockey.integrations.dmx.fixtures import Fixture
from worldjockey.integrations.dmx.output import DmxOutput
from worldjockey.node.measure.show_process import free_port

PLUGINS = (
    "artnet", "dummy", "e131", "espnet", "ftdidmx", "gpio", "karate", "kinet", "milinst", "opendmx", "openpixelcontrol",
    "osc", "pathport", "renard", "sandnet", "shownet", "spi", "stageprofi", "uartdmx", "usbdmx", "usbserial",
)  # fmt: skip


@pytest.fixture
def ola(tmp_path: Path) -> Iterator[Callable[[], list[int]]]:
    """The levels of OLA's universe 1, which is Art-Net's universe 1."""
    if shutil.which("olad") is None:
        pytest.skip("OLA is not installed: apt install ola")
    for name in PLUGINS:
        (tmp_path / f"ola-{name}.conf").write_text("enabled = false\n")
    (tmp_path / "ola-artnet.conf").write_text("enabled = true\nip = 127.0.0.1\nuse_loopback = true\noutput_ports = 1\n")
    user: dict[str, Any] = {}
    if os.getuid() == 0:  # as which it refuses to run
        user = {"user": "nobody", "group": "nogroup", "extra_groups": []}
        for path in (tmp_path, *tmp_path.iterdir()):
            shutil.chown(path, "nobody", "nogroup")
        for path in list(tmp_path.parents)[:2]:
            path.chmod(0o755)
    web = free_port()
    command = ["olad", "-c", str(tmp_path), "-p", str(web), "-r", str(free_port()), "-i", "lo", "-l", "1"]
    process = subprocess.Popen([*command, "--no-register-with-dns-sd"], **user)

    def ask(path: str, **data: str) -> Any:
        body = urllib.parse.urlencode(data).encode() if data else None
        with urllib.request.urlopen(f"http://127.0.0.1:{web}/{path}", body, timeout=5) as answer:
            return json.load(answer)

    def ready() -> bool:
        with contextlib.suppress(OSError):
            ports = [port["id"] for port in ask("json/get_ports") if "ArtNet" in port["device"]]
            inputs = [port for port in ports if "-I-" in port]
            return bool(inputs and ask("new_universe", id="1", name="room", add_ports=inputs[0])["ok"])
        return False

    try:
        end = time.monotonic() + 20
        while not ready():
            assert process.poll() is None, "OLA does not start"
            assert time.monotonic() < end, "OLA does not answer"
            time.sleep(0.05)
        yield lambda: ask("get_dmx?u=1")["dmx"]
    finally:
        process.terminate()
        process.wait(10)


def test_ola_reads_the_lights_by_art_net(ola: Callable[[], list[int]]) -> None:
    lights = [Fixture(1, 7, at="left"), Fixture(1, 20, "grb", at="right", pixels=2)]
    output = DmxOutput(lights, to="127.0.0.1", protocol="artnet", smooth=0, gamma=1)
    frame = np.empty((288, 512, 3), np.uint8)
    frame[:, :256], frame[:, 256:] = (11, 22, 33), (44, 55, 66)
    output.open(VideoFormat(512, 288, 30))
    try:
        output.send(Frame(frame, 0, time.monotonic()))
        end = time.monotonic() + 20
        while not (levels := ola()) or not any(levels):
            assert time.monotonic() < end, output.status()
            time.sleep(0.02)
        assert levels[6:9] == [11, 22, 33]
        assert levels[19:25] == [55, 44, 66] * 2
        assert sum(levels) == 66 + 2 * 165  # nothing else
    finally:
        output.close()
    end = time.monotonic() + 20
    while any(ola()):
        assert time.monotonic() < end, "the lights stay on behind the show's end"
        time.sleep(0.02)
