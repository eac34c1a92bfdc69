"""Players: who sits where, whose turn it is, and what their sticks and buttons make of camera, acts and events.

A state machine without devices: every time is an argument, and what is to be played is taken by `take`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from ..parameters import EVENT
from ..timing.tempo import Line, Meter, Span

CAMERA = "cam/"
ACTIVE_S = 5.0  # after a movement, a player counts in the mean
ACT_S = 1.5  # that an act lasts at least, however short the press
BALLOT_BEATS = 0.5  # in which the players' presses become one act
ACT_HELD_S = 4.0  # after the performer played an act, the players' own are left out
KICKED_S = 10.0  # in which a device that was sent away takes no seat
REST = "none"


class Play(NamedTuple):
    """A control for the desk. by: number of the seat, 0 for all of them."""

    target: str
    args: tuple[Any, ...]
    by: int


@dataclass
class Seat:
    """A player. axes: where the sticks are, by camera parameter. live: those that count, since they were moved in this
    turn. down: what each pressed button does. quiet_s: seconds of the player's own time without a movement."""

    number: int
    device: str
    name: str
    moved_at: float
    axes: dict[str, float] = field(default_factory=dict)
    live: set[str] = field(default_factory=set)
    down: dict[str, str] = field(default_factory=dict)
    quiet_s: float = 0.0


@dataclass
class Ballot:
    """Votes for an act, by seat; it closes at a beat."""

    closes: float
    votes: dict[int, str] = field(default_factory=dict)

    def winner(self) -> tuple[str, int]:
        """The act with most votes and a seat that voted for it; of as many, the one that was pressed first."""
        most = Counter(self.votes.values()).most_common(1)[0][0]
        return most, next(seat for seat, act in self.votes.items() if act == most)


