"""Names of files that are the same on every system."""

from __future__ import annotations

import re

DEVICES = re.compile(r"(?i)(con|prn|aux|nul|com\d|lpt\d)\s*(\..*)?")


def is_device(name: str) -> bool:
    """Whether Windows takes a file of that name for a device, whatever its ending."""
    return DEVICES.fullmatch(name) is not None
