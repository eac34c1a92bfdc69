"""The best world that is fast enough is chosen, and the reason against each other one is reported."""

import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from datetime import date
from types import SimpleNamespace

import pytest
import torch
from gpu import gpu
from package import describe
from worldjockey.model.registry import BUILTIN_WORLDS, WorldEntry, entry_for
from worldjockey.node.measure import doctor, model_choice
from worldjockey.node.measure.model_choice import (
    Machine,
    Trial,
    candidates,
    choose,
    machine,
    missing_weights,
    try_world,
    unfit,
)

pytestmark = pytest.mark.slow

NAMES = [entry.name for entry in candidates()]
LARGE = Machine("cuda", 80.0, "a large GPU")


def chosen(here, **rates):
    """The choice where the worlds have these rates; worlds without a rate are not installed."""
    tried, lines = [], []

    def run_trial(name, device, seconds, show_fps):
        tried.append(name)
        key = name.replace("-", "_").replace(".", "_")
        return Trial(rates[key], 12.0) if key in rates else Trial(error=f"{name} is missing: wj weights get {name}")

    here_all = [replace(entry, weights=()) for entry in BUILTIN_WORLDS]
    return choose("auto", 30.0, lines.append, here_all, lambda device: here, run_trial), tried, lines


def test_the_best_that_keeps_its_time_is_taken_and_no_other_is_tried_then():
    assert chosen(LARGE, helios=19.0, turbo=25.0)[:2] == ("helios", ["helios"])
    name, tried, lines = chosen(LARGE, helios=5.0, turbo=25.0, wan_1_3b_longlive=11.9)
    assert name == "turbo"
    assert tried[0] == "helios"
    assert tried[-1] == "turbo"
    assert set(NAMES[: NAMES.index("turbo") + 1]) <= set(tried), "its size=small has an error, so its twins are heard"
    assert "not helios: 5 frames a second of 12" in lines
    assert "not wan-1.3b-self-forcing: wan-1.3b-self-forcing is missing: wj weights get wan-1.3b-self-forcing" in lines


def test_of_worlds_with_one_network_one_is_tried_and_then_in_its_small_size():
    """Three of the family would each take minutes to compile, to be as slow as the first."""
    slow = {"wan_1_3b_longlive": 8.0, "wan_1_3b_longlive:size=small": 11.0, "turbo": 25.0}
    name, tried, lines = chosen(LARGE, **slow)
    assert name == "turbo"
    assert [each for each in tried if each.startswith("wan")] == ["wan-1.3b-longlive", "wan-1.3b-longlive:size=small"]
    assert "not wan-1.3b-causal-forcing: it is as fast as wan-1.3b-longlive" in lines
    name, tried, lines = chosen(LARGE, **slow | {"wan_1_3b_longlive:size=small": 26.0})
    assert name == "wan-1.3b-longlive:size=small"
    assert lines[-1] == "playing wan-1.3b-longlive:size=small: 26 frames a second"


def test_a_trial_is_remembered_for_the_machine_and_what_it_runs(tmp_path, monkeypatch):
    file, tried = tmp_path / "cache" / "trials.json", []
    worlds = [replace(entry, weights=()) for entry in BUILTIN_WORLDS]

    def run_trial(name, device, seconds, show_fps):
        tried.append(name)
        return Trial(25.0, 12.0) if name == "turbo" else Trial(error="out of memory") if "wan" in name else Trial(2, 12)

    def again(here=LARGE, show_fps=30.0):
        lines = []
        tried.clear()
        name = choose("auto", show_fps, lines.append, worlds, lambda device: here, run_trial, file)
        return name, list(tried), lines

    assert again()[0] == "turbo"
    assert {"helios", "wan-1.3b-longlive", "turbo"} <= set(tried)
    name, heard, lines = again()
    assert name == "turbo"
    assert heard
    assert all("wan" in each for each in heard), "an error may be mended"
    assert f"as measured on {date.today().isoformat()} (to measure again, delete {file})" in lines[-1]
    assert any(line.startswith("not helios: 2 frames a second of 12, as measured on") for line in lines)
    assert "turbo" in again(Machine("cuda", 80.0, "another GPU"))[1]
    assert "turbo" in again(show_fps=60.0)[1]
    monkeypatch.setattr(model_choice, "versions", lambda: ["torch 9"])
    assert "turbo" in again()[1]
    file.write_text("{not json")
    assert again()[0] == "turbo"
    assert "turbo" in tried
    file.write_text(json.dumps(dict.fromkeys(json.loads(file.read_text()), 3)))
    assert again()[0] == "turbo", "and a hand that edited it stops no show"
    file.unlink()
    file.parent.chmod(0o500)
    assert again()[0] == "turbo", "nor does a folder that cannot be written"
    file.parent.chmod(0o700)


