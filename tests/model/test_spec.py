import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from worldjockey.model import Tokens, slerp

rows = arrays(np.float32, (3, 4), elements=st.floats(-2, 2, width=32))


def test_slerp_between_orthogonal_tokens_keeps_their_length():
    a, b = np.eye(2, 4, dtype=np.float32), np.eye(2, 4, k=2, dtype=np.float32)
    half = slerp([a, b], [0.5, 0.5])
    np.testing.assert_allclose(np.linalg.norm(half, axis=-1), 1, rtol=1e-5)
    np.testing.assert_allclose(slerp([a, b], [1, 0]), a, atol=1e-6)


@given(rows, rows, rows, st.permutations([0, 1, 2]))
def test_slerp_does_not_depend_on_order(a, b, c, order):
    tokens, weights = [a, b, c], [0.2, 0.5, 0.3]
    again = slerp([tokens[i] for i in order], [weights[i] for i in order])
    np.testing.assert_allclose(slerp(tokens, weights), again, atol=1e-3)


@given(st.lists(rows, min_size=1, max_size=5), st.data())
def test_slerp_is_finite_for_any_weights(tokens, data):
    weights = data.draw(st.lists(st.floats(-1, 2), min_size=len(tokens), max_size=len(tokens)))
    out = slerp(tokens, weights)
    assert np.isfinite(out).all()
    assert np.abs(out).max() <= 6


def test_word_weights_move_only_their_words_share():
    parts = np.zeros((2, 2, 3), np.float32)
    parts[0, 0, 0] = parts[1, 1, 2] = 0.9
    t = Tokens(parts.sum(0), ("storm", "sea"), parts)
    np.testing.assert_array_equal(t.weighted({}), t.values)
    np.testing.assert_allclose(t.weighted({"storm": 0})[0], 0, atol=1e-6)
    np.testing.assert_array_equal(t.weighted({"storm": 0})[1], t.values[1])
    np.testing.assert_allclose(t.weighted({"storm": 2})[0, 0], 1.8, rtol=1e-6)


def test_word_weights_move_the_rows_that_a_word_owns():
    values = np.arange(12, dtype=np.float32).reshape(4, 3)
    rows = np.array([[1, 0, 0, 0], [0, 1, 0.5, 0], [1, 0, 0, 0]], np.float32)
    t = Tokens(values, ("sea", "storm", "sea"), rows=rows)
    assert t.weighted({"other": 0}) is values
    np.testing.assert_allclose(t.weighted({"storm": 0}), values * [[1], [0], [0.5], [1]])
    np.testing.assert_allclose(t.weighted({"storm": -1})[1], -values[1])
    same = Tokens(values, t.words, rows[:, :, None] * values)
    np.testing.assert_allclose(t.weighted({"storm": 1.5}), same.weighted({"storm": 1.5}))
