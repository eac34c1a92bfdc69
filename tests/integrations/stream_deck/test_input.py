"""Stream Decks of the true library, over a transport of ours (tests/peers/stream_deck): no machine here has one."""

from __future__ import annotations

import inspect
import io
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from worldjockey.integrations import ControlEvent
from worldjockey.integrations.stream_deck import drawing
from worldjockey.integrations.stream_deck.input import StreamDeckInput
from worldjockey.node.control.deck_board import DeckBoard
from worldjockey.node.control.desk import Desk
from worldjockey.node.ipc.mailbox import Mailbox
from worldjockey.node.session.inputs import inputs_of
from worldjockey.node.show.keys import action
from worldjockey.node.show.schema import Show
from worldjockey.node.show.stream_deck import PAGES, defaults
from worldjockey.node.show.yaml_file import ShowError

PEER = Path(__file__).parents[2] / "peers" / "stream_deck"
MK2, PLUS, PEDAL, MINI = "0080", "0084", "0086", "0063"
SHOW = """
pads: [{text: a calm sea, label: SEA}, storm, night]
cues: [{name: one}, {name: two}]
osc: off
midi: off
gamepad: off
"""


class Rig:
    """A desk, and decks that are plugged into files of a folder."""

    def __init__(self, folder: Path, text: str) -> None:
        self.folder, self.box = folder, Mailbox()
        self.desk = Desk(Show.parse(text), self.box)
        source = inputs_of(self.desk.show, self.desk)["streamdeck"]
        assert isinstance(source, StreamDeckInput)
        self.input = source
        self.input.start(self.desk.deliver)

    def plug(self, name: str, product: str) -> None:
        (self.folder / f"{name}.new").write_text(product)
        (self.folder / f"{name}.new").rename(self.folder / f"{name}.deck")

    def unplug(self, name: str) -> None:
        (self.folder / f"{name}.deck").unlink()

    def _report(self, name: str, report: bytes) -> None:
        with (self.folder / f"{name}.in").open("a") as reports:
            reports.write(report.hex() + "\n")

    def hold(self, name: str, *keys: int) -> None:
        """These keys are down from now on, and no others."""
        self._report(name, bytes([1, 0, 0, 0, *(int(key in keys) for key in range(15))]))

    def press(self, name: str, key: int) -> None:
        self.hold(name, key)
        self.hold(name)

    def turn(self, name: str, *steps: int) -> None:
        self._report(name, bytes([1, 3, 0, 0, 1]) + struct.pack("4b", *steps))

    def push(self, name: str, *dials: int) -> None:
        self._report(name, bytes([1, 3, 0, 0, 0, *(int(dial in dials) for dial in range(4))]))

    def touch(self, name: str, x: int) -> None:
        self._report(name, bytes([1, 2, 0, 0, 1, 0]) + struct.pack("<HH", x, 50))

    def status(self) -> dict[str, Any]:
        """As the control loop sees it, which also sends the feedback."""
        for target, value in {**self.desk.changed(), "status/cue": self.desk.cue_name}.items():
            self.input.feedback(target, value)
        return dict(self.input.status())

    def images(self, name: str, command: int = 7) -> dict[int, Image.Image]:
        """The newest picture of each key, as the device got it; of the strip with command 12."""
        parts, found = dict[int, bytes](), dict[int, Image.Image]()
        out = self.folder / f"{name}.out"
        for line in out.read_text().split("\n")[:-1] if out.exists() else ():
            row = bytes.fromhex(line)
            if row[:2] != bytes([2, command]):
                continue
            if command == 7:
                key, last, (size, page) = row[2], row[3], struct.unpack("<HH", row[4:8])
                data = row[8 : 8 + size]
            else:
                key, last, page, size = 0, row[10], *struct.unpack("<HH", row[11:15])
                data = row[16 : 16 + size]
            parts[key] = data if page == 0 else parts[key] + data
            if last:
                found[key] = Image.open(io.BytesIO(parts[key])).convert("RGB")
        return found

    def light(self, name: str, key: int) -> float:
        image = self.images(name).get(key)
        return -1.0 if image is None else float(np.asarray(image).mean())

    def close(self) -> None:
        self.input.stop()
        self.box.unlink()


@pytest.fixture
def play(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Rig]]:
    rigs: list[Rig] = []
    monkeypatch.setenv("PYTHONPATH", str(PEER))
    monkeypatch.setenv("WJ_STREAMDECKS", str(tmp_path))

    def make(deck: str = "on", text: str = SHOW) -> Rig:
        rigs.append(Rig(tmp_path, f"{text}streamdeck: {deck}\n"))
        return rigs[-1]

    yield make
    for rig in rigs:
        rig.close()


