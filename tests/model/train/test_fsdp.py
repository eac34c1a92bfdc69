"""Two processes train as one: the same losses, the same weights, and a checkpoint that either goes on from."""

import os
import subprocess
import sys

import pytest
import torch
import trains_in_a_team
from worldjockey.model.train.fsdp import Team, map_full

pytestmark = pytest.mark.slow


@pytest.fixture
def alone():
    """Trains as one process, here: to start one takes longer than to train."""
    threads, share = torch.get_num_threads(), trains_in_a_team.GUIDED_SHARE
    torch.set_num_threads(1)

    def trained(out, checkpoint=""):
        trains_in_a_team.train(Team(), str(out), str(checkpoint))
        return torch.load(out, weights_only=True)

    yield trained
    torch.set_num_threads(threads)
    trains_in_a_team.train_world.GUIDED_SHARE = share


def trained_by_two(*runs):
    """What came of each run, a path to write to and the checkpoint that it goes on from, if any."""
    run = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    args = [":".join(map(str, paths)) for paths in runs]
    done = subprocess.run(
        [*run, trains_in_a_team.__file__, *args], env=env, capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return [torch.load(out, weights_only=True) for out, *_ in runs]


def same(one, two):
    assert one["held"] == pytest.approx(two["held"], abs=1e-4)
    for model, weights in one["weights"].items():
        for name, weight in weights.items():
            torch.testing.assert_close(weight, two["weights"][model][name], atol=1e-4, rtol=1e-3, msg=f"{model} {name}")


def test_two_processes_make_the_steps_of_one_and_go_on_from_each_others_checkpoints(tmp_path, alone):
    from_one, from_two = tmp_path / "one.checkpoint", tmp_path / "two.checkpoint"
    one = alone(tmp_path / "one.pt")
    two, of_two = trained_by_two([tmp_path / "two.pt"], [tmp_path / "of two.pt", from_one])
    assert one["losses"] == pytest.approx(two["losses"], abs=1e-4)
    same(one, two)
    assert one["half"] == pytest.approx(two["half"], rel=0.02)
    assert one["half"][0] == pytest.approx(one["losses"][0], rel=0.2)
    on, of_one = alone(tmp_path / "on.pt", from_one), alone(tmp_path / "of one.pt", from_two)
    assert len(on["losses"]) == 7
    for crossed in (of_two, of_one):
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
