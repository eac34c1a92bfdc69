"""Sound files to listen to."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np


def wav(path: Path, rate: int, *channels: np.ndarray) -> Path:
    """Write one or two channels of samples, each (n,) -1..1, as 16 bits; the path again."""
    layout = "mono" if len(channels) == 1 else "stereo"
    with av.open(str(path), "w") as out:
        stream = out.add_stream("pcm_s16le", rate=rate, layout=layout)
        samples = (np.stack(channels, 1) * 32767).astype(np.int16).reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(samples, "s16", layout)
        frame.sample_rate = rate
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            out.mux(packet)
    return path
