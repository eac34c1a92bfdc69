"""An output that writes down when each picture was sent, to be held against a click track."""

from __future__ import annotations

import json
import time

from recorder import Recorder
from worldjockey.integrations import Frame


class Click(Recorder):
    """One line of JSON a frame: time.monotonic() as it was sent, and the colour at the top of the picture's middle."""

    def send(self, frame: Frame) -> None:
        self.frames += 1
        colour = [int(v) for v in frame.pixels[8, frame.pixels.shape[1] // 2]]
        self.file.write(json.dumps([time.monotonic(), colour]) + "\n")
