"""A show as a YAML file: read by a safe loader, with a line number for every error, and written whole or not at all."""

from __future__ import annotations

import codecs
import difflib
import os
import re
import tempfile
from collections.abc import Callable, Hashable, Iterator
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from ..parameters import bare
from .fields import plainly

MAX_FILE_BYTES = 1_000_000  # a larger file is not a show
DIGITS_MAX = 1000  # of a whole number
Owner = Callable[[tuple[Any, ...]], type[BaseModel]]  # a place in the file -> the model that a line there belongs to


YAML_HINTS = {  # in place of what the parser finds wrong, by a part of its words
    "\\t": "use spaces, not tabs",
    "mapping values are not allowed": "put a text with a colon in quotes; lines of one group begin in the same column",
    "end of stream": "a quote or a bracket is not closed",
    "could not find expected ':'": "this line needs a colon and a space, as in `fps: 30`, or `- ` for a list",
    "expected <block end>": "begin the lines of one group in the same column, and put quotes around all of a text",
    "expected ',' or": "a comma or a bracket is missing; put a text with commas or brackets in quotes",
    "escape": "in double quotes a backslash begins a code: use single quotes, or / in a path",
    "hexadecimal": "in double quotes a backslash begins a code: use single quotes, or / in a path",
    "'`'": "remove lines of ```, and put a text that begins with ` in quotes",
    "cannot start any token": "put a text that begins with {} in quotes",
    "duplicate anchor": "two anchors have the same name: rename one of the two",
    "alias": "put a text that begins with * or & in quotes", "anchor": "put a text that begins with * or & in quotes",
    "tag": "put a text that begins with ! in quotes",
    "single document": "this file has two documents: remove the line --- between them",
    "sequence entries": "begin a list on a line of its own, below its name",
    "document start": "begin the lines of one group in the same column",
    "alphabetic": "put a text that begins with * or & in quotes", "unhashable": "put a text with brackets in quotes",
    "node content": "something is missing here, or put a text that begins with : , or ] in quotes",
    "block scalar": "put a text that begins with > or | in quotes",
}  # fmt: skip
OTHER_FILES = {  # by their first bytes: what people take for a text file
    b"{\\rtf": "rich text: in TextEdit choose Format > Make Plain Text, and save it anew",
    b"PK\x03\x04": "a document of a word processor, or an archive: save it as plain text",
    b"%PDF": "a PDF: save it as plain text", b"<": "a web page: copy only the lines of the show into a text file",
}  # fmt: skip
MEDIA_BEGIN = (
    b"\xff\xd8\xff", b"\x89PNG", b"GIF8", b"RIFF", b"ID3", b"\xff\xfb", b"OggS", b"fLaC", b"FORM", b"II*\0", b"MM\0*",
    b"\x1aE\xdf\xa3",
)  # fmt: skip
SPACES = dict.fromkeys((0xA0, *range(0x2000, 0x200B), 0x202F, 0x205F, 0x3000), " ")  # that look like the usual one
INVISIBLE = dict.fromkeys((0x200B, 0x2060, 0xFEFF))
TABS = re.compile(
    r"(?<=\S)[ \t]*\t[ \t]*|^[ \t]*\t[ \t]*(?=\r?$)", re.MULTILINE
)  # behind something, or alone in a line
COLON_ALONE = re.compile(r"\s*(- +)?[\w/]+:[^\s:/][^:]*$")  # a line whose colon has no space behind it
CURLY = frozenset("“”„")


class ShowLoader(yaml.SafeLoader):
    """A safe loader to which only what looks like a number, true, false or null is one. To YAML 1.1, 12:30 is 750, 010
    is 8, 2026-11-30 a date, and yes, no, on and off are true or false. All that it does not take for a text, YAML 1.1
    does not either, so that what PyYAML writes is read back the same."""


def _construct_int(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> int:
    text = str(loader.construct_scalar(node))
    if len(text) > DIGITS_MAX:
        problem = f"a number of more than {DIGITS_MAX} digits"
        raise yaml.constructor.ConstructorError(None, None, problem, node.start_mark)
    return int(text, 16 if "x" in text else 10)


ShowLoader.yaml_implicit_resolvers = {}
for _kind, _form, _first in (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("int", r"[-+]?(0|[1-9][0-9]*|0x[0-9a-fA-F]+)", "-+0123456789"),
    ("float", r"[-+]?([0-9]+\.[0-9]*([eE][-+][0-9]+)?|\.(inf|Inf|INF))|\.[0-9]+([eE][-+][0-9]+)?|\.(nan|NaN|NAN)",
     "-+0123456789."),
    ("merge", r"<<", "<"),
):  # fmt: skip
    ShowLoader.add_implicit_resolver(f"tag:yaml.org,2002:{_kind}", re.compile(f"^({_form})$"), list(_first))
ShowLoader.add_constructor("tag:yaml.org,2002:int", _construct_int)


class ShowError(ValueError):
    """A show file that cannot be played. The message has one line for each error: file, line number, error and fix."""


def read(path: Path) -> str:
    """The text of a show file. ShowError if it is missing, cannot be read, or is too large to be a show."""
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_FILE_BYTES + 1)
    except FileNotFoundError:
        raise ShowError(
            f"{path}: there is no such file; `wj play` without a name opens the embedded show, "
            f"and `wj show --save {path.name}` writes a copy to start from"
        ) from None
    except OSError as error:
        raise ShowError(f"{path}: cannot be read: {error.strerror}") from None
    if len(raw) > MAX_FILE_BYTES:
        raise ShowError(f"{path}: larger than {MAX_FILE_BYTES // 1000} kB, so this is not a show file")
    return decoded(raw, str(path))


