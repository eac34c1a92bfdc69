"""MIDI in and back: every controller that is plugged in, now or later, plays the show and shows what it plays.

The ports live in a process of their own (ports_process.py), because the system's MIDI is not ours to trust: a JACK
server that ends takes every client down with a segmentation fault. That process forwards bytes both ways. What they
mean is found here: events in parse.py, mappings in rules.py and player.py, lights in lights.py, learning in learn.py.
When the process dies, held notes are released and it is started again.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from .. import ControlEvent, Deliver
from ..child import Child, exit_reason
from .learn import Gather
from .lights import ROUND, Lights, partner, plain
from .parse import Decoder, Event, Messages
from .player import TargetArgs, Translator, nothing, thin
from .rules import Controller, Rule

NAME = "worldjockey"  # of the port that other programs send to
LIGHTS_OFF_TIMEOUT_S = 1.0  # seconds that the last lights may take to go out
CLOCK_TIMEOUT_S = 2.0  # seconds after which another port may lead the clock
LIGHT_REFRESH_S = 4.0  # seconds in which a light is sent again: one may be lost, and controllers change their banks
LEARN_TIMEOUT_S = 30.0  # seconds that a parameter waits for a control to be moved
LEARN = "learn"  # the parameter whose value is the name of the one that is being learned
LIST_TIMEOUT_S = 10.0
PORTS = Path(__file__).with_name("ports_process.py")
OnClock = Callable[[str, float, int], None]
Compose = Callable[[str, Mapping[str, Any]], Mapping[str, Any]]


def no_clock(_kind: str, _time: float, _value: int) -> None:
    pass


class MIDIInput:
    """An `Input`: every MIDI input port of this machine, and one of our own that other programs can send to.

    mappings: as fields of `Rule`. controllers: as fields of `Controller`, for products that are known. feedback: parts
    of the names of ports that are not, whose controls are sent their values all the same. read: a parameter's present
    value, for soft takeover, toggles, encoders and lights. compose: makes a mapping's fields from a target and what
    names a control (learn.Gather), ValueError if it cannot; a `learn` parameter arms it. on_clock: gets ("tick" |
    "start" | "stop" | "continue" | "position", arrived_at on time.monotonic(), sixteenths of a position), of one port
    at a time, in the thread that reads. backend: "auto", "alsa", "jack", "core" or "windows"; auto is ALSA where its
    sequencer is there, then JACK where a server runs. Without any MIDI it waits until there is some.
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
    ) -> None:
        known = [Controller.of(controller) for controller in controllers]
        self._player = Translator((Rule(**mapping) for mapping in mappings), known, read, name, feedback)
        self._lights = Lights(read)
        self._feedback_to = tuple(feedback)
        self._compose, self._on_clock = compose, on_clock
        self._arguments, self._name = ("--serve", backend, name), name
        self._child = _child()
        self._counts: Counter[str] = Counter()
        self._ports: list[str] = []
        self._outputs: list[str] = []
        self._partners: dict[str, str] = {}  # by port: the output that lights it
        self._backend, self._error = "", ""
        self._inputs: dict[str, tuple[Messages, Decoder]] = {}
        self._leader, self._led = "", -CLOCK_TIMEOUT_S  # the port that the clock comes from, and when it last did
        self._armed, self._armed_at, self._gather = "", 0.0, Gather()
        self._learned: list[dict[str, Any]] = []
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []
        self._lit = threading.Lock()  # what is shown is told by one thread, heard by another, and sent by a third
        self._changed = threading.Event()

    def start(self, deliver: Deliver) -> None:
        """Returns at once; ports are opened as they are found. Never raises for want of MIDI: see `status`."""
        self._deliver = deliver
        self._stop.clear()
        self._child = _child()
        self._threads = [
            threading.Thread(target=self._run, name="midi in", daemon=True),
            threading.Thread(target=self._show, name="midi lights", daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    def feedback(self, target: str, value: Any) -> None:
        """A parameter changed: show it, at most 25 times a second. `learn` arms the parameter that it names."""
        if target == LEARN:
            self.learn(str(value))
            return
        with self._lit:
            self._lights.note(target, value)
        self._changed.set()

    def learn(self, target: str) -> None:
        """The next control that a hand moves plays `target` from now on, on the device and channel that it is on.

        Empty: nothing is learned. Until then, LEARN_TIMEOUT_S at most, nothing else hears the controllers.
        """
        if target != self._armed and (self._compose is not None or not target):
            self._gather, self._armed_at = Gather(), time.monotonic()
            self._armed = target

    def status(self) -> Mapping[str, Any]:
        counts = ("messages", "superseded", "delivered", "failed", "sent", "echoes")
        return {
            "backend": self._backend,
            "ports": list(self._ports),
            "lit": dict(self._partners),
            "error": self._child.error or self._error,
            "held": self._player.held,
            "waiting": self._player.counts["waiting"],
            "learning": self._armed,
            "learned": list(self._learned),
            "restarts": max(self._child.starts - 1, 0),
            **{k: self._counts[k] for k in counts},
        }

    def stop(self) -> None:
        """Put every light out and close every port."""
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
                self._take(batch)
            self._child.finish()
            self._follow([], [])

    def _take(self, lines: Iterable[list[Any]]) -> None:
        """What the ports' process told in one go, in the order of arrival."""
        events: list[Any] = []
        for line in lines:
            if line[0] == "midi":
                _, port, arrived_at, data = line
                events += [(port, arrived_at, event) for event in self._decode(port, data)]
            elif line[0] == "ports":
                events.append(line)
        every = {port: self._player.table(port).every for port in self._inputs}
        kept = events if self._armed else thin(events, every)
        self._counts["superseded"] += len(events) - len(kept)
        for item in kept:
            if len(item) == 3:
                self._hear(*item)
            else:
                _, self._backend, ports, self._error, outputs = item
                self._follow(ports, outputs)

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

    def _hear(self, port: str, arrived_at: float, event: Event) -> None:
        if event.channel == 0:
            self._clock(port, arrived_at, event)
            return
        if self._armed and arrived_at - self._armed_at > LEARN_TIMEOUT_S:
            self.learn("")
            self._say([(LEARN, ("",))], arrived_at, port)
        if self._armed and event.kind != "off":
            self._learn(port, arrived_at, event)
        else:
            with self._lit:
                if self._lights.hear(event, port, arrived_at):
                    self._counts["echoes"] += 1
                    return
            self._say(self._player.play(event, port), arrived_at, port)

    def _follow(self, ports: list[str], outputs: list[str]) -> None:
        """What is plugged in now: let go of what left, light what came."""
        for port in set(self._ports) - set(ports):
            self._inputs.pop(port, None)
            self._say(self._player.release(port), time.monotonic(), port)
        if not ports:
            self._inputs = {}
            self._say(self._player.release(), time.monotonic(), "all ports")
        with self._lit:
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
        """Of several clocks, the first leads until it has been silent for a while."""
        if port != self._leader and arrived_at - self._led < CLOCK_TIMEOUT_S:
            return
        self._leader, self._led = port, arrived_at
        try:
            self._on_clock(event.kind, arrived_at, event.value)
        except Exception:  # whoever keeps time must not be able to make MIDI deaf
            self._counts["failed"] += 1

    def _learn(self, port: str, arrived_at: float, event: Event) -> None:
        target = self._armed
        found = self._gather.hear(event, port)
        if found is None or self._compose is None:
            return
        source = found if port == self._name else {**found, "device": plain(port)}
        try:
            self._player.add(Rule(**self._compose(target, source), learned=True))
            self._learned = [*self._learned[-255:], {**source, "to": target}]
            self._mapped_anew()
        except ValueError as error:
            self._error = f"{target} was not learned: {error}"
        self.learn("")
        self._say([(LEARN, ("",))], arrived_at, port)

    def _mapped_anew(self) -> None:
        for port, (_, decoder) in self._inputs.items():
            table = self._player.table(port)
            decoder.wanted, decoder.nrpn = table.fine, table.nrpn
        with self._lit:
            for port in [*self._partners]:
                self._lights.unplug(port)
                del self._partners[port]
                self._light(port)

    def _say(self, controls: Iterable[TargetArgs], arrived_at: float, port: str) -> None:
        for target, args in controls:
            try:
                self._deliver(ControlEvent(target, args, arrived_at, f"midi {port}"))
                self._counts["delivered"] += 1
            except Exception:  # whoever listens must not be able to make MIDI deaf
                self._counts["failed"] += 1

    # -- back --------------------------------------------------------------------------------------------------------

    def _show(self) -> None:
        refreshed = time.monotonic()
        while not self._stop.is_set():
            self._changed.wait(LIGHT_REFRESH_S if self._settled() else ROUND)
            self._changed.clear()
            with self._lit:
                if time.monotonic() - refreshed >= LIGHT_REFRESH_S:
                    refreshed = time.monotonic()
                    self._lights.refresh()
                sends = self._lights.due(time.monotonic())
            if sends:
                self._send(sends)
            self._stop.wait(ROUND)
        with self._lit:
            goodbyes = self._lights.all_off()
        if goodbyes:
            self._send(goodbyes)

    def _settled(self) -> bool:
        with self._lit:
            return self._lights.settled

    def _send(self, sends: list[tuple[str, tuple[int, ...]]]) -> None:
        # A child that ended is sent every light when it comes again.
        if self._child.send(*(["send", output, list(data)] for output, data in sends)):
            self._counts["sent"] += len(sends)


def list_ports(backend: str = "auto") -> list[str]:
    """Names of the MIDI inputs that are plugged in. Raises OSError, naming the fix, where there is no MIDI."""
    return _asked(backend)[1]


def backend_name(backend: str = "auto") -> str:
    """ "ALSA", "JACK", ...: the system's MIDI that is used. Raises OSError where there is none."""
    return _asked(backend)[0]


def _asked(backend: str) -> tuple[str, list[str]]:
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
        raise OSError(f"the system's MIDI does not answer ({reason}): restart it")
    name, ports, error, _ = messages[-1][1:]
    if error:
        raise OSError(error)
    return name, ports


def _child() -> Child:
    # JACK must not start a server that nobody asked for.
    return Child("MIDI ports", PORTS, {"JACK_NO_START_SERVER": "1"}, end_timeout_s=1.0)
