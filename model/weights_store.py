"""Weights on this machine: where they lie, what is missing, fetching them from the Hugging Face hub, and checking them.

Every file of a source lies at <home>/<repository>/<path>; beside them `.worldjockey.json` says what belongs there.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

MANIFEST = ".worldjockey.json"


@dataclass(frozen=True)
class Source:
    """Files of one repository on the Hugging Face hub.

    revision: a commit; "main" is whatever it is on the day. files: paths, `*` for any name. sha256: of files whose
    content was known when this was written; all others are held against what the hub says of them.
    """

    repository: str
    revision: str
    files: tuple[str, ...]
    sha256: Mapping[str, str] = field(default_factory=dict)


def home() -> Path:
    """$WORLDJOCKEY_WEIGHTS, or the user's data folder."""
    from platformdirs import user_data_path

    named = os.environ.get("WORLDJOCKEY_WEIGHTS")
    return Path(named).expanduser() if named else user_data_path("worldjockey", False) / "weights"


def missing(source: Source, root: Path) -> list[str]:
    """Files of a source that are not there whole, as <repository>/<path>; quick, so contents are not read."""
    folder = root / source.repository
    try:
        listed = json.loads((folder / MANIFEST).read_text("utf-8"))["files"]
        return [
            f"{source.repository}/{path}" for path, about in listed.items() if _size(folder / path) != about["size"]
        ]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):  # put there by hand
        return [f"{source.repository}/{path}" for path in source.files if not any(folder.glob(path))]


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return -1
