"""Edits of a running show: at once on the desk, then in its file, whatever happens to the file."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from PIL import Image
from worldjockey.integrations import ControlEvent
from worldjockey.node.control import show_editor
from worldjockey.node.control.desk import Desk
from worldjockey.node.control.preview import Preview
from worldjockey.node.control.show_editor import ShowEditor
from worldjockey.node.ipc.mailbox import Mailbox
from worldjockey.node.session.requests import Requests
from worldjockey.node.show import edit_process
from worldjockey.node.show.schema import Show

SHOW = """\
# my show
name: mine
pads:
  - sea        # the first
  - {label: storm, text: "heavy rain"}
cues:
  # how it begins
  - {name: opening, prompt: dawn, seconds: 2}
  - name: storm over
    pads: {storm: 0.8}
    values: {energy: 0.4}
    follow: 3 s
  - {name: end, values: {blackout: 1}}
"""


class Rig:
    """A desk with an editor, as `wj play` has them, and the surface's requests."""

    def __init__(self, file: Path | None, folder: Path, text: str = SHOW) -> None:
        self.show = Show.load(file) if file else Show.parse(text)
        self.boxes = [Mailbox(), Mailbox()]
        self.desk = Desk(self.show, self.boxes[0])
        self.desk.preview = Preview(self.desk, self.boxes[1])
        self.editor = ShowEditor(self.desk, file, folder)
        self.requests = Requests()
        self.editor.register(self.requests)
        self.prompts: list[tuple[Any, Any]] = []
        self.editor.on_prompts = lambda media, prompts: self.prompts.append((media, prompts))
        self.editor.start()

    def ask(self, do: str, **fields: Any) -> Any:
        return self.requests.answer({"id": 1, "do": do, **fields})

    def send(self, target: str, *args: Any) -> None:
        self.desk.deliver(ControlEvent(target, args, time.monotonic(), "a hand"))
        assert self.desk.error == ""

    def close(self) -> None:
        self.editor.stop()
        for box in self.boxes:
            box.unlink()


@pytest.fixture
def play(tmp_path: Path) -> Iterator[Callable[..., Rig]]:
    rigs = []

    def make(text: str | None = SHOW, name: str = "my.yaml") -> Rig:
        file = None
        if text is not None:
            file = tmp_path / name
            file.write_text(text, "utf-8", newline="")
        rigs.append(Rig(file, tmp_path))
        return rigs[-1]

    yield make
    for rig in rigs:
        rig.close()


@pytest.fixture(scope="module")
def unchanged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    """One for all edits that change nothing."""
    file = tmp_path_factory.mktemp("unchanged") / "my.yaml"
    file.write_text(SHOW, "utf-8", newline="")
    rig = Rig(file, file.parent)
    yield rig
    rig.close()


def saved(rig: Rig, wait_for: Any) -> str:
    wait_for(lambda: not rig.editor.unsaved)
    assert rig.editor.error == ""
    assert rig.editor.file is not None
    return rig.editor.file.read_text("utf-8")


def test_a_pad_is_edited_at_once_and_then_in_the_file(play: Any, wait_for: Any) -> None:
    rig = play()
    rig.ask("pad/edit", bank=1, pad=1, text="a calm sea")
    assert rig.desk.read("pad/1/text") == rig.desk.mailbox.text("pad/1/text").text == "a calm sea"
    rig.ask("pad/edit", bank="1", pad=2, label="rain")
    assert rig.show.cues[1].pads == {"rain": 0.8}
    assert "a calm sea" in rig.prompts[0][1]
    rig.send("cue/go", 2)
    text = saved(rig, wait_for)
    assert text == SHOW.replace("- sea  ", "- a calm sea  ").replace("label: storm", "label: rain").replace(
        "{storm:", "{rain:"
    )


