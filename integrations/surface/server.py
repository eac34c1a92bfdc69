"""The process that serves the surface: the page, its websocket, and the pictures of program and preview.

    python -m worldjockey.integrations.surface.server     until standard input ends

Reads one JSON object a line from the control process: first the configuration (`Config`) with "values", "show" and
"status"; then {"values": ...}, {"show": ...}, {"status": ...}, {"monitors": ...}, {"situation": ...} and
{"reply": ...} as they come.
Writes one JSON object a line: {"controls": [[name, [arguments], arrival time, sender], ...]}, {"held": {name: its value
when it is let go, or null}}, {"request": {"id", "do", ...}} and {"facts": ...}. It is a process of its own, so that
neither pages nor hostile clients can delay control.

Routes: `/` and the files of `page`; `/ws`; `/state`, where the world's camera is and what is near, as JSON, and
`/state/stream`, the same as server-sent events; `/program/...` and `/preview/...`, which are the monitors' `offer`,
`video.mjpeg` and `frame.jpg`; `/stills/HASH.jpg`; POST `/files?name=...`.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import logging
import re
import signal
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from ..addresses import is_loopback, link, own_address, qr_code
from ..same_origin import HEADERS, is_ours, own_names, same_origin
from ..token_bucket import TokenBucket
from .access import Access, Role
from .holds import Holds
from .messages import MESSAGE_BYTES_MAX, Fire, Hold, Release, Request, Values, is_plain_word, parse
from .proxy import Monitors
from .uploads import check_content, store

PAGE = Path(__file__).with_name("page")
KINDS = {
    ".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml", ".png": "image/png",
    ".webmanifest": "application/manifest+json", ".woff2": "font/woff2", ".txt": "text/plain",
}  # fmt: skip
CLIENTS_MAX = 32  # websockets
PORTS_TRIED = 20  # after the one that the show names
VALUES_INTERVAL_S = 1 / 60  # between two messages with values, to each page
CONTROLS_INTERVAL_S = 1 / 120  # between two lines with values, to the control process
CONTROLS_MAX = 64  # values in one such line; more wait for the next
PENDING_MAX = 1024  # values of one page that wait
CONNECTIONS_MAX = 64  # from one address
REQUEST_TIMEOUT_S = 10.0  # from the beginning of a connection
REPORT_INTERVAL_S = 0.5
REFUSAL_INTERVAL_S = 1.0  # between two messages to a page about what was not obeyed
SEND_TIMEOUT_S = 10.0  # after which a page that takes nothing is disconnected
HEARTBEAT_S = 4.0  # a page that does not answer within half of it is gone
LET_GO_DELAY_S = 1.0  # after a page is gone, until what it held is let go: it may come back
MESSAGES_PER_S, MESSAGES_AT_ONCE = 2000.0, 2000.0  # of each page; one that sends more is read more slowly
NAMES_PER_MESSAGE = 16.0  # values that cost as much as one message
FIRES_PER_S, FIRES_AT_ONCE = 100.0, 100.0
REQUESTS_PER_S, REQUESTS_AT_ONCE = 20.0, 40.0
OPEN_REQUESTS_MAX = 16  # of each page
VIEWERS_ASK = {"stills/pads": {"draw": False}}  # what viewers may ask for, and the fields that it has then
STATE_READERS_MAX = 16  # streams of the world's situation
STATE_ASKED_S = 5.0  # for which one who asked for the situation counts as a reader
UPLOADS_MAX = 4  # at the same time
STATE_TIMEOUT_S = 10.0  # for the first state of a show that is just starting
STILL = re.compile(r"[0-9a-zA-Z_-]{4,128}\.jpg")
TOKEN_HINT = "this page needs its link: open the one that `wj play` printed, or scan its code"
logger = logging.getLogger(__name__)
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True)
class Config:
    """host: to listen on. port: the first that is tried. name: of the show. version: of worldjockey. rows: the
    parameter table, as in `wj reference --json`. operator, viewer: the tokens of the roles. media: the folder for files
    that pages send. stills: the folder of pictures that the world drew."""

    host: str
    port: int
    name: str
    version: str
    rows: list[dict[str, Any]]
    operator: str
    viewer: str
    media: str
    stills: str


@dataclass(eq=False)
class Client:
    """One page, and what was not sent to it yet."""

    role: Role
    sender: str  # as controls name it
    values: dict[str, Any] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)  # encoded messages of which only the latest matters, by kind
    replies: list[str] = field(default_factory=list)
    news: asyncio.Event = field(default_factory=asyncio.Event)
    refused_at: float | None = None  # time.monotonic() when it was last told that a message was not obeyed
    requests: set[int] = field(default_factory=set)  # the open ones, by the number that the control process knows

    def queue_values(self, values: dict[str, Any]) -> None:
        self.values.update(values)
        self.news.set()

    def queue_latest(self, kind: str, text: str) -> None:
        self.texts[kind] = text
        self.news.set()

    def reply(self, number: int, **answer: Any) -> None:
        self.replies.append(json.dumps({"reply": {"id": number, **answer}}))
        self.news.set()


class Controls:
    """Controls on their way to the control process. Of values only the latest are sent, at most 120 times a second;
    what is fired is sent at once, after the values that came before it. Pages share the way: one with many values waits
    for itself, and not the others for it."""

    def __init__(self, write: Callable[[dict[str, Any]], None]) -> None:
        self._write = write
        self._waiting: dict[Client, dict[str, list[Any]]] = {}  # rows by name
        self._owners: dict[str, Client] = {}  # of the value of each name that waits
        self._timer: asyncio.TimerHandle | None = None
        self._sent_at = 0.0
        self.sent = 0

    def set(self, values: Mapping[str, Any], arrived_at: float, client: Client) -> None:
        """ValueError where too many values of this page wait already."""
        own = self._waiting.setdefault(client, {})
        for name, value in values.items():
            owner = self._owners.get(name)
            if owner is None and len(own) >= PENDING_MAX:
                raise ValueError("too many different parameters at once: send fewer")
            if owner is not None and owner is not client:
                self._waiting[owner].pop(name, None)  # an older value must not be sent after this one
            self._owners[name] = client
            own[name] = [name, [value], arrived_at, client.sender]
        if self._timer is None:
            loop = asyncio.get_running_loop()
            wait = self._sent_at + CONTROLS_INTERVAL_S - loop.time()
            self._timer = loop.call_later(max(wait, 0.0), self._flush)

    def fire(self, control: Fire, arrived_at: float, client: Client) -> None:
        rows = self._take(client, PENDING_MAX)
        self._send([*rows, [control.name, list(control.args), arrived_at, client.sender]])

    def _flush(self) -> None:
        loop = asyncio.get_running_loop()
        self._timer, self._sent_at = None, loop.time()
        share = max(CONTROLS_MAX // max(len(self._waiting), 1), 1)
        rows = [row for client in list(self._waiting) for row in self._take(client, share)]
        self._send(sorted(rows, key=lambda row: row[2]))
        if self._waiting:
            self._timer = loop.call_later(CONTROLS_INTERVAL_S, self._flush)

    def _take(self, client: Client, most: int) -> list[list[Any]]:
        """The values of a page that wait longest."""
        own = self._waiting.get(client, {})
        rows = [own.pop(name) for name in list(own)[:most]]
        for row in rows:
            del self._owners[row[0]]
        if not own:
            self._waiting.pop(client, None)
        return rows

    def _send(self, rows: list[list[Any]]) -> None:
        if rows:
            self.sent += len(rows)
            self._write({"controls": rows})


class Surface:
    """The pages that are open, and what they are shown."""

    def __init__(self, config: Config, write: Callable[[dict[str, Any]], None]) -> None:
        self.config = config
        self.access = Access(config.operator, config.viewer)
        self.values: dict[str, Any] = {}
        self.show: dict[str, Any] = {}
        self.status: dict[str, Any] = {}
        self.monitors = Monitors()
        self.controls = Controls(write)
        self.holds = Holds(lambda change: write({"held": change}))
        self.clients: set[Client] = set()
        self.counts = {"requests": 0, "refused": 0}
        self.port = 0
        self.uploads = 0
        self.ready = asyncio.Event()  # there is a show and a status
        self.on_admitted: Callable[[Any], None] = lambda protocol: None
        self._write = write
        self._open: dict[int, tuple[Client, int]] = {}  # the page and its own number, of each open request
        self._requests = 0
        self.situation: dict[str, Any] = {}
        self._situation_fresh = asyncio.Event()
        self._state_streams, self._state_asked_at = 0, float("-inf")
        self._names = own_names(config.host)
        self._numbers = {row["name"] for row in config.rows if row["kind"] in ("float", "int")}
        self._files = page_files(PAGE)
        self.app = web.Application(middlewares=[self._guard], client_max_size=MESSAGE_BYTES_MAX)
        self.app.add_routes([
            web.get("/", self._page),
            web.get("/ws", self._websocket),
            web.get("/state", self._state),
            web.get("/state/stream", self._state_stream, allow_head=False),
            web.post("/files", self._upload),
            web.get("/stills/{name}", self._still),
            web.get("/{bus:program|preview}/video.mjpeg", self.monitors.stream, allow_head=False),
            web.get("/{bus:program|preview}/frame.jpg", self.monitors.frame, allow_head=False),
            web.post("/{bus:program|preview}/offer", self.monitors.offer),
            web.delete("/{bus:program|preview}/offer/{viewer}", self.monitors.hang_up),
            web.get("/{path:.+}", self._page),
        ])  # fmt: skip

    # -- from the control process ------------------------------------------------------------------------------------

    def obey(self, message: dict[str, Any]) -> None:
        """One line of the control process."""
        if values := message.get("values"):
            self.values.update(values)
            for name in [name for name, value in values.items() if is_plain_word(name, value)]:
                del self.values[name]
            for client in self.clients:
                client.queue_values(values)
        for kind in ("show", "status"):
            if kind in message:
                setattr(self, kind, message[kind])
                text = json.dumps({kind: message[kind]})
                for client in self.clients:
                    client.queue_latest(kind, text)
        if self.show and self.status:
            self.ready.set()
        if "situation" in message:
            self.situation = message["situation"]
            fresh, self._situation_fresh = self._situation_fresh, asyncio.Event()
            fresh.set()
        if "monitors" in message:
            self.monitors.urls = message["monitors"]
        if (reply := message.get("reply")) and (asked := self._open.pop(reply.get("id"), None)) is not None:
            client, number = asked
            client.requests.discard(reply["id"])
            client.reply(number, **{name: reply[name] for name in ("result", "error") if name in reply})

    # -- HTTP --------------------------------------------------------------------------------------------------------

    @property
    def _cookie(self) -> str:
        return f"wj-surface-{self.port}"  # cookies do not tell ports apart

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        host = request.headers.get("Host", "localhost")
        if not is_ours(host, self._names):
            self.counts["refused"] += 1
            raise web.HTTPMisdirectedRequest(text=f"{host[:200]!r} is not this machine: use its address, or localhost")
        changes = request.method not in ("GET", "HEAD") or request.path == "/ws"
        if changes and not same_origin(request.headers.get("Origin"), host):
            self.counts["refused"] += 1
            raise web.HTTPForbidden(text="only the page of this server may send this request")
        peer, token = request.remote or "", request.query.get("token", "")
        near = is_loopback(peer)  # needs no token, and so no cookie, which would outlast a try of the viewer's link
        role = self.access.role(peer, token or ("" if near else request.cookies.get(self._cookie, "")))
        if role is None:
            self.counts["refused"] += 1
            unknown = web.HTTPUnauthorized(text=TOKEN_HINT)
            unknown.force_close()
            raise unknown
        request["role"] = role
        self.on_admitted(request.protocol)
        response = await handler(request)
        if token and not near and not response.prepared:  # the page's own requests carry the cookie from now on
            response.set_cookie(self._cookie, token, httponly=True, samesite="Lax", path="/", max_age=30 * 24 * 3600)
        return response

    async def _page(self, request: web.Request) -> web.Response:
        path = self._files.get(request.match_info.get("path", "index.html"))
        if path is None:
            raise web.HTTPNotFound(text="there is no such file")
        body = path.read_bytes()
        tag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
        headers = {**HEADERS, "Cache-Control": "no-cache", "ETag": tag}
        headers["Content-Security-Policy"] = policy(request.headers.get("Host", "localhost"))
        if request.headers.get("If-None-Match") == tag:
            return web.Response(status=304, headers=headers)
        kind = KINDS[path.suffix]
        charset = "utf-8" if kind.startswith(("text/", "application/", "image/svg")) else None
        return web.Response(body=body, content_type=kind, charset=charset, headers=headers)

    async def _still(self, request: web.Request) -> web.StreamResponse:
        name = request.match_info["name"]
        path = Path(self.config.stills, name)
        if not STILL.fullmatch(name) or not path.is_file():
            raise web.HTTPNotFound(text="there is no such still")
        headers = {**HEADERS, "Cache-Control": "private, max-age=86400", "Content-Type": "image/jpeg"}
        return web.FileResponse(path, headers=headers)

    async def _state(self, request: web.Request) -> web.Response:
        self._state_asked_at = time.monotonic()
        return web.json_response(self.situation, headers={**HEADERS, "Cache-Control": "no-store"})

    async def _state_stream(self, request: web.Request) -> web.StreamResponse:
        """Server-sent events: one with each situation that is new."""
        if self._state_streams >= STATE_READERS_MAX:
            raise web.HTTPServiceUnavailable(text=f"{STATE_READERS_MAX} programs read this, which is the most")
        response = web.StreamResponse(
            headers={**HEADERS, "Content-Type": "text/event-stream", "Cache-Control": "no-store"}
        )
        await response.prepare(request)
        self._state_streams += 1
        try:
            while True:
                fresh = self._situation_fresh
                if self.situation:
                    data = f"data: {json.dumps(self.situation)}\n\n".encode()
                    await asyncio.wait_for(response.write(data), SEND_TIMEOUT_S)
                await fresh.wait()
        except (ConnectionError, asyncio.TimeoutError):
            if request.transport is not None:
                request.transport.abort()
        finally:
            self._state_streams -= 1
        return response

    async def _upload(self, request: web.Request) -> web.Response:
        if request["role"] != "operator":
            raise web.HTTPForbidden(text="viewers cannot add files")
        if self.uploads >= UPLOADS_MAX:
            raise web.HTTPServiceUnavailable(text=f"{UPLOADS_MAX} files are on their way, which is the most: try again")
        self.uploads += 1
        try:
            folder, name = Path(self.config.media), request.query.get("name", "")
            content = request.content.iter_chunked(256 * 1024)
            stored = await store(folder, name, request.content_length or 0, content, check_content)
        except ValueError as error:
            return web.Response(text=str(error), status=415, headers=HEADERS)
        except OSError as error:
            text = f"the file cannot be stored: {error.strerror or error}"
            return web.Response(text=text, status=507, headers=HEADERS)
        finally:
            self.uploads -= 1
        return web.json_response({"path": f"{folder.name}/{stored}"}, headers=HEADERS)

    # -- the websocket -----------------------------------------------------------------------------------------------

    async def _websocket(self, request: web.Request) -> web.StreamResponse:
        if len(self.clients) >= CLIENTS_MAX:
            raise web.HTTPServiceUnavailable(text=f"{CLIENTS_MAX} pages are open, which is the most: close one")
        try:
            await asyncio.wait_for(self.ready.wait(), STATE_TIMEOUT_S)
        except asyncio.TimeoutError:
            raise web.HTTPServiceUnavailable(text="the show is starting: try again") from None
        socket = web.WebSocketResponse(
            heartbeat=HEARTBEAT_S, max_msg_size=MESSAGE_BYTES_MAX, compress=False, timeout=2.0
        )
        client = Client(request["role"], f"surface {request.remote}")
        hello = {
            "role": client.role, "version": self.config.version, "parameters": self.config.rows,
            "values": dict(self.values), "show": self.show, "status": self.status,
        }  # fmt: skip
        self.clients.add(client)  # what comes from now on is queued behind the hello
        await socket.prepare(request)
        sending = asyncio.create_task(self._send(client, socket, json.dumps({"hello": hello}), request.transport))
        try:
            await self._read(client, socket)
        finally:
            self.clients.discard(client)
            for number in client.requests:
                self._open.pop(number, None)
            sending.cancel()
            asyncio.get_running_loop().call_later(LET_GO_DELAY_S, self._let_go, client)
        return socket

    async def _read(self, client: Client, socket: web.WebSocketResponse) -> None:
        """Obey a page until it closes. A page above its rate is read more slowly: nothing that it fired is lost."""
        messages = TokenBucket(MESSAGES_PER_S, MESSAGES_AT_ONCE)
        fires = TokenBucket(FIRES_PER_S, FIRES_AT_ONCE)
        requests = TokenBucket(REQUESTS_PER_S, REQUESTS_AT_ONCE)
        async for received in socket:
            arrived_at, wait = time.monotonic(), 0.0
            try:
                if received.type != aiohttp.WSMsgType.TEXT:
                    raise ValueError("a message is JSON, as text")
                message = parse(received.data)
                if isinstance(message, Request):
                    wait = requests.borrow(arrived_at)
                    self._ask(client, message)
                elif client.role != "operator":
                    raise ValueError("viewers watch only")
                elif isinstance(message, Values):
                    wait = messages.borrow(arrived_at, 1 + len(message.values) / NAMES_PER_MESSAGE)
                    self.holds.taken(client, message.values)
                    self.controls.set(message.values, arrived_at, client)
                    self._check(message.values)  # the show refuses it, too, and counts that
                elif isinstance(message, Hold):
                    wait = messages.borrow(arrived_at, 1 + len(message.rest) / NAMES_PER_MESSAGE)
                    self.holds.hold(client, message.rest)
                elif isinstance(message, Release):
                    wait = messages.borrow(arrived_at, 1 + len(message.names) / NAMES_PER_MESSAGE)
                    self.holds.release(client, message.names)
                else:
                    wait = fires.borrow(arrived_at)
                    self.holds.taken(client, [message.name])
                    self.controls.fire(message, arrived_at, client)
            except ValueError as error:
                self._refuse(client, str(error))
                wait = max(wait, messages.borrow(arrived_at, 10.0))
            if wait > 0:
                await asyncio.sleep(wait)

    def _check(self, values: Mapping[str, Any]) -> None:
        """ValueError for a text in place of a number. All else is for the show to decide."""
        for name, value in values.items():
            if isinstance(value, str) and name.removeprefix("preview/") in self._numbers:
                try:
                    float(value)
                except ValueError:
                    raise ValueError(f"{name} takes a number, not {value[:80]!r}") from None

    def _let_go(self, client: Client) -> None:
        """What a page held that is gone goes back, unless somebody plays it by now."""
        if left := self.holds.leave(client):
            self.controls.set(left, time.monotonic(), client)

    def _refuse(self, client: Client, why: str) -> None:
        """Tell a page, not too often, that a message of it was not obeyed; the log has the first of each page."""
        self.counts["refused"] += 1
        now = time.monotonic()
        if client.refused_at is None:
            logger.warning("a message of %s is not obeyed: %s", client.sender, why)
        if client.refused_at is None or now - client.refused_at >= REFUSAL_INTERVAL_S:
            client.refused_at = now
            client.queue_latest("message", json.dumps({"message": {"level": "error", "text": why}}))

    def _ask(self, client: Client, request: Request) -> None:
        self.counts["requests"] += 1
        fields = request.fields
        if client.role != "operator" and fields["do"] not in VIEWERS_ASK:
            client.reply(request.id, error="viewers watch only: open the operator's link")
        elif fields["do"] == "surface/link":
            client.reply(request.id, result=self.links())
        elif len(client.requests) >= OPEN_REQUESTS_MAX:
            client.reply(request.id, error="too many requests are open: wait for an answer")
        else:
            self._requests += 1
            self._open[self._requests] = client, request.id
            client.requests.add(self._requests)
            also = VIEWERS_ASK[fields["do"]] if client.role != "operator" else {}
            self._write({"request": {**fields, **also, "id": self._requests}})

    async def _send(self, client: Client, socket: web.WebSocketResponse, hello: str,
                    transport: asyncio.Transport | None) -> None:  # fmt: skip
        """Send a page what is new, at most every VALUES_INTERVAL_S. One that takes nothing is cut off at once: to close
        in order would wait until it takes what was sent."""
        try:
            await asyncio.wait_for(socket.send_str(hello), SEND_TIMEOUT_S)
            while True:
                await client.news.wait()
                client.news.clear()
                values, client.values = client.values, {}
                texts, client.texts = client.texts, {}
                replies, client.replies = client.replies, []
                lines = [*([json.dumps({"values": values})] if values else []), *texts.values(), *replies]
                for line in lines:
                    await asyncio.wait_for(socket.send_str(line), SEND_TIMEOUT_S)
                await asyncio.sleep(VALUES_INTERVAL_S)
        except (ConnectionError, asyncio.TimeoutError, RuntimeError):
            self.clients.discard(client)
            if transport is not None:
                transport.abort()

    # -- facts -------------------------------------------------------------------------------------------------------

    def links(self) -> dict[str, Any]:
        """Addresses for other devices, with their QR codes; that of viewers below "viewer"."""
        config = self.config
        home = own_address(config.host)
        shared = not is_loopback(home)
        found = [link(home, self.port, token if shared else "") for token in (config.operator, config.viewer)]
        operator, viewer = ({"url": url, "qr": qr_code(url)} for url in found)
        return {**operator, "network": shared, **({"viewer": viewer} if shared else {})}

    def facts(self) -> dict[str, Any]:
        home = own_address(self.config.host)
        here = {"0.0.0.0": "127.0.0.1", "": "127.0.0.1", "::": "::1"}.get(self.config.host, self.config.host)
        facts: dict[str, Any] = {
            "port": self.port,
            # An address of the network is not this machine's loopback: a page there needs its token, too.
            "url": link(here, self.port, "" if is_loopback(here) else self.config.operator),
            "state_readers": self._state_streams + (time.monotonic() - self._state_asked_at < STATE_ASKED_S),
            "clients": len(self.clients), "controls": self.controls.sent, **self.counts,
        }  # fmt: skip
        if not is_loopback(home):
            facts["link"] = link(home, self.port, self.config.operator)
            facts["viewer_link"] = link(home, self.port, self.config.viewer)
        return facts


def page_files(folder: Path) -> dict[str, Path]:
    """The files that are served, by their path below the folder. Nothing else is."""
    return {
        path.relative_to(folder).as_posix(): path
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.suffix in KINDS and not path.name.startswith(".")
    }


def policy(host: str) -> str:
    """The Content-Security-Policy of the page: scripts and styles from its own files only."""
    return (
        "default-src 'none'; script-src 'self'; style-src 'self'; font-src 'self'; manifest-src 'self'; "
        "img-src 'self' data: blob:; media-src 'self' blob:; "
        f"connect-src 'self' ws://{host} wss://{host}; "  # older Safaris do not count websockets as 'self'
        "frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
    )


class Gate:
    """Makes the protocol of each connection, and closes those that send no whole request in time, or are too many."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make
        self._peers: dict[Any, str] = {}  # addresses of the open connections
        self._asked: set[Any] = set()  # connections that sent a request

    def admitted(self, protocol: Any) -> None:
        """A request of this connection was let in."""
        if protocol in self._peers:
            self._asked.add(protocol)

    def __call__(self) -> Any:
        protocol, loop = self._make(), asyncio.get_running_loop()
        loop.call_later(0, self._count, protocol)  # it has a transport by then
        loop.call_later(REQUEST_TIMEOUT_S, self._close_idle, protocol)
        return protocol

    def close(self) -> None:
        """Close every connection at once: pages try to come back."""
        for protocol in self._peers:
            if protocol.transport is not None:
                protocol.transport.abort()

    def _count(self, protocol: Any) -> None:
        if (transport := protocol.transport) is None:
            return
        self._peers = {other: address for other, address in self._peers.items() if other.transport is not None}
        self._asked &= self._peers.keys()
        peer = self._peers[protocol] = str((transport.get_extra_info("peername") or [""])[0])
        if sum(address == peer for address in self._peers.values()) > CONNECTIONS_MAX:
            transport.abort()

    def _close_idle(self, protocol: Any) -> None:
        if protocol not in self._asked and protocol.transport is not None:
            protocol.transport.abort()


