"""The parts of `wj bench --rig`: a show with every output, its receivers and players, and the mishaps."""

from __future__ import annotations

import contextlib
import math
import os
import shutil
import subprocess
import sys
import time
import wave
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from worldjockey.integrations import Frame, VideoFormat

from ..ipc.process import SPAWN, init_child, parent_died
from .bench import PROMPTS, has_midi
from .outputs import camera_error, missing_modules, ndi_error
from .receivers import Receiver
from .show_process import free_port

MOVES_PER_S = 50
DISK_BYTES = 2 << 30  # of the recording's own disk, which uses memory only as it fills
BALLAST_BYTES_MAX = 64 << 20  # that fills the disk, after it was shrunk to its contents


@dataclass
class Mishap:
    """A failure that begins and ends at given shares of the run. missing: why it cannot be caused on this machine. of:
    the receiver, or the output without one, that is made to fail, and is not judged itself."""

    name: str
    begin: float
    end: float
    start: Callable[[], None]
    undo: Callable[[], None]
    of: str = ""
    missing: str = ""


class Disk:
    """A disk for the recording, which can be filled: a small mounted disk (root on Linux), or else a limit on what the
    recording's process may write (Linux)."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.full = folder, False
        self._ballast = folder / "ballast"
        self._mounted = False
        if sys.platform.startswith("linux"):
            command = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "none", str(folder)]
            with contextlib.suppress(OSError):
                self._mounted = subprocess.run(command, capture_output=True).returncode == 0
        self._limits = not self._mounted  # limit what the recording's process may write

    @property
    def missing(self) -> str:
        return (
            "" if self._mounted or hasattr(psutil, "RLIMIT_FSIZE") else "a disk can be filled for a test on Linux only"
        )

    def fill(self) -> None:
        self.full = True
        if not self._mounted:
            return
        for _ in range(20):  # the recording may grow meanwhile
            disk = os.statvfs(self.folder)
            if self._resize((disk.f_blocks - disk.f_bfree + 1) * disk.f_frsize):
                break
        try:
            with self._ballast.open("wb", buffering=0) as ballast:
                for _ in range(BALLAST_BYTES_MAX >> 20):
                    ballast.write(bytes(1 << 20))
            self._limits = True  # the disk could not be shrunk
        except OSError:
            self._limits = False

    def tend(self, pid: int | None) -> None:
        """Apply the limit to the recording's process; call it often."""
        if self._limits and pid and hasattr(psutil, "RLIMIT_FSIZE"):
            with contextlib.suppress(psutil.Error, OSError, ValueError):
                process = psutil.Process(pid)
                _, hard = process.rlimit(psutil.RLIMIT_FSIZE)
                process.rlimit(psutil.RLIMIT_FSIZE, (4096 if self.full else hard, hard))

    def free(self) -> None:
        self.full = False
        if self._mounted:
            self._resize(DISK_BYTES)
            self._ballast.unlink(missing_ok=True)

    def close(self) -> None:
        if self._mounted:
            subprocess.run(["umount", "--lazy", str(self.folder)], capture_output=True)

    def _resize(self, size: int) -> bool:
        command = ["mount", "-o", f"remount,size={size}", str(self.folder)]
        with contextlib.suppress(OSError):
            return subprocess.run(command, capture_output=True).returncode == 0
        return False


class Part:
    """A process of the rehearsal that can be killed and started again."""

    def __init__(self, target: Callable[..., None], *args: Any) -> None:
        self._target, self._args = target, args
        self.start()

    def start(self) -> None:
        self._process = SPAWN.Process(target=self._target, args=self._args, daemon=True, name="wj bench rig")
        self._process.start()

    def kill(self) -> None:
        self._process.kill()
        self._process.join()


