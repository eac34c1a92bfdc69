"""A show's outputs, and the kinds of output that exist. The class of a kind describes its own options."""

from __future__ import annotations

import inspect
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, get_args, get_type_hints

from pydantic import BaseModel, ConfigDict, ValidationError, create_model
from worldjockey.integrations import Output

from ..ipc.class_path import load_class
from .fields import SHORT, or_refuse, path_from, plainly

logger = logging.getLogger(__name__)
Bus = Literal["program", "preview"]
GROUP = "worldjockey.outputs"  # the group of entry points in which other packages declare outputs
# The class of each kind, "module:name". Other packages add more by entry points.
BUILTIN_OUTPUTS = {
    "window": "worldjockey.integrations.window:WindowOutput",
    "ndi": "worldjockey.integrations.ndi.output:NDIOutput",
    "file": "worldjockey.integrations.recording:FileOutput",
    "syphon": "worldjockey.integrations.syphon:SyphonOutput",
    "spout": "worldjockey.integrations.spout:SpoutOutput",
    "web": "worldjockey.integrations.web.output:WebOutput",
    "stream": "worldjockey.integrations.stream.output:StreamOutput",
    "virtualcam": "worldjockey.integrations.virtual_camera:VirtualCameraOutput",
    "dmx": "worldjockey.integrations.dmx.output:DmxOutput",
    "whip": "worldjockey.integrations.web.whip:WhipOutput",
}


def output_classes() -> dict[str, str]:
    """The class of each kind, "module:name", without importing any. A package cannot replace a built-in kind."""
    from importlib.metadata import entry_points  # reads the folders of all packages, which takes 30 ms

    found = dict(BUILTIN_OUTPUTS)
    for point in sorted(entry_points(group=GROUP), key=lambda point: point.name):
        found.setdefault(point.name, f"{point.module}:{point.attr}")
    return found


def class_path(kind: str) -> str:
    """The class of one kind, "module:name". ValueError, with all kinds, for one that does not exist."""
    path = BUILTIN_OUTPUTS.get(kind) or output_classes().get(kind)
    if path is None:
        raise ValueError(f"there is no output {SHORT.repr(kind)}: use one of {', '.join(output_classes())}")
    return path


def output_class(kind: str) -> type[Output]:
    """The class of one kind. Its module is imported, but not the library that the output sends through."""
    path = class_path(kind)
    try:
        found: type[Output] = load_class(path)
    except Exception as error:  # another package's code
        logger.exception("output %s cannot be imported", kind)
        raise ValueError(f"the output {kind} cannot be imported from {path}: {error}; reinstall its package") from None
    return found


@dataclass(frozen=True)
class OutputEntry:
    """One output of a show: its kind, the options that the show sets, and the bus whose frames it sends.

    ValueError, with the right ones, for a kind or an option that does not exist.
    """

    kind: str
    options: Mapping[str, Any] = field(default_factory=dict)
    bus: Bus = "program"

    def __post_init__(self) -> None:
        object.__setattr__(self, "options", _checked(self.kind, self.options))

    def make(self) -> Output:
        """The output itself. Nothing is opened yet."""
        return output_class(self.kind)(**self.options)

    @property
    def carries_audio(self) -> bool:
        """Whether its kind has the option `sound`."""
        return "sound" in _options_model(self.kind).model_fields

    def from_folder(self, folder: Path) -> OutputEntry:
        """With its paths as they are in a show file of that folder."""
        paths = {name: path_from(folder, value) for name, value in self.options.items() if isinstance(value, Path)}
        return OutputEntry(self.kind, {**self.options, **paths}, self.bus)

    def with_options(self, **options: Any) -> OutputEntry:
        return OutputEntry(self.kind, {**self.options, **options}, self.bus)

    def dump(self) -> str | dict[str, Any]:
        """The entry as `parse_output` reads it: the short form where one option or none is set."""
        plain = {key: _plain(value) for key, value in self.options.items()}
        if self.bus != "program":
            return {"kind": self.kind, "bus": self.bus, **plain}
        if not self.options:
            return self.kind
        name = output_class(self.kind).short
        if self.options.keys() == {name} and str(self.options[name]).strip():
            return f"{self.kind}:{self.options[name]}"
        return {"kind": self.kind, **plain}


