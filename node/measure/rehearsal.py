"""`wj bench --rig`: a rehearsal with all outputs and inputs at once, with mishaps. Does an output cost a tick?

The real node plays to every output that this machine can use, each with a receiver; live video, audio, OSC and MIDI
control it. During the run receivers are killed and frozen, the disk of the recording fills up, and the live source is
killed. Ticks and memory are read from the statuses of the processes, four times a second; frames are counted by the
receivers, or by the output where it has none.
"""

from __future__ import annotations

import contextlib
import os
import platform
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import av
import psutil

from . import json_file
from .outputs import frames_made, screen
from .rig import Disk, Mishap, Part, Rig, guest, hands, mishaps, rig
from .show_process import ShowProcess, free_port

START_TIMEOUT_S = 90.0  # until everything plays
SETTLE_S = 3.0  # not measured, after that
POLL_INTERVAL_S = 0.1
RETURN_TIMEOUT_S = 20.0  # after the end, for every output to recover
AFTERMATH_S = 10.0  # after a mishap, counted to it
GROWTH_MINUTES_MIN = 0.1  # needed to measure growth
OTHERS_PERCENT_MIN = 80  # of their frames that other outputs must keep during a mishap
JUDGED_S_MIN = 5.0  # length of a mishap for that to be significant
MISSED_SHARE_MAX = 0.01  # of the ticks, that may be missed without a mishap as their cause


class Watch:
    """What is recorded while the rig plays. `look` is called often, and never waits."""

    def __init__(self, show_process: ShowProcess, rig: Rig) -> None:
        self._show_process, self._rig, self._read = show_process, rig, max(len(show_process.samples) - 1, 0)
        self.sent: dict[str, int] = {}
        self.frames_made: dict[str, int] = {}  # without those that the output itself skipped
        self.dropped: dict[str, int] = {}  # that the output could not encode or send in time
        self.restarts: dict[str, int] = {}
        self.memory: dict[str, list[tuple[float, int, float]]] = {}  # by process: (time, pid, MB)
        self._counted: dict[tuple[int, str], int] = {}
        self._sampled_at = 0.0

    def look(self) -> None:
        fresh = self._show_process.samples[self._read :]
        self._read += len(fresh)
        for sample in fresh:
            for name, status in sample["outputs"].items():
                self._count(self.sent, name, status.get("sent", 0))
                if "facts" in status:
                    self._count(self.frames_made, name, frames_made(status))
                self._count(self.dropped, name, status.get("facts", {}).get("dropped", 0))
                self.restarts[name] = status.get("restarts", 0)
        now = time.monotonic()
        if now - self._sampled_at > 1.0:
            self._sampled_at = now
            self._sample_memory(now)

    def _count(self, counts: dict[str, int], name: str, status: int) -> None:
        """Add to a count; a process that was restarted counts from 0 again."""
        before = self._counted.setdefault((id(counts), name), status)
        counts[name] = counts.get(name, 0) + (status - before if status >= before else status)
        self._counted[id(counts), name] = status

    def _sample_memory(self, now: float) -> None:
        sample = self._show_process.now
        pids = {
            "control": self._show_process.pid,
            "clock": sample["clock"].get("pid"),
            "world": sample["world"].get("pid"),
        }
        pids |= {name: status.get("pid") for name, status in sample["outputs"].items()}
        if sample["live"]:
            pids["live picture"] = sample["live"].get("pid")
        for name, pid in pids.items():
            with contextlib.suppress(psutil.Error):
                if pid:
                    self.memory.setdefault(name, []).append((now, pid, own_memory(pid) / 1e6))

    def mark(self) -> dict[str, Any]:
        """All counts at this moment. pictures: frames of each receiver or output. judged: the receivers that receive
        frames now, and the outputs that play and have no receiver."""
        now, rig = self._show_process.now, self._rig
        watched, clock = {rig.outputs[name] for name in rig.active_receivers}, now["clock"]
        alone = [name for name, status in now["outputs"].items() if status.get("state") == "running"
                 and name not in watched]  # fmt: skip
        return {
            "time": time.monotonic(), "ticks": clock.get("ticks", 0), "late": clock.get("late", 0),
            "missed": clock.get("missed", 0), "judged": [*rig.active_receivers, *alone],
            "pictures": self.frames_made | {name: rig.seen(name) for name in rig.counting_receivers},
        }  # fmt: skip


def own_memory(pid: int) -> float:
    """Memory of a process in bytes, without shared memory such as the frame rings where that is known."""
    info = psutil.Process(pid).memory_info()
    return float(info.rss - getattr(info, "shared", 0))


