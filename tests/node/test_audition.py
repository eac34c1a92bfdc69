"""The best world that keeps its time is chosen, and who is not chosen is told why."""

import json
import subprocess
import sys

import pytest
from worldjockey.model.worlds import ANYWHERE, WORLDS, WorldEntry
from worldjockey.node import audition, doctor
from worldjockey.node.audition import Heard, Machine, choose, hear, machine, unfit

NAMES = [entry.name for entry in WORLDS]
LARGE = Machine("cuda", 80.0, "a large GPU")


def chosen(here, **rates):
    """What is chosen where each world makes so many frames a second; what is not named is not installed."""
    asked, told = [], []

    def listen(name, device, seconds, top):
        asked.append(name)
        key = name.replace("-", "_").replace(".", "_")
        return Heard(rates[key], 12.0) if key in rates else Heard(why=f"{name} is missing: wj weights get {name}")

    return choose("auto", 30.0, told.append, WORLDS, lambda device: here, listen), asked, told


def test_the_best_that_keeps_its_time_is_taken_and_no_other_is_tried_then():
    assert chosen(LARGE, helios=19.0, turbo=25.0)[:2] == ("helios", ["helios"])
    name, asked, told = chosen(LARGE, helios=5.0, turbo=25.0, wan_1_3b_longlive=11.9)
    assert name == "turbo"
    assert asked == NAMES[: NAMES.index("turbo") + 1]
    assert "not helios: 5 frames a second of 12" in told
    assert "not wan-1.3b-self-forcing: wan-1.3b-self-forcing is missing: wj weights get wan-1.3b-self-forcing" in told


@pytest.mark.parametrize("here", [LARGE, Machine("cuda", 4.0, "a small GPU"), Machine("mps", 16.0), Machine("cpu")])
def test_where_none_plays_the_embedded_one_does(here):
    name, asked, told = chosen(here)
    assert name == ANYWHERE.name == "nano"
    assert "nano" not in asked, "it need not be tried"
    assert told[-1] == "playing nano"
    assert bool(asked) == (here.device != "cpu" and here.memory > 4)


def test_what_cannot_be_is_not_tried_and_the_reason_has_numbers():
    helios = WORLDS[0]
    assert unfit(helios, LARGE) == ""
    assert unfit(helios, Machine("cpu")) == "needs CUDA; this machine has CPU only"
    assert unfit(helios, Machine("cuda", 23.9, "a GPU")) == ("needs about 40 GB of graphics memory, and a GPU has 23.9")
    assert all(not unfit(ANYWHERE, here) for here in (LARGE, Machine("cpu"), Machine("mps", 8.0)))


def test_a_real_world_is_heard_in_its_own_process_and_one_that_is_not_here_says_why():
    heard = hear("testcard", "cpu", 0.2)
    assert heard.fps > 0
    assert heard.wanted == 12.0
    assert "unknown world" in hear("nowhere", "cpu", 0.2).why


def test_the_machine_is_looked_at_and_a_device_that_is_not_there_is_said():
    assert machine("cpu") == Machine("cpu")
    with pytest.raises(RuntimeError, match="try --device auto"):
        machine("no such device")


def test_the_doctor_says_which_worlds_play_here_and_how_fast(monkeypatch):
    worlds = (
        WorldEntry("vast", ("cuda",), 1000.0, "vast"), WorldEntry("testcard", ("cpu", "cuda", "mps"), 0.0, "bars"),
        WorldEntry("nowhere", ("cpu", "cuda", "mps"), 0.0, "not here"),
    )  # fmt: skip
    monkeypatch.setattr(doctor, "WORLDS", worlds)
    vast, card, nowhere = doctor.worlds(0.2)
    assert (vast.state, "not for this machine" in vast.detail) == ("ok", True)
    assert card.name == "world testcard"
    assert "frames a second on" in card.detail
    assert "12 wanted (bars)" in card.detail
    assert (nowhere.state, nowhere.detail) == ("note", "does not play")
    assert "unknown world" in nowhere.fix


def test_a_world_that_is_too_slow_is_a_note_with_what_to_do(monkeypatch):
    monkeypatch.setattr(audition, "hear", lambda name, seconds: Heard(3.0, 12.0))
    monkeypatch.setattr(audition, "machine", lambda: Machine("cpu"))
    nano = list(doctor.worlds(1.0))[-1]
    assert (nano.name, nano.state) == ("world nano", "note")
    assert nano.detail.startswith("too slow: 3 frames a second on cpu, 12 wanted")
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
