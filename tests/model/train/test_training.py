import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file
from worldjockey.model import Controls, Prompt, WeightsMissing, load
from worldjockey.model.nano.transformer import WorldModel
from worldjockey.model.nano.world import Nano
from worldjockey.model.train import adversarial, clips, probe
from worldjockey.model.train.recipes import RECIPES
from worldjockey.model.train.stages import main

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder in which `wj train --config tiny` ran. What no test here looks at is made as small as it can be."""
    folder = tmp_path_factory.mktemp("tiny")
    threads = torch.get_num_threads()

    def in_threads(workers, mp_context):
        """In place of processes for two of the stages: to start a process takes longer than what it does here."""
        return ThreadPoolExecutor(workers)

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(RECIPES, "tiny", replace(RECIPES["tiny"], text_steps=2, probe_steps=1, finish_count=50))
        patch.setattr(probe, "BATCH_IMAGES", 4)
        for stage in (clips, adversarial):
            patch.setattr(stage, "ProcessPoolExecutor", in_threads)
        assert main(["--config", "tiny", "--folder", str(folder), "--workers", "1"]) == 0
        torch.set_num_threads(threads)
        yield folder


def test_one_command_trains_a_world_that_plays(trained):
    world = Nano.load(trained / "tiny.safetensors", device="cpu")
    frame = world.step(Controls(world.encode(Prompt("the sea")).values))
    assert frame.shape == (1, world.spec.height, world.spec.width, 3)
    assert frame.dtype == torch.uint8
    curves = json.loads((trained / "tiny.json").read_text())
    assert curves["world"][-1]["step"] == curves["finish"][-1]["step"] == 10
    assert "polyline" in (trained / "tiny.svg").read_text()


def test_the_large_size_is_trained_for_the_world_that_was_made(trained):
    world = Nano.load(trained / "tiny.safetensors", device="cpu", size="large")
    assert (world.spec.width, world.spec.height) == (192, 128)
    frame = world.step(Controls(world.encode(Prompt("a storm")).values, dt=0.05))
    assert frame.shape == (1, 128, 192, 3)


def test_the_finishing_stage_moves_the_end_of_the_world_and_the_decoder_alone(trained):
    before, after = (load_file(trained / f"{name}.safetensors") for name in ("unfinished", "tiny"))
    moved = {k for k, v in before.items() if not torch.equal(v, after[k])}
    assert {".".join(k.split(".")[:2]) for k in moved} == {"world.head", "world.predict", "autoencoder.decoder"}


def test_training_resumes_where_it_stopped(trained, capsys):
    before = torch.load(trained / "world.pt", weights_only=True)
    assert main(["--config", "tiny", "--folder", str(trained), "--workers", "1"]) == 0
    after = torch.load(trained / "world.pt", weights_only=True)
    assert before["step"] == after["step"]
    for k, v in before["state"]["average"].items():
        assert torch.equal(v, after["state"]["average"][k])


def test_errors_name_the_fix(trained, tmp_path):
    with pytest.raises(WeightsMissing, match="wj train"):
        Nano.load(tmp_path / "none.safetensors")
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes((trained / "tiny.safetensors").read_bytes()[:1000])
    with pytest.raises(ValueError, match="reinstall"):
        Nano.load(broken)
    with pytest.raises(ValueError, match="--device auto"):
        Nano.load(trained / "tiny.safetensors", device="cuda:77")
    with pytest.raises(ValueError, match="nano"):
        load("no such world")


@pytest.mark.parametrize(
    ("name", "low", "high"), [("nano", 5, 20), ("small", 50, 90), ("base", 300, 600), ("large", 2000, 3000)]
)
def test_every_size_is_the_same_code_with_other_numbers(name, low, high):
    with torch.device("meta"):
        model = WorldModel(RECIPES[name].world)
    assert low < sum(p.numel() for p in model.parameters()) / 1e6 < high
