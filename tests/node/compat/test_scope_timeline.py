"""Scope's timelines: both of its formats become a show that can be played, anything else a clear fault."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner
from worldjockey.node.cli.app import app
from worldjockey.node.compat.scope_timeline import TIMELINE_BYTES_MAX, load, to_yaml
from worldjockey.node.show.schema import Show
from worldjockey.node.show.yaml_file import ShowError


def block(start: float, end: float, *prompts: tuple[str, float], **more: Any) -> dict[str, Any]:
    said = [{"text": text, "weight": weight} for text, weight in prompts]
    return {"startTime": start, "endTime": end, "prompts": said, **more}


TIMELINE = {
    "prompts": [
        block(4.5, 9, ("a cat, robotic", 75), ("a dog", 25), transitionSteps=4, temporalInterpolationMethod="slerp"),
        block(0, 4.5, ("A domestic cat in tall grass, soft sunlight,\nphotorealistic", 100), transitionSteps=0),
        {"startTime": 9, "endTime": 12, "text": "a blast"},
    ],
    "settings": {"pipelineId": "longlive", "seed": 42, "denoisingSteps": [1000, 750], "loras": []},
    "version": "2.1",
}
WORKFLOW = {
    "format": "scope-workflow",
    "timeline": {
        "entries": [
            {"start_time": 0, "end_time": 3, "prompts": [{"text": "sea", "weight": 1}], "transition_steps": None},
            {"start_time": 3, "end_time": 6, "prompts": [{"text": "dune", "weight": 1}], "transition_steps": 2},
        ]
    },
}


def test_a_timeline_is_a_show_to_play():
    text = to_yaml(json.dumps(TIMELINE))
    show = Show.parse(text)
    first, second, third = show.cues
    assert first.name == "1 A domestic cat in tall grass, soft"
    assert first.prompt == "A domestic cat in tall grass, soft sunlight,\nphotorealistic"
    assert (first.pads, first.seconds) == ({}, 0)
    assert [pad.text for pad in show.pads] == ["a cat, robotic", "a dog"]
    assert (second.pads, second.prompt, second.seconds) == ({1: 0.75, 2: 0.25}, None, 3.0)
    assert (third.prompt, third.pads) == ("a blast", {})
    assert show.values == {"seed": 42, "steps": 2}
    assert "# 4.5 to 9.0 s\n  - name: 2 a cat" in text


def test_a_workflow_is_one_too():
    show = Show.parse(to_yaml(json.dumps(WORKFLOW)))
    assert [(cue.prompt, cue.seconds, cue.pads) for cue in show.cues] == [("sea", 0, None), ("dune", 1.5, None)]


@pytest.mark.parametrize(
    ("data", "error"),
    [
        ("{", r"timeline:1: this is not JSON"),
        ("\n\nprompts: []", r"timeline:3: this is not JSON"),
        ("[" * 100_000, "not JSON"),
        (b"\xff\xfe\x00", "not JSON"),
        ("[1]", "not a timeline"),
        ('{"prompts": []}', "it has no timeline"),
        ('{"timeline": {"entries": "x"}}', "it has no timeline"),
        ('{"prompts": [7]}', "block 1"),
        ('{"prompts": [{"endTime": 1, "text": "a"}]}', r"block 1: startTime: field required"),
        (json.dumps({"prompts": [block(5, 1, ("a", 1))]}), "block 1: ends at 1 s, before"),
        (json.dumps({"prompts": [block(0, 1)]}), "block 1: has no prompt"),
        (json.dumps({"prompts": [block(0, 1, ("a", -1))]}), r"block 1: prompts\.0\.weight"),
        (json.dumps({"prompts": [block(0, float("nan"), ("a", 1))]}), "block 1: endTime"),
        (json.dumps({"prompts": [block(0, 1, ("a" * 20_000, 1))]}), r"block 1: prompts\.0\.text"),
        (json.dumps({"prompts": [block(0, 1, *((f"p{n}", 1) for n in range(17)))]}), "17 prompts.*16 pads"),
    ],
)
def test_anything_else_is_a_clear_fault(data, error):
    with pytest.raises(ShowError, match=error):
        to_yaml(data)


BLOCKS = st.builds(
    lambda start, length, prompts, steps: block(start, start + length, *prompts, transitionSteps=steps),
    st.floats(0, 1e5),
    st.floats(0, 1e3),
    st.lists(st.tuples(st.text(max_size=60), st.floats(0, 100)), min_size=1, max_size=3),
    st.none() | st.integers(0, 10_000),
)


@settings(max_examples=60)
@given(st.lists(BLOCKS, min_size=1, max_size=5))
def test_whatever_is_printed_can_be_pasted(blocks):
    show = Show.parse(to_yaml(json.dumps({"prompts": blocks})))
    assert len(show.cues) == len(blocks)
    for cue in show.cues:
        assert cue.prompt is not None or sum((cue.pads or {}).values()) == pytest.approx(1, abs=0.01)


def test_the_command(tmp_path):
    path = tmp_path / "timeline.json"
    path.write_text(json.dumps(TIMELINE))
    result = CliRunner().invoke(app, ["cues", "import", str(path)])
    assert result.exit_code == 0
    assert len(Show.parse(result.stdout).cues) == 3
    with pytest.raises(ShowError, match="cannot be read"):
        load(tmp_path / "nope.json")
    path.write_bytes(b" " * (TIMELINE_BYTES_MAX + 1))
    with pytest.raises(ShowError, match="larger than"):
        load(path)


@pytest.mark.parametrize("timeline", [{}, {"timeline": None}])
def test_a_workflow_without_a_timeline_is_one_cue_or_a_blend_on_pads(timeline):
    one = yaml.safe_load(to_yaml(json.dumps({**timeline, "prompts": [{"text": "a glass whale", "weight": 1}]})))
    assert one == {"cues": [{"name": "1 a glass whale", "prompt": "a glass whale"}]}
    two = {**timeline, "prompts": [{"text": "sea", "weight": 3}, {"text": "city", "weight": 1}]}
    blend = yaml.safe_load(to_yaml(json.dumps(two)))
    assert (blend["pads"], blend["cues"][0]["pads"]) == (["sea", "city"], {1: 0.75, 2: 0.25})


def test_a_bad_block_is_left_out_and_named(capsys):
    data = {"prompts": [block(0, 1, ("a", 1)), block(5, 1, ("b", 1)), block(6, 7, ("c", 1))]}
    text = to_yaml(json.dumps(data))
    assert [cue["prompt"] for cue in yaml.safe_load(text)["cues"]] == ["a", "c"]
    assert "# left out: timeline: block 2: ends at 1 s, before it starts at 5 s" in text
