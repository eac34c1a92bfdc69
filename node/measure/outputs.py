"""`wj bench --outputs`: the cost of each output, and the latency from a control to the received pixel.

For each output the real node plays the test card, whose colour changes at once, to a receiver in a process of its own.
A control flips the frame from dark to bright and back; the latency is from the sending of the control (0.2 ms before
its arrival time) to the first frame, decoded in the receiver, that is nearer to the new colour. A moving clip is mixed
in, so that encoders have as much to do as with a world.
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
FLIP_INTERVAL_S = 0.4  # at least, and at least 1.5 times the latency
FLIP_JITTER_S = 0.2  # at most, so that flips do not stay in phase with a clock
CLIP_FRAMES, CLIP_STRENGTH = 48, 0.3
FLIPS_MIN = 3
START_TIMEOUT_S = 60.0  # until the receiver sees the world
LIGHTS_UNIVERSE = 60_321  # which no rig is likely to use
SETTLE_S = 1.0  # not measured, after that
# Of outputs that scale on the graphics card: the world's own, smaller frame into a pixel buffer (`Canvas.upload`).
ON_THE_CARD = ("the world's frame to the graphics card",)


@dataclass
class MeasuredOutput:
    """An output to measure. entry: as in a show file. kind, address: of its receiver. missing: why it cannot be
    used."""

    name: str
    entry: dict[str, Any]
    kind: str = ""
    address: str = ""
    missing: str = ""
    environment: dict[str, str] = field(default_factory=dict)
    note: str = ""


@contextlib.contextmanager
def screen(width: int, height: int) -> Iterator[tuple[dict[str, str], str, str]]:
    """A display for a window: (environment, area to capture as `receivers.screen` takes it, reason for none).

    The existing display is used, or else an Xvfb is started.
    """
    if not sys.platform.startswith("linux"):
        yield {}, "", f"windows are measured on Linux only, not on {platform.system()}"
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
            yield (
                environment,
                f"{name}+{width // 2 - 16},{height // 2 - 9}",
                "" if len(name) > 1 else "Xvfb does not start",
            )
        finally:
            server.terminate()
            server.wait()


def measured_outputs(folder: Path, window: tuple[dict[str, str], str, str]) -> list[MeasuredOutput]:
    """Every output, with the reason where this machine cannot use it. window: from `screen`."""
    ndi, name = ndi_error(), f"wj bench {os.getpid()}"
    web, webrtc = missing_modules("aiohttp"), missing_modules("aiohttp", "aiortc")
    srt = "" if shutil.which("ffmpeg") else "SRT needs the ffmpeg program: apt install ffmpeg"
    environment, grab_area, no_window = window

    def source(title: str, tail: str, **options: str) -> MeasuredOutput:
        called = f"{name} {tail}"
        return MeasuredOutput(title, {"kind": "ndi", "name": called, **options}, "ndi", called, ndi)

    def stream(scheme: str, missing: str = "") -> MeasuredOutput:
        name, path = ("RTMP", "/live/bench") if scheme == "rtmp" else (f"MPEG-TS, {scheme.upper()}", "")
        url = f"{scheme}://127.0.0.1:{free_port()}{path}"
        return MeasuredOutput(name, {"kind": "stream", "url": url}, "mpegts", url, missing)

    def page(name: str, kind: str, path: str, missing: str) -> MeasuredOutput:
        port = free_port()
        return MeasuredOutput(name, {"kind": "web", "port": port}, kind, f"http://127.0.0.1:{port}/{path}", missing)

    lights = {"kind": "dmx", "to": "127.0.0.1", "gamma": 1, "smooth": 0, "fixtures": [{"universe": LIGHTS_UNIVERSE}]}
    clip = folder / "clip.ts"
    return [
        source("NDI", "uyvy"), source("NDI, alpha by a key", "key", key="luma"),
        source("NDI, the figure alone", "figure", key="figure"), source("NDI, RGBA", "rgba", layout="rgba"),
        MeasuredOutput("window", {"kind": "window", "monitor": 0}, "screen", grab_area, no_window, environment,
            "drawn by the processor (llvmpipe)" if "LIBGL_ALWAYS_SOFTWARE" in environment else ""),
        page("WebRTC", "webrtc", "offer", webrtc),
        page("MJPEG", "mjpeg", "video.mjpeg", web),
        stream("tcp"), stream("srt", srt), stream("udp"), stream("rtmp"),
        MeasuredOutput("recording", {"kind": "file", "path": str(clip)}, "recording", str(clip),
                       note="until it can be read back"),
        MeasuredOutput("virtual camera", {"kind": "virtualcam"}, "camera", "worldjockey", camera_error()),
        MeasuredOutput("lights (sACN)", lights, "lights", str(LIGHTS_UNIVERSE), missing_modules("sacn")),
        MeasuredOutput("WHIP", {"kind": "whip"}, missing=f"{NO_RECEIVER}, which is a media server"),
        MeasuredOutput("Syphon", {"kind": "syphon"}, missing="macOS only" if sys.platform != "darwin" else NO_RECEIVER),
        MeasuredOutput("Spout", {"kind": "spout"}, missing="Windows only" if sys.platform != "win32" else NO_RECEIVER),
    ]  # fmt: skip


NO_RECEIVER = "not measured: this benchmark has no receiver for it"


def missing_modules(*modules: str) -> str:
    missing = [name for name in modules if find_spec(name) is None]
    return f"pip install {' '.join(missing)}" if missing else ""


def ndi_error() -> str:
    from worldjockey.integrations.ndi import output as ndi

    try:
        ndi.runtime()
        ndi.check_discovery()
    except (OSError, RuntimeError) as error:
        return str(error)
    return ""


def camera_error() -> str:
    from worldjockey.integrations.virtual_camera import VirtualCameraOutput

    camera = VirtualCameraOutput()
    try:
        camera.open(VideoFormat(640, 360, 30))
    except Exception as error:  # pyvirtualcam's own, which differ by system
        return str(error)
    camera.close()
    return ""


def copies(entry: dict[str, Any]) -> tuple[list[str], list[str]]:
    """The copies of the whole frame, as declared by the code that makes them: before the output, and in it."""
    output = parse_output(entry).make()
    own = ON_THE_CARD if output.layout == "native" else output.copies
    return list(COPIES["native" if output.layout == "native" else "scaled"]), list(own)


def crossings(controls: Sequence[tuple[float, bool]], seen: Sequence[tuple[float, float]]) -> tuple[list[float], int]:
    """Latencies in ms, and the number of controls that never became visible.

    controls: (time, whether it made the frame bright); the last one only marks the end. seen: (time, lightness).
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
    """Flips the frame between dark and bright by OSC."""

    def __init__(self, port: int) -> None:
        from pythonosc.udp_client import SimpleUDPClient

        self._client = SimpleUDPClient("127.0.0.1", port)

    def flip(self, bright: bool) -> float:
        now = time.monotonic()
        self._client.send_message("/wj/prompt", [BRIGHT if bright else DARK, 0.0])
        return now


