"""The one table of everything controllable.

OSC addresses, MIDI targets, the mailbox's layout, the show file's validation and `wj reference` all come from it.
"""

from __future__ import annotations

import difflib
import re
import unicodedata
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

from worldjockey.model.spec import ACTS, CAMERA_AXES

PADS = 16
BANKS = 16  # that a show may have, each of as many pads
WORDS_MAX = 64  # live word weights kept at once
TEXT_BYTES = 16384  # longest prompt, UTF-8; a longer one is cut at a character's edge
OSC_PREFIX = "/wj/"
PREVIEW = "preview/"  # before a parameter's name: the preview's own, as in preview/pad/3
MODULATORS = 8
BALANCES = 4  # that a story may have
CORNERS = ("top left", "top right", "bottom right", "bottom left")  # of a screen, as a keystone counts them
SWITCH_WORDS = {"on": 1.0, "true": 1.0, "yes": 1.0, "off": 0.0, "false": 0.0, "no": 0.0}
QUOTES = frozenset(('""', "''", "“”", "„“", "„”", "””", "‘’", "‚‘", "«»", "»«"))
EVENT = "event/"  # before the name of an event of the show, as in event/hit
EVENT_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}")
PLAYER_MODES = ("turns", "average", "each")
SHAPES = ("sine", "triangle", "saw", "square", "random", "sample-and-hold", "envelope")

Kind = Literal["float", "int", "bool", "trigger", "enum", "text"]


@dataclass(frozen=True)
class Parameter:
    """One declared, typed, ranged value.

    smoothing: seconds in which a jump of the fader becomes 63% of the way in the picture; 0 is at once.
    takes: what may follow the value in a message, for the reference ("seconds" on a prompt).
    local: nobody but the control process has to hear of it.
    """

    name: str
    kind: Kind
    doc: str
    default: Any = None
    low: float = 0.0
    high: float = 1.0
    unit: str = ""
    smoothing: float = 0.0
    choices: tuple[str, ...] = ()
    takes: str = ""
    local: bool = False

    @property
    def osc(self) -> str:
        return OSC_PREFIX + self.name

    def coerce(self, value: Any) -> Any:
        """The value as this parameter keeps it: clamped, never refused for its size. ValueError if it has no meaning.

        Floats are taken for ints (rounded), numbers for bools, an index or a name in any case for an enum, and texts
        for what they spell: "0,5", "on", "false".
        """
        if isinstance(value, bytes):
            value = value.decode("utf-8", "replace")
        if self.kind == "text":
            return whole(str(value)).replace("\0", "").encode()[:TEXT_BYTES].decode("utf-8", "ignore")
        if self.kind == "enum" and isinstance(value, str) and not is_number(value):
            wanted = bare(value).lower().replace(" ", "-").replace("_", "-")
            if wanted not in self.choices:
                raise ValueError(f"{self.name} is one of {', '.join(self.choices)}, not {value!r}")
            return wanted
        try:
            number = to_switch(value)
        except (TypeError, ValueError):
            raise ValueError(f"{self.name} takes a number, not {value!r}") from None
        if number != number:  # NaN
            raise ValueError(f"{self.name} takes a number, not NaN")
        if self.kind in ("bool", "trigger"):
            return number != 0.0
        if self.kind == "enum":
            return self.choices[int(min(max(number, 0), len(self.choices) - 1))]
        number = min(max(number, self.low), self.high)
        return round(number) if self.kind == "int" else number

    def stepped(self, value: Any, by: Any) -> Any:
        """`by` further than `value`: an amount on a fader, so many choices on an enum (clamped at its ends).

        Raises ValueError where steps mean nothing (texts, triggers), or `by` is no number.
        """
        if self.kind in ("text", "trigger"):
            raise ValueError(f"{self.name} is a {self.kind} and has no steps")
        try:
            step = to_number(by)
        except (TypeError, ValueError):
            raise ValueError(f"{self.name} moves by a number, not {by!r}") from None
        now = self.choices.index(value) if self.kind == "enum" else float(value)
        return self.coerce(max(now + step, 0.0) if self.kind == "bool" else now + step)


