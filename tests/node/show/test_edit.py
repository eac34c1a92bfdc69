"""Edits of the text of a show file: the result is what was asked, and everything else stays as it was."""

from __future__ import annotations

import difflib
import json
import random
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from worldjockey.node.control.show_editor import checked
from worldjockey.node.parameters import PADS
from worldjockey.node.show.edit import apply, edited, plain, unshared
from worldjockey.node.show.schema import EMBEDDED, Show
from worldjockey.node.show.yaml_file import ShowError, parse, read
from worldjockey.node.show.yaml_patch import same

TEXTS = [
    "a calm sea", "rain: heavy", "#1 city", "it's night", 'say "hi"', "Nächte über 東京 🌊", "no", "12:30", "1.5",
    "- x", "{braces}", "[x], y", "* star", "& and", "! tag", "a\nb", "true", "null", "~", " x ", "“curly”", 
    "ends with:", "|", "a # comment", "%percent", "@at", "`tick", ">", "back\\slash", "tab\there", "\u2028", "x" * 300,
]  # fmt: skip
words = st.sampled_from(TEXTS) | st.text(st.characters(codec="utf-8"), max_size=20)
pad_numbers = st.integers(1, PADS)


def changes(before: str, after: str) -> tuple[list[str], list[str]]:
    """The lines that went, and those that came."""
    lines = [line for line in difflib.ndiff(before.splitlines(), after.splitlines()) if line[0] in "+-"]
    return [line[2:] for line in lines if line[0] == "-"], [line[2:] for line in lines if line[0] == "+"]


@pytest.mark.parametrize(("edit", "went", "came"), [
    ({"do": "pad/edit", "bank": "1", "pad": 9, "fields": {"text": "dusk, clear"}},
     ['  - {label: dawn, text: "soft dawn light, clear"}'], ['  - {label: dawn, text: "dusk, clear"}']),
    ({"do": "pad/edit", "bank": "1", "pad": 11, "fields": {"label": "tempest"}},
     ['  - {label: storm, text: "thunderstorm, lightning, heavy rain"}', "    pads: {storm: 0.8}"],
     ['  - {label: tempest, text: "thunderstorm, lightning, heavy rain"}', "    pads: {tempest: 0.8}"]),
    ({"do": "pad/edit", "bank": "1", "pad": 10, "fields": {"image": "media/a b.jpg"}},
     ['  - {label: night, text: "midnight, moonlight, deep blue"}'],
     ['  - {label: night, text: "midnight, moonlight, deep blue", image: media/a b.jpg}']),
    ({"do": "cue/edit", "name": "Blackout", "fields": {"transition": "2 beats", "quantise": "bar"}},
     ["    seconds: 2"], ["    transition: 2 beats", "    quantise: bar"]),
    ({"do": "cue/put", "cue": {"name": "end", "pads": {"sea": 0.5}, "values": {"energy": 0}}, "index": 0},
     [], ["  - name: end", "    pads: {sea: 0.5}", "    values: {energy: 0}"]),
    ({"do": "map/put", "kind": "midi", "mapping": {"cc": 7, "channel": 1, "to": "energy"}},
     [], ["midi:", "  map:", "    - {cc: 7, channel: 1, to: energy}"]),
    ({"do": "map/put", "kind": "osc", "mapping": {"address": "/1/fader3", "to": "energy"}},
     ["osc: {host: 127.0.0.1, port: 9010, feedback: 9011}"],
     ["osc: {host: 127.0.0.1, port: 9010, feedback: 9011, map: [{address: /1/fader3, to: energy}]}"]),
    ({"do": "key/set", "key": "1", "to": "cue/go 1"}, [], ["keys:", "  '1': cue/go 1"]),
    ({"do": "favourite/add", "text": "a calm sea"}, [], ["favourites:", "  - a calm sea"]),
])  # fmt: skip
def test_only_the_lines_that_were_asked_for_change(edit: Any, went: list[str], came: list[str]) -> None:
    before = read(EMBEDDED)
    assert changes(before, edited(before, edit)) == (went, came)


