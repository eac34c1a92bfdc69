"""MIDI in: every controller that is plugged in, now or later, plays the show.

The ports live in a process of their own (midi_ports.py), because the system's MIDI is not ours to trust: a JACK server
that ends takes every client down with a segmentation fault. That process forwards bytes; mapping them is done here, on
mido's messages (MIDI 1.0 Detailed Specification). When it dies, held notes are released and it is started again.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import mido

from . import Control, Deliver

NAME = "worldjockey"  # of the port that other programs send to
RETRY = 1.0  # seconds until the ports' process is started again
ALL_SOUND_OFF, ALL_NOTES_OFF = 120, 123
PORTS = Path(__file__).with_name("midi_ports.py")
RUN = "import runpy, sys; runpy.run_path(sys.argv[1], run_name='__main__')"  # without numpy, which the package needs
Kind = Literal["note", "cc", "pitchbend", "program", "aftertouch"]


@dataclass(frozen=True)
class Rule:
    """One mapping. number, channel (1..16) and device (a part of the port's name): None is any.

    A fader runs from low to high; a switch is on from the middle up; `press` is what a button sends each time.
    """

    kind: Kind
    number: int | None
    target: str
    low: float = 0.0
    high: float = 1.0
    channel: int | None = None
    device: str | None = None
    press: tuple[Any, ...] | None = None
    switch: bool = False

    def hears(self, channel: int, port: str) -> bool:
        """channel: 1..16."""
        return self.channel in (None, channel) and (self.device is None or self.device.lower() in port.lower())

    def at(self, x: float) -> float:
        """x: 0..1."""
        return float(x >= 0.5) if self.switch else self.low + x * (self.high - self.low)


def fraction(value: int, low: int, centre: int, high: int) -> float:
    """low..high -> 0..1 with the centre at 0.5 exactly, so that a fader's or wheel's middle is the middle."""
    if value <= centre:
        return 0.5 * (value - low) / (centre - low)
    return 0.5 + 0.5 * (value - centre) / (high - centre)


class Player:
    """Messages to controls: which notes are held, which buttons are down. No ports, no time.

    A note plays its pad with velocity as weight and aftertouch rides it; a pitch wheel runs from low (-8192) over the
    middle (at rest) to high (8191).
    """

    def __init__(self, rules: Iterable[Rule]) -> None:
        self._rules: dict[tuple[str, int | None], list[Rule]] = {}
        for rule in rules:
            self._rules.setdefault((rule.kind, rule.number), []).append(rule)
        self._held: dict[tuple[str, int, int], list[Rule]] = {}  # by port, channel, note: the faders it holds up
        self._down: set[tuple[str, int, int]] = set()  # by port, channel, controller: those above their middle

    @property
    def held(self) -> int:
        return len(self._held)

    def play(self, message: mido.Message, port: str) -> list[tuple[str, tuple[Any, ...]]]:
        """(target, args) for each thing that a message of that port means."""
        kind = message.type
        if kind == "note_on" and message.velocity > 0:
            return self._note_on(message, port)
        if kind in ("note_on", "note_off"):
            return self._release([(port, message.channel + 1, message.note)])
        if kind == "polytouch":
            return self._ride([(port, message.channel + 1, message.note)], message.value / 127)
        if kind == "aftertouch":
            channel = message.channel + 1
            held = [key for key in self._held if key[:2] == (port, channel)]
            x = message.value / 127
            return self._ride(held, x) + self._move("aftertouch", None, channel, port, x)
        if kind == "control_change":
            return self._control_change(message, port)
        if kind == "pitchwheel":
            x = fraction(message.pitch, -8192, 0, 8191)
            return self._move("pitchbend", None, message.channel + 1, port, x)
        if kind == "program_change":
            rules = self._find("program", message.program, message.channel + 1, port)
            return [(r.target, (message.program + 1,) if r.press is None else r.press) for r in rules]
        return []

    def release(self, port: str | None = None) -> list[tuple[str, tuple[Any, ...]]]:
        """A port, or all of them, went away: nobody will send its note-offs."""
        self._down = {key for key in self._down if port is not None and key[0] != port}
        return self._release([key for key in self._held if port is None or key[0] == port])

    def _find(self, kind: Kind, number: int | None, channel: int, port: str) -> list[Rule]:
        found = self._rules.get((kind, number), [])
        if number is not None:
            found = found + self._rules.get((kind, None), [])
        return [rule for rule in found if rule.hears(channel, port)]

    def _note_on(self, message: mido.Message, port: str) -> list[tuple[str, tuple[Any, ...]]]:
        rules = self._find("note", message.note, message.channel + 1, port)
        faders = [rule for rule in rules if rule.press is None]
        if faders:
            self._held[port, message.channel + 1, message.note] = faders
        pressed = [(rule.target, rule.press) for rule in rules if rule.press is not None]
        x = message.velocity / 127
        return pressed + [(r.target, (1.0,) if r.switch else (r.at(x),)) for r in faders]

    def _release(self, keys: list[tuple[str, int, int]]) -> list[tuple[str, tuple[Any, ...]]]:
        return [(rule.target, (rule.at(0.0),)) for key in keys for rule in self._held.pop(key, [])]

    def _ride(self, keys: list[tuple[str, int, int]], x: float) -> list[tuple[str, tuple[Any, ...]]]:
        return [(r.target, (r.at(x),)) for key in keys for r in self._held.get(key, []) if not r.switch]

    def _control_change(self, message: mido.Message, port: str) -> list[tuple[str, tuple[Any, ...]]]:
        channel = message.channel + 1
        if message.control in (ALL_SOUND_OFF, ALL_NOTES_OFF):  # a sequencer sends these when it stops
            return self._release([key for key in self._held if key[:2] == (port, channel)])
        key = (port, channel, message.control)
        was_down, is_down = key in self._down, message.value >= 64
        (self._down.add if is_down else self._down.discard)(key)
        x = fraction(message.value, 0, 64, 127)
        return self._move("cc", message.control, channel, port, x, pressed=is_down and not was_down)

    def _move(
        self, kind: Kind, number: int | None, channel: int, port: str, x: float, pressed: bool = False
    ) -> list[tuple[str, tuple[Any, ...]]]:
        rules = self._find(kind, number, channel, port)
        return [(r.target, (r.at(x),) if r.press is None else r.press) for r in rules if r.press is None or pressed]


def thin(events: list[list[Any]]) -> list[list[Any]]:
    """Of one controller's moves in a row on one port, the last; notes and all else stay in their order.

    events: ["midi", port, arrival, bytes] and others, in the order of arrival.
    """
    kept: list[list[Any] | None] = []
    places: dict[tuple[Any, ...], int] = {}
    for event in events:
        data = event[3] if event[0] == "midi" else []
        status = data[0] >> 4 if data else 0
        if len(data) == 3 and (status == 0xE or (status == 0xB and data[1] < ALL_SOUND_OFF)):
            # A button's way through the middle is news, so a side of the middle is part of what is superseded.
            key = (event[1], data[0], data[1] if status == 0xB else None)
            before = kept[places[key]] if key in places else None
            if before is not None and (status == 0xE or (before[3][2] >= 64) == (data[2] >= 64)):
                kept[places[key]] = None
            places[key] = len(kept)
        else:
            places.clear()
        kept.append(event)
    return [event for event in kept if event is not None]


class MIDIInput:
    """An `Input`: every MIDI input port of this machine, and one of our own that other programs can send to.

    mappings: as fields of `Rule`. backend: "auto", "alsa", "jack", "core" or "windows"; auto is ALSA where its
    sequencer is there, then JACK where a server runs. Without any MIDI it waits until there is some.
    """

    def __init__(self, mappings: Iterable[Mapping[str, Any]], backend: str = "auto", name: str = NAME) -> None:
        self._player = Player(Rule(**mapping) for mapping in mappings)
        self._command = ["--serve", backend, name]
        self._counts: Counter[str] = Counter()
        self._ports: list[str] = []
        self._backend, self._fault = "", ""
        self._parsers: dict[str, mido.Parser] = {}
        self._stop = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()

    def start(self, deliver: Deliver) -> None:
        """Returns at once; ports are opened as they are found. Never raises for want of MIDI: see `status`."""
        self._deliver = deliver
        self._stop.clear()
        self._thread = threading.Thread(target=self._run, name="midi in", daemon=True)
        self._thread.start()

    def feedback(self, target: str, value: Any) -> None:
        """Controllers are not lit yet."""

    def status(self) -> Mapping[str, Any]:
        return {
            "backend": self._backend,
            "ports": list(self._ports),
            "fault": self._fault,
            "held": self._player.held,
            **{k: self._counts[k] for k in ("messages", "superseded", "delivered", "failed", "restarts")},
        }

    def stop(self) -> None:
        """Close every port."""
        if self._thread is None:
            return
        with self._lock:
            self._stop.set()
            if self._process is not None:
                _end(self._process)
        self._thread.join(5)
        self._thread = None

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                with self._lock:
                    if self._stop.is_set():
                        return
                    self._process = _spawn(*self._command)
                self._read(self._process)
                self._process.wait()
            except OSError as fault:
                self._fault = f"MIDI could not be started: {fault}"
            self._say(self._player.release(), time.monotonic(), "all ports")
            self._ports, self._parsers = [], {}
            if not self._stop.wait(RETRY):
                self._counts["restarts"] += 1

    def _read(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None
        rest = b""
        while chunk := os.read(process.stdout.fileno(), 1 << 16):
            *lines, rest = (rest + chunk).split(b"\n")
            events = [json.loads(line) for line in lines]
            kept = thin(events)
            self._counts["superseded"] += len(events) - len(kept)
            for event in kept:
                self._take(event)

    def _take(self, event: list[Any]) -> None:
        if event[0] == "midi":
            _, port, arrival, data = event
            self._counts["messages"] += 1
            parser = self._parsers.setdefault(port, mido.Parser())
            parser.feed(data)
            for message in parser:
                self._say(self._player.play(message, port), arrival, port)
        elif event[0] == "ports":
            _, self._backend, ports, self._fault = event
            for port in set(self._ports) - set(ports):
                self._parsers.pop(port, None)
                self._say(self._player.release(port), time.monotonic(), port)
            self._ports = ports

    def _say(self, controls: list[tuple[str, tuple[Any, ...]]], arrival: float, port: str) -> None:
        for target, args in controls:
            try:
                self._deliver(Control(target, args, arrival, f"midi {port}"))
                self._counts["delivered"] += 1
            except Exception:  # whoever listens must not be able to make MIDI deaf
                self._counts["failed"] += 1


def list_ports(backend: str = "auto") -> list[str]:
    """Names of the MIDI inputs that are plugged in. Raises OSError, naming the fix, where there is no MIDI."""
    return _asked(backend)[1]


def backend_name(backend: str = "auto") -> str:
    """ "ALSA", "JACK", ...: the system's MIDI that is used. Raises OSError where there is none."""
    return _asked(backend)[0]


def _asked(backend: str) -> tuple[str, list[str]]:
    process = _spawn("--list", backend, NAME)
    try:
        out = process.communicate(timeout=10)[0]
        name, ports, fault = json.loads(out.splitlines()[-1])[1:]
    except (subprocess.TimeoutExpired, ValueError, IndexError):
        raise OSError(f"the system's MIDI does not answer (exit code {process.poll()}): restart it") from None
    finally:
        _end(process)
    if fault:
        raise OSError(fault)
    return name, ports


def _spawn(*arguments: str) -> subprocess.Popen[bytes]:
    # JACK prints to stderr whatever it does; and it must not start a server that nobody asked for.
    return subprocess.Popen(
        [sys.executable, "-c", RUN, str(PORTS), *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "JACK_NO_START_SERVER": "1"},
    )


def _end(process: subprocess.Popen[bytes]) -> None:
    """It ends when its standard input does; one that hangs in a driver is killed."""
    with contextlib.suppress(OSError):
        if process.stdin:
            process.stdin.close()
    try:
        process.wait(1)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
