"""Lighting desks by Art-Net and sACN, against senders that are not ours."""

from __future__ import annotations

import socket
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pygdtf
import pytest
import sacn
from hypothesis import given
from hypothesis import strategies as st
from sacn.messages.data_packet import DataPacket, calculate_multicast_addr
from stupidArtnet import StupidArtnet
from worldjockey.integrations import ControlEvent
from worldjockey.integrations.dmx import artnet, multicast
from worldjockey.integrations.dmx.input import LightsInput
from worldjockey.integrations.dmx.merge import SOURCES_MAX, Source, Universe, framed
from worldjockey.integrations.dmx.multicast import networks
from worldjockey.node.control import fixture_profile
from worldjockey.node.show.lights import Lights, addressed
from worldjockey.node.show.schema import Show
from worldjockey.node.show.yaml_file import ShowError

SHOW = """
model: testcard
lights:
  universe: 3
  patch:
  - {channel: 101, bits: 16, to: cam/yaw}
  - {channel: 103, to: prompt, value: a calm sea}
  - {channel: 104, to: freeze}
  - {channel: 105, to: energy, low: 1, high: 0}
"""
CHANNEL = {channel.name: at for at, channel in addressed("basic", 1)}


class Desk:
    """What both senders have in common: one universe whose channels can be set."""

    def __init__(self, send: Callable[[list[int]], None]) -> None:
        self._send, self.levels = send, [0] * 512

    def set(self, channel: int, value: int) -> None:
        self.levels[channel - 1] = value
        self.send()

    def send(self) -> None:
        self._send(self.levels)


def until(condition: Callable[[], Any], seconds: float = 15.0) -> Any:
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.01)
    return found


@pytest.fixture
def lights() -> Iterator[tuple[LightsInput, list[ControlEvent]]]:
    show = Show.parse(SHOW)
    assert show.lights is not None
    found: list[ControlEvent] = []
    source = LightsInput(show.lights.rules(), name="stage left")
    source.start(found.append)
    until(lambda: source.status()["sources"] == [] and "ignored" in source.status())
    yield source, found
    source.stop()


@pytest.fixture(params=["sACN", "Art-Net"])
def desk(request: pytest.FixtureRequest) -> Iterator[Desk]:
    if request.param == "sACN":
        sender = sacn.sACNsender(source_name="the desk", fps=40)
        sender.start()
        sender.activate_output(3)
        sender[3].destination = "127.0.0.1"
        yield Desk(lambda levels: setattr(sender[3], "dmx_data", tuple(levels)))
        sender.stop()
    else:
        started = list[bool]()
        node = StupidArtnet("127.0.0.1", 3, 512, 40, True, False)

        def send(levels: list[int]) -> None:
            node.set(bytearray(levels))
            if not started:
                started.append(True)
                node.start()

        yield Desk(send)
        node.stop()
        node.close()


def test_a_desk_plays_the_fixture_and_the_patch(lights: tuple[LightsInput, list[ControlEvent]], desk: Desk) -> None:
    source, found = lights
    desk.levels[CHANNEL["Energy"] - 1] = 200
    desk.send()
    until(lambda: source.status()["sources"])
    until(lambda: next(row for row in source.status()["patch"] if row["to"] == "energy")["value"] == 200)
    assert found == []  # a desk that appears changes nothing

    desk.set(CHANNEL["Energy"], 51)
    event = until(lambda: found and found.pop())
    assert (event.target, event.args) == ("energy", (0.2,))
    assert event.source.startswith("lights")

    desk.set(CHANNEL["Cue"], 2)
    assert until(lambda: found and found.pop()).args == (2,)
    desk.set(CHANNEL["Dimmer"], 255)
    event = until(lambda: found and found.pop())
    assert (event.target, event.args) == ("blackout", (0.0,))
    desk.set(CHANNEL["Pan"], 128)
    assert until(lambda: found and found.pop()).args == (0.0,)  # at rest exactly

    desk.levels[100:102] = [0xFF, 0xFF]
    desk.send()
    assert until(lambda: found and found.pop()).args == (1.0,)
    desk.set(103, 255)
    assert until(lambda: found and found.pop()) == ControlEvent(
        "prompt", ("a calm sea",), pytest.approx(time.monotonic(), abs=60), event.source
    )
    desk.set(105, 255)
    event = until(lambda: found and found.pop())
    assert (event.target, event.args) == ("energy", (0.0,))
    time.sleep(0.1)  # what a channel says again and again is no news
    assert found == []


