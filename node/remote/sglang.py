"""The process that stands in for a world that a server of SGLang runs: it sends controls there, and receives frames.

The protocol is that of SGLang-diffusion's live socket, `/v1/realtime_video/generate`, as published in
github.com/sgl-project/sglang: docs_new/cookbook/diffusion/LingBot-World/LingBot-World-2.0.mdx, section 4 (commit
1a4f07d), and python/sglang/multimodal_gen/runtime/entrypoints/openai: protocol.py, realtime/realtime_video_api.py and
realtime/realtime_output_adapter.py (commits 0133260, 008b79d). All messages are maps in MessagePack, in binary frames
of the WebSocket. Of it is used:

- to the server, first: {"type": "init", "prompt", "size": "832x480", "fps", "seed", "realtime_output_format": "jpeg",
  "output_compression", "realtime_output_pacing"}, and "model", "first_frame" (an image), "num_frames" (of a chunk) and
  "num_inference_steps" where they are set;
- then {"type": "event", "kind", "payload", "event_id"}. A "prompt" has a text; "camera_actions" have {"mode": "state",
  "transitions": [{"actions", "client_ts_ms"}]}, whose actions are the keys that are held: w, a, s, d move, i, j, k, l
  look up, left, down and right;
- from the server: "frame_batch" with "payload", or "frame_batch_header" and the payload as the next message. Both have
  "content_type": image/jpeg with "payload_lengths", or application/x-raw-rgb with "width" and "height"; and "event_id"
  of the newest event that its frames obey. {"type": "error", "content"} says what was refused. Others are statistics.

There is no message for a new image or a reset: for these a new session begins. A session whose link was lost goes on
from its last frame, where it had begun from an image.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidURI
from websockets.sync.client import ClientConnection, connect

from ..ipc.cell import Cell
from ..ipc.frame_ring import FrameInfo, FrameRing, Pixels
from ..ipc.mailbox import Mailbox, Triggers
from ..ipc.process import init_child, parent_died, publish_status
from ..ipc.status import error_text, plain_text
from ..ipc.supervisor import RESTART_DELAYS_S
from ..parameters import PADS
from ..show.media import Media, text_alone
from ..show.world_address import SglangAddress, parse_sglang
from ..world.frame_publisher import FramePublisher, HostFrame
from ..world.playout import Playout
from ..world.process import WorldOptions
from .protocol import Malformed, Packer, Unpacker

logger = logging.getLogger(__name__)
SERVED = "nano"  # of a show that names no world: the server has one only
OPEN_TIMEOUT_S = 5.0
PING_INTERVAL_S, PING_TIMEOUT_S = 5.0, 15.0
STALL_TIMEOUT_S = 60.0  # without a frame, once there were some
KEEP_ALIVE_S = 10.0  # servers may end a session that gets no events
POLL_S = 0.02
STATUS_INTERVAL_S = 0.25
SESSION_ENDS_S = 0.3  # after which a server that had a session takes the next one
MESSAGE_BYTES = 256 << 20  # of a batch of raw frames
JPEG_QUALITY = 95
WAITING_S = 1.0  # of frames that arrive faster than they are shown; older ones are dropped
HELD = 0.2  # from which on a camera fader holds its key
KEYS = {"forward": ("w", "s"), "strafe": ("d", "a"), "pitch": ("i", "k"), "yaw": ("l", "j")}  # above, below 0
ANEW = {"seed", "panic", "cam/home"}  # triggers that begin the world anew
REFUSED_INIT = "invalid generate request"  # what the server answers to an init that it does not take
REFUSED_EVENT = "invalid event"
NEEDS_IMAGE = "the model refuses this start: most need an image on the prompt, as in a pad with `image: photo.jpg`"


@dataclass(frozen=True)
class SglangOptions:
    """address: as in sglang://host:30000?size=832x480. world: options of the world, of which the server gets the name
    of the model, and the images of the media."""

    address: str
    world: WorldOptions


class LinkLost(Exception):
    """The session is over, and will be tried again."""


class NewSession(Exception):
    """The controls want a session that begins anew."""


@dataclass(frozen=True)
class Prompt:
    """What the server is to show. image: path of an image or a clip, "" for none."""

    text: str
    image: str
    arrived_at: float


def loudest(mailbox: Mailbox, values: Mapping[str, Any]) -> tuple[str, float]:
    """The text, and its arrival time, of the slot that weighs most: a pad, the prompt, or prompt/b. A server takes one
    prompt, so nothing is mixed."""
    if values.get("morph", 0.0) > 0.5 and (other := mailbox.text("prompt/b")).text:
        return other.text, other.arrived_at
    pads = [(values.get(f"pad/{n}", 0.0), mailbox.text(f"pad/{n}/text")) for n in range(1, PADS + 1)]
    weight, pad = max(
        ((weight, text) for weight, text in pads if text.text), default=(0.0, None), key=lambda row: row[0]
    )
    prompt = mailbox.text("prompt")
    if pad is not None and weight > 0 and (weight >= 0.5 or not prompt.text):
        return pad.text, pad.arrived_at
    return prompt.text, prompt.arrived_at


def held_keys(values: Mapping[str, Any]) -> list[str]:
    """The keys that stand for the camera's faders. The server knows no zoom, and no half speed."""
    found = []
    for axis, (above, below) in KEYS.items():
        value = values.get(f"cam/{axis}", 0.0)
        if abs(value) >= HELD:
            found.append(above if value > 0 else below)
    return sorted(found)


