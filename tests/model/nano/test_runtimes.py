"""The libraries that compute nano's frames: all draw what PyTorch draws, and one that fails stops no show."""

import json
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import psutil
import pytest
import torch
from worldjockey.model import Controls, Prompt, load
from worldjockey.model.nano import openvino_runtime, runtime_choice
from worldjockey.model.nano.runtime import Eager
from worldjockey.model.nano.texture_selection import Selection, Selector
from worldjockey.model.nano.world import Nano
from worldjockey.model.stage.sample import moments
from worldjockey.model.stage.scene import Scene

PARITY_DB = 38.0


@pytest.fixture(scope="module")
def pair(cache):
    """The same world twice: computed by PyTorch, and by OpenVINO."""
    return Nano.load(device="cpu"), Nano.load(device="cpu", runtime="openvino")


def parity(a, b):
    error = ((a.numpy().astype(np.float32) - b.numpy()) ** 2).mean()
    return 10 * np.log10(255**2 / max(error, 1e-9))


def controls(world, text, **more):
    return Controls(world.encode(Prompt(text)).values, dt=0.05, **more)


def test_what_was_selected_reads_as_the_whole_texture_does():
    world = Nano.load(device="cpu").world
    selector = Selector(world.textures)
    found = moments(1, 10)  # the ninth is a transition
    needed = set()
    for scene in (found[i : i + 1] for i in range(10)):
        slots = selector.slots(scene)
        needed.add(slots)
        selected = selector.select(scene, slots)
        with torch.inference_mode():
            whole = world.textures(scene, 4, 6)
            read = world.textures(scene, 4, 6, Selection(selected, selector.wrap_rows))
        torch.testing.assert_close(read, whole, atol=2e-5, rtol=0)
    assert needed == {1, 2}, "both kinds of scenes were tried"


def test_three_places_at_once_need_three_slots():
    world = Nano.load(device="cpu").world
    scene = moments(3, 1)
    rows = {**scene.__dict__, "place": torch.zeros_like(scene.place)}
    rows["place"][0, :3] = 1 / 3
    scene, selector = Scene(**rows), Selector(world.textures)
    assert selector.slots(scene) == 3
    with torch.inference_mode():
        read = world.textures(scene, 4, 6, Selection(selector.select(scene, 3), selector.wrap_rows))
        torch.testing.assert_close(read, world.textures(scene, 4, 6), atol=2e-5, rtol=0)


@pytest.mark.slow
def test_its_frames_are_pytorchs_whatever_is_played(pair):
    reference, compiled = pair
    camera = np.random.default_rng(0).integers(0, 255, (90, 160, 3), dtype=np.uint8)
    played = [
        ("a dancer in a neon city at night in the rain", {"acts": {"dance": 1.0}}),
        ("calm ocean at dawn, petals", {"camera": {"yaw": 0.6, "forward": 0.3}}),
        ("an endless tunnel", {"steps": 4, "guidance": 1.6}),
        ("a crying figure in a snowy forest", {"acts": {"cry": 1.0}, "sound": (0.8, 0.5, 0.2, 1.0), "matte": True}),
        ("kaleidoscope with embers", {"steps": 2}),
        ("a temple under the aurora", {"live": camera, "strength": 0.6}),
    ]
    for world in pair:
        world.reset(5)
    for text, more in played:
        for _ in range(2):
            one, other = (world.step(controls(world, text, **more)) for world in pair)
            assert one.shape == other.shape
            assert parity(one, other) >= PARITY_DB, text
    assert compiled.runtime.name.startswith("openvino")
    assert reference.spec.runtime == "torch"
    assert not compiled.message


@pytest.mark.slow
def test_the_first_start_plays_at_once_and_the_second_knows_the_fastest(pair, cache):
    world = Nano.load(device="cpu", runtime="auto")
    now = controls(world, "a city in the snow")
    assert world.runtime.name == "torch"
    assert world.step(now).shape == (1, 288, 512, 3)
    world.settle()
    (file,) = cache.glob("**/runtime-*.json")
    best = json.loads(file.read_text())["runtime"]
    second = Nano.load(device="cpu", runtime="auto")
    second.settle()
    for again in (world, second):
        assert again.runtime.name == ("torch" if best == "torch" else f"openvino {best}")
        assert again.step(now).shape == (1, 288, 512, 3)


