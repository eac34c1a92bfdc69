"""The memory of a world's frames on a graphics card, described in bytes for another process."""

from __future__ import annotations

import json

from worldjockey.integrations import CardMemory

MEMORY_BYTES = 512  # the most that a packed `CardMemory` takes


def packed_card_memory(memory: CardMemory) -> bytes:
    fields = {"handle": memory.handle.hex(), "bus": memory.bus, "size": memory.size, "slots": memory.slots}
    return json.dumps(fields).encode()


def unpacked_card_memory(text: bytes) -> CardMemory:
    """Raises ValueError or KeyError for bytes that `packed_card_memory` did not make."""
    fields = json.loads(text)
    return CardMemory(bytes.fromhex(fields["handle"]), fields["bus"], fields["size"], fields["slots"])
