"""What a still is called by, and which requests for stills are refused."""

import os
from pathlib import Path

import pytest
from worldjockey.model import registry
from worldjockey.model.registry import attributes_of, lightest, weights_digest
from worldjockey.node.session.stills import still_name, tried
from worldjockey.node.show.media import Media


def test_a_still_belongs_to_its_prompt_its_seed_its_weights_and_the_files_of_its_pad(tmp_path: Path) -> None:
    picture = tmp_path / "a.jpg"
    picture.write_bytes(b"one")
    media = Media(str(picture))
    names = {
        still_name("sea", 0, "w"), still_name("sea", 1, "w"), still_name("desert", 0, "w"), still_name("sea", 0, "v"),
        still_name("sea", 0, "w", media),
    }  # fmt: skip
    assert len(names) == 5
    assert still_name("sea", 0, "w") in names
    os.utime(picture, (1, 1))
    assert still_name("sea", 0, "w", media) not in names
    assert still_name("sea", 0, "w", Media(str(tmp_path / "gone.jpg"))) == still_name("sea", 0, "w")


def test_the_digest_of_a_worlds_weights_changes_with_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    weights = tmp_path / "nano.safetensors"
    weights.write_bytes(b"one")
    entry = registry.WorldEntry("mine", lambda opening: None, embedded=(weights,))  # type: ignore[arg-type, return-value]
    monkeypatch.setattr(registry, "BUILTIN_WORLDS", (entry,))
    before = weights_digest("mine")
    assert weights_digest("mine") == before
    weights.write_bytes(b"two")
    assert weights_digest("mine") != before


def test_worlds_are_tried_in_what_their_prompts_can_say_and_in_their_acts() -> None:
    assert list(tried("nano")) == ["place", "light", "weather", "tint", "mood", "act"]
    assert "night" in tried("nano:size=small")["light"]
    assert list(tried("testcard")) == ["act"]
    assert attributes_of("of another package") == {}


def test_a_preview_takes_the_smallest_size_of_its_world() -> None:
    assert lightest("nano") == "nano:size=small"
    assert lightest("nano:runtime=torch,size=large") == "nano:runtime=torch,size=small"
    assert lightest("testcard") == "testcard"
