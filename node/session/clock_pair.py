"""The clock and its warm spare: two processes of which one keeps time, while the other waits to take over."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from ..ipc.leadership import Leadership
from ..ipc.supervisor import EVENTS_KEPT, Supervisor

SPARE_DELAY_S = 1.0  # after the clock began to run: the start of a show has enough to do
STANDBY_PATIENCE_S = 10.0


class ClockPair:
    """Seen from outside this is one supervised clock, whose counts and restarts go on whichever process leads.

    target: the clock's main; it gets `lead`. When the leader ends, the spare leads at once by itself, and the process
    that is started in the dead one's place is the new spare. All methods belong to one thread.
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
        """The leader's."""
        return self._leader.pid

    def watch(self, now: float) -> None:
        """Called now and then: kills what is silent, starts again what ended. Never waits."""
        for supervisor in self._both:
            before = supervisor.events
            supervisor.watch(now)
            if supervisor.events is not before:
                self.events = [*self.events[1 - EVENTS_KEPT :], supervisor.events[-1]]
        self._see_who_leads()  # only now: a death is told by the name of what died
        if self._spare is None and self._leader.ran:
            self._spare_at = min(self._spare_at, now + SPARE_DELAY_S)
            if now >= self._spare_at:
                try:
                    self._spare = Supervisor(f"spare {self.name}", self._target, self._args, self._patience)
                except OSError:  # no memory or no more processes at this moment: the clock plays on without
                    self._spare_at = now + SPARE_DELAY_S

    def _see_who_leads(self) -> None:
        pid = self._lead.last_status.get("pid")
        if self._spare is not None and pid is not None and pid == self._spare.pid:
            self._leader, self._spare = self._spare, self._leader
            self._leader.name, self._spare.name = self.name, f"spare {self.name}"

    @property
    def _counts(self) -> dict[str, Any]:
        """The newest leader's, which are the whole show's."""
        return {k: v for k, v in self._lead.last_status.items() if k not in ("state", "message", "pid")}

    def status(self) -> dict[str, Any]:
        """The leader's, as `Supervisor.status`. spare: the pid of the process that stands by; None where none does."""
        said = {**self._leader.status(), "restarts": self.restarts, "spare": None}
        if self._leader.pid != self._lead.last_status.get("pid"):  # it has not ticked yet: the counts go on
            said |= self._counts
        if self._spare is not None and (spare := self._spare.status()).get("state") == "standby":
            said["spare"] = spare["pid"]
        return said

    def ask_to_stop(self) -> None:
        for supervisor in reversed(self._both):  # the spare first, so that it does not take over now
            supervisor.ask_to_stop()

    def finish(self, deadline: float) -> dict[str, Any]:
        """As `Supervisor.finish`, for both."""
        self.ask_to_stop()
        self._see_who_leads()
        restarts = self.restarts
        if self._spare is not None:
            self._spare.finish(deadline)
        said = {**self._lead.last_status, **self._leader.finish(deadline), **self._counts}
        self._lead.unlink()
        return {**said, "restarts": restarts}
