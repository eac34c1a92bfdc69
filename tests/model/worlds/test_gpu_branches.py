"""What only a GPU makes a world do: where its parts go, how they compute, what is compiled. The GPU is not there."""

from __future__ import annotations

import inspect
from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest
import torch
import turbo_files
import wan_files
from gpu import gpu
from helios_files import tiny as tiny_helios
from worldjockey.model import Controls, Prompt, load
from worldjockey.model.devices import choose_device
from worldjockey.model.train.fsdp import LEADER_TIMEOUT, join, shard
from worldjockey.model.worlds import distributed, turbo, umt5
from worldjockey.model.worlds.helios import world as helios
from worldjockey.model.worlds.helios.world import Helios
from worldjockey.model.worlds.image_to_image import SIZE_EIGHTHS, WARM_FRAMES
from worldjockey.model.worlds.turbo import Turbo
from worldjockey.model.worlds.wan import kernels
from worldjockey.model.worlds.wan import world as wan
from worldjockey.model.worlds.wan.config import WanConfig

pytestmark = pytest.mark.slow

TINY = WanConfig(dim=48, ffn=64, heads=2, layers=2, freq_dim=16, text_dim=12, text=300, window=9, sink=3)


def test_the_fake_is_asked_as_torchs_own_is():
    names = (
        "get_device_properties",
        "get_device_name",
        "synchronize",
        "set_device",
        "is_bf16_supported",
        "device_count",
    )
    real = {name: list(inspect.signature(getattr(torch.cuda, name)).parameters) for name in names}
    with gpu():
        assert {name: list(inspect.signature(getattr(torch.cuda, name)).parameters) for name in names} == real
        assert torch.zeros(1, device="cuda:0").device.type == "cpu"


def test_auto_takes_the_gpu_and_a_hand_may_take_another():
    with gpu():
        assert choose_device("auto").type == "cuda"
        assert choose_device("cpu").type == "cpu"
        assert choose_device("cuda:1") == torch.device("cuda", 1)


