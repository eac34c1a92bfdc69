"""OBS beside the show: which of its scenes fire which cues, and the other way round."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator

from ..parameters import PREVIEW, TEXT_BYTES, number_text, preview_name
from .fields import ShowModel, check_path, check_values, file_from
from .pads import Cue
from .yaml_file import ShowError

Follow = Literal["obs", "cues", "both"]


class ObsScene(ShowModel):
    """What a scene of OBS does. In the file, the name of a cue is enough.

    cue: by name or number. prompt: a new prompt, which takes `seconds`. values: of parameters.
    """

    cue: str | None = Field(default=None, min_length=1)
    prompt: str | None = Field(default=None, max_length=TEXT_BYTES)
    seconds: float | None = Field(default=None, ge=0, le=3600)
    values: dict[str, Any] = Field(default={})

    @field_validator("cue", mode="before")
    @classmethod
    def _cue(cls, cue: Any) -> Any:
        return number_text(cue) if isinstance(cue, int | float) and not isinstance(cue, bool) else cue

    @field_validator("values")
    @classmethod
    def _values(cls, values: dict[str, Any]) -> dict[str, Any]:
        return check_values(values)

    @model_validator(mode="after")
    def _does_something(self) -> ObsScene:
        if self.cue is None and self.prompt is None and not self.values:
            raise ValueError("a scene takes a cue, a prompt or values, as in `Main: {cue: storm}`")
        if self.seconds is not None and self.prompt is None:
            raise ValueError("seconds are the prompt's: a cue has its own")
        return self

    def controls(self) -> Iterator[tuple[str, tuple[Any, ...]]]:
        """What the scene does to the program, as targets and arguments."""
        if self.cue is not None:
            yield "cue/go", (self.cue,)
        if self.prompt is not None:
            yield "prompt", (self.prompt, *([] if self.seconds is None else [self.seconds]))
        yield from ((name, (value,)) for name, value in self.values.items())

    def previewed(self) -> Iterator[tuple[str, tuple[Any, ...]]]:
        """What it does to the preview: at once, and without what the preview has not."""
        for target, args in self.controls():
            if named := preview_name("cue/jump" if target == "cue/go" else target):
                yield named, args[:1] + ((0.0,) if target == "prompt" else ())


def _scene(value: Any) -> Any:
    return {"cue": value} if isinstance(value, str | int | float) and not isinstance(value, bool) else value


class Obs(ShowModel):
    """OBS, over its WebSocket server.

    host, port: of that server. password, or password_file, a path from the show file's folder, or password_env, the
    name of a variable of the environment: what OBS shows under Tools > WebSocket Server Settings.
    scenes: what scenes do, by their names in OBS. follow: `obs` fires a scene's cue when OBS changes to it; `cues`
    changes OBS to a cue's scene when the cue is fired; `both` does both. when: at the start of OBS's transition, or at
    its end. prepare: studio mode's preview scene is prepared on the show's preview, and taken with OBS's transition.
    tally: what OBS has on air is this node's tally. sources: names of the sources in OBS that show this node, where
    they are not recognised.
    """

    enabled: bool = True
    host: str = Field(default="127.0.0.1", min_length=1)
    port: int = Field(default=4455, ge=1, le=65535)
    password: str | None = None
    password_file: str | None = Field(default=None, min_length=1)
    password_env: str | None = Field(default=None, min_length=1)
    scenes: dict[str, Annotated[ObsScene, BeforeValidator(_scene)]] = Field(default={})
    follow: Follow = "obs"
    when: Literal["start", "end"] = "start"
    prepare: bool = False
    tally: bool = True
    sources: list[str] = Field(default=[])

    @field_validator("host")
    @classmethod
    def _host(cls, host: str) -> str:
        name, _, port = host.rpartition(":")
        if port.isdigit() and ":" not in name:
            raise ValueError(f"the port has a line of its own: write `host: {name}` and `port: {port}`")
        return host

    @field_validator("password_file")
    @classmethod
    def _path(cls, path: str | None) -> str | None:
        return check_path(path)

    @field_validator("scenes", mode="before")
    @classmethod
    def _names(cls, scenes: Any) -> Any:
        """A scene may have a number for its name."""
        return {_text(name): what for name, what in scenes.items()} if isinstance(scenes, dict) else scenes

    @model_validator(mode="after")
    def _one_password(self) -> Obs:
        if sum(value is not None for value in (self.password, self.password_file, self.password_env)) > 1:
            raise ValueError("use one of password, password_file and password_env")
        return self

    def secret(self, folder: Path) -> str:
        """The password; empty for none. ShowError, with the fix, where its file or its variable does not exist."""
        if self.password_env is not None:
            if self.password_env not in os.environ:
                raise ShowError(f"obs: the environment has no variable {self.password_env}, which password_env names")
            return os.environ[self.password_env]
        if self.password_file is None:
            return self.password or ""
        path = file_from(folder, self.password_file)
        try:
            return path.read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is no text"
            raise ShowError(f"obs: password_file: {path}: {why}") from None

    def rules(self, cues: Sequence[Cue]) -> list[dict[str, Any]]:
        """The fields of the OBS input's `SceneRule`s. cues: of the show."""
        return [
            {"scene": name, "cue": self._name_of(what.cue, cues), "controls": tuple(what.controls()),
             "previewed": tuple(what.previewed())}
            for name, what in self.scenes.items()
        ]  # fmt: skip

    @staticmethod
    def _name_of(key: str | None, cues: Sequence[Cue]) -> str:
        """The name of a cue that may be given by its number."""
        names = {cue.name.lower(): cue.name for cue in cues}
        if key is None or key.lower() in names:
            return names.get(str(key).lower(), "")
        return cues[int(key) - 1].name if key.isdecimal() and 1 <= int(key) <= len(cues) else ""

    def wrong_cues(self, cues: Sequence[Cue]) -> Iterator[tuple[tuple[Any, ...], str]]:
        """The scenes whose cue does not exist: place below `obs`, and the error."""
        for name, what in self.scenes.items():
            if what.cue is not None and not self._name_of(what.cue, cues):
                there = ", ".join(cue.name for cue in cues) or "none: add `cues:`"
                yield ("scenes", name), f"there is no cue {what.cue!r}: the show has {there}"


def _text(name: Any) -> str:
    return number_text(name) if isinstance(name, int | float) and not isinstance(name, bool) else str(name)


assert preview_name("cue/jump").startswith(PREVIEW)
