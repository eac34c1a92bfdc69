"""Ableton Link with a real second peer: aalink in a process of its own, over this machine's network."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from worldjockey.integrations.link import input as linking
from worldjockey.integrations.link.input import LinkInput
from worldjockey.node.timing.show_clock import ShowClock

pytestmark = pytest.mark.slow

# Joins at the tempo it is given, writes [time.monotonic(), beat, bpm, peers], and sets a tempo that it reads.
PEER = """
import asyncio, json, sys, threading, time
from aalink import Link

async def main():
    link = Link(float(sys.argv[1]))
    link.quantum = 16
    link.enabled = True
    def listen():
        for line in sys.stdin:
            link.tempo = float(line)
    threading.Thread(target=listen, daemon=True).start()
    while True:
        print(json.dumps([time.monotonic(), link.beat, link.tempo, link.num_peers]), flush=True)
        await asyncio.sleep(0.05)

asyncio.run(main())
"""


class Peer:
    def __init__(self, bpm: float) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", PEER, str(bpm)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )

    def said(self) -> tuple[float, float, float, int]:
        """What it says now, not what waits in the pipe."""
        assert self.process.stdout
        asked = time.monotonic()
        for line in self.process.stdout:
            moment, beat, bpm, peers = json.loads(line)
            if moment >= asked:
                return moment, beat, bpm, peers
        raise AssertionError("the peer ended")

    def set(self, bpm: float) -> None:
        assert self.process.stdin
        self.process.stdin.write(f"{bpm}\n")

    def end(self) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def peer() -> Iterator[Callable[[float], Peer]]:
    pytest.importorskip("aalink", reason="the second Link peer is not installed: pip install aalink")
    made: list[Peer] = []

    def start(bpm: float) -> Peer:
        made.append(Peer(bpm))
        while (
            made[-1].said()[1] < 2
        ):  # Link lets the older of two sessions live; half a second makes no difference to it
            assert made[-1].said()[2] == pytest.approx(bpm, abs=0.01)
        return made[-1]

    yield start
    for one in made:
        one.end()


def test_joining_reads_the_tempo_changes_it_for_nobody_and_is_on_the_same_beat(
    peer: Callable[[float], Peer], wait_for: Callable[..., None]
) -> None:
    other = peer(133)
    clock = ShowClock(90, now=time.monotonic())
    link = LinkInput(clock.on_link, bpm=90)
    clock.lead = link.set_tempo
    link.start(lambda control: None)
    try:
        clock.obey("tempo/source", "link", time.monotonic())
        link.feedback("tempo/source", "link")
        tempos = []
        clock.obey("tempo", 90, time.monotonic())  # a hand before the session is known moves nobody else
        link.set_tempo(90)

        def joined() -> bool:
            tempos.append(other.said()[2])
            return link.status().get("peers") == 1

        wait_for(joined, what="the session (multicast on this machine)")
        tempos += [other.said()[2] for _ in range(10)]
        assert tempos == pytest.approx([133.0] * len(tempos), abs=0.01), "joining moved the session's tempo"
        wait_for(lambda: abs(clock.bpm - 133) < 0.01, what="the session's tempo at our clock")
        wait_for(lambda: other.said()[3] == 1, what="us at the other peer")
        apart = [clock.line(moment).beat_at(moment) - beat for moment, beat, _, _ in (other.said() for _ in range(5))]
        off = statistics.median(abs((gap + 8) % 16 - 8) for gap in apart) * 60 / 133
        assert off < 0.02, "the same place in the phrase"  # a pause between its two looks is no beat's fault

        clock.obey("tempo", 125, time.monotonic())  # now a hand leads the session
        wait_for(lambda: abs(other.said()[2] - 125) < 0.01, what="our tempo at the other peer")
        wait_for(lambda: abs(clock.bpm - 125) < 0.01, what="and at our clock")
        other.set(140)
        wait_for(lambda: abs(clock.bpm - 140) < 0.01, what="the other's tempo")

        link.feedback("tempo/source", "tap")
        wait_for(lambda: other.said()[3] == 0, what="our leaving")
        assert other.said()[2] == pytest.approx(140, abs=0.01)
    finally:
        link.stop()


def test_a_peer_that_dies_joins_again(
    peer: Callable[[float], Peer], wait_for: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(linking, "RESTART_DELAY_S", 1.0)
    peer(110)
    heard: list[Any] = []
    link = LinkInput(lambda *session: heard.append(session), joined=True, bpm=90)
    link.start(lambda control: None)
    try:
        wait_for(lambda: link.status()["joined"])
        link._child.kill()

        def lost() -> bool:
            status = link.status()
            return not status["joined"] and "is restarted" in status.get("error", "")

        wait_for(lost)
        count = len(heard)
        wait_for(lambda: len(heard) > count and abs(heard[-1][2] - 110) < 0.01, what="the session again")
        wait_for(lambda: "error" not in link.status())
    finally:
        link.stop()


def test_without_aalink_the_way_out_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linking, "installed", lambda: False)
    with pytest.raises(OSError, match="pip install aalink"):
        LinkInput(lambda *session: None, joined=True).start(lambda control: None)
    link = LinkInput(lambda *session: None)
    link.start(lambda control: None)
    link.feedback("tempo/source", "link")
    assert "pip install aalink" in link.status()["error"]
    link.feedback("tempo/source", "auto")
    assert "error" not in link.status()
    link.stop()