def test_a_picture_lies_on_a_pad_when_it_can_be_read_and_is_the_shows(play: Any, tmp_path: Path, wait_for: Any) -> None:
    rig = play()
    (tmp_path / "media").mkdir()
    Image.new("RGB", (64, 36), "red").save(tmp_path / "media" / "x.png")
    (tmp_path / "media" / "no.png").write_text("no picture")
    for path, reason in (("media/y.png", "no such file"), ("/etc/passwd", "outside the show's folder"),
                         ("../x.png", "outside the show's folder"), ("media/no.png", "no.png")):  # fmt: skip
        with pytest.raises(ValueError, match=reason):
            rig.ask("pad/edit", bank=1, pad=3, image=path)
    assert not rig.editor.unsaved
    rig.ask("pad/edit", bank=1, pad=3, image="media/x.png", text="at night")
    assert rig.desk.read("pad/3/text") == "at night [media/x.png]"
    media, _ = rig.prompts[-1]
    assert media["at night [media/x.png]"].image == str(tmp_path / "media" / "x.png")
    assert "{text: at night, image: media/x.png}" in saved(rig, wait_for)


def test_pads_of_another_bank_wait_for_it_and_texts_from_controls_stay(play: Any, wait_for: Any) -> None:
    rig = play("banks:\n  day: [sea, sky]\n  night: [moon]\n")
    rig.send("pad/2/text", "from a control")
    rig.ask("pad/edit", bank="night", pad=1, text="stars")
    assert rig.desk.read("pad/1/text") == "sea"
    rig.ask("pad/edit", bank=1, pad=1, text="waves")
    assert (rig.desk.read("pad/1/text"), rig.desk.read("pad/2/text")) == ("waves", "from a control")
    rig.send("bank", "night")
    assert rig.desk.read("pad/1/text") == "stars"
    rig.send("undo")
    assert rig.desk.read("pad/1/text") == "waves"
    assert saved(rig, wait_for) == "banks:\n  day: [waves, sky]\n  night: [stars]\n"


def test_the_preview_has_the_edit_too(play: Any) -> None:
    rig = play()
    rig.send("preview/on", 1)
    rig.ask("pad/edit", bank=1, pad=1, text="a calm sea")
    assert rig.desk.read("preview/pad/1/text") == "a calm sea"


def test_a_cue_keeps_the_present_state_and_brings_it_back(play: Any, wait_for: Any) -> None:
    rig = play()
    for target, value in (("prompt", "a city"), ("pad/1", 0.5), ("pad/2", 0.25), ("cam/yaw", -0.3), ("act", "jump"),
                          ("word/rain", 1.5), ("sound/bass", 0.9), ("keystone/1/x", 0.1),
                          ("pad/3/text", "x")):  # fmt: skip
        rig.send(target, value)
    assert rig.ask("cue/store", name="city", seconds=3) == {"index": 3, "name": "city"}
    cue = rig.show.cues[3]
    assert (cue.prompt, cue.bank, cue.pads, cue.seconds) == ("a city", None, {1: 0.5, "storm": 0.25}, 3)
    assert cue.values == {"cam/yaw": -0.3, "act": "jump", "word/rain": 1.5, "energy": 0.0, "blackout": 0.0}
    rig.send("cue/jump", "end")
    rig.send("panic")
    rig.send("prompt", "a desert")
    rig.send("word/rain", 1.0)
    rig.send("cue/jump", "city")
    for target, value in (("prompt", "a city"), ("pad/1", 0.5), ("pad/2", 0.25), ("cam/yaw", -0.3), ("act", "jump")):
        assert rig.desk.read(target) == value
    assert rig.desk.read("word/rain") == 1.5
    rig.ask("cue/store", name="STORM over")
    assert rig.show.cues[1].follow is not None
    text = saved(rig, wait_for)
    assert Show.parse(text).cues == rig.show.cues
    assert "# how it begins\n" in text