def parse_output(value: Any) -> OutputEntry:
    """A show's line for an output -> its kind and options. ValueError, with the right form, for anything else.

    value: "ndi", "ndi:NAME", {"ndi": {"name": NAME}} or {"kind": "ndi", "name": NAME}.
    """
    if isinstance(value, dict) and "kind" not in value and len(value) == 1:
        kind, options = next(iter(value.items()))
        value = {"kind": kind, **(options or {})} if isinstance(options, dict | None) else f"{kind}:{options}"
    if isinstance(value, str):
        kind, _, option = (part.strip() for part in value.partition(":"))
        return OutputEntry(kind, {output_class(kind).short: option} if option else {})
    if isinstance(value, dict) and isinstance(value.get("kind"), str):
        bus: Bus | None = next((bus for bus in get_args(Bus) if bus == value.get("bus", "program")), None)
        if bus is None:
            raise ValueError(f"bus is program or preview, not {SHORT.repr(value.get('bus'))}")
        options = {k: v for k, v in value.items() if k not in ("kind", "bus") and v is not None}
        return OutputEntry(value["kind"].strip(), options, bus)
    if isinstance(value, OutputEntry):
        return value
    raise ValueError(f"write an output as ndi, file:clip.mp4 or {{kind: ndi, name: x}}, not as {SHORT.repr(value)}")


def _checked(kind: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """The options in the types that the kind's constructor declares. ValueError for options that it refuses."""
    made = output_class(kind)
    model = _options_model(kind)
    values, errors = {}, []
    try:
        values = model.model_validate(dict(options)).model_dump(exclude_unset=True)
        made(**values)
    except ValidationError as error:
        example = f", as in {made.example}" if made.example else ""
        for detail in error.errors(include_url=False):
            name = str(detail["loc"][0])
            if detail["type"] == "extra_forbidden":
                options_here = ", ".join(sorted(model.model_fields)) or "none"
                message = f"{kind} has no option {name}: it has {options_here}"
            elif detail["type"] == "missing":
                message = f"a {kind} output needs a {name}{example}"
            else:
                message = plainly(detail)
                message += example if name == made.short else ""
            errors.append(((name,), message))
    return or_refuse(values, errors)


@lru_cache
def _options_model(kind: str) -> type[BaseModel]:
    """A model that checks the arguments of the kind's constructor."""
    made = output_class(kind)
    hints = get_type_hints(made.__init__)
    fields: dict[str, Any] = {
        name: (hints.get(name, Any), ... if parameter.default is parameter.empty else parameter.default)
        for name, parameter in inspect.signature(made).parameters.items()
    }
    return create_model(made.__name__, __config__=ConfigDict(extra="forbid", str_strip_whitespace=True), **fields)


def _plain(value: Any) -> Any:
    """The value for YAML: paths become text, and tuples lists."""
    if isinstance(value, Path):
        return str(value)
    return [_plain(item) for item in value] if isinstance(value, tuple | list) else value


def split_outputs(text: str) -> list[str]:
    """Outputs in their short forms, parted by commas; "none" is no output.

    A comma in quotes is part of a name, as in 'file:"Show, take 1.mp4"'. So is one before a setting of an address, as
    SRT's stream ids have them: srt://host:9710?streamid=#!::r=live,m=publish.
    """
    parts: list[str] = []
    for quoted, plain in re.findall(r"""((?:[^,"']*(?:"[^"]*"|'[^']*')[^,"']*)+)|([^,]+)""", text):
        part = re.sub(r"""["']""", "", quoted) if quoted else plain
        if part.strip() in ("", "none"):
            continue
        kind = part.partition(":")[0].strip()
        if parts and "://" in parts[-1] and "=" in part and kind not in output_classes():
            parts[-1] += f",{part}"
        else:
            parts.append(part.strip())
    return parts
