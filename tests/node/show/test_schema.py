import json
import re
from fractions import Fraction
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from worldjockey.node.parameters import PARAMETERS
from worldjockey.node.show.fields import parse_fps
from worldjockey.node.show.outputs import split_outputs
from worldjockey.node.show.schema import Show
from worldjockey.node.show.yaml_file import ShowError, dumped, read


def error(text: str) -> str:
    with pytest.raises(ShowError) as caught:
        Show.parse(text, "my.yaml")
    return str(caught.value)


def test_the_embedded_show_fills_every_pad_and_names_its_cues():
    show = Show.load()
    assert len(show.pads) == 16
    assert all(pad.text and pad.label for pad in show.pads)
    assert len({pad.text for pad in show.pads}) == 16
    assert len(show.cues) >= 4
    assert [o.kind for o in show.outputs] == ["window", "ndi"]
    assert (show.width, show.height, show.fps_num, show.fps_den) == (1920, 1080, 30, 1)
    assert (show.osc.host, show.osc.port, show.osc.feedback_host, show.osc.feedback_port) == (
        "127.0.0.1",
        9010,
        None,
        9011,
    )


def test_an_empty_file_is_a_show_of_defaults():
    assert Show.parse("") == Show()


@pytest.mark.parametrize(
    ("written", "fps"),
    [
        ("30", Fraction(30)), ("29.97", Fraction(30000, 1001)), ("30000/1001", Fraction(30000, 1001)),
        ("23.976", Fraction(24000, 1001)), ("59.94", Fraction(60000, 1001)), ("25", Fraction(25)),
        ("12.5", Fraction(25, 2)),
    ],
)  # fmt: skip
def test_frame_rates_are_exact_fractions(written, fps):
    show = Show.parse(f"fps: {written}")
    assert Fraction(show.fps_num, show.fps_den) == fps


@pytest.mark.parametrize("wrong", ["fast", "1/0", "0", "-30", "1000", "nan", "inf"])
def test_impossible_frame_rates_are_refused(wrong):
    with pytest.raises(ValueError, match="frame"):
        parse_fps(wrong)


def test_pads_are_texts_or_labelled_texts_or_empty():
    show = Show.parse("pads: [the sea, {text: a city, label: town}, null]")
    assert [(p.text, p.label) for p in show.pads] == [("the sea", ""), ("a city", "town"), ("", "")]
    assert show.initial()["pad/2/text"] == "a city"
    assert show.pad_number("TOWN") == 2


def test_initial_values_are_the_tables_defaults_under_the_shows_own():
    initial = Show.parse("values: {cam/zoom: -0.5, word/storm: 1.5, act: dance, steps: 2}").initial()
    assert initial["cam/zoom"] == -0.5
    assert initial["word/storm"] == 1.5
    assert initial["act"] == "dance"
    assert initial["steps"] == 2
    assert initial["speed"] == PARAMETERS["speed"].default
    assert Show.parse("").initial()["steps"] == PARAMETERS["steps"].default
    helios = Show.parse("model: helios").initial()
    assert (helios["steps"], helios["quality"]) == (2, "fixed"), "which it was distilled for"
    assert Show.parse("{model: helios, values: {steps: 1}}").initial()["steps"] == 1


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("fps: 30\nmodle: nano", 2, ["modle", "did you mean 'model'"]),
        ("values:\n  energy: 0.2\n  cam/zom: 0.2", 3, ["cam/zom", "'cam/zoom'", "wj reference"]),
        ("values:\n\n  morph: 3", 3, ["morph is 3", "0 to 1"]),
        ("values: {act: fly}", 1, ["dance", "'fly'"]),
        ("values: {panic: 1}", 1, ["trigger"]),
        ("values: {energy: high}", 1, ["number", "'high'"]),
        ("values: {energy: .nan}", 1, ["NaN"]),
        ("values: {prompt: x}", 1, ["line of its own"]),
        ("size: 1920x1081", 1, ["1920x1082"]),
        ("size: big", 1, ["1920x1080"]),
        ("fps: 1/0", 1, ["30000/1001"]),
        ("outputs:\n- window\n- ndii", 3, ["'ndii'", "window, ndi, file"]),
        ("outputs: [file]", 1, ["file:clip.mp4"]),
        ("outputs: ['window:left']", 1, ["window:0"]),
        ("cues:\n- name: a\n  pads: {sea: 1}", 3, ["'sea'", "1 to 16"]),
        ("cues:\n- name: a\n- name: A", 3, ["already a cue"]),
        ("cues:\n- {nam: a}", 2, ["did you mean 'name'"]),
        ("cues:\n- name: a\n  seconds: -1", 3, ["this is 0 or more"]),
        ("osc:\n  port: 99999", 2, ["65535"]),
        ("osc:\n  feedback: here", 2, ["9011"]),
        ("midi:\n  map:\n  - {cc: 1, to: enrgy}", 3, ["'energy'"]),
        ("midi: {map: [{cc: 1, note: 2, to: energy}]}", 1, ["exactly one"]),
        ("midi: {map: [{note: 2, to: prompt}]}", 1, ["value"]),
        ("pads:\n" + "- x\n" * 17, 1, ["at most 16"]),
        ("a: [", 1, ["not YAML"]),
        ("fps: 30\nfps: 25", 2, ["twice"]),
        ("- a", 1, ["a show is"]),
        ("name: !!python/object/apply:os.system [ls]", 1, ["not YAML"]),
    ],
)  # fmt: skip
def test_errors_name_file_line_and_fix(text, line, words):
    message = error(text)
    assert message.startswith(f"my.yaml:{line}: ")
    for word in words:
        assert word in message


