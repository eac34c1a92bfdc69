"""The ports' process, with a fake of rtmidi."""

from types import SimpleNamespace
from typing import Any

import pytest

rtmidi = pytest.importorskip("rtmidi")
from worldjockey.integrations.midi import ports_process  # noqa: E402


class Port:
    """A MIDI system with one port, which another program has open. Its names are in UTF-8, as everywhere."""

    names = (b"box",)

    def __init__(self, *_: Any, **__: Any) -> None:
        self.deleted = False

    def get_ports(self, encoding: str = "auto") -> list[str]:
        return [name.decode({"auto": "latin1"}.get(encoding, encoding)) for name in self.names]

    def open_port(self, *_: Any, **__: Any) -> None:
        raise SystemError("busy")

    def delete(self) -> None:
        self.deleted = True


@pytest.fixture
def ports(monkeypatch: pytest.MonkeyPatch) -> ports_process.Ports:
    fake = SimpleNamespace(
        **{name: getattr(rtmidi, name) for name in dir(rtmidi) if name.startswith("API_")},
        MidiIn=Port, MidiOut=Port, RtMidiError=rtmidi.RtMidiError,
        get_compiled_api=lambda: [rtmidi.API_UNIX_JACK], get_api_display_name=lambda api: "JACK",
    )  # fmt: skip
    monkeypatch.setattr(ports_process, "rtmidi", fake)
    return ports_process.Ports("jack", "worldjockey")


def test_a_port_that_cannot_be_opened_is_named_with_the_fix_and_the_others_stay(ports: ports_process.Ports) -> None:
    opened, error, outputs = ports.follow()
    assert opened == []
    assert error == "box cannot be opened (busy): close the program that uses it"
    assert outputs == ["box"]


def test_names_are_read_in_any_script_and_may_be_missing(
    ports: ports_process.Ports, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Port, "names", ("Contrôleur".encode(), "ポート".encode(), b""))
    assert list(ports.found()) == ["Contrôleur", "ポート", "unnamed"]
