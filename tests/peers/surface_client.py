"""A page of the surface without a browser: what tests send by its websocket, and wait for."""

import json
import time
from collections.abc import Callable
from typing import Any

from websockets.sync.client import ClientConnection


def send(page: ClientConnection, **message: Any) -> None:
    page.send(json.dumps(message))


def until(
    page: ClientConnection, kind: str, wanted: Callable[[Any], object] = lambda found: True, seconds: float = 60
) -> Any:
    """The next message of a kind that fulfils `wanted`."""
    deadline = time.monotonic() + seconds
    while True:
        message = json.loads(page.recv(timeout=max(deadline - time.monotonic(), 0)))
        if kind in message and wanted(message[kind]):
            return message[kind]