def test_all_errors_are_reported_at_once():
    message = error("fps: fast\nsize: big\nvalues: {morph: 2, energi: 1}")
    assert len(message.splitlines()) == 4


def test_a_missing_file_says_how_to_get_one(tmp_path):
    with pytest.raises(ShowError, match=r"nowhere\.yaml.*wj show --save"):
        Show.load(tmp_path / "nowhere.yaml")
    with pytest.raises(ShowError, match="cannot be read"):
        Show.load(tmp_path)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("window,ndi:stage, web:8080", ["window", "ndi:stage", "web:8080"]), ("none", []), ("", []),
        ("file:'Show, take 1.mp4',ndi", ["file:Show, take 1.mp4", "ndi"]),
        ('"file:Show, take 1.mp4"', ["file:Show, take 1.mp4"]),
        ("stream:srt://h:1?streamid=#!::r=a,m=publish,ndi", ["stream:srt://h:1?streamid=#!::r=a,m=publish", "ndi"]),
        ("ndi:stage,windw", ["ndi:stage", "windw"]), ("window,windw", ["window", "windw"]),
    ],
)  # fmt: skip
def test_outputs_are_parted_by_commas_but_for_those_in_names(text, parts):
    assert split_outputs(text) == parts


def test_what_is_dumped_loads_as_the_same_show(tmp_path):
    text = """
        name: Ünïcode ☀
        size: 1280x720
        fps: 29.97
        prompt: "the sea: at night"
        snapshots: looks.yaml
        pads: [one, null, {text: three, label: drei}, {image: look.png, text: at night}, {sound: loop.wav}]
        values: {word/storm: 1.5, cam/zoom: -1, act: cry, freeze: true}
        cues: [{name: a, pads: {1: 0.5, drei: 1}, values: {energy: 1}, seconds: 2}, {name: b, prompt: x}]
        outputs: [ndi, "ndi:alpha", {kind: ndi, layout: uyvy}, "file:a.mp4", "window:1"]
        osc: {host: 0.0.0.0, feedback: "10.0.0.2:9000"}
        midi: {defaults: false, map: [{cc: 3, to: morph, low: 1, high: 0, channel: 2}, {program: any, to: cue/go}]}
    """
    show = Show.parse(text)
    path = tmp_path / "show.yaml"
    path.write_text("an older show")
    show.dump(path)
    assert Show.load(path) == show
    assert list(tmp_path.iterdir()) == [path]
    assert Show.parse(Show.load().dump()) == Show.load()


