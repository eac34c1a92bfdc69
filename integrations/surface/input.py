"""The surface: the performer's page in a browser. A process of its own serves it (server.py), and may be killed at any
time: the show does not notice, it is started again, and pages come back with the true state.

Values go both ways, and of each only the latest matters; what a page fires is neither lost nor doubled.
"""

from __future__ import annotations

import contextlib
import logging
import queue
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .. import ControlEvent, Deliver, Input
from ..child import SERVER_ENVIRONMENT, Child
from .access import new_token
from .messages import is_plain_word

MODULE = "worldjockey.integrations.surface.server"
VALUES_INTERVAL_S = 1 / 60
UNWATCHED_INTERVAL_S = 1.0  # between statuses while no page is open
REQUESTS_MAX = 64  # that wait
Answer = Callable[[Mapping[str, Any]], Any]
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class SurfaceOptions:
    """host, port: address of the page; the next free port where that one is taken. token, viewer_token: of the roles on
    a network; by default they are new for each run. name: of the show. media: the folder for files that pages send.
    stills: the folder of pictures that the world drew."""

    host: str = "127.0.0.1"
    port: int = 9080
    token: str | None = None
    viewer_token: str | None = None
    name: str = "worldjockey"
    version: str = ""
    media: Path = Path("media")
    stills: Path = Path("stills")


