"""The command as a user starts it."""

import importlib.metadata
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from worldjockey.node.measure import doctor
from worldjockey.node.parameters import PARAMETERS
from worldjockey.node.show.schema import Show

WJ = Path(sys.executable).with_name("wj.exe" if os.name == "nt" else "wj")


def wj(*arguments: str, **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(WJ), *arguments],
        capture_output=True, text=True, timeout=120, env={**os.environ, "COLUMNS": "200", "NO_COLOR": "1"}, **options,
    )  # type: ignore[call-overload]  # fmt: skip


def test_help_teaches():
    text = wj("--help").stdout
    for command in ("play", "show", "ports", "reference", "doctor", "bench", "train", "eval"):
        assert command in text
    text = wj("play", "--help").stdout
    for option in (
        "--model",
        "--out",
        "--size",
        "--fps",
        "--seconds",
        "--headless",
        "--report",
        "--device",
        "--osc-port",
    ):
        assert option in text


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["play", "nowhere.yaml"], ["nowhere.yaml", "wj show --save"]),
        (["play", "--size", "3"], ["--size", "1920x1080"]),
        (["play", "--fps", "fast"], ["--fps", "29.97"]),
        (["play", "--out", "window,ndii"], ["'ndii'", "window, ndi, file"]),
        (["play", "--out", "file"], ["file:clip.mp4"]),
        (["play", "--model", "lava"], ["'lava'", "nano", "helios"]),
        (["play", "--model", "wan-1.3b-longlive:decoder=none"], ["decoder=none", "decoder=tiny or full"]),
        (["play", "--seed", "-1"], ["--seed", "0 to 2147483647"]),
        (["play", "--osc-port", "99999"], ["--osc-port", "65535"]),
        (["play", "--report", "nowhere/r.json"], ["the folder nowhere does not exist"]),
        (["play", "--out", "file:nowhere/a.mp4"], ["the folder nowhere does not exist"]),
        (["play", "--sound", "gone.wav"], ["gone.wav", "there is no such audio file"]),
        (["show", "nowhere.yaml"], ["nowhere.yaml"]),
    ],
)
def test_mistakes_are_one_line_with_the_remedy_and_exit_code_2(arguments, words, tmp_path):
    result = wj(*arguments, cwd=tmp_path)
    assert result.returncode == 2
    [line] = result.stderr.splitlines()
    assert line.startswith("wj: ")
    for word in words:
        assert word in line


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("model: nanoo", "unknown world 'nanoo'"),
        ("model: 'turbo:over=live'", "the show has none: add --live camera:0"),
        ("model: nano:steps=9", "nano has no option steps=9"),
        ("sound: {enabled: true, input: gone.wav}", "there is no such audio file"),
    ],
)
def test_a_show_is_checked_as_it_is_played(text, words, tmp_path):
    (tmp_path / "my.yaml").write_text(text)
    result = wj("show", "my.yaml", cwd=tmp_path)
    assert result.returncode == 2
    assert words in result.stderr


def test_a_run_that_fails_names_its_log_which_has_the_traceback(tmp_path):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        port = str(taken.getsockname()[1])
        log = tmp_path / "run.log"
        options = ["--headless", "--out", "none", "--no-midi", "--osc-port", port, "--log-file", str(log)]
        result = wj("play", *options, cwd=tmp_path)
    assert result.returncode == 2
    [line] = result.stderr.splitlines()
    assert port in line
    assert line.count(str(log)) == 1
    assert "Traceback" in log.read_text()


def test_a_bad_show_file_is_told_line_by_line(tmp_path):
    (tmp_path / "bad.yaml").write_text("fps: fast\nvalues:\n  enrgy: 1\n")
    result = wj("play", "bad.yaml", cwd=tmp_path)
    assert result.returncode == 2
    assert "bad.yaml:1: " in result.stderr
    assert "bad.yaml:3: " in result.stderr
    assert "Traceback" not in result.stderr


def test_a_copy_of_the_embedded_show_loads_and_is_not_written_over(tmp_path):
    mine = tmp_path / "mine.yaml"
    assert wj("show", "--save", str(mine)).returncode == 0
    assert Show.load(mine) == Show.load()
    mine.write_text("name: mine")
    result = wj("show", "--save", str(mine))
    assert result.returncode == 2
    assert "--force" in result.stderr
    assert mine.read_text() == "name: mine"


