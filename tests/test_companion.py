"""Our Companion configuration, its buttons pressed over UDP by a peer that acts as Companion's module does
(github.com/bitfocus/companion-module-generic-osc 2.8.3: osc.js, osc-udp.js): every one reaches the node and follows it.
"""

from __future__ import annotations

import importlib.util
import json
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pythonosc.osc_message import OscMessage
from pythonosc.osc_message_builder import OscMessageBuilder
from worldjockey.integrations import ControlEvent
from worldjockey.integrations.osc.input import OSCInput
from worldjockey.node.control import reference
from worldjockey.node.control.desk import Desk
from worldjockey.node.control.preview import Preview
from worldjockey.node.ipc.mailbox import Mailbox
from worldjockey.node.measure.show_process import free_port
from worldjockey.node.parameters import PARAMETERS, latest_wins
from worldjockey.node.show.schema import Show

FOLDER = Path(__file__).parents[1] / "examples" / "companion"
SHOW = "pads: [{text: a calm sea, label: Sea}, storm]\ncues: [{name: a}, {name: b}, {name: c}]\n"
# The ids that the module declares: actions and feedbacks, each with its options.
ACTIONS = {
    "send_blank": {"path"}, "send_int": {"path", "int"}, "send_float": {"path", "float"},
    "send_string": {"path", "string"},
}  # fmt: skip
FEEDBACKS = {f"osc_feedback_{kind}": {"path", "arguments", "comparison"} for kind in ("int", "float", "string")}
COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "equal": lambda a, b: a == b, "notequal": lambda a, b: a != b, "greaterthan": lambda a, b: a > b,
    "lessthan": lambda a, b: a < b, "greaterthanequal": lambda a, b: a >= b, "lessthanequal": lambda a, b: a <= b,
}  # fmt: skip


def generator() -> Any:
    spec = importlib.util.spec_from_file_location("make_config", FOLDER / "make_config.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def rows() -> list[dict[str, Any]]:
    return [dict(row) for row in reference.rows()]


class Companion:
    """Presses buttons and keeps, as the module does, the newest arguments of each path."""

    def __init__(self, config: dict[str, Any], port: int) -> None:
        self.config, self._port = config, port
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)  # one port, to send from and to listen at
        self._socket.bind(("127.0.0.1", 0))
        self._socket.setblocking(False)
        self.port = self._socket.getsockname()[1]
        self._received: dict[str, list[Any]] = {}
        self._steps: dict[str, int] = {}

    def find(self, page: str, text: str) -> dict[str, Any]:
        found = next(p for p in self.config["pages"].values() if p["name"] == page)
        controls = [control for row in found["controls"].values() for control in row.values()]
        return next(c for c in controls if c.get("style", {}).get("text", "").replace("\\n", " ") == text)

    def down(self, button: dict[str, Any]) -> None:
        step = self._steps.get(str(id(button)), 0)
        self._run(button["steps"][str(step)]["action_sets"]["down"])

    def up(self, button: dict[str, Any]) -> None:
        step = self._steps.get(str(id(button)), 0)
        self._run(button["steps"][str(step)]["action_sets"]["up"])
        self._steps[str(id(button))] = (step + 1) % len(button["steps"])

    def press(self, button: dict[str, Any]) -> None:
        self.down(button)
        self.up(button)

    def _run(self, actions: list[dict[str, Any]]) -> None:
        for action in actions:
            message, options = OscMessageBuilder(action["options"]["path"]), action["options"]
            match action["action"]:
                case "send_int":
                    message.add_arg(int(options["int"]), "i")
                case "send_float":
                    message.add_arg(float(options["float"]), "f")
                case "send_string":
                    message.add_arg(options["string"], "s")
            self._socket.sendto(message.build().dgram, ("127.0.0.1", self._port))

    def lit(self, button: dict[str, Any]) -> bool:
        """Whether a feedback of the button is true."""
        while True:
            try:
                message = OscMessage(self._socket.recv(65536))
            except BlockingIOError:
                break
            self._received[message.address] = list(message.params)
        return any(self._true(feedback) for feedback in button["feedbacks"])

    def _true(self, feedback: dict[str, Any]) -> bool:
        options, found = feedback["options"], self._received.get(feedback["options"]["path"])
        if not found:
            return False
        if feedback["type"] == "osc_feedback_string":
            return isinstance(found[0], str) and COMPARISONS[options["comparison"]](found[0], options["arguments"])
        try:
            return COMPARISONS[options["comparison"]](float(found[0]), float(options["arguments"]))
        except ValueError:
            return False

    def close(self) -> None:
        self._socket.close()


class Rig:
    """The desk behind OSC, and Companion before it; `show` is what `wj play` does ten times a second."""

    def __init__(self) -> None:
        self.box, self.preview_box = Mailbox(), Mailbox()
        self.desk = Desk(Show.parse(SHOW), self.box)
        self.desk.preview = Preview(self.desk, self.preview_box)
        port = free_port()
        self.companion = Companion(json.loads((FOLDER / "worldjockey.companionconfig").read_text()), port)
        self.osc = OSCInput(port=port, feedback_port=self.companion.port, latest_wins=latest_wins, targets=PARAMETERS,
                            read=self.desk.read)  # fmt: skip
        self.osc.start(self.desk.deliver)

    def show(self) -> bool:
        news = {**self.desk.changed(), "status/cue_number": 1 + (-1 if (c := self.desk.store.cue) is None else c)}
        for target, value in news.items():
            self.osc.feedback(target, value)
        return True

    def close(self) -> None:
        self.osc.stop()
        self.companion.close()
        self.box.unlink()
        self.preview_box.unlink()


