"""From a card's memory into OpenGL: real OpenGL, and a CUDA made from what the vendor's wheel says of itself."""

from __future__ import annotations

import importlib
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from worldjockey.integrations import CardError, CardMemory, Frame, OnCard
from worldjockey.integrations.gl.canvas import Canvas, HiddenContext, Target
from worldjockey.integrations.gl.cuda import Block, SharedFrames, verdict
from worldjockey.node.ipc.frame_ring import FrameInfo, FrameRing
from worldjockey.node.output.program import Program

WIDE, TALL = 192, 108
NOWHERE = np.empty((0, 0, 3), np.uint8)
BUSES = ["0000:01:00.0", "0000:41:00.0"]


def counted(card: Path) -> Counter[str]:
    return Counter((card / "log").read_text().split())


@pytest.fixture
def context(display: str) -> Iterator[HiddenContext]:
    made = HiddenContext("cuda test")
    yield made
    made.close()


def scene(shift: float, flip: bool = False) -> np.ndarray:
    """Smooth hills that go to the right; red grows to the right, green downwards, blue is the hills'."""
    y, x = np.mgrid[:TALL, :WIDE].astype(float)
    hills = 128 + 60 * np.sin((x - shift) / 9) * np.cos(y / 11) + 40 * np.sin((x - shift + y) / 17)
    image = np.stack([hills / 2 + x / WIDE * 120, hills / 3 + y / TALL * 150, hills], -1).clip(0, 255)
    return (255 - image if flip else image).astype(np.uint8)


def put(block: Block, image: np.ndarray) -> int:
    rgba = np.dstack([image, np.full(image.shape[:2], 255, np.uint8)])
    return block.put(np.ascontiguousarray(rgba).ctypes.data, rgba.nbytes)


def drawn(canvas: Canvas, frame: Frame, width: int, height: int) -> np.ndarray:
    from OpenGL import GL

    target = Target(width, height)
    target.bind()
    canvas.take(frame)
    canvas.draw(width, height)
    GL.glPixelStorei(GL.GL_PACK_ALIGNMENT, 1)
    data = GL.glReadPixels(0, 0, width, height, GL.GL_RGB, GL.GL_UNSIGNED_BYTE)
    GL.glBindFramebuffer(GL.GL_FRAMEBUFFER, 0)
    return np.frombuffer(data, np.uint8).reshape(height, width, 3)[::-1].astype(int)


@pytest.mark.parametrize("size", [(WIDE, TALL), (400, 225), (60, 34)], ids=["as it is", "larger", "smaller"])
@pytest.mark.parametrize("fill", ["blend", "motion", "hold"])
def test_the_card_shows_what_the_processor_composes(
    card: Path, context: HiddenContext, fill: str, size: tuple[int, int]
) -> None:
    context.poll()
    block, canvas, plain = Block(0, WIDE * TALL * 4, 4), Canvas(), Canvas()
    ring = FrameRing(WIDE * TALL * 3, 4)
    now, moved, seen = 0.0, 0, []
    try:
        program = Program(ring, scene(0), 1 / 30)
        for shift, ticks, flip in ((0, 2, False), (5, 3, False), (9, 2, False), (12, 4, False), (0, 4, True)):
            image = scene(shift, flip)
            slot = put(block, image)
            ring.write(image, FrameInfo(span=4 / 30))
            for tick in range(ticks):  # some frames come before the last was shown whole
                blackout = 0.35 if tick == 1 else 0.0
                program.advance(now, fill, blackout)
                now += 1 / 30
                s = program.shown
                flow = s.flow.astype(np.float16) if s.moves and s.flow is not None else None
                moved += flow is not None
                on_card = OnCard(block.memory, slot, s.number, WIDE, TALL, s.share, blackout, flow)
                got = drawn(canvas, Frame(NOWHERE, tick, now, on_card), *size)
                wanted = drawn(plain, Frame(program.frame(), tick, now), *size)
                off = np.abs(got - wanted)
                # Levels: none but in blackout, rounded before or after scaling; OpenCV moves by 32nds of a pixel.
                most = 3 if flow is not None else 0 if blackout == 0 else 1 if size[0] >= WIDE else 2
                assert off.max() <= most, (shift, tick)
                assert (off <= 1).mean() > 0.99, (shift, tick)
                seen.append(got)
        assert max(np.abs(a - b).mean() for a, b in pairwise(seen)) > 20, "the cut was seen"
    finally:
        ring.unlink()
        canvas.close()
        block.close()
    assert bool(moved) == (fill == "motion")
    assert counted(card) == {"malloc": 1, "free": 1, "open": 1, "close": 1, "register": 1, "unregister": 1}


