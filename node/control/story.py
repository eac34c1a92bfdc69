"""The story as a driver of the show: its scenes lie on two decks of pads, and all that it plays are controls with the
source "story".

The present scene's prompt and moods lie on one deck, and the next scene's on the other: so a scene shows through before
it comes, and the change is one long dissolve.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from worldjockey.integrations import ControlEvent

from ..parameters import PARAMETERS, find
from ..show.keys import action
from ..show.story import DECK, FIRST_PAD, Story, StoryScene
from ..timing.easing import smoothstep
from ..timing.tempo import landing
from .arguments import Handler, has_no_value, named, on_press
from .desk import Desk
from .story_engine import StoryEngine, mood_weights

SOURCE = "story"
CLEAR_S = 1.0  # in which a deck of pads fades that another scene needs
GONE = 0.01  # share of a deck below which its prompts can be replaced unseen
STEP_S = 0.1  # between two values that it sends
SENT_STEP = 0.01  # below which a new value is not sent
SAME = 0.05  # by which a parameter may differ from what the story sent and be untouched, as a share of its range
NOTHING: Callable[[], Mapping[str, float]] = dict


class StoryDriver:
    """crowd: the audience's faders by name, 0 to 1; empty while it is shut out."""

    name = "the story"

    def __init__(self, story: Story, desk: Desk, crowd: Callable[[], Mapping[str, float]] = NOTHING) -> None:
        self._story, self._desk, self._crowd = story, desk, crowd
        self.engine = StoryEngine(story)
        self._on = False
        self._deck = 0  # the deck of the present scene
        self._other = 0.0  # share of the other deck in the picture
        self._from = 0.0  # share that the present scene had when it began
        self._queued: int | None = None  # the scene that begins as soon as the other deck is free
        self._laid: dict[int, int] = {}  # by deck: the scene whose prompts lie on it
        self._sent: dict[str, float] = {}
        self._touched: set[str] = set()
        self._began: dict[str, float] = {}  # by parameter: where it was when the scene began
        self._done = 0  # deeds of this scene
        self._at: float | None = None
        self._beat: float | None = None
        self.commands: dict[str, Handler] = {
            "story/go": on_press(self._go, takes_name=True), "story/back": on_press(self._give_back),
        }  # fmt: skip

    # -- commands ------------------------------------------------------------------------------------------------------

    def _go(self, control: ControlEvent) -> None:
        """A scene by its name; without one, where the strongest way leads."""
        if not self._desk.values["story/on"]:
            raise ValueError("the story is off: switch it on with story/on")
        engine = self.engine
        if has_no_value(control.args):
            ways = engine.now.ways
            if not ways:
                raise ValueError(f"no way leads on from {engine.now.name}")
            strongest = max(range(len(ways)), key=lambda i: (engine.pressures[i], -i))
            index = self._story.scene(ways[strongest].to)
        else:
            index = self._story.scene(str(named(control.args)[0]))
        self._follow_on(control.arrived_at)
        self._begin(index, control.arrived_at)

    def _give_back(self, control: ControlEvent) -> None:
        """The story has again what the performer has moved; it goes there at once."""
        for name in self._touched:
            self._sent.pop(name, None)
        self._touched.clear()

    # -- what moves by itself ------------------------------------------------------------------------------------------

    @property
    def balances(self) -> dict[str, float]:
        """Each balance, 0 to 1: the audience's where it has a fader of that name, mixed with the parameter's."""
        crowd, share = self._crowd(), float(self._desk.values["story/pull"])
        found = {}
        for number, name in enumerate(self._story.balances, 1):
            own = float(self._desk.values[f"story/balance/{number}"])
            found[name] = own + (crowd[name] - own) * share if name in crowd else own
        return found

    def advance(self, now: float) -> None:
        self._follow_on(now)
        if not self._on or self._at is None or now - self._at < STEP_S:
            return
        seconds, self._at = now - self._at, now
        engine, values = self.engine, self._desk.values
        speed = 0.0 if values["story/hold"] else float(values["story/speed"])
        balances = self.balances
        engine.advance(seconds * speed, balances, self._transition_s)
        if self._queued is not None:
            self._begin(self._queued, now)
            if self._queued is not None:
                self._other = max(self._other - seconds / CLEAR_S, 0.0)
        elif engine.decided is not None:
            self._change(engine.decided, now)
        self._do_deeds(now)
        self._play(balances, now)

    def _follow_on(self, now: float) -> None:
        is_on = bool(self._desk.values["story/on"])
        if is_on and not self._on:
            self.engine = StoryEngine(self._story)
            self._deck, self._laid, self._sent, self._at = 0, {}, {}, now
            self._other, self._from, self._queued = 0.0, 0.0, None
            self._arrive(now)
        elif self._on and not is_on:
            for pad in range(FIRST_PAD, FIRST_PAD + 2 * DECK):
                self._send(f"pad/{pad}", 0.0, now)
        self._on = is_on

    @property
    def _transition_s(self) -> float:
        length = self.engine.now.transition
        return length.seconds(self._desk.clock.bpm, self._desk.clock.meter) if length else 0.0

    def _change(self, scene: int, now: float) -> None:
        """Begin the scene on its beat."""
        clock = self._desk.clock
        line, every = clock.line(now), clock.meter.beats(self._story.on)
        if every and self._beat is None:
            self._beat = landing(line, now, every, 0.0)
        if self._beat is None or now >= line.time_of(self._beat):
            self._begin(scene, now)

    def _begin(self, scene: int, now: float) -> None:
        """Begin a scene, once its deck shows nothing else: prompts that are replaced while they are seen jump."""
        if self._laid.get(1 - self._deck) != scene and self._other > GONE:
            self._queued = scene
            return
        self.engine.go(scene)
        self._deck, self._beat, self._queued = 1 - self._deck, None, None
        self._from, self._other = self._other, 1 - self._other
        self._arrive(now)

    def _arrive(self, now: float) -> None:
        scene = self.engine.now
        self._touched.clear()
        self._lay(self._deck, self.engine.scene, now)
        self._began = {
            name: float(self._desk.read(name)) for name in scene.values if glides(name)
        }  # fmt: skip
        self._sent = {name: value for name, value in self._sent.items() if name.startswith("pad/")}
        self._done = 0
        for name, value in scene.values.items():
            if name not in self._began:
                self._deliver(name, (value,), now)
        if scene.act is not None:
            self._deliver(f"act/{scene.act}", (), now)

    def _lay(self, deck: int, scene: int, now: float) -> None:
        """Put a scene's prompts on a deck."""
        if self._laid.get(deck) == scene:
            return
        self._laid[deck] = scene
        found = self._story.scenes[scene]
        for place, text in enumerate((found.prompt, *found.moods.values())):
            self._deliver(f"pad/{self._pad(deck, place)}/text", (text,), now)

    @staticmethod
    def _pad(deck: int, place: int) -> int:
        return FIRST_PAD + deck * DECK + place

    def _do_deeds(self, now: float) -> None:
        deeds = sorted(self.engine.now.deeds, key=lambda deed: deed.after)
        while self._done < len(deeds) and deeds[self._done].after <= self.engine.seconds:
            does = action(deeds[self._done].do)
            self._done += 1
            self._deliver(does.target, does.args[:1], now)

    def _play(self, balances: Mapping[str, float], now: float) -> None:
        """Send the weights of both decks, and the values that glide."""
        engine, other = self.engine, 1 - self._deck
        arrived = smoothstep(engine.faded)
        if self._queued is None:
            ahead = engine.foreshadowed
            self._other = (1 - self._from) * (1 - arrived) if engine.left is not None else ahead[1] if ahead else 0.0
            if engine.left is None and ahead is not None:
                self._lay(other, ahead[0], now)
        shares = {self._deck: 1 - self._other, other: self._other}
        for deck, share in shares.items():
            scene: StoryScene | None = self._story.scenes[self._laid[deck]] if deck in self._laid else None
            weights = mood_weights(scene, balances) if scene is not None else []
            for place in range(DECK):
                weight = weights[place] if place < len(weights) else 0.0
                self._glide(f"pad/{self._pad(deck, place)}", weight * share, now)
        for name, begin in self._began.items():
            end = float(engine.now.values[name])
            self._glide(name, begin + (end - begin) * arrived, now)

    def _glide(self, name: str, value: float, now: float) -> None:
        """Send a value that moves slowly, unless the performer has taken the parameter over."""
        p = PARAMETERS[name]
        span = (p.high - p.low) or 1.0
        sent = self._sent.get(name)
        if sent is not None and abs(float(self._desk.read(name)) - sent) > SAME * span:
            self._touched.add(name)
        if name in self._touched:
            return
        ends = value in (0.0, 1.0) and sent != value
        if sent is None or ends or abs(value - sent) > SENT_STEP * span:
            self._send(name, value, now)

    def _send(self, name: str, value: float, now: float) -> None:
        self._sent[name] = value
        self._deliver(name, (value,), now)

    def _deliver(self, target: str, args: tuple[Any, ...], now: float) -> None:
        self._desk.deliver(ControlEvent(target, args, now, SOURCE))

    def status(self) -> dict[str, Any]:
        """For the surface."""
        engine, scene = self.engine, self.engine.now
        return {
            "on": self._on, "scene": scene.name, "seconds": round(engine.seconds, 1), "least": scene.seconds[0],
            "most": scene.seconds[1], "ended": engine.ended, "changing": engine.left is not None,
            "ways": [
                {"to": way.to, "pressure": round(pressure, 3)}
                for way, pressure in zip(scene.ways, engine.pressures, strict=True)
            ],
            "balances": {name: round(value, 3) for name, value in self.balances.items()},
            "scenes": [{"name": one.name, "ways": [way.to for way in one.ways]} for one in self._story.scenes],
            "touched": sorted(self._touched),
        }  # fmt: skip


def glides(name: str) -> bool:
    """Whether a parameter can glide."""
    p = find(name)
    return p is not None and p.kind == "float" and p.name in PARAMETERS
