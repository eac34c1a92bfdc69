"""Pictures, sounds and clips that a show puts on its pads, read once as the show opens."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

SECONDS = 1.0  # of a sound: a prompt is a loop of one second
CLIP = 5.0  # seconds of a clip: more than any world remembers
ROWS = 480  # a taller clip is made smaller: no world here draws more


@dataclass(frozen=True)
class Media:
    """What a pad shows besides its words: paths of files, or None."""

    image: str | None = None
    sound: str | None = None
    video: str | None = None

    @property
    def paths(self) -> tuple[str, ...]:
        return tuple(filter(None, (self.image, self.sound, self.video)))

    def prompt(self, fps: float = 24.0) -> dict[str, Any]:
        """The fields of a `worldjockey.model.Prompt`. fps: the world's own rate. Raises ValueError that names the file
        and what is wrong.

        A world that knows pictures but no clips finds the clip's first picture.
        """
        fields: dict[str, Any] = {}
        if self.video:
            fields["video"] = read_video(Path(self.video), fps)
            fields["image"] = fields["video"][0]
        if self.image:
            fields["image"] = read_image(Path(self.image))
        if self.sound:
            fields["sound"], fields["rate"] = read_sound(Path(self.sound))
        return fields


def shown(text: str, *files: str | None) -> str:
    """What stands for files and words where a prompt is read: "at night [look.jpg]"; `words` takes it apart."""
    names = ", ".join(file.replace("[", "(") for file in files if file)
    return f"{text} [{names}]".strip() if names else text


def words(text: str) -> str:
    return text[: text.rindex("[")].rstrip()


def read_image(path: Path) -> NDArray[np.uint8]:
    """(h, w, 3) RGB: a picture, or the first frame of a video."""
    import av

    try:
        with av.open(str(path)) as container:
            frame = next(container.decode(video=0))
            return np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)
    except FileNotFoundError:
        raise ValueError(f"{path}: there is no such picture") from None
    except (av.FFmpegError, IndexError, StopIteration) as error:
        raise ValueError(f"{path}: not a picture that can be read ({error})") from None


def read_video(path: Path, fps: float) -> NDArray[np.uint8]:
    """(n, h, w, 3) RGB: the first seconds of a clip, `fps` pictures of each, whatever rate it has."""
    import av

    wanted, pictures = round(CLIP * fps), list[NDArray[np.uint8]]()
    try:
        with av.open(str(path)) as container:
            begin: float | None = None
            for frame in container.decode(video=0):
                time = float(frame.time or 0.0)
                begin = time if begin is None else begin
                due = min(int((time - begin) * fps + 1e-3) + 1, wanted)
                pictures += pictures[-1:] * (due - len(pictures) - 1)  # a slower clip holds its pictures
                if len(pictures) < due:
                    height = min(frame.height, ROWS)
                    small = frame.reformat(width=round(frame.width * height / frame.height), height=height)
                    pictures.append(np.asarray(small.to_ndarray(format="rgb24"), np.uint8))
                if len(pictures) >= wanted:
                    break
    except FileNotFoundError:
        raise ValueError(f"{path}: there is no such clip") from None
    except (av.FFmpegError, IndexError) as error:
        raise ValueError(f"{path}: not a clip that can be read ({error})") from None
    if not pictures:
        raise ValueError(f"{path}: has no pictures in it")
    return np.stack(pictures)


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
    except (av.FFmpegError, IndexError) as error:
        raise ValueError(f"{path}: not a sound that can be read ({error})") from None
    if not parts:
        raise ValueError(f"{path}: has no sound in it")
    return np.concatenate(parts)[:wanted], rate
