"""The LTX-2 world against diffusers' own pipeline, with tiny random networks on the very path of the large ones."""

from __future__ import annotations

import sys
import threading

import numpy as np
import pytest
import torch
from PIL import Image
from wan_files import CountingCompiler
from worldjockey.model import Controls, ExtraMissing, Prompt, WeightsMissing, WorldState, load, slerp
from worldjockey.model.registry import entry_for, sounds
from worldjockey.model.worlds.ltx import world as ltx
from worldjockey.model.worlds.ltx.chunk import CHUNK_FRAMES, FADE_S, PAST_FRAMES, audio_latents, schedule
from worldjockey.model.worlds.ltx.world import LTX2, kinds
from worldjockey.node.ipc.audio_ring import AudioRing
from worldjockey.node.ipc.cell import Cell
from worldjockey.node.ipc.frame_ring import FrameRing
from worldjockey.node.ipc.mailbox import Mailbox
from worldjockey.node.world import process as world_process
from worldjockey.node.world.process import WorldOptions, WorldStepper

pytestmark = pytest.mark.slow

diffusers = pytest.importorskip("diffusers")
pytest.importorskip("diffusers.pipelines.ltx2")
from ltx_files import ROWS, tiny  # noqa: E402

SIZE, RATE, FADE = 64, 24_000, round(0.04 * 24_000)
NEW = CHUNK_FRAMES - PAST_FRAMES


@pytest.fixture(scope="module")
def pipe():
    return tiny()


@pytest.fixture
def world(pipe):
    return LTX2(pipe, SIZE, SIZE, ROWS)


def called(pipe, text, generator, before=None, steps=4):
    """One call of diffusers' pipeline, distilled as its authors call it: uint8 (n, h, w, 3), and (samples, 2)."""
    conditions = None
    if before is not None:
        frames = [Image.fromarray(frame.numpy()) for frame in before[-PAST_FRAMES:]]
        conditions = [diffusers.pipelines.ltx2.LTX2VideoCondition(frames=frames, index=0, strength=1.0)]
    made = pipe(
        conditions=conditions, prompt=text, width=SIZE, height=SIZE, num_frames=CHUNK_FRAMES, frame_rate=24.0,
        sigmas=schedule(steps), guidance_scale=1.0, audio_guidance_scale=1.0, stg_scale=0.0, audio_stg_scale=0.0,
        modality_scale=1.0, audio_modality_scale=1.0, guidance_rescale=0.0, audio_guidance_rescale=0.0,
        audio_latents=torch.zeros(1, 2, audio_latents(pipe), 2), generator=generator, max_sequence_length=ROWS,
        output_type="pt",
    )  # fmt: skip
    frames = (made.frames[0] * 255).round().to(torch.uint8).permute(0, 2, 3, 1)
    return frames, made.audio[0].T.detach().numpy()


def same(a, b):
    assert a.shape == b.shape
    assert len(a.unique()) > 20, "there is something to compare"
    assert int((a.int() - b.int()).abs().max()) <= 1  # rounding to a byte
    assert (a == b).float().mean() > 0.999


def played(world, *texts, seed=0, steps=4):
    """The chunk and the sound of each step, with a prompt each."""
    world.reset(seed)
    made = []
    for text in texts:
        frames = world.step(Controls(world.encode(Prompt(text)).values, steps=steps))
        made.append((frames.clone(), world.audio()))
    return made


@pytest.mark.parametrize("steps", [1, 2, 4])
def test_the_first_chunk_is_one_call_of_the_pipeline(pipe, world, steps):
    ((frames, sound),) = played(world, "neon city in the rain", seed=5, steps=steps)
    expected, heard = called(pipe, "neon city in the rain", torch.Generator().manual_seed(5), steps=steps)
    same(frames, expected)
    assert sound.std(0).min() > 0.01
    np.testing.assert_allclose(sound, heard[: len(sound)], atol=1e-5)


def test_the_next_chunk_is_the_pipelines_own_continuation_of_the_last_frames(pipe, world):
    generator = torch.Generator().manual_seed(3)
    first, first_heard = called(pipe, "sea", generator)
    second, second_heard = called(pipe, "sea", generator, first)
    (frames, _), (later, sound) = played(world, "sea", "sea", seed=3)
    same(frames, first)
    same(later, second[PAST_FRAMES:])
    begin = round(PAST_FRAMES / 24 * RATE)
    share = np.linspace(0, 1, FADE, dtype=np.float32)[:, None]
    rest = first_heard[round(CHUNK_FRAMES / 24 * RATE) :][:FADE]
    faded = rest * (1 - share) + second_heard[begin : begin + FADE] * share
    np.testing.assert_allclose(sound[:FADE], faded, atol=1e-5)
    np.testing.assert_allclose(sound[FADE:], second_heard[begin + FADE :][: len(sound) - FADE], atol=1e-5)
    unconditioned, _ = called(pipe, "sea", torch.Generator().manual_seed(3))
    assert not torch.equal(second, unconditioned)


