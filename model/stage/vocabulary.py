"""What the stage knows, in order. Tokens, labels and the judge all index these lists."""

from __future__ import annotations

PLACES = ("sea", "desert", "forest", "city", "mountains", "space", "tunnel", "grid")
LIGHTS = ("dawn", "noon", "sunset", "night", "neon", "storm")
WEATHERS = ("clear", "rain", "snow", "fog")
FIGURES = ("none", "dance", "jump", "wave", "cry", "pose", "walk")  # every act but "freeze", which holds one of these
TINTS = ("plain", "red", "gold", "green", "blue", "violet", "pink", "mono")

ATTRIBUTES: dict[str, tuple[str, ...]] = {
    "place": PLACES,
    "light": LIGHTS,
    "weather": WEATHERS,
    "figure": FIGURES,
    "tint": TINTS,
}
WIDTH = 8  # the longest list: one token's width
assert max(len(v) for v in ATTRIBUTES.values()) == WIDTH
