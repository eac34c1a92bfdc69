"""A thousand phones in one process, as cheap as can be: they cost less than the server that is measured."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import secrets
import time
from typing import Any

from ..ipc.process import init_child, parent_died

NICE = 10  # phones do not run on the show's machine, so these may not take its time
JOINING = 50  # at once
BATCH_INTERVAL_S = 0.02
KEY = "AAAAAAAAAAAAAAAAAAAAAA=="


def frame(payload: bytes) -> bytes:
    """A short masked text frame of a websocket; the mask is zero."""
    return bytes((0x81, 0x80 | len(payload))) + bytes(4) + payload


MESSAGES = [frame(b'{"fader":["storm",%.2f]}' % (step / 100)) for step in range(101)]


class Phone(asyncio.Protocol):
    """counts: what all phones share. leaves: closes as soon as it is let in."""

    def __init__(self, port: int, counts: dict[str, int], leaves: bool = False) -> None:
        self._port, self._counts, self._leaves = port, counts, leaves
        self.transport: Any = None
        self.open = self.gone = False

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        person = secrets.token_hex(16)
        head = f"GET /ws?person={person} HTTP/1.1\r\nHost: 127.0.0.1:{self._port}\r\nUpgrade: websocket\r\n"
        transport.write(
            f"{head}Connection: Upgrade\r\nSec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )

    def data_received(self, data: bytes) -> None:
        if self.open:
            self._counts["received"] += 1
        elif data.startswith(b"HTTP/1.1 101"):
            self.open = True
            self._counts["connects"] += 1
            if self._leaves:
                self.transport.close()
        else:
            self._counts["refused"] += 1
            self.transport.close()

    def connection_lost(self, error: Exception | None) -> None:
        if self.open and not self._leaves:
            self._counts["lost"] += 1
        self.open, self.gone = False, True


async def _play(port: int, phones: int, rate: float, connects: float, pipe: Any) -> None:
    loop = asyncio.get_running_loop()
    counts = dict.fromkeys(("connects", "received", "refused", "lost", "sent", "failed"), 0)
    room: list[Phone] = []

    async def join(leaves: bool) -> None:
        try:
            _, phone = await loop.create_connection(lambda: Phone(port, counts, leaves), "127.0.0.1", port)
        except OSError:
            counts["failed"] += 1
        else:
            if not leaves:
                room.append(phone)

    async def tell() -> None:
        with contextlib.suppress(OSError):
            pipe.send({**counts, "time": time.monotonic(), "open": sum(phone.open for phone in room)})

    async def fill() -> None:
        """Let phones in, and those that were lost again, as pages do."""
        room[:] = [phone for phone in room if not phone.gone]
        await asyncio.gather(*(join(False) for _ in range(min(JOINING, phones - len(room)))))

    while sum(phone.open for phone in room) < phones and not parent_died():
        await fill()
        await tell()
        await asyncio.sleep(0.1)
    tasks: set[Any] = set()
    begin, told, due, guests = time.monotonic(), 0.0, 0.0, 0
    turn = 0
    while not parent_died():
        now = time.monotonic() - begin
        due = now * rate * phones
        while turn < due:
            phone = room[turn % len(room)] if room else None
            turn += 1
            if phone is None or not phone.open or phone.transport.is_closing():
                continue
            if phone.transport.get_write_buffer_size() == 0:
                phone.transport.write(random.choice(MESSAGES))
                counts["sent"] += 1
        while guests < now * connects:
            guests += 1
            task = loop.create_task(join(True))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
        if now - told >= 0.25:
            told = now
            await fill()
            await tell()
        await asyncio.sleep(BATCH_INTERVAL_S)


def play(port: int, phones: int, rate: float, connects: float, pipe: Any) -> None:
    """Main function of the process: `phones` open pages send `rate` messages a second each, and `connects` more come
    and go each second. Sends its counts four times a second, once all phones are in."""
    init_child()
    with contextlib.suppress(OSError, AttributeError):
        os.nice(NICE)
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource

        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard if soft < phones + 1024 else soft, hard))
    asyncio.run(_play(port, phones, rate, connects, pipe))
