"""Which worlds this machine can play, and how fast: each runs for a few seconds in a process of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from worldjockey.model.registry import (
    BUILTIN_WORLDS,
    WorldEntry,
    auto_device,
    lightest,
    preset_values,
    weights_digest,
)
from worldjockey.model.weights_store import home, missing

from ..ipc.process import SPAWN, exit_now, init_child
from ..ipc.status import error_text
from ..world.adaptive_quality import enough
from .trial_memory import Trial, TrialMemory, path_here, versions

TRIAL_S = 5.0
FALLBACK_WORLD = "nano"  # plays on every machine, if not always fast enough
DEFAULT_FPS = 30.0  # of a show


@dataclass(frozen=True)
class Machine:
    """device: "cuda", "mps" or "cpu". memory: GB available to a world on it; 0 where unknown."""

    device: str
    memory: float = 0.0
    name: str = ""


def _send_machine(pipe: Any, device: str) -> None:
    init_child()
    try:
        import torch

        chosen = torch.device(auto_device() if device == "auto" else device)
        if chosen.type == "cuda":
            has = torch.cuda.get_device_properties(chosen)
            pipe.send(Machine("cuda", round(has.total_memory / 1e9, 1), has.name))
        elif chosen.type == "mps":
            pipe.send(Machine("mps", round(torch.mps.recommended_max_memory() / 1e9, 1), "Apple GPU"))
        else:
            pipe.send(Machine(chosen.type))
    except Exception as error:
        pipe.send(error_text(error))


def _machine_process(pipe: Any, device: str) -> None:
    _send_machine(pipe, device)
    exit_now()


def machine(device: str = "auto") -> Machine:
    """The device that worlds would run on. A child process imports torch for it. Raises RuntimeError where it fails."""
    ours, theirs = SPAWN.Pipe(duplex=False)
    process = SPAWN.Process(target=_machine_process, args=(theirs, device), daemon=True)
    process.start()
    theirs.close()
    try:
        found = ours.recv()
    except EOFError:
        found = "torch does not start: pip install --force-reinstall torch"
    process.join()
    if not isinstance(found, Machine):
        raise RuntimeError(f"this machine has no device {device!r} ({found}); try --device auto")
    return found


def unfit(entry: WorldEntry, here: Machine) -> str:
    """Why this machine cannot run that world; empty where it may."""
    if here.device not in entry.devices:
        return f"needs {' or '.join(map(str.upper, entry.devices))}; this machine has {here.device.upper()} only"
    if here.memory and here.memory < entry.memory:
        return f"needs about {entry.memory:g} GB of graphics memory, and {here.name} has {here.memory:g}"
    return ""


def try_world(name: str, device: str = "auto", seconds: float = TRIAL_S, show_fps: float = DEFAULT_FPS) -> Trial:
    """Open a world and measure how many frames a second it makes."""
    from . import bench

    try:
        rows, about = bench.world(name, device, (int(preset_values(name).get("steps", 1)),), seconds)
    except RuntimeError as error:
        return Trial(error=str(error))
    return Trial(rows[0]["fps"], round(enough(about["rate"], show_fps, about["frames_per_step"] > 1), 2))


def missing_weights(entry: WorldEntry) -> str:
    """The command that downloads the weights of that world; empty where they are installed."""
    absent = [path for source in entry.weights for path in missing(source, home())]
    return f"wj weights get {entry.name}" if absent else ""


def candidates(worlds: Iterable[WorldEntry] = BUILTIN_WORLDS) -> list[WorldEntry]:
    """The worlds that `--model auto` may choose, the best first."""
    return sorted((entry for entry in worlds if entry.devices), key=lambda entry: -entry.rank)


def choose(device: str = "auto", show_fps: float = DEFAULT_FPS, report: Callable[[str], None] = lambda line: None,
           worlds: Iterable[WorldEntry] = BUILTIN_WORLDS, get_machine: Callable[[str], Machine] = machine,
           run_trial: Callable[[str, str, float, float], Trial] = try_world,
           memory: Path | None = None) -> str:  # fmt: skip
    """The best world that is fast enough on this machine, in its smaller size if need be; FALLBACK_WORLD if none is.

    Of a family of equal networks one is tried. report: called with each result. memory: a file of earlier trials, which
    are not repeated.
    """
    here, remembered = get_machine(device), TrialMemory(memory)
    too_slow: dict[str, str] = {}  # by family, the world that was tried
    for entry in candidates(worlds):
        if entry.name == FALLBACK_WORLD or unfit(entry, here):
            continue
        if fix := missing_weights(entry):
            report(f"not {entry.name}: its weights are not installed ({fix})")
            continue
        if twin := too_slow.get(entry.family):
            report(f"not {entry.name}: it is as fast as {twin}")
            continue
        for model in dict.fromkeys((entry.name, lightest(entry.name))):
            key = _key(model, device, here, show_fps)
            trial = remembered.recall(key)
            if trial is None:
                report(f"trying {model} …")
                trial = run_trial(model, device, TRIAL_S, show_fps)
                remembered.remember(key, trial)
            when = f", as measured on {trial.measured} (to measure again, delete {memory})" if trial.measured else ""
            if trial.is_fast_enough:
                report(f"playing {model}: {trial.fps:g} frames a second{when}")
                return model
            report(f"not {model}: {trial.error or f'{trial.fps:g} frames a second of {trial.wanted:g}{when}'}")
            if trial.error:
                break
        else:
            if entry.family:
                too_slow[entry.family] = entry.name
    report(f"playing {FALLBACK_WORLD}")
    return FALLBACK_WORLD


def choose_here(device: str, show_fps: float, report: Callable[[str], None]) -> str:
    """`choose`, with the trials that this machine remembers."""
    return choose(device, show_fps, report, memory=path_here())


def _key(model: str, device: str, here: Machine, show_fps: float) -> str:
    """What a trial depends on."""
    try:
        weights = weights_digest(model)[:16]
    except (ValueError, OSError):  # a world of another package
        weights = ""
    about = (model, weights, device, here.device, here.name, f"{here.memory:g} GB", f"{show_fps:g}/s", *versions())
    return ", ".join(filter(None, about))
