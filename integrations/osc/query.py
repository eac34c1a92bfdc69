"""OSCQuery: other programs discover the show, and read every parameter with its type, range and live value.

This is an `Input` in order to get values as feedback; it delivers no controls. A process of its own answers requests
(query_server.py), and controls of other programs arrive by OSC.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from typing import Any

from .. import Deliver, Input
from ..child import SERVER_ENVIRONMENT, Child

VALUES_INTERVAL_S = 1 / 30
MODULE = "worldjockey.integrations.osc.query_server"


class OSCQuery(Input):
    """rows: the parameter table, as in `wj reference --json`. values: initial values by name. name: as others list it.

    host, port: address of the server; a free port is used where that one is taken. osc_port: port that receives OSC.
    """

    def __init__(
        self,
        rows: Iterable[Mapping[str, Any]],
        values: Mapping[str, Any],
        name: str = "worldjockey",
        host: str = "127.0.0.1",
        port: int = 9012,
        osc_port: int = 9010,
    ) -> None:
        self._rows = [dict(row) for row in rows]
        self._values = dict(values)
        self._config = {"name": name, "host": host, "port": port, "osc_port": osc_port}
        self._news: dict[str, Any] = {}
        self._lock = threading.Lock()
        self._fresh = threading.Event()
        self._stop = threading.Event()
        self._status: dict[str, Any] = {}
        self._child = Child("OSCQuery", MODULE, SERVER_ENVIRONMENT)
        self._threads: list[threading.Thread] = []

    @property
    def port(self) -> int:
        """The port of the server; 0 while there is none."""
        return int(self._status.get("port", 0))

    def start(self, deliver: Deliver) -> None:
        """Returns at once. A missing network is no error, but is in `status`."""
        self._stop.clear()
        self._child = Child("OSCQuery", MODULE, SERVER_ENVIRONMENT)
        self._threads = [
            threading.Thread(target=self._run, name="oscquery", daemon=True),
            threading.Thread(target=self._write, name="oscquery values", daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    def feedback(self, target: str, value: Any) -> None:
        """Send the newest value of each target to clients at most 30 times a second. Never blocks."""
        with self._lock:
            if target in self._values or target.startswith("status/"):  # any word is a target: they are left out
                self._values[target] = self._news[target] = value
        self._fresh.set()

    def status(self) -> Mapping[str, Any]:
        error = {"error": self._child.error} if self._child.error else {}
        restarts = max(self._child.starts - 1, 0)
        return {**self._status, **error, "answering": self.port > 0, "restarts": restarts}

    def stop(self) -> None:
        """Withdraw the announcement and end the process."""
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
                first = {**self._config, "rows": self._rows, "values": dict(self._values)}
                self._news.clear()
            if not self._child.start(first=first):
                return
            for status in self._child.messages():
                self._status = status
            self._child.finish()
            self._status = {**self._status, "port": 0, "announced": False}

    def _write(self) -> None:
        """Send what changed, at most every VALUES_INTERVAL_S; what cannot be sent yet is kept for the next time."""
        while not self._stop.is_set():
            self._fresh.wait()
            self._fresh.clear()
            with self._lock:
                if self._news and self._child.send({"values": self._news}):
                    self._news = {}
            self._stop.wait(VALUES_INTERVAL_S)