def test_the_reference_is_the_table():
    rows = json.loads(wj("reference", "--json").stdout)
    assert [row["name"] for row in rows] == [*PARAMETERS, "word/<word>", "event/<name>"]
    by_name = {row["name"]: row for row in rows}
    assert by_name["pad/3"]["osc"] == "/wj/pad/3"
    assert "note 38" in by_name["pad/3"]["midi"]
    assert by_name["morph"]["midi"].endswith("pitch bend")
    assert (by_name["cam/yaw"]["low"], by_name["cam/yaw"]["high"]) == (-1, 1)
    markdown = wj("reference", "--markdown").stdout.splitlines()
    assert len(markdown) == len(rows) + 2
    assert all(line.count("|") == markdown[0].count("|") for line in markdown)


def test_starting_imports_no_torch_and_no_rig():
    code = "import sys, worldjockey.node.cli.app\n"
    code += "print([m for m in ('torch', 'numpy', 'mido', 'glfw', 'av') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"
    code = "import sys, worldjockey.node.show.schema, worldjockey.node.world.prompt_deck; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False\n"


def test_the_doctor_names_the_fix_for_a_port_in_use():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        check = doctor.osc(port)
    assert check.state == "error"
    assert f"{port} is taken" in check.detail
    assert "--osc-port" in check.fix
    assert doctor.osc(port).state == "ok"


def test_the_doctor_names_the_fix_for_missing_weights(monkeypatch):
    monkeypatch.setattr(doctor, "WEIGHTS_FILE", "nowhere.safetensors")
    check = doctor.world()
    assert check.state == "error"
    assert "nowhere.safetensors" in check.detail
    assert "wj train" in check.fix


def test_the_doctor_names_the_fix_for_what_browsers_streams_and_in_betweens_miss(monkeypatch):
    assert doctor.browsers().state == "ok"
    with monkeypatch.context() as missing:
        missing.setitem(sys.modules, "aiortc", None)
        check = doctor.browsers()
        assert (check.state, check.fix) == ("note", "pip install aiortc")
        assert "JPEGs instead of WebRTC" in check.detail
        missing.setitem(sys.modules, "aiohttp", None)
        assert doctor.browsers().fix == "pip install aiohttp aiortc av"
    monkeypatch.setenv("PATH", "/nowhere")
    assert doctor.streams().state == "note"
    assert "apt install ffmpeg" in doctor.streams().fix
    monkeypatch.setattr("av.formats_available", {"mpegts"})
    assert "cameras do not" in doctor.live_picture().detail

    def no_opencv():
        raise ImportError("no cv2")

    monkeypatch.setattr("worldjockey.node.output.interpolation.ready", no_opencv)
    assert "opencv-python-headless" in doctor.in_betweens().fix


@pytest.mark.skipif(sys.platform != "linux", reason="the names of camera formats differ by system")
def test_the_doctor_finds_nothing_wrong_where_no_camera_is_connected(monkeypatch):
    monkeypatch.setattr("worldjockey.integrations.camera.list_cameras", list)
    monkeypatch.setattr(doctor.Path, "glob", lambda folder, pattern: iter(()))
    check = doctor.live_picture()
    assert (check.state, check.detail, check.fix) == ("ok", "clips and NDI; no camera is connected", "")


def test_the_doctor_separates_the_error_of_a_window_from_its_fix(monkeypatch):
    def no_display():
        raise RuntimeError("cannot open a window: X11: no DISPLAY. DISPLAY is not set: export DISPLAY=:0")

    monkeypatch.setattr("worldjockey.integrations.window.list_monitors", no_display)
    check = doctor.window()
    assert check.detail == "cannot open a window: X11: no DISPLAY"
    assert check.fix == "DISPLAY is not set: export DISPLAY=:0"


@pytest.mark.slow
def test_the_doctor_looks_at_everything():
    result = wj("doctor", "--json", "--osc-port", "0", "--seconds", "0")
    checks = {check["name"]: check for check in json.loads(result.stdout)}
    assert list(checks) == [
        "python", "torch", "world", "shared memory", "NDI", "MIDI", "timecode", "window", "gamepads",
        "Stream Decks", "OBS", "lighting desks", "card to window",
        "recording", "browsers", "audience", "streams", "live picture", "in-betweens", "OSC",
    ]  # fmt: skip
    assert all(check["state"] == "ok" or check["fix"] for check in checks.values())
    assert result.returncode == any(check["result"] == "error" for check in checks.values())


