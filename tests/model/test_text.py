import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from worldjockey.model import load
from worldjockey.model.stage.captions import phrases
from worldjockey.model.stage.vocabulary import ATTRIBUTES, WIDTH
from worldjockey.model.text import accuracy


@pytest.fixture(scope="module")
def encoder():
    """The shipped one."""
    return load("nano", device="cpu").text


def test_phrases_that_test_are_none_that_teach():
    for key, values in ATTRIBUTES.items():
        for value in values:
            assert len(phrases(key, value, True)) >= 3
            assert not set(phrases(key, value, True)) & set(phrases(key, value, False)), (key, value)


def test_it_reads_the_phrases_it_learned_and_most_it_never_saw(encoder):
    known, unseen = accuracy(encoder, 100, held_out=False), accuracy(encoder, 200)
    assert min(known.values()) > 0.9, known
    assert np.mean(list(unseen.values())) > 0.75, unseen


def row(encoder, text, key):
    return encoder.encode(text).values[list(ATTRIBUTES).index(key)]


@pytest.mark.parametrize(
    ("text", "key", "value"),
    [
        ("neon city in the rain", "place", "city"), ("neon city in the rain", "light", "neon"),
        ("neon city in the rain", "weather", "rain"), ("nobody, the open sea", "figure", "none"),
        ("a dancer underwater", "figure", "dance"), ("the forest, black and white", "tint", "mono"),
    ],
)  # fmt: skip
def test_words_mean_what_they_say(encoder, text, key, value):
    assert ATTRIBUTES[key][int(row(encoder, text, key).argmax())] == value


def test_what_nobody_says_stays_unsaid(encoder):
    assert row(encoder, "make it night", "place").sum() < 0.4 < row(encoder, "make it night", "light").sum()


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=300))
def test_any_text_is_whole_and_in_range(encoder, text):
    tokens = encoder.encode(text)
    assert tokens.values.shape == (len(ATTRIBUTES), WIDTH)
    assert np.isfinite(tokens.values).all()
    assert tokens.values.min() >= 0
    assert tokens.values.sum(-1).max() <= 1 + 1e-4
    if tokens.parts is not None:
        np.testing.assert_allclose(tokens.parts.sum(0), tokens.values, atol=1e-5)
