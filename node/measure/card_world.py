"""The process of `wj bench --gpu` in which one world runs: it sends what it has measured as soon as it has it."""

from __future__ import annotations

import sys
import time
from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ..ipc.process import init_child, limit_threads, parent_died, stay_offline
from ..ipc.status import error_text
from ..timing.percentiles import percentiles

if TYPE_CHECKING:
    from worldjockey.model import Controls, World

PROMPTS = ("snowy mountains at dawn", "city skyline at night, neon lights")
REACTIONS = 6  # prompts that are changed
REACTION_TIMEOUT_S = 20.0  # without a changed frame, after which a world does not react
SHARES = {"rate": 0.6, "still": 0.15}  # of the time that is left once the world runs
REST_DT_S = 1 / 120  # of world time that a step of a still scene covers: the least
STILL_S = 8.0  # at most
MARGIN = 1.0  # levels of 255 that a changed frame differs by more than twice what a still scene does
TIME_LEFT = 0.9  # of the budget that is planned for


class Timed:
    """A world that is stepped, and what its steps took."""

    def __init__(self, world: World) -> None:
        self.world, self.frames, self.native = world, 0, 0
        self.ms, self.timings = deque[float](), dict[str, deque[float]]()
        self._last: Any = None
        self._painted = getattr(world, "painted", None)

    def step(self, controls: Controls) -> Any:
        """(n, h, w, c) uint8 in host memory."""
        from worldjockey.model.spec import on_host

        begin = time.perf_counter()
        pixels = self.world.step(controls)
        if getattr(pixels, "is_cuda", False):
            sys.modules["torch"].cuda.synchronize()
        made = time.perf_counter()
        pixels = on_host(pixels)
        ended = time.perf_counter()
        self.ms.append((ended - begin) * 1e3)
        for name, value in {**getattr(self.world, "timings", {}), "copy_ms": (ended - made) * 1e3}.items():
            self.timings.setdefault(name, deque()).append(value)
        self.frames += len(pixels)
        self._count(pixels)
        return pixels

    def _count(self, pixels: Any) -> None:
        """Count the native frames. A world of two counts its paintings; all others make frames that differ."""
        if self._painted is not None:
            painted = getattr(self.world, "painted", 0)
            self.native += painted - self._painted
            self._painted = painted
            return
        for frame in pixels:
            self.native += self._last is None or not np.array_equal(frame, self._last)
            self._last = frame

    def clear(self) -> None:
        self.frames = self.native = 0
        self.ms.clear()
        self.timings.clear()

    def round(self, controls: Controls) -> list[Any]:
        """A whole chunk: every world obeys controls at its first step."""
        return [frame for _ in range(self.world.spec.steps_per_chunk) for frame in self.step(controls)]


def difference(a: Any, b: Any) -> float:
    """Mean difference of two frames, in levels of 255."""
    if a.shape != b.shape:
        return 255.0
    return float(np.abs(a[..., :3].astype(np.int16) - b[..., :3]).mean())


def memory_gb(device: str) -> float:
    """The most memory that the world has held on its device, in GB; of this process where that is no card."""
    torch: Any = sys.modules.get("torch")
    if torch is not None and device.startswith("cuda"):
        return float(torch.cuda.max_memory_reserved() / 1e9)
    if torch is not None and device.startswith("mps"):
        return float(torch.mps.driver_allocated_memory() / 1e9)
    import psutil

    return float(psutil.Process().memory_info().rss / 1e9)


def rate(timed: Timed, controls: Controls, seconds: float) -> dict[str, Any]:
    """Native frames a second, over whole chunks."""
    timed.clear()
    begin = time.perf_counter()
    while time.perf_counter() - begin < seconds and not parent_died():
        timed.round(controls)
    took = time.perf_counter() - begin
    return {
        "fps": round(timed.native / took, 2), "seconds": round(took, 1), "native": timed.native,
        "frames": timed.frames, "ms": percentiles(timed.ms),
        **{name: percentiles(values) for name, values in timed.timings.items()},
    }  # fmt: skip


def at_rest(controls: Controls, acts: tuple[str, ...]) -> Controls:
    """The controls of a scene in which as little moves as can be."""
    return replace(controls, acts={"freeze": 1.0} if "freeze" in acts else {}, dt=REST_DT_S)