def test_a_worlds_options_are_written_behind_its_name_or_beside_it():
    beside = Show.parse("model: {name: wan-1.3b-longlive, switch: swap, decoder: full}")
    assert beside.model == "wan-1.3b-longlive:switch=swap,decoder=full"
    assert beside == Show.parse("model: wan-1.3b-longlive:switch=swap,decoder=full") == Show.parse(beside.dump())
    assert beside.initial()["steps"] == 4, "what that world was made for"
    assert error("prompt: sea\nmodel: turbo:large") == (
        "my.yaml:2: model: 'turbo:large': after a world's name come its options, as in turbo:option=choice,other=choice"
    )
    assert error("model: {switch: swap}").startswith("my.yaml:1: model: ")


def test_a_show_that_cannot_be_written_leaves_the_old_one(tmp_path, monkeypatch):
    path = tmp_path / "show.yaml"
    path.write_text("name: old")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError, match="No space"):
        Show().dump(path)
    assert path.read_text() == "name: old"
    assert list(tmp_path.iterdir()) == [path]


def test_the_shows_midi_lines_lie_over_the_defaults():
    rules = Show.parse("midi: {map: [{note: 36, to: panic}, {cc: 1, to: null}]}").midi.rules()
    by_source = {(r["kind"], r["number"]): r for r in rules}
    assert by_source["note", 36]["target"] == "panic"
    assert by_source["cc", 1]["target"] is None
    assert by_source["note", 37]["target"] == "pad/2"
    assert by_source["cc", 20].items() >= {
        "kind": "cc", "number": 20, "channel": None, "device": None, "target": "cam/strafe",
        "low": -1.0, "high": 1.0, "press": None, "switch": False, "takeover": "pickup", "default": True,
    }.items()  # fmt: skip
    assert Show.parse("midi: {defaults: false}").midi.rules() == []


junk = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from(sorted(PARAMETERS)),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from([*Show.model_fields, "text", "to", "cc", "kind", 1]), inner, max_size=3)
    ),
    max_leaves=8,
)


def parsed(text: str | bytes) -> tuple[Show | None, str]:
    try:
        return Show.parse(text, "my.yaml"), ""
    except ShowError as error:
        return None, str(error)


@given(st.dictionaries(st.sampled_from(list(Show.model_fields)), junk, max_size=4))
def test_any_yaml_is_a_show_or_a_clear_error(data):
    show, error = parsed(yaml.safe_dump(data))
    assert all(line.startswith("my.yaml:") for line in error.splitlines())
    assert show is None or Show.parse(show.dump()) == show


@given(st.binary(max_size=60) | st.text(max_size=60))
def test_any_bytes_are_a_show_or_a_clear_error(data):
    show, error = parsed(data)
    assert show is not None or error.startswith("my.yaml")


lengths = st.one_of(
    st.floats(0, 3600).map(lambda seconds: f"{seconds:f} s"),
    st.tuples(st.integers(0, 64), st.integers(1, 64), st.sampled_from(("beats", "bar", "phrase", "ms"))).map(
        lambda parts: f"{parts[0]}/{parts[1]} {parts[2]}"
    ),
)
words = st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=12)
named = words.map(lambda name: f"x {name}".strip())
weighed = st.dictionaries(st.integers(1, 16), st.floats(0, 1), max_size=3)
cue_lines = st.fixed_dictionaries(
    {},
    optional={
        "prompt": words, "bank": st.sampled_from((1, "x")), "follow": lengths, "transition": lengths,
        "curve": st.sampled_from(("linear", "smooth", "exp")), "quantise": st.sampled_from(("beat", "none")),
        "values": st.fixed_dictionaries({}, optional={"energy": st.floats(0, 1), "freeze": st.booleans()}),
    },
)  # fmt: skip
pad_lines = st.one_of(
    words, st.none(), st.fixed_dictionaries({}, optional={"text": words, "label": words, "image": words})
)
lines = st.fixed_dictionaries(
    {},
    optional={
        "name": named, "prompt": words, "size": st.sampled_from(("1920x1080", [640, 360])),
        "fps": st.sampled_from((30, 29.97, "60000/1001")), "quantise": st.sampled_from(("bar", None)),
        "modulators": st.lists(st.fixed_dictionaries({"to": st.just("energy")}, optional={
            "shape": st.just("envelope"), "attack": lengths, "release": lengths}), max_size=2),
        "osc": st.fixed_dictionaries({}, optional={
            "feedback": st.sampled_from((None, 9011, "10.0.0.2:7000")), "query": st.sampled_from((None, 80))}),
        "midi": st.fixed_dictionaries({"map": st.lists(st.sampled_from((
            {"note": 36, "to": None}, {"cc": 1, "to": "bank", "high": 3}, {"note": 1, "to": "bank", "value": 2})),
            max_size=2)}),
        "outputs": st.lists(st.sampled_from(("window:1", "ndi:x", "web", {"kind": "ndi", "key": "luma"}, {
            "kind": "window", "keystone": [[0.02, 0], [0.97, 0.05], [1, 1], [0, 0.96]]})), max_size=3),
        "live": st.sampled_from((None, "ndi:x", {"camera": 0})),
    },
)  # fmt: skip


