"""Two processes train as one: the same losses, the same weights, and a checkpoint that either goes on from."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from worldjockey.model.train.fsdp import Team, map_full

pytestmark = pytest.mark.slow

SCRIPT = Path(__file__).parents[2] / "peers" / "trains_in_a_team.py"


def trained(processes, *args):
    run = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run([*run, str(SCRIPT), *map(str, args)], env=env, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr[-3000:]
    return torch.load(args[0], weights_only=True)


def same(one, two):
    assert one["held"] == pytest.approx(two["held"], abs=1e-4)
    for model, weights in one["weights"].items():
        for name, weight in weights.items():
            torch.testing.assert_close(weight, two["weights"][model][name], atol=1e-4, rtol=1e-3, msg=f"{model} {name}")


def test_two_processes_make_the_steps_of_one_and_go_on_from_each_others_checkpoints(tmp_path):
    one, two = trained(1, tmp_path / "one.pt"), trained(2, tmp_path / "two.pt")
    assert one["losses"] == pytest.approx(two["losses"], abs=1e-4)
    same(one, two)
    assert one["half"] == pytest.approx(two["half"], rel=0.02)
    assert one["half"][0] == pytest.approx(one["losses"][0], rel=0.2)
    on = trained(1, tmp_path / "on.pt", tmp_path / "one.checkpoint")
    assert len(on["losses"]) == 7
    for processes, source in ((2, "one"), (1, "two")):
        crossed = trained(processes, tmp_path / "crossed.pt", tmp_path / f"{source}.checkpoint")
        assert on["losses"] == pytest.approx(crossed["losses"], abs=1e-4)
        same(on, crossed)


def test_a_batch_is_dealt_evenly_or_the_fix_is_named():
    team = Team(1, 2)
    assert team.share(6).tolist() == [1, 3, 5]
    with pytest.raises(ValueError, match="batch"):
        team.share(5)


def test_a_lone_process_works_on_every_matrix_itself():
    matrices = [torch.randn(3, 4), torch.randn(5, 2)]
    assert [m.shape for m in map_full(matrices, torch.neg)] == [(3, 4), (5, 2)]
    assert all(torch.equal(a, -b) for a, b in zip(map_full(matrices, torch.neg), matrices, strict=True))
    assert list(map_full([], torch.neg)) == []
