"""`wj bench`: the speed of the world, the cost of the node, and the regularity of its ticks; alone, and beside a
program that keeps one core busy. Compare figures of one machine only.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import random
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..ipc.process import SPAWN, init_child, keep_compiled, limit_threads, parent_died, stay_offline
from ..ipc.status import error_text
from ..timing.percentiles import percentiles
from . import json_file
from . import memory as resident
from .show_process import free_port

STEPS = (1, 2, 3, 4)
CONTROL_INTERVAL_S = 0.4
CONTROL_JITTER_S = 0.2  # at most, so that controls do not stay in phase with a clock
FLOOD_HZ = 10_000  # messages for one fader
OSC_HANDS_HZ, MIDI_HANDS_HZ = 5_000, 3_000  # messages for many faders
PROMPTS = ("a figure dancing by the sea at sunset", "city skyline at night, neon lights", "snowy mountains at dawn")
WARM_UP_STEPS = 10  # not measured: caches fill, threads start


def _spin() -> None:
    """Keep one core busy, like another program on the machine."""
    init_child()
    while not parent_died():
        for _ in range(1_000_000):
            pass


@contextlib.contextmanager
def neighbour() -> Iterator[None]:
    process = SPAWN.Process(target=_spin, daemon=True, name="wj bench neighbour")
    process.start()
    try:
        yield
    finally:
        process.kill()
        process.join()


def _world(pipe: Any, model: str, device: str, steps: tuple[int, ...], seconds: float) -> None:
    """Main function of a process that runs the world alone. Sends a row for each number of steps."""
    init_child()
    stay_offline()
    keep_compiled()
    threads = limit_threads(None)
    began = time.monotonic()
    try:
        from worldjockey.model import Controls, Prompt, load
        from worldjockey.model.registry import entry_for
        from worldjockey.model.spec import on_host

        if entry_for(model).torch:
            import torch

            torch.set_num_threads(threads)
        world = load(model, device=device)
        getattr(world, "settle", int)()
        tokens = world.encode(Prompt(PROMPTS[0])).values
        load_s = round(time.monotonic() - began, 2)
        chunk = world.spec.steps_per_chunk  # whose first step is long, so only whole chunks are measured
        warm_up = -(-WARM_UP_STEPS // chunk) * chunk
        for count in steps:
            controls = Controls(tokens=tokens, dt=1 / world.spec.fps, steps=count)
            whole: deque[float] = deque()
            timings: dict[str, deque[float]] = {}
            frames = 0
            for number in range(1_000_000):
                begin = time.perf_counter()
                pixels = world.step(controls)
                if getattr(pixels, "is_cuda", False):
                    torch.cuda.synchronize()
                made = time.perf_counter()
                pixels = on_host(pixels)
                ended = time.perf_counter()
                if number < warm_up:
                    start = time.perf_counter()
                    continue
                whole.append((ended - begin) * 1e3)
                frames += len(pixels)
                for key, value in {**getattr(world, "timings", {}), "copy_ms": (ended - made) * 1e3}.items():
                    timings.setdefault(key, deque()).append(value)
                if ((number + 1) % chunk == 0 and time.perf_counter() - start > seconds) or parent_died():
                    break
            row = {"steps": count, "fps": round(frames / (time.perf_counter() - start), 2), "ms": percentiles(whole)}
            pipe.send(row | {key: percentiles(values) for key, values in timings.items()})
        spec = world.spec
        pipe.send({
            "device": spec.device, "runtime": spec.runtime, "size": [spec.width, spec.height], "threads": threads,
            "load_s": load_s, "rate": spec.fps, "frames_per_step": spec.frames_per_step,
        })  # fmt: skip
    except Exception as error:
        pipe.send({"error": error_text(error)})


def world(
    model: str, device: str, steps: tuple[int, ...], seconds: float
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Rows {steps, fps, ms, step_ms, decode_ms}, and {device, size, threads, load_s, rate, frames_per_step}.

    RuntimeError if it fails.
    """
    ours, theirs = SPAWN.Pipe(duplex=False)
    process = SPAWN.Process(target=_world, args=(theirs, model, device, steps, seconds), daemon=True)
    process.start()
    theirs.close()
    messages: list[dict[str, Any]] = []
    try:
        with contextlib.suppress(EOFError):
            while True:
                messages.append(ours.recv())
                if "error" in messages[-1]:
                    raise RuntimeError(messages[-1]["error"])
    finally:
        process.kill() if len(messages) <= len(steps) else process.join()
    if len(messages) <= len(steps):
        raise RuntimeError(f"the world {model!r} ended before it was measured")
    return messages[:-1], messages[-1]


