"""Digests of a show's parts that its frames depend on, to know whether two shows are the same.

Prompt and values are left out: a control log begins with them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .schema import Show

MAX_HASHED_BYTES = 16 << 20  # of each file; enough to tell it from another one of the same length
PARTS = ("pads", "banks", "cues", "modulators")


def digests(show: Show, folder: Path = Path()) -> dict[str, str]:
    """16 hexadecimal digits for each of `PARTS`, for pads with their files. folder: where relative paths start."""
    found = {}
    for part in PARTS:
        hashed = hashlib.sha256(show.model_dump_json(include={part}, exclude_defaults=True).encode())
        if part == "pads":
            for text, media in sorted(show.media(folder).items()):
                hashed.update(text.encode())
                for path in map(Path, media.paths):
                    if path.is_file():
                        with path.open("rb") as file:
                            hashed.update(file.read(MAX_HASHED_BYTES))
                        hashed.update(str(path.stat().st_size).encode())
        found[part] = hashed.hexdigest()[:16]
    return found


def differing(show: Show, folder: Path, recorded: Any) -> list[str]:
    """The parts in which the show differs from the one whose `digests` were recorded; none if nothing was recorded."""
    if not isinstance(recorded, Mapping):
        return []
    return [part for part, digest in digests(show, folder).items() if recorded.get(part, digest) != digest]
