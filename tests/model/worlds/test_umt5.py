"""A tiny random UMT5 in the file and by the names of the published one, held against its formulas."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
import umt5_formulas
from transformers import UMT5Config, UMT5EncoderModel
from wan_files import PIECES, umt5, write_tokenizer
from worldjockey.model.devices import encoder_device
from worldjockey.model.registry import entry_for
from worldjockey.model.worlds import umt5 as text_encoder
from worldjockey.model.worlds.umt5 import ENCODER_BYTES, UMT5, by_transformers_names, check_embeddings
from worldjockey.model.worlds.wan.config import CONFIGS, LARGE, network_bytes

pytestmark = pytest.mark.slow

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    tokenizer, weights = write_tokenizer(tmp_path_factory.mktemp("wan") / "tokenizer.json"), umt5()
    return tokenizer, weights, UMT5(weights, tokenizer, CPU, rows=10)


@pytest.mark.parametrize("fast", [True, False])
def test_embeddings_are_those_of_the_formulas_and_the_rest_is_zeros(published, monkeypatch, fast):
    tokenizer, weights, _ = published
    monkeypatch.setattr(text_encoder, "cpu_has_bfloat16", lambda: fast)
    monkeypatch.setattr(text_encoder.psutil, "virtual_memory", lambda: SimpleNamespace(available=64e9))
    text = UMT5(weights, tokenizer, CPU, rows=10)
    assert {p.dtype for p in text.model.parameters()} == {torch.bfloat16 if fast else torch.float32}
    values = text.encode("neon  city\n in the rain").values
    assert values.shape == (10, 12)
    assert values.dtype == np.float32
    ids = [3 + PIECES.index(p) for p in ("▁neon", "▁city", "▁in", "▁the", "▁ra", "in")] + [1]
    np.testing.assert_allclose(values[:7], umt5_formulas.encode(weights, ids), atol=0.1 if fast else 1e-4)
    assert np.abs(values[:7]).max(1).min() > 0.1
    assert not values[7:].any()


def test_far_apart_pieces_have_the_buckets_of_the_formulas(published):
    weights = published[1]
    ids = torch.randint(0, 19, (300,), generator=torch.Generator().manual_seed(1)).tolist()
    model = text_encoder.encoder_of(weights).float().eval()
    with torch.no_grad():
        got = model(torch.tensor([ids])).last_hidden_state[0]
    torch.testing.assert_close(got, umt5_formulas.encode(weights, ids), atol=1e-4, rtol=1e-4)


def test_a_cpu_without_bfloat16_takes_float32_if_it_has_the_memory(monkeypatch):
    """Measured on a CPU with AVX2: 12 s for a prompt of 60 pieces in bfloat16, 5 s in float32."""
    monkeypatch.setattr(text_encoder, "cpu_has_bfloat16", lambda: False)
    for available, kind in ((64e9, torch.float32), (24e9, torch.bfloat16)):
        memory = SimpleNamespace(available=available)
        monkeypatch.setattr(text_encoder.psutil, "virtual_memory", lambda memory=memory: memory)
        assert text_encoder.arithmetic(CPU) == kind
        assert text_encoder.arithmetic(torch.device("cuda")) == torch.bfloat16


def test_tensors_of_something_else_are_refused():
    with pytest.raises(ValueError, match=r"decoder\.weight is no tensor"):
        by_transformers_names({"decoder.weight": torch.zeros(1)})
    with pytest.raises(ValueError, match="not the weights"):
        text_encoder.encoder_of({k: v for k, v in umt5().items() if "fc2" not in k})


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


def test_embeddings_that_are_not_those_of_the_weights_are_refused():
    """As transformers 5.0 to 5.2 loaded them: zeros, and every prompt was the same."""
    model = UMT5EncoderModel(UMT5Config(vocab_size=9, d_model=8, d_kv=4, d_ff=8, num_layers=1, num_heads=2))
    check_embeddings(model)
    model.encoder.embed_tokens = torch.nn.Embedding.from_pretrained(torch.zeros_like(model.shared.weight))
    with pytest.raises(ValueError, match=r"pip install 'transformers>=5\.3'"):
        check_embeddings(model)


def test_the_encoder_lives_beside_the_world_on_a_card_of_24_gb_and_the_world_alone_on_one_of_16():
    cuda, cpu = torch.device("cuda"), torch.device("cpu")
    for name, config in CONFIGS.items():
        needed = network_bytes(config, LARGE[0])
        assert entry_for(name).memory == pytest.approx(needed / 1e9, abs=0.06)
        assert needed < 16e9
        for memory, where in ((25.3e9, cuda), (16e9, cpu)):
            assert encoder_device(cuda, memory, needed + ENCODER_BYTES) == where
        assert encoder_device(cpu, 0, needed) == cpu
    weights = network_bytes(CONFIGS["wan-1.3b-longlive"], (0, 0)) - 3e9
    assert weights == pytest.approx(2.84e9 + 0.1e9, rel=0.02), "as large as the published file in half its precision"
