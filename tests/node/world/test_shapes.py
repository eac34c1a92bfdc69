"""Pictures that change their size in mid-show: a world that falls behind draws smaller ones, and comes back.

Nothing crashes, the picture stays where it was in its frame, and what lies between two sizes is not made up.
"""

import itertools
import threading
import time
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import turbo_files
from worldjockey.integrations import Frame, VideoFormat
from worldjockey.integrations.window import WindowOutput
from worldjockey.node.ipc.cell import Cell
from worldjockey.node.ipc.frame_ring import FrameInfo, FrameRing
from worldjockey.node.ipc.mailbox import Mailbox
from worldjockey.node.ipc.process import SPAWN, join_or_kill, read_status
from worldjockey.node.output import clock_process
from worldjockey.node.output.layouts import rings_for, shape_of
from worldjockey.node.output.program import Program
from worldjockey.node.output.scaling import Scaler
from worldjockey.node.output.worker import OutputSpec
from worldjockey.node.remote.protocol import Packer, Unpacker
from worldjockey.node.world import process as world_process
from worldjockey.node.world.process import WorldOptions, WorldStepper

SIZE = 256
COLOURS = ((220, 30, 30), (30, 200, 30), (30, 30, 220), (120, 120, 120))
LAYOUTS = ("native", "rgba", "bgrx", "uyvy", "yuv420p")
FORMAT = VideoFormat(320, 180, 30, 1, "shapes")


def quarters(size, width=None):
    """Red and green above, blue and grey below."""
    picture = np.zeros((size, width or size, 3), np.uint8)
    top, left = size // 2, (width or size) // 2
    places = itertools.product((slice(top), slice(top, None)), (slice(left), slice(left, None)))
    for colour, (y, x) in zip(COLOURS, places, strict=True):
        picture[y, x] = colour
    return picture


class Heavy:
    """A real Turbo that shows a live picture, and takes `weight` seconds for one of its full size."""

    def __init__(self, world):
        self.world, self.weight, self.sizes = world, 0.0, []

    def __getattr__(self, name):
        return getattr(self.world, name)

    def step(self, controls):
        pictures = self.world.step(replace(controls, live=quarters(SIZE), strength=1.0))
        self.sizes.append(pictures.shape[1])
        time.sleep(self.weight * (self.sizes[-1] / SIZE) ** 2)
        return pictures


@pytest.fixture
def playing(tmp_path):
    """The world process's own loop, and a real output process behind it."""
    box, ring, stop = Mailbox(), FrameRing(SIZE * SIZE * 3, 8), threading.Event()
    box.post("prompt", "sea", 1.0)
    player = WorldStepper(Heavy(turbo_files.tiny(SIZE, tmp_path)), box, WorldOptions("turbo"))
    player.encoder.once()
    specs = [OutputSpec(layout, "", layout) for layout in LAYOUTS]
    rings, clock, said, world_said, halt = (
        rings_for(specs, FORMAT, ring.size), Cell(64), Cell(16384), Cell(16384), SPAWN.Event()
    )  # fmt: skip
    output = SPAWN.Process(target=clock_process.run, args=(FORMAT, box, ring, rings, [], clock, said, halt))
    thread = threading.Thread(target=world_process._play, args=(player, ring, world_said, {}, stop), daemon=True)
    output.start()
    thread.start()
    yield SimpleNamespace(
        world=player.world,
        rings=rings,
        clock=lambda: read_status(said),
        quality=lambda: read_status(world_said).get("quality", ""),
    )
    stop.set()
    halt.set()
    thread.join(30)
    join_or_kill(output, 10)
    for cell in (box, clock, said, world_said, ring, *rings.values()):
        cell.unlink()