def _table() -> dict[str, Parameter]:
    p = Parameter
    rows = [
        p("prompt", "text", "what the world is", "", takes="[seconds]"),
        p("prompt/b", "text", "what morph leads to", ""),
        p("transition", "float", "time a new prompt takes when none is given", 1.0, 0.0, 60.0, "s"),
        p("morph", "float", "from the pads' mix (0) to prompt/b (1)", 0.0, smoothing=0.05),
    ]
    for n in range(1, PADS + 1):
        rows.append(p(f"pad/{n}", "float", f"weight of pad {n} in the mix", 0.0, smoothing=0.08))
        rows.append(p(f"pad/{n}/text", "text", f"the prompt on pad {n}", ""))
    rows += [
        p("bank", "int", "which bank's prompts lie on the pads, by number or name", 1, 1, BANKS),
        p("bank/next", "trigger", "the next bank; after the last, the first"),
        p("bank/previous", "trigger", "the bank before"),
    ]
    rows += [
        p("act", "enum", "what the figure does", ACTS[0], choices=ACTS),
        *(p(f"act/{a}", "trigger", f"the figure does: {a}") for a in ACTS),
        p("cam/home", "trigger", "bring the camera back to where it started"),
    ]
    docs = {
        "strafe": "move left (-1) or right (1)",
        "forward": "move back (-1) or forward (1)",
        "yaw": "turn left (-1) or right (1)",
        "pitch": "tilt down (-1) or up (1)",
        "zoom": "zoom out (-1) or in (1)",
    }
    rows += [p(f"cam/{a}", "float", docs[a], 0.0, -1.0, 1.0, smoothing=0.1) for a in CAMERA_AXES]
    rows += [
        p("energy", "float", "how hard the scene pulses", 0.0, smoothing=0.03),
        p("sound/level", "float", "loudness: drives the figure and the light", 0.0, smoothing=0.02),
        p("sound/bass", "float", "low end: swells the sun and what glows", 0.0, smoothing=0.02),
        p("sound/treble", "float", "high end: stars, windows and lines sparkle", 0.0, smoothing=0.02),
        p("sound/onset", "float", "a hit: the picture flashes", 0.0),
        p("guidance", "float", "1 shows the prompt as it is, more exaggerates it", 1.0, 1.0, 2.0, smoothing=0.1),
        p("speed", "float", "how fast the world's time runs", 1.0, 0.0, 2.0, "x", smoothing=0.1),
        p("seed", "int", "which world: the same seed is the same world again", 0, 0, 2**31 - 1),
        p("steps", "int", "prediction steps a frame: 1 is fastest, 4 is finest", 1, 1, 4),
        p(
            "quality",
            "enum",
            "auto takes fewer steps while the world is too slow for its motion; fixed never does",
            "auto",
            choices=("auto", "fixed"),
        ),
        p(
            "live/look",
            "float",
            "how far the place that the live picture shows replaces the prompt",
            0.0,
            smoothing=0.1,
        ),
        p(
            "live/strength",
            "float",
            "how much of the live picture stands in the world's: 1 is that picture",
            0.0,
            smoothing=0.08,
        ),
        p(
            "paint/strength",
            "float",
            "of a world that paints over another: from the other alone (0) to the painting alone (1)",
            0.6,
            smoothing=0.08,
        ),
        p("freeze", "bool", "hold the picture; the rig keeps running", False),
        p("blackout", "float", "fade the program to black", 0.0, smoothing=0.03),
        p(
            "inbetween",
            "enum",
            "what fills a tick the world did not: a blend, the held frame, or both frames moved along their motion",
            "motion",
            choices=("blend", "hold", "motion"),
        ),
        *(
            p(
                f"keystone/{n}/{axis}",
                "float",
                f"{way} the {corner} corner of the first window",
                0.0,
                -0.25,
                0.25,
                "screens",
            )
            for n, corner in enumerate(CORNERS, 1)
            for axis, way in (("x", "move left (-) or right (+)"), ("y", "move up (-) or down (+)"))
        ),
        p("cue/go", "trigger", "fire a cue by name or number; without either, the next one", takes="[name or number]"),
        *_played(),
        p("panic", "trigger", "pads, camera, act, freeze and blackout to their defaults; the world starts anew"),
        p("learn", "text", "the parameter that the next MIDI control you move will play, or nothing", "", local=True),
    ]
    return {row.name: row for row in rows}


