"""Players of a running show: gamepads, keyboards and phones on the one side, the desk on the other."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from worldjockey.integrations import ControlEvent, Deliver, Input

from ..control.arguments import on_press
from ..control.desk import Desk
from ..control.players import CAMERA, Play
from ..control.players import Players as Table
from ..show.players import KEY_SETS, Players
from ..timing.easing import bent

PAD_AXES: Mapping[str, tuple[str, float]] = {
    "left_x": ("strafe", 1.0), "left_y": ("forward", 1.0), "right_x": ("yaw", 1.0), "right_y": ("pitch", 1.0),
    "right_trigger": ("zoom", 1.0), "left_trigger": ("zoom", -1.0),
}  # fmt: skip
PHONE_AXES = ("yaw", "forward")
DEAD = 0.15  # the part of a stick's travel around its rest that does nothing
JOIN = "start"
NO_PERFORMER = ("player", "sound", "crowd", "story", "event")  # sources that take no fader from players
Tell = Callable[[Mapping[str, Any]], None]


def stick(x: float) -> float:
    """A stick's position with a rest in its middle, finer near it."""
    far = max(abs(x) - DEAD, 0.0) / (1 - DEAD)
    way = min(bent("exp", far), 1.0)
    return round(way if x > 0 else -way, 3) + 0.0


