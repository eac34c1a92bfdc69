"""OSC packets: datagrams to messages and back, and address patterns. Pure: no sockets, no clock.

Follows OSC 1.0 (Wright 2002) and the types of OSC 1.1. Messages are parsed by python-osc. Everything around them is
done here, because no datagram may stop a show: every length in bundles is checked, a flood for one fader is thinned
out before it is parsed, and patterns are matched without backtracking.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from typing import Any

from pythonosc import osc_message, osc_message_builder

DATAGRAM_BYTES_MAX = 65_507  # of UDP over IPv4
AHEAD_MAX_S = 10.0  # a later time tag is from another clock, and obeyed at once
BUNDLE_DEPTH_MAX = 8  # bundles in bundles
ARGUMENTS_MAX = 64  # of one message
PATTERN_CHARS_MAX = 64
NTP_EPOCH_S = 2_208_988_800  # seconds from 1900 to 1970
TYPES = frozenset(b"ifsbhtdrmTFNI[]")
BUNDLE = b"#bundle\0"
WILD = frozenset("*?[]{}")
ASK = "?"  # the argument that asks for a value


class Malformed(ValueError):
    """A datagram that is not OSC."""


def split(datagram: bytes, wall: float, depth: int = 0) -> Iterator[tuple[float, bytes]]:
    """(seconds until it is due, message) for each message of a datagram, also of bundles; 0 is now.

    wall: time.time(). Empty elements and zeros at the end are skipped, as some programs pad bundles. Raises Malformed
    after the last message whose length fits.
    """
    if not datagram.startswith(BUNDLE):
        yield 0.0, datagram
        return
    if depth == BUNDLE_DEPTH_MAX or len(datagram) < 16:
        raise Malformed("a bundle that is truncated, or nested too deeply")
    tag = struct.unpack_from(">Q", datagram, 8)[0]
    due = tag / 2**32 - NTP_EPOCH_S - wall if tag != 1 else 0.0
    at, end = 16, len(datagram.rstrip(b"\0"))
    while at < end:
        if at + 4 > len(datagram):
            raise Malformed("a truncated bundle")
        size = struct.unpack_from(">i", datagram, at)[0]
        at += 4
        if size < 0 or size % 4 or at + size > len(datagram):
            raise Malformed("a bundle with a wrong length")
        for later, message in split(datagram[at : at + size], wall, depth + 1) if size else ():
            wait = max(due, later)
            yield wait if 0 < wait <= AHEAD_MAX_S else 0.0, message
        at += size


def head(message: bytes) -> tuple[bytes, bytes]:
    """A message's address, and its address with its type tags; Malformed if it has no address."""
    end = message.find(b"\0")
    if not message.startswith(b"/") or end < 0:
        raise Malformed("a message without an address")
    tags = (end + 4) & ~3
    if message[tags : tags + 1] != b",":
        return message[:end], message[:tags]
    stop = message.find(b"\0", tags)
    if stop < 0:
        raise Malformed("truncated type tags")
    return message[:end], message[:stop]


def parse(message: bytes) -> tuple[str, tuple[Any, ...]]:
    """Address and arguments, with arrays flattened. Raises Malformed."""
    address, key = head(message)
    tags = key[(len(address) + 4) & ~3 :]
    if not TYPES.issuperset(tags[1:]) or len(tags) > ARGUMENTS_MAX + 1:
        raise Malformed("type tags that are not in OSC 1.1, or too many")
    if b"I" in tags:  # the impulse, which python-osc does not know, is true: it is meant for triggers
        message = key[: len(key) - len(tags)] + tags.replace(b"I", b"T") + message[len(key) :]
    try:
        parsed = osc_message.OscMessage(message)
    except (osc_message.ParseError, ValueError, OverflowError, IndexError, struct.error) as error:
        # python-osc wraps the error of a decoder in its own.
        unicode = isinstance(error, UnicodeDecodeError) or "codec can't decode" in str(error)
        what = "a text that is not UTF-8" if unicode else "arguments that do not fit its type tags"
        raise Malformed(what) from None
    return parsed.address, tuple(_flat(parsed.params))


def _flat(values: list[Any]) -> Iterator[Any]:
    for value in values:
        if isinstance(value, list):  # no deeper than ARGUMENTS
            yield from _flat(value)
        else:
            yield value