def cpu_of(status: dict[str, Any]) -> float:
    """CPU seconds of an output's process and its child processes."""
    children = 0.0
    with contextlib.suppress(psutil.Error):
        for child in psutil.Process(status["pid"]).children(recursive=True):
            times = child.cpu_times()
            children += times.user + times.system
    return float(status.get("cpu_s", 0.0)) + children


def scene(path: Path) -> None:
    """Write a clip of moving noise of several scales, mid-grey on average, 512x288 at 24 frames a second."""
    import cv2

    noise = np.random.default_rng(0)
    hills = np.zeros((288, 1024), np.float32)
    for size in (8, 16, 32, 64):
        rough = noise.normal(0, size, (288 // size + 1, 1024 // size)).astype(np.float32)
        hills += cv2.resize(rough, (1024, 288), interpolation=cv2.INTER_CUBIC)
    light = np.clip(126 + hills * 50 / hills.std() + noise.normal(0, 1, hills.shape), 16, 235).astype(np.uint8)
    output = FileOutput(path)
    output.open(VideoFormat(512, 288, 24))
    for tick in range(CLIP_FRAMES):
        frame = np.full((432, 512), 128, np.uint8)
        frame[:288] = np.roll(light, -tick * 1024 // CLIP_FRAMES, 1)[:, :512]
        output.send(Frame(frame, tick, 0.0))
    output.close()


def frames_made(status: dict[str, Any]) -> int:
    """Number of frames that an output encoded, where it may skip some; else the number that it sent."""
    facts = status.get("facts", {})
    if "coded" in facts:
        return sum(facts["coded"].values())
    return int(facts["frames"] if "dropped" in facts else status.get("sent", 0))


def measure(
    case: MeasuredOutput, folder: Path, seconds: float, size: str, fps: str, model: str = "testcard"
) -> dict[str, Any]:
    """Measure one output. RuntimeError, with the reason, if its receiver gets no frame."""
    port = free_port()
    show = {
        "model": model, "prompt": DARK, "size": size, "fps": fps, "outputs": [case.entry],
        "osc": {"port": port, "feedback": None, "query": None}, "midi": {"enabled": False},
        "live": {"file": str(folder / "scene.mp4")}, "values": {"live/strength": CLIP_STRENGTH},
    }  # fmt: skip
    show_process = ShowProcess(show, folder, case.environment)
    receiver = None
    try:
        receiver = Receiver(case.kind, case.address)
        player = Player(port)
        _wait_for_colour(show_process, receiver, player, True)
        pause = max(FLIP_INTERVAL_S, 1.5 * _wait_for_colour(show_process, receiver, player, False))
        _wait(show_process, SETTLE_S)
        first_sample, received = show_process.now, len(receiver.seen)
        name = next(iter(first_sample["outputs"]))
        first_cpu = cpu_of(first_sample["outputs"][name])
        chance, bright, end = random.Random(0), False, time.monotonic() + seconds
        controls: list[tuple[float, bool]] = []
        while time.monotonic() < end or len(controls) < FLIPS_MIN:
            bright = not bright
            controls.append((player.flip(bright), bright))
            _wait(show_process, pause + chance.uniform(0, FLIP_JITTER_S))
        controls.append((time.monotonic(), bright))
        last, received = show_process.now, len(receiver.seen) - received
        last_cpu = cpu_of(last["outputs"][name])
        found, lost = crossings(controls, list(receiver.seen))
    finally:
        if receiver is not None:
            receiver.kill()
        try:
            report = show_process.stop()
        finally:
            show_process.close()
    before, own = copies(case.entry)
    sent = last["outputs"][name]["sent"] - first_sample["outputs"][name]["sent"]
    made_count = frames_made(last["outputs"][name]) - frames_made(first_sample["outputs"][name])
    return {
        "way": case.name,
        "cpu_ms": round((last_cpu - first_cpu) * 1e3 / max(made_count, 1), 2),
        "node_cpu_ms": report["node_cpu_ms"],
        "copies": len(own),
        "copied": own,
        "copied_before": before,
        "sent": sent,
        "made": made_count,
        "received": None if case.kind in ("screen", "lights") else received,  # of these only changes are counted
        "sent_ms": report["latency_ms"],
        "received_ms": {**percentiles(found), "count": len(found)},
        "lost": lost,
        "late": last["clock"]["late"] - first_sample["clock"]["late"],
        "missed": last["clock"]["missed"] - first_sample["clock"]["missed"],
        "note": case.note,
    }


def _wait_for_colour(show_process: ShowProcess, receiver: Receiver, player: Player, bright: bool) -> float:
    """Seconds until the receiver sees a colour. RuntimeError, with the reason, if it never does."""
    begin, asked_at = time.monotonic(), 0.0
    while True:
        show_process.check()
        status = next(iter(show_process.now.get("outputs", {"": {}}).values()))
        if status.get("state") == "unsuitable":
            raise RuntimeError(status["message"])
        if asked_at and receiver.seen and (receiver.seen[-1][1] > 0.5) == bright:
            return time.monotonic() - asked_at
        if not asked_at and show_process.now.get("world", {}).get("state") == "running":
            asked_at = player.flip(bright)
        if time.monotonic() - begin > START_TIMEOUT_S:
            reason = status.get("message") or receiver.error or "no frame arrived"
            raise RuntimeError(f"its receiver got no frame of the world within {START_TIMEOUT_S:g} s: {reason}")
        time.sleep(0.01)


def _wait(show_process: ShowProcess, seconds: float) -> None:
    show_process.check()
    time.sleep(seconds)


def run(
    json_path: Path | None = None,
    seconds: float = 20.0,
    size: str = "1920x1080",
    fps: str = "30",
    only: Callable[[MeasuredOutput], bool] = lambda case: True,
) -> dict[str, Any]:
    """Measure every output that this machine can use, print a table, and write the same figures as JSON.

    seconds: of each measurement. only: selects outputs.
    """
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    json_file.check_folder(json_path)
    console, rows = Console(stderr=True), list[dict[str, Any]]()
    width, height = (int(n) for n in size.split("x"))
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="wj-bench-")))
        chosen = [case for case in measured_outputs(folder, stack.enter_context(screen(width, height))) if only(case)]
        scene(folder / "scene.mp4")
        columns = TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn()
        progress = stack.enter_context(Progress(*columns, console=console, transient=True))
        task = progress.add_task("", total=len(chosen))
        for case in chosen:
            progress.update(task, description=case.name)
            reason = case.missing
            if not reason:
                try:
                    rows.append(measure(case, folder, seconds, size, fps))
                except (RuntimeError, OSError) as error:
                    reason = str(error)
            if reason:
                rows.append({"way": case.name, "lacks": reason})
            progress.advance(task)
    result = {
        "machine": {"system": platform.platform(), "cores": os.cpu_count(), "python": platform.python_version()},
        "output": {"size": size, "fps": fps}, "seconds_each": seconds, "ways": rows,
    }  # fmt: skip
    Console().print(*tables(result), sep="\n")
    json_file.write(json_path, result)
    return result


