"""`wj bench --crowd`: what a full room costs a show, in turns without an audience and with a thousand phones."""

from __future__ import annotations

import contextlib
import statistics
import tempfile
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil

from ..ipc.process import SPAWN
from . import json_file
from .bench import PROMPTS, best_output, stimulate
from .phones import play
from .show_process import ShowProcess, free_port

PHONES, RATE, CONNECTS = 1000, 5.0, 10_000 / 30  # messages a second of each; pages that come and go each second
TURNS = 2
START_TIMEOUT_S = 120.0
FULL_TIMEOUT_S = 240.0  # until all phones are in
SETTLE_S = 4.0  # not measured, before a turn
POLL_S = 0.1
P95_RATIO_MAX, P95_MORE_MS = 1.25, 10.0  # by which the control's p95 may be longer
SERVER = "worldjockey.integrations.crowd.server"


class Room:
    """The phones of a turn, in a process of their own."""

    def __init__(self, port: int) -> None:
        self.counts: list[dict[str, Any]] = []
        self._pipe, theirs = SPAWN.Pipe(duplex=False)
        self._process = SPAWN.Process(target=play, args=(port, PHONES, RATE, CONNECTS, theirs), daemon=True)
        self._process.start()
        theirs.close()
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        with contextlib.suppress(OSError, EOFError):
            while True:
                self.counts.append(self._pipe.recv())

    def close(self) -> None:
        self._process.kill()
        self._process.join()


def _wait(playing: ShowProcess, condition: Any, seconds: float, what: str) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        playing.check()
        if time.monotonic() > deadline:
            raise RuntimeError(f"not within {seconds:g} s: {what}")
        time.sleep(POLL_S)


def _server(playing: ShowProcess) -> psutil.Process | None:
    for process in psutil.Process(playing.pid).children(recursive=True):
        with contextlib.suppress(psutil.Error):
            if SERVER in process.cmdline():
                return process
    return None


def _turn(show: dict[str, Any], osc: int, crowd: int, seconds: float, full: bool) -> dict[str, Any]:
    """Play the show once. full: with the phones."""
    from pythonosc.udp_client import SimpleUDPClient

    hand = SimpleUDPClient("127.0.0.1", osc)
    found: dict[str, Any] = {}
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="wj-crowd-")))
        playing = ShowProcess(show, folder)
        stack.callback(playing.close)
        _wait(playing, lambda: playing.now and playing.now["world"].get("frames", 0) > 20, START_TIMEOUT_S, "the world")
        room = server = None
        if full:
            hand.send_message("/wj/crowd/open", 1)
            _wait(playing, lambda: _server(playing) is not None, 30, "the crowd's server")
            server = _server(playing)
            room = Room(crowd)
            stack.callback(room.close)
            _wait(playing, lambda: room.counts and room.counts[-1]["open"] == PHONES, FULL_TIMEOUT_S, "a full room")
        time.sleep(SETTLE_S)
        stop = threading.Event()
        stack.callback(stop.set)
        threading.Thread(target=stimulate, args=(osc, stop), daemon=True).start()
        first = playing.now
        cpu = sum(server.cpu_times()[:2]) if server else 0.0
        counts = dict(room.counts[-1]) if room else {}
        memory = [server.memory_info().rss] if server else []
        end = first["time"] + seconds
        while playing.now["time"] < end:
            playing.check()
            time.sleep(POLL_S)
            if server:
                memory.append(server.memory_info().rss)
        last = playing.now
        took = last["time"] - first["time"]
        found |= {name: last["clock"].get(name, 0) - first["clock"].get(name, 0) for name in ("missed", "late")}
        found["world_fps"] = round((last["world"]["frames"] - first["world"]["frames"]) / took, 2)
        if room and server:
            now = room.counts[-1]
            spent = now["time"] - counts["time"]
            found |= {
                f"{name}_per_s": round((now[name] - counts[name]) / spent) for name in ("sent", "connects", "received")
            }
            found |= {"heads": now["open"], "lost": now["lost"], "refused": now["refused"] + now["failed"]}
            found["server_cpu"] = round((sum(server.cpu_times()[:2]) - cpu) / took, 3)
            found["server_mb"] = round(max(memory) / 2**20, 1)
            found["server_growth_mb"] = round((memory[-1] - memory[0]) / 2**20, 1)
        report = playing.stop()
    return found | {"ticks": report["frames_sent"], "latency_ms": report["latency_ms"]}


