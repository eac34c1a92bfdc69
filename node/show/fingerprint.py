"""What of a show its pictures depend on, in a few characters: to know whether it is the same show again.

Prompt, values and words are not among it: a control log begins with them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .schema import Show

ENOUGH = 16 << 20  # bytes of a file that tell it from another of the same length
PARTS = ("pads", "banks", "cues", "modulators")


def digests(show: Show, folder: Path = Path()) -> dict[str, str]:
    """Of each part of the show; of pads with the files on them. folder: where their paths start."""
    found = {}
    for part in PARTS:
        hashed = hashlib.sha256(show.model_dump_json(include={part}, exclude_defaults=True).encode())
        if part == "pads":
            for text, media in sorted(show.media(folder).items()):
                hashed.update(text.encode())
                for path in map(Path, media.paths):
                    if path.is_file():
                        with path.open("rb") as file:
                            hashed.update(file.read(ENOUGH))
                        hashed.update(str(path.stat().st_size).encode())
        found[part] = hashed.hexdigest()[:16]
    return found


def differing(show: Show, folder: Path, recorded: Any) -> list[str]:
    """The parts in which the show is not the one whose `digests` were recorded; none where nothing was recorded."""
    if not isinstance(recorded, Mapping):
        return []
    return [part for part, digest in digests(show, folder).items() if recorded.get(part, digest) != digest]
