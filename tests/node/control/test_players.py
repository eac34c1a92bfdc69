"""Players: seats, turns, means and ballots, without devices; and events, which go back to what was."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from worldjockey.integrations import ControlEvent
from worldjockey.node.control.desk import Desk
from worldjockey.node.control.players import Players
from worldjockey.node.ipc.mailbox import Mailbox
from worldjockey.node.show.players import Players as Rules
from worldjockey.node.show.schema import Show
from worldjockey.node.timing.tempo import Line, Meter, Span

DOES = {"a": "act/jump", "b": "act/dance", "x": "event/hit"}
REACH = Rules().reach(["hit"])


class Room:
    """Players at 120 beats a minute, whose controls are kept by parameter."""

    def __init__(self, mode: str = "turns", turn: str = "20", seats: int = 3, idle: float = 1000.0) -> None:
        self.players = Players(seats, mode, Span.parse(turn), idle, REACH, DOES)
        self.now, self.camera, self.act, self.events = 100.0, dict[str, float](), "none", list[tuple[str, float]]()
        self.wait(0)

    def wait(self, seconds: float) -> None:
        until = self.now + seconds
        while True:
            self.players.advance(self.now, Line(), Meter())
            self.hear()
            if self.now >= until:
                return
            self.now = min(self.now + 0.05, until)

    def hear(self) -> None:
        for target, args, _ in self.players.take():
            if target.startswith("act/"):
                self.act = target[4:]
            elif target.startswith("event/"):
                self.events.append((target, args[0]))
            else:
                self.camera[target] = args[0]

    def sit(self, *devices: str) -> None:
        for device in devices:
            self.players.connect(device, device)
            self.players.press(device, "a", self.now)
            self.players.release(device, "a", self.now)
        self.hear()

    def push(self, device: str, value: float, axis: str = "cam/yaw") -> None:
        self.players.move(device, axis, value, self.now)
        self.hear()

    def press(self, device: str, button: str) -> None:
        self.players.press(device, button, self.now)
        self.hear()

    def release(self, device: str, button: str) -> None:
        self.players.release(device, button, self.now)
        self.hear()

    @property
    def turn(self) -> Any:
        return self.players.status()["turn"]


def test_the_first_press_takes_a_seat_and_the_unplugged_leave_it() -> None:
    room = Room(seats=2)
    room.sit("one", "two", "three")
    assert (room.act, room.camera) == ("none", {}), "it does nothing else"
    status = room.players.status()
    assert [seat["name"] for seat in status["seats"]] == ["one", "two"]
    assert status["waiting"] == ["three"]
    assert "all seats are taken" in status["message"]
    room.push("one", 1.0)
    room.players.gone("one")
    room.hear()
    assert (room.camera["cam/yaw"], room.turn) == (0.0, 2), "what an unplugged gamepad held goes back to rest"
    room.sit("three")
    assert [seat["name"] for seat in room.players.status()["seats"]] == ["three", "two"]


@pytest.mark.parametrize(("turn", "seconds"), [("20", 20.0), ("4 bars", 8.0)])
def test_a_turn_passes_in_time_and_leaves_a_clean_rest(turn: str, seconds: float) -> None:
    room = Room(turn=turn)
    room.sit("one", "two")
    room.push("two", 0.7)
    assert room.camera == {}, "it is not their turn"
    room.push("one", 1.0)
    room.press("one", "x")
    room.press("one", "b")
    assert (room.camera, room.act, room.turn) == ({"cam/yaw": 1.0}, "dance", 1)
    room.wait(seconds - 1)
    assert room.turn == 1
    room.wait(1.1)
    assert (room.camera, room.act, room.turn) == ({"cam/yaw": 0.0}, "none", 2)
    assert room.events == [("event/hit", 1.0), ("event/hit", 0.0)]
    room.wait(1)
    assert room.camera == {"cam/yaw": 0.0}, "a stick that was pushed before counts from its first movement"
    room.push("two", 0.5)
    room.push("one", -1.0)
    assert room.camera == {"cam/yaw": 0.5}
    room.players.next()
    room.hear()
    assert (room.turn, room.camera) == (1, {"cam/yaw": 0.0})


def test_who_does_nothing_in_their_own_time_is_freed_and_who_waits_is_not() -> None:
    room = Room(turn="20", idle=30.0)
    room.sit("quiet", "busy")
    for _ in range(45):
        room.push("busy", 0.5)
        room.push("busy", 0.0)
        room.wait(1)
    assert [seat["name"] for seat in room.players.status()["seats"]] == ["quiet", "busy", ""]
    room.wait(20)
    assert room.players.status()["seats"][0]["name"] == ""


def test_together_the_camera_is_the_mean_of_those_who_move_and_the_act_what_most_press() -> None:
    room = Room("average")
    room.sit("one", "two", "three")
    room.wait(10)
    room.push("one", 1.0)
    room.wait(0.1)
    assert room.camera["cam/yaw"] == 1.0, "who does nothing does not slow the others"
    room.push("two", 0.5)
    room.wait(0.1)
    assert room.camera["cam/yaw"] == 0.75
    room.push("three", 0.0)
    for device, button in (("one", "a"), ("two", "b"), ("three", "b")):
        room.press(device, button)
    room.wait(0.3)
    assert room.act == "dance"
    for device, button in (("one", "a"), ("two", "b"), ("three", "b")):
        room.release(device, button)
    room.wait(2)
    assert room.act == "none"


def test_a_figure_each_falls_back_to_turns_in_plain_words() -> None:
    room = Room("each")
    room.sit("one", "two")
    assert room.turn == 1
    assert "one figure" in room.players.status()["note"]


def test_the_performer_overrules_until_they_let_go() -> None:
    room = Room()
    room.sit("one")
    room.push("one", 1.0)
    room.players.touched("cam/yaw", 0.3, room.now)
    room.camera.clear()
    room.push("one", -1.0)
    room.wait(30)
    assert room.camera == {}
    assert room.players.status()["held"] == ["cam/yaw"]
    room.push("one", 0.4, "cam/strafe")
    assert room.camera == {"cam/strafe": 0.4}, "other axes stay theirs"
    room.players.touched("cam/yaw", 0.0, room.now)
    room.hear()
    room.push("one", -0.9)
    assert room.camera["cam/yaw"] == -0.9
    room.players.touched("act", "robot", room.now)
    room.press("one", "b")
    assert room.act == "none", "the performer's act is kept"
    room.players.switch(False)
    room.hear()
    assert room.camera == {"cam/strafe": 0.0, "cam/yaw": 0.0}
    room.push("one", 0.1)
    assert room.camera["cam/yaw"] == 0.0


def test_a_kicked_player_is_away_for_a_while() -> None:
    room = Room()
    room.sit("one", "two")
    room.players.kick(1, room.now)
    room.sit("one")
    assert room.players.seat_of("one") is None
    room.wait(11)
    room.sit("one")
    assert room.players.seat_of("one") == 1
    with pytest.raises(ValueError, match="nobody sits on seat 3: taken are 1, 2"):
        room.players.kick(3, room.now)


STEPS = st.lists(
    st.tuples(st.sampled_from(["sit", "push", "press", "release", "gone", "kick", "next", "wait", "touch", "mode"]),
              st.sampled_from(["one", "two", "three", "four"]), st.sampled_from([-1.0, 0.0, 0.4, 1.0])),
    max_size=40,
)  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(steps=STEPS, mode=st.sampled_from(["turns", "average"]))
def test_whatever_they_do_nothing_else_is_reached_and_all_of_it_is_let_go(steps: Any, mode: str) -> None:
    room = Room(mode)
    plays = list[Any]()
    hear = room.players.take
    room.players.take = lambda: (plays.extend(found := hear()), found)[1]  # type: ignore[method-assign]
    for step, device, value in steps:
        match step:
            case "sit":
                room.sit(device)
            case "push":
                room.push(device, value)
            case "gone":
                room.players.gone(device)
            case "kick":
                for number in list(room.players.seats)[:1]:
                    room.players.kick(number, room.now)
            case "next":
                room.players.next()
            case "wait":
                room.wait(7)
            case "touch":
                room.players.touched("cam/yaw", value, room.now)
            case "mode":
                room.players.choose_mode("average" if room.players.mode == "turns" else "turns")
            case _:
                getattr(room, step)(device, "abx"[int(value)])
    held_by_performer = "cam/yaw" in room.players.status()["held"]
    for device in ("one", "two", "three", "four"):
        room.players.gone(device)
    room.wait(3)
    assert {play.target for play in plays} <= REACH
    assert held_by_performer or room.camera.get("cam/yaw", 0.0) == 0.0
    assert room.act == "none"
    assert [last for name, last in room.events[-1:]] in ([], [0.0])
    assert room.turn is None


# -- events on a desk --------------------------------------------------------------------------------------------------

SHOW = """
pads: [a, b]
cues: [{name: storm, values: {energy: 0.2}}]
events:
  - {name: hit, do: [{act: jump}, {energy: 1}], lifetime: 2, cooldown: 0.5}
  - {name: glow, do: {energy: 0.5, word/storm: 2}, hold: true}
  - {name: level, do: [cue/go storm, {speed: 0.5}]}
