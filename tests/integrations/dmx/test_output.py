"""The world lights the room: a show's picture as colours at receivers that are not ours."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sacn
from hypothesis import given
from hypothesis import strategies as st
from pythonosc.udp_client import SimpleUDPClient
from stupidArtnet import StupidArtnetServer
from worldjockey.integrations import Frame, Rhythm, VideoFormat
from worldjockey.integrations.dmx.fixtures import Fixture, bytes_of, laid_out, pulsed, sampled, seen
from worldjockey.integrations.dmx.output import DmxOutput
from worldjockey.node.measure.show_process import ShowProcess, free_port
from worldjockey.node.show.schema import Show
from worldjockey.node.show.yaml_file import ShowError

RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)


def until(condition: Callable[[], Any], seconds: float = 20.0) -> Any:
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.01)
    return found


def halves(left: tuple[int, int, int], right: tuple[int, int, int]) -> np.ndarray:
    frame = np.empty((288, 512, 3), np.uint8)
    frame[:, :256], frame[:, 256:] = left, right
    return frame


class Node:
    """A lighting node: the channels of universe 7, from 1 on."""

    def __init__(self) -> None:
        self.levels: tuple[int, ...] = ()
        self.frames = 0
        self.ended = False
        self.firsts: list[int] = []  # of its first channel, all values

    def take(self, data: Any) -> None:
        self.levels, self.frames = tuple(data), self.frames + 1
        self.firsts.append(self.levels[0])


@pytest.fixture(scope="module")
def nodes() -> Iterator[dict[str, Node]]:
    """One of each protocol for all tests: a receiver of Art-Net keeps its port for a while after it was closed."""
    found = {"sacn": Node(), "artnet": Node()}
    receiver = sacn.sACNreceiver(bind_address="127.0.0.1")
    receiver.register_listener("universe", lambda packet: found["sacn"].take(packet.dmxData), universe=7)
    receiver.register_listener(
        "availability", lambda universe, changed: setattr(found["sacn"], "ended", changed == "timeout")
    )
    receiver.start()
    server = StupidArtnetServer()
    server.register_listener(7, callback_function=found["artnet"].take)
    yield found
    receiver.stop()
    server.close()


@pytest.fixture(params=["sacn", "artnet"])
def node(request: pytest.FixtureRequest, nodes: dict[str, Node]) -> tuple[str, Node]:
    nodes[request.param].__init__()  # type: ignore[misc]
    return request.param, nodes[request.param]


def test_lights_have_the_colours_of_their_parts(node: tuple[str, Node]) -> None:
    protocol, light = node
    output = DmxOutput(
        [Fixture(7, 1, at="left"), Fixture(7, 4, "grb", at="right", pixels=2), Fixture(7, 20, "dimmer")],
        to="127.0.0.1", protocol=protocol, smooth=0, gamma=1,  # type: ignore[arg-type]
    )  # fmt: skip
    output.open(VideoFormat(512, 288, 30))
    try:
        output.send(Frame(halves(RED, BLUE), 0, time.monotonic()))
        until(lambda: light.levels[:9] == (255, 0, 0, 0, 0, 255, 0, 0, 255))
        assert light.levels[19] == pytest.approx(255 * (0.2126 + 0.0722) / 2, abs=2)
        output.send(Frame(halves(GREEN, BLUE), 1, time.monotonic()))
        until(lambda: light.levels[:3] == (0, 255, 0))
    finally:
        output.close()
    until(lambda: set(light.levels) == {0})  # black at the end
    assert protocol != "sacn" or until(lambda: light.ended)


def test_lights_do_not_go_dark_when_the_output_fails_and_starts_again(node: tuple[str, Node]) -> None:
    protocol, light = node
    output = DmxOutput([Fixture(7, 1)], to="127.0.0.1", protocol=protocol, smooth=0, gamma=1)  # type: ignore[arg-type]
    output.open(VideoFormat(512, 288, 30))
    output.send(Frame(halves(RED, RED), 0, time.monotonic()))
    until(lambda: light.levels[:3] == (255, 0, 0))
    with pytest.raises(AttributeError):
        output.send(Frame(None, 1, time.monotonic()))  # type: ignore[arg-type]
    frames = light.frames
    output.close()
    assert light.levels[:3] == (255, 0, 0)
    assert light.frames >= frames
    assert not light.ended


def test_it_sends_evenly_whatever_the_show_does(node: tuple[str, Node]) -> None:
    protocol, _ = node
    output = DmxOutput([Fixture(7, 1)], to="127.0.0.1", protocol=protocol, rate=40)  # type: ignore[arg-type]
    output.open(VideoFormat(512, 288, 24))
    try:
        time.sleep(1)
        assert 30 <= output.status()["frames"] <= 44
    finally:
        output.close()


def test_lights_wait_for_the_screens_and_fade(monkeypatch: pytest.MonkeyPatch) -> None:
    output = DmxOutput([Fixture(7, 1)], to="127.0.0.1", smooth=0, gamma=1, delay=300)
    output.send(Frame(halves(RED, RED), 0, 100.0))
    output._advance(100.2, 0.02)
    assert output.status()["lights"][0]["rgb"] == [0, 0, 0]
    output._advance(100.31, 0.02)
    assert output.status()["lights"][0]["rgb"] == [255, 0, 0]
    slow = DmxOutput([Fixture(7, 1)], to="127.0.0.1", smooth=0.5, gamma=1)
    slow.send(Frame(halves(RED, RED), 0, 100.0))
    slow._advance(100.5, 0.5)
    assert slow.status()["lights"][0]["rgb"][0] == pytest.approx(255 * 0.632, abs=2)


def test_blackout_does_not_fade(node: tuple[str, Node]) -> None:
    protocol, light = node
    levels = light.firsts
    output = DmxOutput([Fixture(7, 1)], "127.0.0.1", protocol, gamma=1.0, smooth=3.0)  # type: ignore[arg-type]
    output.open(VideoFormat(512, 288, 30))
    try:

        def reaches(level: int, grey: int) -> bool:
            output.send(Frame(halves((grey,) * 3, (grey,) * 3), 0, time.monotonic()))
            return bool(levels) and levels[-1] == level

        until(lambda: reaches(50, 255) or (levels and levels[-1] > 50))
        before = len(levels)
        until(lambda: reaches(0, 0))
        assert all(level == 0 or level >= 50 for level in levels[before:])
    finally:
        output.close()


def test_a_matrix_runs_back_and_forth() -> None:
    frame = np.zeros((288, 512, 3), np.uint8)
    frame[:144, :256, 0] = 255
    frame[144:, 256:, 2] = 255
    picture = sampled(frame)
    plain = seen(Fixture(pixels=4, rows=2), picture)
    back = seen(Fixture(pixels=4, rows=2, serpentine=True), picture)
    assert plain.round().tolist() == [[1, 0, 0], [0, 0, 0], [0, 0, 0], [0, 0, 1]]
    assert back.round().tolist() == [[1, 0, 0], [0, 0, 0], [0, 0, 1], [0, 0, 0]]
    assert seen(Fixture(pixels=4, rows=2, reverse=True), picture).round().tolist() == plain[::-1].round().tolist()
    down = seen(Fixture(at="left", pixels=2, down=True), picture)
    assert down.round().tolist() == [[1, 0, 0], [0, 0, 0]]


def test_the_most_vivid_colour_wins_over_grey() -> None:
    frame = np.full((288, 512, 3), 128, np.uint8)
    frame[:, :100] = RED
    mean, vivid = (seen(Fixture(colour=how), sampled(frame))[0] for how in ("mean", "vivid"))  # type: ignore[arg-type]
    assert vivid[0] > 0.95 > mean[0]
    assert vivid[1] < 0.05 < mean[1]


@pytest.mark.parametrize(
    ("channels", "expected"),
    [
        ("rgb", [255, 128, 0]), ("bgr", [0, 128, 255]), ("grb", [128, 255, 0]), ("rgbw", [255, 128, 0, 0]),
        ("dimmer+rgb", [255, 255, 128, 0]), ("rgb+dimmer", [255, 128, 0, 255]), ("rgb16", [255, 255, 128, 0, 0, 0]),
    ],
)  # fmt: skip
def test_bytes_of_each_kind_of_light(channels: str, expected: list[int]) -> None:
    found = bytes_of(np.array([[1.0, 128 / 255, 0.0]], np.float32), channels)[0].tolist()
    if channels == "rgb16":
        found[3] = expected[3]  # the fine byte of 128/255
    assert found == expected


def test_a_light_is_brightest_on_its_beat_and_follows_the_sound() -> None:
    rhythm = Rhythm(time=100.0, beat=8.0, bpm=120.0, bar=4, energy=0.5, bass=1.5)

    def bright(pulse: str, at: float, depth: float = 1.0) -> float:
        return pulsed(Fixture(pulse=pulse, depth=depth), rhythm, at)  # type: ignore[arg-type]

    assert [bright("beat", at) for at in (100.0, 100.25, 100.4999, 100.5)] == pytest.approx([1, 0.25, 0, 1], abs=1e-3)
    assert [bright("bar", at) for at in (100.0, 100.5, 101.0, 102.0)] == pytest.approx([1, 0.5625, 0.25, 1], abs=1e-3)
    assert bright("beat", 100.25, depth=0.4) == pytest.approx(1 - 0.4 * 0.75)
    assert (bright("none", 100.3), bright("energy", 0), bright("bass", 0), bright("treble", 0)) == (1, 0.5, 1, 0)


def test_the_beat_waits_for_the_screens_like_the_picture(node: tuple[str, Node]) -> None:
    protocol, light = node
    levels = light.firsts
    output = DmxOutput([Fixture(7, 1, colour="white", pulse="beat")], "127.0.0.1", protocol,  # type: ignore[arg-type]
                       gamma=1.0, smooth=0.0)  # fmt: skip
    output.open(VideoFormat(512, 288, 30))
    try:

        def swings() -> bool:
            output.set_rhythm(Rhythm(time.monotonic(), 3.0, 0.001))  # a beat that stands at its beginning ...
            output.send(Frame(halves(RED, BLUE), 0, time.monotonic()))
            return bool(levels) and levels[-1] >= 254

        until(swings)

        def dark() -> bool:
            output.set_rhythm(Rhythm(time.monotonic(), 3.9, 0.001))  # ... and near its end
            output.send(Frame(halves(RED, BLUE), 0, time.monotonic()))
            return levels[-1] <= 4

        until(dark)
    finally:
        output.close()


def test_balance_dims_colours_and_leaves_the_white_light_alone() -> None:
    picture = np.array([[1.0, 0.5, 0.5]], np.float32)
    assert bytes_of(picture, "rgb", (1, 0.5, 0.2))[0].tolist() == [255, 64, 26]
    assert bytes_of(picture, "rgbw", (0.5, 1, 1))[0].tolist() == [64, 0, 0, 128]
    assert bytes_of(np.ones((1, 3), np.float32), "rgb+dimmer", (1, 1, 0.5))[0].tolist() == [255, 255, 128, 255]


def test_white_ignores_the_picture() -> None:
    assert seen(Fixture(colour="white", pixels=3, level=0.5), sampled(halves(RED, BLUE))).tolist() == [[0.5] * 3] * 3


def test_white_is_made_by_the_white_light() -> None:
    assert bytes_of(np.ones((1, 3), np.float32), "rgbw").tolist() == [[0, 0, 0, 255]]


@given(st.integers(1, 512), st.integers(1, 700), st.sampled_from(["rgb", "rgbw", "dimmer"]))
def test_long_strips_go_on_in_the_next_universe(channel: int, pixels: int, channels: str) -> None:
    fixture = Fixture(1, channel, channels, pixels=pixels)  # type: ignore[arg-type]
    data = bytes_of(np.ones((pixels, 3), np.float32), channels)
    universes = laid_out([fixture], [data])
    assert sum(int((frame > 0).sum()) for frame in universes.values()) == int((data > 0).sum())
    assert all(frame.shape == (512,) for frame in universes.values())


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ("to: node", "IPv4"), ("rate: 60", "10 to 44"), ("fixtures: [{at: lft}]", "no part 'lft'"),
        ("fixtures: [{chanel: 3}]", "no chanel here"), ("fixtures: [{pixels: 7, rows: 2}]", "divide"),
        ("fixtures: [{universe: 0}]", "from 1"), ("fixtures: [{at: [0.5, 0, 0.6, 1]}]", "between 0 and 1"),
    ],
)  # fmt: skip
def test_wrong_options_are_refused_with_the_fix(options: str, reason: str) -> None:
    with pytest.raises(ShowError, match=reason):
        Show.parse(f"outputs: [{{kind: dmx, {options}}}]")


def test_a_show_cannot_play_itself() -> None:
    with pytest.raises(ShowError, match="would play itself"):
        Show.parse(
            "{lights: {universe: 3}, outputs: [{kind: dmx, fixtures: [{universe: 2, channel: 500, pixels: 9}]}]}"
        )
    Show.parse("{lights: {universe: 4}, outputs: [{kind: dmx, fixtures: [{universe: 2, channel: 500, pixels: 9}]}]}")


def test_a_shows_beat_reaches_the_lights(tmp_path: Path, nodes: dict[str, Node]) -> None:
    light, port = nodes["sacn"], free_port()
    light.__init__()  # type: ignore[misc]
    fixtures = [{"universe": 7, "colour": "white", "pulse": "beat"}]
    show = {
        "model": "testcard", "prompt": "#00ff00", "size": "640x360", "midi": "off", "gamepad": "off", "surface": "off",
        "values": {"tempo": 120}, "osc": {"port": port, "query": None, "feedback": None},
        "outputs": [{"kind": "dmx", "to": "127.0.0.1", "gamma": 1, "smooth": 0, "fixtures": fixtures}],
    }  # fmt: skip
    playing = ShowProcess(show, tmp_path)
    try:
        until(lambda: playing.check() or (light.levels and light.levels[0] > 0), 40)
        begin, marks = time.monotonic(), list[float]()
        while len(marks) < 9:
            assert time.monotonic() < begin + 20, marks
            before = light.levels[0]
            time.sleep(0.005)
            if light.levels[0] > before + 100:  # a beat
                marks.append(time.monotonic())
        assert float(np.median(np.diff(marks))) == pytest.approx(0.5, abs=0.06)
    finally:
        playing.close()


def test_a_show_lights_the_room_and_blackout_is_black(tmp_path: Path, nodes: dict[str, Node]) -> None:
    light, port = nodes["sacn"], free_port()
    fixtures = [{"universe": 7, "at": "top"}]
    show = {
        "model": "testcard", "prompt": "#00ff00", "size": "640x360", "midi": "off", "gamepad": "off", "surface": "off",
        "osc": {"port": port, "query": None, "feedback": None},
        "outputs": [{"kind": "dmx", "to": "127.0.0.1", "gamma": 1, "smooth": 0, "fixtures": fixtures}],
    }  # fmt: skip
    playing = ShowProcess(show, tmp_path)
    try:
        until(lambda: playing.check() or light.levels[:3] == (0, 255, 0), 40)
        SimpleUDPClient("127.0.0.1", port).send_message("/wj/blackout", 1.0)
        until(lambda: light.levels[:3] == (0, 0, 0))
    finally:
        playing.close()
