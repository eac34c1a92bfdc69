"""Pooling that every device can do, and what happens where a GPU lacks an operation all the same."""

from typing import Any

import pytest
import torch
from gpu import gpu
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from worldjockey.model import Controls, Prompt, load
from worldjockey.model.nano.pooling import WindowPool
from worldjockey.model.nano.world import Nano


@given(st.tuples(st.integers(1, 12), st.integers(1, 12)), st.tuples(st.integers(1, 5), st.integers(1, 5)))
def test_windows_give_the_numbers_of_torchs_own_pooling(size: tuple[int, int], windows: tuple[int, int]) -> None:
    x = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(WindowPool(windows)(x), nn.AdaptiveAvgPool2d(windows)(x))


@pytest.mark.parametrize("aspect", [16 / 9, 1.0, 9 / 16])
def test_the_embedded_world_needs_no_pooling_that_mps_lacks(aspect: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """MPS refuses adaptive pooling where the sizes do not divide (torch 2.13)."""

    def pool(x: Any, size: Any) -> Any:
        raise NotImplementedError("Adaptive pool MPS: input sizes must be divisible by output sizes")

    monkeypatch.setattr(torch.nn.functional, "adaptive_avg_pool2d", pool)
    monkeypatch.setattr(torch, "adaptive_avg_pool1d", pool)
    world = load("nano:runtime=torch", device="cpu", aspect=aspect)
    values = world.encode(Prompt(image=torch.zeros(90, 160, 3, dtype=torch.uint8).numpy())).values
    assert world.step(Controls(values)).shape[-1] == 3


@pytest.mark.parametrize("error", [NotImplementedError("no kernel image is available"), RuntimeError("CUDA error")])
def test_auto_takes_the_next_device_where_one_cannot_take_a_step(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = Nano.step

    def fails_on_cuda(world: Nano, controls: Controls) -> Any:
        if world.device.type == "cuda":
            raise error
        return step(world, controls)

    monkeypatch.setattr(Nano, "step", fails_on_cuda)
    with gpu():
        world = load("nano:runtime=torch", device="auto")
        assert world.spec.device == "cpu"
        with pytest.raises(type(error)):  # a device that was asked for is not replaced
            load("nano:runtime=torch", device="cuda").step(Controls(world.encode(Prompt()).values))


def test_a_world_that_was_tried_starts_as_one_that_was_not() -> None:
    tried, fresh = load("nano:runtime=torch", device="cpu"), load("nano:runtime=torch", device="cpu")
    assert isinstance(tried, Nano)
    tried.check()
    controls = Controls(fresh.encode(Prompt("a calm sea")).values)
    assert torch.equal(tried.step(controls), fresh.step(controls))
