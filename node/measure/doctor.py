"""`wj doctor`: checks what a show needs of this machine, and names the fix for each problem."""

from __future__ import annotations

import errno
import importlib.util
import os
import platform
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

SHARED_MEMORY_BYTES = 128 << 20  # two rings of 1080p RGBA frames and the mailbox, with a margin
WEIGHTS_FILE = "nano.safetensors"
REINSTALL = "pip install --force-reinstall worldjockey"
TORCH_INDEX = "https://download.pytorch.org/whl"
# PyTorch's own builds of 2.12 to 2.14. cu126 is for drivers older than CUDA 13, and for GPUs that CUDA 13 left behind.
OLDER_CUDA, USUAL_CUDA = "cu126", "cu130"
USUAL_DRIVER, OLDEST_GPU = 580, (7, 5)  # that CUDA 13 needs
REINSTALL_AV = "pip install --force-reinstall av"


@dataclass(frozen=True)
class Check:
    """The result of one check. state: an "error" would stop a show, a "note" limits it. fix: what to do."""

    name: str
    state: Literal["ok", "note", "error"]
    detail: str
    fix: str = ""


def check_all(osc_port: int = 9010, seconds: float = 0.0) -> Iterator[Check]:
    """Every check, each as soon as it is done. seconds: how long each world is run; 0 runs none."""
    checks: list[tuple[str, Callable[[], Check]]] = [
        ("python", python),
        ("torch", torch),
        ("world", world),
        ("shared memory", shared_memory),
        ("NDI", ndi),
        ("MIDI", midi),
        ("timecode", timecode),
        ("window", window),
        ("gamepads", gamepads),
        ("Stream Decks", stream_decks),
        ("OBS", obs),
        ("lighting desks", lighting_desks),
        ("card to window", card_to_window),
        ("recording", recording),
        ("browsers", browsers),
        ("audience", audience),
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
            yield Check(name, "error", f"{type(error).__name__}: {error}", REINSTALL)
    if seconds > 0:
        yield from worlds(seconds)


def worlds(seconds: float) -> Iterator[Check]:
    """Which worlds this machine can play, and how fast; those with the best image quality first."""
    from .model_choice import candidates, machine, missing_weights, try_world, unfit

    here = machine()
    for entry in candidates():
        name = f"world {entry.name}"
        published = f"; published: {entry.rate}" if entry.rate else ""
        if why := unfit(entry, here):
            yield Check(name, "ok", f"not for this machine: {why}{published}")
            continue
        if fix := missing_weights(entry):
            yield Check(name, "note", f"fits this machine, but its weights are not installed{published}", fix)
            continue
        trial = try_world(entry.name, seconds=seconds)
        rate = f"{trial.fps:g} frames a second on {here.device.upper()}, {trial.wanted:g} needed{published}"
        if trial.error:
            detail, fix = _split(trial.error)
            fix = fix or f"wj play --model {entry.name}, and read the log that its error names"
            yield Check(name, "note", f"cannot be played: {detail}", fix)
        elif trial.is_fast_enough:
            yield Check(name, "ok", rate)
        else:
            yield Check(name, "note", f"too slow: {rate}", "close other programs, or use a GPU")


def python() -> Check:
    version = platform.python_version()
    if sys.version_info < (3, 11):
        fix = "install Python 3.11 or newer, delete the folder .venv, and install worldjockey again"
        return Check("python", "note", f"{version}: NDI output needs 3.11", fix)
    return Check("python", "ok", f"{version} on {platform.system()} {platform.machine()}")


def torch() -> Check:
    try:
        import torch as found
    except ImportError as error:
        return Check("torch", "error", str(error), "pip install torch")
    if found.cuda.is_available():
        name, capability = found.cuda.get_device_name(), found.cuda.get_device_capability()
        if not has_kernels(capability, found.cuda.get_arch_list()):
            return without_kernels(found.__version__, name, capability, found.cuda.get_arch_list())
        return Check("torch", "ok", f"{found.__version__}, CUDA: {name}")
    mps = getattr(found.backends, "mps", None)
    if mps and mps.is_available():
        return Check("torch", "ok", f"{found.__version__}, MPS")
    if shutil.which("nvidia-smi"):
        return without_cuda(found.__version__, found.version.cuda, *nvidia())
    return Check("torch", "ok", f"{found.__version__}, CPU only")


def nvidia() -> tuple[int, tuple[int, int]]:
    """The version of the NVIDIA driver, as 580, and the compute capability of the first GPU; zeros where `nvidia-smi`
    does not answer."""
    command = ["nvidia-smi", "--query-gpu=driver_version,compute_cap", "--format=csv,noheader"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=30).stdout
        driver, capability = answer.splitlines()[0].split(",")
        major, minor = capability.strip().split(".")
        return int(driver.split(".")[0]), (int(major), int(minor))
    except (OSError, subprocess.SubprocessError, ValueError, IndexError):
        return 0, (0, 0)


def install_torch(version: str, build: str) -> str:
    return f"pip install torch=={version.partition('+')[0]}+{build} --extra-index-url {TORCH_INDEX}/{build}"


def has_kernels(capability: tuple[int, int], built_for: Sequence[str]) -> bool:
    """Whether a torch build has kernels for a GPU. built_for: its architectures, as "sm_86" or, for any newer GPU,
    "compute_120"."""
    for entry in built_for:
        kind, _, digits = entry.partition("_")
        digits = digits.rstrip("af")  # sm_90a runs on that GPU alone
        if not digits.isdecimal():
            continue
        major, minor = int(digits[:-1]), int(digits[-1])
        if kind == "sm" and major == capability[0] and minor <= capability[1]:
            return True
        if kind == "compute" and (major, minor) <= capability:
            return True
    return not built_for


def without_kernels(version: str, name: str, capability: tuple[int, int], built_for: Sequence[str]) -> Check:
    """A GPU that torch sees and cannot use."""
    architectures = [int(entry.partition("_")[2].rstrip("af")) for entry in built_for if entry.startswith("sm_")]
    newer = capability[0] * 10 + capability[1] > max(architectures, default=0)
    detail = f"{version} has no kernels for {name} (sm_{capability[0]}{capability[1]}), so the world runs on the CPU"
    fix = "pip install --upgrade torch" if newer else install_torch(version, OLDER_CUDA)
    return Check("torch", "note", detail, fix)


def without_cuda(version: str, built_for: str | None, driver: int, capability: tuple[int, int]) -> Check:
    """An NVIDIA driver is installed, and torch has no GPU.

    built_for: the CUDA version of this torch build, None for one for the CPU. driver, capability: as `nvidia` finds
    them.
    """
    older = 0 < driver < USUAL_DRIVER
    if older and capability >= (10, 0):
        detail = f"the NVIDIA driver {driver} is too old for this GPU and {version}"
        return Check("torch", "note", detail, f"update it to {USUAL_DRIVER} or newer: https://www.nvidia.com/drivers")
    build = OLDER_CUDA if older or (0, 0) < capability < OLDEST_GPU else USUAL_CUDA
    if built_for is None:  # on Windows, PyPI has no other
        detail = f"{version} was built for the CPU only, although an NVIDIA driver is installed"
        return Check("torch", "note", detail, install_torch(version, build))
    if older and int(built_for.split(".")[0]) >= 13:
        detail = f"the NVIDIA driver {driver} is too old for {version}, which was built for CUDA {built_for}"
        fix = f"update the driver to {USUAL_DRIVER} or newer (https://www.nvidia.com/drivers), or keep it and run "
        return Check("torch", "note", detail, fix + install_torch(version, OLDER_CUDA))
    fix = "restart the computer; if `nvidia-smi` shows an error after that, install the NVIDIA driver again"
    return Check("torch", "note", f"{version} finds no GPU, although an NVIDIA driver is installed", fix)


def world() -> Check:
    spec = importlib.util.find_spec("worldjockey.model")
    assert spec is not None
    assert spec.origin is not None
    weights = Path(spec.origin).parent / "weights" / WEIGHTS_FILE
    if not weights.exists():
        fix = f"{REINSTALL}, or train a world with `wj train` and put its weights there"
        return Check("world", "error", f"the weights are missing: {weights}", fix)
    if importlib.util.find_spec("wordllama") is None:
        return Check("world", "error", "the word vectors are missing", "pip install wordllama")
    return Check("world", "ok", f"nano, {weights.stat().st_size / 1e6:.1f} MB")


def shared_memory() -> Check:
    folder = Path("/dev/shm")
    if not folder.is_dir():
        return Check("shared memory", "ok", "managed by the system")
    free = shutil.disk_usage(folder).free
    if free < SHARED_MEMORY_BYTES:
        fix = "in a container: docker run --shm-size=1g; elsewhere: sudo mount -o remount,size=1G /dev/shm"
        detail = f"{free >> 20} MB free in {folder}, and a show needs {SHARED_MEMORY_BYTES >> 20} MB"
        return Check("shared memory", "error", detail, fix)
    return Check("shared memory", "ok", f"{free >> 20} MB free")


def _split(error: Exception | str, separator: str = ": ") -> tuple[str, str]:
    """The problem and the fix of a message of the form "problem: fix"."""
    detail, _, fix = str(error).partition(separator)
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
    return Check("MIDI", "ok", f"{rig.backend_name()}: {', '.join(ports) or 'no controller is connected'}")


def gamepads() -> Check:
    from worldjockey.integrations.gamepad import input as rig

    try:
        found = rig.list_gamepads()
    except OSError as error:
        return Check("gamepads", "ok", f"none: {error}")  # most shows have none
    return Check("gamepads", "ok", ", ".join(found) or "none is plugged in")


def stream_decks() -> Check:
    from worldjockey.integrations.stream_deck import input as rig

    try:
        decks = rig.list_decks()
    except OSError as error:
        return Check("Stream Decks", "ok", f"none: {error}")  # most shows have none
    return Check("Stream Decks", "ok", ", ".join(decks) or "none is plugged in")


def obs() -> Check:
    from worldjockey.integrations.obs import input as rig

    if importlib.util.find_spec("simpleobsws") is None:
        return Check("OBS", "note", "simpleobsws is missing", "pip install simpleobsws")
    try:
        return Check("OBS", "ok", rig.list_servers()[0])
    except OSError as error:
        return Check("OBS", "ok", str(error))  # most shows have none


def lighting_desks() -> Check:
    """Whether the ports of Art-Net and sACN are free, as `lights` in a show needs them."""
    import socket

    from worldjockey.integrations.dmx import artnet
    from worldjockey.integrations.dmx.multicast import networks
    from worldjockey.integrations.dmx.receiver_process import SACN_PORT

    taken = []
    for protocol, port in (("Art-Net", artnet.PORT), ("sACN", SACN_PORT)):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as line:
            try:
                line.bind(("127.0.0.1", port))
            except OSError:
                taken.append(f"{protocol} (UDP port {port})")
    if taken:
        detail = f"another program on this machine receives {' and '.join(taken)}"
        return Check("lighting desks", "note", detail, "close it before a show with `lights`")
    found = ", ".join(sorted(networks("0.0.0.0")))
    return Check("lighting desks", "ok", f"Art-Net and sACN can be received, by `host: lan` on {found}")


def timecode() -> Check:
    """What LTC can be heard from, and MTC sent to."""
    from worldjockey.integrations.audio import input as audio
    from worldjockey.integrations.midi import mtc_output

    try:
        inputs = audio.devices()
    except OSError as error:
        return Check("timecode", "note", *_split(error))
    try:
        outputs = mtc_output.list_outputs()
    except OSError as error:
        return Check("timecode", "note", *_split(error))
    return Check("timecode", "ok", f"LTC from {len(inputs)} audio inputs, MTC to {len(outputs)} MIDI outputs")


def window() -> Check:
    from worldjockey.integrations import window as rig

    try:
        monitors = rig.list_monitors()
    except RuntimeError as error:
        return Check("window", "note", *_split(error, ". "))  # the first sentence is GLFW's, and has colons of its own
    return Check("window", "ok", "; ".join(monitors))


def card_to_window() -> Check:
    name = "card to window"
    import torch as found

    if not found.cuda.is_available():
        return Check(name, "ok", "no CUDA device: frames reach windows through main memory")
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
        return Check(name, "note", f"frames go through main memory: {detail or fix}", fix)
    return Check(name, "ok", "frames stay on the graphics card (CUDA)")


def recording() -> Check:
    import av

    if "libx264" not in av.codecs_available:
        return Check("recording", "note", "this PyAV has no H.264 encoder", REINSTALL_AV)
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
        return Check(
            "browsers",
            "note",
            f"browsers get JPEGs instead of WebRTC, with more latency ({error})",
            "pip install aiortc",
        )
    missing = [name for name in ("libx264", "mjpeg") if name not in av.codecs_available]
    if missing:
        return Check("browsers", "note", f"this PyAV has no {' and no '.join(missing)}", REINSTALL_AV)
    return Check("browsers", "ok", f"WebRTC (aiortc {aiortc.__version__}, aiohttp {aiohttp.__version__})")


def audience() -> Check:
    from worldjockey.integrations.crowd import input as crowd
    from worldjockey.node.show.crowd import Crowd

    if importlib.util.find_spec("aiohttp") is None:
        return Check("audience", "note", "aiohttp is missing, so phones get no page", "pip install aiohttp")
    usual = Crowd()
    address = crowd.audience_address(usual.port)
    if not address:
        detail = "this machine has no network, so phones cannot reach the audience's page"
        return Check("audience", "note", detail, "join the venue's Wi-Fi or network")
    most = crowd.connections_possible()
    if most is not None and most < usual.people:
        detail = f"the system allows this user {most} connections, so at most as many phones take part"
        return Check("audience", "note", detail, f"raise the limit: ulimit -Hn {usual.people + 1024}")
    chat = "" if importlib.util.find_spec("irc") else "; Twitch chat needs pip install worldjockey[twitch]"
    return Check("audience", "ok", f"with `crowd: {{host: lan}}` phones open {address}{chat}")


def streams() -> Check:
    import av

    if "mpegts" not in av.formats_available:
        return Check("streams", "note", "this PyAV has no MPEG-TS", REINSTALL_AV)
    if shutil.which("ffmpeg") is None:
        fix = "sudo apt install ffmpeg, brew install ffmpeg or winget install ffmpeg"
        return Check(
            "streams", "note", "TCP, UDP and RTMP work; SRT does not, because the ffmpeg program is missing", fix
        )
    return Check("streams", "ok", "MPEG-TS over TCP, UDP and SRT; RTMP")


def live_picture() -> Check:
    import av
    from worldjockey.integrations import camera as rig

    name, device_format = "live picture", rig.DEVICE_FORMATS.get(sys.platform, "")
    # One entry of PyAV may hold several names: "video4linux2,v4l2".
    if device_format not in ",".join(av.formats_available).split(","):
        detail = f"clips and NDI work; cameras do not, because this PyAV has no {device_format or 'camera'} input"
        return Check(name, "note", detail, REINSTALL_AV)
    if cameras := rig.list_cameras():
        return Check(name, "ok", f"clips, NDI and cameras: {', '.join(cameras)}")
    if denied := [str(path) for path in sorted(Path("/dev").glob("video*")) if not os.access(path, os.R_OK | os.W_OK)]:
        fix = "sudo usermod -aG video $USER, then log in again"
        return Check(name, "note", f"this user may not open {', '.join(denied)}", fix)
    return Check(name, "ok", "clips and NDI; no camera is connected")


def in_betweens() -> Check:
    try:
        from ..output import interpolation

        interpolation.ready()
    except Exception as error:
        fix = "pip install --force-reinstall opencv-python-headless"
        return Check("in-betweens", "note", f"in-betweens are blended, without motion ({error})", fix)
    return Check("in-betweens", "ok", "motion-compensated (OpenCV)")


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
                fix = f"close the other program or show, or choose another port: wj play --osc-port {port + 10}"
                return Check("OSC", "error", f"UDP port {port} is taken", fix)
            return Check(
                "OSC",
                "error",
                f"UDP port {port}: {error.strerror}",
                "choose another port, as in: wj play --osc-port 9020",
            )
    return Check("OSC", "ok", f"UDP port {port} is free")
