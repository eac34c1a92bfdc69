"""Quality of in-betweens: hold, blend and motion, compared with true frames of the stage.

    python -m worldjockey.node.measure.interpolation [--count 48] [--rate 20] [--json F] [--sheet PNG]

A scene is drawn at 0, 1/2 and 1 step of a world of that rate; the middle one is the truth.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ..ipc.frame_ring import Pixels
from ..output import interpolation
from ..output.program import blend

CAMERA = ("strafe", "forward", "yaw", "pitch", "zoom", "", "", "")
ACTS = ("dance", "jump", "headbang", "run", "walk", "wave", "robot", "none")
FILLS = ("hold", "blend", "motion")


def scenes(count: int, rate: float, seed: int = 5) -> Iterator[tuple[str, list[Pixels]]]:
    """(description, three frames (288, 512, 3) half a step apart), with every place, camera moves, acts, and weather in
    every third scene."""
    from worldjockey.model import Controls, Prompt
    from worldjockey.model.evaluate.scorecard.truth import StageWorld
    from worldjockey.model.stage.vocabulary import ATTRIBUTES

    world, rng = StageWorld(), np.random.default_rng(seed)
    for i in range(count):
        place = ATTRIBUTES["place"][i % len(ATTRIBUTES["place"])]
        weather = "clear" if i % 3 else str(rng.choice(ATTRIBUTES["weather"]))
        text = f"{place}, {rng.choice(ATTRIBUTES['light'])}, {weather}"
        axis, act = CAMERA[i % len(CAMERA)], ACTS[i // 3 % len(ACTS)]
        world.reset(i)
        controls = Controls(
            world.encode(Prompt(text)).values,
            acts={} if act == "none" else {act: 1.0},
            camera={axis: float(rng.uniform(-1, 1))} if axis else {},
            dt=0.5 / rate,
        )
        world.skip(controls, 1 + rng.uniform(0, 20))
        yield f"{text}, {axis or 'still'}, {act}", [world.step(controls)[0].numpy() for _ in range(3)]


def psnr(frame: Pixels, truth: Pixels) -> float:
    """In dB of 255; equal frames count as 60 dB."""
    error = float(np.mean((frame.astype(np.float32) - truth) ** 2))
    return float(10 * np.log10(255**2 / max(error, 255**2 / 1e6)))


def measure(count: int, rate: float) -> dict[str, Any]:
    """dB of each fill for each scene, and CPU milliseconds for finding the flow and for a tick's warp."""
    interpolation.ready()
    found: dict[str, list[float]] = {fill: [] for fill in FILLS}
    spent: dict[str, list[float]] = {"flow": [], "warp": []}
    names = []
    for name, (old, truth, new) in scenes(count, rate):
        times = [time.thread_time()]
        along = interpolation.flow(old, new)
        times.append(time.thread_time())
        moved = interpolation.between(old, new, along, 0.5)
        times.append(time.thread_time())
        for key, seconds in zip(spent, np.diff(times), strict=True):
            spent[key].append(float(seconds) * 1e3)
        for fill, frame in zip(FILLS, (new, blend(old, new, 0.5), moved), strict=True):
            found[fill].append(psnr(frame, truth))
        names.append(name)
    gain = np.subtract(found["motion"], found["blend"])
    return {
        "rate": rate, "scenes": count,
        "psnr": {f: {"mean": _db(np.mean(v)), "median": _db(np.median(v))} for f, v in found.items()},
        "better_than_blend": int((gain > 0.1).sum()), "worse_than_blend": int((gain < -0.1).sum()),
        "worst_loss_db": _db(gain.min()), "worst": names[int(gain.argmin())],
        "cpu_ms": {key: {"p50": _db(np.median(v)), "p95": _db(np.percentile(v, 95))} for key, v in spent.items()},
    }  # fmt: skip


def sheet(path: Path, count: int, rate: float) -> None:
    """Truth, blend and motion side by side, one scene a row."""
    import av

    interpolation.ready()
    rows = []
    for _, (old, truth, new) in scenes(count, rate):
        along = interpolation.flow(old, new)
        rows.append(np.hstack([truth, blend(old, new, 0.5), interpolation.between(old, new, along, 0.5)]))
    with av.open(str(path), "w", format="image2") as out:
        stream = out.add_stream("png", rate=1)
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(np.vstack(rows)), format="rgb24")
        stream.width, stream.height, stream.pix_fmt = frame.width, frame.height, "rgb24"
        out.mux([*stream.encode(frame), *stream.encode(None)])


def _db(value: Any) -> float:
    return round(float(value), 2)


def main() -> None:
    parser = argparse.ArgumentParser(description="Compare in-betweens with true frames of the stage.")
    parser.add_argument("--count", type=int, default=48, help="scenes")
    parser.add_argument("--rate", type=float, default=20.0, help="frames a second of the world")
    parser.add_argument("--json", type=Path, help="write the figures here")
    parser.add_argument("--sheet", type=Path, metavar="PNG", help="draw a few scenes: truth, blend, motion")
    args = parser.parse_args()
    result = measure(args.count, args.rate)
    print(json.dumps(result, indent=1))
    if args.json:
        args.json.write_text(json.dumps(result, indent=1), "utf-8")
    if args.sheet:
        sheet(args.sheet, min(args.count, 6), args.rate)


if __name__ == "__main__":
    main()