def test_a_lost_desk_holds_and_comes_back_without_a_jump(lights: tuple[LightsInput, list[ControlEvent]]) -> None:
    source, found = lights
    sender = sacn.sACNsender(source_name="the desk", fps=40)
    sender.start()
    sender.activate_output(3)
    sender[3].destination = "127.0.0.1"
    sender[3].dmx_data = (10,) * 512
    until(lambda: source.status()["sources"])
    sender.stop()  # it says so
    until(lambda: not source.status()["sources"])
    assert "held" in source.status()["message"]
    assert found == []
    line = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    line.sendto(artnet.packed(artnet.ArtDmx(3, 1, bytes([99] * 512))), ("127.0.0.1", artnet.PORT))
    until(lambda: source.status()["sources"])
    assert source.status()["message"] == ""
    assert found == []


def test_the_desk_that_moved_it_is_named(lights: tuple[LightsInput, list[ControlEvent]]) -> None:
    source, found = lights
    sender = sacn.sACNsender(source_name="the desk", fps=40)
    sender.start()
    sender.activate_output(3)
    sender[3].destination = "127.0.0.1"
    sender[3].dmx_data = (10,) * 512
    until(lambda: source.status()["sources"])
    line = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    line.sendto(artnet.packed(artnet.ArtDmx(3, 0, bytes([200] * 512))), ("127.0.0.1", artnet.PORT))
    until(lambda: len(source.status()["sources"]) == 2)
    assert found == []  # a second desk that comes moves nothing
    line.sendto(artnet.packed(artnet.ArtDmx(3, 0, bytes([210] * 512))), ("127.0.0.1", artnet.PORT))
    until(lambda: found)
    assert {event.source for event in found} == {"lights 127.0.0.1"}
    until(lambda: len(source.status()["sources"]) == 1)  # and is lost again: the other's values are where it begins
    found.clear()
    sender[3].dmx_data = (11,) * 512
    until(lambda: found)
    assert {event.source for event in found} == {"lights the desk"}
    assert next(event for event in found if event.target == "cue/go").args == (11,)
    sender.stop()


def test_a_press_shorter_than_a_line_is_not_lost(lights: tuple[LightsInput, list[ControlEvent]]) -> None:
    _, found = lights
    line = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    for number, value in enumerate([0, *[255, 0] * 20], 1):
        frame = bytearray(512)
        frame[102] = value
        line.sendto(artnet.packed(artnet.ArtDmx(3, number, bytes(frame))), ("127.0.0.1", artnet.PORT))
    until(lambda: len(found) == 20)
    assert {event.target for event in found} == {"prompt"}


def test_a_cue_that_is_chosen_and_cleared_within_a_line_is_fired(
    lights: tuple[LightsInput, list[ControlEvent]],
) -> None:
    _, found = lights
    line = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    for number, value in enumerate([0, 3, 0, 7, 0, 12, 0], 1):
        frame = bytearray(512)
        frame[CHANNEL["Cue"] - 1] = value
        line.sendto(artnet.packed(artnet.ArtDmx(3, number, bytes(frame))), ("127.0.0.1", artnet.PORT))
    until(lambda: len(found) == 3)
    assert [(event.target, event.args) for event in found] == [("cue/go", (3,)), ("cue/go", (7,)), ("cue/go", (12,))]


def test_a_flood_of_a_fader_is_a_few_controls_with_its_last_value(
    lights: tuple[LightsInput, list[ControlEvent]],
) -> None:
    _, found = lights
    line = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    began = time.monotonic()
    for number in range(2000):
        frame = bytearray(512)
        frame[104] = 255 if number == 1999 else number % 2 * 200
        line.sendto(artnet.packed(artnet.ArtDmx(3, number % 255 + 1, bytes(frame))), ("127.0.0.1", artnet.PORT))

    def last_is_taken() -> bool:
        """A desk repeats its last frame, of which the flood may have cost one."""
        line.sendto(artnet.packed(artnet.ArtDmx(3, 0, bytes(frame))), ("127.0.0.1", artnet.PORT))
        return bool(found) and found[-1].args == (0.0,)

    until(last_is_taken)
    assert len(found) <= (time.monotonic() - began) * 60 + 3
    assert {event.target for event in found} == {"energy"}