def test_cues_keep_their_turn_when_they_move(play: Any, wait_for: Any) -> None:
    rig = play()
    rig.send("cue/jump", "storm over")
    assert rig.desk.player.schedule.following.what.args == (3,)
    rig.ask("cue/move", index=1, to=0)
    assert rig.desk.store.cue == 0
    assert rig.desk.news()["cue"] == "storm over"
    rig.ask("cue/move", index=2, to=1)
    assert rig.desk.player.schedule.following.what.args == (2,)
    rig.ask("cue/edit", index=1, fields={"name": "finale", "transition": "2 beats", "pads": {"1": 0.5}})
    assert rig.desk.player.schedule.following.what.args == (2,)
    assert (rig.show.cues[1].name, str(rig.show.cues[1].transition), rig.show.cues[1].pads) == (
        "finale",
        "2.0 beat",
        {1: 0.5},
    )
    rig.ask("cue/delete", index=1)
    assert rig.desk.player.schedule.following is None
    assert rig.desk.store.cue == 0
    rig.ask("cue/delete", index=0)
    assert rig.desk.news()["cue"] == ""
    rig.send("cue/go")
    assert rig.desk.news()["cue"] == "opening"
    assert [cue.name for cue in Show.parse(saved(rig, wait_for)).cues] == ["opening"]


def test_what_another_page_moved_is_found_and_what_it_deleted_is_refused(play: Any) -> None:
    rig = play()
    rig.ask("cue/move", index=2, to=0, was="end")
    rig.ask("cue/edit", index=0, fields={"seconds": 9}, was="opening")
    assert [(cue.name, cue.seconds) for cue in rig.show.cues] == [("end", 0), ("opening", 9), ("storm over", 0)]
    rig.ask("cue/delete", index=1, was="end")
    for do, fields in (("cue/edit", {"fields": {"seconds": 1}}), ("cue/move", {"to": 1}), ("cue/delete", {})):
        with pytest.raises(ValueError, match="changed or deleted by another page: open it again"):
            rig.ask(do, index=0, was="end", **fields)
    assert [cue.name for cue in rig.show.cues] == ["opening", "storm over"]
    for key in ("y", "u"):
        rig.ask("key/set", key=key, to="undo")
    rows = [row.as_dict() for row in rig.editor.maps]
    first, second = ({name: row[name] for name in ("kind", "text", "to")} for row in rows[:2])
    rig.ask("map/remove", index=0, was=first)
    rig.ask("map/edit", index=1, was=second, fields={"to": "panic"})
    assert rig.editor.keys[second["text"].removeprefix("key ")] == "panic"
    for do, fields in (("map/edit", {"fields": {"to": "undo"}}), ("map/remove", {})):
        for was in (first, second, "nothing"):
            with pytest.raises(ValueError, match="changed or deleted by another page: open it again"):
                rig.ask(do, index=0, was=was, **fields)