def _played() -> list[Parameter]:
    """What plays the others: cues, snapshots, the show clock, modulators."""
    p = partial(Parameter, local=True)
    rows = [
        p("cue/back", "trigger", "fire the cue before"),
        p("cue/jump", "trigger", "be in a cue at once: no wait for the beat, no transition", takes="[name or number]"),
        p("cue/stop", "trigger", "nothing moves by itself any more: no cue that waits or follows, no fader on its way"),
        p("snapshot/save", "trigger", "keep the deck and the faders as they are", takes="[name]"),
        p("snapshot/recall", "trigger", "back to a snapshot; without a name, the last", takes="[name [seconds]]"),
        p("undo", "trigger", "take back the last change; again, the one before"),
        p("preview/on", "bool", "open the preview, which begins as the program is now", False),
        p("preview/take", "trigger", "put on the program what the preview shows", takes="[seconds]"),
        p("preview/back", "trigger", "swap back: program and preview as before the last take", takes="[seconds]"),
        p("preview/copy", "trigger", "make the preview what the program is now"),
        p("tempo", "float", "of the show clock", 120.0, 20.0, 300.0, "bpm"),
        p("tempo/source", "enum", "who keeps the tempo; auto is a MIDI clock if there is one, or taps", "auto",
          choices=("auto", "tap", "midi", "link")),
        p("tempo/tap", "trigger", "a beat is now"),
        p("tempo/downbeat", "trigger", "a bar and a phrase begin at the beat nearest to now"),
        p("tempo/nudge", "float", "the picture's beat comes so much earlier", 0.0, -250.0, 250.0, "ms"),
        p("tempo/bar", "int", "beats in a bar", 4, 1, 16),
        p("tempo/phrase", "int", "bars in a phrase", 4, 1, 64),
        p("timecode/chase", "bool", "cues with a time are fired by the timecode", True),
        p("timecode/run", "bool", "the node's own timecode runs, where the show follows no other", True),
        p("timecode/goto", "trigger", "the show as it is at that timecode; the node's own goes on from there",
          takes="[timecode or seconds]"),
        p("quantise", "enum", "what cues wait for", "none", choices=("none", "beat", "bar", "phrase")),
        p("players/on", "bool", "let the players play what the show allows them", True),
        p("players/mode", "enum", "how players share camera and figure", "turns", choices=PLAYER_MODES),
        p("players/next", "trigger", "the turn passes to the next player"),
        p("players/kick", "trigger", "free a player's seat; without a number, of the one who has the turn",
          takes="[seat]"),
        p("players/key", "trigger", "a key that players share is pressed (1) or released (0)", takes="[key] [1 or 0]"),
    ]  # fmt: skip
    rows += [
        p("crowd/open", "bool", "let the audience take part", False),
        p("crowd/shut", "trigger", "shut the audience out at once, and take back what it moves"),
        p("crowd/weight", "float", "how far the audience moves its faders", 1.0),
        p("crowd/back", "trigger", "give the audience back the faders that you have moved", takes="[parameter]"),
        p("crowd/poll", "trigger", "open a poll; without a name, the next one", takes="[name or number]"),
        p("crowd/close", "trigger", "close the open poll now, and let the winner win"),
        p("crowd/choose", "trigger", "decide a poll that is tied", takes="[option or number]"),
        p("crowd/cancel", "trigger", "close the open poll without a result"),
        p("crowd/words", "bool", "take words from the audience", True),
        p("crowd/code", "enum", "the code to join by, on the picture", "off", choices=("off", "corner", "large")),
        p("crowd/bars", "bool", "the answers of a poll, on the picture", False),
        p("story/on", "bool", "tell the story, from its beginning", False),
        p("story/go", "trigger", "go to a scene; without a name, where the strongest way leads", takes="[scene]"),
        p("story/back", "trigger", "give the story back what you have moved in this scene"),
        p("story/hold", "bool", "the scene stays, and no pressure grows", False),
        p("story/pull", "float", "how far the audience's balance counts, against that of the parameters", 1.0),
        p("story/speed", "float", "how fast the story goes on", 1.0, 0.0, 8.0, "x"),
        *(p(f"story/balance/{n}", "float", f"the story's balance {n}, where no audience sets it", 0.5)
          for n in range(1, BALANCES + 1)),
    ]  # fmt: skip
    for n in range(1, MODULATORS + 1):
        rows += [
            p(f"mod/{n}/to", "text", f"the faders that modulator {n} moves, as in energy, cam/yaw", ""),
            p(f"mod/{n}/shape", "enum", "its wave", "sine", choices=SHAPES),
            p(f"mod/{n}/depth", "float", "how far it moves them, of their range; below 0 upside down", 0.0, -1.0, 1.0),
            p(f"mod/{n}/rate", "float", "cycles a second, where it keeps to no beat", 1.0, 0.0, 20.0, "Hz"),
            p(f"mod/{n}/beats", "float", "beats a cycle; 0 keeps to no beat", 4.0, 0.0, 256.0),
            p(f"mod/{n}/offset", "float", "where its middle is: 1 moves upwards only", 0.0, -1.0, 1.0),
            p(f"mod/{n}/fire", "trigger", "play its envelope"),
        ]
    return rows


