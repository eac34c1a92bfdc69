"""Stills that a world draws beside what it plays: a pad's thumbnail, and the program in another light."""

from __future__ import annotations

import contextlib
import logging
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from worldjockey.model.spec import Array, on_host

from ..ipc.frame_ring import Pixels
from ..ipc.mailbox import Mailbox
from ..parameters import PADS
from .prompt_deck import Deck
from .prompt_encoder import Encoder

if TYPE_CHECKING:
    from worldjockey.model import Controls, World
    from worldjockey.model.spec import WorldState

logger = logging.getLogger(__name__)
SIZE = (320, 180)  # at most
JPEG_QUALITY = 85
STEP_S = 0.1  # of world time
PAD_STEPS, TRY_STEPS = 8, 8  # until a change has arrived: the look takes 0.2 s, and the cache 6 frames
SHARE_MIN = 0.15  # of a word in an attribute, above which another value takes its place
WEIGHT_MIN = 0.05  # of a prompt in the mix, below which it is left as it is


class Painter:
    """Draws with a world that is played as well: whatever it does, the world is as it was before.

    encoder: of the played world. program: the mailbox of the program, whose prompts and faders `variants` starts from.
    """

    def __init__(self, world: World, encoder: Encoder, program: Mailbox) -> None:
        self._world, self._encoder, self._program = world, encoder, program

    def pad(self, prompt: str, seed: int) -> Pixels:
        """(h, w, 3): what that prompt shows of the world of that seed."""
        from worldjockey.model import Controls

        with self._kept():
            self._world.reset(seed)
            return self._frame(Controls(self._encoder.encode(prompt).values, dt=STEP_S), PAD_STEPS)

    def variants(self, attribute: str, state: WorldState | None) -> Iterator[tuple[str, Mapping[str, str], Pixels]]:
        """For each value of an attribute: the value, the controls that give it on the program, and a still of it.

        state: of the program's world; None begins with the world's opening. Raises ValueError, with those that there
        are, for an attribute that the world has not.
        """
        from worldjockey.model import Controls

        spec, reading = self._world.spec, self._program.read()
        words = self._program.words()[0]
        texts = {name: text for name in slots(reading.values) if (text := self._program.text(text_of(name)).text)}
        acts = {} if reading.values["act"] == "none" else {reading.values["act"]: 1.0}
        camera = {axis: reading.values[f"cam/{axis}"] for axis in ("pitch", "zoom")}
        base = Controls(self._mix(texts, reading.values, words), acts, camera, STEP_S)
        if attribute == "act":
            for act in spec.acts:
                yield act, {"act": act}, self._from(state, replace(base, acts={} if act == "none" else {act: 1.0}))
            return
        if attribute not in spec.attributes:
            raise ValueError(f"this world has no {attribute[:40]!r}: it has {', '.join(('act', *spec.attributes))}")
        for value in spec.attributes[attribute]:
            asked = {name: self.instead(text, attribute, value) for name, text in (texts or {"prompt": ""}).items()}
            controls = {text_of(name): text for name, text in asked.items()}
            tokens = self._mix({**texts, **asked}, reading.values, words)
            yield value, controls, self._from(state, replace(base, tokens=tokens))

    def instead(self, text: str, attribute: str, value: str) -> str:
        """The text with another value of an attribute: in place of the words that name one now, else behind it."""
        alone = self._encoder.words_of(text).strip()
        tokens, row = self._encoder.encode(alone), list(self._world.spec.attributes).index(attribute)
        naming = [w for w, part in zip(tokens.words, tokens.parts if tokens.parts is not None else (), strict=False)
                  if part[row].sum() >= SHARE_MIN]  # fmt: skip
        for word in dict.fromkeys(naming):
            placed = value if word == naming[0] else ""
            alone = re.sub(rf"(?<!\w){re.escape(word)}(?!\w)", placed, alone, flags=re.IGNORECASE)
        if not naming:
            alone = f"{alone}, {value}" if alone else value
        return re.sub(r"\s+([,.;:]|$)", r"\1", re.sub(r"\s+", " ", alone)).strip(" ,")

    def _mix(self, texts: Mapping[str, str], values: Mapping[str, Any], words: Mapping[str, float]) -> Array:
        deck = Deck()
        for name, text in (texts if "prompt" in texts else {"prompt": "", **texts}).items():
            deck.set_tokens(name, self._encoder.encode(text))
        mixed = deck.tokens(values, words, math.inf)
        assert mixed is not None
        return mixed

    def _from(self, state: WorldState | None, controls: Controls) -> Pixels:
        with self._kept():
            if state is None:
                self._world.reset(int(self._program.value("seed")))
            else:
                self._world.restore(state)
            return self._frame(controls, TRY_STEPS)

    @contextlib.contextmanager
    def _kept(self) -> Iterator[None]:
        before = self._world.snapshot()
        try:
            yield
        finally:
            self._world.restore(before)

    def _frame(self, controls: Controls, steps: int) -> Pixels:
        chunk = self._world.spec.steps_per_chunk
        frames = None
        for _ in range(-(-steps // chunk) * chunk if chunk > 1 else steps):
            frames = self._world.step(controls)
        assert frames is not None
        return np.asarray(on_host(frames)[-1][..., :3], np.uint8)


def slots(values: Mapping[str, Any]) -> list[str]:
    """The slots of the deck whose prompts are seen in the mix."""
    pads = [f"pad/{n}" for n in range(1, PADS + 1) if values[f"pad/{n}"] > WEIGHT_MIN]
    rest = 1 - sum(values[name] for name in pads)
    morph = values["morph"]
    seen = [*(["prompt"] if rest > WEIGHT_MIN else []), *pads] if morph < 1 - WEIGHT_MIN else []
    return [*seen, *(["prompt/b"] if morph > WEIGHT_MIN else [])]


def text_of(slot: str) -> str:
    """The parameter that holds the text of a slot."""
    return f"{slot}/text" if slot.startswith("pad/") else slot


def write_jpeg(path: Path, pixels: Pixels) -> None:
    """Write a still, scaled down to SIZE at most, whole or not at all. Raises OSError."""
    from PIL import Image

    image = Image.fromarray(pixels)
    image.thumbnail(SIZE)
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".part")
    image.save(unfinished, "JPEG", quality=JPEG_QUALITY)
    unfinished.replace(path)