class PlayersInput(Input):
    """Hands what devices do to `control.players`, and what that decides to the desk.

    tell: given what phones should know, {"players": {...}}, when it changes; must not wait.
    """

    def __init__(self, rules: Players, desk: Desk) -> None:
        show = desk.show
        self._rules, self._desk = rules, desk
        reach = rules.reach(event.name for event in show.events)
        turn = rules.turn
        assert turn is not None  # the show was checked
        self._table = Table(rules.seats, rules.mode, turn, rules.idle, reach, rules.does)
        self._lock = threading.RLock()
        self._deliver: Deliver = lambda control: None
        self._pads: dict[int, str] = {}
        self._pad_axes: dict[tuple[int, str], dict[str, float]] = {}
        self._keys = {
            key: (f"keys {n}", does) for n, name in rules.keys.items() for key, does in KEY_SETS[name].items()
        }
        self._keys_down: dict[tuple[str, str], str] = {}  # by window and key: the device
        self._phones: dict[int, frozenset[str]] = {}  # by number: the buttons that are down
        self._told: Any = None
        self.tell: Tell = lambda message: None

    # -- Input -------------------------------------------------------------------------------------------------------

    def start(self, deliver: Deliver) -> None:
        """Returns at once; from now on `advance` plays."""
        self._deliver = deliver
        desk = self._desk
        desk.register("players/next", on_press(self._next))
        desk.register("players/kick", self._kick)
        desk.register("players/key", self._on_key)
        desk.listeners.append(self._heard)
        with self._lock:
            for n, name in self._rules.keys.items():
                self._table.connect(f"keys {n}", f"keys {name}")

    def status(self) -> Mapping[str, Any]:
        with self._lock:
            found = self._table.status()
        return {**found, "keys": sorted(self._keys), "phones": self._rules.phones, "error": ""}

    def advance(self, now: float) -> None:
        """Play what is due; called a hundred times a second by the control loop."""
        values, line, meter = self._desk.values, self._desk.clock.line(now), self._desk.clock.meter
        with self._lock:
            self._table.switch(bool(values["players/on"]))
            self._table.choose_mode(values["players/mode"])
            self._table.advance(now, line, meter)
            message = self._for_phones()
        self._play()
        if message is not None:
            self.tell(message)

    # -- gamepads: each returns whether the gamepad is a player's ------------------------------------------------------

    def gamepads(self, names: Mapping[int, str]) -> None:
        """These are connected."""
        with self._lock:
            for jid in self._pads.keys() - names.keys():
                self._table.gone(f"gamepad {jid}")
                for key in [key for key in self._pad_axes if key[0] == jid]:
                    del self._pad_axes[key]
            self._pads = dict(names)
            for jid, name in names.items():
                if self._rules.plays(name):
                    self._table.connect(f"gamepad {jid}", name)
        self._play()

    def takes(self, jid: int) -> bool:
        """Whether a gamepad is a player's now. With `players/on` off, all of them play the show by its own map."""
        return bool(self._desk.values["players/on"]) and self._rules.plays(self._pads.get(jid, ""))

    def button(self, jid: int, name: str, down: bool, at: float) -> bool:
        if not self.takes(jid):
            return False
        with self._lock:
            if not down:
                self._table.release(f"gamepad {jid}", name, at)
            elif name == JOIN or name in self._rules.does:
                self._table.press(f"gamepad {jid}", name, at)
        self._play()
        return True

    def axis(self, jid: int, name: str, x: float, at: float) -> bool:
        if not self.takes(jid):
            return False
        axis, sign = PAD_AXES[name]
        with self._lock:
            parts = self._pad_axes.setdefault((jid, axis), {})
            parts[name] = sign * stick(x)
            value = max(-1.0, min(sum(parts.values()), 1.0)) + 0.0
            self._table.move(f"gamepad {jid}", CAMERA + axis, value, at)
        self._play()
        return True

    # -- keyboards -----------------------------------------------------------------------------------------------------

    def key(self, where: str, key: str, down: bool, at: float) -> bool:
        """Returns whether the key is a player's. An empty key releases all of `where`."""
        if not key:
            for one in [one for window, one in list(self._keys_down) if window == where]:
                self.key(where, one, False, at)
            return False
        if key not in self._keys or not self._desk.values["players/on"]:
            return False
        device, does = self._keys[key]
        with self._lock:
            if down:
                self._keys_down[where, key] = device
            elif self._keys_down.pop((where, key), None) is None:
                return False
            if isinstance(does, str):
                (self._table.press if down else self._table.release)(device, does, at)
            else:
                held = {pressed for _, pressed in self._keys_down}
                ways = [way for other, (theirs, way) in self._keys.items() if theirs == device and other in held]
                value = sum(way[1] for way in ways if not isinstance(way, str) and way[0] == does[0])
                self._table.move(device, CAMERA + does[0], max(-1.0, min(value, 1.0)) + 0.0, at)
        self._play()
        return True

    # -- phones --------------------------------------------------------------------------------------------------------

    def on_phones(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """The phones that have a place on the audience's server, as it sends them: all that are there."""
        now = time.monotonic()
        with self._lock:
            for number in self._phones.keys() - {row["seat"] for row in rows}:
                del self._phones[number]
                self._table.gone(f"phone {number}")
            for row in rows:
                self._on_phone(int(row["seat"]), row["axes"], frozenset(map(str, row["buttons"])), now)
        self._play()

    def _on_phone(self, number: int, axes: Sequence[float], down: frozenset[str], now: float) -> None:
        device = f"phone {number}"
        if number not in self._phones:
            self._table.connect(device, device)
            self._table.press(device, JOIN, now)
        before, self._phones[number] = self._phones.get(number, frozenset()), down
        for axis, value in zip(PHONE_AXES, axes, strict=True):
            self._table.move(device, CAMERA + axis, round(float(value), 2), now)
        for name in sorted(before - down):
            self._table.release(device, name, now)
        for name in sorted(down - before):
            self._table.press(device, name, now)

    def _for_phones(self) -> dict[str, Any] | None:
        """What phones should know, where that is new. The seconds that are left are as of now."""
        if not self._rules.phones:
            return None
        status = self._table.status()
        seats = {str(n): self._table.seat_of(f"phone {n}") for n in self._phones}
        buttons = [[name, does.rpartition("/")[2]] for name, does in list(self._rules.does.items())[:4]]
        told = {
            "turn": status["turn"], "all": not self._table.takes_turns,
            "free": any(not seat["name"] for seat in status["seats"]),
            "seats": {n: seat for n, seat in seats.items() if seat}, "buttons": buttons,
        }  # fmt: skip
        key = (status["on"], told, self._table.turns)
        if key == self._told:
            return None
        self._told = key
        return {"players": {"open": status["on"], "seats": self._rules.seats, "play": {**told, "left": status["left"]}}}

    # -- the desk ------------------------------------------------------------------------------------------------------

    def _next(self, control: ControlEvent) -> None:
        with self._lock:
            self._table.next()

    def _kick(self, control: ControlEvent) -> None:
        number = None if not control.args or control.args[0] is None else int(float(control.args[0]))
        with self._lock:
            self._table.kick(number, control.arrived_at)

    def _on_key(self, control: ControlEvent) -> None:
        if not control.args:
            raise ValueError("players/key takes a key and 1 or 0, as in w 1")
        down = len(control.args) < 2 or bool(float(control.args[1]))
        self.key(control.source, str(control.args[0]).lower(), down, control.arrived_at)

    def _heard(self, control: ControlEvent) -> None:
        """Somebody played. What a performer moves is theirs."""
        name = control.target
        if not name.startswith((CAMERA, "act")) or control.source.startswith(NO_PERFORMER):
            return
        target = "act" if name.startswith("act") else name
        with self._lock:
            self._table.touched(target, self._desk.read(target), control.arrived_at)

    def _play(self) -> None:
        """Deliver what the table decided; without the lock, since the desk has one of its own."""
        with self._lock:
            plays: list[Play] = self._table.take()
        now = time.monotonic()
        for play in plays:
            self._deliver(ControlEvent(play.target, play.args, now, f"player {play.by}" if play.by else "players"))
