"""NDI out: the show's frames and audio on the local network, for mixers, media servers and OBS.

Follows the NDI SDK 6 (Sender, "Asynchronous Sending"): a frame passed to send_send_video_async_v2 belongs to the sender
until the next call, so one earlier frame must stay untouched. Colours are BT.709, YCbCr in limited range, and each
frame is tagged so ("Metadata Elements", ndi_color_info). Alpha is straight, not premultiplied.
"""

from __future__ import annotations

import json
import os
import re
import socket
import sys
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from xml.sax.saxutils import quoteattr

import numpy as np

from .. import AudioChunk, Frame, Layout, Output, Pixels, Unsuitable, VideoFormat

AVAHI_SOCKET = Path("/run/avahi-daemon/socket")
DBUS_SOCKET = Path("/run/dbus/system_bus_socket")
DEPTHS = {"rgba": 4, "bgrx": 4, "uyvy": 2, "uyva": 2}  # bytes a pixel
TEXT_INTERVAL_S = 0.2  # at least, between two changes of prompt or cue
LATENCY_INTERVAL_S = 1.0  # at least, between two changes of the latency alone
COLOUR = '<ndi_color_info primaries="bt_709" transfer="bt_709" matrix="bt_709"/>'
PRODUCT = '<ndi_product long_name="worldjockey" short_name="worldjockey" manufacturer="worldjockey"/>'


def runtime() -> Any:
    """The NDI library, initialized. Unsuitable, with the fix, if this machine cannot run it."""
    try:
        import NDIlib
    except ImportError as error:
        linux = " && sudo apt install libavahi-client3" if sys.platform.startswith("linux") else ""
        fix = f"pip install ndi-python{linux} (Python 3.11 or newer)"
        raise Unsuitable(f"the NDI runtime is missing ({error}): {fix}") from None
    if not NDIlib.initialize():
        raise Unsuitable("NDI does not run on this processor: it needs SSE4.2 (x86) or NEON (ARM)")
    return NDIlib


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as daemon:
        return daemon.connect_ex(str(path)) == 0


