"""LTC in: a child program hears it (receiver_process.py), and each frame is passed on. It sends no controls."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from .. import Deliver, Input, OnTimecode, TimecodeFrame
from ..child import SERVER_ENVIRONMENT, Child

MODULE = "worldjockey.integrations.ltc.receiver_process"


class LtcInput(Input):
    """source: part of an audio input's name, the path of a WAV file, or None for the system's input. channel: from 1.
    on_timecode: called with each frame, in this input's thread."""

    def __init__(self, on_timecode: OnTimecode, source: str | None = None, channel: int = 1) -> None:
        self._on_timecode = on_timecode
        self._config = {"input": source, "channel": channel}
        self._child = Child("LTC", MODULE, SERVER_ENVIRONMENT, restart_delay_s=2.0)
        self._facts: dict[str, Any] = {}
        self._error = ""
        self._thread: threading.Thread | None = None

    def start(self, deliver: Deliver) -> None:
        """Returns at once. A device that is missing is reported in the status, and looked for again."""
        self._thread = threading.Thread(target=self._run, name="ltc", daemon=True)
        self._thread.start()

    def status(self) -> Mapping[str, Any]:
        """device: its name. frames: heard so far. level_db: of the signal, 0 is full scale. rate: as measured."""
        return {
            "source": self._config["input"] or "the system's input", "channel": self._config["channel"],
            **self._facts, "error": self._error or self._child.error, "restarts": max(self._child.starts - 1, 0),
        }  # fmt: skip

    def stop(self) -> None:
        self._child.end()
        if self._thread is not None:
            self._thread.join(5)

    def _run(self) -> None:
        while self._child.start(first=self._config):
            for message in self._child.messages():
                if "frame" in message:
                    name = str(self._facts.get("device", "LTC"))
                    self._on_timecode(replace(TimecodeFrame(*message["frame"]), source=name))
                elif "facts" in message:
                    self._facts, self._error = message["facts"], ""
                elif "error" in message:
                    self._facts, self._error = {}, f"LTC: {message['error']}"
            self._child.finish()
