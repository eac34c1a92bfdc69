"""Nano's state goes on in another process of the same weights as if nothing had happened."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from worldjockey.model import Controls, Prompt, load

OTHER = """
import sys
import numpy as np
from worldjockey.model import Controls, Prompt, load
world = load("nano:runtime=torch", device="cpu")
world.restore(world.unpack(open(sys.argv[1], "rb").read()))
controls = Controls(world.encode(Prompt("a neon city")).values, {"dance": 1.0}, {"forward": 0.5})
np.save(sys.argv[2], np.stack([world.step(controls)[0].numpy() for _ in range(3)]))
"""


@pytest.mark.slow
def test_another_process_goes_on_with_the_same_frames(tmp_path: Path) -> None:
    world = load("nano:runtime=torch", device="cpu")
    controls = Controls(world.encode(Prompt("a neon city")).values, {"dance": 1.0}, {"forward": 0.5})
    world.reset(7)
    for _ in range(4):
        world.step(controls)
    (tmp_path / "state").write_bytes(world.pack(world.snapshot()))
    subprocess.run([sys.executable, "-c", OTHER, str(tmp_path / "state"), str(tmp_path / "f.npy")], check=True)
    here = np.stack([world.step(controls)[0].numpy() for _ in range(3)])
    there = np.load(tmp_path / "f.npy")
    assert np.abs(here.astype(int) - there).max() <= 2
    assert np.abs(here[0].astype(int) - here[2]).max() > 20, "the scene moves"


def test_other_bytes_are_no_state() -> None:
    world = load("nano:runtime=torch", device="cpu")
    for data in (b"", b"nonsense" * 100, world.pack(world.snapshot())[:-5]):
        with pytest.raises(ValueError, match="no state of nano"):
            world.unpack(data)
