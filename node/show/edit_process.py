"""Writes edits into a show file, in a process of its own: to read and write YAML takes Python tenths of a second, in
which no cue may wait for it."""

from __future__ import annotations

import codecs
import contextlib
import errno
import json
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..ipc.process import SPAWN, init_child
from ..ipc.supervisor import interrupt_blocked
from .edit import Edit, apply, edited, unshared
from .schema import Show
from .yaml_file import ShowError, dumped, parse, read, write

ANSWER_TIMEOUT_S = 120.0  # on a busy machine the start alone takes long, and a file on a network may
STOP_TIMEOUT_S = 2.0
STILL = "the edits are kept, and saving is tried again"
ATTEMPTS = 3  # where another program writes the file at the same time
WRITABLE = 0o222
READ_ONLY = "the file is read-only: allow writing to it, or save the show under another name"


class EditProcess:
    """The process is started by the first call, and again when it died. Each method may be called from any thread."""

    def __init__(self) -> None:
        self._process: Any = None
        self._pipe: Any = None
        self._lock = threading.Lock()
        self._stopped = False

    def open(self) -> None:
        """Start the process, so that the first save does not wait for it. Where that fails, `save` tries again."""
        with self._lock, contextlib.suppress(OSError):
            if not self._stopped and self._process is None:
                self._start()

    def save(self, path: Path, edits: Sequence[Edit], base: str | None = None, overwrite: bool = True,
             source: Path | None = None) -> dict[str, Any]:  # fmt: skip
        """Apply edits to a show file, and write it whole or not at all.

        base: the text to start from, in place of the file's. source: the file to start from, in place of `path`.
        overwrite: replace a file that exists already.
        Returns {"written": indices of the edits that are in the file now, "refused": {index: why not}}. Raises OSError
        or ShowError, with the fix, where nothing was written.
        """
        request = {"path": str(path), "edits": list(edits), "base": base, "overwrite": overwrite,
                   "source": None if source is None else str(source)}  # fmt: skip
        with self._lock:
            answer = self._ask(json.dumps(request).encode())
        if "error" in answer:
            raise OSError(answer["error"]) if answer["os"] else ShowError(answer["error"])
        return {"written": answer["written"], "refused": {int(n): why for n, why in answer["refused"].items()}}

    def _ask(self, request: bytes) -> dict[str, Any]:
        for last in (False, True):
            if self._stopped:
                raise OSError("the show ended before it was saved")
            try:
                if self._process is None or not self._process.is_alive():
                    self._start()
                self._pipe.send_bytes(request)
                if not self._pipe.poll(ANSWER_TIMEOUT_S):
                    self._kill()
                    raise TimeoutError(f"the show could not be saved within {ANSWER_TIMEOUT_S:g} s: {STILL}")
                answer: dict[str, Any] = json.loads(self._pipe.recv_bytes())
                return answer
            except (EOFError, BrokenPipeError, ConnectionError):
                self._kill()
                if last:
                    raise OSError(f"the show could not be saved: {STILL}") from None
        raise AssertionError

    def _start(self) -> None:
        self._kill()
        self._pipe, theirs = SPAWN.Pipe()
        self._process = SPAWN.Process(target=run, args=(theirs,), name="show editor", daemon=True)
        with interrupt_blocked():
            self._process.start()
        theirs.close()

    def _kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.join()
            self._pipe.close()
            self._process = None

    def stop(self) -> None:
        """End the process for good, after what it writes just now if that takes no longer than STOP_TIMEOUT_S."""
        self._stopped = True
        free = self._lock.acquire(timeout=STOP_TIMEOUT_S)
        if not free and (process := self._process) is not None:
            process.kill()  # the thread that waits for its answer goes on then
        with contextlib.nullcontext() if free else self._lock:
            try:
                if self._process is not None:
                    self._pipe.close()
                    self._process.join(STOP_TIMEOUT_S)
                    self._process.kill()
                    self._process = None
            finally:
                if free:
                    self._lock.release()


def run(pipe: Any) -> None:
    """The process's main: it ends when the other end of the pipe is closed."""
    # With the usual priority: below it, on a machine whose world takes all cores, nothing would be saved for minutes.
    init_child()
    with contextlib.suppress(EOFError, OSError):
        while True:
            pipe.send_bytes(json.dumps(_answer(json.loads(pipe.recv_bytes()))).encode())


