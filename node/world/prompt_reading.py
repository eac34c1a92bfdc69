"""What the world reads of a text, answered beside the frame path: for whoever is typing a prompt."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from ..ipc.cell import Cell
from ..ipc.status import error_text
from ..parameters import TEXT_BYTES

if TYPE_CHECKING:
    from worldjockey.model import World

logger = logging.getLogger(__name__)
ANSWER_BYTES = 64 * 1024
KNOWN_MIN = 0.1  # of a word's share in an attribute
SHOWN_MIN = 0.02  # of a value's weight
WORDS_SHOWN, WORD_CHARS = 200, 60
# Words that hold a sentence together: no world shows them, and they are no mistake.
FILLERS = frozenset((
    "a", "all", "an", "and", "are", "as", "at", "beside", "between", "by", "for", "from", "in", "into", "is", "it",
    "its", "my", "near", "of", "on", "onto", "or", "our", "over", "some", "that", "the", "there", "this", "through",
    "to", "under", "very", "while", "with", "without", "your",
))  # fmt: skip


@dataclass(frozen=True)
class ReadingLine:
    """question: a text with its number, from the control process. answer: by the world's process."""

    question: Cell = field(default_factory=lambda: Cell(8 * TEXT_BYTES))
    answer: Cell = field(default_factory=lambda: Cell(ANSWER_BYTES))

    @property
    def cells(self) -> list[Cell]:
        return [self.question, self.answer]


class Reader:
    """The world's side. `answer` takes milliseconds, and is called by the thread that encodes prompts."""

    def __init__(self, world: World, line: ReadingLine) -> None:
        self._world, self._line = world, line
        self._seen = line.question.version

    def answer(self) -> None:
        if self._line.question.version == self._seen:
            return
        self._seen, data = self._line.question.read()
        asked = json.loads(data)
        try:
            result: dict[str, Any] = {"result": reading(self._world, asked["text"])}
        except Exception as error:
            logger.exception("a prompt cannot be read")
            result = {"error": error_text(error)}
        self._line.answer.write(json.dumps({"number": asked["number"], **result}).encode())


def reading(world: World, text: str) -> dict[str, Any]:
    """{"understood": 0..1, "words": [{"word", "known", "weight"}], "values": {attribute: [[value, weight], ...]}}.

    weight: of a word, the largest share that it has in any attribute. Values are listed from the heaviest on. Of a
    world whose tokens cannot be read, every word counts as known.
    """
    from worldjockey.model import Prompt

    attributes = world.spec.attributes
    if not attributes:
        every = [{"word": word[:WORD_CHARS], "known": True, "weight": 1.0} for word in text.split()[:WORDS_SHOWN]]
        return {"understood": 1.0, "words": every, "values": {}}
    tokens = world.encode(Prompt(text))
    rows = len(attributes)
    shares = tokens.parts[:, :rows].sum(-1).max(-1) if tokens.parts is not None and len(tokens.words) else []
    found = [
        {
            "word": word[:WORD_CHARS],
            "known": bool(share >= KNOWN_MIN or word in FILLERS),
            "weight": round(float(share), 3),
        }
        for word, share in zip(tokens.words, shares, strict=False)
    ]
    values = {}
    for row, (attribute, names) in zip(tokens.values[:rows], attributes.items(), strict=True):
        order = np.argsort(-row[: len(names)])
        if said := [[names[i], round(float(row[i]), 3)] for i in order if row[i] >= SHOWN_MIN]:
            values[attribute] = said
    return {"understood": round(tokens.understood, 3), "words": found[:WORDS_SHOWN], "values": values}
