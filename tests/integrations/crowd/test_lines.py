"""What the control process takes from the crowd's server, which strangers may have taken over."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from worldjockey.integrations.crowd import input as crowd_input
from worldjockey.integrations.crowd.lines import check

WANTED: dict[str, Any] = {
    "faders": [{"name": "storm", "low": "calm", "high": "storm"}],
    "poll": {"id": 3, "question": "?", "options": [{"label": "a"}, {"label": "b"}]},
    "words": {"open": True, "vocabulary": ["rain"]},
    "players": {"open": True, "seats": 2},
}
LINES: tuple[dict[str, Any], ...] = (
    {"facts": {"url": "http://10.0.0.2:9070/", "port": 9070, "heads": 12, "messages_per_s": 3.5, "refused": 0}},
    {"faders": {"storm": {"median": 0.25, "votes": 3}}},
    {"votes": {"poll": 3, "counts": [1, 2], "voters": 3}},
    {"words": [{"word": "rain", "count": 2}]},
    {"players": [{"seat": 1, "axes": [0.0, -1.0], "buttons": ["jump"]}]},
)


@pytest.mark.parametrize("line", LINES)
def test_aggregates_pass(line):
    assert check(line, WANTED) == line


@pytest.mark.parametrize(
    "line",
    [
        {"controls": [["blackout", [1], 0, "crowd"]]},
        {"facts": {"url": "javascript:alert(1)"}},
        {"facts": {"url": "http://x/" + "y" * 500}},
        {"facts": {"heads": -1}},
        {"facts": {"token": "x"}},
        {"faders": {"storm": {"median": 1.5, "votes": 1}}},
        {"faders": {"storm": {"median": float("nan"), "votes": 1}}},
        {"faders": {"storm": {"median": 0.5, "votes": True}}},
        {"votes": {"poll": 3, "counts": [1, 2, 3], "voters": 6}},
        {"votes": {"poll": 3, "counts": [10**9, 0], "voters": 1}},
        {"words": [{"word": "RAIN<script>", "count": 1}]},
        {"words": [{"word": "rain", "count": 1}] * 65},
        {"players": [{"seat": 1, "axes": [2, 0], "buttons": []}]},
        {"players": [{"seat": 1, "axes": [0, 0], "buttons": ["x" * 40]}]},
        [], "text", None, {},
    ],
)  # fmt: skip
def test_all_else_is_dropped(line):
    with pytest.raises((ValueError, TypeError, KeyError)):
        check(line, WANTED)


def test_what_was_not_asked_is_left_out():
    assert check({"faders": {"energy": {"median": 1.0, "votes": 1}}}, WANTED) == {}
    assert check({"votes": {"poll": 2, "counts": [1], "voters": 1}}, WANTED) == {}
    assert check({"words": [{"word": "snow", "count": 1}]}, WANTED) == {}
    assert check({"players": [{"seat": 3, "axes": [0, 0], "buttons": []}]}, WANTED) == {"players": []}
    assert check({"words": [{"word": "rain", "count": 1}]}, {"words": {"open": False}}) == {}


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
kinds = st.sampled_from(["facts", "faders", "votes", "words", "players", "controls"])


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(kinds, json_values, max_size=3))
def test_whatever_comes_is_an_aggregate_or_dropped(line):
    try:
        found = check(line, WANTED)
    except (ValueError, TypeError, KeyError):
        return
    assert found.keys() <= {"facts", "faders", "votes", "words", "players"}
    assert len(json.dumps(found)) < 4000


HOSTILE = """
import json, sys, time
print(json.dumps({"faders": {"storm": {"median": 0.25, "votes": 3}}}), flush=True)
for line in ('{"controls": [["blackout", [1], 0, "crowd"]]}', "[" * 30000, "no json", '{"facts": {"port": 1e99}}'):
    print(line, flush=True)
{more}
time.sleep(60)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    "more", ["sys.stdout.write('x' * 10**7); sys.stdout.flush()", "print('{}\\\\n' * 10**6, flush=True)"]
)
def test_a_server_that_floods_the_show_is_replaced(tmp_path, monkeypatch, wait_for, more):
    program = tmp_path / "hostile.py"
    program.write_text(HOSTILE.replace("{more}", more))
    monkeypatch.setattr(crowd_input, "MODULE", program)
    lines: list[Any] = []
    crowd = crowd_input.CrowdInput(crowd_input.CrowdOptions(), lines.append)
    crowd.send(WANTED)
    crowd.start(lambda event: pytest.fail("the crowd has no controls"))
    wait_for(lambda: crowd.status()["restarts"] >= 1 and len(lines) >= 2, what="another server")
    crowd.stop()
    moved, at_rest = ({"faders": {"storm": {"median": m, "votes": n}}} for m, n in ((0.25, 3), (0.5, 0)))
    assert moved in lines
    assert at_rest in lines, "while no server runs, nobody moves the fader"
    assert all(line in (moved, at_rest) for line in lines)
