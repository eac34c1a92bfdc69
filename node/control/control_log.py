"""The control log: every obeyed control with its time, as JSON lines that `wj render` plays again.

    {"log": 1, "t": 812.5, "model": ..., "values": {...}, ...}   a part begins with the whole state
    {"t": 812.9, "to": "pad/3", "args": [0.5], "from": "osc 127.0.0.1:53211"}
    {"t": 813.0, "to": "cue/go", "args": ["storm"], "waits": true}   a cue that waits for its beat
    {"t": 813.9, "to": "cue/go", "args": [2], "now": true}           the same cue, when it is fired
    {"t": 813.0, "line": [812.7, 16.0, 128.0]}                       the show clock: time, beat, bpm

Times are those of time.monotonic(). A separate thread writes the log: the control loop never waits for a disk, and a
disk that is full or missing costs the log, not the show. The size of a part and of the folder is bounded.
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

PART_BYTES = 32 << 20  # after which another part begins
FOLDER_BYTES = 1 << 30  # of all logs in the folder; the oldest are deleted first
WAITING_ROWS_MAX = 50_000  # that wait for the disk; more are lost, and counted
WRITE_INTERVAL_S = 0.2
RETRY_DELAY_S = 5.0  # after a disk that failed
DRIFT_BEATS = 0.002  # by which the clock may differ from its last row
DRIFT_BPM = 0.05
STOP_TIMEOUT_S = 2.0  # for the rows that are left
NAMES = "wj-*.jsonl"


class ControlLog:
    """head: returns the whole state, JSON-able; it is called while the desk obeys a control, and must not wait."""

    def __init__(
        self,
        folder: Path,
        head: Callable[[], Mapping[str, Any]],
        part_bytes: int = PART_BYTES,
        folder_bytes: int = FOLDER_BYTES,
    ) -> None:
        self.folder, self._head, self._part_bytes, self._folder_bytes = (
            folder.expanduser(),
            head,
            part_bytes,
            folder_bytes,
        )
        self._rows: deque[dict[str, Any]] = deque()
        self._part_ended = True  # the next row begins another part,
        self._rows_lost = False  # and so does the next row for which there is room after rows were lost
        self._line: Line | None = None
        self._lost = self._written = self._part = 0
        self._error = ""
        self._path: Path | None = None
        self._session = time.strftime("wj-%Y%m%d-%H%M%S")
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="control log", daemon=True)

    def start(self, now: float | None = None) -> None:
        """Raises OSError, with the fix, where the folder cannot be written to."""
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
        """Write the show clock down where it differs from its last row."""
        last = self._line
        if (
            last is None
            or abs(last.bpm - line.bpm) > DRIFT_BPM
            or abs(last.beat_at(now) - line.beat_at(now)) > DRIFT_BEATS
        ):
            self._line = line
            self._put({"t": now, "line": [line.time, line.beat, line.bpm]})

    def status(self) -> dict[str, Any]:
        """path: of the part being written. rows: written. lost: rows that the disk was too slow for."""
        status = {"path": str(self._path or ""), "rows": self._written, "lost": self._lost}
        return status | ({"error": self._error} if self._error else {})

    def stop(self) -> None:
        """Write the rows that are left, for STOP_TIMEOUT_S at most."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(STOP_TIMEOUT_S)

    def _begin(self, now: float) -> None:
        self._part_ended = False
        self._rows.append({"log": 1, "t": now, "lost": self._lost, **self._head()})

    def _put(self, row: dict[str, Any]) -> None:
        if len(self._rows) >= WAITING_ROWS_MAX:
            self._lost, self._rows_lost = self._lost + 1, True
            return
        if self._part_ended or self._rows_lost:
            self._rows_lost = False
            self._begin(row["t"])
            if row.get("relative"):
                return  # the state with which the part begins has this step already
        self._rows.append(row)

    # -- the writing thread ------------------------------------------------------------------------------------------

    def _run(self) -> None:
        file: BinaryIO | None = None
        size = 0
        while True:
            last = self._stop.wait(WRITE_INTERVAL_S)
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
                    if size > self._part_bytes and not self._part_ended:
                        self._part_ended = True
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
                self._rows_lost = True
                with contextlib.suppress(OSError, AttributeError):
                    file.close()  # type: ignore[union-attr]
                file = None
                self._stop.wait(RETRY_DELAY_S)
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
    """The parts of a log: a file itself, or those of the latest show in a folder. OSError where there is none."""
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
    """Every row in order; lines that are incomplete, as after a power cut, are skipped.

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
