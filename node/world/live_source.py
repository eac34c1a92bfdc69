"""The process that reads a camera, a clip or an NDI source. The newest frame is in a ring; no queue grows."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field
from typing import Any

from worldjockey.integrations import FrameSource, Unsuitable

from ..ipc.cell import Cell
from ..ipc.class_path import load_class
from ..ipc.frame_ring import FrameInfo, FrameRing, Pixels
from ..ipc.process import UNSUITABLE, init_child, parent_died, publish_status
from ..ipc.status import error_text

logger = logging.getLogger(__name__)

SOURCE_CLASSES = {
    "ndi": "worldjockey.integrations.ndi.source:NDISource",
    "camera": "worldjockey.integrations.camera:VideoSource",
    "file": "worldjockey.integrations.camera:VideoSource",
}
PATIENCE_S = {"opening": 20.0, "running": 4.0, "waiting": 20.0}  # without a status, by state
RETRY_INTERVAL_S = 1.0
REPEAT_INTERVAL_S = 0.5  # a frame that does not change is published again, which shows that the source still works
DEFAULT_SIZE = (512, 288)  # until the world publishes its own


@dataclass(frozen=True)
class LiveSpec:
    """class_path: "module:class" of a `FrameSource`."""

    class_path: str
    options: dict[str, Any] = field(default_factory=dict)

    def make(self) -> FrameSource:
        made: FrameSource = load_class(self.class_path)(**self.options)
        return made


@dataclass(frozen=True)
class LiveFeed:
    """Shared with the world: frames from here, and the wanted size from the world ("512 288")."""

    ring: FrameRing
    size: Cell

    def wanted(self) -> tuple[int, int]:
        text = self.size.read()[1].split()
        return (int(text[0]), int(text[1])) if text else DEFAULT_SIZE


def run(spec: LiveSpec, feed: LiveFeed, status: Cell, stop: Any) -> None:
    """Main function of the process: opens the source, retrying while it is absent, and publishes its frames."""
    init_child()
    fields: dict[str, Any] = {"state": "opening", "pictures": 0}
    source = spec.make()  # one object for all attempts: it remembers which source it used
    while not stop.is_set() and not parent_died():
        publish_status(status, {**fields, "state": "opening"})
        try:
            source.open()
            _read_frames(source, feed, status, fields, stop)
        except (Unsuitable, ImportError) as error:
            logger.exception("the live source cannot work on this machine")
            publish_status(status, {**fields, "state": "error", "message": str(error)})
            raise SystemExit(UNSUITABLE) from None
        except Exception as error:  # any error: the source may work again in a second
            message = error_text(error)
            if message != fields.get("message"):  # log an error once, not at each attempt
                logger.exception("the live source failed")
            fields["message"] = message
            publish_status(status, {**fields, "state": "waiting"})
            stop.wait(RETRY_INTERVAL_S)
        finally:
            source.close()
    publish_status(status, {**fields, "state": "closed"})


def _read_frames(source: FrameSource, feed: LiveFeed, status: Cell, fields: dict[str, Any], stop: Any) -> None:
    last: Pixels | None = None
    shown = published_at = 0.0
    while not stop.is_set():
        frame = source.read(feed.wanted())
        now = time.monotonic()
        if frame is not None:
            fields["pictures"] += 1
            fields["message"] = ""
        elif now - shown > REPEAT_INTERVAL_S:
            frame = last
        if frame is not None:
            feed.ring.write(frame, FrameInfo(now))
            last, shown = frame, now
        if now - published_at > 0.25:
            published_at = now
            publish_status(
                status,
                {**fields, "state": "running" if last is not None else "opening", "facts": dict(source.status())},
            )
            if parent_died():
                return
