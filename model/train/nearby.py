"""Phrases near the training phrases, written by nobody: one word swapped for its neighbour, read by a sentence encoder.

`python -m worldjockey.model.train.nearby FOLDER` writes `stage/nearby.yaml`, from which captions take a part of
their words.
A classifier of the encoder's vectors, trained on the training phrases, labels each new phrase; those it is not
sure of are left out (distillation, Hinton et al. 2015), and so is every phrase that tests.
"""

from __future__ import annotations

import re
import sys
from functools import cache
from pathlib import Path

import numpy as np
import torch
import yaml
from torch import nn
from torch.nn import functional as F

from ..nano.lexicon import SentenceEncoder, lexicon
from ..nano.text_encoder import PIECE_DIM, vectors_of, words_of
from ..spec import Array
from ..stage import captions
from ..stage.vocabulary import ATTRIBUTES

FUNCTION_WORDS = 200  # the commonest words are not swapped: they only hold a phrase together
NEIGHBOURS, ALIKE = 12, 0.38  # of a word, and their least cosine
COMMON_WORDS = 30_000  # the commonest words, which alone are taken
PHRASES_READ = 14_000  # new phrases of several words that are read
SURE, SURE_OF_ONE = 0.8, 0.95  # the least certainty of a phrase, and of a single word
PHRASES, SINGLES = 120, 40  # kept of each value
VALUES = [(k, v) for k, values in ATTRIBUTES.items() for v in values]


def swapped(phrases: list[str]) -> set[str]:
    """Every phrase with each of its words swapped for each of its neighbours."""
    return {
        re.sub(rf"\b{word}\b", other, phrase, count=1)
        for phrase in phrases for word in re.findall(r"[a-z]{3,}", phrase) for other in neighbours(word)
    }  # fmt: skip


@cache
def neighbours(word: str) -> tuple[str, ...]:
    """The words that mean most nearly the same; none for a word that is unknown, or among the commonest."""
    index, rows = lexicon()
    if index.get(word, 0) < FUNCTION_WORDS:
        return ()
    alike = rows[:COMMON_WORDS] @ rows[index[word]]
    near = [i for i in np.argsort(-alike)[: NEIGHBOURS + 1] if alike[i] > ALIKE]
    words = list(index)
    return tuple(words[i] for i in near if words[i] != word)


def classifier(x: Array, y: Array, seed: int, steps: int = 500) -> nn.Module:
    """(n, d) vectors -> logits over VALUES and, last, nothing of them."""
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Linear(x.shape[1], 512), nn.ReLU(), nn.Dropout(0.3), nn.Linear(512, len(VALUES) + 1))
    opt = torch.optim.AdamW(net.parameters(), lr=2e-3, weight_decay=1e-2)
    inputs, targets = torch.from_numpy(x), torch.from_numpy(y)
    weight = 1 / torch.bincount(targets, minlength=len(VALUES) + 1).clamp(min=1).float()
    weight = (weight / weight.mean()).sqrt()
    for _ in range(steps):
        noisy = inputs + 0.7 / x.shape[1] ** 0.5 * torch.randn_like(inputs)
        loss = F.cross_entropy(net(noisy) * 3, targets, weight=weight)
        opt.zero_grad()
        loss.backward()
        opt.step()
    return net.eval()


@torch.inference_mode()
def certainty(nets: list[nn.Module], x: Array) -> Array:
    """(n, len(VALUES) + 1), the mean of the nets' probabilities."""
    return torch.stack([(net(torch.from_numpy(x)) * 3).softmax(-1) for net in nets]).mean(0).numpy()


def main(folder: Path, file: Path = captions.NEARBY, read: int = PHRASES_READ, steps: int = 500) -> None:
    encoder, rng = SentenceEncoder(folder), np.random.default_rng(0)

    def vectors(texts: list[str]) -> Array:
        pieces = [vectors_of(words_of(t))[:, :PIECE_DIM].mean(0) for t in texts]
        return np.concatenate([encoder(texts), np.stack(pieces)], 1)

    taught = [(p.lower(), c) for c, (k, v) in enumerate(VALUES) for p in captions.training_phrases_of(k, v)]
    taught += [(p, len(VALUES)) for p in captions.filler()]
    tests = {p for k, v in VALUES for p in captions.phrases(k, v, True)}
    known = {p for p, _ in taught} | tests
    new = sorted(swapped([p for p, c in taught if c < len(VALUES)]) - known)
    several = [p for p in new if " " in p]
    new = [p for p in new if " " not in p] + [several[i] for i in rng.permutation(len(several))[:read]]
    x, y = vectors([p for p, _ in taught]), np.array([c for _, c in taught])
    sure = certainty([classifier(x, y, seed, steps) for seed in range(4)], vectors(new))
    value, sure_of = sure.argmax(1), sure.max(1)
    out: dict[str, dict[str, list[str]]] = {}
    for c, (k, v) in enumerate(VALUES):
        mine = [i for i in np.argsort(-sure_of) if value[i] == c and sure_of[i] > SURE]
        one = [new[i] for i in mine if " " not in new[i] and sure_of[i] > SURE_OF_ONE][:SINGLES]
        more = [new[i] for i in rng.permutation(mine) if " " in new[i]][:PHRASES]
        out.setdefault(k, {})[v] = sorted(one) + sorted(more)
    write(out, file)


def write(found: dict[str, dict[str, list[str]]], file: Path) -> None:
    head = "# Phrases near those that teach, made by `python -m worldjockey.model.train.nearby`. None of them tests.\n"
    file.write_text(head + yaml.safe_dump(found, width=118, sort_keys=False, default_flow_style=None), "utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
