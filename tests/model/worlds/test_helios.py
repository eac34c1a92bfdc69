"""The Helios world against diffusers' own pipeline, with tiny random networks on the very path of the large ones."""

from __future__ import annotations

import gc
import sys
import threading

import numpy as np
import pytest
import torch
from helios_files import tiny
from wan_files import CountingCompiler
from worldjockey.model import Controls, ExtraMissing, Prompt, WeightsMissing, load, slerp
from worldjockey.model.devices import encoder_device
from worldjockey.model.worlds.helios import world as helios
from worldjockey.model.worlds.helios.decode import ChunkDecoder
from worldjockey.model.worlds.helios.memory import PAST, _block_noise, _factor
from worldjockey.model.worlds.helios.prompt import SHARED_GPU_BYTES, encode_images
from worldjockey.model.worlds.helios.world import CHUNK_LATENTS, Helios, kinds
from worldjockey.node.ipc.cell import Cell
from worldjockey.node.ipc.frame_ring import FrameRing
from worldjockey.node.ipc.mailbox import Mailbox
from worldjockey.node.ipc.process import read_status
from worldjockey.node.world import process as world_process
from worldjockey.node.world.process import WorldOptions, WorldStepper

pytestmark = pytest.mark.slow

diffusers = pytest.importorskip("diffusers")

SIZE, ROWS, TEXT = 32, 24, 512


@pytest.fixture(scope="module")
def pipe():
    return tiny(use_dynamic_shifting=True)


@pytest.fixture
def world(pipe):
    return Helios(pipe, SIZE, SIZE, ROWS)


def every_frame(world, tokens, chunks, steps=2):
    """Every frame of so many chunks, (n, h, w, 3)."""
    return torch.cat([world.step(Controls(tokens, steps=steps)) for _ in range(CHUNK_LATENTS * chunks)])


def embeds(tokens):
    """What the pipeline is given for the same prompt."""
    return torch.nn.functional.pad(torch.from_numpy(tokens[:-1]), (0, 0, 0, TEXT - ROWS))[None]


def called(pipe, tokens, chunks, seed, steps=2, **options):
    """One call of diffusers' pipeline, distilled as its authors call it: uint8 (n, h, w, 3)."""
    video = pipe(
        prompt_embeds=embeds(tokens), height=SIZE, width=SIZE, num_frames=33 * chunks, guidance_scale=1.0,
        pyramid_num_inference_steps_list=[steps] * 3, is_amplify_first_chunk=True, output_type="pt",
        generator=torch.Generator().manual_seed(seed), **options,
    ).frames[0]  # fmt: skip
    return (video * 255).round().to(torch.uint8).permute(0, 2, 3, 1)