def test_pads_and_cues_move_with_their_comments_and_headings_stay() -> None:
    text = "pads:\n# one\n- a  # first\n# two\n- 'b'\n- {text: c} # last\n"
    text += "cues:\n- name: x # X\n  seconds: 2\n# Y:\n- {name: y}\n"
    swapped = edited(text, {"do": "pad/move", "bank": "1", "pad": 1, "to_bank": "1", "to_pad": 3})
    assert swapped.startswith("pads:\n# one\n- {text: c} # last\n# two\n- 'b'\n- a  # first\ncues:\n")
    assert edited(swapped, {"do": "pad/move", "bank": "1", "pad": 3, "to_bank": "1", "to_pad": 1}) == text
    moved = edited(text, {"do": "cue/move", "name": "x", "to": 1})
    assert moved.endswith("cues:\n- {name: y}\n# Y:\n- name: x # X\n  seconds: 2\n")
    assert edited(text, {"do": "cue/delete", "name": "y"}).endswith("- name: x # X\n  seconds: 2\n# Y:\n")
    assert "cues" not in Show.parse(edited(edited(text, {"do": "cue/delete", "name": "y"}), {"do": "cue/delete",
                                    "name": "x"})).model_dump(exclude_defaults=True)  # fmt: skip


def test_a_short_pad_stays_short_and_a_far_one_gets_the_empty_ones_before_it() -> None:
    text = 'pads: # mine\n- neon\n- "rain"\n'
    assert edited(text, {"do": "pad/edit", "bank": "1", "pad": 2, "fields": {"text": "snow"}}).endswith('- "snow"\n')
    assert edited(text, {"do": "pad/edit", "bank": "1", "pad": 1, "fields": {"label": "n"}}).startswith(
        "pads: # mine\n- {label: n, text: neon}\n"
    )
    far = edited(text, {"do": "pad/edit", "bank": "1", "pad": 4, "fields": {"text": "sea"}})
    assert [pad.text for pad in Show.parse(far).pads] == ["neon", "rain", "", "sea"]
    back = edited(far, {"do": "pad/edit", "bank": "1", "pad": 4, "fields": {"text": ""}})
    assert [pad.text for pad in Show.parse(back).pads] == ["neon", "rain", "", ""]


def test_cues_follow_the_pads_that_they_play() -> None:
    text = ("banks: {day: [a, {label: sun, text: b}], night: [c, d]}\n"
            "cues: [{name: x, bank: day, pads: {1: 0.5, sun: 1}}, {name: y, bank: 2, pads: {1: 1}}]\n")  # fmt: skip
    moved = Show.parse(edited(text, {"do": "pad/move", "bank": "day", "pad": 1, "to_bank": "day", "to_pad": 2}))
    assert [cue.pads for cue in moved.cues] == [{2: 0.5, "sun": 1}, {1: 1}]
    plain_label = Show.parse(edited(text, {"do": "pad/edit", "bank": "day", "pad": 2, "fields": {"label": None}}))
    assert plain_label.cues[0].pads == {1: 0.5, 2: 1}
    across = Show.parse(edited(text, {"do": "pad/move", "bank": "day", "pad": 2, "to_bank": "night", "to_pad": 1}))
    assert across.banks["night"][0].label == "sun"
    assert across.cues[0].pads == {1: 0.5, 2: 1}


