"""The process that is a peer of an Ableton Link session: tells the session's beat, passes tempo changes on.

    python link_process.py BPM QUANTUM       until standard input ends

Writes one JSON list a line: ["session", time.monotonic(), beat, bpm, peers]. Reads ["tempo", bpm], ["quantum", beats].

A peer that sets a tempo before it has found the others takes the whole session with it. So: join, wait, then read; what
is asked for before is dropped. Imports nothing of this package: aalink is under the GPL, and stays in its own process.
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

ALONE = 2.0  # seconds after which no others are expected to answer
FOUND = 0.5  # seconds after the first did, until its timeline is ours
REPORT_INTERVAL_S = 0.05
CLOCK_SAMPLES = 5  # at the beat, of which the quickest counts


def look(link: Any) -> tuple[float, float]:
    """(time, beat), within microseconds of each other."""
    looks = []
    for _ in range(CLOCK_SAMPLES):
        before, beat = time.monotonic(), link.beat
        took = time.monotonic() - before
        looks.append((took, before + took / 2, beat))
    return min(looks)[1:]


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
    link.enabled = True
    loop = asyncio.get_running_loop()
    lines: list[bytes] = []
    ended = threading.Event()

    def listen() -> None:
        for line in sys.stdin.buffer:
            lines.append(line)
        ended.set()

    threading.Thread(target=listen, daemon=True).start()
    joined, settles = loop.time(), loop.time() + ALONE
    while not ended.is_set():
        now = loop.time()
        if link.num_peers and settles > now + FOUND and settles == joined + ALONE:
            settles = now + FOUND
        settled = now >= settles
        while lines:
            obey(link, lines.pop(0), settled)
        if settled:
            at, beat = look(link)
            row = ["session", at, beat, link.tempo, link.num_peers]
            try:
                os.write(sys.stdout.fileno(), json.dumps(row).encode() + b"\n")
            except OSError:
                return
        await asyncio.sleep(REPORT_INTERVAL_S)
    link.enabled = False


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the show's to obey
    asyncio.run(serve(*(float(argument) for argument in sys.argv[-2:])))
    os._exit(0)  # Link's threads need no clean end
