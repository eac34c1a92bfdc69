"""The process that is a peer of an Ableton Link session: reports the session's beat, and sets its tempo.

    python link_process.py BPM QUANTUM       until standard input ends

Writes one JSON list a line: ["session", time.monotonic(), beat, bpm, peers]. Reads ["tempo", bpm], ["quantum", beats].

A peer that sets a tempo before it has found the others changes the tempo of all. So it joins, waits, and then reads;
tempos that arrive before are ignored. Imports nothing of this package: aalink is under the GPL, and stays in its own
process.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
import threading
import time
from typing import Any

from aalink import Link

DISCOVERY_TIMEOUT_S = 2.0  # for other peers to answer
# Of 28 peers that joined at once, within a second of another's leaving, 9 set the tempo of the session; of 24 that
# waited, none.
ENABLE_DELAY_S = 0.5
SYNC_S = 0.5  # after the first answer, until this peer has taken over the session's timeline
REPORT_INTERVAL_S = 0.05
CLOCK_SAMPLES = 5  # of the beat; the fastest one counts


def time_and_beat(link: Any) -> tuple[float, float]:
    """(time, beat), within microseconds of each other."""
    samples = []
    for _ in range(CLOCK_SAMPLES):
        before, beat = time.monotonic(), link.beat
        took = time.monotonic() - before
        samples.append((took, before + took / 2, beat))
    return min(samples)[1:]


def obey(link: Any, line: bytes, settled: bool) -> None:
    with contextlib.suppress(ValueError, TypeError):
        name, value = json.loads(line)
        if name == "tempo" and settled and 20 <= float(value) <= 999:
            link.tempo = float(value)
        elif name == "quantum" and 1 <= float(value) <= 4096:
            link.quantum = float(value)


async def serve(bpm: float, quantum: float) -> None:
    link = Link(bpm)
    link.quantum = quantum
    loop = asyncio.get_running_loop()
    lines: list[bytes] = []
    ended = threading.Event()

    def listen() -> None:
        for line in sys.stdin.buffer:
            lines.append(line)
        ended.set()

    threading.Thread(target=listen, daemon=True).start()
    await asyncio.sleep(ENABLE_DELAY_S)
    link.enabled = True
    joined, settles = loop.time(), loop.time() + DISCOVERY_TIMEOUT_S
    while not ended.is_set():
        now = loop.time()
        if link.num_peers and settles > now + SYNC_S and settles == joined + DISCOVERY_TIMEOUT_S:
            settles = now + SYNC_S
        settled = now >= settles
        while lines:
            obey(link, lines.pop(0), settled)
        if settled:
            at, beat = time_and_beat(link)
            row = ["session", at, beat, link.tempo, link.num_peers]
            try:
                os.write(sys.stdout.fileno(), json.dumps(row).encode() + b"\n")
            except OSError:
                return
        await asyncio.sleep(REPORT_INTERVAL_S)
    link.enabled = False


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the show handles Ctrl-C
    asyncio.run(serve(*(float(argument) for argument in sys.argv[-2:])))
    os._exit(0)  # Link's threads need no clean shutdown
