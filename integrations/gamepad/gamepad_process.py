"""The process that reads gamepads: GLFW wants a main thread of its own, and a driver that hangs must not stop a show.

    python gamepad_process.py       until standard input ends
    python gamepad_process.py list  writes what is connected, and ends

Writes JSON lines: ["gamepads", [[id, name], ...], [names of unknown controllers]] when one comes or goes,
["button", id, name, down, time.monotonic()], ["axis", id, name, x, time.monotonic()] with sticks -1..1 (right and up
are above 0) and triggers 0..1, and ["unavailable", reason] once where gamepads cannot be read here.
While none is connected it waits for events, and looks once a second.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from typing import Any

POLL_INTERVAL_S = 1 / 60  # while a gamepad is connected
WAIT_S = 1.0  # while none is
STEP_MIN = 0.004  # of an axis, to be a move: cheap sticks tremble
BUTTONS = ("a", "b", "x", "y", "left_bumper", "right_bumper", "back", "start", "guide", "left_thumb", "right_thumb",
           "dpad_up", "dpad_right", "dpad_down", "dpad_left")  # fmt: skip
AXES = ("left_x", "left_y", "right_x", "right_y", "left_trigger", "right_trigger")


def say(*row: Any) -> None:
    try:
        os.write(sys.stdout.fileno(), json.dumps(row).encode() + b"\n")
    except OSError:
        os._exit(0)


def position(axis: str, raw: float) -> float:
    """GLFW's sticks are above 0 to the right and down, its triggers from -1 to 1."""
    x = (raw + 1) / 2 if axis.endswith("trigger") else -raw if axis.endswith("_y") else raw
    return round(min(max(x, -1.0), 1.0), 4) + 0.0


class Gamepads:
    """The gamepads that are connected, and the state that was last written of each."""

    def __init__(self, glfw: Any) -> None:
        self._glfw = glfw
        self._names: dict[int, str] = {}
        self._unknown: list[str] = []
        self._buttons: dict[int, list[int]] = {}
        self._axes: dict[int, list[float]] = {}

    def __len__(self) -> int:
        return len(self._names)

    def look(self) -> None:
        """Write what changed since the last look."""
        glfw, names, unknown = self._glfw, dict[int, str](), list[str]()
        for jid in range(glfw.JOYSTICK_LAST + 1):
            if glfw.joystick_present(jid):
                if glfw.joystick_is_gamepad(jid):
                    names[jid] = str(glfw.get_gamepad_name(jid))
                else:
                    name = glfw.get_joystick_name(jid)
                    unknown.append(name.decode("utf-8", "replace") if isinstance(name, bytes) else str(name))
        if names != self._names or unknown != self._unknown:
            for jid in self._names.keys() - names.keys():
                self._buttons.pop(jid, None)
                self._axes.pop(jid, None)
            self._names, self._unknown = names, unknown
            say("gamepads", [[jid, name] for jid, name in names.items()], unknown)
        for jid in names:
            state = glfw.get_gamepad_state(jid)
            if state is not None:
                self._report(jid, list(state.buttons), list(state.axes), time.monotonic())

    def _report(self, jid: int, buttons: list[int], raw: list[float], now: float) -> None:
        before = self._buttons.get(jid, [0] * len(BUTTONS))
        for name, down, was in zip(BUTTONS, buttons, before, strict=True):
            if down != was:
                say("button", jid, name, bool(down), now)
        self._buttons[jid] = buttons
        axes = [position(axis, x) for axis, x in zip(AXES, raw, strict=True)]
        last = self._axes.setdefault(jid, [0.0] * len(AXES))
        for n, (name, x) in enumerate(zip(AXES, axes, strict=True)):
            if abs(x - last[n]) >= STEP_MIN or (x != last[n] and x in (-1.0, 0.0, 1.0)):
                last[n] = x
                say("axis", jid, name, x, now)


def end_with_input() -> None:
    sys.stdin.buffer.read()
    os._exit(0)  # a driver that hangs would keep a clean shutdown waiting


def serve(only_list: bool = False) -> None:
    try:
        import glfw
    except Exception as error:  # not installed, or its library does not load
        say("unavailable", f"gamepads need glfw: {error}")
        return
    glfw.ERROR_REPORTING = "ignore"  # the reason is in the row below
    if not glfw.init():
        say("unavailable", "gamepads are read where there is a display (X11 or Wayland on Linux)")
        return
    gamepads = Gamepads(glfw)
    if only_list:
        gamepads.look()
        return
    while True:
        if gamepads:
            time.sleep(POLL_INTERVAL_S)
            glfw.poll_events()
        else:
            glfw.wait_events_timeout(WAIT_S)
        gamepads.look()


if __name__ == "__main__":
    if sys.argv[1:] == ["list"]:
        serve(only_list=True)
        sys.exit()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the show handles Ctrl-C
    reader = threading.Thread(target=end_with_input)
    reader.start()
    serve()
