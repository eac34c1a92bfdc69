"""Colours, shapes and in-betweens of what leaves for the outputs."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from worldjockey.integrations import Layout
from worldjockey.node.ipc.frame_ring import Pixels
from worldjockey.node.output.layouts import shape_of
from worldjockey.node.output.program import blend, dim, standby
from worldjockey.node.output.scaling import Scaler, fit

Colour = tuple[int, int, int]
colours = st.tuples(st.integers(0, 255), st.integers(0, 255), st.integers(0, 255))


def flat(colour: Colour | int, width: int = 128, height: int = 72) -> Pixels:
    return np.full((height, width, 3), colour, np.uint8)


def scaled(layout: Layout, image: Pixels, width: int = 320, height: int = 180) -> Pixels:
    out = np.full(shape_of(layout, width, height), 77, np.uint8)
    Scaler(layout, width, height).into(image, out)
    return out


def bt709(colour: Colour) -> tuple[float, float, float]:
    """Y, U, V in limited range, after ITU-R BT.709-6, 3.2 to 3.5."""
    r, g, b = (v / 255 for v in colour)
    y = 0.2126 * r + 0.7152 * g + 0.0722 * b
    return 16 + 219 * y, 128 + 224 * (b - y) / 1.8556, 128 + 224 * (r - y) / 1.5748


@settings(max_examples=60, deadline=None)
@given(colours)
def test_a_flat_colour_comes_back_as_rgba(colour: Colour) -> None:
    out = scaled("rgba", flat(colour))
    assert (out == out[0, 0]).all()
    assert np.abs(out[0, 0, :3].astype(int) - colour).max() <= 3
    assert out[0, 0, 3] == 255


@pytest.mark.parametrize("level", [0, 1, 64, 128, 254, 255])
def test_greys_come_back_exactly(level: int) -> None:
    assert (scaled("rgba", flat((level,) * 3))[..., :3] == level).all()


@settings(max_examples=60, deadline=None)
@given(colours)
def test_uyvy_and_yuv420p_are_bt709_limited(colour: Colour) -> None:
    y, u, v = bt709(colour)
    packed = scaled("uyvy", flat(colour)).reshape(180, 160, 4)
    assert np.abs(packed - np.array([u, y, v, y])).max() <= 1.5
    planes = scaled("yuv420p", flat(colour)).ravel()
    for plane, wanted in zip(np.split(planes, [320 * 180, 320 * 180 * 5 // 4]), (y, u, v), strict=True):
        assert np.abs(plane - wanted).max() <= 1.5


@pytest.mark.parametrize(("layout", "black"), [("rgba", (0, 0, 0, 255)), ("uyvy", (128, 16)), ("yuv420p", (16,))])
def test_a_frame_of_another_shape_is_fitted_with_black_beside_it(layout: Layout, black: tuple[int, ...]) -> None:
    out = scaled(layout, flat((255, 255, 255), 72, 72))[:180]
    assert (out[:, :70] == black).all()
    assert (out[:, -70:] == black).all()
    assert (out[:, 80:240] != black).any(axis=-1).all()
    out = scaled(layout, flat((255, 255, 255), 128, 36))[:180]
    assert (out[:44] == black).all()
    assert (out[-44:] == black).all()
    assert (out[48:132] != black).any(axis=-1).all()


@pytest.mark.parametrize("layout", ["rgba", "uyvy", "yuv420p"])
def test_black_beside_a_frame_costs_no_more_than_frame(layout: Layout) -> None:
    def cost(width: int) -> float:
        image, out = flat((90, 120, 30), width, 288), np.zeros(shape_of(layout, 1280, 720), np.uint8)
        scaler, times = Scaler(layout, 1280, 720), []
        for _ in range(15):
            begin = time.thread_time()
            scaler.into(image, out)
            times.append(time.thread_time() - begin)
        return min(times)

    assert cost(288) < 1.3 * cost(512)


@given(st.integers(1, 4000), st.integers(1, 4000), st.integers(2, 4000), st.integers(2, 4000))
def test_fit_stays_inside_and_touches_an_edge(w: int, h: int, into_w: int, into_h: int) -> None:
    into_w, into_h = into_w // 2 * 2, into_h // 2 * 2
    wide, tall = fit(w, h, into_w, into_h)
    assert wide % 2 == tall % 2 == 0
    assert 2 <= wide <= into_w
    assert 2 <= tall <= into_h
    assert wide == into_w or tall == into_h


@given(st.floats(0, 1), st.integers(0, 255), st.integers(0, 255))
def test_an_in_between_lies_between(share: float, a: int, b: int) -> None:
    mixed = blend(flat(a), flat(b), share)[0, 0, 0]
    assert min(a, b) <= mixed <= max(a, b)
    assert abs(mixed - (a + (b - a) * share)) <= 2.1


def test_blackout_dims_to_black_and_standby_is_not_black() -> None:
    assert (dim(flat(200), 0.5)[0, 0] == 100).all()
    assert not dim(flat(255), 1.0).any()
    waiting = standby(512, 288)
    assert waiting.shape == (288, 512, 3)
    assert waiting.max() > 10
    assert waiting.max() < 80


def test_alpha_goes_along_below_the_frame() -> None:
    image = np.dstack([flat((200, 60, 40), 256, 144), np.zeros((144, 256), np.uint8)])
    image[36:108, 64:192, 3] = 255
    out = scaled("uyva", image, 512, 320)
    assert np.array_equal(out[:320], scaled("uyvy", image[..., :3], 512, 320))
    alpha = out[320:].reshape(320, 512)
    assert (alpha[16 + 76 : 16 + 212, 132:380] == 255).all()
    edge = np.ones_like(alpha, bool)
    edge[16 + 68 : 16 + 220, 124:388] = False
    assert not alpha[edge].any()  # nor is what lies above and below a wider frame


def test_a_frame_without_alpha_is_opaque() -> None:
    out = scaled("uyva", flat((200, 60, 40)))
    assert (out[180:] == 255).all()