PARAMETERS: dict[str, Parameter] = _table()
# What the preview has not: the show's clock and what follows it, the sound and the screens, which both buses share.
_PROGRAM_ONLY = ("sound/", "keystone/", "tempo", "mod/", "preview/", "crowd/", "story/", "timecode/", "players/",
                 "blackout", "inbetween", "quantise", "learn", "snapshot/save")  # fmt: skip


def preview_name(name: str) -> str:
    """The name of the preview's parameter: "pad/3" -> "preview/pad/3"; empty where the preview has none."""
    return "" if name.startswith(_PROGRAM_ONLY) else PREVIEW + name


_PREVIEWED = {named: replace(p, name=named, local=True) for p in PARAMETERS.values() if (named := preview_name(p.name))}


def whole(text: str) -> str:
    """A text with one character for the two halves by which JSON may have it, and without halves that stand alone."""
    if text.isascii():
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "ignore")


def unquoted(text: str) -> str:
    """A text without one pair of quotes around it, which some programs and all telephones add."""
    whole = text.strip()
    inside = whole[1:-1]
    quoted = len(whole) > 1 and whole[0] + whole[-1] in QUOTES and whole[0] not in inside and whole[-1] not in inside
    return inside if quoted else text


def bare(text: str) -> str:
    """A text without white space and quotes around it."""
    return unquoted(text).strip()


def to_number(value: Any) -> float:
    """A number, or a text that is one, with a point or a comma: 0.31, "0.31", "0,31". ValueError for anything else."""
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    if isinstance(value, str):
        value = bare(value)
        if value.count(",") == 1 and "." not in value:
            value = value.replace(",", ".")
    return float(value)


def to_switch(value: Any) -> float:
    """As `to_number`, and 1 or 0 for a switch in words: "on", "true", "yes", "off", "false", "no", in any case."""
    switch = SWITCH_WORDS.get(bare(value).lower()) if isinstance(value, str) else None
    return to_number(value) if switch is None else switch


def number_text(value: float) -> str:
    """A number as a name has it: 2, 2.5, 20261130. A 32-bit float has six digits behind which it is rounded."""
    return str(int(value)) if float(value).is_integer() else f"{value:.6g}"


def is_number(value: Any) -> bool:
    """Whether a parameter takes it as a number."""
    try:
        to_number(value)
    except (TypeError, ValueError):
        return False
    return True


def find(name: str) -> Parameter | None:
    """The parameter of that name. `word/<word>` is a family and exists for every word, as `event/<name>` for every name
    that an event may have; `preview/...` are the preview's own, and no part of the table."""
    known = PARAMETERS.get(name) or _PREVIEWED.get(name)
    if known is not None:
        return known
    if name.startswith(PREVIEW + "word/"):
        p = find(name.removeprefix(PREVIEW))
        return p and replace(p, name=PREVIEW + p.name, local=True)
    if name.startswith(EVENT):
        event = name.lower()
        known_as = EVENT_NAME.fullmatch(event.removeprefix(EVENT))
        doc = f"the show's event {event.removeprefix(EVENT)!r}: 1 as its button goes down, 0 as it comes up"
        return Parameter(event, "trigger", doc, takes="[1 or 0]", local=True) if known_as else None
    word = unicodedata.normalize("NFKC", name.removeprefix("word/")).lower()
    if name.startswith("word/") and word and "/" not in word and len(word) <= 64:
        doc = f"weight of the word {word!r} in every prompt; below 0 pushes it away"
        return Parameter(f"word/{word}", "float", doc, 1.0, -1.0, 2.0, smoothing=0.08)
    return None


def nearest(name: str) -> str:
    """ ", did you mean 'cam/zoom'?" for an error about an unknown name; empty when nothing is near."""
    near = difflib.get_close_matches(str(name).removeprefix(OSC_PREFIX), PARAMETERS, 1, 0.5)
    return f", did you mean {near[0]!r}?" if near else ""


def latest_wins(name: str) -> bool:
    """Whether of several values on their way only the last matters: true for faders and texts, never for triggers."""
    p = find(name)
    return p is not None and p.kind != "trigger"
