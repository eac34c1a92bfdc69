"""What the stage knows, in order. Tokens, labels and the judge all index these lists."""

from __future__ import annotations

SCENES = (
    "sea", "desert", "forest", "city", "mountains", "space", "meadow", "temple", "underwater", "volcano",
)  # fmt: skip
LOOKS = ("tunnel", "grid", "particles", "liquid", "kaleidoscope", "plasma")  # abstract, without a horizon of their own
PLACES = SCENES + LOOKS
LIGHTS = ("dawn", "noon", "sunset", "night", "neon", "storm", "aurora")
WEATHERS = ("clear", "rain", "snow", "fog", "embers", "petals")
# Every act but "freeze", which holds one of these. "dance" flows, "robot" locks, "headbang" rocks.
FIGURES = ("none", "dance", "robot", "headbang", "jump", "wave", "cry", "pose", "walk", "run", "bow")
TINTS = ("plain", "red", "gold", "green", "blue", "violet", "pink", "mono")
MOODS = ("neutral", "calm", "euphoric", "melancholy", "menacing")

ATTRIBUTES: dict[str, tuple[str, ...]] = {
    "place": PLACES,
    "light": LIGHTS,
    "weather": WEATHERS,
    "figure": FIGURES,
    "tint": TINTS,
    "mood": MOODS,
}
WIDTH = 16  # the longest list: one token's width
assert max(len(v) for v in ATTRIBUTES.values()) == WIDTH

# What a world shows before any prompt.
OPENING = {
    "place": "sea", "light": "sunset", "weather": "clear", "figure": "dance", "tint": "plain", "mood": "neutral",
}  # fmt: skip
