"""`wj bench --rig`: everything at once for as long as a set, with mishaps in the middle. Does an output cost a tick?

The real node plays to every output that this machine has, each with a receiver of its own; a live picture, sound, OSC
and MIDI play it. In mid-run receivers are killed and frozen, the disk under the recording fills up, and the live source
goes. Ticks and memory are read from what the processes say of themselves, four times a second; pictures are counted by
those who watch them, and where nobody does, by the output that made them.
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
from .outputs import made, screen
from .rig import Disk, Mishap, Part, Rig, guest, hands, mishaps, rig
from .show_process import ShowProcess, free_port

START = 90.0  # seconds in which everything has to be up
SETTLE = 3.0  # seconds that are not measured, once it is
LOOK = 0.1  # seconds between two looks
BACK = 20.0  # seconds after the end in which every output has to be there again
AFTER = 10.0  # seconds after a mishap that are counted to it, at most
SHORT = 0.1  # minutes in which no growth can be told
LEAST = 80  # percent of their pictures that the others must keep while something goes wrong with one
TELLING = 5.0  # seconds that it takes at least for that to be told from chance
BUSY = 0.01  # of the ticks: missed evenly, more are too many for a show


class Watch:
    """What is noted down while the rig plays. `look` is called again and again; it never waits."""

    def __init__(self, rehearsal: ShowProcess, rig: Rig) -> None:
        self._rehearsal, self._rig, self._read = rehearsal, rig, max(len(rehearsal.samples) - 1, 0)
        self.sent: dict[str, int] = {}
        self.made: dict[str, int] = {}  # and not left out by the output itself
        self.dropped: dict[str, int] = {}  # by an output that could not code or send it in time
        self.restarts: dict[str, int] = {}
        self.memory: dict[str, list[tuple[float, int, float]]] = {}  # by process: (when, pid, MB)
        self._counted: dict[tuple[int, str], int] = {}
        self._weighed = 0.0

    def look(self) -> None:
        fresh = self._rehearsal.samples[self._read :]
        self._read += len(fresh)
        for sample in fresh:
            for name, said in sample["outputs"].items():
                self._count(self.sent, name, said.get("sent", 0))
                if "facts" in said:
                    self._count(self.made, name, made(said))
                self._count(self.dropped, name, said.get("facts", {}).get("dropped", 0))
                self.restarts[name] = said.get("restarts", 0)
        now = time.monotonic()
        if now - self._weighed > 1.0:
            self._weighed = now
            self._weigh(now)

    def _count(self, counts: dict[str, int], name: str, said: int) -> None:
        """A process that starts again counts from 0 again."""
        before = self._counted.setdefault((id(counts), name), said)
        counts[name] = counts.get(name, 0) + (said - before if said >= before else said)
        self._counted[id(counts), name] = said

    def _weigh(self, now: float) -> None:
        sample = self._rehearsal.now
        pids = {
            "control": self._rehearsal.pid,
            "clock": sample["clock"].get("pid"),
            "world": sample["world"].get("pid"),
        }
        pids |= {name: said.get("pid") for name, said in sample["outputs"].items()}
        if sample["live"]:
            pids["live picture"] = sample["live"].get("pid")
        for name, pid in pids.items():
            with contextlib.suppress(psutil.Error):
                if pid:
                    self.memory.setdefault(name, []).append((now, pid, own_memory(pid) / 1e6))

    def mark(self) -> dict[str, Any]:
        """How far everything is. pictures: that each receiver saw or each output made. judged: the receivers that
        watch now, and the outputs that play and have none."""
        now, rig = self._rehearsal.now, self._rig
        watched, clock = {rig.outputs[name] for name in rig.judges}, now["clock"]
        alone = [name for name, said in now["outputs"].items() if said.get("state") == "running"
                 and name not in watched]  # fmt: skip
        return {
            "time": time.monotonic(), "ticks": clock.get("ticks", 0), "late": clock.get("late", 0),
            "missed": clock.get("missed", 0), "judged": [*rig.judges, *alone],
            "pictures": self.made | {name: rig.seen(name) for name in rig.counting},
        }  # fmt: skip


def own_memory(pid: int) -> float:
    """Bytes that a process has for itself: without the frame rings, which all of them see, where that is known."""
    info = psutil.Process(pid).memory_info()
    return float(info.rss - getattr(info, "shared", 0))


def growth(points: list[tuple[float, int, float]]) -> dict[str, float]:
    """Of the process that ran last: MB at the end, and by how many it grew a minute since it had settled.

    Medians of the second and the last fifth are compared; 0 where there is too little to tell.
    """
    mine = [(when, size) for when, pid, size in points if pid == points[-1][1]]
    fifth = len(mine) // 5
    if fifth < 1:
        return {"mb": round(mine[-1][1], 1), "mb_a_minute": 0.0}
    early, late = mine[fifth : 2 * fifth], mine[-fifth:]
    minutes = (median(t for t, _ in late) - median(t for t, _ in early)) / 60
    grown = median(size for _, size in late) - median(size for _, size in early)
    return {"mb": round(mine[-1][1], 1), "mb_a_minute": round(grown / minutes, 2) if minutes > SHORT else 0.0}


def between(begin: dict[str, Any], end: dict[str, Any]) -> dict[str, Any]:
    """What happened from one mark to another."""
    ticks = end["ticks"] - begin["ticks"]
    pictures = {name: end["pictures"][name] - begin["pictures"].get(name, 0) for name in begin["judged"]}
    return {
        "seconds": round(end["time"] - begin["time"], 2), "ticks": ticks, "late": end["late"] - begin["late"],
        "missed": end["missed"] - begin["missed"], "pictures": pictures,
    }  # fmt: skip


def _up(rehearsal: ShowProcess, rig: Rig) -> None:
    """Wait until everything plays; whoever does not in time is named in `rig.lacks` and plays no part."""
    deadline = time.monotonic() + START
    while (world := rehearsal.now.get("world", {})).get("state") != "running":
        rehearsal.check()
        if time.monotonic() > deadline:
            raise RuntimeError(f"the world did not play within {START:g} s: {world.get('message', '')}")
        time.sleep(LOOK)
    for name in rig.watched:
        rig.watch(name)
    deadline = time.monotonic() + START
    while waiting := [name for name in rig.receivers if not rig.seen(name)]:
        rehearsal.check()
        if time.monotonic() > deadline:
            break
        time.sleep(LOOK)
    for name in waiting:
        said = rehearsal.now["outputs"].get(rig.outputs[name], {})
        rig.lacks[name] = said.get("message") or rig.receivers[name].error or "no picture came"
        rig.kill(name)


def _perform(
    rehearsal: ShowProcess, rig: Rig, plan: list[Mishap], disk: Disk, seconds: float, say: Callable[[str, float], None]
) -> tuple[Watch, dict[str, Any], list[dict[str, Any]]]:
    """The run itself. Returns what was noted, what happened in all, and what each mishap did."""
    watch = Watch(rehearsal, rig)
    watch.look()
    begin = watch.mark()
    start, end = begin["time"], begin["time"] + seconds
    well: dict[str, Any] = {}  # what happened before anything went wrong
    rows: list[dict[str, Any]] = []
    for mishap, after in zip(plan, [*plan[1:], None], strict=True):
        over = start + (after.begin if after else 1.0) * seconds

        def play(until: float, of: str = mishap.name) -> None:
            while (now := time.monotonic()) < until:
                rehearsal.check()
                watch.look()
                disk.tend(rehearsal.now["outputs"].get("file", {}).get("pid"))
                say(of, (now - start) / seconds)
                time.sleep(LOOK)

        play(start + mishap.begin * seconds, "everything plays")
        struck = watch.mark()
        well = well or between(begin, struck)
        mishap.strike()
        play(start + mishap.end * seconds)
        mishap.mend()
        play(min(over, start + mishap.end * seconds + AFTER))
        happened = between(struck, watch.mark())
        percent, hardest = others(well, happened, mishap.of)
        rows.append({"mishap": mishap.name, **happened, "others_percent": percent, "hardest_hit": hardest})
        play(min(over, end), "everything plays")
    return watch, between(begin, watch.mark()), rows


def lost(rehearsal: ShowProcess, rig: Rig) -> list[str]:
    """Outputs that do not come back, and receivers that no picture reaches any more. An output that never reached any
    of its receivers is not waited for: why that is stands in `rig.lacks`."""
    never = {rig.outputs[name] for name in rig.lacks if name in rig.outputs} - {rig.outputs[n] for n in rig.receivers}
    before = {name: rig.seen(name) for name in rig.counting}
    deadline = time.monotonic() + BACK
    while True:
        said = {name: it for name, it in rehearsal.now["outputs"].items() if name not in never}
        down = [name for name, it in said.items() if it.get("state") != "running" or not it.get("sent")]
        down += [name for name in rig.receivers if name in before and rig.seen(name) == before[name]]
        if not down or time.monotonic() > deadline:
            return down
        rehearsal.check()
        time.sleep(LOOK)


def others(well: dict[str, Any], amiss: dict[str, Any], of: str) -> tuple[int, str]:
    """What the hardest hit of the others still got, in percent of what it had got while all was well, and who it is.

    Who was not there when it began, for the mishap before, is not judged.
    """
    shares = {
        name: (amiss["pictures"][name] / max(amiss["seconds"], 1e-9)) / (count / max(well["seconds"], 1e-9))
        for name, count in well["pictures"].items() if name != of and count and name in amiss["pictures"]
    }  # fmt: skip
    hardest = min(shares, key=shares.__getitem__, default="")
    return min(round(100 * shares.get(hardest, 1.0)), 100), hardest


@dataclass(frozen=True)
class Verdict:
    """passed: whether one can play with this rig. blamed: whether a tick was missed because of an output."""

    passed: bool
    blamed: bool
    words: str


def verdict(whole: dict[str, Any], rows: list[dict[str, Any]], down: Sequence[str] = ()) -> Verdict:
    """What is to be said of it all: missed ticks, outputs that were hit by another's mishap, and those that are gone.

    Ticks that are missed while something is amiss are put down to it, unless as many a second are missed while all is
    well.
    """
    amiss = {key: sum(row[key] for row in rows) for key in ("missed", "seconds")}
    well = {key: whole[key] - amiss[key] for key in ("missed", "seconds")}
    usual = well["missed"] / max(well["seconds"], 1e-9)
    blamed = [row for row in rows if row["missed"] > 0 and row["missed"] / max(row["seconds"], 1e-9) > 2 * usual]
    every = max(whole["ticks"] + whole["missed"], 1)
    share = whole["missed"] / every
    if not whole["missed"]:
        words = [f"no tick of {every} was missed"]
    elif blamed:
        which = ", ".join(f"{row['missed']} ({row['mishap']})" for row in blamed)
        words = [f"ticks were missed because of an output: {which}"]
    else:
        words = [f"{whole['missed']} ticks of {every} were missed ({share:.2%}), and no more when something went "
                 "wrong: this machine is too busy for this show"]  # fmt: skip
    hit = [row for row in rows if row["others_percent"] < LEAST and row["seconds"] >= TELLING]
    words += [f"{r['hardest_hit']} kept {r['others_percent']}% of its pictures ({r['mishap']})" for r in hit]
    words += [f"{name} did not come back" for name in down]
    return Verdict(not (blamed or share > BUSY or hit or down), bool(blamed), "; ".join(words))


def clips(folder: Path) -> list[dict[str, Any]]:
    """The recordings, as they play."""
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
    """Play everything at once, print what happened, and write the same as JSON. `passed` is what it comes down to.

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
        rehearsal = ShowProcess(here.show, folder, here.environment)
        stack.callback(rehearsal.close)
        stack.callback(here.close)
        player = Part(hands, port, here.show["midi"]["enabled"])
        stack.callback(player.kill)
        _up(rehearsal, here)
        time.sleep(SETTLE)

        def say(what: str, share: float) -> None:
            progress.update(task, completed=share, description=what or None)

        say("everything plays", 0.0)
        plan = mishaps(here, disk, other)
        left_out = {m.name: m.lacks for m in plan if m.lacks}
        plan = [m for m in plan if not m.lacks]
        seen = {name: here.seen(name) for name in here.watched}
        watch, whole, rows = _perform(rehearsal, here, plan, disk, minutes * 60, say)
        received = {name: here.seen(name) - seen[name] for name in here.watched}
        down = lost(rehearsal, here)
        live = rehearsal.now["live"]
        report = rehearsal.stop()
        recorded = clips(disk.folder)
    said = verdict(whole, rows, down)
    result = {
        "machine": {"system": platform.platform(), "cores": os.cpu_count(), "python": platform.python_version()},
        "model": model, "output": {"size": size, "fps": fps}, "minutes": minutes,
        "ticks": whole["ticks"], "late": whole["late"], "missed": whole["missed"], "worst_ms": report["worst_ms"],
        "world_fps": report["world"].get("fps", 0.0), "latency_ms": report["latency_ms"],
        "passed": said.passed, "missed_because_of_an_output": said.blamed, "verdict": said.words,
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
        "inputs": {name: said for name, said in report["inputs"].items() if name in ("osc", "midi", "sound")},
        "lacks": here.lacks | left_out, "events": report["events"],
    }  # fmt: skip
    Console().print(*tables(result), sep="\n")
    json_file.write(json_path, result)
    return result


