"""The one primitive between processes: a shared slot that holds the latest message."""

from __future__ import annotations

import struct
import zlib
from multiprocessing.shared_memory import SharedMemory
from typing import Any

COUNTER_BYTES = 8
_BANK = struct.Struct("<II")  # length, crc32


def count(buffer: Any) -> int:
    """The integer in a buffer's first 8 bytes, read with one load."""
    return int(buffer[:COUNTER_BYTES].cast("Q")[0])


def set_count(buffer: Any, number: int) -> None:
    """Written with one store: `struct` clears its target before it fills it, so a reader could see 0 in between."""
    buffer[:COUNTER_BYTES].cast("Q")[0] = number


class Cell:
    """A named slot in shared memory with one writer and any number of readers. The latest value wins; no call waits.

    The writer fills the bank that readers do not use, and then increments the version, which selects the bank. A reader
    that is overtaken twice while it copies detects it by the checksum of version and data, and reads again; so neither
    a lock nor memory ordering is needed.
    Pass it to a spawned process as an argument; the process that created it calls `unlink` at the end.
    """

    def __init__(self, size: int, _name: str | None = None) -> None:
        self.size = size
        self._span = _BANK.size + size
        self._memory = SharedMemory(_name, create=_name is None, size=COUNTER_BYTES + 2 * self._span)
        self._buffer: Any = self._memory.buf

    def __reduce__(self) -> tuple[type[Cell], tuple[int, str]]:
        return Cell, (self.size, self._memory.name)

    @property
    def version(self) -> int:
        """How often the cell was written; 0 before the first write."""
        return count(self._buffer)

    def write(self, data: bytes) -> None:
        """Raises ValueError if the data does not fit."""
        if len(data) > self.size:
            raise ValueError(f"{len(data)} bytes do not fit in a cell of {self.size}")
        version = self.version + 1
        at = COUNTER_BYTES + version % 2 * self._span
        self._buffer[at + _BANK.size : at + _BANK.size + len(data)] = data
        _BANK.pack_into(self._buffer, at, len(data), _checksum(version, data))
        set_count(self._buffer, version)

    def read(self) -> tuple[int, bytes]:
        """(version, data); (0, b"") before the first write."""
        while version := self.version:
            at = COUNTER_BYTES + version % 2 * self._span
            length, crc = _BANK.unpack_from(self._buffer, at)
            data = bytes(self._buffer[at + _BANK.size : at + _BANK.size + min(length, self.size)])
            if _checksum(version, data) == crc:
                return version, data
        return 0, b""

    def close(self) -> None:
        self._memory.close()

    def unlink(self) -> None:
        self.close()
        self._memory.unlink()


def _checksum(version: int, data: bytes) -> int:
    return zlib.crc32(data, version & 0xFFFFFFFF)