@pytest.mark.parametrize(("do", "fields", "reason"), [
    ("cue/edit", {"index": 9, "fields": {}}, "there is no cue 9"),
    ("cue/edit", {"index": 0, "fields": {"seconds": -1}}, "seconds: this is 0 or more"),
    ("cue/edit", {"index": 0, "fields": {"name": "END"}}, "already a cue"),
    ("cue/edit", {"index": 0, "fields": {"colour": 1}}, "no 'colour' here"),
    ("cue/edit", {"index": 0, "fields": {"values": {"energy": 7}}}, "energy is 7, out of its range"),
    ("cue/edit", {"index": 0, "fields": {"pads": {"nowhere": 1}}}, "no pad 'nowhere'"),
    ("pad/edit", {"bank": "nowhere", "pad": 1, "text": "x"}, "no bank 'nowhere'"),
    ("pad/edit", {"bank": 1, "pad": 0, "text": "x"}, "no pad 0"),
    ("pad/edit", {"bank": 1, "pad": 1, "text": "x" * 20000}, "16384 characters"),
    ("pad/edit", {"pad": 1}, "needs the field 'bank'"),
    ("map/edit", {"index": 0, "fields": {"low": 1}}, "is a default"),
    ("map/remove", {"index": 999}, "no map 999"),
    ("key/set", {"key": "q", "to": "cam/up"}, "no parameter 'cam/up'"), ("key/set", {"key": "?", "to": "undo"}, "kept"),
    ("show/save", {"name": "../x"}, "no file name"), ("show/save", {"name": ".hidden"}, "no file name"),
    ("show/save", {"name": "con"}, "no file name"), ("show/save", {"name": "Aux.yaml"}, "no file name"),
    ("show/save", {"name": "nul.show"}, "no file name"), ("show/save", {"name": "LPT1 .x"}, "no file name"),
    ("cue/store", {"name": "x" * 201}, "name: this is a text of 200 characters at most"),
    ("cue/edit", {"index": 0, "fields": {"name": "x" * 201}}, "name: this is a text of 200 characters at most"),
    ("pad/edit", {"bank": 1, "pad": 1, "label": "x" * 201}, "label: this is a text of 200 characters at most"),
    ("show/save", {"name": "a/b"}, "no file name"), ("show/save", {"name": ""}, "no file name"),
])  # fmt: skip
def test_what_is_not_possible_is_refused_and_changes_nothing(unchanged: Rig, do: str, fields: Any, reason: str) -> None:
    rig = unchanged
    before = rig.show.model_copy(deep=True)
    with pytest.raises(ValueError, match=reason):
        rig.ask(do, **fields)
    assert rig.show == before
    assert not rig.editor.unsaved


def test_the_embedded_show_is_kept_until_it_has_a_name(play: Any, tmp_path: Path, wait_for: Any) -> None:
    rig = play(None)
    rig.ask("favourite/add", text="a calm sea")
    rig.ask("key/set", key="g", to="cue/go 2")
    assert rig.editor.unsaved
    with pytest.raises(ValueError, match="no file yet"):
        rig.ask("show/save")
    (tmp_path / "taken.yaml").write_text("name: another\n")
    with pytest.raises(OSError, match=r"taken.yaml: it already exists"):
        rig.ask("show/save", name="taken")
    assert (tmp_path / "taken.yaml").read_text() == "name: another\n"
    assert rig.ask("show/save", name="Late Night") == {"file": str(tmp_path / "Late Night.yaml")}
    assert not rig.editor.unsaved
    text = (tmp_path / "Late Night.yaml").read_text()
    assert "# The show that opens when none is named" in text
    again = Show.parse(text)
    assert (again.favourites, again.keys) == (["a calm sea"], {"g": "cue/go 2"})
    rig.ask("favourite/remove", text="a calm sea")
    assert "a calm sea" not in saved(rig, wait_for).partition("favourites")[2]
    rig.ask("show/save", name="taken", overwrite=True)
    assert Show.load(tmp_path / "taken.yaml").keys == {"g": "cue/go 2"}
    elsewhere = tmp_path.with_name(f"{tmp_path.name}-elsewhere.yaml")
    elsewhere.write_text("name: elsewhere\n")
    (tmp_path / "link.yaml").symlink_to(elsewhere)
    with pytest.raises(ValueError, match="outside the show's folder"):
        rig.ask("show/save", name="link", overwrite=True)
    assert elsewhere.read_text() == "name: elsewhere\n"


def test_choices_are_mapped_like_all_else(play: Any) -> None:
    rig = play()
    rig.ask("key/set", key="g", to="quantise")
    assert rig.editor.keys["g"] == "quantise none", "a key chooses what is chosen now"
    rig.ask("key/set", key="g", to="quantise bar")
    assert rig.editor.keys["g"] == "quantise bar"
    rig.editor.learned("gamepad", "tempo/source", {"button": "a"})
    assert rig.desk.show.gamepad.map[0].to == "tempo/source auto"
    rule = rig.editor.learned("midi", "quantise", {"cc": 7, "channel": 1})
    assert (rule["mode"], rig.desk.show.midi.map[0].mode) == ("enum", "enum"), "a fader chooses evenly among them"


