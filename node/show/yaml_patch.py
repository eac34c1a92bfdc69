"""Changes to the text of a YAML file that leave everything else in it as it is: comments, order, quotes, line ends.

A YAML library that writes a whole document anew changes its layout, too, and moves comments with the lines above them.
So the new data is compared with the old, and only the values that differ are replaced, each at its place in the text.
"""

from __future__ import annotations

import bisect
import difflib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import yaml

from .yaml_file import ShowLoader

LINE_END = re.compile(r"\r\n|\r|\n")
EMPTY: tuple[Any, ...] = ([], {}, None)


class _Dumper(yaml.SafeDumper):
    """Lists are indented below their name, and a text of several lines stands in one, in double quotes."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)


class _QuotingDumper(_Dumper):
    """All texts in double quotes, as the last resort for those that read differently without."""


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    quoted = isinstance(dumper, _QuotingDumper) or "\n" in value
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, '"' if quoted else None)


_Dumper.add_representer(str, _text)
_QuotingDumper.add_representer(str, _text)


def same(one: Any, other: Any) -> bool:
    """Whether two values of a show file mean the same: a list without lines is a missing value, 1 is 1.0, and the order
    of names does not count."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return all(same(one.get(name), other.get(name)) for name in {**one, **other})
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    if one in ([], None) and other in ([], None):
        return True
    return isinstance(one, bool) == isinstance(other, bool) and bool(one == other)


def patched(text: str, old: Mapping[str, Any], new: Mapping[str, Any], quoting: bool = False) -> str:
    """The text of a YAML mapping, whose data is `old`, with the data `new`. quoting: put all new texts in quotes.

    What cannot be done in that layout gives another result: compare what it reads as.
    """
    end = match.group() if (match := LINE_END.search(text)) else "\n"
    root = yaml.compose(text, ShowLoader)
    patch = _Patch(text, end, _QuotingDumper if quoting else _Dumper, root)
    if isinstance(root, yaml.MappingNode):
        patch.change(root, old, new, False)
    else:
        patch.insert(len(text), patch.block(new, 0))
    return patch.text


