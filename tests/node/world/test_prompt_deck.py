import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from worldjockey.model import Tokens, slerp
from worldjockey.node.world.prompt_deck import SLOTS, Deck

N, D = 3, 6


def axis(k: int) -> Tokens:
    """Tokens that point along axis k in every row; two axes are as different as prompts get."""
    values = np.zeros((N, D), np.float32)
    values[:, k] = 1
    return Tokens(values, (f"w{k}",), values[None].copy())


def settle(deck: Deck, values=None, words=None, seconds=5.0, dt=0.05):
    for _ in range(int(seconds / dt)):
        out = deck.tokens(values or {}, words or {}, dt)
    return out


@pytest.fixture
def deck() -> Deck:
    deck = Deck()
    deck.set_tokens("prompt", axis(0))
    deck.set_tokens("prompt/b", axis(1))
    deck.set_tokens("pad/1", axis(2))
    deck.set_tokens("pad/2", axis(3))
    return deck


def test_an_empty_deck_has_no_tokens():
    assert Deck().tokens({}, {}, 0.05) is None


def test_the_prompt_alone_is_heard_as_it_is(deck):
    np.testing.assert_array_equal(settle(deck), axis(0).values)


def test_pads_share_with_the_prompt_what_their_weights_leave(deck):
    half = settle(deck, {"pad/1": 0.25, "pad/2": 0.25})
    expected = slerp([axis(0).values, axis(2).values, axis(3).values], [0.5, 0.25, 0.25])
    np.testing.assert_allclose(half, expected, atol=1e-5)
    full = settle(deck, {"pad/1": 1.0})
    np.testing.assert_allclose(full, axis(2).values, atol=1e-5)
    both = settle(deck, {"pad/1": 1.0, "pad/2": 1.0})
    np.testing.assert_allclose(both, slerp([axis(2).values, axis(3).values], [1, 1]), atol=1e-5)


def test_pads_up_to_zero_give_the_prompt_back(deck):
    settle(deck, {"pad/1": 1.0})
    np.testing.assert_allclose(settle(deck), axis(0).values, atol=1e-5)


def test_morph_leads_from_the_mix_to_prompt_b(deck):
    np.testing.assert_allclose(settle(deck, {"morph": 1.0}), axis(1).values, atol=1e-5)
    between = settle(deck, {"pad/1": 1.0, "morph": 0.5})
    np.testing.assert_allclose(between, slerp([axis(2).values, axis(1).values], [0.5, 0.5]), atol=1e-5)


def test_a_pad_or_a_morph_with_nothing_on_it_changes_nothing():
    deck = Deck()
    deck.set_tokens("prompt", axis(0))
    np.testing.assert_array_equal(settle(deck, {"pad/9": 1.0, "morph": 1.0}), axis(0).values)


def test_a_new_prompt_takes_its_seconds_with_no_slope_at_either_end(deck):
    settle(deck)
    deck.set_tokens("prompt", axis(4), seconds=1.0)
    shares = np.array([deck.tokens({}, {}, 0.01)[0, 4] for _ in range(120)])
    assert (np.diff(shares) >= -1e-6).all()
    assert shares[0] < 0.01  # a straight line in angle would be at sin(pi / 200) = 0.016
    assert shares[49] == pytest.approx(np.sqrt(0.5), abs=0.01)
    np.testing.assert_array_equal(shares[100:], 1)


def test_a_prompt_in_mid_transition_starts_from_what_is_heard(deck):
    settle(deck)
    deck.set_tokens("prompt", axis(4), seconds=1.0)
    heard = settle(deck, seconds=0.5, dt=0.01)
    deck.set_tokens("prompt", axis(5), seconds=1.0)
    np.testing.assert_allclose(deck.tokens({}, {}, 1e-4), heard, atol=1e-3)
    np.testing.assert_array_equal(settle(deck), axis(5).values)


def test_zero_seconds_cuts(deck):
    settle(deck)
    deck.set_tokens("prompt", axis(4))
    np.testing.assert_array_equal(deck.tokens({}, {}, 0.05), axis(4).values)


def test_one_pole_smoothing_gets_63_percent_of_the_way(deck):
    settle(deck)
    for _ in range(8):
        out = deck.tokens({"pad/1": 1.0}, {}, 0.01)  # 0.08 s in all
    share = 1 - np.exp(-1)
    np.testing.assert_allclose(out, slerp([axis(2).values, axis(0).values], [share, 1 - share]), atol=1e-3)


def test_a_deck_opened_again_starts_where_the_faders_are(deck):
    np.testing.assert_allclose(deck.tokens({"pad/1": 1.0}, {}, 0.05), axis(2).values, atol=1e-5)


def test_word_weights_move_their_words_and_come_back(deck):
    assert settle(deck, words={"w0": 2.0})[0, 0] == pytest.approx(2.0)
    np.testing.assert_allclose(settle(deck, words={"w0": 0.0}), 0, atol=1e-5)
    np.testing.assert_array_equal(settle(deck), axis(0).values)


