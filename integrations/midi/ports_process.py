"""The process that holds the MIDI ports: opens what comes, closes what goes, forwards every byte.

    python ports_process.py --serve BACKEND NAME    until standard input ends
    python ports_process.py --list BACKEND NAME     tell what there is, once

Writes one JSON list a line: ["midi", port, arrived_at on time.monotonic(), bytes] or
["ports", backend, open ports, error, outputs]. Reads ["send", output, bytes]. Alone in a process because a JACK server
that ends takes its clients down with a segmentation fault. Imports nothing but rtmidi and the standard library, so that
it starts at once.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import rtmidi

LISTEN = 0.001  # seconds between two looks for messages,
REST, RESTED = 0.002, 1.0  # and between two where none came for a second
SETTLE = 0.1  # seconds until a new connection carries messages; JACK makes it between two periods
QUEUE = 8192  # messages that a port keeps meanwhile
PORTS_INTERVAL_S = 0.25  # seconds between two looks for ports that came or went
SEARCH_INTERVAL_S = 1.0  # seconds between two looks for any MIDI at all
JACK_NO_START_SERVER = 1  # JackOptions in jack/types.h
NONE = (
    "no MIDI on this machine: start a JACK server, or load ALSA's sequencer: sudo modprobe snd-seq"
    if sys.platform.startswith("linux")
    else "no MIDI on this machine: plug a controller in"
)

_telling = threading.Lock()


def tell(*events: Sequence[Any]) -> None:
    """From any thread."""
    with _telling:
        try:
            sys.stdout.buffer.write(b"".join(json.dumps(event).encode() + b"\n" for event in events))
            sys.stdout.buffer.flush()
        except OSError:
            os._exit(0)


def apis(backend: str) -> list[int]:
    named = {
        "alsa": rtmidi.API_LINUX_ALSA,
        "jack": rtmidi.API_UNIX_JACK,
        "core": rtmidi.API_MACOSX_CORE,
        "windows": rtmidi.API_WINDOWS_MM,
    }
    compiled = rtmidi.get_compiled_api()
    if backend != "auto":
        return [named[backend]] if named.get(backend) in compiled else []
    if sys.platform.startswith("linux") and not Path("/dev/snd/seq").exists():
        compiled = [api for api in compiled if api != rtmidi.API_LINUX_ALSA]
    return [api for api in compiled if api != rtmidi.API_RTMIDI_DUMMY]


class Ports:
    """What is open, in the ports' process."""

    def __init__(self, backend: str, name: str) -> None:
        self._name = name
        self._open: dict[str, Any] = {}
        self._looker: Any = None
        for api in apis(backend):
            try:
                self._looker, self._api = rtmidi.MidiIn(api, name=f"{name}-looks"), api
                break
            except (SystemError, rtmidi.RtMidiError):
                continue
        self.backend = rtmidi.get_api_display_name(self._api) if self._looker else ""
        self._outputs: Any = rtmidi.MidiOut(self._api, name=f"{name}-looks-out") if self._looker else None
        self._sending: dict[str, Any] = {}  # outputs that something was sent to
        self._send_lock = threading.Lock()
        self._there: tuple[set[str], set[str]] = set(), set()
        self._heard: dict[str, Any] = {}  # what is listened to
        self._lock = threading.Lock()
        self._own: Any = None
        self.keep: Any = None

    def open_own(self) -> None:
        """The port that other programs send to. Windows has none."""
        own = rtmidi.MidiIn(self._api, name=self._name, queue_size_limit=QUEUE)
        with contextlib.suppress(NotImplementedError, SystemError, rtmidi.RtMidiError):
            own.open_virtual_port(self._name)
            self._own = own
            self._listen(own, self._name)

    def found(self) -> dict[str, int]:
        """The ports that there are and their indices, ours left out; equal names get numbers."""
        return self._names(self._looker)

    def _names(self, looker: Any) -> dict[str, int]:
        seen: Counter[str] = Counter()
        names = {}
        for index, name in enumerate(looker.get_ports()):
            seen[name] += 1
            if not name.startswith(self._name):
                names[name if seen[name] == 1 else f"{name} ({seen[name]})"] = index
        return names

    def follow(self) -> tuple[list[str], str, list[str]]:
        """Open what came, close what went. Returns what is open, what could not be, and the outputs there are."""
        names, error, came = self.found(), "", False
        for gone in set(self._open) - set(names):
            with self._lock:
                del self._heard[gone]
            self._open.pop(gone).delete()
        for name, index in names.items():
            if name in self._open:
                continue
            port = rtmidi.MidiIn(self._api, name=self._name, queue_size_limit=QUEUE)
            try:
                port.open_port(index, name=name[:60])
                if self.found().get(name) != index:  # ports are opened by number, and the numbers just changed
                    port.delete()
                    continue
                self._open[name] = port
                self._listen(port, name)
                came = True
            except (SystemError, ValueError, rtmidi.RtMidiError) as error:
                port.delete()
                error = f"{name} cannot be opened ({error}): is another program using it?"
        own = [self._name] if self._own else []
        with self._send_lock:
            outputs = self._names(self._outputs)
            if (there := (set(names), set(outputs))) != self._there:
                self._there = there
                while self._sending:  # who came may have the name of one that left, and be connected to nothing
                    self._sending.popitem()[1].delete()
        if came:
            time.sleep(SETTLE)
        return [*own, *self._open], error, list(outputs)

    def send(self, output: str, data: list[int]) -> None:
        """To an output of that name, if there is one; whatever it does with it."""
        with self._send_lock, contextlib.suppress(SystemError, ValueError, rtmidi.RtMidiError):
            port = self._sending.get(output)
            if port is None:
                index = self._names(self._outputs).get(output)
                if index is None:
                    return
                port = rtmidi.MidiOut(self._api, name=f"{self._name}-lights")
                port.open_port(index, name=output[:60])
                if self._names(self._outputs).get(output) != index:
                    port.delete()
                    return
                self._sending[output] = port
                time.sleep(SETTLE)
            port.send_message(data)

    def close(self) -> None:
        """Take leave: a JACK server waits half a second for every client that just vanishes."""
        with self._send_lock:
            for port in (self._own, *self._open.values(), *self._sending.values(), self._looker, self._outputs):
                if port is not None:
                    port.delete()
        if self.keep:
            jack, _, client = self.keep
            jack.jack_client_close(client)

    def _listen(self, port: Any, name: str) -> None:
        port.ignore_types(sysex=True, timing=False, active_sense=True)
        with self._lock:
            self._heard[name] = port

    def hear(self) -> bool:
        """Forward what came in since the last call. Returns whether anything did.

        Asked for, not called back: a callback would have the system's MIDI thread wait for Python, and JACK hands the
        messages of one period over as so many copies of the last where that takes longer than the period.
        """
        found = []
        with self._lock:
            now = time.monotonic()
            for name, port in self._heard.items():
                while (event := port.get_message()) is not None:
                    found.append(("midi", name, now, event[0]))
        if found:
            tell(*found)
        return bool(found)