def test_a_chunk_looks_as_the_last_frames_before_it_do(world):
    world.reset(0)
    tokens = world.encode(Prompt("sea")).values
    world.step(Controls(tokens))
    state = world.snapshot()
    expected = world.step(Controls(tokens))
    world.restore(WorldState({**state.data, "frames": torch.full_like(state.data["frames"], 255)}))
    assert not torch.equal(world.step(Controls(tokens)), expected)


def test_frames_and_sound_are_equally_long(world):
    made = played(world, "sea", "sea", "storm at night")
    assert [len(frames) for frames, _ in made] == [CHUNK_FRAMES, NEW, NEW]
    assert world.spec.audio_rate == RATE
    for frames, sound in made:
        assert sound.shape == (len(frames) / world.spec.fps * RATE, 2)
        assert sound.dtype == np.float32
        assert np.abs(sound).max() <= 1
        assert sound[-round(FADE_S * RATE) :].std() > 0, "it lasts to the end"


def test_a_prompt_is_obeyed_from_the_next_chunk_on(world):
    plain, turned = (played(world, *texts) for texts in (("sea", "sea"), ("sea", "neon city in the rain")))
    assert torch.equal(plain[0][0], turned[0][0])
    assert not torch.equal(plain[1][0], turned[1][0])
    assert np.abs(plain[1][1] - turned[1][1]).max() > 1e-5, "its sound, too"
    assert np.array_equal(plain[0][1], turned[0][1])


def test_words_and_a_mix_change_the_chunk(world):
    tokens, other = (world.encode(Prompt(text)) for text in ("neon rain, don't dance, neon xyz", "forest"))
    assert tokens.words == ("neon", "rain", "don't", "dance", "xyz")
    changed = np.flatnonzero(np.abs(tokens.weighted({"rain": 0.0}) - tokens.values).max(1))
    assert len(changed) == 1
    assert len(np.flatnonzero(np.abs(tokens.weighted({"neon": 2.0}) - tokens.values).max(1))) == 2, "both times"
    frames = []
    for values in (tokens.values, tokens.weighted({"rain": -1.0}), slerp([tokens.values, other.values], [0.5, 0.5])):
        world.reset(0)
        frames.append(world.step(Controls(values)))
    assert not torch.equal(frames[0], frames[1])
    assert not torch.equal(frames[0], frames[2])


def test_a_prompt_is_kept_as_what_the_connectors_make_of_it(pipe, world):
    text = "  neon city in the rain "
    embeds, mask, _, _ = pipe.encode_prompt(text, do_classifier_free_guidance=False, max_sequence_length=ROWS)
    video, audio, _ = pipe.connectors(embeds, mask, padding_side="left")
    tokens = world.encode(Prompt(text))
    np.testing.assert_array_equal(tokens.values, torch.cat([video, audio], 2)[0].detach().numpy())
    assert np.isfinite(world.encode(Prompt("rain " * 200)).values).all(), "what does not fit is not read"
    assert np.isfinite(world.encode(Prompt("")).values).all()


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"image": np.zeros((8, 8, 3), np.uint8)}, "image"),
        ({"sound": np.zeros(480, np.float32)}, "sound"),
        ({"video": np.zeros((2, 8, 8, 3), np.uint8)}, "video"),
    ],
)
def test_refuses_what_it_cannot_read(world, given, named):
    with pytest.raises(ValueError, match=named):
        world.encode(Prompt("sea", **given))


def test_seeds_decide(world):
    one, again, other = (played(world, "rain", seed=seed, steps=1)[0] for seed in (1, 1, 2))
    assert torch.equal(one[0], again[0])
    assert np.array_equal(one[1], again[1])
    assert not torch.equal(one[0], other[0])


@pytest.mark.parametrize("before", [0, 2])
def test_restored_it_goes_on_bit_by_bit(world, before):
    tokens = world.encode(Prompt("storm")).values

    def after():
        frames = world.step(Controls(tokens, steps=1)).clone()
        return frames, world.audio()

    world.reset(9)
    for _ in range(before):
        world.step(Controls(tokens, steps=1))
    state = world.snapshot()
    expected = [after() for _ in range(2)]
    world.reset(1)
    for _ in range(2):  # as often as one likes
        world.restore(state)
        for frames, sound in expected:
            now, heard = after()
            assert torch.equal(now, frames)
            assert np.array_equal(heard, sound)


def test_refuses_another_worlds_state(pipe, world):
    with pytest.raises(ValueError, match="64x64"):
        world.restore(LTX2(pipe, 96, 64, ROWS).snapshot())


def test_fewer_steps_leave_out_what_is_close_to_noise():
    assert [len(schedule(steps)) for steps in (1, 2, 3, 4)] == [2, 4, 6, 8]
    for steps in (1, 2, 3, 4):
        levels = schedule(steps)
        assert levels[0] == 1.0, "it begins with noise"
        assert levels == sorted(levels, reverse=True)
        assert set(levels) <= set(schedule(4))


