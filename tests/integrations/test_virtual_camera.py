"""Virtual camera out: through the vendor's own front, into a device that the test registers with it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from worldjockey.integrations import Frame, VideoFormat
from worldjockey.integrations.virtual_camera import VirtualCameraOutput
from worldjockey.node.show.schema import Show

pyvirtualcam = pytest.importorskip("pyvirtualcam", reason="pip install pyvirtualcam")


class Device:
    """What pyvirtualcam asks of a backend."""

    made: Device | None = None

    def __init__(self, *, width: int, height: int, fps: float, fourcc: int, device: str | None, **_: Any) -> None:
        self.size, self.fps, self.fourcc, self.wanted = (width, height), fps, fourcc, device
        self.pictures: list[np.ndarray] = []
        self.open = True
        Device.made = self

    def device(self) -> str:
        return "/dev/video9"

    def native_fourcc(self) -> int:
        return self.fourcc

    def send(self, image: np.ndarray) -> None:
        self.pictures.append(image.copy())

    def close(self) -> None:
        self.open = False


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> type[Device]:
    from pyvirtualcam import camera

    monkeypatch.setattr(camera, "BACKENDS", {})
    pyvirtualcam.register_backend("test", Device)
    return Device


def test_the_camera_gets_the_frame_as_it_is(device: type[Device]) -> None:
    output = VirtualCameraOutput("/dev/video9")
    output.open(VideoFormat(64, 36, 30000, 1001))
    image = np.random.default_rng(0).integers(0, 256, (54, 64), np.uint8)
    output.send(Frame(image, 0, 0.0))
    made = device.made
    assert made is not None
    assert (made.size, made.wanted) == ((64, 36), "/dev/video9")
    assert made.fps == pytest.approx(29.97, abs=0.01)
    assert made.fourcc.to_bytes(4, "little") == b"I420"
    np.testing.assert_array_equal(made.pictures[0], image.reshape(-1))
    assert output.status() == {"device": "/dev/video9", "frames": 1}
    output.close()
    assert not made.open


def test_a_missing_device_is_an_error_with_its_fix(monkeypatch: pytest.MonkeyPatch) -> None:
    from pyvirtualcam import camera

    monkeypatch.setattr(camera, "BACKENDS", {})
    with pytest.raises(OSError, match="modprobe v4l2loopback"):
        VirtualCameraOutput().open(VideoFormat(64, 36, 30))


def test_a_show_names_it() -> None:
    outputs = Show.parse("outputs: [virtualcam, 'virtualcam:/dev/video2']").outputs
    assert [(o.kind, o.options.get("name")) for o in outputs] == [("virtualcam", None), ("virtualcam", "/dev/video2")]
