"""Frames that are made larger on the card, by a fake of NVIDIA's wheel with its own signatures."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nvvfx_fake
import pytest
import torch
from pretended_card import Card, pretended_card
from worldjockey.node.show.schema import Show
from worldjockey.node.world.frame_publisher import FramePublisher
from worldjockey.node.world.upscaling import Upscaler, size_for

sys.path.insert(0, str(Path(__file__).parents[2] / "peers"))
SHOW = (1920, 1080)


@pytest.fixture
def vfx(monkeypatch: pytest.MonkeyPatch) -> Any:
    effect = nvvfx_fake.VideoSuperRes
    monkeypatch.setattr(effect, "made", [])
    monkeypatch.setitem(sys.modules, "nvvfx", SimpleNamespace(VideoSuperRes=effect))
    monkeypatch.setattr(torch, "from_dlpack", nvvfx_fake.from_dlpack)
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    return effect


@pytest.fixture
def card() -> Iterator[Card]:
    with pretended_card() as card:
        yield card


def frames(shade: int, channels: int = 3, height: int = 480, width: int = 832, n: int = 1) -> Any:
    return torch.full((n, height, width, channels), shade, dtype=torch.uint8, device="cuda")


def published(upscaler: Upscaler, made: Any) -> list[Any]:
    return [frame.pixels for frame in FramePublisher(None, upscaler=upscaler).take(made)]


def test_frames_leave_the_card_larger_and_no_frame_is_uploaded(vfx: Any, card: Card) -> None:
    upscaler = Upscaler(SHOW)
    made = frames(100, n=3)
    made[1] = 250
    card.clear()
    first, second, third = published(upscaler, made)
    assert first.shape == second.shape == (1080, 1872, 3)
    assert (first[0, 0, 0], second[0, 0, 0], third[0, 0, 0]) == (102, 255, 102), "each its own, and none beyond white"
    assert card.uploads == []
    assert len(card.waits) == 1, "for the copy to the processor"
    assert (vfx.made[0].loads, vfx.made[0].runs) == (1, 3)
    assert upscaler.message.startswith("upscaled to 1872x1080 by nvidia-vfx in ")
    published(upscaler, frames(100, height=576, width=1024))
    assert (len(vfx.made), vfx.made[0].loads, vfx.made[0].output_width) == (1, 2, 1920), "another size, once"


def test_a_matte_is_made_larger_beside_its_picture(vfx: Any, card: Card) -> None:
    made = frames(100, 4)
    made[..., 3] = 40
    (frame,) = published(Upscaler(SHOW), made)
    assert frame.shape == (1080, 1872, 4)
    assert (frame[..., 3] == 40).all()


def test_a_failure_is_told_once_and_frames_go_on_as_they_are(
    vfx: Any, card: Card, monkeypatch: pytest.MonkeyPatch
) -> None:
    upscaler = Upscaler(SHOW)
    assert published(upscaler, frames(1))[0].shape[0] == 1080
    monkeypatch.setattr(vfx, "fails", RuntimeError("no tensor cores"))
    for _ in range(3):
        assert published(upscaler, frames(1))[0].shape == (480, 832, 3)
    assert "no tensor cores" in upscaler.message
    assert vfx.made[0].runs == 1, "it is not tried again"


def test_without_the_library_nothing_is_said(card: Card, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "nvvfx", None)
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    upscaler = Upscaler(SHOW)
    assert published(upscaler, frames(1))[0].shape == (480, 832, 3)
    assert upscaler.message == ""


def test_frames_in_host_memory_never_reach_it(vfx: Any) -> None:
    assert published(Upscaler(SHOW), torch.zeros(1, 480, 832, 3, dtype=torch.uint8))[0].shape == (480, 832, 3)
    assert vfx.made == []


@pytest.mark.parametrize(
    ("world", "show", "made"),
    [
        ((832, 480), (1920, 1080), (1872, 1080)), ((1024, 576), (1920, 1080), (1920, 1080)),
        ((512, 512), (1920, 1080), (1080, 1080)), ((480, 832), (1080, 1920), (1080, 1872)),
        ((1280, 720), (3840, 2160), (1920, 1080)), ((512, 288), (3840, 2160), (1920, 1080)),
        ((640, 384), (1280, 720), (1200, 720)), ((1920, 1080), (1920, 1080), None), ((1024, 576), (1024, 576), None),
        ((320, 180), (1920, 1080), None),
    ],
)  # fmt: skip
def test_sizes(world: tuple[int, int], show: tuple[int, int], made: tuple[int, int] | None) -> None:
    assert size_for(*world, show) == made


def test_a_show_can_leave_it_out() -> None:
    assert Show.parse("upscale: off").upscale is False
    assert Show.parse("prompt: x").upscale is True
