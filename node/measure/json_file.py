"""The JSON file that a measurement writes at its end."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ..compat.report_names import with_old_names


def check_folder(path: Path | None) -> None:
    """Before a long measurement: raises OSError, naming the fix, where the file's folder is not there."""
    if path is not None and not path.expanduser().absolute().parent.is_dir():
        raise OSError(f"{path}: there is no folder {path.parent}; make it first, or name another file")


def write(path: Path | None, result: Any) -> None:
    """Renamed keys are there under their old names, too. None writes nothing. Raises OSError."""
    if path is not None:
        path.expanduser().write_text(json.dumps(with_old_names(result), indent=1, default=str), "utf-8")
