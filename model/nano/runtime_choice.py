"""The fastest runtime of nano on this machine, and the largest size that it has time for; found once, remembered."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import psutil
import torch

from ..spec import Controls, Prompt
from .runtime import Runtime
from .runtime_names import CUDA_GRAPHS, LARGE, OPENVINO, REFERENCE, RUNTIMES, SMALL
from .transformer import KVCache

if TYPE_CHECKING:
    from .world import Nano

logger = logging.getLogger(__name__)

# Scenes of a trial: a precision that serves the first may have too few digits for the others.
PROMPTS = ("a dancer in a neon city at night in the rain", "an endless tunnel", "a calm sea at noon")
FRAMES = 4  # of each scene; the first one is slow, because the textures change
FIRST_TRIAL_DELAY_S = 10.0  # after which a show that has just begun is disturbed by the trial of the runtimes
# The process of a trial has low priority before it imports anything: a world's own priority is high.
RUN_NICED = f"import os, runpy; getattr(os, 'nice', int)(20); runpy.run_module({__name__!r}, None, '__main__', True)"
LARGE_MIN_FPS = 24.0  # with which the large size is the default
STEPS_NOTED = 20  # of the small size, from whose durations those of the large one are estimated
PARITY_DB = 38.0  # peak signal to noise ratio to PyTorch's frame, below which a runtime is not used


@dataclass(frozen=True)
class Known:
    """What a trial has found: the fastest runtime, "torch" or a precision of OpenVINO, and how many times longer a step
    of the large size takes with it; 0 where there is no large size."""

    runtime: str
    large_cost: float


class RuntimeChoice:
    """The runtime of one world: `wanted` is one of RUNTIMES, `size` one of SIZES.

    "auto" takes the fastest whose frames are those of PyTorch. On a CUDA GPU those are CUDA graphs, captured before the
    first frame; on other GPUs it is PyTorch. On a CPU a process of low priority tries the runtimes out at the first
    start on a machine, which takes half a minute, while PyTorch computes the frames. A runtime that is missing or fails
    is not taken. Raises ValueError for another name, for "openvino" where that does not serve, and for "cuda-graphs"
    without a CUDA GPU.
    """

    def __init__(self, nano: Nano, wanted: str, size: str = SMALL) -> None:
        if wanted not in RUNTIMES:
            raise ValueError(f"unknown runtime {wanted!r}: there are {', '.join(RUNTIMES)}")
        self._nano, self._threads = nano, torch.get_num_threads()
        self._size = SMALL if nano.large_weights is None else size
        self._durations: list[float] | None = None  # of steps, while these are noted
        self._fixed = False
        self._noted = threading.Event()
        self._preparing: threading.Thread | None = None
        self._awaited = threading.Event()
        cuda = nano.device.type == "cuda"
        if wanted == CUDA_GRAPHS and not cuda:
            raise ValueError("CUDA graphs need a CUDA GPU, and the device is " + nano.device.type)
        if cuda and wanted in ("auto", CUDA_GRAPHS):
            self._capture()
        if wanted in (REFERENCE, CUDA_GRAPHS) or (wanted == "auto" and nano.device.type != "cpu"):
            if self._size == LARGE or (self._size == "auto" and cuda):
                self._enlarge()
            return
        try:
            if wanted == OPENVINO:
                nano.runtime = fastest(nano, self._threads, compiled_only=True)
                if self._size == LARGE:
                    self._enlarge()
                elif self._size == "auto":
                    cost = _large_cost(nano, nano.runtime)
                    threading.Thread(target=self._enlarge_if_fast, args=(cost,), name="size", daemon=True).start()
                return
            self._preparing = threading.Thread(target=self._prepare, name="runtimes", daemon=True)
            self._preparing.start()
        except Exception as error:
            if wanted != "auto":
                raise ValueError(f"this world does not run by OpenVINO here ({error}): try --runtime torch") from error
            logger.warning("OpenVINO does not serve here, PyTorch computes the frames: %s", error, exc_info=error)

    def settle(self) -> None:
        """Wait until the runtime is chosen. The size does not change by itself from now on."""
        self._fixed = True
        self._awaited.set()
        self._noted.set()
        if self._preparing is not None:
            self._preparing.join()

    def note_step(self, seconds: float) -> None:
        """How long a step took."""
        if self._durations is not None:
            self._durations.append(seconds)
            if len(self._durations) >= STEPS_NOTED:
                self._noted.set()

    def _enlarge(self) -> None:
        """Let frames have twice the size from now on."""
        self._nano.runtime.prepare_large()
        self._nano.allow_large(True)

    def _enlarge_if_fast(self, large_cost: float) -> None:
        """The same where that keeps LARGE_MIN_FPS, by how long the steps of this show take.

        large_cost: how many times longer a step of the large size takes; 0 where there is none."""
        if not large_cost:
            return
        self._durations = []
        self._noted.wait()
        if self._fixed:
            return
        expected = statistics.median(self._durations) * large_cost
        self._durations = None
        logger.info("a step of the large size would take %.0f ms here", expected * 1e3)
        if expected * LARGE_MIN_FPS <= 1:
            self._enlarge()

    def _capture(self) -> None:
        """Take CUDA graphs of the first precision whose frames are those of PyTorch."""
        nano = self._nano
        try:
            from .cuda_graphs import DTYPES, CudaGraphs

            found = {}
            for precision in DTYPES:
                graphs = CudaGraphs(nano, precision)
                _, db = _try(nano, {REFERENCE: nano.runtime, graphs.name: graphs})[graphs.name]
                found[graphs.name] = round(db, 1)
                if db >= PARITY_DB:
                    logger.info("parity of CUDA graphs to PyTorch in dB: %s", found)
                    nano.runtime = graphs
                    return
            raise RuntimeError(f"its frames differ from PyTorch's: {found} dB")
        except Exception as error:
            if not nano.message:  # else it failed at a frame and was reported
                nano.report(CUDA_GRAPHS, "the start", error)

    def _open(self, known: str) -> None:
        from .openvino_runtime import OpenVINO, precisions

        if known not in precisions():
            return
        runtime = OpenVINO(self._nano, known, self._threads)
        if (found := parity(self._nano, runtime)) < PARITY_DB:
            raise RuntimeError(f"its frames differ from PyTorch's ({found:.1f} dB)")
        logger.info("%s computes nano's frames from now on", runtime.name)
        self._nano.runtime = runtime

    def _prepare(self) -> None:
        """Open the fastest runtime, and find it before where it is not known. PyTorch computes the frames meanwhile.
        Then take the large size, where it is asked for or fast enough."""
        known = Known(REFERENCE, 0.0)
        try:
            found = _remembered(self._nano, self._threads)
            if found is None:
                self._awaited.wait(FIRST_TRIAL_DELAY_S)
                found = self._tried()
            self._open(found.runtime)
            known = found
        except Exception as error:
            logger.warning("no faster runtime was found, PyTorch computes the frames: %s", error, exc_info=error)
        try:
            if self._size == LARGE:
                self._enlarge()
            elif self._size == "auto":
                self._enlarge_if_fast(known.large_cost)
        except Exception as error:
            logger.warning("frames stay at the small size: %s", error, exc_info=error)

    def _tried(self) -> Known:
        nano = self._nano
        command = [sys.executable, "-c", RUN_NICED, str(nano.weights), str(nano.columns / nano.rows)]
        command += [SMALL if nano.large_weights is None else "auto", str(self._threads), str(os.getpid())]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
        if done.returncode != 0:
            raise RuntimeError(done.stderr.strip() or f"it ended with {done.returncode}")
        known = _remembered(nano, self._threads)
        if known is None:
            raise RuntimeError("its result cannot be read")
        logger.info("runtimes of nano: %s", _file(nano, self._threads).read_text())
        return known


def parity(nano: Nano, runtime: Runtime) -> float:
    """How alike the opening frame of a runtime and PyTorch's are, in dB; what is played now is left alone."""
    opening = nano.opening()
    noise = torch.randn(nano.latent_shape, generator=torch.Generator().manual_seed(0))
    frames = []
    for each in (runtime, nano.pytorch):
        with torch.inference_mode():
            readings = each.read(opening.scene)
            latents = each.denoise(noise, 1.0, opening.vectors(), readings, KVCache())
            frames.append(each.decode(latents).numpy())
    return _psnr(*frames)


