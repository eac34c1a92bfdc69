"""Lighting desks: Art-Net and sACN play parameters. A child program receives them (receiver_process.py).

A desk sends all its channels all the time. Only a channel that moves plays its parameter: the values that a desk has
when it appears change nothing, and what something else has moved stays until the desk moves its channel. When a desk is
lost, the values stay as they are.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from .. import ControlEvent, Deliver, Input
from ..child import SERVER_ENVIRONMENT, Child
from .merge import SOURCES_MAX

MODULE = "worldjockey.integrations.dmx.receiver_process"
HIGHEST = {8: 255, 16: 65535}  # value of a channel of so many bits
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ChannelRule:
    """What one channel plays.

    universe: as the protocol counts it. channel: 1 to 512, of 16 bits the coarse one. bits: 8 or 16. target: the
    parameter. values: the arguments that it sends for a channel's value of 0..1, None for none; called where the value
    changes. presses: it acts as the channel crosses its middle upwards, or as another value is chosen, and never while
    it moves. label: for the performer.
    """

    universe: int
    channel: int
    bits: int
    target: str
    values: Callable[[float], tuple[Any, ...] | None]
    presses: bool = False
    label: str = ""


class LightsInput(Input):
    """rules: fields of `ChannelRule`. host: the address to listen on, 0.0.0.0 for every network. name: by which desks
    list this node. artnet, sacn: whether each protocol is received."""

    def __init__(self, rules: Iterable[Mapping[str, Any]], host: str = "127.0.0.1", name: str = "worldjockey",
                 artnet: bool = True, sacn: bool = True) -> None:  # fmt: skip
        self._rules = [ChannelRule(**rule) for rule in rules]
        self._config = {
            "host": host, "name": name, "artnet": artnet, "sacn": sacn,
            "universes": sorted({rule.universe for rule in self._rules}),
            "patch": [[rule.universe, rule.channel, rule.bits, rule.presses] for rule in self._rules],
        }  # fmt: skip
        self._child = Child("lights", MODULE, SERVER_ENVIRONMENT)
        self._raw: dict[int, int] = {}
        self._sent: dict[int, Any] = {}
        self._facts: dict[str, Any] = {}
        self._error = ""
        self._counts: Counter[str] = Counter()
        self._thread: threading.Thread | None = None

    def start(self, deliver: Deliver) -> None:
        """Returns at once. A port that another program uses is no error, but is in `status`."""
        self._deliver = deliver
        self._thread = threading.Thread(target=self._run, name="lights", daemon=True)
        self._thread.start()

    def status(self) -> Mapping[str, Any]:
        """sources: the desks, each with its universe, name, address, priority and frames a second. held: universes
        whose desks are gone. refused: universes with too many desks. unheard: networks whose multicast cannot be
        received, and why. patch: what each channel plays, and its value."""
        patch = [
            {"universe": r.universe, "channel": r.channel, "bits": r.bits, "to": r.target, "label": r.label,
             "value": self._raw.get(i)}
            for i, r in enumerate(self._rules)
        ]  # fmt: skip
        return {
            "host": self._config["host"], "universes": self._config["universes"], "patch": patch,
            "sources": [], **self._facts, "error": self._error or self._child.error, "message": _message(self._facts),
            "delivered": self._counts["delivered"], "restarts": max(self._child.starts - 1, 0),
        }  # fmt: skip

    def stop(self) -> None:
        self._child.end()
        if self._thread is not None:
            self._thread.join(5)

    def _run(self) -> None:
        while self._child.start(first=self._config):
            for message in self._child.messages():
                try:
                    self._on_message(message)
                except Exception:  # one line that cannot be read must not end the others
                    logger.exception("the line %.200r of the lights' receiver", message)
            self._child.finish()
            self._facts = {}

    def _on_message(self, message: Mapping[str, Any]) -> None:
        if "values" in message:
            self._error = ""
            for index, raw in message["values"]:
                self._channel(int(index), int(raw), bool(message["first"]), str(message.get("from") or "desk"))
        elif "facts" in message:
            self._facts, self._error = message["facts"], ""
        elif "error" in message:
            self._error = str(message["error"])

    def _channel(self, index: int, raw: int, first: bool, sender: str) -> None:
        rule, before = self._rules[index], self._raw.get(index)
        self._raw[index] = raw
        args = rule.values(raw / HIGHEST[rule.bits])
        if rule.presses:
            was = self._sent.get(index)
            self._sent[index] = args
            if first or before is None or args is None or args == was:
                return
        elif first or before is None or raw == before or args is None:
            return
        self._deliver(ControlEvent(rule.target, args, time.monotonic(), f"lights {sender}"))
        self._counts["delivered"] += 1


def _message(facts: Mapping[str, Any]) -> str:
    """What a performer has to know of a desk, in one line."""
    if held := facts.get("held"):
        return f"no desk sends universe {held[0]} any more: its values are held"
    if refused := facts.get("refused"):
        return (
            f"universe {refused[0]} has more than {SOURCES_MAX} senders, and the others are ignored: end some of them"
        )
    for network, why in facts.get("unheard", {}).items():
        return f"sACN multicast is not received on {network} ({why}): let the desk send to that address instead"
    return ""
