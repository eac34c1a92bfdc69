"""Weights of earlier versions draw what they drew, without what the network has no more; other files are refused."""

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from worldjockey.model import Controls, Prompt
from worldjockey.model.nano.earlier_weights import world_config, world_state
from worldjockey.model.nano.transformer import WorldConfig, WorldModel
from worldjockey.model.nano.world import WEIGHTS, Nano

CONFIG = WorldConfig(channels=4, rows=4, columns=6, width=32, heads=2, trunk=16, texture_depth=2, detail=8)
LOOK = 3  # numbers of a memory token


def widened(weight, at, columns):
    return torch.cat([weight[:, :at], columns, weight[:, at:]], 1)


def earlier(state):
    """The same network as earlier versions wrote it."""
    old = {k.replace("textures.", "sheets.", 1).replace("detail.", "grain.", 1): v for k, v in state.items()}
    for layer in ("memory.body.0", "memory.body.2", "memory.read", "others.5", "others.6"):
        old |= {f"{layer}.weight": torch.randn(5, LOOK), f"{layer}.bias": torch.randn(5)}
    old["modality"] = torch.cat([old["modality"], torch.randn(2, CONFIG.width)])
    given = torch.randn(2 * CONFIG.width, 1)
    memory = torch.randn(2 * CONFIG.width, 2 * LOOK)
    # Behind prompt (96 numbers), phase, pose and clock (49) and seed (4); and behind sound (4), too.
    old["cond.0.weight"] = widened(widened(old["cond.0.weight"], 96 + 57, memory), 96 + 53, given)
    old["cond.0.bias"] = old["cond.0.bias"] - given[:, 0]
    given = torch.randn(CONFIG.width, 1)
    old["others.3.weight"] = widened(old["others.3.weight"], 4, given)
    old["others.3.bias"] = old["others.3.bias"] - given[:, 0]
    return old


def test_a_network_with_memory_tokens_is_read_as_the_same_without():
    state = WorldModel(CONFIG).state_dict()
    found = world_state(earlier(state))
    assert found.keys() == state.keys()
    for name, value in state.items():
        torch.testing.assert_close(found[name], value)


def test_a_network_of_now_is_read_as_it_is():
    state = WorldModel(CONFIG).state_dict()
    assert world_state(state) == state


def test_an_incomplete_earlier_network_is_refused():
    state = earlier(WorldModel(CONFIG).state_dict())
    del state["others.6.bias"]
    with pytest.raises(LookupError):
        world_state(state)


def test_earlier_names_of_a_configuration_are_understood():
    saved = {"sheets": 6, "grain": 8, "look": 16, "temporal": [0, 2]}
    assert world_config(saved) == WorldConfig(texture_depth=6, detail=8)


@pytest.mark.parametrize(
    "name", ["world.memory.more", "world.memory.read.weight.more", "world.others.7.bias", "reader.x"]
)
def test_unknown_tensors_are_refused(tmp_path, name):
    path = tmp_path / "nano.safetensors"
    with safe_open(WEIGHTS, "pt") as file:
        save_file({**load_file(WEIGHTS), name: torch.zeros(1)}, path, file.metadata())
    with pytest.raises(ValueError, match="does not fit this version"):
        Nano.load(path, device="cpu")


@pytest.mark.slow
def test_what_is_saved_again_draws_the_same(tmp_path):
    """The shipped weights are those of an earlier version; a file of now needs no conversion."""
    path, frames = tmp_path / "again.safetensors", []
    world = Nano.load(device="cpu")
    world.save(path)
    assert not any(name.startswith("world.memory") for name in load_file(path))
    for each in (world, Nano.load(path, device="cpu")):
        each.reset(4)
        now = Controls(each.encode(Prompt("a neon city")).values, dt=0.05)
        frames.append([each.step(now) for _ in range(3)][-1].int())
    assert (frames[0] - frames[1]).abs().max() <= 2
