"""The crowd's server with nothing behind it but a test, and phones that talk to it."""

from __future__ import annotations

import http.client
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from websockets.sync.client import ClientConnection, connect
from worldjockey.integrations.crowd.input import CrowdInput, CrowdOptions
from worldjockey.node.measure.show_process import free_port

POLL = {
    "id": 3, "question": "Where next?", "seconds": 60, "counts": None, "winner": None,
    "options": [{"label": "Sea", "image": "/stills/sea1.jpg"}, {"label": {"en": "Desert", "de": "Wüste"}, "image": ""}],
}  # fmt: skip
ASKED: tuple[dict[str, Any], ...] = (
    {"crowd": {"open": True, "title": "Storm & night", "languages": []}},
    {"faders": [{"name": "storm", "low": "calm", "high": "storm"}, {"name": "day", "low": "night", "high": "day"}]},
    {"poll": POLL},
    {"words": {"open": True, "vocabulary": None, "blocked": ["fool"], "per_person_s": 0}},
    {"players": {"open": True, "seats": 2}},
)


class Served:
    """A crowd with nothing behind it but this test."""

    def __init__(self, folder: Path, **options: Any) -> None:
        self.lines: list[Any] = []
        self.input = CrowdInput(CrowdOptions(port=free_port(), stills=folder, **options), self.lines.append)
        for message in ASKED:
            self.input.send(message)
        self.input.start(lambda event: None)
        self.until(lambda: self.input.url and self.newest("faders") and self.newest("votes"), "the pages are served")

    @property
    def port(self) -> int:
        return int(self.input.status()["port"])

    def until(self, found: Callable[[], Any], what: str, seconds: float = 30) -> Any:
        deadline = time.monotonic() + seconds
        while not (value := found()):
            assert time.monotonic() < deadline, f"{what}: {self.input.status()}, {self.lines[-8:]}"
            time.sleep(0.02)
        return value

    def phone(self, token: str = "") -> ClientConnection:
        token = token or os.urandom(16).hex()
        return connect(f"ws://127.0.0.1:{self.port}/ws?person={token}", compression=None, legacy=True)

    def newest(self, kind: str) -> Any:
        return next((line[kind] for line in reversed(self.lines) if kind in line), None)

    def ask(
        self, path: str = "/", method: str = "GET", body: str | None = None, **headers: str
    ) -> tuple[int, Any, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
        answer = connection.getresponse()
        found = answer.status, answer.headers, answer.read()
        connection.close()
        return found


def send(page: ClientConnection, message: Any) -> None:
    page.send(json.dumps(message))


def hear(page: ClientConnection, kind: str, seconds: float = 10) -> Any:
    deadline = time.monotonic() + seconds
    while True:
        message = json.loads(page.recv(deadline - time.monotonic()))
        if kind in message:
            return message[kind]
