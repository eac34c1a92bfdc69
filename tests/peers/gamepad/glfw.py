"""GLFW's gamepads, pretended: the file that WJ_GAMEPADS names has what is connected, as JSON.

[{"name": "Pad", "gamepad": true, "buttons": [0 * 15], "axes": [0 * 6]}]
"""

from __future__ import annotations

import collections
import json
import os
import time
from pathlib import Path
from typing import Any

JOYSTICK_LAST = 15
GamepadState = collections.namedtuple("GamepadState", ["buttons", "axes"])
looks = 0


def _all() -> list[dict[str, Any]]:
    try:
        return list(json.loads(Path(os.environ["WJ_GAMEPADS"]).read_text()))
    except (OSError, ValueError):  # it is being written
        return []


def init() -> bool:
    return "WJ_NO_DISPLAY" not in os.environ


def poll_events() -> None:
    pass


def wait_events_timeout(timeout: float) -> None:
    global looks
    looks += 1
    with Path(os.environ["WJ_GAMEPADS"] + ".looks").open("a") as log:
        log.write(f"{timeout}\n")
    time.sleep(min(timeout, 0.1))


def joystick_present(joy: int) -> int:
    return int(joy < len(_all()))


def joystick_is_gamepad(joystick_id: int) -> bool:
    return bool(_all()[joystick_id]["gamepad"])


def get_joystick_name(joy: int) -> bytes:
    return str(_all()[joy]["name"]).encode()


def get_gamepad_name(joystick_id: int) -> str | None:
    found = _all()
    return str(found[joystick_id]["name"]) if joystick_id < len(found) else None


def get_gamepad_state(joystick_id: int) -> GamepadState | None:
    found = _all()
    if joystick_id >= len(found):
        return None
    return GamepadState(found[joystick_id]["buttons"], found[joystick_id]["axes"])