def tables(result: dict[str, Any]) -> Iterator[Any]:
    """What is printed: the figures, and the outputs that this machine cannot use."""
    from rich.table import Table

    out = result["output"]
    title = f"outputs, {out['size']} at {out['fps']}, {result['machine']['cores']} cores"
    table = Table(title=title, title_justify="left")
    columns = (
        "CPU a frame, ms",
        "node's, ms",
        "copies",
        "received",
        "control to sent, ms",
        "control to received pixel, ms",
    )
    for name in ("", *columns):
        table.add_column(name, justify="right" if name else "left")
    for row in result["ways"]:
        if "lacks" in row:
            continue
        sent, seen = row["sent_ms"], row["received_ms"]
        table.add_row(
            row["way"] + (f" ({row['note']})" if row["note"] else ""),
            f"{row['cpu_ms']:.1f}",
            f"{row['node_cpu_ms']:.1f}",
            str(row["copies"]),
            "" if row["received"] is None else f"{row['received']} of {row['sent']}",
            f"{sent['p50']:.0f} / {sent['p95']:.0f}",
            f"{seen['p50']:.0f} / {seen['p95']:.0f}" if seen["count"] else "never",
        )
    table.caption = (
        "p50 / p95; CPU of the output's process and child processes for each frame that it encoded; node's: CPU of "
        "control, clock, and scaling to the output's size, for each tick"
    )
    yield table
    for row in result["ways"]:
        if "lacks" in row:
            yield f"without {row['way']}: {row['lacks']}"
