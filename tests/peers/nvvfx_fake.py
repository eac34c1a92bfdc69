"""`nvvfx` as its documentation describes it (docs.nvidia.com/maxine/vfx-python/latest/api.html), for machines without
a card: the same names and arguments, and refusals of whatever it does not take. It repeats pixels, and draws none.
"""

from __future__ import annotations

import enum
from types import SimpleNamespace
from typing import Any, ClassVar

import torch
from pretended_card import CardTensor, lifted


class Capsule:
    """What `torch.from_dlpack` takes; see `from_dlpack`."""

    def __init__(self, tensor: Any) -> None:
        self.tensor = tensor


def from_dlpack(capsule: Capsule) -> Any:
    assert isinstance(capsule, Capsule)
    return lifted(capsule.tensor)


class VideoSuperRes:
    """fails: what the next call raises."""

    class QualityLevel(enum.Enum):
        BICUBIC, LOW, MEDIUM, HIGH, ULTRA = range(5)

    fails: Exception | None = None
    made: ClassVar[list[VideoSuperRes]] = []

    def __init__(self, quality: QualityLevel = QualityLevel.HIGH, device: int = 0) -> None:
        assert isinstance(quality, self.QualityLevel)
        assert isinstance(device, int)
        self.output_width: int | None = None
        self.output_height: int | None = None
        self.loads = self.runs = 0
        self._out: Any = None
        self.made.append(self)

    def load(self) -> None:
        if self.fails is not None:
            raise self.fails
        assert self.output_width
        assert self.output_height
        assert self.output_width % 8 == self.output_height % 8 == 0
        self.loads += 1

    def run(self, input_array: Any, *, non_blocking: bool = False, stream_ptr: int = 0) -> Any:
        if self.fails is not None:
            raise self.fails
        assert self.loads
        assert stream_ptr == 7, "the stream on which torch works"
        assert isinstance(input_array, CardTensor), "on the card"
        assert input_array.dtype == torch.float32
        assert input_array.shape[0] == 3
        assert input_array.is_contiguous()
        inner = input_array.inner
        assert 0 <= float(inner.min()) <= float(inner.max()) <= 1
        self.runs += 1
        size = (self.output_height, self.output_width)
        larger = torch.nn.functional.interpolate(inner[None], size, mode="nearest")[0] * 1.02  # it may overshoot
        if self._out is None or self._out.shape != larger.shape:
            self._out = torch.empty_like(larger)
        self._out.copy_(larger)  # the same memory each time
        return SimpleNamespace(image=Capsule(self._out))
