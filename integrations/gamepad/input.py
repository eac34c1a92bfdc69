"""Gamepads play the show: sticks and triggers move faders, buttons do what keys do. They come and go while it plays."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from .. import ControlEvent, Deliver, Input
from ..child import Child

PROCESS = Path(__file__).with_name("gamepad_process.py")
LEARN = "learn"  # parameter whose value is the name of the parameter that the next control is to play
LIST_TIMEOUT_S = 10.0
LEARN_TRAVEL = 0.6  # of a stick or trigger, for it to be what the performer moves
Compose = Callable[[str, Mapping[str, Any]], Any]


def list_gamepads() -> list[str]:
    """The gamepads that are connected. OSError, with the reason, where none can be read."""
    try:
        command = [sys.executable, str(PROCESS), "list"]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=LIST_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        raise OSError("a gamepad's driver does not answer: plug it out and in again") from None
    found: list[str] = []
    for line in done.stdout.splitlines():
        kind, *row = json.loads(line)
        if kind == "unavailable":
            raise OSError(row[0])
        if kind == "gamepads":
            found = [name for _, name in row[0]] + [f"{name} (unknown: it has no mapping)" for name in row[1]]
    return found


class Buttons(Protocol):
    """What buttons do; button: which one. text: as in "act/jump"."""

    def press(self, button: Hashable, text: str, at: float, source: str) -> None: ...

    def release(self, button: Hashable, at: float, source: str) -> None: ...

    def release_all(self, where: Hashable, at: float, source: str) -> None: ...


class Players(Protocol):
    """Whose gamepads some are. `button` and `axis` return whether the gamepad is a player's, and so plays no map."""

    def gamepads(self, names: Mapping[int, str]) -> None: ...

    def button(self, jid: int, name: str, down: bool, at: float) -> bool: ...

    def axis(self, jid: int, name: str, x: float, at: float) -> bool: ...


@dataclass(frozen=True)
class GamepadRule:
    """One control: a button, and what it does; or an axis, and the value of its target at each position."""

    button: str | None = None
    does: str = ""
    axis: str | None = None
    target: str = ""
    value: Callable[[float], float] = float


