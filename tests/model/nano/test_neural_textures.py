import pytest
import torch
from torch.nn import functional as F
from worldjockey.model.nano.neural_textures import BODY_CHANNELS, GROUNDED, TAPS, Bend, NeuralTextures, Texture
from worldjockey.model.stage.figure import distance, skeleton, surface
from worldjockey.model.stage.geometry import SUN_SWAY, Rays
from worldjockey.model.stage.render import render
from worldjockey.model.stage.sample import moments
from worldjockey.model.stage.scene import PANORAMA, Scene
from worldjockey.model.stage.vocabulary import FIGURES, LIGHTS, PLACES, SCENES

pytestmark = pytest.mark.slow


def test_a_texture_reads_like_an_image_and_mixes_its_values():
    torch.manual_seed(0)
    texture = Texture(2, 6, 8, 3)
    u, v = torch.rand(4, 5, 5) * 0.8 + 0.1, torch.rand(4, 5, 5) * 0.8 + 0.1
    weights = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.3, 0.7], [0.0, 0.0]])
    mixed = torch.einsum("nv,vchw->nchw", weights, texture.table)
    at = torch.stack([u, v], -1) * 2 - 1
    want = F.grid_sample(mixed, at, mode="bilinear", padding_mode="border", align_corners=False)
    torch.testing.assert_close(texture(weights, u, v), want, atol=1e-5, rtol=1e-4)


def test_a_texture_goes_on_over_its_edges():
    torch.manual_seed(0)
    texture = Texture(1, 6, 8, 3, wrap_rows=True)
    edge = torch.tensor([[[0.0, 1.0]]])
    one, middle = torch.ones(1, 1), torch.full((1, 1, 2), 0.4)
    for read in (texture(one, edge, middle), texture(one, middle, edge)):
        torch.testing.assert_close(read[..., 0], read[..., 1], atol=1e-5, rtol=1e-4)


def test_only_what_is_shown_learns():
    texture = Texture(3, 4, 4, 2)
    at = torch.rand(2, 5, 5)
    texture(torch.tensor([[0.0, 1.0, 0.0], [0.0, 0.5, 0.0]]), at, at).sum().backward()
    moved = texture.table.grad.abs().sum((1, 2, 3))
    assert moved[1] > 0
    assert moved[0] == moved[2] == 0


@torch.no_grad()
@pytest.mark.parametrize("opacity", [-20.0, 20.0])
def test_near_planes_hide_what_is_behind_them(opacity):
    textures = NeuralTextures(2)
    textures.planes.table[:, -1] = opacity
    scene = moments(5, 12)
    scene = scene[scene.place[:, PLACES.index("city")] + scene.place[:, PLACES.index("desert")] > 0.99]
    before = textures(scene, 18, 32)
    textures.panorama.table.add_(1.0)
    changed = (textures(scene, 18, 32) - before).abs().mean()
    assert (changed > 0.01) == (opacity < 0)


@torch.no_grad()
def test_a_full_turn_reads_the_same_again_and_a_smaller_turn_shifts_it():
    textures = NeuralTextures(3)
    scene = moments(5, 6)
    there = Scene(**{**scene.__dict__, "yaw": scene.yaw + PANORAMA})
    torch.testing.assert_close(textures(scene, 18, 32), textures(there, 18, 32), atol=1e-3, rtol=1e-3)
    step = 3 * (2 / 18) * float(1 / scene.zoom[0])  # three latents
    one = scene[:1]
    turned = Scene(**{**one.__dict__, "yaw": one.yaw + step})
    a = textures.panorama(torch.ones(1, len(GROUNDED)) / len(GROUNDED), *_pan(one))
    b = textures.panorama(torch.ones(1, len(GROUNDED)) / len(GROUNDED), *_pan(turned))
    torch.testing.assert_close(a[..., 3 * TAPS :], b[..., : -3 * TAPS], atol=1e-4, rtol=1e-3)


def _pan(scene):
    shape = (1, TAPS * 18, TAPS * 32)
    r = Rays.of(scene, *shape[1:])
    u = torch.remainder(r.pan / PANORAMA, 1)[:, None, :].expand(shape)
    return u, ((1.8 - r.y) / 3).clamp(0, 1)[:, :, None].expand(shape)