@given(lines, st.lists(pad_lines, max_size=16), st.lists(st.tuples(cue_lines, weighed), max_size=3), st.booleans())
def test_what_is_dumped_is_read_back_the_same(data, pads, cue_parts, banked):
    cues = [{"name": f"cue {n}", **line} for n, (line, _) in enumerate(cue_parts)]
    for cue, (_, weights) in zip(cues, cue_parts, strict=True):
        if cue.get("bank") == "x" and not banked:
            cue["bank"] = 1
        if not banked or "bank" in cue:
            cue["pads"] = weights
    data |= {"banks": {"x": pads, "y": ["sea"]}} if banked else {"pads": pads}
    show = Show.parse(dumped({**data, "cues": cues}))
    assert Show.parse(show.dump()) == show


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_a_show_is_read_in_the_encodings_that_programs_write(tmp_path, encoding):
    """PowerShell's > writes UTF-16, and some editors begin a file with a byte order mark."""
    path = tmp_path / "show.yaml"
    text = "name: Nächte\nprompt: the sea\nmidi: {map: []}\n"
    marks = {"utf-16-le": b"\xff\xfe", "utf-16-be": b"\xfe\xff"}
    path.write_bytes(marks.get(encoding, b"") + text.encode(encoding))
    assert Show.load(path).name == "Nächte"
    assert read(path) == text
    path.write_bytes("name: N\nprompt: Nächte".encode("latin-1"))
    with pytest.raises(ShowError, match=r"show\.yaml:2: a character is not UTF-8: save the file as UTF-8"):
        Show.load(path)


def test_names_may_be_numbers_and_true_says_that_it_wants_quotes():
    show = Show.parse("cues: [{name: 1}, {name: 1.5}, {name: '2.0'}]\nbanks: {1: [sea], 2.5: [city]}")
    assert [cue.name for cue in show.cues] == ["1", "1.5", "2.0"]
    assert list(show.banks) == ["1", "2.5"]
    assert Show.parse(show.dump()) == show
    assert "put it in quotes, as in 'true'" in error("prompt: true")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("cues: [{name: a, pads: {99: 1}}]", "cues.1.pads.99: there is no pad 99"),
        ("pads: sea", "pads: this is a list: write `- ` before each line of it, or [a, b], not 'sea'"),
        ("outputs: [{kind: web, port: x}]", "this is a whole number, not 'x', as in web:8080"),
        ("a:\n\tb: c", "use spaces, not tabs"), ("prompt: sea: blue", "put a text with a colon in quotes"),
        ("name: 'x\nprompt: y", "a quote or a bracket is not closed"), ("[" * 3000, "nested too deeply"),
        ("osc: {port: 0}", "osc.port: this is 1 or more, not 0"), ("name: ''", "this is a text that is not empty"),
    ],
)  # fmt: skip
def test_errors_are_plain_words_with_the_right_place(text, words):
    assert words in error(text)


