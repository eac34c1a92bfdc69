"""A server that speaks SGLang-diffusion's live socket as its publisher describes it (node/remote/sglang.py names the
sources): one session at a time, chunks of frames in the prompt's colour, with a bar that the camera moves.
"""

from __future__ import annotations

import contextlib
import io
import threading
import time
import zlib
from dataclasses import dataclass, field
from typing import Any

import msgpack
import numpy as np
from PIL import Image
from websockets.exceptions import ConnectionClosed
from websockets.sync.server import Server, ServerConnection, serve

WIDTH, HEIGHT, FRAMES = 96, 64, 4  # of a chunk


def colour_of(prompt: str) -> tuple[int, ...]:
    if prompt.startswith("#"):
        return tuple(bytes.fromhex(prompt[1:7]))
    return tuple(zlib.crc32(prompt.encode()).to_bytes(4, "little")[:3])


@dataclass
class SglangServer:
    """needs_image: as LingBot does. camera: whether the model takes camera events. encoding: jpeg, or raw, which is
    sent whatever was asked for. fps: of its chunks. large: payloads go as a message of their own."""

    needs_image: bool = False
    camera: bool = True
    encoding: str = "jpeg"
    fps: float = 40.0
    large: bool = False
    port: int = 0
    inits: list[dict[str, Any]] = field(default_factory=list)
    events: list[dict[str, Any]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    chunk: int = 0

    def __enter__(self) -> SglangServer:
        self._active = threading.Lock()
        self._connections: set[ServerConnection] = set()
        self._server: Server = serve(self._handle, "127.0.0.1", self.port, max_size=1 << 26, compression=None)
        self.port = self._server.socket.getsockname()[1]
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    @property
    def address(self) -> str:
        return f"sglang://127.0.0.1:{self.port}"

    def __exit__(self, *_: object) -> None:
        self.drop()
        self._server.shutdown()

    def drop(self) -> None:
        """Cut every session off."""
        for connection in list(self._connections):
            with contextlib.suppress(OSError):
                connection.socket.shutdown(2)

    def _tell(self, socket: ServerConnection, **message: Any) -> None:
        socket.send(msgpack.packb(message))

    def _handle(self, socket: ServerConnection) -> None:
        assert socket.request is not None
        self.paths.append(socket.request.path)
        self._connections.add(socket)
        if not self._active.acquire(timeout=1.0):
            self._tell(socket, type="error", content="another realtime session is already active")
            socket.close(1008)
            return
        try:
            init = self._init(socket)
            self._session(socket, init)
        except (ConnectionClosed, OSError):
            pass
        finally:
            self._active.release()
            self._connections.discard(socket)

    def _init(self, socket: ServerConnection) -> dict[str, Any]:
        while True:
            data = msgpack.unpackb(socket.recv())
            good = isinstance(data, dict) and data.get("type") == "init" and isinstance(data.get("prompt"), str)
            if good and "first_frame" in data:
                Image.open(io.BytesIO(data["first_frame"])).load()
            if good and ("first_frame" in data or not self.needs_image):
                self.inits.append(data)
                return dict(data)
            self._tell(socket, type="error", content="invalid generate request")

    def _session(self, socket: ServerConnection, init: dict[str, Any]) -> None:
        colour = np.array(colour_of(init["prompt"]), np.uint8)
        if "first_frame" in init:
            image = Image.open(io.BytesIO(init["first_frame"])).convert("RGB")
            colour = np.asarray(image.resize((WIDTH, HEIGHT)))[: HEIGHT // 2].mean((0, 1)).astype(np.uint8)
        keys: list[str] = []
        event_id, bar = None, WIDTH // 2
        for self.chunk in range(1 << 30):
            due = time.monotonic() + FRAMES / self.fps
            while (left := due - time.monotonic()) > 0:
                with contextlib.suppress(TimeoutError):
                    event = msgpack.unpackb(socket.recv(timeout=left))
                    assert event["type"] == "event"
                    self.events.append(event)
                    if event["kind"] == "prompt" and isinstance(event["payload"], str) and event["payload"]:
                        colour = np.array(colour_of(event["payload"]), np.uint8)
                    elif event["kind"] == "camera_actions" and self.camera:
                        assert event["payload"]["mode"] == "state"
                        keys = event["payload"]["transitions"][-1]["actions"]
                        assert set(keys) <= set("wasdijkl")
                    else:
                        self._tell(socket, type="error", content="invalid event")
                        continue
                    event_id = event.get("event_id")
            frames = []
            for _ in range(FRAMES):
                bar = (bar + ("d" in keys) - ("a" in keys)) % WIDTH
                frame = np.empty((HEIGHT, WIDTH, 3), np.uint8)
                frame[:] = colour
                frame[HEIGHT - 16 :, bar : bar + 8] = 255
                frames.append(frame)
            self._send(socket, frames, event_id)

    def _send(self, socket: ServerConnection, frames: list[np.ndarray], event_id: int | None) -> None:
        if self.encoding == "raw":
            pieces, kind = [frame.tobytes() for frame in frames], "application/x-raw-rgb"
            more: dict[str, Any] = {"format": "rgb24", "channels": 3, "encoding": "raw"}
        else:
            pieces, kind = [], "image/jpeg"
            for frame in frames:
                out = io.BytesIO()
                Image.fromarray(frame).save(out, format="JPEG", quality=95, subsampling=0)
                pieces.append(out.getvalue())
            more = {"format": "jpeg", "encoding": "jpeg", "payload_lengths": [len(piece) for piece in pieces]}
        payload = b"".join(pieces)
        header = {
            "type": "frame_batch_header", "request_id": "r", "chunk_index": self.chunk, "content_type": kind,
            "num_frames": len(frames), "total_size": len(payload), "frame_batch_index": 0, "num_frame_batches": 1,
            "is_final_frame_batch": True, "width": WIDTH, "height": HEIGHT, **more,
        }  # fmt: skip
        if event_id is not None:
            header["event_id"] = event_id
        if self.large:
            self._tell(socket, **header)
            socket.send(payload)
        else:
            self._tell(socket, **{**header, "type": "frame_batch", "payload": payload})
        self._tell(socket, type="chunk_stats", chunk_index=self.chunk, num_frames=len(frames), event_id=event_id)
