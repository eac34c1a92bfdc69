from worldjockey.node.show.fingerprint import differing, digests
from worldjockey.node.show.schema import Show

TEXT = """
pads: [sea, {image: look.png}]
cues: [{name: a, pads: {1: 0.5}, transition: 2 beats}]
modulators: [{shape: sine, to: energy, attack: 1 beat}]
"""


def test_a_show_is_the_same_however_it_is_written_and_wherever_it_goes(tmp_path):
    (tmp_path / "look.png").write_bytes(b"a look")
    same = "outputs: [ndi]\nprompt: night\nvalues: {energy: 1}\nosc: {port: 9999}\n" + TEXT.replace(
        "sea", "{text: sea}"
    )
    recorded = digests(Show.parse(TEXT), tmp_path)
    assert differing(Show.parse(same), tmp_path, recorded) == []


def test_the_part_that_is_another_is_named(tmp_path):
    (tmp_path / "look.png").write_bytes(b"a look")
    recorded = digests(Show.parse(TEXT), tmp_path)
    for before, after, part in (
        ("sea", "a sea", "pads"), ("0.5", "0.6", "cues"), ("2 beats", "3 beats", "cues"),
        ("1 beat}", "2 beats}", "modulators"), ("sine", "saw", "modulators"),
    ):  # fmt: skip
        assert differing(Show.parse(TEXT.replace(before, after)), tmp_path, recorded) == [part]
    assert differing(Show.parse(""), tmp_path, recorded) == ["pads", "cues", "modulators"]
    (tmp_path / "look.png").write_bytes(b"another look")
    assert differing(Show.parse(TEXT), tmp_path, recorded) == ["pads"]


def test_a_log_that_says_nothing_of_it_is_not_doubted(tmp_path):
    for recorded in (None, "", 7, [], {}):
        assert differing(Show.parse(TEXT), tmp_path, recorded) == []