def test_a_cleared_pad_fades_and_is_empty(deck):
    settle(deck, {"pad/1": 1.0})
    deck.clear("pad/1")
    assert deck.tokens({"pad/1": 1.0}, {}, 0.001)[0, 2] > 0.9
    np.testing.assert_allclose(settle(deck, {"pad/1": 1.0}), axis(0).values, atol=1e-5)


def test_a_pad_on_its_way_down_fades_as_it_is_and_then_takes_its_new_prompt(deck):
    settle(deck, {"pad/1": 1.0})
    deck.tokens({}, {}, 0.02)
    deck.set_tokens("pad/1", axis(4))
    fading = deck.tokens({}, {}, 0.02)
    assert fading[0, 2] > 0.5
    for _ in range(200):
        assert deck.tokens({}, {}, 0.02)[0, 4] == 0, "the new prompt is not heard while its fader is down"
    np.testing.assert_allclose(settle(deck, {"pad/1": 1.0}), axis(4).values, atol=1e-5)


def test_a_pad_that_is_up_crossfades_to_its_new_prompt(deck):
    settle(deck, {"pad/1": 1.0})
    deck.set_tokens("pad/1", axis(4))
    between = settle(deck, {"pad/1": 1.0}, seconds=0.1, dt=0.01)
    assert 0.1 < between[0, 4] < 0.9
    assert between[0, 2] > 0.1
    np.testing.assert_allclose(settle(deck, {"pad/1": 1.0}), axis(4).values, atol=1e-5)


def test_a_pad_that_is_cleared_forgets_the_prompt_that_waited_for_it(deck):
    settle(deck, {"pad/1": 1.0})
    deck.tokens({}, {}, 0.02)
    deck.set_tokens("pad/1", axis(4))
    deck.clear("pad/1")
    settle(deck)
    np.testing.assert_allclose(settle(deck, {"pad/1": 1.0}), axis(0).values, atol=1e-5)


def test_a_cleared_prompt_says_nothing(deck):
    settle(deck)
    deck.clear("prompt")
    np.testing.assert_array_equal(settle(deck), 0)


def test_nothing_is_mixed_again_when_nothing_moves(deck):
    settled = settle(deck, {"pad/1": 0.5}, {"w0": 1.5})
    assert deck.tokens({"pad/1": 0.5}, {"w0": 1.5}, 0.05) is settled


def test_another_worlds_tokens_and_unknown_slots_are_refused(deck):
    with pytest.raises(ValueError, match="shape"):
        deck.set_tokens("pad/3", Tokens(np.zeros((N, D + 1), np.float32)))
    with pytest.raises(ValueError, match="pad/17"):
        deck.set_tokens("pad/17", axis(0))
    np.testing.assert_array_equal(settle(deck), axis(0).values)


weights = st.dictionaries(st.sampled_from(["pad/1", "pad/2", "pad/3", "morph"]), st.floats(0, 1))
word_weights = st.dictionaries(st.sampled_from(["w0", "w1", "w2"]), st.floats(0, 2))
prompts = st.tuples(st.sampled_from(SLOTS[:5]), st.integers(0, 2 * D - 1), st.floats(0.1, 2))
moves = st.lists(
    st.one_of(
        st.tuples(st.just("move"), weights, word_weights),
        st.tuples(st.just("put"), prompts),
        st.tuples(st.just("clear"), st.sampled_from(SLOTS[:5])),
    ),
    max_size=12,
)


@given(moves, st.integers(1, 30))
@settings(deadline=None)
def test_no_move_pops(sequence, steps):
    """With ever shorter steps a continuous mix changes ever less; a pop stays as large as it is."""
    deck, dt = Deck(), 1e-4
    deck.set_tokens("prompt", axis(0))
    values: dict[str, float] = {}
    words: dict[str, float] = {}
    last = deck.tokens(values, words, dt)
    for move in sequence:
        if move[0] == "move":
            values, words = move[1], move[2]
        elif move[0] == "put":
            slot, k, seconds = move[1]
            sign = -1 if k >= D else 1  # opposite tokens, too
            deck.set_tokens(
                slot, Tokens(sign * axis(k % D).values, (f"w{k}",), sign * axis(k % D).values[None]), seconds
            )
        else:
            deck.clear(move[1])
        deck.tokens(values, words, 0.03)  # where it is in each move varies
        last = deck.tokens(values, words, dt)
        for _ in range(steps):
            now = deck.tokens(values, words, dt)
            assert np.isfinite(now).all()
            assert np.abs(now - last).max() < 0.06
            last = now


@given(moves)
@settings(deadline=None)
def test_the_moment_of_a_move_is_silent(sequence):
    deck = Deck()
    deck.set_tokens("prompt", axis(0))
    values: dict[str, float] = {}
    words: dict[str, float] = {}
    for move in sequence:
        before = deck.tokens(values, words, 0.03)
        if move[0] == "move":
            values, words = move[1], move[2]
        elif move[0] == "put":
            slot, k, seconds = move[1]
            deck.set_tokens(slot, axis(k % D), seconds)
        else:
            deck.clear(move[1])
        assert np.abs(deck.tokens(values, words, 1e-4) - before).max() < 0.06
