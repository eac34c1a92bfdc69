"""A camera whose driver hangs the first time it is read, and works once its process was ended and started again."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np


class FickleCamera:
    def __init__(self, path: str) -> None:
        self._hung = Path(path)

    def open(self) -> None:
        pass

    def read(self, size: tuple[int, int]) -> Any:
        if not self._hung.exists():
            self._hung.touch()
            time.sleep(1000)
        time.sleep(0.02)
        return np.full((size[1], size[0], 3), 77, np.uint8)

    def status(self) -> Mapping[str, Any]:
        return {}

    def close(self) -> None:
        pass
