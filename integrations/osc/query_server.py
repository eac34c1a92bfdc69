"""The process that answers OSCQuery: HTTP and websockets on one port, announced by zeroconf.

    python -m worldjockey.integrations.osc.query_server     until standard input ends

Reads one JSON object a line: first what to serve (rows, values, name, host, port, osc_port), then {"values": ...} as
they change. Writes one JSON object a line: its port, whether it is announced, clients and requests. In a process of its
own so that nobody who asks can hold up control. OSC that comes by websocket is passed on to the OSC port, so that there
is one door only.

Where OSC is heard on this machine only, the announcement stays on it too: its packets have a time to live of 0.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import json
import logging
import re
import signal
import socket
import sys
import threading
import urllib.parse
from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from websockets.asyncio.server import ServerConnection, serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from zeroconf import InterfaceChoice, IPVersion, ServiceInfo
from zeroconf.asyncio import AsyncZeroconf

from .packets import LARGEST, build
from .query_tree import Space, host_info

CLIENTS = 32  # websockets at once
GAP = 1 / 30  # seconds between two rounds of values to one client
TELL = 0.5  # seconds between two reports
# A page of another site must not play the show: browsers say where a page is from, other programs say nothing.
ORIGINS = (None, re.compile(r"https?://(localhost|127\.0\.0\.1|\[::1\])(:\d+)?"))


@dataclass(eq=False)
class Client:
    """One websocket: what it listens to, by path, and what it has not been told yet."""

    listens: dict[str, str] = field(default_factory=dict)  # path: target
    pending: dict[str, Any] = field(default_factory=dict)  # path: value
    news: asyncio.Event = field(default_factory=asyncio.Event)

    def tell(self, path: str, value: Any) -> None:
        self.pending[path] = value
        self.news.set()


class Server:
    """What is served, and to whom."""

    def __init__(self, config: dict[str, Any]) -> None:
        self.space = Space(config["rows"], config["values"])
        self.name, self.host = config["name"], config["host"]
        self.wanted, self.osc_port = config["port"], config["osc_port"]
        self.port = 0
        self.clients: set[Client] = set()
        self.counts = {"requests": 0, "refused": 0, "passed_on": 0}
        self._out = socket.socket(socket.AF_INET6 if ":" in self.host else socket.AF_INET, socket.SOCK_DGRAM)
        self._out.setblocking(False)
        self._door = (reachable(self.host), self.osc_port)

    def update(self, values: dict[str, Any]) -> None:
        for target, value in values.items():
            if self.space.set(target, value):
                for client in self.clients:
                    for path, heard in client.listens.items():
                        if heard == target:
                            client.tell(path, value)

    def answer(self, connection: ServerConnection, request: Request) -> Response | None:
        """HTTP's answer, or None to let a websocket in."""
        self.counts["requests"] += 1
        if not known_as(request.headers.get("Host", "")):
            return self._refuse(HTTPStatus.FORBIDDEN)
        if "websocket" in request.headers.get("Upgrade", "").lower():
            return self._refuse(HTTPStatus.SERVICE_UNAVAILABLE) if len(self.clients) >= CLIENTS else None
        path, _, query = request.path.partition("?")
        query = query.partition("#")[0].partition("&")[0].partition("=")[0]
        if query == "HOST_INFO":
            everywhere = self.host in ("", "0.0.0.0", "::")
            return respond(
                HTTPStatus.OK, host_info(self.name, "" if everywhere else self.host, self.osc_port, self.port)
            )
        status, found = self.space.query(urllib.parse.unquote(path or "/"), query)
        return respond(status, found) if status == HTTPStatus.OK else self._refuse(status)

    def _refuse(self, status: HTTPStatus) -> Response:
        self.counts["refused"] += 1
        return respond(status, None)

    async def attend(self, connection: ServerConnection) -> None:
        """One websocket, until it closes."""
        client = Client()
        self.clients.add(client)
        teller = asyncio.create_task(self._tell(client, connection))
        try:
            async for message in connection:
                if isinstance(message, str):
                    self._command(client, message)
                elif len(message) <= LARGEST:
                    with contextlib.suppress(OSError):
                        self._out.sendto(message, self._door)
                        self.counts["passed_on"] += 1
        except ConnectionClosed:
            pass
        finally:
            self.clients.discard(client)
            teller.cancel()

    def _command(self, client: Client, message: str) -> None:
        try:
            said = json.loads(message)
            command, path = said["COMMAND"], said["DATA"]
            target = self.space.target(path)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            self.counts["refused"] += 1
            return
        if command == "LISTEN" and target is not None:
            client.listens[path] = target
            client.tell(path, self.space.value(target))
        elif command == "IGNORE":
            client.listens.pop(path, None)
            client.pending.pop(path, None)
        else:
            self.counts["refused"] += 1

    async def _tell(self, client: Client, connection: ServerConnection) -> None:
        with contextlib.suppress(ConnectionClosed):
            while True:
                await client.news.wait()
                client.news.clear()
                pending, client.pending = client.pending, {}
                for path, value in pending.items():
                    await connection.send(build(path, value))
                await asyncio.sleep(GAP)


