"""`wj bench --gpu`. It is tried on the CPU, with worlds of another package that fail, crash, hang, repeat and react."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from package import describe
from typer.testing import CliRunner
from worldjockey.model.registry import WorldEntry
from worldjockey.node.cli.app import app
from worldjockey.node.measure import gpu
from worldjockey.node.measure.gpu import Job
from worldjockey.node.measure.model_choice import Machine

PACKAGE = """
import os, signal, time, zlib
import numpy as np
from worldjockey.model.spec import Tokens, WorldSpec

class World:
    def __init__(self, device="auto", aspect=None, kind="good", repeat="1", lag="0"):
        self.spec = WorldSpec("stand-in", 32, 16, 20.0, 1, (), ("text",), "cpu")
        self.kind, self.repeat, self.lag = kind, int(repeat), int(lag)
        self.steps, self.shown, self.waits = 0, None, 0
        if kind == "fails":
            raise RuntimeError("there is nobody here: plug it in")
        if kind == "hangs":
            time.sleep(600)
        if kind == "painted":
            self.painted = 0

    def encode(self, prompt):
        value = zlib.crc32(prompt.text.encode()) % 200
        return Tokens(np.full((1, 1), value, np.float32))

    def reset(self, seed): pass

    def step(self, controls):
        time.sleep(0.005)
        self.steps += 1
        if self.kind == "crashes" and self.steps > 3:
            os.kill(os.getpid(), signal.SIGSEGV)
        if self.kind == "gives_up" and self.steps > 3:
            raise ValueError("out of memory on this card")
        if self.kind == "painted":
            self.painted += self.steps % 4 == 0
        if self.kind != "deaf":
            wanted = int(controls.tokens[0, 0])
            self.waits = 0 if wanted == self.shown else self.waits + 1
            if self.shown is None or self.waits > self.lag:
                self.shown = wanted
        frame = np.full((1, 16, 32, 3), self.shown or 7, np.uint8)
        frame[:, :4] = self.steps // self.repeat % 9  # what moves by itself
        return frame
"""


@pytest.fixture
def zoo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "zoo.py").write_text(PACKAGE)
    describe(tmp_path, "zoo", zoo="zoo:World")
    monkeypatch.syspath_prepend(tmp_path)


def measured(todo: list[Job], folder: Path, minutes: float = 0.5, seconds: float = 0.5) -> list[dict[str, Any]]:
    result = gpu.run(folder / "gpu.json", None, minutes, seconds, "cpu", todo)
    written = json.loads((folder / "gpu.json").read_text())["rows"]
    assert [row.get("fps") for row in written] == [row.get("fps") for row in result["rows"]]
    return list(result["rows"])


def test_without_a_card_it_says_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(gpu, "machine", lambda device: Machine("cpu"))
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, ["bench", "--gpu"])
    assert result.exit_code != 0
    assert "wj doctor" in f"{result.output}{result.exception}"


@pytest.mark.slow
@pytest.mark.usefixtures("zoo")
def test_what_fails_crashes_or_gives_up_costs_the_others_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kinds = ("fails", "crashes", "good", "gives_up")
    todo = [Job(f"zoo:kind={kind}", (2,)) for kind in kinds]
    todo.insert(2, Job("far", skip="its weights are not here: wj weights get far"))
    failed, crashed, skipped, good, gave_up = measured(todo, tmp_path)
    assert "wj weights get far" in skipped["skipped"]
    assert "plug it in" in failed["error"]
    assert "fps" not in failed
    assert "SIGSEGV" in crashed["error"]
    assert "while" in crashed["error"]
    assert "out of memory" in gave_up["error"]
    assert "error" not in good
    assert good["steps"] == 2
    assert 0 < good["fps"] < 220
    assert good["size"] == [32, 16]
    assert good["reaction_ms"]["p50"] > 4
    assert good["memory_gb"] > 0
    assert good["ready_s"] >= good["load_s"] > 0
    assert 0 < good["still"]["mean"] <= 2
    table = (tmp_path / "gpu.md").read_text()
    assert "native frames/s" in table
    assert table.count("\n| zoo:kind=") == 4
    assert "out of memory" in table
    assert "wrote" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.usefixtures("zoo")
def test_a_world_that_hangs_has_its_share_of_the_time_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "LEAST_S", 1.0)
    shares = []
    spawn = gpu.measured

    def noted(job: Job, device: str, seconds: float, budget_s: float) -> list[dict[str, Any]]:
        shares.append(budget_s)
        return spawn(job, device, seconds, min(budget_s, 8.0) if "hangs" in job.model else budget_s)

    monkeypatch.setattr(gpu, "measured", noted)
    hung, good = measured([Job("zoo:kind=hangs"), Job("zoo")], tmp_path, minutes=1.0)
    assert "not done after 8 s, while loading and compiling" in hung["error"]
    assert good["fps"] > 0
    assert shares[0] == pytest.approx(0.95 * 60 / 2, abs=1)
    assert shares[1] > shares[0] + 15, "what the first one left"


@pytest.mark.slow
@pytest.mark.usefixtures("zoo")
def test_only_native_frames_count_and_a_deaf_world_does_not_react(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worldjockey.node.measure.card_world.REACTION_TIMEOUT_S", 0.5)
    todo = [Job("zoo:repeat=3"), Job("zoo:kind=painted"), Job("zoo:lag=6")]
    repeated, painted, late = measured(todo, tmp_path, minutes=2.0)
    assert repeated["native"] == pytest.approx(repeated["frames"] / 3, abs=2)
    assert repeated["fps"] == pytest.approx(repeated["native"] / repeated["seconds"], rel=0.1)
    assert painted["native"] == pytest.approx(painted["frames"] / 4, abs=2)
    assert late["reaction_ms"]["p50"] > 7 * 5, "the frames before the change are no reaction"


def test_the_worlds_of_a_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    entries = {
        entry.name: entry
        for entry in (
            WorldEntry("nano", None, devices=("cuda", "cpu")), WorldEntry("testcard", None),
            WorldEntry("painter", None, devices=("cuda",), paints=True),
            WorldEntry("huge", None, devices=("cuda",), memory=80.0), WorldEntry("of-a-package", None, package="zoo"),
        )
    }  # fmt: skip
    monkeypatch.setattr(gpu, "worlds", lambda: entries)
    found = {job.model: job.skip for job in gpu.jobs(Machine("cuda", 24.0, "a card"))}
    assert list(found) == [
        "nano:size=small,runtime=torch", "nano:size=small,runtime=cuda-graphs", "nano:size=large,runtime=torch",
        "nano:size=large,runtime=cuda-graphs", "painter", "painter:over=nano", "huge", "of-a-package",
    ]  # fmt: skip
    assert "80 GB" in found["huge"]
    assert not any(skip for name, skip in found.items() if name != "huge")
    assert gpu.jobs(Machine("cuda"), "wan-1.3b-longlive") == [Job("wan-1.3b-longlive", (4,))]