@pytest.mark.parametrize(
    "name", ["12:30", "010", "2026-11-30", "no", "on", "Yes", "1_000", "20261130", "1e3", "0b11", "1.5", "=", "0o17"]
)
def test_a_name_is_read_as_it_looks(name):
    """To YAML 1.1 these are 750, 8, a date, false, true, true, 1000 and so on."""
    show = Show.parse(f"name: {name}\nprompt: {name}\npads: [{name}]\ncues: [{{name: {name}}}]\nbanks: {{}}")
    assert (show.name, show.prompt, show.pads[0].text, show.cues[0].name) == (name,) * 4
    assert Show.parse(show.dump()) == show


def test_switches_are_true_and_false_or_words():
    for on, off in (("true", "false"), ("yes", "no"), ("On", "OFF"), ("'on'", '"off"')):
        show = Show.parse(f"values: {{freeze: {on}}}\nmidi: {off}\nsound: {on}\nosc: {{enabled: {off}}}\nlive: {off}")
        assert show.values == {"freeze": True}
        assert (show.midi.enabled, show.sound.enabled, show.osc.enabled, show.live) == (False, True, False, None)
    show = Show.parse(
        "{snapshots: off, key: no, world: off, quantise: no, osc: {query: off, feedback: no}, sound: {input: no}}"
    )
    assert (show.snapshots, show.key, show.world, show.quantise, show.sound.input) == (None, None, None, "none", None)
    assert (show.osc.query, show.osc.feedback_port) == (None, None)
    lines = "{note: 1, to: freeze, value: on}, {note: 2, to: cue/go, value: on}, {note: 3, to: prompt, value: no}"
    rules = [mapping.rule() for mapping in Show.parse(f"midi: {{map: [{lines}]}}").midi.map]
    assert [rule["press"] for rule in rules] == [(1.0,), ("on",), ("no",)]
    assert Show.parse("values: {energy: '0,5', act: Dance}").values == {"energy": 0.5, "act": "dance"}


def test_an_osc_host_may_be_a_star_and_has_its_port_on_a_line_of_its_own():
    assert [Show.parse(f"osc: {{host: {h}}}").osc.host for h in ("'*'", "any", "'::1'", "studio.local")] == [
        "0.0.0.0", "0.0.0.0", "::1", "studio.local",
    ]  # fmt: skip
    assert "write `host: 127.0.0.1` and `port: 9010`" in error("osc: {host: '127.0.0.1:9010'}")


def test_sections_without_lines_are_as_if_they_were_not_there():
    """As where all lines of a list are commented out."""
    empty = "".join(f"{name}:\n# - x\n" for name in Show.model_fields)
    assert Show.parse(empty) == Show()
    cue = Show.parse("cues:\n- name: a\n  pads:\n  values:\n  seconds:\n  prompt:\n").cues[0]
    assert (cue.pads, cue.values, cue.seconds, cue.prompt) == (None, {}, 0.0, None)
    assert Show.parse("osc: {feedback: , query: , port: }").osc == Show.parse("osc: {feedback: null, query: null}").osc
    assert "this has lines of its own, as in {name: value}, and here is nothing" in error("cues:\n-\n")


@pytest.mark.parametrize("space", ["\u00a0", "\u2003", "\u3000", "\u202f"])
def test_spaces_that_only_look_like_one_are_one(space):
    """Macs type them, and web pages have them."""
    show = Show.parse(
        f"values:\n{space} energy:{space}0.5\n{space} morph: 0.2\n\u200bprompt:{space}neon\ufeff{space}city\n"
    )
    assert (show.values, show.prompt) == ({"energy": 0.5, "morph": 0.2}, "neon city")


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_tabs_that_indent_nothing_are_spaces(end):
    text = "fps: 25\t# slow\nprompt:\tneon\tcity \t\n\t\nvalues:\n  energy: 0.5\n \t \n  morph: 0.2\n"
    show = Show.parse(text.replace("\n", end))
    assert (show.fps, show.prompt, show.values) == (25, "neon city", {"energy": 0.5, "morph": 0.2})
    assert "use spaces, not tabs" in error("values:\n\tenergy: 0.5")