def guest(name: str) -> None:
    """Send moving waves by NDI, 640x360 at 25 frames a second, as the live source."""
    from worldjockey.integrations.ndi.output import NDIOutput

    init_child()
    output = NDIOutput(name)
    while not parent_died():
        try:
            output.open(VideoFormat(640, 360, 25, name=name))
            break
        except OSError:  # the name of the killed one is still in use
            time.sleep(0.2)
    y, x = np.mgrid[:360, :640].astype(np.float32)
    frames = [np.full((360, 640, 2), 128, np.uint8) for _ in range(25)]
    for number, frame in enumerate(frames):
        frame[..., 1] = 120 + 80 * np.sin(x / 40 + y / 60 + number * math.tau / 25)
    tick, due = 0, time.monotonic()
    while not parent_died():
        output.send(Frame(frames[tick % 25], tick, due))
        tick, due = tick + 1, due + 0.04
        time.sleep(max(due - time.monotonic(), 0))


def hands(port: int, midi: bool) -> None:
    """Send controls like a performer: faders all the time, and sometimes a prompt."""
    from pythonosc.udp_client import SimpleUDPClient

    init_child()
    client, controller = SimpleUDPClient("127.0.0.1", port), None
    if midi:
        import rtmidi
        from worldjockey.integrations.midi.ports_process import apis

        with contextlib.suppress(RuntimeError, rtmidi.RtMidiError):  # Windows has no virtual ports
            controller = rtmidi.MidiOut(apis("auto")[0], name="wj bench rig")
            controller.open_virtual_port("wj bench rig")
    number = 0
    while not parent_died():
        wave = math.sin(number / MOVES_PER_S)
        with contextlib.suppress(OSError):  # nobody listens yet
            client.send_message("/wj/energy", 0.5 + wave / 2)
            client.send_message("/wj/cam/yaw", 0.3 * wave)
            if number % (4 * MOVES_PER_S) == 0:
                client.send_message("/wj/prompt", [PROMPTS[number // (4 * MOVES_PER_S) % len(PROMPTS)], 1.0])
        if controller is not None and controller.is_port_open():
            controller.send_message([0xB0, 20 + number % 4, number % 128])
        number += 1
        time.sleep(1 / MOVES_PER_S)


def _drums(path: Path) -> None:
    """Write ten seconds of two beats a second."""
    t = np.arange(441_000) / 44_100
    beat = np.exp(-(t % 0.5) * 20) * np.sin(math.tau * 70 * t)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(44_100)
        file.writeframes((beat * 20_000).astype("<i2").tobytes())


@dataclass
class Rig:
    """The show, its receivers, and the reasons for missing parts."""

    show: dict[str, Any]
    environment: dict[str, str]
    watched: dict[str, tuple[str, str]]  # by receiver: kind and address
    outputs: dict[str, str]  # by receiver: its output, as listed in the status
    missing: dict[str, str]
    receivers: dict[str, Receiver] = field(default_factory=dict)
    gone: dict[str, int] = field(default_factory=dict)  # by receiver: frames before it was last killed

    def watch(self, name: str) -> None:
        self.receivers[name] = Receiver(*self.watched[name])

    def kill(self, name: str) -> None:
        if receiver := self.receivers.pop(name, None):
            receiver.kill()
            self.gone[name] = self.gone.get(name, 0) + len(receiver.seen)

    def freeze(self, name: str) -> None:
        if name in self.receivers:
            psutil.Process(self.receivers[name].pid).suspend()

    def thaw(self, name: str) -> None:
        if name in self.receivers:
            psutil.Process(self.receivers[name].pid).resume()

    def close(self) -> None:
        for name in list(self.receivers):
            self.kill(name)

    @property
    def counting_receivers(self) -> list[str]:
        """Receivers that count every frame; on a screen only changes are counted."""
        return [name for name, (kind, _) in self.watched.items() if kind != "glance"]

    @property
    def active_receivers(self) -> list[str]:
        """Those of them that receive frames now."""
        return [name for name in self.counting_receivers if name in self.receivers and self.receivers[name].seen]

    def seen(self, name: str) -> int:
        receiver = self.receivers.get(name)
        return self.gone.get(name, 0) + (len(receiver.seen) if receiver else 0)


def rig(folder: Path, disk: Path, port: int, model: str, size: str, fps: str,
        window: tuple[dict[str, str], str, str]) -> Rig:  # fmt: skip
    """A rig with all that this machine has. window: from `outputs.screen`."""
    tag, outputs, watched, of = f"wj rig {os.getpid()}", list[dict[str, Any]](), dict[str, tuple[str, str]](), {}
    missing: dict[str, str] = {}
    page, tcp, srt = free_port(), f"tcp://127.0.0.1:{free_port()}", f"srt://127.0.0.1:{free_port()}"
    _drums(folder / "drums.wav")
    show: dict[str, Any] = {
        "model": model, "prompt": PROMPTS[0], "size": size, "fps": fps, "outputs": outputs,
        "osc": {"port": port, "feedback": None, "query": None}, "midi": {"enabled": has_midi()},
        "sound": {"enabled": True, "input": str(folder / "drums.wav")},
        "values": {"live/strength": 0.3},
    }  # fmt: skip

    def add(name: str, entry: dict[str, Any], error: str, kind: str = "", address: str = "", label: str = "") -> None:
        if error:
            missing[name] = error
            return
        if entry not in outputs:
            outputs.append(entry)
        if kind:
            watched[name], of[name] = (kind, address), label

    ndi, (environment, grab_area, no_window) = ndi_error(), window
    add("NDI", {"kind": "ndi", "name": tag}, ndi, "ndi", tag, "ndi")
    add("window", {"kind": "window", "monitor": 0}, no_window, "glance", grab_area, "window")
    web = {"kind": "web", "port": page}
    add("WebRTC", web, missing_modules("aiohttp", "aiortc"), "webrtc", f"http://127.0.0.1:{page}/offer", "web")
    add("MJPEG", web, missing_modules("aiohttp"), "mjpeg", f"http://127.0.0.1:{page}/video.mjpeg", "web")
    add("TCP stream", {"kind": "stream", "url": tcp}, "", "mpegts", tcp, "stream")
    no_srt = "" if shutil.which("ffmpeg") else "SRT needs the ffmpeg program: apt install ffmpeg"
    add("SRT stream", {"kind": "stream", "url": srt}, no_srt, "mpegts", srt, "stream 2")
    add("recording", {"kind": "file", "path": str(disk / "clip.mp4")}, "")
    add("virtual camera", {"kind": "virtualcam"}, camera_error(), "camera", "worldjockey", "virtualcam")
    if ndi:
        missing["live picture by NDI"] = ndi
    else:
        show["live"] = {"ndi": f"wj guest {os.getpid()}"}  # must not be a part of another source's name
    if not has_midi():
        missing["MIDI hands"] = "no MIDI on this machine: on Linux, start JACK, or sudo modprobe snd-seq"
    return Rig(show, environment, watched, of, missing)


def mishaps(rig: Rig, disk: Disk, other: Part | None) -> list[Mishap]:
    def gone(name: str) -> Callable[[], None]:
        return lambda: rig.kill(name)

    def back(name: str) -> Callable[[], None]:
        return lambda: rig.watch(name)

    def killed(name: str, what: str, begin: float, end: float) -> Mishap:
        return Mishap(what, begin, end, gone(name), back(name), name, rig.missing.get(name, ""))

    def unfreeze(name: str) -> Callable[[], None]:
        def undo() -> None:
            rig.kill(name)  # as a user would after a while
            rig.watch(name)

        return undo

    def guest_gone() -> None:
        if other is not None:
            other.kill()

    def guest_back() -> None:
        if other is not None:
            other.start()

    return [
        killed("NDI", "NDI receiver killed", 0.2, 0.28),
        killed("WebRTC", "browser killed", 0.32, 0.4),
        Mishap("stream viewer frozen, then killed", 0.44, 0.52, lambda: rig.freeze("TCP stream"),
               unfreeze("TCP stream"), "TCP stream", rig.missing.get("TCP stream", "")),
        Mishap("disk full under the recording", 0.56, 0.66, disk.fill, disk.free, "file", disk.missing),
        Mishap("live source killed", 0.7, 0.78, guest_gone, guest_back, "",
               "" if other else "there is no live source"),
        Mishap("MJPEG player frozen", 0.82, 0.9, lambda: rig.freeze("MJPEG"), lambda: rig.thaw("MJPEG"),
               "MJPEG", rig.missing.get("MJPEG", "")),
    ]  # fmt: skip
