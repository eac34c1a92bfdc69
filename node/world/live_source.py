"""The process that looks at a camera, a clip or an NDI source. The newest picture lies in a ring; no queue grows."""

from __future__ import annotations

import importlib
import logging
import time
from dataclasses import dataclass, field
from typing import Any

from worldjockey.integrations import PictureSource, Unsuitable

from ..ipc.cell import Cell
from ..ipc.frame_ring import FrameInfo, FrameRing, Pixels
from ..ipc.process import UNSUITABLE, init_child, parent_died, publish_status
from ..ipc.status import error_text

logger = logging.getLogger(__name__)

SOURCE_CLASSES = {
    "ndi": "worldjockey.integrations.ndi.source:NDISource",
    "camera": "worldjockey.integrations.camera:VideoSource",
    "file": "worldjockey.integrations.camera:VideoSource",
}
PATIENCE = {"opening": 20.0, "running": 4.0, "waiting": 20.0}  # seconds that the process may be silent, by state
AGAIN = 1.0  # seconds before a source that is gone is tried again
HEARTBEAT = 0.5  # seconds after which a picture that does not move is shown again, as a sign of life
SIZE = (512, 288)  # until the world says its own


@dataclass(frozen=True)
class LiveSpec:
    """place: "module:class" of a `PictureSource`."""

    place: str
    options: dict[str, Any] = field(default_factory=dict)

    def make(self) -> PictureSource:
        module, _, name = self.place.partition(":")
        made: PictureSource = getattr(importlib.import_module(module), name)(**self.options)
        return made


@dataclass(frozen=True)
class LiveFeed:
    """What this process and the world share: pictures one way, the size that is wanted the other ("512 288")."""

    ring: FrameRing
    size: Cell

    def wanted(self) -> tuple[int, int]:
        said = self.size.read()[1].split()
        return (int(said[0]), int(said[1])) if said else SIZE


def run(spec: LiveSpec, feed: LiveFeed, status: Cell, stop: Any) -> None:
    """The process's main: opens the source, again and again while it is not there, and publishes what comes."""
    init_child()
    say: dict[str, Any] = {"state": "opening", "pictures": 0}
    source = spec.make()  # the same again and again: it knows what it was
    while not stop.is_set() and not parent_died():
        publish_status(status, {**say, "state": "opening"})
        try:
            source.open()
            _watch(source, feed, status, say, stop)
        except (Unsuitable, ImportError) as error:
            logger.exception("the live picture cannot work here")
            publish_status(status, {**say, "state": "error", "message": str(error)})
            raise SystemExit(UNSUITABLE) from None
        except Exception as error:  # whatever it is: it may be back in a second
            message = error_text(error)
            if message != say.get("message"):  # it is tried every second: the same error again is no news
                logger.exception("the live picture failed")
            say["message"] = message
            publish_status(status, {**say, "state": "waiting"})
            stop.wait(AGAIN)
        finally:
            source.close()
    publish_status(status, {**say, "state": "closed"})


def _watch(source: PictureSource, feed: LiveFeed, status: Cell, say: dict[str, Any], stop: Any) -> None:
    last: Pixels | None = None
    shown = said_at = 0.0
    while not stop.is_set():
        picture = source.read(feed.wanted())
        now = time.monotonic()
        if picture is not None:
            say["pictures"] += 1
            say["message"] = ""
        elif now - shown > HEARTBEAT:
            picture = last
        if picture is not None:
            feed.ring.write(picture, FrameInfo(now))
            last, shown = picture, now
        if now - said_at > 0.25:
            said_at = now
            publish_status(
                status, {**say, "state": "running" if last is not None else "opening", "facts": dict(source.status())}
            )
            if parent_died():
                return