def stimulate(port: int, stop: threading.Event) -> None:
    """Send controls like a performer: a fader twice a second, and sometimes a prompt."""
    from pythonosc.udp_client import SimpleUDPClient

    client = SimpleUDPClient("127.0.0.1", port)
    for number in range(1_000_000):
        if stop.wait(CONTROL_INTERVAL_S + random.uniform(0, CONTROL_JITTER_S)):
            return
        if number % 4 == 3:
            client.send_message("/wj/prompt", [PROMPTS[number // 4 % len(PROMPTS)], 0.0])
        else:
            client.send_message("/wj/energy", 0.2 + 0.2 * (number % 4))


def _flood(port: int) -> None:
    """Flood one parameter with FLOOD_HZ messages a second."""
    init_child()
    _osc(port, FLOOD_HZ, ["/wj/cam/zoom"])


def _hands(port: int, midi: bool) -> None:
    """Send OSC_HANDS_HZ messages a second to many addresses and, where there is MIDI, MIDI_HANDS_HZ to faders."""
    init_child()
    if midi:
        threading.Thread(target=_controller, daemon=True).start()
    faders = [f"/wj/pad/{n}" for n in range(1, 17)] + [f"/wj/mod/{n}/rate" for n in range(1, 9)]
    words = [f"/wj/word/{word}" for word in ("storm", "neon", "rain", "city")]
    _osc(port, OSC_HANDS_HZ, [*faders, *words, *(f"/wj/sound/{k}" for k in ("level", "bass", "treble", "onset"))])


def _osc(port: int, rate: int, addresses: list[str]) -> None:
    from pythonosc.osc_message_builder import OscMessageBuilder

    messages = []
    for number in range(100):
        builder = OscMessageBuilder(addresses[number % len(addresses)])
        builder.add_arg(number / 1000)
        messages.append(builder.build().dgram)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
        for _ in _batches(rate, len(messages)):
            for message in messages:
                with contextlib.suppress(OSError):  # the node does not listen yet
                    out.sendto(message, ("127.0.0.1", port))


def _controller() -> None:
    """A MIDI controller whose faders all move at once."""
    import rtmidi
    from worldjockey.integrations.midi.ports_process import apis

    port = rtmidi.MidiOut(apis("auto")[0], name="wj bench hands")
    port.open_virtual_port("wj bench hands")
    for number in _batches(MIDI_HANDS_HZ, 10):
        for fader in range(10):
            port.send_message([0xB0, (20 + fader % 9), (number + fader) % 128])


def _batches(rate: int, size: int) -> Iterator[int]:
    """Count up, `rate` / `size` times a second, until the parent ends."""
    due, number = time.perf_counter(), 0
    while not parent_died():
        yield number
        number, due = number + 1, due + size / rate
        time.sleep(max(0.0, due - time.perf_counter()))


def chain(model: str, device: str, seconds: float, out: str, size: str, fps: str, storm: str = "") -> dict[str, Any]:
    """Run `wj play`, controlled by OSC like by a performer; returns its report.

    storm: additional messages: "flood", "hands" (OSC only), or "hands and midi".
    """
    port, stop = free_port(), threading.Event()
    with tempfile.TemporaryDirectory(prefix="wj-bench-") as folder:
        report = Path(folder) / "report.json"
        options = {
            "--model": model, "--device": device, "--out": out, "--size": size, "--fps": fps, "--seconds": seconds,
            "--osc-port": port, "--osc-feedback": "none", "--report": report,
        }  # fmt: skip
        midi = storm == "hands and midi"
        command = [sys.executable, "-m", "worldjockey.node", "play", "--headless", *([] if midi else ["--no-midi"])]
        command += [str(word) for pair in options.items() for word in pair]
        player = threading.Thread(target=stimulate, args=(port, stop), daemon=True)
        player.start()
        sender = None
        if storm:
            target, args = (_flood, (port,)) if storm == "flood" else (_hands, (port, midi))
            sender = SPAWN.Process(target=target, args=args, daemon=True, name=f"wj bench {storm}")
            sender.start()
        try:
            with (
                subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as playing,
                resident.watched(playing.pid) as memory,
            ):
                try:
                    _, messages = playing.communicate(timeout=seconds + 180)
                finally:
                    playing.kill()
        finally:
            stop.set()
            if sender:
                sender.kill()
                sender.join()
        if playing.returncode or not report.exists():
            raise RuntimeError(f"wj play ended with {playing.returncode}: {messages.strip()[-500:]}")
        return {**json.loads(report.read_text("utf-8")), "memory": resident.growth(memory, seconds / 2)}


def figures(report: dict[str, Any]) -> dict[str, Any]:
    """The figures of a report that the benchmark compares. node_cpu_ms: control and clock; outlet_cpu_ms: the processes
    of the outputs; both are CPU time for each sent frame."""
    sent = max(report["frames_sent"], 1)
    ticks = max(sent + report["missed"], 1)
    outlets = sum(messages.get("cpu_s", 0.0) for messages in report["outputs"].values())
    return {
        "ticks": ticks,
        "late_percent": round(100 * report["late"] / ticks, 3),
        "missed": report["missed"],
        "worst_ms": report["worst_ms"],
        "latency_ms": report["latency_ms"],
        "node_cpu_ms": report["node_cpu_ms"],
        "outlet_cpu_ms": round(outlets * 1e3 / sent, 3),
        "world_fps": report["world"].get("fps", 0.0),
        "restarts": report["restarts"],
        "arrival_ms": report["controls"]["arrival_ms"],
        "memory": report["memory"],
    }


def has_midi() -> bool:
    from worldjockey.integrations.midi import input as midi

    try:
        return bool(midi.backend_name())
    except OSError:
        return False


def best_output() -> tuple[str, str]:
    """NDI, which does not compress without a receiver, so that its cost is the node's; or no output where it cannot
    run."""
    from worldjockey.integrations.ndi import output as ndi

    try:
        ndi.check_discovery()
        return f"ndi:wj bench {os.getpid()}", ""
    except OSError as error:
        return "none", f"measured without an output, and so without scaling: {error}"


def run(
    json_path: Path | None = None,
    seconds: float = 20.0,
    model: str = "nano",
    device: str = "auto",
    size: str = "1920x1080",
    fps: str = "30",
) -> dict[str, Any]:
    """Measure, print one table, and write the same figures as JSON.

    seconds: of each measurement; there are nine. Raises RuntimeError where the world or the node cannot run.
    """
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    json_file.check_folder(json_path)
    console = Console(stderr=True)
    out, note = best_output()
    columns = TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn()
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("", total=6)

        def now(what: str) -> None:
            progress.update(task, description=what)

        now("the world alone, 1 to 4 steps")
        rows, machine = world(model, device, STEPS, seconds)
        progress.advance(task)
        now(f"the whole chain at {size}")
        played = seconds + 2 * machine["load_s"]  # the clock already runs while the world opens
        alone = figures(chain(model, device, played, out, size, fps))
        progress.advance(task)
        now(f"the whole chain, {FLOOD_HZ} OSC messages a second")
        flooded = figures(chain(model, device, played, out, size, fps, storm="flood"))
        progress.advance(task)
        hands = "hands and midi" if has_midi() else "hands"
        now(f"the whole chain, {hands}")
        handled = figures(chain(model, device, played, out, size, fps, storm=hands))
        progress.advance(task)
        with neighbour():
            now("the world, one core busy")
            busy_rows, _ = world(model, device, STEPS[:1], seconds)
            progress.advance(task)
            now("the whole chain, one core busy")
            busy = figures(chain(model, device, played, out, size, fps))
            progress.advance(task)
    result: dict[str, Any] = {
        "machine": {"system": platform.platform(), "cores": os.cpu_count(), "python": platform.python_version()}
        | machine,
        "model": model,
        "output": {"size": size, "fps": fps, "to": out.partition(":")[0], "note": note},
        "seconds_each": seconds,
        "world": rows,
        "world_beside_a_busy_core": {**busy_rows[0], "ratio": _ratio(busy_rows[0]["fps"], rows[0]["fps"])},
        "chain": alone,
        "chain_in_a_flood": {**flooded, "ratio": _ratio(flooded["world_fps"], alone["world_fps"])},
        "chain_in_many_hands": {**handled, "ratio": _ratio(handled["world_fps"], alone["world_fps"]), "storm": hands},
        "chain_beside_a_busy_core": {**busy, "ratio": _ratio(busy["world_fps"], alone["world_fps"])},
    }
    Console().print(table(result))
    if note:
        console.print(note, highlight=False)
    json_file.write(json_path, result)
    return result


def _ratio(busy: float, free: float) -> float:
    return round(busy / free, 3) if free else 0.0


def table(result: dict[str, Any]) -> Any:
    """The figures as one rich table."""
    from rich.table import Table

    def pair(figures: dict[str, float] | None) -> str:
        return f"{figures['p50']:.1f} / {figures['p95']:.1f}" if figures else "-"

    machine, out = result["machine"], result["output"]
    title = f"{result['model']} {'x'.join(map(str, machine['size']))} on {machine['device']}, {machine['cores']} cores"
    made = Table(title=title, title_justify="left")
    made.add_column("")
    storm = result["chain_in_many_hands"]["storm"]
    hands = f"{OSC_HANDS_HZ // 1000} kHz of OSC" + f", {MIDI_HANDS_HZ // 1000} of MIDI" * storm.endswith("midi")
    for name in ("alone", f"{FLOOD_HZ // 1000} kHz on one fader", hands, "one core busy"):
        made.add_column(name, justify="right")
    busy_world = result["world_beside_a_busy_core"]
    for row in result["world"]:
        beside = busy_world if row["steps"] == busy_world["steps"] else None
        plural = "s" * (row["steps"] > 1)
        ratio = f"{beside['fps']:.1f} ({beside['ratio']:.0%})" if beside else ""
        made.add_row(f"world, {row['steps']} step{plural}: frames/s", f"{row['fps']:.1f}", "", "", ratio)
        for key, name in (("step_ms", "model"), ("decode_ms", "decode")):
            if key in row:
                made.add_row(f"  {name} p50 / p95, ms", pair(row[key]), "", "", pair(beside.get(key)) if beside else "")
    made.add_section()
    alone, flooded, handled, busy = (
        result[k] for k in ("chain", "chain_in_a_flood", "chain_in_many_hands", "chain_beside_a_busy_core")
    )
    made.add_row(
        f"whole chain {out['size']} at {out['fps']}: world frames/s",
        f"{alone['world_fps']:.1f}",
        f"{flooded['world_fps']:.1f} ({flooded['ratio']:.0%})",
        f"{handled['world_fps']:.1f} ({handled['ratio']:.0%})",
        f"{busy['world_fps']:.1f} ({busy['ratio']:.0%})",
    )
    lines = {
        "ticks later than 5 ms": lambda c: f"{c['late_percent']:.2f}% of {c['ticks']}",
        "ticks missed": lambda c: str(c["missed"]),
        "control to frame p50 / p95, ms": lambda c: pair(c["latency_ms"]),
        "control to mailbox p50 / p95, ms": lambda c: pair(c["arrival_ms"]),
        "memory, of it grown, MB": lambda c: f"{c['memory']['all_mb']:.0f}, {c['memory']['all_growth_mb']:+.1f}",
        "  the control process's own, MB": lambda c: (
            f"{c['memory']['own_mb']:.0f}, {c['memory']['own_growth_mb']:+.1f}"
        ),
        "node CPU a frame, ms": lambda c: f"{c['node_cpu_ms']:.1f}",
        f"{out['to']} CPU a frame, ms": lambda c: f"{c['outlet_cpu_ms']:.1f}",
    }
    for name, show in lines.items():
        made.add_row(f"  {name}", *(show(c) for c in (alone, flooded, handled, busy)))
    return made
