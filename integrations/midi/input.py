"""MIDI input and feedback: every controller, also one that is connected later, plays the show and shows its values.

The ports are in a process of their own (ports_process.py), because a JACK server that ends crashes its clients with a
segmentation fault. That process forwards bytes in both directions. They are interpreted here: events in parse.py,
mappings in rules.py and player.py, lights in lights.py, learning in learn.py. When the process dies, held notes are
released and it is restarted.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from .. import ControlEvent, Deliver, Input, OnTimecode
from ..child import Child, exit_reason
from .learn import Gather
from .lights import ROUND_S, Lights, partner, plain
from .mtc import MtcDecoder, is_timecode
from .parse import Decoder, Event, Messages
from .player import TargetArgs, Translator, nothing, thin
from .rules import Controller, Rule

NAME = "worldjockey"  # of the port for other programs
LIGHTS_OFF_TIMEOUT_S = 1.0  # for the lights to go out at the end
CLOCK_TIMEOUT_S = 2.0  # without a clock, after which another port may lead
LIGHT_REFRESH_S = 4.0  # lights are sent again: messages may be lost, and controllers change their banks
LEARN_TIMEOUT_S = 30.0  # for a control to be moved
LEARN = "learn"  # parameter whose value is the name of the parameter to learn
LIST_TIMEOUT_S = 10.0
PORTS_PROCESS = Path(__file__).with_name("ports_process.py")
OnClock = Callable[[str, float, int], None]
Compose = Callable[[str, Mapping[str, Any]], Mapping[str, Any]]


def no_clock(_kind: str, _time: float, _value: int) -> None:
    pass


class MIDIInput(Input):
    """An `Input`: every MIDI input port of this machine, and a virtual port for other programs.

    mappings: fields of `Rule`. controllers: fields of `Controller`, for known products. feedback: parts of the names of
    other ports whose controls are also sent their values. read: returns a parameter's current value, for soft takeover,
    toggles, encoders and lights. compose: makes the fields of a mapping from a target and a control (learn.Gather), or
    raises ValueError; the parameter `learn` arms it. on_clock: called with ("tick" | "start" | "stop" | "continue" |
    "position", arrived_at on time.monotonic(), position in sixteenths), for one port at a time, in the reading thread.
    on_timecode: called with each quarter frame and full frame of MTC, for one port at a time, in the reading thread.
    timecode_port: part of the name of the only port whose MTC is taken.
    backend: "auto", "alsa", "jack", "core" or "windows"; auto is ALSA where its sequencer is available, then JACK where
    a server runs. Without MIDI it waits until there is some.
    """

    def __init__(
        self,
        mappings: Iterable[Mapping[str, Any]],
        backend: str = "auto",
        name: str = NAME,
        controllers: Iterable[Mapping[str, Any]] = (),
        feedback: Sequence[str] = (),
        read: Callable[[str], Any] = nothing,
        compose: Compose | None = None,
        on_clock: OnClock = no_clock,
        on_timecode: OnTimecode | None = None,
        timecode_port: str = "",
    ) -> None:
        known = [Controller.of(controller) for controller in controllers]
        self._player = Translator((Rule(**mapping) for mapping in mappings), known, read, name, feedback)
        self._lights = Lights(read)
        self._feedback_to = tuple(feedback)
        self.compose, self._on_clock = compose, on_clock
        self._on_timecode, self._timecode_port = on_timecode, timecode_port.lower()
        self._timecodes: dict[str, MtcDecoder] = {}
        self._timecode_from, self._timecode_at = "", -CLOCK_TIMEOUT_S
        self._new_maps: list[Rule] | None = None
        self._arguments, self._name = ("--serve", backend, name), name
        self._child = _child()
        self._counts: Counter[str] = Counter()
        self._ports: list[str] = []
        self._outputs: list[str] = []
        self._partners: dict[str, str] = {}  # by port: the output of the same controller
        self._backend, self._error = "", ""
        self._inputs: dict[str, tuple[Messages, Decoder]] = {}
        self._leader, self._led_at = "", -CLOCK_TIMEOUT_S  # port of the clock, and time of its last message
        self._armed, self._armed_at, self._gather = "", 0.0, Gather()
        self._learned: list[dict[str, Any]] = []
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []
        self._lights_lock = (
            threading.Lock()
        )  # lights are changed by one thread, checked by another, and sent by a third
        self._changed = threading.Event()

    def start(self, deliver: Deliver) -> None:
        """Returns at once; ports are opened as they are found. Missing MIDI is no error, but is in `status`."""
        self._deliver = deliver
        self._stop.clear()
        self._child = _child()
        self._threads = [
            threading.Thread(target=self._run, name="midi in", daemon=True),
            threading.Thread(target=self._send_lights, name="midi lights", daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    def feedback(self, target: str, value: Any) -> None:
        """Show a changed parameter, at most 25 times a second. The parameter `learn` arms learning."""
        if target == LEARN:
            self.learn(str(value))
            return
        with self._lights_lock:
            self._lights.note(target, value)
        self._changed.set()

    def learn(self, target: str) -> None:
        """Map the next control that is moved, with its device and channel, to `target`.

        An empty target cancels. Until then, at most LEARN_TIMEOUT_S, controllers play nothing.
        """
        if target != self._armed and (self.compose is not None or not target):
            self._gather, self._armed_at = Gather(), time.monotonic()
            self._armed = target

    def set_maps(self, mappings: Iterable[Mapping[str, Any]]) -> None:
        """Play other mappings from the next message on. From any thread."""
        self._new_maps = [Rule(**mapping) for mapping in mappings]

    def status(self) -> Mapping[str, Any]:
        counts = ("messages", "superseded", "delivered", "failed", "sent", "echoes")
        return {
            "backend": self._backend,
            "ports": list(self._ports),
            "lit": dict(self._partners),
            "error": self._child.error or self._error,
            "held": self._player.held,
            "waiting": self._player.counts["waiting"],
            "pickup": self._player.pickups(),
            "timecode": self._timecode_from,
            "learning": self._armed,
            "learned": list(self._learned),
            "restarts": max(self._child.starts - 1, 0),
            **{k: self._counts[k] for k in counts},
        }

    def stop(self) -> None:
        """Turn off every light and close every port."""
        if not self._threads:
            return
        reader, lights = self._threads
        self._stop.set()
        self._changed.set()
        lights.join(LIGHTS_OFF_TIMEOUT_S)
        self._child.end()
        lights.join(LIGHTS_OFF_TIMEOUT_S)
        reader.join(5)
        self._threads = []

    # -- in ----------------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while self._child.start(self._arguments):
            for batch in self._child.batches():
                self._on_lines(batch)
            self._child.finish()
            self._update_ports([], [])

    def _on_lines(self, lines: Iterable[list[Any]]) -> None:
        """Handle the messages that the ports' process sent together, in the order of arrival."""
        if (rules := self._new_maps) is not None:
            self._new_maps = None
            self._player.replace(rules)
            self._refresh_tables()
        events: list[Any] = []
        for line in lines:
            if line[0] == "midi":
                _, port, arrived_at, data = line
                if is_timecode(data):
                    self._timecode(port, arrived_at, data)
                    continue
                events += [(port, arrived_at, event) for event in self._decode(port, data)]
            elif line[0] == "ports":
                events.append(line)
        every = {port: self._player.table(port).every for port in self._inputs}
        kept = events if self._armed else thin(events, every)
        self._counts["superseded"] += len(events) - len(kept)
        for item in kept:
            if len(item) == 3:
                self._on_event(*item)
            else:
                _, self._backend, ports, self._error, outputs = item
                self._update_ports(ports, outputs)

    def _decode(self, port: str, data: list[int]) -> list[Event]:
        known = self._inputs.get(port)
        if known is None:
            table = self._player.table(port)
            known = self._inputs[port] = Messages(), Decoder(table.fine, table.nrpn)
        messages, decoder = known
        if self._armed:
            decoder.nrpn = True
        found = messages.feed(data)
        self._counts["messages"] += len(found)
        return [event for message in found for event in decoder.decode(message)]

    def _on_event(self, port: str, arrived_at: float, event: Event) -> None:
        if event.channel == 0:
            self._clock(port, arrived_at, event)
            return
        if self._armed and arrived_at - self._armed_at > LEARN_TIMEOUT_S:
            self.learn("")
            self._deliver_controls([(LEARN, ("",))], arrived_at, port)
        if self._armed and event.kind != "off":
            self._learn_from(port, arrived_at, event)
        else:
            with self._lights_lock:
                if self._lights.is_echo(event, port, arrived_at):
                    self._counts["echoes"] += 1
                    return
            self._deliver_controls(self._player.play(event, port), arrived_at, port)

    def _update_ports(self, ports: list[str], outputs: list[str]) -> None:
        """Update the connected ports: release the notes of lost ones, and light new ones."""
        for port in set(self._ports) - set(ports):
            self._inputs.pop(port, None)
            self._deliver_controls(self._player.release(port), time.monotonic(), port)
        if not ports:
            self._inputs = {}
            self._deliver_controls(self._player.release(), time.monotonic(), "all ports")
        self._player.connect(ports)
        self._update_decoders()
        with self._lights_lock:
            for port, output in list(self._partners.items()):
                if port not in ports or output not in outputs:
                    self._lights.unplug(port)
                    del self._partners[port]
            self._ports, self._outputs = ports, outputs
            self._lights.refresh()
            for port in ports:
                if port not in self._partners:
                    self._light(port)
        self._changed.set()

    def _light(self, port: str) -> None:
        table = self._player.table(port)
        known = table.controller
        parts = (known.outputs or known.ports) if known else [p for p in self._feedback_to if p.lower() in port.lower()]
        if not table.lit and not (known and known.hello):
            return
        output = partner(port, self._outputs, parts, known.skip if known else ())
        if output is not None:
            self._partners[port] = output
            self._lights.plug(port, output, table)

    def _clock(self, port: str, arrived_at: float, event: Event) -> None:
        """Pass on the clock. Of several, the first one leads until it has been silent for a while."""
        if port != self._leader and arrived_at - self._led_at < CLOCK_TIMEOUT_S:
            return
        self._leader, self._led_at = port, arrived_at
        try:
            self._on_clock(event.kind, arrived_at, event.value)
        except Exception:  # an error of the receiver must not stop MIDI
            self._counts["failed"] += 1

    def _timecode(self, port: str, arrived_at: float, data: Sequence[int]) -> None:
        """Pass on timecode. Of several ports, the first one leads until it has been silent for a while."""
        self._counts["messages"] += 1
        if self._on_timecode is None or self._timecode_port not in port.lower():
            return
        if port != self._timecode_from and arrived_at - self._timecode_at < CLOCK_TIMEOUT_S:
            return
        self._timecode_from, self._timecode_at = port, arrived_at
        try:
            frame = self._timecodes.setdefault(port, MtcDecoder(port)).feed(data, arrived_at)
            if frame is not None:
                self._on_timecode(frame)
        except Exception:  # an error of the receiver must not stop MIDI
            self._counts["failed"] += 1

    def _learn_from(self, port: str, arrived_at: float, event: Event) -> None:
        target = self._armed
        found = self._gather.add(event, port)
        if found is None or self.compose is None:
            return
        source = found if port == self._name else {**found, "device": plain(port)}
        try:
            self._player.add(Rule(**self.compose(target, source), learned=True))
            self._learned = [*self._learned[-255:], {**source, "to": target}]
            self._refresh_tables()
        except ValueError as error:
            self._error = f"{target} cannot be learned: {error}"
        self.learn("")
        self._deliver_controls([(LEARN, ("",))], arrived_at, port)

    def _refresh_tables(self) -> None:
        self._update_decoders()
        with self._lights_lock:
            for port in [*self._partners]:
                self._lights.unplug(port)
                del self._partners[port]
                self._light(port)

    def _update_decoders(self) -> None:
        for port, (_, decoder) in self._inputs.items():
            table = self._player.table(port)
            decoder.wanted, decoder.nrpn = table.fine, table.nrpn

    def _deliver_controls(self, controls: Iterable[TargetArgs], arrived_at: float, port: str) -> None:
        for target, args in controls:
            try:
                self._deliver(ControlEvent(target, args, arrived_at, f"midi {port}"))
                self._counts["delivered"] += 1
            except Exception:  # an error of the receiver must not stop MIDI
                self._counts["failed"] += 1

    # -- back --------------------------------------------------------------------------------------------------------

    def _send_lights(self) -> None:
        refreshed = time.monotonic()
        while not self._stop.is_set():
            self._changed.wait(LIGHT_REFRESH_S if self._settled() else ROUND_S)
            self._changed.clear()
            with self._lights_lock:
                if time.monotonic() - refreshed >= LIGHT_REFRESH_S:
                    refreshed = time.monotonic()
                    self._lights.refresh()
                sends = self._lights.due(time.monotonic())
            if sends:
                self._send(sends)
            self._stop.wait(ROUND_S)
        with self._lights_lock:
            goodbyes = self._lights.all_off()
        if goodbyes:
            self._send(goodbyes)

    def _settled(self) -> bool:
        with self._lights_lock:
            return self._lights.settled

    def _send(self, sends: list[tuple[str, tuple[int, ...]]]) -> None:
        # A restarted child gets every light again.
        if self._child.send(*(["send", output, list(data)] for output, data in sends)):
            self._counts["sent"] += len(sends)


def list_ports(backend: str = "auto") -> list[str]:
    """Names of the connected MIDI inputs. Raises OSError, with the fix, where there is no MIDI."""
    return _query_ports(backend)[1]


def backend_name(backend: str = "auto") -> str:
    """ "ALSA", "JACK", ...: the MIDI system in use. Raises OSError, with the fix, where there is none."""
    return _query_ports(backend)[0]


def _query_ports(backend: str) -> tuple[str, list[str]]:
    child = _child()
    child.start(("--list", backend, NAME))
    child.close_input()
    timer = threading.Timer(LIST_TIMEOUT_S, child.kill)
    timer.start()
    messages = list(child.messages())
    code = child.finish()
    timer.cancel()
    if not messages:
        reason = exit_reason(code or 0)
        raise OSError(f"the system's MIDI does not respond ({reason}): restart the JACK server, or the computer")
    name, ports, error, _ = messages[-1][1:]
    if error:
        raise OSError(error)
    return name, ports


def _child() -> Child:
    # libjack must not start a server by itself.
    return Child("MIDI ports", PORTS_PROCESS, {"JACK_NO_START_SERVER": "1"}, end_timeout_s=1.0)
