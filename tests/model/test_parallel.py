"""Two processes train as one: the same losses, the same weights, and a checkpoint that either goes on from."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from worldjockey.model.parallel import Team

SCRIPT = Path(__file__).parents[1] / "peers" / "trains_in_a_team.py"


def trained(processes, *args):
    run = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run([*run, str(SCRIPT), *map(str, args)], env=env, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr[-3000:]
    return torch.load(args[0], weights_only=True)


def test_two_processes_make_the_steps_of_one_and_go_on_from_each_others_checkpoints(tmp_path):
    one, two = trained(1, tmp_path / "one.pt"), trained(2, tmp_path / "two.pt")
    assert one["losses"] == pytest.approx(two["losses"], abs=1e-4)
    for name, weight in one["weights"].items():
        torch.testing.assert_close(weight, two["weights"][name], atol=1e-4, rtol=1e-3, msg=name)
    on, crossed = (
        trained(n, tmp_path / f"{n}.pt", (tmp_path / source).with_suffix(".checkpoint"))
        for n, source in ((1, "one.pt"), (2, "one.pt"))
    )
    assert on["losses"] == pytest.approx(crossed["losses"], abs=1e-4)
    assert len(on["losses"]) == 6


def test_a_batch_is_dealt_evenly_or_the_fix_is_named():
    team = Team(1, 2)
    assert team.share(6).tolist() == [1, 3, 5]
    with pytest.raises(ValueError, match="batch"):
        team.share(5)
