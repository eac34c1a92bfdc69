"""Which worlds this machine can play, and how fast: each runs for a few seconds in a process of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from worldjockey.model.registry import BUILTIN_WORLDS, WorldEntry, auto_device, preset_values
from worldjockey.model.weights_store import home, missing

from ..ipc.process import SPAWN, exit_now, init_child
from ..ipc.status import error_text
from ..world.adaptive_quality import enough

TRIAL_S = 5.0
FALLBACK_WORLD = "nano"  # plays on every machine, if not always fast enough
DEFAULT_FPS = 30.0  # of a show


@dataclass(frozen=True)
class Machine:
    """device: "cuda", "mps" or "cpu". memory: GB available to a world on it; 0 where unknown."""

    device: str
    memory: float = 0.0
    name: str = ""


@dataclass(frozen=True)
class Trial:
    """How fast a world ran. fps: frames a second with the number of steps it was trained for. wanted: the fewest
    needed.

    error: why it could not be run, with the fix.
    """

    fps: float = 0.0
    wanted: float = 0.0
    error: str = ""

    @property
    def is_fast_enough(self) -> bool:
        return not self.error and self.fps >= self.wanted


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
           run_trial: Callable[[str, str, float, float], Trial] = try_world) -> str:  # fmt: skip
    """The best world that is fast enough on this machine; FALLBACK_WORLD if none is. report: called with each
    result."""
    here = get_machine(device)
    for entry in candidates(worlds):
        if entry.name == FALLBACK_WORLD or unfit(entry, here):
            continue
        if fix := missing_weights(entry):
            report(f"not {entry.name}: its weights are not installed ({fix})")
            continue
        report(f"trying {entry.name} …")
        trial = run_trial(entry.name, device, TRIAL_S, show_fps)
        if trial.is_fast_enough:
            report(f"playing {entry.name}: {trial.fps:g} frames a second")
            return entry.name
        report(f"not {entry.name}: {trial.error or f'{trial.fps:g} frames a second of {trial.wanted:g}'}")
    report(f"playing {FALLBACK_WORLD}")
    return FALLBACK_WORLD
