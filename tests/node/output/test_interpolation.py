"""Frames between two world frames: what moves is moved, what cannot be followed is blended."""

from __future__ import annotations

import numpy as np
import pytest
from worldjockey.node.ipc.frame_ring import FrameInfo, FrameRing, Pixels
from worldjockey.node.measure.interpolation import measure, psnr
from worldjockey.node.output.interpolation import MAX_PIXELS, between, change, flow, ready
from worldjockey.node.output.program import Program, blend

H, W = 144, 256


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> None:
    ready()


def hills(seed: int, shift: float = 0.0, size: tuple[int, int] = (H, W)) -> Pixels:
    """A smooth frame with edges, (h, w, 3), as a camera sees it that went `shift` pixels to the left."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: size[0], : size[1]].astype(np.float64)
    x = x - shift
    waves = [np.sin(x * fx + y * fy + p) for fx, fy, p in zip(rng.uniform(0.03, 0.2, 9), rng.uniform(-0.2, 0.2, 9),
                                                              rng.uniform(0, 6, 9), strict=True)]  # fmt: skip
    colours = [127 + 90 * np.tanh(2 * sum(waves[i::3])) for i in range(3)]
    return np.stack(colours, -1).astype(np.uint8)


@pytest.mark.parametrize("share", [0.25, 0.5, 0.75])
def test_a_translated_frame_is_far_better_than_a_blend(share: float) -> None:
    old, new, truth = hills(1), hills(1, 6.0), hills(1, 6.0 * share)
    along = flow(old, new)
    assert along is not None
    assert np.median(along[..., 0]) == pytest.approx(6, abs=0.7)
    inner = np.s_[:, 12:-12]  # what comes in at the edge was never seen
    moved = psnr(between(old, new, along, share)[inner], truth[inner])
    assert moved > psnr(blend(old, new, share)[inner], truth[inner]) + 8


def test_alpha_moves_with_its_frame() -> None:
    old, new = (np.dstack([hills(1, x), np.zeros((H, W), np.uint8)]) for x in (0.0, 8.0))
    old[40:100, 100:140, 3] = new[40:100, 108:148, 3] = 255
    moved = between(old, new, flow(old, new), 0.5)
    assert np.array_equal(moved[..., :3], between(old[..., :3], new[..., :3], flow(old, new), 0.5))
    assert moved[70, :, 3].nonzero()[0].mean() == pytest.approx(100 + 4 + 19.5, abs=0.7)
    assert (moved[60:80, 110:138, 3] > 250).all()


def test_the_ends_are_the_frames_themselves() -> None:
    old, new = hills(2), hills(2, 4.0)
    along = flow(old, new)
    assert np.array_equal(between(old, new, along, 1.0), new)
    assert np.array_equal(between(old, new, along, 0.0), old)


def test_equal_frames_stay_as_they_are() -> None:
    image = hills(3)
    assert flow(image, image.copy()) is None
    assert np.array_equal(between(image, image.copy(), None, 0.3), image)


@pytest.mark.parametrize("seed", range(6))
def test_a_cut_is_not_smeared(seed: int) -> None:
    old, new = hills(seed), 255 - hills(seed + 50)
    assert flow(old, new) is None
    assert change(old, new).at_once
    assert np.array_equal(between(old, new, None, 0.4), blend(old, new, 0.4))


@pytest.mark.parametrize("lift", [-20, 20])
def test_a_change_of_light_does_not_stop_the_motion(lift: int) -> None:
    def lit(image: Pixels, levels: int) -> Pixels:
        return np.clip(image.astype(int) * 0.6 + 50 + levels, 0, 255).astype(np.uint8)

    old, new, truth = lit(hills(6), 0), lit(hills(6, 6.0), lift), lit(hills(6, 3.0), lift // 2)
    inner = np.s_[:, 12:-12]
    moved = psnr(between(old, new, flow(old, new), 0.5)[inner], truth[inner])
    assert moved > psnr(blend(old, new, 0.5)[inner], truth[inner]) + 8


def test_a_small_frame_leaves_the_search_for_others_as_it_is() -> None:
    old, new = hills(7), hills(7, 5.0)
    before = flow(old, new)
    for side in (40, 64, 96, 100):
        small = hills(8, size=(side, side))
        flow(small, np.roll(small, 2, 1))
    after = flow(old, new)
    assert before is not None
    assert after is not None
    assert np.array_equal(before, after)


def test_what_appears_out_of_nothing_is_blended_where_it_appears() -> None:
    old, new = hills(4), hills(4, 5.0)
    new[60:90, 100:140] = np.random.default_rng(0).integers(0, 255, (30, 40, 3))
    middle = between(old, new, flow(old, new), 0.5)
    spot, truth = np.s_[65:85, 108:132], hills(4, 2.5)
    assert np.abs(middle[spot].astype(int) - blend(old, new, 0.5)[spot]).mean() < 12
    rest = np.s_[100:, 12:-12]
    assert psnr(middle[rest], truth[rest]) > psnr(blend(old, new, 0.5)[rest], truth[rest]) + 6


@pytest.mark.parametrize(
    "shapes",
    [((H, W), (H, W + 2)), ((16, 32), (16, 32)), ((1, 1), (1, 1)), ((1080, 1920), (1080, 1920))],
    ids=["two shapes", "tiny", "a pixel", "too large to warp in time"],
)
def test_where_no_flow_can_be_had_there_is_none(shapes: tuple[tuple[int, int], tuple[int, int]]) -> None:
    assert MAX_PIXELS < 1080 * 1920
    old, new = (np.full((*shape, 3), level, np.uint8) for shape, level in zip(shapes, (10, 90), strict=True))
    assert flow(old, new) is None
    assert between(old, new, None, 0.5).shape == new.shape


@pytest.mark.parametrize(("fps", "moves"), [(24, True), (30, True), (60, False)])
def test_a_faster_clock_moves_smaller_frames_only(fps: int, moves: bool) -> None:
    size = 480, 832
    assert MAX_PIXELS / 2 < size[0] * size[1] < MAX_PIXELS
    old, new = hills(9, size=size), hills(9, 6.0, size)
    ring = FrameRing(new.nbytes, 4)
    try:
        program = Program(ring, old, 1 / fps)
        for number, image in enumerate((old, new)):
            ring.write(image, FrameInfo(span=2 / fps))
            shown, _, _ = program.tick(2 * number / fps, "motion", 0.0)
    finally:
        ring.unlink()
    assert np.array_equal(shown, blend(old, new, 0.5)) is not moves


def test_motion_beats_blend_and_hold_on_true_frames_of_the_stage() -> None:
    found = measure(5, 20.0)
    dB = {fill: figures["mean"] for fill, figures in found["psnr"].items()}  # noqa: N806
    assert dB["motion"] > dB["blend"] + 2
    assert dB["blend"] > dB["hold"] + 1
    assert found["worse_than_blend"] <= 1
