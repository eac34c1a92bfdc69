"""Encodes prompts to tokens in a thread beside the frame path, those of cues and banks ahead of time."""

from __future__ import annotations

import contextlib
import json
import queue
import threading
import time
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from ..ipc.cell import Cell
from ..ipc.mailbox import TEXTS, Mailbox, TextValue
from ..ipc.status import plain_text
from ..show.media import Media, text_alone

if TYPE_CHECKING:
    from worldjockey.model import World
    from worldjockey.model.spec import Tokens

    from .prompt_reading import Reader

CACHE_BYTES = 256 << 20  # tokens of prompts that were encoded
PROMPTS_BYTES = 1 << 18  # of the cell with what edits brought
POLL_INTERVAL_S = 0.003
PROMPT_CHARS = 60  # of a prompt in a message
UNDERSTOOD_MIN = 0.3  # of `Tokens.understood`: "potato" has 0.2, and what the world knows 0.5 and more


def unread(text: str) -> str:
    """What a performer is told of a prompt that the world could not read."""
    return (
        f"the world knows little of {plain_text(text, PROMPT_CHARS)!r}: name a place, a light, the weather, a mood, or "
        "what the figure does"
    )


class Encoder(threading.Thread):
    """Puts (slot, text, tokens) in `done`. Of several texts for one slot only the newest is encoded.

    tokens is None for a slot without a prompt. media: images, sounds and clips, by the text that stands for them.
    ahead: prompts that may be needed, in that order; they are encoded while no others wait. edits: a cell with what the
    show got of both while it plays (`packed_prompts`). Tokens are cached, up to CACHE_BYTES.
    """

    def __init__(
        self,
        world: World,
        mailbox: Mailbox,
        media: Mapping[str, Media] | None = None,
        ahead: Iterable[str] = (),
        edits: Cell | None = None,
    ) -> None:
        super().__init__(daemon=True, name="encoder")
        self._world, self._mailbox = world, mailbox
        self._seen = dict.fromkeys(TEXTS, 0)
        self._media = dict(media or {})
        self._ahead = list(dict.fromkeys(text for text in ahead if text))
        self._edits, self._edits_version = edits, 0
        self._cache: dict[str, Tokens] = {}  # in the order of their last use
        self._room = CACHE_BYTES
        self._lock, self._ended = threading.Lock(), threading.Event()
        self._encoding = threading.Lock()  # a world encodes one prompt at a time
        self.reader: Reader | None = None  # answers what the world reads of a text
        self.done: queue.SimpleQueue[tuple[str, TextValue, Tokens | None]] = queue.SimpleQueue()
        self.encode_ms = 0.0
        self.error = ""
        self.unread = ""  # that the latest prompt says little to the world

    @property
    def waiting(self) -> int:
        """Prompts of cues and banks that are not encoded yet."""
        return len(self._ahead)

    def recall(self) -> None:
        """Pass on prompts that changed and are in the cache. Fast enough for the frame path."""
        with self._lock:
            for name, seen in self._seen.items():
                if self._mailbox.text_version(name) == seen:
                    continue
                value = self._mailbox.text(name)
                empty = not value.text and name != "prompt"
                tokens = None if empty else self._cache.pop(value.text, None)
                if tokens is not None:
                    self._cache[value.text] = tokens
                if empty or tokens is not None:
                    self._seen[name] = value.version
                    self.done.put((name, value, tokens))

    def _take_edits(self) -> None:
        """Take over the files and prompts that an edit brought to the show."""
        if self._edits is None or self._edits.version == self._edits_version:
            return
        self._edits_version, data = self._edits.read()
        with contextlib.suppress(ValueError, KeyError, TypeError):
            news = json.loads(data)
            self._media = {text: Media(*paths) for text, paths in news["media"].items()}
            self._ahead += [text for text in news["ahead"] if text not in self._cache and text not in self._ahead]

    def once(self) -> None:
        """Encode the prompts that changed since the last call."""
        self._take_edits()
        for name in TEXTS:
            self.recall()
            with self._lock:
                value = self._mailbox.text(name)
                if value.version == self._seen[name]:
                    continue
                self._seen[name] = value.version
            try:
                tokens = self._encode(value.text)
            except Exception as error:  # the other prompts must still be encoded
                self.error = f"{name} cannot be encoded: {error}"
                continue
            if value.text:
                self.unread = unread(value.text) if tokens.understood < UNDERSTOOD_MIN else ""
            with self._lock:
                if self._seen[name] == value.version:  # no newer text was passed on meanwhile
                    self.done.put((name, value, tokens))

    def prepare(self) -> bool:
        """Encode one prompt of `ahead`; False when all are encoded."""
        if not self._ahead:
            return False
        text = self._ahead[0]
        try:
            if text not in self._cache and self._room > 0:
                self._encode(text)
        except Exception as error:
            self.error = f"the prompt {text[:PROMPT_CHARS]!r} of a cue or a bank cannot be encoded: {error}"
        self._ahead.pop(0)
        return True

    def run(self) -> None:
        while not self._ended.is_set():
            self.once()
            if self.reader is not None:
                self.reader.answer()
            if not self.prepare():
                self._ended.wait(POLL_INTERVAL_S)

    def end(self) -> None:
        self._ended.set()

    def words_of(self, text: str) -> str:
        """A prompt without the names of its files."""
        return text_alone(text) if text in self._media else text

    def encode(self, text: str) -> Tokens:
        """The tokens of a prompt, from the cache or encoded now."""
        with self._lock:
            tokens = self._cache.get(text)
        return self._encode(text) if tokens is None else tokens

    def _encode(self, text: str) -> Tokens:
        from worldjockey.model import Prompt

        begin = time.perf_counter()
        media = self._media.get(text)
        prompt = Prompt(text_alone(text), **media.prompt(self._world.spec.fps)) if media else Prompt(text)
        with self._encoding:
            tokens = self._world.encode(prompt)
        self.encode_ms = (time.perf_counter() - begin) * 1e3
        with self._lock:
            self._keep(text, tokens)
        return tokens

    def _keep(self, text: str, tokens: Tokens) -> None:
        size = _bytes(tokens)
        if text in self._cache or size > CACHE_BYTES:
            return
        self._cache[text] = tokens
        self._room -= size
        while self._room < 0:  # the least recently used go first
            self._room += _bytes(self._cache.pop(next(iter(self._cache))))


def packed_prompts(media: Mapping[str, Media], ahead: Iterable[str]) -> bytes:
    """The content of an encoder's cell: the files of all pads, and prompts to encode ahead of time. The latter are left
    out where they do not fit."""
    files = {text: [one.image, one.sound, one.video] for text, one in media.items()}
    for prompts in (list(ahead), []):
        if len(data := json.dumps({"media": files, "ahead": prompts}).encode()) <= PROMPTS_BYTES:
            break
    return data


def _bytes(tokens: Tokens) -> int:
    return sum(array.nbytes for array in vars(tokens).values() if isinstance(array, np.ndarray))
