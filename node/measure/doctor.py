"""`wj doctor`: what of this machine a show needs, and the exact fix for what it lacks."""

from __future__ import annotations

import errno
import importlib.util
import platform
import shutil
import socket
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

SHARED_MEMORY = 128 << 20  # bytes: two rings of 1080p RGBA frames and the mailbox, with room
WEIGHTS = "nano.safetensors"
AGAIN = "pip install --force-reinstall worldjockey"
AGAIN_AV = "pip install --force-reinstall av"


@dataclass(frozen=True)
class Check:
    """state: "error" would stop a show; "note" costs it something."""

    name: str
    state: Literal["ok", "note", "error"]
    detail: str
    fix: str = ""


def check_all(osc_port: int = 9010, seconds: float = 0.0) -> Iterator[Check]:
    """Every check, one after the other as it is done. seconds: that each world is heard for; 0 hears none."""
    checks: list[tuple[str, Callable[[], Check]]] = [
        ("python", python),
        ("torch", torch),
        ("world", world),
        ("shared memory", shared_memory),
        ("NDI", ndi),
        ("MIDI", midi),
        ("window", window),
        ("card to window", card_to_window),
        ("recording", recording),
        ("browsers", browsers),
        ("streams", streams),
        ("live picture", live_picture),
        ("in-betweens", in_betweens),
        *([("Syphon", syphon)] if sys.platform == "darwin" else []),
        *([("Spout", spout)] if sys.platform == "win32" else []),
        ("OSC", lambda: osc(osc_port)),
    ]
    for name, check in checks:
        try:
            yield check()
        except Exception as error:
            yield Check(name, "error", f"{type(error).__name__}: {error}", AGAIN)
    if seconds > 0:
        yield from worlds(seconds)


def worlds(seconds: float) -> Iterator[Check]:
    """Which worlds this machine can play, and how fast, the best picture first."""
    from .model_choice import candidates, hear, lacking, machine, unfit

    here = machine()
    for entry in candidates():
        name = f"world {entry.name}"
        published = f"; published: {entry.rate}" if entry.rate else ""
        if why := unfit(entry, here):
            yield Check(name, "ok", f"not for this machine: {why}{published}")
            continue
        if why := lacking(entry):
            yield Check(name, "note", f"fits, but its weights are not here{published}", why)
            continue
        heard = hear(entry.name, seconds=seconds)
        rate = f"{heard.fps:g} frames a second on {here.device.upper()}, {heard.wanted:g} wanted{published}"
        if heard.why:
            yield Check(name, "note", "does not play", heard.why)
        elif heard.keeps_time:
            yield Check(name, "ok", rate)
        else:
            yield Check(name, "note", f"too slow: {rate}", "end what else keeps this machine busy, or use a GPU")


def python() -> Check:
    version = platform.python_version()
    if sys.version_info < (3, 11):
        return Check(
            "python", "note", f"{version}: NDI output needs 3.11", "install Python 3.11 or newer, then delete .venv"
        )
    return Check("python", "ok", f"{version} on {platform.system()} {platform.machine()}")


def torch() -> Check:
    try:
        import torch as found
    except ImportError as error:
        return Check("torch", "error", str(error), "pip install torch")
    if found.cuda.is_available():
        return Check("torch", "ok", f"{found.__version__}, CUDA: {found.cuda.get_device_name()}")
    mps = getattr(found.backends, "mps", None)
    if mps and mps.is_available():
        return Check("torch", "ok", f"{found.__version__}, MPS")
    fix = ""
    if shutil.which("nvidia-smi"):
        fix = "an NVIDIA driver is here, but this torch has no CUDA: pip install --force-reinstall torch"
    return Check("torch", "note" if fix else "ok", f"{found.__version__}, CPU only", fix)


def world() -> Check:
    spec = importlib.util.find_spec("worldjockey.model")
    assert spec is not None
    assert spec.origin is not None
    weights = Path(spec.origin).parent / "weights" / WEIGHTS
    if not weights.exists():
        fix = f"{AGAIN}, or train one with `wj train` and put it there"
        return Check("world", "error", f"the weights are missing: {weights}", fix)
    if importlib.util.find_spec("wordllama") is None:
        return Check("world", "error", "the word vectors are missing", "pip install wordllama")
    return Check("world", "ok", f"nano, {weights.stat().st_size / 1e6:.1f} MB")


def shared_memory() -> Check:
    place = Path("/dev/shm")
    if not place.is_dir():
        return Check("shared memory", "ok", "managed by the system")
    free = shutil.disk_usage(place).free
    if free < SHARED_MEMORY:
        fix = "in a container: docker run --shm-size=1g; elsewhere: sudo mount -o remount,size=1G /dev/shm"
        detail = f"{free >> 20} MB free in {place}, a show needs {SHARED_MEMORY >> 20}"
        return Check("shared memory", "error", detail, fix)
    return Check("shared memory", "ok", f"{free >> 20} MB free")


