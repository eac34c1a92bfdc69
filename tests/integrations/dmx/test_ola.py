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
from worldjockey.integrations import ControlEvent, Frame, VideoFormat
from worldjockey.integrations.dmx.fixtures import Fixture
from worldjockey.integrations.dmx.input import LightsInput
from worldjockey.integrations.dmx.multicast import networks
from worldjockey.integrations.dmx.output import DmxOutput
from worldjockey.node.measure.show_process import free_port
from worldjockey.node.show.schema import Show

PLUGINS = (
    "artnet", "dummy", "e131", "espnet", "ftdidmx", "gpio", "karate", "kinet", "milinst", "opendmx", "openpixelcontrol",
    "osc", "pathport", "renard", "sandnet", "shownet", "spi", "stageprofi", "uartdmx", "usbdmx", "usbserial",
)  # fmt: skip


Ask = Callable[..., Any]


@contextlib.contextmanager
def olad(tmp_path: Path, plugin: str, settings: str) -> Iterator[Ask]:
    """OLA with one plugin. Yields a function that asks its web server."""
    if shutil.which("olad") is None:
        pytest.skip("OLA is not installed: apt install ola")
    for name in PLUGINS:
        (tmp_path / f"ola-{name}.conf").write_text("enabled = false\n")
    (tmp_path / f"ola-{plugin}.conf").write_text(f"enabled = true\nip = 127.0.0.1\n{settings}")
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
            text = answer.read().decode()
            return json.loads(text) if text != "ok" else text

    try:
        yield ask
    finally:
        process.terminate()
        process.wait(10)


def patch(ask: Ask, port: str, device: str) -> None:
    """Make OLA's universe 1 of the device's first port. port: "-I-" for an input, "-O-" for an output."""

    def done() -> bool:
        with contextlib.suppress(OSError):
            found = [each["id"] for each in ask("json/get_ports") if device in each["device"] and port in each["id"]]
            return bool(found and ask("new_universe", id="1", name="room", add_ports=found[0])["ok"])
        return False

    until(done)


def until(condition: Callable[[], Any], seconds: float = 20.0) -> Any:
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.05)
    return found


@pytest.fixture
def ola(tmp_path: Path) -> Iterator[Callable[[], list[int]]]:
    """The levels of OLA's universe 1, which is Art-Net's universe 1."""
    with olad(tmp_path, "artnet", "use_loopback = true\noutput_ports = 1\n") as ask:
        patch(ask, "-I-", "ArtNet")
        yield lambda: ask("get_dmx?u=1")["dmx"]


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


def test_ola_plays_the_show_by_sacn_multicast(tmp_path: Path) -> None:
    show = Show.parse("{lights: {universe: 1, start: 0, patch: [{channel: 5, to: energy}]}}")
    assert show.lights is not None
    found: list[ControlEvent] = []
    if networks("0.0.0.0") == {"127.0.0.1"}:
        pytest.skip("OLA sends sACN to networks only, and this machine has none")
    lights = LightsInput(show.lights.rules(), "0.0.0.0", artnet=False)
    with olad(tmp_path, "e131", "input_ports = 0\noutput_ports = 1\n") as ask:
        patch(ask, "-O-", "E1.31")
        lights.start(found.append)
        try:

            def set_to(level: int) -> bool:
                ask("set_dmx", u="1", d=f"0,0,0,0,{level}")
                return bool(found) if level else bool(lights.status()["sources"])

            until(lambda: set_to(0))
            until(lambda: set_to(255))
            assert (found[0].target, found[0].args) == ("energy", (1.0,))
            (desk,) = lights.status()["sources"]
            assert desk["protocol"] == "sACN"
            assert "OLA" in desk["name"]
        finally:
            lights.stop()