def respond(status: HTTPStatus, found: Any) -> Response:
    body = b"" if found is None else json.dumps(found).encode()
    headers = Headers()
    headers["Content-Type"] = "application/json"
    headers["Content-Length"] = str(len(body))
    headers["Cache-Control"] = "no-store"
    headers["Connection"] = "close"
    return Response(status.value, status.phrase, headers, body)


def known_as(host: str) -> bool:
    """Whether a Host header names a machine of the rig: an address, a bare name, or a .local one.

    A page elsewhere that had its own name point here (DNS rebinding) is told nothing.
    """
    name = host.rpartition(":")[0] if re.search(r":\d+$", host) else host
    name = name.strip("[]").rstrip(".").lower()
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return "." not in name or name.endswith(".local")
    return True


def reachable(host: str) -> str:
    """Where on this machine OSC is heard."""
    return {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)


def addresses(host: str) -> list[str]:
    """What is announced: the host itself, or every address of the machine where it listens on all."""
    if host not in ("", "0.0.0.0", "::"):
        return [str(info[4][0]) for info in socket.getaddrinfo(host, None, type=socket.SOCK_DGRAM)][:1]
    import ifaddr

    found = [str(ip.ip if ip.is_IPv4 else ip.ip[0]) for adapter in ifaddr.get_adapters() for ip in adapter.ips]
    return [ip for ip in found if not ipaddress.ip_address(ip).is_loopback]


async def announce(server: Server) -> AsyncZeroconf:
    """On every interface, for others to find; at home only where the host is this machine's own. Raises OSError."""
    listed = addresses(server.host)
    at_home = all(ipaddress.ip_address(address).is_loopback for address in listed)
    zeroconf = AsyncZeroconf(interfaces=InterfaceChoice.All, ip_version=IPVersion.V4Only)
    try:
        await zeroconf.zeroconf.async_wait_for_start()
        if at_home:
            for sender in zeroconf.zeroconf.engine.senders:
                sender.transport.get_extra_info("socket").setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 0)
        label = server.name.encode()[:60].decode("utf-8", "ignore")
        home = f"{socket.gethostname().partition('.')[0] or 'localhost'}-wj.local."
        services = [
            ServiceInfo(kind, f"{label}.{kind}", port=port, parsed_addresses=listed, server=home)
            for kind, port in (("_oscjson._tcp.local.", server.port), ("_osc._udp.local.", server.osc_port))
        ]
        await asyncio.gather(*(zeroconf.async_register_service(info, allow_name_change=True) for info in services))
    except BaseException:
        await zeroconf.async_close()
        raise
    return zeroconf


def tell(**said: Any) -> None:
    with contextlib.suppress(OSError):
        sys.stdout.write(json.dumps(said) + "\n")
        sys.stdout.flush()


def _read(take: Callable[[dict[str, Any] | None], None]) -> None:
    for line in sys.stdin.buffer:
        take(json.loads(line))
    take(None)


async def run() -> None:
    loop = asyncio.get_running_loop()
    server = Server(json.loads(sys.stdin.buffer.readline()))
    ended = asyncio.Event()

    def take(news: dict[str, Any] | None) -> None:
        if news is None:
            ended.set()
        else:
            server.update(news["values"])

    threading.Thread(
        target=_read, args=(lambda news: loop.call_soon_threadsafe(take, news),), name="values", daemon=True
    ).start()
    async with contextlib.AsyncExitStack() as stack:
        options: dict[str, Any] = {
            "process_request": server.answer, "origins": ORIGINS, "compression": None, "max_size": LARGEST,
            "open_timeout": 5, "close_timeout": 1, "server_header": None, "logger": logging.getLogger("quiet"),
        }  # fmt: skip
        logging.getLogger("quiet").disabled = True
        try:
            serving = await serve(server.attend, server.host or None, server.wanted, **options)
        except OSError:  # a port of its own will do: it is announced
            serving = await serve(server.attend, server.host or None, 0, **options)
        await stack.enter_async_context(serving)
        server.port = next(iter(serving.sockets)).getsockname()[1]
        tell(port=server.port, announced=False, error="")
        problem = ""
        try:
            zeroconf = await announce(server)
            stack.push_async_callback(zeroconf.async_close)
        except Exception as error:  # asked by address, it answers all the same
            problem = f"not announced: {error or type(error).__name__}"
        said: dict[str, Any] = {}
        while not ended.is_set():
            now = {"port": server.port, "announced": not problem, "error": problem, "clients": len(server.clients)}
            now |= server.counts
            if now != said:
                said = now
                tell(**said)
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(ended.wait(), TELL)


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the show, which ends this one
    asyncio.run(run())


if __name__ == "__main__":
    main()