def test_colours_and_corners_stay_where_they_are(card: Path, context: HiddenContext) -> None:
    context.poll()
    block, canvas = Block(0, WIDE * TALL * 4, 4), Canvas()
    image = np.zeros((TALL, WIDE, 3), np.uint8)
    image[:54, :96], image[:54, 96:], image[54:, :96] = (255, 0, 0), (10, 200, 30), (0, 0, 255)
    for blackout, part in ((0.0, 1.0), (0.5, 0.5), (1.0, 0.0)):
        on_card = OnCard(block.memory, put(block, image), 1 + int(blackout * 2), WIDE, TALL, 1.0, blackout)
        got = drawn(canvas, Frame(NOWHERE, 0, 0.0, on_card), WIDE, TALL)
        assert np.abs(got - image * part).max() <= 1
    canvas.close()
    block.close()


def test_a_world_that_comes_back_or_changes_its_size_leaves_nothing_open(card: Path, context: HiddenContext) -> None:
    context.poll()
    canvas, blocks = Canvas(), []
    for number, (wide, tall) in enumerate([(64, 36), (64, 36), (48, 26), (64, 36)], 1):
        blocks.append(Block(0, 64 * 36 * 4, 3))  # each time another world
        image = np.full((tall, wide, 3), number * 50, np.uint8)
        on_card = OnCard(blocks[-1].memory, put(blocks[-1], image), number, wide, tall)
        assert np.abs(drawn(canvas, Frame(NOWHERE, 0, 0.0, on_card), 128, 72)[36, 64] - number * 50).max() <= 1
    on_card = OnCard(blocks[-1].memory, put(blocks[-1], image[:20, :32]), 9, 32, 20)  # the same world, smaller
    assert np.abs(drawn(canvas, Frame(NOWHERE, 0, 0.0, on_card), 128, 80)[36, 64] - 200).max() <= 1
    canvas.close()
    for block in blocks:
        block.close()
    found = counted(card)
    assert (found["open"], found["close"]) == (4, 4)
    assert (found["register"], found["unregister"]) == (5, 5)
    assert found["malloc"] == found["free"] == 4


@pytest.mark.parametrize(
    "call",
    ["cudaIpcOpenMemHandle", "cudaGraphicsGLRegisterImage", "cudaGraphicsMapResources",
     "cudaGraphicsSubResourceGetMappedArray", "cudaMemcpy2DToArrayAsync", "cudaStreamSynchronize"],
)  # fmt: skip
@pytest.mark.parametrize("late", [False, True], ids=["at first", "in mid-show"])
def test_whatever_fails_the_next_frame_is_shown_from_pixels(
    card: Path, context: HiddenContext, call: str, late: bool
) -> None:
    context.poll()
    block, canvas, image = Block(0, WIDE * TALL * 4, 3), Canvas(), scene(0)
    if late:
        drawn(canvas, Frame(NOWHERE, 0, 0.0, OnCard(block.memory, put(block, image), 1, WIDE, TALL)), WIDE, TALL)
    slot = put(block, image)
    (card / "faults").write_text(call)
    if late and call in ("cudaIpcOpenMemHandle", "cudaGraphicsGLRegisterImage"):
        canvas.close()  # it is opened again
    with pytest.raises(CardError, match="error 999"):
        drawn(canvas, Frame(NOWHERE, 1, 0.0, OnCard(block.memory, slot, 2, WIDE, TALL)), WIDE, TALL)
    assert np.abs(drawn(canvas, Frame(image, 1, 0.0), WIDE, TALL) - image).max() <= 1
    canvas.close()
    block.close()
    found = counted(card)
    # A process that could not open it has nothing to close.
    assert found["open"] == found["close"]
    assert found["register"] == found["unregister"]


