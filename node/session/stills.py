"""The requests `stills/pads`, `stills/try` and `prompt/read`: what the world draws and reads beside what it plays.

Stills of pads stay in the user's cache folder, each by a hash of its prompt, its seed and the world's weights; those of
a row that was tried go with the show.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import secrets
import threading
import time
from pathlib import Path
from typing import Any

from worldjockey.model.registry import attributes_of, weights_digest

from ..control.desk import Desk
from ..parameters import PADS, TEXT_BYTES
from ..show.media import Media
from ..world.prompt_reading import ReadingLine
from .preview_bus import IDLE_S, REMOTE, PreviewBus
from .requests import Requests

STILLS_MAX = 2000  # in the folder; those that were made first are deleted
READ_TIMEOUT_S = 2.0
POLL_S = 0.002


class Stills:
    """All methods but `status` and `files` belong to the thread that answers requests.

    bus: draws them. reading: asks the program's world; None where it runs on another machine. folder: of the JPEG
    files. show_folder: where the paths of pads start.
    """

    def __init__(self, desk: Desk, bus: PreviewBus, reading: ReadingLine | None, folder: Path,
                 show_folder: Path = Path()) -> None:  # fmt: skip
        self._desk, self._bus, self._reading, self._folder = desk, bus, reading, folder
        self._show_folder = show_folder
        self._digest, self._wanted = "", dict[str, str]()  # of the bank that was asked for last: files by pad
        self._there: set[str] = set()
        self._number = 0
        self._lock = threading.Lock()

    def register(self, requests: Requests) -> None:
        requests.register("stills/pads", self.pads)
        requests.register("stills/try", self.try_attribute)
        requests.register("prompt/read", self.read)

    def pads(self, bank: Any = None, draw: bool = True) -> dict[str, Any]:
        """The stills of a bank, by number or name, that exist: {"stills": {"1": "/stills/<hash>.jpg"}}.

        draw: the others are drawn when the machine has time for them. Raises ValueError for a bank that does not exist.
        """
        desk = self._desk
        texts = self._texts(bank)
        if not self._digest:
            self._digest = weights_digest(desk.show.model)
        media, seed = desk.show.media(self._show_folder), int(desk.read("seed"))
        files = {
            str(pad): f"{still_name(text, seed, self._digest, media.get(text))}.jpg"
            for pad, text in enumerate(texts, 1)
            if text
        }
        there = {file for file in files.values() if (self._folder / file).is_file()}
        if draw:
            self._draw(files, there, texts, seed)
        return {"stills": {pad: url(file) for pad, file in files.items() if file in there}}

    def files(self) -> dict[int, Path]:
        """The stills of the present bank's pads that exist, by number. From any thread."""
        there: dict[str, str] = self.pads(draw=False)["stills"]
        return {int(pad): self._folder / Path(address).name for pad, address in there.items()}

    def _draw(self, files: dict[str, str], there: set[str], texts: tuple[str, ...], seed: int) -> None:
        """Have those that are not there drawn. files: by pad."""
        jobs = [{"file": file, "prompt": texts[int(pad) - 1], "seed": seed}
                for pad, file in files.items() if file not in there]  # fmt: skip
        with self._lock:
            self._wanted, self._there = files, there
        self._bus.orders.pads = jobs
        if jobs:
            self._prune()
            self._hold()

    def try_attribute(self, attribute: str) -> dict[str, Any]:
        """{"id"} of a row of stills: the program's present scene in every value of one attribute. Raises ValueError,
        with those that there are, for another, and where no second world can draw them."""
        known = tried(self._desk.show.model)
        if attribute not in known:
            raise ValueError(f"there is no {str(attribute)[:40]!r} to try: there is {', '.join(known) or 'nothing'}")
        if reason := self._bus.unable:
            raise ValueError(reason)
        for old in self._folder.glob("try-*.jpg"):
            with contextlib.suppress(OSError):
                old.unlink()
        row = f"try-{secrets.token_hex(8)}"
        self._bus.orders.tried = {"id": row, "attribute": attribute}
        self._hold()
        return {"id": row}

    def read(self, text: str) -> dict[str, Any]:
        """What the program's world reads of a text. Raises ValueError for no text, and OSError where no world answers
        in time."""
        if not isinstance(text, str):
            raise ValueError("text is a text")
        if self._reading is None:
            raise ValueError(f"{REMOTE}, so its reading cannot be shown")
        self._number += 1
        cut = text.encode("utf-8", "replace")[:TEXT_BYTES].decode("utf-8", "ignore")
        self._reading.question.write(json.dumps({"number": self._number, "text": cut}).encode())
        deadline = time.monotonic() + READ_TIMEOUT_S
        while time.monotonic() < deadline:
            answer = json.loads(self._reading.answer.read()[1] or b"{}")
            if answer.get("number") == self._number:
                if "error" in answer:
                    raise ValueError(answer["error"])
                result: dict[str, Any] = answer["result"]
                return result
            time.sleep(POLL_S)
        raise OSError("the world does not answer; it is opening, or busy with another prompt")

    def status(self) -> dict[str, Any]:
        """{"pads": {"1": url} of the bank that was asked for last, "waiting": stills to draw, "message", "try": the
        latest row or None}. Quick, and from any thread."""
        drawn, waiting, message = self._bus.drawn()
        with self._lock:
            self._there |= drawn
            pads = {pad: url(file) for pad, file in self._wanted.items() if file in self._there}
        return {"pads": pads, "waiting": waiting, "message": message, "try": self._row()}

    def _row(self) -> dict[str, Any] | None:
        asked = self._bus.orders.tried
        if asked is None:
            return None
        row = self._bus.results()
        if row.get("id") != asked["id"]:
            row = {"items": [], "done": False, "message": ""}
        drawn = {item["value"]: item for item in row["items"]}
        items = [
            {"value": value, "url": url(drawn[value]["file"]) if value in drawn else None,
             "controls": drawn[value]["controls"] if value in drawn else {}}
            for value in tried(self._desk.show.model)[asked["attribute"]]
        ]  # fmt: skip
        return {**asked, "items": items, "done": row["done"], "message": row["message"]}

    def _texts(self, bank: Any) -> tuple[str, ...]:
        banks = self._desk.store.banks
        return banks.texts[banks.now if bank is None else banks.index(bank)][:PADS]

    def _hold(self) -> None:
        """Keep the world that draws open for a while."""
        self._bus.orders.busy_until = time.monotonic() + IDLE_S

    def _prune(self) -> None:
        with contextlib.suppress(OSError):
            files = sorted(self._folder.glob("*.jpg"), key=lambda path: path.stat().st_mtime)
            for path in files[:-STILLS_MAX]:
                path.unlink(missing_ok=True)


def tried(model: str) -> dict[str, tuple[str, ...]]:
    """The attributes of a world that can be tried, and their values: what its prompts say, and its acts."""
    return {name: values for name, values in attributes_of(model).items() if name != "figure"}


def url(file: str) -> str:
    return f"/stills/{file}"


def still_name(prompt: str, seed: int, digest: str, media: Media | None = None) -> str:
    """The name of a pad's still. A picture or sound on the pad counts with its size and time."""
    stamps = []
    for path in media.paths if media else ():
        with contextlib.suppress(OSError):
            stat = Path(path).stat()
            stamps.append([str(path), stat.st_size, stat.st_mtime_ns])
    return hashlib.sha256(json.dumps([prompt, seed, digest, stamps]).encode()).hexdigest()[:32]