def test_what_another_program_wrote_meanwhile_stays(play: Any, tmp_path: Path, wait_for: Any) -> None:
    rig = play()
    rig.ask("favourite/add", text="one")
    saved(rig, wait_for)
    file = tmp_path / "my.yaml"
    file.write_text("# by hand\n" + file.read_text().replace("  - {name: end, values: {blackout: 1}}\n", "").replace(
        "dawn", "noon"))  # fmt: skip
    rig.ask("cue/edit", index=2, fields={"seconds": 5})
    wait_for(lambda: "no cue 'end' any more" in rig.editor.error)
    rig.ask("cue/edit", index=0, fields={"seconds": 7})
    assert saved(rig, wait_for).startswith("# by hand\n")
    assert "{name: opening, prompt: noon, seconds: 7}" in file.read_text()


def test_a_file_that_cannot_be_written_costs_no_edit(play: Any, tmp_path: Path, wait_for: Any) -> None:
    rig = play()
    file = tmp_path / "my.yaml"
    file.chmod(0o444)
    rig.ask("favourite/add", text="one")
    wait_for(lambda: "my.yaml: the file is read-only" in rig.editor.error)
    assert rig.editor.unsaved
    file.chmod(0o644)
    text = file.read_text()
    file.unlink()
    rig.ask("favourite/add", text="two")
    wait_for(lambda: "my.yaml: the file or its folder is gone" in rig.editor.error)
    with pytest.raises(OSError, match="is gone"):
        rig.ask("show/save")
    file.write_text("pads: [a\n")
    with pytest.raises(OSError, match="bracket is missing"):
        rig.ask("show/save")
    assert file.read_text() == "pads: [a\n"
    file.write_text(text)
    rig.ask("show/save")
    assert Show.load(file).favourites == ["one", "two"]
    assert file.read_text().startswith("# my show\n")
    file.unlink()
    rig.ask("show/save", name="rescued")
    assert Show.load(tmp_path / "rescued.yaml").cues == rig.show.cues


@pytest.mark.skipif(not Path("/dev/full").exists() or os.geteuid() != 0, reason="mounts a small disk, as root")
def test_a_full_disk_costs_no_edit(tmp_path: Path, wait_for: Any) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    if os.system(f"mount -t tmpfs -o size=64k none {disk} 2>/dev/null"):
        pytest.skip("this machine may not mount a disk")
    try:
        file = disk / "my.yaml"
        file.write_text(SHOW)
        rig = Rig(file, disk)
        try:
            ballast = disk / "ballast"
            with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as fill:
                while fill.write(bytes(4096)):
                    pass
            rig.ask("favourite/add", text="one")
            wait_for(lambda: "my.yaml: the disk is full" in rig.editor.error)
            assert file.read_text() == SHOW
            ballast.unlink()
            rig.ask("show/save")
            assert Show.load(file).favourites == ["one"]
            assert [path.name for path in disk.iterdir()] == ["my.yaml"]
        finally:
            rig.close()
    finally:
        os.system(f"umount {disk}")


def test_a_killed_child_is_started_again_and_a_link_stays_a_link(play: Any, tmp_path: Path, wait_for: Any) -> None:
    (tmp_path / "real.yaml").write_text(SHOW)
    (tmp_path / "link.yaml").symlink_to("real.yaml")
    rig = Rig(tmp_path / "link.yaml", tmp_path)
    try:
        rig.ask("favourite/add", text="one")
        saved(rig, wait_for)
        rig.editor._process._process.kill()
        rig.ask("favourite/add", text="two")
        saved(rig, wait_for)
    finally:
        rig.close()
    assert (tmp_path / "link.yaml").is_symlink()
    assert Show.load(tmp_path / "real.yaml").favourites == ["one", "two"]


