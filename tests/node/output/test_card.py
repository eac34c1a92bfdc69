"""A world on a graphics card and a window in another process: real processes, a real window, a CUDA of our own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from worldjockey.integrations import CardMemory, Patch, VideoFormat
from worldjockey.node.ipc.card_memory import MEMORY_BYTES, packed_card_memory, unpacked_card_memory
from worldjockey.node.ipc.cell import Cell
from worldjockey.node.ipc.frame_ring import FrameInfo, FrameRing
from worldjockey.node.ipc.mailbox import Mailbox
from worldjockey.node.ipc.overlay import OverlayLine, packed_patches
from worldjockey.node.ipc.process import SPAWN, join_or_kill, read_status
from worldjockey.node.ipc.tick import CardLine, TickPlan
from worldjockey.node.output import worker
from worldjockey.node.output.clock_process import TickPublisher
from worldjockey.node.output.layouts import rings_for
from worldjockey.node.output.program import Program
from worldjockey.node.output.worker import OutputSpec, drawable
from worldjockey.node.session.processes import output_specs
from worldjockey.node.session.status_line import pixel_path_errors
from worldjockey.node.show.outputs import class_path
from worldjockey.node.show.schema import Show
from worldjockey.node.world import frame_publisher
from worldjockey.node.world.frame_publisher import FramePublisher

pytestmark = pytest.mark.slow

PEERS = Path(__file__).parents[2] / "peers"
WIDE, TALL, PERIOD = 160, 90, 1 / 30
FORMAT = VideoFormat(1280, 720, 30, name="card")


@pytest.fixture(autouse=True)
def on_a_card(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """Where there is a card, tensors lie on it."""
    if "card" in request.fixturenames:
        monkeypatch.setattr(frame_publisher, "card_of", lambda frames: 0)


class Rig:
    """World and clock in this process, driven tick by tick; a window in another."""

    def __init__(self) -> None:
        spec = OutputSpec("window", class_path("window"), "native", 0, {"fullscreen": True}, True)
        self.line = CardLine(paths={"window": Cell(8)})
        self.source, self.tick, self.news = FrameRing(WIDE * TALL * 3, 4), Cell(64), Cell(64)
        self.status_cell = Cell(16384)
        self.rings = rings_for([spec], FORMAT, self.source.size)
        self.wake, self.stop, self.count = SPAWN.Semaphore(0), SPAWN.Event(), 0
        args = (
            spec,
            FORMAT,
            self.rings["native"],
            self.tick,
            self.wake,
            self.news,
            self.status_cell,
            self.stop,
            self.line,
        )
        self.mailbox, self.overlay = Mailbox(), OverlayLine.of(FORMAT.width, FORMAT.height)
        more = {"mailbox": self.mailbox, "overlay": self.overlay}
        self.process = SPAWN.Process(target=worker.run, args=args, kwargs=more)
        self.process.start()
        self.program = Program(self.source, np.zeros((TALL, WIDE, 3), np.uint8), PERIOD)
        self.publisher = TickPublisher(FORMAT, self.rings, self.line)
        self.new_world()

    def new_world(self) -> None:
        self.shipping = FramePublisher(self.source, self.line.memory)

    def world(self, image: np.ndarray, span: float = 0.0) -> None:
        for frame in self.shipping.take(torch.from_numpy(image[None].copy())):
            self.shipping.write(frame, FrameInfo(time.monotonic(), 0.0, span))

    def play(self, blackout: float = 0.0, now: float | None = None) -> TickPlan:
        """One tick; in the same place of time where none is named."""
        self.count += 1
        new = self.program.advance(0.0 if now is None else now, "blend", blackout)
        plan = self.publisher.send(self.program, new, self.count, time.monotonic())
        self.tick.write(plan.packed())
        self.wake.release()
        return plan

    @property
    def status(self) -> dict[str, Any]:
        return read_status(self.status_cell)

    def close(self) -> None:
        self.stop.set()
        join_or_kill(self.process, 10)
        for cell in (
            self.mailbox,
            self.source,
            self.tick,
            self.news,
            self.status_cell,
            *self.rings.values(),
            *self.line.cells,
            *self.overlay.cells,
        ):
            cell.unlink()


@pytest.fixture
def rig(card: Path, display: str) -> Iterator[Rig]:
    made = Rig()
    yield made
    made.close()


def quarters(shade: int) -> np.ndarray:
    image = np.full((TALL, WIDE, 3), shade, np.uint8)
    image[:45, :80], image[:45, 80:], image[45:, :80] = (200, 0, 0), (10, 180, 30), (0, 0, 220)
    return image


def corners(shot: np.ndarray) -> np.ndarray:
    return np.array([shot[y, x] for y in (20, 700) for x in (20, 1260)]).astype(int)


EXPECTED = corners(np.repeat(np.repeat(quarters(90), 8, 0), 8, 1))


def test_a_frame_goes_from_one_process_into_the_others_window_without_pixels(
    rig: Rig, card: Path, screenshot: Callable[[], np.ndarray], wait_for: Any
) -> None:
    rig.world(quarters(90))

    def shown(blackout: float, expected: np.ndarray, now: float | None = None) -> Callable[[], bool]:
        def look() -> bool:
            rig.play(blackout, now)
            return bool(np.abs(corners(screenshot()) - expected).max() <= 1)

        return look

    wait_for(shown(0.0, EXPECTED), what="the world's frame")
    wait_for(lambda: rig.play().pixels and rig.status.get("texture") == "card", what="the card's way")
    # The clock composes no more, and still everything that it says is seen.
    written = rig.rings["native"].newest
    wait_for(shown(0.5, np.floor(EXPECTED * 0.5 + 0.5)), what="half a blackout")
    assert not rig.play(0.5).pixels
    rig.world(np.full((TALL, WIDE, 3), 255, np.uint8), span=4 * PERIOD)
    half = EXPECTED + ((255 - EXPECTED) * 64 >> 7)
    rig.play(0.0, 10.0)
    wait_for(shown(0.0, half, 10.0 + PERIOD), what="half way to the next frame")
    wait_for(shown(0.0, np.full((4, 3), 255), 11.0), what="the next frame")
    wait_for(shown(1.0, np.zeros((4, 3)), 11.0), what="blackout")
    assert rig.rings["native"].newest == written, "no pixels went through host memory"
    assert rig.status["message"] == ""
    # The screen's corners, by the performer's hand.
    rig.mailbox.post("keystone/1/x", 0.1, 1.0)
    rig.mailbox.post("keystone/4/x", 0.1, 1.0)
    wait_for(shown(0.0, np.array([[0] * 3, [255] * 3] * 2), 11.0), what="the left side moved in")
    for name in ("keystone/1/x", "keystone/4/x"):
        rig.mailbox.post(name, 0.0, 2.0)
    # Another world, of another size.
    rig.new_world()
    rig.world(quarters(90)[::2, ::2])
    wait_for(shown(0.0, EXPECTED, 12.0), what="the new world's frame")
    rig.stop.set()
    wait_for(lambda: rig.status.get("state") == "closed", what="the window's end")
    found = Counter((card / "log").read_text().split())
    assert found["open"] == found["close"] == 2
    assert found["register"] == found["unregister"] == 2


def test_what_lies_over_the_picture_is_drawn_over_a_frame_on_the_card(
    rig: Rig, screenshot: Callable[[], np.ndarray], wait_for: Any
) -> None:
    rig.world(quarters(90))

    def shown(blackout: float, expected: np.ndarray) -> Callable[[], bool]:
        def look() -> bool:
            rig.play(blackout)
            return bool(np.abs(corners(screenshot()) - expected).max() <= 1)

        return look

    wait_for(shown(0.0, EXPECTED), what="the world's frame")
    wait_for(lambda: rig.play().pixels and rig.status.get("texture") == "card", what="the card's way")
    written = rig.rings["native"].newest
    rig.overlay.patches.write(packed_patches([Patch(np.full((80, 120, 4), 255, np.uint8), 1160, 640)]))
    covered = EXPECTED.copy()
    covered[3] = 255  # the bottom right corner
    wait_for(shown(0.0, covered), what="the patch")
    wait_for(shown(1.0, np.zeros((4, 3))), what="nothing over a blackout")
    rig.overlay.patches.write(b"")
    wait_for(shown(0.0, EXPECTED), what="the world's frame alone")
    assert rig.rings["native"].newest == written, "no pixels went through host memory"


def test_a_failure_in_mid_show_costs_no_frame_and_is_reported_once(
    rig: Rig, card: Path, screenshot: Callable[[], np.ndarray], wait_for: Any
) -> None:
    rig.world(quarters(90))
    wait_for(lambda: rig.play().tick and rig.status.get("texture") == "card", what="the card's way")
    wait_for(lambda: rig.play().tick and np.abs(corners(screenshot()) - EXPECTED).max() <= 1, what="its frame")
    (card / "faults").write_text("cudaGraphicsMapResources")
    rig.world(quarters(200))
    before = rig.status["sent"]
    bright = np.concatenate([EXPECTED[:3], [[200] * 3]])

    def look() -> bool:
        rig.play()
        now = corners(screenshot())
        either = np.minimum(np.abs(now - EXPECTED).max(1), np.abs(now - bright).max(1))
        assert either.max() <= 1, "no corner ever shows anything else"
        return bool(np.abs(now - bright).max() <= 1)

    wait_for(look, what="the next frame, by pixels")
    wait_for(lambda: rig.play().pixels and rig.status["texture"] == "pixels", what="the pixel path")
    assert rig.status["message"] == "frames go through the processor: CUDA failed, error 999"
    assert rig.status["sent"] > before
    assert rig.process.is_alive()
    assert pixel_path_errors({}, {"window": rig.status}) == [f"window: {rig.status['message']}"]
    for _ in range(3):
        rig.world(quarters(90))
        rig.play()
    found = Counter((card / "log").read_text().split())
    assert found["open"] == found["close"] == found["register"] == found["unregister"] == 1, "it is not tried again"
    # A world that was started again is another chance.
    (card / "faults").unlink()
    rig.new_world()
    rig.world(quarters(90))
    wait_for(
        lambda: rig.play() and rig.status["texture"] == "card" and rig.status["message"] == "", what="the card's way"
    )


@pytest.mark.parametrize("call", ["cudaMalloc", "cudaIpcGetMemHandle", "cudaMemcpyAsync", "cudaStreamSynchronize"])
def test_a_card_that_takes_no_frames_leaves_the_world_its_pixels(card: Path, call: str) -> None:
    ring, cell = FrameRing(WIDE * TALL * 3, 4), Cell(512)
    try:
        made = FramePublisher(ring, cell)
        (card / "faults").write_text(call)
        for shade in (10, 20):
            for frame in made.take(torch.full((1, TALL, WIDE, 3), shade, dtype=torch.uint8)):
                made.write(frame, FrameInfo())
            _, pixels, info = ring.read() or (0, np.empty(0), FrameInfo())
            assert (pixels == shade).all()
            assert info.memory == 0
        assert made.error == "CUDA failed, error 999"
        assert pixel_path_errors({"card": made.error}, {}) == [
            "world: frames go through the processor: CUDA failed, error 999"
        ]
    finally:
        ring.unlink()
        cell.unlink()


def test_a_world_on_the_processor_asks_for_no_card(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cuda", None)
    ring, cell = FrameRing(WIDE * TALL * 3, 4), Cell(512)
    try:
        made = FramePublisher(ring, cell)
        (frame,) = made.take(torch.zeros((1, TALL, WIDE, 3), dtype=torch.uint8))
        made.write(frame, FrameInfo())
        assert (made.error, frame.on_card, cell.version, ring.newest) == ("", None, 0, 1)
    finally:
        ring.unlink()
        cell.unlink()


def test_which_outputs_may_draw_from_the_card() -> None:
    specs = output_specs(Show.parse("outputs: [window, ndi, {kind: file, path: clip.mp4}]").outputs)
    assert {spec.name: spec.accepts_gpu_frames for spec in specs} == {"window": True, "ndi": False, "file": False}


@given(st.integers(0, 3), st.integers(0, 3))
def test_memory_that_failed_is_not_tried_again_and_another_is(memory: int, refused: int) -> None:
    assert drawable(TickPlan(1, 0.0, memory=memory), refused) == (memory > 0 and memory != refused)


@given(
    st.builds(
        TickPlan, st.integers(-1, 2**40), st.floats(0, 1e6), st.floats(0, 1), st.floats(0, 1e6), st.booleans(),
        st.integers(0, 2**16 - 1), st.integers(0, 2**16 - 1), st.integers(0, 2**32 - 1), st.integers(0, 2**16 - 1),
        st.integers(0, 2**16 - 1), st.integers(0, 2**32 - 1), st.floats(0, 1, width=32), st.floats(0, 1, width=32),
    ),
    st.builds(CardMemory, st.binary(min_size=64, max_size=64), st.just("0000:41:00.0"), st.just(2**31), st.just(8)),
)  # fmt: skip
def test_what_the_processes_tell_each_other_arrives(plan: TickPlan, memory: CardMemory) -> None:
    assert TickPlan.unpacked(plan.packed()) == plan
    assert len(plan.packed()) <= 64
    assert unpacked_card_memory(packed_card_memory(memory)) == memory
    assert len(packed_card_memory(memory)) <= MEMORY_BYTES


def test_frames_of_a_chunk_are_published_one_by_one_with_their_own_slots(card: Path) -> None:
    ring, cell, seen = FrameRing(WIDE * TALL * 3, 12), Cell(512), list[tuple[int, int]]()
    try:
        made = FramePublisher(ring, cell)
        for frame in made.take(torch.zeros((10, TALL, WIDE, 3), dtype=torch.uint8)):
            made.write(frame, FrameInfo())
            found = ring.read()
            assert found
            seen.append((found[2].memory, found[2].slot))
        assert seen == [(1, n % 8) for n in range(10)]
    finally:
        ring.unlink()
        cell.unlink()


def test_a_show_chooses_the_card_by_itself_and_plays_on_without_it(
    card: Path, display: str, tmp_path: Path, wait_for: Any
) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        # the world's frames as tensors, there
        "from worldjockey.model.worlds.testcard import TestCard\n"
        "from worldjockey.node.world import frame_publisher\n"
        "frame_publisher.card_of = lambda frames: 0\n"
        "drawn = TestCard.step\n"
        "def step(world, controls):\n"
        "    import torch\n"
        "    return torch.from_numpy(drawn(world, controls))\n"
        "TestCard.step = step\n"
    )
    show, report = tmp_path / "show.yaml", tmp_path / "report.json"
    show.write_text("model: testcard\nsize: 320x180\nprompt: sea\noutputs: [window]\n")
    errors, log = tmp_path / "errors", card / "log"
    options = ["--no-midi", "--no-osc", "--no-surface", "--report", str(report)]
    with errors.open("w") as out:
        playing = subprocess.Popen(
            [sys.executable, "-m", "worldjockey.node", "play", str(show), *options],
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(PEERS / "card")])}, stderr=out,
        )  # fmt: skip
    try:
        wait_for(lambda: log.exists() and "register" in log.read_text(), 90, "frames by the card")
        assert errors.read_text() == ""
        (card / "faults").write_text("cudaGraphicsMapResources")
        wait_for(lambda: "through the processor" in errors.read_text(), what="the message")
    finally:
        playing.send_signal(signal.SIGINT)
        assert playing.wait(120) == 0, errors.read_text()
    figures = json.loads(report.read_text())
    window = figures["outputs"]["window"]
    assert window["facts"]["frames"] == window["sent"] > 0
    assert (figures["world"]["card"], window["texture"], window["restarts"], figures["events"]) == ("", "pixels", 0, [])
    assert errors.read_text().count("window: frames go through the processor: CUDA failed, error 999") == 1
    assert Counter(log.read_text().split()) == dict.fromkeys(
        ("malloc", "open", "close", "register", "unregister"), 1
    )  # fmt: skip
