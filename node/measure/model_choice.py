"""Which worlds this machine can play, and how fast: each is heard for a few seconds in a process of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from worldjockey.model.registry import BUILTIN_WORLDS, WorldEntry, preset_values
from worldjockey.model.weights_store import home, missing

from ..ipc.process import SPAWN, exit_now, init_child
from ..world.adaptive_quality import enough

SECONDS = 5.0  # that a world is heard for
ANYWHERE = "nano"  # plays where no other does, if not always in time
TOP = 30.0  # frames a second; the show's rate, where none is said


@dataclass(frozen=True)
class Machine:
    """device: "cuda", "mps" or "cpu". memory: GB that a world can have on it; 0 where nobody says."""

    device: str
    memory: float = 0.0
    name: str = ""


@dataclass(frozen=True)
class Trial:
    """fps: frames a second that it makes in the steps it was made for, of `wanted` at least.

    why: it could not be heard, and the fix.
    """

    fps: float = 0.0
    wanted: float = 0.0
    why: str = ""

    @property
    def keeps_time(self) -> bool:
        return not self.why and self.fps >= self.wanted


def _look(pipe: Any, device: str) -> None:
    init_child()
    try:
        import torch

        mps = getattr(torch.backends, "mps", None)
        auto = "cuda" if torch.cuda.is_available() else "mps" if mps and mps.is_available() else "cpu"
        chosen = torch.device(auto if device == "auto" else device)
        if chosen.type == "cuda":
            has = torch.cuda.get_device_properties(chosen)
            pipe.send(Machine("cuda", round(has.total_memory / 1e9, 1), has.name))
        elif chosen.type == "mps":
            pipe.send(Machine("mps", round(torch.mps.recommended_max_memory() / 1e9, 1), "Apple GPU"))
        else:
            pipe.send(Machine(chosen.type))
    except Exception as error:
        pipe.send(str(error) or type(error).__name__)


def _look_and_leave(pipe: Any, device: str) -> None:
    _look(pipe, device)
    exit_now()


def machine(device: str = "auto") -> Machine:
    """What worlds would run on. Asked in another process: torch never comes into this one. RuntimeError if it fails."""
    ours, theirs = SPAWN.Pipe(duplex=False)
    process = SPAWN.Process(target=_look_and_leave, args=(theirs, device), daemon=True)
    process.start()
    theirs.close()
    try:
        found = ours.recv()
    except EOFError:
        found = "torch does not start: pip install --force-reinstall torch"
    process.join()
    if not isinstance(found, Machine):
        raise RuntimeError(f"no device {device!r} here ({found}); try --device auto")
    return found


def unfit(entry: WorldEntry, here: Machine) -> str:
    """Why this machine need not try that world; empty where it may."""
    if here.device not in entry.devices:
        return f"needs {' or '.join(map(str.upper, entry.devices))}; this machine has {here.device.upper()} only"
    if here.memory and here.memory < entry.memory:
        return f"needs about {entry.memory:g} GB of graphics memory, and {here.name} has {here.memory:g}"
    return ""


def hear(name: str, device: str = "auto", seconds: float = SECONDS, top: float = TOP) -> Trial:
    """Open a world and let it make frames. top: the show's rate."""
    from . import bench

    try:
        rows, about = bench.world(name, device, (int(preset_values(name).get("steps", 1)),), seconds)
    except RuntimeError as error:
        return Trial(why=str(error))
    return Trial(rows[0]["fps"], round(enough(about["rate"], top, about["frames_per_step"] > 1), 2))


def lacking(entry: WorldEntry) -> str:
    """What to do before that world can be opened; empty where its weights are here."""
    gone = [path for source in entry.weights for path in missing(source, home())]
    return f"wj weights get {entry.name}" if gone else ""


def candidates(worlds: Iterable[WorldEntry] = BUILTIN_WORLDS) -> list[WorldEntry]:
    """Those that may be chosen by themselves, the best first."""
    return sorted((entry for entry in worlds if entry.devices), key=lambda entry: -entry.rank)


def choose(device: str = "auto", top: float = TOP, tell: Callable[[str], None] = lambda said: None,
           worlds: Iterable[WorldEntry] = BUILTIN_WORLDS, look: Callable[[str], Machine] = machine,
           listen: Callable[[str, str, float, float], Trial] = hear) -> str:  # fmt: skip
    """The best world that keeps its time here; the one that plays anywhere if none does. tell: hears what is found."""
    here = look(device)
    for entry in candidates(worlds):
        if entry.name == ANYWHERE or unfit(entry, here):
            continue
        if why := lacking(entry):
            tell(f"not {entry.name}: its weights are not here ({why})")
            continue
        tell(f"trying {entry.name} …")
        heard = listen(entry.name, device, SECONDS, top)
        if heard.keeps_time:
            tell(f"playing {entry.name}: {heard.fps:g} frames a second")
            return entry.name
        tell(f"not {entry.name}: {heard.why or f'{heard.fps:g} frames a second of {heard.wanted:g}'}")
    tell(f"playing {ANYWHERE}")
    return ANYWHERE
