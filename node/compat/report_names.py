"""Names that JSON reports had before, kept beside the new ones for one release."""

from __future__ import annotations

from typing import Any

OLD_NAMES = {"error": "fault", "errors": "faults", "last error": "last fault"}


def with_old_names(report: Any) -> Any:
    """A copy of a JSON-able report in which each renamed key is there under its old name, too."""
    if isinstance(report, dict):
        found = {key: with_old_names(value) for key, value in report.items()}
        return found | {OLD_NAMES[key]: value for key, value in found.items() if key in OLD_NAMES}
    if isinstance(report, list | tuple):
        return [with_old_names(value) for value in report]
    return report