def test_opens_by_its_name_what_diffusers_saved(tmp_path, world, monkeypatch):
    monkeypatch.setenv("WORLDJOCKEY_WEIGHTS", str(tmp_path))
    with pytest.raises(WeightsMissing, match="wj weights get ltx-2"):
        load("ltx-2", device="cpu")
    world.pipe.save_pretrained(tmp_path / "diffusers" / "LTX-2.3-Distilled-Diffusers")
    with monkeypatch.context() as bare:
        bare.setitem(sys.modules, "diffusers", None)
        with pytest.raises(ExtraMissing, match=r"pip install 'worldjockey\[ltx\]'"):
            load("ltx-2", device="cpu")
    again = load("ltx-2:size=720p", device="cpu")
    assert (again.spec.width, again.spec.height, again.spec.fps, again.spec.audio_rate) == (1280, 704, 24.0, RATE)
    assert load("ltx-2", device="cpu").spec.height == 480
    small = LTX2(again.pipe, SIZE, SIZE, ROWS)
    ours, theirs = (played(each, "storm at night")[0] for each in (world, small))
    same(ours[0], theirs[0])
    np.testing.assert_allclose(ours[1], theirs[1], atol=1e-5)
    assert sounds("ltx-2"), "the outputs know before it is opened"
    assert set(entry_for("ltx-2").options["size"]) == set(ltx.SIZES)


def test_says_what_is_missing_or_not_distilled(tmp_path):
    with pytest.raises(WeightsMissing, match="wj weights get ltx-2"):
        LTX2.load(tmp_path, "cpu")
    (tmp_path / "model_index.json").write_text("{}")
    with pytest.raises(ValueError, match="wj weights get ltx-2"):
        LTX2.load(tmp_path, "cpu")
    tiny(use_dynamic_shifting=True, shift_terminal=0.1).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="not distilled"):
        LTX2.load(tmp_path, "cpu")


def test_nothing_is_compiled_after_warming_up(world):
    counted = CountingCompiler()
    torch.compiler.reset()
    fast = LTX2(tiny(), SIZE, SIZE, ROWS)
    fast.warm(counted)
    before = counted.graphs
    assert before >= 1, "the blocks"
    same(*(played(each, "sea at night", "rain")[1][0] for each in (world, fast)))
    for steps in (1, 2, 3, 4):
        played(fast, "rain", steps=steps)
    assert counted.graphs == before
    torch.compiler.reset()


def test_it_plays_uncompiled_where_nothing_compiles(world, caplog):
    def no_compiler(graph, inputs):
        raise RuntimeError("no triton here")

    slow = LTX2(tiny(), SIZE, SIZE, ROWS)
    slow.warm(no_compiler)
    assert any("without torch.compile" in record.message and record.exc_info for record in caplog.records)
    same(*(played(each, "sea")[0][0] for each in (world, slow)))


def test_a_gpus_arithmetic_plays(tmp_path, world):
    world.pipe.save_pretrained(tmp_path)
    pipe = diffusers.pipelines.ltx2.LTX2ConditionPipeline.from_pretrained(tmp_path, dtype=kinds(torch.device("cuda")))
    assert (pipe.transformer.dtype, pipe.vocoder.dtype) == (torch.bfloat16, torch.float32)
    half = LTX2(pipe, SIZE, SIZE, ROWS)
    for frames, sound in played(half, "sea", "rain"):
        assert frames.dtype == torch.uint8
        assert len(sound) == len(frames) * RATE / 24
        assert np.isfinite(sound).all()


def test_the_world_process_sends_each_frame_with_its_part_of_the_sound(world, monkeypatch, wait_for):
    box, status, ring, audio = Mailbox(), Cell(16384), FrameRing(SIZE * SIZE * 3, 8), AudioRing()
    stop, shown, heard, made, sound, step, hear = threading.Event(), [], [], [], [], world.step, world.audio
    monkeypatch.setattr(audio, "write", heard.append)
    publish = ring.write
    monkeypatch.setattr(
        ring, "write", lambda pixels, info: shown.append((pixels.copy(), len(heard))) or publish(pixels, info)
    )
    monkeypatch.setattr(world, "step", lambda controls: made.append(step(controls)) or made[-1])
    monkeypatch.setattr(world, "audio", lambda: sound.append(hear()) or sound[-1])
    player = WorldStepper(world, box, WorldOptions("ltx-2", audio=audio))
    box.post("prompt", "neon city in the rain", 1.0)
    player.encoder.once()
    thread = threading.Thread(target=world_process._play, args=(player, ring, status, {}, stop), daemon=True)
    thread.start()
    try:
        wait_for(lambda: len(shown) >= CHUNK_FRAMES + NEW)
    finally:
        stop.set()
        thread.join(120)
        for cell in (box, status, ring, audio):
            cell.unlink()
    count = CHUNK_FRAMES + NEW
    assert np.array_equal(np.stack([pixels for pixels, _ in shown[:count]]), torch.cat(made[:2]).numpy())
    assert [number for _, number in shown[:count]] == list(range(1, count + 1)), "its sound goes out with each frame"
    assert {(len(chunk.samples), chunk.rate) for chunk in heard[:count]} == {(RATE // 24, RATE)}
    np.testing.assert_array_equal(np.concatenate([chunk.samples for chunk in heard[:count]]), np.concatenate(sound[:2]))
