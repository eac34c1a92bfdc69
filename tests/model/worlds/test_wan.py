"""The Wan worlds by their public names, on tiny random weights in the published files and through the same loader."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
import wan_files
from worldjockey.model import Controls, Prompt, WeightsMissing, load, slerp, worlds
from worldjockey.model.evaluate.scorecard import switching
from worldjockey.model.worlds.wan.config import CONFIGS, WanConfig
from worldjockey.model.worlds.wan.decode import FullDecoder, TinyDecoder
from worldjockey.model.worlds.wan.world import CHECKPOINTS, Wan, moved, read_checkpoint, sizes_for

pytestmark = pytest.mark.slow

TINY = WanConfig(dim=48, ffn=64, heads=2, layers=2, freq_dim=16, text_dim=12, text=300, window=9, sink=3)
NAMES = sorted(CHECKPOINTS)
published = dict(CONFIGS)
LONGLIVE = "wan-1.3b-longlive"


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Every file of the family as the hub has it, small."""
    root = tmp_path_factory.mktemp("weights")
    wan_files.write_family(root, TINY)
    return root


@pytest.fixture(scope="module", autouse=True)
def _small(root):
    with wan_files.small(root, TINY):
        yield


@pytest.fixture(scope="module")
def world():
    return load(f"{LONGLIVE}:size=large", device="cpu")


def play(world, tokens, count, steps=2):
    """`count` steps; (frames, h, w, 3)."""
    values = getattr(tokens, "values", tokens)
    return np.concatenate([world.step(Controls(values, steps=steps)).numpy() for _ in range(count)]).astype(int)


def change(a, b):
    return np.abs(a - b).mean()


@pytest.fixture(scope="module")
def neon(world):
    return world.encode(Prompt("neon city in the rain"))


@pytest.fixture(scope="module")
def sea(world):
    return world.encode(Prompt("the sea, storm"))


@pytest.mark.parametrize("name", NAMES)
def test_every_member_opens_by_name_and_plays(name):
    world = load(name, device="cpu")
    spec = world.spec
    assert (spec.name, spec.width, spec.height, spec.fps) == (name, 48, 32, 16.0)
    assert (spec.frames_per_step, spec.steps_per_chunk) == (4, 3)
    assert world.switch == ("recache" if name == LONGLIVE else "swap")
    tokens = world.encode(Prompt("neon city"))
    assert tokens.values.shape == (256, TINY.text_dim)
    frames = play(world, tokens, 12)
    assert frames.shape == (1 + 11 * 4, 32, 48, 3)
    assert frames.std() > 10
    assert change(frames[8:16], frames[28:36]) > 1, "it goes on, it does not stand still"
    assert worlds()[name].values["steps"] == 4, "it was distilled at four steps"


@pytest.mark.parametrize("name", NAMES)
def test_every_member_keeps_its_first_chunk_within_the_length_of_its_training(name):
    assert published[name].sink == 3
    assert published[name].window + 3 <= 21
    world = load(name, device="cpu")
    tokens = np.zeros((1, TINY.text_dim), np.float32)
    for _ in range(3):
        world.step(Controls(tokens, steps=1))
    world.rollout.settle()
    first = world.rollout.past[0].clone()
    play(world, tokens, 3 * (TINY.chunks + 2), 1)
    assert torch.equal(world.rollout.past[0], first), "beyond the window, too"
    assert ("5 s" in worlds()[name].note) is (name != LONGLIVE)


