"""`wj bench --outputs`: what each way out costs, and how long a control takes to reach the picture at its other end.

For each way the real node plays the test card, whose colour answers at once, and a receiver of that way watches in a
process of its own. A control flips the picture from dark to bright and back; the latency is from the control's leaving
(0.2 ms before its stamp) to the first picture, decoded in the receiver, that is nearer to the new colour. A clip that
moves shines through it, so that coders have as much to do as with a world.
"""

from __future__ import annotations

import contextlib
import os
import platform
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from worldjockey.integrations import Frame, VideoFormat
from worldjockey.integrations.recording import FileOutput

from ..output.layouts import COPIES
from ..show.outputs import parse_output
from ..timing.percentiles import percentiles
from . import json_file
from .receivers import Receiver
from .show_process import ShowProcess, free_port

DARK, BRIGHT = "#202020", "#e0e0e0"
FLIP = 0.4  # seconds between two controls at least, and half as many more than a picture takes to come
CHANCE = 0.2  # and up to so many more, so that no clock is met at the same place again and again
CLIP, SHINE = 48, 0.3  # pictures of the clip, and how much of it is seen
LEAST = 3  # controls, however long a picture takes to come
START = 60.0  # seconds that a way may take until its receiver sees the world
SETTLE = 1.0  # seconds that are not measured, once it does
# Of outputs that scale on the graphics card: the world's own, smaller picture into a pixel buffer (`Canvas.upload`).
ON_THE_CARD = ("the world's picture to the graphics card",)


@dataclass
class Way:
    """One way out. entry: as a show file has it. kind, address: its receiver's. lacks: why this machine has it not."""

    name: str
    entry: dict[str, Any]
    kind: str = ""
    address: str = ""
    lacks: str = ""
    environment: dict[str, str] = field(default_factory=dict)
    note: str = ""


@contextlib.contextmanager
def screen(width: int, height: int) -> Iterator[tuple[dict[str, str], str, str]]:
    """A display for a window: (environment, the place to look at as `receivers.screen` takes it, what is lacking).

    The one that is there, or else an Xvfb of our own.
    """
    if not sys.platform.startswith("linux"):
        yield {}, "", f"nothing here takes screenshots on {platform.system()}: measured on Linux only"
    elif shown := os.environ.get("DISPLAY"):
        yield {}, f"{shown}+400,300", ""
    elif shutil.which("Xvfb") is None:
        yield {}, "", "DISPLAY is not set: export DISPLAY=:0 where a desktop runs, or apt install xvfb libgl1-mesa-dri"
    else:
        reader, writer = os.pipe()
        command = ["Xvfb", "-displayfd", str(writer), "-screen", "0", f"{width}x{height}x24", "-nolisten", "tcp"]
        server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, pass_fds=[writer])
        os.close(writer)
        try:
            with os.fdopen(reader) as pipe:
                name = f":{pipe.readline().strip()}"
            environment = {"DISPLAY": name, "XDG_SESSION_TYPE": "x11", "LIBGL_ALWAYS_SOFTWARE": "1"}
            yield environment, f"{name}+{width // 2 - 16},{height // 2 - 9}", "" if len(name) > 1 else "Xvfb fails"
        finally:
            server.terminate()
            server.wait()