def test_curly_quotes_are_no_part_of_a_text_and_are_named_where_they_do_not_do():
    show = Show.parse(
        "prompt: “neon city”\ncues:\n- name: „opening“\npads: [a sign: says “open”]".replace("sign: ", "sign ")
    )
    assert (show.prompt, show.cues[0].name, show.pads[0].text) == ("neon city", "opening", "a sign says “open”")
    for text in ("pads:\n- {label: storm, text: “rain, wind”}", "name: a\nprompt: “neon: rain”"):
        message = error(text)
        assert message.startswith("my.yaml:2: ")
        assert '“ and ” are no quotes: write "' in message


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("fps:30\nname: x", 1, "needs a colon and a space"), ("name: x\nprompt:neon\nfps: 30", 2, "colon and a space"),
        ('name: x\nprompt: "neon\nfps: 30\n', 2, "a quote or a bracket is not closed"),
        ("prompt: 'it's raining'", 1, "put quotes around all of a text"),
        ("cues:\n  - name: a\n - name: b", 3, "in the same column"),
        ("cues:\n- name: a\n   seconds: 1", 3, "begin in the same column"),
        ("prompt: [neon] city", 1, "quotes"), ("prompt: *star light", 1, "begins with * or &"),
        ("prompt: &\n", 1, "begins with * or &"), ("prompt: @home", 1, "begins with @ in quotes"),
        ("prompt: !wow neon", 1, "begins with ! in quotes"), ("prompt: > neon", 1, "begins with > or |"),
        ("osc: {host: ::1}", 1, "begins with : , or ] in quotes"), ("prompt: ]", 1, "in quotes"),
        ("pads: - sea", 1, "a list on a line of its own"), ("name: x\n~: neon", 2, "a name is missing in front"),
        ("  name: x\nfps: 30", 2, "the same column"), ("fps: 30\n1: neon", 2, "a line begins with a name"),
        ("{neon} city: x", 1, "quotes"), ("fps: 30\n? [a]\n: b", 2, "a text with brackets in quotes"),
        ("```yaml\nname: x\n```", 1, "remove lines of ```"), ("name: x\n---\nname: y", 2, "two documents"),
        ('pads:\n- {image: "C:\\Users\\look.jpg"}', 2, "use single quotes, or / in a path"),
        ("name: x\nprompt: neon\x0bcity", 2, "invisible character in this line (U+000B): delete it"),
        ("name: x\nprompt: \x1b[31mneon", 2, "U+001B"),
        ("pads:\n- city: neon, rain", 2, "put a text with a colon in quotes, as in 'city: neon, rain'"),
        ('pads:\n- {image: "C:\\temp\\beach.jpg"}', 2, "in double quotes a backslash begins a code"),
        ("fps: 30\npads:\n– neon\n– sea", 3, "or `- ` for a list"),
        ("cues:\n- {name: a, pads: {1: 0.5, '1': 0.7}}", 2, "'1' appears twice"),
        ("cues:\n- name: a\n  seconds: 1,5", 3, "write it with a point, as in 1.5"),
        ("values: {energy: 0,8}", 1, "write numbers with a point, as in 0.8"),
    ],
)  # fmt: skip
def test_mistakes_in_yaml_are_told_with_their_line_and_the_right_form(text, line, words):
    message = error(text)
    assert message.startswith(f"my.yaml:{line}: ")
    assert words in message
    assert "<block" not in message


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"\xff\xd8\xff\xe0 a photograph", "this is a picture, clip or sound, not a show"),
        (b"\0\0\0\x18ftypmp42 a clip", "this is a picture, clip or sound, not a show"),
        (b"{\\rtf1\\ansi\n\\f0 prompt: neon\\\n}", "this is rich text: in TextEdit choose Format > Make Plain Text"),
        (b"PK\x03\x04\x14\0\6\0" + bytes(range(256)), "a document of a word processor"),
        (b"<!DOCTYPE html>\n<html></html>", "a web page"),
    ],
)  # fmt: skip
def test_files_of_other_programs_are_told_apart(raw, words):
    with pytest.raises(ShowError, match=words):
        Show.parse(raw, "my.yaml")


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-32"])
def test_a_show_is_read_in_wide_encodings_without_a_mark(encoding):
    assert Show.parse("name: x\nprompt: Nächte".encode(encoding)).prompt == "Nächte"