def test_how_it_switches_and_what_it_is_decoded_by_are_options_of_its_name(root, neon, monkeypatch):
    plain, chosen = load(LONGLIVE, device="cpu"), load(f"{LONGLIVE}:switch=swap,decoder=full", device="cpu")
    assert (plain.switch, chosen.switch, chosen.spec.name) == ("recache", "swap", LONGLIVE)
    assert (type(plain.decoder), type(chosen.decoder)) == (TinyDecoder, FullDecoder)
    assert play(chosen, neon, 4).shape == play(plain, neon, 4).shape == (13, 32, 48, 3)
    assert change(play(chosen, neon, 1), play(plain, neon, 1)) > 1
    with pytest.raises(
        ValueError, match=r"no option decoder=none: it has switch=recache or swap; decoder=tiny or full"
    ):
        load(f"{LONGLIVE}:decoder=none")
    repository, path = CHECKPOINTS[LONGLIVE].full
    (root / repository / path).rename(root / "elsewhere")
    with pytest.raises(WeightsMissing, match=rf"wj weights get {LONGLIVE}:decoder=full"):
        load(f"{LONGLIVE}:decoder=full")
    (root / "elsewhere").rename(root / repository / path)


def test_the_adapter_is_part_of_longlive(world, neon, monkeypatch):
    world.reset(0)
    want = play(world, neon, 3)
    monkeypatch.setitem(CHECKPOINTS, LONGLIVE, replace(CHECKPOINTS[LONGLIVE], lora=None))
    assert change(play(load(LONGLIVE, device="cpu"), neon, 3), want) > 0.5


def test_a_prompt_and_its_words_are_obeyed_from_the_next_chunk_on(world, neon, sea):
    def after(tokens):
        world.reset(4)
        play(world, neon, 4)  # one chunk, and one latent frame of the next
        return play(world, tokens, 5)

    stays, goes = after(neon), after(sea)
    np.testing.assert_array_equal(stays[:8], goes[:8])
    assert change(stays[8:12], goes[8:12]) > 0.5, "the first frames of the next chunk"
    dry = after(neon.weighted({"rain": 0.0}))
    mixed = after(slerp([neon.values, sea.values], [0.5, 0.5]))
    for other in (dry, mixed):
        np.testing.assert_array_equal(stays[:8], other[:8])
        assert change(stays[8:], other[8:]) > 0.1
    assert change(after(neon.weighted({"rain": 1.0})), stays) == 0


def test_at_a_switch_the_past_is_computed_anew_or_left_as_is_wished(world, neon, sea, monkeypatch):
    runs, computed = {}, []
    once = type(world.rollout).recache
    monkeypatch.setattr(type(world.rollout), "recache", lambda r: computed.append(world.switch) or once(r))
    for switch in ("recache", "swap"):
        monkeypatch.setattr(world, "switch", switch)
        world.reset(1)
        play(world, neon, 6)
        runs[switch] = play(world, sea, 6)
    assert change(runs["recache"], runs["swap"]) > 0.2
    assert computed == ["recache"]
    world.switch = "recache"
    world.reset(1)
    play(world, neon, 6)
    computed.clear()
    near = neon.values * np.float32(1.001)
    play(world, near, 3)
    assert not computed, "a hair's breadth is no new prompt"
    assert moved(sea.values, neon.values) > 0.5
    play(world, sea, 3)
    assert len(computed) == 1, "a new prompt without a transition is seen in all of the past at once"


@pytest.mark.parametrize("seconds", [3.0, 6.0, 40.0])
def test_in_a_transition_the_past_is_computed_anew_once_when_it_is_over(world, neon, sea, monkeypatch, seconds):
    """Each time costs three passes, just when everybody looks."""
    at, chunks, once = [], round(seconds / 0.75), type(world.rollout).recache
    monkeypatch.setattr(type(world.rollout), "recache", lambda r: at.append(world.rollout.drawn) or once(r))
    mixes = [slerp([neon.values, sea.values], [1 - n / chunks, n / chunks]) for n in range(1, chunks + 1)]
    texts = []
    monkeypatch.setattr(world.rollout, "set_text", lambda values: texts.append(values))
    world.reset(1)
    for mix in (neon.values, *mixes, *[mixes[-1]] * 4):
        play(world, mix, 3, steps=1)
    assert at == [chunks + 1], "in the first chunk without a change"
    assert len(texts) == chunks + 1, "the text itself is obeyed in every chunk"


