"""The process that serves the audience's pages, and adds up what they send.

    python -m worldjockey.integrations.crowd.server     until standard input ends

Reads one JSON object a line from the control process: first {"config": ...} with all that was asked before; then
{"crowd": ...}, {"faders": ...}, {"poll": ...}, {"words": ...}, {"players": ...} as they come. Writes aggregates only,
as lines.py allows them.

Routes: `/`, the join page; `/poster`, for a second screen; `/play`, for players; `/ws`; for browsers without
websockets, `/state` and POST `/say`; `/qr.svg`; the pictures of the poll's options.

It is public: a person is a random token that their page made up. Every message has a size, a schema and a rate; what is
above a page's rate is read more slowly, so that a flood waits in its sender's own socket.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import logging
import os
import re
import secrets
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import psutil
from aiohttp import web

from ..addresses import is_loopback, link, own_address
from ..same_origin import HEADERS, is_ours, own_names, same_origin
from ..token_bucket import TokenBucket
from . import pages
from .gate import SWEEP_INTERVAL_S, Gate, listen, network_of
from .messages import MESSAGE_BYTES_MAX, TOKEN, Message, Play, Vote, Word, parse
from .room import CHAT, Room
from .twitch import TwitchChat

NICE = 10  # below the show: the crowd waits, never the picture
AGGREGATE_INTERVAL_S = 0.25
BROADCAST_INTERVAL_S = 0.5
PLAYERS_INTERVAL_S = 0.05
WORDS_INTERVAL_S = 1.0
MESSAGES_PER_S, MESSAGES_AT_ONCE = 10.0, 20.0  # of each page
PLAYS_PER_S, PLAYS_AT_ONCE = 30.0, 30.0  # of each player
ALL_MESSAGES_PER_S, ALL_AT_ONCE = 8000.0, 8000.0
ADDRESS_REQUESTS, ALL_REQUESTS = (600.0, 4000.0), (1000.0, 8000.0)  # a second, and at once
ADDRESSES_MAX = 4096  # whose requests are counted
LOG_INTERVAL_S = 10.0  # between two lines in the log, which strangers could fill
WRONG_COSTS = 5.0  # messages
WRONG_MAX = 20  # messages that no page of ours sends, until the connection is closed
UNREAD_BYTES_MAX = 64 * 1024  # that a page does not take, until it is cut off
HEARTBEAT_S = 30.0
POLLER_GONE_S = 12.0  # a page without websockets that asks no more
SPARE_CONNECTIONS = 512  # besides one websocket for each person
SECONDS_DRIFT_S = 2.0  # by which a poll's end may move until the pages are told
RETURN_S = 4.0  # after a restart in a poll, for the pages to come back and vote again
STILL = re.compile(r"/stills/[0-9A-Za-z_-]{1,128}\.(?:jpg|png|webp)")
logger = logging.getLogger(__name__)
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True)
class Config:
    """As `CrowdOptions`. returned: whether an earlier server of this show ended."""

    host: str
    port: int
    url: str
    name: str
    stills: str
    heads_max: int
    per_address: int
    twitch: str = ""
    twitch_address: str = ""
    returned: bool = False


class Poller:
    """A person whose browser has no websocket."""

    __slots__ = ("bucket", "seen_at")

    def __init__(self) -> None:
        self.bucket = TokenBucket(MESSAGES_PER_S, MESSAGES_AT_ONCE)
        self.seen_at = time.monotonic()


class Crowd:
    """The pages that are open, and what they are shown. write: passes a line to the control process."""

    def __init__(self, config: Config, write: Callable[[dict[str, Any]], None]) -> None:
        self.config = config
        self.room = Room(config.heads_max, config.per_address)
        self.port = 0
        self.gate: Gate | None = None
        self.twitch = ""  # how the chat goes
        self.counts: Counter[str] = Counter()
        self._write = write
        self._wanted: dict[str, Any] = {
            "crowd": {"open": False}, "faders": [], "poll": None, "words": {"open": False}, "players": {"open": False},
        }  # fmt: skip
        self._poll_until = 0.0
        self._live: dict[str, Any] = {}
        self._live_text = ""
        self._sockets: set[asyncio.Transport] = set()
        self._pollers: dict[str, Poller] = {}
        self._bucket = TokenBucket(ALL_MESSAGES_PER_S, ALL_AT_ONCE)
        self._asking: dict[int, TokenBucket] = {}  # by address
        self._all_asking = TokenBucket(*ALL_REQUESTS)
        self._salt = secrets.token_bytes(16)
        self._names = own_names(config.host) | ({urlsplit(config.url).hostname or ""} if config.url else set())
        self._started_at = time.monotonic()
        self._sent: dict[str, Any] = {}  # the newest aggregates
        self._words_at = self._broadcast_at = 0.0
        self._messages_at, self._messages_then = time.monotonic(), 0
        self._process = psutil.Process()
        self._process.cpu_percent()
        self._facts: dict[str, Any] = {}
        self.app = web.Application(middlewares=[self._guard], client_max_size=MESSAGE_BYTES_MAX)
        self.app.add_routes([
            web.get("/", self._page), web.get("/poster", self._page), web.get("/play", self._page),
            web.get("/ws", self._websocket), web.get("/state", self._state, allow_head=False),
            web.post("/say", self._say), web.get("/qr.svg", self._qr), web.get("/stills/{name}", self._still),
            web.get("/{name}", self._file),
        ])  # fmt: skip

    # -- from the control process ------------------------------------------------------------------------------------

    def obey(self, message: dict[str, Any]) -> None:
        """One line of the control process."""
        news = {kind: message[kind] for kind in self._wanted if kind in message}
        if not news:
            return
        now = time.monotonic()
        before, until = _without_seconds(self._wanted), self._poll_until
        self._wanted.update(news)
        self.room.obey(news)
        if "poll" in news:
            self._poll_until = now + float((news["poll"] or {}).get("seconds") or 0)
        # Pages count a poll's seconds themselves.
        if _without_seconds(self._wanted) != before or abs(self._poll_until - until) > SECONDS_DRIFT_S:
            self._to_all(frame(self._show_text()))

    def _show_text(self) -> bytes:
        wanted = self._wanted
        crowd, poll, words, players = wanted["crowd"], wanted["poll"], wanted["words"], wanted["players"]
        show: dict[str, Any] = {
            "open": bool(crowd.get("open")), "title": crowd.get("title", ""), "faders": wanted["faders"],
            "words": bool(words.get("open")), "vocabulary": (words.get("vocabulary") or [])[:200],
            "players": bool(players.get("open")), "play": players.get("play"), "poll": None, "url": self.url,
        }  # fmt: skip
        if poll is not None:
            show["poll"] = {name: poll.get(name) for name in ("id", "question", "options", "winner")}
            show["poll"]["seconds"] = max(round(self._poll_until - time.monotonic(), 1), 0)
        return json.dumps({"show": show}, ensure_ascii=False).encode()

    def chat(self, who: str, line: str) -> None:
        """A line of a chat: "1", "!2" or an option's label is a vote; a word of the vocabulary, or "!rain", a word."""
        now = time.monotonic()
        token = f"chat {hash((self._salt, who))}"
        if (option := self.room.option(line)) is not None and self.room.poll is not None:
            message: Message = Vote(self.room.poll, option)
        elif line.startswith("!") or self.room.knows(line):
            message = Word(line.removeprefix("!"))
        else:
            return
        if self.room.enter(token, CHAT, now) is not None:
            self.room.take(token, message, now)
            self.room.leave(token, now)

    # -- aggregates --------------------------------------------------------------------------------------------------

    def tick(self) -> None:
        """Every AGGREGATE_INTERVAL_S: tell the control process and, half as often, the pages what is new."""
        now = time.monotonic()
        self.room.forget_old(now)
        for token in [token for token, poller in self._pollers.items() if now - poller.seen_at > POLLER_GONE_S]:
            del self._pollers[token]
            self.room.leave(token, now)
        news: dict[str, Any] = {}
        faders, votes = self.room.faders(now), self.room.votes()
        if self.room.open and faders:
            news["faders"] = faders
        if self.room.open and votes and not (self.config.returned and now - self._started_at < RETURN_S):
            news["votes"] = votes
        news = {kind: value for kind, value in news.items() if self._sent.get(kind) != value}
        self._sent.update(news)
        if now - self._words_at >= WORDS_INTERVAL_S and (words := self.room.take_words()):
            news["words"], self._words_at = words, now
        if now - self._messages_at >= 1.0 and (facts := self.facts(now)) != self._facts:
            self._facts = news["facts"] = facts
        if news:
            self._write(news)
        if now - self._broadcast_at >= BROADCAST_INTERVAL_S:
            self._broadcast_at = now
            self._broadcast(faders, votes)

    def tick_players(self) -> None:
        """Every PLAYERS_INTERVAL_S."""
        players = self.room.players()
        if players != self._sent.get("players", []):
            self._sent["players"] = players
            self._write({"players": players})

    def _broadcast(self, faders: dict[str, Any], votes: dict[str, Any] | None) -> None:
        """What everybody sees, written once for all pages."""
        poll = self._wanted["poll"]
        counts = poll.get("counts") if poll else None
        self._live = {
            "heads": self.room.heads, 
            "faders": {name: found["median"] for name, found in faders.items() if found["votes"]},
            "counts": counts if counts is not None else (votes or {}).get("counts"),
        }  # fmt: skip
        text = json.dumps({"live": self._live})
        if text != self._live_text:
            self._live_text = text
            self._to_all(frame(text.encode()))

    def _to_all(self, data: bytes) -> None:
        for transport in list(self._sockets):
            if transport.is_closing() or transport.get_write_buffer_size() > UNREAD_BYTES_MAX:
                self._sockets.discard(transport)
                transport.abort()
            else:
                transport.write(data)

    @property
    def url(self) -> str:
        return self.config.url or (link(own_address(self.config.host), self.port) if self.port else "")

    def facts(self, now: float) -> dict[str, Any]:
        spent, self._messages_at = now - self._messages_at, now
        count, self._messages_then = self.counts["messages"] - self._messages_then, self.counts["messages"]
        home = own_address(self.config.host)
        message = ""
        if is_loopback(home) and not self.config.url:
            message = "only this machine reaches the crowd's page: set host: lan for the audience's phones"
        elif self.room.heads >= self.config.heads_max:
            message = f"the room is full: {self.config.heads_max} people take part"
        return {
            "url": self.url, "port": self.port, "heads": self.room.heads, "messages_per_s": round(count / spent, 1),
            "refused": self.counts["refused"] + (self.gate.refused if self.gate else 0), "message": message,
            "memory_mb": round(self._process.memory_info().rss / 2**20), "cpu": round(self._process.cpu_percent()),
            "pid": os.getpid(), **({"twitch": self.twitch} if self.config.twitch else {}),
        }  # fmt: skip

    # -- HTTP --------------------------------------------------------------------------------------------------------

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        host = request.headers.get("Host", "localhost")
        if not is_ours(host, self._names):
            self.counts["refused"] += 1
            raise web.HTTPMisdirectedRequest(text="this is the page of a show: open it by its own address")
        changes = request.method not in ("GET", "HEAD") or request.path == "/ws"
        if changes and not same_origin(request.headers.get("Origin"), host):
            self.counts["refused"] += 1
            raise web.HTTPForbidden(text="only the page of this server may send this request")
        if not self._may_ask(request):
            self.counts["refused"] += 1
            busy = web.HTTPServiceUnavailable(text="too many requests: try again", headers={"Retry-After": "5"})
            busy.force_close()
            raise busy
        response = await handler(request)
        if not response.prepared:
            for name, value in HEADERS.items():
                response.headers.setdefault(name, value)
        return response

    def _may_ask(self, request: web.Request) -> bool:
        """Limits of requests from one address, which may be a whole venue's, and from all."""
        now, address = time.monotonic(), self._address(request)
        if address not in self._asking:
            if len(self._asking) >= ADDRESSES_MAX:
                self._asking.clear()
            self._asking[address] = TokenBucket(*ADDRESS_REQUESTS)
        return self._asking[address].spend(now) and self._all_asking.spend(now)

    async def _page(self, request: web.Request) -> web.Response:
        languages = pages.offered(self._wanted["crowd"].get("languages") or [])
        language = request.query.get("lang", "")
        if language not in languages:
            language = pages.pick(request.headers.get("Accept-Language", ""), languages)
        name = {"/": "index.html", "/poster": "poster.html", "/play": "play.html"}[request.path]
        if not (pages.PAGE / name).is_file():
            raise web.HTTPNotFound(text="there is no such page")
        title = plain(self._wanted["crowd"].get("title") or self.config.name, language)
        body = pages.render(name, language, tuple(languages), title, self.url)
        headers = {**HEADERS, "Content-Security-Policy": policy(request.headers.get("Host", "localhost"))}
        return web.Response(body=body, content_type="text/html", charset="utf-8", headers=headers)

    async def _file(self, request: web.Request) -> web.Response:
        path = _files().get(request.match_info["name"])
        if path is None:
            raise web.HTTPNotFound(text="there is no such file")
        headers = {**HEADERS, "Cache-Control": "no-cache"}
        kind = pages.FILES[path.suffix]
        return web.Response(body=_content(path), content_type=kind, charset="utf-8", headers=headers)

    async def _qr(self, request: web.Request) -> web.Response:
        import segno

        found = io.BytesIO()
        code = segno.make(self.url or "http://localhost/", error="m", micro=False)
        code.save(found, kind="svg", border=2, dark="#000", light="#fff", omitsize=True)
        return web.Response(body=found.getvalue(), content_type="image/svg+xml", headers=HEADERS)

    async def _still(self, request: web.Request) -> web.StreamResponse:
        """Only the pictures of the poll that is shown now."""
        poll = self._wanted["poll"] or {"options": []}
        shown = {option.get("image") for option in poll["options"]}
        path = Path(self.config.stills, request.match_info["name"])
        if request.path not in shown or not STILL.fullmatch(request.path) or not path.is_file():
            raise web.HTTPNotFound(text="there is no such still")
        return web.FileResponse(path, headers={**HEADERS, "Cache-Control": "private, max-age=3600"})

    # -- pages with a websocket --------------------------------------------------------------------------------------

    def _address(self, request: web.Request) -> int:
        """Tells addresses apart as long as this process lives. The address itself is not kept."""
        peer = request.transport.get_extra_info("peername") if request.transport else None
        return hash((self._salt, network_of(peer)))

    async def _websocket(self, request: web.Request) -> web.StreamResponse:
        token, transport = request.query.get("person", ""), request.transport
        watches = not token  # the poster
        if transport is None or (token and not TOKEN.fullmatch(token)):
            self.counts["refused"] += 1
            raise web.HTTPBadRequest(text="this is no page of ours")
        person = None if watches else self.room.enter(token, self._address(request), time.monotonic())
        if person is None and not watches:
            self.counts["refused"] += 1
            raise web.HTTPServiceUnavailable(text="the room is full", headers={"Retry-After": "10"})
        socket = web.WebSocketResponse(
            heartbeat=HEARTBEAT_S, max_msg_size=MESSAGE_BYTES_MAX, compress=False, timeout=1.0, autoping=False
        )
        try:
            await socket.prepare(request)
            if self.gate is not None:
                self.gate.keep(request.protocol)
            own = {} if person is None else {"own": self.room.own(person)}
            transport.write(frame(self._show_text()))
            transport.write(frame(json.dumps({"live": self._live, **own}).encode()))
            self._sockets.add(transport)
            await self._read(token, socket, transport)
        finally:
            self._sockets.discard(transport)
            if person is not None:
                self.room.leave(token, time.monotonic())
        return socket

    async def _read(self, token: str, socket: web.WebSocketResponse, transport: Any) -> None:
        messages = TokenBucket(MESSAGES_PER_S, MESSAGES_AT_ONCE)
        plays = TokenBucket(PLAYS_PER_S, PLAYS_AT_ONCE)
        wrong = 0
        async for received in socket:
            now = time.monotonic()
            wait = self._bucket.borrow(now)
            self.counts["messages"] += 1
            try:
                if received.type in (aiohttp.WSMsgType.PING, aiohttp.WSMsgType.PONG):  # they cost as much as a message
                    if received.type == aiohttp.WSMsgType.PING:
                        await socket.pong(received.data)
                    await asyncio.sleep(max(wait, messages.borrow(now)))
                    continue
                if received.type != aiohttp.WSMsgType.TEXT or not token:
                    raise ValueError("no text")
                message = parse(received.data)
            except ValueError:
                self.counts["refused"] += 1
                wrong += 1
                if wrong > WRONG_MAX:
                    transport.abort()
                    return
                wait = max(wait, messages.borrow(now, WRONG_COSTS))
            else:
                wait = max(wait, (plays if isinstance(message, Play) else messages).borrow(now))
                if (answer := self.room.take(token, message, now)) is not None:
                    transport.write(frame(json.dumps({"own": answer}).encode()))
            if wait > 0:
                await asyncio.sleep(wait)

    # -- pages without ------------------------------------------------------------------------------------------------

    def _poller(self, request: web.Request) -> tuple[str, Poller]:
        token = request.query.get("person", "")
        if not TOKEN.fullmatch(token):
            self.counts["refused"] += 1
            raise web.HTTPBadRequest(text="this is no page of ours")
        poller, now = self._pollers.get(token), time.monotonic()
        if poller is None:
            if self.room.enter(token, self._address(request), now) is None:
                self.counts["refused"] += 1
                raise web.HTTPServiceUnavailable(text="the room is full", headers={"Retry-After": "10"})
            poller = self._pollers[token] = Poller()
        poller.seen_at = now
        if not poller.bucket.spend(now) or self._bucket.borrow(now) > 0:
            self.counts["refused"] += 1
            raise web.HTTPTooManyRequests(text="slower, please", headers={"Retry-After": "2"})
        return token, poller

    async def _state(self, request: web.Request) -> web.Response:
        token, _ = self._poller(request)
        own = self.room.own(self.room.persons[token])
        show = json.loads(self._show_text())
        return web.json_response({**show, "live": self._live, "own": own})

    async def _say(self, request: web.Request) -> web.Response:
        token, _ = self._poller(request)
        self.counts["messages"] += 1
        try:
            message = parse(await request.read())
        except ValueError:
            self.counts["refused"] += 1
            raise web.HTTPBadRequest(text="this is no message of our page") from None
        return web.json_response({"own": self.room.take(token, message, time.monotonic()) or {}})