class Players:
    """seats: how many. turn, idle_s: as in the show. reach: names of the parameters that players can move. does: what
    each button does. figures: how many figures the world has, which decides whether each player can have one."""

    def __init__(self, seats: int, mode: str, turn: Span, idle_s: float, reach: frozenset[str],
                 does: Mapping[str, str], figures: int = 1) -> None:  # fmt: skip
        self.on, self.mode = True, mode
        self.seats: dict[int, Seat] = {}
        self.turn: int | None = None  # the seat that has it
        self._count, self._length, self._idle_s = seats, turn, idle_s
        self._reach, self._does, self._figures = reach, dict(does), figures
        self._devices: dict[str, str] = {}  # names of what is there, seated or not
        self._out: list[Play] = []
        self._sent: dict[str, float] = {}  # what players hold the camera's axes at
        self._held: set[str] = set()  # axes that the performer holds
        self._act: tuple[str, int, float] | None = None  # that a player plays: with the seat, and when it began
        self._act_rest, self._act_held_until = REST, float("-inf")
        self._ballot: Ballot | None = None
        self._ends_beat: float | None = None
        self._ends_at = 0.0
        self._left = 0.0
        self._kicked: dict[str, float] = {}
        self._now = 0.0
        self.turns = 0  # that began
        self._line, self._meter = Line(), Meter()
        self.message = ""

    # -- what devices do ---------------------------------------------------------------------------------------------

    def connect(self, device: str, name: str) -> None:
        """A device is there. It takes a seat by its first press."""
        self._devices[device] = name

    def gone(self, device: str) -> None:
        """A device is there no more, and its seat is free."""
        self._devices.pop(device, None)
        if seat := self._seat(device):
            self._free(seat)

    def press(self, device: str, button: str, at: float) -> None:
        """The first press of a device takes a seat, and does nothing else."""
        seat = self._seat(device)
        if seat is None:
            self._sit(device, at)
            return
        self._stir(seat, at)
        target = self._does.get(button, "")
        if not self.on or target not in self._reach or button in seat.down or not self._may_play(seat):
            return
        seat.down[button] = target
        if target.startswith(EVENT):
            self._out.append(Play(target, (1.0,), seat.number))
        elif at >= self._act_held_until:
            self._choose(seat, target.removeprefix("act/"), at)

    def release(self, device: str, button: str, at: float) -> None:
        seat = self._seat(device)
        if seat is None:
            return
        self._stir(seat, at)
        target = seat.down.pop(button, "")
        if target.startswith(EVENT):
            self._out.append(Play(target, (0.0,), seat.number))

    def move(self, device: str, axis: str, value: float, at: float) -> None:
        """A stick is at -1..1. axis: the camera's parameter, as in cam/yaw."""
        seat = self._seat(device)
        if seat is None or axis not in self._reach or seat.axes.get(axis, 0.0) == value:
            return
        self._stir(seat, at)
        seat.axes[axis] = value
        if self._may_play(seat):
            seat.live.add(axis)
        self._steer(at)

    # -- what the performer does -------------------------------------------------------------------------------------

    def touched(self, target: str, value: Any, at: float) -> None:
        """The performer moved a parameter: an axis of the camera is theirs until it is back at rest, and their act is
        played before all others."""
        if target.startswith(CAMERA) and isinstance(value, float | int):
            self._sent.pop(target, None)  # whatever it was, it is the performer's value now
            if value:
                self._held.add(target)
            else:
                self._held.discard(target)
                self._steer(at)
        elif target == "act":
            self._act, self._ballot, self._act_rest = None, None, str(value)
            self._act_held_until = at + ACT_HELD_S if value != REST else at

    def switch(self, on: bool) -> None:
        """Let them play, or not. Seats stay."""
        if on != self.on:
            self._rest()
            self.on = on
            self._begin_turn(self.turn)

    def choose_mode(self, mode: str) -> None:
        if mode != self.mode:
            self._rest()
            self.mode = mode
            self._begin_turn(self.turn)

    def next(self) -> None:
        """The turn passes to the next player."""
        following = [n for n in sorted(self.seats) if self.turn is None or n > self.turn] or sorted(self.seats)
        self._rest()
        self._begin_turn(following[0] if following else None)

    def kick(self, number: int | None, at: float) -> None:
        """Free a seat; None is that of the player whose turn it is. ValueError for one that is free."""
        seat = self.seats.get(self.turn or 0) if number is None else self.seats.get(number)
        if seat is None:
            taken = ", ".join(map(str, sorted(self.seats))) or "none"
            raise ValueError(f"nobody sits on seat {number or ''}: taken are {taken}".replace("  ", " "))
        self._kicked[seat.device] = at
        self._free(seat)

    # -- time --------------------------------------------------------------------------------------------------------

    def advance(self, now: float, line: Line, meter: Meter) -> None:
        """Pass the turn, free seats, close ballots; called often."""
        passed = max(now - self._now, 0.0) if self._now else 0.0
        self._now, self._line, self._meter = now, line, meter
        for seat in list(self.seats.values()):
            if self.on and self._may_play(seat) and not seat.down and not any(seat.axes.values()):
                seat.quiet_s += passed
            if seat.quiet_s > self._idle_s:
                self._free(seat)
        if self.turn is not None and self.takes_turns and self.on:
            if self._ends_beat is None:
                self._left = self._ends_at - now
            else:
                self._left = line.time_of(self._ends_beat) - now
            if self._left <= 0:
                if len(self.seats) > 1:
                    self.next()
                else:
                    self._time_turn()
        if self._ballot and (line.beat_at(now) >= self._ballot.closes or self._all_voted()):
            act, by = self._ballot.winner()
            self._ballot = None
            self._play_act(act, by, now)
        if self._act and now - self._act[2] >= ACT_S and not self._is_held(self._act[0]):
            self._end_act()
        self._steer(now)

    def take(self) -> list[Play]:
        """What is to be played since the last call."""
        out, self._out = self._out, []
        return out

    # -- for the performer and the players' screens ------------------------------------------------------------------

    @property
    def takes_turns(self) -> bool:
        return self.mode == "turns" or (self.mode == "each" and self._figures < 2)

    def status(self) -> dict[str, Any]:
        """seats: who sits there and what they play. waiting: names of devices without a seat. held: axes that the
        performer keeps."""
        note = ""
        if self.mode == "each" and self._figures < 2:
            note = "this world has one figure, so the players take turns: for all at once choose average"
        rows = [
            {"seat": n, "name": s.name if (s := self.seats.get(n)) else "", "device": s.device if s else "",
             "turn": bool(s) and n == self.turn and self.takes_turns,
             "axes": {axis: round(v, 2) for axis, v in s.axes.items() if v} if s else {},
             "down": sorted(set(s.down.values())) if s else []}
            for n in range(1, self._count + 1)
        ]  # fmt: skip
        seated = {s.device for s in self.seats.values()}
        return {
            "on": self.on, "mode": self.mode, "note": note, "seats": rows,
            "turn": self.turn if self.takes_turns else None,
            "left": round(max(self._left, 0.0), 1) if self.turn and self.takes_turns else None,
            "waiting": [name for device, name in self._devices.items() if device not in seated],
            "held": sorted(self._held), "message": self.message,
        }  # fmt: skip

    def seat_of(self, device: str) -> int | None:
        seat = self._seat(device)
        return seat.number if seat else None

    # -- inside ------------------------------------------------------------------------------------------------------

    def _seat(self, device: str) -> Seat | None:
        return next((seat for seat in self.seats.values() if seat.device == device), None)

    def _sit(self, device: str, at: float) -> None:
        if device not in self._devices or at - self._kicked.get(device, float("-inf")) < KICKED_S:
            return
        number = next((n for n in range(1, self._count + 1) if n not in self.seats), None)
        if number is None:
            self.message = f"{self._devices[device]} waits: all seats are taken"
            return
        self.message = ""
        self.seats[number] = Seat(number, device, self._devices[device], at)
        if self.turn is None:
            self._begin_turn(number)

    def _free(self, seat: Seat) -> None:
        self._let_go(seat)
        del self.seats[seat.number]
        self.message = ""
        if self.turn == seat.number:
            self.next()
        self._steer(self._now)

    def _stir(self, seat: Seat, at: float) -> None:
        seat.moved_at, seat.quiet_s = at, 0.0

    def _may_play(self, seat: Seat) -> bool:
        return not self.takes_turns or seat.number == self.turn

    def _begin_turn(self, number: int | None) -> None:
        """A turn begins at rest: a stick counts from its first movement."""
        self.turn, self.turns = number, self.turns + 1
        for seat in self.seats.values():
            seat.live.clear()
        self._time_turn()

    def _time_turn(self) -> None:
        beats = self._length.beats(self._meter)
        self._ends_at = self._now + self._length.amount
        self._ends_beat = None
        if beats is not None:  # from the nearest bar line
            bar = self._meter.bar
            self._ends_beat = round(self._line.beat_at(self._now) / bar) * bar + beats
        self._left = (
            self._ends_at - self._now if beats is None else self._line.time_of(self._ends_beat or 0) - self._now
        )

    def _rest(self) -> None:
        """Let go of all that players hold."""
        for seat in self.seats.values():
            self._let_go(seat)
        for axis, value in self._sent.items():
            if value:
                self._out.append(Play(axis, (0.0,), 0))
        self._sent.clear()
        self._ballot = None
        if self._act:
            self._end_act()

    def _let_go(self, seat: Seat) -> None:
        self._out += [Play(target, (0.0,), seat.number) for target in seat.down.values() if target.startswith(EVENT)]
        seat.down.clear()
        seat.live.clear()
        if self._ballot:
            self._ballot.votes.pop(seat.number, None)
            if not self._ballot.votes:
                self._ballot = None
        if self._act and self._act[1] == seat.number:
            self._end_act()

    def _steer(self, now: float) -> None:
        """Play the axes that differ from what was played last."""
        if not self.on:
            return
        if self.takes_turns:
            counted = [seat for n, seat in self.seats.items() if n == self.turn]
        else:
            counted = [s for s in self.seats.values() if now - s.moved_at < ACTIVE_S or any(s.axes.values())]
        for axis in {axis for seat in counted for axis in seat.live} | self._sent.keys():
            if axis in self._held:
                continue
            values = [seat.axes.get(axis, 0.0) if axis in seat.live else 0.0 for seat in counted]
            value = round(sum(values) / len(values), 4) if values else 0.0
            if value != self._sent.get(axis, 0.0):
                self._out.append(Play(axis, (value,), self.turn or 0 if self.takes_turns else 0))
                self._sent[axis] = value

    def _choose(self, seat: Seat, act: str, at: float) -> None:
        if self.takes_turns:
            self._play_act(act, seat.number, at)
            return
        if self._ballot is None:
            self._ballot = Ballot(self._line.beat_at(at) + BALLOT_BEATS)
        self._ballot.votes[seat.number] = act

    def _all_voted(self) -> bool:
        active = [n for n, seat in self.seats.items() if self._now - seat.moved_at < ACTIVE_S]
        return self._ballot is not None and all(n in self._ballot.votes for n in active)

    def _is_held(self, act: str) -> bool:
        return any(f"act/{act}" in seat.down.values() for seat in self.seats.values())

    def _play_act(self, act: str, by: int, at: float) -> None:
        self._act = (act, by, at)
        self._out.append(Play(f"act/{act}", (), by))

    def _end_act(self) -> None:
        assert self._act is not None
        self._out.append(Play(f"act/{self._act_rest}", (), self._act[1]))
        self._act = None