def whole(pictures_, chunks):
    """The pipeline cuts the last frames off when it joins chunks."""
    return pictures_[: (33 * chunks - 1) // 4 * 4 + 1]


def same(a, b):
    assert a.shape == b.shape
    assert len(a.unique()) > 20, "there is something to compare"
    assert int((a.int() - b.int()).abs().max()) <= 1  # rounding to a byte
    assert (a == b).float().mean() > 0.999


@pytest.mark.parametrize("steps", [1, 2, 4])
def test_stepwise_is_one_call_of_the_pipeline(pipe, world, steps):
    tokens = world.encode(Prompt("neon city in the rain")).values
    world.reset(5)
    ours = every_frame(world, tokens, 2, steps)
    same(whole(ours, 2), called(pipe, tokens, 2, 5, steps))


@pytest.mark.parametrize("scheduler", [{}, {"use_dynamic_shifting": True, "time_shift_type": "exponential"}])
def test_latents_are_the_pipelines_bit_for_bit(scheduler):
    pipe = tiny(**scheduler)
    world = Helios(pipe, SIZE, SIZE, ROWS)
    tokens = world.encode(Prompt("sea at night")).values
    world.reset(1)
    drawn = []
    for _ in range(3):
        world.step(Controls(tokens, steps=2))
        drawn.append(world.snapshot().data["chunk"])
        for _ in range(CHUNK_LATENTS - 1):
            world.step(Controls(tokens, steps=2))
    latents = pipe(
        prompt_embeds=embeds(tokens), height=SIZE, width=SIZE, num_frames=99, guidance_scale=1.0, output_type="latent",
        pyramid_num_inference_steps_list=[2, 2, 2], is_amplify_first_chunk=True,
        generator=torch.Generator().manual_seed(1),
    ).frames  # fmt: skip
    assert torch.equal(torch.cat(drawn, 2), latents)


def test_the_checkpoints_own_gamma_plays_where_single_precision_has_no_factor(monkeypatch):
    """Whether single precision finds one depends on the CPU; here it never does."""
    cholesky = torch.linalg.cholesky

    def refuses_float32(matrix):
        if matrix.dtype == torch.float32:
            raise torch.linalg.LinAlgError("not positive-definite")
        return cholesky(matrix)

    _factor.cache_clear()
    monkeypatch.setattr(torch.linalg, "cholesky", refuses_float32)
    world = Helios(tiny(gamma=1 / 3), SIZE, SIZE, ROWS)
    assert len(every_frame(world, world.encode(Prompt("sea")).values, 1)) == 33
    noise = _block_noise(torch.Size((1, 4, 1, 64, 64)), (1, 2, 2), 1 / 3, torch.Generator().manual_seed(0))
    blocks = noise.view(4, 32, 2, 32, 2).permute(0, 1, 3, 2, 4).reshape(-1, 4)
    assert torch.allclose(torch.cov(blocks.T), torch.eye(4) * 4 / 3 - 1 / 3, atol=0.08)
    _factor.cache_clear()


def test_a_prompt_switched_live_is_the_pipelines_own_switch_at_the_next_chunk(pipe, world):
    a, b = (world.encode(Prompt(text)).values for text in ("neon city in the rain", "forest at night"))
    world.reset(3)
    world.step(Controls(a, steps=2))
    ours = torch.cat(
        [world.step(Controls(b, steps=2)) for _ in range(2 * CHUNK_LATENTS - 1)]
    )  # said within the first chunk
    done = []

    def switch(pipe, i, t, given):
        done.append(t)
        return {"prompt_embeds": embeds(b)} if len(done) == 12 else given  # the first chunk takes twice 2 x 3 steps

    theirs = called(pipe, a, 2, 3, callback_on_step_end=switch, callback_on_step_end_tensor_inputs=["prompt_embeds"])
    assert len(done) == 18
    same(whole(ours, 2)[: len(theirs) - 1], theirs[1:])
    assert not torch.equal(theirs, called(pipe, a, 2, 3)), "the switch shows"


@pytest.mark.parametrize("frames", [1, 40])
def test_begins_with_an_image_or_a_clip_as_the_pipeline_does(pipe, world, frames, monkeypatch):
    given = np.random.default_rng(0).integers(0, 255, (frames, SIZE, SIZE, 3), np.uint8)
    prompt = Prompt("sea", image=given[0]) if frames == 1 else Prompt("sea", video=given)
    tokens = world.encode(prompt).values
    world.reset(4)
    ours = every_frame(world, tokens, 2)
    look = encode_images(pipe, given, SIZE, SIZE, torch.device("cpu"))
    if frames == 1:
        theirs = called(pipe, tokens, 2, 4, image_latents=look.anchor, fake_image_latents=look.past)
    else:
        assert look.past.shape[2] == CHUNK_LATENTS
        monkeypatch.setattr(pipe, "prepare_video_latents", lambda *_, **__: (look.anchor, look.past))
        theirs = called(pipe, tokens, 2, 4, video=torch.from_numpy(given).permute(0, 3, 1, 2)[None] / 255)
    same(whole(ours, 2), theirs)


def test_an_image_cuts_in_at_half_its_weight_and_only_once(world):
    plain = world.encode(Prompt("sea")).values
    look = world.encode(Prompt("sea", image=np.full((20, 50, 3), 200, np.uint8))).values
    world.reset(0)
    every_frame(world, plain, 1)
    for weight, began in ((0.4, False), (0.6, True), (0.9, False), (0.3, False), (0.7, True)):
        before = world.snapshot().data["anchor"]
        every_frame(world, slerp([look, plain], [weight, 1 - weight]), 1)
        assert torch.equal(before, world.snapshot().data["anchor"]) is not began, weight


@pytest.mark.parametrize("drawn", [0, 1, 4, CHUNK_LATENTS - 1, CHUNK_LATENTS + 2])
def test_restored_it_goes_on_bit_by_bit(world, drawn):
    tokens = world.encode(Prompt("storm")).values
    world.reset(9)
    for _ in range(drawn):
        world.step(Controls(tokens, steps=1))
    state = world.snapshot()
    expected = [world.step(Controls(tokens, steps=1)) for _ in range(CHUNK_LATENTS + 3)]
    world.reset(1)
    every_frame(world, world.encode(Prompt("forest")).values, 1, 1)
    for _ in range(2):  # as often as one likes
        world.restore(state)
        assert all(torch.equal(world.step(Controls(tokens, steps=1)), e) for e in expected)


def test_refuses_another_worlds_state(pipe, world):
    with pytest.raises(ValueError, match="32x32"):
        world.restore(Helios(pipe, 64, 32, ROWS).snapshot())


def test_seeds_decide(world):
    tokens = world.encode(Prompt("rain")).values

    def first(seed):
        world.reset(seed)
        return world.step(Controls(tokens, steps=1))

    assert torch.equal(first(1), first(1))
    assert not torch.equal(first(1), first(2))


def test_memory_stays_the_same_for_ever(world, monkeypatch):
    draw = world.decoder.draw  # of the frames, one a chunk is enough here
    monkeypatch.setattr(world.decoder, "draw", lambda latent: draw(latent) if world._drawn < 2 else latent[0, :3])
    tokens = world.encode(Prompt("neon city")).values
    sizes, held = set(), []
    for chunk in range(20):
        for _ in range(CHUNK_LATENTS):
            world.step(Controls(tokens))
        data = world.snapshot().data
        sizes.add((data["past"].shape, data["past"].untyped_storage().nbytes(), data["anchor"].shape))
        assert data["past"].isfinite().all()
        del data
        if chunk in (2, 19):
            gc.collect()
            held.append(sum(o.untyped_storage().nbytes() for o in gc.get_objects() if type(o) is torch.Tensor))
    assert sizes == {((1, 16, PAST, SIZE // 4, SIZE // 4), 4 * 16 * PAST * (SIZE // 4) ** 2, (1, 16, 1, 8, 8))}
    assert held[0] == held[1], "no tensor more after twenty chunks than after three"


def test_streamed_frames_are_those_of_the_whole_chunk(pipe):
    latents = torch.randn(1, 16, CHUNK_LATENTS, 8, 8, generator=torch.Generator().manual_seed(0))
    decoder = ChunkDecoder(pipe.vae)
    mean, std = (
        torch.tensor(getattr(pipe.vae.config, k)).view(1, 16, 1, 1, 1) for k in ("latents_mean", "latents_std")
    )
    for _ in range(2):
        decoder.begin()
        streamed = [decoder.draw(latents[:, :, i : i + 1]) for i in range(CHUNK_LATENTS)]
        pipe.vae.encode(torch.zeros(1, 3, 1, SIZE, SIZE))  # somebody encodes an image meanwhile
        assert [len(p) for p in streamed] == [1] + [4] * (CHUNK_LATENTS - 1)
        with torch.no_grad():
            video = pipe.vae.decode(latents * std + mean, return_dict=False)[0]
        video = ((video[0] * 0.5 + 0.5) * 255).round().to(torch.uint8).permute(1, 2, 3, 0)
        same(torch.cat(streamed), video)


def test_a_frame_leaves_before_the_chunk_is_drawn(world, monkeypatch):
    drawn = []
    draw = world.decoder.draw
    monkeypatch.setattr(world.decoder, "draw", lambda latent: drawn.append(latent) or draw(latent))
    tokens = world.encode(Prompt("rain")).values
    assert world.step(Controls(tokens)).shape == (1, SIZE, SIZE, 3)
    assert len(drawn) == 1
    assert world.step(Controls(tokens)).shape == (4, SIZE, SIZE, 3)
    assert len(drawn) == 2
    assert world.spec.steps_per_chunk == CHUNK_LATENTS
    assert {"step_ms"} == world.timings.keys(), "only the first step of a chunk denoises"


def test_text_is_read_as_the_pipeline_reads_it(pipe, world):
    for text in ("neon city in the rain", "  Storm &amp; xyz at   night ", ""):
        tokens = world.encode(Prompt(text))
        expected, _ = pipe.encode_prompt(text, do_classifier_free_guidance=False, max_sequence_length=TEXT)
        assert tokens.values.shape == (ROWS + 1, 32)
        np.testing.assert_allclose(tokens.values[:ROWS], expected[0, :ROWS].detach().numpy(), atol=1e-5)
        assert expected[0, ROWS:].abs().max() == 0
    assert np.isfinite(world.encode(Prompt("rain " * 200)).values).all(), "what does not fit is not read"


def test_words_carry_weights_that_change_the_frame(world):
    tokens = world.encode(Prompt("Neon rain, don't dance, neon xyz"))
    assert tokens.words == ("neon", "rain", "don't", "dance", "xyz")
    gone = tokens.weighted({"rain": 0.0})
    changed = np.flatnonzero(np.abs(gone - tokens.values).max(1))
    assert len(changed) == 1
    assert not gone[changed].any()
    assert len(np.flatnonzero(np.abs(tokens.weighted({"neon": 2.0}) - tokens.values).max(1))) == 2, "both times"
    assert len(np.flatnonzero(np.abs(tokens.weighted({"xyz": 2.0}) - tokens.values).max(1))) >= 3, "all its pieces"
    assert np.array_equal(tokens.weighted({"forest": 0.0}), tokens.values)

    def after(values):
        world.reset(0)
        return every_frame(world, values, 1, 1)

    assert not torch.equal(after(tokens.values), after(tokens.weighted({"neon": -1.0})))


def test_mixed_prompts_stay_sensible(world):
    short, long = (world.encode(Prompt(t)).values for t in ("sea", "a neon city in the rain at night"))
    mixed = slerp([short, long], [0.5, 0.5])
    assert not mixed[-4:].any(), "rows that neither uses stay zero, which the network takes for silence"
    assert np.isfinite(mixed).all()
    world.reset(0)
    assert len(every_frame(world, mixed, 1, 1)) == 33


def test_opens_by_its_name_what_diffusers_saved(tmp_path, world, monkeypatch):
    monkeypatch.setenv("WORLDJOCKEY_WEIGHTS", str(tmp_path))
    with pytest.raises(WeightsMissing, match="wj weights get helios"):
        load("helios", device="cpu")
    world.pipe.save_pretrained(tmp_path / "BestWishYsh" / "Helios-Distilled")
    with monkeypatch.context() as bare:
        bare.setitem(sys.modules, "diffusers", None)
        with pytest.raises(ExtraMissing, match=r"pip install 'worldjockey\[helios\]'"):
            load("helios", device="cpu")
    again = load("helios", device="cpu")
    assert isinstance(again, Helios)
    assert (again.spec.width, again.spec.height, again.spec.fps) == (640, 384, 24.0)
    small = Helios(again.pipe, SIZE, SIZE, ROWS)
    tokens = small.encode(Prompt("storm at night")).values
    np.testing.assert_allclose(tokens, world.encode(Prompt("storm at night")).values, atol=1e-6)
    for w in (world, small):
        w.reset(3)
    same(every_frame(world, tokens, 1), every_frame(small, tokens, 1))


def test_is_played_by_prompts_words_and_pads(world):
    def played(*then):
        box = Mailbox()
        try:
            player = WorldStepper(world, box, WorldOptions("helios"))
            for name, value in (("prompt", "neon city in the rain"), ("pad/1/text", "forest"), ("transition", 0.0)):
                box.post(name, value, 1.0)
            player.encoder.once()
            made = [player.step(0.1) for _ in range(CHUNK_LATENTS)]
            for name, value in then:
                box.post(name, value, 2.0)
            made += [player.step(5.0) for _ in range(CHUNK_LATENTS)]
        finally:
            box.unlink()
        return torch.cat([frames for frames, _ in made])

    plain = played()
    assert len(plain) == 66
    assert torch.equal(plain, played()), "the same seed and hands are the same frames"
    for hands in (("word/rain", -1.0), ("pad/1", 1.0), ("steps", 3)):
        other = played(hands)
        assert torch.equal(plain[:33], other[:33])
        assert not torch.equal(plain[33:], other[33:]), hands


def test_the_world_process_shows_every_frame_in_order_at_an_even_pace(world, monkeypatch, wait_for):
    """The long step of a chunk and the short ones go by unseen."""
    box, status, ring, stop, shown = Mailbox(), Cell(16384), FrameRing(SIZE * SIZE * 3, 8), threading.Event(), []
    made, draw = [], world.decoder.draw
    monkeypatch.setattr(world.decoder, "draw", lambda latent: made.append(draw(latent)) or made[-1])
    publish = ring.write
    monkeypatch.setattr(
        ring, "write", lambda pixels, info: shown.append((pixels.copy(), info)) or publish(pixels, info)
    )
    player = WorldStepper(world, box, WorldOptions("helios"))
    box.post("prompt", "neon city in the rain", 1.0)
    player.encoder.once()
    thread = threading.Thread(target=world_process._play, args=(player, ring, status, {}, stop), daemon=True)
    thread.start()
    try:
        wait_for(lambda: len(shown) >= 70)
        said = read_status(status)
    finally:
        stop.set()
        thread.join(120)
        for cell in (box, status, ring):
            cell.unlink()
    assert np.array_equal(np.stack([pixels for pixels, _ in shown[:70]]), torch.cat(made)[:70].numpy())
    assert {"denoise_ms", "step_ms"} <= said.keys()
    assert min(info.span for _, info in shown[:70]) >= 1 / 24 - 1e-9


def test_looks_are_few_and_never_mistaken(world, monkeypatch):
    made = []

    def look(pipe, given, *_):
        made.append(int(given[0, 0, 0, 0]))
        return made[-1]

    monkeypatch.setattr(helios, "encode_images", look)
    places = {
        n: int(world.encode(Prompt(image=np.full((4, 4, 3), n, np.uint8))).values[-1].argmax()) for n in range(40)
    }
    assert len(set(places.values())) == len(world._starts) == 32
    assert {n: place for place, n in world._starts.values()} == {n: places[n] for n in range(8, 40)}, "the newest"
    world.encode(Prompt(image=np.full((4, 4, 3), 39, np.uint8)))
    assert len(made) == 40, "an image that is known is not encoded at again"


def test_a_gpus_arithmetic_is_the_pipelines_too(tmp_path, world):
    world.pipe.save_pretrained(tmp_path)
    pipe = diffusers.HeliosPyramidPipeline.from_pretrained(tmp_path, dtype=kinds(torch.device("cuda")))
    pipe.set_progress_bar_config(disable=True)
    assert (pipe.transformer.dtype, pipe.vae.dtype) == (torch.bfloat16, torch.float32)
    tokens = world.encode(Prompt("forest")).values
    world = Helios(pipe, SIZE, SIZE, ROWS)
    world.reset(2)
    same(whole(every_frame(world, tokens, 2), 2), called(pipe, tokens, 2, 2))


def no_compiler(graph, inputs):
    raise RuntimeError("no triton here")


@pytest.mark.parametrize("compiler", ["eager", no_compiler])
def test_compiled_or_not_it_plays_the_same(world, compiler, caplog):
    fast = Helios(tiny(use_dynamic_shifting=True), SIZE, SIZE, ROWS)
    if compiler == "eager":
        fast.warm(compiler)
        assert fast.pipe.transformer.blocks[0]._compiled_call_impl is not None
    else:
        fast.warm(compiler)
        (record,) = (r for r in caplog.records if "without torch.compile" in r.message)
        assert record.exc_info, "the log has the traceback"
    tokens = world.encode(Prompt("sea at night")).values
    for w in (world, fast):
        w.reset(6)
    same(every_frame(world, tokens, 1), every_frame(fast, tokens, 1))


def test_nothing_is_compiled_after_warming_up(world):
    counted = CountingCompiler()
    torch.compiler.reset()
    fast = Helios(tiny(use_dynamic_shifting=True), SIZE, SIZE, ROWS)
    fast.warm(counted)
    before = counted.graphs
    assert before > 3, "the blocks, and the decoder's three kinds of latent frames"
    image = np.zeros((40, 40, 3), np.uint8)
    for prompt in (Prompt("sea"), Prompt("forest", image=image), Prompt("rain", video=image[None].repeat(40, 0))):
        tokens = fast.encode(prompt).values
        for steps in (1, 2, 4):
            every_frame(fast, tokens, 1, steps)
        state = fast.snapshot()
        fast.reset(3)
        every_frame(fast, tokens, 1, 1)
        fast.restore(state)
        fast.step(Controls(tokens))
        assert counted.graphs == before, prompt.text
    torch.compiler.reset()


@pytest.mark.parametrize("offline", [True, False])
def test_the_fastest_attention_that_works_here_is_used_and_none_is_downloaded(world, monkeypatch, offline):
    network, asked = world.pipe.transformer, []
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", offline)

    def set_backend(name):
        asked.append(name)
        if name == "_flash_3":
            raise RuntimeError("flash attention 3 is not installed")

    monkeypatch.setattr(network, "set_attention_backend", set_backend)
    monkeypatch.setattr(network, "reset_attention_backend", lambda: asked.append("reset"))
    step = Helios.step

    def fails_with_the_second(helios_, controls):
        if asked[-1] == "_flash_3_hub":
            raise RuntimeError("no kernel image is available for this card")
        return step(helios_, controls)

    monkeypatch.setattr(Helios, "step", fails_with_the_second)
    world.choose_attention()
    hub = ["_flash_3_hub", "reset"] if offline else []
    assert asked == ["_flash_3", "reset", *hub, "flash"], "flash attention 2 works: nothing else is tried"
    assert world.snapshot().data["drawn"] == 0
    assert world._memory.fresh


def test_where_no_other_attention_works_it_plays_by_pytorchs(world):
    tokens = world.encode(Prompt("sea")).values
    world.reset(1)
    expected = every_frame(world, tokens, 1)
    world.choose_attention()
    world.reset(1)
    assert torch.equal(every_frame(world, tokens, 1), expected)


def test_says_what_is_missing(tmp_path, pipe):
    with pytest.raises(WeightsMissing, match="wj weights get helios"):
        Helios.load(tmp_path, "cpu")
    (tmp_path / "model_index.json").write_text("{}")
    with pytest.raises(ValueError, match="wj weights get helios"):
        Helios.load(tmp_path, "cpu")


def test_refuses_a_checkpoint_that_is_not_distilled(tmp_path, pipe):
    pipe.save_pretrained(tmp_path)
    index = tmp_path / "model_index.json"
    index.write_text(index.read_text().replace('"is_distilled": true', '"is_distilled": false'))
    with pytest.raises(ValueError, match="use Helios-Distilled"):
        Helios.load(tmp_path, "cpu")


def test_the_text_encoder_goes_where_there_is_room():
    cuda, cpu = torch.device("cuda"), torch.device("cpu")
    assert encoder_device(cuda, 80e9, SHARED_GPU_BYTES) == cuda
    assert encoder_device(cuda, SHARED_GPU_BYTES / 2, SHARED_GPU_BYTES) == cpu
    assert encoder_device(cpu, 0, SHARED_GPU_BYTES) == cpu
    assert encoder_device(torch.device("mps"), 0, SHARED_GPU_BYTES) == torch.device("mps")