def test_the_process_that_saves_is_ready_early_and_has_the_usual_priority(play: Any, wait_for: Any) -> None:
    rig = play()
    wait_for(lambda: rig.editor._process._process is not None)
    rig.ask("favourite/add", text="one")
    saved(rig, wait_for)
    assert psutil.Process(rig.editor._process._process.pid).nice() == psutil.Process().nice()


def test_what_could_not_be_saved_is_tried_again_by_itself(play: Any, tmp_path: Path, wait_for: Any) -> None:
    rig = play()
    file = tmp_path / "my.yaml"
    file.chmod(0o444)
    changes: list[str] = []
    rig.editor.on_changed = lambda: changes.append(rig.editor.error)
    rig.ask("favourite/add", text="one")
    wait_for(lambda: rig.editor.error)
    file.chmod(0o644)
    saved(rig, wait_for)
    assert Show.load(file).favourites == ["one"]
    assert len([error for error in changes if error]) == 1


def test_a_process_that_is_slow_is_not_killed_and_a_stop_does_not_wait_for_it(
    play: Any, wait_for: Any, monkeypatch: Any
) -> None:
    monkeypatch.setattr(show_editor, "STOP_TIMEOUT_S", 0.5)
    monkeypatch.setattr(edit_process, "STOP_TIMEOUT_S", 0.5)
    rig = play()
    rig.ask("favourite/add", text="one")
    saved(rig, wait_for)
    child = rig.editor._process._process
    os.kill(child.pid, signal.SIGSTOP)
    rig.ask("favourite/add", text="two")
    monkeypatch.setattr(show_editor, "SAVING_TIMEOUT_S", 0.1)
    wait_for(rig.editor._saving.locked)
    with pytest.raises(OSError, match="still being saved"):
        rig.ask("show/save")
    os.kill(child.pid, signal.SIGCONT)
    saved(rig, wait_for)
    assert rig.editor._process._process is child
    os.kill(child.pid, signal.SIGSTOP)
    rig.ask("favourite/add", text="three")
    wait_for(rig.editor._saving.locked)
    rig.editor.stop()
    assert not child.is_alive()
    assert rig.editor.unsaved


def test_edits_that_could_not_be_saved_are_in_a_copy_at_the_end(play: Any, tmp_path: Path, wait_for: Any) -> None:
    folder, cache = tmp_path / "show", tmp_path / "cache" / "unsaved"
    folder.mkdir()
    rig = play(name="show/my.yaml")
    (folder / "my.yaml").chmod(0o444)
    rig.ask("favourite/add", text="one")
    wait_for(lambda: rig.editor.error)
    rig.editor.stop()
    line = rig.editor.keep_copy(cache)
    assert "the file is read-only" in line
    (copy,) = folder.glob("my-unsaved-*.yaml")
    assert line.endswith(str(copy))
    assert copy.read_text().startswith("# my show\n")
    assert Show.load(copy).favourites == ["one"]
    shutil.rmtree(folder)
    assert str(cache) in rig.editor.keep_copy(cache)
    (copy,) = cache.iterdir()
    assert (Show.load(copy).favourites, Show.load(copy).cues) == (["one"], rig.show.cues)
    with pytest.raises(ValueError, match="has ended"):
        rig.ask("favourite/add", text="two")


def test_edits_of_the_embedded_show_are_in_a_copy_at_the_end(play: Any, tmp_path: Path) -> None:
    rig = play(None)
    rig.ask("favourite/add", text="one")
    rig.editor.stop()
    assert "no file" in rig.editor.keep_copy(tmp_path / "unsaved")
    (copy,) = (tmp_path / "unsaved").iterdir()
    assert "one" in Show.load(copy).favourites


