"""`wj bench --reaction`: how soon an NDI receiver sees a control, with a world that takes 40 ms a frame.

A grey is the fader: each change is a prompt of the test card without a transition, which no smoothing delays. The time
counts from the sending of the control to the first received frame that is nearer to the new grey ("moves"), and to the
first that has it ("is there"); of a fader that keeps moving, from its last value.
"""

from __future__ import annotations

import os
import random
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..timing.percentiles import percentiles
from . import json_file
from .outputs import ndi_error
from .receivers import Receiver
from .show_process import ShowProcess, free_port

WORLD = "testcard:frame=40ms"
SAME = 0.02  # of the whole range, by which two greys may differ and be the same
PAUSE_S, PAUSE_JITTER_S = 0.5, 0.2  # between two changes, so that they stay in phase with no clock
SWEEP_S = 0.4  # for which a fader moves
SETTLE_S = 1.5  # before the first change
START_TIMEOUT_S = 60.0
LEVELS = (0.15, 0.85)


@dataclass(frozen=True)
class Change:
    """at: when the last value was sent, time.monotonic(). before, after: lightness, 0..1."""

    at: float
    before: float
    after: float


def moved(change: Change, seen: Sequence[tuple[float, float]]) -> float | None:
    """Milliseconds until the picture was nearer to the new value than to the old one; None if it never was."""
    middle = (change.before + change.after) / 2
    up = change.after > change.before
    return _first(change, seen, lambda light: light > middle if up else light < middle)


def settled(change: Change, seen: Sequence[tuple[float, float]]) -> float | None:
    """Milliseconds until the picture had the new value; None if it never had."""
    return _first(change, seen, lambda light: abs(light - change.after) < SAME)


def _first(change: Change, seen: Sequence[tuple[float, float]], shows: Any) -> float | None:
    return next(((at - change.at) * 1e3 for at, light in seen if at >= change.at and shows(light)), None)


class Grey:
    """The fader, by OSC. Lightness 0..1."""

    def __init__(self, port: int) -> None:
        from pythonosc.udp_client import SimpleUDPClient

        self._client = SimpleUDPClient("127.0.0.1", port)
        self.value = LEVELS[0]

    def set(self, value: float) -> None:
        self.value = value
        self._client.send_message("/wj/prompt", ["#" + f"{round(value * 255):02x}" * 3, 0.0])

    def sweep(self, end: float, rate: float) -> None:
        """Move to `end` in SWEEP_S, with `rate` values a second."""
        begin, count = self.value, max(round(SWEEP_S * rate), 1)
        due = time.monotonic()
        for n in range(1, count + 1):
            self.set(begin + (end - begin) * n / count)
            due += 1 / rate
            if n < count:
                time.sleep(max(due - time.monotonic(), 0))


# (what, values a second of the moving fader; 0 is one single change, the function that finds the time)
ROWS = (
    ("a still fader: the picture moves", 0.0, moved),
    ("a still fader: the picture is the new value", 0.0, settled),
    ("a fader of 60 values a second: the picture is the last value", 60.0, settled),
    ("a fader of 1,000 values a second: the picture is the last value", 1000.0, settled),
)


def run(
    json_path: Path | None, seconds: float, size: str, fps: str = "30", inbetween: str = "motion"
) -> dict[str, Any]:
    """Play the show, print the table, and write it as JSON. Raises RuntimeError, with the fix, where NDI does not work.

    seconds: for each speed of the fader.
    """
    from rich.console import Console
    from rich.table import Table

    json_file.check_folder(json_path)
    if error := ndi_error():
        raise RuntimeError(error)
    with tempfile.TemporaryDirectory(prefix="wj-bench-") as folder, Console(stderr=True).status("playing a show"):
        changes, seen, report = _play(Path(folder), seconds, size, fps, inbetween)
    rows = list[dict[str, Any]]()
    for what, rate, time_of in ROWS:
        found = [time_of(change, seen) for change in changes[rate]]
        times = [ms for ms in found if ms is not None]
        rows.append({"what": what, **percentiles(times), "count": len(times), "never": found.count(None)})
    table = Table(
        title=f"{WORLD}, NDI at {size}, {fps} frames a second, in-betweens: {inbetween}", title_justify="left"
    )
    for name in ("from the control to the received pixel", "p50, ms", "p95, ms", "of"):
        table.add_column(name, justify="left" if name.startswith("from") else "right")
    for row in rows:
        table.add_row(row["what"], f"{row['p50']:.0f}", f"{row['p95']:.0f}", str(row["count"]))
    Console().print(table)
    result = {
        "model": WORLD, "output": {"size": size, "fps": fps}, "inbetween": inbetween, "rows": rows,
        "late": report["late"], "missed": report["missed"],
    }  # fmt: skip
    json_file.write(json_path, result)
    return result


def _play(folder: Path, seconds: float, size: str, fps: str, inbetween: str) -> tuple[
    dict[float, list[Change]], list[tuple[float, float]], dict[str, Any]
]:  # fmt: skip
    port, name = free_port(), f"wj bench {os.getpid()}"
    grey = f"{round(LEVELS[0] * 255):02x}" * 3
    show = {
        "model": WORLD, "prompt": f"#{grey}", "size": size, "fps": fps, "outputs": [{"kind": "ndi", "name": name}],
        "osc": {"port": port, "feedback": None, "query": None}, "midi": {"enabled": False},
        "surface": {"enabled": False}, "values": {"inbetween": inbetween},
    }  # fmt: skip
    player, receiver = ShowProcess(show, folder), Receiver("ndi", name)
    changes: dict[float, list[Change]] = {rate: [] for _, rate, _ in ROWS}
    chance = random.Random(0)
    try:
        fader, begun = Grey(port), time.monotonic()
        while not any(abs(light - LEVELS[0]) < SAME for _, light in list(receiver.seen)):
            player.check()
            if time.monotonic() - begun > START_TIMEOUT_S:
                raise RuntimeError(f"no frame of the world arrived by NDI: {receiver.error or 'see wj doctor'}")
            time.sleep(0.05)
        time.sleep(SETTLE_S)
        for rate, found in changes.items():
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                before, after = fader.value, LEVELS[fader.value < 0.5]
                fader.sweep(after, rate) if rate else fader.set(after)
                found.append(Change(time.monotonic(), before, after))
                player.check()
                time.sleep(PAUSE_S + chance.uniform(0, PAUSE_JITTER_S))
        seen = list(receiver.seen)
    finally:
        receiver.kill()
        try:
            report = player.stop()
        finally:
            player.close()
    return changes, seen, report
