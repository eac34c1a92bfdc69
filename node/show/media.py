"""Images, sounds and clips that a show puts on its pads, read once as the show opens."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

SOUND_S = 1.0  # an audio prompt is a loop of one second
CLIP_S = 5.0  # more than any world remembers
MAX_ROWS = 480  # more than any world draws; a taller clip is scaled down


@dataclass(frozen=True)
class Media:
    """The files of a pad besides its text: paths, or None."""

    image: str | None = None
    sound: str | None = None
    video: str | None = None

    @property
    def paths(self) -> tuple[str, ...]:
        return tuple(filter(None, (self.image, self.sound, self.video)))

    def prompt(self, fps: float = 24.0) -> dict[str, Any]:
        """The fields of a `worldjockey.model.Prompt`. fps: the world's own rate.

        A clip's first frame is also its image, for worlds that take images but no clips. ValueError, with the file's
        name, for one that cannot be read.
        """
        fields: dict[str, Any] = {}
        if self.video:
            fields["video"] = read_video(Path(self.video), fps)
            fields["image"] = fields["video"][0]
        if self.image:
            fields["image"] = read_image(Path(self.image))
        if self.sound:
            fields["sound"], fields["rate"] = read_audio(Path(self.sound))
        return fields


def prompt_text(text: str, *files: str | None) -> str:
    """The text that stands for a prompt with files, as in "at night [look.jpg]"; `text_alone` is its inverse."""
    names = ", ".join(file.replace("[", "(") for file in files if file)
    return f"{text} [{names}]".strip() if names else text


def text_alone(text: str) -> str:
    """The text of a `prompt_text` that has files, without their names."""
    return text[: text.rindex("[")].rstrip()


def read_image(path: Path) -> NDArray[np.uint8]:
    """(h, w, 3) RGB: an image, or the first frame of a video. ValueError, with the path, if it cannot be read."""
    import av

    try:
        with av.open(str(path)) as container:
            frame = next(container.decode(video=0))
            return np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)
    except FileNotFoundError:
        raise ValueError(f"{path}: there is no such image file") from None
    except (av.FFmpegError, IndexError, StopIteration) as error:
        raise ValueError(f"{path}: this is not an image that can be read ({error})") from None


def read_video(path: Path, fps: float) -> NDArray[np.uint8]:
    """(n, h, w, 3) RGB: the first `CLIP_S` seconds of a clip at `fps` frames a second, whatever its own rate.

    ValueError, with the path, for a file that cannot be read.
    """
    import av

    wanted, frames = round(CLIP_S * fps), list[NDArray[np.uint8]]()
    try:
        with av.open(str(path)) as container:
            begin: float | None = None
            for frame in container.decode(video=0):
                time = float(frame.time or 0.0)
                begin = time if begin is None else begin
                due = min(int((time - begin) * fps + 1e-3) + 1, wanted)
                frames += frames[-1:] * (due - len(frames) - 1)  # a slower clip holds its frames
                if len(frames) < due:
                    height = min(frame.height, MAX_ROWS)
                    small = frame.reformat(width=round(frame.width * height / frame.height), height=height)
                    frames.append(np.asarray(small.to_ndarray(format="rgb24"), np.uint8))
                if len(frames) >= wanted:
                    break
    except FileNotFoundError:
        raise ValueError(f"{path}: there is no such video file") from None
    except (av.FFmpegError, IndexError) as error:
        raise ValueError(f"{path}: this is not a video that can be read ({error})") from None
    if not frames:
        raise ValueError(f"{path}: this video has no frames")
    return np.stack(frames)


def read_audio(path: Path) -> tuple[NDArray[np.float32], int]:
    """(n,) mono -1..1 and samples a second: the first `SOUND_S` seconds of an audio file, or of a video's audio.

    ValueError, with the path, for a file that cannot be read.
    """
    import av

    rate = 48000
    wanted, parts = int(SOUND_S * rate), list[NDArray[np.float32]]()
    try:
        with av.open(str(path)) as container:
            to_mono = av.AudioResampler(format="flt", layout="mono", rate=rate)
            for frame in container.decode(audio=0):
                parts += [out.to_ndarray()[0].astype(np.float32) for out in to_mono.resample(frame)]
                if sum(map(len, parts)) >= wanted:
                    break
    except FileNotFoundError:
        raise ValueError(f"{path}: there is no such audio file") from None
    except (av.FFmpegError, IndexError) as error:
        raise ValueError(f"{path}: this is not audio that can be read ({error})") from None
    if not parts:
        raise ValueError(f"{path}: this file has no audio")
    return np.concatenate(parts)[:wanted], rate
