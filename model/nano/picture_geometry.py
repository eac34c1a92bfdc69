"""How nano's picture moved with its last step, and how near each of its pixels is, for worlds that paint over it."""

from __future__ import annotations

import torch
from torch import Tensor

from ..spec import Geometry
from ..stage.apparent_motion import apparent_motion
from ..stage.scene import Scene


class PictureGeometry:
    """Remembers the scenes of the last two steps. All is computed on the CPU, and only when it is asked for."""

    def __init__(self, rows: int, columns: int) -> None:
        """The size at which it is known."""
        self._size = rows, columns
        self.forget()

    def forget(self) -> None:
        """The next step has nothing before it."""
        self._before: Scene | None = None
        self._now: Scene | None = None
        self._asked: Scene | None = None  # the scene when the geometry was last asked for
        self._near: Tensor | None = None  # how near each pixel was then

    def note(self, scene: Scene) -> None:
        """scene: one, on the CPU, that a step just drew."""
        self._before, self._now = self._now, scene

    def latest(self) -> Geometry | None:
        """None after the first step, and in a place where nothing keeps its shape."""
        before, now = self._before, self._now
        if before is None or now is None:
            return None
        with torch.inference_mode():
            found = apparent_motion(before, now, *self._size, self._near if self._asked is before else None)
        self._asked, self._near = now, None if found is None else found[1]
        return None if found is None else Geometry(found[0].numpy(), found[1].numpy())
