"""The process that answers OSCQuery: HTTP and websockets on one port, announced by zeroconf.

    python -m worldjockey.integrations.osc.query_server     until standard input ends

Reads one JSON object a line: first the configuration (rows, values, name, host, port, osc_port), then {"values": ...}
as they change. Writes one JSON object a line: its port, whether it is announced, clients and requests. It is a process
of its own so that requests cannot delay control. OSC that arrives by websocket is passed on to the OSC port, so that
there is one entrance only.

Where OSC is received from this machine only, the announcement also stays on it: its packets have a time to live of 0.
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

from .packets import DATAGRAM_BYTES_MAX, build
from .query_tree import Space, host_info

CLIENTS_MAX = 32  # websockets
VALUES_INTERVAL_S = 1 / 30
REPORT_INTERVAL_S = 0.5
# A web page of another site must not play the show. Browsers send the origin of a page; other programs send none.
ORIGINS = (None, re.compile(r"https?://(localhost|127\.0\.0\.1|\[::1\])(:\d+)?"))


@dataclass(eq=False)
class Client:
    """One websocket: the paths that it listens to, and the values that were not sent yet."""

    listens: dict[str, str] = field(default_factory=dict)  # path: target
    pending: dict[str, Any] = field(default_factory=dict)  # path: value
    news: asyncio.Event = field(default_factory=asyncio.Event)

    def queue_value(self, path: str, value: Any) -> None:
        self.pending[path] = value
        self.news.set()


class Server:
    """The address space, and the clients that listen to it."""

    def __init__(self, config: dict[str, Any]) -> None:
        self.space = Space(config["rows"], config["values"])
        self.name, self.host = config["name"], config["host"]
        self.wanted, self.osc_port = config["port"], config["osc_port"]
        self.port = 0
        self.clients: set[Client] = set()
        self.counts = {"requests": 0, "refused": 0, "passed_on": 0}
        self._out = socket.socket(socket.AF_INET6 if ":" in self.host else socket.AF_INET, socket.SOCK_DGRAM)
        self._out.setblocking(False)
        self._osc_endpoint = (reachable(self.host), self.osc_port)

    def update(self, values: dict[str, Any]) -> None:
        for target, value in values.items():
            if self.space.set(target, value):
                for client in self.clients:
                    for path, listened in client.listens.items():
                        if listened == target:
                            client.queue_value(path, value)

    def answer(self, connection: ServerConnection, request: Request) -> Response | None:
        """The HTTP response, or None to accept a websocket."""
        self.counts["requests"] += 1
        if not known_as(request.headers.get("Host", "")):
            return self._refuse(HTTPStatus.FORBIDDEN)
        if "websocket" in request.headers.get("Upgrade", "").lower():
            return self._refuse(HTTPStatus.SERVICE_UNAVAILABLE) if len(self.clients) >= CLIENTS_MAX else None
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
        """Serve one websocket until it closes."""
        client = Client()
        self.clients.add(client)
        sending = asyncio.create_task(self._send_values(client, connection))
        try:
            async for message in connection:
                if isinstance(message, str):
                    self._command(client, message)
                elif len(message) <= DATAGRAM_BYTES_MAX:
                    with contextlib.suppress(OSError):
                        self._out.sendto(message, self._osc_endpoint)
                        self.counts["passed_on"] += 1
        except ConnectionClosed:
            pass
        finally:
            self.clients.discard(client)
            sending.cancel()

    def _command(self, client: Client, message: str) -> None:
        try:
            fields = json.loads(message)
            command, path = fields["COMMAND"], fields["DATA"]
            target = self.space.target(path)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            self.counts["refused"] += 1
            return
        if command == "LISTEN" and target is not None:
            client.listens[path] = target
            client.queue_value(path, self.space.value(target))
        elif command == "IGNORE":
            client.listens.pop(path, None)
            client.pending.pop(path, None)
        else:
            self.counts["refused"] += 1

    async def _send_values(self, client: Client, connection: ServerConnection) -> None:
        with contextlib.suppress(ConnectionClosed):
            while True:
                await client.news.wait()
                client.news.clear()
                pending, client.pending = client.pending, {}
                for path, value in pending.items():
                    await connection.send(build(path, value))
                await asyncio.sleep(VALUES_INTERVAL_S)


def respond(status: HTTPStatus, found: Any) -> Response:
    body = b"" if found is None else json.dumps(found).encode()
    headers = Headers()
    headers["Content-Type"] = "application/json"
    headers["Content-Length"] = str(len(body))
    headers["Cache-Control"] = "no-store"
    headers["Connection"] = "close"
    return Response(status.value, status.phrase, headers, body)


def known_as(host: str) -> bool:
    """Whether a Host header is an address, a bare name, or a .local name.

    This refuses web pages whose own domain name points to this machine (DNS rebinding).
    """
    name = host.rpartition(":")[0] if re.search(r":\d+$", host) else host
    name = name.strip("[]").rstrip(".").lower()
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return "." not in name or name.endswith(".local")
    return True


def reachable(host: str) -> str:
    """The address at which OSC is received, as reached from this machine."""
    return {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)


def addresses(host: str) -> list[str]:
    """The addresses to announce: the host, or all addresses of this machine where it listens on all."""
    if host not in ("", "0.0.0.0", "::"):
        return [str(info[4][0]) for info in socket.getaddrinfo(host, None, type=socket.SOCK_DGRAM)][:1]
    import ifaddr

    found = [str(ip.ip if ip.is_IPv4 else ip.ip[0]) for adapter in ifaddr.get_adapters() for ip in adapter.ips]
    return [ip for ip in found if not ipaddress.ip_address(ip).is_loopback]


async def announce(server: Server) -> AsyncZeroconf:
    """Announce the server on every interface, or on this machine only where the host is local. Raises OSError."""
    listed = addresses(server.host)
    at_home = all(ipaddress.ip_address(address).is_loopback for address in listed)
    zeroconf = AsyncZeroconf(interfaces=InterfaceChoice.All, ip_version=IPVersion.V4Only)
    try:
        await zeroconf.zeroconf.async_wait_for_start()
        if at_home:
            for sender in zeroconf.zeroconf.engine.senders:
                sender.transport.get_extra_info("socket").setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 0)
        label = server.name.replace(".", "-").encode()[:60].decode("utf-8", "ignore")  # at a dot, macOS ends it
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


def write_report(**report: Any) -> None:
    with contextlib.suppress(OSError):
        sys.stdout.write(json.dumps(report) + "\n")
        sys.stdout.flush()


def _read(handle: Callable[[dict[str, Any] | None], None]) -> None:
    for line in sys.stdin.buffer:
        handle(json.loads(line))
    handle(None)


async def run() -> None:
    loop = asyncio.get_running_loop()
    server = Server(json.loads(sys.stdin.buffer.readline()))
    ended = asyncio.Event()

    def handle(news: dict[str, Any] | None) -> None:
        if news is None:
            ended.set()
        else:
            server.update(news["values"])

    threading.Thread(
        target=_read, args=(lambda news: loop.call_soon_threadsafe(handle, news),), name="values", daemon=True
    ).start()
    async with contextlib.AsyncExitStack() as stack:
        options: dict[str, Any] = {
            "process_request": server.answer, "origins": ORIGINS, "compression": None, "max_size": DATAGRAM_BYTES_MAX,
            "open_timeout": 5, "close_timeout": 1, "server_header": None, "logger": logging.getLogger("quiet"),
        }  # fmt: skip
        logging.getLogger("quiet").disabled = True
        try:
            serving = await serve(server.attend, server.host or None, server.wanted, **options)
        except OSError:  # any free port will do, since it is announced
            serving = await serve(server.attend, server.host or None, 0, **options)
        await stack.enter_async_context(serving)
        server.port = next(iter(serving.sockets)).getsockname()[1]
        write_report(port=server.port, announced=False, error="")
        problem = ""
        try:
            zeroconf = await announce(server)
            stack.push_async_callback(zeroconf.async_close)
        except Exception as error:  # it can still be reached by its address
            why = getattr(error, "strerror", None) or str(error) or type(error).__name__  # without "[Errno -2]"
            problem = f"not announced, so that programs have to be given its address: {why}"
        report: dict[str, Any] = {}
        while not ended.is_set():
            now = {"port": server.port, "announced": not problem, "error": problem, "clients": len(server.clients)}
            now |= server.counts
            if now != report:
                report = now
                write_report(**report)
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(ended.wait(), REPORT_INTERVAL_S)


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the show handles Ctrl-C, and ends this process
    asyncio.run(run())


if __name__ == "__main__":
    main()
