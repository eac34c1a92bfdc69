"""How a story goes: pressures grow with the balances, and scenes follow each other. Pure and deterministic."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ..show.story import Story, StoryScene, Way

FORESHADOWED_FROM = 0.4  # pressure from which on the next scene shows through
FORESHADOWED = 0.25  # its share at full pressure


def pull(way: Way, balances: Mapping[str, float]) -> float:
    """How strongly the balances press towards a way, 0 to 1."""
    force = sum(weight * (2 * balances.get(name, 0.5) - 1) for name, weight in way.pull.items())
    return min(max(force + way.drift, 0.0), 1.0)


def mood_weights(scene: StoryScene, balances: Mapping[str, float]) -> list[float]:
    """The weights of a scene's prompt and of its moods, in their order, which add up to 1."""
    moods = [min(max(balances.get(name, 0.5) * 2 - 1, 0.0), 1.0) for name in scene.moods]
    sum_ = sum(moods)
    if sum_ > 1:
        moods = [mood / sum_ for mood in moods]
    return [max(1.0 - sum(moods), 0.0), *moods]


@dataclass
class StoryEngine:
    """scene: index of the present one. seconds: that it has lasted. pressures: of its ways, 0 to 1. left: the scene
    before, None once it has faded; faded: how far, 0 to 1. decided: the scene that is next and waits for its beat.
    ended: the last scene's time is up."""

    story: Story
    scene: int = 0
    seconds: float = 0.0
    pressures: list[float] = field(default_factory=list)
    left: int | None = None
    faded: float = 1.0
    decided: int | None = None
    ended: bool = False

    def __post_init__(self) -> None:
        self.pressures = [0.0] * len(self.now.ways)

    @property
    def now(self) -> StoryScene:
        return self.story.scenes[self.scene]

    def advance(self, seconds: float, balances: Mapping[str, float], transition_s: float) -> None:
        """Go on by so many seconds. transition_s: how long the present scene takes to appear."""
        self.seconds += seconds
        if self.left is not None:
            self.faded = min(self.faded + seconds / max(transition_s, 1e-6), 1.0)
            if self.faded >= 1:
                self.left = None
        scene = self.now
        for i, way in enumerate(scene.ways):
            self.pressures[i] = min(self.pressures[i] + pull(way, balances) * seconds / way.takes, 1.0)
        if self.decided is None:
            self.decided = self._next(scene)

    def _next(self, scene: StoryScene) -> int | None:
        least, most = scene.seconds
        if self.seconds < least or self.left is not None:
            return None
        if not scene.ways:
            if self.seconds < most:
                return None
            self.ended = not self.story.loop
            return 0 if self.story.loop else None
        strongest = max(range(len(scene.ways)), key=lambda i: (self.pressures[i], -i))
        if self.pressures[strongest] >= 1 or self.seconds >= most:
            return self.story.scene(scene.ways[strongest].to)
        return None

    def go(self, scene: int) -> None:
        """The scene begins now, and the present one fades."""
        self.left, self.faded = self.scene, 0.0
        self.scene, self.seconds, self.decided, self.ended = scene, 0.0, None, False
        self.pressures = [0.0] * len(self.now.ways)

    @property
    def foreshadowed(self) -> tuple[int, float] | None:
        """The scene that shows through, and its share; None while no way has enough pressure."""
        if self.left is not None or not self.pressures:
            return None
        strongest = max(range(len(self.pressures)), key=lambda i: (self.pressures[i], -i))
        beyond = (self.pressures[strongest] - FORESHADOWED_FROM) / (1 - FORESHADOWED_FROM)
        if beyond <= 0:
            return None
        return self.story.scene(self.now.ways[strongest].to), beyond * FORESHADOWED
