"""Choosing a device. The graphics card is pretended."""

from __future__ import annotations

import pytest
import torch
from gpu import gpu
from torch import Tensor
from worldjockey.model.devices import choose_device
from worldjockey.model.registry import auto_device


def test_auto_passes_by_a_card_for_which_this_torch_has_no_kernels(monkeypatch, caplog):
    def fails(tensor: Tensor) -> float:
        raise RuntimeError("CUDA error: no kernel image is available for execution on the device")

    with gpu(name="GTX 1080"):
        assert choose_device("auto").type == auto_device() == "cuda"
        with monkeypatch.context() as patch:
            patch.setattr(Tensor, "item", fails)
            assert choose_device("auto").type == auto_device() == "cpu"
    assert "no kernel image" in caplog.text


def test_a_device_that_is_not_there_is_refused():
    assert choose_device("cpu") == torch.device("cpu")
    with pytest.raises(ValueError, match="--device auto"):
        choose_device("nonsense")
