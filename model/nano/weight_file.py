"""Reading of weight files: safetensors whose header has the configurations."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import safe_open
from torch import Tensor


def read(path: Path, what: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """What the header says, and the tensors in fp32. what: the file holds, as in "a nano's weights".

    Raises ValueError for a file that cannot be read."""
    try:
        with safe_open(path, "pt") as f:
            about = json.loads((f.metadata() or {})["worldjockey"])
            return about, {k: f.get_tensor(k).float() for k in f.keys()}  # noqa: SIM118 (not a dict)
    except Exception as error:
        raise ValueError(f"{path} is not {what} ({error}): reinstall worldjockey") from error


def fields(saved: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration's fields, whose tuples are lists in a header."""
    return {name: tuple(value) if isinstance(value, list) else value for name, value in saved.items()}
