"""Keys and buttons: what is pressed, what is held, and what asks twice."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest
from worldjockey.integrations import ControlEvent, KeyEvent
from worldjockey.node.control.desk import Desk
from worldjockey.node.control.keyboard import HOLD_S, PANIC_S, Buttons, Keyboard, previewed
from worldjockey.node.control.preview import Preview
from worldjockey.node.ipc.key_line import KEPT, KeyLine
from worldjockey.node.ipc.mailbox import Mailbox
from worldjockey.node.parameters import PARAMETERS
from worldjockey.node.show.keys import DEFAULT_KEYS, action, key_name, table
from worldjockey.node.show.schema import Show
from worldjockey.node.show.yaml_file import ShowError

SHOW = Show.parse("pads: [a, b]\ncues: [{name: one}, {name: the storm, values: {energy: 0.5}}]\n"
                  "keys: {Space: null, z: cue/go the storm, G: 'cam/zoom -0.5', 5: prompt a calm sea,\n"
                  "       h: energy 0.7}\n")  # fmt: skip


class Rig:
    def __init__(self) -> None:
        self.box = Mailbox()
        self.desk = Desk(SHOW, self.box)
        self.learned: list[tuple[str, str]] = []
        self.learning = ""
        self.buttons = Buttons(self.desk.deliver, self.desk.read)
        self.keyboard = Keyboard(
            self.buttons, lambda: table(SHOW.keys), lambda: self.learning, lambda k, to: self.learned.append((k, to))
        )

    def press(self, key: str, at: float = 1000.0, seconds: float | None = 0.1, where: str = "window",
              blind: bool = False) -> None:  # fmt: skip
        self.keyboard.key(where, key, True, at, blind)
        if seconds is not None:
            self.keyboard.key(where, key, False, at + seconds, blind)

    @contextlib.contextmanager
    def prepared(self) -> Iterator[Preview]:
        box = Mailbox()
        self.desk.preview = Preview(self.desk, box)
        yield self.desk.preview
        box.unlink()

    def __getitem__(self, name: str) -> Any:
        return self.desk.read(name)


@pytest.fixture
def rig() -> Iterator[Rig]:
    found = Rig()
    yield found
    assert found.desk.error == ""
    found.box.unlink()


def test_every_default_plays_something() -> None:
    for key, text in DEFAULT_KEYS.items():
        assert key_name(key) == key
        assert action(text).target in PARAMETERS
    assert [DEFAULT_KEYS[key] for key in "18qi"] == ["pad/1", "pad/8", "pad/9", "pad/16"]


def test_keys_of_a_window_with_the_preview_play_that(rig: Rig) -> None:
    for text in DEFAULT_KEYS.values():
        action(previewed(text))
    with rig.prepared() as preview:
        rig.desk.deliver(ControlEvent("preview/on", (True,), 999.0, "a test"))
        rig.desk.advance(1000.0)
        rig.press("2", where="preview window", blind=True)
        assert (rig["preview/pad/2"], rig["pad/2"]) == (1.0, 0.0)
        rig.press("x", where="preview window", blind=True)
        assert (rig["preview/act"], rig["act"]) == ("dance", "none")
        assert rig.desk.changed()["preview/act"] == "dance"
        rig.press("g", seconds=None, where="preview window", blind=True)
        assert (rig["preview/cam/zoom"], rig["cam/zoom"]) == (-0.5, 0.0)
        rig.keyboard.key("preview window", "", True, 1001.0, True)
        assert rig["preview/cam/zoom"] == 0.0
        rig.press("9", where="preview window", blind=True)
        assert rig["blackout"] == 1.0, "what the preview has not of its own is the program's"
        rig.press("escape", 1100, where="preview window", blind=True)
        assert rig["preview/pad/2"] == 1.0, "panic asks twice there, too"
        rig.press("escape", 1100.5, where="preview window", blind=True)
        assert rig["preview/pad/2"] == 0.0
        assert preview.on


def test_a_short_press_switches_a_pad_and_a_long_one_holds_it(rig: Rig) -> None:
    rig.press("1", 1000)
    assert rig["pad/1"] == 1.0
    rig.press("1", 1001)
    assert rig["pad/1"] == 0.0
    rig.press("q", 1002, None)
    assert rig["pad/9"] == 1.0
    rig.keyboard.key("window", "q", False, 1002 + HOLD_S + 0.1)
    assert rig["pad/9"] == 0.0


def test_the_camera_moves_while_a_key_is_held(rig: Rig) -> None:
    rig.press("arrowleft", seconds=None)
    assert rig["cam/yaw"] == -1.0
    rig.press("arrowright", seconds=None)
    assert rig["cam/yaw"] == 1.0
    rig.keyboard.key("window", "arrowright", False, 1001)
    assert rig["cam/yaw"] == -1.0, "the other key is still down"
    rig.keyboard.key("window 2", "", False, 1002)
    assert rig["cam/yaw"] == -1.0
    rig.keyboard.key("window", "", False, 1002)
    assert rig["cam/yaw"] == 0.0, "the window has gone"
    rig.press("g", seconds=None)
    assert rig["cam/zoom"] == -0.5


def test_keys_play_the_preview_in_the_same_way() -> None:
    assert [action(text).mode for text in ("preview/pad/3", "preview/cam/yaw -1", "preview/take", "preview/on")] == [
        "pad", "hold", "fire", "switch",
    ]  # fmt: skip


def test_keys_of_the_show_replace_defaults(rig: Rig) -> None:
    rig.press(" ")
    assert rig.desk.news()["cue"] == ""
    rig.press("z")
    assert rig.desk.news()["cue"] == "the storm"
    rig.press("5")
    assert rig["prompt"] == "a calm sea"
    rig.press("h", 1000)
    assert rig["energy"] == 0.7
    rig.press("h", 1001)
    assert rig["energy"] == 0.0
    rig.press("0")
    assert rig["freeze"] is True
    rig.press("j")
    assert rig["act"] == "jump"
    rig.press("no such key")


def test_panic_takes_two_presses_within_a_second(rig: Rig) -> None:
    rig.press("1", 999)
    rig.press("escape", 1000)
    rig.press("escape", 1000 + PANIC_S + 0.5)
    assert rig["pad/1"] == 1.0
    rig.press("escape", 1000 + PANIC_S + 0.9)
    assert rig["pad/1"] == 0.0


def test_a_key_is_learned_instead_of_played(rig: Rig, wait_for: Any) -> None:
    rig.learning = "cam/yaw"
    rig.press("1")
    wait_for(lambda: rig.learned == [("1", "cam/yaw")])
    assert rig["pad/1"] == 0.0


@pytest.mark.parametrize(("keys", "reason"), [
    ("{q: nothing}", "no parameter 'nothing'"), ("{'?': undo}", "kept for the page's list"),
    ("{F: undo}", "full screen"), ("{q: energy loud}", "takes a number"),
    ("{q: energy 7}", "out of its range"), ("{q: prompt}", "is a text"),
    ("{q: act}", "is one of"), ("{q: undo 3}", "takes nothing behind it"), ("{1: undo, '1 ': undo}", "appears twice"),
])  # fmt: skip
def test_impossible_keys_are_refused_with_the_fix(keys: str, reason: str) -> None:
    with pytest.raises(ShowError, match=rf"show:1: keys.*{reason}"):
        Show.parse(f"keys: {keys}")


def test_no_key_is_lost_or_doubled_on_its_way_also_by_an_output_that_starts_again() -> None:
    line = KeyLine()
    try:
        import pickle  # as multiprocessing sends it to the output

        def writer() -> KeyLine:
            return pickle.loads(pickle.dumps(line))  # type: ignore[no-any-return]

        assert line.take() == []
        first = writer()
        sent = [KeyEvent(str(n), bool(n % 2), n / 10) for n in range(KEPT + 20)]
        got: list[KeyEvent] = []
        for n, event in enumerate(sent):
            first.post([event])
            if n % 7 == 0:
                got += line.take()
        got += line.take()
        assert got == [KeyEvent("", False, 0.0), *sent]
        second = writer()
        second.post([])
        assert line.take() == [KeyEvent("", False, 0.0)]
        second.post(sent[:3])
        assert (line.take(), line.take()) == (sent[:3], [])
    finally:
        line.unlink()
