"""The control log: every obeyed control with its time, as JSON lines that `wj render` plays again.

    {"log": 1, "t": 812.5, "part": 1, "model": ..., "values": {...}, ...}   a part begins with everything as it is
    {"t": 812.9, "to": "pad/3", "args": [0.5], "from": "osc 127.0.0.1:53211"}
    {"t": 813.0, "to": "cue/go", "args": ["storm"], "waits": true}            asked for, and waits for its beat
    {"t": 813.9, "to": "cue/go", "args": [2], "now": true}                    which has come
    {"t": 813.0, "line": [812.7, 16.0, 128.0]}                                the beat: time, beat, bpm

Times are time.monotonic()'s. A thread of its own writes: whoever plays never waits for a disk, and a disk that is full
or gone costs the log, not the show. Parts are bounded in size, and so is the folder.
"""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from worldjockey.integrations import ControlEvent

from ..timing.tempo import Line

PART = 32 << 20  # bytes after which another part begins
FOLDER = 1 << 30  # bytes that all logs in the folder may have; the oldest go first
WAITING = 50_000  # rows that may wait for the disk; more are lost, and counted
EVERY = 0.2  # seconds between two writes
RETRY = 5.0  # seconds until a disk that failed is tried again
DRIFT = 0.002  # beats by which the clock may stray from its last row
NAMES = "wj-*.jsonl"


class ControlLog:
    """head: everything as it is, JSON-able; it is asked for in the middle of a control, and must not wait."""

    def __init__(
        self, folder: Path, head: Callable[[], Mapping[str, Any]], part: int = PART, whole: int = FOLDER
    ) -> None:
        self.folder, self._head, self._part_bytes, self._folder_bytes = folder.expanduser(), head, part, whole
        self._rows: deque[dict[str, Any]] = deque()
        self._turn = True  # the next row begins another part,
        self._broken = False  # and so it does after rows were lost, once there is room again
        self._line: Line | None = None
        self._lost = self._written = self._part = 0
        self._error = ""
        self._path: Path | None = None
        self._session = time.strftime("wj-%Y%m%d-%H%M%S")
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="control log", daemon=True)

    def start(self, now: float | None = None) -> None:
        """Raises OSError, naming the fix, where nothing can be written now."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            probe = self.folder / f".{self._session}"
            probe.write_bytes(b"")
            probe.unlink()
        except OSError as error:
            raise OSError(f"--log {self.folder}: {error.strerror}; name a folder that can be written to") from None
        self._begin(time.monotonic() if now is None else now)
        self._thread.start()

    def control(self, control: ControlEvent, waits: bool) -> None:
        row: dict[str, Any] = {
            "t": control.arrived_at,
            "to": control.target,
            "args": control.args,
            "from": control.source,
        }
        for flag in ("relative", "now"):
            if control.meta.get(flag):
                row[flag] = True
        if waits:
            row["waits"] = True
        self._put(row)

    def line(self, line: Line, now: float) -> None:
        """The clock as it is now; written where it is not where the last row would have it."""
        last = self._line
        if last is None or abs(last.bpm - line.bpm) > 0.05 or abs(last.beat_at(now) - line.beat_at(now)) > DRIFT:
            self._line = line
            self._put({"t": now, "line": [line.time, line.beat, line.bpm]})

    def status(self) -> dict[str, Any]:
        """path: of the part being written; rows; lost: rows that no disk took in time; error: the disk's, in words."""
        found = {"path": str(self._path or ""), "rows": self._written, "lost": self._lost}
        return found | ({"error": self._error} if self._error else {})

    def stop(self) -> None:
        """Write what is left, for two seconds at most."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(2.0)

    def _begin(self, now: float) -> None:
        self._turn = False
        self._rows.append({"log": 1, "t": now, "lost": self._lost, **self._head()})

    def _put(self, row: dict[str, Any]) -> None:
        if len(self._rows) >= WAITING:
            self._lost, self._broken = self._lost + 1, True
            return
        if self._turn or self._broken:
            self._broken = False
            self._begin(row["t"])
            if row.get("relative"):
                return  # the step is in what the part begins with
        self._rows.append(row)

    # -- the writing thread ------------------------------------------------------------------------------------------

    def _run(self) -> None:
        file: BinaryIO | None = None
        size = 0
        while True:
            last = self._stop.wait(EVERY)
            try:
                while self._rows:
                    row = self._rows[0]
                    if "log" in row or file is None:
                        if file is not None:
                            file.close()
                        file, size = self._open(), 0
                    data = json.dumps(row, default=str, separators=(",", ":")).encode() + b"\n"
                    file.write(data)
                    self._rows.popleft()
                    size += len(data)
                    self._written += 1
                    if size > self._part_bytes and not self._turn:
                        self._turn = True
                        size = 0
                if file is not None:
                    file.flush()
                self._error = ""
            except OSError as error:
                self._error = f"the control log is not written: {error.strerror or error}"
                if last:
                    return
                self._lost += len(self._rows)
                self._rows.clear()
                self._broken = True
                with contextlib.suppress(OSError, AttributeError):
                    file.close()  # type: ignore[union-attr]
                file = None
                self._stop.wait(RETRY)
            if last:
                if file is not None:
                    file.close()
                return

    def _open(self) -> BinaryIO:
        self._part += 1
        self._path = self.folder / f"{self._session}-{self._part:03}.jsonl"
        self._prune()
        return self._path.open("wb")

    def _prune(self) -> None:
        parts = sorted((path.stat().st_mtime, path.stat().st_size, path) for path in self.folder.glob(NAMES))
        total = sum(size for _, size, _ in parts)
        for _, size, path in parts:
            if total + self._part_bytes <= self._folder_bytes:
                return
            path.unlink()
            total -= size


def parts(path: Path) -> list[Path]:
    """A log's parts: a file is one, a folder has those of its latest show. Raises OSError where there is none."""
    if not path.is_dir():
        if not path.is_file():
            raise FileNotFoundError(f"{path}: there is no such log; `wj play --log {path}` writes one")
        return [path]
    names = sorted(path.glob(NAMES))
    if not names:
        raise FileNotFoundError(f"{path}: there is no log in it; `wj play --log {path}` writes one")
    session = names[-1].name.rpartition("-")[0]
    return [name for name in names if name.name.rpartition("-")[0] == session]


def read(paths: Iterable[Path]) -> Iterator[dict[str, Any]]:
    """Every row in order; what a power cut left of the last line is passed over.

    Raises ValueError for a file that is no control log.
    """
    for path in paths:
        first = True
        with path.open("rb") as file:
            for line in file:
                try:
                    row = json.loads(line)
                    float(row["t"])
                except (ValueError, TypeError, KeyError):
                    if first:
                        raise ValueError(f"{path}: this is no control log; `wj play --log DIR` writes one") from None
                    continue
                if first and row.get("log") != 1:
                    raise ValueError(f"{path}: this is not the log of this version; play it with the one that wrote it")
                first = False
                yield row
        if first:
            raise ValueError(f"{path}: this log is empty")