def tables(result: dict[str, Any]) -> Iterator[Any]:
    """What is printed: the verdict, the outputs, the mishaps, memory, and what this machine lacks."""
    from rich.table import Table

    out = result["output"]
    yield f"{result['model']}, {out['size']} at {out['fps']}, {result['minutes']:g} minutes: {result['verdict']}"
    yield f"{result['late']} ticks were late, by {result['worst_ms']:.1f} ms at worst; the world made " \
          f"{result['world_fps']:.1f} frames a second"  # fmt: skip
    made = Table(title="outputs", title_justify="left")
    for name in ("", "sent", "dropped", "restarts", "memory, MB", "MB more a minute"):
        made.add_column(name, justify="right" if name else "left")
    for name, memory in result["memory"].items():
        said = result["outputs"].get(name)
        figures = [str(said[key]) for key in ("sent", "dropped", "restarts")] if said else [""] * 3
        made.add_row(name, *figures, f"{memory['mb']:.0f}", f"{memory['mb_a_minute']:+.2f}")
    yield made
    yield "received: " + ", ".join(f"{name} {count}" for name, count in result["received"].items())
    made = Table(title="mishaps", title_justify="left")
    for name in ("", "seconds", "ticks", "late", "missed", "the others' pictures"):
        made.add_column(name, justify="right" if name else "left")
    for row in result["mishaps"]:
        figures = [str(row[key]) for key in ("ticks", "late", "missed")]
        least = f"{row['others_percent']}%" + (f" ({row['hardest_hit']})" if row["others_percent"] < 100 else "")
        made.add_row(row["mishap"], f"{row['seconds']:.0f}", *figures, least)
    yield made
    for clip in result["recordings"]:
        yield f"recorded {clip['name']}: {clip['frames']} frames, {clip['seconds']:g} s"
    for name, why in result["lacks"].items():
        yield f"without {name}: {why}"