class GamepadInput(Input):
    """maps: fields of `GamepadRule`. buttons: obeys what is pressed. players: gets each event first.

    compose: called with a target and the learned control, {"button": ...} or {"axis": ...}; it raises ValueError, with
    the reason, for an impossible map. The parameter `learn` arms it.
    """

    def __init__(self, maps: Iterable[Mapping[str, Any]], buttons: Buttons, players: Players | None = None) -> None:
        self._buttons, self._players = buttons, players
        self._rules: tuple[GamepadRule, ...] = ()
        self.set_maps(maps)
        self.compose: Compose | None = None
        self._child = Child("gamepads", PROCESS)
        self._names: dict[int, str] = {}
        self._unknown: list[str] = []
        self._sent: dict[tuple[int, str, str], float] = {}  # by gamepad, axis and target: what is not at rest
        self._armed, self._reason, self._error = "", "", ""
        self._counts: Counter[str] = Counter()
        self._thread: threading.Thread | None = None

    def start(self, deliver: Deliver) -> None:
        """Returns at once: gamepads play as they are found."""
        self._deliver = deliver
        self._thread = threading.Thread(target=self._run, name="gamepads", daemon=True)
        self._thread.start()

    def feedback(self, target: str, value: Any) -> None:
        if target == LEARN:
            self._armed = str(value)

    def set_maps(self, maps: Iterable[Mapping[str, Any]]) -> None:
        """Play other maps from now on. From any thread."""
        self._rules = tuple(GamepadRule(**fields) for fields in maps)

    def status(self) -> Mapping[str, Any]:
        """reason: why gamepads cannot be read here; unknown: controllers without sticks and buttons that GLFW knows."""
        running = self._thread is not None and not self._reason and self._child.pid is not None
        return {
            "state": "running" if running else "unavailable", "gamepads": list(self._names.values()),
            "unknown": list(self._unknown), "reason": self._reason, "error": self._child.error or self._error,
            "delivered": self._counts["delivered"], "restarts": max(self._child.starts - 1, 0),
        }  # fmt: skip

    def stop(self) -> None:
        self._child.end()
        if self._thread is not None:
            self._thread.join(5)

    def _run(self) -> None:
        while self._child.start():
            for message in self._child.messages():
                with contextlib.suppress(ValueError, TypeError, IndexError, AttributeError):
                    self._on_message(message)
            self._child.finish()
            self._connected([], [])
            if self._reason:
                return

    def _on_message(self, message: list[Any]) -> None:
        match message:
            case ["gamepads", names, unknown]:
                self._connected(names, unknown)
            case ["button", int(jid), str(name), bool(down), float(at)]:
                self._button(jid, name, down, at)
            case ["axis", int(jid), str(name), int(x) | float(x), float(at)]:
                self._axis(jid, name, float(x), at)
            case ["unavailable", reason]:
                self._reason = str(reason)
                self._child.close_input()  # it would only cost memory

    def _connected(self, names: list[Any], unknown: list[Any]) -> None:
        """Let go of what gamepads hold that are gone."""
        now, before = time.monotonic(), self._names
        self._names = {int(jid): str(name) for jid, name in names}
        self._unknown = [str(name) for name in unknown]
        for jid in before.keys() - self._names.keys():
            self._let_go(jid, now, f"gamepad {before[jid]}")
        if self._players is not None:
            self._players.gamepads(self._names)

    def _let_go(self, jid: int, now: float, source: str) -> None:
        """Release what a gamepad holds by the map."""
        self._buttons.release_all(jid, now, source)
        for gone, axis, _ in [key for key in self._sent if key[0] == jid]:
            self._move(gone, axis, 0.0, now, source)
        self._sent = {key: value for key, value in self._sent.items() if key[0] != jid}

    def _button(self, jid: int, name: str, down: bool, at: float) -> None:
        source = f"gamepad {self._names.get(jid, '')}"
        if not self._armed and self._players is not None and self._players.button(jid, name, down, at):
            self._let_go(jid, at, source)
        elif not down:
            self._buttons.release((jid, name), at, source)
        elif self._armed:
            self._learn({"button": name}, at, source)
        else:
            for rule in self._rules:
                if rule.button == name:
                    self._buttons.press((jid, name), rule.does, at, source)
                    self._counts["delivered"] += 1

    def _axis(self, jid: int, axis: str, x: float, at: float) -> None:
        source = f"gamepad {self._names.get(jid, '')}"
        if not self._armed and self._players is not None and self._players.axis(jid, axis, x, at):
            self._let_go(jid, at, source)
        elif not self._armed:
            self._move(jid, axis, x, at, source)
        elif abs(x) >= LEARN_TRAVEL:
            self._learn({"axis": axis}, at, source)

    def _move(self, jid: int, axis: str, x: float, at: float, source: str) -> None:
        for rule in self._rules:
            if rule.axis != axis:
                continue
            key, value = (jid, axis, rule.target), rule.value(x)
            if self._sent.get(key, rule.value(0.0)) != value:  # within its rest a stick sends nothing
                self._sent.pop(key, None)
                if value != rule.value(0.0):
                    self._sent[key] = value
                elif others := [other for (_, _, target), other in self._sent.items() if target == rule.target]:
                    value = others[-1]  # as of two triggers for one fader
                self._deliver(ControlEvent(rule.target, (value,), at, source))
                self._counts["delivered"] += 1

    def _learn(self, control: Mapping[str, Any], at: float, source: str) -> None:
        target, self._armed = self._armed, ""
        if self.compose is not None:
            try:
                self.compose(target, control)
                self._error = ""
            except ValueError as error:
                self._error = f"{target} cannot be mapped: {error}"
        self._deliver(ControlEvent(LEARN, ("",), at, source))
