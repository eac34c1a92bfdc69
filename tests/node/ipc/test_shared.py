"""Cell, mailbox and ring, across real processes where it matters."""

from __future__ import annotations

import importlib
import multiprocessing
import threading
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from worldjockey.node.ipc.cell import Cell
from worldjockey.node.ipc.frame_ring import FrameInfo, FrameRing
from worldjockey.node.ipc.mailbox import Mailbox, Triggers
from worldjockey.node.parameters import PARAMETERS

SPAWN = multiprocessing.get_context("spawn")


@pytest.fixture
def writers(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "peers"))  # spawned processes get it too
    return importlib.import_module("writers")


def test_a_reader_never_sees_half_a_message_and_sees_the_last(writers: ModuleType) -> None:
    cell, done = Cell(1000), SPAWN.Event()
    try:
        writer = SPAWN.Process(target=writers.count, args=(cell, done))
        writer.start()
        last = 0
        while not done.is_set() and writer.is_alive():
            _, data = cell.read()
            if data:
                numbers = {int(n) for n in data.split()}
                (n,) = numbers
                assert len(data.split()) == n % 50 + 1
                assert n >= last
                last = n
        writer.join()
        assert cell.read()[1].split()[0] == b"20000"
    finally:
        cell.unlink()


def test_what_was_said_once_is_never_unsaid(writers: ModuleType) -> None:
    cell, ring, done = Cell(8), FrameRing(3, 4), SPAWN.Event()
    try:
        writer = SPAWN.Process(target=writers.hurry, args=(cell, ring, done))
        writer.start()
        while not (cell.version and ring.newest):
            assert writer.is_alive() or done.is_set()
        version = frame = 0
        while not done.is_set() and writer.is_alive():
            for _ in range(100):
                now, data = cell.read()
                assert data
                assert now >= version
                assert ring.newest >= frame
                version, frame = now, ring.newest
        writer.join()
        assert cell.read() == (60_000, b"59999")
    finally:
        cell.unlink()
        ring.unlink()


posted = [p for p in PARAMETERS.values() if not p.local]
numbers = st.sampled_from([p for p in posted if p.kind not in ("text", "trigger")])
triggers = st.sampled_from([p for p in posted if p.kind == "trigger"])


@settings(max_examples=50, deadline=None)
@given(st.lists(st.one_of(st.tuples(numbers, st.floats(-10, 10)), st.tuples(triggers, st.just(1.0)), st.none())))
def test_last_value_wins_and_triggers_are_counted_exactly(moves: list[Any]) -> None:
    box = Mailbox()
    try:
        world = Triggers(box.consumed)
        values: dict[str, Any] = {}
        sent: dict[str, int] = {}
        obeyed: dict[str, int] = {}
        for i, move in enumerate(moves):
            if move is None:  # a step of the world, now and then from one that was started again
                for name, n in world.fired(box.read().counts).items():
                    obeyed[name] = obeyed.get(name, 0) + n
                world = Triggers(box.consumed)
                continue
            p, raw = move
            value = p.coerce(raw)
            box.post(p.name, value, float(i))
            if p.kind == "trigger" or p.name == "seed":  # the same seed again is the same world anew
                sent[p.name] = sent.get(p.name, 0) + 1
            if p.kind != "trigger":
                values[p.name] = value
        for name, n in world.fired(box.read().counts).items():
            obeyed[name] = obeyed.get(name, 0) + n
        reading = box.read()
        assert {k: reading.values[k] for k in values} == values
        assert obeyed == sent
    finally:
        box.unlink()


@settings(max_examples=50, deadline=None)
@given(st.text())
def test_any_text_arrives_whole(text: str) -> None:
    box = Mailbox()
    try:
        wanted = PARAMETERS["prompt"].coerce(text)
        box.post("prompt", wanted, 1.0, seconds=2.5)
        said = box.text("prompt")
        assert (said.text, said.seconds, said.arrived_at) == (wanted, 2.5, 1.0)
    finally:
        box.unlink()


def test_the_newest_control_is_the_newest_that_the_world_obeys() -> None:
    """Latency is measured from it: what the output or the desk obeys is on no frame of the world's."""
    box = Mailbox()
    try:
        box.post("energy", 0.5, 1.0)
        others = ["blackout", "inbetween", "cue/go", "transition", "bank"]
        others += [name for name in PARAMETERS if name.startswith("keystone/")]
        assert len(others) > 5
        for name in others:
            box.post(name, PARAMETERS[name].default or 1, 2.0)
            assert box.read().newest_control_at == 1.0, name
        box.post("cam/yaw", 0.5, 3.0)
        assert box.read().newest_control_at == 3.0
    finally:
        box.unlink()


def test_word_weights_stay_bounded_and_the_latest_survive() -> None:
    box = Mailbox()
    try:
        for i in range(200):
            box.post(f"word/w{i}", 1.5, float(i))
        words, arrived_at = box.words()
        assert len(words) == 64
        assert words["w199"] == 1.5
        assert arrived_at == 199.0
        box.post("word/w199", 1.0, 200.0)
        assert "w199" not in box.words()[0]
    finally:
        box.unlink()


def test_a_flood_from_many_threads_loses_no_trigger() -> None:
    box = Mailbox()
    try:
        threads = [
            threading.Thread(target=lambda: [box.post("panic", True, 0.0) for _ in range(500)]) for _ in range(4)
        ]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        assert box.read().counts["panic"] == 2000
    finally:
        box.unlink()


def test_frames_are_whole_and_the_newest_wins(writers: ModuleType) -> None:
    ring, done = FrameRing(8 * 8 * 3, 4), SPAWN.Event()
    try:
        writer = SPAWN.Process(target=writers.fill, args=(ring, done))
        writer.start()
        while not done.is_set() and writer.is_alive():
            got = ring.read()
            if got:
                number, pixels, info = got
                assert info.made == number
                assert (pixels == number % 251).all()
        writer.join()
        assert ring.newest == 2000
        assert ring.view(1999) is not None
        assert ring.view(1990) is None
    finally:
        ring.unlink()


class Overtaken(FrameRing):
    """A reader that is held up, once, between finding the newest frame and copying it: the writer laps it."""

    lapped = False

    def view(self, number: int) -> Any:
        found = super().view(number)
        if not self.lapped:
            self.lapped = True
            for n in range(number + 1, number + self.slots):
                self.write(np.full((4, 4, 3), n, np.uint8), FrameInfo(made=n))
            self.blank((4, 4, 3))[:2] = 255  # half of the next one, where the found one lay
        return found


def test_a_frame_that_is_overtaken_while_it_is_copied_is_not_shown() -> None:
    ring = Overtaken(4 * 4 * 3, 4)
    try:
        ring.write(np.full((4, 4, 3), 1, np.uint8), FrameInfo(made=1))
        got = ring.read()
        assert got is not None
        assert got[0] == got[2].made == 4
        assert (got[1] == 4).all()
    finally:
        ring.unlink()