@pytest.mark.slow
def test_snapshots_are_the_same_in_each(pair):
    reference, compiled = pair
    reference.reset(2)
    now = controls(reference, "a volcano at night", acts={"wave": 1.0})
    for _ in range(2):  # a KV cache that is not full yet
        reference.step(now)
    compiled.restore(reference.snapshot())
    frames = [(reference.step(now), compiled.step(now)) for _ in range(4)]
    assert min(parity(*frame) for frame in frames) >= PARITY_DB
    reference.restore(compiled.snapshot())
    assert parity(reference.step(now), compiled.step(now)) >= PARITY_DB


@pytest.mark.slow
def test_three_places_at_once_are_shown_too(pair):
    tokens = sum(pair[0].encode(Prompt(text)).values for text in ("city", "forest", "sea")) / 3
    for world in pair:
        world.reset(1)
    one, other = (world.step(Controls(tokens, dt=0.05)) for world in pair)
    assert parity(one, other) >= PARITY_DB


@pytest.mark.slow
@pytest.mark.parametrize("method", ["read", "denoise", "decode"])
def test_a_runtime_that_fails_leaves_the_frame_to_pytorch_and_says_so_once(pair, method, monkeypatch, caplog):
    reference, compiled = pair
    runtime = compiled.runtime
    monkeypatch.setattr(compiled, "runtime", runtime)  # put back at the end
    monkeypatch.setattr(compiled, "message", "")

    def broken(*inputs):
        raise RuntimeError("out of memory")

    monkeypatch.setattr(runtime, method, broken)
    for world in pair:
        world.reset(9)
    now = controls(reference, "a temple in the snow")
    frames = [(reference.step(now), compiled.step(now)) for _ in range(2)]
    assert min(parity(*frame) for frame in frames) >= PARITY_DB
    assert compiled.spec.runtime == "torch"
    assert "--runtime torch" in compiled.message
    assert [record.exc_text is not None or record.exc_info is not None for record in caplog.records] == [True]


@pytest.fixture
def trials(monkeypatch, tmp_path):
    """The results of the trials, (ms, dB) by name, which a test may change; and how often the runtimes were tried."""

    def opened(nano, precision, threads):
        opened_one = Eager(nano)
        opened_one.name = f"openvino {precision}"
        return opened_one

    given = SimpleNamespace(results={"torch": (9.0, 99.0), "f32": (1.0, 90.0)}, tried=0, parity=90.0, cache=tmp_path)

    def attempt(nano, runtimes):
        given.tried += 1
        return given.results

    def run(command, **options):
        """The trials in this process, instead of in one of their own."""
        try:
            nano = Nano.load(device="cpu", size=command[-3])
            runtime_choice.fastest(nano, int(command[-2]), compiled_only=False)
        except Exception as error:
            return subprocess.CompletedProcess(command, 1, "", str(error))
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(runtime_choice, "subprocess", SimpleNamespace(run=run, DEVNULL=None))
    monkeypatch.setattr(openvino_runtime, "OpenVINO", opened)
    monkeypatch.setattr(openvino_runtime, "precisions", lambda: ["f32"])
    monkeypatch.setattr(runtime_choice, "_try", attempt)
    monkeypatch.setattr(runtime_choice, "parity", lambda nano, runtime: given.parity)
    return given


def settled(wanted):
    world = Nano.load(device="cpu", runtime=wanted)
    world.settle()
    return world.runtime.name


def test_the_choice_is_remembered_and_a_broken_memory_of_it_is_not_obeyed(trials):
    assert settled("auto") == "openvino f32"
    assert settled("auto") == "openvino f32"
    assert trials.tried == 1
    (file,) = trials.cache.glob("**/runtime-*.json")
    file.write_text('{"runtime": ')
    assert settled("auto") == "openvino f32"
    assert trials.tried == 2
    file.write_text(json.dumps({"runtime": "torch", "large_cost": 0.0}))
    assert settled("auto") == "torch"


