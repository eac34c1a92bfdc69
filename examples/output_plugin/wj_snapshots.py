"""An output: it writes the newest frame to an image, again and again, for a web page or a stage display.

pip install ./examples/output_plugin
wj play --out snapshots:live.png
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from worldjockey.integrations import Frame, Output, VideoFormat


class SnapshotOutput(Output):
    """path: the image; it ends in .png or .jpg. every: seconds from one image to the next."""

    layout = "bgrx"  # what `send` gets: blue, green, red and a fourth byte, as OpenCV has them
    holds = 0  # how many earlier frames must stay untouched, for libraries that read them late
    short = "path"  # what may stand behind the kind: snapshots:live.png
    example = "snapshots:live.png"

    def __init__(self, path: Path, every: float = 1.0) -> None:
        if path.suffix not in (".png", ".jpg"):
            raise ValueError(f"{path}: the name has to end in .png or .jpg")
        self._path, self._every = path, every
        self._next, self._written = 0.0, 0

    def open(self, fmt: VideoFormat) -> None:
        """Raises OSError or RuntimeError with a message that names the fix; Unsuitable where waiting is no fix."""
        import cv2  # here, so that reading a show does not import it

        self._cv2 = cv2
        if not self._path.parent.is_dir():
            raise OSError(f"there is no folder {self._path.parent}: make it first")

    def send(self, frame: Frame) -> None:
        if frame.time < self._next:
            return
        self._next = frame.time + self._every
        whole = self._path.with_stem(f".{self._path.stem}")  # readers never see half an image
        self._cv2.imwrite(str(whole), frame.pixels[..., :3])
        whole.replace(self._path)
        self._written += 1

    def status(self) -> Mapping[str, Any]:
        return {"written": self._written}  # in the report of the run