@pytest.mark.slow
def test_a_slow_world_draws_smaller_and_comes_back_and_the_picture_stays_in_its_place(playing, wait_for):
    shown = {layout: set() for layout in LAYOUTS}
    wrong = []
    expected = np.empty(shape_of("rgba", FORMAT.width, FORMAT.height), np.uint8)
    Scaler("rgba", FORMAT.width, FORMAT.height).into(quarters(SIZE), expected)

    def look():
        for layout, ring in playing.rings.items():
            found = ring.read()
            if found is None:
                return
            shown[layout].add(found[1].shape)
            if layout == "rgba" and playing.clock().get("fresh", 0) > 3:
                off = np.abs(found[1].astype(int) - expected).max(2)
                if (off > 8).mean() > 0.03:  # where the quarters meet, sizes differ by a pixel's blur
                    wrong.append(found[0])

    def until(condition, what):
        wait_for(lambda: look() or condition(), what=what)

    until(lambda: playing.clock().get("fresh", 0) > 5, "the first pictures")
    playing.world.weight = 0.065  # of the 0.056 s that there are
    until(lambda: playing.world.sizes[-1] < SIZE and playing.quality(), "a smaller picture")
    assert playing.quality().endswith("the world is too slow for 18 frames a second")
    assert playing.quality().split(":")[0] in ("224x224", "192x192")
    until(lambda: min(shown["native"])[0] < SIZE, "the smaller picture at the outputs")
    playing.world.weight = 0.005
    until(lambda: playing.world.sizes[-1] == SIZE and not playing.quality(), "the full size again")
    at = playing.clock()["fresh"]
    until(lambda: playing.clock()["fresh"] > at + 3, "more pictures")
    assert (SIZE, SIZE, 3) in shown["native"]
    for layout in set(LAYOUTS) - {"native"}:
        h, w, *c = shape_of(layout, FORMAT.width, FORMAT.height)
        assert shown[layout] == {(h, w, *(c or [1]))}, "receivers never see another size"
    assert not wrong, "the picture stood still"
    assert playing.clock()["message"] == "", "nothing failed between two sizes"


@pytest.mark.parametrize("fill", ["motion", "blend", "hold"])
def test_between_two_sizes_the_new_picture_is_shown_whole_and_motion_goes_on_after_it(fill):
    ring = FrameRing(SIZE * SIZE * 3, 4)
    try:
        program, now = Program(ring, quarters(128), 1 / 30), 0.0
        for size in (SIZE, 224, 224, 192, SIZE):
            picture = np.roll(quarters(size), len(str(now)), 1)
            ring.write(picture, FrameInfo(span=3 / 30))
            for _ in range(3):
                out, _, _ = program.tick(now, fill, 0.0)
                now += 1 / 30
                assert out.shape == picture.shape
            assert np.array_equal(out, picture)
        assert program.error == ""
    finally:
        ring.unlink()


def test_a_link_to_another_machine_carries_any_size():
    packer, unpacker = Packer(), Unpacker()
    for size in (SIZE, 224, 192, 224, SIZE):
        got = unpacker.unpack(packer.pack(quarters(size)))
        assert got.shape == (size, size, 3)
        assert np.abs(got.astype(int) - quarters(size)).mean() < 2


def test_a_window_shows_any_size_in_the_same_place(display, screenshot, wait_for):
    output = WindowOutput(fullscreen=True)
    output.open(VideoFormat(1280, 720, 30, 1, "sizes"))
    try:
        for n, height in enumerate((288, 252, 216, 288)):

            def right(height=height, n=n):
                output.send(Frame(quarters(height, height * 16 // 9), n, 0.0))
                shot = screenshot()
                corners = [shot[y, x] for y, x in ((2, 2), (2, 1277), (717, 2), (717, 1277))]
                inner = [shot[y, x] for y, x in ((352, 632), (352, 647), (367, 632), (367, 647))]
                return np.abs(np.array([corners, inner], int) - COLOURS).max() <= 3

            wait_for(right, what=f"a picture of {height} rows")
    finally:
        output.close()