def fastest(nano: Nano, threads: int, compiled_only: bool) -> Runtime:
    """Try out the runtimes, and remember the fastest. Raises ValueError where none draws what PyTorch draws."""
    if nano.device.type != "cpu":
        raise ValueError("it serves CPUs only, and the device is " + nano.device.type)
    from .openvino_runtime import OpenVINO, precisions

    runtimes: dict[str, Runtime] = {REFERENCE: nano.pytorch}
    runtimes |= {precision: OpenVINO(nano, precision, threads) for precision in precisions()}
    trials = _try(nano, runtimes)
    fit = [name for name, (_, parity) in trials.items() if parity >= PARITY_DB]
    if compiled_only:
        fit.remove(REFERENCE)
    if not fit:
        raise ValueError(f"its frames differ from PyTorch's: {trials}")
    best = min(fit, key=lambda name: trials[name][0])
    figures = {name: {"ms": round(ms, 2), "parity_db": round(parity, 1)} for name, (ms, parity) in trials.items()}
    logger.info("runtimes of nano: %s", figures)
    if not compiled_only:
        file = _file(nano, threads)
        file.parent.mkdir(parents=True, exist_ok=True)
        unfinished = file.with_suffix(f".{os.getpid()}")
        try:
            cost = _large_cost(nano, runtimes[best])
        except Exception as error:
            logger.warning("the large size does not serve: %s", error, exc_info=error)
            cost = 0.0
        found = {"runtime": best, "large_cost": round(cost, 3), "trials": figures}
        unfinished.write_text(json.dumps(found))
        unfinished.replace(file)
    return runtimes[best]


