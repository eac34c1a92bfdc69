"""The world lights the room: parts of the picture as colours of lights and LED strips, by Art-Net or sACN.

A thread sends at an even rate, whatever the show's frame rate is, and each time what the picture was `delay` earlier:
screens are later than lights.
"""

from __future__ import annotations

import ipaddress
import logging
import socket
import threading
import time
import uuid
from collections import deque
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np

from .. import Frame, Output, Rhythm, VideoFormat
from . import artnet
from .fixtures import CHANNELS, Colours, Fixture, bytes_of, laid_out, pulsed, sampled, seen

SACN_PORT = 5568
RATE_MIN, RATE_MAX = 10.0, 44.0  # DMX512 allows 44 whole frames a second
DELAY_MAX_MS = 2000.0
LAST_FRAMES = 3  # that are sent at the end: datagrams can be lost
SHOWN_MAX = 32  # lights whose colours are listed in the status
logger = logging.getLogger(__name__)


class DmxOutput(Output):
    """Lights that show the picture. fixtures: the lights.

    protocol: artnet or sacn. to: the address of a node; "multicast" for sACN, "broadcast" for Art-Net. rate: frames a
    second. gamma: 1 is what the picture has; lights look washed out below 2. smooth: seconds in which a light has gone
    63% of the way to a new colour. level: brightness at most, 0 to 1. delay: milliseconds by which the lights wait for
    the screens. priority: of sACN, 0 to 200. after: what the lights do when the show ends: black or hold.
    """

    layout = "native"
    background = False
    short = "to"
    example = "dmx:192.168.1.60"

    def __init__(
        self,
        fixtures: list[Fixture] | None = None,
        to: str = "multicast",
        protocol: Literal["sacn", "artnet"] = "sacn",
        rate: float = 40.0,
        gamma: float = 2.2,
        smooth: float = 0.08,
        level: float = 1.0,
        delay: float = 0.0,
        priority: int = 100,
        after: Literal["black", "hold"] = "black",
    ) -> None:
        self.fixtures = [f if isinstance(f, Fixture) else Fixture(**f) for f in fixtures or [Fixture()]]
        for value, low, high, name in (
            (rate, RATE_MIN, RATE_MAX, "rate"), (gamma, 0.5, 4.0, "gamma"), (smooth, 0.0, 10.0, "smooth"),
            (level, 0.0, 1.0, "level"), (delay, 0.0, DELAY_MAX_MS, "delay"), (priority, 0, 200, "priority"),
        ):  # fmt: skip
            if not low <= value <= high:
                raise ValueError(f"{name} is {low:g} to {high:g}")
        if protocol == "artnet" and to == "multicast":
            to = "broadcast"
        if to not in ("multicast", "broadcast"):
            try:
                ipaddress.IPv4Address(to)
            except ValueError:
                right = "its IPv4 address, as in 192.168.1.60, or multicast (sACN) or broadcast (Art-Net)"
                raise ValueError(f"{to[:60]!r} is not the address of a node: use {right}") from None
        lowest = 1 if protocol == "sacn" else 0
        if any(fixture.universe < lowest for fixture in self.fixtures):
            raise ValueError("sACN counts universes from 1: there is no universe 0")
        self._to, self._protocol, self._rate, self._after, self._priority = to, protocol, rate, after, priority
        self._gamma, self._smooth, self._level, self._delay_s = gamma, smooth, level, delay / 1e3
        self._pictures: deque[tuple[float, list[Colours]]] = deque(maxlen=256)  # when shown, and each fixture's colours
        self._now: list[Colours] = [np.zeros((f.pixels, 3), np.float32) for f in self.fixtures]
        self._wanted: list[Colours] = []
        self._rhythm, self._rhythms = Rhythm(), deque[tuple[float, Rhythm]](maxlen=256)  # now, and when each was heard
        self._black = False
        self._sending = False  # still true when `send` has failed: this output is started again, and must not go dark
        self._failed: Exception | None = None  # of the thread
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._sequence, self._sent = -1, 0
        self._error = ""
        self._cid = tuple(uuid.uuid4().bytes)

    @property
    def universes(self) -> set[int]:
        """To which it sends."""
        frames = [bytes_of(colours, f.channels) for f, colours in zip(self.fixtures, self._now, strict=True)]
        return set(laid_out(self.fixtures, frames))

    def open(self, fmt: VideoFormat) -> None:
        self._name = fmt.name
        self._line = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._line.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        self._line.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 4)
        self._stop.clear()
        self._thread = threading.Thread(target=self._run, name="dmx", daemon=True)
        self._thread.start()

    def send(self, frame: Frame) -> None:
        if self._failed is not None:
            raise self._failed
        self._sending = True
        black = not frame.pixels.any()
        if black:  # a blackout waits neither for the delay nor for `smooth`
            self._pictures.clear()
        self._black = black
        picture = sampled(frame.pixels)
        self._pictures.append((frame.time, [seen(fixture, picture) for fixture in self.fixtures]))
        self._sending = False

    def set_rhythm(self, rhythm: Rhythm) -> None:
        self._rhythms.append((time.monotonic(), rhythm))

    def status(self) -> Mapping[str, Any]:
        """lights: the first ones with their universe, channel and colour as 0 to 255."""
        lights = [
            {"name": f.name or (f.at if isinstance(f.at, str) else "part"), "universe": f.universe,
             "channel": f.channel, "pixels": f.pixels,
             "rgb": [round(float(v) * 255) for v in colours.mean(0) ** (1 / self._gamma)]}
            for f, colours in list(zip(self.fixtures, self._now, strict=True))[:SHOWN_MAX]
        ]  # fmt: skip
        return {
            "address": f"{self._protocol} {self._to}", "frames": self._sent, "lights": lights,
            **({"message": self._error} if self._error else {}),
        }  # fmt: skip

    def close(self) -> None:
        if self._thread is None:
            return
        self._stop.set()
        self._thread.join(2)
        if self._after == "black" and not self._sending and self._failed is None:
            self._now = [np.zeros_like(colours) for colours in self._now]
        for _ in range(LAST_FRAMES):
            self._send_all(end=False)
        if self._protocol == "sacn" and not self._sending and self._failed is None:
            for _ in range(LAST_FRAMES):  # E1.31, 6.2.6: three packets with Stream_Terminated
                self._send_all(end=True)
        self._line.close()

    def _run(self) -> None:
        try:
            self._send_evenly()
        except Exception as error:  # raised by the next `send`
            self._failed = error

    def _send_evenly(self) -> None:
        due, before = time.monotonic(), time.monotonic()
        while not self._stop.is_set():
            now = time.monotonic()
            self._advance(now, now - before)
            before = now
            self._send_all(end=False)
            due = max(due + 1 / self._rate, now)
            self._stop.wait(max(due - time.monotonic(), 0))

    def _advance(self, now: float, seconds: float) -> None:
        """Towards what the picture was `delay` ago; to black at once."""
        while self._rhythms and self._rhythms[0][0] <= now - self._delay_s:
            self._rhythm = self._rhythms.popleft()[1]
        if self._black:
            self._wanted = [np.zeros_like(colours) for colours in self._now]
            self._now = self._wanted
            return
        pictures, wanted = self._pictures, None
        try:
            while pictures[0][0] <= now - self._delay_s:
                wanted = pictures.popleft()[1]
        except IndexError:  # all are shown, or `send` has cleared them
            pass
        if wanted is not None:
            self._wanted = wanted
        share = 1.0 if self._smooth <= 0 else 1 - float(np.exp(-seconds / self._smooth))
        for i, target in enumerate(self._wanted):
            self._now[i] = self._now[i] + (target**self._gamma * self._level - self._now[i]) * share

    def _send_all(self, end: bool) -> None:
        # Art-Net: 0 is taken in any order, so that a node goes on where this output was started again.
        self._sequence = 0 if self._sequence < 0 else self._sequence % 255 + 1
        heard = time.monotonic() - self._delay_s
        frames = [
            bytes_of(colours * np.float32(pulsed(f, self._rhythm, heard)), f.channels, f.balance)
            for f, colours in zip(self.fixtures, self._now, strict=True)
        ]
        try:
            for universe, data in laid_out(self.fixtures, frames).items():
                self._line.sendto(*self._packet(universe, data.tobytes(), end))
            self._error = ""
        except OSError as error:  # a network that is gone comes back
            text = f"{self._to} cannot be reached: {error.strerror or error}; check the cable and the address"
            if text != self._error:
                logger.warning("%s", text, exc_info=error)
            self._error = text
        self._sent += 1

    def _packet(self, universe: int, data: bytes, end: bool) -> tuple[bytes, tuple[str, int]]:
        if self._protocol == "artnet":
            to = "255.255.255.255" if self._to == "broadcast" else self._to
            return artnet.packed(artnet.ArtDmx(universe, self._sequence, data)), (to, artnet.PORT)
        from sacn.messages.data_packet import DataPacket, calculate_multicast_addr

        packet = DataPacket(self._cid, self._name[:60], universe, tuple(data[:CHANNELS]), self._priority,
                            self._sequence, end)  # fmt: skip
        to = calculate_multicast_addr(universe) if self._to in ("multicast", "broadcast") else self._to
        return bytes(packet.getBytes()), (to, SACN_PORT)
