"""The ports' process, with a fake of rtmidi."""

from types import SimpleNamespace
from typing import Any

import pytest

rtmidi = pytest.importorskip("rtmidi")
from worldjockey.integrations.midi import ports_process  # noqa: E402


class Port:
    """A MIDI system with one port, which another program has open."""

    def __init__(self, *_: Any, **__: Any) -> None:
        self.deleted = False

    def get_ports(self) -> list[str]:
        return ["box"]

    def open_port(self, *_: Any, **__: Any) -> None:
        raise SystemError("busy")

    def delete(self) -> None:
        self.deleted = True


def test_a_port_that_cannot_be_opened_is_named_with_the_fix_and_the_others_stay(monkeypatch: Any) -> None:
    fake = SimpleNamespace(
        **{name: getattr(rtmidi, name) for name in dir(rtmidi) if name.startswith("API_")},
        MidiIn=Port, MidiOut=Port, RtMidiError=rtmidi.RtMidiError,
        get_compiled_api=lambda: [rtmidi.API_UNIX_JACK], get_api_display_name=lambda api: "JACK",
    )  # fmt: skip
    monkeypatch.setattr(ports_process, "rtmidi", fake)
    ports, error, outputs = ports_process.Ports("jack", "worldjockey").follow()
    assert ports == []
    assert error == "box cannot be opened (busy): close the program that uses it"
    assert outputs == ["box"]
