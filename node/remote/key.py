"""The secret that a rig and a world on another machine share: a small file, the same on both.

It holds a CurveZMQ key pair for each side (https://rfc.zeromq.org/spec/26), so each proves to the other who it is.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

_HEAD = "# worldjockey: whoever has this file can play the world it was made for. Keep it secret.\n"


@dataclass(frozen=True)
class Key:
    """Secret keys of the two sides, as 40 characters of Z85."""

    world: bytes
    rig: bytes

    @property
    def world_public(self) -> bytes:
        return _public(self.world)

    @property
    def rig_public(self) -> bytes:
        return _public(self.rig)

    def __repr__(self) -> str:  # never in a log
        return "Key(…)"


def _public(secret: bytes) -> bytes:
    import zmq  # not before a link is wanted

    return bytes(zmq.curve_public(secret))


def make(path: Path) -> Key:
    """Write a new key that only this user can read. Raises FileExistsError rather than replace one."""
    import zmq

    key = Key(zmq.curve_keypair()[1], zmq.curve_keypair()[1])
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise FileExistsError(f"{path} is there already; name another file, or remove it first") from None
    with os.fdopen(handle, "w", encoding="ascii") as file:
        file.write(f"{_HEAD}world {key.world.decode()}\nrig {key.rig.decode()}\n")
    return key


def read(path: Path) -> Key:
    """Raises ValueError or OSError that says what is wrong with the file, and what would be right."""
    advice = "make one with `wj world --new-key FILE`, and copy it to both machines"
    try:
        mode, text = path.stat().st_mode, path.read_text("ascii", "replace")
    except FileNotFoundError:
        raise FileNotFoundError(f"{path}: there is no such key; {advice}") from None
    if os.name == "posix" and mode & 0o077:
        raise PermissionError(f"{path}: others on this machine can read this key: chmod 600 {path}")
    lines = (line.split() for line in text.splitlines() if not line.startswith("# "))
    found = {line[0]: line[1].encode() for line in lines if len(line) == 2}
    import zmq

    try:
        key = Key(found["world"], found["rig"])
        if key.world_public and key.rig_public:
            return key
    except (KeyError, ValueError, zmq.ZMQError):
        pass
    raise ValueError(f"{path}: not a key of a world; {advice}")
