"""A world at a server of SGLang: played, cut off, refused, and what its messages may be."""

from __future__ import annotations

import contextlib
import io
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from worldjockey.node.ipc.frame_ring import FrameRing
from worldjockey.node.ipc.mailbox import Mailbox
from worldjockey.node.ipc.supervisor import Supervisor
from worldjockey.node.measure.show_process import free_port
from worldjockey.node.remote import sglang
from worldjockey.node.remote.protocol import Malformed, Unpacker
from worldjockey.node.show.media import Media
from worldjockey.node.show.schema import Show
from worldjockey.node.show.world_address import parse_sglang, parse_world
from worldjockey.node.show.yaml_file import ShowError
from worldjockey.node.world.process import WORLD_PATIENCE_S, WorldOptions

sys.path.insert(0, str(Path(__file__).parents[2] / "peers"))
from sglang_server import SglangServer, colour_of

PATIENCE_S = 60


def wait_for(condition: Callable[[], Any], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, f"not within {PATIENCE_S} s: {what}"
        time.sleep(0.02)


class Rig:
    """What the control process has: a mailbox, a ring, and the process that stands in for the world."""

    def __init__(self, address: str, model: str = "nano", media: dict[str, Media] | None = None) -> None:
        self.mailbox, self.ring = Mailbox(), FrameRing(1920 * 1088 * 3, 4)
        options = sglang.SglangOptions(address, WorldOptions(model, media=media or {}))
        self.supervisor = Supervisor("world", sglang.run, (options, self.mailbox, self.ring), WORLD_PATIENCE_S)

    def __enter__(self) -> Rig:
        return self

    def __exit__(self, *_: object) -> None:
        self.last = self.supervisor.finish(time.monotonic() + 10)
        self.mailbox.unlink()
        self.ring.unlink()

    def post(self, name: str, value: Any) -> float:
        arrived_at = time.monotonic()
        self.mailbox.post(name, value, arrived_at)
        return arrived_at

    def status(self) -> dict[str, Any]:
        self.supervisor.watch(time.monotonic())
        return dict(self.supervisor.status())

    def shows(self, colour: tuple[int, ...]) -> bool:
        found = self.ring.read()
        return found is not None and bool(np.abs(found[1][:32].mean((0, 1)) - colour).max() < 4)

    def bar(self) -> int:
        found = self.ring.read()
        assert found is not None
        return int(np.argmax(found[1][-4].min(1) > 200))

    def stamp(self) -> float:
        found = self.ring.read()
        return found[2].newest_control_at if found else 0.0


@contextlib.contextmanager
def played(**options: Any) -> Iterator[tuple[SglangServer, Rig]]:
    with SglangServer(**options) as server, Rig(f"{server.address}?size=96x64&fps=20") as rig:
        rig.post("prompt", "#204060")
        yield server, rig


@pytest.mark.slow
def test_a_world_at_a_server_is_played_cut_off_and_begun_anew() -> None:
    with played() as (server, rig):
        wait_for(lambda: rig.shows((0x20, 0x40, 0x60)), "the first prompt")
        wait_for(lambda: rig.status().get("state") == "running", "it to be told")
        init = server.inits[0]
        assert (init["type"], init["prompt"], init["size"], init["fps"]) == ("init", "#204060", "96x64", 20)
        assert "model" not in init, "the server has one"
        assert server.paths == ["/v1/realtime_video/generate"]

        arrived_at = rig.post("prompt", "#c81e5a")
        wait_for(lambda: rig.shows((200, 30, 90)), "a prompt that changes")
        wait_for(lambda: rig.stamp() == arrived_at, "this machine's own clock to come back")
        assert len(server.inits) == 1, "in the same session"

        rig.post("pad/3/text", "#10b020")
        rig.post("pad/3", 1.0)
        wait_for(lambda: rig.shows((0x10, 0xB0, 0x20)), "the pad that is up")
        rig.post("pad/3", 0.0)
        wait_for(lambda: rig.shows((200, 30, 90)), "the prompt again")

        moved_at, bar = rig.post("cam/strafe", 1.0), rig.bar()
        wait_for(lambda: rig.bar() != bar, "the camera to move")
        wait_for(lambda: rig.stamp() == moved_at, "frames to be stamped with it")
        rig.post("cam/strafe", 0.0)
        wait_for(lambda: server.events[-1]["payload"]["transitions"][-1]["actions"] == [], "the key to be let go")
        assert rig.status()["link"]["lost"] == 0

        rig.post("freeze", True)
        wait_for(lambda: (held := rig.ring.newest) and not time.sleep(0.5) and rig.ring.newest == held, "the freeze")
        rig.post("freeze", False)
        rig.post("panic", True)
        wait_for(lambda: len(server.inits) == 2, "a new session")
        counted = lambda: json.loads(rig.mailbox.consumed.read()[1] or b"{}").get("panic")  # noqa: E731
        wait_for(lambda: counted() == 1, "the trigger to be counted")
        assert server.inits[1]["prompt"] == "#c81e5a"

        wait_for(lambda: rig.status().get("state") == "running", "it to play again")
        server.drop()
        wait_for(lambda: rig.status()["link"]["lost"] == 1, "the loss to be told")
        assert rig.shows((200, 30, 90)), "the picture holds"
        wait_for(lambda: len(server.inits) == 3 and rig.status().get("state") == "running", "it to be back")
        assert rig.status()["restarts"] == 0


@pytest.mark.slow
def test_a_server_that_comes_later_is_found_and_a_lost_picture_goes_on(tmp_path: Path) -> None:
    port = free_port()
    Image.new("RGB", (32, 32), (220, 40, 20)).save(tmp_path / "red.png")
    media = {"a road [red.png]": Media(image=str(tmp_path / "red.png"))}
    with Rig(f"sglang://127.0.0.1:{port}", "lingbot", media) as rig:
        rig.post("prompt", "a road")
        wait_for(lambda: "sglang serve" in rig.status().get("message", ""), "nobody there")
        assert rig.status()["state"] == "connecting"
        with SglangServer(needs_image=True, port=port) as server:
            wait_for(lambda: "image" in rig.status().get("message", ""), "the refusal of a start without an image")
            rig.post("prompt", "a road [red.png]")
            wait_for(lambda: rig.shows((220, 40, 20)), "the image")
            assert server.inits[0]["model"] == "lingbot"
            assert server.inits[0]["prompt"] == "a road"
            rig.post("prompt", "#0000ff")
            wait_for(lambda: rig.shows((0, 0, 255)), "the prompt, in the same session")
            server.drop()
            wait_for(lambda: len(server.inits) == 2, "a second session")
            resumed = np.asarray(Image.open(io.BytesIO(server.inits[1]["first_frame"])))
            assert np.abs(resumed[:32].mean((0, 1)) - (0, 0, 255)).max() < 6, "from the last frame"
            rig.post("seed", 5)
            wait_for(lambda: len(server.inits) == 3, "a session from the seed")
            assert server.inits[2]["seed"] == 5


@pytest.mark.slow
@pytest.mark.parametrize("form", [{"encoding": "raw"}, {"large": True}, {"camera": False}])
def test_other_forms_of_frames_and_models_without_a_camera(form: dict[str, Any]) -> None:
    with played(**form) as (server, rig):
        wait_for(lambda: rig.shows((0x20, 0x40, 0x60)), "the first prompt")
        rig.post("cam/yaw", -1.0)
        if form.get("camera", True):
            wait_for(lambda: any(event["kind"] == "camera_actions" for event in server.events), "the camera")
        else:
            wait_for(lambda: "no camera" in rig.status().get("message", ""), "it to be told")
        rig.post("prompt", "#c81e5a")
        wait_for(lambda: rig.shows((200, 30, 90)), "a prompt that changes")
        assert rig.status()["link"]["malformed"] == 0
        if not form.get("camera", True):
            cameras = sum(event["kind"] == "camera_actions" for event in server.events)
            rig.post("cam/yaw", 1.0)
            rig.post("prompt", "#102030")
            wait_for(lambda: rig.shows((16, 32, 48)), "another prompt")
            assert sum(event["kind"] == "camera_actions" for event in server.events) == cameras


def test_faders_become_keys() -> None:
    values = {"cam/forward": 0.1, "cam/strafe": -1.0, "cam/yaw": 0.5, "cam/pitch": 0.3}
    assert sglang.held_keys(values) == ["a", "i", "l"]
    assert sglang.held_keys({}) == []


@given(st.binary(max_size=200))
def test_any_message_is_survived(data: bytes) -> None:
    for kind in ("image/jpeg", "application/x-raw-rgb", "video/mp4"):
        with contextlib.suppress(Malformed):
            sglang.frames_of({"content_type": kind, "payload_lengths": [len(data)], "width": 1, "height": 1}, data,
                             Unpacker())  # fmt: skip


def test_addresses() -> None:
    assert Show.parse("world: sglang://10.0.0.2").world == "sglang://10.0.0.2"
    found = parse_sglang("sglangs://gpu.example.com:8443?size=1280x704&fps=25&chunk=9&steps=4")
    assert found.url == "wss://gpu.example.com:8443/v1/realtime_video/generate"
    assert (found.size, found.fps, found.chunk, found.steps) == ("1280x704", 25.0, 9, 4)
    assert parse_sglang("sglang://[fe80::1]").url == "ws://[fe80::1]:30000/v1/realtime_video/generate"
    for wrong in (
        "sglang://",
        "sglang://a:b",
        "sglang://a/v1",
        "sglang://a?size=big",
        "sglang://a?fps=0",
        "sglang://a?x=1",
    ):
        with pytest.raises(ShowError):
            Show.parse(f"world: '{wrong}'")
    assert parse_world("tcp://a, tcp://b:99") == "tcp://a:9014,tcp://b:99"
    with pytest.raises(ValueError, match="twice"):
        parse_world("tcp://a,tcp://a:9014")
    assert colour_of("#010203") == (1, 2, 3)


@pytest.mark.slow
def test_a_show_is_played_by_the_command(tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    with SglangServer() as server:
        command = [
            sys.executable,
            "-m",
            "worldjockey.node",
            "play",
            "--world",
            server.address,
            "--model",
            "org/a-world",
        ]
        command += ["--prompt", "#204060", "--headless", "--out", "none", "--no-osc", "--no-midi", "--no-surface"]
        command += ["--seconds", "12", "--report", str(report)]
        subprocess.run(command, check=True, capture_output=True, timeout=3 * PATIENCE_S)
        assert server.inits[0]["model"] == "org/a-world"
    world = json.loads(report.read_text())["world"]
    assert (world["state"], world["link"]["up"], world["link"]["address"]) == ("running", True, server.address)
    assert world["frames"] > 0
