"""Images, sounds and clips that a show puts on its pads, read once as the show opens."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..ipc.process import SPAWN

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
        from worldjockey.integrations import media_files  # brings PyAV, which control does without

        fields: dict[str, Any] = {}
        if self.video:
            fields["video"] = media_files.read_video(Path(self.video), fps, CLIP_S, MAX_ROWS)
            fields["image"] = fields["video"][0]
        if self.image:
            fields["image"] = media_files.read_image(Path(self.image))
        if self.sound:
            fields["sound"], fields["rate"] = media_files.read_audio(Path(self.sound), SOUND_S)
        return fields


def check(files: Iterable[Media]) -> None:
    """Read every file once, in a process of its own. ValueError with a line for each that cannot be read."""
    files = list(files)
    if files:
        with ProcessPoolExecutor(1, mp_context=SPAWN) as pool:
            if errors := [error for error in pool.map(_error, files) if error]:
                raise ValueError("\n".join(errors))


def _error(media: Media) -> str:
    try:
        media.prompt()
    except ValueError as error:
        return str(error)
    return ""


def prompt_text(text: str, *files: str | None) -> str:
    """The text that stands for a prompt with files, as in "at night [look.jpg]"; `text_alone` is its inverse."""
    names = ", ".join(file.replace("[", "(") for file in files if file)
    return f"{text} [{names}]".strip() if names else text


def text_alone(text: str) -> str:
    """The text of a `prompt_text` that has files, without their names."""
    return text[: text.rindex("[")].rstrip()
