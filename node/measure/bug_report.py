"""`wj doctor --report`: one file to send with a bug report, without the show's secrets."""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ..ipc import log_file

LOG_BYTES_MAX = 4 << 20  # of the end of the log
REMOVED = "(removed)"
_FIELD = re.compile(r"(?im)^(\s*(?:-\s*)?[\"']?(?:key|token|password|passphrase|streamid|secret)[\"']?\s*:\s*)\S.*$")
_IN_BRACES = re.compile(  # {kind: whip, url: ..., token: ...}
    r"(?i)([{,]\s*[\"']?(?:token|password|passphrase|streamid|secret)[\"']?\s*:\s*)(?:\"[^\"]*\"|'[^']*'|[^,}\s]+)"
)
_QUERY = re.compile(r"(?i)((?:key|token|password|passphrase|streamid|secret)=)[^&\s\"']+")
_LOGIN = re.compile(r"(\w+://)[^/\s@\"']+@")
_RTMP = re.compile(r"(rtmps?://[^/\s\"']+/[^/\s\"']+/)[^\s\"']+")  # the last part is the stream's key
_KEYING_MODES = re.compile(r"(?i):\s*[\"']?(luma|green|figure)[\"']?\s*$")  # `key: luma` is no secret


def without_secrets(text: str) -> str:
    """Text of a log or show file whose keys, passphrases, stream keys and logins are replaced."""
    text = _FIELD.sub(lambda m: m[0] if _KEYING_MODES.search(m[0]) else m[1] + REMOVED, text)
    for pattern, ending in ((_IN_BRACES, ""), (_QUERY, ""), (_LOGIN, "@"), (_RTMP, "")):
        text = pattern.sub(lambda m, ending=ending: m[1] + REMOVED + ending, text)  # type: ignore[misc]
    return text


def write(path: Path, findings: Iterable[Mapping[str, Any]], show: Path | None = None) -> list[str]:
    """Pack the newest log, the doctor's findings and the show file; returns the names of what is in the archive.

    Raises OSError where the archive cannot be written or the show cannot be read.
    """
    files = {"doctor.json": json.dumps(list(findings), indent=1)}
    logs = log_file.runs(log_file.folder())
    if logs:
        newest = max(logs, key=lambda log: log.stat().st_mtime)
        with newest.open("rb") as file:
            file.seek(max(newest.stat().st_size - LOG_BYTES_MAX, 0))
            files[newest.name] = without_secrets(file.read().decode("utf-8", "replace"))
    if show is not None:
        files[show.name] = without_secrets(show.read_text("utf-8", "replace"))
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return list(files)