def _without_seconds(wanted: dict[str, Any]) -> dict[str, Any]:
    poll = wanted["poll"]
    return wanted | {"poll": None if poll is None else {**poll, "seconds": bool(poll.get("seconds")), "counts": None}}


def frame(data: bytes) -> bytes:
    """A text message as one unmasked frame of a websocket (RFC 6455, 5.2). Made once, and written to every page."""
    size = len(data)
    if size < 126:
        return bytes((0x81, size)) + data
    if size < 1 << 16:
        return b"\x81\x7e" + size.to_bytes(2, "big") + data
    return b"\x81\x7f" + size.to_bytes(8, "big") + data


def policy(host: str) -> str:
    """The Content-Security-Policy of the pages: nothing but their own files."""
    return (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
        f"connect-src 'self' ws://{host} wss://{host}; "  # older Safaris do not count websockets as 'self'
        "frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
    )


def plain(label: Any, language: str) -> str:
    """A label, which is a text or texts by language."""
    if isinstance(label, dict):
        label = label.get(language) or label.get("en") or next(iter(label.values()), "")
    return str(label)


@cache
def _content(path: Path) -> bytes:
    return path.read_bytes()


@cache
def _files() -> dict[str, Path]:
    """The scripts and styles. Nothing else is served as a file."""
    return {path.name: path for path in sorted(pages.PAGE.iterdir()) if path.suffix in pages.FILES}