def _networks() -> list[tuple[str, str]]:
    """The address to listen on, and that of the network that the desk sends on."""
    own = sorted(networks("0.0.0.0") - {"127.0.0.1"})[:1]
    return [("127.0.0.1", "127.0.0.1"), ("0.0.0.0", "127.0.0.1"), *((host, a) for a in own for host in (a, "0.0.0.0"))]


@pytest.mark.parametrize(("host", "sender"), _networks())
def test_multicast_is_received_on_every_network_that_is_meant(host: str, sender: str) -> None:
    found: list[ControlEvent] = []
    lights = Show.parse(SHOW).lights
    assert lights is not None
    source = LightsInput(lights.rules(), host)
    line = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    line.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(sender))
    source.start(found.append)
    try:
        until(lambda: "ignored" in source.status())
        assert source.status()["unheard"] == {}
        for number, level in enumerate((0, 0, 255)):
            packet = DataPacket((7,) * 16, "the desk", 3, (0,) * 104 + (level,), sequence=number)
            line.sendto(bytes(packet.getBytes()), (calculate_multicast_addr(3), 5568))
        until(lambda: found)
        assert [(event.target, event.args) for event in found] == [("energy", (0.0,))]
    finally:
        source.stop()
        line.close()


def test_a_network_without_multicast_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    unicast = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    monkeypatch.setattr(multicast, "networks", lambda host: {"203.0.113.9"})  # RFC 5737: nobody's
    groups = multicast.Groups("203.0.113.9", [3], 5568, unicast)
    groups.join()
    assert [network for _, network in groups.errors] == ["203.0.113.9"]
    monkeypatch.setattr(multicast, "networks", lambda host: {"127.0.0.1"})
    groups.join()
    assert groups.errors == {}, "a network that came up since is joined"
    for line in (*groups.sockets, unicast):
        line.close()


def test_more_desks_than_are_merged_are_told_of(lights: tuple[LightsInput, list[ControlEvent]]) -> None:
    source, _ = lights
    line = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    for number in range(SOURCES_MAX + 1):
        packet = DataPacket((number,) * 16, f"desk {number}", 3, (0,) * 512)
        line.sendto(bytes(packet.getBytes()), ("127.0.0.1", 5568))
    until(lambda: f"universe 3 has more than {SOURCES_MAX} senders" in source.status()["message"])
    until(lambda: "no desk sends" in source.status()["message"])  # all are gone
    line.close()


def test_a_desk_that_looks_for_nodes_finds_this_one(lights: tuple[LightsInput, list[ControlEvent]]) -> None:
    line = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    line.settimeout(5)
    line.sendto(b"Art-Net\0\x00\x20\x00\x0e\x02\x00", ("127.0.0.1", artnet.PORT))
    reply, _ = line.recvfrom(2048)
    assert len(reply) == 239
    assert reply[10:14] == bytes([127, 0, 0, 1])
    assert reply[26:36] == b"stage left"
    assert (reply[18], reply[19], reply[190]) == (0, 0, 3)  # net, sub-net, and the universe that it takes
    assert (reply[174], reply[178], reply[182]) == (0x80, 0, 0x80)  # a port that takes data from Art-Net, and gets it


def test_universes_that_art_net_cannot_have_are_not_announced_to_it() -> None:
    replies = artnet.poll_replies("10.0.0.1", "node", [3, 32_767, 40_000])
    assert [(reply[18], reply[19], reply[190]) for reply in replies] == [(0, 0, 3), (0x7F, 0x0F, 0x0F)]


