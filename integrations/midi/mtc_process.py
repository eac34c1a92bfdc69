"""The process that sends MTC: quarter frames while the timecode runs, and a full frame where it stands or jumps.

    python -m worldjockey.integrations.midi.mtc_process       until standard input ends

Reads JSON lines: {"port", "rate", "line"} first, then {"line": [time.monotonic(), seconds, speed]}. Between two of them
it keeps the time itself, so that the quarter frames come evenly however busy the show is. Writes {"port", "sent",
"error"}.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import signal
import sys
import threading
import time
from fractions import Fraction
from pathlib import Path
from typing import Any

import mido
import rtmidi
from timecode import Timecode

from .mtc import PIECES, full_frame, piece

OWN_PORT = "worldjockey timecode"
RATES = {"24": Fraction(24), "25": Fraction(25), "29.97": Fraction(30000, 1001), "30": Fraction(30)}
FRAMES_A_DAY = {"24": 2073600, "25": 2160000, "29.97": 2589408, "30": 2592000}
WAIT_MAX_S = 0.01  # between two looks at the line
SEARCH_INTERVAL_S = 1.0
REPORT_INTERVAL_S = 0.5
JUMP_QUARTERS = 12  # from which on the line is elsewhere, and a full frame is sent
SPEED_MAX = 4.0  # beyond which only full frames are sent, so many a second:
FULL_FRAMES_A_SECOND = 10


def label(frame: int, rate: str) -> tuple[int, int, int, int]:
    """Hours, minutes, seconds and frames of a number of frames since midnight."""
    found = Timecode(rate, frames=frame % FRAMES_A_DAY[rate] + 1)
    return found.hrs, found.mins, found.secs, int(found.frs)


class Quarters:
    """What is due: pure, time is an argument. rate: by its name."""

    def __init__(self, rate: str) -> None:
        self._rate = rate
        self._line = (0.0, 0.0, 0.0)
        self._sent: int | None = None  # the quarter that was sent last, counted from midnight
        self._stands: int | None = None  # frame of the last full frame
        self._full_at = -1.0

    def follow(self, time: float, position: float, speed: float) -> None:
        self._line = time, position, speed

    def due(self, now: float) -> list[mido.Message]:
        time, position, speed = self._line
        exact = (position + (now - time) * speed) * float(RATES[self._rate]) * 4
        quarter = math.floor(exact + 1e-6) if speed >= 0 else math.ceil(exact - 1e-6)
        if abs(speed) < 0.01 or abs(speed) > SPEED_MAX:
            self._sent = None
            frame = quarter // 4
            if frame == self._stands or now - self._full_at < 1 / FULL_FRAMES_A_SECOND:
                return []
            return [self._full(frame, now)]
        step = 1 if speed > 0 else -1
        if self._sent is not None and not -JUMP_QUARTERS < (quarter - self._sent) * step < JUMP_QUARTERS:
            self._sent = None
        found: list[mido.Message] = []
        if self._sent is None:
            found = (
                []
                if self._stands is not None and abs(self._stands - quarter // 4) < 2
                else [self._full(quarter // 4, now)]
            )
            # A receiver needs all pieces of a label: begin with the first one of the next label.
            first = -(-quarter // PIECES) * PIECES if step > 0 else (quarter + 1) // PIECES * PIECES - 1
            self._sent = first - step
        self._stands = None
        while (quarter - self._sent) * step > 0:
            self._sent += step
            number = self._sent % PIECES
            at = label(self._sent // PIECES * 2, self._rate)
            found.append(mido.Message("quarter_frame", frame_type=number, frame_value=piece(number, at, self._rate)))
        return found

    def wait(self, now: float) -> float:
        """Seconds until the next look."""
        time, position, speed = self._line
        a_second = abs(speed) * float(RATES[self._rate]) * 4
        if self._sent is None or a_second < 1:
            return WAIT_MAX_S
        exact = (position + (now - time) * speed) * float(RATES[self._rate]) * 4
        left = (self._sent + 1 - exact if speed > 0 else exact - self._sent + 1) / a_second
        return min(max(left, 0.0), WAIT_MAX_S)

    def _full(self, frame: int, now: float) -> mido.Message:
        self._stands, self._full_at = frame, now
        return mido.Message("sysex", data=full_frame(label(frame, self._rate), self._rate))


def apis() -> list[int]:
    compiled = rtmidi.get_compiled_api()
    if sys.platform.startswith("linux") and not Path("/dev/snd/seq").exists():
        compiled = [api for api in compiled if api != rtmidi.API_LINUX_ALSA]
    return [api for api in compiled if api != rtmidi.API_RTMIDI_DUMMY]


def opened(name: str) -> tuple[Any, str]:
    """The output port and its name. OSError, with the fix, where there is none."""
    for api in apis():
        with contextlib.suppress(SystemError, rtmidi.RtMidiError):
            port = rtmidi.MidiOut(api, name=OWN_PORT)
            if not name:
                port.open_virtual_port(OWN_PORT)
                return port, OWN_PORT
            ports = port.get_ports("utf-8")
            for index, found in enumerate(ports):
                if name.lower() in found.lower():
                    port.open_port(index, name="out")
                    return port, found
            port.delete()
            raise OSError(f"no MIDI output is named {name!r}; there is {', '.join(ports) or 'none'}")
    raise OSError("no MIDI on this machine: start a JACK server, or connect an interface")


def ports() -> list[str]:
    """Names of the MIDI outputs that timecode can go to."""
    for api in apis():
        with contextlib.suppress(SystemError, rtmidi.RtMidiError):
            port = rtmidi.MidiOut(api, name=f"{OWN_PORT} looks")
            found: list[str] = port.get_ports("utf-8")
            port.delete()
            return found
    return []


def write(**fields: Any) -> None:
    try:
        sys.stdout.write(json.dumps(fields) + "\n")
        sys.stdout.flush()
    except OSError:
        os._exit(0)


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the show handles Ctrl-C, and closes our input
    first = json.loads(sys.stdin.readline())
    quarters = Quarters(first["rate"])
    known = threading.Event()

    def read() -> None:
        for text in sys.stdin:
            with contextlib.suppress(ValueError, TypeError, KeyError):
                quarters.follow(*json.loads(text)["line"])
                known.set()
        os._exit(0)  # without waiting for libraries

    if first.get("line"):
        quarters.follow(*first["line"])
        known.set()
    threading.Thread(target=read, daemon=True).start()
    while True:
        try:
            port, name = opened(first["port"])
            break
        except OSError as error:
            write(port="", sent=0, error=str(error))
            time.sleep(SEARCH_INTERVAL_S)
    write(port=name, sent=0, error="")
    known.wait()
    sent, reported_at = 0, 0.0
    while True:
        now = time.monotonic()
        for message in quarters.due(now):
            port.send_message(message.bytes())
            sent += 1
        if now - reported_at > REPORT_INTERVAL_S:
            reported_at = now
            write(port=name, sent=sent, error="")
        time.sleep(quarters.wait(time.monotonic()))


if __name__ == "__main__":
    if sys.argv[1:] == ["--list"]:
        write(ports=ports())
        os._exit(0)
    main()
