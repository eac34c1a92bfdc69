"""Nano on a GPU, which is pretended: it draws what it draws on a CPU, and hardly ever waits for the device."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from pretended_card import Card, pretended_card
from published import assert_a_snapshot_brings_the_very_frames_back, frame
from torch import Tensor
from worldjockey.model import Controls, Prompt
from worldjockey.model.devices import upload
from worldjockey.model.nano.world import Nano

WAITS, UPLOADS = 2, 3  # at most, a frame of one step; publishing is one wait
CAMERA = np.random.default_rng(0).integers(0, 255, (90, 160, 3), dtype=np.uint8)
PLAYED = {
    "one step": ("a dancer in a neon city at night in the rain", {"acts": {"dance": 1.0}}),
    "four steps": ("an endless tunnel", {"steps": 4, "guidance": 1.6}),
    "nobody": ("nobody on a meadow, petals", {"camera": {"yaw": 0.6, "forward": 0.3}}),
    "matte": (
        "a crying figure in a snowy forest",
        {"acts": {"cry": 1.0}, "sound": (0.8, 0.5, 0.2, 1.0), "matte": True},
    ),
    "live image": ("a temple under the aurora", {"live": CAMERA, "strength": 0.6}),
    "matte and live image": ("kaleidoscope with embers", {"live": CAMERA, "strength": 0.3, "matte": True}),
}
FAST = ("one step", "four steps", "matte and live image")


@pytest.fixture(scope="module")
def card() -> Iterator[Card]:
    with pretended_card() as counted:
        yield counted


@pytest.fixture(scope="module")
def reference() -> Nano:
    return Nano.load(device="cpu")


@pytest.fixture(scope="module")
def world(card: Card) -> Nano:
    return Nano.load(device="cuda", runtime="torch")


def assert_same(one: np.ndarray, other: np.ndarray) -> None:
    assert one.shape == other.shape
    assert np.abs(one.astype(int) - other).max() <= 1


def assert_hardly_waits(card: Card) -> None:
    assert len(card.waits) <= WAITS, "\n".join(card.waits)
    assert len(card.uploads) <= UPLOADS, "\n".join(card.uploads)


@pytest.mark.parametrize("name", [pytest.param(n, marks=() if n in FAST else pytest.mark.slow) for n in PLAYED])
def test_it_draws_what_it_draws_on_a_cpu_and_hardly_waits(reference: Nano, world: Nano, card: Card, name: str) -> None:
    text, more = PLAYED[name]
    controls = Controls(reference.encode(Prompt(text)).values, dt=0.05, **more)
    for w in (reference, world):
        w.reset(5)
    for n in range(3):
        expected = frame(reference, controls)
        card.clear()
        assert_same(frame(world, controls), expected)
        if n:  # the first sends constants
            assert_hardly_waits(card)


def test_a_transition_through_three_places_hardly_waits(reference: Nano, world: Nano, card: Card) -> None:
    places = [reference.encode(Prompt(text)).values for text in ("city in the snow", "forest in the rain", "sea")]
    for w in (reference, world):
        w.reset(1)
    for n in range(4):
        shares = np.array([3 - n, n, 2]) / 5
        controls = Controls(sum(s * p for s, p in zip(shares, places, strict=True)), dt=0.1)
        expected = frame(reference, controls)
        card.clear()
        assert_same(frame(world, controls), expected)
        assert_hardly_waits(card)


def test_a_snapshot_brings_the_very_frames_back(world: Nano) -> None:
    controls = Controls(world.encode(Prompt("a volcano at night")).values, acts={"wave": 1.0}, dt=0.05)
    assert_a_snapshot_brings_the_very_frames_back(world, controls)


def test_an_image_is_a_prompt_there_too(reference: Nano, world: Nano) -> None:
    seen = [w.encode(Prompt(image=CAMERA)).values for w in (reference, world)]
    np.testing.assert_allclose(*seen, atol=1e-3)


@pytest.mark.parametrize(
    "wait",
    [
        lambda x: x.sum().item(), lambda x: bool(x.sum() > 0), lambda x: float(x[0]), lambda x: x.tolist(),
        lambda x: x[x > 0], lambda x: torch.nonzero(x), lambda x: x.unique(), lambda x: x.cpu(),
        lambda x: torch.masked_select(x, x > 0), lambda x: torch.tensor([1.0], device=x.device),
        lambda x: torch.ones(2).to(x.device), lambda x: x[[0, 1]], lambda x: torch.cuda.synchronize(),
    ],
)  # fmt: skip
def test_the_card_counts_what_waits(card: Card, wait) -> None:  # type: ignore[no-untyped-def]
    x = torch.zeros(3, device="cuda")
    card.clear()
    wait(x)
    (said,) = card.waits
    assert "test_on_a_card.py:" in said


def test_the_card_names_the_line_that_mixes_devices(card: Card) -> None:
    x = torch.zeros(3, device="cuda")
    assert (x + torch.tensor(1.0)).device == x.device, "a number may come from anywhere"
    with pytest.raises(RuntimeError, match=r"add at tests/model/nano/test_on_a_card\.py:\d+"):
        x + torch.ones(3)


def test_one_upload_sends_all(card: Card) -> None:
    sent = torch.ones(2, device="cuda")
    card.clear()
    tensors: list[Tensor] = [torch.arange(6.0).view(2, 3), sent, torch.tensor(7.0), torch.zeros(1, 0)]
    found = upload(tensors, sent.device)
    assert (len(card.uploads), len(card.waits)) == (1, 0)
    assert found[1] is sent
    for one, other in zip(found, tensors, strict=True):
        assert one.device == sent.device
        torch.testing.assert_close(one.cpu(), other.cpu())
