"""Prompts for the Wan family: UMT5 embeddings, a row for each piece of a word (Chung et al., 2023)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
from tokenizers import Tokenizer
from torch import Tensor

from ..spec import Tokens
from .token_words import pieces_of
from .wan.kernels import find_flashdreams

PROMPT_ROWS = 256  # of a prompt's pieces, further ones are cut off: twice the longest prompts of these worlds' training
ENCODER_BYTES = 11.4e9  # of its weights in bfloat16; float32 takes twice as much
SPARE_BYTES = 4e9  # of RAM that float32 leaves to the rest of the show
# Wan's own names, and transformers'.
NAMES = (
    (r"token_embedding\.", "shared."),
    (r"norm\.", "encoder.final_layer_norm."),
    (r"blocks\.(\d+)\.norm1\.", r"encoder.block.\1.layer.0.layer_norm."),
    (r"blocks\.(\d+)\.norm2\.", r"encoder.block.\1.layer.1.layer_norm."),
    (r"blocks\.(\d+)\.attn\.", r"encoder.block.\1.layer.0.SelfAttention."),
    (r"blocks\.(\d+)\.pos_embedding\.embedding\.",
     r"encoder.block.\1.layer.0.SelfAttention.relative_attention_bias."),
    (r"blocks\.(\d+)\.ffn\.gate\.0\.", r"encoder.block.\1.layer.1.DenseReluDense.wi_0."),
    (r"blocks\.(\d+)\.ffn\.fc1\.", r"encoder.block.\1.layer.1.DenseReluDense.wi_1."),
    (r"blocks\.(\d+)\.ffn\.fc2\.", r"encoder.block.\1.layer.1.DenseReluDense.wo."),
)  # fmt: skip


def check_embeddings(model: Any) -> None:
    """Raises ValueError for a UMT5 encoder that does not read with the embeddings of its weights: transformers before
    5.3 leaves them at zero, and then every prompt means the same."""
    if model.encoder.embed_tokens.weight is not model.shared.weight:
        raise ValueError("this transformers does not load UMT5's embeddings: pip install 'transformers>=5.3'")


def arithmetic(device: torch.device) -> torch.dtype:
    """What the encoder computes in. bfloat16 is the weights' own; CPUs without instructions for it take several times
    as long as with float32, which they use where there is RAM for it."""
    if device.type != "cpu" or cpu_has_bfloat16():
        return torch.bfloat16
    room = psutil.virtual_memory().available > 2 * ENCODER_BYTES + SPARE_BYTES
    return torch.float32 if room else torch.bfloat16


def cpu_has_bfloat16() -> bool:
    """Whether the CPU multiplies bfloat16 (AVX512_BF16 or AMX)."""
    asked = (getattr(torch.cpu, f"_is_{name}_supported", bool) for name in ("avx512_bf16", "amx_tile"))
    return any(supported() for supported in asked)


def by_transformers_names(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of Wan's own file, by the names of transformers' UMT5. Raises ValueError for other tensors."""
    named = {}
    for name, tensor in weights.items():
        for pattern, replacement in NAMES:
            if re.match(pattern, name):
                named[re.sub(f"^{pattern}", replacement, name)] = tensor
                break
        else:
            raise ValueError(f"{name} is no tensor of Wan's text encoder")
    return named


def encoder_of(weights: Mapping[str, Tensor]) -> Any:
    """transformers' UMT5 encoder with the tensors of Wan's own file. Raises ValueError if they do not fit."""
    from transformers import UMT5Config, UMT5EncoderModel

    tensors = by_transformers_names(weights)
    block = "encoder.block.0.layer."
    try:
        words, width = tensors["shared.weight"].shape
        buckets, heads = tensors[f"{block}0.SelfAttention.relative_attention_bias.weight"].shape
        inner = len(tensors[f"{block}0.SelfAttention.q.weight"])
        config = UMT5Config(
            vocab_size=words, d_model=width, d_kv=inner // heads, num_heads=heads,
            d_ff=len(tensors[f"{block}1.DenseReluDense.wi_0.weight"]),
            num_layers=sum(name.endswith("SelfAttention.q.weight") for name in tensors),
            relative_attention_num_buckets=buckets, feed_forward_proj="gated-gelu",
        )  # fmt: skip
        with torch.device("meta"):
            model: Any = UMT5EncoderModel(config)
        tensors["encoder.embed_tokens.weight"] = tensors["shared.weight"]
        model.load_state_dict(tensors, assign=True)
    except (KeyError, RuntimeError) as error:
        raise ValueError(f"these are not the weights of Wan's text encoder: {error}") from error
    model.encoder.embed_tokens.weight = model.shared.weight
    return model


class UMT5:
    """weights: Wan's own file of the encoder, in bfloat16. tokenizer: its tokenizer.json. rows: n of its tokens."""

    def __init__(
        self, weights: Mapping[str, Tensor], tokenizer: Path, device: torch.device, rows: int = PROMPT_ROWS
    ) -> None:
        find_flashdreams()
        self.device, self.rows = device, rows
        self.tokenizer = Tokenizer.from_file(str(tokenizer))
        self.tokenizer.no_padding()
        self.tokenizer.enable_truncation(rows)
        self.model = encoder_of(weights).to(device, arithmetic(device)).eval().requires_grad_(False)

    @torch.inference_mode()
    def encode(self, text: str) -> Tokens:
        """(rows, width) float32, zeros after the last piece, as in these worlds' training. A word's rows
        are the pieces that lie within it. An empty text is all zeros."""
        from flashdreams.infra.encoder.text.umt5 import prompt_clean

        text = prompt_clean(text)
        values = np.zeros((self.rows, int(self.model.config.d_model)), np.float32)
        if not text:
            return Tokens(values)
        pieces = self.tokenizer.encode(text)
        ids = torch.tensor([pieces.ids], device=self.device)
        values[: len(pieces.ids)] = self.model(ids).last_hidden_state[0].float().cpu().numpy()
        words, rows = pieces_of(text, pieces.offsets, self.rows)
        return Tokens(values, words, rows=rows)
