"""Other programs' OSC addresses, so that rigs built for Daydream Scope or StreamDiffusionTD play this node as they are.

Opt-in by the show (`osc: aliases: [scope, streamdiffusion]`). Each table says what an address does here; what has no
meaning here is heard and left alone, and says why. Nothing that comes this way can end a show.

After Scope's docs/osc.md and its list of runtime parameters (v. April 2026), and the OSC handlers of StreamDiffusionTD
0.2.5 and 0.3.0.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..parameters import PADS, PARAMETERS

Read = Callable[[str], Any]  # a parameter's present value
TargetArgs = list[tuple[str, tuple[Any, ...]]]  # targets and their arguments; "seed/+" is a step

HEAVIEST = 1e6  # of a list's weights, whose sum has to be a number
SCOPE_STEP = 0.75  # seconds of one of Scope's generation steps: a block of 12 frames at the 16 a second of its models


@dataclass(frozen=True)
class Alias:
    """One address. does: what it does here, or why nothing. to: None where nothing. latest: only the newest matters."""

    address: str
    does: str
    to: Callable[[tuple[Any, ...], Read], TargetArgs] | None = None
    latest: bool = True


def _first(args: Sequence[Any]) -> Any:
    if not args:
        raise ValueError("a value is missing")
    return args[0]


def _number(value: Any) -> float:
    """ValueError for what is no finite number."""
    try:
        number = float(value)
    except TypeError:
        raise ValueError(f"{value!r} is no number") from None
    if not math.isfinite(number):
        raise ValueError(f"{number} is no number")
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
    """The same seed is the same world from its beginning."""
    return [("seed/+", (0,))] if _number(_first(args)) else []


def _seed(value: Any, read: Read) -> TargetArgs:
    """Only another seed: theirs goes on when it is sent again, ours would begin anew."""
    seed = PARAMETERS["seed"].coerce(value)
    return [] if seed == read("seed") else [("seed", (seed,))]


def _prompt(args: tuple[Any, ...], read: Read) -> TargetArgs:
    """One prompt alone: pads that a list of prompts had raised go down."""
    return [("prompt", (str(_first(args)),)), *_raised_pads(read)]


def _raised_pads(read: Read, but: Iterable[int] = ()) -> TargetArgs:
    return [(f"pad/{n}", (0.0,)) for n in range(1, PADS + 1) if n not in set(but) and read(f"pad/{n}")]


def _pairs(args: tuple[Any, ...]) -> list[tuple[Any, float]]:
    """[["a cat", 0.7], ["a dog", 0.3]] as JSON, weights not below 0. ValueError for anything else."""
    try:
        data = json.loads(_first(args))
        pairs = [(thing, min(max(_number(weight), 0.0), HEAVIEST)) for thing, weight in data]
    except (TypeError, ValueError, RecursionError):
        raise ValueError('a list as in [["a cat", 0.7], ["a dog", 0.3]] is expected, as JSON text') from None
    return pairs


def _prompt_list(args: tuple[Any, ...], read: Read) -> TargetArgs:
    """Weighted prompts are weighted pads. A text stays on the pad that has it, so that only its weight moves."""
    weights: dict[str, float] = {}
    for said_text, weight in _pairs(args):
        text = PARAMETERS["prompt"].coerce(said_text)
        weights[text] = weights.get(text, 0.0) + weight
    heaviest = sorted(weights, key=lambda text: -weights[text])[:PADS]
    total = sum(weights[text] for text in heaviest) or 1.0
    texts = {n: read(f"pad/{n}/text") for n in range(1, PADS + 1)}
    places = {text: n for n, text in reversed(texts.items()) if text in heaviest}
    # The pads that are heard least are taken first, and of those the ones without a text.
    free = sorted(set(texts) - set(places.values()), key=lambda n: (read(f"pad/{n}") or 0.0, bool(texts[n]), n))
    said: TargetArgs = []
    for text in heaviest:
        if text not in places:
            places[text] = free.pop(0)
            said.append((f"pad/{places[text]}/text", (text,)))
    said += [(f"pad/{places[text]}", (weights[text] / total,)) for text in heaviest]
    return said + _raised_pads(read, places.values())


def _seed_list(args: tuple[Any, ...], read: Read) -> TargetArgs:
    pairs = _pairs(args)
    return _seed(max(pairs, key=lambda pair: pair[1])[0], read) if pairs else []


NO_INPUT = "no picture comes in to be changed"
ALWAYS_SLERP = "prompts are always mixed along the sphere"
OWN_MEMORY = "the world looks after its memory itself"
SCOPE = (
    Alias("prompt", "`prompt`, within `transition`", _prompt),
    Alias("transition_steps", f"`transition`: {SCOPE_STEP} s a step", _fader("transition", SCOPE_STEP)),
    Alias("noise_scale", "`energy`: how much moves", _fader("energy")),
    Alias("denoising_step_list", "`steps`: as many as the list is long, 1 to 4", _how_many),
    Alias("paused", "`freeze`", _switch("freeze")),
    Alias("reset_cache", "the same `seed` again: the world begins anew", _again, latest=False),
    Alias("input_mode", NO_INPUT),
    Alias("noise_controller", NO_INPUT),
    Alias("vace_context_scale", NO_INPUT),
    Alias("interpolation_method", ALWAYS_SLERP),
    Alias("temporal_interpolation_method", ALWAYS_SLERP),
    Alias("manage_cache", OWN_MEMORY),
    Alias("kv_cache_attention_bias", OWN_MEMORY),
)

NO_ADAPTER = "adapters and their pictures are another model's"
NO_END = "a message never ends a show"
STREAMDIFFUSION = (
    Alias("/prompt", "`prompt`, within `transition`; the pads go down", _prompt),
    Alias("/prompt_list", "texts and weights of up to 16 pads, weights summing to 1", _prompt_list),
    Alias("/seed", "`seed`, if it is another", lambda args, read: _seed(_first(args), read)),
    Alias("/seed_list", "`seed`: the one with the largest weight", _seed_list),
    Alias("/delta", "`energy`: how much moves, 0 to 1", _fader("energy")),
    Alias("/t_list", "`steps`: as many as the list is long, 1 to 4", _how_many),
    Alias("/pause", "`freeze` on", _constant("freeze", True), latest=False),
    Alias("/play", "`freeze` off", _constant("freeze", False), latest=False),
    Alias("/stop_streaming", "`freeze` on", _constant("freeze", True), latest=False),
    Alias("/start_streaming", "`freeze` off", _constant("freeze", False), latest=False),
    Alias("/stop", NO_END),
    Alias("/unload", NO_END),
    Alias("/guidance_scale", "`guidance`, 1 to 2", _fader("guidance")),
    Alias("/negative_prompt", "a prompt says what is there; `/wj/word/<word> 0` takes a word away"),
    Alias("/num_inference_steps", "the schedule's length is the model's; `/t_list` says how many steps are taken"),
    *(Alias(name, ALWAYS_SLERP) for name in ("/prompt_interpolation_method", "/seed_interpolation_method", "/slerp")),
    *(Alias(name, NO_INPUT) for name in ("/sdmode", "/td_buffer_name", "/controlnets", "/use_controlnet",
                                         "/controlnet_weight", "/latent_feedback_strength", "/feedback_safe")),
    *(Alias(name, NO_ADAPTER) for name in ("/ipadapter_config", "/ipadapter_scale", "/ipadapter_enable",
                                           "/ipadapter_update", "/lora_weights", "/textual_inversion_dict")),
    *(Alias(name, OWN_MEMORY) for name in ("/use_cached_attn", "/use_cached_attn_settings", "/disable_cached_attn")),
    *(Alias(name, "frames leave on the show's own clock") for name in ("/process_frame", "/frame_ack", "/max_fps")),
    *(Alias(name, "not there in this node") for name in ("/gaussian_prompt", "/Interpval1", "/get_status")),
)  # fmt: skip
FX = "/fx/"  # their effects, whatever their names
STATES = {"running": "local_streaming", "error": "local_error"}  # of the world; all else is loading


def table(dialect: str) -> Iterator[tuple[str, str, bool]]:
    """(address, what it does or why nothing, whether it does something) for a reference."""
    prefix, rows = {"scope": ("/scope/", SCOPE), "streamdiffusion": ("", STREAMDIFFUSION)}[dialect]
    for row in rows:
        yield prefix + row.address, row.does, row.to is not None


class Aliases:
    """A `Dialect` of integrations/osc/input.py.

    dialects: "scope", "streamdiffusion". read: a parameter's present value. name: of the picture that is sent.
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
        """What a message means here; empty for nothing, None for an address of neither.

        Raises ValueError for arguments without a meaning.
        """
        alias = self._find(address)
        if alias is None:
            return None
        return alias.to(args, self._read) if alias.to else []

    def latest_wins(self, address: str) -> bool:
        alias = self._find(address)
        return alias is not None and alias.latest

    def echo(self, target: str, value: Any) -> list[tuple[str, Any]]:
        """StreamDiffusionTD's heartbeat, in its words, out of our status."""
        if not self._stream:
            return []
        match target:
            case "status/world_fps":
                said: list[tuple[str, Any]] = [("/server_active", 1), ("/stream-info/fps", float(value))]
                return [*said, ("/stream-info/output-name", self._name)] if self._name else said
            case "status/frames":
                return [("/framecount", int(value))]
            case "status/state":
                return [("/stream-info/state", STATES.get(value, "local_loading_models"))]
            case "freeze":
                return [("/streaming_status", "paused" if value else "resumed")]
        return []
