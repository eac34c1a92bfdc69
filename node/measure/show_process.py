"""A show in a process of its own, whose statuses are read while it plays, for `wj bench`."""

from __future__ import annotations

import contextlib
import json
import os
import random
import socket
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..ipc.process import SPAWN, init_child
from ..ipc.status import error_text

SAMPLE_INTERVAL_S = 0.25
STOP_TIMEOUT_S = 30.0


# Below those that systems lend to whoever connects: on such a port a client that waits for a server may meet itself.
PORTS = range(20_000, 32_000)


def free_port() -> int:
    """A port that is free for both UDP and TCP. Raises OSError where there is none."""
    udp, tcp = (socket.AF_INET, socket.SOCK_DGRAM), (socket.AF_INET, socket.SOCK_STREAM)
    for port in random.SystemRandom().sample(PORTS, len(PORTS)):
        with contextlib.suppress(OSError), socket.socket(*udp) as datagrams, socket.socket(*tcp) as streams:
            datagrams.bind(("127.0.0.1", port))
            streams.bind(("127.0.0.1", port))
            return port
    raise OSError("no port is free: close other programs")


def _play(show: dict[str, Any], folder: Path, environment: Mapping[str, str], pipe: Any) -> None:
    """Main function of the process. Sends a dict for each sample, and {"report": ...} or {"error": ...} at the end."""
    init_child()
    log = (folder / "play.log").open("w")
    sys.stdout = sys.stderr = log
    os.dup2(log.fileno(), 1)  # for the output of child processes
    os.dup2(log.fileno(), 2)
    os.environ.update(environment)
    sent_at = 0.0

    def watch(processes: Any) -> bool:
        nonlocal sent_at
        now = time.monotonic()
        if now - sent_at < SAMPLE_INTERVAL_S:
            return False
        sent_at = now
        try:
            if pipe.poll():  # the request to stop, or the end of the other process
                return True
            outputs = {name: {k: v for k, v in message.items() if k != "latency_ms"}
                       for name, message in processes.output_statuses().items()}  # fmt: skip
            live = processes.live.status() if processes.live else {}
            preview = processes.preview.status() if processes.preview else {}
            pipe.send({
                "time": now, "clock": processes.clock.status(), "world": processes.world.status(), "outputs": outputs,
                "live": live, "preview": preview,
            })  # fmt: skip
        except (OSError, EOFError):
            return True
        return False

    try:
        from ..session.options import PlayOptions
        from ..session.play import play
        from ..show.schema import Show

        path = folder / "show.yaml"
        path.write_text(json.dumps(show), "utf-8")  # JSON is valid YAML
        report = play(Show.load(path), PlayOptions(folder=folder), watch)
        pipe.send({"report": json.loads(json.dumps(asdict(report), default=str))})
    except Exception as error:
        with contextlib.suppress(OSError):
            pipe.send({"error": error_text(error)})


class ShowProcess:
    """`wj play` of a show, given as the contents of its file. `samples` grows by the statuses of all processes.

    folder: for the files that it writes, among them `play.log`. environment: variables besides ours.
    """

    def __init__(self, show: dict[str, Any], folder: Path, environment: Mapping[str, str] | None = None) -> None:
        self.samples: list[dict[str, Any]] = []
        self._ended: dict[str, Any] = {}
        self._pipe, theirs = SPAWN.Pipe()
        args = (show, folder, dict(environment or {}), theirs)
        self._process = SPAWN.Process(target=_play, args=args, name="wj play")
        self._process.start()
        theirs.close()
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    @property
    def pid(self) -> int:
        return int(self._process.pid or 0)

    @property
    def now(self) -> dict[str, Any]:
        """The newest sample: {time, clock, world, outputs, live, preview}; empty before the first."""
        return self.samples[-1] if self.samples else {}

    def check(self) -> None:
        """Raises RuntimeError if the show ended by itself."""
        if self._ended or not self._thread.is_alive():
            raise RuntimeError(f"the show ended: {self._ended.get('error', 'for no known reason')}")

    def stop(self) -> dict[str, Any]:
        """Stop the show and return its report. Raises RuntimeError if it failed."""
        self.close()
        if "report" not in self._ended:
            raise RuntimeError(f"the show ended without a report: {self._ended.get('error', 'it was killed')}")
        report: dict[str, Any] = self._ended["report"]
        return report

    def close(self) -> None:
        """Stop the show; terminate or kill it if it does not stop."""
        with contextlib.suppress(OSError):
            self._pipe.send("stop")
        self._thread.join(STOP_TIMEOUT_S)
        for end in (self._process.terminate, self._process.kill, lambda: None):
            self._process.join(5.0)
            if self._process.is_alive():
                end()
        self._thread.join()
        self._pipe.close()

    def _listen(self) -> None:
        with contextlib.suppress(OSError, EOFError):
            while not self._ended:
                message = self._pipe.recv()
                if "report" in message or "error" in message:
                    self._ended = message
                else:
                    self.samples.append(message)
