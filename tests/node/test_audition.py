"""The best world that keeps its time is chosen, and who is not chosen is told why."""

import json
import subprocess
import sys
from dataclasses import replace

import pytest
from worldjockey.model.registry import OWN, WorldEntry, entry_for
from worldjockey.node import audition, doctor
from worldjockey.node.audition import Heard, Machine, candidates, choose, hear, lacking, machine, unfit

NAMES = [entry.name for entry in candidates()]
LARGE = Machine("cuda", 80.0, "a large GPU")


def chosen(here, **rates):
    """What is chosen where each world makes so many frames a second; what is not named is not installed."""
    asked, told = [], []

    def listen(name, device, seconds, top):
        asked.append(name)
        key = name.replace("-", "_").replace(".", "_")
        return Heard(rates[key], 12.0) if key in rates else Heard(why=f"{name} is missing: wj weights get {name}")

    here_all = [replace(entry, weights=()) for entry in OWN]
    return choose("auto", 30.0, told.append, here_all, lambda device: here, listen), asked, told


def test_the_best_that_keeps_its_time_is_taken_and_no_other_is_tried_then():
    assert chosen(LARGE, helios=19.0, turbo=25.0)[:2] == ("helios", ["helios"])
    name, asked, told = chosen(LARGE, helios=5.0, turbo=25.0, wan_1_3b_longlive=11.9)
    assert name == "turbo"
    assert asked == NAMES[: NAMES.index("turbo") + 1]
    assert "not helios: 5 frames a second of 12" in told
    assert "not wan-1.3b-self-forcing: wan-1.3b-self-forcing is missing: wj weights get wan-1.3b-self-forcing" in told


@pytest.mark.parametrize("here", [LARGE, Machine("cuda", 2.0, "a small GPU"), Machine("mps", 16.0), Machine("cpu")])
def test_where_none_plays_the_embedded_one_does(here):
    name, asked, told = chosen(here)
    assert name == "nano"
    assert "nano" not in asked, "it need not be tried"
    assert told[-1] == "playing nano"
    assert bool(asked) == (here.device != "cpu" and here.memory > 2)


def test_what_cannot_be_is_not_tried_and_the_reason_has_numbers():
    helios = entry_for("helios")
    assert unfit(helios, LARGE) == ""
    assert unfit(helios, Machine("cpu")) == "needs CUDA; this machine has CPU only"
    assert unfit(helios, Machine("cuda", 23.9, "a GPU")) == ("needs about 40 GB of graphics memory, and a GPU has 23.9")
    assert all(not unfit(entry_for("nano"), here) for here in (LARGE, Machine("cpu"), Machine("mps", 8.0)))


def test_without_weights_a_world_is_not_tried_and_the_fix_is_told(tmp_path, monkeypatch):
    monkeypatch.setenv("WORLDJOCKEY_WEIGHTS", str(tmp_path))
    told = []
    name = choose("auto", 30.0, told.append, OWN, lambda device: LARGE, None)  # nobody is heard
    assert name == "nano"
    assert "not turbo: its weights are not here (wj weights get turbo)" in told
    assert lacking(entry_for("nano")) == ""
    assert "testcard" not in NAMES, "a test picture is no world to play"
    assert NAMES[0] == "helios"


def test_a_real_world_is_heard_in_its_own_process_and_one_that_is_not_here_says_why():
    heard = hear("testcard", "cpu", 0.2)
    assert heard.fps > 0
    assert heard.wanted == 12.0
    assert "unknown world" in hear("nowhere", "cpu", 0.2).why


def test_the_machine_is_looked_at_and_a_device_that_is_not_there_is_said():
    assert machine("cpu") == Machine("cpu")
    with pytest.raises(RuntimeError, match="try --device auto"):
        machine("no such device")


def test_the_doctor_says_which_worlds_play_here_and_how_fast(monkeypatch, tmp_path):
    monkeypatch.setenv("WORLDJOCKEY_WEIGHTS", str(tmp_path))
    kinds = ("cuda", "mps", "cpu")
    card, turbo = entry_for("testcard"), entry_for("turbo")
    worlds = [
        WorldEntry("vast", card.open, memory=1000.0, rate="9/s on nothing less", rank=9, devices=("tpu",)),
        replace(turbo, memory=0.0, rank=8, devices=kinds), replace(card, rank=7, devices=kinds),
        WorldEntry("nowhere", card.open, rank=6, devices=kinds),
    ]  # fmt: skip
    monkeypatch.setattr(audition, "candidates", lambda: worlds)
    vast, turbo, card, nowhere = doctor.worlds(0.2)
    assert (vast.state, "not for this machine: needs TPU" in vast.detail) == ("ok", True)
    assert vast.detail.endswith("published: 9/s on nothing less")
    assert (turbo.state, turbo.fix) == ("note", "wj weights get turbo")
    assert card.name == "world testcard"
    assert "frames a second on" in card.detail
    assert card.detail.endswith("12 wanted")
    assert (nowhere.state, nowhere.detail) == ("note", "does not play")
    assert "unknown world" in nowhere.fix


def test_a_world_that_is_too_slow_is_a_note_with_what_to_do(monkeypatch):
    monkeypatch.setattr(audition, "hear", lambda name, seconds: Heard(3.0, 12.0))
    monkeypatch.setattr(audition, "machine", lambda: Machine("cpu"))
    nano = list(doctor.worlds(1.0))[-1]
    assert (nano.name, nano.state) == ("world nano", "note")
    assert nano.detail.startswith("too slow: 3 frames a second on CPU, 12 wanted")
    assert nano.fix


def test_play_takes_a_world_by_itself(tmp_path):
    command = [sys.executable, "-m", "worldjockey.node", "play", "--model", "auto", "--device", "cpu", "--no-midi"]
    more = ["--no-osc", "--headless", "--out", "none", "--seconds", "0.1", "--size", "128x72"]
    report = tmp_path / "report.json"
    done = subprocess.run(
        [*command, *more, "--report", str(report)], capture_output=True, text=True, timeout=120, check=True
    )
    assert "playing nano" in done.stderr
    assert json.loads(report.read_text())["world"]["model"] == "nano"
