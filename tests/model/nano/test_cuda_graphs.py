"""CUDA graphs of nano, captured on a pretended GPU: they draw what PyTorch draws, and one that fails stops no show."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from pretended_card import Card, pretended_card
from pretended_graphs import pretended_graphs
from worldjockey.model import Controls, Prompt
from worldjockey.model.nano import cuda_graphs, runtime_choice
from worldjockey.model.nano.world import Nano

pytestmark = pytest.mark.slow

PARITY_DB = 38.0
REAL_CAPTURE = torch.cuda.graph
CAMERA = np.random.default_rng(0).integers(0, 255, (90, 160, 3), dtype=np.uint8)
PLAYED = [
    ("a dancer in a neon city at night in the rain", {"acts": {"dance": 1.0}}),
    ("calm ocean at dawn, petals", {"camera": {"yaw": 0.6, "forward": 0.3}, "matte": True}),
    ("an endless tunnel", {"steps": 4, "guidance": 1.6}),
    ("a temple under the aurora", {"live": CAMERA, "strength": 0.6}),
]
GRAPHS, REPLAYS = 4, 3  # textures for one and two places, network, decoder; of which a frame shows three
STARTS = 110  # operations, views and replays among them, that PyTorch starts for a frame; 2,160 without graphs


@pytest.fixture(scope="module")
def card() -> Iterator[Card]:
    with pretended_card() as counted:
        yield counted


@pytest.fixture(scope="module")
def made(card: Card) -> Iterator[SimpleNamespace]:
    with pretended_graphs() as seen:
        yield seen


@pytest.fixture(scope="module")
def pair(made: SimpleNamespace) -> tuple[Nano, Nano]:
    """The same world twice: computed on a CPU, and by CUDA graphs."""
    return Nano.load(device="cpu"), Nano.load(device="cuda", runtime="auto")


@pytest.fixture
def graphs(pair: tuple[Nano, Nano], monkeypatch: pytest.MonkeyPatch) -> Nano:
    """The world of CUDA graphs, whose runtime and message are put back at the end."""
    for name in ("runtime", "message"):
        monkeypatch.setattr(pair[1], name, getattr(pair[1], name))
    return pair[1]


def parity(a: torch.Tensor, b: torch.Tensor) -> float:
    error = ((a.cpu().numpy().astype(np.float32) - b.cpu().numpy()) ** 2).mean()
    return float(10 * np.log10(255**2 / max(error, 1e-9)))


def controls(world: Nano, text: str, **more: object) -> Controls:
    return Controls(world.encode(Prompt(text)).values, dt=0.05, **more)  # type: ignore[arg-type]


def test_its_frames_are_pytorchs_and_little_is_started_for_each(
    pair: tuple[Nano, Nano], made: SimpleNamespace, card: Card
) -> None:
    reference, graphs = pair
    assert graphs.spec.runtime == "cuda-graphs fp16"
    for world in pair:
        world.reset(5)
    before = len(made.graphs)
    assert before == GRAPHS
    for text, more in PLAYED:
        for _ in range(2):
            expected = reference.step(controls(reference, text, **more))
            replays = sum(graph.replays for graph in made.graphs)
            card.clear()
            frame = graphs.step(controls(graphs, text, **more))
            assert not card.waits, "\n".join(card.waits)
            assert len(card.uploads) <= 3, "\n".join(card.uploads)
            if more.keys() <= {"acts"}:
                assert sum(graph.replays for graph in made.graphs) == replays + REPLAYS
                assert card.kernels <= STARTS
            assert parity(frame, expected) >= PARITY_DB, text
    assert len(made.graphs) == before, "nothing is captured once it plays"
    assert not graphs.message


def test_three_places_at_once_are_shown_too(pair: tuple[Nano, Nano]) -> None:
    tokens = sum(pair[0].encode(Prompt(text)).values for text in ("city", "forest", "sea")) / 3
    for world in pair:
        world.reset(1)
    one, other = (world.step(Controls(tokens, dt=0.05)) for world in pair)
    assert parity(one, other) >= PARITY_DB
    assert pair[1].runtime.name == "cuda-graphs fp16"


def test_frames_and_snapshots_outlive_the_next_replay(graphs: Nano) -> None:
    graphs.reset(2)
    now = controls(graphs, "a volcano at night", acts={"wave": 1.0})
    for _ in range(2):  # a KV cache that is not full yet
        graphs.step(now)
    state = graphs.snapshot()
    frames = [graphs.step(now) for _ in range(3)]
    assert not torch.equal(frames[0].cpu(), frames[1].cpu())
    copies = [frame.cpu() for frame in frames]
    graphs.restore(state)
    for copy in copies:
        torch.testing.assert_close(graphs.step(now).cpu(), copy, atol=0, rtol=0)


def test_a_snapshot_is_the_same_as_pytorchs(graphs: Nano) -> None:
    graphs.reset(2)
    now = controls(graphs, "a volcano at night")
    graphs.step(now)
    state, by_graphs = graphs.snapshot(), graphs.step(now)
    graphs.runtime = graphs.pytorch
    graphs.restore(state)
    assert parity(graphs.step(now), by_graphs) >= PARITY_DB


@pytest.mark.parametrize("method", ["read", "denoise", "decode"])
def test_one_that_fails_leaves_the_frame_to_pytorch_and_says_so_once(
    pair: tuple[Nano, Nano], graphs: Nano, method: str, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    def broken(*inputs: object) -> None:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    monkeypatch.setattr(graphs.runtime, method, broken)
    for world in pair:
        world.reset(9)
    now = controls(graphs, "a temple in the snow")
    frames = [(pair[0].step(now), graphs.step(now)) for _ in range(2)]
    assert min(parity(*frame) for frame in frames) >= PARITY_DB
    assert graphs.spec.runtime == "torch"
    assert "cuda-graphs fp16 failed" in graphs.message
    assert [record.exc_info is not None for record in caplog.records] == [True]


@pytest.mark.parametrize("wanted", ["auto", "cuda-graphs"])
def test_a_gpu_that_captures_nothing_plays_by_pytorch_and_says_so_once(
    made: SimpleNamespace, wanted: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refused(*inputs: object, **options: object) -> None:
        raise RuntimeError("CUDA error: operation not supported")

    monkeypatch.setattr(torch.cuda, "graph", refused)
    world = Nano.load(device="cuda", runtime=wanted)
    assert world.spec.runtime == "torch"
    assert "cuda-graphs failed" in world.message
    assert "--runtime torch" in world.message
    assert [record.exc_info is not None for record in caplog.records] == [True]
    assert world.step(controls(world, "a city in the snow")).shape == (1, 288, 512, 3)


def test_it_takes_the_first_precision_that_draws_what_pytorch_draws(
    made: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[str] = []

    def opened(nano: Nano, precision: str) -> SimpleNamespace:
        return SimpleNamespace(name=f"cuda-graphs {precision}")

    def attempt(nano: Nano, runtimes: dict[str, object]) -> dict[str, tuple[float, float]]:
        (name,) = runtimes.keys() - {"torch"}
        tried.append(name)
        return {"torch": (9.0, 99.0), name: (1.0, 60.0 if name.endswith(good) else 12.0)}

    monkeypatch.setattr(cuda_graphs, "CudaGraphs", opened)
    monkeypatch.setattr(runtime_choice, "_try", attempt)
    good = "fp32"
    assert Nano.load(device="cuda", runtime="cuda-graphs").runtime.name == "cuda-graphs fp32"
    assert tried == ["cuda-graphs fp16", "cuda-graphs fp32"]
    good = "none"
    world = Nano.load(device="cuda", runtime="cuda-graphs")
    assert world.runtime.name == "torch"
    assert "cuda-graphs failed" in world.message


def test_it_needs_a_cuda_gpu() -> None:
    with pytest.raises(ValueError, match="CUDA graphs need a CUDA GPU"):
        Nano.load(device="cpu", runtime="cuda-graphs")


def test_the_pretended_capture_takes_what_torchs_takes_and_forbids_waits(made: SimpleNamespace) -> None:
    real = inspect.signature(REAL_CAPTURE.__init__).parameters
    assert {"cuda_graph", "pool", "stream", "capture_error_mode"} <= set(real)
    x = torch.ones(3, device="cuda")
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        y = x * 2
    assert y.tolist() == [0, 0, 0], "a capture computes nothing"
    x.copy_(torch.full((3,), 2.0, device="cuda"))
    graph.replay()
    assert y.tolist() == [4, 4, 4]
    with pytest.raises(RuntimeError, match=r"not permitted .*/test_cuda_graphs\.py:\d+"), torch.cuda.graph(graph):
        x.sum().item()