def growth(points: list[tuple[float, int, float]]) -> dict[str, float]:
    """For the process that ran last: MB at the end, and growth in MB a minute after the start.

    The medians of the second and the last fifth are compared; 0 where there are too few points.
    """
    mine = [(when, size) for when, pid, size in points if pid == points[-1][1]]
    fifth = len(mine) // 5
    if fifth < 1:
        return {"mb": round(mine[-1][1], 1), "mb_a_minute": 0.0}
    early, late = mine[fifth : 2 * fifth], mine[-fifth:]
    minutes = (median(t for t, _ in late) - median(t for t, _ in early)) / 60
    grown = median(size for _, size in late) - median(size for _, size in early)
    return {
        "mb": round(mine[-1][1], 1),
        "mb_a_minute": round(grown / minutes, 2) if minutes > GROWTH_MINUTES_MIN else 0.0,
    }


def between(begin: dict[str, Any], end: dict[str, Any]) -> dict[str, Any]:
    """Differences between two marks."""
    ticks = end["ticks"] - begin["ticks"]
    frames = {name: end["pictures"][name] - begin["pictures"].get(name, 0) for name in begin["judged"]}
    return {
        "seconds": round(end["time"] - begin["time"], 2), "ticks": ticks, "late": end["late"] - begin["late"],
        "missed": end["missed"] - begin["missed"], "pictures": frames,
    }  # fmt: skip


def _up(show_process: ShowProcess, rig: Rig) -> None:
    """Wait until everything plays; a receiver that gets no frame in time is listed in `rig.missing`, and left out."""
    deadline = time.monotonic() + START_TIMEOUT_S
    while (world := show_process.now.get("world", {})).get("state") != "running":
        show_process.check()
        if time.monotonic() > deadline:
            raise RuntimeError(f"the world did not play within {START_TIMEOUT_S:g} s: {world.get('message', '')}")
        time.sleep(POLL_INTERVAL_S)
    for name in rig.watched:
        rig.watch(name)
    deadline = time.monotonic() + START_TIMEOUT_S
    while waiting := [name for name in rig.receivers if not rig.seen(name)]:
        show_process.check()
        if time.monotonic() > deadline:
            break
        time.sleep(POLL_INTERVAL_S)
    for name in waiting:
        status = show_process.now["outputs"].get(rig.outputs[name], {})
        rig.missing[name] = status.get("message") or rig.receivers[name].error or "no frame arrived"
        rig.kill(name)


def _perform(
    show_process: ShowProcess,
    rig: Rig,
    plan: list[Mishap],
    disk: Disk,
    seconds: float,
    show_progress: Callable[[str, float], None],
) -> tuple[Watch, dict[str, Any], list[dict[str, Any]]]:
    """The run itself. Returns the records, the totals, and a row for each mishap."""
    watch = Watch(show_process, rig)
    watch.look()
    begin = watch.mark()
    start, end = begin["time"], begin["time"] + seconds
    before_mishaps: dict[str, Any] = {}  # totals before the first mishap
    rows: list[dict[str, Any]] = []
    for mishap, after in zip(plan, [*plan[1:], None], strict=True):
        over = start + (after.begin if after else 1.0) * seconds

        def play(until: float, of: str = mishap.name) -> None:
            while (now := time.monotonic()) < until:
                show_process.check()
                watch.look()
                disk.tend(show_process.now["outputs"].get("file", {}).get("pid"))
                show_progress(of, (now - start) / seconds)
                time.sleep(POLL_INTERVAL_S)

        play(start + mishap.begin * seconds, "everything plays")
        struck = watch.mark()
        before_mishaps = before_mishaps or between(begin, struck)
        mishap.start()
        play(start + mishap.end * seconds)
        mishap.undo()
        play(min(over, start + mishap.end * seconds + AFTERMATH_S))
        happened = between(struck, watch.mark())
        percent, hardest = others(before_mishaps, happened, mishap.of)
        rows.append({"mishap": mishap.name, **happened, "others_percent": percent, "hardest_hit": hardest})
        play(min(over, end), "everything plays")
    return watch, between(begin, watch.mark()), rows