def _split(error: Exception) -> tuple[str, str]:
    """A message of the form "what is wrong: what to do" in its two halves."""
    detail, _, fix = str(error).partition(": ")
    return detail, fix


def ndi() -> Check:
    from worldjockey.integrations.ndi import output as rig

    try:
        sources = rig.list_sources(0.5)
    except (OSError, RuntimeError) as error:
        return Check("NDI", "note", *_split(error))
    return Check("NDI", "ok", f"runtime and discovery work; {len(sources)} sources on the network")


def midi() -> Check:
    from worldjockey.integrations.midi import input as rig

    try:
        ports = rig.list_ports()
    except OSError as error:
        return Check("MIDI", "note", *_split(error))
    return Check("MIDI", "ok", f"{rig.backend_name()}: {', '.join(ports) or 'nothing is plugged in'}")


def window() -> Check:
    from worldjockey.integrations import window as rig

    try:
        monitors = rig.list_monitors()
    except RuntimeError as error:
        return Check("window", "note", *_split(error))
    return Check("window", "ok", "; ".join(monitors))


def card_to_window() -> Check:
    name = "card to window"
    import torch as found

    if not found.cuda.is_available():
        return Check(name, "ok", "no CUDA device: windows get their frames from the processor")
    from worldjockey.integrations.gl import cuda
    from worldjockey.integrations.gl.canvas import HiddenContext

    context = None
    try:
        context = HiddenContext("worldjockey")
        device = found.cuda.current_device()
        why = cuda.verdict("", cuda.drawing(), cuda.address(device))
    except RuntimeError as error:
        why = str(error)
    finally:
        if context is not None:
            context.close()
    if why:
        detail, _, fix = why.rpartition(": ")
        return Check(name, "note", f"frames go through the processor: {detail or fix}", fix)
    return Check(name, "ok", "a world's frames stay on the card, by CUDA")


def recording() -> Check:
    import av

    if "libx264" not in av.codecs_available:
        return Check("recording", "note", "this PyAV has no H.264 encoder", AGAIN_AV)
    return Check("recording", "ok", f"PyAV {av.__version__}")


def browsers() -> Check:
    try:
        import aiohttp
        import av
    except ImportError as error:
        return Check("browsers", "note", f"no browser output ({error})", "pip install aiohttp aiortc av")
    try:
        import aiortc
    except ImportError as error:
        return Check("browsers", "note", f"JPEGs only, so more delay ({error})", "pip install aiortc")
    lacking = [name for name in ("libx264", "mjpeg") if name not in av.codecs_available]
    if lacking:
        return Check("browsers", "note", f"this PyAV has no {' and no '.join(lacking)}", AGAIN_AV)
    return Check("browsers", "ok", f"WebRTC by aiortc {aiortc.__version__}, pages by aiohttp {aiohttp.__version__}")


def streams() -> Check:
    import av

    if "mpegts" not in av.formats_available:
        return Check("streams", "note", "this PyAV has no MPEG-TS", AGAIN_AV)
    if shutil.which("ffmpeg") is None:
        fix = "apt install ffmpeg, brew install ffmpeg or winget install ffmpeg; tcp:// needs nothing"
        return Check("streams", "note", "TCP, UDP and RTMP; SRT needs the ffmpeg program", fix)
    return Check("streams", "ok", "MPEG-TS by TCP, UDP and SRT; RTMP")


def live_picture() -> Check:
    import av
    from worldjockey.integrations import camera as rig

    system = rig.SYSTEMS.get(sys.platform, "")
    if system not in av.formats_available:
        return Check("live picture", "note", f"this PyAV reads no cameras ({system or sys.platform})", AGAIN_AV)
    return Check(
        "live picture", "ok", f"clips and NDI; cameras: {', '.join(rig.list_cameras()) or 'none is plugged in'}"
    )


def in_betweens() -> Check:
    try:
        from ..output import interpolation

        interpolation.ready()
    except Exception as error:
        fix = "pip install --force-reinstall opencv-python-headless"
        return Check("in-betweens", "note", f"frames blend and do not move ({error})", fix)
    return Check("in-betweens", "ok", "motion, by OpenCV")


def syphon() -> Check:
    from worldjockey.integrations import syphon as rig

    try:
        rig.runtime()
    except RuntimeError as error:
        return Check("Syphon", "note", *_split(error))
    return Check("Syphon", "ok", "ready")


def spout() -> Check:
    from worldjockey.integrations import spout as rig

    try:
        rig.runtime()
    except RuntimeError as error:
        return Check("Spout", "note", *_split(error))
    return Check("Spout", "ok", "ready")


def osc(port: int) -> Check:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                fix = f"end the other program (is a show playing?), or choose a port: wj play --osc-port {port + 10}"
                return Check("OSC", "error", f"UDP port {port} is taken", fix)
            return Check("OSC", "error", f"UDP port {port}: {error.strerror}", "wj play --osc-port 9010")
    return Check("OSC", "ok", f"UDP port {port} is free")
