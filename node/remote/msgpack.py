"""MessagePack (github.com/msgpack/msgpack, spec.md), for what JSON can hold, and bytes. No extension types."""

from __future__ import annotations

import struct
from typing import Any

DEPTH_MAX = 32  # of lists and maps within each other


def packed(value: Any) -> bytes:
    """None, a bool, int, float, str, bytes, list, tuple or dict of these. ValueError for anything else."""
    out = bytearray()
    _pack(value, out)
    return bytes(out)


def _pack(value: Any, out: bytearray) -> None:
    if value is None or isinstance(value, bool):
        out.append({None: 0xC0, False: 0xC2, True: 0xC3}[value])
    elif isinstance(value, int):
        _pack_int(value, out)
    elif isinstance(value, float):
        out += struct.pack(">Bd", 0xCB, value)
    elif isinstance(value, str):
        data = value.encode()
        _pack_head(len(data), out, (0xA0, 32), (0xD9, 0xDA, 0xDB))
        out += data
    elif isinstance(value, bytes | bytearray):
        _pack_head(len(value), out, (0, 0), (0xC4, 0xC5, 0xC6))
        out += value
    elif isinstance(value, list | tuple):
        _pack_head(len(value), out, (0x90, 16), (None, 0xDC, 0xDD))
        for item in value:
            _pack(item, out)
    elif isinstance(value, dict):
        _pack_head(len(value), out, (0x80, 16), (None, 0xDE, 0xDF))
        for key, item in value.items():
            _pack(key, out)
            _pack(item, out)
    else:
        raise ValueError(f"MessagePack has no {type(value).__name__}")


def _pack_int(value: int, out: bytearray) -> None:
    if -32 <= value < 128:
        out.append(value & 0xFF)
        return
    kinds = [(0xCC, "B"), (0xCD, "H"), (0xCE, "I"), (0xCF, "Q")] if value > 0 else [
        (0xD0, "b"), (0xD1, "h"), (0xD2, "i"), (0xD3, "q")]  # fmt: skip
    for head, form in kinds:
        try:
            out += struct.pack(f">B{form}", head, value)
        except struct.error:
            continue
        return
    raise ValueError("MessagePack has no integers of more than 64 bits")


def _pack_head(size: int, out: bytearray, short: tuple[int, int], heads: tuple[int | None, int, int]) -> None:
    """short: the byte to which a small size is added, and the first size for which it is too large."""
    if size < short[1]:
        out.append(short[0] + size)
    elif size < 1 << 8 and heads[0] is not None:
        out += struct.pack(">BB", heads[0], size)
    elif size < 1 << 16:
        out += struct.pack(">BH", heads[1], size)
    else:
        out += struct.pack(">BI", heads[2], size)


def unpacked(data: bytes) -> Any:
    """The value of a whole message. ValueError for anything that is not one."""
    try:
        value, end = _unpack(memoryview(data), 0, 0)
    except (struct.error, IndexError, TypeError, RecursionError):
        raise ValueError("not MessagePack") from None
    if end != len(data):
        raise ValueError("not one MessagePack value")
    return value


NUMBERS = {
    0xCA: "f", 0xCB: "d", 0xCC: "B", 0xCD: "H", 0xCE: "I", 0xCF: "Q", 0xD0: "b", 0xD1: "h", 0xD2: "i", 0xD3: "q"
}  # fmt: skip
SIZES: dict[int, tuple[type, str]] = {
    0xC4: (bytes, "B"), 0xC5: (bytes, "H"), 0xC6: (bytes, "I"), 0xD9: (str, "B"), 0xDA: (str, "H"), 0xDB: (str, "I"),
    0xDC: (list, "H"), 0xDD: (list, "I"), 0xDE: (dict, "H"), 0xDF: (dict, "I"),
}  # fmt: skip
CONSTANTS = {0xC0: None, 0xC2: False, 0xC3: True}


def _unpack(data: memoryview, at: int, depth: int) -> tuple[Any, int]:
    """The value that begins there, and where it ends."""
    head = data[at]
    at += 1
    if head < 0x80:
        return head, at
    if head >= 0xE0:
        return head - 256, at
    if head in CONSTANTS:
        return CONSTANTS[head], at
    if head in NUMBERS:
        form = f">{NUMBERS[head]}"
        return struct.unpack_from(form, data, at)[0], at + struct.calcsize(form)
    if head < 0xC0:
        kind: type = (dict, list, str, str)[head - 0x80 >> 4]
        size = head & (31 if kind is str else 15)
    elif head in SIZES:
        kind, form = SIZES[head]
        (size,) = struct.unpack_from(f">{form}", data, at)
        at += struct.calcsize(form)
    else:
        raise ValueError("a MessagePack extension")
    if size > len(data) - at or depth > DEPTH_MAX:  # each item has a byte at least
        raise ValueError("not MessagePack")
    if kind in (str, bytes):
        piece = bytes(data[at : at + size])
        return piece.decode() if kind is str else piece, at + size
    items = []
    for _ in range(size * (2 if kind is dict else 1)):
        item, at = _unpack(data, at, depth + 1)
        items.append(item)
    return dict(zip(items[::2], items[1::2], strict=True)) if kind is dict else items, at
