import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from worldjockey.model import load
from worldjockey.model.evaluate.metrics import caption_accuracy
from worldjockey.model.nano.text_encoder import words_of
from worldjockey.model.stage.captions import NEARBY, phrases
from worldjockey.model.stage.vocabulary import ATTRIBUTES, WIDTH
from worldjockey.model.train import nearby

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def encoder():
    """The shipped one."""
    return load("nano:runtime=torch", device="cpu").text


def test_phrases_that_test_are_none_that_teach():
    unwritten = yaml.safe_load(NEARBY.read_text("utf-8"))
    for key, values in ATTRIBUTES.items():
        for value in values:
            assert len(phrases(key, value, True)) >= 3
            assert not set(phrases(key, value, True)) & set(phrases(key, value, False)), (key, value)
            assert len(unwritten[key][value]) > 50
            assert not set(phrases(key, value, True)) & set(unwritten[key][value]), (key, value)


def test_a_phrase_nobody_wrote_has_one_word_swapped_for_a_near_one():
    found = [phrase.split() for phrase in nearby.swapped(["the violet meadow"])]
    assert ["the", "purple", "meadow"] in found, found
    differ = [sum(a != b for a, b in zip(words, ["the", "violet", "meadow"], strict=True)) for words in found]
    assert set(differ) == {1}, found
    assert all(words[0] == "the" for words in found), found


def test_phrases_are_read_by_a_classifier_that_is_sure(tmp_path, monkeypatch):
    """An encoder that knows colours and nothing else: new phrases with a colour are kept, the others are not."""
    colours = [v for k, v in nearby.VALUES if k == "tint"]
    filler = nearby.captions.filler()[:100]

    class Eye:
        def __init__(self, folder):
            pass

        def __call__(self, texts):
            return np.array([[4.0 * (c in t.split()) for c in colours] for t in texts], np.float32)

    monkeypatch.setattr(nearby, "SentenceEncoder", Eye)
    monkeypatch.setattr(nearby, "VALUES", [v for v in nearby.VALUES if v[0] in ("tint", "mood")])  # few: it learns fast
    monkeypatch.setattr(nearby.captions, "training_phrases_of", lambda key, value: phrases(key, value, False)[:20])
    monkeypatch.setattr(nearby.captions, "filler", lambda: filler)
    monkeypatch.setattr(nearby, "swapped", lambda taught: {"red strawberries", "blue strawberries", "strawberries"})
    nearby.main(tmp_path, tmp_path / "nearby.yaml", steps=60)
    found = yaml.safe_load((tmp_path / "nearby.yaml").read_text("utf-8"))
    assert found["tint"]["red"] == ["red strawberries"]
    assert found["tint"]["blue"] == ["blue strawberries"]
    assert sum(len(v) for of in found.values() for v in of.values()) == 2


def test_it_reads_the_phrases_it_learned_and_most_it_never_saw(encoder):
    known, unseen = caption_accuracy(encoder, 100, held_out=False), caption_accuracy(encoder, 200)
    assert min(known.values()) > 0.9, known
    assert np.mean(list(unseen.values())) > 0.82, unseen


def row(encoder, text, key):
    return encoder.encode(text).values[list(ATTRIBUTES).index(key)]


@pytest.mark.parametrize(
    ("text", "key", "value"),
    [
        ("neon city in the rain", "place", "city"), ("neon city in the rain", "light", "neon"),
        ("neon city in the rain", "weather", "rain"), ("nobody, the open sea", "figure", "none"),
        ("a dancer underwater", "figure", "dance"), ("the forest, black and white", "tint", "mono"),
        ("a gibbous moon", "light", "night"), ("gleeful", "mood", "euphoric"), ("forlorn", "mood", "melancholy"),
    ],
)  # fmt: skip
def test_words_mean_what_they_say(encoder, text, key, value):
    assert ATTRIBUTES[key][int(row(encoder, text, key).argmax())] == value


def test_a_comma_parts_what_stands_beside_it(encoder):
    both = encoder.encode("red, forest")
    assert both.words == ("red", "forest")
    for i, alone in enumerate(both.words):
        np.testing.assert_allclose(
            both.parts[i].sum(-1) > 0.3, encoder.encode(alone).parts[0].sum(-1) > 0.3, err_msg=alone
        )


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


@pytest.mark.parametrize(
    "written",
    ["neon_city_in_the_rain", "ＮＥＯＮ　ＣＩＴＹ　in the rain", "NEON  city\tin the rain", "𝐧𝐞𝐨𝐧 𝐜𝐢𝐭𝐲 in the rain"],
)
def test_a_prompt_means_the_same_however_its_letters_are_written(encoder, written):
    assert words_of(written) == ("neon", "city", "in", "the", "rain")
    np.testing.assert_array_equal(encoder.encode(written).values, encoder.encode("neon city in the rain").values)


def test_accents_typed_apart_and_curly_apostrophes_are_the_same_letters():
    assert words_of("cafe\u0301 d\u2019amour") == words_of("café d'amour") == ("café", "d'amour")


def test_a_long_prompt_is_read_to_its_end(encoder):
    long = encoder.encode("and so on " * 100 + "a stormy sea at night")
    short = encoder.encode("a stormy sea at night")
    assert long.values[:2].argmax(1).tolist() == short.values[:2].argmax(1).tolist()
    assert long.values[:2].max(1).min() > 0.5
