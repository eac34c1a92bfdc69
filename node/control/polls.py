"""A poll of the audience: it opens, counts and closes, and its winner is played on the beat. Pure."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from ..show.crowd import Poll
from ..timing.tempo import Line, Meter, landing

State = Literal["open", "tied", "decided", "ended"]
SHOWN_S = 8.0  # for which a result stays on the phones


@dataclass
class OpenPoll:
    """number: counts the polls of the show, so that votes for another one are told apart. closes_at: time.monotonic().
    winner: the option, None while it is open or tied, and where nobody won. lands_beat: on which it is played."""

    poll: Poll
    number: int
    closes_at: float
    counts: list[int] = field(default_factory=list)
    state: State = "open"
    winner: int | None = None
    lands_beat: float | None = None
    decided_at: float = 0.0

    def __post_init__(self) -> None:
        self.counts = self.counts or [0] * len(self.poll.options)

    def count(self, number: int, counts: Sequence[int]) -> None:
        if number == self.number and self.state == "open" and len(counts) == len(self.counts):
            self.counts = list(counts)

    def decide(self, now: float, line: Line, meter: Meter, latency: float, choice: int | None = None) -> None:
        """Close it. The winner lands on the next beat, bar or phrase that can still be met. choice: the performer's, of
        those that are tied."""
        if choice is None and self.poll.ties == "performer" and len(self.tied) > 1:
            self.state, self.decided_at = "tied", now
            return
        self.winner = winner(self.poll, self.counts, self.number) if choice is None else choice
        self.state, self.decided_at = "decided", now
        every = meter.beats(self.poll.on)
        self.lands_beat = landing(line, now, every, latency) if every else None

    @property
    def tied(self) -> list[int]:
        """The options with the most votes; none below the quorum."""
        return leaders(self.poll, self.counts)

    def is_due(self, now: float, line: Line, latency: float) -> bool:
        if self.state != "decided":
            return False
        return self.lands_beat is None or now >= line.time_of(self.lands_beat) - latency


def leaders(poll: Poll, counts: Sequence[int]) -> list[int]:
    """The options with the most votes; none below the quorum."""
    most = max(counts, default=0)
    if sum(counts) < poll.quorum or not most:
        return []
    return [index for index, count in enumerate(counts) if count == most]


def winner(poll: Poll, counts: Sequence[int], seed: int) -> int | None:
    """The option with the most votes; None below the quorum. seed: of the lot where several have as many."""
    best = leaders(poll, counts)
    if not best or (len(best) > 1 and poll.ties in ("none", "performer")):
        return None
    return random.Random(seed).choice(best) if poll.ties == "random" else best[0]