def test_a_show_at_the_small_size_does_not_decide_for_the_large_one(trials, monkeypatch):
    monkeypatch.setattr(runtime_choice, "_large_cost", lambda nano, runtime: 1.5 if nano.large_weights else 0.0)
    for size in ("small", "auto"):
        Nano.load(device="cpu", runtime="auto", size=size).settle()
    costs = [json.loads(file.read_text())["large_cost"] for file in trials.cache.glob("**/runtime-*.json")]
    assert sorted(costs) == [0.0, 1.5]


def test_a_runtime_whose_frames_differ_or_that_is_slower_is_not_taken(trials):
    trials.results["f32"] = (1.0, 12.0)
    assert settled("auto") == "torch"
    with pytest.raises(ValueError, match="try --runtime torch"):
        Nano.load(device="cpu", runtime="openvino")
    trials.results["f32"] = (19.0, 90.0)
    for file in trials.cache.glob("**/runtime-*.json"):
        file.unlink()
    assert settled("auto") == "torch"
    assert settled("openvino") == "openvino f32", "it was asked for"


def test_a_known_runtime_that_has_become_wrong_is_not_taken(trials):
    """A graph that OpenVINO had kept compiled gave nothing but NaN."""
    assert settled("auto") == "openvino f32"
    trials.parity = 9.0
    assert settled("auto") == "torch"


@pytest.mark.slow
def test_values_that_are_no_numbers_do_not_reach_the_screen(pair, monkeypatch):
    reference, compiled = pair
    monkeypatch.setattr(compiled, "runtime", compiled.runtime)
    monkeypatch.setattr(compiled, "message", "")
    real = compiled.runtime._denoise
    monkeypatch.setattr(compiled.runtime, "_denoise", lambda inputs: [tensor * torch.nan for tensor in real(inputs)])
    for world in pair:
        world.reset(4)
    now = controls(reference, "a temple in the snow")
    frames = [(reference.step(now), compiled.step(now)) for _ in range(3)]
    assert min(parity(*frame) for frame in frames) >= PARITY_DB
    assert "failed" in compiled.message


def test_a_cache_that_cannot_be_written_leaves_pytorch(trials):
    (trials.cache / "worldjockey").write_text("a file where the folder should be")
    assert settled("auto") == "torch"


def test_without_openvino_pytorch_plays(monkeypatch):
    monkeypatch.setitem(sys.modules, "worldjockey.model.nano.openvino_runtime", None)
    assert settled("auto") == "torch"
    with pytest.raises(ValueError, match="try --runtime torch"):
        Nano.load(device="cpu", runtime="openvino")


def test_an_unknown_runtime_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match="auto or torch or openvino or cuda-graphs"):
        load("nano:runtime=tensorrt")


def test_openvino_reports_to_nobody():
    code = "import sys; from worldjockey.model.nano import openvino_runtime; print(sys.modules['openvino_telemetry'])"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.strip() == "None", "the package that sends reports is not loaded"


@pytest.mark.slow
def test_a_trial_ends_with_its_show(cache, wait_for):
    code = (
        "import os, subprocess, sys\n"
        "from worldjockey.model.nano.world import WEIGHTS\n"
        "command = [sys.executable, '-m', 'worldjockey.model.nano.runtime_choice', str(WEIGHTS), '0.5', 'small', '1']\n"
        "command.append(str(os.getpid()))\n"
        "print(subprocess.Popen(command).pid, flush=True)\n"
        "sys.stdin.read()\n"
    )
    show = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    trial = psutil.Process(int(show.stdout.readline()))
    wait_for(lambda: trial.num_threads() > 1)  # it works, and watches its parent
    show.kill()
    show.wait()
    wait_for(lambda: not trial.is_running() or trial.status() == psutil.STATUS_ZOMBIE)
