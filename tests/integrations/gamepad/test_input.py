"""Gamepads, pretended by a glfw of our own (tests/peers/gamepad): no machine here has one."""

from __future__ import annotations

import inspect
import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from worldjockey.integrations.gamepad import gamepad_process
from worldjockey.integrations.gamepad.input import GamepadInput, list_gamepads
from worldjockey.node.control.desk import Desk
from worldjockey.node.control.keyboard import Buttons
from worldjockey.node.control.show_editor import ShowEditor
from worldjockey.node.ipc.mailbox import Mailbox
from worldjockey.node.session.inputs import connect_maps, inputs_of
from worldjockey.node.show import gamepad
from worldjockey.node.show.schema import Show
from worldjockey.node.show.yaml_file import ShowError

PEER = Path(__file__).parents[2] / "peers" / "gamepad"
SHOW = "pads: [a, b, c]\ncues: [{name: one}, {name: two}]\nosc: off\nmidi: off\n"


class Rig:
    """A desk that a pretended gamepad plays."""

    def __init__(self, file: Path, pads: Path, text: str) -> None:
        file.write_text(text)
        self.file, self.pads, self.box = file, pads, Mailbox()
        self.show = Show.load(file)
        self.desk = Desk(self.show, self.box)
        inputs = inputs_of(self.show, self.desk)
        self.input = inputs["gamepad"]
        assert isinstance(self.input, GamepadInput)
        self.editor = ShowEditor(self.desk, file, file.parent)
        connect_maps({"gamepad": self.input}, self.editor)
        self.editor.start()
        self.input.start(self.desk.deliver)

    def plug(self, *connected: dict[str, Any]) -> None:
        """What is connected from now on. buttons: names of those that are down; other keys are axes of GLFW's."""
        rows = []
        for one in connected:
            buttons = [int(name in one.get("down", ())) for name in gamepad_process.BUTTONS]
            axes = [one.get(name, -1.0 if name.endswith("trigger") else 0.0) for name in gamepad_process.AXES]
            rows.append({"name": one.get("name", "Pad"), "gamepad": one.get("gamepad", True), "buttons": buttons,
                         "axes": axes})  # fmt: skip
        new = self.pads.with_suffix(".new")
        new.write_text(json.dumps(rows))
        new.replace(self.pads)

    def close(self) -> None:
        self.input.stop()
        self.editor.stop()
        self.box.unlink()


@pytest.fixture
def play(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Rig]]:
    pads, rigs = tmp_path / "pads.json", list[Rig]()
    monkeypatch.setenv("PYTHONPATH", str(PEER))
    monkeypatch.setenv("WJ_GAMEPADS", str(pads))

    def make(text: str = SHOW) -> Rig:
        rigs.append(Rig(tmp_path / "show.yaml", pads, text))
        return rigs[-1]

    yield make
    for rig in rigs:
        rig.close()


def test_the_pretended_library_has_the_signatures_of_the_true_one(monkeypatch: pytest.MonkeyPatch) -> None:
    import glfw

    monkeypatch.syspath_prepend(str(PEER))
    monkeypatch.delitem(sys.modules, "glfw")
    import glfw as pretended

    assert pretended is not glfw
    functions = [name for name, value in vars(pretended).items() if inspect.isfunction(value) and name[0] != "_"]
    assert len(functions) == 8
    for name in functions:
        assert list(inspect.signature(getattr(pretended, name)).parameters) == list(
            inspect.signature(getattr(glfw, name)).parameters
        ), name
    for kind, names in (("BUTTON", gamepad_process.BUTTONS), ("AXIS", gamepad_process.AXES)):
        assert [getattr(glfw, f"GAMEPAD_{kind}_{name.upper()}") for name in names] == list(range(len(names)))
    assert (set(gamepad.BUTTONS), set(gamepad.AXES)) == (set(gamepad_process.BUTTONS), set(gamepad_process.AXES))


