"""The examples for OSC programs: their addresses are there, and their scripts do what they say."""

from __future__ import annotations

import json
import re
import runpy
import socket
from pathlib import Path
from typing import Any

import pytest
from pythonosc.osc_bundle_builder import IMMEDIATELY, OscBundleBuilder
from pythonosc.osc_message_builder import OscMessageBuilder
from worldjockey.integrations.osc.input import OSCInput
from worldjockey.integrations.osc.packets import match
from worldjockey.node.control import reference
from worldjockey.node.control.desk import Desk
from worldjockey.node.ipc.mailbox import Mailbox
from worldjockey.node.parameters import PARAMETERS, find, latest_wins
from worldjockey.node.show.schema import Show

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"
PAGES = [
    *(EXAMPLES / name / "README.md" for name in ("chataigne", "touchosc")),
    *(ROOT / "docs" / f"{name}.md" for name in ("playing", "osc", "touchdesigner", "ableton", "resolume")),
]
ASKED = ("subscribe", "unsubscribe", "subscribed")


@pytest.mark.parametrize("page", PAGES, ids=[str(page.relative_to(ROOT)) for page in PAGES])
def test_every_address_on_a_page_is_there(page):
    names = set(re.findall(r"/?\bwj/([\w/*+]+)", page.read_text()))
    assert names
    for name in names - set(ASKED):
        plain = name.removesuffix("/+").removesuffix("/value")
        known = find(plain) or plain.startswith("status/") or any(match(plain, target) for target in PARAMETERS)
        assert known, f"{page.name}: /wj/{name}"


def test_the_session_is_made_of_the_table():
    session = json.loads((EXAMPLES / "open_stage_control/worldjockey.json").read_text())
    widgets = [widget for tab in session["content"]["tabs"] for widget in tab["widgets"]]
    assert len(widgets) > 60
    for widget in widgets:
        p = PARAMETERS[widget["id"]]
        assert widget["address"] == p.osc
        if widget["type"] == "fader":
            assert widget["range"] == {"min": p.low, "max": p.high}
    made = runpy.run_path(str(EXAMPLES / "open_stage_control/make_session.py"))["session"](reference.rows())
    assert sum(len(tab["widgets"]) for tab in made["content"]["tabs"]) == len(PARAMETERS)


def test_the_streamdiffusion_show_opens():
    show = Show.load(EXAMPLES / "touchdesigner/streamdiffusion.yaml")
    assert (show.osc.port, show.osc.feedback_port, show.osc.aliases) == (8247, 8248, ["streamdiffusion"])


class OSCOut:
    """Stands in for TouchDesigner's OSC Out DAT: sendOSC(address, args), or a list of both as a bundle."""

    def __init__(self, port: int) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.connect(("127.0.0.1", port))

    def sendOSC(self, address: Any, args: Any = (), asBundle: bool = False) -> None:  # noqa: N802, N803
        def message(to: str, values: Any) -> Any:
            builder = OscMessageBuilder(to)
            for value in values:
                builder.add_arg(value)
            return builder.build()

        if isinstance(address, str):
            self.socket.send(message(address, args).dgram)
        else:
            assert asBundle
            bundle = OscBundleBuilder(IMMEDIATELY)
            for to, values in address:
                bundle.add_content(message(to, values))
            self.socket.send(bundle.build().dgram)


class Table:
    """Stands in for a Table DAT."""

    def __init__(self) -> None:
        self.rows: dict[str, Any] = {}

    def row(self, name: str) -> Any:
        return self.rows.get(name)

    def appendRow(self, cells: list[Any]) -> None:  # noqa: N802
        self.rows[cells[0]] = cells[1]

    def __setitem__(self, place: tuple[str, int], value: Any) -> None:
        self.rows[place[0]] = value


def test_touchdesigners_scripts(wait_for):
    mailbox = Mailbox()
    desk = Desk(Show.load(), mailbox)
    osc = OSCInput(port=0, feedback_port=None, latest_wins=latest_wins, targets=PARAMETERS, read=desk.read)
    osc.start(desk.deliver)
    try:
        out = OSCOut(osc.port)
        wj = runpy.run_path(str(EXAMPLES / "touchdesigner/wj_out.py"), {"op": lambda name: out})
        wj["prompt"]("a neon city in the rain", 2)
        wj["pads"]({1: 0.75, 2: 0.25})
        wj["step"]("cam/yaw", 0.25)
        wj["step"]("cam/yaw", 0.25)
        wj["act"]("jump")
        wj["cue"]("blackout")
        wj["ask"]("act", out.socket.getsockname()[1])
        out.socket.settimeout(60)
        assert b"jump" in out.socket.recv(4096)
        assert desk.counts["refused"] == 0, desk.error
        assert desk.read("prompt") == "a neon city in the rain"
        assert (desk.read("pad/1"), desk.read("pad/2"), desk.read("cam/yaw")) == (0.75, 0.25, 0.5)
        table = Table()
        heard = runpy.run_path(str(EXAMPLES / "touchdesigner/wj_in_callbacks.py"), {"op": lambda name: table})
        for value in (0.5, 0.75):
            heard["onReceiveOSC"](None, 0, "", b"", 0.0, "/wj/energy", [value], None)
        assert table.rows == {"energy": 0.75}
    finally:
        osc.stop()
        mailbox.unlink()