def _file(nano: Nano, threads: int) -> Path:
    from .openvino_runtime import cache_folder

    large = f"-{nano.large_digest}" if nano.large_weights else ""
    return cache_folder(nano) / f"runtime-{nano.rows}x{nano.columns}-{threads}{large}.json"


def _remembered(nano: Nano, threads: int) -> Known | None:
    file = _file(nano, threads)
    try:
        found = json.loads(file.read_text())
        return Known(str(found["runtime"]), float(found["large_cost"]))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        logger.info("%s cannot be read (%s): the runtimes are tried again", file, error)
        return None


def _try(nano: Nano, runtimes: Mapping[str, Runtime]) -> dict[str, tuple[float, float]]:
    """Milliseconds a frame, and the worst parity to PyTorch's frames in dB, by name. The runtimes take turns at each
    frame, so that whatever else the machine does slows all of them."""
    before = nano.runtime
    times: dict[str, list[float]] = {name: [] for name in runtimes}
    parities: dict[str, list[float]] = {name: [] for name in runtimes}
    frames: dict[str, np.ndarray] = {}
    try:
        for prompt, number in product(PROMPTS, range(FRAMES)):
            if number == 0:
                nano.reset(0)
                controls = Controls(nano.encode(Prompt(prompt)).values, acts={"dance": 1.0})
            state = nano.snapshot()
            for name, runtime in runtimes.items():
                nano.runtime = runtime
                nano.restore(state)
                begin = time.perf_counter()
                frames[name] = nano.step(controls).cpu().numpy()
                if nano.runtime is not runtime:
                    raise RuntimeError(nano.message)
                if number > 0:
                    times[name].append((time.perf_counter() - begin) * 1e3)
            for name, frame in frames.items():
                parities[name].append(_psnr(frame, frames[REFERENCE]))
    finally:
        nano.runtime = before
        nano.reset(0)
    return {name: (statistics.median(times[name]), min(parities[name])) for name in runtimes}


def _large_cost(nano: Nano, runtime: Runtime) -> float:
    """How many times longer a step of the large size takes; the sizes take turns. 0 where there is none."""
    if nano.large_weights is None:
        return 0.0
    before = nano.runtime
    times: dict[bool, list[float]] = {False: [], True: []}
    try:
        nano.runtime = runtime
        runtime.prepare_large()
        controls = Controls(nano.encode(Prompt(PROMPTS[0])).values, acts={"dance": 1.0})
        for _ in range(2 * FRAMES):
            for large in times:
                nano.allow_large(large)
                begin = time.perf_counter()
                nano.step(controls).cpu()
                times[large].append(time.perf_counter() - begin)
    finally:
        nano.runtime = before
        nano.allow_large(False)
        nano.reset(0)
    return statistics.median(times[True][1:]) / statistics.median(times[False][1:])


def _psnr(frame: np.ndarray, reference: np.ndarray) -> float:
    error = float(((frame.astype(np.float32) - reference) ** 2).mean())
    return float(10 * np.log10(255**2 / max(error, 1e-9)))


def _end_with(world: int) -> None:
    """End this process as soon as that of the world, a process id, has ended."""
    with contextlib.suppress(psutil.Error):
        process = psutil.Process(world)
        while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
            time.sleep(0.5)
    os._exit(1)


def main(weights: str, aspect: str, size: str, threads: str, world: str) -> None:
    """Try out the runtimes for these weights, in a process of low priority."""
    from .world import Nano

    if sys.platform == "win32":
        psutil.Process().nice(psutil.BELOW_NORMAL_PRIORITY_CLASS)
    threading.Thread(target=_end_with, args=(int(world),), daemon=True).start()
    torch.set_num_threads(int(threads))
    nano = Nano.load(Path(weights), device="cpu", aspect=float(aspect), runtime=REFERENCE, size=size)
    fastest(nano, int(threads), compiled_only=False)


if __name__ == "__main__":
    main(*sys.argv[1:])
