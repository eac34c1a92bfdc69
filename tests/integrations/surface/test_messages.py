"""What pages may send: the parser takes any text, and lets nothing through that control would have to fear."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from worldjockey.integrations.surface.messages import (
    NAME_CHARS_MAX,
    NAMES_MAX,
    TEXT_CHARS_MAX,
    Fire,
    Hold,
    Release,
    Request,
    Values,
    parse,
)

SCALARS = st.one_of(
    st.booleans(), st.integers(-(2**60), 2**60), st.floats(allow_nan=False, allow_infinity=False), st.text()
)
NAMES = st.text(min_size=1, max_size=NAME_CHARS_MAX)
JSON = st.recursive(
    st.one_of(st.none(), SCALARS, st.floats()),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=8), inner, max_size=4)),
    max_leaves=12,
)


@given(st.dictionaries(NAMES, SCALARS, min_size=1, max_size=20))
def test_values_arrive_as_they_were_sent(values):
    assert parse(json.dumps({"set": values})) == Values(values)


@given(st.dictionaries(NAMES, SCALARS, min_size=1, max_size=20))
def test_what_is_held_and_let_go_arrives_as_it_was_sent(rest):
    assert parse(json.dumps({"hold": rest})) == Hold(rest)
    assert parse(json.dumps({"release": list(rest)})) == Release(tuple(rest))


@given(NAMES, st.lists(st.one_of(st.none(), SCALARS), max_size=8))
def test_what_is_fired_arrives_as_it_was_sent(name, args):
    assert parse(json.dumps({"fire": [name, *args]})) == Fire(name, tuple(args))


@given(st.integers(0, 2**53), st.dictionaries(st.sampled_from(["index", "fields", "pad"]), JSON))
def test_a_request_keeps_its_fields(number, fields):
    found = parse(json.dumps({"request": {"id": number, "do": "cue/edit", **fields}}).replace("NaN", "0").replace(
        "Infinity", "1"))  # fmt: skip
    assert isinstance(found, Request)
    assert (found.id, found.fields["do"]) == (number, "cue/edit")
    assert found.fields.keys() == {"do", *fields}


@given(st.one_of(st.text(), JSON.map(json.dumps), st.dictionaries(st.sampled_from(
    ["set", "fire", "hold", "release", "request"]), JSON, min_size=1, max_size=1).map(json.dumps)))  # fmt: skip
def test_anything_else_is_refused_in_words(text):
    found, refused = None, ""
    try:
        found = parse(text)
    except ValueError as error:
        refused = str(error)
    if found is None or isinstance(found, Request):
        assert found or 0 < len(refused) < 200
        return
    if isinstance(found, Release):
        values: Any = found.names
    elif isinstance(found, Fire):
        values = [a for a in found.args if a is not None]
    else:
        values = (found.values if isinstance(found, Values) else found.rest).values()
    for value in values:
        assert isinstance(value, str) or math.isfinite(value)
        assert not isinstance(value, str) or len(value) <= TEXT_CHARS_MAX


@pytest.mark.parametrize(
    "text",
    [
        "[" * 60_000, '{"set":' * 9000, '{"set": {"energy": NaN}}', '{"set": {"energy": Infinity}}',
        '{"set": {"energy": 1' + "0" * 400 + "}}", '{"set": {"energy": 1' + "0" * 6000 + "}}",
        '{"set": {"energy": [1]}}', '{"set": {}}', '{"set": {"": 1}}', '{"set": {"energy": 1}, "fire": ["panic"]}',
        '{"fire": []}', '{"fire": [7]}', '{"fire": ["panic", {}]}', '{"hold": ["pad/1"]}',
        '{"release": {"pad/1": 0}}', '{"release": []}', '{"release": [1]}', '{"request": {"do": "show/save"}}',
        '{"request": {"id": true, "do": "show/save"}}', '{"request": {"id": 1.5, "do": "show/save"}}',
        json.dumps({"set": dict.fromkeys(map(str, range(NAMES_MAX + 1)), 0)}),
        json.dumps({"set": {"x" * (NAME_CHARS_MAX + 1): 0}}), json.dumps({"set": {"prompt": "x" * 20_000}}),
        json.dumps({"fire": ["prompt", *range(9)]}),
    ],
)  # fmt: skip
def test_these_are_refused(text):
    with pytest.raises(ValueError, match=r"^[a-z\"]"):
        parse(text)
