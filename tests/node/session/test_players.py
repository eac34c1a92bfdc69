"""Players on a desk: pretended gamepads, keys of windows and of pages, phones;
and the world's situation by OSC and HTTP."""

from __future__ import annotations

import json
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from worldjockey.integrations import ControlEvent
from worldjockey.integrations.gamepad import gamepad_process
from worldjockey.integrations.gamepad.input import GamepadInput
from worldjockey.node.control.desk import Desk
from worldjockey.node.control.keyboard import Buttons, Keyboard
from worldjockey.node.ipc.mailbox import Mailbox
from worldjockey.node.measure.show_process import free_port
from worldjockey.node.session.inputs import inputs_of
from worldjockey.node.session.players import PlayersInput
from worldjockey.node.show.schema import Show

PEERS = Path(__file__).parents[2] / "peers"
SHOW = """
osc: off
midi: off
events: [{name: hit, do: {energy: 1}, lifetime: 60}]
players: {turn: 600, keys: {1: wasd}, gamepads: [Pad], phones: on, buttons: {x: event/hit}}
"""


class Rig:
    """A desk with players, whose time goes on as in a show."""

    def __init__(self, pads: Path, text: str = SHOW) -> None:
        self.pads, self.box = pads, Mailbox()
        self.desk = Desk(Show.parse(text), self.box)
        inputs = inputs_of(self.desk.show, self.desk)
        players, gamepads = inputs["players"], inputs["gamepad"]
        assert isinstance(players, PlayersInput)
        assert isinstance(gamepads, GamepadInput)
        self.players, self.gamepads = players, gamepads
        self.told: list[Any] = []
        players.tell = self.told.append
        players.start(self.desk.deliver)
        gamepads.start(self.desk.deliver)
        self.keyboard = Keyboard(Buttons(self.desk.deliver, self.desk.read), lambda: {"w": "pad/1", "p": "act/pose"},
                                 lambda: "", lambda key, to: None, players.key)  # fmt: skip

    def plug(self, **pads: dict[str, Any]) -> None:
        """What is connected, by name: down, names of its buttons; and axes of GLFW's."""
        rows = []
        for name, pad in pads.items():
            buttons = [int(button in pad.get("down", ())) for button in gamepad_process.BUTTONS]
            axes = [pad.get(axis, -1.0 if axis.endswith("trigger") else 0.0) for axis in gamepad_process.AXES]
            rows.append({"name": name, "gamepad": True, "buttons": buttons, "axes": axes})
        new = self.pads.with_suffix(".new")
        new.write_text(json.dumps(rows))
        new.replace(self.pads)

    def until(self, found: Callable[[], object], what: str = "") -> None:
        deadline = time.monotonic() + 20
        while not found():
            self.go()
            assert time.monotonic() < deadline, f"{what} {self.players.status()} {self.desk.error}"
            time.sleep(0.01)

    def go(self) -> None:
        now = time.monotonic()
        self.players.advance(now)
        self.desk.advance(now)

    @property
    def seats(self) -> list[str]:
        return [seat["name"] for seat in self.players.status()["seats"]]


@pytest.fixture
def rig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Rig]:
    monkeypatch.setenv("PYTHONPATH", str(PEERS / "gamepad"))
    monkeypatch.setenv("WJ_GAMEPADS", str(tmp_path / "pads.json"))
    made = Rig(tmp_path / "pads.json")
    yield made
    made.gamepads.stop()
    made.box.unlink()


def test_gamepads_of_players_play_by_turns_and_that_of_the_performer_plays_the_show(rig: Rig) -> None:
    read = rig.desk.read
    rig.plug(Pad={}, Pad2={}, Mine={})
    rig.until(lambda: len(rig.gamepads.status()["gamepads"]) == 3)
    rig.plug(Pad={"left_y": -1.0}, Pad2={}, Mine={"right_x": 1.0, "down": ["y"]})
    rig.until(lambda: (read("cam/yaw"), read("act")) == (1.0, "jump"), "the performer's own gamepad plays its map")
    assert read("cam/forward") == 0.0
    rig.plug(Pad={}, Pad2={}, Mine={})
    rig.until(lambda: read("cam/yaw") == 0.0)
    rig.plug(Pad={"down": ["start"]}, Pad2={}, Mine={})
    rig.until(lambda: rig.seats[0] == "Pad")
    rig.plug(Pad={}, Pad2={"down": ["a"]}, Mine={})
    rig.until(lambda: rig.seats[:2] == ["Pad", "Pad2"])
    rig.plug(Pad={"left_y": -1.0, "down": ["x"]}, Pad2={"left_y": 1.0}, Mine={})
    rig.until(lambda: (read("cam/forward"), read("energy")) == (1.0, 1.0))
    assert rig.players.status()["turn"] == 1
    rig.desk.deliver(ControlEvent("players/next", (), 0.0, "osc"))
    rig.until(lambda: read("cam/forward") == 0.0)
    rig.plug(Pad={"left_y": -1.0}, Pad2={"left_y": 0.9}, Mine={})
    rig.until(lambda: read("cam/forward") < -0.5)
    rig.plug(Pad={"left_y": -1.0})
    rig.until(lambda: (read("cam/forward"), rig.seats[1]) == (0.0, ""), "an unplugged gamepad lets go")
    rig.desk.deliver(ControlEvent("players/on", (0,), 0.0, "osc"))
    rig.plug(Pad={"right_x": -1.0})
    rig.until(lambda: read("cam/yaw") == -1.0, "without players every gamepad plays the show")