class SurfaceInput(Input):
    """rows: the parameter table, as in `wj reference --json`. values: initial values by name.

    answer: carries out a request of a page, in a thread of its own; it raises ValueError or OSError, with the fix.
    on_served: called once from a thread, with the facts of the server, when the page can be opened.
    """

    def __init__(
        self,
        rows: Iterable[Mapping[str, Any]],
        values: Mapping[str, Any],
        options: SurfaceOptions,
        answer: Answer,
        on_served: Callable[[Mapping[str, Any]], None] = lambda facts: None,
    ) -> None:
        self._config = {
            "host": options.host, "port": options.port, "name": options.name, "version": options.version,
            "rows": [dict(row) for row in rows], "operator": options.token or new_token(),
            "viewer": options.viewer_token or new_token(), "media": str(options.media), "stills": str(options.stills),
        }  # fmt: skip
        self._values = dict(values)
        self._answer, self._on_served = answer, on_served
        self._news: dict[str, Any] = {}
        self._state: Mapping[str, Any] = {}
        self._state_sent: Mapping[str, Any] | None = None
        self._sent_show: Any = None
        self._sent_monitors: Any = None
        self._sent_situation: Any = None
        self._status_at = self._situation_at = 0.0
        self._lock = threading.Lock()
        self._fresh, self._stop = threading.Event(), threading.Event()
        self._facts: dict[str, Any] = {}
        self._held: dict[str, Any] = {}  # what pages hold, and the value of each when let go
        self._requests: queue.Queue[Mapping[str, Any] | None] = queue.Queue(REQUESTS_MAX)
        self._child = Child("surface", MODULE, SERVER_ENVIRONMENT)
        self._threads: list[threading.Thread] = []

    @property
    def url(self) -> str:
        """The address of the page on this machine; empty while it is not served."""
        return str(self._facts.get("url", "")) if self._facts.get("port") else ""

    @property
    def pages(self) -> int:
        """How many pages are open."""
        return int(self._facts.get("clients", 0))

    def start(self, deliver: Deliver) -> None:
        """Returns at once. A missing network is no error, but is in `status`."""
        self._stop.clear()
        self._child = Child("surface", MODULE, SERVER_ENVIRONMENT)
        self._deliver = deliver
        self._threads = [
            threading.Thread(target=target, name=name, daemon=True)
            for name, target in (
                ("surface", self._run), ("surface values", self._write), ("surface requests", self._answer_all),
            )
        ]  # fmt: skip
        for thread in self._threads:
            thread.start()

    def feedback(self, target: str, value: Any) -> None:
        """Send the newest value of each target to pages at most 60 times a second. Never blocks."""
        if target.startswith(("status/", "state/")):  # `publish` has it all
            return
        with self._lock:
            self._values[target] = self._news[target] = value
            if is_plain_word(target, value):
                del self._values[target]
        self._fresh.set()

    def publish(self, state: Mapping[str, Any]) -> None:
        """Send how the show goes. state: "status", "show", "monitors", the addresses of the pictures by bus, and
        "situation", where the camera is. A show is sent when it is another object than before. Never blocks."""
        self._state = state
        self._fresh.set()

    def status(self) -> Mapping[str, Any]:
        error = {"error": self._child.error} if self._child.error else {}
        # Viewers see the status: no token is in it.
        facts = {name: value for name, value in self._facts.items() if name not in ("link", "viewer_link")}
        if "url" in facts:
            facts["url"] = str(facts["url"]).partition("?")[0]
        return {**facts, **error, "restarts": max(self._child.starts - 1, 0), "pid": self._child.pid}

    def stop(self) -> None:
        """End the process; pages try to come back."""
        if not self._threads:
            return
        self._stop.set()
        self._fresh.set()
        self._child.end()
        with contextlib.suppress(queue.Full):
            self._requests.put_nowait(None)
        for thread in self._threads:
            thread.join(5)
        self._threads = []

    def _run(self) -> None:
        served = False
        while True:
            with self._lock:
                state = self._state
                first = {
                    "config": self._config, "values": dict(self._values), "status": state.get("status", {}),
                    "show": state.get("show", {}), "monitors": state.get("monitors", {}),
                }  # fmt: skip
                self._news.clear()
                self._sent_show, self._sent_monitors = state.get("show"), state.get("monitors")
            if not self._child.start(first=first):
                return
            for batch in self._child.batches():
                for message in batch:
                    self._obey(message)
                if not served and self._facts.get("port"):
                    served = True
                    self._on_served(dict(self._facts))
            self._child.finish()
            held, self._held = self._held, {}
            for name, value in held.items() if not self._stop.is_set() else ():  # nobody else can let it go now
                self._deliver(ControlEvent(name, (value,), time.monotonic(), "surface"))
            self._facts = {**self._facts, "clients": 0, "port": 0}

    def _obey(self, message: Any) -> None:
        if "controls" in message:
            now = time.monotonic()
            for name, args, arrived_at, sender in message["controls"]:
                self._deliver(ControlEvent(name, tuple(args), min(arrived_at, now), sender))
        elif "request" in message:
            try:
                self._requests.put_nowait(message["request"])
            except queue.Full:
                self._reply(message["request"], error="too many requests wait: try again")
        elif "held" in message:
            self._held = {name: value for name, value in {**self._held, **message["held"]}.items() if value is not None}
        elif "facts" in message:
            self._facts = message["facts"]

    def _write(self) -> None:
        """Send what changed, at most every VALUES_INTERVAL_S; what cannot be sent yet is kept for the next time."""
        while not self._stop.is_set():
            self._fresh.wait(UNWATCHED_INTERVAL_S)
            self._fresh.clear()
            with self._lock:
                state = self._state
                news: dict[str, Any] = {"values": self._news} if self._news else {}
                for name, sent in (("show", self._sent_show), ("monitors", self._sent_monitors)):
                    if name in state and (state[name] is not sent if name == "show" else state[name] != sent):
                        news[name] = state[name]
                now = time.monotonic()
                due = now - self._status_at >= (0.0 if self.pages else UNWATCHED_INTERVAL_S)
                if due and state is not self._state_sent:
                    news["status"] = state.get("status", {})
                asked = self._facts.get("state_readers") or now - self._situation_at >= UNWATCHED_INTERVAL_S
                if asked and state.get("situation") and state["situation"] != self._sent_situation:
                    news["situation"] = state["situation"]
                if news and self._child.send(news):
                    self._news = {}
                    self._sent_show = state.get("show") if "show" in news else self._sent_show
                    self._sent_monitors = state.get("monitors") if "monitors" in news else self._sent_monitors
                    if "situation" in news:
                        self._sent_situation, self._situation_at = news["situation"], now
                    if "status" in news:
                        self._state_sent, self._status_at = state, now
            self._stop.wait(VALUES_INTERVAL_S)

    def _answer_all(self) -> None:
        while (request := self._requests.get()) is not None and not self._stop.is_set():
            try:
                self._reply(request, result=self._answer(request))
            except (ValueError, OSError) as error:
                text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
                self._reply(request, error=text or type(error).__name__)
            except Exception as error:  # a mistake of ours must not end the answers
                logger.exception("request %s failed", str(request.get("do"))[:80])
                self._reply(request, error=f"{type(error).__name__}: {error}; the log has the rest")

    def _reply(self, request: Mapping[str, Any], **answer: Any) -> None:
        self._child.send({"reply": {"id": request.get("id"), **answer}})