def ways(folder: Path, window: tuple[dict[str, str], str, str]) -> list[Way]:
    """Every way out that there is, with what this machine lacks for it. window: as `screen` gives it."""
    ndi, name = lacks_ndi(), f"wj bench {os.getpid()}"
    web, webrtc = lacks("aiohttp"), lacks("aiohttp", "aiortc")
    srt = "" if shutil.which("ffmpeg") else "SRT needs the ffmpeg program: apt install ffmpeg"
    environment, place, no_window = window

    def source(title: str, tail: str, **options: str) -> Way:
        called = f"{name} {tail}"
        return Way(title, {"kind": "ndi", "name": called, **options}, "ndi", called, ndi)

    def stream(scheme: str, missing: str = "") -> Way:
        name, path = ("RTMP", "/live/bench") if scheme == "rtmp" else (f"MPEG-TS, {scheme.upper()}", "")
        url = f"{scheme}://127.0.0.1:{free_port()}{path}"
        return Way(name, {"kind": "stream", "url": url}, "mpegts", url, missing)

    def page(name: str, kind: str, path: str, missing: str) -> Way:
        port = free_port()
        return Way(name, {"kind": "web", "port": port}, kind, f"http://127.0.0.1:{port}/{path}", missing)

    clip = folder / "clip.ts"
    return [
        source("NDI", "uyvy"), source("NDI, alpha by a key", "key", key="luma"),
        source("NDI, the figure alone", "figure", key="figure"), source("NDI, RGBA", "rgba", layout="rgba"),
        Way("window", {"kind": "window", "monitor": 0}, "screen", place, no_window, environment,
            "drawn by the processor (llvmpipe)" if "LIBGL_ALWAYS_SOFTWARE" in environment else ""),
        page("WebRTC", "webrtc", "offer", webrtc),
        page("MJPEG", "mjpeg", "video.mjpeg", web),
        stream("tcp"), stream("srt", srt), stream("udp"), stream("rtmp"),
        Way("recording", {"kind": "file", "path": str(clip)}, "recording", str(clip), note="until it can be read back"),
        Way("virtual camera", {"kind": "virtualcam"}, "camera", "worldjockey", lacks_camera()),
        Way("Syphon", {"kind": "syphon"}, lacks="macOS only" if sys.platform != "darwin" else NO_RECEIVER),
        Way("Spout", {"kind": "spout"}, lacks="Windows only" if sys.platform != "win32" else NO_RECEIVER),
    ]  # fmt: skip


NO_RECEIVER = "not measured: this bench has no receiver of it"


def lacks(*modules: str) -> str:
    missing = [name for name in modules if find_spec(name) is None]
    return f"pip install {' '.join(missing)}" if missing else ""


def lacks_ndi() -> str:
    from worldjockey.integrations.ndi import output as ndi

    try:
        ndi._runtime()
        ndi.check_discovery()
    except (OSError, RuntimeError) as error:
        return str(error)
    return ""


def lacks_camera() -> str:
    from worldjockey.integrations.virtual_camera import VirtualCameraOutput

    camera = VirtualCameraOutput()
    try:
        camera.open(VideoFormat(640, 360, 30))
    except Exception as error:  # pyvirtualcam's own, which differ by system
        return str(error)
    camera.close()
    return ""


def copies(entry: dict[str, Any]) -> tuple[list[str], list[str]]:
    """Each time that the whole picture is copied, as the code that does it says: before the output, and in it."""
    output = parse_output(entry).make()
    own = ON_THE_CARD if output.layout == "native" else output.copies
    return list(COPIES["native" if output.layout == "native" else "scaled"]), list(own)


def crossings(controls: Sequence[tuple[float, bool]], seen: Sequence[tuple[float, float]]) -> tuple[list[float], int]:
    """Latencies in ms, and how many controls never showed.

    controls: (when, whether it made the picture bright), the last one a mark for the end. seen: (when, lightness).
    """
    found: list[float] = []
    lost, at = 0, 0
    for (sent, bright), (end, _) in pairwise(controls):
        while at < len(seen) and seen[at][0] < sent:
            at += 1
        shown = next((when for when, light in seen[at:] if (light > 0.5) == bright), None)
        if shown is not None and shown < end:
            found.append((shown - sent) * 1e3)
        else:
            lost += 1
    return found, lost


class Player:
    """The performer, who flips the picture."""

    def __init__(self, port: int) -> None:
        from pythonosc.udp_client import SimpleUDPClient

        self._client = SimpleUDPClient("127.0.0.1", port)

    def flip(self, bright: bool) -> float:
        now = time.monotonic()
        self._client.send_message("/wj/prompt", [BRIGHT if bright else DARK, 0.0])
        return now


def cpu_of(said: dict[str, Any]) -> float:
    """CPU seconds of an output's process and of the programs that it runs."""
    children = 0.0
    with contextlib.suppress(psutil.Error):
        for child in psutil.Process(said["pid"]).children(recursive=True):
            times = child.cpu_times()
            children += times.user + times.system
    return float(said.get("cpu_s", 0.0)) + children


