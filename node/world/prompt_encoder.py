"""Prompts become tokens beside the frame path, and those of cues before they are asked for."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from ..ipc.mailbox import TEXTS, Mailbox, TextValue
from ..show.media import Media, words

if TYPE_CHECKING:
    from worldjockey.model import World
    from worldjockey.model.spec import Tokens

REMEMBERED = 256 << 20  # bytes of tokens kept for prompts that come again
EVERY = 0.003  # seconds between two looks at what changed
SHORT = 60  # characters by which a prompt is named in a message


class Encoder(threading.Thread):
    """Of several texts for one slot only the newest is encoded.

    What it hands over is None where a slot has nothing to say. media: pictures and sounds, by the text that stands for
    them. ahead: prompts that may come, in their order; they are encoded while nothing else waits. Those and whatever
    was said before need no encoding again, as long as there is room.
    """

    def __init__(
        self, world: World, mailbox: Mailbox, media: Mapping[str, Media] | None = None, ahead: Iterable[str] = ()
    ) -> None:
        super().__init__(daemon=True, name="encoder")
        self._world, self._mailbox = world, mailbox
        self._seen = dict.fromkeys(TEXTS, 0)
        self._media = dict(media or {})
        self._ahead = list(dict.fromkeys(text for text in ahead if text))
        self._known: dict[str, Tokens] = {}  # the one that was used last is the last
        self._room = REMEMBERED
        self._lock, self._ended = threading.Lock(), threading.Event()
        self.done: queue.SimpleQueue[tuple[str, TextValue, Tokens | None]] = queue.SimpleQueue()
        self.encode_ms = 0.0
        self.error = ""

    @property
    def waiting(self) -> int:
        """Prompts of cues and banks that are not encoded yet."""
        return len(self._ahead)

    def recall(self) -> None:
        """Hand over what changed and is known already. Takes no time, so the frame path may call it."""
        with self._lock:
            for name, seen in self._seen.items():
                if self._mailbox.text_version(name) == seen:
                    continue
                said = self._mailbox.text(name)
                empty = not said.text and name != "prompt"
                tokens = None if empty else self._known.pop(said.text, None)
                if tokens is not None:
                    self._known[said.text] = tokens
                if empty or tokens is not None:
                    self._seen[name] = said.version
                    self.done.put((name, said, tokens))

    def once(self) -> None:
        """Encode whatever changed since the last call."""
        for name in TEXTS:
            self.recall()
            with self._lock:
                said = self._mailbox.text(name)
                if said.version == self._seen[name]:
                    continue
                self._seen[name] = said.version
            try:
                tokens = self._encode(said.text)
            except Exception as error:  # one prompt that cannot be encoded must not silence the others
                self.error = f"{name} was not understood: {error}"
                continue
            with self._lock:
                if self._seen[name] == said.version:  # nothing newer was recalled meanwhile
                    self.done.put((name, said, tokens))

    def prepare(self) -> bool:
        """Encode one prompt that will come; False when all are."""
        if not self._ahead:
            return False
        text = self._ahead[0]
        try:
            if text not in self._known and self._room > 0:
                self._encode(text)
        except Exception as error:
            self.error = f"the prompt {text[:SHORT]!r} of a cue or a bank was not understood: {error}"
        self._ahead.pop(0)
        return True

    def run(self) -> None:
        while not self._ended.is_set():
            self.once()
            if not self.prepare():
                self._ended.wait(EVERY)

    def end(self) -> None:
        self._ended.set()

    def _encode(self, text: str) -> Tokens:
        from worldjockey.model import Prompt

        begin = time.perf_counter()
        media = self._media.get(text)
        prompt = Prompt(words(text), **media.prompt(self._world.spec.fps)) if media else Prompt(text)
        tokens = self._world.encode(prompt)
        self.encode_ms = (time.perf_counter() - begin) * 1e3
        with self._lock:
            self._remember(text, tokens)
        return tokens

    def _remember(self, text: str, tokens: Tokens) -> None:
        size = _bytes(tokens)
        if text in self._known or size > REMEMBERED:
            return
        self._known[text] = tokens
        self._room -= size
        while self._room < 0:  # what was left alone longest goes
            self._room += _bytes(self._known.pop(next(iter(self._known))))


def _bytes(tokens: Tokens) -> int:
    return sum(array.nbytes for array in vars(tokens).values() if isinstance(array, np.ndarray))