def _answer(request: Mapping[str, Any]) -> dict[str, Any]:
    path = Path(request["path"])
    try:
        source = Path(request["source"]) if request["source"] else path
        written, refused = save(path, request["edits"], request["base"], request["overwrite"], source)
        return {"written": written, "refused": refused}
    except OSError as error:
        return {"error": _explained(path, error), "os": True}
    except Exception as error:  # RecursionError for a hostile file, ...
        return {"error": str(error) or type(error).__name__, "os": False}


def _explained(path: Path, error: OSError) -> str:
    reasons = {
        errno.ENOSPC: "the disk is full: make room",
        errno.EDQUOT: "your disk quota is used up: make room",
        errno.EROFS: "the disk is read-only: save the show elsewhere",
        errno.EACCES: "you may not write there: change the rights of the file and its folder",
        errno.EPERM: "you may not write there: change the rights of the file and its folder",
        errno.ENOENT: "the file or its folder is gone: put it back, or save the show under another name",
        errno.EEXIST: "it already exists: choose another name, or overwrite it",
    }  # fmt: skip
    if error.strerror == READ_ONLY:
        return f"{path.name}: {READ_ONLY}"
    return f"{path.name}: {reasons.get(error.errno or 0, error.strerror or str(error))}"


def save(path: Path, edits: Sequence[Edit], base: str | None, overwrite: bool, source: Path
         ) -> tuple[list[int], dict[int, str]]:  # fmt: skip
    """As `EditProcess.save`, in this process."""
    path = path.resolve()  # the file that a link points to
    elsewhere = base is not None or source.resolve() != path
    if path.exists():
        if elsewhere and not overwrite:
            raise OSError(errno.EEXIST, "it already exists")
        if not path.stat().st_mode & WRITABLE:  # replacing it would be possible, but it was locked for a reason
            raise OSError(errno.EACCES, READ_ONLY)
    for _ in range(ATTEMPTS):
        before = None if base is not None else _stamp(source)
        text = base if base is not None else _text(source)
        after, written, refused = applied(text, edits, str(source))
        if elsewhere and refused:
            after, written, refused = rewritten(text, edits, str(source))
        if after == text and not elsewhere:
            return written, refused
        if before == (None if base is not None else _stamp(source)):
            break
    write(path, after)
    return written, refused


def applied(text: str, edits: Sequence[Edit], source: str) -> tuple[str, list[int], dict[int, str]]:
    """The text with the edits that fit, their indices, and why the others do not. ShowError for a text that is no
    show."""
    Show.parse(text, source)
    if len(edits) > 1:
        with contextlib.suppress(ValueError):  # at once, which is quicker; those that do not fit are found below
            return edited(text, edits[0], source, *edits[1:]), list(range(len(edits))), {}
    written, refused = [], {}
    for n, edit in enumerate(edits):
        try:
            text = edited(text, edit, source)
            written.append(n)
        except ValueError as error:
            refused[n] = str(error)
    return text, written, refused


def rewritten(text: str, edits: Sequence[Edit], source: str) -> tuple[str, list[int], dict[int, str]]:
    """As `applied`, for a layout that has no place for the edits: the same show, without its comments."""
    data = unshared(parse(text, source)[0])
    written, refused = [], {}
    for n, edit in enumerate(edits):
        try:
            trial = unshared(data)
            apply(trial, edit)
            Show.parse(dumped(trial), source)
        except ValueError as error:
            refused[n] = str(error)
        else:
            data = trial
            written.append(n)
    return dumped(data), written, refused


def _text(path: Path) -> str:
    """The text with its mark of UTF-8, which some editors write in front."""
    if not path.exists():
        raise FileNotFoundError(errno.ENOENT, "gone")
    with path.open("rb") as file:
        marked = file.read(3) == codecs.BOM_UTF8
    return ("\ufeff" if marked else "") + read(path)


def _stamp(path: Path) -> tuple[int, int, int] | None:
    with contextlib.suppress(OSError):
        found = path.stat()
        return found.st_mtime_ns, found.st_size, found.st_ino
    return None
