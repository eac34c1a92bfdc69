"""Catch the light: a game that is no part of worldjockey, and speaks to it by OSC alone.

Somewhere in the night forest there is a light. Turn and walk: the nearer you are, the more the day breaks. Jump when
you stand in it. A minute; with friends, 15 seconds each in turn.

    python examples/game/catch_the_light.py             starts the show, too
    python examples/game/catch_the_light.py --robot     and plays it by itself
    python examples/game/catch_the_light.py --running   where the show plays already
"""

from __future__ import annotations

import argparse
import math
import random
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from pythonosc.dispatcher import Dispatcher
from pythonosc.osc_server import ThreadingOSCUDPServer
from pythonosc.udp_client import SimpleUDPClient

TURN, WALK = 360.0, 4.0  # after which heading and way ahead come round again
NEAR_DEG, NEAR_WAY = 20.0, 0.5  # within which a jump catches the light
READ_MORE = "Arrows or WASD, a gamepad or a phone: the first press of enter, space or A takes a seat."


def apart(a: float, b: float, period: float) -> float:
    """From a to b, the shorter way round: below 0 it is behind."""
    return (b - a + period / 2) % period - period / 2


class Game:
    """light: its heading and way ahead. world: the newest /wj/state/... by name."""

    def __init__(self, port: int, chance: random.Random) -> None:
        self.world: dict[str, Any] = {}
        self.chance, self.score, self.light = chance, 0, (0.0, 0.0)
        self.jumped = False
        self.wj = SimpleUDPClient("127.0.0.1", port)
        ears = Dispatcher()
        ears.map("/wj/state/*", lambda address, *args: self.world.__setitem__(address[10:], args[0]))
        self.server = ThreadingOSCUDPServer(("127.0.0.1", 0), ears)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def wait_for_the_world(self, show: subprocess.Popen[bytes] | None) -> None:
        while "heading" not in self.world:
            if show is not None and show.poll() is not None:
                sys.exit("the show did not start")
            self.wj.send_message("/wj/subscribe", self.server.server_address[1])
            time.sleep(0.5)

    def hide(self) -> None:
        """A new light, at least a quarter turn away."""
        heading = (self.world["heading"] + self.chance.uniform(TURN / 4, 3 * TURN / 4)) % TURN
        self.light = heading, self.chance.uniform(0, WALK)

    @property
    def way(self) -> tuple[float, float]:
        """Degrees to the right and units ahead to the light."""
        return apart(self.world["heading"], self.light[0], TURN), apart(self.world["y"], self.light[1], WALK)

    def look(self) -> None:
        """The world answers: the day breaks with the nearness of the light, and a jump catches it or not."""
        turn, walk = self.way
        warm = 0.6 * math.exp(-((turn / 60) ** 2)) + 0.4 * math.exp(-((turn / 60) ** 2) - (walk / 0.9) ** 2)
        self.wj.send_message("/wj/morph", warm)
        jumps = self.world.get("act") == "jump"
        if jumps and not self.jumped:
            if abs(turn) < NEAR_DEG and abs(walk) < NEAR_WAY:
                self.score += 1
                self.wj.send_message("/wj/event/caught", 1)
                self.hide()
            else:
                self.wj.send_message("/wj/event/missed", 1)
        self.jumped = jumps
        bar = "#" * round(20 * warm)
        print(f"\r{bar:20}  {self.score} caught, the {self.world.get('faces')} ahead     ", end="", flush=True)

    def end(self) -> None:
        self.wj.send_message("/wj/morph", 1.0 if self.score else 0.0)
        self.wj.send_message("/wj/act", "dance" if self.score else "cry")
        self.wj.send_message("/wj/players/on", 0)
        print(f"\nTime! You caught {self.score} light{'s' * (self.score != 1)}.")


class Robot:
    """A player that knows where the light is. It presses keys, as everybody does."""

    def __init__(self, game: Game) -> None:
        self.game, self.down = game, set[str]()
        self.press({"enter"})

    def press(self, keys: set[str]) -> None:
        for key in self.down ^ keys:
            self.game.wj.send_message("/wj/players/key", [key, int(key in keys)])
        self.down = keys

    def play(self) -> None:
        turn, walk = self.game.way
        keys = {"arrowright" if turn > 0 else "arrowleft"} if abs(turn) > NEAR_DEG / 2 else set()
        keys |= {"arrowup" if walk > 0 else "arrowdown"} if abs(walk) > NEAR_WAY / 2 else set()
        jumps = self.game.world.get("act") == "jump"
        self.press(keys or (set() if jumps else {"enter"}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int)
    parser.add_argument("--port", type=int, default=9010, help="of the show's OSC")
    parser.add_argument("--robot", action="store_true")
    parser.add_argument("--running", action="store_true")
    parser.add_argument("--show", default=str(Path(__file__).with_name("show.yaml")))
    options, more = parser.parse_known_args()
    wj = [sys.executable, "-m", "worldjockey.node", "play", options.show, "--headless", *more]
    show = None if options.running else subprocess.Popen(wj)
    game = Game(options.port, random.Random(options.seed))
    try:
        game.wait_for_the_world(show)
        print(READ_MORE)
        game.hide()
        robot = Robot(game) if options.robot else None
        ends = time.monotonic() + options.seconds
        while time.monotonic() < ends and (show is None or show.poll() is None):
            game.look()
            if robot:
                robot.play()
            time.sleep(0.05)
        game.end()
        time.sleep(3)
    except KeyboardInterrupt:
        pass
    finally:
        if show is not None:
            show.terminate()
            show.wait()
        game.server.shutdown()


if __name__ == "__main__":
    main()
