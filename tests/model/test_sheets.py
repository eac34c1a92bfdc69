import pytest
import torch
from torch.nn import functional as F
from worldjockey.model.sheets import GROUNDED, TAPS, Sheet, Sheets
from worldjockey.model.stage.geometry import Rays
from worldjockey.model.stage.sample import moments
from worldjockey.model.stage.scene import PANORAMA, Scene
from worldjockey.model.stage.vocabulary import PLACES


def test_a_sheet_reads_like_an_image_and_mixes_its_values():
    torch.manual_seed(0)
    sheet = Sheet(2, 6, 8, 3)
    u, v = torch.rand(4, 5, 5) * 0.8 + 0.1, torch.rand(4, 5, 5) * 0.8 + 0.1
    weights = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.3, 0.7], [0.0, 0.0]])
    mixed = torch.einsum("nv,vchw->nchw", weights, sheet.table)
    at = torch.stack([u, v], -1) * 2 - 1
    want = F.grid_sample(mixed, at, mode="bilinear", padding_mode="border", align_corners=False)
    torch.testing.assert_close(sheet(weights, u, v), want, atol=1e-5, rtol=1e-4)


def test_a_sheet_goes_on_over_its_edges():
    torch.manual_seed(0)
    sheet = Sheet(1, 6, 8, 3, wrap_rows=True)
    edge = torch.tensor([[[0.0, 1.0]]])
    one, middle = torch.ones(1, 1), torch.full((1, 1, 2), 0.4)
    for read in (sheet(one, edge, middle), sheet(one, middle, edge)):
        torch.testing.assert_close(read[..., 0], read[..., 1], atol=1e-5, rtol=1e-4)


def test_only_what_is_shown_learns():
    sheet = Sheet(3, 4, 4, 2)
    at = torch.rand(2, 5, 5)
    sheet(torch.tensor([[0.0, 1.0, 0.0], [0.0, 0.5, 0.0]]), at, at).sum().backward()
    moved = sheet.table.grad.abs().sum((1, 2, 3))
    assert moved[1] > 0
    assert moved[0] == moved[2] == 0


@torch.no_grad()
@pytest.mark.parametrize("opacity", [-20.0, 20.0])
def test_near_planes_hide_what_is_behind_them(opacity):
    sheets = Sheets(2)
    sheets.planes.table[:, -1] = opacity
    scene = moments(5, 12)
    scene = scene[scene.place[:, PLACES.index("city")] + scene.place[:, PLACES.index("desert")] > 0.99]
    before = sheets(scene, 18, 32)
    sheets.panorama.table.add_(1.0)
    changed = (sheets(scene, 18, 32) - before).abs().mean()
    assert (changed > 0.01) == (opacity < 0)


@torch.no_grad()
def test_a_full_turn_reads_the_same_again_and_a_smaller_turn_shifts_it():
    sheets = Sheets(3)
    scene = moments(5, 6)
    there = Scene(**{**scene.__dict__, "yaw": scene.yaw + PANORAMA})
    torch.testing.assert_close(sheets(scene, 18, 32), sheets(there, 18, 32), atol=1e-3, rtol=1e-3)
    step = 3 * (2 / 18) * float(1 / scene.zoom[0])  # three latents
    one = scene[:1]
    turned = Scene(**{**one.__dict__, "yaw": one.yaw + step})
    a = sheets.panorama(torch.ones(1, len(GROUNDED)) / len(GROUNDED), *_pan(one))
    b = sheets.panorama(torch.ones(1, len(GROUNDED)) / len(GROUNDED), *_pan(turned))
    torch.testing.assert_close(a[..., 3 * TAPS :], b[..., : -3 * TAPS], atol=1e-4, rtol=1e-3)


def _pan(scene):
    shape = (1, TAPS * 18, TAPS * 32)
    r = Rays.of(scene, *shape[1:])
    u = torch.remainder(r.pan / PANORAMA, 1)[:, None, :].expand(shape)
    return u, ((1.8 - r.y) / 3).clamp(0, 1)[:, :, None].expand(shape)