def run(
    json_path: Path | None = None, seconds: float = 20.0, model: str = "nano", size: str = "1280x720"
) -> dict[str, Any]:
    """Measure, print the figures, and write them as JSON. seconds: of each of the four turns; 30 for 10,000 pages that
    come and go. Raises RuntimeError where the show cannot play."""
    from rich.console import Console

    json_file.check_folder(json_path)
    osc, crowd = free_port(), free_port()
    out, note = best_output()
    base = {
        "model": model, "prompt": PROMPTS[0], "size": size, "outputs": [out] if out != "none" else [],
        "midi": {"enabled": False}, "osc": {"port": osc, "feedback": None, "query": None},
    }  # fmt: skip
    fader = {"name": "storm", "labels": ["calm", "storm"], "to": "energy"}
    full = {**base, "crowd": {"port": crowd, "faders": [fader]}}
    rows: dict[str, list[dict[str, Any]]] = {"empty": [], "full": []}
    for _ in range(TURNS):
        rows["empty"].append(_turn(base, osc, crowd, seconds, False))
        rows["full"].append(_turn(full, osc, crowd, seconds, True))
    p95 = {name: round(statistics.median(row["latency_ms"].get("p95", 0.0) for row in rows[name]), 1) for name in rows}
    missed = {name: sum(row["missed"] for row in rows[name]) for name in rows}
    limit = max(p95["empty"] * P95_RATIO_MAX, p95["empty"] + P95_MORE_MS)
    result = {
        "model": model, "size": size, "seconds_each": seconds, "note": note, "phones": PHONES, "rate": RATE,
        "p95_ms": p95, "missed": missed, "turns": rows,
        "passed": missed["full"] <= missed["empty"] and p95["full"] <= limit,
    }  # fmt: skip
    Console().print(table(result))
    if note:
        Console(stderr=True).print(note, highlight=False)
    json_file.write(json_path, result)
    return result


def rows(result: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """What the tables say: a name, without an audience, and with a full room."""
    empty, full = result["turns"]["empty"], result["turns"]["full"]

    def mean(rows: list[dict[str, Any]], name: str, digits: int = 0) -> str:
        return f"{statistics.fmean(row[name] for row in rows):,.{digits}f}"

    def delay(rows: list[dict[str, Any]], name: str) -> str:
        return f"{statistics.median(row['latency_ms'].get(name, 0.0) for row in rows):.0f} ms"

    found = [
        (name, str(sum(row[key] for row in empty)), str(sum(row[key] for row in full)))
        for name, key in (("ticks missed", "missed"), ("ticks later than 5 ms", "late"))
    ]
    found += [(f"control to sent frame, {name}", delay(empty, name), delay(full, name)) for name in ("p50", "p95")]
    found += [("world frames a second", mean(empty, "world_fps", 1), mean(full, "world_fps", 1))]
    for name, key, digits, unit in (
        ("heads", "heads", 0, ""), ("messages a second", "sent_per_s", 0, ""),
        ("news that phones got, a second", "received_per_s", 0, ""),
        ("pages that came and went, a second", "connects_per_s", 0, ""),
        ("pages lost", "lost", 0, ""), ("pages refused", "refused", 0, ""),
        ("CPU of the crowd's server", "server_cpu", 2, " cores"), ("its memory", "server_mb", 0, " MB"),
        ("growth of that memory in a turn", "server_growth_mb", 1, " MB"),
    ):  # fmt: skip
        if all(key in row for row in full):
            found.append((name, "", mean(full, key, digits) + unit))
    return found


def table(result: Mapping[str, Any]) -> Any:
    """The figures as one rich table."""
    from rich.table import Table

    made = Table(title=f"{result['model']}, {result['size']}, {result['phones']} phones", title_justify="left")
    for name in ("", "no audience", "a full room"):
        made.add_column(name, justify="right" if name else "left")
    for row in rows(result):
        made.add_row(*row)
    made.caption = "passed" if result["passed"] else "FAILED: the audience cost the show ticks, or its controls time"
    made.caption_justify = "left"
    return made
