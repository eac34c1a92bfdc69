"""What the arguments of a control mean. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from worldjockey.integrations import ControlEvent

from ..parameters import Parameter
from ..show.modulators import targets_of

DEFAULT_TRANSITION = float("nan")  # in place of seconds: the time that the parameter `transition` gives
TRANSITION_MAX_S = 60.0  # of a prompt that brings its own

Handler = Callable[[ControlEvent], "bool | None"]  # obeys a control; true where the control waits for its beat


def on_press(handler: Handler) -> Handler:
    """The same handler, but a button that comes up does not call it."""

    def pressed(control: ControlEvent) -> bool | None:
        first = control.args[0] if control.args else True
        up = not isinstance(first, str) and not (isinstance(first, int | float) and first > 0)
        return None if up else handler(control)

    return pressed


def value_given(p: Parameter, control: ControlEvent, read: Callable[[str], Any]) -> tuple[Any, float] | None:
    """The value that a control gives its parameter, coerced, and the seconds of a text's transition.

    None where the control means nothing: a button that comes up, a text that is missing. A switch without a value
    changes over. read: a parameter's present value. Raises ValueError for arguments that make no value.
    """
    args = control.args
    if control.meta.get("relative"):
        args = (p.stepped(read(p.name), args[0] if args else None),)
    match p.kind:
        case "text":
            return _text(p, args) if args else None
        case "trigger":
            return (True, DEFAULT_TRANSITION) if not args or p.coerce(args[0]) else None
        case "bool" if not args:
            return not read(p.name), DEFAULT_TRANSITION
    if not args:
        raise ValueError(f"{p.name} takes a value")
    return p.coerce(args[0]), DEFAULT_TRANSITION


def _text(p: Parameter, args: tuple[Any, ...]) -> tuple[str, float]:
    seconds = float(args[1]) if len(args) > 1 else DEFAULT_TRANSITION
    text = p.coerce(args[0])
    if p.name.startswith("mod/"):
        targets_of(text)  # raises for what cannot be modulated
    return text, min(max(seconds, 0.0), TRANSITION_MAX_S) if seconds == seconds else seconds


def snapshot_name(args: tuple[Any, ...]) -> str:
    """A text or a number; empty for a button, which has no name to give."""
    if not args or isinstance(args[0], bool):
        return ""
    return f"{args[0]:g}" if isinstance(args[0], int | float) else str(args[0])
