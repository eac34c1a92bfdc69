"""Whether a file is an image, a sound or a clip, by its content:

    python -m worldjockey.integrations.surface.media_check "an image" FILE     exits with 0, or with OTHER

It decodes the beginning, whatever the file's name is.
"""

from __future__ import annotations

import sys
from pathlib import Path

OTHER = 3
RATE_HZ = 48000


def is_kind(what: str, path: Path) -> bool:
    """what: "an image", "a sound" or "a clip". An image may be an animation, of which the first frame is shown."""
    import av

    from ..media import clip, samples, still

    try:
        if what == "a sound":
            with clip.opened(path) as container:
                return next(samples.samples(container, RATE_HZ, "mono"), None) is not None
        if what == "an image" and still.read_still(path) is not None:
            return True
        with clip.opened(path) as container:
            return next(clip.video_frames(container), None) is not None
    except (av.FFmpegError, OSError, ValueError, IndexError):
        return False


if __name__ == "__main__":
    sys.exit(0 if is_kind(sys.argv[1], Path(sys.argv[2])) else OTHER)
