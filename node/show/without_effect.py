"""What a show file asks for that can never happen, for a note to the performer."""

from __future__ import annotations

from collections.abc import Iterator

from .lights import addressed
from .schema import Show


def notes(show: Show) -> Iterator[str]:
    """One line for each, with the fix."""
    if show.chased is None and (timed := [cue.name for cue in show.cues if cue.at is not None]):
        yield f"the cue {timed[0]!r} has `at`, but the show follows no timecode: add `timecode: on`"
    yield from _of_crowd(show)
    yield from _of_lights(show)
    yield from _of_story(show)
    for entry in show.outputs:
        if entry.kind == "dmx" and not entry.options.get("fixtures"):
            yield "the output dmx has no fixtures, so it lights one RGB light at universe 1, channel 1: add `fixtures`"


def _of_crowd(show: Show) -> Iterator[str]:
    crowd = show.crowd
    if crowd is None or not crowd.enabled:
        if {"crowd/open", "crowd/code", "crowd/bars"} & {name for name, value in show.values.items() if value}:
            yield "`values` opens the crowd, but the show has no `crowd`: add it"
        return
    phones = show.players is not None and show.players.phones
    if not (crowd.faders or crowd.polls or crowd.words or phones):
        yield "`crowd` asks the audience nothing: add faders, polls or words to it"
    balances = set(show.story.balances) if show.story else set()
    for fader in crowd.faders:
        if fader.to is None and fader.name not in balances:
            yield f"the crowd's fader {fader.name!r} plays nothing: add `to`, or a balance of that name to the story"


def _of_lights(show: Show) -> Iterator[str]:
    lights = show.lights
    if lights is None or not lights.enabled:
        return
    if not lights.start and not lights.patch:
        yield "`lights` has neither a fixture (start: 0) nor a patch, so no channel of a desk plays anything"
    taken: dict[int, str] = {}
    if lights.start:
        for at, channel in addressed(lights.mode, lights.start):
            taken |= {at + fine: channel.name for fine in range(channel.bits // 8)}
    for n, line in enumerate(lights.patch, 1):
        if line.universe in (None, lights.universe) and line.channel in taken:
            yield (
                f"lights.patch.{n}: channel {line.channel} is the fixture's {taken[line.channel]} as well: "
                "use a channel behind the fixture, or `start: 0`"
            )


def _of_story(show: Show) -> Iterator[str]:
    for scene in show.story.scenes if show.story else ():
        for deed in scene.deeds:
            if deed.after > scene.seconds[1]:
                most = f"the scene {scene.name!r} lasts {scene.seconds[1]:g} s at most"
                yield f"{most}, so its deed after {deed.after:g} s does not happen: make it earlier"


def story_lines(show: Show) -> Iterator[str]:
    """The story in a few lines: each scene with its length and where it leads."""
    if show.story is None:
        return
    scenes = show.story.scenes
    yield f"story: {len(scenes)} scene{'s' if len(scenes) > 1 else ''}, which begin with {scenes[0].name!r}"
    for scene in scenes:
        least, most = (f"{seconds:g}" for seconds in scene.seconds)
        length = least if least == most else f"{least} to {most}"
        to = ", ".join(way.to for way in scene.ways)
        end = f"back to {scenes[0].name}" if show.story.loop else "the end"
        yield f"  {scene.name} ({length} s): {f'leads to {to}' if to else end}"