"""


@pytest.fixture
def desk() -> Iterator[Desk]:
    box = Mailbox()
    show = SHOW.replace("cue/go storm", "{cue/go: storm}")
    yield Desk(Show.parse(show), box)
    box.unlink()


def fire(desk: Desk, name: str, at: float, *args: Any) -> None:
    desk.deliver(ControlEvent(name, args, at, "osc"))


def test_an_event_of_a_lifetime_goes_back_to_what_was(desk: Desk) -> None:
    at = 1e6
    fire(desk, "energy", at, 0.3)
    fire(desk, "event/hit", at)
    assert (desk.read("act"), desk.read("energy")) == ("jump", 1.0)
    assert desk.events.status(at + 0.5)[0] == {"name": "hit", "on": True, "left": 1.5, "count": 1}
    fire(desk, "event/hit", at + 0.4)
    desk.advance(at + 1.9)
    assert desk.read("energy") == 1.0
    desk.advance(at + 2.1)
    assert (desk.read("act"), desk.read("energy")) == ("none", 0.3), "a press within the cooldown prolongs nothing"
    fire(desk, "event/hit", at + 3)
    fire(desk, "energy", at + 3.5, 0.7)
    desk.advance(at + 6)
    assert (desk.read("act"), desk.read("energy")) == ("none", 0.7), "what somebody moved meanwhile stays"


def test_events_on_one_fader_end_in_any_order(desk: Desk) -> None:
    at = 1e6
    fire(desk, "event/hit", at)
    fire(desk, "event/glow", at + 1, 1)
    assert (desk.read("energy"), desk.read("word/storm")) == (0.5, 2.0)
    desk.advance(at + 2.5)
    assert desk.read("energy") == 0.5, "the newer one stands"
    fire(desk, "event/glow", at + 3, 0)
    assert (desk.read("energy"), desk.read("word/storm")) == (0.0, 1.0)
    fire(desk, "event/glow", at + 4, 1)
    fire(desk, "event/hit", at + 5)
    desk.advance(at + 7.5)
    assert desk.read("energy") == 0.5, "the older one shows again"


def test_an_event_without_an_end_stays_and_an_unknown_one_is_refused_in_words(desk: Desk) -> None:
    fire(desk, "event/level", 1e6)
    desk.advance(1e6 + 60)
    assert (desk.read("speed"), desk.news()["cue"]) == (0.5, "storm")
    fire(desk, "event/nothing", 1e6)
    assert "no event 'nothing'; its events are: hit, glow, level" in desk.error
    assert desk.counts["refused"] == 1