@pytest.mark.parametrize(("edit", "reason"), [
    ({"do": "cue/edit", "name": "gone", "fields": {"seconds": 1}}, "no cue 'gone' any more"),
    ({"do": "cue/edit", "name": "x", "fields": {"seconds": -1}}, "seconds: this is 0 or more"),
    ({"do": "pad/edit", "bank": "2", "pad": 1, "fields": {"text": "a"}}, "no bank '2'"),
    ({"do": "pad/edit", "bank": "1", "pad": 17, "fields": {"text": "a"}}, "no pad 17"),
    ({"do": "pad/edit", "bank": "1", "pad": 1, "fields": {"colour": "a"}}, "no 'colour'"),
    ({"do": "key/set", "key": "?", "to": "panic"}, "kept for the page's list"),
    ({"do": "key/set", "key": "q", "to": "nothing"}, "no parameter 'nothing'"),
    ({"do": "map/put", "kind": "midi", "mapping": {"note": 1, "to": "prompt"}}, "is a text"),
    ({"do": "map/put", "kind": "osc", "mapping": {"address": "/wj/energy", "to": "energy"}}, "of the node's own"),
    ({"do": "map/put", "kind": "gamepad", "mapping": {"axis": "left_x", "to": "panic"}}, "use a button"),
    ({"do": "map/remove", "kind": "midi", "mapping": {"note": 3, "to": "pad/1"}}, "no longer in the file"),
])  # fmt: skip
def test_an_impossible_edit_is_refused_with_the_reason(edit: Any, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        edited("pads: [a]\ncues:\n- name: x\n", edit, "my.yaml")


def test_anchors_are_kept_or_the_edit_is_refused() -> None:
    text = "pads:\n- &a {label: one, text: x}\n- *a\n- {<<: *a, label: three}\n- four\n"
    assert edited(text, {"do": "pad/edit", "bank": "1", "pad": 4, "fields": {"text": "5"}}) == text.replace(
        "four", "'5'"
    )
    own = edited(text, {"do": "pad/edit", "bank": "1", "pad": 3, "fields": {"text": "y"}})
    assert [pad.text for pad in Show.parse(own).pads] == ["x", "x", "y", "four"]
    for pad in (1, 2):
        with pytest.raises(ShowError, match=r"my.yaml: the layout of the file has no place for this edit"):
            edited(text, {"do": "pad/edit", "bank": "1", "pad": pad, "fields": {"text": "z"}}, "my.yaml")


def test_json_stays_json() -> None:
    text = json.dumps({"pads": ["a", {"text": "b", "label": "x"}], "cues": [{"name": "c", "pads": {"x": 1}}]}, indent=2)
    for edit in ({"do": "pad/edit", "bank": "1", "pad": 2, "fields": {"image": "ü.jpg"}},
                 {"do": "cue/put", "cue": {"name": "d", "values": {"energy": 0.5}}},
                 {"do": "key/set", "key": " ", "to": "cue/go"},
                 {"do": "favourite/add", "text": 'so "it" is'}):  # fmt: skip
        text = edited(text, edit)
        assert same(json.loads(text), parse(text, "x")[0])
    assert Show.parse(text).pads[1].image == "ü.jpg"


# -- for every show and every edit -------------------------------------------------------------------------------------


class Writer:
    """Writes the data of a show as a person or a program would: in any style, with comments that are numbered."""

    def __init__(self, seed: int) -> None:
        self.random, self.comments = random.Random(seed), 0
        self.end = self.random.choice(["\n", "\n", "\r\n", "\r"])

    def remark(self, chance: float = 0.3) -> str:
        if self.random.random() > chance:
            return ""
        self.comments += 1
        return f'# {self.comments}: it\'s "here"{self.random.choice(["", ", äöü", " - {x}"])}'

    def scalar(self, value: Any) -> str:
        text = json.dumps(value, ensure_ascii=True)
        if isinstance(value, str):
            ways = [text]
            if (
                value.isprintable()
                and not re.search("[\u00a0\u2000-\u206f\u3000\ufeff]", value)
                and value == value.strip()
            ):
                ways.append("'" + value.replace("'", "''") + "'")
            if (
                re.fullmatch(r"[a-zäöü][a-zäöü 0-9/.]*", value)
                and value == value.strip()
                and value not in ("true", "null")
            ):
                ways += [value] * 3
            return self.random.choice(ways)
        return text

    def flow(self, value: Any) -> str:
        if isinstance(value, dict):
            pairs = [f"{self.scalar(name)}: {self.flow(item)}" for name, item in value.items()]
            return "{" + self.join(pairs) + "}"
        return (
            "[" + self.join([self.flow(item) for item in value]) + "]"
            if isinstance(value, list)
            else self.scalar(value)
        )

    def join(self, parts: list[str]) -> str:
        return self.random.choice([", ", ",", " , "]).join(parts)

    def lines(self, value: Any, indent: int, top: bool = False) -> list[str]:
        pad, found = " " * indent, list[str]()
        if isinstance(value, dict):
            for name, item in value.items():
                if remark := self.remark(0.2):
                    found.append(pad + remark)
                found += self.entry(f"{pad}{self.scalar(name)}:", item, indent, top)
        for item in value if isinstance(value, list) else ():
            if remark := self.remark(0.2):
                found.append(pad + remark)
            if isinstance(item, dict) and item and self.random.random() < 0.5:
                first, *others = self.lines(item, indent + 2)
                while first.strip().startswith("#"):
                    found.append(first)
                    first, *others = others
                found += [pad + "- " + first.strip(), *others]
            elif (
                isinstance(item, str)
                and "\n" not in item
                and re.fullmatch(r"[a-z ]+", item.strip())
                and (item == item.strip() and self.random.random() < 0.2)
            ):
                found += [f"{pad}- |-", f"{pad}  {item}"]
            else:
                found.append(f"{pad}- {self.flow(item)}{'  ' + r if (r := self.remark()) else ''}")
        return found

    def entry(self, head: str, item: Any, indent: int, top: bool) -> list[str]:
        remark = self.remark()
        if isinstance(item, dict | list) and item and self.random.random() < (0.8 if top else 0.4):
            below = self.lines(item, indent + (self.random.choice([0, 2, 4]) if isinstance(item, list) else 2))
            return [f"{head} {remark}".rstrip(), *below]
        return [f"{head} {self.flow(item)}{'  ' + remark if remark else ''}"]

    def show(self, data: dict[str, Any]) -> str:
        if self.random.random() < 0.1:
            return self.flow(data)
        lines = self.lines(data, 0, True)
        if remark := self.remark(0.5):
            lines.append(remark)
        return self.random.choice(["", "\ufeff"]) + self.end.join(lines) + self.random.choice(["", self.end])


labels = st.sampled_from(["", "sea", "sky", "Straße", "x y"])
pads = st.lists(words.map(plain) | st.fixed_dictionaries({}, optional={
    "label": labels, "text": words.map(plain), "image": st.just("look.jpg")}), max_size=5)  # fmt: skip
cues = st.lists(st.fixed_dictionaries({"name": st.sampled_from(["a", "storm over", "Ü", "1.5", "no"])}, optional={
    "prompt": words.map(plain), "seconds": st.integers(0, 9), "values": st.just({"energy": 0.5, "cam/yaw": -1}),
    "pads": st.dictionaries(pad_numbers, st.sampled_from([0, 0.5, 1]), max_size=3)}),
    max_size=4, unique_by=lambda cue: cue["name"])  # fmt: skip
midi = st.fixed_dictionaries({}, optional={"takeover": st.just("jump"), "map": st.lists(
    st.builds(lambda n, to: {"note": n, "channel": 1, "to": to}, st.integers(0, 9),
              st.sampled_from(["pad/1", "energy"])), max_size=3)})  # fmt: skip
shows = st.fixed_dictionaries({}, optional={
    "name": st.just("my show"), "pads": pads, "cues": cues, "midi": midi, "values": st.just({"energy": 0.2}),
    "keys": st.dictionaries(st.sampled_from(["z", "1", "arrowup"]), st.sampled_from(["pad/1", "cue/go"]), max_size=2),
    "favourites": st.lists(words.map(plain).filter(bool), max_size=3),
})  # fmt: skip
names = st.sampled_from(["a", "storm over", "Ü", "1.5", "no", "new"])
edits = st.one_of(
    st.builds(lambda p, f: {"do": "pad/edit", "bank": "1", "pad": p, "fields": f}, pad_numbers,
              st.fixed_dictionaries({}, optional={"text": words | st.none(), "label": labels,
                                                  "image": st.just("b.png")})),
    st.builds(lambda do, p, q: {"do": do, "bank": "1", "pad": p, "to_bank": "1", "to_pad": q},
              st.sampled_from(["pad/copy", "pad/move"]), st.integers(1, 6), st.integers(1, 6)),
    st.builds(lambda n, t, i: {"do": "cue/put", "cue": {"name": n, "prompt": t, "values": {"energy": 1}},
                               "index": i},
              names, words, st.none() | st.integers(0, 4)),
    st.builds(lambda n, t: {"do": "cue/edit", "name": n, "fields": {"prompt": t, "seconds": 2,
                                                                    "values": {"act": "jump"}}},
              names, words | st.none()),
    st.builds(lambda n, i: {"do": "cue/move", "name": n, "to": i}, names, st.integers(0, 4)),
    st.builds(lambda n: {"do": "cue/delete", "name": n}, names),
    st.builds(lambda do, n: {"do": do, "kind": "midi", "mapping": {"note": n, "channel": 1, "to": "pad/1"},
                             **({"fields": {"low": 0.2}} if do == "map/edit" else {})},
              st.sampled_from(["map/put", "map/edit", "map/remove"]), st.integers(0, 9)),
    st.builds(lambda do, k: {"do": do, "key": k, **({"to": "cue/go x y"} if do == "key/set" else {})},
              st.sampled_from(["key/set", "key/remove"]), st.sampled_from(["z", "1", " ", "b"])),
    st.builds(lambda do, t: {"do": do, "text": t}, st.sampled_from(["favourite/add", "favourite/remove"]),
              words.filter(lambda t: plain(t))),
)  # fmt: skip


@settings(max_examples=300)
@given(shows, st.integers(0, 1 << 30), st.lists(edits, min_size=1, max_size=3))
def test_every_edit_of_every_show_gives_what_was_asked_and_keeps_the_comments(data: Any, seed: int, asked: Any) -> None:
    writer = Writer(seed)
    text = writer.show(data)
    try:
        Show.parse(text)
    except ShowError:
        return
    for edit in asked:
        wanted = unshared(parse(text, "show")[0])
        try:
            apply(wanted, edit)
            Show.model_validate({**unshared(wanted), "outputs": []})
        except ValueError:
            with pytest.raises(ValueError):  # noqa: PT011
                edited(text, edit)
            continue
        after = edited(text, edit)
        assert same(parse(after, "show")[0], wanted)
        Show.parse(after)
        assert after.startswith("\ufeff") == text.startswith("\ufeff")
        kept = re.findall(r"# \d+: it's", after)
        lost = set(re.findall(r"# \d+: it's", text)) - set(kept)
        assert len(kept) == len(set(kept))
        inside = {"cue/put", "cue/edit", "pad/edit", "pad/copy"}  # whose comments may stand within what is replaced
        if edit["do"] not in inside and not edit["do"].endswith(("/delete", "/remove")):
            assert not lost
        if "\r\n" not in text and "\r" not in text:
            assert "\r" not in after
        else:
            assert re.sub(r"\r\n|\r", "", after).count("\n") == re.sub(r"\r\n|\r", "", text).count("\n")
        text = after


@settings(max_examples=60)
@given(shows, st.integers(0, 1 << 30), st.lists(edits, min_size=2, max_size=5))
def test_edits_that_are_written_together_give_the_same_as_one_by_one(data: Any, seed: int, asked: Any) -> None:
    text = Writer(seed).show(data)
    try:
        one_by_one = text
        for edit in asked:
            one_by_one = edited(one_by_one, edit)
    except ValueError:
        return
    try:
        together = edited(text, asked[0], "show", *asked[1:])
    except ShowError:  # then they are written one by one
        return
    assert same(parse(together, "show")[0], parse(one_by_one, "show")[0])


def test_a_poll_fires_its_cue_under_the_new_name_and_a_cue_that_it_needs_cannot_go() -> None:
    text = """\
cues:
- {name: finale, values: {energy: 1}}  # the end
crowd:
  polls:
  - {name: way, question: Which, options: [finale, {label: start, do: cue/go finale}, {label: x, do: act/wave}]}
"""
    after = edited(text, {"do": "cue/edit", "name": "finale", "fields": {"name": "the last one"}})
    crowd = Show.parse(after).crowd
    assert crowd is not None
    assert [option.do for option in crowd.polls[0].options] == [
        "cue/go the last one",
        "cue/go the last one",
        "act/wave",
    ]
    assert [option.label for option in crowd.polls[0].options] == ["finale", "start", "x"]
    assert "# the end" in after
    show = Show.parse(text)
    with pytest.raises(ValueError, match="no cue 'finale'"):
        checked(show, {"do": "cue/delete", "name": "finale"})


def test_whatever_fires_a_cue_fires_it_under_its_new_name() -> None:
    text = """\
cues: [{name: The End, values: {energy: 1}}, {name: other}]
keys: {z: cue/go the end, y: cue/go other, x: cue/go 1}
gamepad: {map: [{button: a, to: cue/go the end}]}
streamdeck: {keys: {1: cue/go the end, 2: {do: cue/jump the end, label: now}}}
lights: {patch: [{channel: 101, to: cue/go, value: The End}, {channel: 102, to: prompt, value: the end}]}
midi: {map: [{note: 1, to: cue/go, value: the end}]}
osc: {map: [{address: /end, to: cue/go, value: the end}]}
events: [{name: hit, do: {cue/go: the end, energy: 1}}]
story: {scenes: [{name: the end, prompt: a sea, deeds: [{after: 3, do: cue/go the end}]}]}
"""
    Show.parse(text)
    after = edited(text, {"do": "cue/edit", "name": "The End", "fields": {"name": "dawn"}})
    show = Show.parse(after)
    assert show.keys == {"z": "cue/go dawn", "y": "cue/go other", "x": "cue/go 1"}
    assert show.gamepad.map[0].to == "cue/go dawn"
    assert show.streamdeck is not None
    assert [key and key.do for key in show.streamdeck.keys.values()] == ["cue/go dawn", "cue/jump dawn"]
    assert show.lights is not None
    assert [line.value for line in show.lights.patch] == ["dawn", "the end"]
    assert (show.midi.map[0].value, show.osc.map[0].value) == ("dawn", "dawn")
    assert show.events[0].do == {"cue/go": "dawn", "energy": 1}
    assert show.story is not None
    assert (show.story.scenes[0].name, show.story.scenes[0].deeds[0].do) == ("the end", "cue/go dawn")