def decoded(raw: bytes, source: str) -> str:
    """The text of a file in UTF-8 or, as PowerShell's > and old editors write it, in UTF-16 or UTF-32. ShowError for
    another encoding, and for files of other programs."""
    for begin, what in OTHER_FILES.items():
        if raw.lstrip().startswith(begin):
            raise ShowError(f"{source}: this is {what}")
    if raw.startswith(MEDIA_BEGIN) or raw[4:8] == b"ftyp":
        raise ShowError(
            f"{source}: this is a picture, clip or sound, not a show: put it on a pad of a show, or use "
            f"`wj play --live file:{source}` or `--sound {source}`"
        )
    try:
        return plain_spaces(raw.decode(_encoding(raw)))
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise ShowError(f"{source}:{line}: a character is not UTF-8: save the file as UTF-8") from None


def _encoding(raw: bytes) -> str:
    if raw.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)):
        return "utf-32"
    if raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    if raw[1:2] == b"\0" or raw[:1] == b"\0":  # without a mark: half of each letter is zero
        return "utf-16-le" if raw[1:2] == b"\0" else "utf-16-be"
    return "utf-8-sig"


def plain_spaces(text: str) -> str:
    """With usual spaces for those that only look like them, as web pages and keyboards for Macs give them, and for tabs
    that indent nothing."""
    text = text.translate(SPACES | INVISIBLE)
    return text.replace("\t", "  ") if text.startswith("{") else TABS.sub(" ", text)


def dumped(data: Any, width: int = 120) -> str:
    """As YAML that `parse` reads back the same: letters of all languages as they are, but where a character is among
    those that are read as usual spaces, in codes."""
    text: str = yaml.safe_dump(data, sort_keys=False, allow_unicode=True, width=width)
    if not any(ord(character) in SPACES or ord(character) in INVISIBLE for character in text):
        return text
    coded: str = yaml.safe_dump(data, sort_keys=False, width=width)
    return coded


def parse(text: str | bytes, source: str) -> tuple[dict[str, Any], yaml.Node | None]:
    """The file's data, and the YAML node that knows the line of each value. ShowError if it is not YAML."""
    text = decoded(text, source) if isinstance(text, bytes) else plain_spaces(text)
    if wrong := yaml.reader.Reader.NON_PRINTABLE.search(text):
        line, code = text.count("\n", 0, wrong.start()) + 1, ord(wrong.group())
        raise ShowError(f"{source}:{line}: there is an invisible character in this line (U+{code:04X}): delete it")
    try:
        loader = ShowLoader(text)
        node = loader.get_single_node()
        _tidy(node)
        _refuse_doubles(node, source)
        data = loader.construct_document(node) if node is not None else {}
    except yaml.MarkedYAMLError as error:
        raise ShowError(_not_yaml(error, text, source)) from None
    except RecursionError:
        raise ShowError(f"{source}: this is not YAML: it is nested too deeply") from None
    except (yaml.YAMLError, UnicodeDecodeError, ValueError, TypeError) as error:
        if isinstance(error, ShowError):
            raise
        raise ShowError(f"{source}: this is not YAML: {str(error).splitlines()[0]}") from None
    if not isinstance(data, dict):
        raise ShowError(f"{source}:1: a show is made of `name: value` lines; `wj show` prints an example")
    return data, node


def _not_yaml(error: yaml.MarkedYAMLError, text: str, source: str) -> str:
    """The line where the error begins, and what is to be done about it."""
    words = f"{error.context} {error.problem}"
    begins = error.context_mark if "expected ':'" in words or "quoted scalar" in words else None
    mark = begins or error.problem_mark or error.context_mark
    line, lines = mark.line if mark else 0, ["", *text.split("\n"), ""]
    if "mapping values" in words and COLON_ALONE.match(lines[line]):  # the line before, which seems to go on
        line, words = line - 1, "could not find expected ':'"
    problem = next((hint for part, hint in YAML_HINTS.items() if part in words), error.problem or error.context or "")
    problem = problem.replace("{}", (re.findall(r"found character '(.)'", words) or [""])[0])
    if CURLY.intersection(lines[min(line + 1, len(lines) - 1)]):
        problem = 'to YAML “ and ” are no quotes: write "'
    return f"{source}:{line + 1}: this is not YAML: {problem}"