def test_noise_is_harmless(lights: tuple[LightsInput, list[ControlEvent]]) -> None:
    source, _ = lights
    line, chance = socket.socket(socket.AF_INET, socket.SOCK_DGRAM), np.random.default_rng(0)
    real = artnet.packed(artnet.ArtDmx(3, 0, bytes(512)))
    for n in range(2000):
        noise = chance.bytes(int(chance.integers(0, 700)))
        line.sendto(noise if n % 2 else real[: n % 100] + noise[:500], ("127.0.0.1", (6454, 5568)[n % 4 // 2]))
    line.sendto(real, ("127.0.0.1", 6454))
    until(lambda: source.status()["sources"] and source.status()["ignored"])
    assert source.status()["restarts"] == 0


@given(st.binary(max_size=600))
def test_any_datagram_is_parsed_or_ignored(datagram: bytes) -> None:
    artnet.parse(datagram)
    artnet.parse(b"Art-Net\0\x00\x50" + datagram)


@given(st.integers(0, 32767), st.integers(0, 255), st.binary(min_size=1, max_size=512))
def test_a_frame_comes_back_as_it_was(universe: int, sequence: int, data: bytes) -> None:
    said = artnet.parse(artnet.packed(artnet.ArtDmx(universe, sequence, data)))
    assert isinstance(said, artnet.ArtDmx)
    assert (said.universe, said.sequence, said.data[: len(data)]) == (universe, sequence, data)


def _source(level: int, priority: int = 100, sequence: int = 0, at: float = 0.0) -> Source:
    return Source("a", "10.0.0.1", "sACN", priority, framed(bytes([level] * 512)), sequence, at, at)


def test_the_highest_priority_counts_and_then_the_highest_value() -> None:
    universe = Universe()
    universe.receive("a", _source(10))
    universe.receive("b", _source(20))
    assert universe.merge() is not None
    assert universe.merge()[0] == 20  # type: ignore[index]
    universe.receive("c", _source(5, priority=150))
    assert universe.merge()[0] == 5  # type: ignore[index]
    universe.sources["c"].at = -10.0
    assert [source.priority for source in universe.lost(0.0)] == [150]
    assert universe.merge()[0] == 20  # type: ignore[index]


def test_an_old_frame_that_comes_late_is_not_shown() -> None:
    universe = Universe()
    assert universe.receive("a", _source(1, sequence=250))
    assert universe.receive("a", _source(2, sequence=3))
    assert not universe.receive("a", _source(3, sequence=1))
    assert not universe.receive("a", _source(2, sequence=3)), "the same frame, that came twice"
    assert universe.merge()[0] == 2  # type: ignore[index]


def test_a_sender_that_never_counts_is_read() -> None:
    universe = Universe()
    assert all(universe.receive("a", _source(level, sequence=7, at=level / 44)) for level in range(10))
    assert universe.merge()[0] == 9  # type: ignore[index]


def test_desks_can_read_the_gdtf_file(tmp_path: Path) -> None:
    file = tmp_path / "wj.gdtf"
    file.write_bytes(fixture_profile.gdtf())
    assert zipfile.ZipFile(file).namelist() == ["description.xml"]
    fixture = pygdtf.FixtureType(str(file))
    modes = {mode.name: mode for mode in fixture.dmx_modes}
    assert {name: mode.dmx_channels_count for name, mode in modes.items()} == {
        name: max(at + c.bits // 8 - 1 for at, c in addressed(name, 1)) for name in ("basic", "full")
    }  # fmt: skip
    functions = [c.logical_channels[0].channel_functions[0] for c in modes["basic"].dmx_channels]
    assert [f.name for f in functions] == [c.name for _, c in addressed("basic", 1)]
    acts = next(f for f in functions if f.name == "Act")
    assert [s.name for s in acts.channel_sets][:3] == ["nothing", "none", "dance"]
    assert not any("Wheel" in name for name in _attributes_of(file)), "there are no wheels to name"


def _attributes_of(file: Path) -> set[str]:
    """The names of all XML attributes in a GDTF file."""
    root = ElementTree.fromstring(zipfile.ZipFile(file).read("description.xml"))
    return {name for element in root.iter() for name in element.attrib}


@pytest.mark.parametrize(
    ("lights", "message"),
    [
        ({"start": 500}, "start at"),
        ({"patch": [{"channel": 513, "to": "energy"}]}, "512"),
        ({"patch": [{"channel": 512, "bits": 16, "to": "energy"}]}, "511"),
        ({"patch": [{"channel": 1, "to": "enrgy"}]}, "energy"),
        ({"patch": [{"channel": 1, "to": "prompt"}]}, "value"),
        ({"host": "desk.local"}, "127.0.0.1"),
        ({"universe": 0, "artnet": False}, "from 1"),
    ],
)
def test_a_wrong_patch_is_refused_with_the_fix(lights: dict[str, Any], message: str) -> None:
    with pytest.raises(ShowError, match=message):
        Show.parse(str({"lights": lights}))


def test_without_a_section_no_desk_is_heard() -> None:
    assert Show.parse("model: testcard").lights is None
    on = Show.parse("lights: on").lights
    assert on == Lights()
