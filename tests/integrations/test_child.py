"""The supervisor of an integration's child program, with real programs of a few lines."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from worldjockey.integrations import LOG_FILE_VARIABLE
from worldjockey.integrations.child import QUEUED_LINES_MAX, Child, exit_reason

# Greets with its arguments and a line that is no JSON, answers what it reads, and fails where it is asked to.
ECHO = """
import json, os, sys
print("no JSON")
print(json.dumps(["hello", *sys.argv[1:], os.environ.get("MOOD")]), flush=True)
for line in sys.stdin:
    message = json.loads(line)
    if message == "fail":
        raise KeyError("place")
    print(json.dumps(["echo", message]), flush=True)
"""
# Neither reads nor ends by itself.
DEAF = """
import threading
print('"up"', flush=True)
threading.Event().wait()
"""


class Owner:
    """Loops as every integration with a child does."""

    def __init__(self, child: Child, arguments: tuple[str, ...], first: Any) -> None:
        self.child = child
        self.heard: list[Any] = []
        self.codes: list[int | None] = []
        self._start = arguments, first
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        while self.child.start(*self._start):
            for message in self.child.messages():
                self.heard.append(message)
            self.codes.append(self.child.finish())

    def end(self) -> None:
        self.child.end()
        self.thread.join(60)
        assert not self.thread.is_alive()


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Callable[..., Owner]]:
    """`own(program)` runs it until the test is over."""
    owners: list[Owner] = []

    def start(program: str, *arguments: str, first: Any = None, **options: Any) -> Owner:
        path = tmp_path / f"program-{len(owners)}.py"
        path.write_text(program)
        owners.append(Owner(Child("the peer", path, restart_delay_s=0.01, **options), arguments, first))
        return owners[-1]

    yield start
    for owner in owners:
        owner.end()


def test_messages_arrive_both_ways_in_their_order(own: Callable[..., Owner], wait_for: Callable[..., None]) -> None:
    owner = own(ECHO, "one", "two", first={"n": 0}, environment={"MOOD": "calm"})
    wait_for(lambda: owner.heard)
    assert owner.child.send({"n": 1}, {"n": 2})
    assert owner.child.send([3, "drei", None])
    wait_for(lambda: len(owner.heard) == 5)
    echoes = [["echo", message] for message in ({"n": 0}, {"n": 1}, {"n": 2}, [3, "drei", None])]
    assert owner.heard == [["hello", "one", "two", "calm"], *echoes]
    assert owner.child.starts == 1
    assert not owner.codes


def test_a_module_runs_by_its_name(wait_for: Callable[..., None]) -> None:
    owner = Owner(Child("the interpreter", "platform"), (), None)
    wait_for(lambda: owner.codes)
    owner.end()
    assert owner.codes[0] == 0
    assert owner.heard == []


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="signals are POSIX's")
def test_a_killed_child_is_started_again_and_the_log_has_why(
    own: Callable[..., Owner], wait_for: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    owner = own(ECHO, first="first")
    wait_for(lambda: len(owner.heard) == 2)
    before = owner.child.pid
    assert before is not None
    os.kill(before, signal.SIGKILL)
    wait_for(lambda: len(owner.heard) == 4)
    assert owner.heard[2:] == owner.heard[:2] == [["hello", None], ["echo", "first"]]
    assert owner.codes == [-signal.SIGKILL]
    assert owner.child.starts == 2
    assert owner.child.pid not in (None, before)
    assert [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING] == [
        "the peer ended unexpectedly (SIGKILL)"
    ]


def test_a_child_that_is_asked_to_end_reads_what_was_sent_and_is_no_surprise(
    own: Callable[..., Owner], wait_for: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    owner = own(ECHO)
    wait_for(lambda: owner.heard)
    owner.child.send("last")
    owner.child.close_input()
    wait_for(lambda: owner.codes)
    assert owner.heard[:2] == [["hello", None], ["echo", "last"]]
    assert owner.codes == [0]
    wait_for(lambda: owner.child.starts == 2)  # the owner decides whether there is another one
    owner.end()
    assert not caplog.records


def test_end_ends_the_child_and_no_other_is_started(own: Callable[..., Owner], wait_for: Callable[..., None]) -> None:
    owner = own(ECHO)
    wait_for(lambda: owner.heard)
    owner.end()
    assert owner.codes == [0]
    assert owner.child.pid is None
    assert not owner.child.send("too late")
    assert not owner.child.start()
    assert owner.child.starts == 1


def test_a_child_that_does_not_end_is_killed(own: Callable[..., Owner], wait_for: Callable[..., None]) -> None:
    owner = own(DEAF, end_timeout_s=0.1)
    wait_for(lambda: owner.heard == ["up"])
    owner.end()
    assert owner.codes[0] not in (0, None)


def test_a_child_that_does_not_read_is_not_waited_for(own: Callable[..., Owner], wait_for: Callable[..., None]) -> None:
    owner = own(DEAF, end_timeout_s=0.1)
    wait_for(lambda: owner.heard == ["up"])
    large = "x" * 100_000  # more than a pipe holds
    sent = [owner.child.send(large) for _ in range(QUEUED_LINES_MAX + 2)]
    assert sent[0]
    assert not sent[-1]


def test_the_traceback_of_a_child_that_fails_is_in_the_log_file(
    own: Callable[..., Owner], wait_for: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "run.log"
    log.write_text("what was there before\n")
    monkeypatch.setenv(LOG_FILE_VARIABLE, str(log))
    owner = own(ECHO)
    wait_for(lambda: owner.heard)
    owner.child.send("fail")
    wait_for(lambda: owner.child.starts == 2)
    text = log.read_text()
    assert owner.codes == [1]
    assert text.startswith("what was there before\n")
    assert "Traceback (most recent call last)" in text
    assert "KeyError: 'place'" in text


def test_a_child_that_cannot_be_started_is_named_and_tried_again(
    own: Callable[..., Owner], wait_for: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as nowhere:
        nowhere.setattr(sys, "executable", str(tmp_path / "no python"))
        owner = own(ECHO)
        wait_for(lambda: owner.child.error)
        assert owner.child.error.startswith("the peer could not be started: ")
        assert "no python" in owner.child.error
        assert owner.child.starts == 0
    wait_for(lambda: owner.heard)
    assert owner.child.error == ""
    assert owner.child.starts == 1


def test_exits_are_named() -> None:
    assert exit_reason(3) == "exit code 3"
    assert exit_reason(-11) == "SIGSEGV"
    assert exit_reason(-200) == "exit code -200"
