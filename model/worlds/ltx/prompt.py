"""Prompts for LTX-2: what its text connectors make of Gemma's hidden states, computed once a prompt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ...spec import Tokens
from ..token_words import pieces_of

ROWS = 1024  # rows of text with which the connectors were trained
SHARED_GPU_BYTES = 78e9  # bytes that a GPU needs for the network, its work and the 24 GB of the text encoder


@torch.inference_mode()
def encode_text(pipe: Any, text: str, rows: int, device: torch.device) -> Tokens:
    """(rows, video + audio width): the text as the network attends to it, for the picture and for the sound.

    Gemma's hidden states of all layers are 770 MB a prompt in float32. The network sees only what the connectors make
    of them, which depends on nothing else: 25 MB. The connectors put the text's pieces first, in order, and fill the
    other rows with their registers, so that a word's rows are those of its pieces.
    """
    embeds, mask, _, _ = pipe.encode_prompt(
        text, do_classifier_free_guidance=False, max_sequence_length=rows, device=pipe.text_encoder.device
    )
    connectors = pipe.connectors
    video, audio, _ = connectors(
        embeds.to(device, connectors.dtype), mask.to(device), padding_side=pipe.tokenizer_padding_side
    )
    text = text.strip()
    pieces = pipe.tokenizer(text, truncation=True, max_length=rows, return_offsets_mapping=True)
    words, whose = pieces_of(text, pieces["offset_mapping"], rows)
    return Tokens(torch.cat([video, audio], 2)[0].float().cpu().numpy(), words, rows=whose)


@dataclass(frozen=True)
class ConnectedText:
    """Stands in the pipeline for the connectors where their work is done: takes their outputs side by side.

    video: the width of the first.
    """

    video: int

    def __call__(self, embeds: Tensor, mask: Tensor, padding_side: str = "left") -> tuple[Tensor, Tensor, Tensor]:
        """(1, rows, video + audio width), (1, rows) -> what the connectors return."""
        return embeds[..., : self.video], embeds[..., self.video :], mask
