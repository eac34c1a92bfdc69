"""Direct prediction in 1 to 4 steps.

The network always predicts the clean frame. One step takes it at once from pure noise; every further step walks the
straight path between the prediction and the noise a little closer to the frame and predicts again, so that 1 step is
already a frame and 4 are finer.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor


def levels(steps: int) -> list[float]:
    """Noise levels at which the network is asked, from 1 down."""
    steps = min(max(steps, 1), 4)
    return [1 - i / steps for i in range(steps)]


def noised(clean: Tensor, noise: Tensor, level: Tensor | float) -> Tensor:
    """The straight path (Liu et al. 2022, rectified flow): level 0 is the frame, 1 is noise."""
    return clean + (noise - clean) * level


def sample(predict: Callable[[Tensor, float], Tensor], noise: Tensor, steps: int) -> Tensor:
    """predict(noisy, level) -> clean. Returns the last prediction, shaped like `noise`."""
    clean, at = noise, levels(steps)
    for i, level in enumerate(at):
        clean = predict(noise if i == 0 else noised(clean, noise, level), level)
    return clean