def test_characters_that_no_text_has_are_left_out_without_a_mark(play: Any) -> None:
    rig = play()
    odd = json.loads('"a\\ud800 \\u0000sea\\udc00 of \\ud83d\\ude00\\ud83d"')
    rig.ask("pad/edit", bank=1, pad=1, text=odd)
    rig.send("prompt", odd)
    assert rig.desk.read("pad/1/text") == rig.desk.read("prompt") == "a sea of 😀"


def test_what_waits_is_written_at_the_end(play: Any, tmp_path: Path) -> None:
    rig = play()
    for n in range(20):
        rig.ask("favourite/add", text=f"text {n}")
    rig.editor.stop()
    assert Show.load(tmp_path / "my.yaml").favourites == [f"text {n}" for n in range(20)]
    assert rig.editor.keep_copy(tmp_path / "unsaved") == ""


def test_a_layout_without_room_keeps_the_edit_and_another_name_saves_it(
    play: Any, tmp_path: Path, wait_for: Any
) -> None:
    rig = play("pads:\n- &a {label: one, text: x}\n- *a\n")
    rig.ask("pad/edit", bank=1, pad=1, text="y")
    wait_for(lambda: "no place for this edit" in rig.editor.error)
    rig.ask("favourite/add", text="one")
    wait_for(lambda: Show.load(tmp_path / "my.yaml").favourites == ["one"])
    assert rig.editor.unsaved
    rig.ask("show/save", name="copy")
    assert not rig.editor.unsaved
    assert [pad.text for pad in Show.load(tmp_path / "copy.yaml").pads] == ["y", "x"]


def test_the_surface_gets_json(play: Any) -> None:
    rig = play()
    changes: list[int] = []
    rig.editor.on_changed = lambda: changes.append(rig.editor.changes)
    rig.ask("key/set", key="Q", to="cue/go end")
    rig.ask("key/remove", key="w")
    parts = json.loads(json.dumps({name: part() for name, part in rig.editor.parts().items()}))
    assert (parts["keys"]["q"], parts["keys"][" "], "w" in parts["keys"]) == ("cue/go end", "cue/go", False)
    own = [row for row in parts["maps"] if not row["locked"]]
    assert own == [{"kind": "key", "source": {"key": "q"}, "text": "key q", "to": "cue/go end", "low": None,
                    "high": None, "curve": "linear", "takeover": None, "locked": False}]  # fmt: skip
    assert changes[0] == 1
    rig.ask("key/set", key="w", to="pad/10")
    rig.ask("key/remove", key="q")
    assert rig.show.keys == {"q": None}


@pytest.mark.parametrize(
    ("do", "fields", "reason"),
    [
        ("map/learn", {"target": "energy"}, "map/learn has no field 'target': it takes to"),
        ("map/learn", {}, "map/learn needs the field 'to': it takes to"),
        ("map/cancel", {"to": "energy"}, "map/cancel has no field 'to': it takes none"),
        ("map/learn", {"to": 5}, "the name of a parameter is a text, not 5"),
        ("cue/store", {"name": {"a": 1}}, "the name of a cue is a text, not {'a': 1}"),
        ("key/set", {"key": "g", "to": ["pad/1"]}, "what a key plays is a text, not ['pad/1']"),
        ("favourite/add", {"text": None}, "a favourite is a text, not None"),
    ],
)
def test_a_request_with_wrong_fields_is_refused_in_words(play, do, fields, reason):
    with pytest.raises(ValueError, match=f"^{re.escape(reason)}$"):
        play().ask(do, **fields)


def test_favourites_have_an_end(play, monkeypatch):
    monkeypatch.setattr(show_editor, "FAVOURITES_MAX", 2)
    rig = play()
    for text in ("one", "two"):
        rig.ask("favourite/add", text=text)
    with pytest.raises(ValueError, match="there are 2 favourites, which is the most: remove one"):
        rig.ask("favourite/add", text="three")
    rig.ask("favourite/remove", text="one")
    rig.ask("favourite/add", text="three")
