"""The clock and its warm spare: of two processes one keeps time, and the other waits to take over."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from ..ipc.leadership import Leadership
from ..ipc.supervisor import EVENTS_KEPT, Supervisor

SPARE_DELAY_S = 3.0  # between the first tick and the start of the spare: the machine is busy with the show's start
STANDBY_PATIENCE_S = 10.0


class ClockPair:
    """Behaves as one supervised clock, whose counts and restarts go on whichever process leads.

    target: the clock's main; it is called with `lead`. patience: as for `Supervisor`. When the leader ends, the spare
    takes the lead at once by itself, and the process that replaces the dead one is the new spare. All methods belong to
    one thread.
    """

    name = "clock"

    def __init__(self, target: Callable[..., None], args: tuple[Any, ...], patience: Mapping[str, float]) -> None:
        self._lead = Leadership()
        self._target, self._args = partial(target, lead=self._lead), args
        self._patience = {**patience, "standby": STANDBY_PATIENCE_S}
        self._leader = Supervisor(self.name, self._target, args, self._patience)
        self._spare: Supervisor | None = None
        self._spare_at = float("inf")
        self.events = list[str]()

    @property
    def _both(self) -> list[Supervisor]:
        return [self._leader, *([self._spare] if self._spare else [])]

    @property
    def restarts(self) -> int:
        return sum(supervisor.restarts for supervisor in self._both)

    @property
    def ran(self) -> bool:
        return any(supervisor.ran for supervisor in self._both)

    @property
    def error(self) -> str:
        return self._leader.error

    @property
    def unsuitable(self) -> bool:
        return self._leader.unsuitable

    @property
    def pid(self) -> int | None:
        """The leader's process id."""
        return self._leader.pid

    def watch(self, now: float) -> None:
        """Kill a process that stopped publishing its status, and restart one that ended. Never waits."""
        for supervisor in self._both:
            before = supervisor.events
            supervisor.watch(now)
            if supervisor.events is not before:
                self.events = [*self.events[1 - EVENTS_KEPT :], supervisor.events[-1]]
        self._find_leader()  # after that, so that a death is reported under the old name
        if self._spare is None and self._leader.ran:
            self._spare_at = min(self._spare_at, now + SPARE_DELAY_S)
            if now >= self._spare_at:
                try:
                    self._spare = Supervisor(f"spare {self.name}", self._target, self._args, self._patience)
                except OSError:  # no memory or process is free at the moment: the clock plays on without a spare
                    self._spare_at = now + SPARE_DELAY_S

    def _find_leader(self) -> None:
        pid = self._lead.last_status.get("pid")
        if self._spare is not None and pid is not None and pid == self._spare.pid:
            self._leader, self._spare = self._spare, self._leader
            self._leader.name, self._spare.name = self.name, f"spare {self.name}"

    @property
    def _counts(self) -> dict[str, Any]:
        """The newest leader's counts, which are those of the whole show."""
        return {k: v for k, v in self._lead.last_status.items() if k not in ("state", "message", "pid")}

    def status(self) -> dict[str, Any]:
        """The leader's, as `Supervisor.status`. spare: the process id of the spare once it is ready, or None."""
        status = {**self._leader.status(), "restarts": self.restarts, "spare": None}
        if self._leader.pid != self._lead.last_status.get(
            "pid"
        ):  # it has not ticked yet, so the counts are the last leader's
            status |= self._counts
        if self._spare is not None and (spare := self._spare.status()).get("state") == "standby":
            status["spare"] = spare["pid"]
        return status

    def ask_to_stop(self) -> None:
        for supervisor in reversed(self._both):  # the spare first, so that it does not take over now
            supervisor.ask_to_stop()

    def finish(self, deadline: float) -> dict[str, Any]:
        """End both processes, as `Supervisor.finish` does, and return the leader's last status."""
        self.ask_to_stop()
        self._find_leader()
        restarts = self.restarts
        if self._spare is not None:
            self._spare.finish(deadline)
        status = {**self._lead.last_status, **self._leader.finish(deadline), **self._counts}
        self._lead.unlink()
        return {**status, "restarts": restarts}
