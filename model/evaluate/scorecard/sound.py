"""Do the frames move with the music?

A beat that no training run used: 124 beats a minute, kicks and hats on random sixteenths, each dying away. It drives
the world as its sound (level, bass, treble, onset), and the brightness of the frames is correlated (Pearson) with the
level, both freed of what changes slower than a second or so. The frames may be up to two frames late.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from rich.progress import track

from ...spec import Controls, World
from .play import FIRST_SEED, FPS, ask, run, settle, tokens
from .row import Row

BPM, LENGTH_S, LATEST_FRAMES = 124, 12.0, 2
Floats = NDArray[np.float64]


def beat(seed: int, frames: int) -> Floats:
    """(frames, 4) 0..1: level, bass, treble, onset."""
    rng = np.random.default_rng(seed)
    step = 60 / BPM / 4
    out = np.zeros((frames, 4))
    t = np.arange(frames) / FPS
    for i in range(int(frames / FPS / step)):
        kick = 1.0 if i % 4 == 0 and rng.random() < 0.9 else float(rng.random() < 0.15) * 0.6
        hat = float(rng.random() < 0.4) * rng.uniform(0.3, 0.8)
        since = (t - i * step)[:, None]
        fall = (since >= 0) * np.exp(-np.maximum(since, 0) * np.array([5.0, 6.0, 14.0, 25.0]))
        out = np.maximum(out, fall * np.array([max(kick, 0.5 * hat), kick, hat, max(kick, hat)]))
    return out


def quick(x: Floats, width: int = FPS) -> Floats:
    """x (n,) less its running mean over `width` frames."""
    padded = np.pad(x, (width // 2, width - 1 - width // 2), mode="edge")
    return x - np.convolve(padded, np.ones(width) / width, mode="valid")


def correlation(audio: Floats, brightness: Floats) -> float:
    """Of two tracks, at the best of 0 to LATEST_FRAMES frames."""
    a, b = quick(audio), quick(brightness)
    if a.std() < 1e-9 or b.std() < 1e-9:
        return 0.0
    return max(float(np.corrcoef(a[: len(a) - k], b[k:])[0, 1]) for k in range(LATEST_FRAMES + 1))


def play(world: World, count: int, name: str = "sound") -> list[float]:
    rng, found = np.random.default_rng(23), []
    for i in track(range(count), name, transient=True):
        world.reset(FIRST_SEED + i)
        values = tokens(world, ask(rng))
        settle(world, Controls(values, dt=1 / FPS), 0.6)
        audio = beat(FIRST_SEED + i, round(LENGTH_S * FPS))
        brightness = []
        for level, bass, treble, onset in audio.tolist():
            (frame,) = run(world, Controls(values, dt=1 / FPS, sound=(level, bass, treble, onset)), 1)
            brightness.append(float(frame.float().mean()))
        found.append(correlation(audio[:, 0], np.array(brightness)))
    return found


def rows(world: World, truth: World | None, count: int = 3) -> list[Row]:
    found = play(world, count)
    true = float(np.mean(play(truth, 2, "sound, true frames"))) if truth else None
    return [Row("sound: picture with beat", float(np.mean(found)), 0.5, truth=true,
                detail={"prompts": count, "each": found})]  # fmt: skip
