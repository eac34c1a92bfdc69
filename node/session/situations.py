"""A world's situation as flat values, for OSC: where its camera is and what is near. Pure: time is an argument."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

INTERVAL_S = 0.05  # between two rounds of values
WHOLE_INTERVAL_S = 1.0  # in which every value is sent, also one that did not change
NEAR = 6


def flat(situation: Mapping[str, Any]) -> dict[str, Any]:
    """{"state/x": 1.2, "state/place": "forest", "state/near/1": ("pine", 6.5, 1.41, 1.32)}; the things that are not
    there have an empty name."""
    found: dict[str, Any] = {
        f"state/{name}": float(value) if isinstance(value, int | float) else value
        for name, value in situation.items()
        if name != "near" and value is not None
    }
    near = situation.get("near", ())
    for n in range(NEAR):
        thing: Mapping[str, Any] = (
            near[n] if n < len(near) else {"name": "", "bearing": 0.0, "distance": 0.0, "height": 0.0}
        )
        numbers = (float(thing[name]) for name in ("bearing", "distance", "height"))
        found[f"state/near/{n + 1}"] = (thing["name"], *numbers)
    return found


class Situations:
    """What of it has to be sent."""

    def __init__(self) -> None:
        self._sent: dict[str, Any] = {}
        self._at = self._whole_at = float("-inf")

    def due(self, now: float) -> bool:
        return now - self._at >= INTERVAL_S

    def news(self, situation: Mapping[str, Any] | None, now: float) -> dict[str, Any]:
        """The values that changed, and once a second all of them."""
        self._at = now
        if not situation:
            return {}
        values = flat(situation)
        whole = now - self._whole_at >= WHOLE_INTERVAL_S
        if whole:
            self._whole_at = now
        news = {name: value for name, value in values.items() if whole or self._sent.get(name) != value}
        self._sent = values
        return news
