"""What is a move of a fader, and what a sender only repeats or sends back."""

from __future__ import annotations

import socket
import time
from typing import Any

import pytest
from worldjockey.integrations import ControlEvent
from worldjockey.integrations.osc import repeats
from worldjockey.integrations.osc.input import OSCInput
from worldjockey.integrations.osc.packets import build
from worldjockey.integrations.osc.repeats import ECHO_S, STREAM_GAP_S, STREAM_MESSAGES, Echoes, Streams

FRAME_S = 1 / 60


def obeyed(moves: list[tuple[float, bytes]]) -> list[int]:
    streams = Streams()
    return [n for n, (now, message) in enumerate(moves) if not streams.stands_still(message, "td", "pad/1", now)]


def test_a_value_that_is_sent_in_every_frame_is_obeyed_for_a_moment_and_again_when_it_moves() -> None:
    still = [(n * FRAME_S, build("/wj/pad/1", 0.5)) for n in range(60)]
    assert obeyed(still) == list(range(STREAM_MESSAGES))
    moved = [*still, (1.0, build("/wj/pad/1", 0.6)), (1.0 + FRAME_S, build("/wj/pad/1", 0.5))]
    assert obeyed(moved)[-2:] == [60, 61]


def test_a_hand_that_repeats_itself_is_obeyed() -> None:
    slow = [(n * STREAM_GAP_S * 1.01, build("/wj/pad/1", 0.0)) for n in range(40)]
    assert obeyed(slow) == list(range(40))
    streams = Streams()
    for n in range(100):  # one sender's stream is not another's
        streams.stands_still(build("/wj/pad/1", 0.0), "td", "pad/1", n * FRAME_S)
    assert streams.stands_still(build("/wj/pad/1", 0.0), "td", "pad/1", 100 * FRAME_S)
    assert not streams.stands_still(build("/wj/pad/1", 0.0), "a button", "pad/1", 100 * FRAME_S)
    streams.moved("td", "pad/1")  # by a step
    assert not streams.stands_still(build("/wj/pad/1", 0.0), "td", "pad/1", 101 * FRAME_S)


def test_a_value_that_comes_back_is_no_move_and_a_button_may_go_to_and_fro() -> None:
    echoes = Echoes()
    for n in range(5):
        echoes.note("here", "energy", n / 10, n * FRAME_S)
    assert [echoes.is_echo("here", "energy", n / 10, 0.1) for n in range(5)] == [True] * 5
    assert not echoes.is_echo("here", "energy", 0.4, 0.1), "which has come back already"
    echoes.note("here", "freeze", True, 1.0)
    assert not echoes.is_echo("here", "freeze", 0, 1.1)
    assert not echoes.is_echo("here", "freeze", 1, 1.1)
    echoes.note("here", "freeze", True, 2.0)
    assert not echoes.is_echo("there", "freeze", 1, 2.1)
    assert not echoes.is_echo("here", "freeze", 1, 2.0 + ECHO_S * 1.01)


@pytest.fixture
def slow_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """However long it pauses, a stream stays a stream, and an echo an echo."""
    monkeypatch.setattr(repeats, "STREAM_GAP_S", 60.0)
    monkeypatch.setattr(repeats, "ECHO_S", 60.0)


def test_feedback_that_a_program_sends_back_is_not_obeyed(slow_machine, wait_for) -> None:
    controls: list[ControlEvent] = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as program:
        program.bind(("127.0.0.1", 0))
        program.settimeout(60)
        osc = OSCInput(port=0, feedback_port=program.getsockname()[1], latest_wins=lambda target: True)
        osc.start(controls.append)
        try:
            program.sendto(build("/wj/energy", 0.3), ("127.0.0.1", osc.port))
            wait_for(lambda: controls)
            for value in (0.4, 0.5):  # as a cue moves it
                osc.feedback("energy", value)
                program.sendto(program.recv(4096), ("127.0.0.1", osc.port))
            program.sendto(build("/wj/energy", 0.9), ("127.0.0.1", osc.port))
            wait_for(lambda: len(controls) > 1)
            assert [round(control.args[0], 3) for control in controls] == [0.3, 0.9]
            assert osc.status()["superseded"] == 2
        finally:
            osc.stop()


class Others:
    """Another program's one address."""

    def translate(self, address: str, args: tuple[Any, ...]) -> list[tuple[str, tuple[Any, ...]]] | None:
        return [("prompt", args)] if address == "/prompt" else None

    def latest_wins(self, address: str) -> bool:
        return address == "/prompt"

    def echo(self, target: str, value: Any) -> list[tuple[str, Any]]:
        return []


def test_another_programs_stream_is_obeyed_for_a_moment_too(slow_machine, wait_for) -> None:
    controls: list[ControlEvent] = []
    osc = OSCInput(port=0, feedback_port=None, dialect=Others())
    osc.start(controls.append)
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
            out.connect(("127.0.0.1", osc.port))
            for n in range(40):
                out.send(build("/prompt", "a sea"))
                wait_for(lambda: osc.status()["received"] == n + 1)  # noqa: B023
            out.send(build("/prompt", "a city"))
            wait_for(lambda: controls and controls[-1].args == ("a city",))
            assert 1 <= len(controls) <= STREAM_MESSAGES + 1
    finally:
        osc.stop()


def test_a_stream_that_stands_still_leaves_the_fader_to_others(slow_machine, wait_for) -> None:
    controls: list[ControlEvent] = []
    osc = OSCInput(port=0, feedback_port=None, latest_wins=lambda target: target != "cue/go")
    osc.start(controls.append)
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
            out.connect(("127.0.0.1", osc.port))
            for _ in range(30):
                for datagram in (build("/wj/energy", 0.2), build("/wj/cue/go", 1)):
                    out.send(datagram)
                time.sleep(0.005)
            wait_for(lambda: osc.status()["received"] == 60 and osc.status()["superseded"] >= 20)
            assert sum(control.target == "cue/go" for control in controls) == 30, "no trigger is lost"
            assert controls[0].target == "energy"
            out.send(build("/wj/energy/+", 0.1))
            out.send(build("/wj/energy", 0.2))
            wait_for(lambda: controls[-1].target == "energy" and not controls[-1].meta)
            assert controls[-2].meta["relative"]
    finally:
        osc.stop()