def test_a_show_may_be_json():
    """As scripts write it: letters beyond 16 bits in two halves, and numbers of pads in quotes."""
    text = json.dumps(
        {"prompt": "a wave 🌊", "cues": [{"name": "a", "pads": {"1": 0.5}}], "values": {"prompt/b": "🌊"}}
    )
    assert "\\ud83c" in text
    show = Show.parse(text)
    assert (show.prompt, show.cues[0].pads, show.values["prompt/b"]) == ("a wave 🌊", {1: 0.5}, "🌊")
    assert Show.parse(json.dumps({"prompt": "x", "values": {"energy": 1}}, indent="\t")).prompt == "x"
    assert Show.parse('prompt: "half \\ud83c"').prompt == "half �"


@pytest.mark.parametrize(
    "written",
    [
        "img\\look.png",
        "'\"img/look.png\"'",
        "img/Cafe\u0301.png",
        "./img/../img/look.png",
        "img/my\\ look.png",
        "file://HERE/img/my%20look.png",
        "IMG\\Look.PNG",
        "img/CAFE\u0301.png",
    ],
)
def test_paths_may_be_spelt_for_another_system(tmp_path, written):
    (tmp_path / "img").mkdir()
    for name in ("look.png", "Café.png", "my look.png"):
        (tmp_path / "img" / name).write_bytes(b"")
    show = Show.parse(f"pads:\n- image: {written.replace('HERE', str(tmp_path))}")
    assert all(Path(file).is_file() for media in show.media(tmp_path).values() for file in media.paths)
    gone = Show.parse("pads:\n- image: img\\gone.png").media(tmp_path)
    assert str(next(iter(gone.values())).image) == str(tmp_path / "img\\gone.png")


def test_files_that_are_written_have_the_name_that_the_show_gives(tmp_path):
    (tmp_path / "take.mp4").write_bytes(b"an older one")
    output = Show.parse("outputs: ['file:Take.mp4']").outputs[0].from_folder(tmp_path)
    assert output.options["path"] == tmp_path / "Take.mp4"


def test_hostile_yaml_takes_no_time():
    bomb = "values:\n  a: &a [x, x, x, x, x, x, x, x]\n"
    bomb += "".join(f"  {n}: &{n} [{', '.join([f'*{p}'] * 8)}]\n" for p, n in zip("abcdefgh", "bcdefghi", strict=True))
    assert "there is no parameter 'a'" in error(bomb)
    assert "there is no 'b' here" in error(bomb.replace("values:\n", "").replace("  ", ""))
    assert "my.yaml:2: this is not YAML: a number of more than 1000 digits" in error("name: x\nfps: " + "9" * 5000)
    assert "lines of its own" in error("pads: &p\n- *p\n")


def test_an_output_of_the_preview_keeps_its_bus():
    show = Show.parse("outputs: [window, {kind: window, bus: preview, monitor: 1}, {ndi: {bus: preview, name: next}}]")
    assert [entry.bus for entry in show.outputs] == ["program", "preview", "preview"]
    assert show.outputs[2].options == {"name": "next"}
    assert Show.parse(show.dump()).outputs == show.outputs
    with pytest.raises(ShowError, match="bus is program or preview, not 'aux'"):
        Show.parse("outputs: [{kind: window, bus: aux}]")


@pytest.mark.parametrize("token", ["", "short", "with a space", "ü" * 8, "x" * 101])
def test_a_token_that_no_link_can_carry_is_refused_with_what_is_accepted(token):
    with pytest.raises(
        ShowError, match=r"token: a token has 8 to 100 characters: letters from A to Z, digits, - and _"
    ):
        Show.parse(json.dumps({"surface": {"token": token}}))
    assert Show.parse("surface: {token: a-long_secret1}").surface.token == "a-long_secret1"


