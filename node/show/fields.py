"""The base of all parts of a show file, and the checks of their values."""

from __future__ import annotations

import re
import reprlib
import unicodedata
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any, TypeVar, get_args
from urllib.parse import unquote, urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, model_validator
from pydantic_core import PydanticCustomError

from ..parameters import (
    PARAMETERS,
    PREVIEW,
    SWITCH_WORDS,
    TEXT_BYTES,
    Parameter,
    bare,
    find,
    is_number,
    nearest,
    to_number,
    to_switch,
)

T = TypeVar("T")
WORLD_PORT = 9014  # default TCP port of a world on another machine
SHORT = reprlib.Repr()  # shortens a value for a message
SHORT.maxstring = SHORT.maxother = 60


class ShowModel(BaseModel):
    """A part of a show. A line without a value, as where all lines below it are comments, counts as a missing one; a
    number is also a text."""

    model_config = ConfigDict(
        extra="forbid", validate_assignment=True, str_strip_whitespace=True, coerce_numbers_to_str=True
    )

    @model_validator(mode="before")
    @classmethod
    def _without_empty_lines(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        return {name: value for name, value in data.items() if value is not None or not cls._is_optional(name)}

    @classmethod
    def _is_optional(cls, name: str) -> bool:
        """Whether a line may be missing, and nothing is no value of its own."""
        field = cls.model_fields.get(name)
        return field is not None and not field.is_required() and type(None) not in get_args(field.annotation)


def switched(value: Any) -> Any:
    """`midi: off` -> the fields of that part."""
    switch = SWITCH_WORDS.get(str(value).lower()) if isinstance(value, bool | str) else None
    return value if switch is None else {"enabled": bool(switch)}


def none_if_off(value: Any) -> Any:
    """`query: off` -> None."""
    return None if isinstance(value, bool | str) and SWITCH_WORDS.get(str(value).lower()) == 0 else value


def parse_size(value: Any) -> tuple[int, int]:
    """ "1920x1080" or [1920, 1080] -> (1920, 1080), in pixels. ValueError, with an example, for anything else."""
    if isinstance(value, str):
        match = re.fullmatch(r"\s*(\d+)\s*[xX×]\s*(\d+)\s*", value)
        value = match.groups() if match else ()
    try:
        width, height = (int(v) for v in value)
    except (TypeError, ValueError):
        raise ValueError("a size is WIDTHxHEIGHT in pixels, as in 1920x1080") from None
    if not (64 <= width <= 8192 and 64 <= height <= 8192):
        raise ValueError(f"{width}x{height} is out of range: choose a size from 64x64 to 8192x8192")
    if width % 2 or height % 2:
        even = f"{width + width % 2}x{height + height % 2}"
        raise ValueError(f"{width}x{height} is odd, but video needs even numbers: use {even}")
    return width, height


def parse_fps(value: Any) -> Fraction:
    """30, 29.97 or "30000/1001" -> frames a second as a fraction. Decimals near an NTSC rate become that rate.

    ValueError, with the range, for anything else.
    """
    try:
        rate = Fraction(value if isinstance(value, Fraction | int) else str(value).strip())
    except (ValueError, ZeroDivisionError):
        raise ValueError("a frame rate is a number or a fraction, as in 30, 29.97 or 30000/1001") from None
    for whole in (24, 30, 48, 60, 120):
        if abs(rate - Fraction(whole * 1000, 1001)) < Fraction(6, 1000):
            rate = Fraction(whole * 1000, 1001)
    if not 1 <= rate <= 240:
        raise ValueError(f"{value} frames a second is out of range: choose a rate from 1 to 240")
    return rate.limit_denominator(10_000)


def parse_world_address(text: str, scheme: str = "tcp://") -> str:
    """ "tcp://host", "tcp://host:port" -> "tcp://host:port". ValueError, with an example, for anything else.

    scheme: assumed where the text has none.
    """
    right = f"use tcp://HOST or tcp://HOST:PORT, as in tcp://192.168.1.20:{WORLD_PORT}"
    wrong = f"{text!r} is not the address of a world: {right}"
    try:
        parts = urlsplit(text if "://" in text else scheme + text)
        host, port = parts.hostname, WORLD_PORT if parts.port is None else parts.port
    except ValueError:
        raise ValueError(wrong) from None
    if parts.scheme != "tcp" or not host or parts.path.strip("/") or parts.query or parts.username:
        raise ValueError(wrong)
    return f"tcp://[{host}]:{port}" if ":" in host else f"tcp://{host}:{port}"


LINES, WHOLE, NUMBER = "this has lines of its own, as in {{name: value}}", "this is a whole number", "this is a number"
PLAIN = {  # pydantic's kinds of errors, in the words of a show file
    "list_type": "this is a list: write `- ` before each line of it, or [a, b]",
    "dict_type": LINES, "model_type": LINES, "string_type": "this is a text", "bool_type": "this is true or false",
    "bool_parsing": "this is true or false", "int_type": WHOLE, "int_parsing": WHOLE, "int_from_float": WHOLE,
    "float_type": NUMBER, "float_parsing": NUMBER, "missing": "this line is missing",
    "greater_than_equal": "this is {ge:g} or more", "less_than_equal": "this is {le:g} or less",
    "greater_than": "this is more than {gt:g}", "less_than": "this is less than {lt:g}",
    "literal_error": "this is {expected}", "string_too_short": "this is a text that is not empty",
    "string_too_long": "this is a text of {max_length} characters at most",
    "invalid_key": "a line begins with a name",
    "too_long": "there are at most {max_length}, and here are {actual_length}",
    "too_short": "there are at least {min_length}, and here are {actual_length}",
}  # fmt: skip


def plainly(detail: Mapping[str, Any]) -> str:
    """An error of pydantic's in plain words, with the value that was found. detail: an entry of its `errors()`."""
    kind, context = detail["type"], detail.get("ctx", {})
    if kind == "value_error":
        return str(context["error"])
    if kind == "unexpected_keyword_argument":
        return f"there is no {detail['loc'][-1]} here: check its spelling"
    if kind in ("too_long", "too_short"):
        found = context.get("actual_length")  # pydantic does not count what it no longer reads
        return PLAIN[kind].format(**{**context, "actual_length": len(detail["input"]) if found is None else found})
    words = PLAIN[kind].format(**context) if kind in PLAIN else f"{detail['msg'][0].lower()}{detail['msg'][1:]}"
    if detail["input"] is None:
        return f"{words}, and here is nothing"
    if isinstance(detail["input"], str) and "," in detail["input"] and is_number(detail["input"]):
        return f"{words}: write it with a point, as in {to_number(detail['input']):g}"
    return f"{words}, not {SHORT.repr(detail['input'])}"


def path_from(folder: Path, path: str | Path) -> Path:
    """A path of a show file: it starts at the file's folder, and ~ is the home folder."""
    return folder / Path(path).expanduser()


def file_from(folder: Path, path: str | Path) -> Path:
    """The path of a file that a show reads, as `path_from`.

    One that does not exist may be spelt for another system or another place: with backslashes, in another case, with
    accents as Macs or others have them, in quotes, as a terminal takes it, or as a file:// address.
    """
    found, text = path_from(folder, path), bare(str(path))
    if _exists(found):
        return found
    address = unquote(urlsplit(text).path) if text.startswith("file://") else text
    spellings = (address, text.replace("\\", "/"), re.sub(r"\\(.)", r"\1", text))
    return next(filter(None, (_on_disk(path_from(folder, spelt)) for spelt in spellings)), found)


def _on_disk(path: Path) -> Path | None:
    """The file of that name, in the case and with the form of accents that the disk has; None if there is none."""
    found = Path(path.anchor)
    for part in path.parts[1 if path.anchor else 0 :]:
        name: str | None = part
        if not _exists(found / part):
            try:
                names = sorted(other.name for other in found.iterdir())
            except OSError:
                return None
            name = next((other for other in names if _any_spelling(other) == _any_spelling(part)), None)
        if name is None:
            return None
        found /= name
    return found


def _any_spelling(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # a name that is too long, or has a zero in it
        return False


def spelt(pattern: str, right: str) -> AfterValidator:
    """A text that matches the pattern as a whole. right: what it has to be, for the error."""

    def check(text: str) -> str:
        if not re.fullmatch(pattern, text):
            raise ValueError(f"{SHORT.repr(text)} cannot be used here: write {right}")
        return text

    return AfterValidator(check)


WORD = spelt("[a-z0-9-]+", "a name of a-z, 0-9 and -, as in storm")


def check_path(path: str | None) -> str | None:
    """ValueError, with the fix, for a path with control characters: "C:\\temp" has a tab in it."""
    if re.search(r"[\x00-\x1f]", path or ""):
        raise ValueError("in double quotes a backslash begins a code: use single quotes, or / in a path")
    return path


def known_parameter(name: str) -> Parameter:
    """ValueError, with the nearest name, for one that no parameter has."""
    p = find(name)
    if p is None:
        raise ValueError(f"there is no parameter {name[:80]!r}{nearest(name)}; `wj reference` lists them all")
    return p


def check_value(name: str, value: Any) -> Any:
    """The value in the parameter's own type.

    ValueError for an unknown parameter, and for a value out of its range: controls are clamped, but a file can be
    corrected.
    """
    p = known_parameter(name)
    if p.name.startswith(PREVIEW) and p.name not in PARAMETERS:
        raise ValueError(
            f"{name} is the preview's: a show file sets the program, so write {name.removeprefix(PREVIEW)}"
        )
    if p.kind == "trigger":
        raise ValueError(f"{name} is a trigger, which has no value: remove it, or fire it from a control")
    if p.kind == "text":
        if not isinstance(value, str):
            raise ValueError(f"{name} is a text, not {SHORT.repr(value)}")
        if len(value.encode()) > TEXT_BYTES:
            raise ValueError(f"{name} is longer than {TEXT_BYTES} bytes: shorten it")
        return p.coerce(value)
    if not isinstance(value, bool | int | float | str):
        raise ValueError(f"{name} takes one value, not {SHORT.repr(value)}")
    coerced = p.coerce(value)
    if p.kind in ("float", "int") and abs(float(coerced) - to_switch(value)) > (0.5 if p.kind == "int" else 0):
        bounds = f"{p.low} to {p.high}" if p.kind == "int" else f"{p.low:g} to {p.high:g}"
        raise ValueError(f"{name} is {value}, out of its range {bounds}")
    return coerced


def check_values(values: dict[str, Any], own_line: tuple[str, ...] = ("prompt",)) -> dict[str, Any]:
    """`check_value` for each. own_line: parameters that have a line of their own instead."""
    checked, errors = {}, []
    for name, value in values.items():
        try:
            if name in own_line:
                raise ValueError(f"{name} has a line of its own outside `values`: write `{name}: ...`")
            if value is None and name.isdigit():
                raise ValueError("write numbers with a point, as in 0.8")
            value = check_value(name, value)
            p = find(name)
            checked[p.name if p else name] = value  # a word is written in any case
        except ValueError as error:
            errors.append(((name,), str(error)))
    return or_refuse(checked, errors)


def or_refuse(checked: T, errors: list[tuple[tuple[Any, ...], str]]) -> T:
    """`checked`, or one error that carries all errors. errors: (place below the field, message) of each."""
    if errors:
        raise PydanticCustomError("errors", "{message}", {"message": errors[0][1], "errors": errors})
    return checked
