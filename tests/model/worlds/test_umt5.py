"""A tiny random UMT5 in the layout of the published one, through the loader that real weights take."""

import numpy as np
import pytest
import torch
from wan_files import PIECES, write_umt5
from worldjockey.model.devices import encoder_device
from worldjockey.model.worlds.umt5 import SHARED_GPU_BYTES, UMT5

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wan")
    model = write_umt5(folder)
    return folder, model, UMT5(folder, torch.device("cpu"), rows=10)


def test_embeddings_are_the_models_and_the_rest_is_zeros(published):
    _, model, text = published
    values = text.encode("neon  city\n in the rain").values
    assert values.shape == (10, 12)
    assert values.dtype == np.float32
    ids = [3 + PIECES.index(p) for p in ("▁neon", "▁city", "▁in", "▁the", "▁ra", "in")] + [1]
    with torch.no_grad():
        want = model.bfloat16()(torch.tensor([ids])).last_hidden_state[0].float()
    np.testing.assert_allclose(values[:7], want, atol=0.02)
    assert np.abs(values[:7]).max(1).min() > 0.1
    assert not values[7:].any()


def test_a_word_owns_its_pieces_and_weighs_them(published):
    text = published[2]
    tokens = text.encode("Rain, rain in the City")
    assert tokens.words == ("rain", "in", "the", "city")
    assert tokens.rows.sum(1)[0] == 3 + 2, "its pieces both times; a capital is rarer"
    plain = text.encode("neon city in the rain")
    assert plain.rows.sum(1).tolist() == [1, 1, 1, 1, 2]
    dry = plain.weighted({"rain": 0.0})
    assert not dry[4:6].any()
    np.testing.assert_array_equal(dry[:4], plain.values[:4])
    np.testing.assert_allclose(plain.weighted({"neon": 2.0})[0], 2 * plain.values[0])


@pytest.mark.parametrize("text", ["", "   \n", "🌊" * 50, "storm " * 200, "Ein Sturm über dem Meer", "\x00&amp;lt;b"])
def test_any_text_is_safe_and_of_one_shape(published, text):
    tokens = published[2].encode(text)
    assert tokens.values.shape == (10, 12)
    assert np.isfinite(tokens.values).all()
    assert bool(text.strip()) == bool(tokens.values.any())


def test_embeddings_that_are_not_those_of_the_weights_are_refused(published, monkeypatch):
    """As transformers 5.0 to 5.2 loaded them: zeros, and every prompt was the same."""
    from transformers import UMT5EncoderModel

    load = UMT5EncoderModel.from_pretrained

    def untied(*args, **how):
        model = load(*args, **how)
        model.encoder.embed_tokens = torch.nn.Embedding.from_pretrained(torch.zeros_like(model.shared.weight))
        return model

    monkeypatch.setattr(UMT5EncoderModel, "from_pretrained", untied)
    with pytest.raises(ValueError, match=r"pip install 'transformers>=5\.3'"):
        UMT5(published[0], torch.device("cpu"))


def test_the_encoder_lives_beside_the_world_where_there_is_room():
    cuda, cpu = torch.device("cuda"), torch.device("cpu")
    assert encoder_device(cuda, SHARED_GPU_BYTES, SHARED_GPU_BYTES) == cuda
    assert encoder_device(cuda, SHARED_GPU_BYTES / 2, SHARED_GPU_BYTES) == cpu
    assert encoder_device(cpu, 0, SHARED_GPU_BYTES) == cpu