class FewLines(logging.Filter):
    """Lets one record pass in LOG_INTERVAL_S."""

    def __init__(self) -> None:
        super().__init__()
        self._at = float("-inf")

    def filter(self, record: logging.LogRecord) -> bool:
        now = time.monotonic()
        if now - self._at < LOG_INTERVAL_S:
            return False
        self._at = now
        return True


def write_line(message: dict[str, Any]) -> None:
    with contextlib.suppress(OSError):
        sys.stdout.write(json.dumps(message, ensure_ascii=False) + "\n")
        sys.stdout.flush()


def _read_lines(handle: Callable[[dict[str, Any] | None], None]) -> None:
    for line in sys.stdin.buffer:
        handle(json.loads(line))
    handle(None)


def _prepare_process(connections: int) -> None:
    """Wait for the show, and allow as many connections as there may be."""
    with contextlib.suppress(OSError, AttributeError):
        os.nice(NICE)
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource

        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        most = connections + 128
        if hard != resource.RLIM_INFINITY:
            most = min(most, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, most), hard))


async def run() -> None:
    loop = asyncio.get_running_loop()
    first = json.loads(sys.stdin.buffer.readline())
    config = Config(**first["config"])
    connections = config.heads_max + SPARE_CONNECTIONS
    _prepare_process(connections)
    crowd = Crowd(config, write_line)
    crowd.obey(first)
    ended = asyncio.Event()

    def handle(message: dict[str, Any] | None) -> None:
        if message is None:
            ended.set()
        else:
            crowd.obey(message)

    threading.Thread(
        target=_read_lines, args=(lambda message: loop.call_soon_threadsafe(handle, message),), name="control",
        daemon=True,
    ).start()  # fmt: skip
    runner = web.AppRunner(
        crowd.app, access_log=None, shutdown_timeout=0.1, keepalive_timeout=5.0, max_line_size=2048,
        max_field_size=4096, handler_cancellation=True,
    )  # fmt: skip
    await runner.setup()
    gate = crowd.gate = Gate(runner.server, connections, config.per_address + SPARE_CONNECTIONS)  # type: ignore[arg-type]
    try:
        server = await listen(gate, config.host, config.port)
    except OSError as error:
        text = f"cannot listen on {config.host}: {error.strerror or error}; host must be 127.0.0.1, lan, or an address "
        write_line({"facts": {"port": 0, "error": f"{text}of this machine"}})
        await ended.wait()
        return
    crowd.port = server.sockets[0].getsockname()[1]
    if config.twitch:

        def state(text: str) -> None:
            crowd.twitch = text

        def line(who: str, text: str) -> None:
            loop.call_soon_threadsafe(crowd.chat, who, text)

        TwitchChat(config.twitch, line, state, config.twitch_address).start()
    await _serve(crowd, gate, ended)
    server.close()
    gate.close()
    with contextlib.suppress(asyncio.TimeoutError):
        await asyncio.wait_for(runner.cleanup(), 1.0)


async def _serve(crowd: Crowd, gate: Gate, ended: asyncio.Event) -> None:
    """Do what is due until the end."""
    due = {crowd.tick: AGGREGATE_INTERVAL_S, crowd.tick_players: PLAYERS_INTERVAL_S, gate.sweep: SWEEP_INTERVAL_S}
    last = dict.fromkeys(due, 0.0)
    write_line({"facts": crowd.facts(time.monotonic() + 1e-3)})
    while not ended.is_set():
        now = time.monotonic()
        for do, interval in due.items():
            if now - last[do] >= interval:
                last[do] = now
                do()
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(ended.wait(), PLAYERS_INTERVAL_S)


def main() -> None:
    log = logging.StreamHandler()
    log.addFilter(FewLines())
    logging.basicConfig(level=logging.WARNING, handlers=[log], format="%(asctime)s crowd %(levelname)s %(message)s")
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the show handles Ctrl-C, and ends this process
    with contextlib.suppress(asyncio.TimeoutError):
        asyncio.run(run())


if __name__ == "__main__":
    main()