def frames_of(header: Mapping[str, Any], payload: bytes, unpacker: Unpacker) -> list[Pixels]:
    """The frames of a batch, (h, w, 3). Raises Malformed."""
    kind = header.get("content_type")
    if kind == "image/jpeg":
        lengths, found, at = header.get("payload_lengths"), [], 0
        if not isinstance(lengths, list) or not all(type(n) is int and n > 0 for n in lengths):
            raise Malformed("no lengths of frames")
        if sum(lengths) != len(payload):
            raise Malformed("lengths of other frames")
        for length in lengths:
            found.append(unpacker.unpack(payload[at : at + length]))
            at += length
        return found
    if kind == "application/x-raw-rgb":
        width, height = header.get("width"), header.get("height")
        if type(width) is not int or type(height) is not int or width < 1 or height < 1:
            raise Malformed("no size of frames")
        if not payload or len(payload) % (width * height * 3):
            raise Malformed("frames of another size")
        return list(np.frombuffer(payload, np.uint8).reshape(-1, height, width, 3))
    raise Malformed(f"frames of the kind {plain_text(kind, 40)}")


class Player:
    """One show at a server: a session after another."""

    def __init__(self, options: SglangOptions, mailbox: Mailbox, ring: FrameRing, status: Cell) -> None:
        self.options, self.mailbox, self._status, self._ring = options, mailbox, status, ring
        self.address: SglangAddress = parse_sglang(options.address)
        self._shown = options.address.partition("?")[0]
        self.triggers = Triggers(mailbox.consumed)
        self.playout = Playout(
            FramePublisher(ring), 1, lambda: self.address.fps, options.world.top_fps,
            lambda: mailbox.value("freeze") != 0,
        )  # fmt: skip
        self.playout.start()
        self._unpacker = Unpacker()
        self._published_at = 0.0
        self._last: Pixels | None = None  # the newest frame
        self._image = ""  # that the session began from
        self.up = self.ever = False
        self.why = self._refusal = ""
        self.lost = self.malformed = self.frames = self.dropped = 0
        self._arrived: deque[tuple[float, int, int]] = deque(maxlen=256)  # time, frames, bytes
        self._rtt_s = 0.0
        self._begin()

    def _begin(self) -> None:
        """The state of a new session."""
        self._event, self._sent = 0, list[tuple[int, float]]()
        self._obeyed_at, self._obeyed_event = 0.0, -1
        self._prompt = Prompt("", "", 0.0)
        self._keys: list[str] = []
        self._camera: bool | None = None  # whether the model takes camera events; None until one was answered
        self._camera_event = 0
        self._header: dict[str, Any] | None = None  # whose payload is the next message
        self._frame_at: float | None = None
        self._kept_at = time.monotonic()
        self._answered = False

    # -- what the controls want --------------------------------------------------------------------------------------

    def _wanted(self, values: Mapping[str, Any]) -> Prompt:
        text, arrived_at = loudest(self.mailbox, values)
        media = self.options.world.media.get(text)
        if media is None:
            return Prompt(text, "", arrived_at)
        return Prompt(text_alone(text), media.image or media.video or "", arrived_at)

    def _first_frame(self, prompt: Prompt, resume: bool) -> bytes | None:
        """The image file from which a session begins: that of the prompt, or else of the session before."""
        if resume and self._last is not None and self._image and prompt.image in ("", self._image):
            return Packer().pack(self._last)
        self._image = prompt.image or self._image
        if not self._image:
            return None
        if Path(self._image).suffix.lower() in (".jpg", ".jpeg", ".png", ".webp"):
            return Path(self._image).read_bytes()
        return Packer().pack(Media(image=self._image).prompt()["image"])

    def init(self, prompt: Prompt, seed: int, resume: bool) -> dict[str, Any]:
        """The first message of a session. resume: it goes on where the one before was lost."""
        address, model = self.address, self.options.world.model
        message: dict[str, Any] = {
            "type": "init", "prompt": prompt.text, "size": address.size, "fps": round(address.fps), "seed": seed,
            "realtime_output_format": "jpeg", "output_compression": JPEG_QUALITY, "realtime_output_pacing": True,
        }  # fmt: skip
        optional = {
            "model": None if model == SERVED else model, "first_frame": self._first_frame(prompt, resume),
            "num_frames": address.chunk, "num_inference_steps": address.steps,
        }  # fmt: skip
        return message | {name: value for name, value in optional.items() if value is not None}

    # -- a session ---------------------------------------------------------------------------------------------------

    def play(self, socket: ClientConnection, stop: Any, resume: bool) -> None:
        """Run one session until `stop`. Raises LinkLost, NewSession, or what the socket raises."""
        self._begin()
        reading = self.mailbox.read()
        resume = resume and not self.triggers.fired(reading.counts).keys() & ANEW
        while not (prompt := self._wanted(reading.values)).text and not prompt.image:  # until the first prompt
            if stop.wait(POLL_S) or parent_died():
                return
            reading = self.mailbox.read()
            self.publish()
        socket.send(msgpack.packb(self.init(prompt, reading.values["seed"], resume)))
        self._prompt, self._sent, self.up = prompt, [(0, prompt.arrived_at)], True
        self._frame_at, self._refusal = None, ""
        while not stop.is_set():
            with contextlib.suppress(TimeoutError):
                self._receive(socket.recv(timeout=POLL_S))
            self._obey(socket)
            if self._frame_at is not None and time.monotonic() - self._frame_at > STALL_TIMEOUT_S:
                raise LinkLost(f"the server sent no frame for {STALL_TIMEOUT_S:g} s")
            self._rtt_s = getattr(socket, "latency", 0.0)
            self.publish()
            if parent_died():
                return

    def _obey(self, socket: ClientConnection) -> None:
        """Send what changed since the last call."""
        reading = self.mailbox.read()
        fired = self.triggers.fired(reading.counts)
        if fired.keys() & ANEW:
            raise NewSession
        wanted, keys = self._wanted(reading.values), held_keys(reading.values)
        if self._refusal and wanted != self._prompt:
            raise NewSession  # a start that the server refused
        if wanted.image and wanted.image != self._image:
            raise NewSession
        changed = wanted.text != self._prompt.text and bool(wanted.text)
        if changed:
            self._send(socket, "prompt", wanted.text, wanted.arrived_at)
            self._prompt = wanted
        now = time.monotonic()
        if self._camera is False or not self._answered:
            return
        # Frames name the newest event of one kind only, so the camera's follows that of the prompt.
        if keys != self._keys or (changed and self._camera) or now - self._kept_at > KEEP_ALIVE_S:
            arrived_at = reading.newest_control_at if keys != self._keys else self._sent[-1][1]
            self._keys, self._kept_at = keys, now
            state = {"mode": "state", "transitions": [{"actions": keys, "client_ts_ms": round(now * 1e3)}]}
            self._send(socket, "camera_actions", state, arrived_at)
            self._camera_event = self._event

    def _send(self, socket: ClientConnection, kind: str, payload: Any, arrived_at: float) -> None:
        self._event += 1
        self._sent.append((self._event, arrived_at))
        socket.send(msgpack.packb({"type": "event", "kind": kind, "payload": payload, "event_id": self._event}))

    def _receive(self, data: str | bytes) -> None:
        try:
            if self._header is not None and isinstance(data, bytes):
                header, self._header = self._header, None
                self._take(header, data)
                return
            message = msgpack.unpackb(data) if isinstance(data, bytes) else None
            if not isinstance(message, dict):
                raise Malformed("not a map")
            kind = message.get("type")
            if kind == "frame_batch_header":
                self._header = message
            elif kind == "frame_batch":
                payload = message.get("payload")
                if not isinstance(payload, bytes):
                    raise Malformed("no frames")
                self._take(message, payload)
            elif kind == "error":
                self._refused(plain_text(message.get("content", "an error")))
        except (Malformed, ValueError) as error:
            self.malformed += 1
            self.why = f"the server sent what cannot be used ({plain_text(error, 80)})"

    def _refused(self, text: str) -> None:
        if text == REFUSED_INIT and not self._answered:
            self._refusal = self.why = NEEDS_IMAGE if not self._image else f"the server refuses this start: {text}"
        elif text == REFUSED_EVENT and self._camera is None and self._camera_event:
            self._camera = False
            self.why = "this model has no camera"
        elif text == REFUSED_EVENT:
            self.why = f"the server refuses what was sent: {text}"
        else:
            raise LinkLost(f"the server: {text}")

    def _take(self, header: Mapping[str, Any], payload: bytes) -> None:
        now = time.monotonic()
        frames = frames_of(header, payload, self._unpacker)
        if not frames:
            return
        if frames[0].nbytes > self._ring.size:
            raise Malformed("frames that are too large: choose a smaller size behind the address")
        event = header.get("event_id")
        if type(event) is int and event > self._obeyed_event:
            self._obeyed_event = event
            if event == self._camera_event and self._camera is None:
                self._camera = True
        self._obeyed_at = max([self._obeyed_at, *(at for n, at in self._sent if n <= max(self._obeyed_event, 0))])
        self._sent = [(n, at) for n, at in self._sent if n > self._obeyed_event] or self._sent[-1:]
        took = len(frames) / self.address.fps if self._frame_at is None else now - self._frame_at
        if not self._answered:
            self.why = ""
        self._frame_at, self._answered, self.ever, self._last = now, True, True, frames[-1]
        self._arrived.append((now, len(frames), len(payload)))
        self.frames += len(frames)
        self.dropped += self.playout.keep(max(round(self.address.fps * WAITING_S), len(frames)))
        self.playout.put([HostFrame(frame) for frame in frames], FrameInfo(now, self._obeyed_at), took)

    # -- what it says of itself --------------------------------------------------------------------------------------

    def publish(self, force: bool = False) -> None:
        now = time.monotonic()
        if now - self._published_at <= STATUS_INTERVAL_S and not force:
            return
        self._published_at = now
        publish_status(self._status, self.status())

    def status(self) -> dict[str, Any]:
        playing = self.up and self._answered
        state = "running" if playing else "loading" if self.up else "link lost" if self.ever else "connecting"
        recent = [row for row in self._arrived if row[0] > time.monotonic() - 4]
        since = recent[-1][0] - recent[0][0] if len(recent) > 1 else 0.0
        fps = round(sum(n for _, n, _ in recent[1:]) / since, 2) if since and playing else 0.0
        link = {
            "address": self._shown, "up": self.up, "lost": self.lost, "skipped": self.dropped,
            "malformed": self.malformed, "rtt_ms": round(self._rtt_s * 1e3, 2) if self._rtt_s else None,
            "mbit": round(sum(n for *_, n in recent[1:]) * 8e-6 / since, 2) if since else 0.0,
            "world_fps": fps, "world_restarts": 0,
        }  # fmt: skip
        height, width = self._last.shape[:2] if self._last is not None else (0, 0)
        return {
            "state": state, "message": f"{self._shown}: {self.why}" if self.why else "", "fps": fps,
            "model": "" if self.options.world.model == SERVED else self.options.world.model,
            "wanted_fps": self.address.fps, "frames": self.frames, "width": width, "height": height, "link": link,
        }  # fmt: skip

    def end(self) -> None:
        self.playout.end()