def _nodes(node: yaml.Node | None) -> Iterator[yaml.Node]:
    """A node and all below it, keys among them, each once."""
    pending, seen = [node], set()
    while pending:
        node = pending.pop()
        if node is None or id(node) in seen:
            continue
        seen.add(id(node))
        yield node
        if isinstance(node, yaml.SequenceNode):
            pending += node.value
        elif isinstance(node, yaml.MappingNode):
            pending += [part for pair in node.value for part in pair]


def _tidy(node: yaml.Node | None) -> None:
    """Take typographic quotes off texts, and make one letter of the halves by which JSON escapes it."""
    for scalar in _nodes(node):
        if isinstance(scalar, yaml.ScalarNode) and scalar.tag.endswith(":str"):
            text = plain_spaces(scalar.value.encode("utf-16", "surrogatepass").decode("utf-16", "replace"))
            while scalar.style is None and text != bare(text):
                text = bare(text)
            scalar.value = text


def explained(error: ValidationError, source: str, root: yaml.Node | None, owner: Owner) -> ShowError:
    """A ShowError with every error and its line. owner: finds the model whose fields to suggest."""
    return ShowError("\n".join(_explain(source, root, detail, owner) for detail in _distinct(error)))


def write(path: Path, text: str) -> None:
    """Replace the file by way of a temporary one, so that a full disk or a crash never leaves half a show."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="") as file:  # as the text has them, on Windows too
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(path.stat().st_mode & 0o777 if path.exists() else 0o644)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _refuse_doubles(node: yaml.Node | None, source: str) -> None:
    """Raise ShowError for a repeated key. YAML readers drop the first one silently, but a show must not lose a line."""
    for mapping in _nodes(node):
        seen: set[Hashable] = set()
        for key, _ in mapping.value if isinstance(mapping, yaml.MappingNode) else ():
            if not isinstance(key, yaml.ScalarNode):
                continue
            if key.tag.endswith(":null"):
                raise ShowError(f"{source}:{key.start_mark.line + 1}: a name is missing in front of this colon")
            if key.value != "<<" and key.value in seen:
                line = key.start_mark.line + 1
                raise ShowError(f"{source}:{line}: {key.value!r} appears twice; keep one of the two")
            seen.add(key.value)


def _distinct(error: ValidationError) -> list[Any]:
    """One error for each place in the file: a union reports all of its branches, and one error may carry several."""
    seen: dict[tuple[Any, ...], Any] = {}
    for detail in error.errors(include_url=False):
        loc = tuple(part for part in detail["loc"] if part not in ("[key]", "int", "str"))
        errors = detail.get("ctx", {}).get("errors", []) if detail["type"] == "errors" else [((), detail["msg"])]
        for below, message in errors:
            seen.setdefault((*loc, *below), {**detail, "loc": (*loc, *below), "msg": message})
    return list(seen.values())


def _explain(source: str, root: yaml.Node | None, detail: Any, owner: Owner) -> str:
    """ "show.yaml:12: pads.2: message", with the line of the innermost value that contains the error."""
    loc: tuple[Any, ...] = detail["loc"]
    message: str = detail["msg"].removeprefix("Value error, ")
    if detail["type"] == "extra_forbidden":
        message = f"there is no {str(loc[-1])[:60]!r} here{_nearest_field(loc, detail['input'], owner)}"
    elif detail["type"] == "missing":
        message = "this line is missing: add it"
    elif detail["type"] == "string_type" and isinstance(detail["input"], bool):
        message = f"this is a text: put it in quotes, as in '{str(detail['input']).lower()}'"
    elif detail["type"] not in ("value_error", "errors"):
        message = plainly(detail)
    line = _line(root, loc)
    where = ".".join(_parts(root, loc))
    return f"{source}{f':{line}' if line else ''}: {f'{where}: ' if where else ''}{message}"


def _parts(node: yaml.Node | None, loc: tuple[Any, ...]) -> Iterator[str]:
    """The place in words: lists count from 1, and the numbers of a mapping are its own."""
    for part in loc:
        counted = isinstance(part, int) and not isinstance(node, yaml.MappingNode)
        yield str(part + 1) if counted else str(part)
        if isinstance(node, yaml.MappingNode):
            node = next((value for key, value in node.value if key.value == str(part)), None)
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            node = node.value[part]
        else:
            node = None


def _line(node: yaml.Node | None, loc: tuple[Any, ...]) -> int | None:
    line = None
    for part in loc:
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                if key.value == str(part):
                    line, node = key.start_mark.line + 1, value
                    break
            else:
                return line
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            node = node.value[part]
            line = node.start_mark.line + 1
        else:
            return line
    return line


def _nearest_field(loc: tuple[Any, ...], value: Any, owner: Owner) -> str:
    name, fields = str(loc[-1]), list(owner(loc).model_fields)
    if CURLY.intersection(name + (value if isinstance(value, str) else "")):
        return ': to YAML “ and ” are no quotes: write "'
    if near := difflib.get_close_matches(name, fields, 1, 0.6):
        return f", did you mean {near[0]!r}?"
    if "text" in fields and isinstance(value, str):
        return f": put a text with a colon in quotes, as in '{name}: {value}'"
    return f": the lines here are {', '.join(fields)}"