def test_a_mix_that_creeps_is_followed_from_time_to_time(world, neon, sea, monkeypatch):
    computed, once = [], type(world.rollout).recache
    monkeypatch.setattr(type(world.rollout), "recache", lambda r: computed.append(1) or once(r))
    world.reset(1)
    for n in range(40):
        play(world, neon.values * np.float32(1.0015**n), 3, steps=1)
    assert 2 <= len(computed) <= 4


def test_the_seed_alone_decides_the_world(world, neon):
    def run(seed):
        world.reset(seed)
        return play(world, neon, 6)

    one = run(1)
    np.testing.assert_array_equal(one, run(1))
    assert change(one, run(2)) > 5


@pytest.mark.parametrize("at", [0, 4, 15], ids=["before it began", "within a chunk", "beyond the window"])
def test_a_snapshot_brings_the_very_frames_back(world, neon, sea, at):
    world.reset(9)
    for _ in range(at):
        play(world, neon, 1)
    state = world.snapshot()
    want = play(world, sea, 8)
    play(world, neon, 7)
    for other in (world, load(LONGLIVE, device="cpu")):  # which has the size among others
        other.restore(state)
        np.testing.assert_array_equal(play(other, sea, 8), want)
    assert change(play(world, sea, 8)[-12:], want[-12:]) > 1, "and it goes on"


def test_a_look_of_another_world_is_refused(world):
    with pytest.raises(ValueError, match=r"not of wan-1\.3b-longlive at 48x32"):
        world.restore(load("wan-1.3b-self-forcing", device="cpu").snapshot())
    with pytest.raises(ValueError, match="this snapshot is not"):
        world.restore(type(world.snapshot())({"frames": 3}))


def test_steps_are_chosen_live_and_anything_is_clamped(world, neon):
    drawn = {}
    for steps in (0, 1, 2, 3, 4, 9):
        world.reset(0)
        drawn[steps] = play(world, neon, 3, steps)
    np.testing.assert_array_equal(drawn[0], drawn[1])
    np.testing.assert_array_equal(drawn[9], drawn[4])
    for fewer, more in ((1, 2), (2, 3), (3, 4)):
        assert change(drawn[fewer], drawn[more]) > 0.5


def test_the_first_frames_of_a_chunk_leave_before_it_is_in_the_cache(world, neon):
    world.reset(0)
    passes = []
    handle = world.rollout.transformer.network.head.register_forward_hook(lambda *_: passes.append(1))
    counts = []
    for _ in range(6):
        passes.clear()
        world.step(Controls(neon.values, steps=4))
        counts.append(len(passes))
    handle.remove()
    assert counts == [4, 1, 0, 4, 1, 0]


def test_a_world_that_is_too_slow_sees_less_of_the_past_and_of_all_of_it_again(world, neon):
    assert world.spec.qualities == ("2.2 s of memory", "1.5 s of memory")
    world.reset(2)
    full = play(world, neon, 24)
    world.reset(2)
    play(world, neon, 13)
    world.set_quality(1)  # within a chunk
    rest = play(world, neon, 2)
    np.testing.assert_array_equal(rest, full[49:57], "what was drawn is shown")
    narrow = play(world, neon, 9)
    assert change(narrow[:12], full[57:69]) > 0.1
    state = world.snapshot()
    world.set_quality(0)
    wide = play(world, neon, 9)
    assert len(world.rollout.past) == world.rollout.config.chunks, "the window is full again"
    world.restore(state)
    world.set_quality(99)
    assert change(play(world, neon, 9)[-12:], wide[-12:]) > 0.1
    world.set_quality(0)


