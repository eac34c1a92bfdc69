"""The files of the pages, filled with the guest's language."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Sequence
from functools import cache, lru_cache
from pathlib import Path

PAGE = Path(__file__).with_name("page")
FILES = {".js": "text/javascript", ".css": "text/css"}
RIGHT_TO_LEFT = {"ar", "fa", "he"}
DEFAULT = "en"


@cache
def texts() -> dict[str, dict[str, str]]:
    """The words of the pages by language; each has its own name in "name"."""
    return {path.stem: json.loads(path.read_text("utf-8")) for path in sorted((PAGE / "text").glob("*.json"))}


def offered(languages: Sequence[str]) -> list[str]:
    """The languages that a show names and this package has; all where it names none."""
    return [language for language in languages if language in texts()] or list(texts())


def pick(accept: str, languages: Sequence[str]) -> str:
    """The guest's language by their browser's Accept-Language: the first of theirs that is offered.

    Without any, English where it is offered, else the first.
    """
    wanted: list[tuple[float, str]] = []
    for part in accept[:500].split(","):
        tag, _, weight = part.partition(";")
        quality = re.fullmatch(r"\s*q\s*=\s*([01](?:\.\d{0,3})?)\s*", weight)
        wanted.append((-float(quality[1]) if quality else -1.0, tag.strip().lower().partition("-")[0]))
    for order, language in sorted(wanted, key=lambda found: found[0]):
        if language in languages and order < 0:
            return language
    return DEFAULT if DEFAULT in languages else languages[0]


@lru_cache(64)
def render(name: str, language: str, languages: tuple[str, ...], title: str, url: str) -> bytes:
    """A page, with `{{title}}`, `{{lang}}`, `{{texts}}` and so on filled in, all escaped."""
    names = {each: texts()[each]["name"] for each in languages}
    found = {
        "title": title, "url": url, "lang": language, "dir": "rtl" if language in RIGHT_TO_LEFT else "ltr",
        "texts": json.dumps(texts()[language], ensure_ascii=False),
        "languages": json.dumps(names, ensure_ascii=False),
    }  # fmt: skip

    def value(match: re.Match[str]) -> str:
        return html.escape(found[match[1]])

    return re.sub(r"\{\{(\w+)\}\}", value, (PAGE / name).read_text("utf-8")).encode()