def test_keys_play_and_show_the_true_state(play: Any, wait_for: Any, tmp_path: Path) -> None:
    (tmp_path / "a.deck").write_text(MK2)
    rig = play("{brightness: 40}")
    read = rig.desk.read
    wait_for(lambda: rig.status()["decks"] == ["Stream Deck MK.2"] or rig.status()["decks"])
    wait_for(lambda: len(rig.images("a")) == 15, what="all keys to be painted")
    assert "030828" in (tmp_path / "a.feature").read_text(), "the brightness of the show"
    before = rig.light("a", 0)
    rig.press("a", 0)
    wait_for(lambda: rig.status() and read("pad/1") == 1.0)
    wait_for(lambda: rig.light("a", 0) > before + 20, what="the key of the pad to light up")
    rig.desk.deliver(ControlEvent("pad/1", (0.0,)))
    wait_for(lambda: rig.status() and abs(rig.light("a", 0) - before) < 2, what="a change from elsewhere")
    rig.press("a", 9)  # GO
    wait_for(lambda: rig.desk.cue_name == "one")
    rig.press("a", 10)
    wait_for(lambda: read("act") == "dance")
    rig.press("a", 13)
    wait_for(lambda: read("freeze") is True)
    rig.hold("a", 1)
    wait_for(lambda: read("pad/2") == 1.0)
    wait_for(lambda: rig.desk.counts["obeyed"] >= 6)
    assert rig.desk.counts["refused"] == 0


def test_pages_are_turned(play: Any, wait_for: Any, tmp_path: Path) -> None:
    (tmp_path / "a.deck").write_text(MK2)
    rig = play()
    wait_for(lambda: rig.status()["pages"])
    for page in ("pads", "cues"):
        rig.press("a", 14)
        wait_for(lambda page=page: list(rig.status()["pages"].values()) == [page])
    rig.press("a", 1)
    wait_for(lambda: rig.desk.cue_name == "two")
    wait_for(lambda: rig.status() and rig.light("a", 1) > rig.light("a", 0) + 20, what="the present cue to be lit")


def test_dials_and_the_strip_move_faders(play: Any, wait_for: Any, tmp_path: Path) -> None:
    (tmp_path / "p.deck").write_text(PLUS)
    rig = play("{dials: {2: cam/yaw}}")
    read = rig.desk.read
    wait_for(lambda: rig.images("p", 12), what="the strip to be painted")
    assert rig.images("p", 12)[0].size == (800, 100)
    rig.turn("p", 5, 0, 0, 0)
    wait_for(lambda: read("energy") == pytest.approx(0.1))
    rig.turn("p", 0, -10, 0, 0)
    wait_for(lambda: read("cam/yaw") == pytest.approx(-0.4))
    rig.touch("p", 700)  # in the middle of the fourth part
    wait_for(lambda: read("morph") == pytest.approx(0.5))
    rig.push("p", 1)
    wait_for(lambda: read("cam/yaw") == 0.0)
    bar = np.asarray(rig.images("p", 12)[0])
    wait_for(lambda: rig.status() and (np.asarray(rig.images("p", 12)[0])[80, 600:700].mean(0)[2] > 120))
    assert bar.shape == (100, 800, 3)


def test_a_deck_may_be_unplugged_and_plugged_in_again(play: Any, wait_for: Any, tmp_path: Path) -> None:
    rig = play()
    wait_for(lambda: rig.status()["state"] == "running")
    assert rig.status()["decks"] == []
    rig.plug("a", MK2)
    wait_for(lambda: len(rig.images("a")) == 15)
    rig.hold("a", 2)
    wait_for(lambda: rig.desk.read("pad/3") == 1.0)
    held_long = ControlEvent("energy", (1.0,))
    rig.desk.deliver(held_long)
    rig.unplug("a")
    wait_for(lambda: rig.status()["decks"] == [])
    wait_for(lambda: rig.desk.read("pad/3") == 0.0, what="what a lost deck held")
    (tmp_path / "a.in").unlink()
    (tmp_path / "a.out").unlink()
    rig.plug("a", MK2)
    wait_for(lambda: len(rig.images("a")) == 15, what="all keys to be painted anew")
    rig.press("a", 0)
    wait_for(lambda: rig.desk.read("pad/1") == 1.0)
    assert rig.status()["restarts"] == 0


