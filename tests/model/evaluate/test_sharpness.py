"""What the score of sharpness measures, on pictures whose edges are known."""

import numpy as np
from worldjockey.model.evaluate.scorecard import sharpness


def step(width):
    """A picture with one upright edge, `width` pixels from dark to bright."""
    x = np.arange(120, dtype=np.float32)
    return np.repeat((0.2 + 0.6 * np.clip((x - 60) / width + 0.5, 0, 1))[None], 40, 0)


def test_an_edge_that_is_three_times_as_wide_scores_three_times_as_much():
    places = sharpness.edges(step(2))
    assert len(places) >= 40
    sharp, soft = (np.median(sharpness.widths(sharpness.profiles(step(width), places))) for width in (2, 6))
    assert 2.7 < soft / sharp < 3.3


def test_only_what_leaves_the_range_of_both_sides_is_an_overshoot():
    places = sharpness.edges(step(2))
    assert np.median(sharpness.overshoots(sharpness.profiles(step(2), places))) < 0.01
    ringing = step(2)
    ringing[:, 63:65] += 0.06  # a tenth of the step
    assert 0.09 < np.median(sharpness.overshoots(sharpness.profiles(ringing, places))) < 0.11


def test_texture_is_no_edge():
    noise = np.random.default_rng(0).uniform(0, 1, (40, 120)).astype(np.float32)
    assert len(sharpness.edges(noise)) == 0


def test_a_blur_shows_in_the_finest_band_alone():
    fine = np.indices((40, 120)).sum(0).astype(np.float32) % 2
    assert np.abs(sharpness.fine_band(fine)).mean() > 0.3
    smooth = np.linspace(0, 1, 120, dtype=np.float32)[None].repeat(40, 0)
    assert np.abs(sharpness.fine_band(smooth)[:, 4:-4]).max() < 0.01
