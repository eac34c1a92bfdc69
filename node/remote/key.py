"""The key file that a show and a world on another machine share.

It holds a CurveZMQ key pair for each side (https://rfc.zeromq.org/spec/26), by which they authenticate each other.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

_HEAD = "# worldjockey: anyone who has this file can play the world it was made for. Keep it secret.\n"


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
    import zmq  # imported only where a link is used

    return bytes(zmq.curve_public(secret))


def make(path: Path) -> Key:
    """Write a new key file, readable by this user only. Raises FileExistsError where the file exists."""
    import zmq

    key = Key(zmq.curve_keypair()[1], zmq.curve_keypair()[1])
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise FileExistsError(f"{path} already exists: choose another name, or remove it first") from None
    with os.fdopen(handle, "w", encoding="ascii") as file:
        file.write(f"{_HEAD}world {key.world.decode()}\nrig {key.rig.decode()}\n")
    return key


def read(path: Path) -> Key:
    """Read a key file. Raises ValueError or OSError, with the fix."""
    advice = "create a key with `wj world --new-key FILE`, and copy it to both machines"
    try:
        mode, text = path.stat().st_mode, path.read_text("ascii", "replace")
    except FileNotFoundError:
        raise FileNotFoundError(f"{path} does not exist: {advice}") from None
    if os.name == "posix" and mode & 0o077:
        raise PermissionError(f"{path}: other users of this machine can read this key: chmod 600 {path}")
    lines = (line.split() for line in text.splitlines() if not line.startswith("# "))
    found = {line[0]: line[1].encode() for line in lines if len(line) == 2}
    import zmq

    try:
        key = Key(found["world"], found["rig"])
        if key.world_public and key.rig_public:
            return key
    except (KeyError, ValueError, zmq.ZMQError):
        pass
    raise ValueError(f"{path} is not a key file of a world: {advice}")
