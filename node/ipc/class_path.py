"""A class by its path, for a process that imports it only when it needs it."""

from __future__ import annotations

import importlib
from typing import Any


def load_class(path: str) -> Any:
    """path: "module:class"."""
    module, _, name = path.partition(":")
    return getattr(importlib.import_module(module), name)
