"""A continuous story: scenes, their moods, and the ways that lead on."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, Field, field_validator, model_validator

from ..parameters import BALANCES, TEXT_BYTES
from ..timing.tempo import Quantise, Span
from .fields import WORD, ShowModel, check_values, or_refuse
from .keys import action
from .pads import Length, Name

DECK = 4  # pads that a scene takes: its prompt's, and one for each mood
MOODS_MAX = DECK - 1
Prompt = Annotated[str, Field(min_length=1, max_length=TEXT_BYTES)]
FIRST_PAD = 9  # of the two decks of pads that the story plays


class Way(ShowModel):
    """A way to another scene.

    to: its name. pull: how strongly each balance presses towards it, -1 to 1: with 1 it is the balance's upper half
    that presses, with -1 the lower half. takes: seconds of the strongest pull until the way is open. drift: the
    pressure that grows without anybody, so that a scene with several ways goes one of them in silence.
    """

    to: Name
    pull: dict[str, Annotated[float, Field(ge=-1, le=1)]] = Field(default={})
    takes: float = Field(default=20.0, gt=0, le=3600)
    drift: float = Field(default=0.0, ge=0, le=1)


class Deed(ShowModel):
    """Something that happens in a scene. after: seconds from its beginning. do: what a key can do, as in "act/cry",
    "crowd/poll way" or "word/storm 2"."""

    after: float = Field(ge=0, le=3600)
    do: str

    @field_validator("do")
    @classmethod
    def _do(cls, do: str) -> str:
        if action(do).target in ("story/go", "story/on"):
            raise ValueError("a deed cannot move the story: use a way")
        return do


def _seconds(value: Any) -> Any:
    return [value, value] if isinstance(value, int | float) and not isinstance(value, bool) else value


class StoryScene(ShowModel):
    """One scene. It begins slowly, while the one before fades.

    moods: by balance, what it becomes as that balance rises to its upper end. values: parameters that glide to these
    values with the transition. act: what the figure begins to do. seconds: how long it lasts at least and at most.
    deeds: what else happens. ways: where it leads; without any the story ends here. transition: in seconds, beats or
    bars.
    """

    name: Name
    prompt: Prompt
    moods: dict[str, Prompt] = Field(default={}, max_length=MOODS_MAX)
    values: dict[str, Any] = Field(default={})
    act: str | None = None
    seconds: Annotated[tuple[float, float], BeforeValidator(_seconds)] = (30.0, 90.0)
    deeds: list[Deed] = Field(default=[], max_length=50)
    ways: list[Way] = Field(default=[], max_length=8)
    transition: Length = Field(default=Span(6.0))

    @field_validator("values")
    @classmethod
    def _values(cls, values: dict[str, Any]) -> dict[str, Any]:
        return check_values(values, ("prompt", "bank"))

    @field_validator("act")
    @classmethod
    def _act(cls, act: str | None) -> str | None:
        if act is not None:
            action(f"act/{act}")
        return act

    @field_validator("seconds")
    @classmethod
    def _in_order(cls, seconds: tuple[float, float]) -> tuple[float, float]:
        if not 1 <= seconds[0] <= seconds[1] <= 7200:
            raise ValueError("seconds are the least and the most, as in [30, 90]")
        return seconds


class Story(ShowModel):
    """The story of a show; it is told while `story/on`.

    balances: their names, in the order of the parameters story/balance/1 and so on. One that is named like a fader of
    the crowd is that fader while the crowd is open. scenes: the first one begins. on: what a change of scene waits for.
    loop: whether the last scene leads back to the first one.
    """

    balances: list[Annotated[str, WORD]] = Field(default=[], max_length=BALANCES)
    scenes: list[StoryScene] = Field(min_length=1, max_length=200)
    on: Quantise = "bar"
    loop: bool = False

    @model_validator(mode="after")
    def _leads_somewhere(self) -> Story:
        errors: list[tuple[tuple[Any, ...], str]] = []
        names = [scene.name for scene in self.scenes]
        known = ", ".join(self.balances) or "none"
        for s, scene in enumerate(self.scenes):
            if names.count(scene.name) > 1:
                errors.append((("scenes", s), f"there are two scenes {scene.name!r}: rename one"))
            for mood in scene.moods.keys() - set(self.balances):
                errors.append((("scenes", s, "moods", mood), f"there is no balance {mood!r}: the story has {known}"))
            for w, way in enumerate(scene.ways):
                if way.to not in names:
                    text = f"there is no scene {way.to!r}: the story has {', '.join(names)}"
                    errors.append((("scenes", s, "ways", w), text))
                for balance in way.pull.keys() - set(self.balances):
                    text = f"there is no balance {balance!r}: the story has {known}"
                    errors.append((("scenes", s, "ways", w), text))
        if not errors:
            reached, todo = {names[0]}, [self.scenes[0]]
            while todo:
                for way in todo.pop().ways:
                    if way.to not in reached:
                        reached.add(way.to)
                        todo.append(self.scenes[names.index(way.to)])
            for name in names:
                if name not in reached:
                    errors.append((("scenes", names.index(name)), f"no way leads to the scene {name!r}: add one"))
        return or_refuse(self, errors)

    def scene(self, name: str) -> int:
        """The index of a scene. ValueError, with all names, for one that does not exist."""
        names = [scene.name.lower() for scene in self.scenes]
        if name.strip().lower() not in names:
            raise ValueError(f"there is no scene {name[:40]!r}: the story has {', '.join(names)}")
        return names.index(name.strip().lower())