@pytest.mark.parametrize("here", [LARGE, Machine("cuda", 2.0, "a small GPU"), Machine("mps", 16.0), Machine("cpu")])
def test_where_none_plays_the_embedded_one_does(here):
    name, tried, lines = chosen(here)
    assert name == "nano"
    assert "nano" not in tried, "it needs no trial"
    assert lines[-1] == "playing nano"
    assert bool(tried) == (here.device != "cpu" and here.memory > 2)


def test_what_cannot_be_is_not_tried_and_the_reason_has_numbers():
    helios = entry_for("helios")
    assert unfit(helios, LARGE) == ""
    assert unfit(helios, Machine("cpu")) == "needs CUDA; this machine has CPU only"
    assert unfit(helios, Machine("cuda", 23.9, "a GPU")) == ("needs about 40 GB of graphics memory, and a GPU has 23.9")
    assert all(not unfit(entry_for("nano"), here) for here in (LARGE, Machine("cpu"), Machine("mps", 8.0)))


def test_without_weights_a_world_is_not_tried_and_the_fix_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("WORLDJOCKEY_WEIGHTS", str(tmp_path))
    lines = []
    name = choose("auto", 30.0, lines.append, BUILTIN_WORLDS, lambda device: LARGE, None)  # no world is run
    assert name == "nano"
    assert "not turbo: its weights are not installed (wj weights get turbo)" in lines
    assert missing_weights(entry_for("nano")) == ""
    assert "testcard" not in NAMES, "a test picture is no world to play"
    assert NAMES[0] == "helios"


PACKAGE = """
import time
import numpy as np, torch
from worldjockey.model import Tokens, WorldSpec

class World:
    def __init__(self, device, aspect, slow="0"):
        self.spec, self.slow = WorldSpec("animal", 16, 16, 30.0, 1, (), ("text",), device), float(slow)
    def encode(self, prompt):
        return Tokens(np.zeros((1, 1), np.float32))
    def reset(self, seed):
        pass
    def step(self, controls):
        time.sleep(self.slow)
        return torch.zeros(1, 16, 16, 3, dtype=torch.uint8)

def ghost(device, aspect):
    raise RuntimeError("there is nobody here: plug it in")
"""


@pytest.fixture
def zoo(tmp_path, monkeypatch):
    """Worlds of another package: one that is never in time, one that cannot be opened, two that are fast."""
    (tmp_path / "zoo.py").write_text(PACKAGE)
    describe(tmp_path, "zoo", sloth="zoo:World", ghost="zoo:ghost", hare="zoo:World", cat="zoo:World")
    monkeypatch.syspath_prepend(tmp_path)
    ranked = ("cat", "hare", "ghost", "sloth:slow=0.2")
    return [WorldEntry(name, None, rank=n, devices=("cpu",)) for n, name in enumerate(ranked)]


def test_of_real_worlds_the_best_in_time_is_taken_after_five_seconds_of_each(zoo):
    tried, lines = [], []

    def run_trial(name, device, seconds, show_fps):
        tried.append((name, seconds, show_fps))
        return try_world(name, device, 0.3, show_fps)

    assert choose("cpu", 30.0, lines.append, zoo, lambda device: Machine("cpu"), run_trial) == "hare"
    assert tried == [(name, 5.0, 30.0) for name in ("sloth:slow=0.2", "ghost", "hare")], "and no other is tried then"
    assert lines[0] == "trying sloth:slow=0.2 …"
    no_more_than_five = r"([0-4](\.\d+)?|5(\.0+)?)"  # because each frame takes 0.2 s
    assert re.fullmatch(rf"not sloth:slow=0\.2: {no_more_than_five} frames a second of 18", lines[1]), lines[1]
    assert lines[3] == "not ghost: there is nobody here: plug it in"
    assert lines[-1].startswith("playing hare: ")


def test_a_real_world_runs_in_its_own_process_and_the_error_of_one_that_is_not_installed_is_named():
    trial = try_world("testcard", "cpu", 0.2)
    assert trial.fps > 0
    assert trial.wanted == 12.0
    assert "unknown world" in try_world("nowhere", "cpu", 0.2).error