def lost(show_process: ShowProcess, rig: Rig) -> list[str]:
    """Outputs that did not recover, and receivers that get no frames any more. Outputs that never reached a receiver
    are left out; `rig.missing` has the reason."""
    never = {rig.outputs[name] for name in rig.missing if name in rig.outputs} - {rig.outputs[n] for n in rig.receivers}
    before = {name: rig.seen(name) for name in rig.counting_receivers}
    deadline = time.monotonic() + RETURN_TIMEOUT_S
    while True:
        status = {name: it for name, it in show_process.now["outputs"].items() if name not in never}
        down = [name for name, it in status.items() if it.get("state") != "running" or not it.get("sent")]
        down += [name for name in rig.receivers if name in before and rig.seen(name) == before[name]]
        if not down or time.monotonic() > deadline:
            return down
        show_process.check()
        time.sleep(POLL_INTERVAL_S)


def others(before: dict[str, Any], during: dict[str, Any], of: str) -> tuple[int, str]:
    """Frame rate of the hardest hit other receiver, in percent of its rate before the mishaps, and its name.

    Receivers that were absent at the start of the mishap are not judged.
    """
    frames, ratio = during["pictures"], max(before["seconds"], 1e-9) / max(during["seconds"], 1e-9)
    shares = {
        name: frames[name] / count * ratio
        for name, count in before["pictures"].items()
        if name != of and count and name in frames
    }
    hardest = min(shares, key=shares.__getitem__, default="")
    return min(round(100 * shares.get(hardest, 1.0)), 100), hardest


@dataclass(frozen=True)
class Verdict:
    """passed: whether this machine can play such a show. blamed: whether an output caused a missed tick."""

    passed: bool
    blamed: bool
    message: str


def verdict(whole: dict[str, Any], rows: list[dict[str, Any]], down: Sequence[str] = ()) -> Verdict:
    """Judge missed ticks, outputs that suffered from another's mishap, and outputs that did not recover.

    Ticks that are missed during a mishap are attributed to it, unless ticks are missed at a similar rate otherwise.
    """
    during_mishaps = {key: sum(row[key] for row in rows) for key in ("missed", "seconds")}
    before_mishaps = {key: whole[key] - during_mishaps[key] for key in ("missed", "seconds")}
    usual = before_mishaps["missed"] / max(before_mishaps["seconds"], 1e-9)
    blamed = [row for row in rows if row["missed"] > 0 and row["missed"] / max(row["seconds"], 1e-9) > 2 * usual]
    every = max(whole["ticks"] + whole["missed"], 1)
    share = whole["missed"] / every
    if not whole["missed"]:
        message = [f"no tick of {every} was missed"]
    elif blamed:
        which = ", ".join(f"{row['missed']} ({row['mishap']})" for row in blamed)
        message = [f"ticks were missed because of an output: {which}"]
    else:
        message = [f"{whole['missed']} ticks of {every} were missed ({share:.2%}), not more of them during "
                 "mishaps: this machine is too busy for this show"]  # fmt: skip
    hit = [row for row in rows if row["others_percent"] < OTHERS_PERCENT_MIN and row["seconds"] >= JUDGED_S_MIN]
    message += [f"{r['hardest_hit']} kept {r['others_percent']}% of its frames ({r['mishap']})" for r in hit]
    message += [f"{name} did not come back" for name in down]
    return Verdict(not (blamed or share > MISSED_SHARE_MAX or hit or down), bool(blamed), "; ".join(message))


def clips(folder: Path) -> list[dict[str, Any]]:
    """Length of each recording, as a player reads it."""
    found = []
    for path in sorted(folder.glob("clip*.mp4"), key=lambda path: path.stat().st_mtime):
        try:
            with av.open(str(path)) as container:
                times = [packet.pts * packet.time_base for packet in container.demux(video=0) if packet.pts is not None]
            found.append({"name": path.name, "frames": len(times), "seconds": round(float(max(times, default=0)), 1)})
        except (av.FFmpegError, IndexError, OSError) as error:
            found.append({"name": path.name, "frames": 0, "seconds": 0.0, "error": str(error)})
    return found