def test_turbo_computes_in_half_precision_compiled_for_each_of_its_sizes(tmp_path):
    root, drawn = turbo_files.write(tmp_path), []
    step = Turbo.step
    with gpu() as seen, pytest.MonkeyPatch.context() as patch:
        patch.setattr(turbo, "SHAPES", ((128, 128),))
        patch.setattr(Turbo, "step", lambda world, controls: drawn.append(step(world, controls)) or drawn[-1])
        world = Turbo.load(root, "auto")
        options = {"backend": "inductor", "dynamic": False, "options": {"triton.cudagraphs": True}}
        assert [given for _, given in seen.compiled] == [options] * 3
        assert {id(m) for m, _ in seen.compiled} == set(map(id, (world.unet, world.vae.encoder, world.vae.decoder)))
        assert {p.dtype for part in (world.unet, world.vae) for p in part.parameters()} == {torch.float16}
        assert [frames.shape[1] for frames in drawn] == [128 * n // 8 for n in SIZE_EIGHTHS for _ in range(WARM_FRAMES)]
        assert world.snapshot().data["latents"] is None, "what was drawn to warm up is forgotten"
        assert world.step(Controls(world.encode(Prompt("sea")).values)).shape == (1, 128, 128, 3)
        begun = []
        patch.setattr(torch.compiler, "cudagraph_mark_step_begin", lambda: begun.append(1))
        seen_live = np.zeros((128, 128, 3), np.uint8)
        world.step(Controls(world.encode(Prompt("sea")).values, live=seen_live, strength=0.4, steps=4))
        assert len(begun) == 6, "each call of a network is a graph of its own, so the number of steps captures none"


def test_turbo_compiles_without_cuda_graphs_where_those_fail(tmp_path, monkeypatch, caplog):
    root, step = turbo_files.write(tmp_path), Turbo.step

    def stepped(world, controls):
        if world._graphs:
            raise RuntimeError("no graphs here")
        return step(world, controls)

    with gpu() as seen, monkeypatch.context() as patch:
        patch.setattr(turbo, "SHAPES", ((128, 128),))
        patch.setattr(Turbo, "step", stepped)
        world = Turbo.load(root, "auto")
        assert [set(given) for _, given in seen.compiled[3:]] == [{"backend", "dynamic"}] * 3
        assert world.step(Controls(world.encode(Prompt("sea")).values)).shape == (1, 128, 128, 3)
    (_record,) = (r for r in caplog.records if "without CUDA graphs" in r.message)


@pytest.mark.parametrize(("memory", "beside"), [(80e9, True), (24e9, False)])
def test_helios_puts_its_parts_where_there_is_room(tmp_path, monkeypatch, memory, beside):
    tiny_helios().save_pretrained(tmp_path)
    warmed, placed = [], {}
    monkeypatch.setattr(Helios, "warm", lambda world, compiler: warmed.append(compiler))
    monkeypatch.setattr(Helios, "choose_attention", lambda world: warmed.append("attention"))
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", False)
    to = torch.nn.Module.to

    def noted(module, *args, **more):
        placed.setdefault(type(module).__name__, []).append(args)
        return to(module, *args, **more)

    monkeypatch.setattr(torch.nn.Module, "to", noted)
    with gpu(memory) as seen:
        world = Helios.load(tmp_path)
    assert ("properties", torch.device("cuda")) in seen.asked
    assert warmed == ["attention", "inductor"]
    assert torch.backends.cudnn.benchmark
    assert world.pipe.transformer.dtype == torch.bfloat16
    assert world.pipe.vae.dtype == torch.float32, "the decoder needs precision"
    for part, device in (("HeliosTransformer3DModel", "cuda"), ("AutoencoderKLWan", "cuda"),
                         ("UMT5EncoderModel", "cuda" if beside else "cpu")):  # fmt: skip
        assert any(torch.device(device) in args for args in placed[part]), part
    assert helios.SHARED_GPU_BYTES == 48e9


@pytest.fixture
def fused(monkeypatch):
    """triton and cuDNN, which a CPU does not have: flashdreams' own two functions with ours inside."""
    kernels.fit_flashdreams("cpu")
    found, calls = kernels.find_spec, []
    monkeypatch.setattr(kernels, "find_spec", lambda name: name if name == "triton" else found(name))

    def rotary(x, freqs, interleaved=False, inplace=True, **tuning):
        calls.append("rotary")
        return kernels.rotate(x, freqs, interleaved, inplace)

    def attention(query, key, value, return_lse=False):
        calls.append("attention")
        return kernels.attend(query, key, value, return_lse)

    monkeypatch.setattr(kernels, "_fused", [(rotary, attention)])
    yield calls
    kernels.fit_flashdreams("cpu")


@pytest.mark.parametrize(("memory", "beside"), [(80e9, True), (12e9, False)])
def test_wan_plays_in_bf16_as_graphs_over_fused_kernels_with_its_encoder_where_there_is_room(
    tmp_path, monkeypatch, fused, memory, beside
):
    for place in ("flashdreams.recipes.wan.transformer.wan21", "flashdreams.infra.cuda_graph"):
        monkeypatch.setattr(f"{place}.CUDAGraphWrapper", wan_files.Graph)
    where = []
    init = umt5.UMT5.__init__
    monkeypatch.setattr(umt5.UMT5, "__init__", lambda text, *given: where.append(given[-1]) or init(text, *given))
    wan_files.write_family(tmp_path, TINY)
    with wan_files.small(tmp_path, TINY), gpu(memory) as seen:
        world = load("wan-1.3b-longlive")
        assert where == [torch.device("cuda" if beside else "cpu")]
        assert [m for m, _ in seen.compiled] == [
            *world.rollout.transformer.network.blocks, *(each.net for each in world._decoders.values())
        ]  # fmt: skip
        assert {options["mode"] for _, options in seen.compiled} == {"max-autotune-no-cudagraphs"}
        assert world.rollout.text.dtype == world.decoder.dtype == torch.bfloat16
        assert {"rotary", "attention"} <= set(fused), "wherever the text encoder is"
        graphs = world.rollout._calls
        assert set(graphs) == {((4, 6), 9), ((4, 6), 6), ((2, 4), 9)}
        assert all(graph.replays > 2 for graph in graphs.values()), "warmed up until they replay, in each quality"
        assert world.decoder.graph.replays > 2
        assert world.rollout.drawn == 0
        seen.asked.clear()
        tokens = world.encode(Prompt("neon city")).values
        replayed = {key: graph.replays for key, graph in graphs.items()}
        frames = torch.cat([world.step(Controls(tokens, steps=2)) for _ in range(18)])
        assert frames.float().std() > 5
        assert not [what for what, _ in seen.asked if what == "synchronize"], "no step waits for the device"
        assert world.timings["step_ms"] >= world.timings["decode_ms"] > 0, "events have measured it"
        assert graphs[(4, 6), 9].replays > replayed[(4, 6), 9]
        assert graphs[(4, 6), 6].replays == replayed[(4, 6), 6]
        look = world.snapshot()
        want = world.step(Controls(tokens, steps=2))
        world.restore(look)
        assert torch.equal(world.step(Controls(tokens, steps=2)), want)


@pytest.mark.parametrize("cuda", [True, False])
def test_a_team_meets_by_nccl_on_gpus_each_on_its_own_and_by_gloo_elsewhere(monkeypatch, cuda):
    opened, card = [], []

    class Store:
        def __init__(self, host, port, is_master, timeout):
            self.values = {}

        def add(self, key, amount):
            self.values[key] = self.values.get(key, 0) + amount
            return self.values[key]

    monkeypatch.setattr(distributed.dist, "TCPStore", Store)
    monkeypatch.setattr(distributed.dist, "PrefixStore", lambda prefix, store: prefix)
    monkeypatch.setattr(distributed.dist, "init_process_group", lambda backend, **how: opened.append((backend, how)))
    monkeypatch.setattr(distributed.dist, "new_group", lambda backend, timeout: card.append((backend, timeout)))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    chosen = []
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    given = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1", "WORLD_SIZE": "2", "RANK": "0", "LOCAL_RANK": "1"}
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    distributed.Broadcast()
    ((backend, how),) = opened
    assert backend == ("nccl" if cuda else "gloo")
    assert how["timeout"] == (timedelta(minutes=10) if cuda else distributed.NO_TIMEOUT)
    assert (how["rank"], how["world_size"], how["store"]) == (0, 2, "worldjockey/1")
    assert chosen == ([1] if cuda else [])
    assert card == [("gloo", distributed.NO_TIMEOUT)], "calls themselves go by gloo: a frozen frame is no timeout"
    assert distributed.device("auto") == ("cuda:1" if cuda else "auto")
    assert distributed.device("cpu") == "cpu"


def test_training_takes_the_gpu_of_its_rank_and_compiles_its_blocks(monkeypatch):
    opened = []
    monkeypatch.setattr(
        torch.distributed, "init_process_group", lambda backend, timeout: opened.append((backend, timeout))
    )
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: False)
    for name, value in {"WORLD_SIZE": "4", "RANK": "3", "LOCAL_RANK": "1"}.items():
        monkeypatch.setenv(name, value)
    with gpu() as seen:
        joined = join()
        assert (joined.rank, joined.size, joined.device) == (3, 4, torch.device("cuda", 1))
        assert ("set", torch.device("cuda", 1)) in seen.asked
        assert opened == [("nccl", LEADER_TIMEOUT)]

        class Model(torch.nn.Module):
            def __init__(self):
                super().__init__()
                self.blocks = torch.nn.ModuleList(torch.nn.Linear(4, 4) for _ in range(3))

            def forward(self, x):
                for block in self.blocks:
                    x = block(x)
                return x

        alone = shard(Model(), replace(joined, size=1))
        assert [m for m, _ in seen.compiled] == list(alone.blocks)
        alone.forward(torch.zeros(1, 4))


def test_the_world_alone_needs_no_graph_where_nobody_asked_for_speed(tmp_path, fused):
    wan_files.write_family(tmp_path, TINY)
    with wan_files.small(tmp_path, TINY), gpu():
        world = wan.Wan.load("wan-1.3b-self-forcing", tmp_path, compiler=None)
        assert world.decoder.graph is None
        frames = world.step(Controls(np.zeros((1, 12), np.float32), steps=1))
        assert frames.shape == (1, 32, 48, 3)