def _discovery_server() -> str:
    """The NDI Discovery Server in this machine's NDI configuration, which replaces mDNS; empty where there is none."""
    folder = Path(os.environ.get("NDI_CONFIG_DIR") or Path.home() / ".ndi")
    try:
        config = json.loads((folder / "ndi-config.v1.json").read_text("utf-8"))
        return str(config["ndi"]["networks"]["discovery"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def start_command(service: str) -> str:
    """What starts "dbus" or "avahi-daemon" on this machine: systemd, an init script, or, as in a container, neither."""
    if SYSTEMD.is_dir():
        return f"sudo systemctl start {service}"
    if (INIT_SCRIPTS / service).exists():
        return f"sudo service {service} start"
    return DIRECT_STARTS[service]


def check_discovery() -> None:
    """OSError, with the command that fixes it, if receivers could not find a source of this machine."""
    if not sys.platform.startswith("linux") or _discovery_server():
        return
    if not _answers(DBUS_SOCKET):
        raise OSError(
            "NDI needs avahi to announce and find sources, and avahi's message bus is not running: "
            f"sudo apt install dbus avahi-daemon && {start_command('dbus')} && {start_command('avahi-daemon')}"
        )
    if not _answers(AVAHI_SOCKET):
        raise OSError(
            "NDI needs avahi to announce and find sources, and it is not running: "
            f"sudo apt install avahi-daemon && {start_command('avahi-daemon')}"
        )


def list_sources(timeout: float = 1.0, groups: str | None = None) -> list[str]:
    """The names of the NDI sources that answer within `timeout` seconds, sorted.

    groups: the groups to look in, separated by commas; None is the public one. RuntimeError or OSError as
    `NDIOutput.open`.
    """
    ndi = runtime()
    check_discovery()
    finder = ndi.find_create_v2(ndi.FindCreate(p_groups=groups))
    if finder is None:
        raise RuntimeError("NDI cannot look for sources: check that this machine has a network")
    try:
        deadline = time.monotonic() + timeout
        while (left := deadline - time.monotonic()) > 0:
            ndi.find_wait_for_sources(finder, max(int(left * 1000), 1))
        return sorted(source.ndi_name for source in ndi.find_get_current_sources(finder))
    finally:
        ndi.find_destroy(finder)


@dataclass(frozen=True)
class Metadata:
    """The facts of the show that receivers get as metadata."""

    prompt: str = ""
    cue: str = ""
    latency_ms: int = 0

    @classmethod
    def of(cls, metadata: Mapping[str, Any]) -> Metadata:
        latency_ms = round(float(metadata.get("latency_ms", 0.0)))
        return cls(str(metadata.get("prompt", "")), str(metadata.get("cue", "")), latency_ms)

    def xml(self) -> str:
        """One XML element, without characters that XML 1.0 forbids."""
        prompt, cue = (quoteattr(NOT_XML.sub("", text)) for text in (self.prompt, self.cue))
        return f'<worldjockey prompt={prompt} cue={cue} latency_ms="{self.latency_ms}"/>'


# Controls, halves of UTF-16 pairs (of an emoji that a browser cut in two), and what is no character (XML 1.0, 2.2).
NOT_XML = re.compile(r"[^\t\n\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
SYSTEMD, INIT_SCRIPTS = Path("/run/systemd/system"), Path("/etc/init.d")
DIRECT_STARTS = {
    "dbus": "sudo mkdir -p /run/dbus && sudo dbus-daemon --system --fork", "avahi-daemon": "sudo avahi-daemon -D",
}  # fmt: skip
NOT_IN_NAMES = str.maketrans('\\/:*?"<>|', " " * 9)
FAILOVER_SEARCH_S = 1.0  # for the machines on the network


def as_announced(name: str) -> str:
    """A source's name as NDI announces it: characters that file names cannot have become spaces."""
    return name.translate(NOT_IN_NAMES)


def full_name(name: str, own: str, machines: Collection[str] = ()) -> str:
    """A source's name with a machine's, "MACHINE (source)".

    own: a full name on this machine, the default machine. machines: those on the network: "x (y)" is a full name if one
    of them is called x, and else the name of a source here.
    """
    machine, _, source = name.partition(" (")
    known = {own.partition(" (")[0].lower(), *(m.lower() for m in machines)}
    if source.endswith(")") and machine.lower() in known:
        return f"{machine} ({as_announced(source[:-1])})"
    return f"{own.partition(' (')[0]} ({as_announced(name)})"


Key = Callable[[Pixels, Pixels], None]  # uyvy (h, w, 2) -> alpha (h, w), written in place


def luma_key(threshold: float = 0.1) -> Key:
    """Transparent where luma is below `threshold` (0..1), opaque from `threshold` + 0.1 on."""
    luma = (np.arange(256) - 16) / 219
    table = (np.clip((luma - threshold) / 0.1, 0, 1) * 255 + 0.5).astype(np.uint8)

    def key(uyvy: Pixels, alpha: Pixels) -> None:
        np.take(table, uyvy[..., 1], out=alpha)

    return key


def green_key(threshold: float = 0.3) -> Key:
    """Transparent where a colour is greener than `threshold` (0..1, 1 is pure green).

    Vlahos' method in the plane of Cb and Cr: the distance towards green less the distance to the side of it. Both
    pixels of a 4:2:2 pair share one colour, so they share one alpha.
    """
    green = np.array([42.0, 26.0]) - 128  # Cb and Cr of pure green, BT.709
    towards = green / (green @ green)
    sideways = np.array([-towards[1], towards[0]])
    cb, cr = np.meshgrid(np.arange(256) - 128.0, np.arange(256) - 128.0, indexing="ij")
    amount = cb * towards[0] + cr * towards[1] - np.abs(cb * sideways[0] + cr * sideways[1])
    table = (np.clip(1 - (amount - threshold) / 0.1, 0, 1) * 255 + 0.5).astype(np.uint8).ravel()

    def key(uyvy: Pixels, alpha: Pixels) -> None:
        place = uyvy[:, ::2, 0].astype(np.uint16)
        place <<= 8
        place |= uyvy[:, 1::2, 0]
        found = table[place]
        alpha[:, ::2] = found
        alpha[:, 1::2] = found

    return key


KEYS: dict[str, Callable[..., Key]] = {"luma": luma_key, "green": green_key}


class NDIOutput(Output):
    """One NDI source. Threads of the library serve the receivers; `send` never waits for them.

    name: as receivers list it after the machine's name; None takes the show's.
    layout: "uyvy" is NDI's own format: exact, and half the bytes. "rgba" adds alpha, and Windows programs use "bgrx";
    the library rounds the colours of these two down by up to 5 levels.
    groups: the NDI groups that can see the source, separated by commas; None is everybody. failover: the source to
    which receivers switch when this one is gone, with its machine's name in front if it is on another.
    key: adds alpha to uyvy: "luma" makes dark pixels transparent, "green" green ones, and "figure" all but the figure,
    by the world's matte. threshold: of luma or green, 0..1. sound: send the show's audio too.
    """

    holds = 1
    example = "ndi:stage"

    def __init__(self, name: str | None = None, layout: Literal["rgba", "bgrx", "uyvy"] = "uyvy",
                 groups: str | None = None, failover: str | None = None,
                 key: Literal["luma", "green", "figure"] | None = None,
                 threshold: float | None = None, sound: bool = False) -> None:  # fmt: skip
        if layout not in ("rgba", "bgrx", "uyvy"):
            raise ValueError(f"NDI takes rgba, bgrx or uyvy, not {layout!r}")
        if key is not None and layout != "uyvy":
            raise ValueError(f"key needs layout: uyvy, not {layout}")
        if key == "figure" and threshold is not None:
            raise ValueError("threshold is for key: luma and key: green; for key: figure, remove it")
        if threshold is not None and not 0 <= threshold <= 1:
            raise ValueError(f"threshold is from 0 to 1, not {threshold}")
        self.layout: Layout = "uyva" if key == "figure" else layout
        self.wants_audio = sound
        self._name, self._groups, self._failover = name, groups, failover
        self._key = None if key is None or key == "figure" else KEYS[key](*(() if threshold is None else (threshold,)))
        self._keyed: list[Pixels] = []  # two buffers: one in flight, one to fill
        # NDI reads a frame directly from the ring. A frame with a key is copied to a buffer that has its alpha below.
        self.copies = ("next to its alpha",) if self._key else ()
        self._failover_source = ""  # in full
        self._sender: Any = None
        self._in_flight: Any = None
        self._frames = 0
        self._audio_s = 0.0
        self._metadata, self._metadata_sent_at = Metadata(), 0.0

    def open(self, fmt: VideoFormat) -> None:
        self._ndi = runtime()
        check_discovery()
        self._fmt = fmt
        name = self._name or fmt.name
        # The node keeps the time: with clock_video, `send` would block for the frame rate a second time.
        self._sender = self._ndi.send_create(self._ndi.SendCreate(name, self._groups, False, False))
        if self._sender is None:
            raise OSError(f"NDI cannot create the source {name!r}: if it is already on air from here, use another name")
        if self._failover:
            own = self._ndi.send_get_source_name(self._sender).ndi_name
            machines = {source.partition(" (")[0] for source in list_sources(FAILOVER_SEARCH_S, self._groups)}
            self._failover_source = full_name(self._failover, own, machines)
            self._ndi.send_set_failover(self._sender, self._ndi.Source(self._failover_source))
        if self._key:
            self._keyed = [np.empty((fmt.height * 3 // 2, fmt.width, 2), np.uint8) for _ in range(2)]
        self._set_connection_metadata()
        self._utc_ns = time.time_ns() - time.monotonic_ns()

    def send(self, frame: Frame) -> None:
        ndi, fmt = self._ndi, self._fmt
        rows = fmt.height * 3 // 2 if self.layout == "uyva" else fmt.height
        expected = (rows, fmt.width, DEPTHS[self.layout])
        if frame.pixels.shape != expected:
            raise ValueError(f"NDI as {self.layout} takes {expected}, not {frame.pixels.shape}")
        # A new VideoFrameV2 for each frame: it keeps its array alive until it is dropped itself.
        video = ndi.VideoFrameV2(
            frame_rate_N=fmt.fps_num, frame_rate_D=fmt.fps_den, timecode=self._timecode(frame.time), p_metadata=COLOUR
        )
        fourcc = ndi.FourCCVideoType
        if self._key or self.layout == "uyva":
            video.data = self._with_alpha(frame.pixels) if self._key else np.ascontiguousarray(frame.pixels)
            video.yres = fmt.height  # the rows below are the alpha
            video.FourCC = fourcc.FOURCC_VIDEO_TYPE_UYVA
        else:
            video.data = np.ascontiguousarray(frame.pixels)  # sets size and stride as well
            video.FourCC = getattr(fourcc, f"FOURCC_VIDEO_TYPE_{self.layout.upper()}")
        ndi.send_send_video_async_v2(self._sender, video)
        self._in_flight = video
        self._frames += 1

    def send_audio(self, chunk: AudioChunk) -> None:
        """Send a chunk as planar floats of full scale 1.0, with its arrival time as timecode.

        The library copies it, and sends it from a thread of its own.
        """
        audio = self._ndi.AudioFrameV3(sample_rate=chunk.rate, timecode=self._timecode(chunk.time))
        audio.data = np.ascontiguousarray(chunk.samples.T)  # sets channels, samples and stride as well
        self._ndi.send_send_audio_v3(self._sender, audio)
        self._audio_s += len(chunk.samples) / chunk.rate

    def _timecode(self, due: float) -> int:
        """A time.monotonic() as UTC in units of 100 ns. Ticks stay exactly one period apart, even when one is late."""
        return (round(due * 1e9) + self._utc_ns) // 100

    def _with_alpha(self, uyvy: Pixels) -> Pixels:
        assert self._key is not None
        keyed = self._keyed[self._frames % 2]
        height, width = uyvy.shape[:2]
        keyed[:height] = uyvy
        self._key(uyvy, keyed[height:].reshape(height, width))
        return keyed

    def set_metadata(self, metadata: Mapping[str, Any]) -> None:
        """Send the show's metadata: a new prompt or cue at most 5 times a second, and a new latency at most once a
        second."""
        new, now = Metadata.of(metadata), time.monotonic()
        text_changed = (new.prompt, new.cue) != (self._metadata.prompt, self._metadata.cue)
        interval = TEXT_INTERVAL_S if text_changed else LATENCY_INTERVAL_S
        if new == self._metadata or now - self._metadata_sent_at < interval:
            return
        self._metadata, self._metadata_sent_at = new, now
        self._ndi.send_send_metadata(self._sender, self._ndi.MetadataFrame(p_data=new.xml()))
        if text_changed:
            self._set_connection_metadata()

    def _set_connection_metadata(self) -> None:
        """Set the metadata that every receiver gets when it connects."""
        ndi = self._ndi
        ndi.send_clear_connection_metadata(self._sender)
        for xml in (PRODUCT, self._metadata.xml()):
            ndi.send_add_connection_metadata(self._sender, ndi.MetadataFrame(p_data=xml))

    def status(self) -> Mapping[str, Any]:
        """source: the full name; failover: the full name of the source to which receivers turn; connections: number of
        receivers; tally: as mixers report it; frames: sent so far; sound_s: seconds of audio sent so far, where the
        output carries audio."""
        audio = {"sound_s": round(self._audio_s, 3)} if self.wants_audio else {}
        if self._sender is None:
            return {"connections": 0, "tally": {"program": False, "preview": False}, "frames": self._frames, **audio}
        tally = self._ndi.Tally()
        self._ndi.send_get_tally(self._sender, tally, 0)
        return {
            "source": self._ndi.send_get_source_name(self._sender).ndi_name,
            **({"failover": self._failover_source} if self._failover_source else {}),
            "connections": self._ndi.send_get_no_connections(self._sender, 0),
            "tally": {"program": tally.on_program, "preview": tally.on_preview},
            "frames": self._frames,
            **audio,
        }

    def close(self) -> None:
        if self._sender is not None:
            self._ndi.send_send_video_async_v2(self._sender, None)  # waits until the last frame is released
            self._ndi.send_destroy(self._sender)
            self._sender = self._in_flight = None