def test_the_performer_takes_a_fader_from_players_and_gives_it_back(rig: Rig) -> None:
    read = rig.desk.read
    rig.keyboard.key("window", " ", True, 1.0)
    rig.keyboard.key("window", "w", True, 1.0)
    rig.until(lambda: read("cam/forward") == 1.0)
    assert read("pad/1") == 0.0, "a key of the players plays nothing else"
    rig.desk.deliver(ControlEvent("cam/forward", (0.2,), 0.0, "surface 1"))
    rig.keyboard.key("window", "w", False, 2.0)
    rig.keyboard.key("window", "s", True, 2.0)
    rig.go()
    assert (read("cam/forward"), rig.players.status()["held"]) == (0.2, ["cam/forward"])
    rig.desk.deliver(ControlEvent("cam/forward", (0.0,), 0.0, "surface 1"))
    rig.until(lambda: read("cam/forward") == -1.0, "players have it again")
    rig.keyboard.key("window", "", False, 3.0)
    rig.until(lambda: read("cam/forward") == 0.0, "a window that lost the keyboard holds nothing")
    rig.keyboard.key("window", "p", True, 3.0)
    assert read("act") == "pose", "other keys play the show"
    rig.desk.deliver(ControlEvent("players/key", ("a", 1), 0.0, "surface 2"))
    rig.until(lambda: read("cam/yaw") == -1.0)
    rig.desk.deliver(ControlEvent("players/kick", (1,), 0.0, "surface 2"))
    rig.until(lambda: (read("cam/yaw"), rig.seats[0]) == (0.0, ""))


def test_phones_sit_down_play_are_told_and_leave(rig: Rig) -> None:
    read = rig.desk.read
    rig.go()
    assert rig.told[-1]["players"]["open"]
    assert rig.told[-1]["players"]["play"]["buttons"] == [
        ["a", "jump"], ["b", "dance"], ["x", "hit"], ["y", "run"]]  # fmt: skip
    rig.players.on_phones([{"seat": 3, "axes": [0.0, 0.0], "buttons": []}])
    rig.go()
    assert rig.told[-1]["players"]["play"] | {"left": 0} == {
        "turn": 1, "all": False, "free": True, "seats": {"3": 1}, "left": 0,
        "buttons": rig.told[0]["players"]["play"]["buttons"]}  # fmt: skip
    rig.players.on_phones([{"seat": 3, "axes": [0.5, -1.0], "buttons": ["x"]}])
    rig.go()
    assert (read("cam/yaw"), read("cam/forward"), read("energy")) == (0.5, -1.0, 1.0)
    rig.players.on_phones([])
    rig.go()
    assert (read("cam/yaw"), read("cam/forward"), rig.seats[0]) == (0.0, 0.0, "")


def test_a_world_tells_where_it_is_by_osc_and_http(tmp_path: Path) -> None:
    """A whole show with nano; the peers are python-osc and urllib."""
    import subprocess

    from pythonosc.dispatcher import Dispatcher
    from pythonosc.osc_server import ThreadingOSCUDPServer
    from pythonosc.udp_client import SimpleUDPClient

    osc, page = free_port(), free_port()
    (tmp_path / "show.yaml").write_text(
        "model: nano:runtime=torch\nprompt: a forest at night\nsize: 128x72\noutputs: []\nmidi: off\ngamepad: off\n"
        f"osc: {{port: {osc}, query: off}}\nsurface: {{port: {page}}}\n"
    )
    got: dict[str, Any] = {}
    dispatcher = Dispatcher()
    dispatcher.set_default_handler(lambda address, *args: got.__setitem__(address, args))
    server = ThreadingOSCUDPServer(("127.0.0.1", 0), dispatcher)
    import threading

    threading.Thread(target=server.serve_forever, daemon=True).start()
    wj = [sys.executable, "-m", "worldjockey.node", "play", str(tmp_path / "show.yaml"), "--headless"]
    show = subprocess.Popen(wj, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    client = SimpleUDPClient("127.0.0.1", osc)
    try:

        def until(found: Callable[[], object]) -> None:
            deadline = time.monotonic() + 90
            while not found():
                assert time.monotonic() < deadline, got
                client.send_message("/wj/subscribe", server.server_address[1])
                time.sleep(0.2)

        until(lambda: got.get("/wj/state/place") == ("forest",) and "/wj/state/heading" in got)
        before = got["/wj/state/heading"][0]
        client.send_message("/wj/cam/yaw", 1.0)
        until(lambda: 20 < (got["/wj/state/heading"][0] - before) % 360 < 340)
        until(lambda: got.get("/wj/state/near/1", ("",))[0] == "pine")
        with urllib.request.urlopen(f"http://127.0.0.1:{page}/state/stream", timeout=60) as stream:
            lines = (json.loads(line[6:]) for line in stream if line.startswith(b"data: "))
            first = next(lines)
            later = next(line for line in lines if line["seconds"] > first["seconds"] and line["near"])
        assert {row["name"] for row in later["near"]} == {"pine"}
        with urllib.request.urlopen(f"http://127.0.0.1:{page}/state", timeout=60) as answer:
            assert json.load(answer)["place"] == "forest"
    finally:
        show.terminate()
        show.wait(60)
        server.shutdown()
        server.server_close()


def test_oscquery_lists_the_events_of_a_show() -> None:
    box = Mailbox()
    show = Show.parse(f"{{midi: off, osc: {{query: {free_port()}}}, events: [{{name: hit, do: {{energy: 1}}}}]}}")
    query = inputs_of(show, Desk(show, box))["oscquery"]
    query.start(lambda _: None)
    try:
        deadline = time.monotonic() + 60
        while not (port := query.status().get("port")):
            assert time.monotonic() < deadline, query.status()
            time.sleep(0.02)
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/wj/event", timeout=60) as answer:
            found = json.load(answer)["CONTENTS"]
    finally:
        query.stop()
        box.unlink()
    assert {name: node["TYPE"] for name, node in found.items()} == {"hit": "I"}