@torch.no_grad()
@pytest.mark.parametrize("shape", [(18, 32), (18, 18), (32, 18)])
def test_the_figure_is_given_where_the_stage_draws_it(shape):
    scene = moments(5, 20)
    scene = scene[(scene.figure[:, 0] < 0.01) & (scene.place[:, : len(SCENES)].sum(-1) > 0.99)]
    gone = Scene(**{**scene.__dict__, "figure": F.one_hot(torch.zeros(len(scene), dtype=torch.long), 11).float()})
    size = [TAPS * n for n in shape]
    drawn = (render(scene, *size) - render(gone, *size)).abs().sum(1)
    body = NeuralTextures(2)(scene, *shape)[:, -BODY_CHANNELS]  # above 0 inside
    inside, outside = body > 0.9, body < -0.9
    assert inside.flatten(1).any(1).all()
    assert drawn[inside].mean() > 4 * drawn[outside].mean()


@torch.no_grad()
def test_nothing_is_given_of_a_figure_that_is_not_there():
    textures = NeuralTextures(2)
    scene = moments(5, 4)
    scene.figure = F.one_hot(torch.tensor([0, 0, 1, 0]), scene.figure.shape[1]).float()
    body = textures(scene, 18, 32)[:, -BODY_CHANNELS - 2 :]
    assert body[2].abs().max() > 0.9
    assert body[[0, 1, 3]].abs().max() == 0
    alone = Scene.of(scene.flat()[[0, 1, 3]])
    torch.testing.assert_close(textures(alone, 18, 32), textures(scene, 18, 32)[[0, 1, 3]], atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_the_figure_s_surface_faces_away_from_it():
    ends, radii = skeleton(torch.eye(11)[1:4], torch.tensor([0.1, 0.4, 0.8]))
    x, y = torch.linspace(-0.6, 0.6, 301), torch.linspace(-0.1, 1.3, 351)
    d, facing_x, facing_y = surface(x, y, ends, radii)
    torch.testing.assert_close(d, distance(x, y, ends, radii))
    step = float(x[1] - x[0])
    slope_x, slope_y = (d[:, 1:-1, 2:] - d[:, 1:-1, :-2]) / (2 * step), (d[:, 2:, 1:-1] - d[:, :-2, 1:-1]) / (2 * step)
    agrees = facing_x[:, 1:-1, 1:-1] * slope_x + facing_y[:, 1:-1, 1:-1] * slope_y
    assert agrees[d[:, 1:-1, 1:-1] > 0.01].quantile(0.02) > 0.9  # not where two limbs are equally near


@torch.no_grad()
def test_waves_bend_waves_as_far_as_their_place_wants_it():
    bend, turns = Bend(3), torch.rand(2, 3, 4, 5)
    bend.push[1] = torch.tensor([[0.0, 0.7, 0.0], [0.0, 0.0, 0.4], [0.0, 0.0, 0.0]])
    place = torch.zeros(2, len(PLACES))
    place[0, 0] = place[1, 1] = 1
    plain, nested = bend(place, turns)
    torch.testing.assert_close(plain, torch.cat([(2 * torch.pi * turns[0]).sin(), (2 * torch.pi * turns[0]).cos()]))
    a, b, c = (2 * torch.pi * turns[1]).unbind(0)
    torch.testing.assert_close(nested[0], (a + 0.7 * (b + 0.4 * c.sin()).sin()).sin())
    torch.testing.assert_close(nested[4], (b + 0.4 * c.sin()).cos())


@torch.no_grad()
@pytest.mark.parametrize("light", ["dawn", "noon", "night"])
@pytest.mark.parametrize("bass", [0.0, 1.0])
def test_the_sun_is_where_geometry_says_and_as_large(light, bass):
    scene = moments(5, 1)
    for key, values, said in (("place", PLACES, "sea"), ("light", LIGHTS, light), ("figure", FIGURES, "none")):
        setattr(scene, key, F.one_hot(torch.tensor([values.index(said)]), len(values)).float())
    scene.yaw = SUN_SWAY * scene.seed[:, 2]  # towards it
    scene.sound = torch.tensor([[0.0, bass, 0.0, 0.0]])
    beside, over, radius, pulse = Rays.of(scene, 288, 512).disc()
    off = torch.hypot(beside[:, None, :], over[:, :, None])[0] / float(radius * pulse)
    bright = render(scene, 288, 512)[0].mean(0)
    assert bright[off < 0.9].median() > bright[(off > 1.1) & (off < 1.3)].median() + 0.05
