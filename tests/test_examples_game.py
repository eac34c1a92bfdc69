"""examples/game: its robot finds and catches lights, in a scripted world that speaks OSC as a show does."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from pythonosc.dispatcher import Dispatcher
from pythonosc.osc_server import BlockingOSCUDPServer
from pythonosc.udp_client import SimpleUDPClient

GAME = Path(__file__).parents[1] / "examples/game/catch_the_light.py"
STEP_S = 0.02
SPEED = {"arrowright": (4.0, 0.0), "arrowleft": (-4.0, 0.0), "arrowup": (0.0, 0.1), "arrowdown": (0.0, -0.1)}  # a step


class World:
    """A show: keys turn and walk and let a figure jump, and its state goes to the subscriber."""

    def __init__(self) -> None:
        self.heading, self.y, self.down, self.heard = 0.0, 0.0, set[str](), list[str]()
        self.player: SimpleUDPClient | None = None
        paths = Dispatcher()
        paths.map("/wj/subscribe", lambda _, port: setattr(self, "player", SimpleUDPClient("127.0.0.1", port)))
        paths.map("/wj/players/key", self._key)
        paths.map("/wj/event/*", lambda address, *_: self.heard.append(address.rpartition("/")[2]))
        self.server = BlockingOSCUDPServer(("127.0.0.1", 0), paths)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def _key(self, _: str, key: str, down: Any) -> None:
        (self.down.add if down else self.down.discard)(key)

    def step(self) -> None:
        for key in self.down & SPEED.keys():
            turn, walk = SPEED[key]
            self.heading, self.y = (self.heading + turn) % 360, (self.y + walk) % 4
        if self.player is not None:
            act = "jump" if "enter" in self.down else "walk"  # of the figure in the prompt
            for name, value in (("y", self.y), ("act", act), ("faces", "pine"), ("heading", self.heading)):
                self.player.send_message(f"/wj/state/{name}", value)


def test_the_robot_catches_lights() -> None:
    world = World()
    command = [sys.executable, str(GAME), "--robot", "--running", "--seed", "1", "--port"]
    game = subprocess.Popen([*command, str(world.server.server_address[1])], stdout=subprocess.DEVNULL)
    try:
        end = time.monotonic() + 60
        while world.heard.count("caught") < 2:
            assert game.poll() is None, "the game ended"
            assert time.monotonic() < end, (world.heard, world.heading, world.y, world.down)
            world.step()
            time.sleep(STEP_S)
    finally:
        game.kill()
        game.wait()
        world.server.shutdown()
        world.server.server_close()
