"""Ableton Link: the session's tempo and beat, from whichever programs on the network play together.

Joined and left by the parameter `tempo/source`, which arrives as feedback. The peer is a process of its own
(link_process.py); joining changes nobody's tempo. Needs aalink, which is under the GPL 3 and therefore not installed
with this package: pip install "worldjockey[link]".
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from .. import Deliver

PEER = Path(__file__).with_name("link_process.py")
RUN = "import runpy, sys; runpy.run_path(sys.argv[1], run_name='__main__')"  # without the package, which is not needed
RETRY = 2.0  # seconds until a peer that died joins again
MISSING = "Ableton Link needs aalink: pip install aalink (it is under the GPL 3), or choose another `tempo/source`"
OnSession = Callable[[float, float, float, int], None]  # time.monotonic(), beat, bpm, other peers


class LinkInput:
    """An `Input` that delivers no controls: `on_session` gets the session's beat twenty times a second.

    joined: from the start. bpm: of a session that nobody else is in. bar, phrase: the session's phrase is ours.
    """

    def __init__(
        self, on_session: OnSession, joined: bool = False, bpm: float = 120.0, bar: int = 4, phrase: int = 4
    ) -> None:
        self._on_session, self._joined, self._bpm = on_session, joined, bpm
        self._bar, self._phrase = bar, phrase
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._wanted = threading.Event()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._session: tuple[float, int] | None = None
        self._error = ""

    def start(self, deliver: Deliver) -> None:
        """Raises OSError, naming the fix, if the show asks for Link and it is not installed."""
        if self._joined and not installed():
            raise OSError(MISSING)
        if self._joined:
            self._wanted.set()
        self._thread = threading.Thread(target=self._run, name="link", daemon=True)
        self._thread.start()

    def feedback(self, target: str, value: Any) -> None:
        """Never waits."""
        if target == "tempo/source":
            self._error = MISSING if value == "link" and not installed() else ""
            if value == "link" and not self._error:
                self._wanted.set()
            else:
                self._wanted.clear()
                self._leave()
        elif target == "tempo/bar":
            self._bar = int(value)
            self._send("quantum", self._bar * self._phrase)
        elif target == "tempo/phrase":
            self._phrase = int(value)
            self._send("quantum", self._bar * self._phrase)
        elif target == "tempo":
            self._bpm = float(value)  # for a session that we are the first in

    def set_tempo(self, bpm: float) -> None:
        """Of the whole session, as a hand asks for it. Dropped until we have joined."""
        self._send("tempo", bpm)

    def status(self) -> Mapping[str, Any]:
        session = self._session
        said: dict[str, Any] = {"joined": session is not None}
        if session is not None:
            said |= {"bpm": round(session[0], 2), "peers": session[1]}
        return said | ({"error": self._error} if self._error else {})

    def stop(self) -> None:
        self._stop.set()
        self._wanted.set()
        self._leave()
        if self._thread is not None:
            self._thread.join(5)

    def _run(self) -> None:
        while not self._stop.is_set():
            self._wanted.wait()
            if self._stop.is_set():
                return
            with self._lock:
                self._process = process = _spawn(self._bpm, self._bar * self._phrase)
            if self._stop.is_set() or not self._wanted.is_set():  # it was taken back meanwhile
                self._leave()
            assert process.stdout is not None
            for line in process.stdout:
                with contextlib.suppress(ValueError, TypeError):
                    self._error = ""
                    _, at, beat, bpm, peers = json.loads(line)
                    self._session = (bpm, peers)
                    self._on_session(at, beat, bpm, peers)
            code = _end(process)
            self._session = None
            if self._wanted.is_set() and not self._stop.is_set():
                self._error = f"the Link peer ended (exit code {code}); it joins again"
                self._stop.wait(RETRY)

    def _leave(self) -> None:
        with self._lock, contextlib.suppress(OSError):
            if self._process is not None and self._process.stdin is not None:
                self._process.stdin.close()  # which ends it

    def _send(self, name: str, value: float) -> None:
        with self._lock, contextlib.suppress(OSError, ValueError):
            if self._process is not None and self._process.stdin is not None:
                self._process.stdin.write(json.dumps([name, value]).encode() + b"\n")
                self._process.stdin.flush()


def installed() -> bool:
    return importlib.util.find_spec("aalink") is not None


def _spawn(bpm: float, quantum: float) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", RUN, str(PEER), str(bpm), str(quantum)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    )  # fmt: skip


def _end(process: subprocess.Popen[bytes]) -> int | None:
    try:
        process.wait(2)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for pipe in (process.stdin, process.stdout):
        with contextlib.suppress(OSError):
            if pipe is not None:
                pipe.close()
    return process.returncode
