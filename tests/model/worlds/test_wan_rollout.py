"""The cached rollout is held against a network written by its formulas that sees the whole history and has no cache."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import wan_files
import wan_in_a_team
import wan_without_cache
from worldjockey.model.worlds.wan import kernels
from worldjockey.model.worlds.wan.config import TRAINED_NOISE_LEVELS, WanConfig, ladder, windows
from worldjockey.model.worlds.wan.rollout import Rollout, levels, merge_lora, network_weights, noise_share, scaled

pytestmark = pytest.mark.slow

TINY = WanConfig(dim=48, ffn=64, heads=2, layers=3, freq_dim=16, text_dim=12, text=7, channels=4, window=9, sink=3)
ROWS, COLUMNS = 4, 6
SMALL = (2, 4)
CPU = torch.device("cpu")


WEIGHTS = wan_files.network(TINY)
TEXTS = [torch.randn(n, TINY.text_dim, generator=torch.Generator().manual_seed(n)) for n in (5, 7, 4)]


def rollout(config=TINY, **kwargs):
    return Rollout(config, [(ROWS, COLUMNS), SMALL], CPU, weights=WEIGHTS, **kwargs)


class Whole:
    """What the rollout should draw, from all of its history at once."""

    def __init__(self, config=TINY):
        self.config, self.clean, self.texts, self.seen = config, [], [], []
        self.peer = wan_without_cache.WithoutCache(WEIGHTS, config, ROWS, COLUMNS)

    def narrow(self, seen):
        """From here on: which chunks each one saw, where windows were not all alike."""
        self.seen = seen
        self.peer.visible = self.seen.__getitem__

    @torch.no_grad()
    def chunk(self, noise, steps, text):
        text = torch.cat([text, torch.zeros(self.config.text - len(text), self.config.text_dim)])
        clean = x = next(noise)
        for level in levels(steps):
            share = noise_share(level, self.config.shift)
            if level != TRAINED_NOISE_LEVELS[0]:
                x = (1 - share) * clean + share * next(noise)
            past = [0.0] * len(self.clean)
            clean = x - share * self.peer.flow([*self.clean, x], [*past, 1000 * share], [*self.texts, text])
        self.clean.append(clean)
        self.texts.append(text)
        return clean

    def forget_but(self, kept, text):
        """What a re-cache does: only what is still seen remains, as if it had been drawn under the new text."""
        text = torch.cat([text, torch.zeros(self.config.text - len(text), self.config.text_dim)])
        self.clean = [self.clean[i] for i in kept]
        self.texts = [text] * len(kept)


def noise_of(r):
    return (r.transformer.unpatchify_and_maybe_gather_cp(n) for n in r._noise(4))


def same(a, b, tolerance=1e-4):
    return float((a - b).abs().max()) < tolerance


@pytest.mark.parametrize(
    "config",
    [TINY, replace(TINY, sink=0), replace(TINY, frames=1, sink=2, window=3)],
    ids=["sink", "no sink", "single frames"],
)
def test_the_cached_rollout_is_full_attention_over_its_history_beyond_the_windows_edge(config):
    r, whole = rollout(config), Whole(config)
    r.set_text(TEXTS[0])
    for i in range(config.chunks + 4):
        want = whole.chunk(noise_of(r), 1 + i % 4, TEXTS[0])
        assert same(r.chunk(1 + i % 4), want), f"chunk {i}"
    narrow = Whole(replace(config, window=config.window - config.frames))
    narrow.clean, narrow.texts = whole.clean[:], whole.texts[:]
    wrong = narrow.chunk(noise_of(r), 4, TEXTS[0])
    assert not same(r.chunk(4), wrong, 1e-2), "the oldest chunk of the window counts, or this test could not fail"


@pytest.mark.parametrize("config", [TINY, replace(TINY, sink=0)], ids=["sink", "no sink"])
@pytest.mark.parametrize("widths", [(9, 6, 9), (6, 9), (9, 6, 6, 9, 6)])
def test_a_window_that_is_narrowed_and_widened_sees_what_it_should_and_nothing_else(config, widths):
    """What was forgotten stays forgotten; what was seen once is remembered as it was seen."""
    r, whole = rollout(config), Whole(config)
    r.set_text(TEXTS[0])
    kept, seen = [], []  # chunks in the cache now; what each chunk saw, itself included
    whole.narrow(seen)
    where = {t.data_ptr() for t in (r.cache.network_cache.block_caches[0].self_attn._k,)}
    for width in widths:
        r.widen(width)
        sink, rolling = config.sink_chunks, width // config.frames
        for _ in range(3):
            i = len(seen)
            kept = (
                [*kept[:sink], *[*kept, i][max(sink, len(kept) + 1 - rolling) :]] if len(kept) >= sink else [*kept, i]
            )
            seen.append(list(kept))
            want = whole.chunk(noise_of(r), 2, TEXTS[0])
            assert same(r.chunk(2), want), f"chunk {i} of a window of {width}"
        where.add(r.cache.network_cache.block_caches[0].self_attn._k.data_ptr())
    assert len(where) == 1, "all in the same memory, which a graph reads from"
    everything = Whole(config)
    everything.clean, everything.texts = whole.clean[:], whole.texts[:]
    assert not same(r.chunk(2), everything.chunk(noise_of(r), 2, TEXTS[0]), 1e-2), "or this test could not fail"


def test_widths_are_whole_chunks_that_leave_a_past():
    assert windows(WanConfig()) == (21, 15, 9)
    assert windows(WanConfig(window=9, sink=3)) == (9, 6)
    assert windows(WanConfig(window=6)) == (6,)
    with pytest.raises(ValueError, match="whole number"):
        rollout().widen(7)


def test_the_memory_becomes_shorter_before_steps_go_and_one_step_is_the_last_resort():
    assert ladder(3) == ((4, 0), (4, 1), (3, 1), (3, 2), (2, 2), (1, 2))
    assert ladder(2) == ((4, 0), (4, 1), (3, 1), (2, 1), (1, 1))
    assert ladder(1) == ((4, 0), (3, 0), (2, 0), (1, 0))
    assert ladder(3, small=True) == ((4, 0), (4, 1), (3, 1), (3, 2), (4, 3), (3, 3), (2, 3), (1, 3))
    assert ladder(2, small=True) == ((4, 0), (4, 1), (3, 1), (4, 2), (3, 2), (2, 2), (1, 2))


def test_a_smaller_frame_uses_the_same_memory_and_network_and_its_past_is_the_larger_ones():
    r, small = rollout(), Rollout(TINY, [SMALL], CPU, weights=WEIGHTS)
    r.set_text(TEXTS[0])
    small.set_text(TEXTS[0])
    assert r.newest() is None
    r.resize(SMALL, TINY.window)  # before the first chunk
    assert r.chunk(2).shape == (3, 4, *SMALL)
    r.reset(4)
    small.reset(4)
    for _ in range(TINY.chunks + 2):
        assert same(r.chunk(2), small.chunk(2)), "as one that never was larger"
    r.resize((ROWS, COLUMNS), TINY.window)
    large = r.newest()
    where = {t.data_ptr() for t in (r.cache.network_cache.block_caches[0].self_attn._k,)}
    assert large.shape == (3, 4, ROWS, COLUMNS)
    assert same(large, scaled(small.newest(), (ROWS, COLUMNS)))
    other = rollout()
    other.set_text(TEXTS[0])
    other.past, other.drawn, other.seed = [p.clone() for p in r.past], r.drawn, r.seed
    other.recache()
    assert same(r.chunk(2), other.chunk(2)), "what it remembers is computed again, as after a new prompt"
    r.resize(SMALL, TINY.window)
    assert {t.data_ptr() for t in (r.cache.network_cache.block_caches[0].self_attn._k,)} == where


def test_looks_come_back_in_whatever_width_and_a_recache_keeps_to_it():
    r, other = rollout(), rollout()
    r.set_text(TEXTS[0])
    for _ in range(TINY.chunks + 2):
        r.chunk(2)
    state = r.snapshot()
    want = []
    for w in (r, other):
        w.restore(state)
        w.widen(6)
        want.append([w.chunk(2), w.chunk(2)])
    assert all(torch.equal(a, b) for a, b in zip(*want, strict=True))
    other.restore(state)  # into a window that is narrow already
    assert torch.equal(other.chunk(2), want[0][0])
    kept = other.snapshot()
    other.set_text(TEXTS[1])
    other.recache()
    assert len(other.past) == other.config.chunks - 1
    assert not same(other.chunk(2), want[0][1], 1e-2)
    r.widen(9)
    r.restore(kept)
    other.restore(kept)
    assert len(r.past) == len(other.past) == other.config.chunks < r.config.chunks
    assert not torch.equal(r.chunk(2), other.chunk(2)), "a wide window has room for a narrow look: nothing rolls out"


def test_after_a_swap_the_past_keeps_the_text_it_was_drawn_under():
    r, whole = rollout(), Whole()
    for i in range(8):
        text = TEXTS[0] if i < 4 else TEXTS[1]
        if i in (0, 4):
            r.set_text(text)
        want = whole.chunk(noise_of(r), 2, text)
        assert same(r.chunk(2), want), f"chunk {i}"


@pytest.mark.parametrize("switch", [1, 3, 4, 6])
def test_after_a_recache_what_is_seen_of_the_past_was_drawn_under_the_new_text(switch):
    r, whole = rollout(), Whole()
    r.set_text(TEXTS[0])
    for i in range(switch):
        want = whole.chunk(noise_of(r), 2, TEXTS[0])
        assert same(r.chunk(2), want), f"chunk {i}"
    r.set_text(TEXTS[1])
    r.recache()
    seen = [i for i in range(switch) if i < TINY.sink_chunks or i > switch - TINY.window // TINY.frames]
    whole.forget_but(seen, TEXTS[1])
    for i in range(5):
        want = whole.chunk(noise_of(r), 2, TEXTS[1])
        assert same(r.chunk(2), want), f"chunk {i} after the switch"


def test_a_swap_and_a_recache_are_two_different_pictures_and_both_differ_from_no_switch():
    drawn = {}
    for how in ("none", "swap", "recache"):
        r = rollout()
        r.set_text(TEXTS[0])
        for _ in range(3):
            r.chunk(2)
        if how != "none":
            r.set_text(TEXTS[1])
        if how == "recache":
            r.recache()
        drawn[how] = r.chunk(2)
    for a, b in (("none", "swap"), ("none", "recache"), ("swap", "recache")):
        assert not same(drawn[a], drawn[b], 1e-2), (a, b)


def test_memory_is_constant_and_positions_stay_small_however_long_it_rolls():
    r = rollout()
    r.set_text(TEXTS[0])
    sizes = set()
    for i in range(3 * TINY.chunks):
        r.chunk(1)
        if i >= TINY.chunks:
            blocks = r.cache.network_cache.block_caches
            tensors = [t for b in blocks for t in (b.self_attn.cached_k(), b.self_attn.cached_v())]
            where = tuple(t.data_ptr() for t in tensors)
            sizes.add((where, sum(t.numel() for t in tensors), len(r.past), r.cache.rope_freqs.shape))
    assert len(sizes) == 1, "the same buffers, of the same size, from the first full window on"
    assert sizes.pop()[2] == TINY.chunks


def test_a_snapshot_brings_back_the_very_same_bits_also_in_another_rollout():
    r, other = rollout(), rollout()
    r.reset(7)
    r.set_text(TEXTS[0])
    for _ in range(TINY.chunks + 1):
        r.chunk(2)
    state = r.snapshot()
    want = [r.chunk(2) for _ in range(3)]
    r.set_text(TEXTS[2])
    r.recache()
    for w in (r, other):
        w.restore(state)
        for chunk in want:
            assert torch.equal(w.chunk(2), chunk)
    fresh = rollout()
    first = fresh.chunk(1)
    other.restore(rollout().snapshot())
    assert torch.equal(other.chunk(1), first), "a look from before the first chunk"


def test_the_seed_alone_decides_and_reset_forgets():
    r = rollout()
    r.set_text(TEXTS[0])

    def run(seed):
        r.reset(seed)
        return torch.cat([r.chunk(2) for _ in range(3)])

    one = run(1)
    assert not same(one, run(2), 0.1)
    assert torch.equal(one, run(1))
    assert len({run(s).sum().item() for s in (0, -1, 2**40)}) == 3


def test_steps_take_the_trained_levels_evenly():
    assert [levels(n) for n in (0, 1, 2, 3, 4, 9)] == [
        (1000,), (1000,), (1000, 500), (1000, 750, 250), TRAINED_NOISE_LEVELS, TRAINED_NOISE_LEVELS,
    ]  # fmt: skip
    assert noise_share(1000, 5.0) == 1.0
    assert noise_share(500, 5.0) == pytest.approx(5 * 0.5 / 3)
    assert noise_share(0, 5.0) == 0.0


def test_a_window_that_does_not_fit_its_chunks_is_refused():
    with pytest.raises(ValueError, match="whole number"):
        WanConfig(window=20)
    with pytest.raises(ValueError, match="past"):
        WanConfig(window=3)


@pytest.mark.parametrize("interleaved", [True, False])
@pytest.mark.parametrize("inplace", [True, False])
def test_the_rotary_twin_turns_pairs_as_complex_numbers(interleaved, inplace):
    x = torch.randn(2, 5, 3, 8)
    angle = torch.randn(5, 4)
    full = angle.repeat_interleave(2, -1) if interleaved else angle.repeat(1, 2)
    pairs = x.unflatten(-1, (4, 2)) if interleaved else x.unflatten(-1, (2, 4)).transpose(-1, -2)
    turned = torch.view_as_real(
        torch.view_as_complex(pairs.contiguous()) * torch.polar(torch.ones(5, 4), angle)[:, None]
    )
    want = turned.flatten(-2) if interleaved else turned.transpose(-1, -2).flatten(-2)
    before = x.clone()
    got = kernels.rotate(x, full[:, None, None], interleaved=interleaved, inplace=inplace)
    torch.testing.assert_close(got, want)
    assert torch.equal(x, got if inplace else before)


def test_the_attention_twin_tells_the_sum_that_parts_are_put_together_by():
    q, k, v = (torch.randn(1, 2, n, 16) for n in (3, 5, 5))
    out, none = kernels.attend(q, k, v)
    again, lse = kernels.attend(q, k, v, return_lse=True)
    scores = q @ k.transpose(-1, -2) / 4
    torch.testing.assert_close(out, scores.softmax(-1) @ v)
    torch.testing.assert_close(again, out)
    torch.testing.assert_close(lse, scores.logsumexp(-1, keepdim=True))
    assert none is None


def test_cuda_keeps_the_fused_kernels_and_only_cuda():
    fused = (object(), object())
    assert kernels.kernels("cuda", fused) is fused
    for device in ("cpu", "mps"):
        assert kernels.kernels(device, fused) == (kernels.rotate, kernels.attend)


def test_a_missing_package_is_named_with_its_fix(monkeypatch):
    monkeypatch.setattr(kernels, "find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'worldjockey\[wan\]'"):
        kernels.fit_flashdreams("cpu")
    monkeypatch.setattr(kernels, "find_spec", lambda name: None if name == "triton" else object())
    with pytest.raises(ModuleNotFoundError, match="pip install triton"):
        kernels.fit_flashdreams("cuda")


def test_published_checkpoints_are_read_in_all_their_wrappings():
    bare = {"head.head.bias": torch.ones(2)}
    ema = {"generator": {}, "generator_ema": {f"model._fsdp_wrapped_module.{k}": v for k, v in bare.items()}}
    for wrapped in (bare, {"generator": {f"model.{k}": v for k, v in bare.items()}}, ema):
        assert network_weights(wrapped) == bare


def test_an_adapter_is_added_to_the_layers_it_names():
    weights = {"blocks.0.ffn.0.weight": torch.zeros(4, 3), "blocks.0.ffn.0.bias": torch.ones(4)}
    down, up = torch.randn(2, 3), torch.randn(4, 2)
    lora = {"generator_lora": {
        "base_model.model.blocks.0.ffn.0.lora_A.weight": down, "base_model.model.blocks.0.ffn.0.lora_B.weight": up,
    }}  # fmt: skip
    merged = merge_lora(weights, lora, 0.5)
    torch.testing.assert_close(merged["blocks.0.ffn.0.weight"], 0.5 * up @ down)
    assert merged["blocks.0.ffn.0.bias"] is weights["blocks.0.ffn.0.bias"]
    with pytest.raises(ValueError, match=r"blocks\.1"):
        merge_lora(weights, {k.replace("blocks.0", "blocks.1"): v for k, v in lora["generator_lora"].items()})


@pytest.mark.parametrize("at", [0, 3, TINY.chunks + 2])
@pytest.mark.parametrize("call", [1, 2, 3])
def test_a_pass_that_fails_costs_its_chunk_and_no_other(monkeypatch, at, call):
    """A GPU can be out of memory for a moment. The cache had made room for the chunk already."""
    r, whole = rollout(), rollout()
    for each in (r, whole):
        each.set_text(TEXTS[0])
        for _ in range(at):
            each.chunk(2)
        each.settle()
    flow, calls = Rollout._flow, []

    def fails_once(rollout, *args):
        calls.append(1)
        if len(calls) == call:
            raise RuntimeError("CUDA out of memory")
        return flow(rollout, *args)

    with monkeypatch.context() as patch:
        patch.setattr(Rollout, "_flow", fails_once)
        if call == 3:  # two passes draw it, the third remembers it
            r.chunk(2)
        with pytest.raises(RuntimeError, match="out of memory"):
            r.chunk(2)
    if call < 3:  # beyond the window the cache also held traces of what has left it
        assert same(r.chunk(2), whole.chunk(2), 1e-4 if at < TINY.chunks else 1e-2)
    else:  # it was drawn, and then could not be remembered
        r.chunk(2)
    assert len(r.past) == min(at, TINY.chunks)
    r.reset(0)
    whole.reset(0)
    assert same(r.chunk(2), whole.chunk(2))


def test_compiled_and_as_a_graph_it_draws_the_same_through_switches_resets_and_looks_that_come_back(monkeypatch):
    """On a CPU a stand-in of the graph's own signature, that insists on the same memory at every replay."""
    wan21 = "flashdreams.recipes.wan.transformer.wan21"
    monkeypatch.setattr(f"{wan21}.CUDAGraphWrapper", wan_files.Graph)
    plain, graphed = rollout(), rollout(compiler=(counted := wan_files.CountingCompiler()))

    def play(r):
        r.reset(3)
        for i in range(TINY.chunks + 4):
            if i in (0, 6):
                r.set_text(TEXTS[i % 4])
            yield r.chunk(2)
        r.recache()
        state = r.snapshot()
        for _ in range(4):
            yield r.chunk(1)
        for window in (6, 9, 6):
            r.widen(window)
            for _ in range(r.config.chunks + 4):
                yield r.chunk(1)
        r.restore(state)
        yield r.chunk(1)
        r.widen(9)

    for _ in range(2):
        for a, b in zip(play(plain), play(graphed), strict=True):
            assert torch.equal(a, b)
    assert counted.graphs
    assert graphed.transformer._network_call.replays > 20


def test_two_processes_share_the_tokens_of_one_rollout(tmp_path):
    """Context parallelism by ring attention, as on several GPUs; here over gloo."""
    script = Path(wan_in_a_team.__file__)
    env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(script.parent)}
    run = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run([*run, str(script), str(tmp_path / "two.pt")], env=env, capture_output=True, text=True,
                          timeout=240)  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert same(torch.load(tmp_path / "two.pt", weights_only=True), wan_in_a_team.drawn())
