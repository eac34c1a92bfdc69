"""The process that draws what lies over the picture, so that neither control nor the clock ever waits for it."""

from __future__ import annotations

import json
import logging
import time
from typing import Any

from worldjockey.integrations import VideoFormat

from ..ipc.cell import Cell
from ..ipc.overlay import OverlayLine, packed_patches
from ..ipc.process import init_child, lower_priority, parent_died, publish_status
from ..ipc.status import error_text

logger = logging.getLogger(__name__)
LOOK_INTERVAL_S = 0.04  # how often it looks for something new to draw
STATUS_INTERVAL_S = 0.5
PATIENCE_S = {"first opening": 60.0, "opening": 30.0, "running": 10.0}


def run(fmt: VideoFormat, line: OverlayLine, status: Cell, stop: Any) -> None:
    """The process's main. What cannot be drawn is not shown, and the status has the reason."""
    init_child()
    publish_status(status, {"state": "opening"})
    lower_priority(opening=True)
    version, published_at, message, drawing = 0, 0.0, "", None
    while not stop.wait(LOOK_INTERVAL_S):
        if line.wanted.version != version:
            version, data = line.wanted.read()
            try:
                if drawing is None:
                    from .overlay_drawing import Drawing  # brings OpenCV

                    drawing = Drawing(fmt.width, fmt.height)
                line.patches.write(packed_patches(drawing.patches(json.loads(data))))
                message = ""
            except Exception as error:
                logger.exception("nothing can be drawn over the picture")
                line.patches.write(b"")
                message = f"nothing lies over the picture: {error_text(error)}"
            published_at = 0.0
        now = time.monotonic()
        if now - published_at > STATUS_INTERVAL_S:
            published_at = now
            publish_status(status, {"state": "running", "message": message})
            if parent_died():
                break
    publish_status(status, {"state": "closed"})
