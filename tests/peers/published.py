"""Frames of a world as they are published, on a real device or on the pretended card."""

from typing import Any

import numpy as np
from worldjockey.model import Controls
from worldjockey.node.world.frame_publisher import FramePublisher


def frames(world: Any, controls: Controls) -> np.ndarray:
    """Those of one step, (n, h, w, 3 or 4)."""
    return np.stack([each.pixels for each in FramePublisher(ring=None).take(world.step(controls))])


def frame(world: Any, controls: Controls) -> np.ndarray:
    """That of a step which makes one."""
    (only,) = frames(world, controls)
    return only


def assert_a_snapshot_brings_the_very_frames_back(world: Any, controls: Controls) -> None:
    world.reset(2)
    frame(world, controls)
    state = world.snapshot()
    first = [frame(world, controls) for _ in range(2)]
    world.restore(state)
    np.testing.assert_array_equal(first, [frame(world, controls) for _ in range(2)])
