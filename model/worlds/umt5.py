"""Prompts for the Wan family: UMT5 embeddings, a row for each piece of a word (Chung et al., 2023)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer

from ..spec import Tokens
from .token_words import pieces_of
from .wan.kernels import find_flashdreams

PROMPT_ROWS = 256  # of a prompt's pieces, further ones are cut off: twice the longest prompts of these worlds' training
SHARED_GPU_BYTES = 40e9  # bytes of memory that a GPU needs for the network, its cache and the 11 GB of the encoder


def check_embeddings(model: Any) -> None:
    """Raises ValueError for a UMT5 encoder that does not read with the embeddings of its weights: transformers before
    5.3 leaves them at zero, and then every prompt means the same."""
    if model.encoder.embed_tokens.weight is not model.shared.weight:
        raise ValueError(
            "this version of transformers does not load UMT5's embeddings: pip install 'transformers>=5.3'"
        )


class UMT5:
    """folder: `text_encoder` and `tokenizer/tokenizer.json` of Wan 2.1 in diffusers' layout. rows: n of its tokens."""

    def __init__(self, folder: Path, device: torch.device, rows: int = PROMPT_ROWS) -> None:
        find_flashdreams()
        from transformers import UMT5EncoderModel

        self.device, self.rows = device, rows
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer" / "tokenizer.json"))
        self.tokenizer.no_padding()
        self.tokenizer.enable_truncation(rows)
        model: Any = UMT5EncoderModel.from_pretrained(
            folder / "text_encoder", local_files_only=True, use_safetensors=True, dtype=torch.bfloat16
        )
        check_embeddings(model)
        self.model = model.to(device).eval().requires_grad_(False)

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