def test_where_it_is_too_slow_for_its_large_frame_it_goes_on_in_a_smaller_one_and_comes_back(neon):
    world, large = (load(f"{LONGLIVE}:size={size}", device="cpu") for size in ("auto", "large"))
    assert world.spec.qualities == ("2.2 s of memory", "1.5 s of memory", "32x16")
    assert world.spec.ladder == ((4, 0), (4, 1), (3, 1), (4, 2), (3, 2), (2, 2), (1, 2))
    for each in (world, large):
        play(each, neon, 3 * TINY.chunks + 4)  # beyond the window, and into a chunk
    world.set_quality(2)
    np.testing.assert_array_equal(play(world, neon, 2), play(large, neon, 2))
    remembered = world.rollout.past[-1].std()
    small = play(world, neon, 6)
    assert small.shape == (24, 16, 32, 3)
    assert (world.spec.width, world.spec.height) == (32, 16)
    assert world.rollout.past[-1].std() == pytest.approx(float(remembered), rel=0.6)
    assert len(world.rollout.past) == TINY.chunks, "its past came with it"
    state = world.snapshot()
    again = play(world, neon, 4)
    world.set_quality(0)
    while world._drawn:
        play(world, neon, 1)
    assert play(world, neon, 3)[-1].shape == (32, 48, 3)
    world.restore(state)
    world.set_quality(2)
    np.testing.assert_array_equal(play(world, neon, 4), again, "a snapshot within a chunk keeps its size")


def test_a_snapshot_in_another_size_is_scaled(world, neon):
    world.reset(5)
    play(world, neon, 3 * TINY.chunks + 4)
    state = world.snapshot()
    want = play(world, neon, 2)
    preview = load(f"{LONGLIVE}:size=small", device="cpu")
    preview.restore(state)
    assert play(preview, neon, 2).shape == (8, 16, 32, 3), "the rest of the chunk, not its first frames again"
    assert preview.rollout.drawn == world.rollout.drawn
    assert len(preview.rollout.past) == len(world.rollout.past)
    world.restore(preview.snapshot())
    assert play(world, neon, 4).shape == (16, *want.shape[1:])
    upright = load(LONGLIVE, device="cpu", aspect=0.5)
    with pytest.raises(ValueError, match=r"not of wan-1\.3b-longlive at 32x48"):
        upright.restore(state)


def test_warming_up_leaves_no_trace(world, neon):
    world.reset(0)
    want = play(world, neon, 6)
    world.warm()
    np.testing.assert_array_equal(play(world, neon, 6), want)
    assert set(world.timings) == {"decode_ms", "step_ms"}


@pytest.fixture
def compiled_for_a_show(root, monkeypatch):
    """A world as on CUDA, with a compiler that counts, and it."""
    for place in ("flashdreams.recipes.wan.transformer.wan21", "flashdreams.infra.cuda_graph"):
        monkeypatch.setattr(f"{place}.CUDAGraphWrapper", wan_files.Graph)
    counted = wan_files.CountingCompiler()

    def load_compiled(name=LONGLIVE, **how):
        torch.compiler.reset()
        how = {"config": TINY, "compiler": counted} | how
        return Wan.load(name, root, "cpu", **how), counted

    yield load_compiled
    torch.compiler.reset()


def test_nothing_is_compiled_after_warming_up(compiled_for_a_show, neon, sea):
    """A compilation takes a minute on a GPU, during which the picture stands still."""
    world, counted = compiled_for_a_show()
    assert 0 < counted.graphs < 20, "one block stands for all of them"
    before = counted.graphs
    for level in (0, *range(len(world.spec.qualities)), 0):
        play(world, neon, 1)
        world.set_quality(level)
        while len(world._drawn):
            play(world, neon, 1)
        play(world, neon, 3 * TINY.chunks + 9)
        for what in ("a prompt", "another seed", "a look"):
            if what == "another seed":
                world.reset(level)
            play(world, sea, 4)
            look = world.snapshot()
            play(world, neon, 7, steps=4)
            world.restore(look)
            play(world, sea, 1)
            assert counted.graphs == before, f"{what} at quality {level}"


def test_a_compiler_that_fails_leaves_a_world_that_plays(compiled_for_a_show, neon, caplog):
    def no_compiler(graph, inputs):
        raise RuntimeError("no triton here")

    plain = load(LONGLIVE, device="cpu")
    world, _ = compiled_for_a_show(compiler=no_compiler)
    (record,) = (r for r in caplog.records if "without torch.compile" in r.message)
    assert record.exc_info, "the log has the traceback"
    np.testing.assert_array_equal(play(world, neon, 4), play(plain, neon, 4))


