"""A status always fits in its cell, and text from elsewhere cannot harm a terminal."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from worldjockey.node.ipc.cell import Cell
from worldjockey.node.ipc.process import publish_status, read_status
from worldjockey.node.ipc.status import PLAIN_CHARS, error_text, plain_text


@pytest.fixture
def cell() -> Iterator[Cell]:
    made = Cell(2048)
    yield made
    made.unlink()


def test_a_status_that_fits_stays_as_it_is(cell: Cell) -> None:
    publish_status(cell, {"state": "running", "sent": 3, "names": ["a"] * 100})
    assert read_status(cell) == {"state": "running", "sent": 3, "names": ["a"] * 100}


@pytest.mark.parametrize(
    "much",
    [
        {"message": "x" * 100_000},
        {"facts": {"names": ["a long name of a source"] * 5000}},
        {"facts": {str(n): "a viewer" * 20 for n in range(5000)}},
        {str(n): n for n in range(10_000)},
    ],
)
def test_a_status_that_is_too_large_keeps_its_state_and_counters(cell: Cell, much: dict[str, object]) -> None:
    before = cell.version
    publish_status(cell, {"state": "running", "sent": 1234, **much})
    said = read_status(cell)
    assert cell.version > before, "it is a sign of life"
    assert (said["state"], said["sent"], said["truncated"]) == ("running", 1234, True)


@given(st.text())
def test_plain_text_is_short_and_without_control_characters(text: str) -> None:
    plain = plain_text(text)
    assert len(plain) <= PLAIN_CHARS
    assert plain.isprintable()


def test_plain_text_takes_escape_sequences_apart() -> None:
    assert plain_text("a\x1b[2Jb\r\nc\u202ed") == "a [2Jb  c d"
    assert plain_text("Größe · ✓") == "Größe · ✓"
    assert plain_text("x" * 1000).endswith("…")


def test_a_mistake_in_the_program_is_named_with_its_kind() -> None:
    assert error_text(KeyError("place")) == "KeyError: 'place'"
    assert error_text(OSError("plug it in")) == "plug it in"
    assert error_text(ValueError()) == "ValueError"
    assert error_text(OSError(98, "port 9010 is taken: use another")) == "port 9010 is taken: use another"
    assert error_text(PermissionError(13, "Permission denied", "r.json")) == "r.json: Permission denied"
