"""Ableton Link: tempo and beat of the session that programs on the network share.

The parameter `tempo/source`, which arrives as feedback, joins and leaves the session. The peer is a process of its own
(link_process.py); joining does not change the session's tempo. It needs aalink, which is under the GPL 3 and therefore
not installed with this package: pip install "worldjockey[link]".
"""

from __future__ import annotations

import contextlib
import importlib.util
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from .. import Deliver, Input
from ..child import Child, exit_reason

PEER = Path(__file__).with_name("link_process.py")
RESTART_DELAY_S = 2.0
MISSING = "Ableton Link needs aalink: pip install aalink (licence: GPL 3), or choose another `tempo/source`"
OnSession = Callable[[float, float, float, int], None]  # time.monotonic(), beat, bpm, other peers


class LinkInput(Input):
    """An `Input` that delivers no controls: `on_session` gets the session's beat twenty times a second.

    joined: join at the start. bpm: tempo of a session without other peers. bar, phrase: the session's quantum is a
    phrase.
    """

    def __init__(
        self, on_session: OnSession, joined: bool = False, bpm: float = 120.0, bar: int = 4, phrase: int = 4
    ) -> None:
        self._on_session, self._joined, self._bpm = on_session, joined, bpm
        self._bar, self._phrase = bar, phrase
        self._child = Child("Link peer", PEER, restart_delay_s=RESTART_DELAY_S)
        self._wanted = threading.Event()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._session: tuple[float, int] | None = None
        self._error = ""

    def start(self, deliver: Deliver) -> None:
        """Raises OSError, with the fix, if the show uses Link and aalink is not installed."""
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
                self._child.close_input()
        elif target == "tempo/bar":
            self._bar = int(value)
            self._child.send(["quantum", self._bar * self._phrase])
        elif target == "tempo/phrase":
            self._phrase = int(value)
            self._child.send(["quantum", self._bar * self._phrase])
        elif target == "tempo":
            self._bpm = float(value)  # for a session of which this is the first peer

    def set_tempo(self, bpm: float) -> None:
        """Set the tempo of the whole session. Ignored before it is joined."""
        self._child.send(["tempo", bpm])

    def status(self) -> Mapping[str, Any]:
        session = self._session
        status: dict[str, Any] = {"joined": session is not None}
        if session is not None:
            status |= {"bpm": round(session[0], 2), "peers": session[1]}
        return status | ({"error": self._error} if self._error else {})

    def stop(self) -> None:
        self._stop.set()
        self._wanted.set()
        self._child.end()
        if self._thread is not None:
            self._thread.join(5)

    def _run(self) -> None:
        while not self._stop.is_set():
            self._wanted.wait()
            if self._stop.is_set():
                return
            if not self._child.start((str(self._bpm), str(self._bar * self._phrase))):
                return
            if not self._wanted.is_set():  # it was cancelled meanwhile
                self._child.close_input()
            for message in self._child.messages():
                with contextlib.suppress(ValueError, TypeError):
                    self._error = ""
                    _, at, beat, bpm, peers = message
                    self._session = (bpm, peers)
                    self._on_session(at, beat, bpm, peers)
            code = self._child.finish()
            self._session = None
            if self._wanted.is_set() and not self._stop.is_set():
                self._error = f"the Link peer ended ({exit_reason(code or 0)}); it is restarted"


def installed() -> bool:
    return importlib.util.find_spec("aalink") is not None