def test_the_full_decoder_draws_other_frames_of_the_same_world(root, neon):
    fine = Wan.load(LONGLIVE, root, "cpu", decoder="full", switch="swap")
    assert play(fine, neon, 4).shape == (13, 32, 48, 3)
    assert fine.switch == "swap"


@pytest.mark.parametrize(("aspect", "size"), [(None, (48, 32)), (16 / 9, (48, 32)), (1.0, (32, 32)), (0.5, (32, 48))])
def test_it_takes_the_shape_nearest_to_the_shows(aspect, size):
    (rows, columns), smaller = sizes_for(aspect)
    assert (columns * 8, rows * 8) == size
    assert sizes_for(aspect, "large") == ((rows, columns),)
    assert sizes_for(aspect, "small") == (smaller,)
    assert smaller[0] * smaller[1] < rows * columns


def test_what_is_no_words_is_refused_and_nothing_said_is_fine(world):
    with pytest.raises(ValueError, match="text prompts only"):
        world.encode(Prompt(image=np.zeros((8, 8, 3), np.uint8)))
    assert not world.encode(Prompt("")).values.any()
    world.reset(0)
    assert len(play(world, world.encode(Prompt("")), 2)) == 5


def test_missing_and_damaged_files_are_named(root, tmp_path, monkeypatch):
    with pytest.raises(WeightsMissing, match=r"wj weights get wan-1\.3b-longlive"):
        Wan.load(LONGLIVE, tmp_path, "cpu")
    with pytest.raises(ValueError, match=r"are not wan-1\.3b-longlive's"):
        Wan.load(LONGLIVE, root, "cpu", config=replace(TINY, dim=24))
    bad = tmp_path / "bad.pt"
    bad.write_bytes(b"no tensors here")
    with pytest.raises(ValueError, match="not a file of tensors"):
        read_checkpoint(bad)
    with pytest.raises(WeightsMissing):
        read_checkpoint(tmp_path / "none.pt")


class Harm:
    def __reduce__(self):
        return print, ("unpacked",)


def test_a_checkpoint_that_is_a_program_is_not_run(tmp_path, capsys):
    torch.save({"generator": Harm()}, tmp_path / "harm.pt")
    with pytest.raises(ValueError, match="not a file of tensors"):
        read_checkpoint(tmp_path / "harm.pt")
    assert "unpacked" not in capsys.readouterr().out


def test_how_far_two_mixes_are_apart():
    a = np.ones((2, 3), np.float32)
    assert moved(a, a) == 0
    assert moved(a, 0 * a) == 1
    assert moved(0 * a, 0 * a) == 0


def test_the_two_ways_of_a_switch_are_measured_side_by_side(tmp_path, capsys):
    report = tmp_path / "switching.json"
    said = ["--prompt", "neon city in the rain", "--prompt", "the sea, storm"]
    assert switching.main([LONGLIVE, "--device", "cpu", *said, "--seeds", "1", "--chunks", "5", "--steps", "1",
                           "--json", str(report)]) == 0  # fmt: skip
    found = json.loads(report.read_text())
    for way in ("recache", "swap"):
        assert 1 <= found[f"{way}: half way"]["value"] <= 61
        assert found[f"{way}: jump"]["value"] > 0.3
        assert min(found[f"{way}: half way"]["detail"]["seen"]) > 0.5, "the prompt shows"
    assert found["recache: cost"]["value"] > found["swap: cost"]["value"], "three more passes"
    assert "recache: jump" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        switching.main(["testcard"])
    assert "one way" in capsys.readouterr().err


def test_half_way_is_where_the_distance_is_half_of_what_it_ends_at():
    assert switching.halfway([0, 0, 1, 4, 6, 8, 8, 8, 8]) == 4
    assert switching.halfway([0, 0, 0]) == 4
