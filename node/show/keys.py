"""What the keys of a computer keyboard do, on the performer's page and in an output window alike.

A key has the name that browsers give it (KeyboardEvent.key), in lower case: "1", "q", "arrowleft", "escape"; "space" is
the space bar, and "shift+w" a letter while Shift is held.
It does what is written behind it: the name of a parameter, and if need be a value, as in "cue/go", "cam/yaw -1",
"cue/go storm", "prompt a calm sea".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from ..parameters import PADS, PARAMETERS, PREVIEW, number_text
from .fields import check_value, known_parameter

KEY_CHARS_MAX = 40
RESERVED = {"?": "the page's list of keys", "f": "full screen of the output window"}
NAMED = (
    "cue/go",
    "cue/jump",
    "snapshot/recall",
    "snapshot/save",
    "crowd/poll",
    "crowd/choose",
    "crowd/back",
    "story/go",
)  # triggers that take a name or number
Mode = Literal["fire", "set", "switch", "pad", "hold"]

DEFAULT_KEYS: Mapping[str, str] = {
    **{key: f"pad/{n}" for n, key in enumerate("12345678qwertyui", 1)},
    " ": "cue/go", "backspace": "cue/back", "escape": "panic", "home": "cam/home", "0": "freeze", "9": "blackout 1",
    "arrowup": "cam/forward 1", "arrowdown": "cam/forward -1", "arrowleft": "cam/yaw -1", "arrowright": "cam/yaw 1",
    "a": "cam/strafe -1", "d": "cam/strafe 1", "s": "cam/forward -1",
    "shift+w": "cam/forward 1", "shift+a": "cam/strafe -1", "shift+s": "cam/forward -1", "shift+d": "cam/strafe 1",
    "pageup": "cam/pitch 1", "pagedown": "cam/pitch -1", "+": "cam/zoom 1", "-": "cam/zoom -1",
    "x": "act/dance", "m": "act/robot", "h": "act/headbang", "j": "act/jump", "v": "act/wave", "c": "act/cry",
    "p": "act/pose", "k": "act/walk", "l": "act/run", "b": "act/bow", "z": "act/freeze", "n": "act/none",
    "[": "bank/previous", "]": "bank/next", "enter": "tempo/tap", "delete": "undo",
}  # fmt: skip
assert len(DEFAULT_KEYS) > PADS


@dataclass(frozen=True)
class Action:
    """What a key or a button does.

    mode: fire a trigger; set a value; switch it on and off with each press; pad: a short press switches it, and a long
    one holds it while pressed; hold: the value stands while the key is pressed, and then goes back to its default.
    """

    target: str
    args: tuple[Any, ...]
    mode: Mode


def key_name(key: Any) -> str:
    """The name of a key in a file or from a browser, as the table has it. ValueError for one that is no key."""
    name = number_text(key) if isinstance(key, int | float) and not isinstance(key, bool) else str(key)
    name = " " if name and not name.strip(" ") else name.strip().lower()
    name = {"space": " ", "spacebar": " ", "esc": "escape", "return": "enter"}.get(name, name)
    if not name or len(name) > KEY_CHARS_MAX:
        raise ValueError("a key has a name, as in q, space or arrowleft")
    return name


def action(text: str) -> Action:
    """What "cam/yaw -1" means. ValueError, with the fix, for what no key can do."""
    name, _, rest = text.strip().partition(" ")
    p, rest = known_parameter(name), rest.strip()
    if p.kind == "trigger":
        if rest and p.name.removeprefix(PREVIEW) not in NAMED:
            raise ValueError(f"{p.name} takes nothing behind it: write only {p.name}")
        return Action(p.name, (rest,) if rest else (), "fire")
    if p.kind == "text":
        if not rest:
            raise ValueError(f"{p.name} is a text: write it behind the name, as in `{p.name} a calm sea`")
        return Action(p.name, (rest,), "set")
    name = p.name if p.name in PARAMETERS else p.name.removeprefix(PREVIEW)
    value = check_value(name, rest) if rest else None
    if name.startswith("pad/"):
        return Action(p.name, (1.0 if value is None else value,), "pad")
    if name.startswith("cam/"):
        return Action(p.name, (p.high if value is None else value,), "hold")
    if p.kind == "bool" and value is None:
        return Action(p.name, (True, False), "switch")
    if p.kind in ("float", "int", "bool"):
        return Action(p.name, (p.high if value is None else value, p.default), "switch")
    if value is None:
        raise ValueError(f"{p.name} is one of {', '.join(p.choices)}: write it behind the name")
    return Action(p.name, (value,), "set")


def check_keys(keys: Mapping[Any, Any]) -> dict[str, str | None]:
    """The keys of a show by their usual names. None switches a default off. ValueError for an impossible one."""
    checked: dict[str, str | None] = {}
    for key, to in keys.items():
        name = key_name(key)
        if name in RESERVED:
            raise ValueError(f"the key {name} is kept for {RESERVED[name]}: choose another")
        if name in checked:
            raise ValueError(f"the key {name!r} appears twice; keep one of the two")
        if to is not None:
            to = str(to).strip()
            action(to)
        checked[name] = to
    return checked


def table(keys: Mapping[str, str | None]) -> dict[str, str]:
    """What every key does: the show's own keys, and the defaults of all others."""
    return {key: to for key, to in {**DEFAULT_KEYS, **keys}.items() if to}
