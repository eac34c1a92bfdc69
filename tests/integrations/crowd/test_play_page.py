"""Two phones in Debian's Chromium play a desk by the page /play: seats, the stick, buttons, the turn."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from worldjockey.integrations import ControlEvent, Input
from worldjockey.node.control.desk import Desk
from worldjockey.node.ipc.mailbox import Mailbox
from worldjockey.node.measure.show_process import free_port
from worldjockey.node.session.crowd import crowd_of
from worldjockey.node.session.players import PlayersInput
from worldjockey.node.session.requests import Requests
from worldjockey.node.show.schema import Show

sys.path.insert(0, str(Path(__file__).parents[2] / "peers"))
from surface_page import chromium, open_at

pytestmark = pytest.mark.slow
SHOW = """
events: [{{name: hit, do: {{energy: 1}}, hold: true}}]
players: {{phones: on, gamepads: off, turn: 600, buttons: {{x: event/hit}}}}
crowd: {{enabled: false, port: {port}}}
"""


class Rig:
    def __init__(self) -> None:
        self.box = Mailbox()
        self.desk = Desk(Show.parse(SHOW.format(port=free_port())), self.box)
        rules = self.desk.show.players
        assert rules is not None
        self.players = PlayersInput(rules, self.desk)
        inputs: dict[str, Input] = {"players": self.players}
        assert crowd_of(self.desk.show, self.desk, inputs, Requests(), self.players) is None
        self.crowd: Any = inputs["crowd"]
        self.players.start(self.desk.deliver)
        self.crowd.start(self.desk.deliver)
        self._ended = threading.Event()
        self._loop = threading.Thread(target=self._run)
        self._loop.start()

    def _run(self) -> None:
        while not self._ended.wait(0.01):
            self.players.advance(time.monotonic())
            self.desk.advance(time.monotonic())

    def until(self, found: Callable[[], object], what: str = "") -> None:
        deadline = time.monotonic() + 30
        while not found():
            assert time.monotonic() < deadline, f"{what}: {self.players.status()} {self.crowd.status()}"
            time.sleep(0.02)

    def close(self) -> None:
        self._ended.set()
        self._loop.join()
        self.crowd.stop()
        self.box.unlink()


@pytest.fixture
def rig() -> Iterator[Rig]:
    made = Rig()
    yield made
    made.close()


def test_two_phones_take_seats_and_play_in_turn(rig: Rig) -> None:
    read, problems = rig.desk.read, list[str]()
    rig.until(lambda: rig.crowd.url)
    url = f"http://127.0.0.1:{rig.crowd.status()['port']}/play"
    with chromium() as browser:
        one, two = (open_at(browser, url, "phone", problems) for _ in range(2))
        one.add_init_script("window.buzzed = 0; navigator.vibrate = () => { window.buzzed++; return true }")
        one.reload()
        one.tap("#join")
        rig.until(lambda: rig.players.status()["turn"] == 1)
        one.wait_for_selector("body.turn")
        one.wait_for_selector("#message:has-text('player 1')")
        assert one.evaluate("window.buzzed") == 1, "the phone vibrates as the turn begins"
        two.tap("#join")
        two.wait_for_selector("body.waiting")
        two.wait_for_selector("#message:has-text('player 2')")

        box = one.locator("#stick").bounding_box()
        assert box is not None
        middle = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        one.mouse.move(*middle)
        one.mouse.down()
        one.mouse.move(middle[0] + box["width"] / 4, middle[1] - box["height"] / 2)
        rig.until(lambda: read("cam/forward") > 0.8 and 0.3 < read("cam/yaw") < 0.6, "the stick")
        one.mouse.up()
        rig.until(lambda: (read("cam/forward"), read("cam/yaw")) == (0.0, 0.0), "the stick is let go")
        button = one.locator("#buttons button", has_text="hit")
        button.dispatch_event("touchstart")
        rig.until(lambda: read("energy") == 1.0, "the button")
        button.dispatch_event("touchend")
        rig.until(lambda: read("energy") == 0.0, "the button is let go")

        two.keyboard.down("ArrowUp")
        time.sleep(0.3)
        assert read("cam/forward") == 0.0, "it is not their turn"
        two.keyboard.up("ArrowUp")
        one.tap("#leave")
        two.wait_for_selector("body.turn")
        two.keyboard.down("ArrowUp")
        rig.until(lambda: read("cam/forward") == 1.0, "a computer plays by its arrows")
        two.close()
        rig.until(lambda: read("cam/forward") == 0.0, "a page that is closed holds nothing")
        one.tap("#join")
        one.wait_for_selector("body.turn")
        rig.desk.deliver(ControlEvent("players/kick", (), 0.0, "surface"))
        one.wait_for_selector("#join:visible")
    assert problems == []
