"""Checks every line of the crowd's server: it may say aggregates within their ranges, and nothing else. Pure.

The server talks with strangers. If one of them took it over, these are all the words that it has.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .messages import POLL_ID_MAX, buttons, number
from .room import SEATS_MAX, WORDS_A_LINE
from .words import clean

HEADS_MAX = 100_000
URL_CHARS_MAX = 200
TEXT_CHARS_MAX = 300
KINDS = ("facts", "faders", "votes", "words", "players")


def check(line: Any, wanted: Mapping[str, Any]) -> dict[str, Any]:
    """The parts of a line that are as they must be. ValueError where one is not.

    wanted: what was last sent to the server, by kind: only its faders, its poll and its seats can be answered.
    """
    if not isinstance(line, dict) or not line or not line.keys() <= set(KINDS):
        raise ValueError("no aggregate")
    found = {kind: _CHECKS[kind](content, wanted) for kind, content in line.items()}
    return {kind: content for kind, content in found.items() if content or kind == "players"}


def _facts(facts: Any, wanted: Mapping[str, Any]) -> dict[str, Any]:
    kinds: dict[str, Any] = {
        "url": URL_CHARS_MAX, "port": 65535, "heads": HEADS_MAX, "messages_per_s": 10**6, "refused": 2**53,
        "message": TEXT_CHARS_MAX, "error": TEXT_CHARS_MAX, "pid": 2**31, "memory_mb": 10**6, "cpu": 1000,
        "twitch": TEXT_CHARS_MAX,
    }  # fmt: skip
    if not isinstance(facts, dict) or not facts.keys() <= kinds.keys():
        raise ValueError("unknown facts")
    for name, value in facts.items():
        if name in ("url", "message", "error", "twitch"):
            if not isinstance(value, str) or len(value) > kinds[name] or not (value.isprintable() or not value):
                raise ValueError(f"no text: {name}")
        else:
            number(value, 0, kinds[name])
    if (url := facts.get("url")) and not url.startswith(("http://", "https://")):
        raise ValueError("no address of a page")
    return dict(facts)


def _faders(faders: Any, wanted: Mapping[str, Any]) -> dict[str, Any]:
    names = {fader["name"] for fader in wanted.get("faders") or ()}
    if not isinstance(faders, dict):
        raise ValueError("no faders")
    # A line may have crossed a change of the faders.
    return {
        name: {"median": number(found["median"], 0.0, 1.0), "votes": _count(found["votes"])}
        for name, found in faders.items()
        if name in names and isinstance(found, dict) and found.keys() == {"median", "votes"}
    }


def _votes(votes: Any, wanted: Mapping[str, Any]) -> dict[str, Any]:
    poll = wanted.get("poll")
    if not isinstance(votes, dict) or votes.keys() != {"poll", "counts", "voters"}:
        raise ValueError("no votes")
    number(votes["poll"], 0, POLL_ID_MAX)
    counts = votes["counts"]
    if poll is None or votes["poll"] != poll["id"]:
        return {}  # they crossed a change of the poll
    if not isinstance(counts, list):
        raise ValueError("no counts")
    if len(counts) != len(poll["options"]):
        raise ValueError("votes for other options")
    return {"poll": poll["id"], "counts": [_count(count) for count in counts], "voters": _count(votes["voters"])}


def _words(words: Any, wanted: Mapping[str, Any]) -> list[dict[str, Any]]:
    if not isinstance(words, list) or len(words) > WORDS_A_LINE:
        raise ValueError("no words")
    asked = wanted.get("words") or {}
    vocabulary = asked.get("vocabulary")
    known = None if vocabulary is None else frozenset(map(clean, vocabulary))
    found = []
    for row in words:
        if not isinstance(row, dict) or row.keys() != {"word", "count"} or not isinstance(row["word"], str):
            raise ValueError("no word")
        if not row["word"] or clean(row["word"]) != row["word"]:
            raise ValueError("a word that is not clean")
        if known is None or row["word"] in known:
            found.append({"word": row["word"], "count": _count(row["count"])})
    return found if asked.get("open") else []


def _players(players: Any, wanted: Mapping[str, Any]) -> list[dict[str, Any]]:
    asked = wanted.get("players") or {}
    seats = min(int(asked.get("seats", 0)), SEATS_MAX) if asked.get("open") else 0
    if not isinstance(players, list) or len(players) > SEATS_MAX:
        raise ValueError("no players")
    found: dict[int, dict[str, Any]] = {}
    for row in players:
        if not isinstance(row, dict) or row.keys() != {"seat", "axes", "buttons"}:
            raise ValueError("no player")
        seat, axes = row["seat"], row["axes"]
        if not isinstance(seat, int) or isinstance(seat, bool) or not isinstance(axes, list) or len(axes) != 2:
            raise ValueError("no seat")
        if 1 <= seat <= seats:
            both = [number(axis, -1.0, 1.0) for axis in axes]
            found[seat] = {"seat": seat, "axes": both, "buttons": list(buttons(row["buttons"]))}
    return list(found.values())


def _count(value: Any) -> int:
    if not isinstance(value, int):
        raise ValueError("no count")
    return int(number(value, 0, HEADS_MAX))


_CHECKS = {"facts": _facts, "faders": _faders, "votes": _votes, "words": _words, "players": _players}