@pytest.fixture
def rig() -> Iterator[Rig]:
    made = Rig()
    yield made
    made.close()


def controls(config: dict[str, Any]) -> list[dict[str, Any]]:
    pages = config["pages"].values()
    return [control for page in pages for row in page["controls"].values() for control in row.values()]


def test_the_file_is_that_of_the_present_parameters() -> None:
    made = generator().config(rows())
    fix = "make it again: wj reference --json | python make_config.py > worldjockey.companionconfig"
    assert json.loads((FOLDER / "worldjockey.companionconfig").read_text()) == made, fix


def test_only_what_the_module_declares_is_used() -> None:
    config = generator().config(rows())
    assert (config["version"], config["type"]) == (4, "full")
    (name, connection), *others = config["instances"].items()
    assert not others
    assert connection["instance_type"] == "generic-osc"
    assert set(connection["config"]) == {"host", "targetPort", "protocol", "listen", "feedbackPort"}
    ids: list[str] = []
    for button in controls(config):
        if button["type"] != "button":
            assert button["type"] in ("pageup", "pagedown")
            continue
        for step in button["steps"].values():
            for action in (*step["action_sets"]["down"], *step["action_sets"]["up"]):
                assert (action["instance"], set(action["options"])) == (name, ACTIONS[action["action"]])
                ids.append(action["id"])
        for feedback in button["feedbacks"]:
            assert (feedback["instance_id"], set(feedback["options"])) == (name, FEEDBACKS[feedback["type"]])
            assert feedback["options"]["comparison"] in COMPARISONS
            ids.append(feedback["id"])
    assert len(ids) == len(set(ids)) > 100
    for page in config["pages"].values():
        assert all(0 <= int(row) < 4 and 0 <= int(col) < 8 for row, found in page["controls"].items() for col in found)


def test_every_button_is_obeyed(rig: Rig, wait_for: Any) -> None:
    rig.desk.deliver(ControlEvent("snapshot/save", (), 0.0, "test"))
    rig.desk.deliver(ControlEvent("preview/on", (True,), 0.0, "test"))
    rig.desk.deliver(ControlEvent("cue/go", ("a",), 0.0, "test"))
    for button in controls(rig.companion.config):
        text = button.get("style", {}).get("text", "")
        if button["type"] == "button" and not (text.startswith("CUE ") and int(text[4:]) > 3) and "FOLLOW" not in text:
            for part, move in (("down", rig.companion.down), ("up", rig.companion.up)):
                before = rig.desk.counts["obeyed"] + rig.desk.counts["refused"]
                sent = len(button["steps"]["0"]["action_sets"][part])
                move(button)
                wait_for(lambda n=before + sent: sum(rig.desk.counts.values()) >= n, what=text)
            assert rig.desk.counts["refused"] == 0, (text, rig.desk.error)


def test_buttons_follow_the_show(rig: Rig, wait_for: Any) -> None:
    companion, read = rig.companion, rig.desk.read
    pad, flash = companion.find("pads", "PAD 2"), companion.find("pads", "flash 2")
    companion.press(pad)
    wait_for(lambda: read("pad/2") == 1.0)
    wait_for(lambda: rig.show() and companion.lit(pad) and companion.lit(flash))
    companion.press(pad)
    wait_for(lambda: read("pad/2") == 0.0)
    wait_for(lambda: rig.show() and not companion.lit(pad))
    companion.down(flash)
    wait_for(lambda: read("pad/2") == 1.0)
    companion.up(flash)
    wait_for(lambda: read("pad/2") == 0.0)
    rig.desk.deliver(ControlEvent("act/jump", (), 0.0, "someone else"))
    jump = companion.find("acts", "JUMP")
    wait_for(lambda: rig.show() and companion.lit(jump))
    assert not companion.lit(companion.find("acts", "DANCE"))
    companion.press(companion.find("cues", "CUE 3"))
    wait_for(lambda: rig.desk.cue_name == "c")
    wait_for(lambda: rig.show() and companion.lit(companion.find("cues", "CUE 3")))
    assert not companion.lit(companion.find("cues", "CUE 1"))
    go = companion.find("pads", "GO")
    for name in ("a", "b"):
        companion.press(go)
        wait_for(lambda name=name: rig.desk.cue_name == name, what="GO to fire the next cue")
    freeze = companion.find("pads", "FREEZE")
    companion.press(freeze)
    wait_for(lambda: read("freeze") is True)
    wait_for(lambda: rig.show() and companion.lit(freeze))
    energy = read("energy")
    companion.press(companion.find("show", "energy +"))
    wait_for(lambda: read("energy") == pytest.approx(energy + 0.1))


def test_a_show_gives_its_names(tmp_path: Path) -> None:
    path = tmp_path / "my.yaml"
    path.write_text(SHOW)
    made = generator()
    texts = [b.get("style", {}).get("text", "") for b in controls(made.config(rows(), *made.names_of(path)))]
    assert {"Sea", "storm", "PAD 3", "a", "b", "c"} <= set(texts)
    assert "CUE 4" not in texts
