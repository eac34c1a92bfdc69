"""The process that holds the MIDI ports: opens ports that appear, closes ports that disappear, forwards every byte.

    python ports_process.py --serve BACKEND NAME    until standard input ends
    python ports_process.py --list BACKEND NAME     list the ports once

Writes one JSON list a line: ["midi", port, arrived_at on time.monotonic(), bytes] or
["ports", backend, open ports, error, outputs]. Reads ["send", output, bytes]. It is a process of its own because a
JACK server that ends crashes its clients with a segmentation fault. It imports only rtmidi and the standard library, so
that it starts at once.
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

POLL_INTERVAL_S = 0.001
IDLE_POLL_INTERVAL_S, IDLE_AFTER_S = 0.002, 1.0  # without messages
CONNECTION_DELAY_S = 0.1  # until a new connection carries messages; JACK makes it between two periods
QUEUE_MESSAGES = 8192  # of a port
PORTS_INTERVAL_S = 0.25  # between two listings of the ports
SEARCH_INTERVAL_S = 1.0  # between two searches for a MIDI system
JACK_NO_START_SERVER = 1  # JackOptions in jack/types.h
NO_MIDI = (
    "no MIDI on this machine: start a JACK server, or load ALSA's sequencer: sudo modprobe snd-seq"
    if sys.platform.startswith("linux")
    else "no MIDI on this machine: connect a controller"
)

_output_lock = threading.Lock()


def write_events(*events: Sequence[Any]) -> None:
    """Write events to standard output, from any thread."""
    with _output_lock:
        try:
            sys.stdout.buffer.write(b"".join(json.dumps(event).encode() + b"\n" for event in events))
            sys.stdout.buffer.flush()
        except OSError:
            os._exit(0)


def is_full_frame(data: Sequence[int]) -> bool:
    """Whether a system exclusive message is a full frame of MTC, the only one that is forwarded."""
    return len(data) == 10 and data[1] == 0x7F and list(data[3:5]) == [1, 1]


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
    """The open ports."""

    def __init__(self, backend: str, name: str) -> None:
        self._name = name
        self._open: dict[str, Any] = {}
        self._lister: Any = None
        for api in apis(backend):
            try:
                self._lister, self._api = rtmidi.MidiIn(api, name=f"{name}-looks"), api
                break
            except (SystemError, rtmidi.RtMidiError):
                continue
        self.backend = rtmidi.get_api_display_name(self._api) if self._lister else ""
        self._outputs: Any = rtmidi.MidiOut(self._api, name=f"{name}-looks-out") if self._lister else None
        self._sending: dict[str, Any] = {}  # open outputs
        self._send_lock = threading.Lock()
        self._known_ports: tuple[set[str], set[str]] = set(), set()
        self._inputs: dict[str, Any] = {}  # ports that are read
        self._lock = threading.Lock()
        self._own: Any = None
        self.keep: Any = None

    def open_own(self) -> None:
        """Open the virtual port for other programs. Windows has none."""
        own = rtmidi.MidiIn(self._api, name=self._name, queue_size_limit=QUEUE_MESSAGES)
        with contextlib.suppress(NotImplementedError, SystemError, rtmidi.RtMidiError):
            own.open_virtual_port(self._name)
            self._own = own
            self._listen(own, self._name)

    def found(self) -> dict[str, int]:
        """Names and indices of the ports, without ours; equal names get numbers."""
        return self._names(self._lister)

    def _names(self, lister: Any) -> dict[str, int]:
        seen: Counter[str] = Counter()
        names = {}
        for index, found in enumerate(
            lister.get_ports("utf-8")
        ):  # by default rtmidi takes other systems' names as Latin
            name = found or "unnamed"
            seen[name] += 1
            if not name.startswith(self._name):
                names[name if seen[name] == 1 else f"{name} ({seen[name]})"] = index
        return names

    def follow(self) -> tuple[list[str], str, list[str]]:
        """Open new ports, close absent ones. Returns the open ports, an error or "", and the outputs."""
        names, error, came = self.found(), "", False
        for gone in set(self._open) - set(names):
            with self._lock:
                del self._inputs[gone]
            self._open.pop(gone).delete()
        for name, index in names.items():
            if name in self._open:
                continue
            port = rtmidi.MidiIn(self._api, name=self._name, queue_size_limit=QUEUE_MESSAGES)
            try:
                port.open_port(index, name=name[:60])
                if self.found().get(name) != index:  # the indices just changed
                    port.delete()
                    continue
                self._open[name] = port
                self._listen(port, name)
                came = True
            except (SystemError, ValueError, rtmidi.RtMidiError) as cause:
                port.delete()
                error = f"{name} cannot be opened ({cause}): close the program that uses it"
        own = [self._name] if self._own else []
        with self._send_lock:
            outputs = self._names(self._outputs)
            if (ports_now := (set(names), set(outputs))) != self._known_ports:
                self._known_ports = ports_now
                while self._sending:  # a new port may have the name of a lost one: open it again
                    self._sending.popitem()[1].delete()
        if came:
            time.sleep(CONNECTION_DELAY_S)
        return [*own, *self._open], error, list(outputs)

    def send(self, output: str, data: list[int]) -> None:
        """Send to the output of that name, if there is one. Errors are ignored."""
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
                time.sleep(CONNECTION_DELAY_S)
            port.send_message(data)

    def close(self) -> None:
        """Close all ports: a JACK server waits half a second for every client that vanishes."""
        with self._send_lock:
            for port in (self._own, *self._open.values(), *self._sending.values(), self._lister, self._outputs):
                if port is not None:
                    port.delete()
        if self.keep:
            jack, _, client = self.keep
            jack.jack_client_close(client)

    def _listen(self, port: Any, name: str) -> None:
        port.ignore_types(sysex=False, timing=False, active_sense=True)  # a full frame of timecode is system exclusive
        with self._lock:
            self._inputs[name] = port

    def forward(self) -> bool:
        """Forward the messages since the last call. Returns whether there were any.

        This polls, because with a callback the system's MIDI thread would wait for Python; where that takes longer than
        a period, JACK delivers copies of the last message instead of all messages of the period.
        """
        found = []
        with self._lock:
            now = time.monotonic()
            for name, port in self._inputs.items():
                while (event := port.get_message()) is not None:
                    if event[0][:1] != [0xF0] or is_full_frame(event[0]):
                        found.append(("midi", name, now, event[0]))
        if found:
            write_events(*found)
        return bool(found)


def serve(command: str, backend: str, name: str) -> None:
    """`--serve`: forward until standard input ends. `--list`: list the ports once."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the show handles Ctrl-C, and closes our input
    ports = Ports(backend, name)
    if command == "--list":
        found = list(ports.found()) if ports.backend else []
        write_events(("ports", ports.backend, found, "" if ports.backend else NO_MIDI, []))
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
        write_events(("ports", "", [], NO_MIDI, []))
    while not ports.backend and not ended.wait(SEARCH_INTERVAL_S):
        ports = Ports(backend, name)
    if not ports.backend:
        os._exit(0)
    ports.open_own()
    ports.keep = end_with_jack(name) if ports.backend.lower() == "jack" else None

    def listen() -> None:
        last_message_at = time.monotonic()
        while not ended.is_set():
            if ports.forward():
                last_message_at = time.monotonic()
            time.sleep(POLL_INTERVAL_S if time.monotonic() - last_message_at < IDLE_AFTER_S else IDLE_POLL_INTERVAL_S)

    listener = threading.Thread(target=listen, daemon=True)
    listener.start()
    reported: Any = None
    while not ended.wait(PORTS_INTERVAL_S if reported else 0):
        now = ports.follow()
        if now != reported:
            reported = now
            write_events(("ports", ports.backend, *now))
    listener.join(1)
    ports.close()
    os._exit(0)  # without waiting for libraries


def end_with_jack(name: str) -> Any:
    """End this process when the JACK server ends, which rtmidi does not notice.

    Returns objects that must be kept alive.
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
