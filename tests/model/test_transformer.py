import torch
from worldjockey.model.sampler import levels, sample
from worldjockey.model.transformer import Conditions, Past, WorldConfig, WorldModel

CONFIG = WorldConfig(channels=4, rows=4, columns=6, width=32, heads=2, blocks=3, temporal=(0, 2), window=3, trunk=16)


def make():
    torch.manual_seed(0)
    model = WorldModel(CONFIG).eval()
    for p in model.parameters():  # a fresh model's residuals are zero: give every path something to say
        if float(p.detach().abs().max()) == 0:
            torch.nn.init.normal_(p, std=0.1)
    b, t = 2, 7
    noisy, last = torch.randn(2, b, t, 4, 4, 6)
    conditions = Conditions.from_flat(torch.rand(b, t, 101))
    return model, noisy, last, torch.rand(b, t), torch.ones(b, t), conditions


@torch.no_grad()
def test_cached_frames_equal_the_whole_clip_also_beyond_the_window():
    model, noisy, last, level, known, conditions = make()
    whole = model(noisy, last, level, known, conditions)
    past, flat = Past(CONFIG.window), conditions.flat().unflatten(0, level.shape)
    for i in range(noisy.shape[1]):
        at = slice(i, i + 1)
        here = Conditions.from_flat(flat[:, at])
        out = model(noisy[:, at], last[:, at], level[:, at], known[:, at], here, past)
        past.keep()
        torch.testing.assert_close(out, whole[:, at], atol=1e-5, rtol=1e-4)
    assert all(k.shape[-2] == CONFIG.window - 1 for k, _ in past.kept.values())


@torch.no_grad()
def test_no_frame_sees_the_future():
    model, noisy, last, level, known, conditions = make()
    before = model(noisy, last, level, known, conditions)
    noisy[:, 4:] += 1
    after = model(noisy, last, level, known, conditions)
    torch.testing.assert_close(before[:, :4], after[:, :4])
    assert not torch.allclose(before[:, 4:], after[:, 4:])


@torch.no_grad()
def test_a_second_look_at_the_same_frame_leaves_the_past_alone():
    model, noisy, last, level, known, conditions = make()
    past, flat = Past(CONFIG.window), conditions.flat().unflatten(0, level.shape)
    args = (last[:, :1], level[:, :1], known[:, :1], Conditions.from_flat(flat[:, :1]), past)
    a = model(noisy[:, :1], *args)
    model(noisy[:, 1:2], *args)
    torch.testing.assert_close(model(noisy[:, :1], *args), a)


def test_steps_walk_from_noise_to_the_picture():
    assert levels(1) == [1.0]
    assert levels(4) == [1.0, 0.75, 0.5, 0.25]
    assert levels(99) == levels(4)
    asked = []

    def predict(noisy, level):
        asked.append((float(noisy.mean()), level))
        return torch.zeros_like(noisy)

    sample(predict, torch.ones(1, 1, 2), 4)
    assert asked == [(1.0, 1.0), (0.75, 0.75), (0.5, 0.5), (0.25, 0.25)]
