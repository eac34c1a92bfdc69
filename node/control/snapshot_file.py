"""Snapshots in a file, so that the next show has them again. Only a show file or `--keep` can name the file; a control
cannot.

    sunset over the bay:
      prompt: the sea at dusk
      pad/2: 0.4
      word/storm: 1.5

A parameter that a snapshot does not mention is at its default. A separate thread writes the file, whole or not at all:
the control loop never waits for a disk, and a disk that is full or missing costs the file, not the show.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from ..parameters import PARAMETERS, find, nearest
from ..show.yaml_file import MAX_FILE_BYTES, ShowError, ShowLoader, decoded, dumped, write
from .history import SNAPSHOTS_MAX

WRITE_INTERVAL_S = 1.0  # however often a snapshot is saved
STOP_TIMEOUT_S = 2.0  # for the last write
SavedSnapshots = Mapping[str, Mapping[str, Any]]


def defaults() -> dict[str, Any]:
    """The values of a snapshot in which everything is at its default."""
    return {p.name: p.default for p in PARAMETERS.values() if in_snapshots(p.name)}


def in_snapshots(name: str) -> bool:
    """Whether a snapshot holds that parameter: all that reach the world, but no audio levels and no keystone."""
    p = find(name)
    return p is not None and p.kind != "trigger" and not p.local and not name.startswith(("sound/", "keystone/"))


def dump(kept: SavedSnapshots, largest: int = MAX_FILE_BYTES) -> str:
    """The text of the file. The oldest snapshots are left out where it would be longer than `largest` bytes."""
    plain, pieces, size = defaults(), list[str](), 0
    for name, values in reversed(list(kept.items())):
        changed = {n: v for n, v in values.items() if n not in plain or v != plain[n]}
        piece = dumped({name: changed})
        size += len(piece.encode())
        if size > largest:
            break
        pieces.append(piece)
    return "".join(reversed(pieces))


def parse(text: str | bytes, source: str, skipped: list[str] | None = None) -> dict[str, dict[str, Any]]:
    """Snapshots from the text of their file, oldest first. Raises ShowError where it is no such text.

    Parameters that do not exist any more, and values that they cannot take, are left out; skipped gets a line of each.
    """
    skipped = [] if skipped is None else skipped
    what = f"{source}: this is no file of snapshots; name another, or move this one away"
    if len(text) > MAX_FILE_BYTES:
        raise ShowError(f"{source}: larger than {MAX_FILE_BYTES // 1000} kB, so no file of snapshots; name another")
    text = decoded(text, source) if isinstance(text, bytes) else text
    try:
        data = yaml.load(text, ShowLoader)
    except (yaml.YAMLError, ValueError, RecursionError, UnicodeDecodeError):
        raise ShowError(what) from None
    data = {} if data is None else data
    if not isinstance(data, dict) or not all(isinstance(values, dict) for values in data.values()):
        raise ShowError(what)
    found = {}
    for name, values in list(data.items())[-SNAPSHOTS_MAX:]:
        found[str(name)] = defaults()
        for target, value in values.items():
            p = find(str(target))
            try:
                if p is None or not in_snapshots(p.name):
                    raise ValueError(
                        f"no snapshot has a {str(target)[:80]!r}{nearest(str(target)) if p is None else ''}"
                    )
                found[str(name)][p.name] = p.coerce(value)
            except (ValueError, OverflowError) as error:
                skipped.append(f"{str(name)[:80]}: {error}")
    return found


class SnapshotFile:
    """One file of snapshots."""

    def __init__(self, path: Path) -> None:
        self.path, self.error = path.expanduser(), ""
        self._waiting: SavedSnapshots | None = None
        self._lock, self._asked, self._ended = threading.Lock(), threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="snapshots", daemon=True)

    def start(self) -> dict[str, dict[str, Any]]:
        """Returns the snapshots of the file. Raises OSError or ShowError, with the fix, where it cannot be used.

        The file stays as it is, with its comments, until a snapshot is saved.
        """
        found, text, skipped = {}, "", list[str]()
        try:
            if self.path.exists():
                with self.path.open("rb") as file:
                    raw = file.read(MAX_FILE_BYTES + 1)
                found, text = parse(raw, str(self.path), skipped), decoded(raw, str(self.path))
            write(self.path, text)  # whether it can be written is known now
        except OSError as error:
            right = "name a file that can be written to"
            raise OSError(f"--keep {self.path}: {error.strerror or error}; {right}") from None
        if skipped:
            more = f", and {len(skipped) - 1} more" if len(skipped) > 1 else ""
            self.error = f"{self.path} has what cannot be used, and the next save will drop it: {skipped[0]}{more}"
        self._thread.start()
        return found

    def keep(self, kept: SavedSnapshots) -> None:
        """Write these snapshots soon. Does not wait."""
        with self._lock:
            self._waiting = {name: dict(values) for name, values in kept.items()}
        self._asked.set()

    def stop(self) -> None:
        """Write what is left, for STOP_TIMEOUT_S at most."""
        self._ended.set()
        self._asked.set()
        if self._thread.is_alive():
            self._thread.join(STOP_TIMEOUT_S)

    def status(self) -> dict[str, Any]:
        return {"path": str(self.path)} | ({"error": self.error} if self.error else {})

    def _run(self) -> None:
        while True:
            self._asked.wait()
            self._asked.clear()
            last = self._ended.is_set()
            with self._lock:
                kept, self._waiting = self._waiting, None
            if kept is not None:
                try:
                    write(self.path, dump(kept))
                    self.error = ""
                except (OSError, yaml.YAMLError) as error:
                    self.error = f"snapshots are not written: {getattr(error, 'strerror', '') or error}"
                    with self._lock:
                        self._waiting = self._waiting or kept
                    self._asked.set()  # try again
            if last:
                return
            self._ended.wait(WRITE_INTERVAL_S)