def scene(path: Path) -> None:
    """A clip of hills of many sizes and some grain that move past, mid-grey in the mean, 512x288 at 24 a second."""
    import cv2

    noise = np.random.default_rng(0)
    hills = np.zeros((288, 1024), np.float32)
    for size in (8, 16, 32, 64):
        rough = noise.normal(0, size, (288 // size + 1, 1024 // size)).astype(np.float32)
        hills += cv2.resize(rough, (1024, 288), interpolation=cv2.INTER_CUBIC)
    light = np.clip(126 + hills * 50 / hills.std() + noise.normal(0, 1, hills.shape), 16, 235).astype(np.uint8)
    output = FileOutput(path)
    output.open(VideoFormat(512, 288, 24))
    for tick in range(CLIP):
        picture = np.full((432, 512), 128, np.uint8)
        picture[:288] = np.roll(light, -tick * 1024 // CLIP, 1)[:, :512]
        output.send(Frame(picture, tick, 0.0))
    output.close()


def made(said: dict[str, Any]) -> int:
    """Pictures that an output went to the trouble of: those that it coded, where it may leave some out, else all."""
    facts = said.get("facts", {})
    if "coded" in facts:
        return sum(facts["coded"].values())
    return int(facts["frames"] if "dropped" in facts else said.get("sent", 0))


def measure(way: Way, folder: Path, seconds: float, size: str, fps: str, model: str = "testcard") -> dict[str, Any]:
    """One way's row. RuntimeError, with the reason, if nothing comes out of it."""
    port = free_port()
    show = {
        "model": model, "prompt": DARK, "size": size, "fps": fps, "outputs": [way.entry],
        "osc": {"port": port, "feedback": None, "query": None}, "midi": {"enabled": False},
        "live": {"file": str(folder / "scene.mp4")}, "values": {"live/strength": SHINE},
    }  # fmt: skip
    rehearsal = ShowProcess(show, folder, way.environment)
    receiver = None
    try:
        receiver = Receiver(way.kind, way.address)
        player = Player(port)
        _see(rehearsal, receiver, player, True)
        pause = max(FLIP, 1.5 * _see(rehearsal, receiver, player, False))
        _wait(rehearsal, SETTLE)
        first, pictures = rehearsal.now, len(receiver.seen)
        name = next(iter(first["outputs"]))
        first_cpu = cpu_of(first["outputs"][name])
        chance, bright, end = random.Random(0), False, time.monotonic() + seconds
        controls: list[tuple[float, bool]] = []
        while time.monotonic() < end or len(controls) < LEAST:
            bright = not bright
            controls.append((player.flip(bright), bright))
            _wait(rehearsal, pause + chance.uniform(0, CHANCE))
        controls.append((time.monotonic(), bright))
        last, pictures = rehearsal.now, len(receiver.seen) - pictures
        last_cpu = cpu_of(last["outputs"][name])
        found, lost = crossings(controls, list(receiver.seen))
    finally:
        if receiver is not None:
            receiver.kill()
        try:
            report = rehearsal.stop()
        finally:
            rehearsal.close()
    before, own = copies(way.entry)
    sent = last["outputs"][name]["sent"] - first["outputs"][name]["sent"]
    pictures_made = made(last["outputs"][name]) - made(first["outputs"][name])
    return {
        "way": way.name,
        "cpu_ms": round((last_cpu - first_cpu) * 1e3 / max(pictures_made, 1), 2),
        "node_cpu_ms": report["node_cpu_ms"],
        "copies": len(own),
        "copied": own,
        "copied_before": before,
        "sent": sent,
        "made": pictures_made,
        "received": None if way.kind == "screen" else pictures,  # a screen shows changes alone
        "sent_ms": report["latency_ms"],
        "received_ms": {**percentiles(found), "count": len(found)},
        "lost": lost,
        "late": last["clock"]["late"] - first["clock"]["late"],
        "missed": last["clock"]["missed"] - first["clock"]["missed"],
        "note": way.note,
    }


def _see(rehearsal: ShowProcess, receiver: Receiver, player: Player, bright: bool) -> float:
    """Let the receiver see a colour; how many seconds that took. RuntimeError, with the reason, if it never does."""
    begin, asked = time.monotonic(), 0.0
    while True:
        rehearsal.check()
        said = next(iter(rehearsal.now.get("outputs", {"": {}}).values()))
        if said.get("state") == "unsuitable":
            raise RuntimeError(said["message"])
        if asked and receiver.seen and (receiver.seen[-1][1] > 0.5) == bright:
            return time.monotonic() - asked
        if not asked and rehearsal.now.get("world", {}).get("state") == "running":
            asked = player.flip(bright)
        if time.monotonic() - begin > START:
            why = said.get("message") or receiver.error or "no picture came"
            raise RuntimeError(f"its receiver saw nothing of it within {START:g} s: {why}")
        time.sleep(0.01)


def _wait(rehearsal: ShowProcess, seconds: float) -> None:
    rehearsal.check()
    time.sleep(seconds)


def run(
    json_path: Path | None = None,
    seconds: float = 20.0,
    size: str = "1920x1080",
    fps: str = "30",
    only: Callable[[Way], bool] = lambda way: True,
) -> dict[str, Any]:
    """Measure every way out that this machine has, print one table, and write the same figures as JSON.

    seconds: of each. only: which ways.
    """
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    json_file.check_folder(json_path)
    console, rows = Console(stderr=True), list[dict[str, Any]]()
    width, height = (int(n) for n in size.split("x"))
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="wj-bench-")))
        chosen = [way for way in ways(folder, stack.enter_context(screen(width, height))) if only(way)]
        scene(folder / "scene.mp4")
        columns = TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn()
        progress = stack.enter_context(Progress(*columns, console=console, transient=True))
        task = progress.add_task("", total=len(chosen))
        for way in chosen:
            progress.update(task, description=way.name)
            reason = way.lacks
            if not reason:
                try:
                    rows.append(measure(way, folder, seconds, size, fps))
                except (RuntimeError, OSError) as error:
                    reason = str(error)
            if reason:
                rows.append({"way": way.name, "lacks": reason})
            progress.advance(task)
    result = {
        "machine": {"system": platform.platform(), "cores": os.cpu_count(), "python": platform.python_version()},
        "output": {"size": size, "fps": fps}, "seconds_each": seconds, "ways": rows,
    }  # fmt: skip
    Console().print(*tables(result), sep="\n")
    json_file.write(json_path, result)
    return result


