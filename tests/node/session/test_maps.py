"""Controls are mapped while the show plays: what is learned plays at once, and is in the show's file."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pythonosc.udp_client import SimpleUDPClient
from worldjockey.integrations import ControlEvent
from worldjockey.node.control.desk import Desk
from worldjockey.node.control.show_editor import ShowEditor
from worldjockey.node.ipc.mailbox import Mailbox
from worldjockey.node.measure.show_process import free_port
from worldjockey.node.session.inputs import connect_maps, inputs_of
from worldjockey.node.session.requests import Requests
from worldjockey.node.show.schema import Show


class Rig:
    """A desk with its inputs and its editor, and the control loop's feedback to them."""

    def __init__(self, file: Path, text: str) -> None:
        file.write_text(text)
        self.show, self.box, self.file = Show.load(file), Mailbox(), file
        self.desk = Desk(self.show, self.box)
        self.editor = ShowEditor(self.desk, file, file.parent)
        self.inputs = inputs_of(self.show, self.desk, folder=file.parent)
        del self.inputs["link"]
        connect_maps(self.inputs, self.editor)
        self.requests = Requests()
        self.editor.register(self.requests)
        self.editor.start()
        for source in self.inputs.values():
            source.start(self.desk.deliver)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._feed)
        self._thread.start()

    def _feed(self) -> None:
        while not self._stop.wait(0.01):
            for name, value in self.desk.changed().items():
                for source in self.inputs.values():
                    source.feedback(name, value)

    def ask(self, do: str, **fields: Any) -> Any:
        return self.requests.answer({"id": 1, "do": do, **fields})

    @property
    def own(self) -> list[dict[str, Any]]:
        return [row.as_dict() for row in self.editor.maps if not row.locked]

    def close(self) -> None:
        self._stop.set()
        self._thread.join()
        for source in self.inputs.values():
            source.stop()
        self.editor.stop()
        self.box.unlink()


@pytest.fixture
def play(tmp_path: Path) -> Iterator[Callable[..., Rig]]:
    rigs: list[Rig] = []

    def make(text: str) -> Rig:
        rigs.append(Rig(tmp_path / "my.yaml", text))
        return rigs[-1]

    yield make
    for rig in rigs:
        rig.close()


def test_an_address_of_another_program_is_learned_plays_and_is_saved(play: Any, wait_for: Any) -> None:
    port = free_port()
    rig = play(f"# mine\nosc: {{port: {port}, query: off, feedback: off}}\nmidi: off\n")
    desk = SimpleUDPClient("127.0.0.1", port)
    desk.send_message("/meter", 0.5)
    wait_for(lambda: rig.inputs["osc"].status()["received"] == 1)
    rig.ask("map/learn", to="cam/yaw")
    wait_for(lambda: rig.inputs["osc"]._maps.armed == "cam/yaw")
    assert rig.editor.learning() == {"to": "cam/yaw", "kind": None}
    desk.send_message("/meter", 0.6)  # which sent before, too
    desk.send_message("/1/fader3", 0.75)
    wait_for(lambda: rig.desk.read("cam/yaw") == 0.5)
    wait_for(lambda: rig.editor.learning() is None)
    assert rig.own == [{"kind": "osc", "source": {"address": "/1/fader3"}, "text": "/1/fader3", "to": "cam/yaw",
                        "low": -1.0, "high": 1.0, "curve": "linear", "takeover": None, "locked": False}]  # fmt: skip
    rig.ask("map/edit", index=0, fields={"low": 0, "high": 0.5, "curve": "exp"})
    desk.send_message("/1/fader3", 1.0)
    wait_for(lambda: rig.desk.read("cam/yaw") == 0.5)
    desk.send_message("/1/fader3", 0.5)
    wait_for(lambda: 0 < rig.desk.read("cam/yaw") < 0.1)
    wait_for(lambda: not rig.editor.unsaved)
    assert rig.file.read_text() == (
        f"# mine\nosc: {{port: {port}, query: off, feedback: off, "
        "map: [{address: /1/fader3, to: cam/yaw, low: 0, high: 0.5, curve: exp}]}\nmidi: off\n"
    )
    rig.ask("map/remove", index=0)
    desk.send_message("/1/fader3", 1.0)
    desk.send_message("/wj/energy", 0.25)
    wait_for(lambda: rig.desk.read("energy") == 0.25)
    assert rig.desk.read("cam/yaw") < 0.1
    assert rig.own == []