class _Patch:
    """The replacements in one text. Nodes' marks are places in it, so that it stays as it is until the end."""

    def __init__(self, text: str, end: str, dumper: type[_Dumper], root: yaml.Node | None) -> None:
        self._text, self._end, self._dumper = text, end, dumper
        self._root, self._document_end = root, len(text)
        self._splices: list[tuple[int, int, str]] = []
        self._dashes: dict[int, list[int]] = {}  # by column: where the lines of lists begin
        for token in yaml.scan(text, ShowLoader):
            if isinstance(token, yaml.DocumentEndToken):
                self._document_end = min(self._document_end, token.start_mark.index)
            elif isinstance(token, yaml.BlockEntryToken):
                self._dashes.setdefault(token.start_mark.column, []).append(token.start_mark.index)

    @property
    def text(self) -> str:
        pieces, at = [], 0
        for start, end, new in sorted(self._splices, key=lambda splice: splice[:2]):
            pieces += [self._text[at:start], new]
            at = max(at, end)
        return "".join([*pieces, self._text[at:]])

    # -- values ------------------------------------------------------------------------------------------------------

    def change(self, node: yaml.Node, old: Any, new: Any, flow: bool) -> None:
        """flow: whether the node stands inside of brackets."""
        if same(old, new):
            return
        if isinstance(node, yaml.MappingNode) and isinstance(old, Mapping) and isinstance(new, Mapping) and old and new:
            self._change_mapping(node, old, new, flow)
        elif isinstance(node, yaml.SequenceNode) and isinstance(old, list) and isinstance(new, list) and old:
            self._change_list(node, old, new, flow)
        else:
            self._replace(node, new, flow)

    def _replace(self, node: yaml.Node, new: Any, flow: bool) -> None:
        start, end = node.start_mark.index, self._end_of(node)
        quote = node.style if isinstance(node, yaml.ScalarNode) and node.style in ("'", '"') else None
        if not isinstance(new, str) and not self._text.lstrip().startswith("{"):  # which is JSON
            quote = None
        content = self._text[start:end]
        if not flow and new not in EMPTY and isinstance(new, Mapping | list) and content.strip("[]{} ") == "":
            before = self._text[:start].rstrip(" ")
            column = len(before) - self._line_start(len(before) - 1)
            indent = len(before[-column:]) - len(before[-column:].lstrip(" -"))
            self._splices.append((len(before), end, self._end + self.block(new, indent + 2).rstrip("\r\n")))
            return
        space = " " if self._text[:start].endswith((":", "-")) else ""
        self._splices.append((start, end, space + self._inline(new, flow, quote)))

    def _change_mapping(
        self, node: yaml.MappingNode, old: Mapping[Any, Any], new: Mapping[Any, Any], flow: bool
    ) -> None:
        loader = ShowLoader("")
        plain = [(k, v) for k, v in node.value if isinstance(k, yaml.ScalarNode) and not k.tag.endswith(":merge")]
        pairs = {loader.construct_object(k): (k, v) for k, v in plain}
        for name, (_, value) in pairs.items():
            if name in new and name in old:
                self.change(value, old[name], new[name], flow or bool(node.flow_style))
        added = {name: value for name, value in new.items() if name not in pairs and not same(old.get(name), value)}
        kept = []
        for name, (key, _) in pairs.items():
            # A key that is gone beside a new one with the same value was renamed, and its comment stays.
            other = (
                next((n for n, value in added.items() if same(old.get(name), value)), None) if name not in new else None
            )
            if other is not None:
                del added[other]
                text = json.dumps(str(other)) if key.style == '"' else self._inline(other, True, None)
                self._splices.append((key.start_mark.index, key.end_mark.index, text))
            kept.append(name in new or other is not None)
        spans = [(k.start_mark.index, self._end_of(v, k)) for k, v in pairs.values()]
        if node.flow_style:
            quoted = any(k.style == '"' for k, _ in pairs.values())
            texts = [self._pair(name, value, quoted) for name, value in added.items()]
            self._change_flow(spans, kept, texts)
            return
        first = next((n for n, stays in enumerate(kept) if stays), len(kept))
        for n, (start, end) in enumerate(spans):
            if kept[n]:
                continue
            if self._text[self._line_start(start) : start].strip() == "":
                self._splices.append((self._line_start(start), self._line_end(end), ""))
            elif n < first < len(spans):  # behind the dash of a list
                self._splices.append((start, spans[first][0], ""))
                for m in range(n + 1, first):
                    kept[m] = True
            else:
                self._splices.append((start, end, ""))
        if added:
            at = self._document_end if node is self._root else self._line_end(spans[-1][1])
            self.insert(at, self.block(added, node.start_mark.column))

    def _change_list(self, node: yaml.SequenceNode, old: list[Any], new: list[Any], flow: bool) -> None:
        spans = [(item.start_mark.index, self._end_of(item)) for item in node.value]
        known = [_canonical(item) for item in old]
        wanted = [_canonical(item) for item in new]
        inserts: dict[int, list[int]] = {}  # by the number of the old line before which they come: new lines
        deleted, changed = set[int](), dict[int, int]()
        codes = difflib.SequenceMatcher(None, known, wanted, autojunk=False).get_opcodes()
        if len(old) == len(new) and sum(map(str.__ne__, known, wanted)) <= 2:  # two lines changed places
            codes = [("replace" if a != b else "equal", n, n + 1, n, n + 1)
                     for n, (a, b) in enumerate(zip(known, wanted, strict=True))]  # fmt: skip
        for tag, i1, i2, j1, j2 in codes:
            if tag == "equal":
                continue
            both = min(i2 - i1, j2 - j1)
            changed.update(zip(range(i1, i1 + both), range(j1, j1 + both), strict=True))
            deleted.update(range(i1 + both, i2))
            if j1 + both < j2:
                inserts.setdefault(i2, []).extend(range(j1 + both, j2))
        moved = deleted | changed.keys()
        brought, inserted = dict[int, int](), dict[int, int]()  # by the number of an old line: where its comment goes
        inside = flow or bool(node.flow_style)
        sources: dict[int, int | None] = {}
        for i, j in changed.items():
            alike = [k for k, text in enumerate(known) if text == wanted[j] and text != known[i]]
            # A line that moved brings its comment with it, once; a copy of one that stays has none.
            alike.sort(key=lambda k: k not in moved or k in brought)
            source = next((k for k in alike if k in moved or not LINE_END.search(self._text[slice(*spans[k])])), None)
            sources[i] = None if source is None or old[source] in ("", None) else source
            if source in moved and sources[i] is not None and source not in brought and not inside:
                brought[source] = i
        for j in (j for js in inserts.values() for j in js) if not node.flow_style else ():
            left = (k for k in (*deleted, *changed) if known[k] == wanted[j] and k not in brought)
            if (source := next(left, None)) is not None:
                brought[source] = -1
                inserted[j] = source
        for i, j in changed.items():
            (start, end), source = spans[i], sources[i]
            if source is None:
                self.change(node.value[i], old[i], new[j], inside)
                if i in brought:  # its comment is elsewhere now
                    self._splices.append((end, self._content_end(end), ""))
                continue
            from_, to = spans[source]
            if brought.get(source) == i:
                to = self._content_end(to)
            if i in brought or brought.get(source) == i:
                end = self._content_end(end)
            space = " " if start and self._text[start - 1] == "-" else ""
            self._splices.append((start, end, space + self._text[from_:to]))
        if node.flow_style:
            quoted = '"' in self._text[node.start_mark.index : self._end_of(node)].split(",")[0]
            self._insert_flow(spans, deleted, {i: [self._again(new[j], wanted[j], known, spans, quoted) for j in js]
                                               for i, js in inserts.items()})  # fmt: skip
            return
        column = node.start_mark.column
        dashes = [self._dash(column, start) for start, _ in spans]
        for i in deleted:
            self._splices.append((self._line_start(dashes[i]), self._line_end(spans[i][1]), ""))
        for i, js in inserts.items():
            at = self._line_end(spans[i - 1][1]) if i else self._line_start(dashes[0])
            lines = []
            for j in js:
                if j in inserted:
                    start, end = spans[inserted[j]]
                    lines.append(" " * column + "- " + self._text[start : self._content_end(end)] + self._end)
                else:
                    like = next((item for item in node.value if isinstance(item, yaml.MappingNode)), None)
                    lines.append(self.block([new[j]], column, like))
            self.insert(at, "".join(lines))

    def _again(self, value: Any, wanted: str, known: Sequence[str], spans: Sequence[tuple[int, int]],
               quoted: bool) -> str:  # fmt: skip
        """A value inside of brackets: as it is written elsewhere in the list, if it is."""
        if wanted in known:
            start, end = spans[known.index(wanted)]
            return self._text[start:end]
        return self._inline(value, True, '"' if quoted else None)

    def _insert_flow(self, spans: Sequence[tuple[int, int]], deleted: set[int], inserts: Mapping[int, list[str]]
                     ) -> None:  # fmt: skip
        kept = [n not in deleted for n in range(len(spans))]
        for i, texts in inserts.items():
            if i == 0 and any(kept):
                self._splices.append((spans[0][0], spans[0][0], "".join(f"{text}, " for text in texts)))
            else:
                self._change_flow(spans, kept, texts, i)
                kept = [True] * len(spans)
        self._change_flow(spans, kept, [])

    def _change_flow(self, spans: Sequence[tuple[int, int]], kept: Sequence[bool], added: Sequence[str],
                     before: int | None = None) -> None:  # fmt: skip
        """Remove what is not kept between brackets, with its comma, and add texts at the end, or before a number."""
        if not any(kept):
            if spans:
                self._splices.append((spans[0][0], spans[-1][1], ", ".join(added)))
            return
        n = 0
        while n < len(spans):
            if kept[n]:
                n += 1
                continue
            last = n
            while last + 1 < len(spans) and not kept[last + 1]:
                last += 1
            if last + 1 < len(spans):
                self._splices.append((spans[n][0], spans[last + 1][0], ""))
            else:
                self._splices.append((spans[n - 1][1], spans[last][1], ""))
            n = last + 1
        if added:
            behind = [n for n, stays in enumerate(kept) if stays and (before is None or n < before)]
            if behind:
                at, text = spans[behind[-1]][1], "".join(f", {text}" for text in added)
            else:
                at, text = spans[kept.index(True)][0], "".join(f"{text}, " for text in added)
            self._splices.append((at, at, text))

    # -- texts -------------------------------------------------------------------------------------------------------

    def insert(self, at: int, lines: str) -> None:
        """Insert whole lines at the begin of a line."""
        whole = at == 0 or self._text[at - 1] in "\r\n"
        self._splices.append((at, at, lines if whole else self._end + lines))

    def block(self, value: Any, indent: int, like: yaml.Node | None = None) -> str:
        """A list or a mapping as lines. like: another line of the list, whose style the new ones take."""
        quoted = isinstance(like, yaml.MappingNode) and any(k.style == '"' for k, _ in like.value)
        flow = (False if indent == 0 else None) if like is None else bool(getattr(like, "flow_style", False))
        return "".join(" " * indent + line + self._end for line in self._lines(value, flow, '"' if quoted else None))

    def _lines(self, value: Any, flow: bool | None, quote: str | None) -> Iterator[str]:
        """flow: whether mappings stand in braces; None where they are short."""
        if isinstance(value, Mapping):
            for name, item in value.items():
                nested = isinstance(item, Mapping) and any(flow is False or isinstance(v, list) for v in item.values())
                key = self._inline(name, False, None)
                if not (nested or (isinstance(item, list) and item)):
                    yield f"{key}: {self._inline(item, False, None)}"
                    continue
                yield f"{key}:"
                yield from ("  " + line for line in self._lines(item, None, None))
            return
        for item in value:
            braces = flow
            if flow is None and isinstance(item, Mapping):
                braces = not any(isinstance(part, Mapping | list) for part in item.values())
            if isinstance(item, Mapping) and item and not braces:
                first, *others = self._lines(item, None, None)
                yield f"- {first}"
                yield from ("  " + line for line in others)
            else:
                yield "- " + self._inline(item, False, quote)

    def _pair(self, name: Any, value: Any, quoted: bool) -> str:
        if quoted:
            return f"{json.dumps(name, ensure_ascii=False)}: {json.dumps(value, ensure_ascii=False)}"
        return self._inline({name: value}, True, None)[1:-1]

    def _inline(self, value: Any, flow: bool, quote: str | None) -> str:
        """A value in one line. quote: the quotes around the text that it replaces."""
        if quote == '"' and (flow or isinstance(value, str)) and "\x7f" not in (text := json.dumps(value)):
            plain = json.dumps(value, ensure_ascii=False)
            return plain if plain.isprintable() else text
        if isinstance(value, str) and quote and value.isprintable():
            return self._dump([value], True, quote).strip()[1:-1]
        if isinstance(value, Mapping | list):
            return self._dump(value, True).strip()
        if flow or value is None or value == "":
            return self._dump([value], True).strip()[1:-1]
        return self._dump([value], False).strip().removeprefix("- ")

    def _dump(self, value: Any, flow: bool | None, quote: str | None = None) -> str:
        unicode, dumper = self._dumper is not _QuotingDumper, self._dumper if quote is None else yaml.SafeDumper
        written: str = yaml.dump(
            value, Dumper=dumper, default_flow_style=flow, default_style=quote, sort_keys=False, allow_unicode=unicode,
            width=10**9,
        )  # fmt: skip
        return written

    # -- places ------------------------------------------------------------------------------------------------------

    def _dash(self, column: int, start: int) -> int:
        dashes = self._dashes.get(column, [0])
        return dashes[max(bisect.bisect_right(dashes, start) - 1, 0)]

    def _end_of(self, node: yaml.Node, key: yaml.Node | None = None) -> int:
        """Where the text of a node ends. The end mark of a block will not do: it is where the next node begins."""
        if isinstance(node, yaml.CollectionNode) and not node.flow_style and node.value:
            last = node.value[-1]
            return self._end_of(last[1], last[0]) if isinstance(last, tuple) else self._end_of(last)
        end = int(node.end_mark.index)
        if isinstance(node, yaml.ScalarNode) and node.style in ("|", ">"):
            return len(self._text[:end].rstrip())
        return end if key is None else max(end, int(key.end_mark.index))

    def _line_start(self, at: int) -> int:
        return max(self._text.rfind("\n", 0, at), self._text.rfind("\r", 0, at)) + 1

    def _content_end(self, at: int) -> int:
        """The end of the line, before its line end."""
        match = LINE_END.search(self._text, at)
        return match.start() if match else len(self._text)

    def _line_end(self, at: int) -> int:
        """The begin of the next line."""
        match = LINE_END.search(self._text, at)
        return match.end() if match else len(self._text)


def _canonical(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ",".join(sorted(f"{name!r}:{_canonical(item)}" for name, item in value.items())) + "}"
    return "[" + ",".join(map(_canonical, value)) + "]" if isinstance(value, list) else repr(value)
