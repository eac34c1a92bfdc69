"""A Wan world in the node's own hands, on tiny random weights: prompts, pads, words, looks, and a slow machine."""

import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import wan_files
from worldjockey.model import load
from worldjockey.model.worlds.wan.config import WanConfig
from worldjockey.node.ipc.cell import Cell
from worldjockey.node.ipc.frame_ring import FrameRing
from worldjockey.node.ipc.mailbox import Mailbox
from worldjockey.node.ipc.process import read_status
from worldjockey.node.world import process as world_process
from worldjockey.node.world.process import WorldOptions, WorldStepper

pytestmark = pytest.mark.slow

TINY = WanConfig(dim=48, ffn=64, heads=2, layers=2, freq_dim=16, text_dim=12, text=300, window=9, sink=3)
LONGLIVE = "wan-1.3b-longlive"
CHUNK = 3  # steps


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    root, threads = tmp_path_factory.mktemp("weights"), torch.get_num_threads()
    torch.set_num_threads(1)
    wan_files.write_family(root, TINY)
    with wan_files.small(root, TINY):
        yield lambda model: load(model, device="cpu")
    torch.set_num_threads(threads)


@pytest.fixture
def box():
    box = Mailbox()
    yield box
    box.unlink()


def player_of(world, box):
    player = WorldStepper(world, box, WorldOptions(LONGLIVE))
    for name, value in (("prompt", "neon city in the rain"), ("pad/1/text", "the sea, storm"), ("transition", 0.0)):
        box.post(name, value, 1.0)
    box.post("steps", 2, 1.0)
    player.encoder.once()
    return player


def pictures(player, steps):
    return torch.cat([player.step(0.25)[0] for _ in range(steps)])


@pytest.mark.parametrize("model", [LONGLIVE, f"{LONGLIVE}:switch=swap", f"{LONGLIVE}:decoder=full"])
def test_hands_are_obeyed_from_the_next_chunk_on(opened, model):
    world = opened(model)

    def played(*hands):
        box = Mailbox()
        try:
            player = player_of(world, box)
            before = pictures(player, CHUNK + 1)
            for name, value in hands:
                box.post(name, value, 2.0)
            player.encoder.once()
            stamps = [player.newest_control_at]
            after = [pictures(player, 1) for _ in range(CHUNK * 2 - 1)]
            return torch.cat([before, *after]), [*stamps, player.newest_control_at]
        finally:
            box.unlink()

    plain, _ = played()
    assert plain.shape == (1 + 4 * 8, 32, 48, 3)
    assert torch.equal(plain, played()[0]), "the same seed and hands are the same pictures"
    for hands in ([("prompt", "the sea")], [("pad/1", 1.0)], [("word/rain", -1.0)], [("steps", 4)], [("seed", 5)]):
        other, stamps = played(*hands)
        until = 13 if hands[0][0] == "seed" else 21  # a seed is another world at once, all else waits for a chunk
        assert torch.equal(plain[:until], other[:until]), hands
        assert not torch.equal(plain[until:], other[until:]), hands
        assert stamps == [1.0, 2.0]


def test_a_look_comes_back_while_it_is_played(opened, box):
    world = opened(LONGLIVE)
    player = player_of(world, box)
    pictures(player, 2 * CHUNK)
    look = world.snapshot()
    expected = pictures(player, 2 * CHUNK)
    box.post("prompt", "the sea, storm", 3.0)
    player.encoder.once()
    pictures(player, CHUNK)
    box.post("prompt", "neon city in the rain", 4.0)
    player.encoder.once()
    world.restore(look)
    assert torch.equal(pictures(player, 2 * CHUNK), expected)
    assert player.newest_control_at == 4.0


class Heavy:
    """The world, and so many seconds more a step for each frame of its window."""

    def __init__(self, world):
        self.world, self.weight, self.windows = world, 0.0, []

    def __getattr__(self, name):
        return getattr(self.world, name)

    def step(self, controls):
        pictures = self.world.step(controls)
        self.windows.append(self.world.rollout.config.window)
        time.sleep(self.weight * self.windows[-1] / TINY.window)
        return pictures


@pytest.fixture
def playing(opened, box):
    """The world process's own loop; what it publishes, in order."""
    status, ring, stop, log = Cell(16384), FrameRing(32 * 48 * 3, 8), threading.Event(), []
    publish = ring.write
    ring.write = lambda pixels, info: log.append((pixels.copy(), info)) or publish(pixels, info)
    player = player_of(Heavy(opened(LONGLIVE)), box)
    box.post("steps", 1, 1.0)
    thread = threading.Thread(target=world_process._play, args=(player, ring, status, {}, stop), daemon=True)
    thread.start()
    yield SimpleNamespace(world=player.world, box=box, player=player, log=log, status=lambda: read_status(status))
    stop.set()
    thread.join(60)
    assert not thread.is_alive()
    for cell in (status, ring):
        cell.unlink()


def test_the_world_process_plays_it_evenly_turns_with_the_prompt_and_sees_less_where_it_is_slow(playing, wait_for):
    wait_for(lambda: len(playing.log) > 40)
    wait_for(lambda: (playing.status()["state"], playing.status()["quality"]) == ("running", ""))
    gaps = [info.span for _, info in playing.log[30:]]
    assert min(gaps) >= 1 / 16 - 1e-9, "never faster than it means its motion"
    playing.box.post("prompt", "the sea, storm", 5.0)
    playing.player.encoder.once()
    wait_for(lambda: playing.log[-1][1].newest_control_at == 5.0)
    first = next(i for i, (_, info) in enumerate(playing.log) if info.newest_control_at == 5.0)
    turned = np.abs(playing.log[first][0].astype(int) - playing.log[first - 1][0]).mean()
    usual = np.mean([np.abs(a.astype(int) - b).mean() for (a, _), (b, _) in zip(playing.log[9:20], playing.log[10:21],
                                                                                strict=True)])  # fmt: skip
    assert turned > 0.2 * usual, "another picture"
    playing.box.post("steps", 4, 6.0)
    playing.world.weight = 0.3  # for four pictures, which shall come in 0.26 s
    told = "1.5 s of memory: the world"  # and no steps before it: it forgets before it is drawn in fewer
    wait_for(lambda: playing.world.windows[-1] == 6 and playing.status()["quality"].startswith(told))
    playing.world.weight = 0.0
    wait_for(lambda: playing.world.windows[-1] == 9 and not playing.status()["quality"])
