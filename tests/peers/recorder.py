"""Outputs for the tests: one that writes down what it is sent, one that hangs, one that cannot open."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from worldjockey.integrations import Frame, Layout, Output, Unsuitable, VideoFormat


class Recorder(Output):
    """One line of JSON a frame: its tick, and the colour at the top of the picture's middle."""

    layout: Layout = "rgba"
    holds = 0

    def __init__(self, path: str, layout: Layout = "rgba") -> None:
        self.path, self.layout = Path(path), layout

    def open(self, fmt: VideoFormat) -> None:
        self.file = self.path.open("a", buffering=1)
        self.frames = 0

    def send(self, frame: Frame) -> None:
        self.frames += 1
        colour = [int(v) for v in np.atleast_1d(frame.pixels[8, frame.pixels.shape[1] // 2])]
        self.file.write(json.dumps([frame.tick, colour]) + "\n")

    def status(self) -> Mapping[str, Any]:
        return {"frames": self.frames}

    def close(self) -> None:
        self.file.close()


class Stuck(Recorder):
    """Takes ten frames, then none, for ever."""

    def send(self, frame: Frame) -> None:
        super().send(frame)
        if self.frames >= 10:
            threading.Event().wait()


class Unopened(Recorder):
    def open(self, fmt: VideoFormat) -> None:
        raise OSError("there is no such device: plug it in")


class Foreign(Recorder):
    def open(self, fmt: VideoFormat) -> None:
        raise Unsuitable("this is another system's: use that system")


class Closed(Recorder):
    """A window that its user closes after a while."""

    def status(self) -> Mapping[str, Any]:
        return {"closed": self.frames > 10}


class Mistaken(Recorder):
    """Has a mistake in it that shows at the eleventh frame."""

    def send(self, frame: Frame) -> None:
        super().send(frame)
        if self.frames > 10:
            raise KeyError("place")


class Newest(Recorder):
    """Keeps the newest frame in a file that numpy reads, in place of the lines."""

    def send(self, frame: Frame) -> None:
        self.frames += 1
        unfinished = self.path.with_suffix(".part")
        with unfinished.open("wb") as file:
            np.save(file, frame.pixels)
        unfinished.replace(self.path)
