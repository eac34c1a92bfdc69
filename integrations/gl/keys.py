"""Keys of a GLFW window by the names that browsers give them (KeyboardEvent.key), in lower case."""

from __future__ import annotations

import time

import glfw

from .. import KeyEvent

NAMED = {
    glfw.KEY_SPACE: " ", glfw.KEY_ESCAPE: "escape", glfw.KEY_ENTER: "enter", glfw.KEY_KP_ENTER: "enter",
    glfw.KEY_TAB: "tab", glfw.KEY_BACKSPACE: "backspace", glfw.KEY_INSERT: "insert", glfw.KEY_DELETE: "delete",
    glfw.KEY_RIGHT: "arrowright", glfw.KEY_LEFT: "arrowleft", glfw.KEY_DOWN: "arrowdown", glfw.KEY_UP: "arrowup",
    glfw.KEY_PAGE_UP: "pageup", glfw.KEY_PAGE_DOWN: "pagedown", glfw.KEY_HOME: "home", glfw.KEY_END: "end",
    **{getattr(glfw, f"KEY_F{n}"): f"f{n}" for n in range(1, 13)},
}  # fmt: skip
SHIFTED = {"=": "+", "/": "?", "1": "!", "8": "*", ";": ":", ",": "<", ".": ">", "-": "_"}  # on American keyboards
IGNORED = glfw.MOD_CONTROL | glfw.MOD_ALT | glfw.MOD_SUPER  # shortcuts of the system


class Keys:
    """Collects the presses and releases of a window's keys. A key is released under the name that it was pressed by,
    whatever happened to Shift meanwhile."""

    def __init__(self) -> None:
        self._events: list[KeyEvent] = []
        self._down: dict[int, str] = {}

    def add(self, key: int, scancode: int, action: int, mods: int) -> None:
        if action == glfw.RELEASE:
            if name := self._down.pop(scancode, ""):
                self._events.append(KeyEvent(name, False, time.monotonic()))
        elif action == glfw.PRESS and not mods & IGNORED and (name := name_of(key, scancode, mods)):
            self._down[scancode] = name
            self._events.append(KeyEvent(name, True, time.monotonic()))

    def take(self) -> list[KeyEvent]:
        events, self._events = self._events, []
        return events


def name_of(key: int, scancode: int, mods: int) -> str:
    """Empty for a key without a name, as Shift alone."""
    if key in NAMED:
        return NAMED[key]
    printed = glfw.get_key_name(key, scancode)  # by the layout of the keyboard
    name = (printed.decode("utf-8", "ignore") if isinstance(printed, bytes) else printed or "").lower()
    if not mods & glfw.MOD_SHIFT:
        return name
    return f"shift+{name}" if name.isalpha() else SHIFTED.get(name, name)