def test_what_is_connected_is_listed(play: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    rig = play()
    rig.plug()
    assert list_gamepads() == []
    rig.plug({"name": "Eight"}, {"name": "Old wheel", "gamepad": False})
    assert list_gamepads() == ["Eight", "Old wheel (unknown: it has no mapping)"]
    monkeypatch.setenv("WJ_NO_DISPLAY", "1")
    with pytest.raises(OSError, match="where there is a display"):
        list_gamepads()


def test_sticks_move_the_camera_and_buttons_play(play: Any, wait_for: Any) -> None:
    rig = play()
    read = rig.desk.read
    rig.plug({"left_x": 0.1, "right_y": 0.05})
    wait_for(lambda: rig.input.status()["gamepads"] == ["Pad"])
    assert rig.input.status()["state"] == "running"
    rig.plug({"left_x": 1.0, "left_y": -1.0, "right_y": 0.05})
    wait_for(lambda: (read("cam/strafe"), read("cam/forward")) == (1.0, 1.0))
    assert read("cam/pitch") == 0.0, "a stick that trembles at rest moves nothing"
    rig.plug({"right_trigger": 1.0})
    wait_for(lambda: (read("cam/strafe"), read("cam/forward"), read("cam/zoom")) == (0.0, 0.0, 1.0))
    rig.plug({"left_trigger": 0.0})
    wait_for(lambda: -1 < read("cam/zoom") < -0.3)
    rig.plug({"down": ["y"]})
    wait_for(lambda: (read("act"), read("cam/zoom")) == ("jump", 0.0))
    rig.plug({"down": ["a"]})
    wait_for(lambda: rig.desk.news()["cue"] == "one")
    rig.plug({})
    rig.plug({"down": ["a"], "left_x": -1.0})
    wait_for(lambda: read("cam/strafe") == -1.0)
    rig.plug()
    wait_for(lambda: read("cam/strafe") == 0.0, what="what a lost gamepad held")
    wait_for(lambda: rig.input.status()["gamepads"] == [])
    rig.plug({"name": "Wheel", "gamepad": False}, {"name": "Second"})
    wait_for(lambda: (rig.input.status()["gamepads"], rig.input.status()["unknown"]) == (["Second"], ["Wheel"]))
    assert rig.desk.error == ""


def test_the_show_changes_the_map(play: Any, wait_for: Any) -> None:
    rig = play(SHOW + "gamepad:\n  map:\n  - {button: A, to: pad/2}\n  - {axis: left_x, to: energy, curve: exp}\n"
                      "  - {axis: right_x, to: null}\n  - {button: left bumper, to: cue/go two}\n")  # fmt: skip
    rig.plug({"down": ["a"], "left_x": 1.0, "right_x": 1.0})
    wait_for(lambda: (rig.desk.read("pad/2"), rig.desk.read("energy")) == (1.0, 1.0))
    rig.plug({"down": ["left_bumper"]})
    wait_for(lambda: rig.desk.news()["cue"] == "two")
    wait_for(lambda: rig.desk.read("energy") == pytest.approx(0.5))
    assert rig.desk.read("cam/yaw") == 0.0


@pytest.mark.parametrize(("line", "reason"), [
    ("{to: energy}", "exactly one of button and axis"), ("{button: a, axis: left_x, to: energy}", "exactly one of"),
    ("{button: square, to: undo}", "button"), ("{axis: left_x, to: undo}", "use a button"),
    ("{button: a, to: nothing}", "no parameter"), ("{axis: left_x, to: energy, dead: 2}", "0.9 or less"),
])  # fmt: skip
def test_an_impossible_map_is_refused(line: str, reason: str) -> None:
    with pytest.raises(ShowError, match=reason):
        Show.parse(f"gamepad:\n  map:\n  - {line}\n")


def test_a_stick_and_a_button_are_learned_and_saved(play: Any, wait_for: Any) -> None:
    rig = play()
    rig.plug({})
    wait_for(lambda: rig.input.status()["gamepads"])
    rig.input.feedback("learn", "morph")
    rig.plug({"left_x": 0.3})
    rig.plug({"left_x": 1.0})
    wait_for(lambda: rig.show.gamepad.map)
    rig.plug({"left_x": 0.8})
    wait_for(lambda: rig.desk.read("morph") > 0.8)
    rig.plug({"left_x": 0.0})
    wait_for(lambda: rig.desk.read("morph") == 0.5)
    rig.input.feedback("learn", "pad/3")
    rig.plug({"down": ["guide"]})
    wait_for(lambda: len(rig.show.gamepad.map) == 2)
    rig.plug({"left_y": -1.0})
    wait_for(lambda: rig.desk.read("cam/forward") == 1.0)  # so the button was seen to be up
    rig.plug({"down": ["guide"]})
    wait_for(lambda: rig.desk.read("pad/3") == 1.0)
    rig.input.feedback("learn", "panic")
    rig.plug({"right_y": 1.0})
    wait_for(lambda: "panic cannot be mapped" in rig.input.status()["error"])
    wait_for(lambda: not rig.editor.unsaved)
    assert rig.file.read_text() == SHOW + (
        "gamepad:\n  map:\n    - {button: guide, to: pad/3}\n    - {axis: left_x, to: morph}\n"
    )


def test_without_a_display_it_gives_the_reason_and_keeps_still(play: Any, monkeypatch: Any, wait_for: Any) -> None:
    monkeypatch.setenv("WJ_NO_DISPLAY", "1")
    rig = play()
    wait_for(lambda: "where there is a display" in rig.input.status()["reason"])
    assert rig.input.status()["state"] == "unavailable"
    assert rig.input.status()["restarts"] == 0
    wait_for(lambda: rig.input._child.pid is None)


def test_without_gamepads_it_waits_instead_of_polling(play: Any, tmp_path: Path, wait_for: Any) -> None:
    rig = play()
    looks = tmp_path / "pads.json.looks"
    wait_for(lambda: looks.exists() and len(looks.read_text().split()) > 2)
    assert set(looks.read_text().split()) == {"1.0"}
    os.kill(rig.input._child.pid, 9)
    wait_for(lambda: rig.input.status()["restarts"] == 1)
    rig.plug({"down": ["y"]})
    wait_for(lambda: rig.desk.read("act") == "jump")


def test_gamepads_can_be_switched_off() -> None:
    box = Mailbox()
    try:
        show = Show.parse("gamepad: off\nosc: off\nmidi: off\n")
        assert "gamepad" not in inputs_of(show, Desk(show, box))
    finally:
        box.unlink()


def test_the_second_of_two_presses_on_panic_counts() -> None:
    said: list[str] = []
    buttons = Buttons(lambda control: said.append(control.target), lambda name: None)
    for at in (1.0, 1.5):
        buttons.press((0, "guide"), "panic", at, "gamepad")
        buttons.release((0, "guide"), at + 0.1, "gamepad")
    assert said == ["panic"]
