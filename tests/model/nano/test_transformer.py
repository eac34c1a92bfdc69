from dataclasses import replace

import pytest
import torch
from worldjockey.model.nano.sampler import levels, sample
from worldjockey.model.nano.transformer import Conditioning, KVCache, WorldConfig, WorldModel
from worldjockey.model.stage.sample import moments

CONFIG = WorldConfig(
    channels=4,
    rows=4,
    columns=6,
    width=32,
    heads=2,
    blocks=3,
    temporal=(0, 2),
    window=3,
    trunk=16,
    texture_depth=2,
    detail=8,
)


def make(rows=4, columns=6, config=CONFIG):
    torch.manual_seed(0)
    model = WorldModel(config).eval()
    for p in model.parameters():  # a fresh model's residuals are zero: give every path something to say
        if float(p.detach().abs().max()) == 0:
            torch.nn.init.normal_(p, std=0.1)
    b, t = 2, 7
    noisy = torch.randn(b, t, 4, rows, columns)
    conditioning = Conditioning.of(moments(3, b * t), torch.full((b * t,), 0.05))
    return model, noisy, torch.rand(b, t), conditioning


def frame(conditioning, i, b=2, t=7):
    return conditioning[torch.arange(b) * t + i]


@torch.no_grad()
@pytest.mark.parametrize("shape", [(4, 6), (4, 4), (6, 4)])
def test_cached_frames_equal_the_whole_clip_in_every_shape_also_beyond_the_window(shape):
    model, noisy, level, conditioning = make(*shape)
    whole = model(noisy, level, conditioning)
    cache = KVCache()
    for i in range(noisy.shape[1]):
        at = slice(i, i + 1)
        out = model(noisy[:, at], level[:, at], frame(conditioning, i), cache)
        cache.commit()
        torch.testing.assert_close(out, whole[:, at], atol=1e-5, rtol=1e-4)
    assert all(k.shape[-2] == CONFIG.window - 1 for k, _ in cache.committed.values())


@torch.no_grad()
def test_sparse_recall_is_cached_too_and_reaches_beyond_the_window():
    config = replace(CONFIG, recall=7)
    model, noisy, level, conditioning = make(config=config)
    whole, cache = model(noisy, level, conditioning), KVCache()
    for i in range(noisy.shape[1]):
        at = slice(i, i + 1)
        out = model(noisy[:, at], level[:, at], frame(conditioning, i), cache)
        cache.commit()
        torch.testing.assert_close(out, whole[:, at], atol=1e-5, rtol=1e-4)
    first = noisy.clone()
    first[:, 0] += 1
    assert not torch.allclose(model(first, level, conditioning)[:, -1], whole[:, -1], atol=1e-6)


@torch.no_grad()
def test_no_frame_sees_the_future():
    model, noisy, level, conditioning = make()
    before = model(noisy, level, conditioning)
    noisy[:, 4:] += 1
    after = model(noisy, level, conditioning)
    torch.testing.assert_close(before[:, :4], after[:, :4])
    assert not torch.allclose(before[:, 4:], after[:, 4:])


@torch.no_grad()
def test_a_second_look_at_the_same_frame_leaves_the_past_alone():
    model, noisy, level, conditioning = make()
    cache = KVCache()
    args = (level[:, :1], frame(conditioning, 0), cache)
    a = model(noisy[:, :1], *args)
    model(noisy[:, 1:2], *args)
    torch.testing.assert_close(model(noisy[:, :1], *args), a)


@torch.no_grad()
@pytest.mark.parametrize("name", ["guidance", "dt"])
def test_every_input_is_heard(name):
    model, noisy, level, conditioning = make()
    before = model(noisy, level, conditioning)
    setattr(conditioning, name, getattr(conditioning, name) + 0.5)
    assert not torch.allclose(model(noisy, level, conditioning), before)


def test_steps_walk_from_noise_to_the_frame():
    assert levels(1) == [1.0]
    assert levels(4) == [1.0, 0.75, 0.5, 0.25]
    assert levels(99) == levels(4)
    asked = []

    def predict(noisy, level):
        asked.append((float(noisy.mean()), level))
        return torch.zeros_like(noisy)

    sample(predict, torch.ones(1, 1, 2), 4)
    assert asked == [(1.0, 1.0), (0.75, 0.75), (0.5, 0.5), (0.25, 0.25)]
