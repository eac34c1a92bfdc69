"""The prompt deck: encoded prompts, mixed anew for every step of the world. Pure numpy, no I/O.

Whatever a performer does, the mix changes without a jump: weights are smoothed, a prompt that replaces another is
crossfaded from the current mix of its slot, and the first prompt of a slot is faded in from zero.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from worldjockey.model.spec import Array, Tokens, slerp

from ..parameters import PADS, PARAMETERS, find
from ..timing.easing import approach, smoothstep

PAD_SLOTS = tuple(f"pad/{n}" for n in range(1, PADS + 1))
SLOTS = ("prompt", "prompt/b", *PAD_SLOTS)
CROSSFADE_S = 0.25  # at least, when the prompt of a pad or of morph is replaced
WORD_SMOOTHING = getattr(find("word/any"), "smoothing", 0.0)


@dataclass
class Slot:
    """One slot of the deck: its prompt, and the crossfade to it."""

    tokens: Tokens | None = None  # None: no prompt was set, or it was cleared and has faded
    origin: Array | None = None  # the mix from which `tokens` are faded in
    elapsed: float = 0.0
    seconds: float = 0.0
    cleared: bool = False
    weighted: Array | None = None  # tokens with word weights applied; None after either changed
    next: Tokens | None = None  # the following prompt, set once the slot is up again or has faded out

    @property
    def moving(self) -> bool:
        return self.origin is not None

    def put(self, tokens: Tokens, origin: Array | None, seconds: float) -> None:
        self.tokens, self.cleared, self.weighted, self.next = tokens, False, None, None
        self.origin = origin if seconds > 0 else None
        self.elapsed, self.seconds = 0.0, seconds

    def advance(self, dt: float) -> None:
        self.elapsed += dt
        if self.elapsed >= self.seconds:
            self.origin = None

    def current(self, words: Mapping[str, float]) -> Array:
        assert self.tokens is not None
        if self.weighted is None:
            self.weighted = self.tokens.weighted(words)
        if self.origin is None:
            return self.weighted
        t = smoothstep(self.elapsed / self.seconds)
        return slerp((self.origin, self.weighted), (1 - t, t))


class Deck:
    """Slots "prompt", "prompt/b" and "pad/1".."pad/16", and their weights.

    Pads are mixed by weight; the rest up to 1 is the weight of the prompt, and `morph` blends that mix with prompt/b.
    The tokens of an empty prompt slot are zeros.
    """

    def __init__(self) -> None:
        self._slots = {name: Slot() for name in SLOTS}
        self._weights: dict[str, float] = {}  # smoothed, only what is above 0
        self._words: dict[str, float] = {}  # smoothed, only what is not 1
        self._shape: tuple[int, ...] | None = None
        self._mix: Array | None = None  # None: must be mixed again
        self._started = False

    def set_tokens(self, slot: str, tokens: Tokens, seconds: float = 0.0) -> None:
        """Set the encoded prompt of a slot, crossfaded within `seconds`.

        0 seconds is a cut on "prompt"; any other slot with a weight crossfades for CROSSFADE_S all the same, and one
        that is fading out takes the new prompt afterwards.
        Raises ValueError for an unknown slot, or tokens of another shape than the deck's (of another world).
        """
        target = self._slot(slot)
        shape = tokens.values.shape
        if self._shape is not None and shape != self._shape:
            raise ValueError(f"the deck holds tokens of shape {self._shape}, not {shape}: is this another world's?")
        first = self._shape is None
        self._shape, self._mix = shape, None
        if slot in self._weights:
            target.next = tokens
            return
        if target.tokens is not None:
            origin = target.current(self._words) if slot == "prompt" else None
        else:
            origin = np.zeros(shape, np.float32) if slot == "prompt" and not first else None
        target.put(tokens, origin, seconds if origin is not None else 0.0)

    def clear(self, slot: str) -> None:
        """Empty a slot. If it has a weight, it fades out first. ValueError for an unknown slot."""
        target = self._slot(slot)
        if slot == "prompt":
            if target.tokens is not None and self._shape is not None:
                self.set_tokens(slot, Tokens(np.zeros(self._shape, np.float32)), CROSSFADE_S)
        elif target.tokens is not None:
            target.cleared, target.next = True, None
            self._mix = None

    def tokens(self, values: Mapping[str, float], words: Mapping[str, float], dt: float) -> Array | None:
        """The mix for a step that covers `dt` seconds: (n, d) float32, which must not be modified.

        values: parameters by name, of which "pad/<n>" and "morph" are read; a missing one counts as 0.
        words: word weights, 1 where missing. Returns None until the first prompt is set.
        """
        if self._shape is None:
            return None
        if not self._started:  # a new deck starts at the faders' values
            dt, self._started = math.inf, True
        changed = self._move_weights(values, dt) | self._move_words(words, dt)
        for slot in self._slots.values():
            if slot.moving:
                slot.advance(dt)
                changed = True
        if changed or self._mix is None:
            self._mix = self._mixed()
        return self._mix

    def _slot(self, name: str) -> Slot:
        try:
            return self._slots[name]
        except KeyError:
            raise ValueError(f"the deck has no slot {name!r}: prompt, prompt/b, pad/1 .. pad/{PADS}") from None

    def _move_weights(self, values: Mapping[str, float], dt: float) -> bool:
        changed = False
        for name in SLOTS[1:]:
            slot = self._slots[name]
            fader = "morph" if name == "prompt/b" else name
            now, up = self._weights.get(name, 0.0), min(max(float(values.get(fader, 0.0)), 0.0), 1.0)
            if slot.next is not None and up > 0:
                slot.put(slot.next, slot.current(self._words), CROSSFADE_S)
                changed = True
            target = 0.0 if slot.tokens is None or slot.cleared else up
            if now != target:
                changed = True
                now = approach(now, target, dt, PARAMETERS[fader].smoothing)
                if now > 0:
                    self._weights[name] = now
                else:
                    self._weights.pop(name, None)
            if (slot.cleared or slot.next) and now == 0:
                self._slots[name] = Slot(slot.next)
        return changed

    def _move_words(self, words: Mapping[str, float], dt: float) -> bool:
        changed = False
        for word in {*self._words, *words} if words or self._words else ():
            now, target = self._words.get(word, 1.0), float(words.get(word, 1.0))
            if now != target:
                changed = True
                now = approach(now, target, dt, WORD_SMOOTHING)
            if now == 1.0:
                self._words.pop(word, None)
            else:
                self._words[word] = now
        if changed:
            for slot in self._slots.values():
                slot.weighted = None
        return changed

    def _mixed(self) -> Array:
        assert self._shape is not None
        pads = {name: w for name, w in self._weights.items() if name != "prompt/b"}
        parts = [self._slots[name].current(self._words) for name in pads]
        weights = list(pads.values())
        rest = 1 - sum(weights)
        if rest > 0:
            base = self._slots["prompt"]
            parts.append(np.zeros(self._shape, np.float32) if base.tokens is None else base.current(self._words))
            weights.append(rest)
        mix = slerp(parts, weights)
        morph = self._weights.get("prompt/b", 0.0)
        return slerp((mix, self._slots["prompt/b"].current(self._words)), (1 - morph, morph)) if morph else mix
