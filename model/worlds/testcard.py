"""A world without a model: a flat colour and a moving bar. For testing a rig and the node."""

from __future__ import annotations

import json
import time
import zlib
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ..spec import ACTS, Array, Controls, Prompt, Situation, Tokens, WorldSpec, WorldState

AUDIO_RATE = 48_000
BEEP_S, BEEP_HZ, BEEP_LEVEL = 0.1, 1000.0, 0.25


class TestCard:
    """A flat colour that each prompt chooses (its tokens are that colour), with a bar moving at true speed.

    A prompt of the form "#rrggbb" is that colour; any other text gets a colour from its hash, an image its mean. Its
    figure, for outputs with a matte, is a box in the middle, beside the bar.
    """

    __test__ = False  # not a pytest class
    spec = WorldSpec("testcard", 512, 288, 20.0, 1, ACTS, ("text", "action", "image", "live"), "cpu", matte=True)

    def __init__(self, beeps: bool = False, frame_s: float = 0.0) -> None:
        """beeps: a short tone each second of its time, while the bar is twice as high. frame_s: seconds that a frame
        takes, as with a model on a graphics card: the processor is free meanwhile."""
        self.seconds, self._before, self._beeps, self._frame_s = 0.0, 0.0, beeps, frame_s
        self._act = ACTS[0]
        if beeps:
            self.spec = replace(self.spec, audio_rate=AUDIO_RATE)

    def encode(self, prompt: Prompt) -> Tokens:
        text = prompt.text.strip().lower()
        if prompt.image is not None and not text:
            return Tokens(prompt.image.mean((0, 1)).astype(np.float32)[None])
        try:
            rgb = bytes.fromhex(text.removeprefix("#"))[:3]
        except ValueError:
            rgb = b""
        if len(rgb) != 3:
            rgb = zlib.crc32(text.encode()).to_bytes(4, "little")[:3]
        return Tokens(np.frombuffer(rgb, np.uint8).astype(np.float32).reshape(1, 3), (text,))

    def reset(self, seed: int) -> None:
        self.seconds = self._before = float(seed % 16)

    def step(self, controls: Controls) -> NDArray[np.uint8]:
        if self._frame_s:
            time.sleep(self._frame_s)
        self._before, self.seconds = self.seconds, self.seconds + controls.dt
        self._act = max(controls.acts, key=lambda act: controls.acts[act], default=ACTS[0])
        s = self.spec
        frame = np.empty((1, s.height, s.width, 3), np.uint8)
        frame[:] = np.clip(controls.tokens[0], 0, 255).astype(np.uint8)
        x = int(self.seconds * s.width / 16) % s.width
        frame[:, s.height - 24 :, x : x + 16] = 255
        if self._beeps and self.seconds % 1 < BEEP_S:
            frame[:, s.height - 48 :, x : x + 16] = 255
        if controls.live is not None and controls.strength > 0 and controls.live.shape == frame.shape[1:]:
            frame[0] = frame[0] + (controls.live.astype(np.float32) - frame[0]) * controls.strength
        if controls.matte:
            alpha = np.zeros((*frame.shape[:3], 1), np.uint8)
            alpha[:, s.height - 24 :, x : x + 16] = 255
            alpha[:, s.height // 4 : s.height * 3 // 4, s.width * 3 // 8 : s.width * 5 // 8] = 255
            frame = np.concatenate([frame, alpha], -1)
        return frame

    def situation(self) -> Situation:
        """x: where the bar is, 0..1 of the width."""
        return Situation(x=round(self.seconds / 16 % 1, 3), place="testcard", act=self._act, faces="bar",
                         seconds=round(self.seconds, 2))  # fmt: skip

    def audio(self) -> Array:
        """The tone that goes with the frame of the last step."""
        times = self._before + np.arange(round((self.seconds - self._before) * AUDIO_RATE)) / AUDIO_RATE
        tone = BEEP_LEVEL * np.sin(2 * np.pi * BEEP_HZ * times) * (times % 1 < BEEP_S)
        return np.repeat(tone.astype(np.float32)[:, None], 2, 1)

    def snapshot(self) -> WorldState:
        return WorldState({"seconds": self.seconds})

    def restore(self, state: WorldState) -> None:
        self.seconds = float(state.data["seconds"])

    def pack(self, state: WorldState) -> bytes:
        return json.dumps(dict(state.data)).encode()

    def unpack(self, data: bytes) -> WorldState:
        return WorldState(json.loads(data))