def _reason(error: BaseException) -> str:
    if isinstance(error, ConnectionClosed):
        close = error.rcvd or error.sent
        text = plain_text(close.reason, 120) if close is not None and close.reason else "the connection was closed"
        return f"the server ended the session: {text}"
    if isinstance(error, InvalidHandshake | InvalidURI):
        return f"this is not a live socket of SGLang ({plain_text(error, 80)}): check host and port"
    if isinstance(error, LinkLost):
        return str(error)
    if isinstance(error, TimeoutError):
        return "no server answers: start one with `sglang serve --model-path MODEL`"
    return f"no server answers ({error_text(error)}): start one with `sglang serve --model-path MODEL`"


def run(options: SglangOptions, mailbox: Mailbox, ring: FrameRing, status: Cell, stop: Any) -> None:
    """Main function of the process. Ends when `stop` is set or the parent died; whatever the server does, the ring
    keeps its last frame and the session is tried again."""
    init_child()
    player, failures, resume = Player(options, mailbox, ring, status), 0, False
    player.publish(force=True)
    try:
        while not stop.is_set() and not parent_died():
            delay = SESSION_ENDS_S
            try:
                with connect(
                    player.address.url, max_size=MESSAGE_BYTES, open_timeout=OPEN_TIMEOUT_S, compression=None,
                    ping_interval=PING_INTERVAL_S, ping_timeout=PING_TIMEOUT_S, close_timeout=1.0, proxy=None,
                ) as socket:  # fmt: skip
                    player.play(socket, stop, resume)
                resume = False
            except NewSession:
                failures, resume, player.up = 0, False, False
            except (LinkLost, ConnectionClosed, InvalidHandshake, InvalidURI, OSError, ValueError) as error:
                reason = _reason(error)
                if reason != player.why:
                    logger.warning("%s: %s", options.address.partition("?")[0], reason)
                player.why = reason
                failures = 0 if player.up and player._answered else failures + 1
                player.lost += player.up and player._answered
                resume, player.up = player.ever, False
                delay = max(RESTART_DELAYS_S[min(failures, len(RESTART_DELAYS_S) - 2)], SESSION_ENDS_S)
            player.publish(force=True)
            stop.wait(delay)
    finally:
        player.end()