async def listen(gate: Gate, host: str, port: int) -> asyncio.Server:
    """Listen on the port, or on the next that is free. OSError for a host that is not this machine's."""
    tried = [*range(port, min(port + PORTS_TRIED, 65536)), 0] if port else [0]
    for number in tried:
        try:
            return await asyncio.get_running_loop().create_server(gate, host or None, number)
        except OSError:
            if number == tried[-1]:
                raise
    raise AssertionError("the last attempt returns or raises")


def write_line(message: dict[str, Any]) -> None:
    with contextlib.suppress(OSError):
        sys.stdout.write(json.dumps(message) + "\n")
        sys.stdout.flush()


def _loads(line: bytes) -> Any:
    return json.loads(line, parse_constant=lambda name: None)  # browsers know no NaN


def _read_lines(handle: Callable[[dict[str, Any] | None], None]) -> None:
    for line in sys.stdin.buffer:
        handle(_loads(line))
    handle(None)


async def run() -> None:
    loop = asyncio.get_running_loop()
    first = _loads(sys.stdin.buffer.readline())
    surface = Surface(Config(**first["config"]), write_line)
    surface.obey(first)
    ended = asyncio.Event()

    def handle(message: dict[str, Any] | None) -> None:
        if message is None:
            ended.set()
        else:
            surface.obey(message)

    threading.Thread(
        target=_read_lines, args=(lambda message: loop.call_soon_threadsafe(handle, message),), name="control",
        daemon=True,
    ).start()  # fmt: skip
    runner = web.AppRunner(surface.app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        gate = Gate(runner.server)  # type: ignore[arg-type]
        surface.on_admitted = gate.admitted
        server = await listen(gate, surface.config.host, surface.config.port)
    except OSError as error:
        text = f"cannot listen on {surface.config.host}: {error.strerror or error}; host must be 127.0.0.1, lan, or an "
        write_line({"facts": {"port": 0, "error": f"{text}address of this machine"}})
        await asyncio.wait_for(ended.wait(), 30.0)
        return
    surface.port = server.sockets[0].getsockname()[1]
    report: dict[str, Any] = {}
    while not ended.is_set():
        if (facts := surface.facts()) != report:
            report = facts
            write_line({"facts": facts})
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(ended.wait(), REPORT_INTERVAL_S)
    server.close()
    gate.close()
    await surface.monitors.close()
    with contextlib.suppress(asyncio.TimeoutError):
        await asyncio.wait_for(runner.cleanup(), 1.0)


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the show handles Ctrl-C, and ends this process
    with contextlib.suppress(asyncio.TimeoutError):
        asyncio.run(run())


if __name__ == "__main__":
    main()
