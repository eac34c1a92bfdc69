import torch
from torch.nn import functional as F
from worldjockey.model.sheets import Sheet, Sheets, lookup
from worldjockey.model.stage.geometry import Rays
from worldjockey.model.stage.sample import moments
from worldjockey.model.stage.scene import PANORAMA, Scene


def test_lookup_is_a_weighted_sum_and_so_is_its_gradient():
    table = torch.randn(30, 5, dtype=torch.float64, requires_grad=True)
    index, weight = torch.randint(0, 30, (7, 4)), torch.rand(7, 4, dtype=torch.float64)
    torch.testing.assert_close(lookup(table, index, weight), (table[index] * weight[..., None]).sum(1))
    assert torch.autograd.gradcheck(lambda t: lookup(t, index, weight), table)


def test_a_sheet_reads_like_an_image_and_mixes_its_values():
    torch.manual_seed(0)
    sheet = Sheet(2, 6, 8, 3)
    u, v = torch.rand(4, 5, 5) * 0.8 + 0.1, torch.rand(4, 5, 5) * 0.8 + 0.1
    weights = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.3, 0.7], [0.0, 0.0]])
    maps = sheet.table.view(2, 6, 8, 3).permute(0, 3, 1, 2)
    mixed = torch.einsum("nv,vchw->nchw", weights, maps)
    at = torch.stack([u, v], -1) * 2 - 1
    want = F.grid_sample(mixed, at, mode="bilinear", padding_mode="border", align_corners=False).permute(0, 2, 3, 1)
    torch.testing.assert_close(sheet(weights, u, v), want, atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_a_full_turn_reads_the_same_again_and_a_smaller_turn_shifts_it():
    sheets = Sheets(6)
    scene = moments(5, 6)
    there = Scene(**{**scene.__dict__, "yaw": scene.yaw + PANORAMA})
    torch.testing.assert_close(sheets(scene, 18, 32), sheets(there, 18, 32), atol=1e-3, rtol=1e-3)
    step = 3 * (2 / 18) * float(1 / scene.zoom[0])  # three latents
    one = scene[:1]
    turned = Scene(**{**one.__dict__, "yaw": one.yaw + step})
    a = sheets.panorama(torch.ones(1, 11), *_pan(one))
    b = sheets.panorama(torch.ones(1, 11), *_pan(turned))
    torch.testing.assert_close(a[:, :, 3:], b[:, :, :-3], atol=1e-4, rtol=1e-3)


def _pan(scene):
    r = Rays.of(scene, 18, 32)
    shape = (1, 18, 32)
    u = torch.remainder(r.pan / PANORAMA, 1)[:, None, :].expand(shape)
    return u, ((1.8 - r.y) / 3).clamp(0, 1)[:, :, None].expand(shape)
