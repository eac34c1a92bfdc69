"""The worlds there are, from the best picture to the one that plays anywhere: data, for whoever has to choose.

memory is what a world is expected to need where it runs, by its parameters and its cache: a guide, not a measurement.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class WorldEntry:
    """name: for `load`. devices: kinds that it is made for. memory: GB that such a device should have."""

    name: str
    devices: tuple[str, ...]
    memory: float
    about: str


WORLDS = (
    WorldEntry("helios", ("cuda",), 40.0, "14 billion parameters, 640x384"),
    WorldEntry("wan-1.3b-longlive", ("cuda",), 12.0, "1.3 billion parameters, made for changing prompts"),
    WorldEntry("wan-1.3b-causal-forcing", ("cuda",), 12.0, "1.3 billion parameters"),
    WorldEntry("wan-1.3b-self-forcing", ("cuda",), 12.0, "1.3 billion parameters"),
    WorldEntry("turbo", ("cuda", "mps"), 6.0, "single pictures by SD-Turbo, one after the other"),
    WorldEntry("nano", ("cuda", "mps", "cpu"), 0.0, "embedded"),
)
ANYWHERE = WORLDS[-1]