def serve(command: str, backend: str, name: str) -> None:
    """`--serve`: forward until standard input ends. `--list`: tell what there is, once."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the show's; it closes our input
    ports = Ports(backend, name)
    if command == "--list":
        found = list(ports.found()) if ports.backend else []
        tell(("ports", ports.backend, found, "" if ports.backend else NONE, []))
        ports.close()
        os._exit(0)
    ended = threading.Event()

    def watch() -> None:
        for line in sys.stdin.buffer:
            with contextlib.suppress(ValueError, TypeError):
                _, output, data = json.loads(line)
                if ports.backend:
                    ports.send(output, data)
        ended.set()

    threading.Thread(target=watch, daemon=True).start()
    if not ports.backend:
        tell(("ports", "", [], NONE, []))
    while not ports.backend and not ended.wait(SEARCH_INTERVAL_S):
        ports = Ports(backend, name)
    if not ports.backend:
        os._exit(0)
    ports.open_own()
    ports.keep = end_with_jack(name) if ports.backend.lower() == "jack" else None

    def listen() -> None:
        heard = time.monotonic()
        while not ended.is_set():
            if ports.hear():
                heard = time.monotonic()
            time.sleep(LISTEN if time.monotonic() - heard < RESTED else REST)

    listener = threading.Thread(target=listen, daemon=True)
    listener.start()
    told: Any = None
    while not ended.wait(PORTS_INTERVAL_S if told else 0):
        now = ports.follow()
        if now != told:
            told = now
            tell(("ports", ports.backend, *now))
    listener.join(1)
    ports.close()
    os._exit(0)  # what libraries do at exit is not waited for


def end_with_jack(name: str) -> Any:
    """End this process when the JACK server ends: to rtmidi's clients its ports look alive for ever.

    Returns what must be kept for as long as it shall work.
    """
    try:
        jack = ctypes.CDLL("libjack.so.0")
    except OSError:
        return None
    jack.jack_client_open.restype = ctypes.c_void_p
    jack.jack_client_open.argtypes = [ctypes.c_char_p, ctypes.c_int, ctypes.c_void_p]
    shutdown = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(lambda _: os._exit(0))
    opened = jack.jack_client_open(f"{name}-watches".encode(), JACK_NO_START_SERVER, None)
    if not opened:
        return None
    client = ctypes.c_void_p(opened)
    jack.jack_on_shutdown(client, shutdown, None)
    jack.jack_activate(client)
    return jack, shutdown, client


if __name__ == "__main__":
    serve(*sys.argv[-3:])