def tables(result: dict[str, Any]) -> Iterator[Any]:
    """What is printed: the figures, and what this machine lacks."""
    from rich.table import Table

    out = result["output"]
    title = f"ways out, {out['size']} at {out['fps']}, {result['machine']['cores']} cores"
    made = Table(title=title, title_justify="left")
    columns = (
        "CPU a frame, ms",
        "node's, ms",
        "copies",
        "received",
        "control to sent, ms",
        "control to received pixel, ms",
    )
    for name in ("", *columns):
        made.add_column(name, justify="right" if name else "left")
    for row in result["ways"]:
        if "lacks" in row:
            continue
        sent, seen = row["sent_ms"], row["received_ms"]
        made.add_row(
            row["way"] + (f" ({row['note']})" if row["note"] else ""),
            f"{row['cpu_ms']:.1f}",
            f"{row['node_cpu_ms']:.1f}",
            str(row["copies"]),
            "" if row["received"] is None else f"{row['received']} of {row['sent']}",
            f"{sent['p50']:.0f} / {sent['p95']:.0f}",
            f"{seen['p50']:.0f} / {seen['p95']:.0f}" if seen["count"] else "never",
        )
    made.caption = (
        "half within / 95% within; CPU of the output's process and programs for each picture it made; the node's own "
        "(control, clock, and scaling to the output's size) for each tick"
    )
    yield made
    for row in result["ways"]:
        if "lacks" in row:
            yield f"without {row['way']}: {row['lacks']}"
