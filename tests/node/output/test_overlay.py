"""What lies over the picture: how it is drawn, carried and blended."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from worldjockey.integrations import Layout, Patch, VideoFormat
from worldjockey.node.control.overlay import overlay_of
from worldjockey.node.control.polls import OpenPoll
from worldjockey.node.ipc.cell import Cell
from worldjockey.node.ipc.overlay import OverlayLine, OverlayReader, fits, packed_patches, unpacked_patches
from worldjockey.node.ipc.process import SPAWN, STATUS_BYTES, read_status
from worldjockey.node.output import overlay_process
from worldjockey.node.output.layouts import shape_of
from worldjockey.node.output.overlay import Blender, planes_of
from worldjockey.node.output.overlay_drawing import BAR, WON, Drawing, drawable
from worldjockey.node.output.scaling import Scaler
from worldjockey.node.show.crowd import Poll

LAYOUTS: tuple[Layout, ...] = ("rgba", "bgrx", "uyvy", "uyva", "yuv420p")
SIZES = ((1920, 1080), (1280, 720), (640, 360), (1080, 1920), (720, 720), (3840, 2160))
URL = "http://192.168.178.123:9070/"
POLL = {
    "question": "Wohin gehen wir heute Nacht, wenn der Regen kommt?", "options": ["the sea", "嵐の中へ", "x" * 80],
    "counts": [30, 60, 10], "winner": None, "seconds": 14,
}  # fmt: skip


def over(width: int, height: int, patches: list[Patch], under: int = 90) -> np.ndarray:
    """(h, w, 3): the patches over a plain grey, by the formula."""
    image = np.full((height, width, 3), under, np.float32)
    for patch in patches:
        h, w = patch.rgba.shape[:2]
        place = image[patch.y : patch.y + h, patch.x : patch.x + w]
        share = patch.rgba[..., 3:].astype(np.float32) / 255
        place[:] = place * (1 - share) + patch.rgba[..., :3] * share
    return image.round().astype(np.uint8)


@pytest.mark.parametrize(("width", "height"), SIZES)
@pytest.mark.parametrize("size", ["corner", "large"])
def test_the_code_leads_to_the_page_at_every_size_of_the_show(width: int, height: int, size: str) -> None:
    for url in (URL, "https://a-venue-with-a-long-name.example.org/tonight/upstairs/"):
        image = over(width, height, Drawing(width, height).patches({"code": {"text": url, "size": size}}))
        near = cv2.resize(image, None, fx=2, fy=2, interpolation=cv2.INTER_NEAREST) if height < 720 else image
        assert cv2.QRCodeDetector().detectAndDecode(near)[0] == url


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_patches_lie_inside_the_picture_beside_each_other_and_at_even_places(width: int, height: int) -> None:
    drawing = Drawing(width, height)
    for options in (2, 5, 8):
        poll = {**POLL, "options": ["an answer"] * options, "counts": list(range(options))}
        for size in ("corner", "large"):
            patches = drawing.patches({"code": {"text": URL, "size": size}, "poll": poll})
            covered = np.zeros((height, width), int)
            for patch in patches:
                h, w = patch.rgba.shape[:2]
                assert not any(n % 2 for n in (patch.x, patch.y, w, h))
                assert 0 < patch.x < patch.x + w < width
                assert 0 < patch.y < patch.y + h < height
                covered[patch.y : patch.y + h, patch.x : patch.x + w] += 1
            if size == "corner" or width > height:
                assert covered.max() == 1
            line = OverlayLine.of(width, height)
            try:
                line.patches.write(packed_patches(patches))
            finally:
                for cell in line.cells:
                    cell.unlink()


def test_bars_are_as_long_as_the_answers_are_many_and_the_winners_has_another_colour() -> None:
    def lengths(poll: dict[str, Any], color: tuple[int, int, int]) -> list[int]:
        (patch,) = Drawing(1920, 1080).patches({"poll": poll})
        same = (np.abs(patch.rgba[..., :3].astype(int) - color).max(-1) <= 2).sum(1)
        runs = np.split(same, np.flatnonzero(np.diff((same > 0).astype(int))) + 1)
        return [int(run.max()) for run in runs if len(run) > 4 and run.max() > 20]

    sea, storm, other = lengths(POLL, BAR)
    assert storm == pytest.approx(2 * sea, abs=6)
    assert sea == pytest.approx(3 * other, abs=20)
    assert lengths(POLL, WON) == []
    decided = {**POLL, "winner": 1}
    assert lengths(decided, WON) == [storm]
    assert lengths(decided, BAR) == [sea, other]
    assert lengths({**POLL, "counts": [0, 0, 0]}, BAR) == []


@pytest.mark.parametrize(("width", "height"), [(64, 64), (96, 64), (128, 72), (64, 512), (512, 64)])
def test_a_show_that_is_too_small_is_told_so_and_no_patch_lies_outside_it(width: int, height: int) -> None:
    for overlay in (
        {"code": {"text": URL, "size": "large"}},
        {"code": {"text": URL, "size": "corner"}},
        {"poll": POLL},
    ):
        try:
            patches = Drawing(width, height).patches(overlay)
        except ValueError as error:
            assert "has no room for it: make it larger" in str(error)  # noqa: PT017
        else:
            assert all(fits(patch, width, height) for patch in patches)
    with pytest.raises(ValueError, match="no room"):
        Drawing(64, 64).patches({"code": {"text": URL, "size": "large"}})


def test_a_patch_that_does_not_fit_is_left_out_of_the_frame() -> None:
    blender, frame = Blender("rgba", 64, 32), np.zeros((32, 64, 4), np.uint8)
    whole = np.full((8, 8, 4), 255, np.uint8)
    blender.take([Patch(whole, 60, 8), Patch(whole, 16, 28), Patch(np.full((40, 8, 4), 255, np.uint8), 2, 2)])
    blender.into(frame)
    assert not frame.any()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\nb\t c", "a b c"),
        ("🔥 dance 💃🏽!", "dance !"),
        ("Gro\u0308ße, 嵐の中へ", "Größe, 嵐の中へ"),
        ("♥ or ★?", "♥ or ★?"),
    ],
)
def test_a_text_is_one_line_without_what_the_font_has_not(text: str, shown: str) -> None:
    assert drawable(text) == shown
    drawing = Drawing(1280, 720)
    one, other = (drawing.patches({"poll": {**POLL, "question": each}})[0].rgba for each in (text, shown))
    assert (one == other).all()


def test_a_long_question_does_not_run_into_the_seconds() -> None:
    poll = {**POLL, "question": "x" * 80, "seconds": 3600}
    (patch,) = Drawing(1920, 1080).patches({"poll": poll})
    written = (patch.rgba[30:80, :, :3].max(-1) > 120).any(0)
    gaps = np.diff(np.flatnonzero(written))
    assert gaps.max() >= 12, "a gap between both"


def test_nothing_wanted_is_nothing_drawn() -> None:
    assert Drawing(640, 360).patches({}) == []


@given(
    st.lists(st.tuples(*[st.integers(0, 200).map(lambda n: 2 * n)] * 2, *[st.integers(1, 12).map(lambda n: 2 * n)] * 2),
             max_size=4)
)  # fmt: skip
def test_patches_arrive_as_they_were_sent(places: list[tuple[int, int, int, int]]) -> None:
    rng = np.random.default_rng(1)
    sent = [Patch(rng.integers(0, 256, (h, w, 4), np.uint8), x, y) for x, y, w, h in places]
    got = unpacked_patches(packed_patches(sent))
    assert [(p.x, p.y) for p in got] == [(p.x, p.y) for p in sent]
    assert all((a.rgba == b.rgba).all() for a, b in zip(sent, got, strict=True))


def test_a_reader_learns_once_of_each_change() -> None:
    line = OverlayLine.of(64, 64)
    try:
        reader = OverlayReader(line)
        assert not reader.refresh()
        line.patches.write(b"")
        assert not reader.refresh(), "nothing instead of nothing"
        line.patches.write(packed_patches([Patch(np.zeros((2, 4, 4), np.uint8), 6, 8)]))
        assert reader.refresh()
        assert not reader.refresh()
        assert [(p.x, p.y, p.rgba.shape) for p in reader.patches] == [(6, 8, (2, 4, 4))]
        line.patches.write(b"")
        assert reader.refresh()
        assert reader.patches == ()
    finally:
        for cell in line.cells:
            cell.unlink()


@settings(max_examples=15, deadline=None)
@given(st.sampled_from(LAYOUTS), st.integers(0, 60), st.integers(0, 30), st.sampled_from((0.0, 0.4, 1.0)))
def test_a_blended_frame_is_the_blended_picture_in_that_layout(layout: Layout, x: int, y: int, light: float) -> None:
    width, height = 160, 96
    patch = np.zeros((24, 36, 4), np.uint8)
    patch[:, :18], patch[:, 18:] = (250, 20, 40, 255), (20, 200, 250, 130)
    patch[12:, 18:, 3] = 255  # from here on it hides all that is below it
    placed = Patch(patch, 2 * x, 2 * y)
    scaler, blender = Scaler(layout, width, height), Blender(layout, width, height)
    blender.take([placed])
    found, right = (np.empty(shape_of(layout, width, height), np.uint8) for _ in range(2))
    grey = np.full((height, width, 3), 90, np.uint8)
    scaler.into(grey, found)
    untouched = found.copy()
    blender.into(found, light)
    dimmer = Patch(np.dstack([patch[..., :3], (patch[..., 3] * light).astype(np.uint8)]), placed.x, placed.y)
    scaler.into(over(width, height, [dimmer]), right)
    inside = np.zeros((height, width), bool)
    inside[placed.y : placed.y + 24, placed.x : placed.x + 36] = True
    even = np.zeros((height, width), bool)  # away from edges, beside which chroma is shared
    even[placed.y + 4 : placed.y + 20, placed.x + 4 : placed.x + 14] = True
    even[placed.y + 4 : placed.y + 20, placed.x + 22 : placed.x + 32] = True
    even[placed.y + 8 : placed.y + 16] = False
    for plane, as_it_was, wanted in zip(*(planes_of(f, layout, width, height) for f in (found, untouched, right)),
                                        strict=True):  # fmt: skip
        step = height // plane.shape[0]
        outside, middle = ~inside[::step, ::step], even[::step, ::step]
        assert (plane[outside] == as_it_was[outside]).all(), "only the patch's own pixels"
        assert np.abs(plane[middle].astype(int) - wanted[middle]).max() <= 4


def test_a_matte_covers_what_lies_over_it() -> None:
    blender, frame = Blender("uyva", 64, 32), np.zeros((48, 64, 2), np.uint8)
    blender.take([Patch(np.full((8, 8, 4), 255, np.uint8), 16, 8)])
    blender.into(frame)
    alpha = frame[32:].reshape(32, 64)
    assert (alpha[8:16, 16:24] == 255).all()
    assert alpha.astype(int).sum() == 64 * 255


def test_what_cannot_be_drawn_is_not_shown_and_the_status_has_the_reason(wait_for: Callable[..., None]) -> None:
    line, status, stop = OverlayLine.of(640, 360), Cell(STATUS_BYTES), SPAWN.Event()
    process = SPAWN.Process(target=overlay_process.run, args=(VideoFormat(640, 360, 30), line, status, stop))
    process.start()
    reader = OverlayReader(line)
    try:
        line.want({"code": {"text": URL, "size": "corner"}})
        wait_for(lambda: reader.refresh() and reader.patches, what="the code")
        line.want({"code": {"text": "x" * 5000, "size": "corner"}})  # more than a QR code can have
        wait_for(lambda: reader.refresh() and not reader.patches, what="nothing")
        wait_for(lambda: "nothing lies over the picture" in read_status(status).get("message", ""), what="the reason")
        line.want({})
        wait_for(lambda: read_status(status)["message"] == "", what="no reason any more")
    finally:
        stop.set()
        process.join(20)
        for cell in (*line.cells, status):
            cell.unlink()
    assert process.exitcode == 0


VALUES = {"crowd/code": "off", "crowd/bars": False}


def test_control_wants_the_code_and_the_poll_only_when_asked() -> None:
    poll = OpenPoll(Poll.model_validate(
        {"name": "way", "question": {"de": "Wohin?", "en": "Where?"}, "options": ["sea", {"label": {"fr": "ville"}}]}
    ), 1, 110.2)  # fmt: skip
    assert overlay_of(VALUES, URL, poll, 100.0) == {}
    assert overlay_of({**VALUES, "crowd/code": "large"}, URL, None, 100.0) == {"code": {"text": URL, "size": "large"}}
    assert overlay_of({**VALUES, "crowd/code": "large"}, "", None, 100.0) == {}, "nothing is served yet"
    bars = {**VALUES, "crowd/bars": True}
    poll.counts = [2, 1]
    shown = {"question": "Where?", "options": ["sea", "ville"], "counts": [2, 1], "winner": None, "seconds": 11}
    assert overlay_of(bars, URL, poll, 100.0)["poll"] == shown
    poll.state, poll.winner = "decided", 0
    assert overlay_of(bars, URL, poll, 111.0)["poll"] == {**shown, "winner": 0, "seconds": 0}
    poll.winner = None
    assert overlay_of(bars, URL, poll, 111.0)["poll"]["winner"] == -1