NAMES = """\
cues: [{name: storm}, {name: calm sea}]
banks: {day: [a], night: [b]}
events: [{name: hit, do: {energy: 1}}]
crowd: {polls: [{name: way, question: Which, options: [storm, calm sea]}]}
story: {scenes: [{name: shore, prompt: a sea, ways: [{to: end}]}, {name: end, prompt: a moon}]}
streamdeck: {}
players: {}
"""


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("keys: {z: cue/go strom}", "keys.z: there is no cue 'strom', did you mean 'storm'?"),
        ("keys: {z: cue/go 3}", "there is no cue '3'"),
        ("keys: {z: preview/cue/jump strom}", "did you mean 'storm'?"),
        ("keys: {z: event/hut}", "there is no event 'hut', did you mean 'hit'?"),
        ("keys: {z: crowd/poll body}", "there is no poll 'body': the show has way"),
        ("keys: {z: story/go hell}", "there is no scene 'hell': the show has shore, end"),
        ("keys: {z: bank 3}", "there is no bank 3"),
        ("gamepad: {map: [{button: a, to: cue/go strom}]}", "gamepad.map.1: there is no cue"),
        ("midi: {map: [{note: 1, to: cue/go, value: strom}]}", "midi.map.1: there is no cue"),
        ("midi: {map: [{note: 1, to: event/hut}]}", "midi.map.1: there is no event"),
        ("osc: {map: [{address: /a, to: crowd/poll, value: wy}]}", "osc.map.1: there is no poll 'wy', did you mean"),
        ("lights: {patch: [{channel: 101, to: cue/go, value: strom}]}", "lights.patch.1: there is no cue"),
        ("lights: {patch: [{channel: 101, to: event/hut}]}", "lights.patch.1: there is no event"),
    ],
)
def test_a_name_that_means_nothing_is_refused_with_the_near_one(line: str, message: str) -> None:
    with pytest.raises(ShowError, match=re.escape(message)):
        Show.parse(NAMES + line)


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("streamdeck: {}", "streamdeck: {keys: {2: cue/go strom}}", "streamdeck.keys.2: there is no cue 'strom'"),
        ("do: {energy: 1}", "do: {cue/go: strom}", "events.1.do.cue/go: there is no cue 'strom'"),
        ("[storm, calm sea]", "[storm, {label: x, do: cue/go clam sea}]", "options.2: there is no cue 'clam sea', did"),
        ("prompt: a moon", "prompt: a moon, deeds: [{after: 1, do: crowd/poll wy}]", "deeds.1: there is no poll 'wy'"),
        ("players: {}", "players: {buttons: {a: event/hut}}", "players.buttons.a: there is no event 'hut'"),
        ("players: {}", "players: {allow: [event/hut]}", "players.allow: there is no event 'hut'"),
    ],
)
def test_a_name_inside_a_part_that_means_nothing_is_refused(before: str, after: str, message: str) -> None:
    with pytest.raises(ShowError, match=re.escape(message)):
        Show.parse(NAMES.replace(before, after))


def test_names_are_read_as_the_desk_reads_them() -> None:
    Show.parse(
        NAMES
        + "keys: {z: cue/go Calm_Sea, y: cue/go 2, x: cue/go, w: event/HIT, v: crowd/poll 1, "
        + "u: bank 2, t: story/go END}\n"
        + "midi: {map: [{note: 1, to: cue/go, value: on}, {note: 2, to: cue/go, value: 2}]}"
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "crowd: {url: play.example.org}",
            "crowd.url: 'play.example.org' cannot be used here: write the whole address",
        ),
        ("crowd: {twitch: '#chan nel'}", "write the name of the channel alone"),
        ("crowd: {title: {deutsch: Sturm}}", "write a language in two letters, as in de"),
        ("crowd: {faders: [{name: The Storm, labels: [a, b]}]}", "write a name of a-z, 0-9 and -, as in storm"),
        ("story: {balances: [The Storm], scenes: [{name: a, prompt: b}]}", "write a name of a-z, 0-9 and -"),
        ("surface: {token: short}", "a token has 8 to 100 characters"),
    ],
)
def test_a_wrong_spelling_is_refused_in_words_and_not_by_a_pattern(text: str, message: str) -> None:
    with pytest.raises(ShowError, match=re.escape(message)) as refused:
        Show.parse(text)
    assert not re.search(r"pattern|\^|\$|\\", str(refused.value))
