"""A video of one minute of play: prompts that flow into each other in 1 s, acts, a moving camera and a beat."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import pi, sin
from pathlib import Path

import numpy as np
from rich.progress import track

from ...spec import Controls, World, slerp
from .play import FIRST_SEED, FPS, Ask, ask, run, tokens
from .sound import beat

LENGTH_S, TRANSITION_S = 60.0, 1.0


@dataclass(frozen=True)
class Part:
    """One prompt of the clip, the act of its second half, and its camera."""

    values: dict[str, str]
    act: str
    camera: dict[str, float] = field(default_factory=dict)


def _part(place: str, light: str, weather: str, act: str, tint: str = "plain", mood: str = "neutral",
          **camera: float) -> Part:  # fmt: skip
    values = {"place": place, "light": light, "weather": weather, "figure": "dance", "tint": tint, "mood": mood}
    return Part(values, act, camera)


PROGRAM = (
    _part("sea", "sunset", "clear", "wave", yaw=0.25),
    _part("city", "neon", "rain", "robot", strafe=0.5),
    _part("forest", "dawn", "fog", "walk", forward=0.7),
    _part("tunnel", "neon", "clear", "jump", mood="euphoric", forward=0.6),
    _part("temple", "night", "petals", "bow", yaw=-0.25),
    _part("volcano", "storm", "embers", "headbang", mood="menacing", strafe=-0.4),
    _part("kaleidoscope", "aurora", "clear", "dance", tint="violet"),
    _part("mountains", "aurora", "snow", "pose", yaw=0.3),
    _part("space", "night", "clear", "run", forward=0.5),
    _part("meadow", "noon", "petals", "jump", mood="euphoric", strafe=0.4),
)


def write(path: Path, world: World, *, steps: int = 1, seconds: float = LENGTH_S) -> None:
    """The clip as H.264 at FPS, as large as the world."""
    import av

    rng = np.random.default_rng(3)
    asked: list[Ask] = [ask(rng, p.values) for p in PROGRAM]
    encoded = [tokens(world, a) for a in asked]
    frames = round(seconds * FPS)
    each = frames / len(PROGRAM)
    audio = beat(FIRST_SEED, frames)
    world.reset(FIRST_SEED)
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=FPS, options={"crf": "15", "preset": "medium"})
        stream.width, stream.height, stream.pix_fmt = world.spec.width, world.spec.height, "yuv420p"
        for i in track(range(frames), "clip", transient=True):
            k = min(int(i / each), len(PROGRAM) - 1)
            into = (i - k * each) / FPS  # seconds since this prompt was asked for
            t = min(1.0, into / TRANSITION_S)
            now = encoded[k] if k == 0 or t >= 1 else slerp([encoded[k - 1], encoded[k]], [1 - t, t])
            part, lift = PROGRAM[k], sin(pi * min(1.0, into * FPS / each))  # the camera starts and ends at rest
            act = {part.act: 1.0} if i - k * each > each * 0.5 else {}
            camera = {axis: v * lift for axis, v in part.camera.items()}
            level, bass, treble, onset = (0.7 * audio[i]).tolist()
            sound = (level, bass, treble, onset)
            c = Controls(now, dt=1 / FPS, steps=steps, camera=camera, acts=act, sound=sound)
            (frame,) = run(world, c, 1)
            out.mux(stream.encode(av.VideoFrame.from_ndarray(frame.numpy(), format="rgb24")))
        out.mux(stream.encode(None))
