"""`wj bench --preview`: what an open preview costs the program, measured in turns within one show."""

from __future__ import annotations

import contextlib
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from . import json_file
from .bench import PROMPTS, best_output
from .show_process import ShowProcess, free_port

START_TIMEOUT_S = 120.0
SETTLE_S = 4.0  # not measured, after the preview was opened or closed
POLL_S = 0.1
TURNS = 3  # each with the preview closed, and open
RATIO_MIN = 0.9


def _wait(playing: ShowProcess, condition: Callable[[Mapping[str, Any]], object], seconds: float, what: str) -> None:
    deadline = time.monotonic() + seconds
    while not (playing.now and condition(playing.now)):
        playing.check()
        if time.monotonic() > deadline:
            raise RuntimeError(f"not within {seconds:g} s: {what}")
        time.sleep(POLL_S)


def _rates(playing: ShowProcess, seconds: float) -> dict[str, float]:
    """Frames a second of both worlds, and missed ticks, from now on."""
    first = playing.now
    end = first["time"] + seconds
    _wait(playing, lambda now: now["time"] >= end, seconds + 30, "the end of a measurement")
    last = playing.now
    took = last["time"] - first["time"]
    preview = [sample["preview"].get("fps", 0.0) for sample in playing.samples if first["time"] < sample["time"] <= end]
    return {
        "program_fps": (last["world"]["frames"] - first["world"]["frames"]) / took,
        "program_ms": (last["world"]["busy_s"] - first["world"]["busy_s"]) * 1e3
        / max(last["world"]["frames"] - first["world"]["frames"], 1),
        "preview_fps": statistics.fmean(preview) if preview else 0.0,
        "missed": last["clock"]["missed"] - first["clock"]["missed"],
    }  # fmt: skip


def run(
    json_path: Path | None = None, seconds: float = 20.0, model: str = "nano", size: str = "1280x720"
) -> dict[str, Any]:
    """Measure, print the figures, and write them as JSON. seconds: of each of the six measurements.

    Raises RuntimeError where the show or the preview cannot play.
    """
    from pythonosc.udp_client import SimpleUDPClient
    from rich.console import Console

    json_file.check_folder(json_path)
    port = free_port()
    out, note = best_output()
    outputs = [out] if out != "none" else []
    show = {
        "model": model, "prompt": PROMPTS[0], "size": size, "outputs": outputs, "midi": {"enabled": False},
        "osc": {"port": port, "feedback": None, "query": None},
    }  # fmt: skip
    hand = SimpleUDPClient("127.0.0.1", port)
    rows: dict[bool, list[dict[str, float]]] = {False: [], True: []}
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="wj-preview-")))
        playing = ShowProcess(show, folder)
        stack.callback(playing.close)
        _wait(playing, lambda now: now["world"].get("frames", 0) > 20, START_TIMEOUT_S, "the world's frames")
        for number in range(2 * TURNS):
            on = number % 2 == 1
            hand.send_message("/wj/preview/on", int(on))
            if on:
                _wait(playing, lambda now: now["preview"]["state"] in ("running", "resting", "too large"),
                      START_TIMEOUT_S, "a preview that runs")  # fmt: skip
                if playing.now["preview"]["state"] == "too large":
                    raise RuntimeError(playing.now["preview"]["message"])
            time.sleep(SETTLE_S)
            rows[on].append(_rates(playing, seconds))
        message = playing.now["preview"]["message"]
        report = playing.stop()
    closed, opened = (statistics.fmean(row["program_fps"] for row in rows[on]) for on in (False, True))
    # Of neighbours in time, because what else the machine does changes within minutes.
    ratios = [row["program_fps"] / max(before["program_fps"], 1e-6) for before, row in zip(*rows.values(), strict=True)]
    ratio = round(statistics.median(ratios), 3)
    result = {
        "model": model, "size": size, "seconds_each": seconds, "note": note, "message": message,
        "runtime": report["world"].get("runtime", ""), "ratio": ratio, "passed": ratio >= RATIO_MIN,
        "program_fps": {"closed": round(closed, 2), "open": round(opened, 2)},
        "preview_fps": round(statistics.fmean(row["preview_fps"] for row in rows[True]), 2),
        "missed": {"closed": sum(row["missed"] for row in rows[False]), "open": sum(r["missed"] for r in rows[True])},
        "turns": {"closed": rows[False], "open": rows[True]},
    }  # fmt: skip
    Console().print(table(result))
    if note:
        Console(stderr=True).print(note, highlight=False)
    json_file.write(json_path, result)
    return result


def table(result: Mapping[str, Any]) -> Any:
    """The figures as one rich table."""
    from rich.table import Table

    made = Table(title=f"{result['model']} {result['runtime']}, {result['size']}", title_justify="left")
    for name in ("preview", "program fps", "preview fps", "missed ticks"):
        made.add_column(name, justify="left" if name == "preview" else "right")
    fps, missed = result["program_fps"], result["missed"]
    made.add_row("closed", f"{fps['closed']:.2f}", "-", str(missed["closed"]))
    made.add_row("open", f"{fps['open']:.2f}", f"{result['preview_fps']:.2f}", str(missed["open"]))
    made.caption = f"ratio {result['ratio']:.3f}: {'passed' if result['passed'] else 'FAILED'} (at least {RATIO_MIN})"
    made.caption_justify = "left"
    return made
