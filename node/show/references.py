"""Names in a show file that mean another part of it: cues, polls, scenes of the story, events and banks."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from ..parameters import EVENT, PREVIEW, SWITCH_WORDS, bare, is_number, number_text, to_number
from .fields import SHORT
from .keys import action
from .stream_deck import PAGES

if TYPE_CHECKING:
    from .connections import OscMapping
    from .lights import LightChannel
    from .midi_mapping import MidiMapping
    from .schema import Show

Place = tuple[Any, ...]
# Triggers that take a name: what it means, and the line of a show that has such.
NAMED = {
    "cue/go": ("cue", "cues"), "cue/jump": ("cue", "cues"), "crowd/poll": ("poll", "crowd: polls"),
    "story/go": ("scene", "story: scenes"),
}  # fmt: skip


def wrong_names(show: Show) -> Iterator[tuple[Place, str]]:
    """Each place in the show that names what the show does not have, and the message for it."""
    for place, target, args in _controls(show):
        if message := _wrong(show, target.removeprefix(PREVIEW), args):
            yield place, message
    banks = len(show.prompts().names)
    for place, text in _texts(show):  # the values of maps are clamped, like all faders
        does = action(text)
        if does.target.removeprefix(PREVIEW) == "bank" and does.args[0] > banks:
            yield place, f"there is no bank {does.args[0]}: the show has {banks}"


def _controls(show: Show) -> Iterator[tuple[Place, str, tuple[Any, ...]]]:
    """The controls that the show's lines send: place, target and arguments."""
    for place, text in _texts(show):
        does = action(text)
        yield place, does.target, does.args
    maps: list[tuple[Place, Sequence[MidiMapping | OscMapping | LightChannel]]] = [
        (("midi", "map"), show.midi.map), (("osc", "map"), show.osc.map),
        (("lights", "patch"), show.lights.patch if show.lights else ()),
    ]  # fmt: skip
    for place, lines in maps:
        for n, line in enumerate(lines):
            if line.to is not None:
                yield (*place, n), line.to, () if line.value is None else (line.value,)
    for n, event in enumerate(show.events):
        for target, value in event.do.items():
            yield ("events", n, "do", target), target, () if value is None else (value,)
    if show.players is not None:
        for name in show.players.allow:
            yield ("players", "allow"), name, ()


def _texts(show: Show) -> Iterator[tuple[Place, str]]:
    """What keys, buttons, options and deeds do, as text."""
    for key, to in show.keys.items():
        if to:
            yield ("keys", key), to
    for n, line in enumerate(show.gamepad.map):
        if line.button is not None and line.to is not None:
            yield ("gamepad", "map", n), line.to
    for number, key in (show.streamdeck.keys if show.streamdeck else {}).items():
        if key is not None and key.do not in PAGES:
            yield ("streamdeck", "keys", number), key.do
    for p, poll in enumerate(show.crowd.polls if show.crowd else ()):
        for o, option in enumerate(poll.options):
            if option.do is not None:
                yield ("crowd", "polls", p, "options", o), option.do
    for s, scene in enumerate(show.story.scenes if show.story else ()):
        for d, deed in enumerate(scene.deeds):
            yield ("story", "scenes", s, "deeds", d), deed.do
    for button, to in (show.players.buttons if show.players else {}).items():
        yield ("players", "buttons", button), to


def _wrong(show: Show, target: str, args: tuple[Any, ...]) -> str:
    """Why a control cannot be obeyed; empty where it can."""
    if target.startswith(EVENT):
        name = target.removeprefix(EVENT).lower()
        return "" if name in _names(show, "event") else _unknown("event", name, _names(show, "event"), "events")
    if target not in NAMED or not args or isinstance(args[0], bool):
        return ""
    kind, line = NAMED[target]
    names = _names(show, kind)
    return "" if _is_one(args[0], names) else _unknown(kind, args[0], names, line)


def _names(show: Show, kind: str) -> list[str]:
    match kind:
        case "cue":
            return [cue.name for cue in show.cues]
        case "poll":
            return [poll.name for poll in show.crowd.polls] if show.crowd else []
        case "scene":
            return [scene.name for scene in show.story.scenes] if show.story else []
        case _:
            return [event.name for event in show.events]


def _is_one(key: Any, names: Sequence[str]) -> bool:
    """Whether it is a name in any case, also with underscores for spaces, or a number from 1."""
    known = {name.lower() for name in names}
    wanted = bare(number_text(key) if isinstance(key, int | float) else str(key)).lower()
    if {wanted, wanted.replace("_", " ")} & known or wanted in (*SWITCH_WORDS, "bang", ""):
        return True  # a switch means the next one
    return is_number(wanted) and to_number(wanted).is_integer() and 0 <= to_number(wanted) <= len(names)


def _unknown(kind: str, name: Any, names: Sequence[str], line: str) -> str:
    if not names:
        return f"there is no {kind} {SHORT.repr(name)}: the show has none; add it to `{line}`"
    near = difflib.get_close_matches(str(name).lower(), [known.lower() for known in names], 1)
    hint = f", did you mean {near[0]!r}?" if near else f": the show has {', '.join(names)}"
    return f"there is no {kind} {SHORT.repr(name)}{hint}"
