"""The crowd: the audience's phones. A process of its own serves their pages (server.py), and may be killed at any time:
the show does not notice, it is started again, and the pages bring back what they had moved and voted.

What the show asks goes to it, of each kind the newest; only checked aggregates come back.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from .. import Deliver, Input
from ..addresses import is_loopback, link, own_address
from ..child import SERVER_ENVIRONMENT, Child
from .lines import check

MODULE = "worldjockey.integrations.crowd.server"
KINDS = ("crowd", "faders", "poll", "words", "players")  # of what the show sends
SEND_INTERVAL_S = 0.05
READ_INTERVAL_S = 0.04  # a server that floods waits in its pipe
LINE_BYTES_MAX = 64 * 1024
LINES_MAX, DROPPED_MAX = 256, 16  # at once, and in all: a server that writes more of them is not ours any more
logger = logging.getLogger(__name__)
OnAggregate = Callable[[Mapping[str, Any]], None]


@dataclass(frozen=True)
class CrowdOptions:
    """host, port: where the pages are served; the next free port where that one is taken. "0.0.0.0" is all addresses.

    url: the address that the audience types, where it is another one, as behind a tunnel; empty is this machine's own.
    name: of the show. stills: the folder of the options' pictures. heads_max: persons in all. per_address: persons
    behind one network address, which in a venue may be all of them. twitch: a channel whose chat takes part; empty is
    none. twitch_address: "host:port" of another chat server, without encryption, for tests.
    """

    host: str = "127.0.0.1"
    port: int = 9070
    url: str = ""
    name: str = "worldjockey"
    stills: Path = Path("stills")
    heads_max: int = 3000
    per_address: int = 1500
    twitch: str = ""
    twitch_address: str = ""


class CrowdInput(Input):
    """on_aggregate: called from a thread with each checked line, {"faders": {"storm": {"median": 0.8, "votes": 12}}}.
    A kind comes again when it changed, and at once from a server that started again."""

    def __init__(self, options: CrowdOptions, on_aggregate: OnAggregate) -> None:
        self._config = {**asdict(options), "stills": str(options.stills)}
        self._on_aggregate = on_aggregate
        self._wanted: dict[str, Any] = {}
        self._news: dict[str, Any] = {}
        self._lock = threading.Lock()
        self._fresh, self._stop = threading.Event(), threading.Event()
        self._facts: dict[str, Any] = {}
        self._dropped = 0
        self._child = self._new_child()
        self._threads: list[threading.Thread] = []

    @staticmethod
    def _new_child() -> Child:
        return Child("crowd", MODULE, SERVER_ENVIRONMENT, line_bytes_max=LINE_BYTES_MAX)

    def start(self, deliver: Deliver) -> None:
        """Returns at once. A missing network is no error, but is in `status`. The crowd delivers no controls."""
        self._stop.clear()
        self._child = self._new_child()
        self._threads = [
            threading.Thread(target=target, name=name, daemon=True)
            for name, target in (("crowd", self._run), ("crowd requests", self._write))
        ]
        for thread in self._threads:
            thread.start()

    def send(self, message: Mapping[str, Any]) -> None:
        """Tell the pages what is asked: {kind: content}, with the kinds of KINDS; each replaces the last of its kind.

        Never blocks. A server that starts again is told all of it.
        """
        news = {kind: message[kind] for kind in KINDS if kind in message}
        with self._lock:
            self._wanted.update(news)
            self._news.update(news)
        self._fresh.set()

    @property
    def url(self) -> str:
        """The address for the audience; empty while nothing is served."""
        return str(self._facts.get("url", "")) if self._facts.get("port") else ""

    @property
    def heads(self) -> int:
        return int(self._facts.get("heads", 0))

    def status(self) -> Mapping[str, Any]:
        """dropped: lines of the server that were no aggregates."""
        error = {"error": self._child.error} if self._child.error else {}
        more = {"restarts": max(self._child.starts - 1, 0), "pid": self._child.pid, "dropped": self._dropped}
        return {**self._facts, **error, **more}

    def stop(self) -> None:
        """End the process; pages try to come back."""
        if not self._threads:
            return
        self._stop.set()
        self._fresh.set()
        self._child.end()
        for thread in self._threads:
            thread.join(5)
        self._threads = []

    def _run(self) -> None:
        while True:
            with self._lock:
                first = {"config": {**self._config, "returned": self._child.starts > 0}, **self._wanted}
                self._news.clear()
            if not self._child.start(first=first):
                return
            dropped = self._dropped
            for batch in self._child.batches():
                for line in batch[-LINES_MAX:]:
                    self._obey(line)
                if len(batch) > LINES_MAX or self._dropped - dropped > DROPPED_MAX:
                    logger.warning("the crowd's server does not write what it should, and is started again")
                    self._child.kill()
                    break
                self._stop.wait(READ_INTERVAL_S)
            self._child.finish()
            with self._lock:
                names = [fader["name"] for fader in self._wanted.get("faders") or ()]
            if names:  # nobody moves anything until the pages are back
                self._on_aggregate({"faders": {name: {"median": 0.5, "votes": 0} for name in names}})
            self._facts = {**self._facts, "heads": 0, "port": 0}

    def _obey(self, line: Any) -> None:
        with self._lock:
            wanted = dict(self._wanted)
        try:
            found = check(line, wanted)
        except (ValueError, TypeError, KeyError):
            self._dropped += 1
            return
        if "facts" in found:
            self._facts = found["facts"]
        if not self._stop.is_set():
            self._on_aggregate(found)

    def _write(self) -> None:
        while not self._stop.is_set():
            self._fresh.wait()
            self._fresh.clear()
            with self._lock:
                if self._news and self._child.send(self._news):
                    self._news = {}
                waiting = bool(self._news)
            self._stop.wait(SEND_INTERVAL_S)
            if waiting:
                self._fresh.set()


def audience_address(port: int = 9070) -> str:
    """The address that phones would open with `host: lan`; empty where this machine has no network."""
    home = own_address("0.0.0.0")
    return "" if is_loopback(home) else link(home, port)


def connections_possible() -> int | None:
    """How many connections the system allows the server; None where there is no such limit."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return None if hard == resource.RLIM_INFINITY else max(hard - 128, 0)
