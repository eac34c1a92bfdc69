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

from pythonosc import osc_message_builder
from pythonosc.parsing import osc_types

DATAGRAM_BYTES_MAX = 65_507  # of UDP over IPv4
AHEAD_MAX_S = 10.0  # a later time tag is from another clock, and obeyed at once
BUNDLE_DEPTH_MAX = 8  # bundles in bundles
ARGUMENTS_MAX = 64  # of one message
PATTERN_CHARS_MAX = 64
NTP_EPOCH_S = 2_208_988_800  # seconds from 1900 to 1970
# What reads each type's bytes, and how many they are. Types without bytes have their value here; I is an impulse.
FIXED: dict[str, tuple[Callable[[bytes, int], tuple[Any, int]], int]] = {
    "i": (osc_types.get_int, 4), "f": (osc_types.get_float, 4), "h": (osc_types.get_int64, 8),
    "d": (osc_types.get_double, 8), "t": (osc_types.get_timetag, 8), "r": (osc_types.get_rgba, 4),
    "m": (osc_types.get_midi, 4), "c": (osc_types.get_int, 4),
}  # fmt: skip
CONSTANTS = {"T": True, "F": False, "N": None, "I": True}
TYPES = frozenset(b"ifsbhtdrmcSTFNI[]")
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
    due = due_in(datagram, wall)
    at, end = 16, len(datagram.rstrip(b"\0"))
    while at < end:
        if at + 4 > len(datagram):
            raise Malformed("a truncated bundle")
        size = struct.unpack_from(">i", datagram, at)[0]
        at += 4
        if size < 0 or at + size > len(datagram):
            raise Malformed("a bundle with a wrong length")
        for later, message in split(datagram[at : at + size], wall, depth + 1) if size else ():
            wait = max(due, later)
            yield wait if 0 < wait <= AHEAD_MAX_S else 0.0, message
        at += size


def due_in(bundle: bytes, wall: float) -> float:
    """Seconds from now until a bundle is due; 0 where it has no time. wall: time.time()."""
    tag = struct.unpack_from(">Q", bundle, 8)[0]
    return float(tag / 2**32 - NTP_EPOCH_S - wall if tag != 1 else 0.0)


def head(message: bytes) -> tuple[bytes, bytes]:
    """A message's address, and its address with its type tags; Malformed if it has no address."""
    end = message.find(b"\0")
    if not message.startswith(b"/") or end < 0:
        raise Malformed(_what_it_is(message))
    tags = (end + 4) & ~3
    if message[tags : tags + 1] != b",":
        return message[:end], message[:tags]
    stop = message.find(b"\0", tags)
    return message[:end], message[:stop] if stop >= 0 else message


def _what_it_is(datagram: bytes) -> str:
    """What a datagram is that is no OSC message, and how to mend that."""
    if datagram.startswith(b"\xc0/") or datagram[:5] == struct.pack(">I", max(len(datagram) - 4, 0)) + b"/":
        return "OSC in a frame as for TCP: set the sender to UDP"
    if b"\0," in datagram and datagram[:1].isalpha():
        return f"the address {datagram.partition(bytes(1))[0][:40].decode('utf-8', 'replace')!r} needs a / in front"
    if datagram.strip() and datagram.isascii() and b"\0" not in datagram:
        return "plain text and not OSC: set the sender to OSC"
    return "a message without an address"


def parse(message: bytes) -> tuple[str, tuple[Any, ...]]:
    """Address and arguments, with arrays flattened. Raises Malformed.

    Some libraries count the zeros behind a text by its characters and not by its bytes, or leave them out at the end.
    """
    address, key = head(message)
    tags = key[(len(address) + 4) & ~3 :]
    if not TYPES.issuperset(tags[1:]) or len(tags) > ARGUMENTS_MAX + 1 or tags.count(b"[") != tags.count(b"]"):
        raise Malformed("type tags that are not in OSC 1.1, or too many")
    if not tags and message[len(key) :].strip(b"\0"):
        raise Malformed("arguments without type tags")
    try:
        return address.decode(), tuple(_arguments(message, (len(key) + 4) & ~3, tags[1:].decode()))
    except UnicodeDecodeError:
        raise Malformed("a text that is not UTF-8: set the sender to UTF-8") from None
    except (osc_types.ParseError, ValueError, OverflowError, struct.error):
        raise Malformed("arguments that do not fit its type tags") from None


def _arguments(message: bytes, at: int, tags: str) -> Iterator[Any]:
    for n, tag in enumerate(tags):
        if tag in "sS":
            text, at = _text(message, at, tags[n + 1 :])
            yield text
        elif tag == "b":
            blob, at = osc_types.get_blob(message, at)
            yield blob
        elif tag in FIXED:
            value, at = FIXED[tag][0](message, at)
            yield chr(value).encode().decode() if tag == "c" else tuple(value.to_bytes(4)) if tag == "r" else value
        elif tag in CONSTANTS:
            yield CONSTANTS[tag]


def _text(message: bytes, at: int, tags: str) -> tuple[str, int]:
    """The text at a place, and where the next argument begins. tags: of the arguments behind it."""
    if at >= len(message):
        raise ValueError("the message ends before its text")
    end = message.find(b"\0", at)
    if end < 0:
        return message[at:].decode(), len(message)
    behind = at + ((end - at + 4) & ~3)
    if len(message) % 4:  # the zeros behind some text were counted by its characters
        run = message[end : end + 4]
        odd = end + len(run) - len(run.lstrip(b"\0"))
        if not set("sSb") & set(tags):  # numbers may begin with zeros, too, but their lengths are known
            odd = len(message) - sum(FIXED[tag][1] for tag in tags if tag in FIXED)
        behind = odd if end < odd <= end + 4 else behind
    return message[at:end].decode(), behind


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