def test_what_is_missing_is_told_with_the_fix(play: Any, wait_for: Any, tmp_path: Path) -> None:
    (tmp_path / "a.deck").write_text(MINI)
    (tmp_path / "a.denied").touch()
    rig = play()
    wait_for(lambda: "70-streamdeck.rules" in rig.status()["error"] or "Elgato" in rig.status()["error"])
    (tmp_path / "a.denied").unlink()
    wait_for(lambda: rig.status()["decks"] and rig.status()["error"] == "")
    (tmp_path / "no hidapi").touch()
    rig = play()
    wait_for(lambda: "hidapi" in rig.status()["error"])
    assert rig.status()["state"] == "unavailable"


def test_a_pad_shows_its_still(play: Any, wait_for: Any, tmp_path: Path) -> None:
    (tmp_path / "a.deck").write_text(MK2)
    rig = play()
    wait_for(lambda: len(rig.images("a")) == 15)
    Image.new("RGB", (160, 90), (250, 20, 20)).save(tmp_path / "still.png")
    board = rig.input.board
    assert isinstance(board, DeckBoard)
    board.stills = lambda: {1: tmp_path / "still.png"}
    rig.input.feedback("pad/1", 0.0)
    wait_for(lambda: np.asarray(rig.images("a")[0])[:20, 30:].mean((0, 1))[0] > 90, what="red at the top of the key")


@pytest.mark.parametrize("keys", [3, 6, 8, 15, 32, 36])
def test_every_size_has_a_layout_that_can_be_played(keys: int) -> None:
    cues = [f"cue {n}" for n in range(40)]
    pages = defaults(keys, cues)
    everything = [does for _, page in pages for does in page.values()]
    for _, page in pages:
        assert set(page) <= set(range(keys))
        assert len(pages) == 1 or page[keys - 1] == "page/next"
    for does in everything:
        assert does in PAGES or action(does)
    if keys > 3:
        assert {f"cue/go {name}" for name in cues} <= set(everything)
        assert {f"pad/{n}" for n in range(1, 17)} <= set(everything)
    assert "page/next" not in [does for _, page in defaults(8, cues, paged=True) for does in page.values()]


def test_a_show_sets_its_own_keys(play: Any) -> None:
    show = Show.parse(
        f"{SHOW}streamdeck: {{keys: {{1: cue/go two, 2: {{do: act/jump, label: HOP, color: '#ff8800'}}, 3: null}}}}\n"
    )
    assert show.streamdeck is not None
    first = show.streamdeck.pages(6, ["one", "two"])[0][1]
    assert (first[0], first[1], 2 in first) == ("cue/go two", "act/jump", False)
    assert Show.parse(show.dump()).streamdeck == show.streamdeck
    for lines, wrong in (
        ("{keys: {1: act/jmp}}", "did you mean"), ("{keys: {0: act/jump}}", "count from 1"),
        ("{keys: {1: page/3}}", "page/next"), ("{dials: {1: act}}", "use a key for it"),
        ("{keys: {1: {do: act/jump, color: red}}}", "#ff8800"), ("{brightness: 140}", "100 or less"),
    ):  # fmt: skip
        with pytest.raises(ShowError, match=wrong):
            Show.parse(f"{SHOW}streamdeck: {lines}\n")


def test_a_key_is_drawn_whatever_its_label() -> None:
    for label in ("", "a", "a very long prompt with more words than fit on a key", "Überraschung" * 5, "海 🌊"):
        for lit in (0.0, 0.4, 1.0):
            image = drawing.key((72, 72), {"label": label, "detail": "16", "lit": lit, "color": "pad", "next": True})
            assert image.size == (72, 72)
    dark = np.asarray(drawing.key((96, 96), {"label": "x", "lit": 0.0})).mean()
    assert np.asarray(drawing.key((96, 96), {"label": "x", "lit": 1.0})).mean() > dark + 20
    face = drawing.font(14)
    lines = drawing.wrapped("endless tunnel with neon and rain and more", 60, face)
    assert len(lines) == 3
    assert all(face.getlength(line) <= 62 for line in lines)


def test_our_transport_has_the_signatures_of_the_true_one() -> None:
    from StreamDeck.Transport.Dummy import Dummy
    from StreamDeck.Transport.Transport import Transport

    source = (PEER / "sitecustomize.py").read_text()
    for kind in (Transport, Transport.Device):
        for name in kind.__abstractmethods__:
            names = list(inspect.signature(getattr(kind, name)).parameters)
            assert f"def {name}({', '.join(names)}" in _plain(source), name
    assert issubclass(Dummy, Transport)


def _plain(source: str) -> str:
    """Signatures without their types."""
    import re

    return re.sub(r": [\w |]+(?=[,)])", "", source)
