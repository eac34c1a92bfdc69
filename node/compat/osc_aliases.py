"""OSC addresses of other programs: setups made for Daydream Scope or StreamDiffusionTD play this node unchanged.

A show enables them (`osc: aliases: [scope, streamdiffusion]`). Each table lists what an address does here, or why it is
ignored. None of these messages can end a show.

After Scope's docs/osc.md and its list of runtime parameters (v. April 2026), and the OSC handlers of StreamDiffusionTD
0.2.5 and 0.3.0.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..parameters import PADS, PARAMETERS, to_switch, unquoted

Read = Callable[[str], Any]  # returns a parameter's current value
TargetArgs = list[tuple[str, tuple[Any, ...]]]  # targets and their arguments; "seed/+" is a relative change

WEIGHT_MAX = 1e6  # keeps the sum of a list's weights finite
SCOPE_STEP_S = 0.75  # of one of Scope's generation steps: 12 frames at its models' 16 frames a second


@dataclass(frozen=True)
class Alias:
    """One address. does: its effect, or why it has none. to: translates a message; None without an effect. latest: only
    the newest message counts."""

    address: str
    does: str
    to: Callable[[tuple[Any, ...], Read], TargetArgs] | None = None
    latest: bool = True


def _first(args: Sequence[Any]) -> Any:
    if not args:
        raise ValueError("a value is missing")
    return args[0]


def _number(value: Any) -> float:
    """A number, or a text that is one or a switch. Raises ValueError for anything but a finite number."""
    try:
        number = to_switch(value)
    except (TypeError, ValueError):
        raise ValueError(f"a number is expected, not {value!r}") from None
    if not math.isfinite(number):
        raise ValueError(f"a number is expected, not {number}")
    return number


def _fader(target: str, scale: float = 1.0) -> Callable[[tuple[Any, ...], Read], TargetArgs]:
    return lambda args, read: [(target, (_number(_first(args)) * scale,))]


def _switch(target: str) -> Callable[[tuple[Any, ...], Read], TargetArgs]:
    return lambda args, read: [(target, (_number(_first(args)) != 0,))]


def _constant(target: str, value: Any) -> Callable[[tuple[Any, ...], Read], TargetArgs]:
    return lambda args, read: [(target, (value,))]


def _how_many(args: tuple[Any, ...], read: Read) -> TargetArgs:
    if not args or any(isinstance(arg, str) for arg in args):
        raise ValueError("a list of numbers is missing")
    return [("steps", (len(args),))]


def _again(args: tuple[Any, ...], read: Read) -> TargetArgs:
    """Restart the world with the same seed."""
    return [("seed/+", (0,))] if _number(_first(args)) else []


def _seed(value: Any, read: Read) -> TargetArgs:
    """Ignore the current seed: sent again, it would restart our world, but not theirs."""
    seed = PARAMETERS["seed"].coerce(value)
    return [] if seed == read("seed") else [("seed", (seed,))]


def _prompt(args: tuple[Any, ...], read: Read) -> TargetArgs:
    """A single prompt, perhaps in separate words: pads that a list of prompts had raised go down."""
    _first(args)
    if not any(isinstance(arg, str | bytes) for arg in args):
        raise ValueError(f"a text is expected, not {args[0]!r}")
    return [("prompt", args), *_raised_pads(read)]


def _raised_pads(read: Read, but: Iterable[int] = ()) -> TargetArgs:
    return [(f"pad/{n}", (0.0,)) for n in range(1, PADS + 1) if n not in set(but) and read(f"pad/{n}")]


def _pairs(args: tuple[Any, ...]) -> list[tuple[Any, float]]:
    """[["a cat", 0.7], ["a dog", 0.3]] as JSON, weights not below 0. ValueError for anything else."""
    try:
        data = json.loads(_first(args))
        pairs = [(thing, min(max(_number(weight), 0.0), WEIGHT_MAX)) for thing, weight in data]
    except (TypeError, ValueError, RecursionError):
        raise ValueError('a list as in [["a cat", 0.7], ["a dog", 0.3]] is expected, as JSON') from None
    return pairs


def _prompt_list(args: tuple[Any, ...], read: Read) -> TargetArgs:
    """Weighted prompts become weighted pads. A text stays on the pad that has it, so that only its weight changes."""
    weights: dict[str, float] = {}
    for raw_text, weight in _pairs(args):
        text = unquoted(PARAMETERS["prompt"].coerce(raw_text))  # as the pad will have it
        weights[text] = weights.get(text, 0.0) + weight
    heaviest = sorted(weights, key=lambda text: -weights[text])[:PADS]
    total = sum(weights[text] for text in heaviest) or 1.0
    texts = {n: read(f"pad/{n}/text") for n in range(1, PADS + 1)}
    pads = {text: n for n, text in reversed(texts.items()) if text in heaviest}
    # The pads with the lowest weights are taken first, and of those the ones without a text.
    free = sorted(set(texts) - set(pads.values()), key=lambda n: (read(f"pad/{n}") or 0.0, bool(texts[n]), n))
    changes: TargetArgs = []
    for text in heaviest:
        if text not in pads:
            pads[text] = free.pop(0)
            changes.append((f"pad/{pads[text]}/text", (text,)))
    changes += [(f"pad/{pads[text]}", (weights[text] / total,)) for text in heaviest]
    return changes + _raised_pads(read, pads.values())


def _seed_list(args: tuple[Any, ...], read: Read) -> TargetArgs:
    pairs = _pairs(args)
    return _seed(max(pairs, key=lambda pair: pair[1])[0], read) if pairs else []


NO_INPUT = "there is no input video to transform"
ALWAYS_SLERP = "prompts are always interpolated spherically (slerp)"
OWN_MEMORY = "the world manages its memory itself"
SCOPE = (
    Alias("prompt", "`prompt`, within `transition`", _prompt),
    Alias("transition_steps", f"`transition`: {SCOPE_STEP_S} s a step", _fader("transition", SCOPE_STEP_S)),
    Alias("noise_scale", "`energy`: amount of motion", _fader("energy")),
    Alias("denoising_step_list", "`steps`: the length of the list, 1 to 4", _how_many),
    Alias("paused", "`freeze`", _switch("freeze")),
    Alias("reset_cache", "the same `seed` again: the world restarts", _again, latest=False),
    Alias("input_mode", NO_INPUT),
    Alias("noise_controller", NO_INPUT),
    Alias("vace_context_scale", NO_INPUT),
    Alias("interpolation_method", ALWAYS_SLERP),
    Alias("temporal_interpolation_method", ALWAYS_SLERP),
    Alias("manage_cache", OWN_MEMORY),
    Alias("kv_cache_attention_bias", OWN_MEMORY),
)

NO_ADAPTER = "adapters belong to another model"
NO_END = "OSC cannot end a show"
STREAMDIFFUSION = (
    Alias("/prompt", "`prompt`, within `transition`; the pads go down", _prompt),
    Alias("/prompt_list", "texts and weights of up to 16 pads, weights summing to 1", _prompt_list),
    Alias("/seed", "`seed`, if it differs from the current one", lambda args, read: _seed(_first(args), read)),
    Alias("/seed_list", "`seed`: the one with the largest weight", _seed_list),
    Alias("/delta", "`energy`: amount of motion, 0 to 1", _fader("energy")),
    Alias("/t_list", "`steps`: the length of the list, 1 to 4", _how_many),
    Alias("/pause", "`freeze` on", _constant("freeze", True), latest=False),
    Alias("/play", "`freeze` off", _constant("freeze", False), latest=False),
    Alias("/stop_streaming", "`freeze` on", _constant("freeze", True), latest=False),
    Alias("/start_streaming", "`freeze` off", _constant("freeze", False), latest=False),
    Alias("/stop", NO_END),
    Alias("/unload", NO_END),
    Alias("/guidance_scale", "`guidance`, 1 to 2", _fader("guidance")),
    Alias("/negative_prompt", "worlds have no negative prompt; `/wj/word/<word> 0` removes a word"),
    Alias("/num_inference_steps", "the model sets the length of its schedule; `/t_list` sets the number of steps"),
    *(Alias(name, ALWAYS_SLERP) for name in ("/prompt_interpolation_method", "/seed_interpolation_method", "/slerp")),
    *(Alias(name, NO_INPUT) for name in ("/sdmode", "/td_buffer_name", "/controlnets", "/use_controlnet",
                                         "/controlnet_weight", "/latent_feedback_strength", "/feedback_safe")),
    *(Alias(name, NO_ADAPTER) for name in ("/ipadapter_config", "/ipadapter_scale", "/ipadapter_enable",
                                           "/ipadapter_update", "/lora_weights", "/textual_inversion_dict")),
    *(Alias(name, OWN_MEMORY) for name in ("/use_cached_attn", "/use_cached_attn_settings", "/disable_cached_attn")),
    *(Alias(name, "the show's own clock sends the frames") for name in ("/process_frame", "/frame_ack", "/max_fps")),
    *(Alias(name, "this node has no such function") for name in ("/gaussian_prompt", "/Interpval1", "/get_status")),
)  # fmt: skip
FX = "/fx/"  # effects of any name
STATES = {"running": "local_streaming", "error": "local_error"}  # by the world's state; all others are loading


def table(dialect: str) -> Iterator[tuple[str, str, bool]]:
    """(address, effect or reason for none, whether there is an effect), for a reference."""
    prefix, rows = {"scope": ("/scope/", SCOPE), "streamdiffusion": ("", STREAMDIFFUSION)}[dialect]
    for row in rows:
        yield prefix + row.address, row.does, row.to is not None


class Aliases:
    """A `Dialect` of integrations/osc/input.py.

    dialects: "scope", "streamdiffusion". read: returns a parameter's current value. name: of the output.
    """

    def __init__(self, dialects: Iterable[str], read: Read, name: str = "") -> None:
        self._dialects = frozenset(dialects)
        self._read, self._name = read, name
        self._scope: Mapping[str, Alias] = {a.address: a for a in SCOPE} if "scope" in self._dialects else {}
        self._stream: Mapping[str, Alias] = (
            {a.address: a for a in STREAMDIFFUSION} if "streamdiffusion" in self._dialects else {}
        )

    def _find(self, address: str) -> Alias | None:
        if self._scope and address.startswith("/scope/"):  # a node's own parameter is /scope/<node>/<parameter>
            return self._scope.get(address.rpartition("/")[2])
        if self._stream and address.startswith(FX):
            return Alias(address, NO_INPUT)
        return self._stream.get(address)

    def translate(self, address: str, args: tuple[Any, ...]) -> TargetArgs | None:
        """The changes that a message makes; none for an ignored address, None for an unknown one.

        Raises ValueError for invalid arguments.
        """
        alias = self._find(address)
        if alias is None:
            return None
        return alias.to(args, self._read) if alias.to else []

    def latest_wins(self, address: str) -> bool:
        alias = self._find(address)
        return alias is not None and alias.latest

    def echo(self, target: str, value: Any) -> list[tuple[str, Any]]:
        """Our status as StreamDiffusionTD's heartbeat messages."""
        if not self._stream:
            return []
        match target:
            case "status/world_fps":
                messages: list[tuple[str, Any]] = [("/server_active", 1), ("/stream-info/fps", float(value))]
                return [*messages, ("/stream-info/output-name", self._name)] if self._name else messages
            case "status/frames":
                return [("/framecount", int(value))]
            case "status/state":
                return [("/stream-info/state", STATES.get(value, "local_loading_models"))]
            case "freeze":
                return [("/streaming_status", "paused" if value else "resumed")]
        return []