def test_the_doctor_finds_how_frames_reach_a_window(card, display, monkeypatch):
    assert doctor.card_to_window().detail.startswith("no CUDA device")
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.current_device", lambda: 0)
    assert doctor.card_to_window().detail == "frames stay on the graphics card (CUDA)"
    (card / "drawn_by").write_text("1")
    elsewhere = doctor.card_to_window()
    assert (elsewhere.state, elsewhere.fix) == ("note", "use one for both")
    assert "0000:41:00.0" in elsewhere.detail
    monkeypatch.setitem(sys.modules, "cuda", None)
    monkeypatch.delitem(sys.modules, "cuda.bindings", raising=False)
    assert doctor.card_to_window().fix == "pip install cuda-bindings"


def test_ports_are_listed_or_the_reason_given():
    groups = json.loads(wj("ports", "--json", "--seconds", "0.2").stdout)
    assert list(groups) == [
        "MIDI in", "MIDI out (timecode)", "sound in", "NDI sources", "cameras", "monitors", "gamepads",
        "Stream Decks", "OBS", "networks (lighting desks)",
    ]  # fmt: skip
    assert all(isinstance(group["found"], list) for group in groups.values())


def test_a_show_is_checked_with_its_files_all_at_once(tmp_path):
    path = tmp_path / "my.yaml"
    path.write_text(
        "pads: [{image: gone.png}, {image: torn.png}]\nlive: {file: gone.mp4}\nsnapshots: nowhere/looks.yaml\n"
        "outputs: ['file:nowhere/a.mp4']\n"
    )
    (tmp_path / "torn.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(40))
    for command in (["show"], ["play", "--seconds", "1"]):
        result = wj(*command, str(path), check=False)
        assert result.returncode == 2
        for words in ("gone.png", "torn.png", "gone.mp4", "looks.yaml", "a.mp4"):
            assert words in result.stderr, command
        assert "Traceback" not in result.stderr
    path.write_text("prompt: the sea")
    assert wj("show", str(path)).stdout == "prompt: the sea"


@pytest.mark.parametrize(
    ("text", "note"),
    [
        ("cues: [{name: a, at: '01:00:00:00'}]", "the cue 'a' has `at`, but the show follows no timecode"),
        ("crowd: on", "`crowd` asks the audience nothing: add faders, polls or words"),
        ("crowd: {faders: [{name: mood, labels: [a, b]}]}", "the crowd's fader 'mood' plays nothing: add `to`"),
        ("values: {crowd/open: true}", "the show has no `crowd`: add it"),
        ("outputs: [dmx]", "the output dmx has no fixtures"),
        ("lights: {patch: [{channel: 5, to: energy}]}", "lights.patch.1: channel 5 is the fixture's Energy as well"),
        ("lights: {start: 0}", "neither a fixture (start: 0) nor a patch"),
        ("story: {scenes: [{name: a, prompt: b, seconds: 20, deeds: [{after: 30, do: act/cry}]}]}", "deed after 30 s"),
    ],
)
def test_what_has_no_effect_is_told_before_the_show(tmp_path, text, note):
    path = tmp_path / "my.yaml"
    path.write_text(text)
    done = wj("show", str(path))
    assert done.returncode == 0
    assert note in " ".join(done.stderr.split())
    assert done.stdout == text


def test_a_show_in_order_has_no_notes_and_its_story_is_told(tmp_path):
    path = tmp_path / "my.yaml"
    path.write_text(
        "cues: [{name: a, at: '01:00:00:00'}]\ntimecode: on\nlights: {patch: [{channel: 40, to: energy}]}\n"
        "crowd: {faders: [{name: mood, labels: [a, b]}]}\nstory:\n  balances: [mood]\n  scenes:\n"
        "  - {name: shore, prompt: a sea, seconds: [20, 40], ways: [{to: moon}]}\n  - {name: moon, prompt: a moon}\n"
    )
    assert wj("show", str(path)).stderr.splitlines() == [
        "story: 2 scenes, which begin with 'shore'", "  shore (20 to 40 s): leads to moon",
        "  moon (30 to 90 s): the end",
    ]  # fmt: skip


def test_a_missing_timecode_file_is_found_before_the_show(tmp_path):
    path = tmp_path / "my.yaml"
    path.write_text("timecode: {source: ltc, input: band.wav}\n")
    done = wj("show", str(path))
    assert done.returncode == 2
    assert "timecode: " in done.stderr
    assert "there is no such WAV file" in " ".join(done.stderr.split())


def test_the_version_is_printed():
    found = wj("--version")
    assert found.returncode == 0
    assert found.stdout.startswith(f"worldjockey {importlib.metadata.version('worldjockey')}, Python 3.")
