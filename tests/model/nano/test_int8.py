"""Decoders in 8 bits: levels over the ranges that examples show, and frames that look the same."""

import numpy as np
import openvino
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from torch import nn
from torch.nn import functional as F
from worldjockey.model import Controls, Prompt
from worldjockey.model.nano.int8 import LEVELS, WEIGHT_MAX, activation_range, quantised, weight_range
from worldjockey.model.nano.openvino_runtime import OpenVINO, _convert
from worldjockey.model.nano.world import Nano

PARITY_DB = 38.0


def psnr(a, b, peak=255.0):
    error = ((np.asarray(a, np.float64) - np.asarray(b, np.float64)) ** 2).mean()
    return 10 * np.log10(peak**2 / max(error, 1e-9))


def rounded(values, low, high):
    step = (high - low) / (LEVELS - 1)
    return np.clip(np.round((values - low) / step), 0, LEVELS - 1) * step + low


@given(arrays(np.float32, st.integers(1, 60), elements=st.floats(-50, 50, width=32)))
def test_zero_is_a_level_and_no_value_within_the_range_is_further_from_one_than_half_a_step(values):
    low, high = activation_range(values)
    step = (high - low) / (LEVELS - 1)
    assert low <= 0 <= high
    assert low < high
    assert abs(rounded(np.zeros(1), low, high)[0]) < 1e-3 * step + 1e-9
    within = values[(values >= low) & (values <= high)]
    assert np.abs(rounded(within, low, high) - within).max(initial=0) <= 0.51 * step + 1e-6


def test_a_few_large_values_are_clipped_so_that_the_others_get_finer_levels():
    values = np.random.default_rng(0).standard_t(3, 20_000).astype(np.float32)
    low, high = activation_range(values)
    assert values.min() < low
    assert high < values.max()
    whole = rounded(values, values.min(), values.max())
    assert ((rounded(values, low, high) - values) ** 2).mean() < ((whole - values) ** 2).mean()


def test_two_products_of_bytes_fit_into_sixteen_bits():
    weights = np.random.default_rng(0).normal(0, 1, (6, 3, 3, 3)).astype(np.float32)
    step = weight_range(weights) / 127
    assert np.abs(np.round(weights / step)).max() <= WEIGHT_MAX
    assert WEIGHT_MAX * 255 * 2 < 2**15


class Picture(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Conv2d(4, 16, 3, padding=1), nn.Conv2d(16, 3, 3, padding=1)

    def forward(self, x):
        return self.b(F.silu(self.a(x)))


def test_every_convolution_gets_levels_and_the_result_stays_near(tmp_path):
    torch.manual_seed(0)
    picture, path = Picture().eval(), tmp_path / "graph.xml"
    examples = [torch.randn(1, 4, 12, 20) for _ in range(4)]
    _convert(picture, (examples[0],), path)
    model = quantised(path, [[example.numpy()] for example in examples])
    kinds = [op.get_type_name() for op in model.get_ops()]
    assert kinds.count("FakeQuantize") == 2 * kinds.count("Convolution") == 4
    fresh = torch.randn(1, 4, 12, 20)
    whole = picture(fresh).detach().numpy()
    drawn = next(iter(openvino.Core().compile_model(model, "CPU")([fresh.numpy()]).values()))
    assert 30 < psnr(drawn, whole, np.abs(whole).max()) < 80, "near, and yet not the same"


@pytest.mark.slow
def test_frames_of_both_sizes_are_pytorchs(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    one, other = (Nano.load(device="cpu", size="large") for _ in range(2))
    other.runtime = OpenVINO(other, "int8", torch.get_num_threads())
    other.runtime.prepare_large()
    other.allow_large(True)
    assert other.spec.runtime == "openvino int8"
    for level in (0, 1):
        for world in (one, other):
            world.set_quality(level)
            world.reset(5)
        for text in ("a dancer in a neon city at night", "kaleidoscope with petals"):
            controls = Controls(one.encode(Prompt(text)).values, dt=0.05)
            for _ in range(3):
                frames = [world.step(controls).numpy() for world in (one, other)]
                assert psnr(*frames) >= PARITY_DB, (level, text)
    assert not other.message