def asks(message: bytes, key: bytes) -> bool:
    """Whether a message asks for a value: its first argument is the text "?". key: from `head`."""
    at = (len(key) + 4) & ~3
    tags = key.rfind(b",")
    return key[tags + 1 : tags + 2] == b"s" and message[at : at + 2] == b"?\0"


def thin(batch: Iterable[tuple[bytes, Any]], latest_wins: Callable[[bytes], bool]) -> list[tuple[bytes, Any]]:
    """Drop datagrams that a later one supersedes: of one fader's moves in a row, only the last is kept.

    Plain messages with equal address and type tags supersede each other if `latest_wins(address)`. Everything else
    (triggers, steps, questions, bundles, noise) stays, and messages before it are not superseded by messages after it.
    """
    kept: list[tuple[bytes, Any] | None] = []
    last_moves: dict[bytes, int] = {}
    for entry in batch:
        try:
            address, key = head(entry[0])
            fader = latest_wins(address) and not asks(entry[0], key)
        except Malformed:
            fader = False
        if not fader:
            last_moves.clear()
        else:
            if key in last_moves:
                kept[last_moves[key]] = None
            last_moves[key] = len(kept)
        kept.append(entry)
    return [entry for entry in kept if entry is not None]


def build(address: str, value: Any) -> bytes:
    """One message of feedback. Booleans are sent as 1 and 0, which every controller understands."""
    builder = osc_message_builder.OscMessageBuilder(address)
    for v in value if isinstance(value, list | tuple) else () if value is None else (value,):
        if isinstance(v, bool | int):
            builder.add_arg(max(min(int(v), 2**31 - 1), -(2**31)), "i")
        elif isinstance(v, float):
            builder.add_arg(v, "f")
        else:
            raw = str(v).replace("\0", "").encode("utf-8", "replace")[: DATAGRAM_BYTES_MAX // 2]
            builder.add_arg(raw.decode("utf-8", "ignore"), "s")
    return builder.build().dgram


def is_pattern(address: str) -> bool:
    return not WILD.isdisjoint(address)


def match(pattern: str, address: str) -> bool:
    """Whether an address pattern (OSC 1.0: ? * [a-z] [!x] {one,other}, part by part) matches this address.

    Raises Malformed for a bracket that is not closed, or a pattern longer than PATTERN_CHARS_MAX.
    """
    if len(pattern) > PATTERN_CHARS_MAX:
        raise Malformed(f"a pattern of more than {PATTERN_CHARS_MAX} characters")
    parts, names = pattern.split("/"), address.split("/")
    tokens = [_tokens(part) for part in parts]
    return len(parts) == len(names) and all(_fits(token, name) for token, name in zip(tokens, names, strict=True))


Token = tuple[str, Any]  # ("any", None); ("one", (negated, ((low, high), ...))); ("text", (alternatives, ...))


@lru_cache(1024)
def _tokens(part: str) -> tuple[Token, ...]:
    found: list[Token] = []
    at = 0
    while at < len(part):
        char = part[at]
        if char in "[{":
            close = part.find("]" if char == "[" else "}", at)
            if close < 0:
                raise Malformed("a pattern with a bracket that is not closed")
            inside = part[at + 1 : close]
            found.append(("one", _ranges(inside)) if char == "[" else ("text", tuple(inside.split(","))))
            at = close
        elif char == "*":
            if not found or found[-1][0] != "any":
                found.append(("any", None))
        elif char == "?":
            found.append(("one", (True, ())))
        else:
            found.append(("text", (char,)))
        at += 1
    return tuple(found)


def _ranges(inside: str) -> tuple[bool, tuple[tuple[str, str], ...]]:
    negated = inside.startswith("!")
    chars = inside[negated:]
    found, at = [], 0
    while at < len(chars):
        span = at + 2 < len(chars) and chars[at + 1] == "-"
        found.append((chars[at], chars[at + 2] if span else chars[at]))
        at += 3 if span else 1
    return negated, tuple(found)


def _fits(tokens: tuple[Token, ...], name: str) -> bool:
    """All positions that the tokens so far can reach are kept, so the time is bounded by the length of the pattern."""
    reached = {0}
    for kind, what in tokens:
        if kind == "any":
            reached = set(range(min(reached), len(name) + 1))
        elif kind == "one":
            negated, ranges = what
            reached = {
                at + 1
                for at in reached
                if at < len(name) and any(low <= name[at] <= high for low, high in ranges) != negated
            }
        else:
            reached = {at + len(text) for at in reached for text in what if name.startswith(text, at)}
        if not reached:
            return False
    return len(name) in reached
