"""What the arguments of a control mean. Pure."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

from worldjockey.integrations import ControlEvent

from ..parameters import Parameter, bare, is_number, number_text, to_switch, unquoted
from ..show.modulators import targets_of

DEFAULT_TRANSITION = float("nan")  # in place of seconds: the time that the parameter `transition` gives
TRANSITION_MAX_S = 60.0  # of a prompt that brings its own

Handler = Callable[[ControlEvent], "bool | None"]  # obeys a control; true where the control waits for its beat


def on_press(handler: Handler, takes_name: bool = False) -> Handler:
    """The same handler, but a button that comes up does not call it. takes_name: any text is a name."""

    def pressed(control: ControlEvent) -> bool | None:
        first = control.args[0] if control.args else None
        down = has_no_value(control.args) or (takes_name and isinstance(first, str))
        return handler(control) if down or _is_down(first) else None

    return pressed


def _is_down(value: Any) -> bool:
    """Whether a button that sends this value is down: not for 0, and for no text such as "0" or "off"."""
    try:
        return to_switch(value) > 0
    except TypeError:
        return False
    except ValueError:
        return True


def has_no_value(args: Sequence[Any]) -> bool:
    """Whether a message only says "now": by no argument, by nil, or, as Max and Pd do, by the text "bang"."""
    return not args or args[0] is None or (isinstance(args[0], str) and bare(args[0]).lower() in ("", "bang"))


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
            return _text(p, args)
        case "trigger":
            return (True, DEFAULT_TRANSITION) if has_no_value(args) or p.coerce(args[0]) else None
        case "bool" if has_no_value(args):
            return not read(p.name), DEFAULT_TRANSITION
        case "enum":
            args = named(args)
    if not args:
        raise ValueError(f"{p.name} takes a value")
    if p.kind != "enum" and len(args) > 1 and isinstance(args[0], str) and not is_number(args[0]):
        # Lighting desks send the name of a control before its value.
        raise ValueError(f"{p.name} takes one number and nothing before it, as in {p.osc} 0.5, not {args[0]!r} first")
    return p.coerce(args[0]), DEFAULT_TRANSITION


def joined_text(name: str, args: Sequence[Any]) -> tuple[str, float] | None:
    """A text and the seconds of its transition, from arguments as programs send them.

    Pd and Max send each word of a line as an argument of its own, so that texts (and numbers between them) are joined
    by spaces; a number behind the last word is the seconds. A blob is UTF-8. None for a button that comes up. Raises
    ValueError where no text is among the arguments.
    """
    words = _decoded(args)
    if not words or (words[0] in (0, False) and words[0] is not None and len(words) == 1):
        return None
    if not any(isinstance(word, str) for word in words):
        raise ValueError(f'{name} takes a text, as in "a calm sea", not {_short(words[0])}')
    seconds = DEFAULT_TRANSITION
    if len(words) > 1 and isinstance(words[-1], int | float) and not isinstance(words[-1], bool):
        seconds = float(words.pop())
    return unquoted(" ".join(_word(word) for word in words if word is not None)), seconds


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else repr(value)


def _word(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _text(p: Parameter, args: tuple[Any, ...]) -> tuple[str, float] | None:
    given = joined_text(p.name, args)
    if given is None:
        return None
    text, seconds = p.coerce(given[0]), given[1]
    if p.name.startswith("mod/"):
        targets_of(text)  # raises for what cannot be modulated
    return text, min(max(seconds, 0.0), TRANSITION_MAX_S) if seconds == seconds else seconds


def snapshot_name(args: tuple[Any, ...]) -> str:
    """A text or a number; empty for a button, which has no name to give."""
    if has_no_value(args) or isinstance(args[0], bool):
        return ""
    return number_text(args[0]) if isinstance(args[0], int | float) else str(named(args)[0])


def named(args: tuple[Any, ...]) -> tuple[Any, ...]:
    """Arguments whose first is a name that came in separate words, as Pd and Max send it, with the words joined. A
    blob is UTF-8."""
    decoded = tuple(_decoded(args))
    words = list(itertools.takewhile(lambda argument: isinstance(argument, str), decoded))
    return (bare(" ".join(words)), *decoded[len(words) :]) if words else decoded


def _decoded(args: Sequence[Any]) -> list[Any]:
    return [arg.decode("utf-8", "replace") if isinstance(arg, bytes) else arg for arg in args]
