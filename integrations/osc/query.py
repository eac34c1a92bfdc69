"""OSCQuery: other programs find the show by themselves, and see every parameter with its type, range and live value.

An `Input` only in that it hears of values: what is asked is answered by a process of its own (query_server.py), and
what others send comes by OSC.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterable, Mapping
from typing import Any

from .. import Deliver

RETRY = 1.0  # seconds until a process that ended is started again
GAP = 1 / 30  # seconds between two lots of values
MODULE = "worldjockey.integrations.osc.query_server"


class OSCQuery:
    """rows: the table, as `wj reference --json` has it. values: by name, as the show opens. name: as others list it.

    host, port: where it answers, and any free port where that is taken. osc_port: where OSC is heard.
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
        self._said: dict[str, Any] = {}
        self._restarts = -1
        self._process: subprocess.Popen[bytes] | None = None
        self._threads: list[threading.Thread] = []

    @property
    def port(self) -> int:
        """The port it answers on; 0 as long as it does not."""
        return int(self._said.get("port", 0))

    def start(self, deliver: Deliver) -> None:
        """Returns at once. Never raises for want of a network: see `status`."""
        self._stop.clear()
        self._threads = [
            threading.Thread(target=self._run, name="oscquery", daemon=True),
            threading.Thread(target=self._write, name="oscquery values", daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    def feedback(self, target: str, value: Any) -> None:
        """The newest value of each target is told at most 30 times a second. Never blocks."""
        with self._lock:
            if target in self._values or target.startswith("status/"):  # there is no end of words
                self._values[target] = self._news[target] = value
        self._fresh.set()

    def status(self) -> Mapping[str, Any]:
        return {**self._said, "answering": self.port > 0, "restarts": max(self._restarts, 0)}

    def stop(self) -> None:
        """Take the announcement back and end the process."""
        if not self._threads:
            return
        self._stop.set()
        self._fresh.set()
        with self._lock:
            process = self._process
        if process is not None:
            _end(process)
        for thread in self._threads:
            thread.join(5)
        self._threads = []

    def _run(self) -> None:
        while not self._stop.is_set():
            self._restarts += 1
            try:
                process = _spawn()
                with self._lock:
                    values = dict(self._values)
                    self._news.clear()
                _send(process, {**self._config, "rows": self._rows, "values": values})
                with self._lock:
                    self._process = process
                if self._stop.is_set():
                    _end(process)
                assert process.stdout is not None
                for line in process.stdout:
                    with contextlib.suppress(ValueError):
                        self._said = json.loads(line)
                process.wait()
            except OSError as error:
                self._said = {"error": f"OSCQuery could not be started: {error}"}
            with self._lock:
                self._process = None
            self._said = {**self._said, "port": 0, "announced": False}
            self._stop.wait(RETRY)

    def _write(self) -> None:
        """A thread of its own: a pipe that is full holds up nothing else."""
        while not self._stop.is_set():
            self._fresh.wait()
            self._fresh.clear()
            with self._lock:
                news, process = self._news, self._process
                if process is not None:
                    self._news = {}
            if news and process is not None:
                with contextlib.suppress(OSError, ValueError):  # it ended: the next one is told everything
                    _send(process, {"values": news})
            self._stop.wait(GAP)


def _send(process: subprocess.Popen[bytes], said: Mapping[str, Any]) -> None:
    assert process.stdin is not None
    process.stdin.write(json.dumps(said).encode() + b"\n")
    process.stdin.flush()


def _spawn() -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", MODULE],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        # Nothing that lies in the folder it is started from is loaded, and it needs one thread.
        env={**os.environ, "PYTHONSAFEPATH": "1", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
    )


def _end(process: subprocess.Popen[bytes]) -> None:
    """It takes its announcement back when its standard input ends; one that hangs is killed."""
    with contextlib.suppress(OSError, ValueError):
        if process.stdin:
            process.stdin.close()
    try:
        process.wait(2)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
