"""Timecode out: MTC to a MIDI port, by a child program that keeps the time (mtc_process.py)."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

from .. import Deliver, Input
from ..child import SERVER_ENVIRONMENT, Child

MODULE = "worldjockey.integrations.midi.mtc_process"
ENVIRONMENT = {**SERVER_ENVIRONMENT, "JACK_NO_START_SERVER": "1"}
LIST_TIMEOUT_S = 10.0


def list_outputs() -> list[str]:
    """Names of the MIDI outputs that timecode can go to. Raises OSError, with the fix, where MIDI does not respond."""
    child = Child("MIDI outputs", MODULE, ENVIRONMENT, end_timeout_s=1.0)
    child.start(("--list",))
    child.close_input()
    timer = threading.Timer(LIST_TIMEOUT_S, child.kill)
    timer.start()
    messages = list(child.messages())
    child.finish()
    timer.cancel()
    if not messages:
        raise OSError("the system's MIDI does not respond: restart the JACK server, or the computer")
    return list(messages[-1]["ports"])


class MtcOutput(Input):
    """port: part of the name of a MIDI output; empty opens a port of its own, "worldjockey timecode". rate: "24", "25",
    "29.97" or "30". It sends no controls."""

    def __init__(self, port: str, rate: str) -> None:
        self._config = {"port": port, "rate": rate}
        self._child = Child("timecode out", MODULE, ENVIRONMENT)
        self._facts: dict[str, Any] = {"port": "", "sent": 0}
        self._error = ""
        self._line: list[float] | None = None
        self._thread: threading.Thread | None = None

    def start(self, deliver: Deliver) -> None:
        """Returns at once. A port that is missing is reported in the status, and looked for again."""
        self._thread = threading.Thread(target=self._run, name="timecode out", daemon=True)
        self._thread.start()

    def send(self, time: float, position: float, speed: float) -> None:
        """From `time` (time.monotonic()) on the timecode is at `position` s and moves by `speed` s a second."""
        self._line = [time, position, speed]
        self._child.send({"line": self._line})

    def status(self) -> Mapping[str, Any]:
        return {**self._facts, "error": self._error or self._child.error, "restarts": max(self._child.starts - 1, 0)}

    def stop(self) -> None:
        self._child.end()
        if self._thread is not None:
            self._thread.join(5)

    def _run(self) -> None:
        while self._child.start(first={**self._config, "line": self._line}):
            for message in self._child.messages():
                self._facts = {"port": message.get("port", ""), "sent": message.get("sent", 0)}
                self._error = str(message.get("error", ""))
            self._child.finish()