def run(
    json_path: Path | None = None, minutes: float = 10.0, model: str = "nano", size: str = "1280x720", fps: str = "30"
) -> dict[str, Any]:
    """Play everything at once, print the results, and write them as JSON; `passed` is the verdict.

    Raises RuntimeError where the show cannot play at all.
    """
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    json_file.check_folder(json_path)
    width, height = (int(n) for n in size.split("x"))
    columns = TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn()
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="wj-rig-")))
        (folder / "disk").mkdir()
        disk = Disk(folder / "disk")
        stack.callback(disk.close)
        port = free_port()
        window = stack.enter_context(screen(width, height))
        here = rig(folder, disk.folder, port, model, size, fps, window)
        progress = stack.enter_context(Progress(*columns, console=Console(stderr=True), transient=True))
        task = progress.add_task("everything starts", total=1.0)
        other = Part(guest, here.show["live"]["ndi"]) if "live" in here.show else None
        if other:
            stack.callback(other.kill)
        show_process = ShowProcess(here.show, folder, here.environment)
        stack.callback(show_process.close)
        stack.callback(here.close)
        player = Part(hands, port, here.show["midi"]["enabled"])
        stack.callback(player.kill)
        _up(show_process, here)
        time.sleep(SETTLE_S)

        def show_progress(what: str, share: float) -> None:
            progress.update(task, completed=share, description=what or None)

        show_progress("everything plays", 0.0)
        plan = mishaps(here, disk, other)
        left_out = {m.name: m.missing for m in plan if m.missing}
        plan = [m for m in plan if not m.missing]
        seen = {name: here.seen(name) for name in here.watched}
        watch, whole, rows = _perform(show_process, here, plan, disk, minutes * 60, show_progress)
        received = {name: here.seen(name) - seen[name] for name in here.watched}
        down = lost(show_process, here)
        live = show_process.now["live"]
        report = show_process.stop()
        recorded = clips(disk.folder)
    status = verdict(whole, rows, down)
    result = {
        "machine": {"system": platform.platform(), "cores": os.cpu_count(), "python": platform.python_version()},
        "model": model, "output": {"size": size, "fps": fps}, "minutes": minutes,
        "ticks": whole["ticks"], "late": whole["late"], "missed": whole["missed"], "worst_ms": report["worst_ms"],
        "world_fps": report["world"].get("fps", 0.0), "latency_ms": report["latency_ms"],
        "passed": status.passed, "missed_because_of_an_output": status.blamed, "verdict": status.message,
        "down_at_the_end": down,
        "outputs": {
            name: {
                "sent": sent, "dropped": max(whole["ticks"] - sent, 0) + watch.dropped[name],
                "restarts": watch.restarts[name],
            }
            for name, sent in watch.sent.items()
        },
        "received": received, "mishaps": rows, "memory": {name: growth(at) for name, at in watch.memory.items()},
        "recordings": recorded, "live": {"pictures": live.get("pictures", 0), "message": live.get("message", "")},
        "inputs": {name: status for name, status in report["inputs"].items() if name in ("osc", "midi", "sound")},
        "lacks": here.missing | left_out, "events": report["events"],
    }  # fmt: skip
    Console().print(*tables(result), sep="\n")
    json_file.write(json_path, result)
    return result


def tables(result: dict[str, Any]) -> Iterator[Any]:
    """What is printed: the verdict, the outputs, the mishaps, memory, and what is missing on this machine."""
    from rich.table import Table

    out = result["output"]
    yield f"{result['model']}, {out['size']} at {out['fps']}, {result['minutes']:g} minutes: {result['verdict']}"
    yield f"{result['late']} ticks were late, by {result['worst_ms']:.1f} ms at worst; the world made " \
          f"{result['world_fps']:.1f} frames a second"  # fmt: skip
    table = Table(title="outputs", title_justify="left")
    for name in ("", "sent", "dropped", "restarts", "memory, MB", "MB more a minute"):
        table.add_column(name, justify="right" if name else "left")
    for name, memory in result["memory"].items():
        status = result["outputs"].get(name)
        figures = [str(status[key]) for key in ("sent", "dropped", "restarts")] if status else [""] * 3
        table.add_row(name, *figures, f"{memory['mb']:.0f}", f"{memory['mb_a_minute']:+.2f}")
    yield table
    yield "received: " + ", ".join(f"{name} {count}" for name, count in result["received"].items())
    table = Table(title="mishaps", title_justify="left")
    for name in ("", "seconds", "ticks", "late", "missed", "the others' frames"):
        table.add_column(name, justify="right" if name else "left")
    for row in result["mishaps"]:
        figures = [str(row[key]) for key in ("ticks", "late", "missed")]
        least = f"{row['others_percent']}%" + (f" ({row['hardest_hit']})" if row["others_percent"] < 100 else "")
        table.add_row(row["mishap"], f"{row['seconds']:.0f}", *figures, least)
    yield table
    for clip in result["recordings"]:
        yield f"recorded {clip['name']}: {clip['frames']} frames, {clip['seconds']:g} s"
    for name, reason in result["lacks"].items():
        yield f"without {name}: {reason}"
