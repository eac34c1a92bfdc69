"""What a pressed key or button does on the desk, the same for every keyboard and gamepad."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import Any

from worldjockey.integrations import ControlEvent

from ..parameters import PREVIEW, preview_name
from ..show.keys import RESERVED, Action, action

HOLD_S = 0.35  # a pad that is pressed longer is held, and not switched; the page has the same (pads.js)
PANIC_S = 1.0  # within which a button must be pressed twice for panic
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Pressed:
    """before: the value of the parameter when its button was pressed."""

    action: Action
    at: float
    before: Any


class Buttons:
    """Buttons that are pressed and released. deliver: takes controls; read: a parameter's present value."""

    def __init__(self, deliver: Callable[[ControlEvent], None], read: Callable[[str], Any]) -> None:
        self._deliver, self._read = deliver, read
        self._down: dict[Hashable, Pressed] = {}
        self._panic_at = float("-inf")

    def press(self, button: Hashable, text: str, at: float, source: str) -> None:
        """text: what the button does, as in "cam/yaw -1" (show/keys.py). ValueError for what no button can do."""
        if button in self._down:
            return
        does = action(text)
        before = self._read(does.target)
        self._down[button] = Pressed(does, at, before)
        if does.target.removeprefix(PREVIEW) == "panic" and at - self._panic_at > PANIC_S:
            self._panic_at = at
            return
        self._panic_at = float("-inf")
        match does.mode:
            case "fire" | "set":
                self._send(does.target, does.args, at, source)
            case "switch":
                on, off = does.args
                self._send(does.target, (off if before == on else on,), at, source)
            case "hold":
                self._send(does.target, does.args, at, source)
            case "pad" if not before:
                self._send(does.target, does.args, at, source)

    def release(self, button: Hashable, at: float, source: str) -> None:
        pressed = self._down.pop(button, None)
        if pressed is None:
            return
        does = pressed.action
        if does.mode == "pad" and (at - pressed.at > HOLD_S) != bool(pressed.before):
            self._send(does.target, (0.0,), at, source)
        elif does.mode == "hold":
            held = [other.action for other in self._down.values() if other.action.target == does.target]
            self._send(does.target, held[-1].args if held else (0.0,), at, source)

    def release_all(self, where: Hashable, at: float, source: str) -> None:
        """Release the buttons whose name is a pair that begins with `where`."""
        for button in [button for button in self._down if isinstance(button, tuple) and button[0] == where]:
            self.release(button, at, source)

    def _send(self, target: str, args: tuple[Any, ...], at: float, source: str) -> None:
        self._deliver(ControlEvent(target, args, at, source))


def previewed(text: str) -> str:
    """What a key does on the preview: "pad/3" becomes "preview/pad/3". What the preview has not, stays."""
    name, space, rest = text.strip().partition(" ")
    return f"{preview_name(name) or name}{space}{rest}"


class Keyboard:
    """The keyboards of the output windows. keys: what each key does now. learning: the parameter that the next key
    shall play, or an empty text; learn: maps a key to it, and may wait. players: gets each key of the program's
    windows first, and returns whether it is a player's."""

    def __init__(self, buttons: Buttons, keys: Callable[[], Mapping[str, str]], learning: Callable[[], str],
                 learn: Callable[[str, str], None],
                 players: Callable[[str, str, bool, float], bool] | None = None) -> None:  # fmt: skip
        self._buttons, self._keys, self._learning, self._learn = buttons, keys, learning, learn
        self._players = players

    def key(self, where: str, key: str, down: bool, at: float, blind: bool = False) -> None:
        """A key of the output `where` was pressed or released; an empty key releases all of them. blind: the output
        shows the preview, and its keys play that."""
        source = f"key {where}"
        if self._players is not None and not blind and not self._learning() and self._players(where, key, down, at):
            return
        if not key:
            self._buttons.release_all(where, at, source)
        elif not down:
            self._buttons.release((where, key), at, source)
        elif (to := self._learning()) and key != "escape" and key not in RESERVED:
            threading.Thread(target=self._map, args=(key, to), name="learn key", daemon=True).start()
        elif does := self._keys().get(key):
            self._buttons.press((where, key), previewed(does) if blind else does, at, source)

    def _map(self, key: str, to: str) -> None:
        try:
            self._learn(key, to)
        except ValueError as error:
            logger.warning("the key %s cannot be mapped: %s", key, error)
