"""Pictures and sounds that a show puts on its pads, read once as the show opens."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

SECONDS = 1.0  # of a sound: a prompt is a loop of one second


@dataclass(frozen=True)
class Media:
    """What a pad shows besides its words: paths of files, or None."""

    image: str | None = None
    sound: str | None = None

    def prompt(self) -> dict[str, Any]:
        """The fields of a `worldjockey.model.Prompt`. Raises ValueError that names the file and what is wrong."""
        fields: dict[str, Any] = {}
        if self.image:
            fields["image"] = read_image(Path(self.image))
        if self.sound:
            fields["sound"], fields["rate"] = read_sound(Path(self.sound))
        return fields


def read_image(path: Path) -> NDArray[np.uint8]:
    """(h, w, 3) RGB: a picture, or the first frame of a video."""
    import av

    try:
        with av.open(str(path)) as container:
            frame = next(container.decode(video=0))
            return np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)
    except FileNotFoundError:
        raise ValueError(f"{path}: there is no such picture") from None
    except (av.FFmpegError, IndexError, StopIteration) as fault:
        raise ValueError(f"{path}: not a picture that can be read ({fault})") from None


def read_sound(path: Path) -> tuple[NDArray[np.float32], int]:
    """(n,) mono -1..1 and its rate: the first second of a sound, or of a video's."""
    import av

    rate = 48000
    wanted, parts = int(SECONDS * rate), list[NDArray[np.float32]]()
    try:
        with av.open(str(path)) as container:
            to_mono = av.AudioResampler(format="flt", layout="mono", rate=rate)
            for frame in container.decode(audio=0):
                parts += [out.to_ndarray()[0].astype(np.float32) for out in to_mono.resample(frame)]
                if sum(map(len, parts)) >= wanted:
                    break
    except FileNotFoundError:
        raise ValueError(f"{path}: there is no such sound") from None
    except (av.FFmpegError, IndexError) as fault:
        raise ValueError(f"{path}: not a sound that can be read ({fault})") from None
    if not parts:
        raise ValueError(f"{path}: has no sound in it")
    return np.concatenate(parts)[:wanted], rate