def test_after_an_error_no_old_frame_shows(card: Path, context: HiddenContext) -> None:
    context.poll()
    block, canvas = Block(0, WIDE * TALL * 4, 3), Canvas()
    bright, dim = (np.full((TALL, WIDE, 3), level, np.uint8) for level in (250, 100))
    drawn(canvas, Frame(NOWHERE, 0, 0.0, OnCard(block.memory, put(block, bright), 1, WIDE, TALL)), WIDE, TALL)
    with pytest.raises(CardError):
        drawn(canvas, Frame(NOWHERE, 0, 0.0, OnCard(block.memory, 99, 2, WIDE, TALL)), WIDE, TALL)
    drawn(canvas, Frame(dim, 0, 0.0), WIDE, TALL)
    on_its_way = OnCard(block.memory, put(block, dim), 3, WIDE, TALL, 0.25)
    assert np.abs(drawn(canvas, Frame(NOWHERE, 0, 0.0, on_its_way), WIDE, TALL) - 100).max() <= 1
    canvas.close()
    block.close()


def test_an_error_of_opengl_falls_back_as_one_of_cuda_does(
    card: Path, context: HiddenContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    context.poll()
    block, canvas = Block(0, WIDE * TALL * 4, 3), Canvas()
    on_card = OnCard(block.memory, put(block, scene(0)), 1, WIDE, TALL)
    with monkeypatch.context() as broken:
        broken.setattr(SharedFrames, "copy", lambda *_: 1 / 0)
        with pytest.raises(CardError, match="ZeroDivisionError"):
            drawn(canvas, Frame(NOWHERE, 0, 0.0, on_card), WIDE, TALL)
    assert np.abs(drawn(canvas, Frame(scene(0), 0, 0.0), WIDE, TALL) - scene(0)).max() <= 1
    canvas.close()
    block.close()
    found = counted(card)
    assert (found["open"], found["register"]) == (found["close"], found["unregister"])


@given(st.sampled_from(["", "no driver"]), st.lists(st.sampled_from(BUSES), unique=True), st.sampled_from(["", *BUSES]))
def test_the_card_is_chosen_only_where_world_and_screen_are_on_it(missing: str, drawn_by: list[str], bus: str) -> None:
    why = verdict(missing, drawn_by, bus)
    assert (why == "") == (not missing and bus in drawn_by)
    if missing:
        assert why == missing
    elif bus and drawn_by and why:
        assert bus in why
        assert drawn_by[0] in why


@pytest.mark.parametrize(
    ("drawn_by", "why"), [("", "not draw on a CUDA device"), ("1", "0000:01:00.0 and the screen on")]
)
def test_a_screen_on_another_card_says_so(card: Path, context: HiddenContext, drawn_by: str, why: str) -> None:
    block = Block(0, 64, 2)
    (card / "drawn_by").write_text(drawn_by)
    with pytest.raises(CardError, match=why):
        SharedFrames(block.memory)
    block.close()


def test_without_the_bindings_the_fix_is_named(monkeypatch: pytest.MonkeyPatch, display: str) -> None:
    monkeypatch.setitem(sys.modules, "cuda", None)
    with pytest.raises(CardError, match="pip install cuda-bindings"):
        SharedFrames(CardMemory(b"", BUSES[0], 64, 2))


@pytest.mark.slow
def test_the_wheel_offers_what_we_were_written_against(
    monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "peers"))
    vendors: Any = importlib.import_module("vendors")
    read: Callable[[Path], dict[str, dict[str, Any]]] = vendors.read_cuda
    try:
        found = read(vendors.download("cuda", Path(request.config.cache.mkdir("wheels"))))
    except OSError as error:
        pytest.skip(str(error))
    assert found == vendors.checked("cuda")