def still(timed: Timed, controls: Controls, seconds: float) -> dict[str, float]:
    """How much a scene changes in which nothing moves: mean and largest difference of two frames in a row, of 255."""
    begin, last, found = time.perf_counter(), None, list[float]()
    while (time.perf_counter() - begin < seconds or len(found) < 2) and not parent_died():
        for frame in timed.round(controls):
            if last is not None:
                found.append(difference(frame, last))
            last = frame
    return {"mean": round(float(np.mean(found)), 3), "max": round(float(np.max(found)), 3)}


def reactions(timed: Timed, controls: Controls, quiet: float, end: float) -> dict[str, Any]:
    """Milliseconds from a new prompt to a frame that shows it, in host memory; None where none does.

    quiet: the largest difference of two frames in a row while nothing happens. end: time.perf_counter() at which to
    stop, after one attempt at least.
    """
    from worldjockey.model import Prompt

    took, encoded, change = list[float](), list[float](), 2 * quiet + MARGIN
    for number in range(1, REACTIONS + 1):
        before = timed.round(controls)[-1]
        begin = time.perf_counter()
        controls = replace(controls, tokens=timed.world.encode(Prompt(PROMPTS[number % 2])).values)
        encoded.append((time.perf_counter() - begin) * 1e3)
        while time.perf_counter() - begin < REACTION_TIMEOUT_S and not parent_died():
            frames = timed.step(controls)
            if any(difference(frame, before) > change for frame in frames):
                took.append((time.perf_counter() - begin) * 1e3)
                break
        else:
            break
        if time.perf_counter() > end:
            break
    return {"reaction_ms": percentiles(took) if took else None, "encode_ms": percentiles(encoded)}


def main(pipe: Any, model: str, device: str, steps: tuple[int, ...], seconds: float, budget_s: float) -> None:
    """Main function of the process. Sends dicts: "stage" says what it does next, "steps" which row they belong to, and
    "done" or "error" that it ends."""
    init_child()
    stay_offline()
    threads = limit_threads(None)
    began = time.perf_counter()
    try:
        pipe.send({"stage": "loading and compiling"})
        from worldjockey.model import Controls, Prompt, load
        from worldjockey.model.registry import entry_for

        if entry_for(model).torch:
            import torch

            torch.set_num_threads(threads)
        world = load(model, device=device)
        pipe.send({"load_s": round(time.perf_counter() - began, 2), "stage": "settling"})
        getattr(world, "settle", int)()
        timed, spec = Timed(world), world.spec
        controls = Controls(tokens=world.encode(Prompt(PROMPTS[0])).values, dt=1 / spec.fps)
        pipe.send({"stage": "drawing its first frames"})
        timed.round(replace(controls, steps=steps[0]))
        spec = world.spec
        pipe.send({
            "ready_s": round(time.perf_counter() - began, 2), "size": [spec.width, spec.height],
            "device": spec.device, "runtime": spec.runtime, "frames_per_chunk": spec.frames_per_step
            * spec.steps_per_chunk, "threads": threads,
        })  # fmt: skip
        end = began + TIME_LEFT * budget_s
        for number, count in enumerate(steps):
            share = max(end - time.perf_counter(), 0.0) / (len(steps) - number)
            _measure(pipe, timed, replace(controls, steps=count), seconds, share)
        pipe.send({"memory_gb": round(memory_gb(spec.device), 2), "note": getattr(world, "message", ""), "done": True})
    except Exception as error:
        pipe.send({"error": error_text(error)})


def _measure(pipe: Any, timed: Timed, controls: Controls, seconds: float, share: float) -> None:
    """One row. share: seconds that it may take."""
    begin = time.perf_counter()
    pipe.send({"stage": f"warming up, {controls.steps} steps"})
    timed.round(controls)
    timed.round(controls)
    pipe.send({"stage": f"counting frames, {controls.steps} steps"})
    pipe.send({"steps": controls.steps, **rate(timed, controls, min(seconds, SHARES["rate"] * share))})
    pipe.send({"stage": "looking at a still scene"})
    controls = at_rest(controls, timed.world.spec.acts)
    calm = still(timed, controls, min(STILL_S, seconds, SHARES["still"] * share))
    pipe.send({"steps": controls.steps, "still": calm, "stage": "changing its prompt"})
    pipe.send({"steps": controls.steps, **reactions(timed, controls, calm["max"], begin + share)})
