"""`wj bench --kill`: kills child processes of a playing show at random, and counts the missed ticks."""

from __future__ import annotations

import contextlib
import os
import random
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import psutil

from . import json_file
from .bench import PROMPTS
from .outputs import missing_modules, ndi_error
from .show_process import ShowProcess, free_port

START_TIMEOUT_S = 90.0  # until everything plays
SETTLE_S = 3.0  # not measured, after that
KILL_INTERVAL_S = 5.0
POLL_INTERVAL_S = 0.1
CLOCK_MISSED_MAX = 3  # after the clock was killed


def show_for(folder: Path, model: str, size: str, fps: str) -> tuple[dict[str, Any], dict[str, str]]:
    """A show with NDI, web, recording and a stream, and the reasons why outputs are missing."""
    outputs: list[dict[str, Any]] = [
        {"kind": "file", "path": str(folder / "clip.mp4")},
        {"kind": "stream", "url": f"tcp://127.0.0.1:{free_port()}"},
    ]
    missing = {}
    if reason := ndi_error():
        missing["ndi"] = reason
    else:
        outputs.append({"kind": "ndi", "name": f"wj kill {os.getpid()}"})
    if reason := missing_modules("aiohttp"):
        missing["web"] = reason
    else:
        outputs.append({"kind": "web", "port": free_port()})
    show = {
        "model": model, "prompt": PROMPTS[0], "size": size, "fps": fps, "outputs": outputs,
        "osc": {"enabled": False}, "midi": {"enabled": False},
    }  # fmt: skip
    return show, missing


def targets(now: Mapping[str, Any]) -> dict[str, int]:
    """PIDs of the processes to kill, by name: the world, the clock, its spare, and every output."""
    found = {"world": now["world"].get("pid"), "clock": now["clock"].get("pid"), "spare": now["clock"].get("spare")}
    found |= {name: status.get("pid") for name, status in now["outputs"].items()}
    return {name: int(pid) for name, pid in found.items() if pid}


def summary(kills: list[dict[str, Any]]) -> dict[str, dict[str, int]]:
    """For each process: the number of kills, of missed ticks in all, and of missed ticks in the worst kill."""
    found: dict[str, dict[str, int]] = {}
    for kill in kills:
        row = found.setdefault(kill["killed"], {"kills": 0, "missed": 0, "worst": 0})
        row["kills"] += 1
        row["missed"] += kill["missed"]
        row["worst"] = max(row["worst"], kill["missed"])
    return dict(sorted(found.items()))


def passed(kills: list[dict[str, Any]]) -> bool:
    """Whether no kill cost a tick, and none of the clock more than three."""
    return all(kill["missed"] <= (CLOCK_MISSED_MAX if kill["killed"] == "clock" else 0) for kill in kills)


def _wait(playing: ShowProcess, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        playing.check()
        time.sleep(POLL_INTERVAL_S)


def _up(playing: ShowProcess) -> None:
    """Wait until everything plays and the clock has its spare. RuntimeError if that takes too long."""
    deadline = time.monotonic() + START_TIMEOUT_S
    while True:
        playing.check()
        if now := playing.now:
            states = {"world": now["world"].get("state"), "spare clock": now["clock"].get("spare") and "running"}
            states |= {name: status.get("state") for name, status in now["outputs"].items()}
            waiting = [name for name, state in states.items() if state != "running"]
            if not waiting:
                return
            if time.monotonic() > deadline:
                raise RuntimeError(f"not everything played within {START_TIMEOUT_S:g} s: {', '.join(waiting)}")
        time.sleep(POLL_INTERVAL_S)


def run(
    json_path: Path | None = None, minutes: float = 2.0, model: str = "nano", size: str = "1280x720", fps: str = "30"
) -> dict[str, Any]:
    """Play, kill a random process every five seconds, print the missed ticks, and write them as JSON.

    Raises RuntimeError where the show cannot play at all, OSError where the file cannot be written.
    """
    from rich.console import Console

    json_file.check_folder(json_path)
    kills: list[dict[str, Any]] = []
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="wj-kill-")))
        show, missing = show_for(folder, model, size, fps)
        playing = ShowProcess(show, folder)
        stack.callback(playing.close)
        _up(playing)
        _wait(playing, SETTLE_S)
        before = playing.now["clock"].get("missed", 0)
        end = time.monotonic() + minutes * 60
        while time.monotonic() < end:
            name, pid = random.choice(sorted(targets(playing.now).items()))
            with contextlib.suppress(psutil.NoSuchProcess):
                psutil.Process(pid).kill()
            _wait(playing, KILL_INTERVAL_S)
            missed = playing.now["clock"].get("missed", 0)
            kills.append({"killed": name, "missed": missed - before})
            before = missed
        report = playing.stop()
    result = {
        "model": model, "output": {"size": size, "fps": fps}, "minutes": minutes, "ticks": report["frames_sent"],
        "late": report["late"], "missed": report["missed"], "worst_ms": report["worst_ms"], "passed": passed(kills),
        "killed": summary(kills), "kills": kills, "lacks": missing, "events": report["events"],
    }  # fmt: skip
    Console().print(*tables(result), sep="\n")
    json_file.write(json_path, result)
    return result


def tables(result: dict[str, Any]) -> Iterator[Any]:
    """What is printed: the missed ticks by what was killed, and whether this machine passes."""
    from rich.table import Table

    table = Table(title="missed ticks by what was killed", title_justify="left")
    for name in ("", "kills", "missed", "at worst"):
        table.add_column(name, justify="right" if name else "left")
    for name, row in result["killed"].items():
        table.add_row(name, *(str(row[key]) for key in ("kills", "missed", "worst")))
    yield table
    for name, reason in result["lacks"].items():
        yield f"without {name}: {reason}"
    yield f"{result['ticks']} ticks were sent, {result['missed']} missed: {'passed' if result['passed'] else 'FAILED'}"