def test_presses_by_osc_are_never_lost(play: Any, wait_for: Any) -> None:
    port = free_port()
    rig = play(f"cues: [{{name: a}}, {{name: b}}, {{name: c}}]\nmidi: off\nosc:\n  port: {port}\n  query: off\n  map:\n"
               "  - {address: /go, to: cue/go}\n  - {address: /b, to: cue/go, value: b}\n"
               "  - {address: /dance, to: act/dance}\n  - {address: /b, to: energy}\n")  # fmt: skip
    desk = SimpleUDPClient("127.0.0.1", port)
    for value in (1, 0, 1, 0):
        desk.send_message("/go", value)
    wait_for(lambda: rig.desk.news()["cue"] == "b")
    desk.send_message("/go", [])
    wait_for(lambda: rig.desk.news()["cue"] == "c")
    desk.send_message("/dance", 1.0)
    desk.send_message("/b", 0.5)
    wait_for(lambda: (rig.desk.news()["cue"], rig.desk.read("act"), rig.desk.read("energy")) == ("b", "dance", 0.5))
    assert rig.desk.error == ""


class Knobs:
    """A controller at JACK."""

    def __init__(self) -> None:
        import rtmidi

        self._out = rtmidi.MidiOut(rtmidi.API_UNIX_JACK, name="knobs")
        self._out.open_virtual_port("out")

    def send(self, *message: int) -> None:
        self._out.send_message(message)

    def close(self) -> None:
        self._out.delete()


@pytest.mark.slow
def test_a_knob_is_learned_changed_and_removed_while_it_plays(play: Any, wait_for: Any, jack: str) -> None:
    rig = play("# mine\nosc: off\nmidi:\n  takeover: jump  # no waiting\n  map:\n  - {cc: 1, to: speed}\n")
    midi = rig.inputs["midi"]
    wait_for(lambda: midi.status()["backend"])
    knobs = Knobs()
    try:
        wait_for(lambda: "knobs" in " ".join(midi.status()["ports"]))
        rig.ask("map/learn", to="energy")
        wait_for(lambda: midi.status()["learning"] == "energy")
        turns = itertools.count(10)

        def learned() -> bool:
            knobs.send(0xB0, 20, next(turns) % 64)
            return rig.editor.learning() is None

        wait_for(learned)
        row = rig.own[0]
        assert (row["kind"], row["to"], row["takeover"], row["low"], row["high"]) == (
            "midi",
            "energy",
            "jump",
            0.0,
            1.0,
        )
        assert row["source"] == {"cc": 20, "channel": 1, "device": "knobs:out"}
        assert row["text"] == "CC 20, channel 1, knobs:out"
        knobs.send(0xB0, 20, 127)
        wait_for(lambda: rig.desk.read("energy") == 1.0)
        rig.ask("map/edit", index=0, fields={"high": 0.5})
        knobs.send(0xB0, 20, 0)
        knobs.send(0xB0, 20, 127)
        wait_for(lambda: rig.desk.read("energy") == 0.5)
        wait_for(lambda: not rig.editor.unsaved)
        assert rig.file.read_text() == (
            "# mine\nosc: off\nmidi:\n  takeover: jump  # no waiting\n  map:\n"
            "  - {cc: 20, channel: 1, device: 'knobs:out', to: energy, high: 0.5}\n  - {cc: 1, to: speed}\n"
        )
        rig.ask("map/remove", index=0)
        rig.desk.deliver(ControlEvent("energy", (0.1,), time.monotonic(), "a hand"))
        knobs.send(0xB0, 20, 100)
        knobs.send(0xB0, 1, 127)
        wait_for(lambda: rig.desk.read("speed") == 2.0)
        assert rig.desk.read("energy") == 0.1
        rig.ask("map/learn", to="pad/1")
        rig.ask("map/cancel")
        wait_for(lambda: midi.status()["learning"] == "")
        with pytest.raises(ValueError, match="is a text"):
            rig.ask("map/learn", to="prompt")
        with pytest.raises(ValueError, match="no parameter"):
            rig.ask("map/learn", to="no/such")
        index = next(n for n, row in enumerate(rig.editor.maps) if row.locked and row.text == "note 36")
        rig.ask("map/remove", index=index)
        knobs.send(0x90, 36, 127)
        knobs.send(0x90, 37, 127)
        wait_for(lambda: rig.desk.read("pad/2") == 1.0)
        assert rig.desk.read("pad/1") == 0.0
    finally:
        knobs.close()
