"""NDI out: the picture, and what is heard, on the local network, as mixers, media servers and OBS take it.

Follows the NDI SDK 6 (Sender, "Asynchronous Sending"): the picture handed to send_send_video_async_v2 belongs to the
sender until the next call, so one earlier frame must stay untouched. Colours are BT.709, limited range as YCbCr, and
each frame says so ("Metadata Elements", ndi_color_info). Alpha is straight, not multiplied into the colours.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from xml.sax.saxutils import quoteattr

import numpy as np

from .. import AudioChunk, Frame, Layout, Output, Pixels, Unsuitable, VideoFormat

AVAHI_SOCKET = Path("/run/avahi-daemon/socket")
DBUS_SOCKET = Path("/run/dbus/system_bus_socket")
DEPTHS = {"rgba": 4, "bgrx": 4, "uyvy": 2, "uyva": 2}  # bytes a pixel
COLOUR = '<ndi_color_info primaries="bt_709" transfer="bt_709" matrix="bt_709"/>'
PRODUCT = '<ndi_product long_name="worldjockey" short_name="worldjockey" manufacturer="worldjockey"/>'


def _runtime() -> Any:
    """The NDI library, ready to use. Unsuitable if this machine cannot run it."""
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
    """The NDI Discovery Server set in this machine's NDI configuration; with one, mDNS is not needed."""
    folder = Path(os.environ.get("NDI_CONFIG_DIR") or Path.home() / ".ndi")
    try:
        config = json.loads((folder / "ndi-config.v1.json").read_text("utf-8"))
        return str(config["ndi"]["networks"]["discovery"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def check_discovery() -> None:
    """OSError, with the command that helps, when nobody could find a source on this machine."""
    if not sys.platform.startswith("linux") or _discovery_server():
        return
    if not _answers(DBUS_SOCKET):
        raise OSError(
            "NDI sources are found through avahi, and its message bus is not running: "
            "sudo apt install dbus avahi-daemon && sudo service dbus start && sudo service avahi-daemon start"
        )
    if not _answers(AVAHI_SOCKET):
        raise OSError(
            "NDI sources are found through avahi, and it is not running: "
            "sudo apt install avahi-daemon && sudo service avahi-daemon start"
        )


def list_sources(timeout: float = 1.0, groups: str | None = None) -> list[str]:
    """Names of the NDI sources on the network, sorted: those that answer within `timeout` seconds.

    groups: look in these, by comma, instead of the public one.

    Raises RuntimeError or OSError as `NDIOutput.open` does.
    """
    ndi = _runtime()
    check_discovery()
    finder = ndi.find_create_v2(ndi.FindCreate(p_groups=groups))
    if finder is None:
        raise RuntimeError("NDI could not start to look for sources")
    try:
        deadline = time.monotonic() + timeout
        while (left := deadline - time.monotonic()) > 0:
            ndi.find_wait_for_sources(finder, max(int(left * 1000), 1))
        return sorted(source.ndi_name for source in ndi.find_get_current_sources(finder))
    finally:
        ndi.find_destroy(finder)


@dataclass(frozen=True)
class News:
    """What receivers are told of the show."""

    prompt: str = ""
    cue: str = ""
    latency_ms: int = 0

    @classmethod
    def of(cls, news: Mapping[str, Any]) -> News:
        return cls(str(news.get("prompt", "")), str(news.get("cue", "")), round(float(news.get("latency_ms", 0.0))))

    def xml(self) -> str:
        """One element; characters that XML 1.0 has no place for are left out."""
        prompt, cue = (quoteattr("".join(c for c in v if c >= " " or c in "\t\n")) for v in (self.prompt, self.cue))
        return f'<worldjockey prompt={prompt} cue={cue} latency_ms="{self.latency_ms}"/>'


def full_name(name: str, ours: str) -> str:
    """A source's name with its machine's, which is the one of `ours` ("MACHINE (source)") unless it says another."""
    return name if name.endswith(")") and " (" in name else f"{ours.split(' (')[0]} ({name})"


Key = Callable[[Pixels, Pixels], None]  # uyvy (h, w, 2) -> alpha (h, w), written in place


def luma_key(threshold: float = 0.1) -> Key:
    """Transparent below `threshold` of white, opaque a tenth above it."""
    luma = (np.arange(256) - 16) / 219
    table = (np.clip((luma - threshold) / 0.1, 0, 1) * 255 + 0.5).astype(np.uint8)

    def key(uyvy: Pixels, alpha: Pixels) -> None:
        np.take(table, uyvy[..., 1], out=alpha)

    return key


def green_key(threshold: float = 0.3) -> Key:
    """Transparent where a colour lies on green's side of grey and further along than `threshold`, 1 being pure green.

    Vlahos' idea in the plane of Cb and Cr: what counts is how far the colour goes towards green, less how far it goes
    aside. Both pixels of a pair have one colour, so one alpha.
    """
    green = np.array([42.0, 26.0]) - 128  # Cb and Cr of pure green, BT.709
    towards = green / (green @ green)
    aside = np.array([-towards[1], towards[0]])
    cb, cr = np.meshgrid(np.arange(256) - 128.0, np.arange(256) - 128.0, indexing="ij")
    amount = cb * towards[0] + cr * towards[1] - np.abs(cb * aside[0] + cr * aside[1])
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
    """One NDI source. Receivers are served from threads of the library; `send` never waits for them.

    name: as receivers list it after the machine's name; None takes the show's.
    layout: "uyvy" is what NDI itself works in: exact, and half the bytes. "rgba" adds alpha, "bgrx" is what Windows
    programs hold; the library rounds the colours of these two down by up to 5 levels on the way.
    groups: who may see it, by comma; None is everybody. failover: the source that receivers turn to when this one is
    gone, with its machine's name in front where it is another.
    key: alpha beside uyvy: "luma" makes what is dark transparent, "green" what is green, "figure" all but the figure,
    as the world tells it. threshold: how bright, or how green, 0..1, that is. sound: send what is heard beside the
    picture.
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
            raise ValueError(f"a key makes the alpha beside layout: uyvy, not {layout}")
        if key == "figure" and threshold is not None:
            raise ValueError("threshold is for key: luma and key: green; the world itself knows where the figure is")
        if threshold is not None and not 0 <= threshold <= 1:
            raise ValueError(f"a threshold lies between 0 and 1, not at {threshold}")
        self.layout: Layout = "uyva" if key == "figure" else layout
        self.wants_audio = sound
        self._name, self._groups, self._failover = name, groups, failover
        self._key = None if key is None or key == "figure" else KEYS[key](*(() if threshold is None else (threshold,)))
        self._keyed: list[Pixels] = []  # our own: one in flight, one to fill
        # NDI reads a picture where it lies in the ring. Beside alpha it has to lie in a place of our own.
        self.copies = ("beside its alpha",) if self._key else ()
        self._sender: Any = None
        self._in_flight: Any = None
        self._frames = 0
        self._sound_s = 0.0
        self._said, self._said_at = News(), 0.0

    def open(self, fmt: VideoFormat) -> None:
        self._ndi = _runtime()
        check_discovery()
        self._fmt = fmt
        name = self._name or fmt.name
        # The node has the clock: a sender that clocks video would block `send` to the frame rate a second time.
        self._sender = self._ndi.send_create(self._ndi.SendCreate(name, self._groups, False, False))
        if self._sender is None:
            raise OSError(f"NDI could not create the source {name!r}: is it already on air from here? Try another name")
        if self._failover:
            ours = self._ndi.send_get_source_name(self._sender).ndi_name
            self._ndi.send_set_failover(self._sender, self._ndi.Source(full_name(self._failover, ours)))
        if self._key:
            self._keyed = [np.empty((fmt.height * 3 // 2, fmt.width, 2), np.uint8) for _ in range(2)]
        self._greet()
        self._utc_ns = time.time_ns() - time.monotonic_ns()

    def send(self, frame: Frame) -> None:
        ndi, fmt = self._ndi, self._fmt
        rows = fmt.height * 3 // 2 if self.layout == "uyva" else fmt.height
        expected = (rows, fmt.width, DEPTHS[self.layout])
        if frame.pixels.shape != expected:
            raise ValueError(f"NDI as {self.layout} takes {expected}, not {frame.pixels.shape}")
        # A new description for each frame: it keeps its array alive for as long as it lives, and no longer.
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
        """Send what was heard, as planar floats whose full scale is 1.0, with the time it was heard as timecode.

        The library copies it and sends it from a thread of its own, however many samples there are.
        """
        audio = self._ndi.AudioFrameV3(sample_rate=chunk.rate, timecode=self._timecode(chunk.time))
        audio.data = np.ascontiguousarray(chunk.samples.T)  # sets channels, samples and stride as well
        self._ndi.send_send_audio_v3(self._sender, audio)
        self._sound_s += len(chunk.samples) / chunk.rate

    def _timecode(self, due: float) -> int:
        """A time of the clock in 100 ns of UTC. A tick is exactly one period after the one before, however late we
        are."""
        return (round(due * 1e9) + self._utc_ns) // 100

    def _with_alpha(self, uyvy: Pixels) -> Pixels:
        assert self._key is not None
        whole = self._keyed[self._frames % 2]
        height, width = uyvy.shape[:2]
        whole[:height] = uyvy
        self._key(uyvy, whole[height:].reshape(height, width))
        return whole

    def set_metadata(self, metadata: Mapping[str, Any]) -> None:
        """Send what is played as metadata, as soon as the words change and else once a second, never faster than
        5 times a second. To be called again and again."""
        said, now = News.of(metadata), time.monotonic()
        new_words = (said.prompt, said.cue) != (self._said.prompt, self._said.cue)
        if said == self._said or now - self._said_at < (0.2 if new_words else 1.0):
            return
        self._said, self._said_at = said, now
        self._ndi.send_send_metadata(self._sender, self._ndi.MetadataFrame(p_data=said.xml()))
        if new_words:
            self._greet()

    def _greet(self) -> None:
        """What every receiver is told as it connects."""
        ndi = self._ndi
        ndi.send_clear_connection_metadata(self._sender)
        for xml in (PRODUCT, self._said.xml()):
            ndi.send_add_connection_metadata(self._sender, ndi.MetadataFrame(p_data=xml))

    def status(self) -> Mapping[str, Any]:
        """source: the full name; connections: receivers now; tally: what a mixer says of us; frames: sent so far;
        sound_s: seconds of sound sent so far, where sound is sent at all."""
        sound = {"sound_s": round(self._sound_s, 3)} if self.wants_audio else {}
        if self._sender is None:
            return {"connections": 0, "tally": {"program": False, "preview": False}, "frames": self._frames, **sound}
        tally = self._ndi.Tally()
        self._ndi.send_get_tally(self._sender, tally, 0)
        return {
            "source": self._ndi.send_get_source_name(self._sender).ndi_name,
            "connections": self._ndi.send_get_no_connections(self._sender, 0),
            "tally": {"program": tally.on_program, "preview": tally.on_preview},
            "frames": self._frames,
            **sound,
        }

    def close(self) -> None:
        if self._sender is not None:
            self._ndi.send_send_video_async_v2(self._sender, None)  # waits until the last picture is let go
            self._ndi.send_destroy(self._sender)
            self._sender = self._in_flight = None