def test_the_machine_is_described_and_an_absent_device_is_an_error():
    assert machine("cpu") == Machine("cpu")
    with pytest.raises(RuntimeError, match="try --device auto"):
        machine("no such device")


def described(device="auto"):
    """The machine that the child process sends."""
    sent = []
    model_choice._send_machine(SimpleNamespace(send=sent.append), device)
    return sent[0]


def test_a_gpu_is_named_with_its_memory(monkeypatch):
    monkeypatch.setattr(model_choice, "init_child", lambda: None)
    with gpu(25.4e9, "RTX of the tests"):
        assert described() == Machine("cuda", 25.4, "RTX of the tests")
        assert described("cpu") == Machine("cpu")
        torch_check = doctor.torch()
    assert torch_check.state == "ok"
    assert torch_check.detail.endswith("CUDA: RTX of the tests")


def test_an_apple_gpu_has_what_torch_recommends(monkeypatch):
    monkeypatch.setattr(model_choice, "init_child", lambda: None)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    monkeypatch.setattr(torch.mps, "recommended_max_memory", lambda: 22_906_503_168)
    monkeypatch.setattr("worldjockey.model.devices.computes", lambda kind: True)
    assert described() == Machine("mps", 22.9, "Apple GPU")
    assert doctor.torch().detail.endswith("MPS")


def test_a_card_that_torch_does_not_know_is_a_note_with_the_fix(monkeypatch):
    monkeypatch.setattr(doctor.shutil, "which", lambda name: name if name == "nvidia-smi" else None)
    check = doctor.torch()
    assert (check.state, "built for the CPU only" in check.detail) == ("note", True)


def test_the_doctor_lists_which_worlds_play_here_and_how_fast(monkeypatch, tmp_path):
    monkeypatch.setenv("WORLDJOCKEY_WEIGHTS", str(tmp_path))
    kinds = ("cuda", "mps", "cpu")
    card, turbo = entry_for("testcard"), entry_for("turbo")
    worlds = [
        WorldEntry("vast", card.open, memory=1000.0, rate="9/s on nothing less", rank=9, devices=("tpu",)),
        replace(turbo, memory=0.0, rank=8, devices=kinds), replace(card, rank=7, devices=kinds),
        WorldEntry("nowhere", card.open, rank=6, devices=kinds),
    ]  # fmt: skip
    monkeypatch.setattr(model_choice, "candidates", lambda: worlds)
    vast, turbo, card, nowhere = doctor.worlds(0.2)
    assert (vast.state, "not for this machine: needs TPU" in vast.detail) == ("ok", True)
    assert vast.detail.endswith("published: 9/s on nothing less")
    assert (turbo.state, turbo.fix) == ("note", "wj weights get turbo")
    assert card.name == "world testcard"
    assert "frames a second on" in card.detail
    assert card.detail.endswith("12 needed")
    assert nowhere.state == "note"
    assert nowhere.detail.startswith("cannot be played: unknown world")
    assert nowhere.fix


def test_a_world_that_is_too_slow_is_a_note_with_what_to_do(monkeypatch):
    monkeypatch.setattr(model_choice, "try_world", lambda name, seconds: Trial(3.0, 12.0))
    monkeypatch.setattr(model_choice, "machine", lambda: Machine("cpu"))
    nano = list(doctor.worlds(1.0))[-1]
    assert (nano.name, nano.state) == ("world nano", "note")
    assert nano.detail.startswith("too slow: 3 frames a second on CPU, 12 needed")
    assert nano.fix


def test_play_takes_a_world_by_itself_without_any_network(tmp_path):
    """Cut off from everything where the system lets: nothing is looked for, let alone fetched."""
    apart = ["unshare", "--net"]
    alone = shutil.which("unshare") and subprocess.run([*apart, "true"], capture_output=True).returncode == 0
    command = [
        *(apart if alone else []),
        sys.executable,
        "-m",
        "worldjockey.node",
        "play",
        "--model",
        "auto",
        "--device",
        "cpu",
        "--no-midi",
    ]
    more = ["--no-osc", "--headless", "--out", "none", "--seconds", "0.1", "--size", "128x72"]
    report = tmp_path / "report.json"
    done = subprocess.run(
        [*command, *more, "--report", str(report)], capture_output=True, text=True, timeout=120, check=True
    )
    assert "playing nano" in done.stderr
    assert json.loads(report.read_text())["world"]["model"] == "nano"
